"""Send one request to WeCom and read what comes back: no tokens, no budget, no second try.

what came                                              raised
errcode 0, or none                                     nothing: the answer
another errcode                                        by wxwork.codes
no connection                                          UnreachableError: nothing was sent
a timeout, a broken answer, 5xx, 404 without a body,   RetryError, or OutcomeUnknownError where the call must not
HTML, half a JSON, JSON that is no object              be made twice: it may have been done
a redirect                                             ConfigError: WXWORK_BASE_URL wants https

Secrets travel in the query, and httpx shows URLs in its log lines and exceptions. So the request that httpx knows has
none: they are put into a copy, right before it goes out (_SecretsLast).
"""

import json
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
import orjson
import structlog
from django.conf import settings

from wxwork import counters, tally
from wxwork.codes import CODES
from wxwork.errors import (
    BugError,
    ConfigError,
    LimitedError,
    OutcomeUnknownError,
    RetryError,
    UnreachableError,
    WxworkError,
    error_for,
)

logger = structlog.get_logger(__name__)

CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
UPLOAD_SECONDS = 60.0
# httpx counts a timeout from piece to piece: somebody who sends a byte a second would hold a thread for hours.
WHOLE_FACTOR = 1.5
MAX_BODY_BYTES = 64 * 1024 * 1024
CONNECTIONS = 64
LOOPBACK = ("127.0.0.1", "localhost", "::1")
SECRETS = "wxwork.secrets"
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


@dataclass(frozen=True)
class Upload:
    """A file to send, as the multipart field `media`."""

    filename: str
    content: bytes = field(repr=False)
    content_type: str = "application/octet-stream"


@dataclass(frozen=True)
class Request:
    """One request. secrets: query parameters that nothing may show. is_repeatable: doing it twice changes nothing."""

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    upload: Upload | None = None
    is_repeatable: bool = True
    timeout_seconds: float = READ_SECONDS
    whole_seconds: float | None = None
    hidden: tuple[str, ...] = field(default=(), repr=False)

    @property
    def longest_seconds(self) -> float:
        """After so long it is given up: at the next piece of the answer's body, however slowly they come."""
        return self.whole_seconds or CONNECT_SECONDS + self.timeout_seconds * WHOLE_FACTOR


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str
    body: bytes = field(repr=False)
    is_file: bool = False


class _SecretsLast(httpx.BaseTransport):
    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        extensions = dict(request.extensions)
        secrets = extensions.pop(SECRETS, {})
        return self._inner.handle_request(
            httpx.Request(
                request.method,
                request.url.copy_merge_params(secrets),
                headers=request.headers,
                stream=request.stream,
                extensions=extensions,
            )
        )

    def close(self) -> None:
        self._inner.close()


_clients: dict[tuple[int, str], httpx.Client] = {}


def _client() -> httpx.Client:
    """Return this process's client. A forked child makes its own: the sockets of its parent's are not for it.

    No lock, which a fork could leave locked: of two made at once one is thrown away, unused.
    """
    key = os.getpid(), settings.WXWORK_BASE_URL
    return _clients.get(key) or _clients.setdefault(key, _make_client(settings.WXWORK_BASE_URL))


def _make_client(base_url: str) -> httpx.Client:
    inner = httpx.HTTPTransport(
        verify=_authorities(),
        proxy=_proxy_for(base_url),
        limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=30),
    )
    return httpx.Client(base_url=base_url.rstrip("/"), transport=_SecretsLast(inner), follow_redirects=False)


@cache
def _authorities() -> ssl.SSLContext:
    """Read the list of certificate authorities once: it takes 50 ms of processor."""
    return httpx.create_ssl_context()


def _proxy_for(base_url: str) -> str | None:
    """Return what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say; a simulator on this machine is never behind one."""
    parts = urlsplit(base_url)
    if not parts.hostname or parts.hostname in LOOPBACK or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def encode(body: Mapping[str, Any], path: str) -> bytes:
    r"""Return a body as JSON in UTF-8 without escaped characters, which WeCom refuses (40033). Raises BugError.

    Control characters have no other form in JSON, so they are left out of texts.

    >>> encode({"text": "你好\x00 🙂"}, "/cgi-bin/message/send").decode()
    '{"text":"你好 🙂"}'
    """
    try:
        encoded = orjson.dumps(body)
        return orjson.dumps(_without_controls(body)) if b"\\u00" in encoded else encoded
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise BugError(f"The body for {path} cannot be sent as JSON: {error}", path=path) from None


_CONTROLS = {number: None for number in range(32) if chr(number) not in "\b\t\n\f\r"}


