"""PUT, PATCH and DELETE of a customer through HTTP."""

import json
import threading
import time
import zlib
from typing import Any

import psycopg
import pytest
from django.db import connections

from customers import directory, tasks
from customers.directory import upsert
from customers.erasure import run_erasure
from customers.lookup import read
from customers.models import Department, DirectoryEntry, Erasure, Staff, Tag, TagGroup
from customers.records import CustomerData
from scrm import sharding
from scrm.celery import app
from scrm.held import forget_all
from scrm.sharding.models import Home
from tests.api.clients import ALL_BUT_PII, Api, fields, problem
from tests.customers.people import addresses_of, follow, make, state_of
from tests.databases import url_of
from tests.servers import PrivatePostgres

pytestmark = pytest.mark.usefixtures("nothing_held", "tags", "no_worker")


@pytest.fixture
def tags(nothing_held: None) -> None:
    group = TagGroup.objects.create(id="g1", name="等级")
    for number in ("et1", "et2"):
        Tag.objects.create(id=number, name=number, group=group)


@pytest.fixture
def no_worker(broker_client: object) -> None:
    """A broker that nobody listens at, emptied afterwards."""


@pytest.fixture
def company() -> None:
    Department.objects.create(id=100, name="华东")
    Department.objects.create(id=101, name="华南")
    for userid, department in (("zhang", 100), ("li", 100), ("chen", 101)):
        Staff.objects.create(userid=userid, name=userid).departments.add(department)
    forget_all()


