"""Who lives where, and how somebody comes to live there.

    creating ──► live ──► moving ──► live (elsewhere, with an alias)
        │          └────► erasing ──► gone (with a tombstone)
        └─ a creator died: the next one for the same person, or the sweep, goes on or takes it back

Creating, erasing, moving and sweeping one person exclude each other by an advisory lock on the external_userid in the
control database. It is a session lock, held across commits in two databases, and gone with the process that held it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

from django.db import IntegrityError, OperationalError, connection
from django.utils import timezone

from customers.attributes import is_too_large
from customers.identities import Claim, claim_identities
from customers.identity import digest, is_external_userid
from customers.lookup import CACHE
from customers.models import DirectoryEntry, Tombstone
from customers.organisation import organisation
from customers.records import CustomerData, merged_attributes
from customers.settling import settle
from customers.writing import AddressTakenError, drop_cached, insert_customers, update_customers
from scrm import sharding
from scrm.cache import CacheUnreachableError
from scrm.sharding.models import open_homes

# Persons share lock numbers, so that a batch of ten thousand needs a bounded number of locks.
LOCK_SPACE = 0x5C43
STRIPES = 1024
LOCK_TIMEOUT_SECONDS = 30
MAX_BATCH = 10_000

State = DirectoryEntry.State


class DirectoryError(Exception):
    """A write to a customer that cannot be done. `code` is one of REASONS."""

    def __init__(self, code: str, external_userid: str, *, home: int | None = None, fields: Sequence[str] = ()) -> None:
        super().__init__(f"{external_userid[:80]}: {REASONS[code]}")
        self.code = code
        self.external_userid = external_userid
        self.home = home
        self.fields = list(fields)


REASONS = {
    "invalid_external_userid": "not an external_userid (1 to 64 characters, no control characters)",
    "erased": "was erased, and has not been added again since",
    "erasure_in_progress": "is being erased",
    "busy": "somebody else is creating, moving or erasing this customer: try again",
    "unknown_home": "the home named is not configured here or not open for new customers",
    "no_open_home": "no home is open for new customers: open one with `manage.py shards open N`",
    "address_taken": "the home gives customer_ids twice: run `manage.py migrate_shards`, then try again",
    "department_unavailable": "the department database cannot be reached: try again later",
    "owned_by_wecom": "WeCom owns fields that would change",
    "version_differs": "has changed since the version that was named",
    "attributes_too_large": "would have more than 4096 bytes of attributes",
    "unknown_customer": "no such customer",
}


@dataclass
class Upserted:
    """What came of a batch: {external_userid: customer_id} by fate, and {external_userid: error}.

    changes: {external_userid: names of what differed} of the updated, follows and tags among them.
    claims: the identities that were told of those who are not rejected.
    """

    created: dict[str, int] = field(default_factory=dict)
    updated: dict[str, int] = field(default_factory=dict)
    unchanged: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, DirectoryError] = field(default_factory=dict)
    changes: dict[str, frozenset[str]] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list, repr=False)

    def reject(self, code: str, external_userid: str, *, home: int | None = None, fields: Sequence[str] = ()) -> None:
        self.rejected[external_userid] = DirectoryError(code, external_userid, home=home, fields=fields)


def stripe_of(external_userid: str) -> int:
    """Return the number of the lock that a person shares with one in a thousand others."""
    return int.from_bytes(blake2b(external_userid.encode(), digest_size=4).digest(), "big") % STRIPES


@contextmanager
def hold(external_userids: Iterable[str]) -> Iterator[None]:
    """Hold the locks of these persons: nobody else creates, erases, moves or sweeps them meanwhile.

    Database: a session of the control database, outside any transaction (RuntimeError within one, because what is
    written under the lock must be committed before the lock is let go).
    Raises TimeoutError after 30 s.
    """
    if connection.in_atomic_block:
        raise RuntimeError("A person's lock spans several commits: do not take it inside transaction.atomic().")
    stripes = sorted({stripe_of(one) for one in external_userids})
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{LOCK_TIMEOUT_SECONDS}s"])
            cursor.execute(
                "SELECT pg_advisory_lock(%s, stripe) FROM unnest(%s::int[]) AS stripe", [LOCK_SPACE, stripes]
            )
        yield
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) == "55P03":
            raise TimeoutError("Somebody else has been holding this person for 30 s.") from error
        raise
    finally:
        with connection.cursor() as cursor:
            # Also what a lock_timeout half way has left behind. A lock that this session does not hold only warns.
            cursor.execute("SELECT pg_advisory_unlock_all(), set_config('lock_timeout', '0', false)")


def find(external_userid: str) -> DirectoryEntry | None:
    """Return the directory's row of a person, whatever its state. Database: one query on the control database."""
    return DirectoryEntry.objects.filter(external_userid=external_userid).first()


