"""Cohort retention of one home, of everybody and of each scope: who bought first in a month, and who of them since.

A full computation reads all of daily_totals. An ordinary night reads the current and the previous month only, takes the
older cells from the last figure, and proves that they still hold: for each cohort that figure has

    checks: [customers, sum of their numbers, sum of number x purchase days before `since`]

which running_totals and the months just read give again, without the old months. A purchase that came late, an erasure
and a move change them, and the cohorts whose checks differ are read whole. (A late purchase on a day that has one
already changes neither the cells nor the checks.) A number is a hash of the id: ids follow each other, and customers
1 and 4 who change places with 2 and 3 would leave sums of ids as they were. So a night's cells equal a full
computation's; that two changes of one cohort cancel out in all three numbers is not to be expected, and a full run
would mend it.

Of scopes the same numbers are kept of each. Who comes into a department or leaves it changes the checks of their cohort
there, so that just such cohorts are read whole: in the worst night all of them, which is one pass over the months that
are kept, whatever the number of departments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from profiles.figures.summing import first_day, month_of, month_text, number_of_month

MONTHS = 24  # cohorts that are kept
BEGINNING = date(1900, 1, 1)

# 40 bits, so that times days it stays a bigint.
NUMBER = "(hashint8extended(customer_id, 0) & 1099511627775)"
# Of each cohort: customers, sum of numbers, sum of number x days with a purchase, all days.
CHECKS = f"""
SELECT to_char(first_purchase_day, 'YYYY-MM'), count(*), sum({NUMBER}),
    sum({NUMBER} * purchase_days)
FROM running_totals WHERE purchase_days > 0 AND first_purchase_day >= %(oldest)s GROUP BY 1
"""  # noqa: S608 - made of constants
# Of each cohort and month: customers with a purchase before as_of, and number x days of all its days.
CELLS = f"""
SELECT cohort, to_char(month, 'YYYY-MM'), count(*) FILTER (WHERE counted > 0), sum({NUMBER} * days)
FROM (
    SELECT r.customer_id, to_char(r.first_purchase_day, 'YYYY-MM') AS cohort, date_trunc('month', d.day) AS month,
        count(*) AS days, count(*) FILTER (WHERE d.day < %(as_of)s) AS counted
    FROM running_totals r JOIN daily_totals d ON d.customer_id = r.customer_id AND d.bucket = r.bucket
    WHERE r.purchase_days > 0 AND r.first_purchase_day >= %(oldest)s AND d.purchase_count > 0
        AND d.day >= %(first)s AND d.day < %(end)s
        AND (%(cohorts)s::text[] IS NULL OR to_char(r.first_purchase_day, 'YYYY-MM') = ANY(%(cohorts)s::text[]))
    GROUP BY 1, 2, 3
) AS months GROUP BY 1, 2
"""  # noqa: S608
# The same of each scope, from the tables that .departments makes.
CHECKS_BY_SCOPE = f"""
SELECT scope, to_char(cohort, 'YYYY-MM'), sum(customers)::bigint, sum(numbers), sum(days) FROM (
    SELECT parts, cohort, count(*) AS customers, sum({NUMBER}) AS numbers,
        sum({NUMBER} * purchase_days) AS days
    FROM figure_people WHERE cohort >= %(oldest)s GROUP BY 1, 2
) AS sums JOIN figure_sets USING (parts) CROSS JOIN unnest(scopes) AS scope GROUP BY 1, 2
"""  # noqa: S608
CELLS_BY_SCOPE = f"""
SELECT scope, to_char(cohort, 'YYYY-MM'), to_char(month, 'YYYY-MM'), sum(active)::bigint, sum(days) FROM (
    SELECT parts, cohort, month, count(*) FILTER (WHERE counted > 0) AS active,
        sum({NUMBER} * days) AS days
    FROM (
        SELECT p.customer_id, p.parts, p.cohort, date_trunc('month', d.day) AS month,
            count(*) AS days, count(*) FILTER (WHERE d.day < %(as_of)s) AS counted
        FROM figure_people p JOIN daily_totals d ON d.customer_id = p.customer_id AND d.bucket = p.bucket
        WHERE p.cohort >= %(oldest)s AND d.purchase_count > 0 AND d.day >= %(first)s AND d.day < %(end)s
            AND (%(cohorts)s::date[] IS NULL OR p.cohort = ANY(%(cohorts)s::date[]))
        GROUP BY 1, 2, 3, 4
    ) AS months GROUP BY 1, 2, 3
) AS sums JOIN figure_sets USING (parts) CROSS JOIN unnest(scopes) AS scope GROUP BY 1, 2, 3
"""  # noqa: S608
NEVER = date(9999, 1, 1)

Check = tuple[int, int, int]
Read = list[Sequence[Any]]  # (cohort, month, customers, number x days)


@dataclass(frozen=True)
class _Months:
    """oldest: the first day of the first cohort that is kept; since: of the first month that the next night reads."""

    oldest: date
    since: date


def _months(as_of: date) -> _Months:
    last_day = date.fromordinal(as_of.toordinal() - 1)
    this_month = number_of_month(month_of(last_day))
    return _Months(first_day(month_text(this_month - MONTHS + 1)), first_day(month_text(this_month - 1)))


def compute_cohorts(cursor: Any, as_of: date, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the figure as of a day. before: the home's figure of that day or the last one
    earlier; None to compute all of it.

    Database: the home's, two statements, a third for cohorts whose past has changed; the caller's transaction gives all
    of them one snapshot.
    """
    months = _months(as_of)
    known_since = BEGINNING if before is None else first_day(before["since"])
    cursor.execute(CHECKS, {"oldest": months.oldest})
    whole = {cohort: (count, int(numbers), int(days)) for cohort, count, numbers, days in cursor.fetchall()}
    given = {"as_of": as_of, "oldest": months.oldest, "first": known_since, "end": NEVER, "cohorts": None}
    cursor.execute(CELLS, given)
    read = cursor.fetchall()
    kept, changed = _compared(whole, read, before, known_since)
    if changed:
        cursor.execute(CELLS, {**given, "first": BEGINNING, "end": known_since, "cohorts": changed})
        read += cursor.fetchall()
    return _figure(whole, read, kept, months)