WHOLE: dict[str, Any] = {
    "name": "王小明", "avatar": "https://wx.example/a.png", "type": 2, "gender": 1, "unionid": "o1",
    "corp_name": "甲公司", "position": "经理", "mobile": "+86 138-1234 5678",
    "attributes": {"level": 3, "shop": {"city": "上海"}}, "tags": ["et2", "et1"], "home": 101,
    "follows": [
        {"userid": "zhang", "remark": "老王", "description": "两行\n描述", "mobiles": ["13912340000"], "add_way": 1,
         "state": "门店", "created_at": "2026-01-02T03:04:05+08:00", "lost_at": None, "tags": ["et1"]},
    ],
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ PUT
def test_put_creates_and_answers_what_a_lookup_shows() -> None:
    api = Api()
    response = api.put("wm1", WHOLE)
    assert (response.status_code, response["Location"]) == (201, "/api/v1/customers/wm1/")
    seen = response.json()
    for name in ("name", "avatar", "type", "gender", "unionid", "corp_name", "position", "attributes", "home"):
        assert seen[name] == WHOLE[name], name
    assert (seen["mobile"], seen["version"], sharding.home_of(seen["customer_id"])) == ("+86****5678", 1, 101)
    assert [tag["id"] for tag in seen["tags"]] == seen["own_tags"] == ["et1", "et2"]
    (followed,) = seen["follows"]
    assert (followed["created_at"], followed["description"]) == ("2026-01-02T03:04:05+08:00", "两行\n描述")
    again = api.look_up("wm1")
    assert (again.json(), again["ETag"]) == (seen, response["ETag"])
    assert read("wm1")[0]["mobile"] == WHOLE["mobile"]  # type: ignore[index]


def test_the_same_again_changes_nothing() -> None:
    api = Api()
    first = api.put("wm1", WHOLE)
    for _ in range(2):
        again = api.put("wm1", WHOLE)
        assert (again.status_code, again.json()) == (200, first.json())
    assert again["X-Cache"] == "hit"  # not even the cache was emptied


def test_put_empties_what_is_ours_and_keeps_what_is_wecoms() -> None:
    api = Api()
    api.put("wm1", WHOLE)
    seen = api.put("wm1", {}).json()
    assert (seen["mobile"], seen["attributes"], seen["own_tags"], seen["version"]) == ("", {}, [], 2)
    assert (seen["name"], len(seen["follows"]), seen["unionid"]) == ("王小明", 1, "o1")
    assert api.put("wm1", {"follows": [], "unionid": None}).json()["follows"] == []


def test_null_attributes_are_not_kept() -> None:
    assert Api().put("wm1", {"attributes": {"a": None, "b": {"c": None}}}).json()["attributes"] == {"b": {"c": None}}


def test_home_is_fixed_once_chosen() -> None:
    api = Api()
    assert api.put("wm1", {"home": 101}).status_code == 201
    assert api.put("wm1", {"home": 101}).status_code == 200
    for method in (api.put, api.patch):
        assert problem(method("wm1", {"home": 100, "mobile": "1"})) == (409, "home_is_fixed")
    assert read("wm1")[0]["mobile"] == ""  # type: ignore[index]
    assert fields(api.put("wm2", {"home": 102})) == {"home": "unknown_home"}
    Home.objects.filter(home=100).update(is_open=False)
    forget_all()
    assert fields(api.put("wm2", {"home": 100})) == {"home": "unknown_home"}
    assert state_of("wm2") is None


def test_no_open_home_is_told() -> None:
    Home.objects.update(is_open=False)
    forget_all()
    assert problem(Api().put("wm1", {})) == (503, "no_open_home")


def test_wecoms_fields_are_refused_once_synced_and_the_same_values_are_not() -> None:
    make("wm1", name="王小明")
    upsert(CustomerData("wm1", {"name": "微信名"}, by_wecom=True, follows=(follow("zhang"),)))
    api = Api()
    for method in (api.put, api.patch):
        response = method("wm1", {"name": "别的", "gender": 2, "mobile": "1", "follows": []})
        assert problem(response) == (422, "owned_by_wecom")
        assert json.loads(response.content)["fields"] == ["name", "gender", "follows"]
    assert api.put("wm1", {"name": "微信名", "mobile": "13800000000"}).status_code == 200
    assert read("wm1")[0]["mobile"] == "13800000000"  # type: ignore[index]


def test_if_match_goes_by_the_version() -> None:
    api = Api()
    etag = api.put("wm1", {"mobile": "1"})["ETag"]
    assert api.patch("wm1", {"mobile": "2"}, If_Match=etag).status_code == 200
    for method in (api.put, api.patch):
        assert problem(method("wm1", {"mobile": "3"}, If_Match=etag)) == (412, "version_differs")
        assert problem(method("wm1", {"mobile": "3"}, If_Match='"1"')) == (412, "version_differs")
    assert api.patch("wm1", {"mobile": "3"}, If_Match='"2"').status_code == 200
    assert api.put("wm1", {"mobile": "4"}, If_Match="*").status_code == 200
    for header in ("*", '"1"'):
        assert problem(api.put("nobody", {}, If_Match=header)) == (412, "version_differs")
    assert fields(api.put("wm1", {}, If_Match="seven")) == {"If-Match": "invalid"}
    assert state_of("nobody") is None


# ------------------------------------------------------------------------------------------------------------ PATCH
def test_patch_changes_what_it_names_and_merges_attributes() -> None:
    api = Api()
    api.put("wm1", WHOLE)
    response = api.patch("wm1", {"attributes": {"level": None, "city": "上海"}, "position": "总监"})
    seen = response.json()
    assert response.status_code == 200
    assert seen["attributes"] == {"shop": {"city": "上海"}, "city": "上海"}
    assert (seen["position"], seen["name"], seen["own_tags"], seen["version"]) == ("总监", "王小明", ["et1", "et2"], 2)
    assert api.patch("wm1", {"attributes": {"city": "上海"}}).json()["version"] == 2
    assert api.patch("wm1", {"tags": []}).json()["own_tags"] == []
    assert api.patch("wm1", {}).status_code == 200


def test_patch_of_nobody_makes_nobody() -> None:
    api = Api()
    for external_userid in ("nobody", "x" * 65, "a\x01"):
        assert problem(api.patch(external_userid, {"mobile": "1"})) == (404, "unknown_customer")
    assert not DirectoryEntry.objects.exists()


def test_attributes_may_not_grow_past_the_limit_by_patches() -> None:
    api = Api()
    api.put("wm1", {"attributes": {"a": "x" * 3000}})
    assert problem(api.patch("wm1", {"attributes": {"b": "x" * 3000}})) == (422, "attributes_too_large")
    assert api.patch("wm1", {"attributes": {"a": None, "b": "x" * 3000}}).status_code == 200


# ----------------------------------------------------------------------------------------------------- bad bodies
@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"nmae": "王"}, {"nmae": "unknown"}),
        ({"customer_id": 1, "version": 2}, {"customer_id": "read_only", "version": "read_only"}),
        ({"profile": "高价值客户", "total_amount": "1"}, {"profile": "read_only", "total_amount": "read_only"}),
        ({"external_userid": "other"}, {"external_userid": "differs"}),
        ({"name": 5}, {"name": "not_text"}),
        ({"name": None}, {"name": "null"}),
        ({"name": ["王"]}, {"name": "not_text"}),
        ({"name": "x" * 129}, {"name": "max_length"}),
        ({"name": "a\u0001b"}, {"name": "unprintable"}),
        ({"name": "a\nb"}, {"name": "unprintable"}),
        ({"type": "1"}, {"type": "not_whole"}),
        ({"type": True}, {"type": "not_whole"}),
        ({"type": 3}, {"type": "invalid_choice"}),
        ({"gender": 1.0}, {"gender": "not_whole"}),
        ({"mobile": "138****5678"}, {"mobile": "invalid"}),
        ({"mobile": 13812345678}, {"mobile": "invalid"}),
        ({"mobile": "1" * 33}, {"mobile": "max_length"}),
        ({"attributes": []}, {"attributes": "invalid_attributes"}),
        ({"attributes": None}, {"attributes": "null"}),
        ({"attributes": {"a": "x" * 4090}}, {"attributes": "invalid_attributes"}),
        ({"attributes": {"a": 1e300}}, {"attributes": "invalid_attributes"}),
        ({"attributes": {"a": 2**63}}, {"attributes": "invalid_attributes"}),
        ({"attributes": {"a": 10**30}}, {"attributes": "invalid_attributes"}),
        ({"attributes": {"": 1}}, {"attributes": "invalid_attributes"}),
        ({"attributes": {"x" * 65: 1}}, {"attributes": "invalid_attributes"}),
        ({"attributes": {str(n): n for n in range(101)}}, {"attributes": "invalid_attributes"}),
        ({"attributes": {"a": [[[[[1]]]]]}}, {"attributes": "invalid_attributes"}),
        ({"tags": ["et9"]}, {"tags": "unknown_tag"}),
        ({"tags": "et1"}, {"tags": "not_a_list"}),
        ({"tags": [{"id": "et1"}]}, {"tags[0]": "not_text"}),
        ({"tags": ["et1"] * 201}, {"tags": "max_length"}),
        ({"home": "100"}, {"home": "not_whole"}),
        ({"home": 0}, {"home": "min_value"}),
        ({"home": 900_719}, {"home": "max_value"}),
        ({"home": 2**70}, {"home": "not_whole"}),
        ({"follows": {}}, {"follows": "not_a_list"}),
        ({"follows": [{}]}, {"follows[0].userid": "required"}),
        ({"follows": [{"userid": "a"}, {"userid": "a"}]}, {"follows": "repeated"}),
        ({"follows": [{"userid": " a"}]}, {"follows[0].userid": "invalid_userid"}),
        ({"follows": [{"userid": "a", "tag_ids": []}]}, {"follows[0].tag_ids": "unknown"}),
        ({"follows": [{"userid": "a", "created_at": "2026-01-01T00:00:00"}]}, {"follows[0].created_at": "no_moment"}),
        ({"follows": [{"userid": "a", "created_at": "0001-01-01T00:00:00+08:00"}]}, {"follows[0].created_at": "far"}),
        ({"follows": [{"userid": "a", "lost_at": "9999-12-31T23:59:59Z"}]}, {"follows[0].lost_at": "far"}),
        ({"follows": [{"userid": "a", "lost_at": 5}]}, {"follows[0].lost_at": "no_moment"}),
        ({"follows": [{"userid": "a", "mobiles": ["139****0000"]}]}, {"follows[0].mobiles[0]": "invalid"}),
        ({"follows": [{"userid": "a", "add_way": -1}]}, {"follows[0].add_way": "min_value"}),
        ({"follows": [{"userid": f"u{n}"} for n in range(201)]}, {"follows": "max_length"}),
    ],
)
def test_bad_fields_are_named_and_nothing_is_written(body: Any, wrong: dict[str, str]) -> None:
    make("there", name="原来")
    api = Api()
    assert fields(api.put("new", body)) == wrong
    assert fields(api.patch("there", body)) == wrong
    assert state_of("new") is None
    assert read("there")[0]["version"] == 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"", (400, "malformed")),
        (b"{", (400, "malformed")),
        (b'{"name": NaN}', (400, "malformed")),
        (b'{"attributes": {"a": 1e999}}', (400, "malformed")),
        (b'{"name": "\\ud800"}', (400, "malformed")),
        (b'{"name": "a\\u0000b"}', (400, "malformed")),
        (b'{"attributes": {"a\\u0000": 1}}', (400, "malformed")),
        (b"\xff\xfe", (400, "malformed")),
        (b'{"attributes":' + b'{"a":' * 5000 + b"1" + b"}" * 5001, (400, "malformed")),
        (b"[" * 100_000 + b"]" * 100_000, (400, "malformed")),
        (b"[]", (400, "invalid")),
        (b'"text"', (400, "invalid")),
        (b"null", (400, "invalid")),
        (b'{"attributes": {"a": "' + b"x" * 1_000_000 + b'"}}', (413, "too_large")),
    ],
)
def test_bad_bodies_are_clear_and_nothing_is_written(body: bytes, answer: tuple[int, str]) -> None:
    make("there")
    api = Api()
    assert problem(api.put("new", body)) == answer
    assert problem(api.patch("there", body)) == answer
    assert state_of("new") is None


