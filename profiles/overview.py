"""How many customers are in each class, lifecycle, RFM segment and under which warning, for whoever asks.

                        counts of                    asks                         who was created since the last run
everything              everybody                    the control database only    counted as unclassified
some departments        those they may see, now      each department database     the same, exactly
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from customers.access import Scope
from customers.counts import Counts
from profiles.figures import keeping, summing
from scrm import sharding

KINDS = ("classes", "lifecycle", "loss", "rfm")
OF_SCOPE = """
SELECT customers.profile, customers.lifecycle, s.rfm_segment, s.loss_warning, count(*)
FROM customers LEFT JOIN customer_scores s ON s.customer_id = customers.customer_id AND s.bucket = customers.bucket
WHERE {} GROUP BY 1, 2, 3, 4
"""


@dataclass
class Overview:
    """counts: by home and class. day: what the kept figures are as of; None for counts of now, or before any run.

    counts.unavailable: homes that did not answer; of kept figures those whose last ones are of an earlier day, or that
    have none yet while others have. days: {home: day of its figures}.
    """

    counts: Counts
    day: date | None = None
    days: dict[int, date] = field(default_factory=dict)
    lifecycle: dict[str, int] = field(default_factory=dict)
    loss_warnings: dict[str, int] = field(default_factory=dict)
    rfm_segments: dict[str, int] = field(default_factory=dict)


def overview_of(scope: Scope) -> Overview:
    """Return the counts of customers in scope.

    Database: of everybody two queries on control, none on any home's; of a part one on each home's, which reads all
    customers of the home, about a second a million.
    """
    return kept_overview() if scope.is_everything else _count_visible(scope)


def kept_overview() -> Overview:
    """Return the counts of everybody from the figures of the last run, and whom the directory has got since."""
    latest = keeping.find_latest(KINDS)
    classes = latest["classes"]
    newer = keeping.count_newer(
        {home: classes.data[home]["last_id"] if home in classes.data else 0 for home in classes.homes}
    )
    counts = Counts(unavailable=classes.stale)
    for home in classes.homes:
        found: dict[str | None, int] = dict(classes.data.get(home, {}).get("classes", {}))
        unclassified = classes.data.get(home, {}).get("unclassified", 0) + newer.get(home, 0)
        counts.homes[home] = {**found, None: unclassified} if unclassified else found
    rfm = summing.add_rfm(latest["rfm"].data.values())
    return Overview(
        counts,
        classes.day,
        dict(classes.days),
        summing.add_counts(latest["lifecycle"].data.values()),
        summing.add_counts(latest["loss"].data.values()),
        {name: customers for name, (customers, _) in rfm.segments.items()},
    )


def _count_visible(scope: Scope) -> Overview:
    def count_home(home: int) -> list[tuple[str | None, str | None, str | None, str | None, int]]:
        condition, params = scope.sql(home)
        with sharding.cursor(home) as cursor:
            cursor.execute(OF_SCOPE.format(condition), params)
            return list(cursor.fetchall())

    answers = sharding.fan_out(count_home)
    counts = Counts(unavailable=answers.unavailable)
    others = [Counter[str](), Counter[str](), Counter[str]()]
    for home, rows in answers.results.items():
        classes: Counter[str | None] = Counter()
        for profile, *facts, customers in rows:
            classes[profile] += customers
            for counter, fact in zip(others, facts, strict=True):
                if fact:
                    counter[fact] += customers
        counts.homes[home] = dict(classes)
    lifecycle, rfm_segments, loss_warnings = (summing.add_counts([counter]) for counter in others)
    return Overview(counts, lifecycle=lifecycle, loss_warnings=loss_warnings, rfm_segments=rfm_segments)


def shown_overview(overview: Overview) -> dict[str, Any]:
    """Return counts as JSON values."""
    counts = overview.counts
    return {
        "day": overview.day.isoformat() if overview.day else None,
        "total": counts.total,
        "unclassified": counts.unclassified,
        "classes": counts.classes,
        "lifecycle": overview.lifecycle,
        "loss_warnings": overview.loss_warnings,
        "rfm_segments": overview.rfm_segments,
        "homes": [
            {
                "home": home,
                "day": overview.days[home].isoformat() if home in overview.days else None,
                "unclassified": classes.get(None, 0),
                "classes": {name: count for name, count in classes.items() if name is not None},
            }
            for home, classes in sorted(counts.homes.items())
        ],
        "unavailable": counts.unavailable,
    }