def _without_controls(value: Any) -> Any:
    if isinstance(value, str):
        return value.translate(_CONTROLS)
    if isinstance(value, dict):
        return {name.translate(_CONTROLS): _without_controls(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_controls(inner) for inner in value]
    return value


def call(request: Request) -> dict[str, Any]:
    """Send a request, and return the object that was answered. Raises WxworkError, by the table above."""
    answer = send(request)
    return read(answer, request)


def send(request: Request) -> Answer:
    """Send a request, and return whatever was answered with status 200. Raises RetryError, ConfigError."""
    began = time.monotonic()
    try:
        answer = _exchange(request, deadline=began + request.longest_seconds)
    except NOT_SENT as error:
        tally.count(request.path, "unreachable")
        raise UnreachableError(
            _hide(f"{_host()} cannot be reached for {request.path}: {type(error).__name__} {error}", request),
            path=request.path,
        ) from None
    except httpx.TimeoutException as error:
        tally.count(request.path, "timeout")
        raise _doubtful(request, f"did not answer in time ({type(error).__name__})") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        tally.count(request.path, "broken")
        raise _doubtful(request, f"broke off: {type(error).__name__} {error}") from None
    finally:
        counters.SECONDS.labels(request.path).observe(time.monotonic() - began)
    if answer.status != 200:
        tally.count(request.path, f"http_{answer.status}")
        raise _of_status(answer, request)
    return answer


def _exchange(request: Request, *, deadline: float) -> Answer:
    client = _client()
    headers = {"Content-Type": "application/json"} if request.body is not None else {}
    upload = request.upload
    sent = client.build_request(
        request.method,
        request.path,
        params=dict(request.params),
        content=request.body,
        files={"media": (upload.filename, upload.content, upload.content_type)} if upload else None,
        headers=headers,
        timeout=httpx.Timeout(request.timeout_seconds, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS),
        extensions={SECRETS: dict(request.secrets)},
    )
    response = client.send(sent, stream=True)
    try:
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout("the answer took too long as a whole")
            if len(body) > MAX_BODY_BYTES:
                raise httpx.DecodingError(f"the answer is larger than {MAX_BODY_BYTES} bytes")
    finally:
        response.close()
    is_file = "Content-Disposition" in response.headers
    return Answer(response.status_code, response.headers.get("Content-Type", ""), bytes(body), is_file)


def _host() -> str:
    return urlsplit(settings.WXWORK_BASE_URL).netloc.rpartition("@")[2]


def _hide(text: str, request: Request) -> str:
    for secret in (*request.secrets.values(), *request.hidden):
        if secret:
            text = text.replace(secret, "…")
    return text


def _doubtful(request: Request, what: str) -> RetryError:
    kind = UnreachableError if request.is_repeatable else OutcomeUnknownError
    doubt = "" if request.is_repeatable else " It may have been done: read before repeating it."
    return kind(_hide(f"{_host()} {what}, to {request.path}.{doubt}", request), path=request.path)


def _of_status(answer: Answer, request: Request) -> WxworkError:
    if 300 <= answer.status < 400:
        return ConfigError(
            f"{_host()} redirects {request.path} ({answer.status}): WXWORK_BASE_URL must name the place itself, "
            "with https.",
            path=request.path,
        )
    if answer.status == 429:
        return LimitedError(f"{_host()} answers HTTP 429 to {request.path}: too many calls.", path=request.path)
    if answer.status == 404 and not answer.body:
        # What WeCom answers for a path that it does not know, and now and then for one that it does.
        return RetryError(f"{_host()} answers HTTP 404 without a body to {request.path}.", path=request.path)
    return _doubtful(request, f"answers HTTP {answer.status}")


def read(answer: Answer, request: Request) -> dict[str, Any]:
    """Return the object that an answer is. Success is an errcode of 0 or none; nothing goes by errmsg."""
    found = _parsed(answer.body)
    code = _code_of(found)
    if not isinstance(found, dict) or code is None:
        tally.count(request.path, "unreadable")
        raise _doubtful(request, f"answers something that is no JSON object ({len(answer.body)} bytes)")
    count(request, code)
    errmsg = _hide(str(found.get("errmsg", "")), request)
    if "Warning" in errmsg:
        # Malformed JSON may have been understood in part.
        logger.warning("wecom_warning", path=request.path, code=code, errmsg=errmsg[:300])
    if code:
        raise error_for(code, errmsg, request.path)
    return found


def _parsed(body: bytes) -> Any:
    r"""Return what an answer is as JSON, None if it is none.

    Names of people come with raw control characters, halves of characters and broken UTF-8 in them: no JSON, and still
    not a reason to do without the other ninety-nine customers of a page. What is broken becomes `?` or `�`.

    >>> _parsed(b'{"name": "a\x07b \xe4\xbd"}') == {"name": "a\x07b \ufffd"}, _parsed(b'{"name": "')
    (True, None)
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        lenient = json.loads(body.decode("utf-8", "replace"), strict=False)
        # Once more by the strict one, which knows no NaN.
        return orjson.loads(json.dumps(lenient, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def count(request: Request, code: int) -> None:
    """Count an answer for /metrics, where what nobody knows is one: there is no end of numbers."""
    tally.count(request.path, str(code) if code in CODES or code == 0 else "unknown")


def _code_of(found: Any) -> int | None:
    """Return the errcode of an answer, None if that is no number."""
    if not isinstance(found, dict):
        return None
    code = found.get("errcode", 0)
    try:
        return int(code) if isinstance(code, int | str) and not isinstance(code, bool) else None
    except ValueError:
        return None
