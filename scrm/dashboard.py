"""The admin's home page: how many customers there are in which class, and how the last run went."""

import json
from typing import Any

from django.http import HttpRequest

from customers.counts import Counts, count_customers, known_classes, with_hues
from customers.pages.access import scope_of_user
from profiles.admin import duration
from profiles.models import ProfileRun
from profiles.pages.rules import publishing_version
from profiles.pages.runs import progress_of

# A chart with more bars says nothing; the table has them all.
MAX_BARS = 30
CHART_OPTIONS = {
    "indexAxis": "y",
    "animation": False,
    "responsive": True,
    "maintainAspectRatio": False,
    "interaction": {"mode": "nearest", "axis": "y", "intersect": False},
    "plugins": {"legend": {"display": False}},
    "scales": {
        "x": {
            "stacked": True,
            "border": {"display": False},
            "ticks": {"precision": 0, "maxTicksLimit": 6, "color": "#9ca3af"},
            "grid": {},
        },
        "y": {
            "stacked": True,
            "border": {"display": False},
            "ticks": {"color": "#9ca3af"},
            "grid": {"display": False},
        },
    },
}


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to unfold's context what the home page shows. Database: two queries on each home, three on control.

    While a run is going on, one more on each home.
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
        counts = count_customers()
        classes = counts.classes
        hues = {**with_hues(classes), **known_classes()}
        context |= {
            "counts": counts,
            "unavailable": counts.unavailable,
            "chart": json.dumps(chart(counts, hues)),
            "chart_options": json.dumps(CHART_OPTIONS),
            "chart_height": 60 + 44 * min(len(counts.homes), MAX_BARS),
            "legend": [(name, hues[name], count, share(count, counts.total)) for name, count in classes.items()],
            "unclassified_share": share(counts.unclassified, counts.total),
            "rows": [
                (home, [found.get(name, 0) for name in classes], found.get(None, 0), sum(found.values()))
                for home, found in sorted(counts.homes.items())
            ],
        }
    if may_see_runs:
        context |= {
            "run": run,
            "run_progress": progress_of(run) if run and run.state == ProfileRun.State.RUNNING else None,
            "run_took": duration(run.finished_at - run.started_at) if run and run.finished_at else "",
            "rules": publishing_version(),
        }
    return context


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


def chart(counts: Counts, hues: dict[str, int]) -> dict[str, Any]:
    """Return the counts as Chart.js wants them: a bar for each home, a colour for each class."""
    homes = sorted(counts.homes)[:MAX_BARS]
    shown = [(name, f"var(--scrm-hue-{hues[name]})") for name in counts.classes]
    sets: list[dict[str, Any]] = [
        _set(name, colour, [counts.homes[home].get(name, 0) for home in homes]) for name, colour in shown
    ]
    if counts.unclassified:
        sets.append(_set("未分类", "var(--scrm-hue-none)", [counts.homes[home].get(None, 0) for home in homes]))
    return {"labels": [f"dept_{home}" for home in homes], "datasets": sets}


def _set(label: str, colour: str, data: list[int]) -> dict[str, Any]:
    return {"label": label, "backgroundColor": colour, "data": data, "maxBarThickness": 26, "borderRadius": 3}
