"""Let one thread of this process at a time see to a cold key, while the others wait.

Only the waiting is shared, never what was read: a thread that began after an answered write must not be given what
another read before it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock for each key that somebody wants, for as long as somebody does."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[bytes, threading.Lock] = {}
        self._wanted: dict[bytes, int] = {}

    @contextmanager
    def take(self, key: bytes, *, timeout_seconds: float) -> Iterator[bool]:
        """Wait for this thread's turn; gives whether it came in time."""
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
            self._wanted[key] = self._wanted.get(key, 0) + 1
        is_mine = False
        try:
            is_mine = lock.acquire(timeout=timeout_seconds)
            yield is_mine
        finally:
            if is_mine:
                lock.release()
            with self._guard:
                self._wanted[key] -= 1
                if not self._wanted[key]:
                    del self._wanted[key], self._locks[key]
