"""The budget that all processes share."""

import contextlib
import hashlib
import os
import random
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings

from scrm.cache import CacheUnreachableError, redis_client
from wxwork import counters
from wxwork.budget import scripts
from wxwork.budget.alone import PARTS, Alone
from wxwork.errors import LimitedError, WxworkError
from wxwork.pacing import Limits

logger = structlog.get_logger(__name__)

GROW_MS = 5_000
LEASE_SECONDS = 40.0
# Of our own limit: whoever has made so many calls in an hour has met the hour's rule, with what others call.
FULL_SHARE = 0.9
# What an answer takes, for expectations.
SECONDS_A_CALL = 0.25
SHANGHAI = ZoneInfo("Asia/Shanghai")
CROWDED_CODE = 45033
WHY = {"": "", "minute": "the minute's limit", "hour": "the hour's limit", "day": "the day's limit"}

_alone = Alone()
_complained = False
_shown: set[str] = set()  # in this process's /metrics


@dataclass(frozen=True)
class ApiUsage:
    """What has been used of one API, and what is left. is_shared: of all processes, or of this one only."""

    api: str
    minute_used: int
    minute_left: int
    hour_used: int
    hour_left: int
    under_way: int
    at_once: int
    open_seconds: float
    why: str
    next_free_seconds: float
    minute_ahead_seconds: float = 0.0
    hour_ahead_seconds: float = 0.0
    is_shared: bool = True


def limits() -> Limits:
    """Return the limits of each API from the settings."""
    return Limits(
        max(1, settings.WXWORK_CALLS_PER_MINUTE),
        max(1, settings.WXWORK_CALLS_PER_HOUR),
        max(1, settings.WXWORK_CALLS_AT_ONCE),
        max(0.001, settings.WXWORK_BLOCK_SECONDS),
    )


@dataclass
class _Place:
    """A place taken for one call."""

    lease: str
    acquired_ms: bytes
    is_shared: bool


@contextlib.contextmanager
def turn(
    corp_id: str, api: str, *, deadline: float, lease_seconds: float = LEASE_SECONDS, relation: str = ""
) -> Iterator[None]:
    """Hold a place for one call, and learn from how it goes. Blocks until there is one.

    deadline: of time.monotonic(). lease_seconds: after which the call has ended whatever happens. relation: who and
    whom a write is about; one at a time of each. Raises LimitedError where there is no room until then: at once if that
    is known. Redis: two scripts, more while waiting.
    """
    place = _wait_for_place(corp_id, api, deadline, lease_seconds, relation)
    outcome = "lost"
    blocked: LimitedError | None = None
    try:
        yield
        outcome = "ok"
    except LimitedError as error:
        outcome, blocked = "limited", error
        raise
    except WxworkError as error:
        outcome = "crowded" if error.code == CROWDED_CODE else "lost" if error.code is None else "ok"
        raise
    finally:
        seconds = _release(corp_id, api, place, outcome, relation)
        if blocked is not None:
            blocked.retry_after_seconds = seconds


def _wait_for_place(corp_id: str, api: str, deadline: float, lease_seconds: float, relation: str) -> _Place:
    waited = 0.0
    while True:
        place, wait, verdict = _acquire(corp_id, api, lease_seconds, relation)
        if place is not None:
            if waited:
                counters.WAITED.labels(api).inc(waited)
            return place
        if time.monotonic() + wait > deadline:
            counters.REFUSED.labels(api).inc()
            raise LimitedError(_words(api, verdict, wait), path=api, retry_after_seconds=max(wait, 0.05))
        # All who wait are told the same: spread them.
        pause = min(wait + random.uniform(0.0, 0.03), max(0.001, deadline - time.monotonic()))  # noqa: S311
        time.sleep(pause)
        waited += pause


def _words(api: str, verdict: int, wait: float) -> str:
    if verdict == scripts.OPEN:
        return f"WeCom takes no calls of {api} for another {wait:.0f} s (45009)."
    if verdict == scripts.WRITING:
        return f"Another process is writing on this relation, by {api}."
    reason = "as many calls are under way as may be" if verdict == scripts.CROWDED else "the budget is used up"
    return f"There was no room for a call of {api} in time: {reason}."


def _acquire(corp_id: str, api: str, lease_seconds: float, relation: str) -> tuple[_Place | None, float, int]:
    now = limits()
    lease = secrets.token_hex(8)
    try:
        verdict, wait_ms, now_ms = redis_client().run(
            scripts.ACQUIRE,
            [*_names(corp_id, api), _relation(corp_id, relation), f"wecom:budget:{corp_id}".encode()],
            *(api, lease, int(lease_seconds * 1000), now.at_once),
            *(value for rule in now.rules for value in (f"{rule.interval_seconds * 1000:.6f}", rule.burst)),
            *(int(bool(relation)), GROW_MS),
        )
    except CacheUnreachableError:
        _complain()
        wait = _alone.acquire(api, now.share(PARTS))
        return (None if wait > 0 else _Place(lease, b"0", is_shared=False)), wait, scripts.PACED
    _calm()
    wait = wait_ms / 1000
    if verdict == scripts.OPEN:
        _alone.block(api, wait, "")
    else:
        _alone.unblock(api)
    return (_Place(lease, now_ms, is_shared=True) if verdict == scripts.GO else None), wait, verdict


