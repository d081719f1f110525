"""REST endpoints of recommendations: parse, call, answer. docs/api.md is the guide."""

import re
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from customers.viewing import Viewer, viewer_of
from customers.views import EXTERNAL_USERID
from profiles.models import Action, Recommendation
from profiles.recommendations.deciding import DECISIONS, AlreadyDecidedError, NotOpenError, decide, undo
from profiles.recommendations.reading import Asked, Suggestion, list_customers, list_open
from profiles.recommendations.rules import UNDO_MINUTES
from profiles.recommendations.serializers import (
    CustomerRecommendations,
    DecisionBody,
    RecommendationAnswer,
    RecommendationPage,
)
from profiles.views import CURSOR, find_visible_standing, shown_time
from scrm import sharding
from scrm.api import cursors
from scrm.api.endpoints import Endpoint, answer, holder_of
from scrm.api.parsing import read_integer, read_limit, read_text, refuse_unknown
from scrm.api.problems import ConflictError, InvalidError, NotFoundError
from scrm.api.schema import problems
from scrm.api.scopes import PROFILES_READ, RECOMMENDATIONS_WRITE
from scrm.sharding import ids

State = Recommendation.State
ANY = "any"
UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
ID = OpenApiParameter("recommendation_id", OpenApiTypes.UUID, OpenApiParameter.PATH)


def _viewer(request: Request) -> Viewer:
    # No mobile is shown here, so nobody reads one in clear.
    return replace(viewer_of(holder_of(request)), in_clear=False)


def shown(one: Suggestion, external_userid: str | None = None) -> dict[str, Any]:
    return {
        "id": str(one.recommendation_id),
        "customer_id": one.customer_id,
        "external_userid": one.external_userid if external_userid is None else external_userid,
        "action": one.action,
        "state": one.state,
        "score": one.score,
        "reason": one.reason,
        "numbers": one.numbers,
        "items": one.items,
        "rule": {"id": one.rule_id, "name": one.rule_name},
        "made_at": shown_time(one.made_at),
        "expires_at": shown_time(one.expires_at),
        "decided_at": shown_time(one.decided_at) if one.decided_by else None,
        "decided_by": one.decided_by,
        "decision_reason": one.note,
    }


class CustomerRecommendationsView(Endpoint):
    required_scopes = {"GET": PROFILES_READ}

    @extend_schema(
        operation_id="customers_recommendations",
        parameters=[EXTERNAL_USERID],
        responses={200: CustomerRecommendations, **problems(400, 404)},
    )
    def get(self, request: Request, external_userid: str) -> HttpResponse:
        """See what to do next about a customer: the open suggestions, the best first, and as `next` the best."""
        refuse_unknown(request._request.GET, ())
        customer_id, _ = find_visible_standing(external_userid, _viewer(request))
        found = [shown(one, external_userid) for one in list_open(customer_id)]
        return answer(
            {
                "customer_id": customer_id,
                "external_userid": external_userid,
                "next": found[0] if found else None,
                "results": found,
            }
        )


def _asked_for(recommendation_id: str) -> UUID | None:
    """Return the id in a path. Whatever else stands there is nobody's: UUIDs only would leave it to the customers'."""
    return UUID(recommendation_id) if UUID_TEXT.fullmatch(recommendation_id) else None


def _shown_or_404(found: Suggestion | None, external_userid: str) -> HttpResponse:
    if found is None:
        raise NotFoundError("This customer has no such recommendation.", code="unknown_recommendation")
    return answer(shown(found, external_userid))


def _not_open(found: Suggestion, external_userid: str) -> ConflictError:
    return ConflictError(
        f"This recommendation is {found.state}: there is nothing to decide any more.",
        code="not_open", recommendation=shown(found, external_userid),
    )  # fmt: skip


class DecisionView(Endpoint):
    """One way to decide about a suggestion."""

    required_scopes = {"POST": RECOMMENDATIONS_WRITE}
    state: State

    def decide(self, request: Request, external_userid: str, recommendation_id: str) -> HttpResponse:
        viewer = _viewer(request)
        body = DecisionBody(data=self.read(request) if _has_body(request) else {})
        body.is_valid(raise_exception=True)
        customer_id, _ = find_visible_standing(external_userid, viewer)
        try:
            found = _asked_for(recommendation_id)
            done = found if found is None else decide(
                customer_id, found, self.state, by=viewer.name, external_userid=external_userid,
                note=body.validated_data.get("reason", ""),
            )  # fmt: skip
        except AlreadyDecidedError as error:
            raise ConflictError(
                "Somebody has decided otherwise.", code="already_decided",
                recommendation=shown(error.suggestion, external_userid),
            ) from error  # fmt: skip
        except NotOpenError as error:
            raise _not_open(error.suggestion, external_userid) from error
        return _shown_or_404(done, external_userid)


def _has_body(request: Request) -> bool:
    headers = request._request.META
    return headers.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in headers


