"""How somebody comes to live somewhere: once, whatever the crowd, the crash or the bad input (customers.directory)."""

import json
import os
from collections import Counter
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from customers.directory import DirectoryError, addresses, hold, upsert, upsert_many
from customers.erasure import request_erasure, run_erasure
from customers.lookup import CACHE, read
from customers.models import Department, DirectoryEntry, Staff
from customers.records import CustomerData
from customers.sweep import sweep
from scrm import sharding
from scrm.held import forget_all
from scrm.sharding.models import Home
from tests.customers.gates import Process, gate
from tests.customers.people import addresses_of, advisory_locks, follow, make, rows_at, state_of
from tests.servers import PrivatePostgres


def look(external_userid: str) -> dict | None:
    value = CACHE.get(external_userid).value
    return json.loads(value) if value else None


def test_creation_is_found_by_directory_cache_and_address() -> None:
    customer_id, fate = upsert(
        CustomerData("wm1", {"name": "王小明", "mobile": "13812345678", "attributes": {"level": 3}}, home=101)
    )
    assert fate == "created"
    assert sharding.home_of(customer_id) == 101
    assert addresses(["wm1", "nobody", "\x00"]) == {"wm1": customer_id}
    assert state_of("wm1") == "live"
    seen = look("wm1")
    assert seen is not None
    assert (seen["customer_id"], seen["name"], seen["mobile"], seen["version"]) == (
        customer_id,
        "王小明",
        "138****5678",
        1,
    )
    assert rows_at(customer_id) == {"customers": 1, "dirty_customers": 1}


def test_repeat_changes_nothing_and_keeps_what_is_cached() -> None:
    data = CustomerData("wm1", {"name": "王小明"}, follows=(follow("zhang"),), tag_ids=("et1",))
    customer_id, _ = upsert(data)
    look("wm1")
    assert upsert(data) == (customer_id, "unchanged")
    assert CACHE.get("wm1").source == "hit"
    assert read("wm1")[0]["version"] == 1  # type: ignore[index]


def test_change_bumps_the_version_and_is_seen_at_once() -> None:
    customer_id = make("wm1", name="王小明")
    look("wm1")
    assert upsert(CustomerData("wm1", {"name": "王明"})) == (customer_id, "updated")
    seen = look("wm1")
    assert seen is not None
    assert (seen["name"], seen["version"]) == ("王明", 2)


def test_true_is_not_one_and_null_is_gone_among_attributes() -> None:
    customer_id = make("wm1", attributes={"vip": 1, "shop": "A"})
    assert upsert(CustomerData("wm1", {"attributes": {"vip": True, "shop": "A"}})) == (customer_id, "updated")
    upsert(CustomerData("wm1", {"attributes": {"shop": None, "city": "上海"}}, merge_attributes=True))
    seen = look("wm1")
    assert seen is not None
    assert json.dumps(seen["attributes"], ensure_ascii=False, sort_keys=True) == '{"city": "上海", "vip": true}'


def test_unchanged_follow_keeps_the_time_it_began() -> None:
    make("wm1", follows=(follow("zhang", remark="老王"),))
    before = read("wm1")[0]["follows"][0]["created_at"]  # type: ignore[index]
    upsert(CustomerData("wm1", follows=(follow("zhang", remark="王总"), follow("li"))))
    follows = {one["userid"]: one for one in read("wm1")[0]["follows"]}  # type: ignore[index]
    assert set(follows) == {"zhang", "li"}
    assert (follows["zhang"]["remark"], follows["zhang"]["created_at"]) == ("王总", before)
    upsert(CustomerData("wm1", follows=()))
    assert read("wm1")[0]["follows"] == []  # type: ignore[index]


