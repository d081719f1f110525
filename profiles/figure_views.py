"""REST endpoints of dashboards: the summary, trends, flows, RFM, value, cohorts. From kept figures: no home is asked.

A key that is restricted to departments is answered with the figures of just these, one that is not with those of
everybody, or of the department that it asks for. Where there are none yet, day is null and the rest empty.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.http import HttpResponse, QueryDict
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from customers.access import Scope, scope_of
from customers.organisation import organisation
from customers.viewing import Viewer, viewer_of
from profiles.days import day_of
from profiles.figure_serializers import (
    CohortsAnswer,
    FiguresSummaryAnswer,
    FlowsAnswer,
    RfmGridAnswer,
    TrendsAnswer,
    ValueSpreadAnswer,
)
from profiles.figures import keeping, summing
from profiles.figures.scopes import EVERYBODY, name_of
from profiles.models import ProfileRun, Segment
from profiles.overview import kept_overview, shown_overview
from profiles.views import shown_run
from scrm import sharding
from scrm.api.endpoints import Endpoint, answer, holder_of
from scrm.api.parsing import read_day, read_integer, read_text, refuse_unknown
from scrm.api.problems import InvalidError
from scrm.api.schema import problems
from scrm.api.scopes import PROFILES_READ
from scrm.sharding.ids import MAX_HOME

TREND_KINDS = ("classes", "lifecycle", "loss", "segments", "rfm", "actions")
DEFAULT_DAYS = 30
MAX_DAYS = 3_660
FROM = OpenApiParameter("from", date, OpenApiParameter.QUERY, description="The first day; 30 days to `to` if left out.")
TO = OpenApiParameter("to", date, OpenApiParameter.QUERY, description="The last day; today if left out.")
HOME = OpenApiParameter("home", int, OpenApiParameter.QUERY, description="One home only.")
DEPARTMENT = OpenApiParameter(
    "department",
    int,
    OpenApiParameter.QUERY,
    description="Only who is in scope of this department, those below it included. A restricted key may name one of "
    "its own; left out, it is answered for all of its departments together.",
)
DAY = OpenApiParameter(
    "day",
    date,
    OpenApiParameter.QUERY,
    description="The last figures of at most this day; the newest if left out.",
)
KIND = OpenApiParameter("kind", str, OpenApiParameter.QUERY, enum=TREND_KINDS, description="classes if left out.")


@dataclass(frozen=True)
class Asked:
    """What a request asks for: its parameters, and whose figures. scope: the name that these are kept under."""

    given: QueryDict
    viewer: Viewer
    departments: tuple[int, ...] | None
    scope: str


class FiguresEndpoint(Endpoint):
    required_scopes = {"GET": PROFILES_READ}

    def asked(self, request: Request, *known: str) -> Asked:
        """Return what is asked for. Raises InvalidError."""
        viewer = viewer_of(holder_of(request))
        given = request._request.GET
        refuse_unknown(given, (*known, "department"))
        scope = read_department(given, viewer.scope)
        return Asked(given, viewer, None if scope.is_everything else scope.roots, name_of(scope))


def read_department(given: QueryDict, own: Scope) -> Scope:
    """Return the scope of the department that is asked for, or one's own. Raises InvalidError for one outside it."""
    department = read_integer(given, "department", lowest=1, highest=2**32 - 1)
    if department is None:
        return own
    if department not in (organisation().parents if own.departments is None else own.departments):
        raise InvalidError.of("department", "unknown_department", f"There is no department {department}.")
    return scope_of([department])


class SummaryView(FiguresEndpoint):
    @extend_schema(
        operation_id="profiles_summary", parameters=[DEPARTMENT], responses={200: FiguresSummaryAnswer, **problems(400)}
    )
    def get(self, request: Request) -> HttpResponse:
        """Count the customers of each class and home, as of the last run, and see that run.

        Who was created since counts as unclassified; of departments, only with the next run. A restricted key is told
        the counts of those it may see. How far a run is that is going on: profiles/runs/{id}/.
        """
        asked = self.asked(request)
        last = ProfileRun.objects.exclude(kind=ProfileRun.Kind.BACKTEST).first()
        shown = shown_overview(kept_overview(asked.scope))
        last_run = shown_run(last, asked.viewer, live=False) if last else None
        return answer({"departments": asked.departments, **shown, "last_run": last_run})


