"""Finish, or take back, what somebody left half done. The caller holds the person's lock, so that somebody is dead.

left in     found                              done
creating    the row is at its address          live: the creator died just before saying so
            no row                             the directory's row goes: nobody was told of a creation
moving      the row is at the old address      live there; what is at the new one goes
            the row is at the new one only     live there, with an alias
"""

from contextlib import suppress

from django.db import transaction
from django.utils import timezone

from customers.models import Customer, CustomerAlias, DirectoryEntry
from customers.writing import drop_cached
from scrm import sharding

State = DirectoryEntry.State


def settle(entry: DirectoryEntry) -> DirectoryEntry | None:
    """Bring a row in state creating or moving to an end. Returns it as it is now, or None when it is gone.

    Repeatable. Database: the control database's and the homes' of the addresses. Raises HomeUnavailableError.
    """
    if entry.state == State.MOVING:
        return _settle_move(entry)
    if entry.state == State.CREATING and not is_at(entry.customer_id, entry.external_userid):
        entry.delete()
        return None
    if entry.state == State.CREATING:
        entry.state, entry.changed_at = State.LIVE, timezone.now()
        entry.save(update_fields=["state", "changed_at"])
        with sharding.atomic(entry.customer_id):
            drop_cached(sharding.home_of(entry.customer_id), [entry.external_userid])
    return entry


def is_at(customer_id: int, external_userid: str) -> bool:
    """Tell whether a person's row is at an address. Database: one query on the home's."""
    alias = sharding.shard_map().alias_of_customer(customer_id)
    return Customer.objects.using(alias).filter(customer_id=customer_id, external_userid=external_userid).exists()


def _stays_at(customer_id: int, external_userid: str) -> bool:
    """Tell whether a person's row is at an address to stay there.

    The mover is dead, but a COMMIT that it sent may still be on its way to the server: whoever took the row for the one
    that stays would delete the other. So the row is locked, which waits until the mover's transaction has ended.
    """
    with sharding.atomic(customer_id) as alias:
        rows = Customer.objects.using(alias).filter(customer_id=customer_id, external_userid=external_userid)
        return rows.select_for_update().values("bucket").first() is not None


def _settle_move(entry: DirectoryEntry) -> DirectoryEntry:
    target = entry.target_customer_id
    if target is not None and _stays_at(entry.customer_id, entry.external_userid):
        with suppress(sharding.HomeUnavailableError):  # an orphan that comes back with its home is the sweep's
            remove_rows(target, entry.external_userid)
    elif target is not None and is_at(target, entry.external_userid):
        switch(entry, target)
        return entry
    entry.state, entry.target_customer_id, entry.changed_at = State.LIVE, None, timezone.now()
    entry.save(update_fields=["state", "target_customer_id", "changed_at"])
    return entry


def switch(entry: DirectoryEntry, target: int) -> None:
    """Make the directory say that a person lives at the new address, and the old one an alias of it.

    Database: one transaction on the control database; the new home's for what is cached.
    """
    old = entry.customer_id
    with transaction.atomic():
        CustomerAlias.objects.filter(customer_id=old).update(customer_id=target)
        CustomerAlias.objects.update_or_create(old_customer_id=old, defaults={"customer_id": target})
        entry.customer_id, entry.target_customer_id = target, None
        entry.state, entry.changed_at = State.LIVE, timezone.now()
        DirectoryEntry.objects.filter(external_userid=entry.external_userid).update(
            customer_id=target, target_customer_id=None, state=entry.state, changed_at=entry.changed_at
        )
    with sharding.atomic(target):
        drop_cached(sharding.home_of(target), [entry.external_userid])


def remove_rows(customer_id: int, external_userid: str) -> dict[str, int]:
    """Delete a person's rows at an address, in every table. Returns {table: rows}; a repeat finds none.

    Database: one transaction on the home's. What is cached goes with it.
    """
    home = sharding.home_of(customer_id)
    with sharding.atomic(customer_id) as alias:
        row = (
            Customer.objects.using(alias)
            .filter(customer_id=customer_id, external_userid=external_userid)
            .select_for_update()
            .values("bucket", "profile")
            .first()
        )
        if row is None:
            return {}
        rows = {}
        for model in reversed(sharding.partitioned_models()):
            rows[model._meta.db_table] = (
                model._base_manager.using(alias).filter(customer_id=customer_id)._raw_delete(alias)
            )
        if row["profile"] is not None:
            with sharding.cursor(home) as cursor:
                cursor.execute(
                    "UPDATE profile_counts SET customers = customers - 1 WHERE bucket = %s AND profile = %s",
                    [row["bucket"], row["profile"]],
                )
        drop_cached(home, [external_userid])
    return {table: count for table, count in rows.items() if count}
