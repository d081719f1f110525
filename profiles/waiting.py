"""Fold in what has been waiting for an identity, once somebody claims it.

    fresh claims    ──►  waiting behaviours of theirs  ──►  recorded, purchases before refunds  ──►  deleted
    (identities.is_fresh)     get folded_to, committed      refused: kept with the reason
                                                            department down, busy: left for the next time

A chore of the keeper, cheap when nothing is fresh. Each step may be repeated, and by two at once: what was recorded
before a crash is a duplicate the next time, because it goes to the same customer (folded_to), whomever the identity
names by then. A claim becomes fresh again when a behaviour begins to wait for it at the same moment
(profiles.behaviours.keeping).
"""

import time
from collections.abc import Iterator, Mapping
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
ASSIGNED_PAGE = 5_000
PAGE = 1_000
EXPIRED_PAGE = 5_000
# A chore that runs for a minute is taken to hang.
PATIENCE_SECONDS = 30
# What a repeat may mend.
LATER = frozenset({"department_unavailable", "busy"})

# Only who lives is folded to, and FOR SHARE makes an erasure that begins now wait, so that it finds what it is to
# delete. A page is what this statement saw, also where another fold was faster: a full one says that there may be more.
# LATERAL with OFFSET 0 or LIMIT, because the planner would else read everything that waits (see customers.identities).
ASSIGN = """
WITH named AS MATERIALIZED (
    SELECT one.* FROM unnest(%s::text[], %s::bytea[], %s::text[]) AS one (kind, digest, external_userid), LATERAL
         (SELECT 1 FROM waiting_behaviours w WHERE w.identity_kind = one.kind AND w.identity_digest = one.digest
          AND w.refused = '' AND w.folded_to = '' LIMIT 1) AS found
), living AS MATERIALIZED (
    SELECT one.* FROM (SELECT * FROM named ORDER BY external_userid) AS one, LATERAL
         (SELECT 1 FROM directory d WHERE d.external_userid = one.external_userid AND d.state IN ('live', 'moving')
          OFFSET 0 FOR SHARE) AS found
), page AS MATERIALIZED (
    SELECT found.id, one.external_userid FROM living AS one, LATERAL
         (SELECT w.id FROM waiting_behaviours w WHERE w.identity_kind = one.kind AND w.identity_digest = one.digest
          AND w.refused = '' AND w.folded_to = '' OFFSET 0) AS found
    LIMIT %s
), locked AS MATERIALIZED (
    SELECT one.* FROM (SELECT * FROM page ORDER BY id) AS one, LATERAL
         (SELECT 1 FROM waiting_behaviours w WHERE w.id = one.id AND w.folded_to = '' OFFSET 0 FOR UPDATE) AS found
), assigned AS (
    UPDATE waiting_behaviours w SET folded_to = locked.external_userid FROM locked WHERE w.id = locked.id
)
SELECT count(*) FROM page
"""
ASSIGNED = """
SELECT id, source, event_id, content_hash, contents, folded_to FROM waiting_behaviours
WHERE folded_to <> '' AND refused = '' AND id > %s AND (contents->>'kind' = 'refund') = %s
ORDER BY id LIMIT %s
"""
RETRY = """
UPDATE waiting_behaviours SET refused = '' WHERE refused IN ('unknown_purchase', 'unknown_customer')
RETURNING identity_kind, identity_digest
"""


