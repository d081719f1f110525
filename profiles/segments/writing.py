"""Write who enters and who leaves segments, in one bucket of a home.

    lock      one writer of a bucket's memberships at a time; whoever has it has read its customers after taking it
    entered   segment_members row and a segment_changes row, for those who were not in it and still exist
    left      the row goes, a segment_changes row says so
    tally     segment_days: entered and left by day, and how many are in it now

The lock is what makes a night, a refresh of single customers, a changed definition and a list by hand agree: each reads
what membership hangs on after it has the lock, so the last to write is the one who has read last. It is the
transaction's, so that nobody keeps it who dies; and the server ends a transaction that says nothing for five seconds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from profiles import columns

LOCKS = 0x7365676D  # "segm", the upper half of the lock's number; the lower one is the bucket's
# Whoever was stopped in the middle holds a bucket no longer than this; nobody waits for a lock so long that requests
# pile up behind it.
PATIENCE = """
SELECT set_config('idle_in_transaction_session_timeout', '5s', true), set_config('lock_timeout', '5s', true),
    pg_advisory_xact_lock(%s, %s)
"""
# A thousand ids by index, whatever the planner thinks of tables that it has no statistics of.
BY_INDEX = """
SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('enable_seqscan', 'off', true), set_config('enable_material', 'off', true)
"""
ENTER = """
WITH given AS (
    SELECT g.customer_id, g.segment_id
    FROM unnest(%(ids)s::bigint[], %(segments)s::bigint[]) AS g (customer_id, segment_id)
    JOIN customers_@ c ON c.customer_id = g.customer_id
    ORDER BY 1, 2
    FOR KEY SHARE OF c
), entered AS (
    INSERT INTO segment_members_@ (customer_id, bucket, segment_id, entered_at)
    SELECT customer_id, %(bucket)s, segment_id, now() FROM given
    ON CONFLICT (customer_id, bucket, segment_id) DO NOTHING
    RETURNING customer_id, segment_id
), noted AS (
    INSERT INTO segment_changes_@ (customer_id, bucket, segment_id, at, entered, cause)
    SELECT customer_id, %(bucket)s, segment_id, now(), true, %(cause)s FROM entered
    ON CONFLICT DO NOTHING
)
SELECT segment_id, count(*) FROM entered GROUP BY segment_id
"""
LEAVE = """
WITH gone AS (
    DELETE FROM segment_members_@ AS m
    USING unnest(%(ids)s::bigint[], %(segments)s::bigint[]) AS g (customer_id, segment_id)
    WHERE m.customer_id = g.customer_id AND m.bucket = %(bucket)s AND m.segment_id = g.segment_id
    RETURNING m.customer_id, m.segment_id
), noted AS (
    INSERT INTO segment_changes_@ (customer_id, bucket, segment_id, at, entered, cause)
    SELECT customer_id, %(bucket)s, segment_id, now(), false, %(cause)s FROM gone
    ON CONFLICT DO NOTHING
)
SELECT segment_id, count(*) FROM gone GROUP BY segment_id
"""
# A new day begins with the members that the last one ended with.
TALLY = """
INSERT INTO segment_days AS d (bucket, segment_id, day, entered, departed, members)
SELECT %(bucket)s, g.segment_id, %(day)s, g.entered, g.gone, COALESCE((
    SELECT before.members FROM segment_days before
    WHERE before.bucket = %(bucket)s AND before.segment_id = g.segment_id AND before.day <= %(day)s
    ORDER BY before.day DESC LIMIT 1), 0) + g.entered - g.gone
FROM unnest(%(segments)s::bigint[], %(entered)s::int[], %(left)s::int[]) AS g (segment_id, entered, gone)
ON CONFLICT (bucket, segment_id, day) DO UPDATE SET entered = d.entered + excluded.entered,
    departed = d.departed + excluded.departed, members = d.members + excluded.entered - excluded.departed
"""
COUNT = """
INSERT INTO segment_days AS d (bucket, segment_id, day, entered, departed, members)
SELECT %(bucket)s, g.segment_id, %(day)s, 0, 0,
    (SELECT count(*) FROM segment_members_@ m WHERE m.segment_id = g.segment_id)
FROM unnest(%(segments)s::bigint[]) AS g (segment_id)
ON CONFLICT (bucket, segment_id, day) DO UPDATE SET members = excluded.members
"""

Pairs = Sequence[tuple[int, int]]


def lock_bucket(cursor: Any, bucket: int) -> None:
    """Wait until nobody else writes memberships of a bucket, in the open transaction on its home.

    Raises OperationalError (lock_not_available) after five seconds.
    """
    cursor.execute(PATIENCE, [LOCKS, bucket])
    cursor.fetchone()


def write_changes(
    cursor: Any, bucket: int, entered: Pairs, left: Pairs, *, cause: str, today: date
) -> tuple[Counter[int], Counter[int]]:
    """Write who enters and leaves, given as (customer_id, segment_id). Returns {segment: customers} of both.

    Only what is not so already is written, and only of customers who exist. Database: up to four statements, in the
    open transaction on the home, which holds the bucket's lock.
    """
    if not entered and not left:
        return Counter(), Counter()
    cursor.execute(BY_INDEX)
    came = _change(cursor, ENTER, bucket, entered, cause) if entered else Counter[int]()
    went = _change(cursor, LEAVE, bucket, left, cause) if left else Counter[int]()
    _tally(cursor, bucket, came, went, today)
    return came, went


def _change(cursor: Any, sql: str, bucket: int, pairs: Pairs, cause: str) -> Counter[int]:
    params = {
        "bucket": bucket,
        "cause": cause,
        "ids": columns.array([customer_id for customer_id, _ in pairs]),
        "segments": columns.array([segment_id for _, segment_id in pairs]),
    }
    cursor.execute(columns.on_leaves(sql, bucket), params)
    return Counter(dict(cursor.fetchall()))


def _tally(cursor: Any, bucket: int, came: Mapping[int, int], went: Mapping[int, int], today: date) -> None:
    segments = sorted({*came, *went})
    if segments:
        cursor.execute(
            TALLY,
            {
                "bucket": bucket,
                "day": today,
                "segments": segments,
                "entered": [came.get(one, 0) for one in segments],
                "left": [went.get(one, 0) for one in segments],
            },
        )


def count_members(cursor: Any, bucket: int, segments: Iterable[int], *, today: date) -> None:
    """Note how many members segments have in a bucket: erasures and moves tell nobody. Under the bucket's lock.

    Database: one statement, an index scan of each segment's members.
    """
    wanted = sorted(segments)
    if wanted:
        cursor.execute(columns.on_leaves(COUNT, bucket), {"bucket": bucket, "day": today, "segments": wanted})
