"""Errors as RFC 9457 `application/problem+json`, with codes that stay the same.

    HTTP/1.1 400 Bad Request
    Content-Type: application/problem+json

    {"type": "urn:scrm:problem:invalid", "title": "Invalid request", "status": 400, "code": "invalid",
     "detail": "limit must be an integer from 1 to 500.",
     "errors": [{"field": "limit", "code": "out_of_range", "message": "…"}]}

ProblemError                     status  code                      the caller should
├── MalformedError               400     malformed                 send JSON that parses
├── InvalidError                 400     invalid                   mend what `errors` lists
├── BadCursorError               400     bad_cursor                begin again without a cursor
├── NotAuthenticatedError        401     not_authenticated         send a key
├── InvalidKeyError              401     invalid_key               get another key
├── ForbiddenError               403     forbidden
│   └── MissingScopeError        403     missing_scope             get a key with `scope`
├── NotFoundError                404     not_found
├── MethodNotAllowedError        405     method_not_allowed        see Allow
├── NotAcceptableError           406     not_acceptable            accept JSON
├── ConflictError                409     conflict, or the caller's
├── LengthRequiredError          411     length_required           send Content-Length
├── PreconditionFailedError      412     precondition_failed, or the caller's      read again, then decide
├── TooLargeError                413     too_large                 send less at once
├── UnsupportedMediaTypeError    415     unsupported_media_type    send application/json, plain or gzip
├── UnprocessableError           422     unprocessable, or the caller's
├── ThrottledError               429     throttled                 wait Retry-After seconds
├── InternalError                500     internal_error            report it: our bug
└── UnavailableError             503     temporarily_unavailable   retry after Retry-After seconds
    └── DepartmentUnavailableError       department_unavailable    the same; `home` and `department` say which

What is not foreseen becomes internal_error, whose answer says nothing of its cause; the log has it.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, ParamSpec

import orjson
import structlog
from django import http
from django.core import exceptions, signals
from django.db import InterfaceError, OperationalError
from django.http.request import UnreadablePostError
from rest_framework import exceptions as drf

from scrm.sharding.errors import HomeError, InvalidCustomerIdError

log = structlog.get_logger(__name__)
P = ParamSpec("P")

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5


class ProblemError(Exception):
    """An answer other than the one asked for. Raise it anywhere below a view; members become part of the JSON."""

    status: ClassVar[int] = 500
    code: str = "internal_error"
    title: str = "Internal error"

    def __init__(
        self, detail: str = "", *, code: str = "", headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.headers = dict(headers or {})
        self.members = members

    def as_json(self) -> dict[str, Any]:
        head = {"type": f"urn:scrm:problem:{self.code}", "title": self.title, "status": self.status, "code": self.code}
        return head | ({"detail": self.detail} if self.detail else {}) | self.members


class MalformedError(ProblemError):
    status, code, title = 400, "malformed", "Malformed request"


class InvalidError(ProblemError):
    """errors: [{"field": "follows[0].userid", "code": …, "message": …}]; field "" means the whole."""

    status, code, title = 400, "invalid", "Invalid request"

    def __init__(self, errors: list[dict[str, str]], detail: str = "") -> None:
        super().__init__(detail or "; ".join(error["message"] for error in errors[:3]), errors=errors)

    @classmethod
    def of(cls, field: str, code: str, message: str) -> "InvalidError":
        """Return the error of a single field."""
        return cls([{"field": field, "code": code, "message": message}])


class BadCursorError(ProblemError):
    status, code, title = 400, "bad_cursor", "Bad cursor"


class NotAuthenticatedError(ProblemError):
    status, code, title = 401, "not_authenticated", "Not authenticated"

    def __init__(self, detail: str = "Send a key: `Authorization: Bearer …`.") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="scrm"'})


class InvalidKeyError(ProblemError):
    status, code, title = 401, "invalid_key", "Invalid key"

    def __init__(self, detail: str = "This key is unknown or has been revoked.") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="scrm", error="invalid_token"'})


class ForbiddenError(ProblemError):
    status, code, title = 403, "forbidden", "Forbidden"


class MissingScopeError(ForbiddenError):
    code, title = "missing_scope", "Missing scope"

    def __init__(self, scope: str) -> None:
        challenge = f'Bearer realm="scrm", error="insufficient_scope", scope="{scope}"'
        super().__init__(f"This key lacks the scope {scope}.", headers={"WWW-Authenticate": challenge}, scope=scope)


class NotFoundError(ProblemError):
    status, code, title = 404, "not_found", "Not found"


class MethodNotAllowedError(ProblemError):
    status, code, title = 405, "method_not_allowed", "Method not allowed"


class NotAcceptableError(ProblemError):
    status, code, title = 406, "not_acceptable", "Not acceptable"


class ConflictError(ProblemError):
    status, code, title = 409, "conflict", "Conflict"


class LengthRequiredError(ProblemError):
    status, code, title = 411, "length_required", "Length required"


class PreconditionFailedError(ProblemError):
    status, code, title = 412, "precondition_failed", "Precondition failed"


class TooLargeError(ProblemError):
    status, code, title = 413, "too_large", "Too large"


class UnsupportedMediaTypeError(ProblemError):
    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class UnprocessableError(ProblemError):
    status, code, title = 422, "unprocessable", "Unprocessable"


class ThrottledError(ProblemError):
    status, code, title = 429, "throttled", "Too many requests"


class InternalError(ProblemError):
    pass


class UnavailableError(ProblemError):
    status, code, title = 503, "temporarily_unavailable", "Temporarily unavailable"

    def __init__(self, detail: str = "Try again in a few seconds.", **members: Any) -> None:
        super().__init__(detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}, **members)


class DepartmentUnavailableError(UnavailableError):
    code, title = "department_unavailable", "Department unavailable"

    def __init__(self, home: int) -> None:
        name = f"dept_{home}"
        super().__init__(f"The department database {name} cannot be reached now.", home=home, department=name)


# ---- from other exceptions -------------------------------------------------------------------------------------------


def problem_of(error: BaseException) -> ProblemError:
    """Return the problem that tells a caller of any exception, and nothing of our insides."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, drf.APIException):
        return _of_rest_framework(error)
    if isinstance(error, HomeError):
        return DepartmentUnavailableError(error.home)
    # A customer_id that is none is nobody's.
    if isinstance(error, http.Http404 | InvalidCustomerIdError):
        return NotFoundError()
    if isinstance(error, exceptions.PermissionDenied):
        return ForbiddenError()
    if isinstance(error, exceptions.RequestDataTooBig):
        return TooLargeError()
    if isinstance(error, exceptions.SuspiciousOperation | exceptions.BadRequest | UnreadablePostError):
        return MalformedError()
    if isinstance(error, OperationalError | InterfaceError):
        return UnavailableError()
    return InternalError()