# ---------------------------------------------------------------------------------------------------------- the home
def test_home_is_the_one_given_else_the_first_staffs_else_a_stable_hash() -> None:
    Department.objects.create(id=1, name="总部")
    Department.objects.create(id=101, name="华东", parent_id=1)
    Department.objects.create(id=555, name="上海", parent_id=101)
    Staff.objects.create(userid="zhang", name="张三").departments.add(555)
    forget_all()
    lost = follow("zhang", lost_at=timezone.now())
    done = upsert_many(
        [
            CustomerData("given", home=100, follows=(follow("zhang"),)),
            CustomerData("by-staff", follows=(follow("zhang"),)),
            CustomerData("lost", follows=(lost,)),
            CustomerData("hashed"),
        ]
    )
    homes = {one: sharding.home_of(customer_id) for one, customer_id in done.created.items()}
    assert (homes["given"], homes["by-staff"]) == (100, 101)
    assert homes["hashed"] == sharding.bucketing().pick_shard("hashed", [100, 101])
    assert homes["lost"] == sharding.bucketing().pick_shard("lost", [100, 101])


def test_closed_home_takes_nobody_new_and_keeps_who_is_there() -> None:
    make("old", home=101)
    Home.objects.filter(home=101).update(is_open=False)
    forget_all()
    done = upsert_many([CustomerData(f"wm{n}") for n in range(40)])
    assert {sharding.home_of(i) for i in done.created.values()} == {100}
    assert upsert(CustomerData("old", {"name": "新"}))[1] == "updated"
    with pytest.raises(DirectoryError) as caught:
        upsert(CustomerData("new", home=101))
    assert (caught.value.code, caught.value.home) == ("unknown_home", 101)
    Home.objects.update(is_open=False)
    forget_all()
    with pytest.raises(DirectoryError) as caught:
        upsert(CustomerData("new"))
    assert caught.value.code == "no_open_home"
    assert addresses(["new"]) == {}


@pytest.mark.parametrize("home", [0, -1, 102, 2**63])
def test_home_that_is_none_is_refused(home: int) -> None:
    with pytest.raises(DirectoryError) as caught:
        upsert(CustomerData("wm1", home=home))
    assert caught.value.code == "unknown_home"
    assert state_of("wm1") is None


@pytest.mark.parametrize(
    "external_userid", ["", " ", "a ", "x" * 65, "x" * 10_240, "a\x00b", "a\nb", "\ud800", None, 5, True]
)
def test_what_is_no_external_userid_touches_no_database(external_userid: object) -> None:
    with CaptureQueriesContext(connection) as queries:
        done = upsert_many([CustomerData(external_userid)])  # type: ignore[arg-type]
    assert [error.code for error in done.rejected.values()] == ["invalid_external_userid"]
    assert len(queries) == 0


@pytest.mark.parametrize(
    "external_userid", ["o'brien", '"quoted"', "老王🙂", "a/b", "a%2Fb", "../..", "x" * 64, "*", "{}"]
)
def test_odd_external_userids_are_people(external_userid: str) -> None:
    customer_id = make(external_userid, name=external_userid)
    seen = look(external_userid)
    assert seen is not None
    assert (seen["external_userid"], seen["customer_id"]) == (external_userid, customer_id)
    assert request_erasure(external_userid, actor="test").state == "running"
    assert look(external_userid) is None


# --------------------------------------------------------------------------------------------------------- many at once
def statements(queries: CaptureQueriesContext) -> list[str]:
    return [q["sql"] for q in queries.captured_queries if q["sql"] not in ("BEGIN", "COMMIT")]


def test_ten_thousand_take_as_many_statements_as_two() -> None:
    counts: dict[int, dict[str, list[int]]] = {}
    for size in (20, 10_000):
        items = [
            CustomerData(
                f"batch{size}-{n}", {"name": f"客户{n}"}, follows=(follow("zhang"),), tag_ids=("et1",), home=100 + n % 2
            )
            for n in range(size)
        ]
        changed = [CustomerData(one.external_userid, {"name": "新名"}, follows=(), tag_ids=()) for one in items]
        upsert_many([CustomerData(f"warm{size}", home=100)])  # somebody new: what is held for a while is known then
        for step in (items, changed, changed):
            with (
                CaptureQueriesContext(connections["default"]) as control,
                CaptureQueriesContext(connections["dept_100"]) as home,
                CaptureQueriesContext(connections["dept_101"]) as other,
            ):
                done = upsert_many(step)
            assert len(done.created) + len(done.updated) + len(done.unchanged) == size
            counts.setdefault(size, {}).setdefault("control", []).append(len(statements(control)))
            counts[size].setdefault("home", []).append(len(statements(home)))
            counts[size].setdefault("other", []).append(len(statements(other)))
    # Created, changed, unchanged: directory, then lock, open homes …; the same for twenty and for ten thousand. Follows
    # were told, and with them mobiles: one statement for the map of identities.
    assert counts[20] == counts[10_000]
    assert counts[10_000] == {"control": [8, 2, 2], "home": [5, 7, 3], "other": [5, 7, 3]}
    assert advisory_locks() == 0
    customers = upsert_many([CustomerData(f"batch10000-{n}") for n in range(10_000)])
    spread = Counter(i % 10 for i in customers.unchanged.values())
    assert all(850 <= spread[bucket] <= 1150 for bucket in range(10))


