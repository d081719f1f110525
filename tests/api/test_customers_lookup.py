"""GET of one customer through HTTP: what it shows, to whom, and what it costs."""

import json
from urllib.parse import quote

import pytest
import redis
from django.db import connection, connections

from customers.directory import upsert
from customers.erasure import request_erasure
from customers.identity import digest
from customers.models import Audit, Department, Staff, Tag, TagGroup
from customers.moves import move_customer
from customers.records import CustomerData
from scrm.held import forget_all
from tests.api.clients import ALL_BUT_PII, Api, problem
from tests.counting import Counted
from tests.customers.people import follow, make
from tests.servers import PrivatePostgres, PrivateValkey

pytestmark = pytest.mark.usefixtures("nothing_held")


@pytest.fixture
def company() -> None:
    Department.objects.create(id=1, name="总部")
    Department.objects.create(id=100, name="华东", parent_id=1)
    Department.objects.create(id=101, name="华南", parent_id=1)
    for userid, department in (("zhang", 100), ("chen", 101)):
        Staff.objects.create(userid=userid, name=userid).departments.add(department)
    group = TagGroup.objects.create(id="g1", name="等级")
    for number in ("et1", "et2", "et3"):
        Tag.objects.create(id=number, name=f"标签{number}", group=group)
    forget_all()


# ---------------------------------------------------------------------------------------------------- what it shows
def test_customer_as_the_contract_says(company: None) -> None:
    follows = (
        follow("zhang", remark="老王", mobiles=("13912340000",), add_way=1, tag_ids=("et1",)),
        follow("chen", tag_ids=("et3",)),
    )
    customer_id = make(
        "wm1", home=100, name="王小明", mobile="13812345678", attributes={"level": 3}, follows=follows, tag_ids=("et2",)
    )
    response = Api().look_up("wm1")
    assert (response.status_code, response["Content-Type"], response["X-Cache"]) == (200, "application/json", "miss")
    seen = response.json()
    assert set(seen) == {
        "customer_id", "external_userid", "home", "created_at", "updated_at", "version", "name", "avatar", "type",
        "gender", "unionid", "corp_name", "position", "follows", "mobile", "attributes", "tags", "own_tags", "profile",
        "profile_updated_at", "lifecycle", "purchase_count", "interaction_count", "total_amount", "last_purchase_at",
        "last_interaction_at",
    }  # fmt: skip
    assert (seen["customer_id"], seen["home"], seen["version"]) == (customer_id, 100, 1)
    assert (seen["mobile"], seen["attributes"], seen["total_amount"]) == ("138****5678", {"level": 3}, "0.00")
    assert seen["created_at"].endswith("+08:00")
    assert [tag["id"] for tag in seen["tags"]] == ["et1", "et2", "et3"]
    assert seen["own_tags"] == ["et2"]
    assert seen["tags"][0] == {"id": "et1", "name": "标签et1", "group": "等级"}
    followed = next(one for one in seen["follows"] if one["userid"] == "zhang")
    assert set(followed) == {
        "userid", "remark", "description", "mobiles", "add_way", "state", "created_at", "lost_at", "lost_by",
        "tags", "personal_tags",
    }  # fmt: skip
    assert followed["mobiles"] == ["139****0000"]


def test_second_lookup_is_a_hit_and_a_write_makes_it_a_miss() -> None:
    make("wm1")
    api = Api()
    assert [api.look_up("wm1")["X-Cache"] for _ in range(3)] == ["miss", "hit", "hit"]
    upsert(CustomerData("wm1", {"name": "新"}))
    response = api.look_up("wm1")
    assert (response["X-Cache"], response.json()["name"], response.json()["version"]) == ("miss", "新", 2)


def test_unknown_customer_is_remembered_for_some_seconds_and_found_once_created() -> None:
    api = Api()
    answers = [api.look_up("nobody") for _ in range(3)]
    assert {problem(one) for one in answers} == {(404, "unknown_customer")}
    assert [one["X-Cache"] for one in answers] == ["miss", "negative", "negative"]
    make("nobody")
    assert api.look_up("nobody").status_code == 200


def test_redis_down_is_a_bypass(private_cache: PrivateValkey) -> None:
    make("wm1", name="王小明")
    api = Api()
    private_cache.stop()
    response = api.look_up("wm1")
    assert (response.status_code, response["X-Cache"], response.json()["name"]) == (200, "bypass", "王小明")
    assert problem(api.look_up("nobody")) == (404, "unknown_customer")


def test_etag_saves_sending_the_same_again_and_follows_what_is_shown(company: None) -> None:
    make("wm1", tag_ids=("et1",))
    api = Api()
    first = api.look_up("wm1")
    same = api.look_up("wm1", If_None_Match=first["ETag"])
    assert (same.status_code, same.content, same["ETag"], same["X-Cache"]) == (304, b"", first["ETag"], "hit")
    Tag.objects.filter(id="et1").update(name="改名")
    forget_all()
    renamed = api.look_up("wm1", If_None_Match=first["ETag"])
    assert (renamed.status_code, renamed.json()["tags"][0]["name"]) == (200, "改名")
    assert renamed["ETag"].split("-")[0] == first["ETag"].split("-")[0]  # the version is the same


