"""The figures of every scope of a home, in one go: each statement reads the home once and groups by scope.

    figure_people   a row for each customer in any scope: the parts of their followers, and what is counted of them
    figure_sets     which scopes the parts that occur together belong to: a customer in two of a department's parts is
                    one of its customers

are temporary tables of the run's transaction, which is one that may write for their sake (ADR 0020). A statement adds
up by parts first and hands each sum to the scopes of those parts. So its cost hardly depends on how many departments
there are and how deep they lie, but on how many different sets of parts occur together: few, as long as most customers
are followed within one department.

| statement                            | reads                                                               |
|--------------------------------------|---------------------------------------------------------------------|
| figure_people, bucket by bucket      | customers, follows, customer_scores, running_totals: one pass       |
| classes, lifecycle, loss, RFM, value | figure_people                                                       |
| segments, actions, moves             | members, open recommendations, history of the run, by figure_people |
| cohorts                              | figure_people, and daily_totals: see .cohorts                       |

Memory: one kind of all scopes at a time, a hundred numbers of each.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import orjson

from profiles.figures.cohorts import compute_cohorts_by_scope
from profiles.figures.scopes import Division
from profiles.figures.summing import EDGES
from profiles.models import ProfileRun
from scrm.sharding.ids import BUCKETS

PEOPLE = """
CREATE TEMPORARY TABLE figure_people (
    customer_id bigint, bucket smallint, parts int[], profile text, lifecycle text, total_amount numeric,
    recency smallint, frequency smallint, monetary smallint, rfm_segment text, warning text, place smallint,
    expected_amount numeric, alive_percent smallint, expected_purchases numeric, cohort date, purchase_days int
) ON COMMIT DROP
"""
STAFF = """
CREATE TEMPORARY TABLE figure_staff ON COMMIT DROP AS
SELECT userid, part FROM unnest(%(userids)s::text[], %(parts)s::int[]) AS g (userid, part)
"""
# Who has a live follow of staff that is in no scope is nobody's, and not the home's either.
FILL = """
INSERT INTO figure_people
SELECT * FROM (
    SELECT c.customer_id, c.bucket,
        CASE WHEN f.customer_id IS NULL THEN %(unfollowed)s::int[] ELSE f.parts END AS parts,
        c.profile, c.lifecycle, c.total_amount, s.recency_score, s.frequency_score, s.monetary_score, s.rfm_segment,
        s.loss_warning, CASE WHEN s.expected_amount IS NOT NULL
            THEN width_bucket((s.expected_amount * 100)::bigint, %(edges)s::bigint[]) END,
        s.expected_amount, s.alive_percent, s.expected_purchases,
        date_trunc('month', r.first_purchase_day::timestamp)::date, r.purchase_days
    FROM customers_@ c
    LEFT JOIN (
        SELECT f.customer_id, array_agg(DISTINCT m.part) FILTER (WHERE m.part IS NOT NULL) AS parts
        FROM follows_@ f LEFT JOIN figure_staff m ON m.userid = f.userid
        WHERE f.lost_at IS NULL GROUP BY 1
    ) AS f ON f.customer_id = c.customer_id
    LEFT JOIN customer_scores_@ s ON s.customer_id = c.customer_id
    LEFT JOIN running_totals_@ r ON r.customer_id = c.customer_id AND r.purchase_days > 0
) AS everybody WHERE parts IS NOT NULL
"""
SETS = """
CREATE TEMPORARY TABLE figure_sets ON COMMIT DROP AS
SELECT parts, array_agg(DISTINCT scope) AS scopes
FROM (SELECT DISTINCT parts FROM figure_people) AS p CROSS JOIN unnest(parts) AS part
JOIN unnest(%(parts)s::int[], %(scopes)s::int[]) AS g (part, scope) USING (part)
GROUP BY parts
"""
TO_SCOPES = "JOIN figure_sets USING (parts) CROSS JOIN unnest(scopes) AS scope"
# kind: which of the columns the row is grouped by, a bit each, 0 for those that are.
STANDING = f"""
SELECT scope, kind, COALESCE(profile, lifecycle, warning, rfm_segment), recency, frequency, sum(customers)::bigint,
    sum(monetary)::bigint, sum(amount)
