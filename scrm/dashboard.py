"""The admin's home page: what the last run found, how it has come about, and what is to be done. From kept figures.

Of the whole company, or of one department with all below it. No department database is asked, unless a run is going on
(how far it is). Who may not see everybody sees no figures.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from zlib import crc32

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from customers.access import EVERYTHING, Scope, scope_of
from customers.counts import HUES, Counts, with_hues
from customers.organisation import organisation
from customers.pages.access import scope_of_user
from customers.pages.filters import department_choices
from profiles.admin import duration
from profiles.days import day_of
from profiles.figure_views import find_cohorts, find_trend, names_of_segments
from profiles.figures import keeping, summing
from profiles.figures.keeping import Latest
from profiles.figures.scopes import name_of
from profiles.models import Action, ProfileRun, Rule, Segment
from profiles.overview import Overview, kept_overview
from profiles.pages.rules import publishing_version
from profiles.pages.runs import progress_of
from profiles.rules import LIFECYCLES
from scrm import charts, sharding

# A chart with more bars says nothing; the table has them all.
MAX_BARS = 30
MAX_SEGMENTS = 8
SPANS = (30, 90)
BEFORE = timedelta(days=7)
WORK_LIST = "recommendations:work"
WARNED = [[{"field": "loss_warning", "operator": "is", "value": "high"}]]
KINDS = ("lifecycle", "loss", "rfm", "value", "cohorts", "moves", "segments", "actions")
# In the order of a customer's life; the hue of each.
LIFECYCLE_HUES = {"new": 5, "active": 2, "returned": 3, "dormant": 1, "lost": 9}
ALIVE = ("new", "active", "returned")


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to unfold's context what the home page shows. Database: about ten queries on control, whatever there is.

    While a run is going on, one on each home.
    """
    user: Any = request.user
    run = ProfileRun.objects.select_related("rule_version").exclude(kind=ProfileRun.Kind.BACKTEST).first()
    may_see_runs = user.has_perm("profiles.view_profilerun")
    context |= {
        "title": "首页",
        "may_see_customers": user.has_perm("customers.view_customer") and scope_of_user(user).is_everything,
        "may_see_runs": may_see_runs,
        "may_run": user.has_perm("profiles.add_profilerun"),
        "may_see_rules": user.has_perm("profiles.view_ruleversion"),
    }
    if context["may_see_customers"]:
        span = int(request.GET["days"]) if request.GET.get("days") in {str(days) for days in SPANS} else SPANS[0]
        context |= figures(run, span, user, asked_department(request))
    if may_see_runs:
        context |= {
            "run": run,
            "run_progress": progress_of(run) if run and run.state == ProfileRun.State.RUNNING else None,
            "run_took": duration(run.finished_at - run.started_at) if run and run.finished_at else "",
            "rules": publishing_version(),
        }
    return context


def asked_department(request: HttpRequest) -> Scope:
    """Return the scope of the department that the page is asked to show, or of the whole company."""
    choices = {str(number): number for number in organisation().parents}
    number = choices.get(request.GET.get("department", ""))
    return EVERYTHING if number is None else scope_of([number])


def figures(run: ProfileRun | None, span: int, user: Any, scope: Scope = EVERYTHING) -> dict[str, Any]:
    """Return all that is shown of the customers in a scope. Database: control."""
    name = name_of(scope)
    overview = kept_overview(name)
    counts = overview.counts
    if name:
        counts.homes = {home: found for home, found in counts.homes.items() if found}
    latest = keeping.find_latest(KINDS, scope=name)
    today = overview.day or day_of(timezone.now())
    past = keeping.find_latest(("classes", *KINDS), until=today - BEFORE, scope=name)
    homes = list(sharding.shard_map().homes)
    points = find_trend("classes", today - timedelta(days=span - 1), today, homes, scope=name)
    hues = with_hues(counts.classes)
    for point in points:
        hues |= {name: crc32(name.encode()) % HUES for name in point.values if name and name not in hues}
    company = organisation()
    return {
        "departments": [(number, text, number == name) for number, text in department_choices(company)],
        "department": name,
        "department_name": company.department_names[int(name)] if name else "",
        "department_query": f"&department={name}" if name else "",
        "days": span,
        "overview": overview,
        "counts": counts,
        "stale": [(home, overview.days.get(home)) for home in counts.unavailable],
        "figures_day": overview.day,
        "has_cards": overview.day is not None and (not name or counts.total > 0),
        "tiles": tiles(overview, latest, past, run, user, department=name),
        "legend": [(name, hues[name], count, share(count, counts.total)) for name, count in counts.classes.items()],
        "rows": [
            (home, [found.get(name, 0) for name in counts.classes], found.get(None, 0), sum(found.values()))
            for home, found in sorted(counts.homes.items())
        ],
        "homes_chart": drawn("bar", homes_chart(counts, hues), charts.BARS_ACROSS),
        "homes_height": 48 + 44 * min(len(counts.homes), MAX_BARS),
        "spans": [(days, days == span) for days in SPANS],
        "trend": trend(points, hues),
        "lifecycle": lifecycle(latest["lifecycle"], past["lifecycle"]),
        "matrix": flows(latest["moves"]),
        "hues": hues,
        **rfm(latest["rfm"]),
        **value(latest["value"]),
        "cohorts": charts.cohort_rows(find_cohorts(latest["cohorts"])),
        "segments": segments(latest["segments"], past["segments"]),
    }


