"""Connections are lent in order of asking."""

import threading
import time

from scrm.cache.permits import Permits


def waiting_for(permits: Permits, order: list[str], name: str, *, timeout: float = 10) -> threading.Thread:
    """Return a thread that is waiting for a permit, and writes its name down when it has one."""
    before = len(permits._waiting)

    def wait() -> None:
        if permits.acquire(timeout=timeout):
            order.append(name)

    thread = threading.Thread(target=wait)
    thread.start()
    while len(permits._waiting) == before:
        time.sleep(0.001)
    return thread


def test_who_waits_goes_before_who_has_just_given_a_permit_back() -> None:
    permits, order = Permits(1), []  # type: ignore[var-annotated]
    assert permits.acquire(timeout=0)
    threads = [waiting_for(permits, order, name) for name in ("first", "second")]
    permits.release()
    assert not permits.acquire(timeout=0)
    threads[0].join()
    assert order == ["first"]
    permits.release()
    threads[1].join()
    assert order == ["first", "second"]
    permits.release()
    assert permits.acquire(timeout=0)
    assert not permits.acquire(timeout=0)


def test_who_gave_up_waiting_takes_no_permit_with_them() -> None:
    permits, order = Permits(1), []  # type: ignore[var-annotated]
    assert permits.acquire(timeout=0)
    waiting_for(permits, order, "impatient", timeout=0.05).join()
    assert order == []
    permits.release()
    assert permits.acquire(timeout=0)


def test_no_permit_is_lost_or_made_by_a_crowd() -> None:
    permits, at_once, most, lock = Permits(3), 0, 0, threading.Lock()

    def work() -> None:
        nonlocal at_once, most
        for _ in range(200):
            if permits.acquire(timeout=0.0005):
                with lock:
                    at_once += 1
                    most = max(most, at_once)
                with lock:
                    at_once -= 1
                permits.release()

    crowd = [threading.Thread(target=work) for _ in range(24)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert most <= 3
    assert [permits.acquire(timeout=0) for _ in range(4)] == [True, True, True, False]