def test_gzip_is_unpacked_and_bombs_are_not() -> None:
    api = Api()
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(json.dumps({"name": "王小明"}).encode()) + packer.flush()
    assert api.put("wm1", packed, Content_Encoding="gzip").json()["name"] == "王小明"
    bomb = zlib.compressobj(wbits=31)
    packed = bomb.compress(b'{"name": "' + b"a" * 50_000_000 + b'"}') + bomb.flush()
    assert problem(api.put("wm1", packed, Content_Encoding="gzip")) == (413, "too_large")
    assert problem(api.put("wm1", b"x", Content_Type="text/plain")) == (415, "unsupported_media_type")


@pytest.mark.parametrize("external_userid", ["x" * 65, "x" * 10_240, "a\x00b", "a\x1fb", " a", "a "])
def test_put_of_what_is_no_external_userid(external_userid: str) -> None:
    assert fields(Api().put(external_userid, {})) == {"external_userid": "invalid_external_userid"}
    assert not DirectoryEntry.objects.exists()


@pytest.mark.parametrize("external_userid", ["o'brien", "老王🙂", "a/b", '"', "a?b#c", "..", "%2F"])
def test_put_of_odd_ones(external_userid: str) -> None:
    api = Api()
    response = api.put(external_userid, {"name": 'O\'Neil "🙂" \\'})
    assert response.status_code == 201
    assert api.get(response["Location"].removeprefix("/api/v1")).json()["external_userid"] == external_userid
    assert response["Location"].isascii()