def drawn(kind: str, data: dict[str, Any], options: dict[str, Any]) -> dict[str, str]:
    return {"type": kind, "data": json.dumps(data), "options": json.dumps(options)}


# --------------------------------------------------------------------------------------------------------- key figures
@dataclass(frozen=True)
class Tile:
    """A key figure. change: as of charts.change; is_good: whether growing is good news, None for neither."""

    key: str
    label: str
    value: str
    note: str = ""
    change: dict[str, Any] | None = None
    is_good: bool | None = None
    url: str = ""
    hue: int | None = None

    @property
    def mood(self) -> str:
        if self.change is None or self.is_good is None or self.change["way"] == "flat":
            return ""
        return "is-good" if (self.change["way"] == "up") == self.is_good else "is-bad"


def tiles(
    overview: Overview,
    latest: dict[str, Latest],
    past: dict[str, Latest],
    run: ProfileRun | None,
    user: Any,
    *,
    department: str = "",
) -> list[Tile]:
    """Return the key figures, and links only to what the user may open.

    Those of before are None where there was no run a week earlier. department: which one they are of, "" for all.
    """
    counts, total = overview.counts, overview.counts.total
    before = summing.add_counts(summing.counts_of("classes", data) for data in past["classes"].data.values())
    had = bool(past["classes"].data)
    within = {"department": department} if department else {}
    customers = _customers(within)
    note = f"分布在 {len(counts.homes)} 个归属库"
    if counts.unclassified:
        note += f"，{counts.unclassified:,} 位待分类"
    found = [
        Tile(
            "total",
            "部门客户" if department else "全部客户",
            f"{total:,}",
            note,
            _change(total, sum(before.values()), had=had),
            True,
            customers,
        )
    ]
    if overview.day is None:
        return found
    best = first_class(run)
    if best:
        now = counts.classes.get(best, 0)
        url = _customers({"profile": best, **within})
        hue = with_hues(counts.classes).get(best, crc32(best.encode()) % HUES)
        moved = _change(now, before.get(best, 0), had=had)
        found.append(Tile("best", best, f"{now:,}", f"占 {share(now, total)}", moved, True, url, hue))
    alive, alive_before = (_sum(kinds["lifecycle"], ALIVE) for kinds in (latest, past))
    staged = sum(_counts(latest["lifecycle"]).values())
    found.append(
        Tile(
            "alive", "活跃客户", f"{alive:,}", f"含新客与回流，占 {share(alive, staged)}",
            _change(alive, alive_before, had=bool(past["lifecycle"].data)), True,
        )
    )  # fmt: skip
    high, high_before = (_sum(kinds["loss"], ("high",)) for kinds in (latest, past))
    medium = _sum(latest["loss"], ("medium",))
    found.append(
        Tile(
            "loss", "高流失风险", f"{high:,}", f"另有 {medium:,} 位中风险",
            _change(high, high_before, had=bool(past["loss"].data)), False,
            warned_url(within, may_see_segments=user.has_perm("profiles.view_segment")),
        )
    )  # fmt: skip
    expected, expected_before = (summing.add_value(kinds["value"].data.values()) for kinds in (latest, past))
    moved = _change(float(expected.total), float(expected_before.total), had=bool(past["value"].data))
    if moved and moved["way"] != "flat" and expected_before.total:
        moved["text"] = f"{100 * (expected.total / expected_before.total - 1):+.1f}%"
    if expected.customers:
        worth, note = charts.yuan(expected.total), f"{expected.customers:,} 位买家"
    else:
        worth, note, moved = "—", "还没有价值估计", None
    found.append(Tile("value", "未来 90 天预计消费", worth, note, moved, True))
    if not user.has_perm("profiles.view_recommendation"):
        return found
    actions = _counts(latest["actions"])
    todo, todo_before = sum(actions.values()), sum(_counts(past["actions"]).values())
    names = dict(Action.choices)
    most = "、".join(f"{names.get(name, name)} {n:,}" for name, n in list(actions.items())[:2])
    found.append(
        Tile(
            "actions", "待处理建议", f"{todo:,}", most or "下一步行动建议",
            _change(todo, todo_before, had=bool(past["actions"].data)), None, _url(WORK_LIST),
        )
    )  # fmt: skip
    return found


def _change(now: float, before: float, *, had: bool) -> dict[str, Any] | None:
    return charts.change(now, before if had else None)


def _counts(latest: Latest) -> dict[str, int]:
    return summing.add_counts(latest.data.values())


def _sum(latest: Latest, names: tuple[str, ...]) -> int:
    counts = _counts(latest)
    return sum(counts.get(name, 0) for name in names)