def _release(corp_id: str, api: str, place: _Place, outcome: str, relation: str) -> float:
    """Give a place back; return for how long the API is blocked now."""
    now = limits()
    if not place.is_shared:
        _alone.release(api)
    try:
        open_ms, why = redis_client().run(
            scripts.RELEASE,
            [*_names(corp_id, api), _relation(corp_id, relation)],
            *(place.lease, outcome, place.acquired_ms, int(now.block_seconds * 1000), int(now.per_hour * FULL_SHARE)),
            *(_ms_to_midnight(), now.at_once, GROW_MS),
        )
        seconds = open_ms / 1000
    except CacheUnreachableError:
        seconds, why = (now.block_seconds, b"minute") if outcome == "limited" else (0.0, b"")
    if outcome == "limited":
        _alone.block(api, seconds, why.decode())
        logger.warning("wecom_limit_reached", api=api, seconds=round(seconds, 1), why=WHY.get(why.decode(), ""))
    elif outcome == "crowded":
        logger.info("wecom_too_many_at_once", api=api)
    return seconds


def _ms_to_midnight() -> int:
    now = datetime.now(SHANGHAI)
    midnight = datetime(now.year, now.month, now.day, tzinfo=SHANGHAI) + timedelta(days=1)
    return int((midnight - now).total_seconds() * 1000)


def _names(corp_id: str, api: str) -> list[bytes]:
    state = f"wecom:budget:{corp_id}:{api}"
    return [state.encode(), f"{state}:now".encode()]


def _relation(corp_id: str, relation: str) -> bytes:
    digest = hashlib.sha256(relation.encode("utf-8", "surrogatepass")).hexdigest()[:24] if relation else "none"
    return f"wecom:relation:{corp_id}:{digest}".encode()


def _complain() -> None:
    global _complained
    if not _complained:
        _complained = True
        logger.warning(
            "wecom_budget_alone", reason="Redis cannot be asked: each process keeps to a part of the budget."
        )


def _calm() -> None:
    global _complained
    if _complained:
        _complained = False
        logger.info("wecom_budget_shared_again")


def _begin_anew() -> None:
    global _alone
    _alone = Alone()


# A lock that another thread of the parent held would stay locked in the child.
os.register_at_fork(after_in_child=_begin_anew)


# ---- figures ---------------------------------------------------------------------------------------------------------


def usage(corp_id: str | None = None) -> dict[str, ApiUsage]:
    """Return {API: what is used and left} of those that were called lately. Redis: one script for each."""
    corp_id = settings.WXWORK_CORP_ID if corp_id is None else corp_id
    try:
        apis = sorted(api.decode() for api in redis_client().call("SMEMBERS", f"wecom:budget:{corp_id}"))
        return {api: _read(corp_id, api) for api in apis}
    except CacheUnreachableError:
        return {api: _read_alone(api) for api in sorted(_alone.read())}


def _read(corp_id: str, api: str) -> ApiUsage:
    now = limits()
    minute, hour, under_way, cap, open_ms, why, minute_ahead, hour_ahead = redis_client().run(
        scripts.READ, _names(corp_id, api), now.at_once, GROW_MS
    )
    ahead = minute_ahead / 1000, hour_ahead / 1000
    waits = [rule.wait_seconds(at, 0.0) for rule, at in zip(now.rules, ahead, strict=True)]
    return ApiUsage(
        api,
        *(minute, max(0, now.per_minute - minute), hour, max(0, now.per_hour - hour), under_way, cap),
        *(open_ms / 1000, why.decode() if open_ms else "", max(open_ms / 1000, *waits), *ahead),
    )


def _read_alone(api: str) -> ApiUsage:
    share, now, mine = _alone.read()[api], _alone.now(), limits().share(PARTS)
    open_seconds = max(0.0, share.open_until - now)
    waits = [rule.wait_seconds(at, now) for rule, at in zip(mine.rules, (share.minute_at, share.hour_at), strict=True)]
    return ApiUsage(
        api, 0, mine.per_minute, 0, mine.per_hour, share.under_way, mine.at_once, open_seconds, share.why,
        max(open_seconds, *waits), is_shared=False,
    )  # fmt: skip


def expected_seconds(calls: int, api: str) -> float:
    """Return how long so many calls of an API will take from now on, if nobody else makes any.

    By the rules, what has been used already, a circuit that is open, and a quarter of a second a call, as many at once
    as may be.
    """
    if calls <= 0:
        return 0.0
    now, found = limits(), usage().get(api)
    ahead = (found.minute_ahead_seconds, found.hour_ahead_seconds) if found else (0.0, 0.0)
    paced = max(rule.seconds_for(calls, at) for rule, at in zip(now.rules, ahead, strict=True))
    answering = calls * SECONDS_A_CALL / (found.at_once if found else now.at_once)
    return max(paced, answering) + (found.open_seconds if found else 0.0)


def show_in_metrics() -> None:
    """Bring the gauges of /metrics up to date. What Redis knows no more of is as if it had not been called."""
    now = limits()
    unused = ApiUsage("", 0, now.per_minute, 0, now.per_hour, 0, now.at_once, 0.0, "", 0.0)
    all_found = usage()
    _shown.update(all_found)
    for api in _shown:
        found = all_found.get(api, unused)
        for window, used, left in (
            ("minute", found.minute_used, found.minute_left),
            ("hour", found.hour_used, found.hour_left),
        ):
            counters.USED.labels(api, window).set(used)
            counters.LEFT.labels(api, window).set(left)
        counters.NEXT_FREE.labels(api).set(found.next_free_seconds)
        counters.CIRCUIT.labels(api).set(found.open_seconds > 0)
