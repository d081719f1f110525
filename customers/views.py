"""REST endpoints of customers: parse, call, answer. docs/api.md is the guide.

The lookup is a plain Django view: REST framework alone would cost it a third of its throughput.
"""

import re
from collections.abc import Callable
from functools import update_wrapper
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import orjson
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from customers import tasks
from customers.access import scope_of
from customers.changes import (
    HomeIsFixedError,
    OutOfScopeError,
    change_customer,
    erase_customer,
    find_erasure,
    put_customer,
)
from customers.directory import REASONS, DirectoryError
from customers.identity import is_external_userid
from customers.listing import MAX_QUERY_LENGTH, Filters
from customers.models import Erasure
from customers.organisation import organisation
from customers.segments import segment_names
from customers.serializers import CustomerAnswer, CustomerBody, CustomerPage, ErasureAnswer, read_customer, unknown_tags
from customers.viewing import View, view_address, view_customer, view_page, viewer_of
from scrm import sharding
from scrm.api import cursors
from scrm.api.endpoints import Endpoint, answer, holder_of
from scrm.api.keys import authenticate
from scrm.api.parsing import read_integer, read_limit, read_text, refuse_unknown
from scrm.api.problems import (
    ConflictError,
    DepartmentUnavailableError,
    InvalidError,
    NotFoundError,
    PreconditionFailedError,
    ProblemError,
    UnavailableError,
    UnprocessableError,
    answers_problems,
)
from scrm.api.schema import problems
from scrm.api.scopes import CUSTOMERS_ERASE, CUSTOMERS_READ, CUSTOMERS_WRITE
from scrm.sharding import ids

MAX_NAME = 64
ETAG = re.compile(r'(?:W/)?"([0-9]{1,18})(?:-[0-9a-f]+)?"')


# --------------------------------------------------------------------------------------------------------- one customer
@answers_problems
def look_up(request: HttpRequest, external_userid: str) -> HttpResponse:
    """GET /api/v1/customers/{external_userid}/, asked thousands of times a second."""
    holder = authenticate(request.META.get("HTTP_AUTHORIZATION"))
    holder.require(CUSTOMERS_READ)
    return show(view_customer(external_userid, viewer_of(holder)), request.META.get("HTTP_IF_NONE_MATCH", ""))


@answers_problems
def look_up_address(request: HttpRequest, customer_id: str) -> HttpResponse:
    """GET /api/v1/customers/by-id/{customer_id}/."""
    holder = authenticate(request.META.get("HTTP_AUTHORIZATION"))
    holder.require(CUSTOMERS_READ)
    try:
        view = view_address(ids.parse(customer_id), viewer_of(holder))
    except sharding.InvalidCustomerIdError:
        raise unknown_customer() from None
    return show(view, request.META.get("HTTP_IF_NONE_MATCH", ""))


def show(view: View, if_none_match: str = "") -> HttpResponse:
    """Answer with a customer; 304 when the asker has this very answer already, 404 when there is none to see."""
    if view.customer is None:
        raise unknown_customer(X_Cache=view.source)
    body, headers = body_and_headers(view)
    if headers["ETag"] in if_none_match:
        return HttpResponseNotModified(headers=headers)
    return HttpResponse(body, content_type="application/json", headers=headers)


