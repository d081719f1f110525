"""Membership of everybody when a definition changes, without waiting for the night.

A task for each home is told after it is saved; the keeper goes on with what is left. Each takes the bucket's lock
before it reads (see writing.py), so that the order in which they come does not matter, and each may be repeated or
killed anywhere. Of single customers see profiles.looking.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import orjson
from django.conf import settings
from django.db import connection, reset_queries
from django.utils import timezone

from profiles.days import day_of
from profiles.facts import FactReader
from profiles.models import Segment
from profiles.segments import counting
from profiles.segments.definitions import read_plan
from profiles.segments.part import as_of_now, judge_block, needs_of_plan, write_judged
from profiles.segments.writing import LOCKS, count_members, lock_bucket
from scrm import sharding
from scrm.sharding.ids import BUCKETS

BLOCK_SIZE = 5_000
RECOMPUTING = 1000  # beyond the buckets' numbers in LOCKS

# Forward only, and only for the version that was computed.
COMPUTED = """
UPDATE profiles_segment SET computed = computed || %s::jsonb
WHERE id = %s AND version = %s
"""


def recompute(home: int) -> int:
    """Judge everybody of a home for whom a definition has changed since. Returns how many changes were written.

    Goes bucket by bucket and notes in Segment.computed how far it is; 0 at once where nothing is due, or where another
    process is at it. Database: control, a few queries for each block; the home's, one transaction for each block.
    Raises HomeUnavailableError; what is done stays done.
    """
    written = 0
    with only_one(home, RECOMPUTING) as is_ours:
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
def only_one(home: int, work: int) -> Iterator[bool]:
    """Hold a home's lock of whoever does some work, if nobody has it. The session's: it goes with the connection."""
    with sharding.cursor(home) as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCKS, work])
        (is_ours,) = cursor.fetchone()
    try:
        yield is_ours
    finally:
        if is_ours:
            try:
                with sharding.cursor(home) as cursor:
                    cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCKS, work])
            except sharding.HomeUnavailableError:
                pass  # and the lock is gone with the connection


def recompute_waiting() -> int:
    """Do in this process whatever recomputing is due. Returns how many changes were written. For the keeper."""
    if not Segment.objects.filter(kind=Segment.Kind.DYNAMIC, is_active=True).exists():
        return 0
    return sum(sharding.fan_out(recompute).results.values())


def progress_of(segment: Segment) -> dict[int, float]:
    """Return {home: share from 0 to 1} of a segment's members that are of its version. Pure."""
    found = {}
    for home in sharding.shard_map().homes:
        version, bucket = (segment.computed or {}).get(str(home), [0, 0])
        found[home] = bucket / BUCKETS if version == segment.version else 0.0
    return found