def _of_rest_framework(error: drf.APIException) -> ProblemError:
    if isinstance(error, drf.ValidationError):
        return InvalidError(list(_flattened(error.get_full_details(), "")))
    wait = getattr(error, "wait", None)  # of drf.Throttled
    headers = {} if wait is None else {"Retry-After": str(max(1, math.ceil(wait)))}
    problems: dict[int, type[ProblemError]] = {
        kind.status: kind
        for kind in (
            *(MalformedError, ForbiddenError, NotFoundError, MethodNotAllowedError, NotAcceptableError),
            *(ConflictError, TooLargeError, UnsupportedMediaTypeError, UnprocessableError, ThrottledError),
        )
    }
    if error.status_code == 401:
        return NotAuthenticatedError() if isinstance(error, drf.NotAuthenticated) else InvalidKeyError()
    if error.status_code == 503:
        return UnavailableError()
    kind = problems.get(error.status_code, InternalError)
    return kind("" if kind is InternalError else str(error.detail), headers=headers)


def _flattened(details: Any, field: str) -> list[dict[str, str]]:
    if isinstance(details, dict) and details.keys() == {"message", "code"} and isinstance(details["code"], str):
        return [{"field": field, "code": details["code"], "message": str(details["message"])}]
    found: list[dict[str, str]] = []
    for name, inner in details.items() if isinstance(details, dict) else enumerate(details):
        found += _flattened(inner, _path(field, name, inner))
    return found


def _path(field: str, name: str | int, inner: Any) -> str:
    if name == "non_field_errors":
        return field
    if isinstance(name, str):
        return f"{field}.{name}" if field else name
    # A list holds the errors of one field, or one mapping of errors for each item of a list of objects.
    is_message = isinstance(inner, dict) and inner.keys() == {"message", "code"} and isinstance(inner["code"], str)
    return field if is_message else f"{field}[{name}]"


# ---- as an answer ----------------------------------------------------------------------------------------------------


def respond(problem: ProblemError) -> http.HttpResponse:
    return http.HttpResponse(
        orjson.dumps(problem.as_json()), status=problem.status, content_type=CONTENT_TYPE, headers=problem.headers
    )


def respond_to(error: Exception, request: http.HttpRequest | None) -> http.HttpResponse:
    """Return the answer for an exception; log it where it is ours to mend."""
    problem = problem_of(error)
    if isinstance(problem, InternalError):
        log.exception("unhandled_error", path=getattr(request, "path", None), exc_info=error)
        # As Django does: test clients raise it again, and whoever watches errors hears of it.
        signals.got_request_exception.send(sender=None, request=request)
    elif problem.status == 503 and not isinstance(error, ProblemError):
        log.warning("unavailable", path=getattr(request, "path", None), code=problem.code, error=type(error).__name__)
    return respond(problem)


def exception_handler(error: Exception, context: dict[str, Any]) -> http.HttpResponse:
    """Answer for REST framework views (setting EXCEPTION_HANDLER)."""
    request = context.get("request")
    return respond_to(error, getattr(request, "_request", request))


def answers_problems(
    view: Callable[P, http.HttpResponse],
) -> Callable[P, http.HttpResponse]:
    """Decorate a plain Django view: what it raises is answered as a problem."""

    @functools.wraps(view)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> http.HttpResponse:
        try:
            return view(*args, **kwargs)
        except Exception as error:
            return respond_to(error, args[0] if args and isinstance(args[0], http.HttpRequest) else None)

    return wrapped