def first_class(run: ProfileRun | None) -> str:
    """Return the class of the first rule, which is what a company cares about most. Database: control."""
    if run is None:
        return ""
    rules = Rule.objects.filter(version=run.rule_version_id).order_by("position")
    return rules.values_list("profile", flat=True).first() or ""


def _url(name: str) -> str:
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""


def _customers(filters: Mapping[str, Any]) -> str:
    """Return where customers are listed who meet some filters."""
    url = reverse("admin:customers_customer_changelist")
    return f"{url}?{urlencode(filters)}" if filters else url


def warned_url(within: Mapping[str, Any], *, may_see_segments: bool) -> str:
    """Return where customers with a high loss warning are listed: a segment of just these, else where to make one.

    "" where there is none and the list of segments may not be seen. within: other filters of the list.

    Database: control.
    """
    warned = Segment.objects.filter(groups__contains=WARNED, is_active=True).order_by("pk")
    for pk, groups in warned.values_list("pk", "groups"):
        if groups == WARNED:
            return _customers({"segment": pk, **within})
    return _url("admin:profiles_segment_changelist") if may_see_segments else ""


# ---------------------------------------------------------------------------------------------------------------- cards
def homes_chart(counts: Counts, hues: dict[str, int]) -> dict[str, Any]:
    """Return the counts as Chart.js wants them: a bar for each home, a colour for each class."""
    homes = sorted(counts.homes)[:MAX_BARS]
    sets = [
        charts.bar(name, charts.colour(hues[name]), [counts.homes[home].get(name, 0) for home in homes])
        for name in counts.classes
    ]
    if counts.unclassified:
        waiting = [counts.homes[home].get(None, 0) for home in homes]
        sets.append(charts.bar(charts.UNCLASSIFIED, charts.colour("none"), waiting))
    return {"labels": [f"dept_{home}" for home in homes], "datasets": sets}


def trend(points: list[summing.Point], hues: dict[str, int]) -> dict[str, Any] | None:
    """Return the trend of classes, None as long as there are not two days of it."""
    if len(points) < 2:
        return None
    data = charts.areas(points, hues)
    shown = [(one["label"], one["backgroundColor"]) for one in data["datasets"]]
    stale = sorted({home for point in points for home in point.stale})
    return {**drawn("line", data, charts.AREAS), "legend": shown, "runs": len(points), "stale": stale}


def lifecycle(latest: Latest, past: Latest) -> list[tuple[str, str, int, int, str, dict[str, Any] | None]]:
    """Return (code, name, hue, customers, share, change) of each stage that somebody is in."""
    counts, before = _counts(latest), _counts(past)
    total = sum(counts.values())
    return [
        (
            code, LIFECYCLES[code], hue, counts[code], share(counts[code], total),
            _change(counts[code], before.get(code, 0), had=bool(past.data)),
        )
        for code, hue in LIFECYCLE_HUES.items()
        if counts.get(code)
    ]  # fmt: skip


def flows(latest: Latest) -> charts.Matrix | None:
    """Return the moves of the last run of the last day, None before any."""
    runs = [int(run) for home, data in latest.data.items() if latest.days[home] == latest.day for run in data]
    if not runs:
        return None
    last = str(max(runs))
    return charts.matrix(summing.add_moves({last: data[last]} for data in latest.data.values() if last in data))


def rfm(latest: Latest) -> dict[str, Any]:
    found = summing.add_rfm(latest.data.values())
    buyers = sum(cell.customers for cell in found.grid.values())
    return {
        "rfm_rows": charts.rfm_rows(found) if buyers else [],
        "rfm_segments": [
            (name, customers, share(customers, buyers), charts.yuan(amount))
            for name, (customers, amount) in found.segments.items()
        ],
    }


def value(latest: Latest) -> dict[str, Any]:
    found = summing.add_value(latest.data.values())
    return {
        "value": found if found.customers else None,
        "value_chart": drawn("bar", charts.value_bars(found), charts.BARS_UP),
        "value_total": charts.yuan(found.total),
        "value_share": f"{100 * found.best_share:.0f}%" if found.best_share is not None else "—",
    }


def segments(latest: Latest, past: Latest) -> list[tuple[str, str, int, dict[str, Any] | None]]:
    """Return (url, name, members, change) of the largest segments. Database: control."""
    counts, before = _counts(latest), _counts(past)
    names = names_of_segments(counts)
    return [
        (pk, names[pk], members, charts.change(members, before.get(pk)))
        for pk, members in counts.items()
        if pk in names
    ][:MAX_SEGMENTS]


def share(part: int, whole: int) -> str:
    """Return a share in per cent, so that what is there never reads as nothing.

    >>> share(1, 3), share(1, 5000), share(0, 5), share(4999, 5000)
    ('33.3%', '<0.1%', '0%', '>99.9%')
    """
    if not whole or not part:
        return "0%"
    if part == whole:
        return "100%"
    per_cent = 100 * part / whole
    if per_cent < 0.1:
        return "<0.1%"
    return ">99.9%" if per_cent > 99.9 else f"{per_cent:.1f}%"