def fold_waiting() -> int:
    """Record what waits for identities that somebody claims now. Returns how many behaviours waited no longer.

    Database: two queries on control when no claim is fresh and nothing is left from the last time; else two statements
    for 5 000 claims and one for 5 000 behaviours of theirs, then those of recording.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    after = 0
    while fresh := identities.list_fresh(after=after, limit=CLAIMS):
        after = fresh[-1].id
        names = identities.resolve({one.pair for one in fresh})
        while _assign({pair: who for pair, who in names.items() if who is not None}) == ASSIGNED_PAGE:
            if time.monotonic() > until:
                return 0
        identities.settle_fresh(fresh)
        if time.monotonic() > until:
            return 0  # a refund may be assigned by now, and its purchase not
    return _fold_assigned(until)


def _assign(names: Mapping[Pair, str]) -> int:
    """Say to whom a page of what waits for these is to be folded, {identity: external_userid}. Returns its size."""
    if not names:
        return 0
    kinds, digests = [kind for kind, _ in names], [digest for _, digest in names]
    with connection.cursor() as cursor:
        cursor.execute(ASSIGN, [kinds, digests, list(names.values()), ASSIGNED_PAGE])
        return int(cursor.fetchone()[0])


def _fold_assigned(until: float) -> int:
    """Record what is assigned, also what a fold that died has left. Returns how many wait no longer."""
    folded, left = 0, set[str]()
    for is_refund in (False, True):
        for page in _pages(is_refund=is_refund):
            folded += _record([row for row in page if not (is_refund and row.folded_to in left)], left)
            if time.monotonic() > until:
                return folded
    return folded


def _pages(*, is_refund: bool) -> Iterator[list[WaitingBehaviour]]:
    after = 0
    while rows := list(WaitingBehaviour.objects.raw(ASSIGNED, [after, is_refund, PAGE])):
        yield rows
        after = rows[-1].id


def _record(page: list[WaitingBehaviour], left: set[str]) -> int:
    """Record a page of what waits, source by source. Returns how many wait no longer.

    left: customers of whom something has been left; their refunds are not tried, as none must come before its purchase.
    """
    settled: list[int] = []
    for source in sorted({row.source for row in page}):
        rows = [row for row in page if row.source == source]
        done = Recorded()
        contents = [
            kept_contents(place, row.folded_to, row.event_id, bytes(row.content_hash), row.contents)
            for place, row in enumerate(rows)
        ]
        record_contents(contents, done, source=source, now=timezone.now())
        codes = {rejection.index: rejection.code for rejection in done.rejected}
        codes |= dict.fromkeys(_before_their_purchase(rows, codes), "busy")
        left.update(rows[place].folded_to for place, code in codes.items() if code in LATER)
        refused = {place: code for place, code in codes.items() if code not in LATER}
        for code in sorted(set(refused.values())):
            ids = [rows[place].id for place, why in refused.items() if why == code]
            WaitingBehaviour.objects.filter(id__in=ids).update(refused=code)
            logger.warning("waiting_behaviours_refused", source=source, code=code, behaviours=len(ids))
        settled += [row.id for place, row in enumerate(rows) if place not in codes]
    WaitingBehaviour.objects.filter(id__in=settled).delete()
    return len(settled)


def _before_their_purchase(rows: list[WaitingBehaviour], codes: dict[int, str]) -> list[int]:
    """Return the places of refunds whose purchase another fold has assigned since, and not recorded yet."""
    refused = [place for place, code in codes.items() if code == "unknown_purchase"]
    if not refused:
        return []
    wanted = {(rows[place].folded_to, rows[place].contents["refers_to"]) for place in refused}
    purchases = WaitingBehaviour.objects.exclude(folded_to="").filter(
        folded_to__in={who for who, _ in wanted}, source=rows[0].source, refused="", contents__kind="purchase"
    )
    waiting = set(
        purchases.filter(event_id__in={event_id for _, event_id in wanted}).values_list("folded_to", "event_id")
    )
    return [place for place in refused if (rows[place].folded_to, rows[place].contents["refers_to"]) in waiting]


def retry_refunds() -> int:
    """Have refunds tried again whose purchase was not there: it may have come since, or under another identity; and
    what is of customers who were not there: a restore may have brought them back.

    Returns how many. Database: control; one statement, and one more if there are any.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(RETRY)
        pairs = [(kind, bytes(digest)) for kind, digest in cursor.fetchall()]
        identities.freshen(set(pairs))
    return len(pairs)


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
    """Delete what is being folded to a person, and what waits for their identities, also for those that others claim
    too. Returns how many. What is being folded to somebody else stays theirs, and what waits for an identity that is
    weakly this person's and by right somebody else's: a restricted key would be told of it, and could delete it."""
    rows: int = WaitingBehaviour.objects.filter(folded_to=external_userid).exclude(folded_to="").delete()[0]
    claimants = identities.list_claimants(identities.pairs_of(external_userid))
    for (kind, digest), is_weak in claimants.items():
        if is_weak.get(external_userid, True) and not all(is_weak.values()):
            continue
        waiting = WaitingBehaviour.objects.filter(identity_kind=kind, identity_digest=digest, folded_to="")
        rows += waiting.delete()[0]
    return rows
