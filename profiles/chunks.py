"""Write what a run found out about up to a thousand customers, in one transaction on their home.

    1  customers      class, lifecycle, figures, version; history of those whose class changes; in customer_id order
       facts          history of those whose lifecycle changes; not of the first one, which is no change
    2  reviews        the first day on which time alone may change a class or lifecycle
    3  marks          cleared where they are still the ones that were read
    4  counts         customers of a class in this bucket, by what has moved
    5  claim          how far the run is; a claim that is not ours any more rolls all of it back
    6  cache          what lookups keep of exactly these customers is deleted

Nobody is inserted: who has been erased meanwhile is left out of everything.
"""

import random
import time
from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Any

import structlog
from django.db import OperationalError

from customers.writing import drop_cached
from profiles import claims, columns
from profiles.claims import Claim
from profiles.judged import IN_HISTORY, SAMPLE, Judged, other_numbers
from profiles.totals import LIFECYCLE_CODES
from scrm import sharding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

logger = structlog.get_logger(__name__)

CHUNK_SIZE = 1000
# deadlock_detected, serialization_failure, lock_not_available: others were in the way.
TRY_AGAIN = {"40P01", "40001", "55P03"}
TRIES = 8

# A worker that is stopped in the middle holds its customers no longer than this; nobody waits for a lock so long that
# the claim seems silent. The plan is a nested loop over the given rows, so that rows are locked in their order, by
# customer_id, as other writers lock them (with a hash or a merge it would be the table's order).
SETTINGS = """
SELECT set_config('idle_in_transaction_session_timeout', '5s', true), set_config('lock_timeout', '5s', true),
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('enable_seqscan', 'off', true), set_config('enable_material', 'off', true)
"""
GIVEN = """unnest(%(ids)s::bigint[], %(before)s::int[], %(after)s::int[], %(positions)s::smallint[],
    %(purchases)s::int[], %(interactions)s::int[], %(cents)s::bigint[], %(purchased)s::bigint[],
    %(interacted)s::bigint[], %(lives)s::smallint[], %(reviews)s::int[], %(numbers)s::text[]) AS g (customer_id, before,
    after, position, purchases, interactions, cents, purchased, interacted, life, review, numbers)"""
TIME = "TIMESTAMPTZ '2000-01-01 00:00:00+00' + g.{} * interval '1 microsecond'"
WRITE = f"""
WITH written AS (
    UPDATE customers_@ AS c SET profile = (%(names)s::text[])[g.after], lifecycle = (%(lifecycles)s::text[])[g.life],
        profile_updated_at = CASE WHEN g.after <> g.before THEN now() ELSE c.profile_updated_at END,
        purchase_count = g.purchases, interaction_count = g.interactions,
        total_amount = (g.cents::numeric / 100)::numeric(16, 2),
        last_purchase_at = {TIME.format("purchased")}, last_interaction_at = {TIME.format("interacted")},
        version = c.version + 1, updated_at = now()
    FROM {GIVEN}
    WHERE c.customer_id = g.customer_id
    RETURNING c.customer_id, c.external_userid, c.total_amount, g.before, g.after, g.position, g.purchases,
        g.interactions, g.review, g.numbers
), reviews AS (
    INSERT INTO profile_reviews_@ AS v (customer_id, bucket, review_on)
    SELECT customer_id, %(bucket)s, DATE '2000-01-01' + review FROM written WHERE review IS NOT NULL
    ON CONFLICT (customer_id, bucket) DO UPDATE SET review_on = excluded.review_on
), history AS (
    INSERT INTO profile_history_@ (customer_id, bucket, run_id, as_of, at, from_profile, to_profile, rule_version,
        rule_position, purchase_count, interaction_count, total_amount, numbers)
    SELECT customer_id, %(bucket)s, %(run_id)s, %(as_of)s, now(), (%(names)s::text[])[before],
        (%(names)s::text[])[after], %(version)s, position, purchases, interactions, total_amount, numbers::jsonb
    FROM written WHERE after <> before
)
SELECT external_userid, before, after FROM written
"""  # noqa: S608 - made of constants
FACTS = """
INSERT INTO fact_history_@ (customer_id, bucket, fact, run_id, as_of, at, before, after, numbers)
SELECT c.customer_id, c.bucket, 'lifecycle', %(run_id)s, %(as_of)s, now(), (%(lifecycles)s::text[])[g.before],
    (%(lifecycles)s::text[])[g.after], jsonb_strip_nulls(jsonb_build_object('first_day', DATE '2000-01-01' + g.begun,
    'last_day', DATE '2000-01-01' + g.last_day, 'returned_on', DATE '2000-01-01' + g.back))
FROM unnest(%(ids)s::bigint[], %(before)s::smallint[], %(after)s::smallint[], %(begun)s::int[], %(last_day)s::int[],
    %(back)s::int[]) AS g (customer_id, before, after, begun, last_day, back)
JOIN customers_@ c ON c.customer_id = g.customer_id
FOR KEY SHARE OF c
"""
# Of those who are not written: of the others it is WRITE that does it, who have been found and locked by it.
SET_REVIEWS = """
INSERT INTO profile_reviews_@ AS v (customer_id, bucket, review_on)
SELECT c.customer_id, c.bucket, DATE '2000-01-01' + g.day
FROM unnest(%(ids)s::bigint[], %(days)s::int[]) AS g (customer_id, day)
JOIN customers_@ c ON c.customer_id = g.customer_id
FOR KEY SHARE OF c
ON CONFLICT (customer_id, bucket) DO UPDATE SET review_on = excluded.review_on
"""
DROP_REVIEWS = """
DELETE FROM profile_reviews_@ AS v USING unnest(%(ids)s::bigint[]) AS g (customer_id)
WHERE v.customer_id = g.customer_id
"""
CLEAR_MARKS = """
DELETE FROM dirty_customers_@ AS d USING unnest(%(ids)s::bigint[], %(marks)s::bigint[]) AS g (customer_id, mark)
WHERE d.customer_id = g.customer_id AND d.mark = g.mark
"""
COUNT = """
INSERT INTO profile_counts AS c (bucket, profile, customers)
SELECT %(bucket)s, profile, delta FROM unnest(%(profiles)s::text[], %(deltas)s::bigint[]) AS g (profile, delta)
ORDER BY profile
ON CONFLICT (bucket, profile) DO UPDATE SET customers = c.customers + excluded.customers
"""


