"""Membership between the nights: of single customers at once, and of everybody when a definition changes.

    what                      told by                                            done by
    a customer has changed    customers.marks, after the commit: a task with     refresh_customers; the row's
                              the ids, unless there are many                     awaits_segments is taken back
    … and nobody was told     the row itself, which the keeper finds within 5 s  refresh_waiting
    a definition has changed  a task for each home, after it is saved            recompute; the keeper, for what is left

Each takes the bucket's lock before it reads (see writing.py), so that the order in which they come does not matter, and
each may be repeated or killed anywhere.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import orjson
import structlog
from django.conf import settings
from django.db import OperationalError, connection, reset_queries
from django.utils import timezone

from profiles import columns
from profiles.days import day_of
from profiles.facts import FactReader
from profiles.models import Segment
from profiles.segments import counting
from profiles.segments.definitions import Plan, read_plan
from profiles.segments.part import as_of_now, judge_block, needs_of_plan, write_judged
from profiles.segments.writing import BY_INDEX, LOCKS, count_members, lock_bucket
from profiles.totals import Picked
from scrm import sharding
from scrm.held import Held
from scrm.sharding.ids import BUCKETS

logger = structlog.get_logger(__name__)

BLOCK_SIZE = 5_000
STEP = 1_000
REFRESH_SECONDS = 30.0
# Of more than these at once (imports, syncs) nobody waits for the single one: the keeper takes them, by thousands.
MAX_AT_ONCE = 200
HELD_SECONDS = 10.0
RECOMPUTING = 1000  # beyond the buckets' numbers in LOCKS
LOCK_NOT_AVAILABLE = "55P03"

MARKS = """
SELECT d.customer_id, d.mark FROM dirty_customers_@ d
WHERE d.customer_id = ANY(%s::bigint[]) AND d.awaits_segments
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
# Forward only, and only for the version that was computed.
COMPUTED = """
UPDATE profiles_segment SET computed = computed || %s::jsonb
WHERE id = %s AND version = %s
"""


def _has_dynamic() -> bool:
    return Segment.objects.filter(kind=Segment.Kind.DYNAMIC, is_active=True).exists()


# Whether anybody wants to know of single customers at all. Of the first segment other processes learn 10 s later;
# until then the keeper finds the rows.
are_in_use = Held(_has_dynamic, seconds=HELD_SECONDS, stale_seconds=3600)


# --------------------------------------------------------------------------------------------------- single customers
def refresh_customers(customer_ids: Iterable[int]) -> int:
    """Bring memberships of customers to what they are now. Returns how many changes were written.

    Ids of nobody are left out. Database: control, one query for each bucket; one transaction for each bucket on the
    homes', some ten statements. A home that is down, and a bucket that is busy for five seconds, are left to the
    keeper, which finds the rows.
    """
    parts: dict[tuple[int, int], list[int]] = {}
    for customer_id in sorted(set(customer_ids)):
        parts.setdefault((sharding.home_of(customer_id), sharding.bucket_of(customer_id)), []).append(customer_id)
    written = 0
    for (home, bucket), ids in parts.items():
        if home not in sharding.shard_map():
            continue
        try:
            for start in range(0, len(ids), STEP):
                written += _refresh_bucket(home, bucket, ids[start : start + STEP])
        except sharding.HomeUnavailableError:
            logger.warning("refresh_left", home=home, customers=len(ids))
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) not in (LOCK_NOT_AVAILABLE, "40P01"):
                raise
            logger.info("refresh_left", home=home, bucket=bucket, customers=len(ids))
    return written


def _refresh_bucket(home: int, bucket: int, ids: Sequence[int], *, cause: str = "live") -> int:
    with sharding.atomic_home(home), sharding.cursor(home) as cursor:
        lock_bucket(cursor, bucket)
        plan = read_plan()
        if not plan.judged:
            return 0
        cursor.execute(BY_INDEX)
        cursor.execute(columns.on_leaves(MARKS, bucket), [columns.array(ids)])
        marks = cursor.fetchall()
        written = judge_some(cursor, plan, home, bucket, ids, cause=cause)
        if marks:
            seen, numbers = columns.array([one for one, _ in marks]), columns.array([mark for _, mark in marks])
            cursor.execute(columns.on_leaves(LOOKED, bucket), [seen, numbers])
        return written


