"""Segments over HTTP: saving, refusing, members, previews, who may."""

import pytest

from customers.models import Audit, Department, Staff
from customers.organisation import organisation
from profiles.models import Segment
from scrm import held
from tests.api.clients import ALL_BUT_PII, Api, problem
from tests.profiles.behaviours import item, people, record
from tests.profiles.segments import changes, compute, condition, dynamic, members, static

pytestmark = pytest.mark.usefixtures("clean_databases")
BUYERS = [[condition("purchase_count", ">=", 1)]]


@pytest.fixture(autouse=True)
def _nothing_held():
    held.forget_all()
    yield
    held.forget_all()


def body(name="买过", **more):
    return {"name": name, "groups": BUYERS, **more}


def test_a_segment_is_saved_computed_listed_and_deleted() -> None:
    api = Api()
    a, _b = people("wmA", "wmB")
    record(item("1"))
    response = api.send("POST", "/segments/", body(description="付过钱的"))
    made = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/api/v1/segments/{made['id']}/"
    assert (made["state"], made["count"], made["version"], made["words"]) == ("computing", 0, 1, ["购买次数 ≥ 1"])
    assert made["created_by"] == "api:shop"
    compute()
    seen = api.get(f"/segments/{made['id']}/").json()
    assert (seen["state"], seen["count"], seen["counts"]) == ("ready", 1, {"100": 1, "101": 0})
    assert seen["progress"] == {"100": 1.0, "101": 1.0}
    assert [one["customer_id"] for one in api.get(f"/segments/{made['id']}/members/").json()["results"]] == [a]
    listed = api.get(f"/customers/?segment={made['id']}").json()
    assert [one["customer_id"] for one in listed["results"]] == [a]
    assert listed["next"] is None
    history = api.get(f"/segments/{made['id']}/history/").json()
    assert [(one["entered"], one["left"]) for one in history["results"]] == [(1, 0)]
    assert [one["id"] for one in api.get("/segments/").json()["results"]] == [made["id"]]
    assert api.send("DELETE", f"/segments/{made['id']}/").status_code == 204
    assert problem(api.get(f"/segments/{made['id']}/")) == (404, "unknown_segment")
    assert list(Audit.objects.order_by("id").values_list("action", flat=True)) == ["create_segment", "delete_segment"]


