"""REST endpoints of profiles, behaviours and runs: parse, call, answer. docs/api.md is the guide."""

import base64
import binascii
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from customers.lookup import read
from customers.viewing import Viewer, view_customer, viewer_of
from customers.views import EXTERNAL_USERID, unknown_customer
from profiles import publishing, tasks
from profiles.days import day_of
from profiles.models import FactHistory, ProfileHistory, ProfileRun
from profiles.reasons import describe, explain_change, look_ahead, missing_in_words
from profiles.reporting import report_behaviours
from profiles.rules import Condition, Explanation, RuleError, format_conditions
from profiles.runs import RunRefusedError, run_progress
from profiles.segments.definitions import deleted_segments, segment_names
from profiles.segments.members import Stay, segments_of, stays_of
from profiles.serializers import (
    MAX_BEHAVIOURS,
    BehavioursBody,
    ProfileAnswer,
    RecordedAnswer,
    RunAnswer,
    RunBody,
    RunPage,
)
from profiles.standing import Standing, find_standing, list_changes
from profiles.worth import Worth, find_worth, list_facts
from scrm import sharding
from scrm.api.endpoints import Endpoint, answer, holder_of
from scrm.api.parsing import read_limit, read_text, refuse_unknown
from scrm.api.problems import (
    BadCursorError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    UnprocessableError,
)
from scrm.api.schema import problems
from scrm.api.scopes import BEHAVIORS_WRITE, PROFILES_READ, PROFILES_WRITE

MAX_STAYS = 50
CURSOR = OpenApiParameter("cursor", str, OpenApiParameter.QUERY, description="The `next` of the page before.")
LIMIT = OpenApiParameter("limit", int, OpenApiParameter.QUERY, description="1 to 500, 50 if left out.")
State = ProfileRun.State


def shown_time(moment: datetime | None) -> str | None:
    return moment.astimezone(ZoneInfo(settings.TIME_ZONE)).isoformat() if moment else None


def cursor_of(number: int | None) -> str | None:
    """Return the cursor of a list that goes down by a run's number."""
    return None if number is None else base64.urlsafe_b64encode(f"run:{number}".encode()).rstrip(b"=").decode()