def body_and_headers(view: View) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of the answer that shows a customer."""
    body = orjson.dumps(view.customer)
    etag = etag_of(view.customer["version"] if view.customer else 0, body)
    return body, {
        "ETag": etag,
        "X-Cache": view.source,
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization",
    }


def etag_of(version: int, body: bytes) -> str:
    """Return the version, which If-Match goes by, and a digest: names of tags change without a new version."""
    return f'"{version}-{blake2b(body, digest_size=8).hexdigest()}"'


def unknown_customer(**headers: str) -> NotFoundError:
    """Return the one answer for whom there is not, or whom this key may not see."""
    return NotFoundError(
        "There is no such customer.",
        code="unknown_customer",
        headers={name.replace("_", "-"): text for name, text in headers.items()},
    )


EXTERNAL_USERID = OpenApiParameter(
    "external_userid", {"type": "string", "minLength": 1, "maxLength": 64}, OpenApiParameter.PATH,
    description="WeCom's, percent-encoded.",
)  # fmt: skip
IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="Only if they still have this ETag's version."
)
X_CACHE = OpenApiParameter(
    "X-Cache", str, OpenApiParameter.HEADER, enum=["hit", "miss", "negative", "bypass"], response=[200],
    description="Where the answer came from.",
)  # fmt: skip
ETAG_HEADER = OpenApiParameter("ETag", str, OpenApiParameter.HEADER, response=[200])


class CustomerView(Endpoint):
    required_scopes = {
        "GET": CUSTOMERS_READ, "PUT": CUSTOMERS_WRITE, "PATCH": CUSTOMERS_WRITE, "DELETE": CUSTOMERS_ERASE,
    }  # fmt: skip

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:  # type: ignore[override]
        """Return REST framework's view, with the short way for lookups in front."""
        rest: Callable[..., HttpResponseBase] = super().as_view(**initkwargs)

        def view(request: HttpRequest, external_userid: str) -> HttpResponseBase:
            if request.method in ("GET", "HEAD"):
                return look_up(request, external_userid)
            return rest(request, external_userid=external_userid)

        return update_wrapper(view, rest)

    @extend_schema(
        operation_id="customers_lookup",
        parameters=[EXTERNAL_USERID, X_CACHE, ETAG_HEADER],
        responses={200: CustomerAnswer, 304: None, **problems(404)},
    )
    def get(self, request: Request, external_userid: str) -> HttpResponse:
        """Look a customer up, through the cache.

        The header X-Cache says where the answer came from: hit, miss, negative or bypass. Figures are those of the
        last classification; …/profile/ has the live ones.
        """
        return look_up(request._request, external_userid)

    @extend_schema(
        operation_id="customers_put",
        parameters=[EXTERNAL_USERID, IF_MATCH],
        request=CustomerBody,
        responses={200: CustomerAnswer, 201: CustomerAnswer, 204: None, **problems(400, 409, 412, 413, 415, 422)},
    )
    def put(self, request: Request, external_userid: str) -> HttpResponse:
        """Create a customer, or replace what is ours of one.

        mobile, attributes and tags that are left out are emptied; the other fields stay. The same again changes
        nothing, not even the version.
        """
        if not is_external_userid(external_userid):
            raise InvalidError.of("external_userid", "invalid_external_userid", REASONS["invalid_external_userid"])
        viewer = viewer_of(holder_of(request))
        must_exist, version = if_match(request)
        data = read_customer(self.read(request), external_userid, replace=True, if_version=version)
        try:
            created = put_customer(data, viewer, create=not must_exist)
        except DirectoryError as error:
            if error.code == "erasure_in_progress":
                raise ConflictError("This customer is being erased.", code=error.code) from error
            if error.code == "unknown_customer":
                raise refusal(DirectoryError("version_differs", external_userid)) from error
            raise refusal(error) from error
        except (OutOfScopeError, HomeIsFixedError) as error:
            raise refusal(error) from error
        response = written(view_customer(external_userid, viewer))
        if created:
            response.status_code = 201
            response["Location"] = f"/api/v1/customers/{quote(external_userid, safe='')}/"
        return response

    @extend_schema(
        operation_id="customers_patch",
        parameters=[EXTERNAL_USERID, IF_MATCH],
        request=CustomerBody,
        responses={200: CustomerAnswer, 204: None, **problems(400, 404, 409, 412, 413, 415, 422)},
    )
    def patch(self, request: Request, external_userid: str) -> HttpResponse:
        """Change some fields of a customer. attributes are merged: the ones given are set, those given null deleted."""
        viewer = viewer_of(holder_of(request))
        _, version = if_match(request)
        data = read_customer(self.read(request), external_userid, replace=False, if_version=version)
        if not is_external_userid(external_userid):
            raise unknown_customer()
        try:
            change_customer(data, viewer)
        except (DirectoryError, OutOfScopeError, HomeIsFixedError) as error:
            raise refusal(error) from error
        return written(view_customer(external_userid, viewer))

    @extend_schema(
        operation_id="customers_erase",
        parameters=[EXTERNAL_USERID],
        request=None,
        responses={202: ErasureAnswer, **problems(404)},
    )
    def delete(self, request: Request, external_userid: str) -> HttpResponse:
        """Erase a customer from every place. From now on nobody finds them; follow the erasure to its end."""
        viewer = viewer_of(holder_of(request))
        if not is_external_userid(external_userid):
            raise unknown_customer()
        try:
            erasure = erase_customer(external_userid, viewer)
        except DirectoryError as error:
            raise refusal(error) from error
        tasks.wake(erasure)
        return answer(shown_erasure(erasure), status=202, Location=f"/api/v1/erasures/{erasure.id}/")


