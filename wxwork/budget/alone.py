"""The budget of one process by itself, for when Redis cannot be asked. Pure."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from wxwork.pacing import Limits

# As many processes as a large installation has.
PARTS = 16
CROWDED_WAIT_SECONDS = 0.02


@dataclass
class Share:
    """What is known of one API. Times of the clock given."""

    minute_at: float = 0.0
    hour_at: float = 0.0
    under_way: int = 0
    open_until: float = 0.0
    why: str = ""


class Alone:
    """A budget that no other process shares. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._shares: dict[str, Share] = {}

    def acquire(self, api: str, limits: Limits) -> float:
        """Take a place for a call and return 0, or return how many seconds to wait before asking again."""
        with self._lock:
            share, now = self._shares.setdefault(api, Share()), self._clock()
            if share.open_until > now:
                return share.open_until - now
            if share.under_way >= limits.at_once:
                return CROWDED_WAIT_SECONDS
            minute, hour = limits.rules
            wait = max(minute.wait_seconds(share.minute_at, now), hour.wait_seconds(share.hour_at, now))
            if wait <= 0:
                share.minute_at, share.hour_at = minute.after_call(share.minute_at, now), hour.after_call(
                    share.hour_at, now
                )  # fmt: skip
                share.under_way += 1
            return wait

    def release(self, api: str) -> None:
        """Give a place back."""
        with self._lock:
            share = self._shares.setdefault(api, Share())
            share.under_way = max(0, share.under_way - 1)

    def block(self, api: str, seconds: float, why: str) -> None:
        """Let nobody call an API for so long."""
        with self._lock:
            share = self._shares.setdefault(api, Share())
            share.open_until, share.why = max(share.open_until, self._clock() + seconds), why

    def unblock(self, api: str) -> None:
        """Let an API be called again: others have seen that it may be."""
        share = self._shares.get(api)
        if share is not None and share.open_until:
            share.open_until = 0.0

    def read(self) -> dict[str, Share]:
        """Return copies of what is known, by API."""
        with self._lock:
            return {api: Share(**vars(share)) for api, share in self._shares.items()}

    def now(self) -> float:
        return self._clock()