def number_of(cursor: str | None) -> int | None:
    """Return the number that a cursor stands for. Raises BadCursorError."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise BadCursorError("This is not a cursor that a list has given.") from None
    name, _, number = text.partition(":")
    if name != "run" or not number.isdigit() or len(number) > 18:
        raise BadCursorError("This is not a cursor that a list has given.")
    return int(number)


# ------------------------------------------------------------------------------------------------------------ profile
class ProfileView(Endpoint):
    required_scopes = {"GET": PROFILES_READ}

    @extend_schema(
        operation_id="customers_profile",
        parameters=[EXTERNAL_USERID, CURSOR, LIMIT],
        responses={200: ProfileAnswer, **problems(400, 404)},
    )
    def get(self, request: Request, external_userid: str) -> HttpResponse:
        """See a customer's class, the rule and the numbers that put them there, the live figures and the history.

        cursor and limit are of the history, which is newest first.
        """
        given = request._request.GET
        refuse_unknown(given, ("cursor", "limit"))
        limit, before = read_limit(given), number_of(read_text(given, "cursor", max_length=100))
        # No mobile is shown here, so nobody reads one in clear.
        viewer = replace(viewer_of(holder_of(request)), in_clear=False)
        customer_id, standing = find_visible_standing(external_userid, viewer)
        newest, _ = list_changes(customer_id, limit=1)
        changes, next_run = list_changes(customer_id, before_run=before, limit=limit)
        change = newest[0] if newest else None
        return answer(
            {
                "customer_id": customer_id,
                "external_userid": external_userid,
                "profile": standing.profile,
                "since": shown_time(standing.since),
                "as_of": change.as_of.isoformat() if change else None,
                "is_dirty": standing.is_dirty,
                "rule": shown_rule(change) if change else None,
                "numbers": shown_numbers(change) if change else None,
                "live": shown_figures(standing),
                **shown_worth(find_worth(customer_id)),
                "facts": [shown_fact(one) for one in list_facts(customer_id)],
                "next": shown_ahead(customer_id),
                "segments": [
                    {"id": one.segment_id, "name": one.name, "since": shown_time(one.entered_at)}
                    for one in segments_of(customer_id, segment_names())
                ],
                "segment_history": [
                    shown_stay(one)
                    for one in stays_of(customer_id, segment_names(), deleted_segments(), limit=MAX_STAYS)
                ],
                "history": {"results": [shown_change(one) for one in changes], "next": cursor_of(next_run)},
            }
        )


def find_visible_standing(external_userid: str, viewer: Viewer) -> tuple[int, Standing]:
    """Return where somebody lives and stands. Raises NotFoundError, HomeUnavailableError.

    Database: none to find who is cached, else as a lookup; one query on the home's.
    """
    seen = view_customer(external_userid, viewer).customer
    for _attempt in range(3):
        if seen is None:
            raise unknown_customer()
        standing = find_standing(seen["customer_id"])
        if standing is not None:
            return seen["customer_id"], standing
        seen, _ = read(external_userid)  # moved, or erased, since it was read
        if seen is not None and not viewer.scope.admits(seen):
            seen = None
    raise UnavailableError("This customer is being moved.", code="busy")


def shown_figures(standing: Standing) -> dict[str, Any]:
    return {
        "purchase_count": standing.purchase_count,
        "interaction_count": standing.interaction_count,
        "total_amount": str(standing.total_amount.quantize(Decimal("0.01"))),
        "refund_count": standing.refund_count,
        "refund_amount": str(standing.refund_amount.quantize(Decimal("0.01"))),
        "last_purchase_at": shown_time(standing.last_purchase_at),
        "last_interaction_at": shown_time(standing.last_interaction_at),
    }


def shown_worth(worth: Worth) -> dict[str, Any]:
    rfm = {
        "recency_score": worth.recency_score,
        "frequency_score": worth.frequency_score,
        "monetary_score": worth.monetary_score,
        "segment": worth.rfm_segment,
    }
    value = {
        "alive_percent": worth.alive_percent,
        "expected_purchases": str(worth.expected_purchases),
        "expected_amount": None if worth.expected_amount is None else str(worth.expected_amount),
        "horizon_days": worth.horizon_days,
    }
    return {
        "lifecycle": worth.lifecycle,
        "rfm": rfm if worth.has_rfm else None,
        "value": value if worth.has_value else None,
        "loss_warning": worth.loss_warning or None,
    }


def shown_fact(change: FactHistory) -> dict[str, Any]:
    return {
        "fact": change.fact,
        "before": change.before,
        "after": change.after,
        "run_id": change.run_id,
        "as_of": change.as_of.isoformat(),
        "at": shown_time(change.at),
        "numbers": change.numbers,
    }


def shown_stay(stay: Stay) -> dict[str, Any]:
    return {
        "id": stay.segment_id,
        "name": stay.name,
        "is_deleted": stay.is_deleted,
        "since": shown_time(stay.since),
        "until": shown_time(stay.until),
        "entered_by": stay.cause,
        "left_by": stay.until_cause,
    }


def shown_numbers(change: ProfileHistory) -> dict[str, Any]:
    return {
        "purchase_count": change.purchase_count,
        "interaction_count": change.interaction_count,
        "total_amount": str(change.total_amount),
        **(change.numbers or {}),
    }


def shown_change(change: ProfileHistory) -> dict[str, Any]:
    return {
        "run_id": change.run_id,
        "as_of": change.as_of.isoformat(),
        "at": shown_time(change.at),
        "from_profile": change.from_profile,
        "to_profile": change.to_profile,
        "rule_version": change.rule_version,
        "rule_position": change.rule_position,
        "numbers": shown_numbers(change),
    }


def shown_rule(change: ProfileHistory) -> dict[str, Any]:
    """Return the rule that decided, and those that were tried before it, each with the numbers that it met."""
    explanation = explain_change(change)
    tried = [] if explanation is None else shown_tried(explanation)
    conditions: list[Condition] = []
    if explanation is not None and explanation.deciding is not None:
        conditions = [verdict.condition for verdict in explanation.deciding.verdicts]
    return {
        "version": change.rule_version,
        "position": change.rule_position,
        "profile": change.to_profile,
        "text": format_conditions(tuple(conditions)),
        "tried": tried,
    }


def shown_tried(explanation: Explanation) -> list[dict[str, Any]]:
    return [
        {
            "position": rule.position,
            "profile": rule.profile,
            "holds": rule.holds,
            "conditions": [
                {
                    "text": format_conditions((verdict.condition,)),
                    "words": describe(verdict.condition),
                    "actual": str(verdict.actual) if isinstance(verdict.actual, Decimal) else verdict.actual,
                    "holds": verdict.holds,
                }
                for verdict in rule.verdicts
            ],
        }
        for rule in explanation.rules
    ]


def shown_ahead(customer_id: int) -> list[dict[str, Any]]:
    """Return the classes in front of somebody's by the rules in force, the nearest first, and what each lacks."""
    try:
        _, ahead = look_ahead(customer_id, publishing.current())
    except RuleError:
        return []
    return [
        {
            "position": one.position,
            "profile": one.profile,
            "is_possible": one.is_possible,
            "missing": [
                {
                    "text": format_conditions((gap.condition,)),
                    "words": missing_in_words(gap),
                    "actual": str(gap.actual) if isinstance(gap.actual, Decimal) else gap.actual,
                    "steps": [{"act": step.act.value, "amount": str(step.amount)} for step in gap.steps],
                }
                for gap in one.gaps
            ],
        }
        for one in ahead
    ]