def test_a_call_takes_ten_thousand_at_most() -> None:
    with pytest.raises(ValueError, match="10000"):
        upsert_many([CustomerData(f"wm{n}") for n in range(10_001)])


def test_of_several_items_for_one_person_the_last_counts() -> None:
    done = upsert_many([CustomerData("wm1", {"name": "一"}), CustomerData("wm1", {"name": "二"})])
    assert list(done.created) == ["wm1"]
    assert look("wm1")["name"] == "二"  # type: ignore[index]


def test_bad_items_are_rejected_alone() -> None:
    make("synced")
    upsert(CustomerData("synced", {"name": "微信名"}, by_wecom=True))
    done = upsert_many(
        [
            CustomerData("good"),
            CustomerData("a\x00b"),
            CustomerData("nowhere", home=999),
            CustomerData("synced", {"name": "别的"}, follows=(follow("zhang"),)),
        ]
    )
    assert list(done.created) == ["good"]
    assert {e: (error.code, error.fields) for e, error in done.rejected.items()} == {
        "a\x00b": ("invalid_external_userid", []),
        "nowhere": ("unknown_home", []),
        "synced": ("owned_by_wecom", ["name", "follows"]),
    }


def test_nobody_is_created_where_only_changes_are_wanted() -> None:
    make("there")
    done = upsert_many([CustomerData("there", {"name": "新"}), CustomerData("absent")], create=False)
    assert list(done.updated) == ["there"]
    assert done.rejected["absent"].code == "unknown_customer"
    assert state_of("absent") is None


def test_department_that_is_down_rejects_its_own_only(fragile_department: PrivatePostgres) -> None:
    make("there", home=101)
    make("here", home=100)
    fragile_department.stop()
    connections["dept_101"].close()
    done = upsert_many(
        [
            CustomerData("there", {"name": "新"}),
            CustomerData("here", {"name": "新"}),
            CustomerData("new-there", home=101),
            CustomerData("new-here", home=100),
        ]
    )
    assert set(done.updated) == {"here"}
    assert set(done.created) == {"new-here"}
    assert {e: (error.code, error.home) for e, error in done.rejected.items()} == {
        "there": ("department_unavailable", 101),
        "new-there": ("department_unavailable", 101),
    }
    fragile_department.start()


# ---------------------------------------------------------------------------------------------------------- WeCom owns
def test_wecoms_fields_are_the_apis_until_wecom_has_synced() -> None:
    make("wm1", name="自己填的")
    assert upsert(CustomerData("wm1", {"name": "改过的"}))[1] == "updated"
    upsert(CustomerData("wm1", {"name": "微信名"}, by_wecom=True))
    with pytest.raises(DirectoryError) as caught:
        upsert(CustomerData("wm1", {"name": "别的", "gender": 1, "mobile": "13800000000"}))
    assert (caught.value.code, caught.value.fields) == ("owned_by_wecom", ["name", "gender"])
    seen = read("wm1")[0]
    assert seen is not None
    assert (seen["name"], seen["mobile"], seen["version"]) == ("微信名", "", 3)
    # The same value again is no change, and what is ours stays ours.
    assert upsert(CustomerData("wm1", {"name": "微信名", "mobile": "13800000000"}))[1] == "updated"


