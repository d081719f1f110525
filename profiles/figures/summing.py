"""Add up the figures of several homes, and make of them what is shown. Pure: plain values in and out."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

Data = Mapping[str, Any]

# Expected amounts are counted in fine bins, so that those shown and the share of the best fifth can be told of any
# homes together. Cents; each edge is at most a fifth above the one before once that takes more than single cents.
_STEPS = (10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 25, 28, 30, 35, 40, 45, 50, 56, 60, 70, 80, 90)
EDGES = sorted({step * 10**power // 10 for power in range(8) for step in _STEPS} | {10**8})
# The bins that are shown: yuan, from each to below the next; the first also holds those of whom nothing is expected.
SHOWN_EDGES = (0, 10, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
BEST_SHARE = Decimal("0.2")


def add_counts(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of counts, the largest first.

    >>> add_counts([{"new": 1}, {"lost": 5, "new": 2}])
    {'lost': 5, 'new': 3}
    """
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def add_moves(parts: Iterable[Data]) -> list[tuple[str | None, str, int]]:
    """Return [(from, to, customers)] of moves of several homes, days and runs, the most frequent first.

    >>> add_moves([{"1": [[None, "甲", 3]]}, {"1": [[None, "甲", 1]], "2": [["甲", "乙", 9]]}])
    [('甲', '乙', 9), (None, '甲', 4)]
    """
    total: Counter[tuple[str | None, str]] = Counter()
    for part in parts:
        for moves in part.values():
            for before, after, customers in moves:
                total[before, after] += customers
    found = [(before, after, customers) for (before, after), customers in total.items()]
    return sorted(found, key=lambda move: (-move[2], move[0] or "", move[1]))


# ---------------------------------------------------------------------------------------------------------------- RFM
@dataclass
class Cell:
    """Buyers of one R and one F. monetary: the sum of their M scores; amount: what they have spent."""

    customers: int = 0
    monetary: int = 0
    amount: Decimal = Decimal(0)

    @property
    def mean_monetary(self) -> float | None:
        """The mean M score, 1 to 5."""
        return round(self.monetary / self.customers, 2) if self.customers else None


@dataclass
class Rfm:
    """grid: {(R, F): cell}, all 25. segments: {name: (customers, amount)}, the largest first."""

    grid: dict[tuple[int, int], Cell] = field(default_factory=dict)
    segments: dict[str, tuple[int, Decimal]] = field(default_factory=dict)


def add_rfm(parts: Iterable[Data]) -> Rfm:
    """Return the grid and the segments of several homes together."""
    rfm = Rfm({(r, f): Cell() for r in range(1, 6) for f in range(1, 6)})
    segments: dict[str, tuple[int, Decimal]] = {}
    for part in parts:
        for r, f, customers, monetary, amount in part.get("cells", ()):
            cell = rfm.grid[r, f]
            cell.customers += customers
            cell.monetary += monetary
            cell.amount += Decimal(amount)
        for name, (customers, amount) in part.get("segments", {}).items():
            before = segments.get(name, (0, Decimal(0)))
            segments[name] = (before[0] + customers, before[1] + Decimal(amount))
    rfm.segments = dict(sorted(segments.items(), key=lambda item: (-item[1][0], item[0])))
    return rfm


# -------------------------------------------------------------------------------------------------------------- value
@dataclass
class Value:
    """What is expected of buyers in the next 90 days.

    bins: [(from yuan, to yuan or None, customers, amount)], SHOWN_EDGES. best_share: what the best fifth of them is
    expected to spend, of all; None where nothing is expected. alive_percent: the mean probability of being active.
    """

    customers: int
    total: Decimal
    purchases: Decimal
    alive_percent: float | None
    best_share: float | None
    bins: list[tuple[int, int | None, int, Decimal]]


def bin_of(cents: int) -> int:
    """Return the place of an expected amount in EDGES, as PostgreSQL's width_bucket gives it: 0 is below one cent.

    >>> bin_of(0), bin_of(1), EDGES[bin_of(123_456) - 1], EDGES[bin_of(123_456)]
    (0, 1, 120000, 130000)
    """
    place = bisect_left(EDGES, cents)
    return place + 1 if place < len(EDGES) and EDGES[place] == cents else place


def add_value(parts: Iterable[Data]) -> Value:
    """Return the value of several homes' buyers together."""
    bins: dict[int, tuple[int, Decimal]] = {}
    scored, alive, purchases = 0, 0, Decimal(0)
    for part in parts:
        for place, customers, amount in part.get("bins", ()):
            before = bins.get(place, (0, Decimal(0)))
            bins[place] = (before[0] + customers, before[1] + Decimal(amount))
        scored += part.get("scored", 0)
        alive += part.get("alive_sum", 0)
        purchases += Decimal(part.get("purchases", 0))
    return Value(
        customers=sum(customers for customers, _ in bins.values()),
        total=sum((amount for _, amount in bins.values()), Decimal(0)),
        purchases=purchases,
        alive_percent=round(alive / scored, 1) if scored else None,
        best_share=best_share(bins),
        bins=_shown_bins(bins),
    )


