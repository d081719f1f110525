"""How many customers are in each class, lifecycle, RFM segment and under which warning, for whoever asks.

                    counts of                     as of          who was created since the last run
everything          everybody                     the last run   counted as unclassified
some departments    those that they may see       the last run   not counted: whose they are is found out by a run

From kept figures: no department database is asked.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from customers.counts import Counts
from profiles.figures import keeping, summing
from profiles.figures.scopes import EVERYBODY

KINDS = ("classes", "lifecycle", "loss", "rfm")


@dataclass
class Overview:
    """counts: by home and class. day: what the kept figures are as of; None before there are any.

    counts.unavailable: homes that did not answer; of kept figures those whose last ones are of an earlier day, or that
    have none yet while others have. days: {home: day of its figures}.
    """

    counts: Counts
    day: date | None = None
    days: dict[int, date] = field(default_factory=dict)
    lifecycle: dict[str, int] = field(default_factory=dict)
    loss_warnings: dict[str, int] = field(default_factory=dict)
    rfm_segments: dict[str, int] = field(default_factory=dict)


def kept_overview(scope: str = EVERYBODY) -> Overview:
    """Return the counts of a scope as of the last run, and of everybody also whom the directory has got since.

    Database: two queries on control, one for departments.
    """
    latest = keeping.find_latest(KINDS, scope=scope)
    classes = latest["classes"]
    newer = {} if scope else _count_newer(classes)
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


def _count_newer(classes: keeping.Latest) -> dict[int, int]:
    return keeping.count_newer(
        {home: classes.data[home]["last_id"] if home in classes.data else 0 for home in classes.homes}
    )


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
