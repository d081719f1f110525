"""Put customers straight into department databases, without a directory: what these tests are about lies below it."""

from collections.abc import Sequence

from customers.models import Customer
from scrm import sharding


def add_customers(home: int, count: int) -> list[int]:
    """Insert customers with new ids, committed; return their ids."""
    return insert_customers(home, sharding.allocate(home, count))


def insert_customers(home: int, customer_ids: Sequence[int]) -> list[int]:
    with sharding.atomic_home(home) as alias:
        Customer.objects.using(alias).bulk_create(
            [Customer(customer_id=one, external_userid=f"wm{one}", name="王一") for one in customer_ids]
        )
    return list(customer_ids)


def names(home: int) -> set[str]:
    return set(Customer.objects.using(sharding.alias(home)).values_list("name", flat=True))
