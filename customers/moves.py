"""Move a customer to another home: the only way in which a customer_id changes.

    1  directory: moving, with the new address               readers and writers go on at the old one
    2  old home:  lock the row; new home: copy every row     writers wait at the lock
    3  new home:  commit
    4  old home:  delete, commit                             writers find no row, and look the person up again
    5  directory: the new address, an alias from the old     settling.switch

Killed after any step, settling.settle goes back (before 4) or on (after it).
"""

from typing import Any

from django.utils import timezone

from customers.audit import record
from customers.directory import DirectoryError, find, hold
from customers.marks import mark_dirty
from customers.models import Customer, DirectoryEntry
from customers.settling import remove_rows, settle, switch
from customers.writing import drop_cached
from scrm import sharding


def move_customer(external_userid: str, home: int, *, actor: str) -> int:
    """Move a customer with all their rows to another home. Returns the new customer_id.

    Somebody who lives there already stays as they are. Database: control, the old home's and the new one's.
    Raises DirectoryError (unknown_customer, erasure_in_progress), UnknownHomeError, HomeUnavailableError; the customer
    is then where they were.
    """
    sharding.alias(home)
    with hold([external_userid]):
        entry = find(external_userid)
        if entry is not None and entry.state in (DirectoryEntry.State.CREATING, DirectoryEntry.State.MOVING):
            entry = settle(entry)
        if entry is None:
            raise DirectoryError("unknown_customer", external_userid)
        if entry.state == DirectoryEntry.State.ERASING:
            raise DirectoryError("erasure_in_progress", external_userid)
        if sharding.home_of(entry.customer_id) == home:
            return entry.customer_id
        old = entry.customer_id
        (target,) = sharding.allocate(home, 1)
        entry.state, entry.target_customer_id, entry.changed_at = DirectoryEntry.State.MOVING, target, timezone.now()
        entry.save(update_fields=["state", "target_customer_id", "changed_at"])
        try:
            _copy_and_delete(external_userid, old, target)
        except Exception:
            settle(entry)
            raise
        switch(entry, target)
    record(actor, "move_customer", external_userid, {"from": old, "to": target})
    return target


def _copy_and_delete(external_userid: str, old: int, target: int) -> None:
    with sharding.atomic(old) as source:
        row = Customer.objects.using(source).filter(customer_id=old).select_for_update().values().first()
        if row is None:
            raise DirectoryError("unknown_customer", external_userid)
        with sharding.atomic(target) as destination:
            for model in sharding.partitioned_models():
                rows: list[dict[str, Any]] = list(model._base_manager.using(source).filter(customer_id=old).values())
                for one in rows:
                    one.update(customer_id=target, bucket=sharding.bucket_of(target))
                model._base_manager.using(destination).bulk_create([model(**one) for one in rows], batch_size=1000)
            if row["profile"] is not None:
                with sharding.cursor(sharding.home_of(target)) as cursor:
                    cursor.execute(
                        "INSERT INTO profile_counts (bucket, profile, customers) VALUES (%s, %s, 1) "
                        "ON CONFLICT (bucket, profile) DO UPDATE SET customers = profile_counts.customers + 1",
                        [sharding.bucket_of(target), row["profile"]],
                    )
            # Where they go a run may have been already, with other rules; and marks there come from another sequence.
            mark_dirty(sharding.home_of(target), [target])
            drop_cached(sharding.home_of(target), [external_userid])
        remove_rows(old, external_userid)