def test_head_is_a_get_without_a_body() -> None:
    make("wm1")
    response = Api().send("HEAD", "/customers/wm1/")
    assert (response.status_code, response["X-Cache"], response.content) == (200, "miss", b"")


# ---------------------------------------------------------------------------------------------------- what it costs
def test_queries_of_a_restricted_key_are_counted_exactly(company: None) -> None:
    for external_userid in ("cold", "cold-too", "cached"):
        make(external_userid, home=100, follows=(follow("zhang", tag_ids=("et1",)),), tag_ids=("et2",))
    api = Api(departments=[100])
    api.look_up("cached")  # from now on the process holds keys, organisation and tags
    with Counted() as cached:
        assert api.look_up("cached")["X-Cache"] == "hit"
    assert cached.counts == {"default": 0, "dept_100": 0, "dept_101": 0}, cached.queries
    with Counted() as cold:
        assert api.look_up("cold")["X-Cache"] == "miss"
    assert cold.counts == {"default": 1, "dept_100": 2, "dept_101": 0}, cold.queries
    with Counted() as unknown:
        assert problem(api.look_up("nobody")) == (404, "unknown_customer")
    assert unknown.counts == {"default": 1, "dept_100": 0, "dept_101": 0}, unknown.queries
    with Counted() as again:
        assert problem(api.look_up("nobody")) == (404, "unknown_customer")
    assert again.counts == {"default": 0, "dept_100": 0, "dept_101": 0}, again.queries


def test_unrestricted_and_by_address_cost_no_more(company: None) -> None:
    customer_id = make("wm1", home=101, follows=(follow("chen"),))
    make("warm")
    api = Api()
    api.look_up("warm")
    with Counted() as cold:
        api.look_up("wm1")
    assert cold.counts == {"default": 1, "dept_100": 0, "dept_101": 2}
    with Counted() as address:
        assert api.get(f"/customers/by-id/{customer_id}/")["X-Cache"] == "hit"
    assert address.counts == {"default": 1, "dept_100": 0, "dept_101": 0}


# ---------------------------------------------------------------------------------------------------- to whom
def test_out_of_scope_is_answered_exactly_as_unknown(company: None) -> None:
    make("theirs", home=101, follows=(follow("chen"),))
    api = Api(departments=[100])
    for _round in range(3):
        theirs, nobody = api.look_up("theirs"), api.look_up("nobody")
        assert problem(theirs) == (404, "unknown_customer")
        assert theirs.content == nobody.content
        assert dict(theirs.headers) == dict(nobody.headers)


def test_restricted_key_sees_its_own_follows_only(company: None) -> None:
    make("shared", follows=(follow("zhang", tag_ids=("et1",)), follow("chen", tag_ids=("et3",))))
    seen = Api(departments=[100]).look_up("shared").json()
    assert [one["userid"] for one in seen["follows"]] == ["zhang"]
    assert [tag["id"] for tag in seen["tags"]] == ["et1"]
    assert len(Api("other").look_up("shared").json()["follows"]) == 2


def test_mobiles_in_clear_go_past_the_cache_and_into_the_audit(redis_client: redis.Redis) -> None:
    make("wm1", mobile="13812345678", follows=(follow("zhang", mobiles=("13912340000",)),))
    api = Api(scopes=(*ALL_BUT_PII, "pii:read"))
    response = api.look_up("wm1")
    assert response["X-Cache"] == "bypass"
    assert (response.json()["mobile"], response.json()["follows"][0]["mobiles"]) == ("13812345678", ["13912340000"])
    assert redis_client.get("wxwork_customer:wm1") is None
    trail = Audit.objects.get()
    assert (trail.actor, trail.action, trail.subject) == ("api:shop", "read_mobile", digest("wm1").hex())
    assert problem(api.look_up("nobody")) == (404, "unknown_customer")
    assert Audit.objects.count() == 1
    # Who has no such key is shown masked ones, and leaves no trace.
    Api("masked").look_up("wm1")
    assert b"13812345678" not in (redis_client.get("wxwork_customer:wm1") or b"")
    assert Audit.objects.count() == 1


def test_out_of_scope_mobiles_are_neither_shown_nor_audited(company: None) -> None:
    make("theirs", home=101, follows=(follow("chen"),), mobile="13812345678")
    api = Api(scopes=(*ALL_BUT_PII, "pii:read"), departments=[100])
    assert problem(api.look_up("theirs")) == (404, "unknown_customer")
    assert not Audit.objects.exists()


def test_key_is_asked_for_and_must_have_the_scope() -> None:
    make("wm1")
    api = Api(scopes=["profiles:read"])
    assert problem(api.look_up("wm1")) == (403, "missing_scope")
    api.token = "scrm_wrong"
    assert problem(api.look_up("wm1")) == (401, "invalid_key")
    assert api.look_up("wm1")["WWW-Authenticate"].startswith("Bearer")


