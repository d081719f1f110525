"""What came of a run, as it is kept in its row.

    {"judged": 3000, "changed": 12, "updated": 240, "unavailable": [101],
     "classes": {"潜在客户": 2900, "高价值客户": 100},
     "moves": [["潜在客户", "高价值客户", 12]],
     "homes": {"100": {"judged": …, "changed": …, "updated": …, "classes": …, "moves": …, "modes": ["full"],
                       "seconds": 1.9, "phases": {"classify": 1.2, "score": 0.5, "act": 0.2}}},
     "phases": {"classify": 2.4, "fit": 1.1, "preparation": 0.1, "score": 1.0, "act": 0.4,
                "figures": 0.3},
     "scored": 40, "fitted_without": [], "fit_error": "…", "preparation_error": "…", "figures_error": "…",
     "recommendations": {"broken_rules": [], "feedback_without": [], "affinities": {"items": …, "pairs": …, …}},
     "broken_rules": [{"position": 2, "profile": "…", "place": "rules[1].conditions[0].field", "reason": "…"}],
     "broken_segments": [{"id": 7, "name": "老客", "reason": "…"}],
     "failed": [{"home": 100, "bucket": 3, "error": "…"}]}

classes counts everybody in the homes that answered, also those whom an incremental run had no need to look at; for a
run that only reports, those it would put into each class. seconds: what the work on a home's claims took, one after
the other. scored: customers whose RFM, value or warning was written. fit_error: why there are no new scores. It and the
other two errors, fitted_without and recommendations (see recommendations.preparing) are noted by profiles.steps.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from profiles import publishing
from profiles.claims import ACT, CLASSIFY, REPORT, SCORE, ClaimView, merged
from profiles.models import ProfileRun
from profiles.segments.counting import broken_segments
from scrm import sharding

PHASE_NAMES = {CLASSIFY: "classify", SCORE: "score", ACT: "act"}


def summarise(run: ProfileRun, claims: Mapping[int, Sequence[ClaimView]], unavailable: Sequence[int]) -> dict[str, Any]:
    """Return the summary of a run. Database: one query per home that can be reached, some on control."""
    counted = sharding.fan_out(count_classes, claims)
    homes = {home: _of_home(views, counted.results.get(home, {})) for home, views in sorted(claims.items())}
    classes: Counter[str] = Counter()
    for one in homes.values():
        classes.update(one["classes"])
    views = [view for views in claims.values() for view in views]
    return {
        "judged": sum(view.judged for view in views),
        "changed": sum(view.changed for view in views),
        "updated": sum(view.updated for view in views),
        "unavailable": list(unavailable),
        "classes": dict(classes.most_common()),
        "moves": merged(move for view in views for move in view.moves),
        "homes": {str(home): one for home, one in homes.items()},
        "broken_rules": publishing.rule_set_of(run.rule_version).broken,
        "broken_segments": broken_segments(),
        "scored": sum(view.phases.get(str(SCORE), {}).get("written", 0) for view in views),
        "phases": _phase_seconds(views)
        | {
            name: run.summary[f"{name}_seconds"]
            for name in ("fit", "preparation", "figures")
            if f"{name}_seconds" in run.summary
        },
        "failed": [
            {"home": home, "bucket": view.bucket, "error": view.error}
            for home, views in sorted(claims.items())
            for view in views
            if view.state != "done"
        ],
    }


def _of_home(views: Sequence[ClaimView], counted: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
    classes: Counter[str] = Counter()
    for view in views:
        classes.update(view.classes if view.mode == REPORT else counted.get(view.bucket, {}))
    phases = _phase_seconds(views)
    return {
        "judged": sum(view.judged for view in views),
        "changed": sum(view.changed for view in views),
        "updated": sum(view.updated for view in views),
        "classes": dict(classes.most_common()),
        "moves": merged(move for view in views for move in view.moves),
        "modes": sorted({view.mode for view in views if view.mode}),
        "seconds": round(sum(phases.values()), 2),
        "phases": phases,
    }


def _phase_seconds(views: Sequence[ClaimView]) -> dict[str, float]:
    return {
        name: round(sum(view.phases.get(str(phase), {}).get("seconds", 0) for view in views), 2)
        for phase, name in PHASE_NAMES.items()
    }


def count_classes(home: int) -> dict[int, dict[str, int]]:
    """Return {bucket: {class: customers}} of a home, from the counts that runs keep. Database: one query."""
    found: dict[int, dict[str, int]] = {}
    with sharding.cursor(home) as cursor:
        cursor.execute("SELECT bucket, profile, customers FROM profile_counts WHERE customers > 0")
        for bucket, profile, customers in cursor.fetchall():
            found.setdefault(bucket, {})[profile] = customers
    return found
