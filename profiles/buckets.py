"""Classify one bucket for one run: the work behind a claim.

| mode        | when                                                       | reads                   | writes         |
|-------------|------------------------------------------------------------|-------------------------|----------------|
| report      | a backtest, or as_of is before the bucket's last one       | everybody               | the claim only |
| full        | not all of the bucket is judged by the run's rules, one of | everybody               | what differs   |
|             | them is broken, or the run asks for it                     |                         |                |
| incremental | otherwise                                                  | dirty, review_on ≤ as_of| what differs   |

The mode is settled when a claim is first begun. A full judgement by other rules takes the bucket's rule_version away
until its end: a bucket that was left half way is judged in full by the next run, whatever became of the claim.
While a rule is broken the bucket has no rule_version. A published rule is broken by what nobody told us of, and mended
the same way, with the same number: nothing else says whose class it decided, or will.
"""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import reset_queries

from profiles import claims
from profiles.chunks import CHUNK_SIZE, Writer
from profiles.claims import FULL, INCREMENTAL, REPORT, Claim
from profiles.judged import Judged, judge
from profiles.rules import Needs, RuleSet
from profiles.totals import Reader

if TYPE_CHECKING:
    from numpy.typing import NDArray

READ_STATE = "SELECT last_as_of, rule_version FROM bucket_states WHERE bucket = %s FOR UPDATE"
BEGIN_STATE = """
INSERT INTO bucket_states AS s (bucket, last_as_of, rule_version) VALUES (%s, %s, NULL)
ON CONFLICT (bucket) DO UPDATE SET last_as_of = GREATEST(s.last_as_of, excluded.last_as_of),
    rule_version = CASE WHEN s.rule_version = %s THEN s.rule_version END
"""


def begin(cursor: Any, claim: Claim, as_of: date, rule_set: RuleSet, *, full: bool) -> None:
    """Settle the mode of a claim that was just taken, and note in the bucket what is under way; once.

    Database: the home's, in the transaction that takes the claim.
    """
    if claim.mode and claim.total:
        return
    cursor.execute(READ_STATE, [claim.bucket])
    last_as_of, version = cursor.fetchone() or (None, None)
    if not claim.mode:
        claim.mode = _mode(as_of, last_as_of, differs=full or version is None or version != _judged_by(rule_set))
    if claim.mode != REPORT:
        cursor.execute(BEGIN_STATE, [claim.bucket, as_of, _judged_by(rule_set)])
    claim.total = _reader(claim, as_of, rule_set).count()
    claims.advance(cursor, claim)


def classify(claim: Claim, as_of: date, rule_set: RuleSet, *, on_progress: Callable[[], object]) -> None:
    """Do what is left of a claim, from its position to its end. Calls on_progress after each transaction.

    Database: the home's only. Memory: flat, a block at a time.
    Raises ClaimLostError, HomeUnavailableError, MissingFactError (our bug); what is committed stays, and is gone on
    from by whoever takes the claim next.
    """
    reader = _reader(claim, as_of, rule_set)
    compared = sorted({condition.key for condition in rule_set.conditions})
    writer = Writer(claim, as_of, rule_set.version, compared, judged_by=_judged_by(rule_set))
    is_last = False
    while not is_last:
        block = reader.read(claim.position)
        if block is None:
            writer.end()
            return
        is_last = block.is_last
        if settings.DEBUG:
            reset_queries()  # else Django keeps the text of every statement: a night's fill the memory
        judged = judge(block, rule_set, as_of)
        chunks = _chunks(judged) if claim.mode != REPORT else []
        for last, rows in chunks:
            writer.write(judged, rows, last=last, ends=is_last and last == block.last)
            on_progress()
        if claim.mode == REPORT:
            writer.report(judged, ends=is_last)
            on_progress()


def _reader(claim: Claim, as_of: date, rule_set: RuleSet) -> Reader:
    only_due = claim.mode == INCREMENTAL
    needs, settings = rule_set.needs, rule_set.settings.lifecycle
    # What judging itself finds out: the reader has no part in it.
    needs = Needs(needs.columns - {"lifecycle", "lifecycle_turns"})
    return Reader(
        claim.home, claim.bucket, as_of, needs, only_due=only_due, names=rule_set.profiles, lifecycle=settings
    )


def _judged_by(rule_set: RuleSet) -> int | None:
    """Return what a bucket that is judged in full by these rules is marked with; None for to be judged again."""
    return None if rule_set.broken else rule_set.version


def _mode(as_of: date, last_as_of: date | None, *, differs: bool) -> str:
    if last_as_of is not None and as_of < last_as_of:
        return REPORT
    return FULL if differs else INCREMENTAL


def _chunks(judged: Judged) -> "list[tuple[int, NDArray[Any]]]":
    """Return (position after it, rows to write) of each transaction; together they end at the block's end."""
    touched = judged.is_touched.nonzero()[0]
    parts = [touched[start : start + CHUNK_SIZE] for start in range(0, len(touched), CHUNK_SIZE)] or [touched]
    ids = judged.block.column["customer_id"]
    ends = [int(ids[part[-1]]) for part in parts[:-1]] + [judged.block.last]
    return list(zip(ends, parts, strict=True))
