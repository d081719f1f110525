"""Every query about one known customer touches one partition of each table: planned so, not filtered afterwards.

The product's functions run; what they sent is sent again under EXPLAIN. A query that names more partitions than one
costs twenty times the planning, and its lock on all of them.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from customers import lookup, notes, writing
from customers.directory import upsert
from customers.erasure import request_erasure, run_erasure
from customers.listing import Filters, list_customers
from customers.marks import mark_dirty
from customers.models import Customer, CustomerTag, Follow, Note
from customers.moves import move_customer
from customers.records import CustomerData
from customers.settling import is_at, remove_rows
from scrm import sharding
from scrm.sharding import fanout
from tests.customers.people import follow, make

PARTITION = re.compile(r"_\d$")
EXPLAINABLE = re.compile(r"^\s*(WITH|SELECT|INSERT|UPDATE|DELETE|\()", re.IGNORECASE)


def relations(plan: Any) -> Iterator[str]:
    """Yield the name of every relation that a plan reads or writes, triggers excepted."""
    if isinstance(plan, list):
        for one in plan:
            yield from relations(one)
    elif isinstance(plan, dict):
        if "Relation Name" in plan:
            yield plan["Relation Name"]
        for value in plan.values():
            yield from relations(value)


def partitions_touched(sql: str, alias: str) -> dict[str, set[str]]:
    """Return {table: partitions} that the plan of a statement names; an INSERT names its parent only."""
    with connections[alias].cursor() as cursor:
        cursor.execute("EXPLAIN (FORMAT JSON) " + sql.replace("%", "%%"), [])
        (plan,) = cursor.fetchone()
    plan = json.loads(plan) if isinstance(plan, str) else plan
    touched: dict[str, set[str]] = {}
    for name in relations(plan):
        if PARTITION.search(name):
            touched.setdefault(PARTITION.sub("", name), set()).add(name)
    return touched


def explained(do: Callable[[], object], home: int = 100) -> list[tuple[str, dict[str, set[str]]]]:
    """Run something; return each statement that it sent to a home, with the partitions that its plan names."""
    alias = sharding.alias(home)
    with CaptureQueriesContext(connections[alias]) as queries:
        do()
    statements = [query["sql"] for query in queries.captured_queries if EXPLAINABLE.match(query["sql"])]
    assert statements, "It sent nothing."
    return [(sql, partitions_touched(sql, alias)) for sql in statements]


def assert_one_partition(do: Callable[[], object], customer_id: int) -> None:
    bucket = customer_id % 10
    for sql, touched in explained(do, sharding.home_of(customer_id)):
        for table, partitions in touched.items():
            assert partitions == {f"{table}_{bucket}"}, sql


@pytest.fixture
def customer_id() -> int:
    return make(
        "wm1",
        home=100,
        name="王小明",
        follows=(follow("zhang", tag_ids=("et9",)), follow("li")),
        tag_ids=("et1", "et2"),
    )


def test_the_measure_sees_what_is_not_pruned(customer_id: int) -> None:
    ((_, touched),) = explained(lambda: list(Customer.objects.using("dept_100").filter(external_userid="wm1")))
    assert len(touched["customers"]) == 10


def test_lookup(customer_id: int) -> None:
    statements = explained(lambda: lookup.find_customer(customer_id))
    assert len(statements) == 2
    assert_one_partition(lambda: lookup.find_customer(customer_id), customer_id)
    assert_one_partition(lambda: lookup.load("wm1"), customer_id)


def test_lookup_of_a_row_that_a_writer_holds(customer_id: int) -> None:
    where = {"id": customer_id, "bucket": customer_id % 10}
    with connections["dept_100"].cursor() as cursor:
        sql = cursor.mogrify(lookup.PLAIN_ROW, where)
    touched = partitions_touched(sql if isinstance(sql, str) else sql.decode(), "dept_100")
    assert touched == {t: {f"{t}_{customer_id % 10}"} for t in ("customers", "follows", "customer_tags")}


def test_update_of_fields_follows_and_tags(customer_id: int) -> None:
    changes = [
        CustomerData("wm1", {"name": "王明", "attributes": {"level": 1}}),
        CustomerData(
            "wm1", {"name": "王"}, follows=(follow("li", remark="老王"), follow("chen")), tag_ids=("et1", "et3")
        ),
        CustomerData("wm1", {"name": "王", "attributes": {"level": 2}}, merge_attributes=True),
        CustomerData("wm1", follows=(), tag_ids=()),
    ]
    for change in changes:
        assert_one_partition(lambda change=change: upsert(change), customer_id)  # type: ignore[misc]


def test_creation() -> None:
    created: list[int] = []

    def create() -> None:
        created.append(make("wm2", home=100, follows=(follow("zhang"),), tag_ids=("et1",)))

    for sql, touched in explained(create):
        assert all(partitions == {f"{t}_{created[0] % 10}"} for t, partitions in touched.items()), sql


def test_bump_and_marks(customer_id: int) -> None:
    def write() -> None:
        with sharding.atomic(customer_id):
            writing.bump(100, [customer_id])
            mark_dirty(100, [customer_id])

    assert_one_partition(write, customer_id)


def test_notes(customer_id: int) -> None:
    assert_one_partition(lambda: notes.add_note(customer_id, author="zhang", text="喜欢红茶"), customer_id)
    assert_one_partition(lambda: notes.list_notes(customer_id), customer_id)


@pytest.mark.parametrize("model", [Customer, Follow, CustomerTag, Note])
def test_querysets_by_customer_id(customer_id: int, model: Any) -> None:
    for way in ({"customer_id": customer_id}, {"customer_id__in": [customer_id]}):
        assert_one_partition(lambda way=way: list(model.objects.using("dept_100").filter(**way)), customer_id)  # type: ignore[misc]


def test_save_update_and_delete_of_an_object(customer_id: int) -> None:
    def save_and_delete() -> None:
        with sharding.atomic(customer_id) as alias:
            customer = Customer.objects.using(alias).get(customer_id=customer_id)
            customer.mobile = "13800000000"
            customer.save()
            Customer.objects.using(alias).filter(customer_id=customer_id).update(mobile="")
            Follow.objects.using(alias).filter(customer_id=customer_id, userid="li").delete()

    assert_one_partition(save_and_delete, customer_id)


def test_removal(customer_id: int) -> None:
    assert_one_partition(lambda: is_at(customer_id, "wm1"), customer_id)
    assert_one_partition(lambda: remove_rows(customer_id, "wm1"), customer_id)


def test_move(customer_id: int) -> None:
    new: list[int] = []
    assert_one_partition(lambda: new.append(move_customer("wm1", 101, actor="test")), customer_id)
    (target,) = new
    assert_one_partition(lambda: move_customer("wm1", 100, actor="test"), target)


def test_erasure_looks_everywhere_by_identity_and_deletes_at_one_address(customer_id: int) -> None:
    """The only query about one person that asks ten partitions: an erasure trusts no directory."""
    job = request_erasure("wm1", actor="test")
    seen = explained_in_threads(lambda: run_erasure(job.id))
    for sql, touched in seen:
        if "external_userid" in sql and "customer_id" not in sql.split("WHERE")[1]:
            assert len(touched["customers"]) == 10
        else:
            assert all(partitions == {f"{t}_{customer_id % 10}"} for t, partitions in touched.items()), sql


def explained_in_threads(do: Callable[[], object]) -> list[tuple[str, dict[str, set[str]]]]:
    """Like explained, for what asks the homes from threads of a pool, by way of the server's own log of statements."""
    fanout._thread.is_fanning_out = True  # all homes in this thread, where the queries are captured
    try:
        return explained(do)
    finally:
        fanout._thread.is_fanning_out = False


def test_list_reads_children_of_a_page_by_key(customer_id: int) -> None:
    """A page asks all partitions for its customers, as it must; of their follows and tags only those there are."""
    page, children = explained(lambda: list_customers(Filters(home=100)))
    assert len(page[1]["customers"]) == 10
    with connections["dept_100"].cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + children[0].replace("%", "%%"), [])
        plan = json.dumps(cursor.fetchone()[0])
    executed = {
        name for name, loops in re.findall(r'"Relation Name": "(\w+_\d)".*?"Actual Loops": (\d+)', plan) if loops != "0"
    }
    assert executed == {f"follows_{customer_id % 10}", f"customer_tags_{customer_id % 10}"}
