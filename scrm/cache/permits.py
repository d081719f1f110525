"""Share a few connections among many threads, first come, first served.

threading's semaphore lets the thread that has just given a permit back take it again before the one that was woken:
under a crowd some wait for seconds, and what waits too long takes Redis for dead. Here a permit goes to who has waited
longest.
"""

import threading
from collections import deque


class Permits:
    """So many permits, lent in order of asking. Costs about a microsecond while some are free."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, *, timeout: float) -> bool:
        """Wait for a permit, at most `timeout` seconds. Returns whether there is one; then it must be given back."""
        with self._lock:
            if self._free:  # then nobody waits
                self._free -= 1
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=timeout):
            return True
        with self._lock:
            if turn not in self._waiting:
                return True  # it came just as time was up
            self._waiting.remove(turn)
            return False

    def release(self) -> None:
        """Give a permit back, to who has waited longest if anybody waits."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
