"""Talk to Redis with short timeouts, no retries and a breaker, and name what goes wrong in two words."""

import hashlib
import os
import time
from functools import cache
from typing import Any

import redis
import structlog
from django.conf import settings
from redis.exceptions import NoScriptError

from scrm.cache import counters
from scrm.cache.breaker import Breaker
from scrm.cache.errors import CacheRefusedError, CacheUnreachableError
from scrm.cache.permits import Permits

logger = structlog.get_logger(__name__)

CONNECT_TIMEOUT_SECONDS = 0.25
# A machine short of processors made a healthy server take 250 ms; each false alarm costs a second without the cache.
TIMEOUT_SECONDS = 0.5
# Of one process. More would only queue at the interpreter, and redis-py raises above 100.
CONNECTIONS = 16
PATIENCE_SECONDS = 1.0
COMPLAINT_EVERY_SECONDS = 10.0


class Script:
    """A Lua script that the server runs in one step, known to it by its SHA-1."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class CacheClient:
    """One server, for all threads of a process. `redis` is the bare client: without the breaker."""

    def __init__(self, client: redis.Redis, *, breaker: Breaker | None = None) -> None:
        self.redis = client
        self.breaker = breaker or Breaker()
        self._permits = Permits(CONNECTIONS)
        self._complain_at = 0.0

    @classmethod
    def from_url(
        cls, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS, open_seconds: float = 1.0
    ) -> "CacheClient":
        """Make a client; nothing is connected yet. timeout_seconds: for each answer; to connect at most 0.25."""
        client = redis.Redis.from_url(
            url,
            retry=None,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=min(timeout_seconds, CONNECT_TIMEOUT_SECONDS),
            # RESP2 without driver info needs no handshake: a new connection costs one round trip, not four.
            protocol=2,
            driver_info=None,
        )
        return cls(client, breaker=Breaker(open_seconds=open_seconds))

    def call(self, *command: Any) -> Any:
        """Run one command. Returns its answer: bytes, int, list or None.

        Raises CacheRefusedError where the server answers with an error, else CacheUnreachableError: at once while the
        breaker is open, within the timeout otherwise.
        """
        if not self._permits.acquire(timeout=PATIENCE_SECONDS):
            raise CacheUnreachableError("Every connection is in use.")
        try:
            return self._call(command)
        finally:
            self._permits.release()

    def _call(self, command: tuple[Any, ...]) -> Any:
        # After the permit: who waited for one that a frozen server held does not ask it too.
        is_trial = self.breaker.admit()
        try:
            answer = self.redis.execute_command(*command)
        except redis.ResponseError as error:
            if is_trial:
                self.breaker.close()
            raise self._refused(error) from error
        except (redis.RedisError, OSError) as error:
            counters.ERRORS.labels("unreachable").inc()
            self.breaker.trip(type(error).__name__)
            raise CacheUnreachableError(f"Redis does not answer: {error}") from error
        if is_trial:
            self.breaker.close()
        return answer

    def run(self, script: Script, keys: list[bytes], *arguments: Any) -> Any:
        """Run a script, sending its text only to a server that does not know it yet. Raises as call does."""
        try:
            return self.call("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except CacheRefusedError as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        return self.call("EVAL", script.text, len(keys), *keys, *arguments)

    def _refused(self, error: redis.ResponseError) -> CacheRefusedError:
        if not isinstance(error, NoScriptError):
            counters.ERRORS.labels("refused").inc()
            now = time.monotonic()
            if now >= self._complain_at:
                self._complain_at = now + COMPLAINT_EVERY_SECONDS
                logger.warning("cache_refused", reason=str(error)[:200])
        return CacheRefusedError(str(error))


@cache
def _client(url: str) -> CacheClient:
    return CacheClient.from_url(url)


def redis_client() -> CacheClient:
    """Return this process's client of REDIS_URL."""
    return _client(settings.REDIS_URL)


# A permit that another thread of the parent held would stay lent in the child, its lock locked.
os.register_at_fork(after_in_child=_client.cache_clear)