def addresses(external_userids: Sequence[str]) -> dict[str, int]:
    """Return {external_userid: customer_id} of those who are there (live, or on the move).

    Database: one query on the control database, whatever the number. Ids that cannot be are not asked for.
    """
    wanted = [one for one in external_userids if is_external_userid(one)]
    return dict(
        DirectoryEntry.objects.filter(external_userid__in=wanted, state__in=[State.LIVE, State.MOVING]).values_list(
            "external_userid", "customer_id"
        )
    )


def upsert(item: CustomerData) -> tuple[int, str]:
    """Create a customer or change one. Returns (customer_id, "created" | "updated" | "unchanged").

    Idempotent. Raises DirectoryError with a code of REASONS; nothing has been changed then.
    """
    done = upsert_many([item])
    for error in done.rejected.values():
        raise error
    for fate in ("created", "updated", "unchanged"):
        for customer_id in getattr(done, fate).values():
            return customer_id, fate
    raise AssertionError("an item is created, updated, unchanged or rejected")


def upsert_many(items: Sequence[CustomerData], *, create: bool = True) -> Upserted:
    """Create or change up to 10 000 customers; an item that cannot be done is rejected alone.

    Of several items for one person the last counts. create=False rejects who is not there (unknown_customer).
    Database: two queries on the control database and one round of bulk statements per home, whatever the number;
    six more on the control database when somebody is new, and one when a unionid, a mobile or follows are told.
    """
    if len(items) > MAX_BATCH:
        raise ValueError(f"At most {MAX_BATCH} customers a call.")
    now = timezone.now()
    done = Upserted()
    wanted: dict[str, CustomerData] = {}
    for item in items:
        if is_external_userid(item.external_userid):
            wanted[item.external_userid] = item
        else:
            done.reject("invalid_external_userid", str(item.external_userid))
    for item in list(wanted.values()):
        # Rows of a file that were put together may have become too large even for somebody new.
        if item.merge_attributes and is_too_large(merged_attributes({}, item.fields.get("attributes", {}))):
            done.reject("attributes_too_large", item.external_userid, fields=["attributes"])
            del wanted[item.external_userid]
    for _round in range(3):
        # A second round is for those who moved, were erased or were created by somebody else while we looked.
        wanted = _settle(wanted, done, now, create=create) if wanted else wanted
    claim_identities(done.claims)
    for external_userid in wanted:
        # A directory row that leads nowhere, until the sweep: nobody for a reader, and for who would change them.
        done.reject("busy" if create else "unknown_customer", external_userid)
    return done


def _settle(
    wanted: Mapping[str, CustomerData], done: Upserted, now: datetime, *, create: bool
) -> dict[str, CustomerData]:
    """Do what can be done now; return what must be looked at again."""
    entries = DirectoryEntry.objects.in_bulk(list(wanted))
    live = {e: entry.customer_id for e, entry in entries.items() if entry.state == State.LIVE}
    for external_userid, entry in entries.items():
        if entry.state == State.ERASING:
            done.reject("erasure_in_progress", external_userid)
    again = _update(wanted, live, done, now)
    rest = {e: item for e, item in wanted.items() if e not in live and e not in done.rejected}
    for external_userid in [e for e in rest if e not in entries and not (create and rest[e].if_version is None)]:
        done.reject("version_differs" if create else "unknown_customer", external_userid)
        del rest[external_userid]
    if rest:
        again |= _create(rest, done, now, create=create)
    return again


def _update(
    wanted: Mapping[str, CustomerData], live: Mapping[str, int], done: Upserted, now: datetime
) -> dict[str, CustomerData]:
    again: dict[str, CustomerData] = {}
    names = {customer_id: external_userid for external_userid, customer_id in live.items()}
    for home, ids in _by_home(live.values()).items():
        try:
            written = update_customers(home, {i: wanted[names[i]] for i in ids}, now=now)
        except sharding.HomeError:
            for customer_id in ids:
                done.reject("department_unavailable", names[customer_id], home=home)
            continue
        done.updated |= {names[i]: i for i in written.changed}
        done.changes |= {names[i]: changed for i, changed in written.changed.items()}
        done.unchanged |= {names[i]: i for i in written.unchanged}
        done.claims += written.claims
        again |= {names[i]: wanted[names[i]] for i in written.missing}
        for customer_id, (code, fields) in written.refused.items():
            done.reject(code, names[customer_id], home=home, fields=fields)
    return again


def _create(
    wanted: Mapping[str, CustomerData], done: Upserted, now: datetime, *, create: bool
) -> dict[str, CustomerData]:
    try:
        with hold(wanted):
            return _create_held(wanted, done, now, create=create)
    except TimeoutError:
        for external_userid in wanted:
            done.reject("busy", external_userid)
        return {}


