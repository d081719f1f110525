"""POST /identities/, import_identities, and behaviours by identity over HTTP: scopes, limits, what is down."""

import gzip
import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from customers.erasure import request_erasure, run_erasure
from customers.identities import resolve
from customers.identity_kinds import read_pair
from customers.models import Identity, ImportProgress
from profiles.models import WaitingBehaviour
from profiles.waiting import fold_waiting
from tests.api.clients import Api, fields, problem
from tests.counting import Counted
from tests.customers.gates import Process, gate
from tests.customers.people import follow, make
from tests.servers import PrivatePostgres

pytestmark = pytest.mark.usefixtures("nothing_held", "broker_client")
PATH = "/identities/"
BEHAVIOURS = "/behaviors/"


def one(external_userid: str = "wm1", value: Any = "o1", kind: Any = "openid", **more: Any) -> dict[str, Any]:
    return {"external_userid": external_userid, "kind": kind, "value": value, **more}


def claim(api: Api, *items: Any, **more: Any) -> tuple[int, int, dict[int, str]]:
    response = api.send("POST", PATH, {"identities": list(items), **more})
    assert response.status_code == 200, response.content
    done = response.json()
    assert all(refused["message"] for refused in done["rejected"])
    return done["accepted"], done["duplicates"], {refused["index"]: refused["code"] for refused in done["rejected"]}


def buy(event_id: str, value: str = "o1", **more: Any) -> dict[str, Any]:
    return {
        "event_id": event_id, "identity": {"kind": "openid", "value": value}, "kind": "purchase", "channel": "store",
        "amount": "10.00", "occurred_at": "2026-11-20T12:00:00+08:00", **more,
    }  # fmt: skip


def report(api: Api, *items: Any, **more: Any) -> tuple[int, int, int, dict[int, str]]:
    response = api.send("POST", BEHAVIOURS, {"behaviors": list(items), **more})
    assert response.status_code == 200, response.content
    done = response.json()
    codes = {refused["index"]: refused["code"] for refused in done["rejected"]}
    return done["accepted"], done["duplicates"], done["waiting"], codes


def named(value: str, kind: str = "openid") -> str | None:
    pair = read_pair(kind, value)
    return resolve([pair]).get(pair, "nobody")


# --------------------------------------------------------------------------------------------------------------- claims
def test_a_batch_is_taken_item_by_item() -> None:
    make("wm1")
    make("wm2")
    api = Api()
    batch = [
        one(), one(), one(value="o2"), one("wm2", "+86 138 1234 5678", "mobile"), one("nobody"), one(value=5),
        one(kind="card"), one("a\x1b"), {"external_userid": "wm1"}, "none", None, one(app="wx1"), one(value=None),
    ]  # fmt: skip
    refused = {
        4: "unknown_customer", 5: "invalid_identity", 6: "unknown_identity_kind", 7: "invalid_external_userid",
        8: "unknown_identity_kind", 9: "invalid_item", 10: "invalid_item", 11: "invalid_item", 12: "invalid_identity",
    }  # fmt: skip
    assert claim(api, *batch) == (3, 1, refused)
    assert claim(api, *batch) == (0, 4, refused)
    assert (named("o1"), named("o2"), named("13812345678", "mobile")) == ("wm1", "wm1", "wm2")
    assert set(Identity.objects.values_list("owner", flat=True)) == {"api:shop"}


def test_replace_gives_up_what_is_not_said_again_and_only_ones_own() -> None:
    make("wm1")
    make("wm2")
    shop, erp = Api(), Api("erp")
    claim(shop, one(), one(value="o2"), one("wm2", "o3"), one(value="m1", kind="member_no"))
    claim(erp, one(value="o4"))
    assert claim(shop, one(value="o5"), replace=True) == (1, 0, {})
    assert [named(value) for value in ("o1", "o2", "o3", "o4", "o5")] == ["nobody", "nobody", "wm2", "wm1", "wm1"]
    assert named("m1", "member_no") == "wm1"
    assert claim(shop, one(value=None, kind="member_no"), replace=True) == (0, 1, {})
    assert named("m1", "member_no") == "nobody"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"identities": "not_a_list"}),
        ({"identities": []}, {"identities": "empty"}),
        ({"identities": {}}, {"identities": "not_a_list"}),
        ({"identities": [{}] * 1001}, {"identities": "too_many"}),
        ({"identities": [{}], "replace": "yes"}, {"replace": "not_truth"}),
        ({"identity": [{}]}, {"identity": "unknown"}),
    ],
)
def test_bodies_that_are_no_batch(body: Any, wrong: dict[str, str]) -> None:
    assert fields(Api().send("POST", PATH, body)) == wrong