def written(view: View) -> HttpResponse:
    """Answer a write: 204 where it has taken the customer out of what this key may see."""
    return HttpResponse(status=204) if view.customer is None else show(view)


def if_match(request: Request) -> tuple[bool, int | None]:
    """Return whether the customer must be there, and the version that they must have, as If-Match says."""
    header = request.headers.get("If-Match", "").strip()
    if not header:
        return False, None
    if header == "*":
        return True, None
    match = ETAG.fullmatch(header)
    if match is None:
        raise InvalidError.of("If-Match", "invalid", 'If-Match is an ETag of a customer, its version as in "17", or *.')
    return True, int(match[1])


def refusal(error: DirectoryError | OutOfScopeError | HomeIsFixedError) -> ProblemError:
    """Return how a write that cannot be done is answered."""
    if isinstance(error, HomeIsFixedError):
        return ConflictError(f"{error} Only `manage.py move_customer` moves them.", code="home_is_fixed")
    if isinstance(error, OutOfScopeError):
        if not error.fields:
            return ConflictError()
        return UnprocessableError(
            "This would be outside of what this key may see.", code="out_of_scope", fields=error.fields
        )
    reason = f"{REASONS[error.code][0].upper()}{REASONS[error.code][1:]}."
    if error.code in ("unknown_customer", "erasure_in_progress"):
        return unknown_customer()
    if error.code == "unknown_home":
        return InvalidError.of("home", error.code, reason)
    if error.code == "invalid_external_userid":
        return InvalidError.of("external_userid", error.code, reason)
    if error.code == "version_differs":
        return PreconditionFailedError("The customer " + REASONS[error.code] + ".", code=error.code)
    if error.code in ("owned_by_wecom", "attributes_too_large"):
        return UnprocessableError(reason, code=error.code, fields=error.fields)
    if error.code == "department_unavailable" and error.home is not None:
        return DepartmentUnavailableError(error.home)
    return UnavailableError(reason, code=error.code)


# ---------------------------------------------------------------------------------------------------------- by address
class AddressView(Endpoint):
    required_scopes = {"GET": CUSTOMERS_READ}

    @extend_schema(
        operation_id="customers_lookup_by_id",
        parameters=[OpenApiParameter("customer_id", int, OpenApiParameter.PATH)],
        responses={200: CustomerAnswer, 304: None, **problems(404)},
    )
    def get(self, request: Request, customer_id: str) -> HttpResponse:
        """Look a customer up by address; one from before a move leads to where they live now."""
        return look_up_address(request._request, customer_id)


# ---------------------------------------------------------------------------------------------------------- lists
def _query(name: str, kind: Any, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=description)


