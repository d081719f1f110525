"""Behaviours that name an identity: resolved, waiting, folded in, refused, expired, erased."""

import json
import time
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from customers import identities
from customers.claiming import take_identities
from customers.directory import upsert
from customers.erasure import request_erasure, run_erasure
from customers.identities import Claim, claim_identities
from customers.identity_kinds import digests_of, read_pair
from customers.models import Identity
from customers.moves import move_customer
from customers.records import CustomerData
from profiles import waiting
from profiles.behaviours import keeping
from profiles.models import CustomerItem, WaitingBehaviour
from scrm import keeper
from scrm.held import forget_all
from tests.customers.gates import Process, gate, wait_for_somebody_behind_a_lock
from tests.profiles.behaviours import (
    NOW,
    dirty_of,
    item,
    outcome,
    people,
    raw_of,
    record,
    refund,
    refunded,
    rows_everywhere,
    running_of,
)
from tests.servers import PrivatePostgres

D = Decimal


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    forget_all()


def anonymous(event_id: str, value: str = "o1", kind: str = "purchase", **changes: Any) -> dict[str, Any]:
    """Return an item that names an openid."""
    one = item(event_id, kind=kind, **changes)
    del one["external_userid"]
    return {**one, "identity": {"kind": "openid", "value": value}}


def anonymous_refund(event_id: str, refers_to: str, value: str = "o1", **changes: Any) -> dict[str, Any]:
    one = refund(event_id, refers_to, **changes)
    del one["external_userid"]
    return {**one, "identity": {"kind": "openid", "value": value}}


def claim(who: str, value: str = "o1", **more: Any) -> None:
    done = take_identities([{"external_userid": who, "kind": "openid", "value": value}], owner="api:shop", **more)
    assert done.rejected == []


def waits() -> dict[str, str]:
    """Return {event_id: why it was refused, or nothing} of what waits."""
    return dict(WaitingBehaviour.objects.values_list("event_id", "refused"))


def folded_to() -> dict[str, str]:
    return dict(WaitingBehaviour.objects.values_list("event_id", "folded_to"))


def fresh() -> int:
    return Identity.objects.filter(is_fresh=True).count()


# ------------------------------------------------------------------------------------------------------------ resolved
def test_who_is_known_by_an_identity_is_recorded_at_once() -> None:
    (wm_a,) = people("wmA")
    claim("wmA")
    upsert(CustomerData("wmA", {"mobile": "138 1234 5678"}))
    by_mobile = {**anonymous("p2"), "identity": {"kind": "mobile", "value": "+8613812345678"}, "external_userid": ""}
    done = record(anonymous("p1"), by_mobile, item("p3"), anonymous_refund("r1", "p1", amount="4"))
    assert (outcome(done), done.waiting) == ((4, 0, {}), 0)
    assert running_of(wm_a)[:4] == (3, D("30.00"), 0, D("4.00"))
    # The same behaviour, named the other way, is the same.
    assert outcome(record(item("p1"), anonymous("p3"))) == (0, 2, {})
    assert outcome(record(anonymous("p1", amount="11"))) == (0, 0, {0: "event_id_conflict"})
    assert waits() == {}


def test_items_that_name_nobody_or_two_say_so() -> None:
    people("wmA", "wmB")
    claim("wmA")
    claim("wmB")
    done = record(
        anonymous("p1"),
        {**anonymous("p2", "o2"), "external_userid": "wmA"},
        {**anonymous("p3"), "identity": {"kind": "card", "value": "1"}},
        {**anonymous("p4"), "identity": {"kind": "mobile", "value": "12"}},
        {**anonymous("p5"), "identity": "openid"},
        {**anonymous("p6"), "identity": None},
    )
    assert (outcome(done), done.waiting) == (
        (
            0,
            0,
            {
                0: "ambiguous_identity",
                1: "external_userid_and_identity",
                2: "unknown_identity_kind",
                3: "invalid_identity",
                4: "invalid_identity",
                5: "invalid_external_userid",
            },
        ),
        0,
    )
    assert set(rows_everywhere().values()) == {0}
    assert waits() == {}