class AcceptView(DecisionView):
    state = State.ACCEPTED

    @extend_schema(
        operation_id="recommendations_accept",
        parameters=[EXTERNAL_USERID, ID],
        request=DecisionBody,
        responses={200: RecommendationAnswer, **problems(400, 404, 409, 413, 415)},
    )
    def post(self, request: Request, external_userid: str, recommendation_id: str) -> HttpResponse:
        """Say that it is being done. The same again changes nothing; 409 if somebody has dismissed it, or it is over.

        The body may be left out.
        """
        return self.decide(request, external_userid, recommendation_id)


class DismissView(DecisionView):
    state = State.DISMISSED

    @extend_schema(
        operation_id="recommendations_dismiss",
        parameters=[EXTERNAL_USERID, ID],
        request=DecisionBody,
        responses={200: RecommendationAnswer, **problems(400, 404, 409, 413, 415)},
    )
    def post(self, request: Request, external_userid: str, recommendation_id: str) -> HttpResponse:
        """Say that it will not be done. The rule rests for this customer, and its scores fall as dismissals come in.

        The body may be left out.
        """
        return self.decide(request, external_userid, recommendation_id)


class UndoView(Endpoint):
    required_scopes = {"POST": RECOMMENDATIONS_WRITE}

    @extend_schema(
        operation_id="recommendations_undo",
        parameters=[EXTERNAL_USERID, ID],
        request=None,
        responses={200: RecommendationAnswer, **problems(404, 409)},
    )
    def post(self, request: Request, external_userid: str, recommendation_id: str) -> HttpResponse:
        """Take a decision back, whichever it was: it is open again. One that is open already stays so.

        409 `too_late` ten minutes after the decision, where its rule has suggested anew or is not in use any more, or
        where who was to be won back has bought since; `not_open` where it is over. Nothing is written then.
        """
        viewer = _viewer(request)
        customer_id, _ = find_visible_standing(external_userid, viewer)
        found = _asked_for(recommendation_id)
        done = None if found is None else undo(
            customer_id, found, by=viewer.name, external_userid=external_userid
        )  # fmt: skip
        if done is not None and done.state in DECISIONS:
            raise ConflictError(
                f"Decided more than {UNDO_MINUTES} minutes ago, or what it was about has changed since.",
                code="too_late", recommendation=shown(done, external_userid),
            )  # fmt: skip
        if done is not None and done.state != State.OPEN:
            raise _not_open(done, external_userid)
        return _shown_or_404(done, external_userid)


def _query(name: str, kind: Any, description: str, **more: Any) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=description, **more)


class RecommendationsView(Endpoint):
    required_scopes = {"GET": PROFILES_READ}

    @extend_schema(
        operation_id="recommendations_list",
        parameters=[
            _query("action", str, "Of this action.", enum=Action.values),
            _query("state", str, "open if left out; any for all.", enum=[*State.values, ANY]),
            _query("home", int, "About customers of this home."),
            _query("staff", str, "About customers whom this member of staff follows now."),
            CURSOR,
            _query("limit", int, "1 to 500 customers, 50 if left out."),
        ],
        responses={200: RecommendationPage, **problems(400)},
    )
    def get(self, request: Request) -> HttpResponse:
        """List recommendations over all homes, by customer_id. Go on while `next` is not null, also after an empty
        page. All of a customer come on one page, the best first, so that limit counts customers."""
        given = request._request.GET
        refuse_unknown(given, ("action", "state", "home", "staff", "cursor", "limit"))
        filters, asked = read_asked(given)
        limit = read_limit(given)
        cursor = read_text(given, "cursor", max_length=cursors.MAX_LENGTH)
        position = cursors.decode(cursor, filters) if cursor else None
        page = list_customers(asked, scope=_viewer(request).scope, position=position, limit=limit)
        return answer(
            {
                "results": [shown(one) for customer in page.items for one in customer.suggestions],
                "next": cursors.encode(page.position, filters) if page.position is not None else None,
                "unavailable": page.unavailable,
            }
        )


def read_asked(given: Any) -> tuple[dict[str, object], Asked]:
    """Return what was asked for, which the cursor is bound to, and as the list takes it. Raises InvalidError."""
    action = read_text(given, "action", max_length=32)
    state = read_text(given, "state", max_length=32)
    home = read_integer(given, "home", lowest=1, highest=ids.MAX_HOME)
    staff = read_text(given, "staff", max_length=64)
    if action is not None and action not in Action.values:
        raise InvalidError.of("action", "unknown_action", f"action is one of {', '.join(Action.values)}.")
    if state is not None and state not in (*State.values, ANY):
        raise InvalidError.of("state", "unknown_state", f"state is one of {', '.join([*State.values, ANY])}.")
    if home is not None and home not in sharding.shard_map().homes:
        raise InvalidError.of("home", "unknown_home", f"There is no home {home}.")
    filters: dict[str, object] = {"action": action, "state": state, "home": home, "staff": staff}
    wanted = None if state == ANY else state or State.OPEN.value
    return filters, Asked(action=action, state=wanted, home=home, staff=staff)
