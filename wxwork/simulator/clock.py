"""The corp's own clock: real time plus whatever a test has added, so that 24 hours and 3 days pass at once."""

import time


class Clock:
    """Unix seconds. Set or advanced by control; it runs on from there."""

    def __init__(self) -> None:
        self._ahead_seconds = 0.0

    def now(self) -> float:
        return time.time() + self._ahead_seconds

    def seconds(self) -> int:
        """Return the time as WeCom's answers and callbacks carry it."""
        return int(self.now())

    def set(self, at: float) -> None:
        self._ahead_seconds = at - time.time()

    def advance(self, seconds: float) -> None:
        self._ahead_seconds += seconds