def test_who_may_and_how_much() -> None:
    assert problem(Api("r", scopes=["customers:read"]).send("POST", PATH, {})) == (403, "missing_scope")
    api = Api()
    assert problem(api.get(PATH)) == (405, "method_not_allowed")
    assert problem(api.send("POST", PATH, b"{")) == (400, "malformed")
    assert problem(api.send("POST", PATH, b'{"identities": ["' + b"x" * 1_100_000 + b'"]}')) == (413, "too_large")


def test_a_restricted_key_claims_only_for_those_it_may_see() -> None:
    make("ours", home=100)
    make("theirs", home=101)
    api = Api("branch", departments=[100])
    assert claim(api, one("ours"), one("theirs", "o2"), one("nobody", "o3")) == (
        1, 0, {1: "unknown_customer", 2: "unknown_customer"},
    )  # fmt: skip
    assert (named("o1"), named("o2")) == ("ours", "nobody")


def test_a_home_that_is_down_is_told_to_a_restricted_key_only(fragile_department: PrivatePostgres) -> None:
    make("there", home=101, follows=(follow("zhang"),))
    branch, shop = Api("branch", departments=[101]), Api()
    fragile_department.stop()
    connections["dept_101"].close()
    assert claim(branch, one("there")) == (0, 0, {0: "department_unavailable"})
    assert claim(shop, one("there")) == (1, 0, {})
    fragile_department.start()


def test_whom_a_restricted_key_cannot_be_shown_is_not_recorded_on_the_off_chance(
    fragile_department: PrivatePostgres,
) -> None:
    """Whether they are in scope cannot be told: nothing goes on to a home that may be back a moment later."""
    make("there", home=101, follows=(follow("zhang"),))
    claim(Api(), one("there"))
    branch = Api("branch", departments=[100])
    fragile_department.stop()
    connections["dept_101"].close()
    batch = [buy("p1"), {**buy("p2", external_userid="there"), "identity": None}]
    done = branch.send("POST", BEHAVIOURS, {"behaviors": batch}).json()
    # A home that has been asked for in vain names itself.
    assert [(refused["code"], "dept_101" in refused["message"]) for refused in done["rejected"]] == [
        ("department_unavailable", False), ("department_unavailable", False),
    ]  # fmt: skip
    fragile_department.start()


def test_the_erased_are_given_none() -> None:
    make("wm1")
    api = Api()
    claim(api, one())
    job = request_erasure("wm1", actor="test")
    assert claim(api, one()) == (0, 0, {0: "unknown_customer"})
    run_erasure(job.id)
    assert claim(api, one()) == (0, 0, {0: "unknown_customer"})
    assert Identity.objects.count() == 0


def test_the_same_from_many_at_once_is_kept_once_and_costs_two_statements() -> None:
    for number in range(50):
        make(f"wm{number}")
    api = Api()
    batch = [one(f"wm{number}", f"o{number}") for number in range(50)]
    claim(api, one("wm0", "warm"))
    answers: list[tuple[int, int, dict[int, str]]] = []

    def send(items: list[Any]) -> None:
        answers.append(claim(api, *items))
        connections.close_all()

    threads = [threading.Thread(target=send, args=[batch[::step]]) for step in (1, -1) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(done[0] for done in answers), len(answers)) == (50, 6)
    assert Identity.objects.count() == 51
    with Counted() as counted:
        claim(api, *batch)
    assert counted.counts == {"default": 2, "dept_100": 0, "dept_101": 0}


# ----------------------------------------------------------------------------------------------------------- behaviours
def test_behaviours_by_identity_wait_and_are_folded_in() -> None:
    make("wm1")
    api = Api()
    refund = buy("r1", kind="refund", amount="4.00", refers_to="p1")
    assert report(api, buy("p1"), refund, buy("p2", external_userid="wm1")) == (
        0, 0, 2, {2: "external_userid_and_identity"},
    )  # fmt: skip
    assert report(api, buy("p1"), refund, create_missing=True) == (0, 2, 0, {})
    claim(api, one())
    assert fold_waiting() == 2
    live = api.get("/customers/wm1/profile/").json()["live"]
    assert (live["purchase_count"], live["total_amount"]) == (1, "6.00")
    assert report(api, buy("p1"), refund) == (0, 2, 0, {})


