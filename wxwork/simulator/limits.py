"""WeCom's limits: calls per minute and hour (45009), concurrency (45033), one writer for each relation (45035).

Each is kept per path (the simulator is one corp). Calls are counted in a sliding window of whole seconds; who goes over
a limit is blocked for its window, as the real host does, whatever comes in meanwhile.

    rule      limit      window   blocked
    minute    10 000       60 s     60 s
    hour     150 000     3600 s   3600 s
    tickets  100 an hour for each app (400 for the corp); mass-message reminders count elsewhere
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from wxwork.simulator.answers import Refused
from wxwork.simulator.clock import Clock

PER_MINUTE, PER_HOUR = 10_000, 150_000
CONCURRENCY = 100
TICKETS_PER_HOUR = {"/cgi-bin/get_jsapi_ticket": 400, "/cgi-bin/ticket/get": 100}


@dataclass
class Window:
    """Calls of the last `seconds`, by second."""

    seconds: int
    counts: deque[tuple[int, int]] = field(default_factory=deque)
    total: int = 0

    def count(self, now: int) -> int:
        """Count a call; return how many there were in the window, this one included."""
        while self.counts and self.counts[0][0] <= now - self.seconds:
            self.total -= self.counts.popleft()[1]
        if self.counts and self.counts[-1][0] >= now:
            second, calls = self.counts.pop()
            self.counts.append((second, calls + 1))
        else:
            self.counts.append((now, 1))
        self.total += 1
        return self.total


@dataclass
class PathLimit:
    """What holds for one path; None: as for all. The windows and who is blocked until when."""

    per_minute: int | None = None
    per_hour: int | None = None
    concurrency: int | None = None
    minute: Window = field(default_factory=lambda: Window(60))
    hour: Window = field(default_factory=lambda: Window(3600))
    blocked_until: float = 0.0
    running: int = 0


class Limits:
    """Settable by control: for all paths, or for one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._paths: dict[str, PathLimit] = {}
        self._written: set[tuple[str, str]] = set()
        self.per_minute = PER_MINUTE
        self.per_hour = PER_HOUR
        self.concurrency = CONCURRENCY
        self.minute_block_seconds = 60.0
        self.hour_block_seconds = 3600.0

    def of(self, path: str) -> PathLimit:
        if path not in self._paths:
            self._paths[path] = PathLimit(per_hour=TICKETS_PER_HOUR.get(path))
        return self._paths[path]

    def unblock(self) -> None:
        """Forget all counts and blocks."""
        with self._lock:
            for limit in self._paths.values():
                limit.minute, limit.hour, limit.blocked_until = Window(60), Window(3600), 0.0

    def count(self, path: str) -> None:
        """Count a call. Raises Refused 45009."""
        now = self._clock.now()
        with self._lock:
            limit = self.of(path)
            if now < limit.blocked_until:
                raise Refused(45009)
            minute, hour = limit.minute.count(int(now)), limit.hour.count(int(now))
            if hour > (self.per_hour if limit.per_hour is None else limit.per_hour):
                limit.blocked_until = now + self.hour_block_seconds
                limit.hour = Window(3600)
                raise Refused(45009)
            if minute > (self.per_minute if limit.per_minute is None else limit.per_minute):
                limit.blocked_until = now + self.minute_block_seconds
                limit.minute = Window(60)
                raise Refused(45009)

    @contextmanager
    def running(self, path: str) -> Iterator[None]:
        """Hold a place among the calls of a path that run at once. Raises Refused 45033."""
        with self._lock:
            limit = self.of(path)
            most = self.concurrency if limit.concurrency is None else limit.concurrency
            if limit.running >= most:
                raise Refused(45033)
            limit.running += 1
        try:
            yield
        finally:
            with self._lock:
                limit.running -= 1

    @contextmanager
    def writing(self, relation: tuple[str, str] | None) -> Iterator[None]:
        """Hold a relation for writing. Raises Refused 45035 while somebody else does."""
        if relation is None:
            yield
            return
        with self._lock:
            if relation in self._written:
                raise Refused(45035)
            self._written.add(relation)
        try:
            yield
        finally:
            with self._lock:
                self._written.discard(relation)
