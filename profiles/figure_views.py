"""REST endpoints of dashboards: the summary, trends, flows, RFM, value, cohorts. From kept figures: no home is asked.

What is kept is counted over everybody, so a key that is restricted to departments gets the summary alone, which is then
counted for it.
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

from customers.viewing import viewer_of
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
from profiles.models import ProfileRun, Segment
from profiles.overview import overview_of, shown_overview
from profiles.views import shown_run
from scrm import sharding
from scrm.api.endpoints import Endpoint, answer, holder_of
from scrm.api.parsing import read_day, read_integer, read_text, refuse_unknown
from scrm.api.problems import ForbiddenError, InvalidError
from scrm.api.schema import problems
from scrm.api.scopes import PROFILES_READ
from scrm.sharding.ids import MAX_HOME

TREND_KINDS = ("classes", "lifecycle", "loss", "segments", "rfm", "actions")
DEFAULT_DAYS = 30
MAX_DAYS = 3_660
FROM = OpenApiParameter("from", date, OpenApiParameter.QUERY, description="The first day; 30 days to `to` if left out.")
TO = OpenApiParameter("to", date, OpenApiParameter.QUERY, description="The last day; today if left out.")
HOME = OpenApiParameter("home", int, OpenApiParameter.QUERY, description="One home only.")
DAY = OpenApiParameter(
    "day",
    date,
    OpenApiParameter.QUERY,
    description="The last figures of at most this day; the newest if left out.",
)
KIND = OpenApiParameter("kind", str, OpenApiParameter.QUERY, enum=TREND_KINDS, description="classes if left out.")


class SummaryView(Endpoint):
    required_scopes = {"GET": PROFILES_READ}

    @extend_schema(operation_id="profiles_summary", responses={200: FiguresSummaryAnswer, **problems()})
    def get(self, request: Request) -> HttpResponse:
        """Count the customers of each class and home, as of the last run, and see that run.

        Who was created since counts as unclassified. A restricted key is told the counts of those it may see, of now.
        How far a run is that is going on: profiles/runs/{id}/.
        """
        refuse_unknown(request._request.GET, ())
        viewer = viewer_of(holder_of(request))
        last = ProfileRun.objects.exclude(kind=ProfileRun.Kind.BACKTEST).first()
        shown = shown_overview(overview_of(viewer.scope))
        return answer({**shown, "last_run": shown_run(last, viewer, live=False) if last else None})


class FiguresEndpoint(Endpoint):
    """An endpoint for keys that may see everybody."""

    required_scopes = {"GET": PROFILES_READ}

    def given(self, request: Request, *known: str) -> QueryDict:
        """Return the query's parameters. Raises ForbiddenError, InvalidError."""
        if not viewer_of(holder_of(request)).scope.is_everything:
            raise ForbiddenError("These figures count everybody: a key restricted to departments cannot read them.")
        given = request._request.GET
        refuse_unknown(given, known)
        return given


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


def shown_latest(latest: keeping.Latest) -> dict[str, Any]:
    return {"day": latest.day.isoformat() if latest.day else None, "stale": latest.stale}


def shown_amount(amount: Decimal) -> str:
    return str(amount.quantize(Decimal("0.01")))


class TrendsView(FiguresEndpoint):
    @extend_schema(
        operation_id="profiles_trends",
        parameters=[KIND, FROM, TO, HOME],
        responses={200: TrendsAnswer, **problems(400)},
    )
    def get(self, request: Request) -> HttpResponse:
        """See counts day by day: of classes, lifecycle, loss warnings, segments, RFM segments or open recommendations.

        A day is one that a run was as of. A home that has no figures of a day counts with its last ones, and is named
        in `stale`. Of classes an empty name stands for not classified yet; segments are named by id, see `names`.
        """
        given = self.given(request, "kind", "from", "to", "home")
        kind = read_text(given, "kind", max_length=100) or "classes"
        if kind not in TREND_KINDS:
            raise InvalidError.of("kind", "invalid_choice", f"kind is one of {', '.join(TREND_KINDS)}.")
        span, homes = read_span(given), read_homes(given)
        points = find_trend(kind, span.first, span.last, homes)
        return answer(
            {
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


def find_trend(kind: str, first: date, last: date, homes: Sequence[int]) -> list[summing.Point]:
    """Return counts of a kind day by day. Database: two queries on control."""
    rows = keeping.find_trend(kind, first, last, homes)
    return summing.trend(((day, home, summing.counts_of(kind, data)) for day, home, data in rows), homes, first)


def names_of_segments(ids: Iterable[str]) -> dict[str, str]:
    """Return {id: name} of segments that are still there. Database: one query on control."""
    wanted = [int(one) for one in ids]
    return {str(pk): name for pk, name in Segment.objects.filter(pk__in=wanted).values_list("pk", "name")}


class FlowsView(FiguresEndpoint):
    @extend_schema(
        operation_id="profiles_flows", parameters=[FROM, TO, HOME], responses={200: FlowsAnswer, **problems(400)}
    )
    def get(self, request: Request) -> HttpResponse:
        """See how many customers runs have moved from which class to which, over some days added up.

        `from` null: classified for the first time.
        """
        given = self.given(request, "from", "to", "home")
        span, homes = read_span(given), read_homes(given)
        rows = keeping.find_range("moves", span.first, span.last, homes)
        moves = summing.add_moves(data for _day, _home, data in rows)
        return answer(
            {
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

    def latest(self, request: Request) -> keeping.Latest:
        given = self.given(request, "day", "home")
        return keeping.find_latest([self.kind], read_homes(given), read_day(given, "day"))[self.kind]


class RfmView(LatestEndpoint):
    kind = "rfm"

    @extend_schema(operation_id="profiles_rfm", parameters=[DAY, HOME], responses={200: RfmGridAnswer, **problems(400)})
    def get(self, request: Request) -> HttpResponse:
        """See how buyers lie on the grid of recency and frequency scores, and the RFM segments."""
        latest = self.latest(request)
        rfm = summing.add_rfm(latest.data.values())
        return answer(
            {
                **shown_latest(latest),
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
        operation_id="profiles_value", parameters=[DAY, HOME], responses={200: ValueSpreadAnswer, **problems(400)}
    )
    def get(self, request: Request) -> HttpResponse:
        """See what buyers are expected to spend in the next 90 days, and how it is spread."""
        latest = self.latest(request)
        value = summing.add_value(latest.data.values())
        return answer(
            {
                **shown_latest(latest),
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
        operation_id="profiles_cohorts", parameters=[DAY, HOME], responses={200: CohortsAnswer, **problems(400)}
    )
    def get(self, request: Request) -> HttpResponse:
        """See of whom first bought in a month how many bought in each month since. The last month is not over yet."""
        latest = self.latest(request)
        cohorts = find_cohorts(latest)
        return answer(
            {
                **shown_latest(latest),
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
