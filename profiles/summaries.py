"""What came of a run, as it is kept in its row.

    {"judged": 3000, "changed": 12, "updated": 240, "unavailable": [101],
     "classes": {"潜在客户": 2900, "高价值客户": 100},
     "moves": [["潜在客户", "高价值客户", 12]],
     "homes": {"100": {"judged": …, "changed": …, "updated": …, "classes": …, "moves": …, "modes": ["full"],
                       "seconds": 1.9}},
     "failed": [{"home": 100, "bucket": 3, "error": "…"}]}

classes counts everybody in the homes that answered, also those whom an incremental run had no need to look at; for a
run that only reports, those it would put into each class. seconds: what a home's claims took, one after the other.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from profiles.claims import REPORT, ClaimView, merged
from profiles.models import ProfileRun
from scrm import sharding


def summarise(run: ProfileRun, claims: Mapping[int, Sequence[ClaimView]], unavailable: Sequence[int]) -> dict[str, Any]:
    """Return the summary of a run. Database: one query per home that can be reached."""
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
    took = [view.finished_at - view.started_at for view in views if view.started_at and view.finished_at]
    return {
        "judged": sum(view.judged for view in views),
        "changed": sum(view.changed for view in views),
        "updated": sum(view.updated for view in views),
        "classes": dict(classes.most_common()),
        "moves": merged(move for view in views for move in view.moves),
        "modes": sorted({view.mode for view in views if view.mode}),
        "seconds": round(sum(one.total_seconds() for one in took), 2),
    }


def count_classes(home: int) -> dict[int, dict[str, int]]:
    """Return {bucket: {class: customers}} of a home, from the counts that runs keep. Database: one query."""
    found: dict[int, dict[str, int]] = {}
    with sharding.cursor(home) as cursor:
        cursor.execute("SELECT bucket, profile, customers FROM profile_counts WHERE customers > 0")
        for bucket, profile, customers in cursor.fetchall():
            found.setdefault(bucket, {})[profile] = customers
    return found