# ------------------------------------------------------------------------------------------------------------- waiting
def test_who_is_not_known_is_waited_for_and_folded_in() -> None:
    (wm_a,) = people("wmA")
    batch = [
        anonymous("p1", amount="20", detail={"items": [{"id": "s1", "name": "茶"}]}),
        anonymous("i1", kind="interaction"),
    ]
    done = record(*batch, create_missing=True)
    assert (outcome(done), done.waiting, done.created) == ((0, 0, {}), 2, 0)
    assert set(rows_everywhere().values()) == {0}
    row = WaitingBehaviour.objects.get(event_id="p1")
    assert (row.source, row.identity_kind, row.received_at, row.expires_at - row.received_at) == (
        "shop", "openid", NOW, timedelta(days=90),
    )  # fmt: skip
    assert "o1" not in json.dumps(row.contents)
    assert waiting.fold_waiting() == 0

    claim("wmA")
    assert waiting.fold_waiting() == 2
    assert (waits(), fresh()) == ({}, 0)
    assert running_of(wm_a)[:5] == (1, D("20.00"), 0, D("0.00"), 1)
    assert dirty_of(wm_a)[1] is not None  # type: ignore[index]
    raw = raw_of(wm_a)["p1"]
    assert (raw["source"], raw["detail"]) == ("shop", {"items": [{"id": "s1", "name": "茶"}]})
    items = CustomerItem.objects.using("dept_100").values_list("customer_id", "item_id", "name", "purchases")
    assert list(items) == [(wm_a, "s1", "茶", 1)]
    # A repeat, now that they are known, is a duplicate as ever.
    assert outcome(record(*batch)) == (0, 2, {})
    assert waiting.fold_waiting() == 0


def test_a_repeat_of_what_waits_is_a_duplicate_and_other_contents_a_conflict() -> None:
    record(anonymous("p1"))
    done = record(
        anonymous("p1"), anonymous("p1", amount="11"), anonymous("p2"), anonymous("p2"), anonymous("p2", amount="1")
    )
    assert (outcome(done), done.waiting) == ((0, 2, {1: "event_id_conflict", 4: "event_id_conflict"}), 1)
    # Another source's ids, and another identity's, are its own.
    assert record(anonymous("p1", "o2")).waiting == 1
    assert record(anonymous("p1"), source="erp").waiting == 1
    assert WaitingBehaviour.objects.count() == 4


def test_what_an_import_and_a_key_left_is_folded_in_source_by_source() -> None:
    (wm_a,) = people("wmA")
    record(anonymous("p1"), source="erp")
    record(anonymous("p1", amount="5"), source="shop")
    claim("wmA")
    assert waiting.fold_waiting() == 2
    assert running_of(wm_a)[:2] == (2, D("15.00"))


def test_a_claim_by_two_leaves_it_waiting_until_one_gives_up() -> None:
    (wm_a, _) = people("wmA", "wmB")
    record(anonymous("p1"))
    claim("wmA")
    claim("wmB")
    assert (waiting.fold_waiting(), fresh(), list(waits())) == (0, 0, ["p1"])
    take_identities([{"external_userid": "wmB", "kind": "openid", "value": None}], owner="api:shop", replace=True)
    assert (fresh(), waiting.fold_waiting()) == (1, 1)
    assert list(raw_of(wm_a)) == ["p1"]


# ------------------------------------------------------------------------------------------------------------- refunds
def test_refunds_are_folded_in_after_their_purchases_in_whatever_order_they_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "PAGE", 2)
    (wm_a,) = people("wmA")
    for number in range(5):
        record(anonymous_refund(f"r{number}", f"p{number}", amount="3"))
    record(anonymous_refund("again", "p0"))
    for number in range(5):
        record(anonymous(f"p{number}"))
    claim("wmA")
    assert waiting.fold_waiting() == 11
    assert running_of(wm_a)[:4] == (5, D("50.00"), 1, D("22.00"))
    assert (refunded(wm_a, "p0"), refunded(wm_a, "p1")) == (D("10.00"), D("3.00"))


def test_a_refund_whose_purchase_still_waits_waits_behind_it() -> None:
    (wm_a,) = people("wmA")
    record(anonymous("p1"))
    claim("wmA")
    done = record(anonymous_refund("r1", "p1"), anonymous_refund("r2", "never"), refund("r3", "p1"))
    assert (outcome(done), done.waiting) == ((0, 0, {1: "unknown_purchase", 2: "unknown_purchase"}), 1)
    assert waiting.fold_waiting() == 2
    assert running_of(wm_a)[:4] == (1, D("10.00"), 1, D("10.00"))


