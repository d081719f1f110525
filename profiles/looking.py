"""Look at single customers between the nights: which segments they are in, and what is to be done about them.

    what                      told by                                            done by
    a customer has changed    customers.marks, after the commit: a task with     refresh_customers; the row's
                              the ids, unless there are many                     awaits_segments is taken back
    … and nobody was told     the row itself, which the keeper finds within 5 s  refresh_waiting
    a decision, or its undo   the same mark                                      the same

A look does what the third phase of a run does (profiles.acting), by the same parts, with the same lock, of these
customers only; class, lifecycle, RFM, value and what goes together are what the last night has stored. So a night right
after a look finds nothing to write. Looks may come in any order, be repeated, or be killed anywhere.
"""

from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, OperationalError, reset_queries

from profiles import claims, columns
from profiles.facts import FactReader
from profiles.models import RecommendationRule, Segment
from profiles.parts import Part, do_parts, needs_of
from profiles.recommendations.part import RecommendationPart
from profiles.segments.part import SegmentPart, as_of_now
from profiles.segments.writing import BY_INDEX, lock_bucket
from profiles.totals import Picked
from scrm import sharding
from scrm.held import Held

logger = structlog.get_logger(__name__)

STEP = 1_000
REFRESH_SECONDS = 30.0
# Of more than these at once (imports, syncs) nobody waits for the single one: the keeper takes them, by thousands.
MAX_AT_ONCE = 200
HELD_SECONDS = 10.0
# lock_not_available, deadlock_detected, and unique_violation: somebody took a decision back just now.
IN_THE_WAY = {"55P03", "40P01", "23505"}

AWAITING = """
SELECT customer_id FROM dirty_customers
WHERE bucket = ANY(%s) AND customer_id = ANY(%s::bigint[]) AND awaits_segments ORDER BY customer_id
"""
MARKS = """
SELECT d.customer_id, d.mark FROM dirty_customers_@ d
WHERE d.customer_id = ANY(%s::bigint[]) AND d.awaits_segments ORDER BY d.customer_id
"""
# Who is being marked anew right now is left: whoever does it asks for another look.
LOOKED = """
UPDATE dirty_customers_@ AS d SET awaits_segments = false
FROM (
    SELECT m.customer_id FROM dirty_customers_@ m
    JOIN unnest(%s::bigint[], %s::bigint[]) AS g (customer_id, mark) ON m.customer_id = g.customer_id
        AND m.mark = g.mark
    ORDER BY m.customer_id FOR UPDATE OF m SKIP LOCKED
) AS seen
WHERE d.customer_id = seen.customer_id
"""
WAITING = """
SELECT customer_id FROM dirty_customers WHERE awaits_segments AND customer_id > %s ORDER BY customer_id LIMIT %s
"""


def _is_anything_in_use() -> bool:
    dynamic = Segment.objects.filter(kind=Segment.Kind.DYNAMIC, is_active=True)
    return RecommendationRule.objects.filter(is_active=True).exists() or dynamic.exists()


# Whether anybody wants to know of single customers at all. Of the first segment or rule other processes learn 10 s
# later; until then the keeper finds the rows.
are_in_use = Held(_is_anything_in_use, seconds=HELD_SECONDS, stale_seconds=3600)


def refresh_customers(customer_ids: Iterable[int]) -> int:
    """Bring memberships and suggestions of customers to what they are now. Returns how many rows were written.

    Whoever does not wait for a look is left out: somebody has looked since they were marked.
    Database: the homes', one query, and where somebody waits one transaction for each bucket, some twenty statements;
    control, two queries for each such bucket, one more for each rule that asks for segments. A home that is down, and a
    bucket that is busy for five seconds, are left to the keeper, which finds the rows.
    """
    # In a new process on a busy machine this takes seconds, and the server ends a transaction that is silent for five.
    import pandas  # noqa: F401

    parts: dict[int, list[int]] = {}
    for customer_id in sorted(set(customer_ids)):
        parts.setdefault(sharding.home_of(customer_id), []).append(customer_id)
    return sum(_refresh_some(home, ids) for home, ids in parts.items() if home in sharding.shard_map())


def _refresh_some(home: int, asked: Sequence[int]) -> int:
    """Look at customers of a home. A message that others were faster than takes no lock: the night may have it."""
    parts: dict[int, list[int]] = {}
    try:
        with sharding.cursor(home) as cursor:
            cursor.execute(AWAITING, [sorted({sharding.bucket_of(one) for one in asked}), columns.array(asked)])
            for (customer_id,) in cursor.fetchall():
                parts.setdefault(sharding.bucket_of(customer_id), []).append(customer_id)
    except sharding.HomeUnavailableError:
        logger.warning("refresh_left", home=home, customers=len(asked))
    written = 0
    for bucket, ids in sorted(parts.items()):
        try:
            for start in range(0, len(ids), STEP):
                written += _refresh_bucket(home, bucket, ids[start : start + STEP])
        except sharding.HomeUnavailableError:
            logger.warning("refresh_left", home=home, customers=len(ids))
        except (OperationalError, IntegrityError) as error:
            if claims.sqlstate(error) not in IN_THE_WAY:
                raise
            logger.info("refresh_left", home=home, bucket=bucket, customers=len(ids))
    return written


def _refresh_bucket(home: int, bucket: int, ids: Sequence[int]) -> int:
    with sharding.atomic_home(home), sharding.cursor(home) as cursor:
        lock_bucket(cursor, bucket)
        cursor.execute(BY_INDEX)
        cursor.execute(columns.on_leaves(MARKS, bucket), [columns.array(ids)])
        marks = cursor.fetchall()
        if not marks:
            return 0
        awaiting, numbers = [one for one, _ in marks], [mark for _, mark in marks]
        written = look_at(cursor, home, bucket, awaiting)
        if written is not None:
            cursor.execute(columns.on_leaves(LOOKED, bucket), [columns.array(awaiting), columns.array(numbers)])
        return written or 0


def look_at(cursor: Any, home: int, bucket: int, ids: Sequence[int], *, fact: str | None = None) -> int | None:
    """Judge customers of a bucket and write what differs. ids: ascending, some thousands at most.

    fact: the only one that has changed; where no condition in use asks for it nobody is looked at.
    Returns how many rows were written; None where nothing is in use, so that nobody was looked at.
    Database: some twenty statements, in the open transaction on the home, which holds the bucket's lock.
    """
    parts: list[Part] = [SegmentPart(None, home, bucket), RecommendationPart(None, home, bucket)]
    active = [part for part in parts if part.is_active]
    needs = needs_of(active)
    if not active or (fact is not None and fact not in needs.columns):
        return None
    picked = Picked(ids[0] - 1, ids[-1], True, ids)
    block = FactReader(home, bucket, as_of_now(), needs).read_picked(picked)
    return do_parts(cursor, active, block) if len(block) else 0


def refresh_waiting() -> int:
    """Look at all customers who still wait for it. Returns how many were looked at. For the keeper."""
    if not are_in_use():
        return 0
    return sum(sharding.fan_out(_refresh_home).results.values())


def _refresh_home(home: int) -> int:
    looked, after, until = 0, 0, monotonic() + REFRESH_SECONDS
    while monotonic() < until:
        with sharding.cursor(home) as cursor:
            cursor.execute(WAITING, [after, STEP])
            ids = [one for (one,) in cursor.fetchall()]
        if not ids:
            break
        refresh_customers(ids)
        looked, after = looked + len(ids), ids[-1]
        if settings.DEBUG:
            reset_queries()
    return looked
