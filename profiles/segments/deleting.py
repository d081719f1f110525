"""Take away what is left of segments that have been deleted: their members and tallies, a few thousand at a time.

Who is left is found by skipping through the index of members, so that nothing is done where nothing is left. What
entered and left stays in a customer's history, without a name to show for it.
"""

from profiles import columns
from profiles.models import Segment
from profiles.segments.writing import lock_bucket
from scrm import sharding
from scrm.sharding.ids import BUCKETS

CHUNK = 5_000
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