def test_what_is_refused_when_its_customer_is_known_stays_with_the_reason() -> None:
    (wm_a,) = people("wmA")
    record(anonymous("p1"), anonymous("p2"), anonymous_refund("r1", "never"), anonymous_refund("r2", "p2", amount="99"))
    record(item("p1", amount="1"))
    claim("wmA")
    assert waiting.fold_waiting() == 1
    assert waits() == {"p1": "event_id_conflict", "r1": "unknown_purchase", "r2": "refund_exceeds_purchase"}
    assert (fresh(), waiting.fold_waiting()) == (0, 0)
    assert running_of(wm_a)[:4] == (2, D("11.00"), 0, D("0.00"))
    # The shop sends the purchase after all, and the refund again.
    assert outcome(record(anonymous("never"), anonymous_refund("r1", "never"))) == (2, 0, {})


def test_a_refund_that_was_folded_in_before_its_purchase_came_is_made_up_for() -> None:
    """The purchase comes later, directly; or waits under an identity that is claimed later."""
    (wm_a,) = people("wmA")
    record(anonymous_refund("r1", "p1", amount="1"), anonymous_refund("r2", "p2", amount="2"), anonymous("p2", "o2"))
    record(anonymous_refund("r3", "never"))
    claim("wmA")
    assert waiting.fold_waiting() == 0
    record(item("p1"))
    claim("wmA", "o2")
    assert waiting.fold_waiting() == 1
    assert running_of(wm_a)[:4] == (2, D("20.00"), 0, D("0.00"))
    assert waiting.retry_refunds() == 3
    assert waiting.fold_waiting() == 2
    assert running_of(wm_a)[:4] == (2, D("20.00"), 0, D("3.00"))
    assert (waits(), fresh()) == ({"r3": "unknown_purchase"}, 0)


# ------------------------------------------------------------------------------------------------ crowds, crashes, down
def test_a_department_that_is_down_leaves_its_own_waiting(fragile_department: PrivatePostgres) -> None:
    (wm_a,) = people("wmA", home=100)
    (wm_b,) = people("wmB", home=101)
    record(anonymous("p1", "oA"), anonymous("p1", "oB"), anonymous_refund("r1", "p1", "oB"))
    claim("wmA", "oA")
    claim("wmB", "oB")
    fragile_department.stop()
    connections["dept_101"].close()
    assert (waiting.fold_waiting(), sorted(waits()), fresh()) == (1, ["p1", "r1"], 0)
    assert running_of(wm_a)[0] == 1
    fragile_department.start()
    for _attempt in range(50):
        if waiting.fold_waiting():
            break
        time.sleep(0.1)  # for a second a home that was found down is not asked again
    assert (waits(), fresh()) == ({}, 0)
    assert running_of(wm_b)[:4] == (1, D("10.00"), 1, D("10.00"))


@pytest.mark.parametrize("table", ["behaviours", "waiting_behaviours"])
def test_a_fold_that_is_killed_half_way_is_made_up_for(table: str) -> None:
    (wm_a,) = people("wmA")
    record(*(anonymous(f"p{n}") for n in range(5)), anonymous_refund("r1", "p1"))
    claim("wmA")
    alias, operation = ("dept_100", "INSERT") if table == "behaviours" else ("default", "DELETE")
    with gate(alias, table, operation) as shut:
        shut.kill(Process(waiting.fold_waiting))
    assert (len(waits()), fresh()) == (6, 0)
    assert waiting.fold_waiting() == 6
    assert (waits(), fresh()) == ({}, 0)
    assert running_of(wm_a)[:4] == (5, D("50.00"), 1, D("10.00"))


@pytest.mark.parametrize(
    ("table", "claimants"),
    [
        ("behaviours", ["wmB"]),
        ("behaviours", []),
        ("waiting_behaviours", ["wmB"]),
        ("waiting_behaviours", ["wmA", "wmB"]),
    ],
)
def test_what_a_killed_fold_has_begun_is_the_same_customers_whoever_is_claimed_by_then(
    table: str, claimants: list[str]
) -> None:
    """Killed before it recorded, and after; the identity names another customer by then, or two, or nobody."""
    (_, wm_b) = people("wmA", "wmB")
    record(anonymous("p1"), anonymous("p2"), anonymous_refund("r1", "p1", amount="4"))
    claim("wmA")
    alias, operation = ("dept_100", "INSERT") if table == "behaviours" else ("default", "DELETE")
    with gate(alias, table, operation) as shut:
        shut.kill(Process(waiting.fold_waiting))
    assert folded_to() == {"p1": "wmA", "p2": "wmA", "r1": "wmA"}
    take_identities([{"external_userid": "wmA", "kind": "openid", "value": None}], owner="api:shop", replace=True)
    for one in claimants:
        claim(one)
    moved = move_customer("wmA", 101, actor="test")
    assert waiting.fold_waiting() == 3
    assert (waits(), fresh(), waiting.fold_waiting()) == ({}, 0, 0)
    assert (sorted(raw_of(moved)), running_of(moved)[:4]) == (["p1", "p2", "r1"], (2, D("20.00"), 0, D("4.00")))
    assert (raw_of(wm_b), running_of(wm_b)) == ({}, None)