class Writer:
    """Writes the blocks of one claim. as_of and version are those of its run; keys are the facts that rules read.

    judged_by: what a bucket is marked with at the end of a full judgement.
    """

    def __init__(self, claim: Claim, as_of: date, version: int, keys: list[str], *, judged_by: int | None) -> None:
        self.claim, self.as_of, self.version, self.judged_by = claim, as_of, version, judged_by
        self.keys = [key for key in keys if key not in IN_HISTORY]

    def write(self, judged: Judged, rows: "Column", *, last: int, ends: bool) -> None:
        """Write some rows of a judged block and bring the claim to position `last`, in one transaction.

        Customers up to `last` count as judged, whether anything is written of them or not. ends: nobody is left.
        Raises ClaimLostError, HomeUnavailableError; nothing has been written then. Deadlocks are tried again.
        """
        for attempt in range(TRIES):
            before = _progress(self.claim)
            try:
                with sharding.atomic_home(self.claim.home), sharding.cursor(self.claim.home) as cursor:
                    cursor.execute(SETTINGS)
                    self._write(cursor, judged, rows, last, ends=ends)
                return
            except BaseException as error:
                _restore(self.claim, before)
                state = claims.sqlstate(error) if isinstance(error, OperationalError) else ""
                if state not in TRY_AGAIN or attempt == TRIES - 1:
                    raise
            logger.info("chunk_tried_again", home=self.claim.home, bucket=self.claim.bucket, sqlstate=state)
            time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - to part two who met
            self._advance(ends=False)

    def report(self, judged: Judged, *, ends: bool) -> None:
        """Count what would become of a block, and write only that. Raises ClaimLostError, HomeUnavailableError."""
        self._get_on(judged, judged.block.last)
        self.claim.changed += int(judged.moves.sum())
        self.claim.moves.update(judged.moved())
        for move, ids in judged.samples().items():
            known = self.claim.samples.setdefault(move, [])
            known += ids[: SAMPLE - len(known)]
        self._advance(ends=ends)

    def end(self) -> None:
        """Mark the claim as done. Raises ClaimLostError, HomeUnavailableError."""
        self._advance(ends=True)

    def _advance(self, *, ends: bool) -> None:
        with sharding.atomic_home(self.claim.home), sharding.cursor(self.claim.home) as cursor:
            self._store(cursor, ends=ends)

    def _store(self, cursor: Any, *, ends: bool) -> None:
        if ends and self.claim.mode == claims.FULL:
            cursor.execute(
                "UPDATE bucket_states SET rule_version = %s WHERE bucket = %s", [self.judged_by, self.claim.bucket]
            )
        claims.advance(cursor, self.claim, ends=ends)

    def _write(self, cursor: Any, judged: Judged, rows: "Column", last: int, *, ends: bool) -> None:
        written = rows[judged.is_written[rows]]
        names = self._write_customers(cursor, judged, written) if len(written) else []
        turned = rows[judged.turns[rows] & (judged.block.column["lifecycle"][rows] > 0)]
        if len(turned):
            self._write_facts(cursor, judged, turned)
        self._write_reviews(cursor, judged, rows[judged.is_reviewed[rows]])
        cleared = rows[judged.is_cleared[rows]]
        if len(cleared):
            marks = columns.array(judged.block.column["mark"][cleared])
            cursor.execute(self._on_leaves(CLEAR_MARKS), {**self._ids(judged, cleared), "marks": marks})
        self._get_on(judged, last)
        self._store(cursor, ends=ends)
        drop_cached(self.claim.home, names)

    def _get_on(self, judged: Judged, last: int) -> None:
        import numpy as np

        ids = judged.block.column["customer_id"]
        span = slice(*np.searchsorted(ids, [self.claim.position, last], side="right").tolist())
        self.claim.judged += span.stop - span.start
        self.claim.classes.update(judged.classes(span))
        self.claim.position = last

    def _on_leaves(self, sql: str) -> str:
        return columns.on_leaves(sql, self.claim.bucket)

    def _ids(self, judged: Judged, rows: "Column") -> dict[str, Any]:
        return {"bucket": self.claim.bucket, "ids": columns.array(judged.block.column["customer_id"][rows])}

    def _write_customers(self, cursor: Any, judged: Judged, rows: "Column") -> list[str]:
        import numpy as np

        column, moves = judged.block.column, judged.moves[rows]
        reviews = np.where(judged.is_reviewed[rows], judged.review_on[rows], columns.NO_DAY)
        numbers: list[str | None] | None = None
        if self.keys and moves.any():
            numbers = [None] * len(rows)
            texts = other_numbers(judged.block, rows[moves], self.keys)
            for place, text in zip(moves.nonzero()[0].tolist(), texts, strict=True):
                numbers[place] = text
        cursor.execute(
            self._on_leaves(WRITE),
            {
                **self._ids(judged, rows),
                "names": judged.block.names,
                "before": columns.array(column["profile"][rows]),
                "after": columns.array(judged.after[rows]),
                "positions": columns.array(judged.position[rows]),
                "purchases": columns.array(column["purchase_count"][rows]),
                "interactions": columns.array(column["interaction_count"][rows]),
                "cents": columns.array(column["total_amount"][rows]),
                "purchased": columns.array(column["last_purchase_at"][rows], null=columns.NO_TIME),
                "interacted": columns.array(column["last_interaction_at"][rows], null=columns.NO_TIME),
                "lives": columns.array(judged.lifecycle[rows]),
                "lifecycles": LIFECYCLE_CODES,
                "reviews": columns.array(reviews, null=columns.NO_DAY),
                "numbers": numbers or "{}",
                "run_id": self.claim.run_id,
                "as_of": self.as_of,
                "version": self.version,
            },
        )
        found = cursor.fetchall()
        self.claim.updated += len(found)
        self._count(cursor, judged, Counter((before, after) for _, before, after in found if before != after))
        return [external_userid for external_userid, _, _ in found]

    def _write_facts(self, cursor: Any, judged: Judged, rows: "Column") -> None:
        column = judged.block.column
        days = {name: columns.array(column[name][rows], null=columns.NO_DAY) for name in ("begun", "last_day", "back")}
        cursor.execute(
            self._on_leaves(FACTS),
            {
                **self._ids(judged, rows),
                **days,
                "before": columns.array(column["lifecycle"][rows]),
                "after": columns.array(judged.lifecycle[rows]),
                "lifecycles": LIFECYCLE_CODES,
                "run_id": self.claim.run_id,
                "as_of": self.as_of,
            },
        )

    def _count(self, cursor: Any, judged: Judged, moves: Counter[tuple[int, int]]) -> None:
        if not moves:
            return
        names = [None, *judged.block.names]
        deltas: Counter[str] = Counter()
        for (before, after), customers in moves.items():
            left, joined = names[before], str(names[after])
            self.claim.moves[left, joined] += customers
            deltas[joined] += customers
            if left is not None:
                deltas[left] -= customers
        self.claim.changed += moves.total()
        profiles, numbers = list(deltas), columns.array(list(deltas.values()))
        cursor.execute(COUNT, {"bucket": self.claim.bucket, "profiles": profiles, "deltas": numbers})

    def _write_reviews(self, cursor: Any, judged: Judged, rows: "Column") -> None:
        never = judged.review_on[rows] == columns.NO_DAY
        kept = rows[~never & ~judged.is_written[rows]]
        if len(kept):
            days = columns.array(judged.review_on[kept])
            cursor.execute(self._on_leaves(SET_REVIEWS), {**self._ids(judged, kept), "days": days})
        if never.any():
            cursor.execute(self._on_leaves(DROP_REVIEWS), self._ids(judged, rows[never]))


def _progress(claim: Claim) -> tuple[Any, ...]:
    return claim.position, claim.judged, claim.changed, claim.updated, Counter(claim.moves), Counter(claim.classes)


def _restore(claim: Claim, progress: tuple[Any, ...]) -> None:
    claim.position, claim.judged, claim.changed, claim.updated, claim.moves, claim.classes = progress
