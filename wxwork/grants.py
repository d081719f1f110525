"""Things that WeCom grants for two hours - access tokens, tickets - shared by all processes through Redis.

key              holds
<key>            the value, for expires_in - 300 s
<key>:stamp      which fetch brought it, for as long
<key>:lock       who is fetching a new one, for 10 s at the longest
<key>:refused    why there is none for now: 10 min after wrong credentials, 1 s after WeCom did not answer

    step of the one who fetches      if the process dies right after it
    takes the lock                   the others wait until the lock expires, then one of them fetches
    asks WeCom                       the same: WeCom gives the same value again
    stores it, gives back the lock   nothing: both are one script

Whoever finds a value refused deletes it only if it is still the one with that stamp, so a hundred callers who are
refused at once lead to one new value, also where WeCom gives the same one again. With Redis down each process keeps
what it saw last and fetches for itself, one thread at a time: WeCom answers all of them with the same value.
"""

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import structlog

from scrm.cache import CacheUnreachableError, redis_client
from scrm.cache.client import Script
from scrm.cache.scripts import RELEASE
from wxwork import counters
from wxwork.errors import ConfigError, LimitedError, RetryError, UnreachableError, WxworkError

logger = structlog.get_logger(__name__)

# What Redis holds is good for so much longer at least.
MARGIN_SECONDS = 300
LOCK_SECONDS = 10.0
# Of those who wait for another's fetch: past the end of a lock whose holder died, and the fetch after it.
WAIT_SECONDS = 16.0
POLL_SECONDS = 0.05
BREAKER_SECONDS = 600.0
# Less than the pauses of a call with three tries: one failure of gettoken costs nobody a call.
NO_ANSWER_SECONDS = 1.0