class CustomersView(Endpoint):
    required_scopes = {"GET": CUSTOMERS_READ}

    @extend_schema(
        operation_id="customers_list",
        parameters=[
            _query("department", int, "Followed by staff in or below it, or without a live follow and at home there."),
            _query("home", int, "Living in this home."),
            _query("profile", str, "Of this class; `none` for not classified yet."),
            _query("tag", str, "Wearing this tag (its id)."),
            _query("segment", int, "In this segment."),
            _query("q", str, "Part of the name, from one character, or the whole external_userid."),
            _query("cursor", str, "The `next` of the page before; with the same filters."),
            _query("limit", int, "1 to 500, 50 if left out."),
        ],
        responses={200: CustomerPage, **problems(400)},
    )
    def get(self, request: Request) -> HttpResponse:
        """List customers over all homes, by customer_id. Go on while `next` is not null, also after an empty page."""
        given = request._request.GET
        refuse_unknown(given, ("department", "home", "profile", "tag", "segment", "q", "cursor", "limit"))
        asked, filters = read_filters(given)
        limit = read_limit(given)
        cursor = read_text(given, "cursor", max_length=cursors.MAX_LENGTH)
        position = cursors.decode(cursor, asked) if cursor else None
        page = view_page(filters, viewer_of(holder_of(request)), position=position, limit=limit)
        return answer(
            {
                "results": page.customers,
                "next": cursors.encode(page.position, asked) if page.position is not None else None,
                "unavailable": page.unavailable,
            }
        )


def read_filters(given: Any) -> tuple[dict[str, object], Filters]:
    """Return what was asked for, which the cursor is bound to, and the filters that it makes."""
    department = read_integer(given, "department", lowest=1, highest=2**32 - 1)
    home = read_integer(given, "home", lowest=1, highest=ids.MAX_HOME)
    profile = read_text(given, "profile", max_length=MAX_NAME)
    tag = read_text(given, "tag", max_length=MAX_NAME)
    segment = read_integer(given, "segment", lowest=1, highest=2**63 - 1)
    q = read_text(given, "q", max_length=MAX_QUERY_LENGTH)
    homes = sharding.shard_map().homes
    if home is not None and home not in homes:
        raise InvalidError.of("home", "unknown_home", f"There is no home {home}.")
    if department is not None and department not in organisation().parents and department not in homes:
        raise InvalidError.of("department", "unknown_department", f"There is no department {department}.")
    if tag is not None and unknown_tags([tag]):
        raise InvalidError.of("tag", "unknown_tag", f"There is no tag {tag}.")
    if segment is not None and segment not in segment_names():
        raise InvalidError.of("segment", "unknown_segment", f"There is no segment {segment}.")
    asked: dict[str, object] = {"department": department, "home": home, "profile": profile, "tag": tag, "q": q}
    if segment is not None:  # cursors from before there were segments go on
        asked["segment"] = segment
    return asked, Filters(
        home=home,
        department=scope_of([department]) if department is not None else None,
        profile="" if profile == "none" else profile,
        tag=tag,
        q=q or "",
        segment=segment,
    )


# ---------------------------------------------------------------------------------------------------------- erasures
class ErasureView(Endpoint):
    required_scopes = {"GET": CUSTOMERS_ERASE}

    @extend_schema(
        operation_id="erasures_read",
        parameters=[OpenApiParameter("erasure_id", OpenApiTypes.UUID, OpenApiParameter.PATH)],
        responses={200: ErasureAnswer, **problems(404)},
    )
    def get(self, request: Request, erasure_id: str) -> HttpResponse:
        """See how far an erasure has come: what has been cleared, and what it waits for."""
        erasure = find_erasure(erasure_id, viewer_of(holder_of(request)))
        if erasure is None:
            raise NotFoundError("There is no such erasure.", code="unknown_erasure")
        return answer(shown_erasure(erasure))


def shown_erasure(erasure: Erasure) -> dict[str, Any]:
    """Return what an erasure's follower sees: never whom it is about."""
    return {
        "id": str(erasure.id),
        "state": erasure.state,
        "requested_at": erasure.requested_at.isoformat(),
        "finished_at": erasure.finished_at.isoformat() if erasure.finished_at else None,
        "places": erasure.places,
        "waiting_for": erasure.waiting_for,
    }
