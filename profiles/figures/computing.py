"""Compute the figures of a run, home by home, with a few aggregates each. See the package for what they are.

Of everybody; those of departments are computed beside them, see .departments.

| statement            | reads                                                                             |
|----------------------|-----------------------------------------------------------------------------------|
| classes              | profile_counts and dirty marks: milliseconds, the counts are kept                 |
| lifecycle, loss, RFM | customers joined with customer_scores, partition by partition: one pass over both |
| value                | customer_scores: one pass                                                         |
| segments, actions    | the indexes of segment_members and of open recommendations                        |
| cohorts              | running_totals, and two months of daily_totals: see .cohorts                      |

All of a home's in one REPEATABLE READ transaction, which only reads where there are no departments. Memory: a few
thousand rows, however many customers.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import orjson
import structlog
from django.db import transaction

from customers.counts import count_home
from profiles import claims
from profiles.claims import REPORT, merged
from profiles.figures import keeping
from profiles.figures.cohorts import compute_cohorts
from profiles.figures.departments import compute_by_scope, value_of
from profiles.figures.keeping import SCOPES
from profiles.figures.scopes import EVERYBODY, Division, find_division
from profiles.figures.summing import EDGES
from profiles.models import ProfileRun
from scrm import sharding

logger = structlog.get_logger(__name__)

# At most 5 lifecycles x 125 scores x 3 warnings rows.
STANDING = """
SELECT c.lifecycle, s.recency_score, s.frequency_score, s.monetary_score, s.rfm_segment, s.loss_warning, count(*),
    COALESCE(sum(c.total_amount), 0)
FROM customers c LEFT JOIN customer_scores s ON s.customer_id = c.customer_id AND s.bucket = c.bucket
GROUP BY 1, 2, 3, 4, 5, 6
"""
VALUE = """
SELECT width_bucket((expected_amount * 100)::bigint, %s::bigint[]), count(*), sum(expected_amount),
    count(alive_percent), COALESCE(sum(alive_percent), 0), COALESCE(sum(expected_purchases), 0)
FROM customer_scores WHERE expected_amount IS NOT NULL OR alive_percent IS NOT NULL GROUP BY 1 ORDER BY 1 NULLS LAST
"""
SEGMENTS = "SELECT segment_id, count(*) FROM segment_members GROUP BY 1"
ACTIONS = """
SELECT action, count(*) FROM recommendations WHERE state = 'open' AND expires_at > now() GROUP BY 1
"""
LAST_ID = "SELECT COALESCE(max(customer_id), 0) FROM customers"


def compute(run: ProfileRun) -> list[int]:
    """Compute and keep the figures of a run's homes as of its day. Returns the homes that could not be reached.

    A home that is down keeps its last figures. A home whose run only reported (a backtest, or a day before the last
    run's) gets none: nothing there is as of that day. Repeatable, and of several at once any may write: an older run
    never writes over a newer one's.
    Database: control, two queries and one transaction; of each home a transaction of about ten statements that only
    reads, and where there are departments a query on control and some twenty statements more.
    """
    if run.kind == ProfileRun.Kind.BACKTEST:
        return []
    homes = [home for home in run.homes if home in sharding.shard_map()]
    division = find_division()
    known = {} if run.full else keeping.find_latest(["cohorts"], homes, run.as_of)["cohorts"].data
    answers = sharding.fan_out(lambda home: compute_home(run, home, known.get(home), division), homes)
    kept = {home: found for home, found in answers.results.items() if found is not None}
    keeping.keep(run, kept)
    logger.info("figures_kept", run=run.pk, homes=sorted(kept), unavailable=answers.unavailable)
    return answers.unavailable


def compute_home(
    run: ProfileRun, home: int, cohorts: Mapping[str, Any] | None, division: Division
) -> keeping.Figures | None:
    """Return {(kind, scope): data as JSON} of one home, None if the run only reported there.

    cohorts: the last figure of that kind of everybody.
    """
    views = claims.views(run.pk, home)
    if not views or any(view.mode == REPORT for view in views):
        return None
    began_at = time.monotonic()
    moves = merged(move for view in views for move in view.moves)
    with _snapshot(home, makes_tables=division.has_anybody(home)), sharding.cursor(home) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT set_config('enable_partitionwise_join', 'on', true)")
        found = {
            "classes": _classes(cursor, home),
            **_standing(cursor),
            "value": _value(cursor),
            "segments": _counts(cursor, SEGMENTS),
            "actions": _counts(cursor, ACTIONS),
            "cohorts": compute_cohorts(cursor, run.as_of, cohorts),
            "moves": {str(run.pk): moves},
        }
        divided_at = time.monotonic()
        before = {} if run.full else keeping.find_cohorts(home, division.names, run.as_of)
        divided = compute_by_scope(cursor, run, home, division, cohorts=before, has_moves=bool(moves))
    if division.names:
        found[SCOPES] = division.names
    logger.info(
        "figures_computed", run=run.pk, home=home, seconds=round(divided_at - began_at, 3), rows_of_scopes=len(divided),
        seconds_of_scopes=round(time.monotonic() - divided_at, 3),
    )  # fmt: skip
    return {(kind, EVERYBODY): orjson.dumps(data).decode() for kind, data in found.items()} | divided


@contextmanager
def _snapshot(home: int, *, makes_tables: bool) -> Iterator[None]:
    """Open a transaction on a home: one that may write only if it is to make temporary tables."""
    with sharding.atomic_home(home) if makes_tables else transaction.atomic(using=sharding.alias(home)):
        yield


def _classes(cursor: Any, home: int) -> dict[str, Any]:
    counts = count_home(home)
    cursor.execute(LAST_ID)
    unclassified = counts.pop(None, 0)
    return {"classes": counts, "unclassified": unclassified, "last_id": cursor.fetchone()[0]}


def _standing(cursor: Any) -> dict[str, Any]:
    cursor.execute(STANDING)
    lifecycle, loss = Counter[str](), Counter[str]()
    cells: dict[tuple[int, int], list[Any]] = {}
    segments: dict[str, list[Any]] = {}
    for stage, recency, frequency, monetary, segment, warning, customers, amount in cursor.fetchall():
        if stage:
            lifecycle[stage] += customers
        if warning:
            loss[warning] += customers
        if recency and frequency and monetary:
            _add(cells.setdefault((recency, frequency), [0, 0, Decimal(0)]), customers, monetary * customers, amount)
        if segment:
            _add(segments.setdefault(segment, [0, Decimal(0)]), customers, amount)
    return {
        "lifecycle": dict(lifecycle),
        "loss": dict(loss),
        "rfm": {
            "cells": [[*scores, *sums[:-1], str(sums[-1])] for scores, sums in sorted(cells.items())],
            "segments": {name: [customers, str(amount)] for name, (customers, amount) in sorted(segments.items())},
        },
    }


def _add(sums: list[Any], *more: Any) -> None:
    sums[:] = [before + one for before, one in zip(sums, more, strict=True)]


def _value(cursor: Any) -> dict[str, Any]:
    cursor.execute(VALUE, [EDGES])
    return value_of(cursor.fetchall())


def _counts(cursor: Any, sql: str) -> dict[str, int]:
    cursor.execute(sql)
    return {str(name): count for name, count in cursor.fetchall()}