def compute_cohorts_by_scope(cursor: Any, as_of: date, before: Mapping[int, Mapping[str, Any]]) -> dict[int, Any]:
    """Return {scope: figure} as of a day, of scopes with a cohort. before: {scope: its last figure}, all of one day;
    empty to compute all of it.

    Database: the home's, two statements, a third for cohorts whose past or whose customers have changed; in the
    transaction that has the tables of .departments.
    """
    months = _months(as_of)
    known_since = max((first_day(one["since"]) for one in before.values()), default=BEGINNING)
    cursor.execute(CHECKS_BY_SCOPE, {"oldest": months.oldest})
    whole: dict[int, dict[str, Check]] = {}
    for scope, cohort, count, numbers, days in cursor:
        whole.setdefault(scope, {})[cohort] = (count, int(numbers), int(days))
    given = {"as_of": as_of, "oldest": months.oldest, "first": known_since, "end": NEVER, "cohorts": None}
    cursor.execute(CELLS_BY_SCOPE, given)
    read: dict[int, Read] = {scope: [] for scope in whole}
    for scope, *cell in cursor:
        read[scope].append(cell)
    kept, changed = {}, {}
    for scope, checks in whole.items():
        kept[scope], changed[scope] = _compared(checks, read[scope], before.get(scope), known_since)
    cohorts = sorted({first_day(cohort) for found in changed.values() for cohort in found})
    if cohorts:
        cursor.execute(CELLS_BY_SCOPE, {**given, "first": BEGINNING, "end": known_since, "cohorts": cohorts})
        for scope, *cell in cursor:
            if cell[0] in changed[scope]:
                read[scope].append(cell)
    return {scope: _figure(checks, read[scope], kept[scope], months) for scope, checks in whole.items()}


def _compared(
    whole: Mapping[str, Check], read: Read, before: Mapping[str, Any] | None, known_since: date
) -> tuple[Read, list[str]]:
    """Return the cells of the last figure that still hold, and the cohorts whose older months must be read."""
    first = month_of(known_since)
    old = _checks(whole, read, known_since)
    kept = {cohort for cohort, check in (before or {}).get("checks", {}).items() if old.get(cohort) == check}
    cells: Read = [(*cell, 0) for cell in (before or {}).get("cells", ()) if cell[0] in kept and cell[1] < first]
    # Cohorts of the months just read have no older ones.
    return cells, sorted(cohort for cohort in whole if cohort not in kept and cohort < first)


def _figure(whole: Mapping[str, Check], read: Read, kept: Read, months: _Months) -> dict[str, Any]:
    return {
        "since": month_of(months.since),
        "cells": sorted([cohort, month, customers] for cohort, month, customers, _days in [*read, *kept] if customers),
        "checks": _checks(whole, read, months.since),
    }


def _checks(whole: Mapping[str, Check], read: Read, since: date) -> dict[str, list[Any]]:
    """Return each cohort's check up to a month, from all its days less those that were read since then."""
    later: dict[str, int] = {}
    for cohort, month, _customers, days in read:
        if first_day(month) >= since:
            later[cohort] = later.get(cohort, 0) + int(days)
    return {
        cohort: [count, str(numbers), str(days - later.get(cohort, 0))]
        for cohort, (count, numbers, days) in sorted(whole.items())
    }
