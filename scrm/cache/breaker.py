"""Stop asking a server that does not answer.

closed     every call is made
open       no call is made until `open_seconds` after the last failure
trial      then one call is made; it closes the breaker, or opens it again
"""

import threading
import time
from collections.abc import Callable

import structlog

from scrm.cache import counters
from scrm.cache.errors import CacheUnreachableError

logger = structlog.get_logger(__name__)


class Breaker:
    """One per process and server. Thread-safe; costs a closed call one attribute look-up."""

    def __init__(self, *, open_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._open_seconds = open_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._trial_at: float | None = None  # None while closed

    @property
    def is_open(self) -> bool:
        """Tell whether calls are being held back."""
        return self._trial_at is not None

    def admit(self) -> bool:
        """Let a call pass, or raise CacheUnreachableError. Returns whether it is the trial, which must call close."""
        if self._trial_at is None:
            return False
        with self._lock:
            if self._trial_at is None:
                return False
            now = self._clock()
            if now < self._trial_at:
                raise CacheUnreachableError("Redis did not answer a moment ago and is not asked yet.")
            # Should the trial never come back, the next one is due as after a failure.
            self._trial_at = now + self._open_seconds
            return True

    def trip(self, reason: str) -> None:
        """Hold calls back from now on."""
        with self._lock:
            is_first = self._trial_at is None
            self._trial_at = self._clock() + self._open_seconds
        if is_first:
            counters.BREAKER_OPEN.set(1)
            logger.warning("cache_unreachable", reason=reason)

    def close(self) -> None:
        """Let calls pass again."""
        with self._lock:
            was_open, self._trial_at = self._trial_at is not None, None
        if was_open:
            counters.BREAKER_OPEN.set(0)
            logger.info("cache_answers_again")