# ---------------------------------------------------------------------------------------------------- odd ids
@pytest.mark.parametrize(
    "external_userid",
    ["o'brien", '"quoted"', "老王🙂", "a/b", "a//b", "a%2Fb", "a b", "..", "../x", "a?b#c", "a+b", "profile", "x" * 64],
)
def test_whatever_an_external_userid_is_made_of_it_is_found(external_userid: str) -> None:
    make(external_userid)
    response = Api().look_up(external_userid)
    assert response.status_code == 200
    assert response.json()["external_userid"] == external_userid


@pytest.mark.parametrize(
    "external_userid", ["x" * 65, "x" * 10_240, "a\x00b", "a\nb", "\x85", " a", "%ff", "王" * 5000]
)
def test_what_cannot_be_an_external_userid_asks_no_database(external_userid: str, redis_client: redis.Redis) -> None:
    api = Api()
    api.look_up("warm")
    with Counted() as counted:
        assert problem(api.look_up(external_userid)) == (404, "unknown_customer")
    assert counted.counts["dept_100"] == counted.counts["dept_101"] == 0
    assert counted.counts["default"] == (1 if external_userid == "%ff" else 0)  # which is legal text
    assert not any(len(key) > 200 for key in redis_client.scan_iter())


def test_bytes_that_are_no_text_are_nobodys() -> None:
    assert Api().get("/customers/%ff%fe/").status_code == 404


# ---------------------------------------------------------------------------------------------------- by address
def test_address_leads_to_the_customer_also_after_moves() -> None:
    old = make("wm1", home=100, name="王小明")
    new = move_customer("wm1", 101, actor="test")
    api = Api()
    for customer_id in (old, new):
        seen = api.get(f"/customers/by-id/{customer_id}/").json()
        assert (seen["customer_id"], seen["name"]) == (new, "王小明")


@pytest.mark.parametrize(
    "text",
    ["0", "-1", str(2**63), str(2**64), "1", "1000000000000", "abc", "1e12", "１０００００００００００１",
     "+1000000000001", "01000000000001", "%20", "9007199254740993", "99999999999999999999999",
     "1000000000001.0", "x" * 10_000],
)  # fmt: skip
def test_what_is_no_customer_id_asks_no_database(text: str) -> None:
    api = Api()
    api.look_up("warm")
    with Counted() as counted:
        assert problem(api.get(f"/customers/by-id/{quote(text, safe='%')}/")) == (404, "unknown_customer")
    assert set(counted.counts.values()) == {0}


def test_address_in_an_unknown_home_or_of_nobody_is_unknown() -> None:
    api = Api()
    for customer_id in (7_000_000_000_042, 1_000_000_000_042):
        assert problem(api.get(f"/customers/by-id/{customer_id}/")) == (404, "unknown_customer")


def test_address_of_the_half_erased_and_out_of_scope_is_unknown(company: None) -> None:
    erasing = make("erasing")
    request_erasure("erasing", actor="test")
    theirs = make("theirs", home=101, follows=(follow("chen"),))
    assert problem(Api().get(f"/customers/by-id/{erasing}/")) == (404, "unknown_customer")
    assert problem(Api("r", departments=[100]).get(f"/customers/by-id/{theirs}/")) == (404, "unknown_customer")


# ---------------------------------------------------------------------------------------------------- what is down
def test_home_that_is_down_is_named_and_cached_customers_still_answer(fragile_department: PrivatePostgres) -> None:
    for external_userid in ("cached", "cold"):
        make(external_userid, home=101)
    make("here", home=100)
    api = Api()
    api.look_up("cached")
    fragile_department.stop()
    connections["dept_101"].close()
    assert api.look_up("cached")["X-Cache"] == "hit"
    assert api.look_up("here").status_code == 200
    response = api.look_up("cold")
    assert problem(response) == (503, "department_unavailable")
    body = json.loads(response.content)
    assert (body["home"], body["department"]) == (101, "dept_101")
    assert "dept_101" in body["detail"]
    assert response["Retry-After"]
    fragile_department.start()


def test_control_database_down_is_no_500() -> None:
    make("cached")
    make("cold")
    api = Api()
    api.look_up("cached")
    entry = connections.settings["default"]
    port = entry["PORT"]
    connection.close()
    entry["PORT"] = "1"
    try:
        assert api.look_up("cached")["X-Cache"] == "hit"
        assert problem(api.look_up("cold")) == (503, "temporarily_unavailable")
    finally:
        entry["PORT"] = port
        connection.close()


# ---------------------------------------------------------------------------------------------------- everything else
def test_paths_and_methods_that_are_not_there_are_problems() -> None:
    api = Api()
    assert problem(api.get("/nothing/")) == (404, "not_found")
    assert problem(api.get("/customers/wm1")) == (404, "not_found")
    assert problem(api.send("PUT", "/customers/wm1", {})) == (404, "not_found")
    for method, path in (("POST", "/customers/wm1/"), ("DELETE", "/customers/"), ("PUT", "/customers/by-id/1/")):
        response = api.send(method, path, {})
        assert problem(response) == (405, "method_not_allowed")
        assert response["Allow"]
    assert problem(api.send("OPTIONS", "/customers/wm1/")) == (405, "method_not_allowed")
