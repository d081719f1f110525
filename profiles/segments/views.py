"""REST endpoints of segments: parse, call, answer. docs/api.md is the guide."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from customers.audit import record
from customers.listing import Filters
from customers.serializers import CustomerPage
from customers.viewing import Viewer, view_page, viewer_of
from profiles.days import day_of
from profiles.models import Segment
from profiles.reasons import describe
from profiles.rules import Filter, RuleError
from profiles.segments import counting, tasks
from profiles.segments.definitions import (
    SegmentInUseError,
    SegmentKindError,
    change_segment,
    check_references,
    create_segment,
    delete_segment,
)
from profiles.segments.members import MAX_AT_ONCE, change_members, count_visible
from profiles.segments.preview import preview
from profiles.segments.refreshing import progress_of
from profiles.segments.serializers import (
    ChangedMembersAnswer,
    MembersBody,
    PreviewAnswer,
    PreviewBody,
    SegmentAnswer,
    SegmentBody,
    SegmentHistoryAnswer,
    SegmentPage,
    SegmentPatch,
)
from scrm.api import cursors
from scrm.api.endpoints import Endpoint, answer, holder_of
from scrm.api.parsing import read_integer, read_limit, read_text, refuse_unknown
from scrm.api.problems import ConflictError, ForbiddenError, InvalidError, NotFoundError
from scrm.api.schema import problems
from scrm.api.scopes import PROFILES_READ, SEGMENTS_WRITE

SEGMENT_ID = OpenApiParameter("segment_id", OpenApiTypes.INT, OpenApiParameter.PATH)
CURSOR = OpenApiParameter("cursor", str, OpenApiParameter.QUERY, description="The `next` of the page before.")
LIMIT = OpenApiParameter("limit", int, OpenApiParameter.QUERY, description="1 to 500, 50 if left out.")
DAYS = OpenApiParameter("days", int, OpenApiParameter.QUERY, description="1 to 366 days back, 30 if left out.")
MAX_HISTORY_DAYS = 366


def shown_time(moment: datetime | None) -> str | None:
    return timezone.localtime(moment).isoformat() if moment else None


def words_of(groups: Any) -> list[str]:
    """Return each group of conditions in 中文; nothing where they cannot be read."""
    try:
        filter_ = Filter.from_json(groups)
    except RuleError:
        return []
    return ["，且 ".join(describe(one) for one in group) for group in filter_.groups]


def state_of(segment: Segment) -> str:
    """Return broken, paused, computing or ready."""
    if segment.error and segment.is_active:
        return "broken"
    if not segment.is_active:
        return "paused"
    if segment.kind == Segment.Kind.DYNAMIC and min(progress_of(segment).values(), default=1.0) < 1.0:
        return "computing"
    return "ready"


def shown_segment(segment: Segment, viewer: Viewer, *, counted: bool = False) -> dict[str, Any]:
    """Return a segment as JSON values. counted: for a restricted viewer, count those in scope (a query on each home).

    Database: none for whoever sees everybody: the numbers are those that are kept.
    """
    count: int | None = sum(segment.counts.values())
    counts: Mapping[str, int] = segment.counts
    unavailable: list[int] = []
    if not viewer.scope.is_everything:
        count, counts = None, {}
        if counted:
            count, unavailable = count_visible(segment.pk, viewer.scope)
    is_dynamic = segment.kind == Segment.Kind.DYNAMIC
    return {
        "id": segment.pk,
        "name": segment.name,
        "description": segment.description,
        "kind": segment.kind,
        "groups": segment.groups,
        "words": words_of(segment.groups) if is_dynamic else [],
        "version": segment.version,
        "is_active": segment.is_active,
        "state": state_of(segment),
        "progress": {str(home): share for home, share in progress_of(segment).items()} if is_dynamic else {},
        "error": segment.error,
        "count": count,
        "counts": counts,
        "counted_at": shown_time(segment.counted_at),
        "unavailable": unavailable,
        "created_by": segment.created_by,
        "created_at": shown_time(segment.created_at),
        "changed_at": shown_time(segment.changed_at),
    }


def find_segment(segment_id: int) -> Segment:
    """Return a segment. Raises NotFoundError."""
    segment = Segment.objects.filter(pk=segment_id).first() if segment_id < 2**63 else None
    if segment is None:
        raise NotFoundError("There is no such segment.", code="unknown_segment")
    return segment


def refusal(error: RuleError | SegmentKindError) -> InvalidError:
    """Return how a definition that cannot be is answered: with the place, and the reason in Chinese."""
    if isinstance(error, SegmentKindError):
        return InvalidError.of("groups", "static_segment", str(error))
    return InvalidError.of(error.place, "invalid_segment", error.reason)


def _require_everything(viewer: Viewer) -> None:
    if not viewer.scope.is_everything:
        raise ForbiddenError("A segment concerns everybody: a key restricted to departments cannot change one.")


class SegmentsView(Endpoint):
    required_scopes = {"GET": PROFILES_READ, "POST": SEGMENTS_WRITE}

    @extend_schema(operation_id="segments_list", responses={200: SegmentPage, **problems(400)})
    def get(self, request: Request) -> HttpResponse:
        """List all segments by name (there are at most 200), with how many are in each as last counted."""
        refuse_unknown(request._request.GET, ())
        viewer = viewer_of(holder_of(request))
        return answer({"results": [shown_segment(one, viewer) for one in Segment.objects.order_by("name", "pk")]})

    @extend_schema(
        operation_id="segments_create",
        request=SegmentBody,
        responses={201: SegmentAnswer, **problems(400, 403, 413, 415)},
    )
    def post(self, request: Request) -> HttpResponse:
        """Save a segment. Who is in it is computed from now on, in seconds to minutes: see `state` and `progress`."""
        viewer = viewer_of(holder_of(request))
        _require_everything(viewer)
        body = SegmentBody(data=self.read(request))
        body.is_valid(raise_exception=True)
        try:
            segment = create_segment(**body.validated_data, by=viewer.name)
        except (RuleError, SegmentKindError) as error:
            raise refusal(error) from error
        record(viewer.name, "create_segment", detail={"segment": segment.pk, "name": segment.name})
        tasks.wake_recompute()
        return answer(shown_segment(segment, viewer), status=201, Location=f"/api/v1/segments/{segment.pk}/")


class SegmentView(Endpoint):
    required_scopes = {"GET": PROFILES_READ, "PATCH": SEGMENTS_WRITE, "DELETE": SEGMENTS_WRITE}

    @extend_schema(
        operation_id="segments_read", parameters=[SEGMENT_ID], responses={200: SegmentAnswer, **problems(404)}
    )
    def get(self, request: Request, segment_id: int) -> HttpResponse:
        """See a segment. A restricted key is told how many of its members it may see, counted now."""
        refuse_unknown(request._request.GET, ())
        return answer(shown_segment(find_segment(segment_id), viewer_of(holder_of(request)), counted=True))

    @extend_schema(
        operation_id="segments_change",
        parameters=[SEGMENT_ID],
        request=SegmentPatch,
        responses={200: SegmentAnswer, **problems(400, 403, 404, 413, 415)},
    )
    def patch(self, request: Request, segment_id: int) -> HttpResponse:
        """Change a segment. With other conditions the version grows, and who is in it is computed anew."""
        viewer = viewer_of(holder_of(request))
        _require_everything(viewer)
        before = find_segment(segment_id)
        body = SegmentPatch(data=self.read(request))
        body.is_valid(raise_exception=True)
        try:
            segment = change_segment(segment_id, body.validated_data)
        except Segment.DoesNotExist:
            raise NotFoundError("There is no such segment.", code="unknown_segment") from None
        except (RuleError, SegmentKindError) as error:
            raise refusal(error) from error
        if segment.version != before.version or segment.name != before.name:
            record(viewer.name, "change_segment", detail={"segment": segment.pk, "version": segment.version})
        if segment.version != before.version:
            tasks.wake_recompute()
        return answer(shown_segment(segment, viewer))

    @extend_schema(
        operation_id="segments_delete",
        parameters=[SEGMENT_ID],
        request=None,
        responses={204: None, **problems(403, 404, 409)},
    )
    def delete(self, request: Request, segment_id: int) -> HttpResponse:
        """Delete a segment that no other uses. Its members are taken away soon after."""
        viewer = viewer_of(holder_of(request))
        _require_everything(viewer)
        segment = find_segment(segment_id)
        try:
            delete_segment(segment_id, by=viewer.name)
        except Segment.DoesNotExist:
            raise NotFoundError("There is no such segment.", code="unknown_segment") from None
        except SegmentInUseError as error:
            raise ConflictError(
                "Other segments or rules use this one.", code="segment_in_use", used_by=error.users
            ) from error
        record(viewer.name, "delete_segment", detail={"segment": segment_id, "name": segment.name})
        return HttpResponse(status=204)


class SegmentMembersView(Endpoint):
    required_scopes = {"GET": PROFILES_READ, "POST": SEGMENTS_WRITE}

    @extend_schema(
        operation_id="segments_members",
        parameters=[SEGMENT_ID, CURSOR, LIMIT],
        responses={200: CustomerPage, **problems(400, 404)},
    )
    def get(self, request: Request, segment_id: int) -> HttpResponse:
        """List who is in a segment over all homes, by customer_id, as `GET /customers/?segment=` does."""
        given = request._request.GET
        refuse_unknown(given, ("cursor", "limit"))
        find_segment(segment_id)
        limit = read_limit(given)
        cursor = read_text(given, "cursor", max_length=cursors.MAX_LENGTH)
        asked: dict[str, object] = {"members": segment_id}
        position = cursors.decode(cursor, asked) if cursor else None
        page = view_page(Filters(segment=segment_id), viewer_of(holder_of(request)), position=position, limit=limit)
        return answer(
            {
                "results": page.customers,
                "next": cursors.encode(page.position, asked) if page.position is not None else None,
                "unavailable": page.unavailable,
            }
        )

    @extend_schema(
        operation_id="segments_change_members",
        parameters=[SEGMENT_ID],
        request=MembersBody,
        responses={200: ChangedMembersAnswer, **problems(400, 404, 409, 413, 415)},
    )
    def post(self, request: Request, segment_id: int) -> HttpResponse:
        """Put customers into a static segment, take others out; up to 1 000 of each. Repeat as you like."""
        viewer = viewer_of(holder_of(request))
        segment = find_segment(segment_id)
        body = MembersBody(data=self.read(request))
        body.is_valid(raise_exception=True)
        given = body.validated_data
        if not given.get("add") and not given.get("remove"):
            raise InvalidError.of("add", "empty", f"add and remove hold up to {MAX_AT_ONCE} external_userids each.")
        try:
            done = change_members(
                segment, add=given.get("add", ()), remove=given.get("remove", ()), by=viewer.name, scope=viewer.scope
            )
        except SegmentKindError as error:
            raise ConflictError("Conditions say who is in this segment.", code="dynamic_segment") from error
        if done.added or done.removed:
            counting.store_counts()
        return answer(vars(done))


class SegmentHistoryView(Endpoint):
    required_scopes = {"GET": PROFILES_READ}

    @extend_schema(
        operation_id="segments_history",
        parameters=[SEGMENT_ID, DAYS],
        responses={200: SegmentHistoryAnswer, **problems(400, 403, 404)},
    )
    def get(self, request: Request, segment_id: int) -> HttpResponse:
        """See how many entered and left day by day; days without either are left out."""
        given = request._request.GET
        refuse_unknown(given, ("days",))
        days = read_integer(given, "days", lowest=1, highest=MAX_HISTORY_DAYS) or 30
        if not viewer_of(holder_of(request)).scope.is_everything:
            raise ForbiddenError("These numbers are of everybody: a key restricted to departments is not told.")
        segment = find_segment(segment_id)
        found, unavailable = counting.read_days(segment.pk, day_of(timezone.now()) - timedelta(days=days - 1))
        rows = [{"day": one.day.isoformat(), "entered": one.entered, "left": one.left} for one in found]
        return answer({"results": rows, "unavailable": unavailable})


class SegmentPreviewView(Endpoint):
    required_scopes = {"POST": PROFILES_READ}

    @extend_schema(
        operation_id="segments_preview", request=PreviewBody, responses={200: PreviewAnswer, **problems(400, 413, 415)}
    )
    def post(self, request: Request) -> HttpResponse:
        """Count whom conditions would hold, without saving them; within some two seconds, else at least so many."""
        viewer = viewer_of(holder_of(request))
        body = PreviewBody(data=self.read(request))
        body.is_valid(raise_exception=True)
        try:
            filter_ = Filter.from_json(body.validated_data["groups"])
            check_references(None, "", filter_, list(Segment.objects.order_by("pk")))
        except RuleError as error:
            raise refusal(error) from error
        found = preview(filter_, scope=viewer.scope)
        return answer(
            {
                "count": found.found,
                "is_exact": found.is_exact and not found.unavailable,
                "estimate": found.estimate,
                "looked_at": found.looked_at,
                "customers": found.customers,
                "unavailable": found.unavailable,
                "words": words_of(body.validated_data["groups"]),
            }
        )