FROM (
    SELECT parts, GROUPING(profile, lifecycle, warning, rfm_segment, recency) AS kind, profile, lifecycle, warning,
        rfm_segment, recency, frequency, count(*) AS customers, sum(monetary) AS monetary, sum(total_amount) AS amount
    FROM figure_people GROUP BY GROUPING SETS (
        (parts, profile), (parts, lifecycle), (parts, warning), (parts, rfm_segment), (parts, recency, frequency))
) AS sums {TO_SCOPES} GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""  # noqa: S608 - made of constants
PROFILE, LIFECYCLE, WARNING, SEGMENT, CELL = 0b01111, 0b10111, 0b11011, 0b11101, 0b11110
VALUE = f"""
SELECT scope, place, sum(customers)::bigint, sum(amount), sum(scored)::bigint, sum(alive)::bigint, sum(purchases)
FROM (
    SELECT parts, place, count(*) AS customers, sum(expected_amount) AS amount, count(alive_percent) AS scored,
        COALESCE(sum(alive_percent), 0) AS alive, COALESCE(sum(expected_purchases), 0) AS purchases
    FROM figure_people WHERE place IS NOT NULL OR alive_percent IS NOT NULL GROUP BY 1, 2
) AS sums {TO_SCOPES} GROUP BY 1, 2 ORDER BY 1, 2 NULLS LAST
"""  # noqa: S608
COUNTED = f"""
SELECT scope, name, sum(customers)::bigint FROM (
    SELECT parts, {{name}} AS name, count(*) AS customers
    FROM {{table}} AS t JOIN figure_people p ON p.customer_id = t.customer_id AND p.bucket = t.bucket
    {{condition}} GROUP BY 1, 2
) AS sums {TO_SCOPES} GROUP BY 1, 2 ORDER BY 1, 2
"""  # noqa: S608
SEGMENTS = COUNTED.format(name="segment_id", table="segment_members", condition="")
ACTIONS = COUNTED.format(
    name="action", table="recommendations", condition="WHERE t.state = 'open' AND t.expires_at > now()"
)
MOVES = f"""
SELECT scope, from_profile, to_profile, sum(customers)::bigint AS customers FROM (
    SELECT parts, from_profile, to_profile, count(*) AS customers
    FROM profile_history h JOIN figure_people p ON p.customer_id = h.customer_id AND p.bucket = h.bucket
    WHERE h.run_id = %(run_id)s GROUP BY 1, 2, 3
) AS sums {TO_SCOPES} GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC, 2 NULLS FIRST, 3
"""  # noqa: S608

Found = Iterator[tuple[str, int, Any]]


def compute_by_scope(
    cursor: Any, run: ProfileRun, home: int, division: Division, *, cohorts: Mapping[str, Any], has_moves: bool
) -> dict[tuple[str, str], str]:
    """Return {(kind, scope): data as JSON} of each scope that has somebody in the home, without empty kinds.

    cohorts: {scope: its last figure of that kind}. has_moves: whether the run has moved anybody here.
    Database: the home's, a transaction that may write, some twenty statements.
    """
    if not division.has_anybody(home):
        return {}
    _gather(cursor, home, division)
    return {
        (kind, division.names[scope]): orjson.dumps(data).decode()
        for figures in (
            _standing(cursor), _value(cursor), _counts(cursor, "segments", SEGMENTS),
            _counts(cursor, "actions", ACTIONS), _moves(cursor, run) if has_moves else (),
            _cohorts(cursor, run.as_of, division, cohorts),
        )
        for kind, scope, data in figures
    }  # fmt: skip