def test_new_tag_counts_at_once() -> None:
    api = Api()
    api.put("wm1", {"tags": ["et1"]})  # the library is held from now on
    Tag.objects.create(id="fresh", name="新标签", group_id="g1")
    assert api.patch("wm1", {"tags": ["fresh"]}).json()["tags"] == [{"id": "fresh", "name": "新标签", "group": "等级"}]


# ------------------------------------------------------------------------------------------------------------ scope
def test_put_on_one_out_of_scope_answers_409_and_nothing_else(company: None) -> None:
    make("theirs", home=101, follows=(follow("chen"),))
    api = Api(departments=[100])
    response = api.put("theirs", {"mobile": "1"})
    assert problem(response) == (409, "conflict")
    assert set(json.loads(response.content)) == {"type", "title", "status", "code"}
    assert problem(api.patch("theirs", {"mobile": "1"})) == (404, "unknown_customer")
    assert problem(api.delete("theirs")) == (404, "unknown_customer")
    assert (state_of("theirs"), read("theirs")[0]["version"]) == ("live", 1)  # type: ignore[index]


def test_restricted_key_sees_whom_it_creates(company: None) -> None:
    api = Api(departments=[100])
    for external_userid, body in (
        ("by-home", {"home": 100}),
        ("by-follow", {"home": 101, "follows": [{"userid": "zhang"}]}),
        *((f"chosen{n}", {}) for n in range(8)),
    ):
        response = api.put(external_userid, body)
        assert response.status_code == 201, response.content
        assert api.look_up(external_userid).status_code == 200
        assert response.json()["home"] == (101 if external_userid == "by-follow" else 100)
    for body, wrong in (
        ({"home": 101}, ["home"]),
        ({"follows": [{"userid": "chen"}]}, ["follows"]),
        ({"home": 101, "follows": [{"userid": "zhang", "lost_at": "2026-01-01T00:00:00+08:00"}]}, ["home"]),
    ):
        response = api.put("elsewhere", body)
        assert problem(response) == (422, "out_of_scope")
        assert json.loads(response.content)["fields"] == wrong
    assert state_of("elsewhere") is None
    assert problem(Api("none", departments=[555]).put("elsewhere", {})) == (422, "out_of_scope")


