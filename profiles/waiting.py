"""Fold in what has been waiting for an identity, once somebody claims it.

    fresh claims    ──►  waiting behaviours of their identities  ──►  recorded, purchases before refunds  ──►  deleted
    (identities.is_fresh)                                             refused: kept with the reason
                                                                      department down, busy: left for the next time

A chore of the keeper, cheap when nothing is fresh. Each step may be repeated: what was recorded before a crash is a
duplicate the next time. A claim stays fresh while anything of its identity is left, and becomes fresh again when a
behaviour begins to wait for it at the same moment (profiles.behaviours.keeping).
"""

import time
from collections.abc import Collection, Iterator
from datetime import datetime

import structlog
from django.db import connection, transaction
from django.utils import timezone

from customers import erasure, identities
from customers.identity_kinds import Pair
from profiles.behaviours import Recorded
from profiles.behaviours.keeping import kept_contents
from profiles.behaviours.recording import record_contents
from profiles.models import WaitingBehaviour

logger = structlog.get_logger(__name__)

CLAIMS = 5_000
PAGE = 1_000
EXPIRED_PAGE = 5_000
# A chore that runs for a minute is taken to hang.
PATIENCE_SECONDS = 30
# What a repeat may mend, and who is gone or going: their behaviours stay until they are erased or expire.
LATER = frozenset({"department_unavailable", "busy"})
GONE = frozenset({"unknown_customer", "erasure_in_progress", "erased"})

WAITED_FOR = """
SELECT kind, digest FROM unnest(%s::text[], %s::bytea[]) AS asked (kind, digest)
WHERE EXISTS (SELECT 1 FROM waiting_behaviours w
              WHERE w.identity_kind = asked.kind AND w.identity_digest = asked.digest AND w.refused = '')
"""
WAITING = """
SELECT w.id, w.source, w.event_id, w.identity_kind, w.identity_digest, w.content_hash, w.contents
FROM unnest(%s::text[], %s::bytea[]) AS asked (kind, digest)
JOIN waiting_behaviours w ON w.identity_kind = asked.kind AND w.identity_digest = asked.digest
WHERE w.id > %s AND w.refused = '' AND (w.contents->>'kind' = 'refund') = %s
ORDER BY w.id LIMIT %s
"""
RETRY = """
UPDATE waiting_behaviours SET refused = '' WHERE refused = 'unknown_purchase' RETURNING identity_kind, identity_digest
"""


def fold_waiting() -> int:
    """Record what waits for identities that somebody claims now. Returns how many behaviours waited no longer.

    Database: one query on control when no claim is fresh; else some for 5 000 claims, and those of recording.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    folded = after = 0
    while time.monotonic() < until:
        fresh = identities.list_fresh(after=after, limit=CLAIMS)
        if not fresh:
            break
        after = fresh[-1].id
        count, left = _fold({one.pair for one in fresh}, until)
        folded += count
        identities.settle_fresh([one for one in fresh if one.pair not in left])
    return folded


def _fold(pairs: Collection[Pair], until: float) -> tuple[int, set[Pair]]:
    """Record what waits for these. Returns (how many, the identities of which something is left for later)."""
    wanted = _waited_for(pairs)
    names = {pair: who for pair, who in identities.resolve(wanted).items() if who is not None} if wanted else {}
    folded, left = 0, set[Pair]()
    for is_refund in (False, True):
        for page in _pages(names, left, is_refund=is_refund):
            folded += _record(page, names, left)
            if time.monotonic() > until:
                return folded, set(names)
    return folded, left


def _waited_for(pairs: Collection[Pair]) -> list[Pair]:
    with connection.cursor() as cursor:
        cursor.execute(WAITED_FOR, _columns(pairs))
        return [(kind, bytes(digest)) for kind, digest in cursor.fetchall()]


def _columns(pairs: Collection[Pair]) -> list[list[str] | list[bytes]]:
    return [[kind for kind, _ in pairs], [digest for _, digest in pairs]]


def _pages(names: dict[Pair, str], left: set[Pair], *, is_refund: bool) -> Iterator[list[WaitingBehaviour]]:
    """Yield what waits, without those of which something was left: a refund must not come before its purchase."""
    after = 0
    while True:
        pairs = [pair for pair in names if pair not in left]
        if not pairs:
            return
        rows = list(WaitingBehaviour.objects.raw(WAITING, [*_columns(pairs), after, is_refund, PAGE]))
        if not rows:
            return
        yield rows
        after = rows[-1].id


def _record(page: list[WaitingBehaviour], names: dict[Pair, str], left: set[Pair]) -> int:
    """Record a page of what waits, source by source. Returns how many wait no longer; adds to `left`."""
    settled: list[int] = []
    for source in sorted({row.source for row in page}):
        rows = [row for row in page if row.source == source]
        done = Recorded()
        contents = [
            kept_contents(place, names[_pair(row)], row.event_id, bytes(row.content_hash), row.contents)
            for place, row in enumerate(rows)
        ]
        record_contents(contents, done, source=source, now=timezone.now())
        codes = {rejection.index: rejection.code for rejection in done.rejected}
        left.update(_pair(rows[place]) for place, code in codes.items() if code in LATER)
        refused = {place: code for place, code in codes.items() if code not in LATER | GONE}
        for code in sorted(set(refused.values())):
            ids = [rows[place].id for place, why in refused.items() if why == code]
            WaitingBehaviour.objects.filter(id__in=ids).update(refused=code)
            logger.warning("waiting_behaviours_refused", source=source, code=code, behaviours=len(ids))
        settled += [row.id for place, row in enumerate(rows) if place not in codes]
    WaitingBehaviour.objects.filter(id__in=settled).delete()
    return len(settled)


def retry_refunds() -> int:
    """Have refunds tried again whose purchase was not there: it may have come since, or under another identity.

    Returns how many. Database: control; one statement, and one more if there are any.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(RETRY)
        pairs = [(kind, bytes(digest)) for kind, digest in cursor.fetchall()]
        identities.freshen(set(pairs))
    return len(pairs)


def _pair(row: WaitingBehaviour) -> Pair:
    return row.identity_kind, bytes(row.identity_digest)


def delete_expired(now: datetime | None = None) -> int:
    """Delete what nobody has claimed in 90 days. Returns how many. Database: control, in pages of 5 000."""
    deleted = 0
    while True:
        expired = WaitingBehaviour.objects.filter(expires_at__lte=now or timezone.now()).order_by("expires_at")
        ids = list(expired.values_list("id", flat=True)[:EXPIRED_PAGE])
        WaitingBehaviour.objects.filter(id__in=ids).delete()
        deleted += len(ids)
        if len(ids) < EXPIRED_PAGE:
            return deleted


@erasure.place("waiting_behaviours")
def forget_waiting(external_userid: str, _customer_ids: list[int]) -> int:
    """Delete what waits for a person's identities, also for those that others claim too. Returns how many."""
    rows = 0
    for kind, digest in identities.pairs_of(external_userid):
        rows += WaitingBehaviour.objects.filter(identity_kind=kind, identity_digest=digest).delete()[0]
    return rows
