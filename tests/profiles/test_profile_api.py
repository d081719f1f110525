"""Behaviours, profiles and runs through HTTP."""

import gzip
import json
import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connections
from django.utils import timezone

from customers.erasure import request_erasure, run_erasure
from customers.models import Department, Staff
from customers.moves import move_customer
from profiles import publishing, runs
from profiles.days import day_of
from profiles.models import ProfileRun
from profiles.rules import LifecycleSettings, Rule, Settings, parse_conditions
from profiles.standing import find_standing, list_changes
from scrm import sharding
from scrm.held import forget_all
from scrm.sharding.models import Home
from tests.api.clients import Api, customer, fields, problem
from tests.counting import Counted
from tests.customers.people import addresses_of, follow, make, state_of
from tests.customers.test_queries_touch_one_partition import assert_one_partition
from tests.servers import PrivatePostgres

# Borrowed from the tests of the API.
from tests.api.conftest import nothing_held, private_cache  # isort: skip

__all__ = ["nothing_held", "private_cache"]

pytestmark = pytest.mark.usefixtures("nothing_held", "broker_client")

PATH = "/behaviors/"
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def company(nothing_held: None) -> None:
    Department.objects.create(id=100, name="华东")
    Department.objects.create(id=101, name="华南")
    for userid, department in (("zhang", 100), ("chen", 101)):
        Staff.objects.create(userid=userid, name=userid).departments.add(department)
    forget_all()


def item(event_id: str = "e1", external_userid: str = "wm1", kind: str = "purchase", **more: Any) -> dict[str, Any]:
    given = {
        "event_id": event_id, "external_userid": external_userid, "kind": kind, "channel": "store",
        "occurred_at": YESTERDAY.isoformat(),
    }  # fmt: skip
    return given | ({"amount": "10.00"} if kind == "purchase" else {}) | more


def report(api: Api, *items: Any, **more: Any) -> dict[str, Any]:
    response = api.send("POST", PATH, {"behaviors": list(items), **more})
    assert response.status_code == 200, response.content
    return response.json()


def profile(api: Api, external_userid: str = "wm1", **parameters: Any) -> dict[str, Any]:
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    response = api.get(f"{customer(external_userid)}profile/?{query}")
    assert response.status_code == 200, response.content
    return response.json()


def classify(kind: str = "manual", **more: Any) -> ProfileRun:
    """Run a classification to its end, in this process."""
    return runs.run_all(runs.start_run(kind, day_of(timezone.now()), **more))


def behave(api: Api, external_userid: str, *, purchases: int, interactions: int) -> None:
    done = report(
        api,
        *(item(f"p{n}", external_userid, amount="10.50") for n in range(purchases)),
        *(item(f"i{n}", external_userid, "interaction") for n in range(interactions)),
    )
    assert done["accepted"] == purchases + interactions


# ------------------------------------------------------------------------------------------------------ behaviours
def test_batch_is_taken_item_by_item() -> None:
    make("wm1", home=100)
    make("wm2", home=101)
    api = Api()
    done = report(
        api,
        item("e1"),
        item("e1"),
        item("e2", "wm2", "interaction", detail={"page": "首页"}),
        item("e3", "nobody"),
        item("e4", amount="1e999"),
        item("e5", occurred_at="0000-01-01T00:00:00Z"),
        item("e6", occurred_at="9999-12-31T23:59:59+08:00"),
        item("e1", amount="11.00"),
        "no object",
        item("e7", "wm1", "refund", refers_to="e1"),
    )
    assert (done["accepted"], done["duplicates"]) == (3, 1)
    assert [(one["index"], one["code"]) for one in done["rejected"]] == [
        (3, "unknown_customer"),
        (4, "invalid_amount"),
        (5, "invalid_occurred_at"),
        (6, "occurred_at_out_of_range"),
        (7, "event_id_conflict"),
        (8, "invalid_item"),
    ]
    assert all(one["message"] for one in done["rejected"])
    again = report(api, item("e1"), item("e2", "wm2", "interaction", detail={"page": "首页"}))
    assert (again["accepted"], again["duplicates"], again["rejected"]) == (0, 2, [])
    # Another key is another source: its event_ids are its own.
    assert report(Api("erp"), item("e1"))["accepted"] == 1


