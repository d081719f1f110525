"""Phase 3 of a run, over one bucket: who is in which segment, and what to do next about whom.

    for each block of customers, in one transaction on their home:
        lock the bucket's memberships        what is read from here on, nobody judges by something older
        read what is in use, and the facts   profiles.facts
        each part judges whole columns, and writes what differs
        the claim gets to the block's last customer

A part without anything in use costs nothing. Everybody is judged, not only who is dirty: windows move with the days,
and scores of the phase before may be anybody's. What the night costs for it is in docs/profiles.md.
"""

import random
import time
from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import IntegrityError, OperationalError, reset_queries
from django.utils import timezone

from profiles import claims
from profiles.claims import Claim
from profiles.days import day_of
from profiles.facts import FactReader
from profiles.models import ProfileRun
from profiles.parts import do_parts, needs_of
from profiles.recommendations.part import RecommendationPart
from profiles.segments import counting
from profiles.segments.part import SegmentPart, as_of_now
from profiles.segments.writing import count_members, lock_bucket
from scrm import sharding

logger = structlog.get_logger(__name__)

# A block is one transaction: some 100 ms, for which refreshes of single customers of the bucket wait.
BLOCK_SIZE = 5_000
# deadlock_detected, serialization_failure, lock_not_available: others were in the way. unique_violation: somebody took
# a decision back just when the rule suggested anew; what is read the next time has it.
TRY_AGAIN = {"40P01", "40001", "55P03", "23505"}
TRIES = 8


def act(claim: Claim, run: ProfileRun, on_progress: Callable[[], object]) -> None:
    """Do what is left of a claim's third phase, from its position to its end.

    Database: the home's, one transaction for each block of customers; control, two queries for each.
    Raises ClaimLostError, HomeUnavailableError; what is committed stays, and is gone on from by whoever is next.
    """
    segments = SegmentPart(run, claim.home, claim.bucket)
    suggestions = RecommendationPart(run, claim.home, claim.bucket)
    ended = False
    while not ended:
        ended = _try_block(claim, segments, suggestions)
        if settings.DEBUG:
            reset_queries()  # else Django keeps the text of every statement: a night's fill the memory
        on_progress()
    counting.note_broken(segments.broken, segments.plan)
    counting.store_counts([claim.home])


def _try_block(claim: Claim, segments: SegmentPart, suggestions: RecommendationPart) -> bool:
    """Do the next block, again where others were in the way. Returns whether nobody is left."""
    for attempt in range(TRIES):
        position, tally = claim.position, dict(claim.tally)
        try:
            return _do_block(claim, segments, suggestions)
        except BaseException as error:
            claim.position = position
            claim.tally.update(tally)
            state = claims.sqlstate(error) if isinstance(error, OperationalError | IntegrityError) else ""
            if state not in TRY_AGAIN or attempt == TRIES - 1:
                raise
        logger.info("block_tried_again", home=claim.home, bucket=claim.bucket, sqlstate=state)
        time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - to part two who met
        with sharding.atomic_home(claim.home), sharding.cursor(claim.home) as cursor:
            claims.advance(cursor, claim)
    raise AssertionError


def _do_block(claim: Claim, segments: SegmentPart, suggestions: RecommendationPart) -> bool:
    with sharding.atomic_home(claim.home), sharding.cursor(claim.home) as cursor:
        lock_bucket(cursor, claim.bucket)
        segments.reload()
        suggestions.reload()
        active = [part for part in (segments, suggestions) if part.is_active]
        reader = FactReader(claim.home, claim.bucket, as_of_now(), needs_of(active))
        if not claim.tally["total"]:
            claim.tally["total"] = reader.count()
        picked = reader.pick(claim.position, BLOCK_SIZE) if active else None
        if picked is not None:
            block = reader.read_picked(picked)
            claim.tally["written"] += do_parts(cursor, active, block)
            claim.position = picked.last
            claim.tally["done"] += len(block)
        is_last = picked is None or picked.is_last
        if is_last:
            count_members(cursor, claim.bucket, segments.known, today=day_of(timezone.now()))
        claims.advance(cursor, claim, ends=is_last)
        return is_last