def test_follows_that_a_key_does_not_see_stay(company: None) -> None:
    make("shared", follows=(follow("zhang", remark="z"), follow("li"), follow("chen", remark="c")))
    api = Api(departments=[100])
    seen = api.put("shared", {"follows": [{"userid": "zhang", "remark": "新"}]}).json()
    assert [(one["userid"], one["remark"]) for one in seen["follows"]] == [("zhang", "新")]
    stored = {one["userid"]: one["remark"] for one in read("shared")[0]["follows"]}  # type: ignore[index]
    assert stored == {"zhang": "新", "chen": "c"}
    assert problem(api.patch("shared", {"follows": [{"userid": "chen"}]})) == (422, "out_of_scope")
    # Its own last follow taken off, the customer is out of its sight: done, and nothing to show.
    assert (api.patch("shared", {"follows": []}).status_code, api.look_up("shared").status_code) == (204, 404)


def test_writing_asks_for_its_scope() -> None:
    make("wm1")
    api = Api(scopes=["customers:read"])
    assert problem(api.put("wm1", {})) == (403, "missing_scope")
    assert problem(api.patch("wm1", {})) == (403, "missing_scope")
    assert problem(api.delete("wm1")) == (403, "missing_scope")


# ------------------------------------------------------------------------------------------------------------ crowds
def test_many_puts_at_once_make_one_customer_and_lose_no_write() -> None:
    api = Api()
    statuses: list[int] = []

    def put(n: int) -> None:
        response = api.put("crowded", {"attributes": {"n": n}})
        statuses.append(response.status_code)
        connections.close_all()

    threads = [threading.Thread(target=put, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 11 + [201]
    assert len(addresses_of("crowded")) == 1
    seen = api.look_up("crowded").json()
    stored = read("crowded")[0]
    assert stored is not None
    assert (seen["attributes"], seen["version"]) == (stored["attributes"], stored["version"])


def test_home_that_is_down_refuses_its_own(fragile_department: PrivatePostgres) -> None:
    make("there", home=101)
    fragile_department.stop()
    connections["dept_101"].close()
    api = Api()
    for response in (
        api.put("there", {"mobile": "1"}),
        api.patch("there", {"mobile": "1"}),
        api.put("x", {"home": 101}),
    ):
        assert problem(response) == (503, "department_unavailable")
        assert json.loads(response.content)["home"] == 101
    assert api.put("here", {"home": 100}).status_code == 201
    fragile_department.start()


# ------------------------------------------------------------------------------------------------------------ DELETE
def test_erasure_is_begun_told_of_and_followed(broker_client: Any) -> None:
    make("wm1", home=101, follows=(follow("zhang"),))
    api = Api()
    api.look_up("wm1")
    before = broker_client.llen("celery")
    response = api.delete("wm1")
    assert response.status_code == 202
    job = response.json()
    assert response["Location"] == f"/api/v1/erasures/{job['id']}/"
    assert (job["state"], job["places"], job["waiting_for"], job["finished_at"]) == ("running", {}, [], None)
    assert broker_client.llen("celery") == before + 1
    assert problem(api.look_up("wm1")) == (404, "unknown_customer")
    assert problem(api.put("wm1", {})) == (409, "erasure_in_progress")
    assert problem(api.patch("wm1", {})) == (404, "unknown_customer")
    again = api.delete("wm1")
    assert (again.status_code, again.json()["id"]) == (202, job["id"])
    tasks.erase(job["id"])
    done = api.get(f"/erasures/{job['id']}/").json()
    assert (done["state"], done["waiting_for"]) == ("done", [])
    assert done["places"]["dept_101"]["rows"] == {"customers": 1, "follows": 1, "dirty_customers": 1}
    assert set(done["places"]) == {
        "dept_100", "dept_101", "cache", "inbox", "groups", "waiting_behaviours", "identities",
    }  # fmt: skip
    assert "wm1" not in json.dumps(done)
    assert problem(api.delete("wm1")) == (404, "unknown_customer")
    assert api.put("wm1", {}).status_code == 201  # asked for by name, so made anew


def test_erasure_of_nobody() -> None:
    api = Api()
    for external_userid in ("nobody", "x" * 65, "a\x00b"):
        assert problem(api.delete(external_userid)) == (404, "unknown_customer")
    assert not Erasure.objects.exists()


def test_erasure_of_somebody_whom_others_hold_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    make("wm1")
    api = Api()
    monkeypatch.setattr(directory, "LOCK_TIMEOUT_SECONDS", 0.2)
    with psycopg.connect(url_of("default"), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", [directory.LOCK_SPACE, directory.stripe_of("wm1")])
        response = api.delete("wm1")
        assert problem(response) == (503, "busy")
        assert api.put("wm1", {"mobile": "1"}).status_code == 200  # who only changes them waits for nobody
    assert api.delete("wm1").status_code == 202


def test_broker_down_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    make("wm1")
    api = Api()
    for name in ("broker_url", "broker_write_url"):
        monkeypatch.setattr(app.conf, name, "redis://127.0.0.1:1/0")
    # What is kept of the broker of before.
    monkeypatch.setattr(app, "_pool", None)
    monkeypatch.setattr(app.amqp, "_producer_pool", None)
    began = time.monotonic()
    assert api.delete("wm1").status_code == 202
    assert time.monotonic() - began < 5  # as it was, with kombu's defaults, 6 s
    assert state_of("wm1") == "erasing"


def test_who_may_follow_an_erasure(company: None) -> None:
    make("ours", home=100)
    make("also-ours", home=100)
    restricted, other, all_seeing = Api("r", departments=[100]), Api("o", departments=[100]), Api("a")
    job = restricted.delete("ours").json()
    assert restricted.delete("ours").json()["id"] == job["id"]
    assert problem(other.delete("ours")) == (404, "unknown_customer")
    path = f"/erasures/{job['id']}/"
    assert (restricted.get(path).status_code, all_seeing.get(path).status_code) == (200, 200)
    assert problem(other.get(path)) == (404, "unknown_erasure")
    assert problem(all_seeing.get("/erasures/00000000-0000-0000-0000-000000000000/")) == (404, "unknown_erasure")
    assert problem(all_seeing.get("/erasures/7/")) == (404, "not_found")
    assert problem(Api("w", scopes=["customers:write"]).get(path)) == (403, "missing_scope")


def test_erasing_waits_for_a_home_that_is_down(fragile_department: PrivatePostgres) -> None:
    make("wm1", home=101)
    fragile_department.stop()
    connections["dept_101"].close()
    api = Api()
    job = api.delete("wm1").json()
    run_erasure(job["id"])
    seen = api.get(f"/erasures/{job['id']}/").json()
    assert (seen["state"], seen["waiting_for"]) == ("running", ["dept_101"])
    fragile_department.start()


def test_clear_mobiles_are_answered_to_writers_who_may_read_them() -> None:
    api = Api(scopes=(*ALL_BUT_PII, "pii:read"))
    assert api.put("wm1", {"mobile": "13812345678"}).json()["mobile"] == "13812345678"
    assert Api("masked").patch("wm1", {"name": "王"}).json()["mobile"] == "138****5678"
