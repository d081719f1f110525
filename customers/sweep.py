"""Mend what crashes and restores leave between the directory and the department databases.

    found, and older than ten minutes                       done
    directory in state creating or moving                   settled (see customers.settling)
    directory in state erasing without a job                a job
    directory live, no row of theirs at the address         the directory's row goes
    a row whose person lives elsewhere                      the row goes (a move that was cut short)
    a row from before its person was erased                 the row goes
    a row whose person is not in the directory              the directory gets a row (a restore lost it)

Losing more than 1 % of a home (and more than a hundred customers) that way is not a crash but a wrong restore: it is
reported and left alone unless forced.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.utils import timezone

from customers.directory import hold
from customers.identities import forget
from customers.identity import digest
from customers.models import Customer, DirectoryEntry, Erasure, Tombstone
from customers.settling import is_at, remove_rows, settle
from customers.writing import drop_cached
from scrm import sharding
from scrm.sharding.ids import make

logger = structlog.get_logger(__name__)

SETTLED_AFTER = timedelta(minutes=10)
CHUNK = 5_000
SUSPICIOUS_SHARE = 0.01
SUSPICIOUS_COUNT = 100

State = DirectoryEntry.State


@dataclass
class Swept:
    """What a sweep did: how many of each kind; homes that were down; homes left alone, with how many are missing."""

    settled: int = 0
    erasures_started: int = 0
    directory_removed: int = 0
    rows_removed: int = 0
    directory_added: int = 0
    unavailable: list[int] = field(default_factory=list)
    suspicious: dict[int, int] = field(default_factory=dict)


def sweep(*, older_than: timedelta = SETTLED_AFTER, homes: list[int] | None = None, force: bool = False) -> Swept:
    """Mend both directions. Repeatable; touches only what is older than `older_than`.

    Database: control and every home's, in chunks of 5 000; cost grows with the number of customers.
    """
    swept = Swept()
    before = timezone.now() - older_than
    settle_unfinished(swept, before)
    for home in homes or sharding.shard_map().homes:
        try:
            _sweep_directory(home, before, swept, force=force)
            _sweep_rows(home, before, swept)
        except sharding.HomeUnavailableError as error:
            swept.unavailable.append(error.home)
    logger.info("directory_swept", **vars(swept))
    return swept


def settle_unfinished(swept: Swept, before: datetime) -> None:
    """Settle directory rows that have been creating, moving or erasing since before a moment: cheap, few, indexed."""
    unsettled = DirectoryEntry.objects.exclude(state=State.LIVE).filter(changed_at__lt=before)
    for external_userid in list(unsettled.values_list("external_userid", flat=True)):
        try:
            with hold([external_userid]):
                _settle_one(external_userid, before, swept)
        except sharding.HomeError as error:
            swept.unavailable.append(error.home)
        except TimeoutError:
            logger.warning("person_is_busy")  # the next sweep comes to them again


def _settle_one(external_userid: str, before: datetime, swept: Swept) -> None:
    entry = DirectoryEntry.objects.filter(external_userid=external_userid, changed_at__lt=before).first()
    if entry is None or entry.state == State.LIVE:
        return
    if entry.state == State.ERASING:
        swept.erasures_started += _ensure_erasure(entry)
    else:
        settle(entry)
        swept.settled += 1


def _ensure_erasure(entry: DirectoryEntry) -> bool:
    key = digest(entry.external_userid)
    if Erasure.objects.filter(digest=key, state=Erasure.State.RUNNING).exists():
        return False
    Erasure.objects.create(external_userid=entry.external_userid, digest=key, requested_by="sweep")
    return True


def _chunks(home: int, before: datetime) -> Iterator[dict[int, str]]:
    """Yield {customer_id: external_userid} of the home's live directory rows, in order of customer_id."""
    first, last = make(home, 1), make(home + 1, 1) - 1
    while True:
        rows = dict(
            DirectoryEntry.objects.filter(customer_id__range=(first, last), state=State.LIVE, changed_at__lt=before)
            .order_by("customer_id")
            .values_list("customer_id", "external_userid")[:CHUNK]
        )
        if not rows:
            return
        yield rows
        first = max(rows) + 1


def _sweep_directory(home: int, before: datetime, swept: Swept, *, force: bool) -> None:
    missing: dict[int, str] = {}
    seen = 0
    for rows in _chunks(home, before):
        seen += len(rows)
        there = set(
            Customer.objects.using(sharding.alias(home))
            .filter(customer_id__in=list(rows))
            .values_list("customer_id", "external_userid")
        )
        missing |= {customer_id: e for customer_id, e in rows.items() if (customer_id, e) not in there}
    if len(missing) > max(SUSPICIOUS_COUNT, seen * SUSPICIOUS_SHARE) and not force:
        swept.suspicious[home] = len(missing)
        logger.error("many_customers_missing", home=home, missing=len(missing), of=seen)
        return
    for customer_id, external_userid in missing.items():
        with hold([external_userid]):
            found = DirectoryEntry.objects.filter(
                external_userid=external_userid, customer_id=customer_id, state=State.LIVE
            )
            if found.exists() and not is_at(customer_id, external_userid):
                with transaction.atomic():
                    found.delete()
                    forget(external_userid)  # else what names nobody would keep others from being named
                swept.directory_removed += 1
                with sharding.atomic_home(home):
                    drop_cached(home, [external_userid])


def _sweep_rows(home: int, before: datetime, swept: Swept) -> None:
    alias = sharding.alias(home)
    after = 0
    while True:
        rows = dict(
            Customer.objects.using(alias)
            .filter(customer_id__gt=after, created_at__lt=before)
            .order_by("customer_id")
            .values_list("customer_id", "external_userid")[:CHUNK]
        )
        if not rows:
            return
        after = max(rows)
        known = set(
            DirectoryEntry.objects.filter(customer_id__in=list(rows)).values_list("customer_id", "external_userid")
        )
        for customer_id, external_userid in rows.items():
            if (customer_id, external_userid) not in known:
                with hold([external_userid]):
                    _mend_row(home, customer_id, external_userid, swept)


def _mend_row(home: int, customer_id: int, external_userid: str, swept: Swept) -> None:
    """See to a row that the directory does not lead to. The person's lock is held."""
    entry = DirectoryEntry.objects.filter(external_userid=external_userid).first()
    if entry is not None and (
        entry.customer_id == customer_id or entry.state in (State.MOVING, State.ERASING, State.CREATING)
    ):
        return  # under way: settled first, swept the next time
    if not is_at(customer_id, external_userid):
        return
    if entry is not None or _was_erased_since(customer_id, external_userid):
        swept.rows_removed += bool(remove_rows(customer_id, external_userid))
        return
    DirectoryEntry.objects.create(
        external_userid=external_userid, customer_id=customer_id, state=State.LIVE, changed_at=timezone.now()
    )
    swept.directory_added += 1
    with sharding.atomic_home(home):
        drop_cached(home, [external_userid])


def _was_erased_since(customer_id: int, external_userid: str) -> bool:
    """Tell whether a person's row is what an erasure left, and not of somebody who was erased and came again."""
    erased_at = Tombstone.objects.filter(digest=digest(external_userid)).values_list("erased_at", flat=True).first()
    alias = sharding.shard_map().alias_of_customer(customer_id)
    return (
        erased_at is not None
        and Customer.objects.using(alias).filter(customer_id=customer_id, created_at__lte=erased_at).exists()
    )