def judge_some(cursor: Any, plan: Plan, home: int, bucket: int, ids: Sequence[int], *, cause: str) -> int:
    """Judge customers of a bucket and write what differs. ids: ascending. Returns how many changes were written.

    Database: some ten statements, in the open transaction on the home, which holds the bucket's lock.
    """
    as_of = as_of_now()
    picked = Picked(ids[0] - 1, ids[-1], True, ids)
    block = FactReader(home, bucket, as_of, needs_of_plan(plan)).read_picked(picked)
    if not len(block):
        return 0
    judged = judge_block(plan, block, as_of)
    rows = judged.touched.nonzero()[0]
    return write_judged(cursor, bucket, judged, rows, cause=cause) if len(rows) else 0


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


# ------------------------------------------------------------------------------------------------- changed definitions
def recompute(home: int) -> int:
    """Judge everybody of a home for whom a definition has changed since. Returns how many changes were written.

    Goes bucket by bucket and notes in Segment.computed how far it is; 0 at once where nothing is due, or where another
    process is at it. Database: control, a few queries for each block; the home's, one transaction for each block.
    Raises HomeUnavailableError; what is done stays done.
    """
    written = 0
    with _only_one(home) as is_ours:
        while is_ours and (due := _due(home)):
            bucket = min(due.values())
            versions, changes = _recompute_bucket(home, bucket)
            written += changes
            for segment, at in due.items():
                if at == bucket and segment in versions:
                    _note_computed(segment, home, versions[segment], bucket + 1)
        if is_ours:
            counting.store_counts([home])
    return written


def _recompute_bucket(home: int, bucket: int) -> tuple[dict[int, int], int]:
    """Judge everybody of a bucket. Returns the versions that all of it was judged by, and how much was written."""
    after, written = 0, 0
    broken: dict[int, tuple[str, str]] = {}
    versions: dict[int, int] | None = None
    while True:
        with sharding.atomic_home(home), sharding.cursor(home) as cursor:
            lock_bucket(cursor, bucket)
            plan = read_plan()
            now = {one.segment_id: one.version for one in plan.judged}
            # One that has changed in the middle is begun again.
            versions = now if versions is None else {one: v for one, v in versions.items() if now.get(one) == v}
            reader = FactReader(home, bucket, as_of_now(), needs_of_plan(plan))
            picked = reader.pick(after, BLOCK_SIZE) if plan.judged else None
            if picked is not None:
                block = reader.read_picked(picked)
                judged = judge_block(plan, block, as_of_now())
                broken |= judged.broken
                rows = judged.touched.nonzero()[0]
                if len(rows):
                    written += write_judged(cursor, bucket, judged, rows, cause="definition")
                after = picked.last
            if picked is None or picked.is_last:
                count_members(cursor, bucket, plan.known, today=day_of(timezone.now()))
                counting.note_broken({**broken, **plan.broken}, plan)
                return versions, written
        if settings.DEBUG:
            reset_queries()


def _due(home: int) -> dict[int, int]:
    """Return {segment: the bucket to go on from} of those whose members in a home are of another version."""
    plan = {one.segment_id: one.version for one in read_plan().judged}
    computed = dict(Segment.objects.filter(pk__in=plan).values_list("pk", "computed"))
    due = {}
    for segment, version in plan.items():
        at = (computed.get(segment) or {}).get(str(home), [0, 0])
        bucket = at[1] if at[0] == version else 0
        if bucket < BUCKETS:
            due[segment] = bucket
    return due


def _note_computed(segment: int, home: int, version: int, bucket: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(COMPUTED, [orjson.dumps({str(home): [version, bucket]}).decode(), segment, version])


@contextmanager
def _only_one(home: int) -> Iterator[bool]:
    """Hold a home's lock of whoever recomputes, if nobody has it. The session's: it goes with the connection."""
    with sharding.cursor(home) as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCKS, RECOMPUTING])
        (is_ours,) = cursor.fetchone()
    try:
        yield is_ours
    finally:
        if is_ours:
            try:
                with sharding.cursor(home) as cursor:
                    cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCKS, RECOMPUTING])
            except sharding.HomeUnavailableError:
                pass  # and the lock is gone with the connection


def recompute_waiting() -> int:
    """Do in this process whatever recomputing is due. Returns how many changes were written. For the keeper."""
    if not are_in_use():
        return 0
    return sum(sharding.fan_out(recompute).results.values())


def progress_of(segment: Segment) -> dict[int, float]:
    """Return {home: share from 0 to 1} of a segment's members that are of its version. Pure."""
    found = {}
    for home in sharding.shard_map().homes:
        version, bucket = (segment.computed or {}).get(str(home), [0, 0])
        found[home] = bucket / BUCKETS if version == segment.version else 0.0
    return found