@pytest.mark.parametrize(
    ("groups", "place", "reason"),
    [
        ([[condition("shoe_size", ">", 1)]], "groups[0][0].field", "没有 shoe_size 这个字段"),
        ([BUYERS[0], [condition("purchase_count", ">", 1, window_days=-3)]], "groups[1][0].window_days", "-3"),
        ([[condition("segment", "in", "77")]], "groups[0][0].value", "没有编号为 77 的人群"),
        ([[condition("segment", "in", "007")]], "groups[0][0].value", "没有编号为 007 的人群"),
        ([[]], "groups[0]", "至少"),
        ([], "groups", "至少"),
        ("all", "groups", "列表"),
        ([BUYERS[0]] * 11, "groups", "最多 10 组"),
        ([[condition("purchase_count", ">", 1)] * 21], "groups[0]", "最多 20 个条件"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_place_and_reason(groups, place, reason) -> None:
    response = Api().send("POST", "/segments/", body(groups=groups))
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert (error["field"], error["code"]) == (place, "invalid_segment")
    assert reason in error["message"]
    assert Segment.objects.count() == 0


def test_names_are_unique_and_circles_are_refused() -> None:
    api = Api()
    one = dynamic("一", *BUYERS, computed=False)
    two = dynamic("二", [condition("segment", "in", str(one.pk))], computed=False)
    response = api.send("PATCH", f"/segments/{one.pk}/", {"groups": [[condition("segment", "not_in", str(two.pk))]]})
    (error,) = response.json()["errors"]
    assert error["field"] == "groups[0][0].value"
    assert error["message"] == "人群循环引用：一 → 二 → 一"
    own = api.send("PATCH", f"/segments/{one.pk}/", {"groups": [[condition("segment", "in", str(one.pk))]]})
    assert own.json()["errors"][0]["message"] == "人群循环引用：一 → 一"
    assert api.send("PATCH", f"/segments/{two.pk}/", {"name": "一"}).json()["errors"][0]["field"] == "name"
    assert problem(api.send("DELETE", f"/segments/{one.pk}/")) == (409, "segment_in_use")
    assert api.send("DELETE", f"/segments/{one.pk}/").json()["used_by"] == ["二"]
    one.refresh_from_db()
    assert (one.version, one.groups) == (1, BUYERS)


def test_other_conditions_grow_the_version_and_the_same_again_does_nothing() -> None:
    api = Api()
    a, b = people("wmA", "wmB")
    record(item("1"), item("2"), item("3", "wmB"))
    segment = dynamic("买过", *BUYERS)
    assert members(segment) == {a, b}
    assert api.send("PATCH", f"/segments/{segment.pk}/", {"groups": BUYERS}).json()["version"] == 1
    changed = api.send("PATCH", f"/segments/{segment.pk}/", {"groups": [[condition("purchase_count", ">=", 2)]]}).json()
    assert (changed["version"], changed["state"], changed["count"]) == (2, "computing", 2)
    assert compute() == 1
    assert members(segment) == {a}
    assert changes(segment)[-1] == (b, False, "definition")
    paused = api.send("PATCH", f"/segments/{segment.pk}/", {"is_active": False}).json()
    assert paused["state"] == "paused"
    record(item("4", "wmB"))
    assert compute() == 0
    assert members(segment) == {a}
    assert api.send("PATCH", f"/segments/{segment.pk}/", {"is_active": True}).json()["state"] == "computing"
    assert compute() == 1
    assert members(segment) == {a, b}


def test_members_of_static_segments_are_changed_by_hand_and_what_uses_them_follows() -> None:
    api = Api()
    a, b = people("wmA", "wmB")
    people("wmC", home=101)
    chosen = static("活动名单")
    rest = dynamic("不在名单", [condition("segment", "not_in", str(chosen.pk))])
    done = api.send("POST", f"/segments/{chosen.pk}/members/", {"add": ["wmA", "wmB", "nobody", "wmA"]}).json()
    assert done == {"added": 2, "removed": 0, "unknown": ["nobody"], "unavailable": []}
    assert members(chosen) == {a, b}
    assert a not in members(rest)
    assert len(members(rest)) == 1
    assert api.send("POST", f"/segments/{chosen.pk}/members/", {"add": ["wmA"]}).json()["added"] == 0
    done = api.send("POST", f"/segments/{chosen.pk}/members/", {"add": ["wmC"], "remove": ["wmA"]}).json()
    assert (done["added"], done["removed"]) == (1, 1)
    assert changes(chosen)[-1][1:] in [(True, "api:shop"), (False, "api:shop")]
    assert a in members(rest)
    assert api.get(f"/segments/{chosen.pk}/").json()["counts"] == {"100": 1, "101": 1}
    assert problem(api.send("POST", f"/segments/{rest.pk}/members/", {"add": ["wmA"]})) == (409, "dynamic_segment")
    assert problem(api.send("POST", f"/segments/{chosen.pk}/members/", {})) == (400, "invalid")
    assert problem(api.send("POST", f"/segments/{chosen.pk}/members/", {"add": ["x"] * 1001})) == (400, "invalid")
    assert problem(api.send("POST", "/segments/", body("静态", kind="static"))) == (400, "invalid")


def test_a_preview_counts_on_real_data_and_saves_nothing() -> None:
    people("wmA", "wmB")
    people("wmC", home=101)
    record(item("1"), item("2", "wmC"))
    found = Api().send("POST", "/segments/preview/", {"groups": BUYERS})
    assert found.json() == {
        "count": 2, "is_exact": True, "estimate": 2, "looked_at": 3, "customers": 3, "unavailable": [],
        "words": ["购买次数 ≥ 1"],
    }  # fmt: skip
    assert Segment.objects.count() == 0
    assert problem(Api("again").send("POST", "/segments/preview/", {"groups": 1})) == (400, "invalid")


def test_a_restricted_key_sees_its_own_and_changes_no_definition() -> None:
    Department.objects.create(id=100, name="华东")
    Staff.objects.create(userid="zhang", name="张").departments.set([100])
    organisation.forget()
    a, b = people("wmA", "wmB")
    (c,) = people("wmC", home=101)
    record(item("1"), item("2", "wmB"), item("3", "wmC"))
    segment = dynamic("买过", *BUYERS)
    api = Api("east", departments=[100])
    assert members(segment) == {a, b, c}
    assert api.get(f"/segments/{segment.pk}/").json()["count"] == 2
    assert api.get("/segments/").json()["results"][0]["count"] is None
    assert [one["customer_id"] for one in api.get(f"/segments/{segment.pk}/members/").json()["results"]] == [a, b]
    counted = api.send("POST", "/segments/preview/", {"groups": BUYERS}).json()
    assert [counted[name] for name in ("count", "estimate", "looked_at", "customers")] == [2, 2, 2, 2]
    assert problem(api.send("POST", "/segments/", body("又一个"))) == (403, "forbidden")
    assert problem(api.send("PATCH", f"/segments/{segment.pk}/", {"is_active": False})) == (403, "forbidden")
    assert problem(api.send("DELETE", f"/segments/{segment.pk}/")) == (403, "forbidden")
    assert problem(api.get(f"/segments/{segment.pk}/history/")) == (403, "forbidden")
    chosen = static("名单")
    done = api.send("POST", f"/segments/{chosen.pk}/members/", {"add": ["wmA", "wmC"]}).json()
    assert (done["added"], done["unknown"]) == (1, ["wmC"])
    assert members(chosen) == {a}


def test_scopes() -> None:
    reader = Api("reader", scopes=["profiles:read"])
    writer = Api("writer", scopes=["segments:write"])
    segment = static("名单")
    for response in (
        reader.send("POST", "/segments/", body()), reader.send("PATCH", f"/segments/{segment.pk}/", {}),
        reader.send("DELETE", f"/segments/{segment.pk}/"),
        reader.send("POST", f"/segments/{segment.pk}/members/", {"add": ["a"]}),
        writer.get("/segments/"), writer.get(f"/segments/{segment.pk}/"), writer.send("POST", "/segments/preview/", {}),
        writer.get(f"/segments/{segment.pk}/members/"), writer.get(f"/segments/{segment.pk}/history/"),
    ):  # fmt: skip
        assert problem(response) == (403, "missing_scope")
    assert problem(Api("nobody", scopes=ALL_BUT_PII).get("/customers/?segment=99")) == (400, "invalid")
    assert problem(reader.get(f"/segments/{2**63}/")) == (404, "unknown_segment")