def test_version_asked_for_must_be_the_stored_one() -> None:
    make("wm1")
    assert upsert(CustomerData("wm1", {"mobile": "1"}, if_version=1))[1] == "updated"
    with pytest.raises(DirectoryError) as caught:
        upsert(CustomerData("wm1", {"mobile": "2"}, if_version=1))
    assert caught.value.code == "version_differs"
    with pytest.raises(DirectoryError) as caught:
        upsert(CustomerData("nobody", {"mobile": "2"}, if_version=1))
    assert caught.value.code == "version_differs"
    assert state_of("nobody") is None


def test_merged_attributes_may_not_grow_past_the_limit() -> None:
    make("wm1", attributes={"a": "x" * 3000})
    with pytest.raises(DirectoryError) as caught:
        upsert(CustomerData("wm1", {"attributes": {"b": "x" * 3000}}, merge_attributes=True))
    assert caught.value.code == "attributes_too_large"
    assert read("wm1")[0]["version"] == 1  # type: ignore[index]


# ---------------------------------------------------------------------------------------------------------- the erased
def test_erased_come_back_only_by_a_newer_follow() -> None:
    make("wm1")
    erasure = request_erasure("wm1", actor="test")
    assert upsert_many([CustomerData("wm1")]).rejected["wm1"].code == "erasure_in_progress"
    run_erasure(erasure.id)
    before, after = erasure.requested_at - timedelta(seconds=1), erasure.requested_at + timedelta(seconds=1)
    for followed_at in (None, before, erasure.requested_at):
        done = upsert_many([CustomerData("wm1", respect_tombstone=True, followed_at=followed_at)])
        assert done.rejected["wm1"].code == "erased"
    assert addresses_of("wm1") == []
    assert upsert(CustomerData("wm1", respect_tombstone=True, followed_at=after))[1] == "created"


# ---------------------------------------------------------------------------------------------------------- crowds
def test_fifty_processes_create_one_customer(monkeypatch: pytest.MonkeyPatch) -> None:
    # Fifty at once on a small machine take their time to be let in; that is not what this is about.
    for alias in connections:
        monkeypatch.setitem(connections.settings[alias]["OPTIONS"], "connect_timeout", 60)
    gate_closed, gate_open = os.pipe()

    def create(n: int) -> tuple[int, str]:
        os.close(gate_open)
        os.read(gate_closed, 1)  # until the parent closes it, when all are there
        return upsert(CustomerData("crowded", {"name": f"第{n}个"}))

    crowd = [Process(partial(create, n)) for n in range(50)]
    os.close(gate_open)
    answers = [process.answer() for process in crowd]
    os.close(gate_closed)
    fates = Counter(fate for _, fate in answers)
    assert fates["created"] == 1, answers
    assert fates["created"] + fates["updated"] + fates["unchanged"] == 50
    assert len({customer_id for customer_id, _ in answers}) == 1
    assert addresses_of("crowded") == [answers[0][0]]
    assert DirectoryEntry.objects.filter(external_userid="crowded", state="live").count() == 1
    seen = look("crowded")
    assert seen is not None
    assert seen["version"] == 1 + fates["updated"]


# ---------------------------------------------------------------------------------------------------------- the killed
def create_victim() -> None:
    upsert(CustomerData("victim", {"name": "死者写的"}, home=101, follows=(follow("zhang"),), tag_ids=("et1",)))


# (where it is killed, and what is left then)
STEPS = {
    "address taken": (("default", "directory", "INSERT", ""), None),
    "directory says creating": (("dept_101", "customers", "INSERT", ""), "creating"),
    "row written": (("dept_101", "follows", "INSERT", ""), "creating"),
    "all rows written": (("dept_101", "dirty_customers", "INSERT", ""), "creating"),
    "rows committed": (("default", "directory", "UPDATE", "NEW.state = 'live'"), "creating"),
}


@pytest.fixture(params=STEPS)
def killed_creator(request: pytest.FixtureRequest) -> str:
    place, left = STEPS[request.param]
    with gate(*place) as shut:
        shut.kill(Process(create_victim))
    assert state_of("victim") == left
    # Nobody was told of a creation, so nobody may see one, not even for the moment until somebody tidies up.
    assert read("victim")[0] is None
    assert CACHE.get("victim").value is None
    return request.param