# ------------------------------------------------------------------------------------------------------- behaviours
class BehavioursView(Endpoint):
    required_scopes = {"POST": BEHAVIORS_WRITE}
    max_body_bytes = 8 * 1024 * 1024

    @extend_schema(
        operation_id="behaviors_record",
        request=BehavioursBody,
        responses={200: RecordedAnswer, **problems(400, 413, 415)},
    )
    def post(self, request: Request) -> HttpResponse:
        """Record up to 1 000 behaviours. Good ones are taken, bad ones come back in `rejected`; repeat as you like.

        An event_id is known per customer and source, which is the key's name: the same contents again are counted as
        duplicates, other contents are rejected as event_id_conflict. An item names its customer by external_userid or
        by identity; whom nobody knows yet, it waits for, 90 days (`waiting`).
        """
        holder = holder_of(request)
        items, create_missing = read_behaviours(self.read(request))
        done = report_behaviours(
            items,
            source=holder.name,
            scope=viewer_of(holder).scope,
            now=timezone.now(),
            create_missing=create_missing,
        )
        return answer(
            {
                "accepted": done.accepted,
                "duplicates": done.duplicates,
                "waiting": done.waiting,
                "rejected": [{"index": one.index, "code": one.code, "message": one.message} for one in done.rejected],
            }
        )


def read_behaviours(body: dict[str, Any]) -> tuple[list[object], bool]:
    """Return the items of a body, whatever they are, and create_missing. Raises InvalidError."""
    unknown = sorted(set(body) - {"behaviors", "create_missing"})
    if unknown:
        raise InvalidError.of(unknown[0][:80], "unknown", "There are behaviors and create_missing, and no other field.")
    items, create_missing = body.get("behaviors"), body.get("create_missing", False)
    if not isinstance(items, list):
        raise InvalidError.of("behaviors", "not_a_list", "behaviors is a list of 1 to 1000 objects.")
    if not 1 <= len(items) <= MAX_BEHAVIOURS:
        code = "too_many" if items else "empty"
        raise InvalidError.of("behaviors", code, f"behaviors holds 1 to {MAX_BEHAVIOURS} items, not {len(items)}.")
    if not isinstance(create_missing, bool):
        raise InvalidError.of("create_missing", "not_truth", "create_missing is true or false.")
    return items, create_missing