def test_missing_customers_are_made_only_when_asked_for() -> None:
    api = Api()
    assert report(api, item("e1", "new"))["rejected"][0]["code"] == "unknown_customer"
    assert state_of("new") is None
    assert report(api, item("e1", "new", home=101), create_missing=True)["accepted"] == 1
    assert [sharding.home_of(one) for one in addresses_of("new")] == [101]
    assert report(api, item("e2", "other", home=102), create_missing=True)["rejected"][0]["code"] == "unknown_home"
    run_erasure(request_erasure("new", actor="test").id)
    assert report(api, item("e3", "new"), create_missing=True)["rejected"][0]["code"] == "erased"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"behaviors": "not_a_list"}),
        ({"behaviors": []}, {"behaviors": "empty"}),
        ({"behaviors": {}}, {"behaviors": "not_a_list"}),
        ({"behaviors": None}, {"behaviors": "not_a_list"}),
        ({"behaviors": [{}] * 1001}, {"behaviors": "too_many"}),
        ({"behaviors": [{}] * 5000}, {"behaviors": "too_many"}),
        ({"behaviors": [{}], "create_missing": "yes"}, {"create_missing": "not_truth"}),
        ({"behaviors": [{}], "create_missing": 1}, {"create_missing": "not_truth"}),
        ({"behaviours": [{}]}, {"behaviours": "unknown"}),
    ],
)
def test_bodies_that_are_no_batch(body: Any, wrong: dict[str, str]) -> None:
    assert fields(Api().send("POST", PATH, body)) == wrong


def test_bodies_that_are_no_json_or_too_much() -> None:
    api = Api()
    assert problem(api.send("POST", PATH, b"")) == (400, "malformed")
    assert problem(api.send("POST", PATH, b'{"behaviors": [{"event_id": "\\u0000"}]}')) == (400, "malformed")
    assert problem(api.send("POST", PATH, b"[" * 1000 + b"]" * 1000)) == (400, "malformed")
    assert fields(api.send("POST", PATH, b"[]")) == {"": "not_an_object"}
    assert problem(api.send("POST", PATH, b'{"behaviors": ["' + b"x" * 9_000_000 + b'"]}')) == (413, "too_large")
    bomb = gzip.compress(b'{"behaviors": ["' + b"x" * 50_000_000 + b'"]}')
    assert problem(api.send("POST", PATH, bomb, Content_Encoding="gzip")) == (413, "too_large")
    assert problem(api.get(PATH)) == (405, "method_not_allowed")
    assert problem(Api("r", scopes=["customers:read"]).send("POST", PATH, {})) == (403, "missing_scope")


def test_gzip_and_a_whole_batch_cost_a_handful_of_queries() -> None:
    people = [f"wm{n}" for n in range(20)]
    for n, one in enumerate(people):
        make(one, home=100 + n % 2)
    api = Api()
    report(api, item("warm", "wm0"))
    body = json.dumps({"behaviors": [item(f"e{n}", people[n % 20]) for n in range(1000)]}).encode()
    with Counted() as counted:
        response = api.send("POST", PATH, gzip.compress(body), Content_Encoding="gzip")
    assert response.json() == {"accepted": 1000, "duplicates": 0, "waiting": 0, "rejected": []}
    assert counted.counts == {"default": 1, "dept_100": 2, "dept_101": 2}


def test_same_batch_from_many_at_once_is_stored_once() -> None:
    make("wm1")
    api = Api()
    answers: list[dict[str, Any]] = []

    def send() -> None:
        answers.append(report(api, *(item(f"e{n}") for n in range(50))))
        connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one["accepted"] for one in answers) == 50
    assert sum(one["duplicates"] for one in answers) == 250
    assert profile(api)["live"]["purchase_count"] == 50


def test_home_that_is_down_rejects_its_own(fragile_department: PrivatePostgres) -> None:
    make("there", home=101)
    make("here", home=100)
    fragile_department.stop()
    connections["dept_101"].close()
    done = report(Api(), item("e1", "there"), item("e2", "here"))
    assert (done["accepted"], [(one["index"], one["code"]) for one in done["rejected"]]) == (
        1,
        [(0, "department_unavailable")],
    )
    fragile_department.start()


