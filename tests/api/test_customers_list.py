"""The list of customers through HTTP."""

import json
import time
from urllib.parse import urlencode

import pytest
from django.db import connections

from customers.directory import upsert
from customers.erasure import request_erasure, run_erasure
from customers.models import Audit, Department, Staff, Tag, TagGroup
from customers.records import CustomerData
from scrm import sharding
from scrm.held import forget_all
from tests.api.clients import ALL_BUT_PII, Api, fields, problem
from tests.counting import Counted
from tests.customers.people import follow, make
from tests.servers import PrivatePostgres

pytestmark = pytest.mark.usefixtures("nothing_held", "company")


@pytest.fixture
def company(nothing_held: None) -> None:
    Department.objects.create(id=100, name="华东")
    Department.objects.create(id=10, name="上海", parent_id=100)
    Department.objects.create(id=101, name="华南")
    for userid, department in (("zhang", 100), ("li", 10), ("chen", 101)):
        Staff.objects.create(userid=userid, name=userid).departments.add(department)
    group = TagGroup.objects.create(id="g1", name="等级")
    Tag.objects.create(id="et1", name="金卡", group=group)
    forget_all()


def page(api: Api, **parameters: object) -> dict:
    response = api.get(f"/customers/?{urlencode(parameters)}")
    assert response.status_code == 200, response.content
    return response.json()


def listed(api: Api, **parameters: object) -> list[str]:
    """Follow a list to its end; return the external_userids."""
    seen: list[str] = []
    cursor: dict[str, object] = {}
    for _ in range(100):
        found = page(api, **parameters, **cursor)
        seen += [one["external_userid"] for one in found["results"]]
        if found["next"] is None:
            return seen
        cursor = {"cursor": found["next"]}
    raise AssertionError("The list has no end.")


def test_list_gives_what_lookups_give_in_order_of_customer_id() -> None:
    for n in range(7):
        make(f"wm{n}", home=100 + n % 2, name=f"客户{n}", mobile="13812345678", follows=(follow("zhang"),))
    api = Api()
    found = page(api)
    assert set(found) == {"results", "next", "unavailable"}
    assert (found["next"], found["unavailable"], len(found["results"])) == (None, [], 7)
    ids = [one["customer_id"] for one in found["results"]]
    assert ids == sorted(ids)
    for one in found["results"]:
        assert one == api.look_up(one["external_userid"]).json()
    assert sorted(listed(api, limit=2)) == [f"wm{n}" for n in range(7)]


def test_filters() -> None:
    make("a", home=100, name="王一", follows=(follow("li", tag_ids=("et1",)),))
    make("b", home=101, name="李二", follows=(follow("chen"),), tag_ids=("et1",))
    c = make("c", home=100, name="王三")
    with sharding.atomic(c), sharding.cursor(100) as cursor:
        cursor.execute("UPDATE customers SET profile = '高价值客户' WHERE customer_id = %s", [c])
    api = Api()
    assert listed(api, home=100) == ["a", "c"]
    assert listed(api, department=100) == ["a", "c"]
    assert listed(api, department=10) == ["a"]
    assert listed(api, department=101) == ["b"]
    assert listed(api, profile="高价值客户") == ["c"]
    assert listed(api, profile="none") == ["a", "b"]
    assert listed(api, profile="没有这一类") == []
    assert listed(api, tag="et1") == ["a", "b"]
    assert listed(api, q="王") == ["a", "c"]
    assert listed(api, q="b") == ["b"]
    assert listed(api, q="王一", home=100, department=100, tag="et1") == ["a"]
    assert listed(api, q="", tag="") == ["a", "c", "b"]  # empty is not given


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("home=102", {"home": "unknown_home"}),
        ("home=abc", {"home": "out_of_range"}),
        ("home=１００", {"home": "out_of_range"}),
        ("home=-1", {"home": "out_of_range"}),
        ("home=99999999999999999999", {"home": "out_of_range"}),
        ("home=100&home=101", {"home": "repeated"}),
        ("department=7", {"department": "unknown_department"}),
        ("department=x", {"department": "out_of_range"}),
        ("tag=nope", {"tag": "unknown_tag"}),
        ("limit=0", {"limit": "out_of_range"}),
        ("limit=501", {"limit": "out_of_range"}),
        ("limit=ten", {"limit": "out_of_range"}),
        ("q=" + "x" * 65, {"q": "too_long"}),
        ("q=%00", {"q": "invalid_character"}),
        ("profile=" + "x" * 65, {"profile": "too_long"}),
        ("nmae=x", {"nmae": "unknown"}),
    ],
)
def test_parameters_that_are_wrong_are_named(query: str, wrong: dict[str, str]) -> None:
    assert fields(Api().get(f"/customers/?{query}")) == wrong


