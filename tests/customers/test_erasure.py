"""Erasure: unfindable at once, gone from everywhere in the end, whatever is down or dies (customers.erasure)."""

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import connections

from customers import directory
from customers import erasure as erasures
from customers.directory import DirectoryError, upsert, upsert_many
from customers.erasure import request_erasure, run_erasure, run_waiting
from customers.identity import digest
from customers.lookup import CACHE, read
from customers.models import Audit, CacheDeletion, CustomerAlias, DirectoryEntry, Erasure, Note, ProfileCount, Tombstone
from customers.moves import move_customer
from customers.records import CustomerData
from customers.sweep import sweep
from profiles.behaviours import record_behaviours
from scrm import sharding
from tests.customers.gates import Process, gate, wait_for_somebody_behind_a_lock
from tests.customers.people import addresses_of, advisory_locks, follow, insert_row, make, rows_at, state_of
from tests.databases import url_of
from tests.servers import PrivatePostgres, PrivateValkey

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def make_rich(external_userid: str, home: int = 100) -> int:
    """Create a customer with a row in every table that anything writes to so far."""
    customer_id = make(external_userid, home=home, name="王小明", follows=(follow("zhang"),), tag_ids=("et1",))
    with sharding.atomic(customer_id) as alias:
        Note.objects.using(alias).create(customer_id=customer_id, author="zhang", text="喜欢红茶")
        ProfileCount.objects.using(alias).create(bucket=customer_id % 10, profile="潜在客户", customers=1)
        with sharding.cursor(home) as cursor:
            cursor.execute(
                "UPDATE customers SET profile = '潜在客户' WHERE customer_id = %s AND bucket = %s",
                [customer_id, customer_id % 10],
            )
    item = {
        "event_id": "e1", "external_userid": external_userid, "kind": "purchase", "channel": "store",
        "amount": "29.33", "occurred_at": "2026-11-01T10:00:00+08:00",
    }  # fmt: skip
    assert record_behaviours([item], source="shop", now=datetime.now(UTC)).accepted == 1
    return customer_id


def assert_gone(external_userid: str, *customer_ids: int) -> None:
    assert addresses_of(external_userid) == []
    assert [rows_at(one) for one in customer_ids] == [{}] * len(customer_ids)
    assert state_of(external_userid) is None
    assert Tombstone.objects.filter(digest=digest(external_userid)).count() == 1
    assert CACHE.get(external_userid).value is None
    assert not Erasure.objects.filter(external_userid=external_userid).exists()
    assert advisory_locks() == 0


def test_erasure_clears_every_place_and_says_so() -> None:
    customer_id = make_rich("wm1")
    kept = make_rich("wm2")
    CACHE.get("wm1")
    job = request_erasure("wm1", actor="客服系统")
    assert (job.state, job.requested_by) == ("running", "客服系统")
    assert (read("wm1"), CACHE.get("wm1").value) == ((None, False), None)
    done = run_erasure(job.id)
    assert (done.state, done.waiting_for, done.external_userid) == ("done", [], "")
    rows = {place: seen["rows"] for place, seen in done.places.items()}
    assert rows["dept_100"] == {
        "customers": 1, "follows": 1, "customer_tags": 1, "notes": 1, "behaviour_keys": 1, "behaviours": 1,
        "daily_totals": 1, "running_totals": 1, "dirty_customers": 1,
    }  # fmt: skip
    assert (rows["dept_101"], rows["cache"]) == ({}, {})
    assert_gone("wm1", customer_id)
    assert rows_at(kept)["behaviours"] == 1
    counts = {one.bucket: one.customers for one in ProfileCount.objects.using("dept_100")}
    assert (counts[customer_id % 10], counts[kept % 10]) == (0, 1)
    trail = Audit.objects.get(action="erase_customer")
    assert (trail.actor, trail.subject) == ("客服系统", digest("wm1").hex())
    assert "wm1" not in str(Erasure.objects.values().get()) + str(trail.detail)


def test_repeat_is_harmless() -> None:
    make("wm1")
    first = request_erasure("wm1", actor="a")
    assert request_erasure("wm1", actor="b").id == first.id
    finished_at = run_erasure(first.id).finished_at
    assert run_erasure(first.id).finished_at == finished_at
    with pytest.raises(DirectoryError) as caught:
        request_erasure("wm1", actor="c")
    assert caught.value.code == "unknown_customer"
    assert Erasure.objects.count() == 1
    assert Audit.objects.filter(action="erase_customer").count() == 1


def test_second_life_can_be_erased_too() -> None:
    for _life in range(2):
        customer_id = make("wm1")
        run_erasure(request_erasure("wm1", actor="test").id)
        assert_gone("wm1", customer_id)
    assert Erasure.objects.filter(state="done").count() == 2


