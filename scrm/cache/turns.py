"""Let one thread of this process at a time see to a cold key, while the others wait.

Only the waiting is shared, never what was read: a thread that began after an answered write must not be given what
another read before it.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Turn:
    """Of those who wait for one key together. settled: one of them has seen a value, now each looks for itself."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wanted_by = 0
        self.is_settled = False


class Turns:
    """A turn for each key that somebody waits for, for as long as somebody does."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: dict[bytes, Turn] = {}

    @contextmanager
    def take(self, key: bytes, *, deadline: float) -> Iterator[Turn | None]:
        """Wait for this thread's turn, and give it; or None when another has settled it, or time is up.

        deadline: of time.monotonic().
        """
        with self._guard:
            turn = self._turns.setdefault(key, Turn())
            turn.wanted_by += 1
        is_mine = False
        try:
            is_mine = turn.lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
            yield turn if is_mine and not turn.is_settled else None
        finally:
            if is_mine:
                turn.lock.release()
            with self._guard:
                turn.wanted_by -= 1
                if not turn.wanted_by and self._turns.get(key) is turn:
                    del self._turns[key]

    def settle(self, key: bytes, turn: Turn) -> None:
        """Let everybody who waits look for himself. Who comes later waits for a new turn."""
        turn.is_settled = True
        with self._guard:
            if self._turns.get(key) is turn:
                del self._turns[key]
