"""GET|POST /wxwork/callback: what WeCom calls. Verify, decrypt, store, answer; everything else happens afterwards.

    request                                                              answer
    GET  ?msg_signature&timestamp&nonce&echostr, all of it right         200, the decrypted echostr and nothing else
    POST ?msg_signature&timestamp&nonce, a sealed message                200, empty: it is stored
    anything that is not to be trusted, whatever is wrong with it        403, always the same
    another method                                                       405
    a body of more than 64 KiB                                           413, after 64 KiB and not more
    the control database cannot store it                                 503: WeCom sends it again

The answer waits for one statement on the control database, never for the broker, WeCom or a department database.
"""

from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from prometheus_client import Counter

from wxwork.crypto import CryptoError, Pair, open_sealed
from wxwork.inbox import waking
from wxwork.inbox.storing import store
from wxwork.inbox.troubles import note_refusal
from wxwork.messages import MAX_BYTES, MessageError, parse_fields

logger = structlog.get_logger(__name__)

MAX_QUERY_BYTES = 8 * 1024
MAX_PARAMETERS = 16
PARAMETERS = ("msg_signature", "timestamp", "nonce")
RECEIVED = Counter(
    "scrm_callbacks_received", "Requests to /wxwork/callback: stored, repeat, verified, or why they were refused.",
    ["outcome"],
)  # fmt: skip


class RefusedError(Exception):
    """A request that is not to be trusted. kind: for the counter only."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class BodyTooLargeError(Exception):
    """A body of more than MAX_BYTES."""


@csrf_exempt
@never_cache
def callback(request: HttpRequest) -> HttpResponse:
    """Take a callback, or verify the URL."""
    if request.method not in ("GET", "POST"):
        return _counted("method", HttpResponse(status=405, headers={"Allow": "GET, POST"}))
    try:
        return _verify(request) if request.method == "GET" else _take(request)
    except (CryptoError, RefusedError) as refused:
        note_refusal(refused.kind)
        return _counted(refused.kind, HttpResponse("Forbidden\n", status=403, content_type="text/plain"))
    except BodyTooLargeError:
        return _counted("too_large", HttpResponse(status=413))
    except DatabaseError as error:
        logger.error("callback_not_stored", reason=type(error).__name__)
        connection.close_if_unusable_or_obsolete()
        return _counted("not_stored", HttpResponse(status=503, headers={"Retry-After": "5"}))


def _verify(request: HttpRequest) -> HttpResponse:
    query = _query(request, (*PARAMETERS, "echostr"))
    # A form's decoder has made spaces of what was sent as a bare `+`; base64 has no spaces.
    plain = _open(query, query["echostr"].replace(" ", "+"))
    return _counted("verified", HttpResponse(plain, content_type="text/plain"))


def _take(request: HttpRequest) -> HttpResponse:
    query = _query(request, PARAMETERS)
    plain = _open(query, _encrypted(_body(request)))
    stored = store(plain)
    waking.tell(waking.CALLBACKS)
    if stored.owes_welcome:
        waking.tell(waking.WELCOMES)
    return _counted("stored" if stored.is_new else "repeat", HttpResponse(content_type="text/plain"))


def _query(request: HttpRequest, names: tuple[str, ...]) -> dict[str, str]:
    """Return these parameters, each of which must be there once. Raises RefusedError."""
    text = request.META.get("QUERY_STRING", "")
    if len(text) > MAX_QUERY_BYTES:
        raise RefusedError("query")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise RefusedError("query") from None
    found = {name: [value for key, value in pairs if key == name] for name in names}
    if any(len(values) != 1 or not values[0] for values in found.values()):
        raise RefusedError("query")
    query = {name: values[0] for name, values in found.items()}
    _check_age(query["timestamp"])
    return query


def _check_age(timestamp: str) -> None:
    """Refuse what was signed long ago, if a setting says so: WeCom has no rule, and may repeat an old signature."""
    longest = settings.WXWORK_CALLBACK_MAX_AGE_SECONDS
    if not longest:
        return
    seconds = int(timestamp) if timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12 else 0
    if abs(timezone.now().timestamp() - seconds) > longest:
        raise RefusedError("stale")


def _body(request: HttpRequest) -> bytes:
    """Return the body, chunked or not, and read no more of it than may be. Raises BodyTooLargeError, RefusedError."""
    length = request.META.get("CONTENT_LENGTH") or ""
    if length and (not (length.isascii() and length.isdigit()) or int(length[:20]) > MAX_BYTES):
        raise BodyTooLargeError
    # Django hands on no body of unknown length; the server does.
    is_chunked = not length and request.headers.get("Transfer-Encoding")
    source: Any = request.META["wsgi.input"] if is_chunked else request
    body = b""
    try:
        while chunk := source.read(MAX_BYTES + 1 - len(body)):
            body += chunk
            if len(body) > MAX_BYTES:
                raise BodyTooLargeError
    except OSError:
        raise RefusedError("body") from None
    return body


def _encrypted(body: bytes) -> str:
    """Return the Encrypt of a push, in XML or, as one page of WeCom shows, in JSON. Raises RefusedError."""
    try:
        if body.lstrip()[:1] == b"{":
            fields = {str(name).lower(): value for name, value in orjson.loads(body).items()}
            found = fields.get("encrypt")
        else:
            found = parse_fields(body).get("Encrypt")
    except (MessageError, orjson.JSONDecodeError):
        raise RefusedError("body") from None
    if not isinstance(found, str):
        raise RefusedError("body")
    return found


def _open(query: dict[str, str], encrypted: str) -> bytes:
    return open_sealed(
        _pairs(tuple(settings.WXWORK_CALLBACK_TOKEN), tuple(settings.WXWORK_CALLBACK_AES_KEY)),
        query["msg_signature"], query["timestamp"], query["nonce"], encrypted, receiveid=settings.WXWORK_CORP_ID,
    )  # fmt: skip


@cache
def _pairs(tokens: tuple[str, ...], keys: tuple[str, ...]) -> tuple[Pair, ...]:
    """Return the pairs of the settings. One that is none must not keep the others' callbacks out."""
    found = []
    for place, (token, key) in enumerate(zip(tokens, keys, strict=False), 1):
        try:
            found.append(Pair.of(token, key))
        except ValueError as error:  # wxwork.E002 of `manage.py check`
            logger.error("callback_pair_ignored", place=place, reason=str(error))
    return tuple(found)


def _counted(outcome: str, response: HttpResponse) -> HttpResponse:
    RECEIVED.labels(outcome).inc()
    return response