def test_two_folds_at_once_between_which_the_identity_moves_record_for_the_first_only() -> None:
    """One has been stopped where it says to whom it folds, the other where it records."""
    wm_a, wm_b = people("wmA", "wmB")
    record(anonymous("p1"), anonymous("p2"))
    claim("wmA")
    with gate("dept_100", "behaviours", "INSERT") as shut:
        first = Process(waiting.fold_waiting)
        shut.wait_for(first)
        take_identities([{"external_userid": "wmA", "kind": "openid", "value": None}], owner="api:shop", replace=True)
        claim("wmB")
        second = Process(waiting.fold_waiting)
        wait_for_somebody_behind_a_lock("dept_100", 2)
        shut.open()
        assert {first.answer(), second.answer()} == {2}
    assert (waits(), fresh(), running_of(wm_a)[:2], running_of(wm_b)) == ({}, 0, (2, D("20.00")), None)


def test_two_that_assign_at_once_agree_on_the_one_who_was_first() -> None:
    wm_a, wm_b = people("wmA", "wmB")
    record(*(anonymous(f"p{n}") for n in range(3)))
    claim("wmA")
    with gate("default", "waiting_behaviours", "UPDATE") as shut:
        first = Process(waiting.fold_waiting)
        shut.wait_for(first)
        take_identities([{"external_userid": "wmA", "kind": "openid", "value": None}], owner="api:shop", replace=True)
        claim("wmB")
        second = Process(waiting.fold_waiting)
        wait_for_somebody_behind_a_lock("default", 2)
        shut.open()
        assert sorted([first.answer(), second.answer()])[-1] == 3
    assert (waits(), fresh()) == ({}, 0)
    assert (running_of(wm_a)[:2], running_of(wm_b)) == ((3, D("30.00")), None)


def test_a_fold_that_comes_upon_a_refund_of_which_another_has_the_purchase_leaves_it() -> None:
    """What another has assigned between the one's purchases and its refunds."""
    (wm_a,) = people("wmA")
    record(anonymous("p1"), anonymous_refund("r1", "p1", amount="4"), anonymous_refund("r2", "never", amount="4"))
    claim("wmA")
    WaitingBehaviour.objects.update(folded_to="wmA")
    refunds = list(waiting._pages(is_refund=True))
    left = set[str]()
    assert waiting._record(refunds[0], left) == 0
    assert (waits(), left) == ({"p1": "", "r1": "", "r2": "unknown_purchase"}, {"wmA"})
    assert (waiting.fold_waiting(), waits()) == (2, {"r2": "unknown_purchase"})
    assert running_of(wm_a)[:4] == (1, D("10.00"), 0, D("4.00"))


def test_many_are_assigned_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "ASSIGNED_PAGE", 2)
    monkeypatch.setattr(waiting, "CLAIMS", 2)
    ids = people(*(f"wm{n}" for n in range(3)))
    for n in range(3):
        record(*(anonymous(f"p{k}", f"o{n}") for k in range(4)))
        claim(f"wm{n}", f"o{n}")
    assert waiting.fold_waiting() == 12
    assert [running_of(one)[:2] for one in ids] == [(4, D("40.00"))] * 3
    assert (waits(), fresh()) == ({}, 0)


def test_several_keepers_at_once_fold_each_in_once() -> None:
    names = [f"wm{n}" for n in range(20)]
    ids = people(*names)
    record(*(anonymous(f"p{n}-{k}", name) for n, name in enumerate(names) for k in range(5)))
    for name in names:
        claim(name, name)
    crowd = [Process(waiting.fold_waiting) for _ in range(4)]
    assert sum(process.answer() for process in crowd) >= 100
    assert (waits(), fresh()) == ({}, 0)
    assert {running_of(one)[:2] for one in ids} == {(5, D("50.00"))}


