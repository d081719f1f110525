"""Recommendations through HTTP."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from customers.directory import upsert_many
from customers.models import Audit, Department, Staff
from customers.records import CustomerData, FollowData
from profiles.models import RecommendationRule
from profiles.recommendations import rules
from scrm.held import forget_all
from tests.api.clients import ALL_BUT_PII, Api, customer, fields, problem
from tests.counting import Counted
from tests.profiles.behaviours import item, record
from tests.profiles.recommending import only_rule, people, rule, stored, suggest
from tests.servers import PrivatePostgres

# Borrowed from the tests of the API.
from tests.api.conftest import nothing_held, private_cache  # isort: skip

__all__ = ["nothing_held", "private_cache"]

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
LIST = "/recommendations/"

pytestmark = pytest.mark.usefixtures("nothing_held", "broker_client")


@pytest.fixture(autouse=True)
def clock(nothing_held: None) -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as clock:
        forget_all()
        yield clock


@pytest.fixture
def company(clock: time_machine.Traveller) -> None:
    Department.objects.create(id=100, name="华东")
    Department.objects.create(id=101, name="华南")
    for userid, department in (("zhang", 100), ("chen", 101)):
        Staff.objects.create(userid=userid, name=userid).departments.add(department)
    forget_all()


def of(external_userid: str) -> str:
    return f"{customer(external_userid)}recommendations/"


def read(api: Api, path: str) -> Any:
    response = api.get(path)
    assert response.status_code == 200, response.content
    return response.json()


def test_what_to_do_next_about_a_customer() -> None:
    (customer_id,) = people("wmA")
    low = only_rule(name="低", base_score=20, reason="买过 {purchase_count} 次")
    high = rule("高", action="win_back", base_score=90, reason="请召回")
    suggest()
    found = read(Api(), of("wmA"))
    assert (found["customer_id"], found["external_userid"]) == (customer_id, "wmA")
    assert found["next"] == found["results"][0]
    assert [one["rule"] for one in found["results"]] == [
        {"id": high.pk, "name": "高"},
        {"id": low.pk, "name": "低"},
    ]
    assert found["results"][1] == {
        "id": str(stored(rule_id=low.pk)[0].recommendation_id),
        "customer_id": customer_id,
        "external_userid": "wmA",
        "action": "thank",
        "state": "open",
        "score": 20,
        "reason": "买过 0 次",
        "numbers": {"purchase_count": 0},
        "items": [],
        "rule": {"id": low.pk, "name": "低"},
        "made_at": "2026-11-25T11:00:00+08:00",
        "expires_at": "2026-12-09T11:00:00+08:00",
        "decided_at": None,
        "decided_by": "",
        "decision_reason": "",
    }


def test_nobody_to_suggest_anything_for() -> None:
    people("wmA")
    RecommendationRule.objects.all().delete()
    found = read(Api(), of("wmA"))
    assert (found["next"], found["results"]) == (None, [])
    assert problem(Api("other").get(of("wmNobody"))) == (404, "unknown_customer")


def test_accept_and_dismiss() -> None:
    people("wmA")
    only_rule()
    suggest()
    api = Api()
    one = read(api, of("wmA"))["next"]
    path = f"{of('wmA')}{one['id']}"
    done = api.send("POST", f"{path}/accept/", {"reason": "已联系\n周五到店"})
    assert done.status_code == 200
    assert done.json() == one | {
        "state": "accepted", "decided_at": "2026-11-25T11:00:00+08:00", "decided_by": "api:shop",
        "decision_reason": "已联系\n周五到店",
    }  # fmt: skip
    assert api.send("POST", f"{path}/accept/").json() == done.json()  # without a body, and again
    refused = api.send("POST", f"{path}/dismiss/", {})
    assert problem(refused) == (409, "already_decided")
    assert refused.json()["recommendation"]["state"] == "accepted"
    assert read(api, of("wmA"))["results"] == []
    assert [one["state"] for one in read(api, f"{LIST}?state=any")["results"]] == ["accepted"]


def test_wrong_decisions(clock: time_machine.Traveller) -> None:
    people("wmA", "wmB")
    only_rule()
    suggest()
    api = Api()
    path = f"{of('wmA')}{read(api, of('wmA'))['next']['id']}"
    assert fields(api.send("POST", f"{path}/accept/", {"note": "x"})) == {"note": "unknown"}
    assert fields(api.send("POST", f"{path}/accept/", {"reason": 5})) == {"reason": "not_text"}
    assert fields(api.send("POST", f"{path}/accept/", {"reason": "x" * 501})) == {"reason": "max_length"}
    assert problem(api.send("POST", f"{path}/accept/", b"{")) == (400, "malformed")
    assert problem(api.get(f"{path}/accept/")) == (405, "method_not_allowed")
    assert problem(api.send("POST", f"{of('wmA')}{uuid.uuid4()}/accept/")) == (404, "unknown_recommendation")
    assert problem(api.send("POST", f"{of('wmA')}no-uuid/accept/")) == (404, "unknown_recommendation")
    theirs = path.replace("wmA", "wmB")
    assert problem(api.send("POST", f"{theirs}/accept/")) == (404, "unknown_recommendation")
    assert problem(api.send("POST", f"{of('wmNobody')}{uuid.uuid4()}/accept/")) == (404, "unknown_customer")
    clock.shift(timedelta(days=14))
    assert problem(api.send("POST", f"{path}/accept/")) == (409, "not_open")
    assert {one.state for one in stored()} == {"open"}


def test_undo(clock: time_machine.Traveller) -> None:
    people("wmA", "wmB")
    made = only_rule()
    suggest()
    api = Api()
    one = read(api, of("wmA"))["next"]
    path = f"{of('wmA')}{one['id']}"
    assert api.send("POST", f"{path}/undo/").json() == one  # open already
    api.send("POST", f"{path}/dismiss/", {"reason": "不合适"})
    made.refresh_from_db()
    assert made.dismissed == 1
    clock.shift(timedelta(minutes=9))
    done = api.send("POST", f"{path}/undo/")
    assert (done.status_code, done.json()) == (200, one)
    assert (api.send("POST", f"{path}/undo/").json(), read(api, of("wmA"))["next"]) == (one, one)
    made.refresh_from_db()
    assert made.dismissed == 0
    said = Audit.objects.filter(action="reopen_recommendation").values_list("actor", "detail")
    assert list(said) == [("api:shop", {"action": "thank", "rule": made.pk})]  # once, however often it is asked for
    api.send("POST", f"{path}/accept/")
    clock.shift(timedelta(minutes=10))
    late = api.send("POST", f"{path}/undo/")
    assert (problem(late), late.json()["recommendation"]["state"]) == ((409, "too_late"), "accepted")
    other = f"{of('wmB')}{read(api, of('wmB'))['next']['id']}"
    clock.shift(timedelta(days=14))
    assert problem(api.send("POST", f"{other}/undo/")) == (409, "not_open")
    assert problem(api.send("POST", f"{of('wmA')}{uuid.uuid4()}/undo/")) == (404, "unknown_recommendation")
    assert problem(api.send("POST", f"{of('wmA')}no-uuid/undo/")) == (404, "unknown_recommendation")
    reader = Api("reader", scopes=["profiles:read"])
    assert problem(reader.send("POST", f"{path}/undo/")) == (403, "missing_scope")
    made.refresh_from_db()
    assert (made.accepted, made.dismissed) == (1, 0)


def test_what_would_be_over_at_once_is_not_opened_again() -> None:
    (a,) = people("wmA")
    thanks, back = only_rule(), rule("召回", action="win_back")
    suggest()
    api = Api()
    found = {one["action"]: f"{of('wmA')}{one['id']}" for one in read(api, of("wmA"))["results"]}
    for path in found.values():
        assert api.send("POST", f"{path}/accept/").status_code == 200
    rules.set_active(thanks.pk, is_active=False)
    record(item("e1", occurred_at="2026-11-24T12:00:00+08:00"), now=datetime.now(UTC))
    for path in found.values():
        late = api.send("POST", f"{path}/undo/")
        assert (problem(late), late.json()["recommendation"]["state"]) == ((409, "too_late"), "accepted")
    assert [one.state for one in stored(customer_id=a)] == ["accepted", "accepted"]
    assert list(RecommendationRule.objects.filter(pk__in=[thanks.pk, back.pk]).values_list("accepted", flat=True)) == [
        1, 1,
    ]  # fmt: skip
    assert not Audit.objects.filter(action="reopen_recommendation").exists()


def test_deciding_has_a_scope_of_its_own() -> None:
    people("wmA")
    only_rule()
    suggest()
    reader = Api("reader", scopes=["profiles:read"])
    one = read(reader, of("wmA"))["next"]
    refused = reader.send("POST", f"{of('wmA')}{one['id']}/accept/")
    assert (problem(refused), refused.json()["scope"]) == ((403, "missing_scope"), "recommendations:write")
    decider = Api("decider", scopes=["recommendations:write"])
    assert problem(decider.get(of("wmA"))) == (403, "missing_scope")
    assert decider.send("POST", f"{of('wmA')}{one['id']}/accept/").status_code == 200


def test_out_of_scope_there_is_nothing(company: None) -> None:
    people("wmA", home=100, staff="zhang")
    people("wmB", home=100, staff="chen")
    only_rule()
    suggest()
    south = Api("south", scopes=ALL_BUT_PII, departments=[101])
    assert problem(south.get(of("wmA"))) == (404, "unknown_customer")
    theirs = stored()[0]
    assert problem(south.send("POST", f"{of('wmA')}{theirs.recommendation_id}/accept/")) == (404, "unknown_customer")
    assert [one["external_userid"] for one in read(south, LIST)["results"]] == ["wmB"]
    upsert_many([CustomerData("wmB", follows=(FollowData("chen"), FollowData("zhang")))])
    assert read(south, f"{LIST}?staff=zhang")["results"] == []  # of whom else they know, nothing is told
    assert [one["external_userid"] for one in read(south, f"{LIST}?staff=chen")["results"]] == ["wmB"]
    assert {one.state for one in stored()} == {"open"}


def test_the_list_over_all_homes_is_whole() -> None:
    people(*(f"wmA{n}" for n in range(5)), home=100)
    people(*(f"wmB{n}" for n in range(5)), home=101)
    only_rule(name="低", base_score=20)
    rule("高", base_score=90, action="win_back")
    suggest()
    api, seen, cursor = Api(), [], ""
    while True:
        page = read(api, f"{LIST}?limit=3{cursor}")
        assert page["unavailable"] == []
        seen += [(one["external_userid"], one["score"]) for one in page["results"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert sorted(seen) == sorted((f"wm{home}{n}", score) for home in "AB" for n in range(5) for score in (90, 20))
    assert len({one for one, _ in seen}) == 10
    assert [score for _, score in seen] == [90, 20] * 10
    assert len(read(api, f"{LIST}?action=win_back&home=101")["results"]) == 5
    assert read(api, f"{LIST}?state=expired")["results"] == []
    first = read(api, f"{LIST}?limit=3")["next"]
    assert problem(api.get(f"{LIST}?limit=3&action=thank&cursor={first}")) == (400, "bad_cursor")


def test_wrong_questions() -> None:
    api = Api()
    assert fields(api.get(f"{LIST}?action=dance")) == {"action": "unknown_action"}
    assert fields(api.get(f"{LIST}?state=closed")) == {"state": "unknown_state"}
    assert fields(api.get(f"{LIST}?home=7")) == {"home": "unknown_home"}
    assert fields(api.get(f"{LIST}?limit=0")) == {"limit": "out_of_range"}
    assert fields(api.get(f"{LIST}?colour=red")) == {"colour": "unknown"}
    assert fields(api.get(f"{of('wmA')}?limit=5")) == {"limit": "unknown"}


def test_a_department_that_is_down(fragile_department: PrivatePostgres) -> None:
    people("wmA", home=100)
    people("wmB", home=101)
    only_rule()
    suggest()
    api = Api()
    read(api, of("wmB"))  # cached now
    fragile_department.stop()
    page = read(api, LIST)
    assert ([one["external_userid"] for one in page["results"]], page["unavailable"]) == (["wmA"], [101])
    assert page["next"] is not None
    assert problem(api.get(of("wmB"))) == (503, "department_unavailable")
    assert read(api, of("wmA"))["next"]["score"] == 50
    fragile_department.start()


def test_queries_are_few() -> None:
    people(*(f"wm{n}" for n in range(20)))
    only_rule(name="低", base_score=20)
    rule("高", base_score=90)
    suggest()
    api = Api()
    read(api, of("wm1"))
    read(api, LIST)
    with Counted() as counted:
        read(api, of("wm1"))
    assert counted.counts == {"default": 0, "dept_100": 2, "dept_101": 0}, counted.queries
    with Counted() as counted:
        read(api, LIST)
    assert counted.counts == {"default": 1, "dept_100": 2, "dept_101": 1}, counted.queries