def test_waits_for_a_home_that_is_down_and_is_hidden_meanwhile(fragile_department: PrivatePostgres) -> None:
    customer_id = make_rich("wm1", home=101)
    fragile_department.stop()
    connections["dept_101"].close()
    job = run_erasure(request_erasure("wm1", actor="test").id)
    assert (job.state, job.waiting_for) == ("running", ["dept_101"])
    assert set(job.places) == {"dept_100", "cache", "inbox", "groups", "waiting_behaviours"}
    assert CACHE.get("wm1").value is None
    assert run_waiting() == 0
    assert upsert_many([CustomerData("wm1")]).rejected["wm1"].code == "erasure_in_progress"
    assert not Tombstone.objects.exists()
    fragile_department.start()
    assert _until_done() == 1
    assert_gone("wm1", customer_id)
    assert set(Erasure.objects.get().places) == {
        "dept_100", "dept_101", "cache", "inbox", "groups", "waiting_behaviours", "identities",
    }  # fmt: skip


def test_one_that_waits_keeps_no_other_waiting(fragile_department: PrivatePostgres) -> None:
    make("there", home=101)
    here = make("here", home=100)
    for one in ("there", "here"):
        request_erasure(one, actor="test")
    fragile_department.stop()
    connections["dept_101"].close()
    # Nobody knows that `here` never lived in the home that is down, so that one waits too, but is gone from its own.
    run_waiting()
    assert rows_at(here) == {}
    fragile_department.start()
    assert _until_done() == 2


def _until_done() -> int:
    """Run what waits until nothing does: a home that came back is asked again after a second."""
    done = 0
    for _attempt in range(100):
        done += run_waiting()
        if not Erasure.objects.filter(state="running").exists():
            return done
        threading.Event().wait(0.1)
    raise AssertionError("Erasures still wait.")


def test_waits_for_redis_and_leaves_nothing_cached(private_cache: PrivateValkey) -> None:
    customer_id = make("wm1", name="王小明")
    assert CACHE.get("wm1").source == "miss"
    private_cache.pause()  # unlike a stopped one it comes back with what it held
    job = request_erasure("wm1", actor="test")
    assert CACHE.get("wm1") == (None, "bypass")
    assert CacheDeletion.objects.using("dept_100").count() >= 1
    assert run_erasure(job.id).waiting_for == ["cache"]
    assert addresses_of("wm1") == []
    private_cache.resume()
    assert _until_done() == 1
    assert_gone("wm1", customer_id)


def test_place_that_fails_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[int]]] = []

    def clear_exports(external_userid: str, customer_ids: list[int]) -> int:
        asked.append((external_userid, customer_ids))
        if len(asked) == 1:
            raise OSError("the disk is away")
        return 3

    monkeypatch.setattr(erasures, "_places", {})
    erasures.place("exports")(clear_exports)
    customer_id = make("wm1")
    job = run_erasure(request_erasure("wm1", actor="test").id)
    assert (job.state, job.waiting_for) == ("running", ["exports"])
    job = run_erasure(job.id)
    assert (job.state, job.places["exports"]["rows"]) == ("done", {"exports": 3})
    # What was deleted the first time is still known the second time: other places may be keyed by it.
    assert asked == [("wm1", [customer_id])] * 2


def test_moved_customer_takes_aliases_along() -> None:
    old = make("wm1", home=100)
    new = move_customer("wm1", 101, actor="test")
    newest = move_customer("wm1", 100, actor="test")
    run_erasure(request_erasure("wm1", actor="test").id)
    assert_gone("wm1", old, new, newest)
    assert not CustomerAlias.objects.exists()


# ---------------------------------------------------------------------------------------------------------- the killed
def request_and_run() -> None:
    run_erasure(request_erasure("victim", actor="killed").id)


STEPS = {
    "asked": ("default", "directory", "UPDATE", "NEW.state = 'erasing'"),
    "hidden, no job": ("default", "erasures", "INSERT", ""),
    "job, no audit": ("default", "audit", "INSERT", ""),
    "in the first table": ("dept_100", "customers", "DELETE", ""),
    "in a table that hangs on it": ("dept_100", "behaviours", "DELETE", ""),
    "in the other home": ("dept_101", "customers", "DELETE", ""),
    "homes cleared": ("default", "directory", "DELETE", ""),
    "directory row gone": ("default", "tombstones", "INSERT", ""),
    "tombstone set": ("default", "erasures", "UPDATE", "NEW.state = 'done'"),
}


@pytest.fixture(params=STEPS)
def killed_eraser(request: pytest.FixtureRequest) -> list[int]:
    customer_id = make_rich("victim")
    (orphan,) = sharding.allocate(101, 1)
    insert_row(orphan, "victim")  # what a restore may have left in the other home
    CACHE.get("victim")
    with gate(*STEPS[request.param]) as shut:
        shut.kill(Process(request_and_run))
    if request.param in ("asked", "hidden, no job", "job, no audit"):
        # Nobody was answered, and nothing has happened.
        assert state_of("victim") == "live"
        assert CACHE.get("victim").value is not None
        assert not Erasure.objects.exists()
        request_erasure("victim", actor="again")
    assert (state_of("victim"), CACHE.get("victim").value) == ("erasing", None)
    return [customer_id, orphan]


