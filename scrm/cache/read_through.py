"""Read what a database knows through Redis, so that no read returns less than an answered write.

    value key    <prefix><key>            what `load` gave, or `null`: there is no such thing
    guard key    guard:<prefix><key>      the token of the reader that may fill, for at most 3 s

A guard key begins with `guard:` and a value key with the prefix, so that no key, whatever its text, is both.
docs/read-through.md has the protocol; benchmarks/read_through_model.py explores its interleavings.
"""

import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from itertools import islice
from typing import Literal, NamedTuple

from scrm.cache import counters, scripts
from scrm.cache.client import CacheClient
from scrm.cache.errors import CacheRefusedError, CacheUnreachableError
from scrm.cache.turns import Turn, Turns

Source = Literal["hit", "miss", "negative", "bypass"]

# JSON for nothing: a program that reads the key with a JSON parser finds nothing, as it should.
NOTHING = b"null"
LEASE_MILLISECONDS = 3_000
# Answers of FIND_OR_LEASE, besides a value.
LEASED, HELD_BY_ANOTHER = 1, 0
WAIT_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.001
LONGEST_PAUSE_SECONDS = 0.05
KEYS_PER_COMMAND = 1_000
# The last hundredth of the jitter is left out, so that a time to live that is read a minute later is in bounds too.
JITTER_USED = 0.99


class Loaded(NamedTuple):
    """What `load` found: JSON, or None for no such thing. may_fill=False: somebody is changing it, do not keep it."""

    value: bytes | None
    may_fill: bool


class Read(NamedTuple):
    """What was read, and where it came from.

    hit, negative    Redis had it, or had that there is no such thing
    miss             loaded by this reader while others waited, and kept unless it was being changed
    bypass           loaded without regard to Redis: it could not be asked, or another's load took too long
    """

    value: bytes | None
    source: Source