def test_restricted_key_writes_for_those_it_may_see(company: None) -> None:
    make("ours", home=101, follows=(follow("zhang"),))
    make("theirs", home=100, follows=(follow("chen"),))
    make("erased", home=101, follows=(follow("chen"),))
    run_erasure(request_erasure("erased", actor="test").id)
    api = Api(departments=[100])
    batch = [
        item("e0", "theirs"), item("e1", "ours"), item("e2", "nobody"), item("e3", "ours", amount="x"), "no object",
        item("e4", "new"), item("e5", "new-there", home=101), item("e6", "erased"),
    ]  # fmt: skip
    done = report(api, *batch)
    assert done["accepted"] == 1
    unknown = (0, "unknown_customer"), (2, "unknown_customer")
    assert [(one["index"], one["code"]) for one in done["rejected"]] == [
        *unknown, (3, "invalid_amount"), (4, "invalid_item"), (5, "unknown_customer"), (6, "unknown_customer"),
        (7, "unknown_customer"),
    ]  # fmt: skip
    done = report(api, *batch, create_missing=True)
    assert (done["accepted"], done["duplicates"]) == (2, 1)  # nobody and new
    assert [(one["index"], one["code"]) for one in done["rejected"]] == [
        (0, "unknown_customer"), (3, "invalid_amount"), (4, "invalid_item"), (6, "unknown_customer"),
        (7, "unknown_customer"),
    ]  # fmt: skip
    assert api.look_up("new").json()["home"] == 100
    assert profile(Api("all"), "theirs")["live"]["purchase_count"] == 0


# ------------------------------------------------------------------------------------------------------ profile
def test_class_rule_numbers_live_figures_and_history() -> None:
    make("wm1", home=101)
    api = Api()
    seen = profile(api)
    assert (seen["profile"], seen["since"], seen["rule"], seen["numbers"], seen["history"]) == (
        None,
        None,
        None,
        None,
        {"results": [], "next": None},
    )
    assert seen["is_dirty"] is True
    behave(api, "wm1", purchases=6, interactions=11)
    first = classify()
    seen = profile(api)
    assert (seen["profile"], seen["is_dirty"], seen["as_of"]) == ("高价值客户", False, first.as_of.isoformat())
    assert seen["since"].endswith("+08:00")
    assert seen["numbers"] == {"purchase_count": 6, "interaction_count": 11, "total_amount": "63.00"}
    rule = seen["rule"]
    assert (rule["version"], rule["position"], rule["profile"]) == (first.rule_version_id, 1, "高价值客户")
    assert rule["text"] == "purchase_count > 5 and interaction_count > 10"
    ((tried),) = rule["tried"]
    assert [(one["text"], one["actual"], one["holds"]) for one in tried["conditions"]] == [
        ("purchase_count > 5", 6, True),
        ("interaction_count > 10", 11, True),
    ]
    (change,) = seen["history"]["results"]
    assert (change["from_profile"], change["to_profile"], change["run_id"]) == (None, "高价值客户", first.pk)
    # From now on the class is of the last run, and the figures are of now.
    report(api, item("r1", "wm1", "refund", refers_to="p0"), item("r2", "wm1", "refund", refers_to="p1", amount="0.50"))
    seen = profile(api)
    assert (seen["profile"], seen["is_dirty"]) == ("高价值客户", True)
    assert seen["live"]["purchase_count"] == 5
    assert (seen["live"]["total_amount"], seen["live"]["refund_amount"]) == ("52.00", "11.00")
    assert seen["live"]["interaction_count"] == 11
    assert api.look_up("wm1").json()["purchase_count"] == 6


def test_the_default_class_says_which_rules_did_not_hold() -> None:
    make("wm1")
    api = Api()
    behave(api, "wm1", purchases=5, interactions=15)
    classify()
    seen = profile(api)
    assert (seen["profile"], seen["rule"]["position"], seen["rule"]["text"]) == ("潜在客户", 0, "")
    ((tried),) = seen["rule"]["tried"]
    assert [(one["text"], one["actual"], one["holds"]) for one in tried["conditions"]] == [
        ("purchase_count > 5", 5, False),
        ("interaction_count > 10", 15, True),
    ]