def test_what_a_killed_eraser_began_is_finished(killed_eraser: list[int]) -> None:
    assert upsert_many([CustomerData("victim", {"name": "回来"})]).rejected["victim"].code == "erasure_in_progress"
    assert run_waiting() == 1
    assert_gone("victim", *killed_eraser)
    assert not any(vars(sweep(older_than=timedelta(0))).values())


# ---------------------------------------------------------------------------------------------------------- races
def test_update_that_was_under_way_is_erased_with_the_rest() -> None:
    customer_id = make("wm1")
    with gate("dept_100", "customers", "UPDATE", "NEW.mobile <> ''") as shut:
        writer = Process(lambda: upsert(CustomerData("wm1", {"mobile": "13800000000"}, follows=())))
        shut.wait_for(writer)
        job = request_erasure("wm1", actor="test")
        eraser = Process(lambda: run_erasure(job.id).state)
        wait_for_somebody_behind_a_lock("dept_100", 2)  # the writer at the gate, the eraser behind the writer
        shut.open()
        assert writer.answer() == (customer_id, "updated")
        assert eraser.answer() == "done"
    assert_gone("wm1", customer_id)


def test_update_that_comes_too_late_finds_nobody_and_makes_nobody() -> None:
    customer_id = make("wm1")
    item = CustomerData("wm1", {"mobile": "1"}, respect_tombstone=True, followed_at=LONG_AGO)
    with psycopg.connect(url_of("dept_100")) as eraser:
        where = [customer_id, customer_id % 10]
        eraser.execute("SELECT 1 FROM customers WHERE customer_id = %s AND bucket = %s FOR UPDATE", where)
        # It reads the directory (live) and waits for the row; when it gets its turn, there is no row any more.
        writer = Process(lambda: upsert_many([item]).rejected["wm1"].code)
        wait_for_somebody_behind_a_lock("dept_100")
        job = request_erasure("wm1", actor="test")
        eraser.execute("DELETE FROM customers WHERE customer_id = %s AND bucket = %s", where)
    assert writer.answer() == "erasure_in_progress"
    run_erasure(job.id)
    assert_gone("wm1", customer_id)


def test_nobody_rises_again_while_many_write_and_some_erase() -> None:
    people = [f"wm{n}" for n in range(6)]
    for one in people:
        make(one)
    stop = threading.Event()
    surprises: list[BaseException] = []

    def write_like_callbacks() -> None:
        n = 0
        try:
            while not stop.is_set():
                n += 1
                upsert_many(
                    [
                        CustomerData(
                            one, {"mobile": str(n)}, follows=(follow("zhang", remark=str(n)),), respect_tombstone=True,
                            followed_at=LONG_AGO,
                        )
                        for one in people
                    ]
                )  # fmt: skip
        except BaseException as error:
            surprises.append(error)
        finally:
            connections.close_all()

    writers = [threading.Thread(target=write_like_callbacks) for _ in range(4)]
    for thread in writers:
        thread.start()
    try:
        for one in people:
            run_erasure(request_erasure(one, actor="test").id)
    finally:
        stop.set()
        for thread in writers:
            thread.join()
    assert surprises == []
    for one in people:
        assert_gone(one)
    assert not any(vars(sweep(older_than=timedelta(0))).values())


def test_upsert_after_the_answer_makes_a_new_person() -> None:
    old = make("wm1", name="旧", follows=(follow("zhang"),))
    run_erasure(request_erasure("wm1", actor="test").id)
    new, fate = upsert(CustomerData("wm1", {"mobile": "1"}))
    assert (fate, new == old) == ("created", False)
    seen = read("wm1")[0]
    assert seen is not None
    assert (seen["name"], seen["follows"], seen["version"]) == ("", [], 1)


def test_erasure_waits_for_a_home_that_this_process_does_not_know() -> None:
    DirectoryEntry.objects.create(external_userid="wm1", customer_id=999 * 10**10 + 5, state="live")
    job = run_erasure(request_erasure("wm1", actor="test").id)
    assert (job.state, job.waiting_for) == ("running", ["dept_999"])
    assert state_of("wm1") == "erasing"


def test_erasure_of_somebody_who_is_busy_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    make("wm1")
    monkeypatch.setattr(directory, "LOCK_TIMEOUT_SECONDS", 0.1)
    with psycopg.connect(url_of("default"), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", [directory.LOCK_SPACE, directory.stripe_of("wm1")])
        with pytest.raises(DirectoryError) as caught:
            request_erasure("wm1", actor="test")
    assert (caught.value.code, state_of("wm1")) == ("busy", "live")