def best_share(bins: Mapping[int, tuple[int, Decimal]], share: Decimal = BEST_SHARE) -> float | None:
    """Return which part of all that is expected the best `share` of the customers account for, from 0 to 1.

    bins: {place: (customers, amount)}. Whom the line parts from others of the same bin counts with that bin's mean:
    off by less than a twentieth of what lies in that one bin.

    >>> best_share({bin_of(100): (8, Decimal(8)), bin_of(10_000): (2, Decimal(200))}) == round(200 / 208, 4)
    True
    >>> best_share({}) is None
    True
    """
    customers = sum(count for count, _ in bins.values())
    total = sum((amount for _, amount in bins.values()), Decimal(0))
    if not total:
        return None
    left, found = customers * share, Decimal(0)
    for place in sorted(bins, reverse=True):
        count, amount = bins[place]
        taken = min(left, Decimal(count))
        found += amount * taken / count
        left -= taken
        if not left:
            break
    return round(float(found / total), 4)


def _shown_bins(bins: Mapping[int, tuple[int, Decimal]]) -> list[tuple[int, int | None, int, Decimal]]:
    shown = []
    for low, high in pairwise((*SHOWN_EDGES, None)):
        first = bin_of(low * 100) if low else 0
        last = len(EDGES) + 1 if high is None else bin_of(high * 100)
        within = [found for place, found in bins.items() if first <= place < last]
        shown.append(
            (low or 0, high, sum(count for count, _ in within), sum((amount for _, amount in within), Decimal(0)))
        )
    return shown


# ------------------------------------------------------------------------------------------------------------ cohorts
@dataclass(frozen=True)
class Cohort:
    """Who bought for the first time in one month. active: of them, who bought n months later, from n = 0."""

    month: str
    customers: int
    active: tuple[int, ...]

    @property
    def retention(self) -> tuple[float, ...]:
        """The same as shares of the cohort, from 0 to 1."""
        return tuple(round(count / self.customers, 4) for count in self.active)


def add_cohorts(parts: Iterable[Data], last: date) -> list[Cohort]:
    """Return the cohorts of several homes together, the oldest first. last: a day of the last month that counts.

    >>> cells = [["2026-09", "2026-09", 4], ["2026-09", "2026-11", 1], ["2026-11", "2026-11", 2]]
    >>> [(one.month, one.retention) for one in add_cohorts([{"cells": cells}], date(2026, 11, 25))]
    [('2026-09', (1.0, 0.0, 0.25)), ('2026-11', (1.0,))]
    """
    counts: Counter[tuple[str, str]] = Counter()
    for part in parts:
        for cohort, month, customers in part.get("cells", ()):
            counts[cohort, month] += customers
    end = number_of_month(month_of(last))
    found = []
    for cohort in sorted({cohort for cohort, _ in counts}):
        first = number_of_month(cohort)
        active = tuple(counts[cohort, month_text(number)] for number in range(first, end + 1))
        if active and active[0]:
            found.append(Cohort(cohort, active[0], active))
    return found


def month_of(day: date) -> str:
    return f"{day:%Y-%m}"


def number_of_month(month: str) -> int:
    """Return a month as a number that can be reckoned with.

    >>> month_text(number_of_month("2026-01") - 1), first_day("2026-02")
    ('2025-12', datetime.date(2026, 2, 1))
    """
    return int(month[:4]) * 12 + int(month[5:]) - 1


def month_text(number: int) -> str:
    return f"{number // 12:04}-{number % 12 + 1:02}"


def first_day(month: str) -> date:
    return date(int(month[:4]), int(month[5:]), 1)


# ------------------------------------------------------------------------------------------------------------- trends
@dataclass(frozen=True)
class Point:
    """Counts of all homes as of one day. stale: homes that have none of that day; their last ones are in it."""

    day: date
    values: dict[str, int]
    stale: tuple[int, ...]


def trend(rows: Iterable[tuple[date, int, Mapping[str, int]]], homes: Sequence[int], first: date) -> list[Point]:
    """Return a point for each day from `first` on that has a figure. rows: (day, home, counts), some before `first`.

    A home without a figure of a day counts with its last one.

    >>> rows = [(date(2026, 11, 1), 101, {"甲": 1}), (date(2026, 11, 2), 100, {"甲": 2}), (date(2026, 11, 3), 101, {})]
    >>> [(point.day.day, point.values, point.stale) for point in trend(rows, [100, 101], date(2026, 11, 2))]
    [(2, {'甲': 3}, (101,)), (3, {'甲': 2}, (100,))]
    """
    by_day: dict[date, dict[int, Mapping[str, int]]] = {}
    for day, home, counts in rows:
        by_day.setdefault(day, {})[home] = counts
    last: dict[int, Mapping[str, int]] = {}
    points = []
    for day in sorted(by_day):
        last |= by_day[day]
        if day >= first:
            stale = tuple(home for home in homes if home not in by_day[day])
            points.append(Point(day, add_counts(last.values()), stale))
    return points


def counts_of(kind: str, data: Data) -> dict[str, int]:
    """Return the counts in a figure of a kind that has a trend; of classes those without one as an empty name."""
    if kind == "classes":
        unclassified = {"": data["unclassified"]} if data.get("unclassified") else {}
        return {**data["classes"], **unclassified}
    if kind == "rfm":
        return {name: customers for name, (customers, _amount) in data["segments"].items()}
    return dict(data)