def _gather(cursor: Any, home: int, division: Division) -> None:
    """Make the temporary tables."""
    # A small sample tells the planner enough: the full sample takes longer than any of the statements.
    cursor.execute("SELECT set_config('default_statistics_target', '5', true)")
    cursor.execute(PEOPLE)
    cursor.execute(STAFF, {"userids": list(division.staff), "parts": list(division.staff.values())})
    cursor.execute("ANALYZE figure_staff")
    unfollowed = [division.homes[home]] if home in division.homes else None
    for bucket in range(BUCKETS):
        cursor.execute(FILL.replace("@", str(bucket)), {"unfollowed": unfollowed, "edges": EDGES})
    cursor.execute("ANALYZE figure_people")
    pairs = [(part, scope) for part, scopes in enumerate(division.parts) for scope in scopes]
    cursor.execute(SETS, {"parts": [part for part, _ in pairs], "scopes": [scope for _, scope in pairs]})
    cursor.execute("ANALYZE figure_sets")


def _grouped(rows: Iterable[Any]) -> Iterator[tuple[int, list[Any]]]:
    """Yield (scope, what follows it in its rows) of rows in order of scope."""
    at: int | None = None
    group: list[Any] = []
    for scope, *row in rows:
        if group and scope != at:
            yield at, group  # type: ignore[misc]
            group = []
        at = scope
        group.append(row)
    if group:
        yield at, group  # type: ignore[misc]


def _standing(cursor: Any) -> Found:
    cursor.execute(STANDING)
    for scope, rows in _grouped(cursor):
        counts: dict[int, dict[str | None, int]] = defaultdict(dict)
        cells, segments = [], {}
        for kind, name, recency, frequency, customers, monetary, amount in rows:
            if kind == CELL and recency and frequency and monetary:
                cells.append([recency, frequency, customers, monetary, str(amount)])
            elif kind == SEGMENT and name:
                segments[name] = [customers, str(amount)]
            elif kind in (PROFILE, LIFECYCLE, WARNING):
                counts[kind][name] = customers
        yield "classes", scope, {"unclassified": counts[PROFILE].pop(None, 0), "classes": counts[PROFILE]}
        for kind, figure in ((LIFECYCLE, "lifecycle"), (WARNING, "loss")):
            named = {name: customers for name, customers in counts[kind].items() if name}
            if named:
                yield figure, scope, named
        if cells or segments:
            yield "rfm", scope, {"cells": cells, "segments": segments}


def _value(cursor: Any) -> Found:
    cursor.execute(VALUE)
    for scope, rows in _grouped(cursor):
        yield "value", scope, value_of(rows)


def value_of(rows: Iterable[Any]) -> dict[str, Any]:
    """Return a figure of value from rows (place, customers, amount, scored, sum of alive, purchases) of one scope."""
    bins, scored, alive, purchases = [], 0, 0, Decimal(0)
    for place, customers, amount, with_alive, alive_sum, expected in rows:
        if place is not None:
            bins.append([place, customers, str(amount)])
        scored, alive, purchases = scored + with_alive, alive + int(alive_sum), purchases + expected
    return {"bins": bins, "scored": scored, "alive_sum": alive, "purchases": str(purchases)}


def _counts(cursor: Any, kind: str, sql: str) -> Found:
    cursor.execute(sql)
    for scope, rows in _grouped(cursor):
        yield kind, scope, {str(name): customers for name, customers in rows}


def _moves(cursor: Any, run: ProfileRun) -> Found:
    cursor.execute(MOVES, {"run_id": run.pk})
    for scope, rows in _grouped(cursor):
        yield "moves", scope, {str(run.pk): rows}


def _cohorts(cursor: Any, as_of: date, division: Division, before: Mapping[str, Any]) -> Found:
    places = {name: place for place, name in enumerate(division.names)}
    known = {places[name]: data for name, data in before.items() if name in places}
    for scope, data in compute_cohorts_by_scope(cursor, as_of, known).items():
        yield "cohorts", scope, data