# -------------------------------------------------------------------------------------------------------------- runs
class RunsView(Endpoint):
    required_scopes = {"GET": PROFILES_READ, "POST": PROFILES_WRITE}

    @extend_schema(
        operation_id="profiles_runs_list",
        parameters=[CURSOR, LIMIT],
        responses={200: RunPage, **problems(400)},
    )
    def get(self, request: Request) -> HttpResponse:
        """List profile runs, the newest first."""
        given = request._request.GET
        refuse_unknown(given, ("cursor", "limit"))
        limit, before = read_limit(given), number_of(read_text(given, "cursor", max_length=100))
        viewer = viewer_of(holder_of(request))
        runs = ProfileRun.objects.all() if before is None else ProfileRun.objects.filter(pk__lt=before)
        found = list(runs[: limit + 1])
        return answer(
            {
                "results": [shown_run(run, viewer) for run in found[:limit]],
                "next": cursor_of(found[limit - 1].pk if len(found) > limit else None),
            }
        )

    @extend_schema(
        operation_id="profiles_runs_start",
        request=RunBody,
        responses={200: RunAnswer, 202: RunAnswer, **problems(400, 409, 415, 422)},
    )
    def post(self, request: Request) -> HttpResponse:
        """Start a run. One that writes goes on at a time: the same asked for again is answered with it (200), another
        is refused (409) with the one in its way."""
        viewer = viewer_of(holder_of(request))
        if not viewer.scope.is_everything:
            raise ForbiddenError("A run concerns everybody: a key restricted to departments cannot start one.")
        body = RunBody(data=self.read(request))
        body.is_valid(raise_exception=True)
        wanted = body.validated_data | {"as_of": body.validated_data.get("as_of") or day_of(timezone.now())}
        homes = sorted(set(wanted.get("homes") or sharding.shard_map().homes))
        unknown = [home for home in homes if home not in sharding.shard_map()]
        if unknown:
            raise InvalidError.of("homes", "unknown_home", f"There is no home {unknown[0]}.")
        try:
            run = tasks.launch(
                wanted["kind"], wanted["as_of"], full=wanted["full"], homes=homes, requested_by=viewer.name
            )
        except RunRefusedError as error:
            raise UnprocessableError(str(error), code="run_refused") from error
        except RuleError as error:
            raise UnprocessableError(str(error), code="invalid_rules") from error
        shown = shown_run(run, viewer)
        if run.is_new:
            return answer(shown, status=202, Location=f"/api/v1/profiles/runs/{run.pk}/")
        if (run.kind, run.as_of, run.full, run.homes) != (wanted["kind"], wanted["as_of"], wanted["full"], homes):
            raise ConflictError("Another run is going on: wait for its end.", code="run_in_progress", run=shown)
        return answer(shown, Location=f"/api/v1/profiles/runs/{run.pk}/")


class RunView(Endpoint):
    required_scopes = {"GET": PROFILES_READ}

    @extend_schema(
        operation_id="profiles_runs_read",
        parameters=[OpenApiParameter("run_id", OpenApiTypes.INT, OpenApiParameter.PATH)],
        responses={200: RunAnswer, **problems(404)},
    )
    def get(self, request: Request, run_id: int) -> HttpResponse:
        """See how far a run is, and what came of it."""
        run = ProfileRun.objects.filter(pk=run_id).first() if run_id < 2**63 else None
        if run is None:
            raise NotFoundError("There is no such run.", code="unknown_run")
        return answer(shown_run(run, viewer_of(holder_of(request))))


def shown_run(run: ProfileRun, viewer: Viewer, *, live: bool = True) -> dict[str, Any]:
    """Return a run as JSON values. What is counted in it is of everybody, so a restricted viewer is not told.

    live: ask the homes how far a run is that is going on; else its share is None.
    """
    progress: dict[str, Any] = {"share": 1.0, "unavailable": run.summary.get("unavailable", [])}
    counted = {name: run.summary.get(name, 0) for name in ("judged", "changed")}
    if run.state == State.RUNNING and not live:
        progress["share"] = None
    elif run.state == State.RUNNING:
        now = run_progress(run)
        progress = {"share": round(now.share, 4), "unavailable": now.unavailable}
        counted = {"judged": now.judged, "changed": now.changed}
    return {
        "id": run.pk,
        "kind": run.kind,
        "as_of": run.as_of.isoformat(),
        "rule_version": run.rule_version_id,
        "full": run.full,
        "homes": run.homes,
        "state": run.state,
        "requested_by": run.requested_by,
        "started_at": shown_time(run.started_at),
        "finished_at": shown_time(run.finished_at),
        "progress": progress | counted if viewer.scope.is_everything else progress,
        "phase": run.phase,
        "rfm": run.rfm if viewer.scope.is_everything else None,
        "value_model": run.value_model if viewer.scope.is_everything else None,
        "summary": run.summary if viewer.scope.is_everything else {},
    }
