"""Keep a small table in the process for some seconds, instead of asking for it at every request. Pure."""

import threading
import time
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
RETRY_SECONDS = 5.0

_all: "weakref.WeakSet[Held[object]]" = weakref.WeakSet()


class Held(Generic[T]):
    """What `read` returned, at most `seconds` old.

    One thread reads anew while the others wait; an exception of `read` reaches the caller and nothing is kept of it.
    stale_seconds: for so much longer what was read last is given instead, and reading tried every 5 s only: for what
    is better old than missing.

    >>> count = iter(range(10))
    >>> number = Held(lambda: next(count), seconds=60)
    >>> number(), number(), number.forget(), number()
    (0, 0, None, 1)
    """

    def __init__(self, read: Callable[[], T], *, seconds: float, stale_seconds: float = 0.0) -> None:
        self._read = read
        self._seconds = seconds
        self._stale_seconds = stale_seconds
        self._retry_at = 0.0
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None
        _all.add(self)  # type: ignore[arg-type]

    def __call__(self) -> T:
        kept = self._kept
        if kept is not None and time.monotonic() - kept[0] < self._seconds:
            return kept[1]
        with self._lock:
            if self._kept is kept or self._kept is None:
                self._kept = self._read_or_keep(kept)
            return self._kept[1]

    def _read_or_keep(self, kept: tuple[float, T] | None) -> tuple[float, T]:
        asked_at = time.monotonic()
        is_good_enough = kept is not None and asked_at - kept[0] < self._seconds + self._stale_seconds
        if kept is not None and is_good_enough and asked_at < self._retry_at:
            return kept
        try:
            return asked_at, self._read()
        except Exception:
            if kept is None or not is_good_enough:
                raise
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return kept

    def forget(self) -> None:
        """Make the next call read anew."""
        self._kept = None


def forget_all() -> None:
    """Make every held value of this process be read anew: for tests, and after a fork."""
    for held in _all:
        held.forget()