def test_a_restricted_key_leaves_nothing_waiting_and_knows_only_its_own() -> None:
    make("ours", home=100)
    make("ours2", home=100)
    make("theirs", home=101)
    shop, branch = Api(), Api("branch", departments=[100])
    claim(shop, one("ours", "o1"), one("theirs", "o2"), one("ours", "both"), one("theirs", "both"))
    claim(shop, one("ours", "two"), one("ours2", "two"), one("theirs", "two"))
    assert report(shop, buy("p1", "both")) == (0, 0, 0, {0: "ambiguous_identity"})
    batch = [
        buy("p1"), buy("p1", "o2"), buy("p1", "unknown"), buy("p5", "both"), buy("p1", external_userid="ours"),
        buy("p1", identity={"kind": "card", "value": "1"}), buy("p2", external_userid=None),
        buy("p3", external_userid=""), buy("p4", identity=None, external_userid="ours"), buy("p1", "two"),
    ]  # fmt: skip
    refused = {
        **dict.fromkeys((1, 2), "unknown_customer"), 4: "external_userid_and_identity", 5: "unknown_identity_kind",
        9: "ambiguous_identity",
    }  # fmt: skip
    assert report(branch, *batch, create_missing=True) == (5, 0, 0, refused)
    assert report(branch, *batch) == (0, 5, 0, refused)
    assert WaitingBehaviour.objects.count() == 0


@pytest.mark.parametrize("way", ["claim", "put", "patch"])
def test_a_restricted_key_learns_nothing_of_a_mobile_and_disturbs_nobody_elses(way: str) -> None:
    """Whether somebody out of its scope has the mobile that it gives its own customer makes no difference to it."""
    taken, free = "13812345678", "13900000000"
    make("theirs", home=101, mobile=taken)
    shop, branch = Api(), Api("branch", departments=[100])

    def purchase(event_id: str, number: str) -> dict[str, Any]:
        return buy(event_id, identity={"kind": "mobile", "value": number})

    answers = []
    for number in (taken, free):
        own = f"own-{number}"
        make(own, home=100)
        before = report(branch, purchase("p1", number))
        if way == "claim":
            said: Any = claim(branch, one(own, number, "mobile")), claim(branch, one(own, number, "mobile"))
        else:
            said = branch.send(way.upper(), f"/customers/{own}/", {"mobile": number}).status_code
        answers.append((before, said, report(branch, purchase("p1", number), purchase("p2", number))))
    assert answers[0] == answers[1]
    assert answers[0][0] == (0, 0, 0, {0: "unknown_customer"})
    assert answers[0][2] == (2, 0, 0, {})
    # To all others the one who had it is the one who is meant; where nobody had it, it is as the branch says.
    assert (named(taken, "mobile"), named(free, "mobile")) == ("theirs", f"own-{free}")
    assert report(shop, purchase("p1", taken), purchase("p9", free)) == (2, 0, 0, {})
    counts = [
        shop.get(f"/customers/{who}/profile/").json()["live"]["purchase_count"]
        for who in ("theirs", f"own-{taken}", f"own-{free}")
    ]
    assert counts == [1, 2, 3]


def test_what_waits_is_not_drawn_to_a_restricted_keys_customer_where_somebody_else_is_named() -> None:
    make("ours", home=100)
    make("theirs", home=101)
    shop, branch = Api(), Api("branch", departments=[100])
    assert report(shop, buy("p1"), buy("p2", "o2")) == (0, 0, 2, {})
    claim(branch, one("ours"), one("ours", "o2"))
    claim(shop, one("theirs"))
    assert fold_waiting() == 2
    counts = [shop.get(f"/customers/{who}/profile/").json()["live"]["purchase_count"] for who in ("ours", "theirs")]
    assert counts == [1, 1]


