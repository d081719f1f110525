"""How often each API has answered what. Counted in Redis: workers call, and web processes show /metrics.

    wecom:calls:<corp_id>     {"/cgi-bin/user/get 0": 17, "/cgi-bin/user/get timeout": 1, ...}

A count that Redis cannot take is lost, and one that Redis has lost begins anew, as a counter does that is restarted.
"""

from contextlib import suppress

from django.conf import settings

from scrm.cache import CacheUnreachableError, redis_client
from scrm.cache.errors import CacheRefusedError
from wxwork import counters

_shown: set[str] = set()


def count(api: str, code: str) -> None:
    """Count an answer. code: WeCom's if it is in wxwork.codes, else a word. Redis: one command. Raises nothing."""
    with suppress(CacheUnreachableError, CacheRefusedError):
        redis_client().call("HINCRBY", _key(), f"{api} {code}", 1)


def show_in_metrics() -> None:
    """Bring the gauges of /metrics up to date. Redis: one command. Raises CacheUnreachableError."""
    found: dict[bytes, bytes] = redis_client().call("HGETALL", _key())
    counts = {name.decode(): int(number) for name, number in found.items()}
    _shown.update(counts)
    for name in _shown:
        counters.CALLS.labels(*name.split(" ", 1)).set(counts.get(name, 0))


def _key() -> str:
    return f"wecom:calls:{settings.WXWORK_CORP_ID}"