@dataclass(frozen=True)
class Span:
    first: date
    last: date


def read_span(given: QueryDict) -> Span:
    """Return the days that from and to name, both included. Raises InvalidError."""
    last = read_day(given, "to") or day_of(timezone.now())
    first = read_day(given, "from")
    if first is None:
        first = date.fromordinal(max(last.toordinal() - DEFAULT_DAYS + 1, 1))
    if first > last:
        raise InvalidError.of("from", "after_to", "from must not be after to.")
    if (last - first) > timedelta(days=MAX_DAYS):
        raise InvalidError.of("from", "too_long", f"from and to may be {MAX_DAYS} days apart.")
    return Span(first, last)


def read_homes(given: QueryDict) -> list[int]:
    """Return the home that is asked for, or all. Raises InvalidError."""
    home = read_integer(given, "home", lowest=1, highest=MAX_HOME)
    if home is None:
        return list(sharding.shard_map().homes)
    if home not in sharding.shard_map():
        raise InvalidError.of("home", "unknown_home", f"There is no home {home}.")
    return [home]


def shown_latest(asked: Asked, latest: keeping.Latest) -> dict[str, Any]:
    day = latest.day.isoformat() if latest.day else None
    return {"departments": asked.departments, "day": day, "stale": latest.stale}


def shown_amount(amount: Decimal) -> str:
    return str(amount.quantize(Decimal("0.01")))


class TrendsView(FiguresEndpoint):
    @extend_schema(
        operation_id="profiles_trends",
        parameters=[KIND, FROM, TO, HOME, DEPARTMENT],
        responses={200: TrendsAnswer, **problems(400)},
    )
    def get(self, request: Request) -> HttpResponse:
        """See counts day by day: of classes, lifecycle, loss warnings, segments, RFM segments or open recommendations.

        A day is one that a run was as of. A home that has no figures of a day counts with its last ones, and is named
        in `stale`. Of classes an empty name stands for not classified yet; segments are named by id, see `names`.
        """
        asked = self.asked(request, "kind", "from", "to", "home")
        given = asked.given
        kind = read_text(given, "kind", max_length=100) or "classes"
        if kind not in TREND_KINDS:
            raise InvalidError.of("kind", "invalid_choice", f"kind is one of {', '.join(TREND_KINDS)}.")
        span, homes = read_span(given), read_homes(given)
        points = find_trend(kind, span.first, span.last, homes, scope=asked.scope)
        return answer(
            {
                "departments": asked.departments,
                "kind": kind,
                "from": span.first.isoformat(),
                "to": span.last.isoformat(),
                "names": names_of_segments({name for point in points for name in point.values})
                if kind == "segments"
                else {},
                "results": [
                    {"day": point.day.isoformat(), "values": point.values, "stale": list(point.stale)}
                    for point in points
                ],
            }
        )


def find_trend(
    kind: str, first: date, last: date, homes: Sequence[int], *, scope: str = EVERYBODY
) -> list[summing.Point]:
    """Return counts of a kind of a scope day by day. Database: two queries on control."""
    rows = keeping.find_trend(kind, first, last, homes, scope=scope)
    return summing.trend(((day, home, summing.counts_of(kind, data)) for day, home, data in rows), homes, first)


def names_of_segments(ids: Iterable[str]) -> dict[str, str]:
    """Return {id: name} of segments that are still there. Database: one query on control."""
    wanted = [int(one) for one in ids]
    return {str(pk): name for pk, name in Segment.objects.filter(pk__in=wanted).values_list("pk", "name")}


