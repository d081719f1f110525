import json
import re

import pytest
from django.db import connections
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from customers.models import Customer, Follow
from scrm import sharding
from tests.sharding.people import add_customers

LEAF = re.compile(r"^(\w+?)_(\d)$")


@pytest.fixture
def ids(clean_databases):
    return add_customers(100, 25)


def tables_of(plan):
    found = {plan["Relation Name"]} if "Relation Name" in plan else set()
    return found.union(*(tables_of(child) for child in plan.get("Plans", [])))


def leaves_of(sql):
    """Return the partitions that PostgreSQL's plan of a statement touches."""
    with connections["dept_100"].cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0]
    plan = json.loads(plan) if isinstance(plan, str) else plan
    return {table for table in tables_of(plan[0]["Plan"]) if LEAF.match(table)}


def leaves_touched(work):
    """Do work, and return the partitions that each of its SELECTs, UPDATEs and DELETEs touches."""
    with CaptureQueriesContext(connections["dept_100"]) as captured, sharding.atomic_home(100) as alias:
        work(alias)
    statements = [query["sql"] for query in captured if query["sql"].startswith(("SELECT", "UPDATE", "DELETE"))]
    assert statements
    return [leaves_of(sql) for sql in statements]


def save(customer_id):
    def work(alias):
        customer = Customer.objects.using(alias).get(customer_id=customer_id)
        customer.name = "李四"
        customer.save()

    return work


POINT_QUERIES = {
    "get": lambda alias, one: Customer.objects.using(alias).get(customer_id=one),
    "get by text": lambda alias, one: Customer.objects.using(alias).get(customer_id=str(one)),
    "get by pk": lambda alias, one: Customer.objects.using(alias).get(pk=one),
    "exists": lambda alias, one: Customer.objects.using(alias).filter(customer_id=one).exists(),
    "lock": lambda alias, one: Customer.objects.using(alias).select_for_update().get(customer_id=one),
    "in": lambda alias, one: list(Customer.objects.using(alias).filter(customer_id__in=[one])),
    "in_bulk": lambda alias, one: Customer.objects.using(alias).in_bulk([one]),
    "update": lambda alias, one: Customer.objects.using(alias).filter(customer_id=one).update(version=F("version") + 1),
    "save": lambda alias, one: save(one)(alias),
    "delete": lambda alias, one: Customer.objects.using(alias).filter(customer_id=one).delete(),
    "delete it": lambda alias, one: Customer.objects.using(alias).get(customer_id=one).delete(),
    "get_or_create": lambda alias, one: Customer.objects.using(alias).get_or_create(customer_id=one),
    "update_or_create": lambda alias, one: Customer.objects.using(alias).update_or_create(
        customer_id=one, defaults={"name": "李四"}
    ),
    "refresh": lambda alias, one: Customer.objects.using(alias).get(customer_id=one).refresh_from_db(),
    "bulk_update": lambda alias, one: Customer.objects.using(alias).bulk_update(
        [Customer(customer_id=one, name="李四")], ["name"]
    ),
}


@pytest.mark.parametrize("query", POINT_QUERIES.values(), ids=POINT_QUERIES.keys())
def test_a_point_query_touches_one_partition(ids, query):
    customer_id = ids[3]
    expected = {f"customers_{customer_id % 10}"}
    assert all(touched == expected for touched in leaves_touched(lambda alias: query(alias, customer_id)))


CHILD_QUERIES = {
    "list": lambda follows, key: list(follows.filter(customer_id=key[0])),
    "get": lambda follows, key: follows.get(customer_id=key[0], userid=key[2]),
    "get by pk": lambda follows, key: follows.get(pk=key),
    "save": lambda follows, key: follows.get(pk=key).save(),
    "update": lambda follows, key: follows.filter(customer_id=key[0]).update(remark="x"),
    "update_or_create": lambda follows, key: follows.update_or_create(
        customer_id=key[0], userid=key[2], defaults={"remark": "x"}
    ),
    "delete": lambda follows, key: follows.filter(customer_id=key[0]).delete(),
    "delete it": lambda follows, key: follows.get(pk=key).delete(),
    "bulk_update": lambda follows, key: follows.bulk_update(list(follows.filter(pk=key)), ["remark"]),
}


@pytest.mark.parametrize("query", CHILD_QUERIES.values(), ids=CHILD_QUERIES.keys())
def test_a_point_query_on_a_child_table_touches_one_partition(ids, query):
    customer_id = ids[3]
    with sharding.atomic(customer_id) as alias:
        Follow.objects.using(alias).create(customer_id=customer_id, userid="zhang")
    key = (customer_id, customer_id % 10, "zhang")
    touched = leaves_touched(lambda alias: query(Follow.objects.using(alias), key))
    assert all(leaves == {f"follows_{customer_id % 10}"} for leaves in touched)


def test_in_touches_the_partitions_of_its_ids_only(ids):
    wanted = [ids[2], ids[12], ids[5]]
    [touched] = leaves_touched(lambda alias: list(Customer.objects.using(alias).filter(customer_id__in=wanted)))
    assert touched == {f"customers_{one % 10}" for one in wanted}
    assert len(touched) == 2


def test_a_subquery_finds_its_rows_although_only_the_database_knows_their_buckets(ids):
    customers = Customer.objects.using("dept_100")
    assert (
        customers.filter(customer_id__in=customers.filter(customer_id__lte=ids[4]).values("customer_id")).count() == 5
    )
    assert customers.filter(customer_id=F("customer_id")).count() == 25
    assert customers.filter(customer_id__in=[F("customer_id")]).count() == 25


def test_exclude_leaves_out_just_those(ids):
    customers = Customer.objects.using("dept_100")
    assert customers.exclude(customer_id=ids[0]).count() == 24
    assert customers.exclude(customer_id__in=ids[:10]).count() == 15
    assert customers.filter(customer_id__in=[]).count() == customers.filter(customer_id__in=[None]).count() == 0


@pytest.mark.parametrize("value", [0, -1, -7, 2**63, -(2**63) - 1, 10**30])
def test_what_is_no_id_finds_nobody(ids, value):
    assert not Customer.objects.using("dept_100").filter(customer_id=value).exists()
    assert not Customer.objects.using("dept_100").filter(customer_id__in=[value]).exists()


def test_bulk_create_puts_each_row_into_the_table_of_its_bucket(ids):
    with sharding.cursor(100) as cursor:
        cursor.execute("SELECT customer_id, bucket, tableoid::regclass::text FROM customers")
        rows = cursor.fetchall()
    assert sorted(row[0] for row in rows) == ids
    assert all((bucket, table) == (one % 10, f"customers_{one % 10}") for one, bucket, table in rows)


def test_bulk_create_updates_what_is_there(ids):
    again = [Customer(customer_id=one, external_userid=f"wm{one}", name="赵六") for one in ids]
    with sharding.atomic_home(100) as alias:
        Customer.objects.using(alias).bulk_create(
            again, update_conflicts=True, unique_fields=["customer_id", "bucket"], update_fields=["name"]
        )
    assert set(Customer.objects.using("dept_100").values_list("name", flat=True)) == {"赵六"}


def test_the_bucket_follows_the_id_whatever_somebody_writes_into_it(ids):
    customer_id = sharding.allocate(100, 1)[0]
    with sharding.atomic(customer_id) as alias:
        customer = Customer(customer_id=customer_id, external_userid="wm", bucket=(customer_id + 1) % 10)
        customer.save(using=alias, force_insert=True)
    assert customer.bucket == customer_id % 10
