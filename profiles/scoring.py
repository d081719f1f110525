"""Phase 2 of a run, over one bucket: RFM, value and loss warning of each buyer, written where they differ.

    who                               what becomes of their row in customer_scores
    purchases left as of the run's    RFM by the run's thresholds, value by its model, a warning by both or by the
    day                               customer's own rhythm
    none left (all refunded)          deleted

What the run could not find out stays as it was: all of the value without a model of purchases, expected_amount without
one of spend, RFM without thresholds (of a home that was down during the fit, where scores are by home; or when those
that were up had no buyers). Figures are
rounded (percent, hundredths of a purchase, whole yuan), so that a night writes only those to whom something happened.

Written in transactions of up to a thousand customers in order of their ids: score, history of rfm_segment (not of the
first one) and loss_warning, claim. Nobody is inserted: who has been erased meanwhile is left out. Lookups do not show
scores, so nothing in the cache changes.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from django.conf import settings
from django.db import OperationalError, reset_queries

from profiles import buyers, claims, columns, rfm
from profiles.buyers import Buyers
from profiles.claims import Claim
from profiles.models import ProfileRun
from profiles.rules.settings import COMPANY, HOME
from profiles.value import DAYS_PER_UNIT, bgnbd, gamma_gamma, warnings
from scrm import sharding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

logger = structlog.get_logger(__name__)

CHUNK_SIZE = 1000
# deadlock_detected, serialization_failure, lock_not_available: others were in the way.
TRY_AGAIN = {"40P01", "40001", "55P03"}
TRIES = 8
END = 2**63 - 1
# Stands for null in columns of whole numbers.
NONE = -1
# What a score is of. purchases and amount in hundredths; segment a place in rfm.BY_BITS, warning in warnings.CODES.
RFM = ("recency", "frequency", "monetary", "segment")
VALUE = ("alive", "purchases")
SCORE = (*RFM, *VALUE, "amount", "warning")
# Gone for good, as far as a warning is concerned.
GONE = ("dormant", "lost")

COUNT = "SELECT count(*) FROM running_totals_@ WHERE purchase_days > 0"
STORED = f"""
SELECT s.customer_id, COALESCE(s.recency_score, {NONE}), COALESCE(s.frequency_score, {NONE}),
    COALESCE(s.monetary_score, {NONE}), COALESCE(array_position(%(segments)s::text[], s.rfm_segment) - 1, {NONE}),
    COALESCE(s.alive_percent, {NONE}), COALESCE((s.expected_purchases * 100)::bigint, {NONE}),
    COALESCE((s.expected_amount * 100)::bigint, {NONE}),
    COALESCE(array_position(%(warnings)s::text[], s.loss_warning), 1) - 1
FROM customer_scores_@ s WHERE s.customer_id > %(after)s AND s.customer_id <= %(last)s ORDER BY s.customer_id
"""  # noqa: S608 - made of constants
STORED_LAYOUT = {
    "customer_id": "bigint", "recency": "int", "frequency": "int", "monetary": "int", "segment": "int",
    "alive": "int", "purchases": "bigint", "amount": "bigint", "warning": "int",
}  # fmt: skip
LEAVING = """
SELECT c.customer_id FROM customers_@ c
WHERE c.customer_id > %(after)s AND c.customer_id <= %(last)s AND c.lifecycle = ANY(%(gone)s::text[])
ORDER BY c.customer_id
"""

# As chunks.SETTINGS: who is stopped in the middle holds nobody long, and rows are taken in their order.
SETTINGS = """
SELECT set_config('idle_in_transaction_session_timeout', '5s', true), set_config('lock_timeout', '5s', true),
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('enable_seqscan', 'off', true), set_config('enable_material', 'off', true)
"""
WRITE = """
WITH written AS (
    INSERT INTO customer_scores_@ AS s (customer_id, bucket, run_id, recency_score, frequency_score, monetary_score,
        rfm_segment, alive_percent, expected_purchases, expected_amount, loss_warning)
    SELECT c.customer_id, c.bucket, %(run_id)s, g.recency, g.frequency, g.monetary,
        COALESCE((%(segments)s::text[])[g.segment + 1], ''), g.alive, g.purchases::numeric / 100,
        g.amount::numeric / 100, (%(warnings)s::text[])[g.warning + 1]
    FROM unnest(%(ids)s::bigint[], %(recency)s::smallint[], %(frequency)s::smallint[], %(monetary)s::smallint[],
        %(segment)s::int[], %(alive)s::smallint[], %(purchases)s::bigint[], %(amount)s::bigint[], %(warning)s::int[])
        AS g (customer_id, recency, frequency, monetary, segment, alive, purchases, amount, warning)
    JOIN customers_@ c ON c.customer_id = g.customer_id
    FOR KEY SHARE OF c
    ON CONFLICT (customer_id, bucket) DO UPDATE SET run_id = excluded.run_id, recency_score = excluded.recency_score,
        frequency_score = excluded.frequency_score, monetary_score = excluded.monetary_score,
        rfm_segment = excluded.rfm_segment, alive_percent = excluded.alive_percent,
        expected_purchases = excluded.expected_purchases, expected_amount = excluded.expected_amount,
        loss_warning = excluded.loss_warning
    RETURNING customer_id
)
SELECT count(*) FROM written
"""
# After WRITE, in its transaction, of those whose segment or warning has changed: who is there is held by it.
HISTORY = """
INSERT INTO fact_history_@ (customer_id, bucket, fact, run_id, as_of, at, before, after, numbers)
SELECT c.customer_id, c.bucket, fact.name, %(run_id)s, %(as_of)s, now(), fact.before, fact.after, g.numbers::jsonb
FROM unnest(%(ids)s::bigint[], %(segment)s::int[], %(warning)s::int[], %(old_segment)s::int[], %(old_warning)s::int[],
    %(numbers)s::text[]) AS g (customer_id, segment, warning, old_segment, old_warning, numbers)