class FlowsView(FiguresEndpoint):
    @extend_schema(
        operation_id="profiles_flows",
        parameters=[FROM, TO, HOME, DEPARTMENT],
        responses={200: FlowsAnswer, **problems(400)},
    )
    def get(self, request: Request) -> HttpResponse:
        """See how many customers runs have moved from which class to which, over some days added up.

        `from` null: classified for the first time.
        """
        asked = self.asked(request, "from", "to", "home")
        span, homes = read_span(asked.given), read_homes(asked.given)
        rows = keeping.find_range("moves", span.first, span.last, homes, scope=asked.scope)
        moves = summing.add_moves(data for _day, _home, data in rows)
        return answer(
            {
                "departments": asked.departments,
                "from": span.first.isoformat(),
                "to": span.last.isoformat(),
                "days": sorted({day.isoformat() for day, _home, _data in rows}),
                "results": [
                    {"from": before, "to": after, "customers": customers} for before, after, customers in moves
                ],
            }
        )


class LatestEndpoint(FiguresEndpoint):
    """An endpoint of the last figures of one kind."""

    kind = ""

    def latest(self, request: Request) -> tuple[Asked, keeping.Latest]:
        asked = self.asked(request, "day", "home")
        homes, day = read_homes(asked.given), read_day(asked.given, "day")
        return asked, keeping.find_latest([self.kind], homes, day, scope=asked.scope)[self.kind]


class RfmView(LatestEndpoint):
    kind = "rfm"

    @extend_schema(
        operation_id="profiles_rfm", parameters=[DAY, HOME, DEPARTMENT], responses={200: RfmGridAnswer, **problems(400)}
    )
    def get(self, request: Request) -> HttpResponse:
        """See how buyers lie on the grid of recency and frequency scores, and the RFM segments."""
        asked, latest = self.latest(request)
        rfm = summing.add_rfm(latest.data.values())
        return answer(
            {
                **shown_latest(asked, latest),
                "grid": [
                    {
                        "recency": recency,
                        "frequency": frequency,
                        "customers": cell.customers,
                        "mean_monetary": cell.mean_monetary,
                        "amount": shown_amount(cell.amount),
                    }
                    for (recency, frequency), cell in rfm.grid.items()
                ],
                "segments": [
                    {"name": name, "customers": customers, "amount": shown_amount(amount)}
                    for name, (customers, amount) in rfm.segments.items()
                ],
            }
        )


class ValueView(LatestEndpoint):
    kind = "value"

    @extend_schema(
        operation_id="profiles_value",
        parameters=[DAY, HOME, DEPARTMENT],
        responses={200: ValueSpreadAnswer, **problems(400)},
    )
    def get(self, request: Request) -> HttpResponse:
        """See what buyers are expected to spend in the next 90 days, and how it is spread."""
        asked, latest = self.latest(request)
        value = summing.add_value(latest.data.values())
        return answer(
            {
                **shown_latest(asked, latest),
                "customers": value.customers,
                "expected_amount": shown_amount(value.total),
                "expected_purchases": shown_amount(value.purchases),
                "mean_alive_percent": value.alive_percent,
                "best_fifth_share": value.best_share,
                "bins": [
                    {"from": low, "to": high, "customers": customers, "amount": shown_amount(amount)}
                    for low, high, customers, amount in value.bins
                ],
            }
        )


class CohortsView(LatestEndpoint):
    kind = "cohorts"

    @extend_schema(
        operation_id="profiles_cohorts",
        parameters=[DAY, HOME, DEPARTMENT],
        responses={200: CohortsAnswer, **problems(400)},
    )
    def get(self, request: Request) -> HttpResponse:
        """See of whom first bought in a month how many bought in each month since. The last month is not over yet."""
        asked, latest = self.latest(request)
        cohorts = find_cohorts(latest)
        return answer(
            {
                **shown_latest(asked, latest),
                "results": [
                    {
                        "month": cohort.month,
                        "customers": cohort.customers,
                        "active": list(cohort.active),
                        "retention": list(cohort.retention),
                    }
                    for cohort in cohorts
                ],
            }
        )


def find_cohorts(latest: keeping.Latest) -> list[summing.Cohort]:
    """Return the cohorts of all homes that have figures, up to the last day that counted."""
    if latest.day is None:
        return []
    return summing.add_cohorts(latest.data.values(), latest.day - timedelta(days=1))