# KEYS lock, value, stamp, refused; ARGV lock's token, value, stamp, milliseconds. Returns 1, or 0: this token has the
# lock no more.
STORE = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[4])
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
redis.call('DEL', KEYS[1], KEYS[4])
return 1
""")
# KEYS lock, refused; ARGV lock's token, why, milliseconds. A refusal that lasts longer stays.
REFUSE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[3]) then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
return 1
""")
# KEYS value, stamp; ARGV what they were. Returns more than 0 if they were that still.
FORGET = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] or (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then return 0 end
return redis.call('DEL', KEYS[1], KEYS[2])
""")

KINDS: dict[str, type[WxworkError]] = {"config": ConfigError, "limited": LimitedError, "retry": UnreachableError}


class Held(NamedTuple):
    """A value, and the stamp of the fetch that brought it."""

    value: str
    stamp: str

    def __repr__(self) -> str:
        return f"Held({self.stamp})"


@dataclass(frozen=True)
class Refusal:
    """Why nothing is fetched, and for how long yet."""

    kind: str
    message: str
    code: int | None
    path: str
    seconds_left: float

    def as_error(self) -> WxworkError:
        text = f"{self.message} (not asked again for {self.seconds_left:.0f} s)"
        if self.kind == "limited":
            return LimitedError(text, code=self.code, path=self.path, retry_after_seconds=self.seconds_left)
        return KINDS.get(self.kind, ConfigError)(text, code=self.code, path=self.path)


@dataclass
class _Local:
    """What this process knows of a grant, for when Redis cannot be asked. Times of time.monotonic()."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    held: Held | None = None
    good_until: float = 0.0
    refusal: Refusal | None = None
    refused_until: float = 0.0


_locals: dict[str, _Local] = {}


@dataclass(frozen=True)
class Grant:
    """One thing to be had. fetch: asks WeCom, returns (value, expires_in seconds), or raises WxworkError."""

    kind: str
    key: str
    fetch: Callable[[], tuple[str, float]] = field(repr=False)
    breaker_seconds: float = BREAKER_SECONDS

    def get(self) -> Held:
        """Return it: from Redis, or fetched by whoever comes first while the others wait.

        Raises ConfigError while the credentials are refused, else LimitedError or RetryError. Redis: one command where
        there is one.
        """
        try:
            return self._get_shared()
        except CacheUnreachableError:
            return self._get_alone()

    def forget(self, held: Held) -> None:
        """Say that WeCom refused this value. The next get fetches another, unless somebody has already."""
        local = self._local()
        with local.lock:
            if local.held == held:
                local.held = None
        try:
            if redis_client().run(FORGET, [self._name(), self._name(b":stamp")], held.value.encode(), held.stamp):
                logger.info("wecom_grant_refused", kind=self.kind, stamp=held.stamp)
        except CacheUnreachableError:
            pass  # other processes find out for themselves

    def refuse(self, error: WxworkError, *, seconds: float) -> None:
        """Let nobody ask for it for so long, and say why."""
        self._note_refusal(error, seconds, lock_token="")  # not a lock's: nobody's is given back

    def allow(self) -> None:
        """Have WeCom asked again at once: what was wrong has been mended."""
        local = self._local()
        with local.lock:
            local.refusal = None
        redis_client().call("DEL", self._name(b":refused"))

    def find_refusal(self) -> Refusal | None:
        """Return why nothing is fetched now, or None. Asks Redis, else this process's memory."""
        try:
            refused, left = redis_client().call("GET", self._name(b":refused")), 0
            if refused is not None:
                left = redis_client().call("PTTL", self._name(b":refused"))
            return self._refusal(refused, max(left, 0) / 1000) if refused is not None else None
        except CacheUnreachableError:
            return self._local_refusal()

    def find_seconds_left(self) -> float | None:
        """Return how long what is stored is given out yet; None without any. Raises CacheUnreachableError."""
        left = redis_client().call("PTTL", self._name())
        return left / 1000 if left >= 0 else None

    # ---- with Redis
    def _get_shared(self) -> Held:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            held = self._read()
            if held is not None:
                return held
            token = secrets.token_hex(8)
            if redis_client().call("SET", self._name(b":lock"), token, "NX", "PX", int(LOCK_SECONDS * 1000)):
                # Somebody may have stored one between our look and our lock.
                return self._read_locked(token) or self._fetch_locked(token)
            if time.monotonic() > deadline:
                raise RetryError(f"Another process has been fetching the {self.kind} for {WAIT_SECONDS:.0f} s.")
            time.sleep(POLL_SECONDS * (1 + secrets.randbelow(100) / 100))

    def _read(self) -> Held | None:
        names = [self._name(), self._name(b":stamp"), self._name(b":refused")]
        value, stamp, refused = redis_client().call("MGET", *names)
        held = Held(value.decode(errors="replace"), (stamp or b"").decode(errors="replace")) if value else None
        if refused is not None:
            self._raise_refusal(refused, held)
        if held is not None:
            self._remember(held, MARGIN_SECONDS * 0.8)
        return held

    def _raise_refusal(self, refused: bytes, held: Held | None) -> None:
        left = redis_client().call("PTTL", self._name(b":refused"))
        refusal = self._refusal(refused, left / 1000)
        # A fetch that failed means little to who has one; that the credentials are refused counts all the same.
        if left > 0 and (held is None or refusal.kind == "config"):
            raise refusal.as_error()

    def _read_locked(self, token: str) -> Held | None:
        try:
            held = self._read()
        except WxworkError:
            self._unlock(token)
            raise
        if held is not None:
            self._unlock(token)
        return held

    def _unlock(self, token: str) -> None:
        # Else it expires by itself.
        with contextlib.suppress(CacheUnreachableError):
            redis_client().run(RELEASE, [self._name(b":lock")], token)

    def _fetch_locked(self, token: str) -> Held:
        held, seconds = self._fetch(token)
        names = [self._name(suffix) for suffix in (b":lock", b"", b":stamp", b":refused")]
        # Who cannot store it uses it all the same.
        with contextlib.suppress(CacheUnreachableError):
            redis_client().run(STORE, names, token, held.value.encode(), held.stamp, int(seconds * 1000))
        return held

    # ---- without Redis
    def _get_alone(self) -> Held:
        local = self._local()
        with local.lock:
            if local.held is not None and time.monotonic() < local.good_until:
                return local.held
            refusal = self._local_refusal()
            if refusal is not None:
                raise refusal.as_error()
            return self._fetch("", local=local)[0]

    # ---- both
    def _fetch(self, lock_token: str, *, local: _Local | None = None) -> tuple[Held, float]:
        try:
            value, expires_in = self.fetch()
        except WxworkError as error:
            counters.TOKENS.labels(self.kind, type(error).__name__).inc()
            self._note_refusal(error, self._pause_after(error), lock_token=lock_token)
            raise
        except BaseException:
            if lock_token:
                self._unlock(lock_token)
            raise
        counters.TOKENS.labels(self.kind, "fetched").inc()
        held = Held(value, f"{time.time_ns():x}{secrets.token_hex(2)}")
        # WeCom may give one that has not long to live: half of that then, not a fetch every second.
        seconds = max(expires_in - MARGIN_SECONDS, expires_in / 2, 1.0)
        self._remember(held, seconds, local=local)
        return held, seconds

    def _note_refusal(self, error: WxworkError, seconds: float, *, lock_token: str) -> None:
        kind = next((name for name, type_ in KINDS.items() if isinstance(error, type_)), "config")
        refusal = Refusal(kind, str(error), error.code, error.path, seconds)
        local = self._local()
        local.refusal, local.refused_until = refusal, time.monotonic() + seconds
        if kind == "config":
            logger.error("wecom_credentials_refused", kind=self.kind, code=error.code, reason=str(error))
        packed = orjson.dumps({"kind": kind, "message": str(error), "code": error.code, "path": error.path})
        names = [self._name(b":lock"), self._name(b":refused")]
        # Else this process knows, and the others will find out once each.
        with contextlib.suppress(CacheUnreachableError):
            redis_client().run(REFUSE, names, lock_token, packed, int(seconds * 1000))

    def _refusal(self, packed: bytes, seconds_left: float) -> Refusal:
        try:
            found: dict[str, Any] = orjson.loads(packed)
            return Refusal(found["kind"], found["message"], found["code"], found["path"], seconds_left)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return Refusal("config", f"The {self.kind} is refused.", None, "", seconds_left)

    def _pause_after(self, error: WxworkError) -> float:
        """Return for how long nobody asks after this failed: else all who waited would ask, one after the other."""
        if isinstance(error, LimitedError):
            return error.retry_after_seconds
        return NO_ANSWER_SECONDS if isinstance(error, RetryError) else self.breaker_seconds

    def _local_refusal(self) -> Refusal | None:
        local = self._local()
        left = local.refused_until - time.monotonic()
        known = local.refusal
        if known is None or left <= 0:
            return None
        return Refusal(known.kind, known.message, known.code, known.path, left)

    def _remember(self, held: Held, seconds: float, *, local: _Local | None = None) -> None:
        local = local or self._local()
        local.held, local.good_until, local.refusal = held, time.monotonic() + seconds, None

    def _local(self) -> _Local:
        return _locals.get(self.key) or _locals.setdefault(self.key, _Local())

    def _name(self, suffix: bytes = b"") -> bytes:
        return self.key.encode() + suffix


def forget_locals() -> None:
    """Forget what this process remembers: for tests, and after a fork."""
    _locals.clear()


# A lock that another thread of the parent held would stay locked in the child.
os.register_at_fork(after_in_child=forget_locals)