class ReadThrough:
    """A cache of one kind of thing.

    connect: gives the client; called once, at the first use. prefix: of the value keys. ttl_seconds: less up to
    `jitter` of it. load: reads from the primary database, outside any other transaction, and says whether what it read
    was free of writers; runs once for a key, however many want it, while Redis answers and a load takes less than
    `wait_seconds`.
    """

    def __init__(
        self,
        connect: Callable[[], CacheClient],
        *,
        prefix: str,
        load: Callable[[str], Loaded],
        ttl_seconds: int,
        negative_ttl_seconds: int = 10,
        jitter: float = 0.10,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        if f"guard:{prefix}".startswith(prefix):
            raise ValueError(f"With the prefix {prefix!r} a guard could be taken for a value.")
        self._connect = connect
        self._load = load
        self._prefix = prefix
        self._value_prefix = prefix.encode()
        self._ttl_milliseconds = ttl_seconds * 1000
        self._negative_ttl_milliseconds = negative_ttl_seconds * 1000
        self._jitter = jitter
        self._wait_seconds = wait_seconds
        self._turns = Turns()
        name = prefix.rstrip(":")
        self._reads = {source: counters.READS.labels(name, source) for source in counters.SOURCES}
        self._loads = {outcome: counters.LOADS.labels(name, outcome) for outcome in counters.OUTCOMES}
        self._dropped = {outcome: counters.DROPPED_KEYS.labels(name, outcome) for outcome in ("told", "untold")}

    @cached_property
    def client(self) -> CacheClient:
        """The client of the server that holds the values."""
        return self._connect()

    def value_key(self, key: str) -> str:
        """Return the name under which Redis holds the value."""
        return f"{self._prefix}{key}"

    def guard_key(self, key: str) -> str:
        """Return the name under which Redis holds the lease."""
        return f"guard:{self._prefix}{key}"

    def get(self, key: str) -> Read:
        """Return what there is for a key, never less than what had been answered to a writer before the call.

        Errors: what `load` raises; none because of Redis. Cost: a hit one GET; a miss one GET, two scripts and a load.
        """
        value_key = self._encode(key)
        try:
            value = self.client.call("GET", value_key)
        except CacheRefusedError:
            value = None  # what lies there is no string: the script says what to do
        except CacheUnreachableError:
            return self._bypass(key)
        return self._read_cold(key, value_key) if value is None else self._found(value)

    def peek(self, key: str) -> bytes | None:
        """Return what is cached; None for anything else, which `get` then sees to. Raises nothing. Cost: one GET."""
        try:
            value: bytes | None = self.client.call("GET", self._encode(key))
        except (CacheUnreachableError, CacheRefusedError):
            return None
        if value is None or value == NOTHING:
            return None
        self._reads["hit"].inc()
        return value

    def drop(self, keys: Iterable[str]) -> None:
        """Delete values and leases, each key's two in one command. For writers, before they commit.

        keys: any number; nothing happens without any. Raises CacheUnreachableError when Redis could not be told of all
        of them, at once if it has not answered lately: then record the keys in the writer's own transaction (see
        settle). Cost: one command per 1 000 keys.
        """
        if isinstance(keys, str | bytes):
            raise TypeError("drop takes several keys, not one")
        value_keys = [self._encode(key) for key in dict.fromkeys(keys)]
        told = 0
        try:
            for chunk in _chunks(value_keys, KEYS_PER_COMMAND):
                self.client.call("DEL", *(name for value_key in chunk for name in (value_key, b"guard:" + value_key)))
                told += len(chunk)
        finally:
            self._dropped["told"].inc(told)
            self._dropped["untold"].inc(len(value_keys) - told)

    def _encode(self, key: str) -> bytes:
        # A lone surrogate is no text that a database keeps, but JSON can carry one here.
        return self._value_prefix + key.encode("utf-8", "surrogatepass")

    def _found(self, value: bytes) -> Read:
        if value == NOTHING:
            self._reads["negative"].inc()
            return Read(None, "negative")
        self._reads["hit"].inc()
        return Read(value, "hit")

    def _read_cold(self, key: str, value_key: bytes) -> Read:
        """Load as the one who may fill, or wait a moment for who is, or load without filling."""
        deadline = time.monotonic() + self._wait_seconds
        try:
            while True:
                with self._turns.take(value_key, deadline=deadline) as turn:
                    if turn is not None:
                        token = secrets.token_bytes(16)
                        answer = self._find_or_lease(value_key, token, deadline)
                        if answer == LEASED:
                            return self._load_and_fill(key, value_key, token, turn)
                        if isinstance(answer, bytes):
                            self._turns.settle(value_key, turn)
                            return self._found(answer)
                # Another has seen a value, or time is up: one last look costs less than a load.
                value = self.client.call("GET", value_key)
                if value is not None:
                    return self._found(value)
                if time.monotonic() >= deadline:
                    break
        except CacheUnreachableError:
            pass
        return self._bypass(key)

    def _find_or_lease(self, value_key: bytes, token: bytes, deadline: float) -> bytes | int:
        keys = [value_key, b"guard:" + value_key]
        for pause in _pauses(deadline):
            answer: bytes | int = self.client.run(scripts.FIND_OR_LEASE, keys, token, LEASE_MILLISECONDS)
            if answer != HELD_BY_ANOTHER:
                break
            time.sleep(pause)
        return answer

    def _load_and_fill(self, key: str, value_key: bytes, token: bytes, turn: Turn) -> Read:
        try:
            value, may_fill = self._ask_database(key)
        except BaseException:
            self._loads["failed"].inc()
            self._release(value_key, token)
            raise
        if not may_fill:
            self._release(value_key, token)
            self._loads["unfillable"].inc()
        elif self._fill(value_key, token, value):
            self._turns.settle(value_key, turn)
            self._loads["filled"].inc()
        else:
            self._loads["refused"].inc()
        self._reads["miss"].inc()
        return Read(value, "miss")

    def _ask_database(self, key: str) -> Loaded:
        value, may_fill = self._load(key)
        return Loaded(None if value == NOTHING else value, may_fill)

    def _fill(self, value_key: bytes, token: bytes, value: bytes | None) -> bool:
        ttl = self._negative_ttl_milliseconds if value is None else self._ttl()
        keys = [value_key, b"guard:" + value_key]
        try:
            return bool(self.client.run(scripts.FILL, keys, token, NOTHING if value is None else value, ttl))
        except CacheUnreachableError:
            return False

    def _ttl(self) -> int:
        return int(self._ttl_milliseconds * (1 - self._jitter * JITTER_USED * random.random()))  # noqa: S311 - no secret

    def _release(self, value_key: bytes, token: bytes) -> None:
        with suppress(CacheUnreachableError):  # then it expires
            self.client.run(scripts.RELEASE, [b"guard:" + value_key], token)

    def _bypass(self, key: str) -> Read:
        value = self._ask_database(key).value
        self._loads["unleased"].inc()
        self._reads["bypass"].inc()
        return Read(value, "bypass")


def _pauses(deadline: float) -> Iterator[float]:
    """Give pauses, each about twice the one before and never the same for two readers, until the deadline."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        if time.monotonic() >= deadline:
            return


def _chunks(keys: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    rest = iter(keys)
    while chunk := list(islice(rest, size)):
        yield chunk
