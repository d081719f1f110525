"""Say once what would else be said at every call: in the log, as an error, for whoever watches it.

what                     how often                          event
an unknown code          once a day for each code           wecom_unknown_code
a request of ours that   once an hour for each code and     wecom_refuses_our_request, with the names and kinds of its
WeCom calls wrong        API                                fields and none of their contents
something for settings   once an hour for each code and     wecom_wants_configuration
or WeCom's console       API

All processes count together, in Redis; without it each says it once for itself.
"""

from typing import Any

import orjson
import structlog

from scrm.cache import CacheUnreachableError, redis_client
from wxwork.errors import BugError, ConfigError, UnknownCodeError, WxworkError
from wxwork.transport import Request

logger = structlog.get_logger(__name__)

DAY_SECONDS, HOUR_SECONDS = 86_400, 3_600
_said: set[str] = set()


def alert(error: WxworkError, request: Request) -> None:
    """Log an error of a call if it is for somebody to look at and has not been said lately."""
    if isinstance(error, UnknownCodeError):
        if _is_first(f"unknown:{error.code}", DAY_SECONDS):
            logger.error("wecom_unknown_code", code=error.code, path=error.path, reason=str(error))
    elif isinstance(error, BugError):
        if _is_first(f"bug:{error.code}:{error.path}", HOUR_SECONDS):
            shape = shape_of(request.body)
            logger.error("wecom_refuses_our_request", code=error.code, path=error.path, shape=shape, reason=str(error))
    elif isinstance(error, ConfigError) and _is_first(f"config:{error.code}:{error.path}", HOUR_SECONDS):
        logger.error("wecom_wants_configuration", code=error.code, path=error.path, reason=str(error))


def _is_first(what: str, seconds: int) -> bool:
    try:
        return bool(redis_client().call("SET", f"wecom:said:{what}", b"1", "NX", "EX", seconds))
    except CacheUnreachableError:
        is_first = what not in _said
        _said.add(what)
        return is_first


def shape_of(body: bytes | None) -> Any:
    """Return a body with kinds and lengths in the place of contents.

    >>> shape_of(b'{"userid": "zhang", "tag": [{"name": "x"}, {"name": "y"}], "order": 3}')
    {'userid': 'text of 5', 'tag': ['2 of', {'name': 'text of 1'}], 'order': 'int'}
    """
    return None if body is None else _shape(orjson.loads(body))


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [f"{len(value)} of", *([_shape(value[0])] if value else [])]
    return f"text of {len(value)}" if isinstance(value, str) else type(value).__name__