@pytest.mark.parametrize("cursor", ["x", "AAAA", "é", "a" * 7999, "null"])
def test_what_is_no_cursor(cursor: str) -> None:
    assert problem(Api().get(f"/customers/?cursor={cursor}")) == (400, "bad_cursor")


def test_cursor_belongs_to_its_filters() -> None:
    for n in range(3):
        make(f"wm{n}", home=100)
    api = Api()
    cursor = page(api, home=100, limit=1)["next"]
    assert len(page(api, home=100, limit=2, cursor=cursor)["results"]) == 2
    for other in ({}, {"home": 101}, {"home": 100, "q": "王"}):
        assert problem(api.get(f"/customers/?{urlencode({**other, 'cursor': cursor})}")) == (400, "bad_cursor")


def test_queries_of_a_page() -> None:
    for n in range(5):
        make(f"wm{n}", home=100, follows=(follow("zhang"),))
    api = Api(departments=[100])
    page(api, home=100)
    with Counted() as counted:
        assert len(page(api, home=100, limit=5)["results"]) == 5
    assert counted.counts == {"default": 1, "dept_100": 2, "dept_101": 0}


# ------------------------------------------------------------------------------------------------------------ scope
def test_restricted_key_lists_its_own_over_all_homes_and_no_hint_of_others() -> None:
    make("ours", home=101, name="王一", follows=(follow("li", tag_ids=("et1",)), follow("chen")))
    make("theirs", home=100, name="王二", follows=(follow("chen", tag_ids=("et1",)),))
    make("nobodys", home=100, name="王三")
    api = Api(departments=[100])
    assert listed(api) == ["nobodys", "ours"]
    for query in ({"q": "王"}, {"q": "theirs"}, {"tag": "et1"}, {"department": 101}):
        assert "theirs" not in listed(api, **query)
    (seen,) = page(api, q="王一")["results"]
    assert [one["userid"] for one in seen["follows"]] == ["li"]


def test_clear_mobiles_of_a_page_leave_a_row_each() -> None:
    for n in range(3):
        make(f"wm{n}", home=100, mobile=f"1381234000{n}")
    api = Api(scopes=(*ALL_BUT_PII, "pii:read"))
    assert [one["mobile"] for one in page(api, limit=2)["results"]] == ["13812340000", "13812340001"]
    assert Audit.objects.filter(action="read_mobile", actor="api:shop").values("subject").distinct().count() == 2
    assert page(Api("masked"))["results"][0]["mobile"] == "138****0000"


def test_list_asks_for_its_scope() -> None:
    assert problem(Api(scopes=["customers:write"]).get("/customers/")) == (403, "missing_scope")


# ------------------------------------------------------------------------------------------------ coming and going
def test_next_stays_set_while_a_home_is_owed(fragile_department: PrivatePostgres) -> None:
    for n in range(4):
        make(f"wm{n}", home=100 + n % 2)
    fragile_department.stop()
    connections["dept_101"].close()
    api = Api()
    found = page(api)
    assert [one["external_userid"] for one in found["results"]] == ["wm0", "wm2"]
    assert (found["unavailable"], found["next"] is None) == ([101], False)
    empty = page(api, cursor=found["next"])
    assert (empty["results"], empty["unavailable"], empty["next"] is None) == ([], [101], False)
    assert page(api, home=100)["next"] is None
    fragile_department.start()
    found = _until_back(api, empty["next"])
    assert [one["external_userid"] for one in found["results"]] == ["wm1", "wm3"]
    assert (found["next"], found["unavailable"]) == (None, [])


def _until_back(api: Api, cursor: str) -> dict:
    for _ in range(300):
        found = page(api, cursor=cursor)
        if not found["unavailable"]:
            return found
        time.sleep(0.02)
    raise AssertionError("It does not come back.")


def test_each_is_seen_once_while_others_come_and_go() -> None:
    steady = [f"steady{n}" for n in range(10)]
    for n, one in enumerate(steady):
        make(one, home=100 + n % 2)
        make(f"doomed{n}", home=100 + n % 2)
    api = Api()
    seen: list[str] = []
    cursor: dict[str, object] = {}
    for step in range(60):
        found = page(api, limit=3, **cursor)
        seen += [one["external_userid"] for one in found["results"]]
        if found["next"] is None:
            break
        cursor = {"cursor": found["next"]}
        if step < 10:
            upsert(CustomerData(f"new{step}"))
            run_erasure(request_erasure(f"doomed{step}", actor="test").id)
    assert all(seen.count(one) == 1 for one in steady)
    assert len(seen) == len(set(seen))


def test_pages_are_json_that_is_not_kept_by_proxies() -> None:
    response = Api().get("/customers/")
    assert (response["Content-Type"], response["Cache-Control"]) == ("application/json", "private, no-cache")
    assert json.loads(response.content) == {"results": [], "next": None, "unavailable": []}