def _create_held(
    wanted: Mapping[str, CustomerData], done: Upserted, now: datetime, *, create: bool
) -> dict[str, CustomerData]:
    entries = DirectoryEntry.objects.in_bulk(list(wanted))
    # We hold the lock, so whoever left a row in state creating or moving is dead. A creation is taken up at its
    # address; its row may be there with the dead creator's data, so ours is written over it in the next round.
    taken_up = {e: entry.customer_id for e, entry in entries.items() if entry.state == State.CREATING}
    for external_userid, entry in entries.items():
        if entry.state == State.MOVING:
            try:
                settle(entry)
            except sharding.HomeError as error:
                done.reject("department_unavailable", external_userid, home=error.home)
    again = {e: wanted[e] for e in entries if e not in done.rejected}
    new = {e: item for e, item in wanted.items() if e not in entries}
    if not create:
        for external_userid in [*new, *taken_up]:
            done.reject("unknown_customer", external_userid)
        return {e: item for e, item in again.items() if e not in taken_up}
    new = _without_erased(new, done)
    fresh = _take_addresses(new, done)
    entries_of_fresh = [
        DirectoryEntry(external_userid=e, customer_id=i, state=State.CREATING, changed_at=now) for e, i in fresh.items()
    ]
    try:
        DirectoryEntry.objects.bulk_create(entries_of_fresh)
    except IntegrityError:  # the locks are ours, so it is no person but an address that is there already
        for external_userid, customer_id in fresh.items():
            done.reject("address_taken", external_userid, home=sharding.home_of(customer_id))
        fresh = {}
    names = {customer_id: e for e, customer_id in (taken_up | fresh).items()}
    for home, ids in _by_home(names).items():
        try:
            claims = insert_customers(home, {i: wanted[names[i]] for i in ids}, now=now)
        except (sharding.HomeError, AddressTakenError) as error:
            # The rows in state creating stay: the next try, or the sweep, goes on from them; but not to a stranger.
            is_taken = isinstance(error, AddressTakenError)
            if is_taken:
                DirectoryEntry.objects.filter(customer_id__in=ids, state=State.CREATING).delete()
            for customer_id in ids:
                done.reject("address_taken" if is_taken else "department_unavailable", names[customer_id], home=home)
                again.pop(names[customer_id], None)
            continue
        DirectoryEntry.objects.filter(customer_id__in=ids).update(state=State.LIVE, changed_at=timezone.now())
        forget_absence(home, [names[i] for i in ids])
        done.created |= {names[i]: i for i in ids if names[i] in fresh}
        done.claims += claims
    return again


def forget_absence(home: int, external_userids: Iterable[str]) -> None:
    """Delete from the cache, after a creation has been committed, that somebody is not there.

    An insert that is not committed is invisible to a reader's lock check, so the deletion inside the creating
    transaction is not enough.
    """
    keys = list(external_userids)
    try:
        CACHE.drop(keys)
    except CacheUnreachableError:
        with sharding.atomic_home(home):
            drop_cached(home, keys)


def _without_erased(new: Mapping[str, CustomerData], done: Upserted) -> dict[str, CustomerData]:
    asked = {digest(e): e for e, item in new.items() if item.respect_tombstone}
    if not asked:
        return dict(new)
    found = Tombstone.objects.filter(digest__in=list(asked)).values_list("digest", "erased_at")
    for key, erased_at in found:
        external_userid = asked[bytes(key)]
        followed_at = new[external_userid].followed_at
        if followed_at is None or followed_at <= erased_at:
            done.reject("erased", external_userid)
    return {e: item for e, item in new.items() if e not in done.rejected}


def choose_home(item: CustomerData, homes: Sequence[int]) -> int:
    """Choose where to create somebody, among the open homes: once, for good.

    The home given, else the nearest department with a database above the first follow's staff member, else a stable
    hash. Database: none; the organisation is held per process.
    """
    if item.home is not None:
        return item.home
    live = [follow for follow in item.with_follows({}).follows or () if follow.lost_at is None]
    if live:
        home = organisation().home_of_staff(live[0].userid, homes)
        if home is not None:
            return home
    return sharding.bucketing().pick_shard(item.external_userid, homes)


def _take_addresses(new: Mapping[str, CustomerData], done: Upserted) -> dict[str, int]:
    homes = open_homes()
    chosen: dict[int, list[str]] = {}
    for external_userid, item in new.items():
        home = item.home
        if home is not None and home not in homes:
            done.reject("unknown_home", external_userid, home=home)
        elif not homes:
            done.reject("no_open_home", external_userid)
        else:
            chosen.setdefault(choose_home(item, homes), []).append(external_userid)
    taken: dict[str, int] = {}
    for home, people in chosen.items():
        try:
            taken |= dict(zip(people, sharding.allocate(home, len(people)), strict=True))
        except sharding.HomeUnavailableError:
            for external_userid in people:
                done.reject("department_unavailable", external_userid, home=home)
    return taken


def _by_home(customer_ids: Iterable[int]) -> dict[int, list[int]]:
    homes: dict[int, list[int]] = {}
    for customer_id in sorted(customer_ids):
        homes.setdefault(sharding.home_of(customer_id), []).append(customer_id)
    return homes
