"""Listing and searching across homes: each customer once, in order, whatever comes and goes (customers.listing)."""

import time

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from customers.access import Scope
from customers.directory import upsert
from customers.erasure import request_erasure, run_erasure
from customers.listing import Filters, list_customers
from customers.models import DirectoryEntry
from customers.records import CustomerData
from scrm import sharding
from tests.customers.people import follow, insert_row, make
from tests.servers import PrivatePostgres


def names(filters: Filters) -> list[str]:
    return [one.customer["name"] for one in list_customers(filters, limit=100).items]


def test_order_is_by_customer_id_and_pages_join_without_a_gap() -> None:
    ids = sorted(make(f"wm{n}", home=100 + n % 2) for n in range(23))
    seen: list[int] = []
    position = None
    sizes = []
    while True:
        page = list_customers(Filters(), position=position, limit=5)
        seen += [one.customer_id for one in page.items]
        sizes.append(len(page.items))
        position = page.position
        if position is None:
            break
    assert seen == ids
    assert sizes == [5, 5, 5, 5, 3]


def test_page_costs_two_queries_a_home_and_one_on_control() -> None:
    for n in range(6):
        make(f"wm{n}", home=100, follows=(follow("zhang"),), tag_ids=("et1",))
    with (
        CaptureQueriesContext(connections["default"]) as control,
        CaptureQueriesContext(connections["dept_100"]) as home,
    ):
        assert len(list_customers(Filters(home=100), limit=5).items) == 5
    assert (len(control), len(home)) == (1, 2)


def test_search_finds_names_of_one_and_two_characters_and_whole_ids() -> None:
    for n, name in enumerate(["王一", "王小明", "李小明", "小王", "Anna 100%", "ANNA_B", "O'Neil", 'say "hi"', ""]):
        make(f"wm{n}", home=100 + n % 2, name=name)
    found = {
        q: sorted(names(Filters(q=q)))
        for q in ("王一", "王", "小明", "anna", "%", "_", "O'N", '"hi"', "wm1", "WM1", "没有", "王小明明")
    }
    assert found == {
        "王一": ["王一"], "王": ["小王", "王一", "王小明"], "小明": ["李小明", "王小明"],
        "anna": ["ANNA_B", "Anna 100%"], "%": ["Anna 100%"], "_": ["ANNA_B"], "O'N": ["O'Neil"],
        '"hi"': ['say "hi"'], "wm1": ["王小明"], "WM1": [], "没有": [], "王小明明": [],
    }  # fmt: skip


def test_filters_narrow_together() -> None:
    make("a", home=100, name="甲", tag_ids=("et1",))
    make("b", home=101, name="乙", follows=(follow("zhang", tag_ids=("et1",)),))
    c = make("c", home=101, name="丙", follows=(follow("li", tag_ids=("et2",)),))
    with sharding.atomic(c), sharding.cursor(101) as cursor:
        cursor.execute("UPDATE customers SET profile = '高价值客户' WHERE customer_id = %s", [c])
    assert names(Filters(tag="et1")) == ["甲", "乙"]
    assert names(Filters(tag="et1", home=101)) == ["乙"]
    assert names(Filters(profile="高价值客户")) == ["丙"]
    assert names(Filters(profile="")) == ["甲", "乙"]
    assert names(Filters(tag="et2", profile="高价值客户", home=101, q="丙")) == ["丙"]
    with pytest.raises(sharding.UnknownHomeError):
        list_customers(Filters(home=102))


def test_who_is_not_to_be_found_is_not_listed_either() -> None:
    make("live", name="在")
    make("erasing", name="删除中")
    request_erasure("erasing", actor="test")
    (half_created,) = sharding.allocate(100, 1)
    DirectoryEntry.objects.create(external_userid="half", customer_id=half_created, state="creating")
    insert_row(half_created, "half", name="半")
    insert_row(sharding.allocate(101, 1)[0], "stray", name="孤儿")
    assert names(Filters()) == ["在"]


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_everybody_who_was_there_all_along_is_seen_exactly_once(
    limit: int, fragile_department: PrivatePostgres
) -> None:
    """While rows come and go, and a department goes down before the end and comes back after it."""
    steady = {make(f"steady{n}", home=100 + n % 2) for n in range(20)}
    for n in range(20):
        make(f"doomed{n}", home=100 + n % 2)
    seen: list[int] = []
    unavailable: list[int] = []
    position = None
    for step in range(400):
        page = list_customers(Filters(), position=position, limit=limit)
        assert len(page.items) <= limit
        seen += [one.customer_id for one in page.items]
        unavailable += page.unavailable
        position = page.position
        if position is None:
            break
        if step < 50:
            upsert(CustomerData(f"new{step}", home=100))
        if step < 20:
            run_erasure(request_erasure(f"doomed{step}", actor="test").id)
        if step == 1:
            fragile_department.stop()
            connections["dept_101"].close()
        elif unavailable and not fragile_department.is_running:
            fragile_department.start()
            _until_reachable()
    else:
        raise AssertionError("The list has no end.")
    assert [seen.count(one) for one in steady] == [1] * 20
    assert len(seen) == len(set(seen))
    assert set(unavailable) == {101}


def _until_reachable() -> None:
    for _attempt in range(200):
        try:
            connections["dept_101"].ensure_connection()
        except sharding.HomeUnavailableError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("dept_101 does not come back.")


def test_a_department_tells_nothing_of_follows_that_are_not_seen() -> None:
    make("wm1", name="甲", follows=(follow("ours"), follow("theirs")))
    make("wm2", name="乙", follows=(follow("ours"), follow("both")))
    mine = Scope(frozenset({1}), frozenset({"ours", "both"}))
    theirs = Filters(department=Scope(frozenset({2}), frozenset({"theirs", "both"})))
    assert [one.customer["name"] for one in list_customers(theirs, scope=mine).items] == ["乙"]
    assert [one.customer["name"] for one in list_customers(theirs).items] == ["甲", "乙"]
