"""Recording behaviours: once, in the right totals, with the right answer for each item."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from customers import directory, erasure
from customers.models import Customer, DirectoryEntry, DirtyCustomer
from customers.moves import move_customer
from profiles.behaviours import record_behaviours
from profiles.behaviours.statements import LOOK
from profiles.models import BehaviourKey
from scrm import sharding
from scrm.held import forget_all
from tests.profiles.behaviours import (
    NOW,
    codes,
    days_of,
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
DAY = date(2026, 11, 20)


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    forget_all()


# ------------------------------------------------------------------------------------------------------------- stored
def test_behaviours_are_kept_raw_and_folded_into_totals() -> None:
    (wm_a,) = people("wmA")
    done = record(
        item("p1", amount="29.33", detail={"sku": ["茶", 2]}),
        item("p2", amount=0.67, occurred_at="2026-11-20T23:59:59.999999+08:00"),
        item("p3", amount=5, occurred_at="2026-11-20T16:00:00Z"),
        item("i1", kind="interaction", channel="wecom", occurred_at="2026-11-19T00:00:00+08:00"),
    )
    assert outcome(done) == (4, 0, {})
    assert days_of(wm_a) == {
        date(2026, 11, 19): (0, D("0.00"), 0, D("0.00"), 1),
        DAY: (2, D("30.00"), 0, D("0.00"), 0),
        date(2026, 11, 21): (1, D("5.00"), 0, D("0.00"), 0),
    }
    assert running_of(wm_a) == (3, D("35.00"), 0, D("0.00"), 1, date(2026, 11, 19), date(2026, 11, 21))
    row = raw_of(wm_a)["p1"]
    assert (row["source"], row["kind"], row["channel"], row["amount"]) == ("shop", "purchase", "store", D("29.33"))
    assert (row["detail"], row["refers_to"], row["received_at"]) == ({"sku": ["茶", 2]}, None, NOW)
    assert row["occurred_at"] == datetime(2026, 11, 20, 4, tzinfo=UTC)


def test_last_times_are_the_newest_whatever_the_order() -> None:
    (wm_a,) = people("wmA")
    record(item("p2", occurred_at="2026-11-20T12:00:00Z"), item("i1", kind="interaction"))
    record(item("p1", occurred_at="2026-11-20T03:00:00Z"))
    with sharding.cursor(100) as cursor:
        for table in ("daily_totals", "running_totals"):
            cursor.execute(f"SELECT last_purchase_at, last_interaction_at FROM {table} WHERE customer_id = %s", [wm_a])
            assert cursor.fetchall() == [
                (datetime(2026, 11, 20, 12, tzinfo=UTC), datetime(2026, 11, 20, 4, tzinfo=UTC))
            ], table


def test_a_day_is_cut_in_the_stored_zone_with_its_summer_time() -> None:
    (wm_a,) = people("wmA")
    # +09:00 from 15 April to 16 September 1990: midnight is at 15:00 UTC there, at 16:00 UTC before and after.
    record(
        item("winter", occurred_at="1990-01-01T15:30:00Z"),
        item("summer", occurred_at="1990-07-01T15:30:00Z"),
        item("before", occurred_at="1990-07-02T14:59:59Z"),
        item("after", occurred_at="1990-10-01T15:30:00Z"),
    )
    assert list(days_of(wm_a)) == [date(1990, 1, 1), date(1990, 7, 2), date(1990, 10, 1)]


def test_the_future_ends_with_tomorrow_in_the_stored_zone() -> None:
    (wm_a,) = people("wmA")
    now = datetime(2026, 11, 23, 16, 0, tzinfo=UTC)  # the 24th has begun in Shanghai
    done = record(
        item("ok", occurred_at="2026-11-25T23:59:59+08:00"),
        item("late", occurred_at="2026-11-26T00:00:00+08:00"),
        item("first", occurred_at="1990-01-01T00:00:00+08:00"),
        item("early", occurred_at="1989-12-31T23:59:59+08:00"),
        now=now,
    )
    assert outcome(done) == (2, 0, {1: "occurred_at_out_of_range", 3: "occurred_at_out_of_range"})
    assert list(days_of(wm_a)) == [date(1990, 1, 1), date(2026, 11, 25)]


def test_customers_are_marked_dirty_up_to_their_newest_day() -> None:
    wm_a, wm_b, wm_c = people("wmA", "wmB", "wmC")
    with sharding.atomic_home(100) as alias:
        DirtyCustomer.objects.using(alias).all().delete()
    record(item("p1"), item("p2", occurred_at="2026-11-24T10:00:00+08:00"), item("p1", "wmB"))
    first = dirty_of(wm_a)
    assert first is not None
    assert first[1] == date(2026, 11, 24)
    record(item("p3", occurred_at="1997-01-01T12:00:00+08:00"), item("p1", "wmB"))
    second = dirty_of(wm_a)
    assert second is not None
    assert second[1] == date(2026, 11, 24)
    assert second[0] > first[0]
    mark_of_b = dirty_of(wm_b)
    assert mark_of_b is not None
    assert mark_of_b[1] == DAY
    assert mark_of_b[0] < second[0], "a duplicate marks nobody"
    assert dirty_of(wm_c) is None


# --------------------------------------------------------------------------------------------------------------- once
def test_the_same_again_is_a_duplicate_and_other_contents_a_conflict() -> None:
    (wm_a,) = people("wmA")
    assert outcome(record(item("p1"), item("p2"))) == (2, 0, {})
    before = running_of(wm_a)
    again = record(item("p2"), item("p1", amount=10, occurred_at="2026-11-20T04:00:00Z"), item("p1", amount="11"))
    assert outcome(again) == (0, 2, {2: "event_id_conflict"})
    assert running_of(wm_a) == before
    assert raw_of(wm_a)["p1"]["amount"] == D("10.00")


def test_within_a_batch_the_first_of_an_event_id_wins() -> None:
    (wm_a,) = people("wmA")
    done = record(item("p1"), item("p1"), item("p1", amount="11"), item("p1", channel="app"), item("p1"))
    assert outcome(done) == (1, 2, {2: "event_id_conflict", 3: "event_id_conflict"})
    assert running_of(wm_a)[:2] == (1, D("10.00"))
    again = record(item("p1", amount="11"), item("p1"))
    assert outcome(again) == (0, 1, {0: "event_id_conflict"})


def test_an_event_id_belongs_to_a_customer_and_a_source() -> None:
    people("wmA", "wmB")
    assert outcome(record(item("p1"), item("p1", "wmB"))) == (2, 0, {})
    assert outcome(record(item("p1"), source="erp")) == (1, 0, {})
    assert rows_everywhere()["behaviour_keys"] == 3


# ------------------------------------------------------------------------------------------------------------ refunds
def test_a_refund_counts_on_its_own_day_and_a_whole_one_undoes_the_purchase() -> None:
    (wm_a,) = people("wmA")
    record(item("p1", amount="100"))
    assert outcome(record(refund("r1", "p1", "30", occurred_at="2026-11-21T12:00:00+08:00"))) == (1, 0, {})
    assert days_of(wm_a)[date(2026, 11, 21)] == (0, D("0.00"), 0, D("30.00"), 0)
    assert codes(record(refund("r2", "p1", "70.01"))) == {0: "refund_exceeds_purchase"}
    assert outcome(record(refund("r3", "p1", occurred_at="2026-11-22T12:00:00+08:00"))) == (1, 0, {})
    assert days_of(wm_a)[date(2026, 11, 22)] == (0, D("0.00"), 1, D("70.00"), 0)
    assert days_of(wm_a)[DAY] == (1, D("100.00"), 0, D("0.00"), 0)
    assert running_of(wm_a) == (1, D("100.00"), 1, D("100.00"), 0, DAY, date(2026, 11, 22))
    assert refunded(wm_a, "p1") == D("100.00")
    raw = raw_of(wm_a)
    assert (raw["r3"]["amount"], raw["r3"]["undoes_purchase"], raw["r3"]["refers_to"]) == (D("70.00"), True, "p1")
    assert [raw[one]["undoes_purchase"] for one in ("p1", "r1")] == [False, False]
    assert codes(record(refund("r4", "p1"), refund("r5", "p1", "0"))) == dict.fromkeys(
        (0, 1), "refund_exceeds_purchase"
    )


def test_a_repeated_refund_takes_nothing_more() -> None:
    (wm_a,) = people("wmA")
    record(item("p1", amount="100"), refund("r1", "p1", "30"))
    assert outcome(record(refund("r1", "p1", "30"), refund("r1", "p1", "31"))) == (0, 1, {1: "event_id_conflict"})
    assert refunded(wm_a, "p1") == D("30.00")
    assert running_of(wm_a)[3] == D("30.00")


def test_a_refund_may_come_with_its_purchase_in_any_order() -> None:
    (wm_a,) = people("wmA")
    done = record(
        refund("r1", "p1", "60"), item("p1", amount="100"), refund("r2", "p1", "60"), refund("r3", "p1", "40"),
        refund("r2", "p1", "60"), refund("r2", "p1", "1"),
    )  # fmt: skip
    assert outcome(done) == (
        3, 0, {2: "refund_exceeds_purchase", 4: "refund_exceeds_purchase", 5: "event_id_conflict"},
    )  # fmt: skip
    assert refunded(wm_a, "p1") == D("100.00")
    assert running_of(wm_a)[:5] == (1, D("100.00"), 1, D("100.00"), 0)


def test_a_refund_wants_a_purchase_of_the_same_customer_and_source_that_lies_before_it() -> None:
    people("wmA", "wmB")
    record(item("p1", amount="100"), item("i1", kind="interaction"), item("p2", "wmB"))
    record(item("p3"), source="erp")
    done = record(
        refund("r1", "nothing"), refund("r2", "i1"), refund("r3", "p2"), refund("r4", "p3"), refund("r5", "r1"),
        refund("r6", "p1", occurred_at="2026-11-20T11:59:59+08:00"), refund("r7", "p1"),
    )  # fmt: skip
    assert outcome(done) == (1, 0, dict.fromkeys(range(5), "unknown_purchase") | {5: "refund_before_purchase"})


def test_a_purchase_for_nothing_can_be_undone_once() -> None:
    (wm_a,) = people("wmA")
    record(item("p1", amount="0"))
    assert outcome(record(refund("r1", "p1"))) == (1, 0, {})
    assert codes(record(refund("r2", "p1", "0"))) == {0: "refund_exceeds_purchase"}
    assert running_of(wm_a)[2:4] == (1, D("0.00"))


# ----------------------------------------------------------------------------------------------------------- customers
def test_unknown_customers_are_refused_unless_they_shall_be_created() -> None:
    people("wmA")
    assert outcome(record(item("p1"), item("p1", "wmNew"))) == (1, 0, {1: "unknown_customer"})
    done = record(
        item("p1", "wmNew"), item("p2", "wmNew", home=101), item("p1", "wmHash"), item("p1", "wmFar", home=999),
        create_missing=True,
    )  # fmt: skip
    assert (outcome(done), done.created) == ((3, 0, {3: "unknown_home"}), 2)
    there = directory.addresses(["wmNew", "wmHash", "wmFar"])
    assert sharding.home_of(there["wmNew"]) == 101
    assert running_of(there["wmNew"])[:2] == (2, D("20.00"))
    assert "wmFar" not in there


def test_the_erased_are_neither_recorded_nor_created_again() -> None:
    people("wmA")
    record(item("p1"))
    job = erasure.request_erasure("wmA", actor="test")
    assert codes(record(item("p2"))) == {0: "unknown_customer"}
    assert codes(record(item("p2"), create_missing=True)) == {0: "erasure_in_progress"}
    erasure.run_erasure(job.id)
    assert directory.find("wmA") is None
    assert codes(record(item("p2"))) == {0: "unknown_customer"}
    done = record(item("p2"), create_missing=True)
    assert (codes(done), done.created) == ({0: "erased"}, 0)
    assert set(rows_everywhere().values()) == {0}


def test_who_moved_after_the_directory_was_read_is_looked_up_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    (new_id,) = people("wmA", home=101)
    (wm_b,) = people("wmB", home=100)
    real, answers = directory.addresses, [{"wmA": new_id - 10**10, "wmB": wm_b}]
    monkeypatch.setattr(directory, "addresses", lambda ids: answers.pop() if answers else real(ids))
    assert outcome(record(item("p1"), item("p1", "wmB"))) == (2, 0, {})
    assert list(raw_of(new_id)) == ["p1"]
    assert rows_everywhere()["behaviours"] == 2


def test_who_vanished_meanwhile_is_unknown() -> None:
    (wm_a,) = people("wmA")
    with sharding.atomic_home(100) as alias:
        Customer.objects.using(alias).filter(customer_id=wm_a).delete()
    assert DirectoryEntry.objects.filter(external_userid="wmA").exists()
    assert outcome(record(item("p1"), item("p2"))) == (0, 0, {0: "unknown_customer", 1: "unknown_customer"})


def test_behaviours_find_who_was_left_between_two_homes() -> None:
    (old,) = people("wmA")
    new = move_customer("wmA", 101, actor="test")
    DirectoryEntry.objects.update(customer_id=old, target_customer_id=new, state="moving")  # the mover died just before
    assert outcome(record(item("p1"))) == (1, 0, {})
    assert running_of(new)[0] == 1


# ------------------------------------------------------------------------------------------------------- homes, errors
def test_a_home_that_is_down_refuses_its_own_items_only(fragile_department: PrivatePostgres) -> None:
    (wm_a,) = people("wmA", home=100)
    people("wmB", home=101)
    fragile_department.stop()
    connections["dept_101"].close()
    done = record(item("p1"), item("p1", "wmB"), {"event_id": "x"}, item("p2"))
    assert outcome(done) == (2, 0, {1: "department_unavailable", 2: "invalid_external_userid"})
    assert "dept_101" in done.rejected[0].message
    assert running_of(wm_a)[0] == 2


def test_bad_items_are_refused_alone_in_order_of_index() -> None:
    people("wmA")
    done = record(None, item("p1"), item("p2", amount="1e999"), item("p3", "wmNobody"), item(""), item("p4"))
    assert outcome(done) == (
        2, 0, {0: "invalid_item", 2: "invalid_amount", 3: "unknown_customer", 4: "invalid_event_id"},
    )  # fmt: skip
    assert [rejection.index for rejection in done.rejected] == [0, 2, 3, 4]
    assert outcome(record()) == (0, 0, {})


def test_what_validation_lets_pass_the_database_takes() -> None:
    (wm_a,) = people("wmA")
    deep: Any = {}
    for _ in range(15):
        deep = {"a": deep}
    done = record(
        item("'\"\\ 🙂 %s {}", amount=10**10, detail={"x": "\\u0000 '\"\\ 🙂 \x01", "big": 10**1000, "f": 0.5}),
        item("deep", detail=deep, refers_to="%(x)s"),
        item("i", kind="interaction", amount="10000000000.00"),
    )
    assert outcome(done) == (3, 0, {})
    raw = raw_of(wm_a)["'\"\\ 🙂 %s {}"]
    assert raw["amount"] == D("10000000000.00")
    assert raw["detail"] == {"x": "\\u0000 '\"\\ 🙂 \x01", "big": 10**1000, "f": 0.5}
    assert raw_of(wm_a)["deep"]["detail"] == deep


@pytest.mark.parametrize("source", ["", "x" * 65, "a\x00", " a"])
def test_a_source_is_a_short_text(source: str) -> None:
    with pytest.raises(ValueError, match="source"):
        record_behaviours([], source=source, now=NOW)


def test_a_failure_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    people("wmA", home=100)
    monkeypatch.setattr("profiles.behaviours.recording.day_zone", lambda: type("Zone", (), {"key": "No/Where"}))
    with pytest.raises(Exception, match="No/Where"):
        record(item("p1"), item("p2"))
    assert set(rows_everywhere().values()) == {0}


# --------------------------------------------------------------------------------------------------------------- costs
def statements(captured: CaptureQueriesContext) -> int:
    """Count what was asked, without the ends of the transaction."""
    return sum(query["sql"] not in ("BEGIN", "COMMIT") for query in captured)


@pytest.mark.parametrize("size", [1, 300])
def test_cost_is_one_directory_query_and_two_statements_a_home(size: int) -> None:
    names = [f"wm{number:03}" for number in range(size)]
    people(*names, home=100)
    people(*(f"{name}b" for name in names), home=101)
    record(item("warm", names[0]))  # the zone, held from then on
    batch = [item("p1", name) for name in names] + [item("p1", f"{name}b", amount="20") for name in names]
    batch += [refund("r1", "p1", external_userid=name) for name in names]

    with (
        CaptureQueriesContext(connections["default"]) as control,
        CaptureQueriesContext(connections["dept_100"]) as first,
        CaptureQueriesContext(connections["dept_101"]) as second,
    ):
        done = record(*batch)
    assert outcome(done) == (3 * size, 0, {})
    assert [len(control), statements(first), statements(second)] == [1, 2, 2]
    with CaptureQueriesContext(connections["dept_100"]) as again:
        assert outcome(record(*batch)) == (0, 3 * size, {})
    assert statements(again) == 1, "nothing is new, so nothing is written"


def test_looking_reads_one_partition_and_one_index_entry_a_row() -> None:
    names = [f"wm{number:03}" for number in range(50)]
    ids = people(*names)
    for start in range(0, 2000, 500):
        record(*(item(f"p{number}", names[number % 50]) for number in range(start, start + 500)))
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        asked = f'[{{"customer_id": {ids[7]}, "event_id": "p7", "refers_to": "p57"}}]'
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF) {LOOK}", {"items": asked, "source": "shop"})
        plan = [line for (line,) in cursor.fetchall()]
    scans = [line for line in plan if "Scan" in line and ("behaviour_keys_" in line or "customers_" in line)]
    # Three tables of ten partitions; a bitmap scan is two lines of the plan, of which the table's counts.
    tables = [line for line in scans if "Bitmap Index Scan" not in line]
    executed = [line for line in tables if "never executed" not in line]
    assert len(tables) == 30
    assert len(executed) == 3, "\n".join(plan)
    assert all(f"_{ids[7] % 10} " in line for line in executed)


def test_a_batch_of_ten_thousand() -> None:
    names = [f"wm{number:03}" for number in range(100)]
    batch = [item(f"p{number}", names[number % 100], amount=number % 7) for number in range(10_000)]
    done = record(*batch, create_missing=True)
    assert (outcome(done), done.created) == ((10_000, 0, {}), 100)
    assert outcome(record(*batch)) == (0, 10_000, {})
    totals = sum(running_of(customer_id)[1] for customer_id in directory.addresses(names).values())
    assert totals == sum(number % 7 for number in range(10_000))
    assert BehaviourKey.objects.using("dept_100").count() + BehaviourKey.objects.using("dept_101").count() == 10_000