def test_what_it_takes_to_be_in_the_next_class() -> None:
    make("wm1", home=101)
    api = Api()
    rules = [
        Rule("高价值客户", parse_conditions("total_amount >= 200 and days_since_last_purchase <= 30")),
        Rule("熟客", parse_conditions('purchase_count@store[30d] >= 4 and tags has "vip"')),
        Rule("新人", parse_conditions("purchase_count >= 1 and interaction_count < 1")),
    ]
    publishing.publish(publishing.save_draft(rules, "潜在客户").pk, by="test")
    behave(api, "wm1", purchases=2, interactions=2)
    classify()
    newcomer, regular, valued = profile(api)["next"]
    assert newcomer == {
        "position": 3, "profile": "新人", "is_possible": False,
        "missing": [{"text": "interaction_count < 1", "words": "不再可能", "actual": 2, "steps": []}],
    }  # fmt: skip
    assert (regular["profile"], regular["is_possible"]) == ("熟客", True)
    assert [(one["words"], one["actual"], one["steps"]) for one in regular["missing"]] == [
        ("30 天内在门店再购买 2 次", 2, [{"act": "more", "amount": "2"}]),
        ("需要标签「vip」", False, [{"act": "tag", "amount": "1"}]),
    ]
    assert [(one["words"], one["actual"], one["steps"]) for one in valued["missing"]] == [
        ("再消费 179.00 元", "21.00", [{"act": "more", "amount": "179.00"}])
    ]
    # Done today, it is of today: without a run it is told already, and the night brings it.
    report(api, item("today", "wm1", amount="179.00", occurred_at=timezone.now().isoformat()))
    assert profile(api)["next"] == []
    assert profile(api)["profile"] == "潜在客户"
    tomorrow = day_of(timezone.now()) + timedelta(days=1)
    with time_machine.travel(timezone.now() + timedelta(days=1), tick=True):
        assert runs.run_all(runs.start_run("manual", tomorrow)).state == "done"
        assert profile(api)["profile"] == "高价值客户"


def test_what_it_takes_to_be_in_another_lifecycle_goes_by_the_settings_in_force() -> None:
    make("wm1", home=101)
    api = Api()
    rules = [
        Rule("流失客户", parse_conditions('lifecycle is "lost"')),
        Rule("活跃客户", parse_conditions('lifecycle is "active"')),
    ]
    chosen = Settings(LifecycleSettings(new_days=10, dormant_days=50, lost_days=120, return_days=20))
    publishing.publish(publishing.save_draft(rules, "其他", settings=chosen).pk, by="test")
    behave(api, "wm1", purchases=1, interactions=0)
    classify()
    active, lost = profile(api)["next"]
    assert [(one["words"], one["actual"], one["steps"]) for one in active["missing"]] == [
        ("购买或互动一次，然后等 10 天", "new", [{"act": "do", "amount": "1"}, {"act": "wait", "amount": "10"}])
    ]
    assert [(one["words"], one["steps"]) for one in lost["missing"]] == [
        ("无需操作，自然达到：最多等 120 天，其间没有购买和互动", [{"act": "wait", "amount": "120"}])
    ]


def test_history_is_paged_newest_first() -> None:
    make("wm1")
    api = Api()
    classify()
    for threshold in range(4):
        rules = [Rule(f"第{threshold}类", parse_conditions(f"purchase_count >= {0}"))]
        publishing.publish(publishing.save_draft(rules, "潜在客户").version, by="test")
        classify()
    seen: list[str] = []
    more: dict[str, Any] = {"limit": 2}
    while True:
        found = profile(api, **more)
        seen += [one["to_profile"] for one in found["history"]["results"]]
        assert found["profile"] == found["rule"]["profile"] == "第3类"
        if found["history"]["next"] is None:
            break
        more["cursor"] = found["history"]["next"]
    assert seen == ["第3类", "第2类", "第1类", "第0类", "潜在客户"]
    for cursor in ("x", "cnVuOi01", "é", "cnVuOng"):
        assert problem(api.get(f"/customers/wm1/profile/?cursor={cursor}")) == (400, "bad_cursor")
    assert fields(api.get("/customers/wm1/profile/?limit=0")) == {"limit": "out_of_range"}


