"""Erase a customer from every place, as a job that survives a crash and waits for what is down.

    1  under the person's lock: directory says erasing, an Erasure row is made     from now on nobody finds them
    2  every department database, then each registered place, is cleared           repeatable, one by one
    3  identities, directory row and aliases go, a tombstone stays, the Erasure forgets the id  one transaction

A place is not ticked off until it has said so: with a database or Redis down the job waits, and the keeper goes on.
"""

import uuid
from collections.abc import Callable
from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone

from customers import identities
from customers.directory import DirectoryError, find, hold
from customers.identity import digest
from customers.lookup import CACHE
from customers.models import Audit, Customer, CustomerAlias, DirectoryEntry, Erasure, Tombstone
from customers.settling import remove_rows, settle
from customers.writing import drop_cached
from scrm import sharding
from scrm.cache import CacheUnreachableError

logger = structlog.get_logger(__name__)

# {place: fn(external_userid, customer_ids) -> rows cleared}; other apps add theirs when they load (the inbox, exports).
_places: dict[str, Callable[[str, list[int]], int]] = {}


def place(name: str) -> Callable[[Callable[[str, list[int]], int]], Callable[[str, list[int]], int]]:
    """Register a place outside the department databases that keeps something of a customer.

    fn(external_userid, customer_ids) clears it, repeatably, and returns how many rows went; raising leaves the
    erasure unfinished.
    """

    def register(fn: Callable[[str, list[int]], int]) -> Callable[[str, list[int]], int]:
        _places[name] = fn
        return fn

    return register


def request_erasure(external_userid: str, *, actor: str) -> Erasure:
    """Make a customer unfindable now, and see to it that they are erased. Returns the job; a repeat returns the same.

    Database: control; the home's only if Redis cannot be told. Raises DirectoryError unknown_customer or busy.
    """
    try:
        with hold([external_userid]):
            return _begin(external_userid, actor)
    except TimeoutError as error:
        raise DirectoryError("busy", external_userid) from error


def _begin(external_userid: str, actor: str) -> Erasure:
    entry = find(external_userid)
    if entry is None:
        raise DirectoryError("unknown_customer", external_userid)
    running = Erasure.objects.filter(digest=digest(external_userid), state=Erasure.State.RUNNING).first()
    if running is not None:
        return running
    if entry.state in (DirectoryEntry.State.CREATING, DirectoryEntry.State.MOVING):
        entry = settle(entry)
        if entry is None:
            raise DirectoryError("unknown_customer", external_userid)
    with transaction.atomic():
        DirectoryEntry.objects.filter(external_userid=external_userid).update(
            state=DirectoryEntry.State.ERASING, changed_at=timezone.now()
        )
        erasure = Erasure.objects.create(
            external_userid=external_userid, digest=digest(external_userid), requested_by=actor[:128]
        )
        Audit.objects.create(
            actor=actor[:128], action="erase_customer", subject=digest(external_userid).hex(),
            detail={"erasure": str(erasure.id)},
        )  # fmt: skip
    _forget_cached(external_userid, entry.customer_id)
    return erasure


def _forget_cached(external_userid: str, customer_id: int) -> None:
    try:
        CACHE.drop([external_userid])
    except CacheUnreachableError:
        try:
            with sharding.atomic(customer_id):
                drop_cached(sharding.home_of(customer_id), [external_userid])
        except sharding.HomeError:
            logger.warning("erasure_cache_waits")  # the job does not end before it has cleared the cache


def run_erasure(erasure_id: uuid.UUID) -> Erasure:
    """Clear whatever of a customer can be reached now. Repeatable; returns the job, done or still waiting.

    Database: control and every department database.
    """
    erasure = Erasure.objects.get(id=erasure_id)
    if erasure.state == Erasure.State.DONE:
        return erasure
    with hold([erasure.external_userid]):
        erasure.refresh_from_db()
        if erasure.state == Erasure.State.DONE:
            return erasure
        external_userid = erasure.external_userid
        waiting: list[str] = []
        ids = _clear_homes(erasure, external_userid, waiting)
        _clear_places(erasure, external_userid, ids, waiting)
        erasure.waiting_for = waiting
        if waiting:
            erasure.save(update_fields=["places", "waiting_for"])
            return erasure
        with transaction.atomic():
            # Last, because places may be found by them; nobody is given new ones while they are being erased.
            _tick(erasure, "identities", {"identities": identities.forget(external_userid)})
            DirectoryEntry.objects.filter(external_userid=external_userid, state=DirectoryEntry.State.ERASING).delete()
            CustomerAlias.objects.filter(customer_id__in=ids).delete()
            CustomerAlias.objects.filter(old_customer_id__in=ids).delete()
            Tombstone.objects.update_or_create(
                digest=digest(external_userid), defaults={"erased_at": erasure.requested_at}
            )
            erasure.state, erasure.finished_at, erasure.external_userid = Erasure.State.DONE, timezone.now(), ""
            erasure.save()
    logger.info("customer_erased", erasure=str(erasure.id), places=list(erasure.places))
    return erasure


def _clear_homes(erasure: Erasure, external_userid: str, waiting: list[str]) -> list[int]:
    """Clear every department database, whether the person is known to have lived there or not."""

    def clear(home: int) -> tuple[list[int], dict[str, int]]:
        alias = sharding.alias(home)
        ids = list(
            Customer.objects.using(alias).filter(external_userid=external_userid).values_list("customer_id", flat=True)
        )
        rows: dict[str, int] = {}
        for customer_id in ids:
            for table, count in remove_rows(customer_id, external_userid).items():
                rows[table] = rows.get(table, 0) + count
        return ids, rows

    found = set(DirectoryEntry.objects.filter(external_userid=external_userid).values_list("customer_id", flat=True))
    answers = sharding.fan_out(clear)
    # Their home may be one that this process does not know yet.
    unknown = {sharding.home_of(customer_id) for customer_id in found} - set(sharding.shard_map().homes)
    waiting += [f"dept_{home}" for home in sorted({*answers.unavailable, *unknown})]
    for home, (ids, rows) in answers.results.items():
        found.update(ids)
        _tick(erasure, f"dept_{home}", rows)
    return sorted(found)


def _clear_places(erasure: Erasure, external_userid: str, ids: list[int], waiting: list[str]) -> None:
    try:
        CACHE.drop([external_userid])
        _tick(erasure, "cache", {})
    except CacheUnreachableError:
        waiting.append("cache")
    for name, clear in _places.items():
        try:
            _tick(erasure, name, {name: clear(external_userid, ids)})
        except Exception:
            logger.exception("erasure_place_failed", place=name)
            waiting.append(name)


def _tick(erasure: Erasure, name: str, rows: dict[str, int]) -> None:
    """Note that a place has been cleared; a second time adds what it found."""
    before: dict[str, Any] = erasure.places.get(name, {"rows": {}})
    total = {table: before["rows"].get(table, 0) + rows.get(table, 0) for table in {*before["rows"], *rows}}
    erasure.places[name] = {"rows": total, "at": timezone.now().isoformat()}


def run_waiting() -> int:
    """Go on with every erasure that is not done; one that fails keeps no other waiting. Returns how many were finished.

    For the keeper.
    """
    waiting = Erasure.objects.filter(state=Erasure.State.RUNNING).order_by("requested_at").values_list("id", flat=True)
    return sum(_try_to_run(erasure_id) for erasure_id in list(waiting))


def _try_to_run(erasure_id: uuid.UUID) -> bool:
    try:
        return run_erasure(erasure_id).state == Erasure.State.DONE
    except Exception:
        logger.exception("erasure_failed", erasure=str(erasure_id))
        return False