def test_who_is_claimed_while_a_behaviour_begins_to_wait_is_found() -> None:
    """The claim commits, and is looked through, between "nobody" and the insert of what waits."""
    (wm_a,) = people("wmA")
    with gate("default", "waiting_behaviours", "INSERT") as shut:
        reporter = Process(lambda: record(anonymous("p1")).waiting)
        shut.wait_for(reporter)
        claim("wmA")
        assert (waiting.fold_waiting(), fresh()) == (0, 0)
        shut.open()
        assert reporter.answer() == 1
    assert (fresh(), waiting.fold_waiting()) == (1, 1)
    assert list(raw_of(wm_a)) == ["p1"]


def test_a_behaviour_that_begins_to_wait_while_its_claim_is_looked_through_is_found() -> None:
    """The keeper has seen that nothing waits, and says so only after somebody has begun to wait."""
    people("wmA")
    claim("wmA")
    (seen,) = identities.list_fresh(limit=10)
    assert waiting._assign({seen.pair: "wmA"}) == 0
    # A reporter who had asked before the claim.
    with connection.cursor() as cursor:
        cursor.execute("UPDATE identities SET kind = 'hidden'")
    stale = identities.list_fresh(limit=10)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE identities SET kind = 'openid'")
    (seen,) = identities.list_fresh(limit=10)
    identities.freshen([seen.pair])
    identities.settle_fresh([*stale, seen])
    assert fresh() == 1


def test_reports_of_the_same_from_many_at_once_wait_once() -> None:
    batch = [anonymous(f"p{n}", f"o{n % 7}") for n in range(100)]
    crowd = [Process(partial(_report, batch[::step])) for step in (1, -1) * 3]
    answers = [process.answer() for process in crowd]
    assert sum(kept for kept, _, _ in answers) == 100
    assert all((kept + duplicates, codes) == (100, []) for kept, duplicates, codes in answers)
    assert WaitingBehaviour.objects.count() == 100


def _report(batch: list[dict[str, Any]]) -> tuple[int, int, list[str]]:
    done = record(*batch)
    return done.waiting, done.duplicates, [one.code for one in done.rejected]


# ------------------------------------------------------------------------------------------------ expiry, erasure, cost
def test_what_nobody_claims_in_ninety_days_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "EXPIRED_PAGE", 3)
    record(*(anonymous(f"p{n}") for n in range(7)))
    record(anonymous("late"), now=NOW + timedelta(days=1))
    almost = NOW + timedelta(days=keeping.KEPT_DAYS, seconds=-1)
    assert waiting.delete_expired(almost) == 0
    assert waiting.delete_expired(almost + timedelta(seconds=1)) == 7
    assert list(waits()) == ["late"]


def test_an_erasure_deletes_what_waits_for_its_person() -> None:
    people("wmA", "wmB")
    record(anonymous("p1", "oA"), anonymous("p1", "both"), anonymous("p1", "oB"))
    claim("wmA", "oA")
    claim("wmA", "both")
    claim("wmB", "both")
    done = run_erasure(request_erasure("wmA", actor="test").id)
    assert done.places["waiting_behaviours"]["rows"] == {"waiting_behaviours": 2}
    assert done.places["identities"]["rows"] == {"identities": 2}
    assert WaitingBehaviour.objects.count() == 1
    assert set(rows_everywhere().values()) == {0}


def test_an_erasure_deletes_what_was_being_folded_to_its_person_and_nobody_elses() -> None:
    """Also under an identity that the person has given up; not what waited unassigned for one: it is nobody's."""
    (_, wm_b) = people("wmA", "wmB")
    record(anonymous("pA", "oA"), anonymous_refund("rA", "never", "oA"), anonymous("pB", "oB"), anonymous("p0", "o0"))
    claim("wmA", "oA")
    claim("wmB", "oB")
    with gate("dept_100", "behaviours", "INSERT") as shut:
        shut.kill(Process(waiting.fold_waiting))
    claim("wmA", "o0")
    take_identities([{"external_userid": "wmA", "kind": "openid", "value": "oB"}], owner="api:shop", replace=True)
    assert identities.pairs_of("wmA") == [read_pair("openid", "oB")]
    job = request_erasure("wmA", actor="test")
    assert waiting.fold_waiting() == 1
    assert waits() == {"pA": "unknown_customer", "rA": "unknown_customer", "p0": ""}
    assert list(raw_of(wm_b)) == ["pB"]
    done = run_erasure(job.id)
    assert done.places["waiting_behaviours"]["rows"] == {"waiting_behaviours": 2}
    assert folded_to() == {"p0": ""}
    # Come again, they have nothing of what was theirs.
    (again,) = people("wmA")
    claim("wmA", "oA")
    assert (waiting.retry_refunds(), waiting.fold_waiting(), raw_of(again)) == (0, 0, {})