JOIN customers_@ c ON c.customer_id = g.customer_id
CROSS JOIN LATERAL (VALUES
    ('rfm_segment', (%(segments)s::text[])[g.old_segment + 1], (%(segments)s::text[])[g.segment + 1]),
    ('loss_warning', NULLIF((%(warnings)s::text[])[g.old_warning + 1], ''),
        NULLIF((%(warnings)s::text[])[g.warning + 1], ''))
) AS fact (name, before, after)
WHERE fact.before IS DISTINCT FROM fact.after AND (fact.name = 'loss_warning' OR fact.before IS NOT NULL)
ON CONFLICT DO NOTHING
"""
DROP = """
WITH dropped AS (
    DELETE FROM customer_scores_@ s USING unnest(%(ids)s::bigint[]) AS g (customer_id)
    WHERE s.customer_id = g.customer_id
    RETURNING s.customer_id, s.rfm_segment, s.loss_warning
), history AS (
    INSERT INTO fact_history_@ (customer_id, bucket, fact, run_id, as_of, at, before, after)
    SELECT d.customer_id, %(bucket)s, fact.name, %(run_id)s, %(as_of)s, now(), fact.before, NULL
    FROM dropped d CROSS JOIN LATERAL (VALUES ('rfm_segment', d.rfm_segment), ('loss_warning', d.loss_warning))
        AS fact (name, before)
    WHERE fact.before <> ''
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM dropped
"""


class Scorer:
    """Scores blocks of buyers of a home by what a run has found out."""

    def __init__(self, run: ProfileRun, home: int) -> None:
        self.as_of = run.as_of
        found, model = run.rfm or {}, run.value_model or {}
        mine = found.get(str(home) if found.get("scope") == HOME else COMPANY)
        # Of nobody there are none to reach: who has come since, with a home that is back, is not among the worst.
        self.thresholds = rfm.Thresholds.from_json(mine) if mine and mine["customers"] else None
        self.horizon = float(model.get("horizon_days", 0)) / DAYS_PER_UNIT
        self.purchases = bgnbd.Model(*(model[name] for name in ("r", "alpha", "a", "b"))) if "r" in model else None
        self.spend = gamma_gamma.Model(*(model[name] for name in ("p", "q", "gamma"))) if "p" in model else None

    def score(self, bought: "dict[str, Column]", stored: "dict[str, Column]", is_gone: "Column") -> "dict[str, Column]":
        """Return the scores of buyers. stored: what they have now, which stays where there is nothing better."""
        import numpy as np

        today = columns.day_number(self.as_of)
        scores = {name: stored[name].copy() for name in SCORE}
        if self.thresholds is not None:
            scores["recency"] = rfm.scores(today - bought["last"], self.thresholds.recency, fewer_is_better=True)
            scores["frequency"] = rfm.scores(bought["purchases"], self.thresholds.frequency)
            scores["monetary"] = rfm.scores(bought["amount"], self.thresholds.monetary)
            scores["segment"] = rfm.segments(scores["recency"], scores["frequency"], scores["monetary"])
        x, active = bought["days"] - 1, bought["last"] - bought["first"]
        silent = today - 1 - bought["last"]
        if self.purchases is not None:
            self._foretell(scores, x, active, active + silent, bought["repeat_amount"])
        alive = scores["alive"] if self.purchases is not None else None
        scores["warning"] = warnings.warn(x, active, silent, is_gone=is_gone, alive_percent=alive).astype(np.int64)
        return scores

    def _foretell(
        self, scores: "dict[str, Column]", x: "Column", active: "Column", age: "Column", spent: "Column"
    ) -> None:
        import numpy as np

        assert self.purchases is not None
        weeks = x, active / DAYS_PER_UNIT, age / DAYS_PER_UNIT
        scores["alive"] = np.rint(self.purchases.alive(*weeks) * 100).astype(np.int64)
        expected = self.purchases.expected(self.horizon, *weeks)
        scores["purchases"] = np.rint(np.minimum(expected, 9_999) * 100).astype(np.int64)
        if self.spend is not None:
            mean = self.spend.expected(x, np.maximum(spent, 0) / 100 / np.maximum(x, 1))
            scores["amount"] = np.rint(np.minimum(expected * mean, 1e11)).astype(np.int64) * 100


def score(claim: Claim, run: ProfileRun, on_progress: Callable[[], object]) -> None:
    """Score what is left of a claim, from its position to its end. Calls on_progress after each transaction.

    Database: the home's only, three COPYs a block. Memory: flat, a block at a time.
    Raises ClaimLostError, HomeUnavailableError; what is committed stays, and whoever takes the claim next goes on.
    """
    scorer = Scorer(run, claim.home)
    if scorer.thresholds is None and run.value_model is None:  # the fit failed: everything stays
        _advance(claim, claim.position, ends=True)
        return
    if not claim.tally["total"]:
        with sharding.cursor(claim.home) as cursor:
            cursor.execute(columns.on_leaves(COUNT, claim.bucket))
            claim.tally["total"] = cursor.fetchone()[0]
    is_last = False
    while not is_last:
        block = buyers.read(claim.home, claim.bucket, run.as_of, claim.position)
        is_last = block.is_last
        if settings.DEBUG:
            reset_queries()  # else Django keeps the text of every statement
        writer = _Writer(claim, run, scorer, block)
        for last, rows in writer.chunks():
            writer.write(rows, last, ends=is_last and last == block.last_id)
            on_progress()


class _Writer:
    """Writes what differs of one block."""

    def __init__(self, claim: Claim, run: ProfileRun, scorer: Scorer, block: Buyers) -> None:
        import numpy as np

        self.claim, self.run_id, self.as_of, self.block = claim, run.pk, run.as_of, block
        has_bought = block.column["purchases"] > 0
        self.bought = block.where(has_bought)
        self.ids = self.bought["customer_id"]
        span = {"after": claim.position, "last": END if block.is_last else block.last_id}
        names = {"segments": list(rfm.BY_BITS), "warnings": list(warnings.CODES), "gone": list(GONE)}
        stored = columns.read(claim.home, columns.on_leaves(STORED, claim.bucket), {**span, **names}, STORED_LAYOUT)
        gone = columns.read(
            claim.home, columns.on_leaves(LEAVING, claim.bucket), {**span, **names}, {"customer_id": "bigint"}
        )
        place = np.searchsorted(self.ids, stored["customer_id"])
        there = np.zeros(len(place), bool)
        within = place < len(self.ids)
        there[within] = self.ids[place[within]] == stored["customer_id"][within]
        self.dropped = stored["customer_id"][~there]
        self.before: dict[str, Any] = {}
        for name in SCORE:
            self.before[name] = np.full(len(self.ids), 0 if name == "warning" else NONE, dtype=np.int64)
            self.before[name][place[there]] = stored[name][there]
        self.is_new = np.ones(len(self.ids), bool)
        self.is_new[place[there]] = False
        self.after = scorer.score(self.bought, self.before, np.isin(self.ids, gone["customer_id"]))
        differs = self.is_new.copy()
        for name in SCORE:
            differs |= self.before[name] != self.after[name]
        self.differing = np.flatnonzero(differs)

    def chunks(self) -> "list[tuple[int, Column]]":
        """Return (position after it, rows to write) of each transaction; together they end at the block's end."""
        rows = self.differing
        parts = [rows[start : start + CHUNK_SIZE] for start in range(0, len(rows), CHUNK_SIZE)] or [rows]
        ends = [int(self.ids[part[-1]]) for part in parts[:-1]] + [self.block.last_id]
        return list(zip(ends, parts, strict=True))

    def write(self, rows: "Column", last: int, *, ends: bool) -> None:
        """Write some rows, and bring the claim to position `last`, in one transaction. Deadlocks are tried again."""
        for attempt in range(TRIES):
            before = self.claim.position, dict(self.claim.tally)
            try:
                with sharding.atomic_home(self.claim.home), sharding.cursor(self.claim.home) as cursor:
                    cursor.execute(SETTINGS)
                    self._write(cursor, rows, last, ends=ends)
                return
            except BaseException as error:
                self.claim.position, self.claim.phases[str(self.claim.phase)] = before
                state = claims.sqlstate(error) if isinstance(error, OperationalError) else ""
                if state not in TRY_AGAIN or attempt == TRIES - 1:
                    raise
            logger.info("scores_tried_again", home=self.claim.home, bucket=self.claim.bucket, sqlstate=state)
            time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - to part two who met
            _advance(self.claim, self.claim.position, ends=False)

    def _write(self, cursor: Any, rows: "Column", last: int, *, ends: bool) -> None:
        tally = self.claim.tally
        about = {"bucket": self.claim.bucket, "run_id": self.run_id, "as_of": self.as_of}
        end = END if ends else last
        dropped = self.dropped[(self.dropped > self.claim.position) & (self.dropped <= end)]
        if len(dropped):
            cursor.execute(columns.on_leaves(DROP, self.claim.bucket), {**about, "ids": columns.array(dropped)})
            tally["written"] += cursor.fetchone()[0]
        if len(rows):
            cursor.execute(columns.on_leaves(WRITE, self.claim.bucket), {**about, **self._values(rows, SCORE)})
            tally["written"] += cursor.fetchone()[0]
            self._write_history(cursor, about, rows)
        ids = self.block.column["customer_id"]
        tally["done"] += int(((ids > self.claim.position) & (ids <= last)).sum())
        self.claim.position = last
        claims.advance(cursor, self.claim, ends=ends)

    def _write_history(self, cursor: Any, about: dict[str, Any], rows: "Column") -> None:
        before, after = self.before, self.after
        # A first segment is no change: a first night would write a row of history for every buyer.
        moved = (before["segment"] != NONE) & (before["segment"] != after["segment"])
        moved |= before["warning"] != after["warning"]
        rows = rows[moved[rows]]
        if not len(rows):
            return
        values = self._values(rows, ("segment", "warning")) | {
            "old_segment": columns.array(before["segment"][rows], null=NONE),
            "old_warning": columns.array(before["warning"][rows]),
            "numbers": [self._numbers(row) for row in rows.tolist()],
        }
        cursor.execute(columns.on_leaves(HISTORY, self.claim.bucket), {**about, **values})

    def _values(self, rows: "Column", names: Sequence[str]) -> dict[str, Any]:
        values: dict[str, Any] = {
            name: columns.array(self.after[name][rows], null=None if name == "warning" else NONE) for name in names
        }
        return values | {
            "ids": columns.array(self.ids[rows]),
            "segments": list(rfm.BY_BITS),
            "warnings": list(warnings.CODES),
        }

    def _numbers(self, row: int) -> str:
        """Return what decided about a buyer's facts, as JSON."""
        after, bought = self.after, self.bought
        cents = int(bought["amount"][row])
        numbers = {
            "recency": columns.day_number(self.as_of) - int(bought["last"][row]),
            "frequency": int(bought["purchases"][row]),
            "monetary": f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}",
            "scores": [int(after[name][row]) for name in RFM[:3]] if after["segment"][row] != NONE else None,
            "alive_percent": int(after["alive"][row]) if after["alive"][row] != NONE else None,
        }
        return orjson.dumps(numbers).decode()


def _advance(claim: Claim, position: int, *, ends: bool) -> None:
    claim.position = position
    with sharding.atomic_home(claim.home), sharding.cursor(claim.home) as cursor:
        claims.advance(cursor, claim, ends=ends)