def test_profile_of_nobody_of_others_and_of_the_moved(company: None) -> None:
    make("theirs", home=101, follows=(follow("chen"),))
    make("moved", home=100)
    api = Api(departments=[100])
    for external_userid in ("nobody", "theirs", "x" * 65, "a/b"):
        assert problem(api.get(f"{customer(external_userid)}profile/")) == (404, "unknown_customer")
    report(Api("all"), item("e1", "moved"))
    new = move_customer("moved", 101, actor="test")
    seen = profile(Api("other"), "moved")
    assert (seen["customer_id"], seen["live"]["purchase_count"]) == (new, 1)
    assert problem(Api("w", scopes=["customers:read"]).get("/customers/moved/profile/")) == (403, "missing_scope")


def test_profile_costs_no_lookup_when_cached_and_names_a_home_that_is_down(
    fragile_department: PrivatePostgres,
) -> None:
    make("wm1", home=101)
    api = Api()
    classify()
    profile(api)
    with Counted() as counted:
        profile(api)
    # The rules then and now; figures, segments and histories, then the facts of now as a run reads them.
    assert counted.counts == {"default": 4, "dept_100": 0, "dept_101": 10}, counted.queries["dept_101"]
    fragile_department.stop()
    connections["dept_101"].close()
    assert problem(api.get("/customers/wm1/profile/")) == (503, "department_unavailable")
    fragile_department.start()


def test_figures_and_history_are_read_from_one_partition() -> None:
    customer_id = make("wm1")
    assert_one_partition(lambda: find_standing(customer_id), customer_id)
    assert_one_partition(lambda: list_changes(customer_id, before_run=7), customer_id)


# ------------------------------------------------------------------------------------------------------ summary
def test_summary_counts_by_class_and_home() -> None:
    api = Api()
    assert api.get("/profiles/summary/").json() == {
        "departments": None, "day": None, "total": 0, "unclassified": 0, "classes": {}, "lifecycle": {},
        "loss_warnings": {}, "rfm_segments": {}, "homes": [
            {"home": 100, "day": None, "unclassified": 0, "classes": {}},
            {"home": 101, "day": None, "unclassified": 0, "classes": {}},
        ], "unavailable": [], "last_run": None,
    }  # fmt: skip
    for n in range(5):
        make(f"wm{n}", home=100 + n % 2)
    behave(api, "wm0", purchases=6, interactions=11)
    run = classify()
    make("new", home=101)
    seen = api.get("/profiles/summary/").json()
    assert (seen["total"], seen["unclassified"], seen["classes"]) == (6, 1, {"潜在客户": 4, "高价值客户": 1})
    day = run.as_of.isoformat()
    assert seen["homes"] == [
        {"home": 100, "day": day, "unclassified": 0, "classes": {"潜在客户": 2, "高价值客户": 1}},
        {"home": 101, "day": day, "unclassified": 1, "classes": {"潜在客户": 2}},
    ]
    assert (seen["last_run"]["id"], seen["last_run"]["summary"]["judged"]) == (run.pk, 5)


def test_summary_of_a_restricted_key_counts_whom_it_may_see(company: None) -> None:
    make("ours", home=101, follows=(follow("zhang"),))
    make("theirs", home=100, follows=(follow("chen"),))
    make("nobodys", home=100)
    classify()
    api = Api(departments=[100])
    seen = api.get("/profiles/summary/").json()
    assert (seen["total"], seen["classes"]) == (2, {"潜在客户": 2})
    assert [(one["home"], one["classes"]) for one in seen["homes"]] == [(100, {"潜在客户": 1}), (101, {"潜在客户": 1})]
    # What a run counted is of everybody.
    for shown in (seen["last_run"], api.get("/profiles/runs/").json()["results"][0]):
        assert (shown["summary"], set(shown["progress"])) == ({}, {"share", "unavailable"})


