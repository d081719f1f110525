"""How fast calls may go out, as numbers. Pure.

A rule of N calls a window is kept by a bucket that fills at 0.8 N a window and holds 0.2 N: whoever begins may hurry,
then calls go evenly, and in no window of any placement there are more than N.

    >>> Rule(5_000, 60.0).burst, round(Rule(5_000, 60.0).interval_seconds, 3)
    (1000, 0.015)

`at` is the moment at which the bucket was, or will be, full again (the generic cell rate algorithm): a call moves it on
by one interval, and may go out while it is no further ahead than the burst.
"""

from dataclasses import dataclass

BURST_SHARE = 0.2


@dataclass(frozen=True)
class Rule:
    """At most so many calls in any window of so many seconds."""

    calls: int
    window_seconds: float

    @property
    def burst(self) -> int:
        return max(1, int(self.calls * BURST_SHARE))

    @property
    def interval_seconds(self) -> float:
        """From call to call, once the burst is used up."""
        return self.window_seconds / max(1, self.calls - self.burst)

    def wait_seconds(self, at: float, now: float) -> float:
        """Return how long a call must wait; 0 if it may go out."""
        return max(0.0, at - now - self.interval_seconds * (self.burst - 1))

    def after_call(self, at: float, now: float) -> float:
        """Return what `at` becomes by a call."""
        return max(at, now) + self.interval_seconds

    def seconds_for(self, calls: int, at: float = 0.0, now: float = 0.0) -> float:
        """Return how long so many calls take, one right after the other.

        >>> Rule(5_000, 60.0).seconds_for(1_000), round(Rule(5_000, 60.0).seconds_for(5_000))
        (0.0, 60)
        """
        return max(0.0, max(at, now) - now + self.interval_seconds * (calls - self.burst)) if calls > 0 else 0.0


@dataclass(frozen=True)
class Limits:
    """What one API of one corp is asked at most. block_seconds: how long it is left alone after 45009."""

    per_minute: int
    per_hour: int
    at_once: int
    block_seconds: float

    @property
    def rules(self) -> tuple[Rule, Rule]:
        return Rule(self.per_minute, 60.0), Rule(self.per_hour, 3600.0)

    def share(self, parts: int) -> "Limits":
        """Return what one of so many gets who cannot speak to each other."""
        return Limits(
            max(1, self.per_minute // parts), max(1, self.per_hour // parts), max(1, self.at_once // 4),
            self.block_seconds,
        )  # fmt: skip
