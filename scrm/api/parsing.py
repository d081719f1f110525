"""Read what a request says, strictly: bodies, query parameters, ids in paths. Wrong input is a ProblemError.

    POST … Content-Type: application/json, Content-Encoding: gzip      read, at most `max_bytes` once unpacked
    {"a": NaN}, {"a": 1} x, {"a": "\\u0000"}, 33 levels deep            400
    a gzip bomb, 11 MB                                                 413, after max_bytes and not more
    ?limit=0, ?limit=１０, ?limit=1&limit=2, ?limitt=5                  400 invalid, with the field's name

Numbers beyond 64 bits come as floats (orjson): whoever wants an integer must ask for one.
"""

import re
import zlib
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Protocol

import orjson
from django.http import HttpRequest, QueryDict
from django.http.request import UnreadablePostError
from rest_framework.parsers import BaseParser

from scrm.api.problems import (
    InvalidError,
    LengthRequiredError,
    MalformedError,
    NotFoundError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from scrm.sharding import ids
from scrm.sharding.errors import InvalidCustomerIdError

MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_DEPTH = 32
CHUNK_BYTES = 64 * 1024
# RFC 1952 lets a gzip file have several members; a body of thousands of empty ones is no honest one.
MAX_GZIP_MEMBERS = 16
DEFAULT_LIMIT = 50
MAX_LIMIT = 500


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


# ---- bodies ----------------------------------------------------------------------------------------------------------


def read_json(request: HttpRequest, *, max_bytes: int = MAX_BODY_BYTES) -> Any:
    """Return the JSON value that the body of a plain Django request is.

    max_bytes: of the body as sent, and again of what it unpacks to.
    """
    content_type = request.content_type or ""
    if content_type not in ("application/json", ""):
        raise UnsupportedMediaTypeError(
            f"Send application/json, not {content_type[:80]}.", headers={"Accept": "application/json"}
        )
    return decode(read_body(request, max_bytes=max_bytes))


def read_object(request: HttpRequest, *, max_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """Return the JSON object that the body of a plain Django request is. See read_json."""
    found = read_json(request, max_bytes=max_bytes)
    if not isinstance(found, dict):
        raise InvalidError.of("", "not_an_object", "The body must be a JSON object.")
    return found


def read_body(request: HttpRequest, *, max_bytes: int = MAX_BODY_BYTES, stream: _Readable | None = None) -> bytes:
    """Return the body, unpacked if it is gzip. stream: where it is read from, if not from the request."""
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise UnsupportedMediaTypeError(
            f"Content-Encoding {encoding[:40]} is not understood; gzip is.",
            headers={"Accept-Encoding": "gzip, identity"},
        )
    _check_length(request, max_bytes)
    source = request if stream is None else stream
    body = b"".join(_chunks(source, max_bytes)) if encoding in ("", "identity") else _gunzipped(source, max_bytes)
    if not body:
        raise MalformedError("The body is empty.")
    return body


def _check_length(request: HttpRequest, max_bytes: int) -> None:
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length and request.headers.get("Transfer-Encoding"):
        # WSGI hands on no body of unknown length: it would look empty.
        raise LengthRequiredError("Send a Content-Length instead of Transfer-Encoding.")
    if length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
        raise _too_large(max_bytes)


def _chunks(source: _Readable, max_bytes: int) -> Iterable[bytes]:
    total = 0
    while True:
        try:
            chunk = source.read(min(CHUNK_BYTES, max_bytes + 1 - total))
        except UnreadablePostError:
            raise MalformedError("The body ended early.") from None
        if not chunk:
            return
        total += len(chunk)
        if total > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _gunzipped(source: _Readable, max_bytes: int) -> bytes:
    body = bytearray()
    member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    members = 1
    for chunk in _chunks(source, max_bytes):
        rest = chunk
        while rest:
            if member.eof:
                member, members = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), members + 1
            if members > MAX_GZIP_MEMBERS:
                raise MalformedError(f"The gzip body has more than {MAX_GZIP_MEMBERS} members.")
            try:
                body += member.decompress(rest, max_bytes + 1 - len(body))
            except zlib.error:
                raise MalformedError("The body is not gzip.") from None
            if len(body) > max_bytes:
                raise _too_large(max_bytes)
            rest = member.unused_data or member.unconsumed_tail
    if not member.eof:
        raise MalformedError("The gzip body ended early.")
    return bytes(body)


def _too_large(max_bytes: int) -> TooLargeError:
    return TooLargeError(f"The body may have {max_bytes} bytes, also once unpacked.", max_bytes=max_bytes)


def decode(body: bytes) -> Any:
    """Return the JSON value that bytes are.

    >>> decode(b'{"a": [1.5, null]}')
    {'a': [1.5, None]}
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"The body is not JSON: {error.msg} at character {error.pos}.") from None
    # Nearly every body has few brackets and no escaped NUL, so that the walks are not needed.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check_depth(found)
    if b"\\u0000" in body:
        _check_no_nul(found)
    return found


def _inner(level: list[Any]) -> list[Any]:
    return [
        item
        for container in level
        for item in (container.values() if isinstance(container, dict) else container)
        if isinstance(item, dict | list)
    ]


def _check_depth(found: Any) -> None:
    level, depth = _inner([[found]]), 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise MalformedError(f"The body is nested deeper than {MAX_DEPTH} levels.")
        level = _inner(level)


def _check_no_nul(found: Any) -> None:
    level: list[Any] = [[found]]
    while level:
        for container in level:
            texts = [*container, *container.values()] if isinstance(container, dict) else container
            if any(isinstance(text, str) and "\0" in text for text in texts):
                raise MalformedError("No text may hold the character U+0000.")
        level = _inner(level)


class StrictJSONParser(BaseParser):
    """read_json for REST framework views. A view may set max_body_bytes."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        context = parser_context or {}
        max_bytes = getattr(context.get("view"), "max_body_bytes", MAX_BODY_BYTES)
        request = context["request"]
        return decode(read_body(getattr(request, "_request", request), max_bytes=max_bytes, stream=stream))


# ---- query parameters ------------------------------------------------------------------------------------------------


def refuse_unknown(params: QueryDict, known: Iterable[str]) -> None:
    """Refuse parameters that would be ignored: a list with a misspelt filter is another list."""
    names = sorted(known)
    for name in params:
        if name not in names:
            raise InvalidError.of(
                name[:80], "unknown", f"There is no parameter {name[:80]!r}; known are {', '.join(names)}."
            )


def read_text(params: QueryDict, name: str, *, max_length: int) -> str | None:
    """Return a parameter, None when it is absent or empty."""
    found = params.getlist(name)
    if len(found) > 1:
        raise InvalidError.of(name, "repeated", f"{name} may be given once.")
    if not found or not found[0]:
        return None
    if len(found[0]) > max_length:
        raise InvalidError.of(name, "too_long", f"{name} may have {max_length} characters.")
    if "\0" in found[0]:
        raise InvalidError.of(name, "invalid_character", f"{name} must not hold the character U+0000.")
    return found[0]


def read_integer(params: QueryDict, name: str, *, lowest: int, highest: int) -> int | None:
    """Return a parameter of decimal digits, None when it is absent or empty."""
    text = read_text(params, name, max_length=100)
    if text is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not lowest <= int(text) <= highest:
        raise InvalidError.of(name, "out_of_range", f"{name} must be an integer from {lowest} to {highest}.")
    return int(text)


def read_limit(params: QueryDict) -> int:
    """Return how many items a page shall have."""
    found = read_integer(params, "limit", lowest=1, highest=MAX_LIMIT)
    return DEFAULT_LIMIT if found is None else found


def read_day(params: QueryDict, name: str) -> date | None:
    """Return a parameter such as 2026-01-31, None when it is absent or empty."""
    text = read_text(params, name, max_length=100)
    if text is None:
        return None
    try:
        # fromisoformat also takes 20260131 and 2026-W05-6.
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidError.of(name, "not_a_date", f"{name} must be a date such as 2026-01-31.")


# ---- paths -----------------------------------------------------------------------------------------------------------


def read_customer_id(text: str) -> int:
    """Return the customer_id in a path; what is none is nobody's, so NotFoundError."""
    try:
        return ids.parse(text)
    except InvalidCustomerIdError:
        raise NotFoundError from None
