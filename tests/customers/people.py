"""Make customers, and look at what the databases really hold of them."""

from typing import Any

from django.db import connection

from customers.directory import upsert
from customers.models import Customer, DirectoryEntry
from customers.records import CustomerData, FollowData
from scrm import sharding


def make(external_userid: str, *, home: int = 100, **fields: Any) -> int:
    """Create a customer and return the customer_id."""
    follows, tag_ids = fields.pop("follows", None), fields.pop("tag_ids", None)
    customer_id, fate = upsert(
        CustomerData(external_userid, fields=fields, home=home, follows=follows, tag_ids=tag_ids)
    )
    assert fate == "created"
    return customer_id


def follow(userid: str, **more: Any) -> FollowData:
    return FollowData(userid, **more)


def insert_row(customer_id: int, external_userid: str, **fields: Any) -> None:
    """Put a row of `customers` at an address behind the directory's back."""
    with sharding.atomic(customer_id) as alias:
        Customer.objects.using(alias).create(customer_id=customer_id, external_userid=external_userid, **fields)


def addresses_of(external_userid: str) -> list[int]:
    """Return every address at which a person has a row, in all homes."""
    return sorted(
        customer_id
        for home in sharding.shard_map().homes
        for customer_id in Customer.objects.using(sharding.alias(home))
        .filter(external_userid=external_userid)
        .values_list("customer_id", flat=True)
    )


def rows_at(customer_id: int) -> dict[str, int]:
    """Return {table: rows} of an address, over all partitioned tables that hold any."""
    alias = sharding.alias(sharding.home_of(customer_id))
    counts = {
        model._meta.db_table: model._base_manager.using(alias).filter(customer_id=customer_id).count()
        for model in sharding.partitioned_models()
    }
    return {table: count for table, count in counts.items() if count}


def state_of(external_userid: str) -> str | None:
    """Return the directory's state of a person."""
    return DirectoryEntry.objects.filter(external_userid=external_userid).values_list("state", flat=True).first()


def advisory_locks() -> int:
    """Return how many persons' locks anybody holds in the control database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database()) AND classid = %s",
            [0x5C43],
        )
        return cursor.fetchone()[0]
