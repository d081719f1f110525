import threading

import pytest

from scrm.cache.breaker import Breaker
from scrm.cache.errors import CacheUnreachableError


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(open_seconds=1.0, clock=clock)


def test_a_closed_breaker_lets_everything_pass(breaker: Breaker) -> None:
    assert [breaker.admit() for _ in range(3)] == [False, False, False]


def test_after_a_failure_nothing_passes_for_a_second_then_one_trial(breaker: Breaker, clock: Clock) -> None:
    breaker.trip("TimeoutError")
    clock.seconds += 0.999
    with pytest.raises(CacheUnreachableError):
        breaker.admit()
    clock.seconds += 0.001
    assert breaker.admit() is True
    with pytest.raises(CacheUnreachableError):
        breaker.admit()


def test_a_trial_that_goes_well_closes_it(breaker: Breaker, clock: Clock) -> None:
    breaker.trip("TimeoutError")
    clock.seconds += 1
    assert breaker.admit() is True
    breaker.close()
    assert [breaker.is_open, breaker.admit()] == [False, False]


def test_a_trial_that_fails_opens_it_for_another_second(breaker: Breaker, clock: Clock) -> None:
    breaker.trip("TimeoutError")
    clock.seconds += 1
    assert breaker.admit() is True
    clock.seconds += 0.25
    breaker.trip("TimeoutError")
    clock.seconds += 0.999
    with pytest.raises(CacheUnreachableError):
        breaker.admit()
    clock.seconds += 0.001
    assert breaker.admit() is True


def test_a_trial_that_never_comes_back_does_not_bar_it_for_good(breaker: Breaker, clock: Clock) -> None:
    breaker.trip("ConnectionError")
    clock.seconds += 1
    assert breaker.admit() is True
    clock.seconds += 1
    assert breaker.admit() is True


def test_of_many_threads_one_gets_the_trial(breaker: Breaker, clock: Clock) -> None:
    breaker.trip("ConnectionError")
    clock.seconds += 1
    start, trials, refused = threading.Barrier(20), [], []

    def ask() -> None:
        start.wait()
        try:
            trials.append(breaker.admit())
        except CacheUnreachableError:
            refused.append(1)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (trials, len(refused)) == ([True], 19)