# ------------------------------------------------------------------------------------------------------ runs
def test_run_is_started_followed_and_listed(broker_client: Any) -> None:
    make("wm1")
    broker_client.delete("celery")
    api = Api()
    response = api.send("POST", "/profiles/runs/", {"kind": "manual"})
    assert response.status_code == 202
    run = response.json()
    assert response["Location"] == f"/api/v1/profiles/runs/{run['id']}/"
    assert (run["kind"], run["state"], run["homes"], run["full"], run["requested_by"]) == (
        "manual", "running", [100, 101], False, "api:shop",
    )  # fmt: skip
    assert run["as_of"] == day_of(timezone.now()).isoformat()
    assert run["progress"]["share"] < 1
    assert broker_client.llen("celery") == 20  # one message for each claim
    # Pressed twice: the same run; another one is in its way.
    again = api.send("POST", "/profiles/runs/", {"kind": "manual"})
    assert (again.status_code, again.json()["id"]) == (200, run["id"])
    other = api.send("POST", "/profiles/runs/", {"kind": "manual", "full": True})
    assert problem(other) == (409, "run_in_progress")
    assert json.loads(other.content)["run"]["id"] == run["id"]
    runs.run_all(ProfileRun.objects.get(pk=run["id"]))
    done = api.get(f"/profiles/runs/{run['id']}/").json()
    assert (done["state"], done["progress"]["share"], done["summary"]["judged"]) == ("done", 1.0, 1)
    assert done["finished_at"].endswith("+08:00")
    listed = api.get("/profiles/runs/").json()
    assert listed == {"results": [done], "next": None}


def test_backtest_reports_and_changes_nothing() -> None:
    make("wm1")
    api = Api()
    day = date(2020, 1, 1).isoformat()
    response = api.send("POST", "/profiles/runs/", {"kind": "backtest", "as_of": day, "homes": [100], "full": True})
    assert (response.status_code, response.json()["as_of"], response.json()["homes"]) == (202, day, [100])
    runs.run_all(ProfileRun.objects.get(pk=response.json()["id"]))
    assert profile(api)["profile"] is None
    assert api.get("/profiles/summary/").json()["last_run"] is None


def test_two_starts_at_once_make_one_run() -> None:
    api = Api()
    answers: list[tuple[int, int]] = []

    def start() -> None:
        response = api.send("POST", "/profiles/runs/", {})
        answers.append((response.status_code, response.json()["id"]))
        connections.close_all()

    threads = [threading.Thread(target=start) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in answers) == [200] * 4 + [202]
    assert len({number for _, number in answers}) == ProfileRun.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"kind": "nightly"}, {"kind": "invalid_choice"}),
        ({"as_of": "2026-13-01"}, {"as_of": "invalid"}),
        ({"as_of": "20260101"}, {"as_of": "invalid"}),
        ({"as_of": 5}, {"as_of": "invalid"}),
        ({"full": "yes"}, {"full": "not_truth"}),
        ({"homes": []}, {"homes": "empty"}),
        ({"homes": [102]}, {"homes": "unknown_home"}),
        ({"homes": ["100"]}, {"homes[0]": "not_whole"}),
        ({"homes": 100}, {"homes": "not_a_list"}),
        ({"kindd": "manual"}, {"kindd": "unknown"}),
    ],
)
def test_runs_that_cannot_be(body: Any, wrong: dict[str, str]) -> None:
    assert fields(Api().send("POST", "/profiles/runs/", body)) == wrong
    assert not ProfileRun.objects.exists()


def test_run_of_a_day_to_come_is_refused() -> None:
    day = (day_of(timezone.now()) + timedelta(days=1)).isoformat()
    assert problem(Api().send("POST", "/profiles/runs/", {"as_of": day})) == (422, "run_refused")


def test_restricted_keys_start_no_runs(company: None) -> None:
    assert problem(Api(departments=[100]).send("POST", "/profiles/runs/", {})) == (403, "forbidden")
    assert problem(Api("r", scopes=["profiles:read"]).send("POST", "/profiles/runs/", {})) == (403, "missing_scope")
    assert not ProfileRun.objects.exists()


def test_runs_that_are_not_there_and_pages_of_them() -> None:
    api = Api()
    for number in ("0", "999", str(2**63), str(2**70)):
        assert problem(api.get(f"/profiles/runs/{number}/")) == (404, "unknown_run")
    assert problem(api.get("/profiles/runs/x/")) == (404, "not_found")
    for _ in range(5):
        classify("backtest")
    first = api.get("/profiles/runs/?limit=3").json()
    rest = api.get(f"/profiles/runs/?limit=3&cursor={first['next']}").json()
    numbers = [one["id"] for one in first["results"] + rest["results"]]
    assert (numbers, rest["next"]) == (sorted(numbers, reverse=True), None)
    assert len(numbers) == 5


def test_no_home_at_all_is_open_for_new_customers() -> None:
    Home.objects.update(is_open=False)
    forget_all()
    assert report(Api(), item("e1", "new"), create_missing=True)["rejected"][0]["code"] == "no_open_home"
