"""What processes hold of small tables, also while the database is away (scrm.held)."""

from collections.abc import Iterator

import pytest

from scrm import held
from scrm.held import Held


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(held.time, "monotonic", lambda: now[0])
    return now


def of(outcomes: Iterator[int | Exception], *, stale_seconds: float) -> Held[int]:
    def read() -> int:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return Held(read, seconds=10, stale_seconds=stale_seconds)


def test_what_is_old_is_read_anew(clock: list[float]) -> None:
    number = of(iter([1, 2]), stale_seconds=300)
    assert (number(), number()) == (1, 1)
    clock[0] += 10
    assert (number(), number()) == (2, 2)


def test_what_was_read_last_stands_in_for_a_while_and_reading_is_not_tried_each_time(clock: list[float]) -> None:
    number = of(iter([1, ConnectionError(), ConnectionError(), 2]), stale_seconds=300)
    assert number() == 1
    clock[0] += 10
    assert (number(), number(), number()) == (1, 1, 1)  # one try
    clock[0] += held.RETRY_SECONDS
    assert number() == 1  # another
    clock[0] += held.RETRY_SECONDS
    assert number() == 2


def test_in_the_end_the_error_comes_through(clock: list[float]) -> None:
    number = of(iter([1, ConnectionError()]), stale_seconds=300)
    assert number() == 1
    clock[0] += 310
    with pytest.raises(ConnectionError):
        number()


def test_without_leave_to_be_stale_the_error_comes_through_at_once(clock: list[float]) -> None:
    number = of(iter([1, ConnectionError(), 3]), stale_seconds=0)
    assert number() == 1
    clock[0] += 10
    with pytest.raises(ConnectionError):
        number()
    assert number() == 3