def test_gzip_that_breaks_off_or_is_none_stores_nothing() -> None:
    make("wm1")
    api = Api()
    claim(api, one())
    body = gzip.compress(json.dumps({"behaviors": [buy(f"p{number}") for number in range(50)]}).encode())
    for broken in (body[:-9], body[: len(body) // 2], b"\x1f\x8b" + b"x" * 50, body[10:], body + b"rest"):
        assert problem(api.send("POST", BEHAVIOURS, broken, Content_Encoding="gzip")) == (400, "malformed")
    assert problem(api.send("POST", BEHAVIOURS, body, Content_Encoding="br")) == (415, "unsupported_media_type")
    bomb = gzip.compress(b'{"behaviors": [' + b" " * 60_000_000 + b"]}")
    assert problem(api.send("POST", BEHAVIOURS, bomb, Content_Encoding="gzip")) == (413, "too_large")
    assert api.send("POST", BEHAVIOURS, body, Content_Encoding="gzip").json()["accepted"] == 50


# -------------------------------------------------------------------------------------------------------------- imports
def run(command: str, path: Path, **options: Any) -> str:
    output = io.StringIO()
    call_command(command, path, stdout=output, stderr=io.StringIO(), **options)
    return output.getvalue()


def counts() -> dict[str, int]:
    return ImportProgress.objects.latest("started_at").counts


def rejected(path: Path) -> list[str]:
    """Return the codes of the rows that were refused."""
    lines = path.with_name(f"{path.name}.rejected.csv").read_text("utf-8-sig").splitlines()
    return [line.split(",")[1] for line in lines[1:]]


def test_a_file_of_identities_is_imported_and_repeated(tmp_path: Path) -> None:
    make("wm1")
    path = tmp_path / "members.csv"
    rows = ["wm1,mobile,138 1234 5678", "wm1,openid,o1", "wm1,card,1", ",openid,x", "nobody,openid,y"]
    path.write_text("\n".join(["external_userid,kind,value,shop", *(f"{row},A" for row in rows), ""]))
    assert "新增身份" in run("import_identities", path)
    assert counts() == {"accepted": 2, "rejected": 3}
    assert rejected(path) == [
        "unknown_identity_kind", "invalid_external_userid", "unknown_customer",
    ]  # fmt: skip
    run("import_identities", path)
    assert counts() == {"duplicates": 2, "rejected": 3}
    assert set(Identity.objects.values_list("owner", flat=True)) == {"import"}
    path.write_text("external_userid,kind\nwm1,openid\n")
    with pytest.raises(CommandError, match="has no column value"):
        run("import_identities", path)


def test_an_import_of_identities_that_is_killed_goes_on(tmp_path: Path) -> None:
    for number in range(30):
        make(f"wm{number}")
    path = tmp_path / "members.csv"
    path.write_text("external_userid,kind,value\n" + "".join(f"wm{n},openid,o{n}\n" for n in range(30)))
    with gate("default", "identities", "INSERT", when="NEW.id > 10") as shut:
        shut.kill(Process(lambda: run("import_identities", path)))
    assert Identity.objects.count() == 0
    run("import_identities", path)
    assert (Identity.objects.count(), counts()) == (30, {"accepted": 30})


def test_behaviours_of_a_file_may_name_identities(tmp_path: Path) -> None:
    make("wm1")
    path = tmp_path / "orders.csv"
    header = "event_id,kind,channel,amount,occurred_at,identity_kind,identity_value"
    rows = [
        "p1,purchase,store,5,2026-11-20 12:00,mobile,138 1234 5678",
        "p2,purchase,store,5,2026-11-20 12:00,openid,o1",
        "p3,purchase,store,5,2026-11-20 12:00,openid,",
        "p4,purchase,store,5,2026-11-20 12:00,,",
    ]
    path.write_text("\n".join([header, *rows, ""]))
    claim(Api(), one())
    assert "待认领" in run("import_behaviors", path)
    assert counts() == {"accepted": 1, "waiting": 1, "rejected": 2}
    assert rejected(path) == ["invalid_identity", "invalid_external_userid"]
    run("import_behaviors", path)
    assert counts() == {"duplicates": 2, "rejected": 2}
    path.write_text("event_id,kind,channel,amount,occurred_at\np1,purchase,store,5,2026-11-20\n")
    with pytest.raises(CommandError, match="has no column external_userid"):
        run("import_behaviors", path)
