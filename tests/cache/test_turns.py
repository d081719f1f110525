import threading
import time

from scrm.cache.turns import Turns


def soon(seconds: float = 0.05) -> float:
    return time.monotonic() + seconds


def test_a_turn_is_one_threads_at_a_time_and_each_key_has_its_own() -> None:
    turns = Turns()
    with turns.take(b"a", deadline=soon()) as first, turns.take(b"b", deadline=soon()) as other:
        assert first is not None
        assert other is not None
        with turns.take(b"a", deadline=soon()) as second:
            assert second is None
    with turns.take(b"a", deadline=soon()) as third:
        assert third is not None


def test_those_who_wait_together_are_let_go_together_and_who_comes_later_is_not() -> None:
    turns, let_go = Turns(), []

    def wait() -> None:
        with turns.take(b"a", deadline=soon(10)) as turn:
            let_go.append(turn)

    threads = [threading.Thread(target=wait) for _ in range(5)]
    with turns.take(b"a", deadline=soon()) as mine:
        assert mine is not None
        for thread in threads:
            thread.start()
        while turns._turns[b"a"].wanted_by < 6:
            time.sleep(0.001)
        turns.settle(b"a", mine)
        with turns.take(b"a", deadline=soon()) as later:
            assert later is not None
            assert later is not mine
    for thread in threads:
        thread.join()
    assert let_go == [None] * 5
    assert turns._turns == {}
