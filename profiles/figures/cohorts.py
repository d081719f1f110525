"""Cohort retention of one home: who bought first in a month, and who of them bought in each month since.

A full computation reads all of daily_totals. An ordinary night reads the current and the previous month only, takes the
older cells from the last figure, and proves that they still hold: for each cohort that figure has

    checks: [customers, sum of their numbers, sum of number x purchase days before `since`]

which running_totals and the months just read give again, without the old months. A purchase that came late, an erasure
and a move change them, and the cohorts whose checks differ are read whole. (A late purchase on a day that has one
already changes neither the cells nor the checks.) So a night's cells equal a full computation's; that two changes of
one cohort cancel out in all three numbers is not to be expected, and a full run would mend it.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from profiles.figures.summing import first_day, month_of, month_text, number_of_month
from scrm.sharding.ids import PER_HOME

MONTHS = 24  # cohorts that are kept
BEGINNING = date(1900, 1, 1)

# Of each cohort: customers, sum of numbers, sum of number x days with a purchase, all days.
CHECKS = f"""
SELECT to_char(first_purchase_day, 'YYYY-MM'), count(*), sum(customer_id %% {PER_HOME}),
    sum((customer_id %% {PER_HOME}) * purchase_days)
FROM running_totals WHERE purchase_days > 0 AND first_purchase_day >= %(oldest)s GROUP BY 1
"""  # noqa: S608 - made of constants
# Of each cohort and month: customers with a purchase before as_of, and number x days of all its days.
CELLS = f"""
SELECT cohort, to_char(month, 'YYYY-MM'), count(*) FILTER (WHERE counted > 0), sum((customer_id %% {PER_HOME}) * days)
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
NEVER = date(9999, 1, 1)


def compute_cohorts(cursor: Any, as_of: date, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the figure as of a day. before: the home's figure of that day or the last one
    earlier; None to compute all of it.

    Database: the home's, two statements, a third for cohorts whose past has changed; the caller's transaction gives all
    of them one snapshot.
    """
    last_day = date.fromordinal(as_of.toordinal() - 1)
    this_month = number_of_month(month_of(last_day))
    oldest = first_day(month_text(this_month - MONTHS + 1))
    since = first_day(month_text(this_month - 1))
    known_since = BEGINNING if before is None else first_day(before["since"])
    cursor.execute(CHECKS, {"oldest": oldest})
    whole = {cohort: (count, int(numbers), int(days)) for cohort, count, numbers, days in cursor.fetchall()}
    given = {"as_of": as_of, "oldest": oldest, "first": known_since, "end": NEVER, "cohorts": None}
    cursor.execute(CELLS, given)
    read = cursor.fetchall()
    cells = {(cohort, month): customers for cohort, month, customers, _days in read}
    if before is not None:
        old = _checks(whole, read, known_since)
        kept = {cohort for cohort, check in before["checks"].items() if old.get(cohort) == check}
        first = month_of(known_since)
        cells |= {
            (cohort, month): customers
            for cohort, month, customers in before["cells"]
            if cohort in kept and month < first
        }
        # Cohorts of the months just read have no older ones.
        changed = sorted(cohort for cohort in whole if cohort not in kept and cohort < first)
        if changed:
            cursor.execute(CELLS, {**given, "first": BEGINNING, "end": known_since, "cohorts": changed})
            older = cursor.fetchall()
            cells |= {(cohort, month): customers for cohort, month, customers, _days in older}
            read += older
    return {
        "since": month_of(since),
        "cells": sorted([cohort, month, customers] for (cohort, month), customers in cells.items() if customers),
        "checks": _checks(whole, read, since),
    }


def _checks(
    whole: Mapping[str, tuple[int, int, int]], read: list[tuple[str, str, int, int]], since: date
) -> dict[str, list[Any]]:
    """Return each cohort's check up to a month, from all its days less those that were read since then."""
    later: dict[str, int] = {}
    for cohort, month, _customers, days in read:
        if first_day(month) >= since:
            later[cohort] = later.get(cohort, 0) + int(days)
    return {
        cohort: [count, str(numbers), str(days - later.get(cohort, 0))]
        for cohort, (count, numbers, days) in sorted(whole.items())
    }