def test_next_creator_goes_on_where_one_was_killed(killed_creator: str) -> None:
    customer_id, _ = upsert(CustomerData("victim", {"name": "后来者"}, home=101, follows=(), tag_ids=("et2",)))
    assert addresses_of("victim") == [customer_id]
    seen = look("victim")
    assert seen is not None
    assert (seen["name"], seen["follows"], seen["tag_ids"]) == ("后来者", [], ["et2"])
    assert state_of("victim") == "live"
    assert not any(vars(sweep(older_than=timedelta(0))).values())


def test_sweep_ends_what_a_killed_creator_began(killed_creator: str) -> None:
    assert not any(vars(sweep()).values())  # too young: its creator may be alive
    swept = sweep(older_than=timedelta(0))
    assert swept.settled == (killed_creator != "address taken")
    if killed_creator == "rows committed":
        assert look("victim")["name"] == "死者写的"  # type: ignore[index]
        assert state_of("victim") == "live"
    else:
        assert (look("victim"), state_of("victim"), addresses_of("victim")) == (None, None, [])


# ---------------------------------------------------------------------------------------------------------- locks
def test_lock_is_let_go_after_an_error_and_refused_inside_a_transaction() -> None:
    held = []

    def fail_inside() -> None:
        with hold(["wm1"]):
            held.append(advisory_locks())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert [*held, advisory_locks()] == [1, 0]
    with transaction.atomic(), pytest.raises(RuntimeError, match="spans several commits"), hold(["wm1"]):
        pass


def point_sequence_at(customer_id: int) -> None:
    """Make the home give this id next, as after a failover that carried rows but no sequences."""
    home = sharding.home_of(customer_id)
    with sharding.atomic_home(home), sharding.cursor(home) as cursor:
        cursor.execute("SELECT setval('customer_ids', %s, false)", [customer_id % 10**10])


def test_nobody_is_led_to_the_row_of_somebody_else() -> None:
    taken = make("wmA", name="王小明")
    DirectoryEntry.objects.all().delete()
    point_sequence_at(taken)
    done = upsert_many([CustomerData("wmB", home=100), CustomerData("wmC", home=100), CustomerData("wmD", home=101)])
    assert {one: error.code for one, error in done.rejected.items()} == dict.fromkeys(("wmB", "wmC"), "address_taken")
    assert list(done.created) == ["wmD"]
    assert (read("wmB")[0], state_of("wmB"), addresses_of("wmC")) == (None, None, [])
    assert upsert(CustomerData("wmB", home=100))[1] == "created"


def test_an_address_that_the_directory_knows_is_not_given_again() -> None:
    point_sequence_at(make("wmA"))
    with pytest.raises(DirectoryError) as caught:
        upsert(CustomerData("wmB", home=100))
    assert caught.value.code == "address_taken"
    assert upsert(CustomerData("wmB", home=100))[1] == "created"


@pytest.mark.parametrize("state", ["live", "creating", "moving"])
def test_a_home_that_this_process_does_not_know_refuses_its_own_only(state: str) -> None:
    DirectoryEntry.objects.create(external_userid="wm2", customer_id=999 * 10**10 + 5, state=state)
    done = upsert_many([CustomerData("wm1", {"name": "王"}), CustomerData("wm2", {"name": "李"})])
    assert list(done.created) == ["wm1"]
    assert {one: (error.code, error.home) for one, error in done.rejected.items()} == {
        "wm2": ("department_unavailable", 999)
    }


def test_somebody_new_has_no_more_attributes_than_others_and_none_that_are_null() -> None:
    data = CustomerData("wm1", {"attributes": {"a": None, "b": 1}}, merge_attributes=True)
    customer_id, _ = upsert(data)
    assert upsert(data) == (customer_id, "unchanged")
    with pytest.raises(DirectoryError) as caught:
        upsert(CustomerData("wm2", {"attributes": {"a": "x" * 4000, "b": "x" * 4000}}, merge_attributes=True))
    assert (caught.value.code, state_of("wm2")) == ("attributes_too_large", None)