def test_an_erasure_leaves_what_is_being_folded_to_another_who_had_the_identity_first() -> None:
    (_, wm_b) = people("wmA", "wmB")
    record(anonymous("p1"))
    claim("wmB")
    with gate("dept_100", "behaviours", "INSERT") as shut:
        shut.kill(Process(waiting.fold_waiting))
    claim("wmA")
    done = run_erasure(request_erasure("wmA", actor="test").id)
    assert done.places["waiting_behaviours"]["rows"] == {"waiting_behaviours": 0}
    assert (waiting.fold_waiting(), list(raw_of(wm_b))) == (1, ["p1"])


def test_an_erasure_leaves_what_waits_for_an_identity_that_a_restricted_key_alone_gave_the_person() -> None:
    people("wmA", "wmB", "wmC")
    record(anonymous("p1"), anonymous("p2", "o2"))
    for value, who in (("o1", "wmB"), ("o1", "wmC")):
        claim(who, value)
    for value, who in (("o1", "wmA"), ("o2", "wmA"), ("o2", "wmB")):
        claim_identities(
            [Claim(who, "api:branch", "openid", digests_of("openid", [value]), is_weak=True, replaces=False)]
        )
    done = run_erasure(request_erasure("wmA", actor="test").id)
    assert (done.places["waiting_behaviours"]["rows"], waits()) == ({"waiting_behaviours": 1}, {"p1": ""})


def test_an_erasure_that_begins_while_it_is_said_to_whom_to_fold_finds_it() -> None:
    people("wmA")
    record(anonymous("p1"))
    claim("wmA")
    with gate("default", "waiting_behaviours", "UPDATE") as shut:
        fold = Process(waiting.fold_waiting)
        shut.wait_for(fold)
        eraser = Process(lambda: run_erasure(request_erasure("wmA", actor="test").id).state)
        wait_for_somebody_behind_a_lock("default", 2)
        shut.open()
        assert (fold.answer() in (0, 1), eraser.answer()) == (True, "done")
    assert (waits(), set(rows_everywhere().values())) == ({}, {0})


def test_whoever_is_being_erased_is_not_folded_in() -> None:
    people("wmA")
    record(anonymous("p1"))
    claim("wmA")
    job = request_erasure("wmA", actor="test")
    assert (waiting.fold_waiting(), waits()) == (0, {"p1": ""})
    assert outcome(record(anonymous("p2"))) == (0, 0, {0: "unknown_customer"})
    run_erasure(job.id)
    assert (waits(), set(rows_everywhere().values())) == ({}, {0})


@pytest.mark.parametrize("size", [1, 500])
def test_costs(size: int) -> None:
    names = [f"wm{n}" for n in range(size)]
    people(*names)
    record(item("warm", "wm0"))
    take_identities([{"external_userid": one, "kind": "openid", "value": one} for one in names], owner="api:shop")
    waiting.fold_waiting()

    def cost(*batch: Any) -> int:
        with CaptureQueriesContext(connection) as control:
            record(*batch)
        return len(control)

    known = [anonymous("p1", one) for one in names]
    unknown = [anonymous("p1", f"{one}?") for one in names]
    # The map, the directory.
    assert cost(*known) == 2
    # The map, the insert, a look at who was claimed meanwhile; and of a repeat, what waits.
    assert [cost(*unknown), cost(*unknown)] == [3, 4]
    assert cost(*(item("p2", one) for one in names)) == 1
    with CaptureQueriesContext(connection) as control:
        waiting.fold_waiting()
    # Fresh claims; what is assigned: purchases, and refunds.
    assert len(control) == 3


def test_the_keeper_folds_in_and_deletes_what_has_expired() -> None:
    chores = {one.name: one for one in keeper.registered()}
    assert (chores["waiting_behaviours"].every_seconds, chores["waiting_expiry"].every_seconds) == (10, 86400)
    assert keeper.run_once([chores["waiting_behaviours"], chores["waiting_expiry"]]) == []
