"""Take away what is left of segments that have been deleted: their members and tallies, a few thousand at a time.

Who is left is found by skipping through the index of members, so that nothing is done where nothing is left. When
somebody entered and left stays in their history, under the name that the segment had, for KEPT_DAYS after its deletion.
"""

from datetime import timedelta

from django.utils import timezone

from profiles import columns
from profiles.models import DeletedSegment, Segment
from profiles.segments.writing import lock_bucket
from scrm import sharding
from scrm.sharding.ids import BUCKETS

CHUNK = 5_000
KEPT_DAYS = 400
# One probe of the index for each segment that has members.
THERE = """
WITH RECURSIVE there AS (
    (SELECT segment_id FROM segment_members_@ ORDER BY segment_id LIMIT 1)
    UNION ALL
    SELECT (SELECT m.segment_id FROM segment_members_@ m WHERE m.segment_id > there.segment_id
            ORDER BY m.segment_id LIMIT 1)
    FROM there WHERE there.segment_id IS NOT NULL
)
SELECT segment_id FROM there WHERE segment_id IS NOT NULL
"""
FORGET = """
DELETE FROM segment_members_@ WHERE (customer_id, bucket, segment_id) IN (
    SELECT customer_id, bucket, segment_id FROM segment_members_@ WHERE segment_id = ANY(%s) LIMIT %s)
"""
# One pass through a partition's key, from customer to customer.
FORGET_CHANGES = """
WITH these AS (
    SELECT customer_id, segment_id, at FROM segment_changes_@
    WHERE customer_id > %(after)s AND segment_id = ANY(%(segments)s) ORDER BY customer_id LIMIT %(chunk)s
), gone AS (
    DELETE FROM segment_changes_@ AS c USING these
    WHERE c.customer_id = these.customer_id AND c.segment_id = these.segment_id AND c.at = these.at
)
SELECT count(*), COALESCE(max(customer_id), 0) - 1 FROM these
"""
FORGET_DAYS = "DELETE FROM segment_days WHERE segment_id = ANY(%s)"


def forget_deleted() -> int:
    """Delete members of segments that are no more. Returns how many. Repeatable. For the keeper.

    Database: one small query for each bucket of each home, one on control.
    """
    return sum(sharding.fan_out(_forget_home).results.values())


def _forget_home(home: int) -> int:
    there: dict[int, list[int]] = {}
    with sharding.cursor(home) as cursor:
        for bucket in range(BUCKETS):
            cursor.execute(columns.on_leaves(THERE, bucket))
            there[bucket] = [segment for (segment,) in cursor.fetchall()]
    # Asked after the members were: a segment is saved before anybody is in it.
    known = set(Segment.objects.values_list("pk", flat=True))
    gone, forgotten = 0, set[int]().union(*there.values()) - known
    for bucket, segments in there.items():
        deleted = sorted(set(segments) - known)
        while deleted:
            with sharding.atomic_home(home), sharding.cursor(home) as cursor:
                lock_bucket(cursor, bucket)
                cursor.execute(columns.on_leaves(FORGET, bucket), [deleted, CHUNK])
                count = cursor.rowcount
            gone += count
            if count < CHUNK:
                break
    if gone:
        with sharding.atomic_home(home), sharding.cursor(home) as cursor:
            cursor.execute(FORGET_DAYS, [sorted(forgotten)])
    return gone


def forget_histories() -> int:
    """Delete who was in segments that were deleted KEPT_DAYS ago, and their names. Returns how many rows. Repeatable.

    Database: one query on control; where something is due, one pass through segment_changes of each home. A home that
    is down is left for another time, and the names until then.
    """
    due = list(
        DeletedSegment.objects.filter(deleted_at__lt=timezone.now() - timedelta(days=KEPT_DAYS)).values_list(
            "pk", flat=True
        )
    )
    if not due:
        return 0
    answers = sharding.fan_out(lambda home: _forget_history(home, due))
    if not answers.unavailable:
        DeletedSegment.objects.filter(pk__in=due).delete()
    return sum(answers.results.values())


def _forget_history(home: int, segments: list[int]) -> int:
    gone = 0
    for bucket in range(BUCKETS):
        after, count = 0, CHUNK
        while count == CHUNK:
            with sharding.atomic_home(home), sharding.cursor(home) as cursor:
                cursor.execute(
                    columns.on_leaves(FORGET_CHANGES, bucket), {"after": after, "segments": segments, "chunk": CHUNK}
                )
                count, after = cursor.fetchone()
            gone += count
    return gone
