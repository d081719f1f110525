"""Runs whose workers are killed, stopped and doubled: processes of their own, on real servers."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import connections

from profiles import buckets, claims, publishing, runs, tasks
from profiles.claims import ClaimLostError
from profiles.models import ProfileRun, RunClaim
from scrm import sharding
from scrm.held import forget_all
from tests.customers.gates import Process, gate, wait_for_somebody_behind_a_lock, wait_until
from tests.databases import url_of
from tests.profiles.nights import TODAY, classes, counts, crowd, history, run, stored
from tests.servers import PrivatePostgres

HIGH, LOW = "高价值客户", "潜在客户"
HERE = 3  # the bucket that trouble is made in


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    forget_all()


def age(home: int = 100, seconds: int = claims.SILENT_SECONDS + 1) -> None:
    """Let time pass for the claims of a home."""
    with sharding.atomic_home(home), sharding.cursor(home) as cursor:
        cursor.execute(
            "UPDATE run_claims SET heartbeat = heartbeat - passed, offered_at = offered_at - passed "
            "FROM make_interval(secs => %s) AS passed",
            [seconds],
        )


def take(run_: ProfileRun) -> claims.Claim:
    begin = partial(buckets.begin, as_of=run_.as_of, rule_set=publishing.current(), full=False)
    claim = claims.take(run_.pk, 100, HERE, begin=begin)
    assert claim is not None
    return claim


def claim_of(run_: ProfileRun, bucket: int = HERE, home: int = 100) -> dict[str, Any]:
    return RunClaim.objects.using(sharding.alias(home)).filter(run_id=run_.pk, bucket=bucket).values().get()


def assert_everybody_once(run_: ProfileRun, number: int) -> None:
    run_.refresh_from_db()
    assert run_.state == "done"
    assert run_.summary["judged"] == number
    assert run_.summary["changed"] == number
    rows = history()
    assert len(rows) == number
    assert len({row["customer_id"] for row in rows}) == number
    assert {row["version"] for row in stored().values()} == {2}
    assert counts() == run_.summary["classes"] == {HIGH: number}


# -------------------------------------------------------------------------------------------------------------- killed
def test_a_killed_worker_is_replaced_and_everybody_is_classified_once() -> None:
    crowd(100, 2500, bucket=HERE)
    begun = runs.start_run("manual", TODAY)
    # In the second of three chunks: the first is committed, the second is not.
    with gate("dept_100", "customers", "UPDATE", "OLD.customer_id = 1000000015003") as shut:
        worker = Process(lambda: runs.work(begun.pk, 100, HERE))
        shut.kill(worker)
    assert claim_of(begun)["judged"] == 1000
    assert runs.work(begun.pk, 100, HERE) is False  # it is not silent yet
    assert claims.offer(begun.pk, 100) == [bucket for bucket in range(10) if bucket != HERE]
    age()
    assert claims.offer(begun.pk, 100) == list(range(10))
    assert claims.offer(begun.pk, 100) == []  # they have been told a moment ago
    assert runs.work(begun.pk, 100, HERE) is True
    assert claim_of(begun)["judged"] == 2500
    runs.run_all(begun)
    assert_everybody_once(begun, 2500)


def test_a_run_whose_starter_was_killed_between_its_rows_is_mended() -> None:
    crowd(100, 100)
    crowd(101, 100)
    with gate("dept_101", "run_claims", "INSERT") as shut:
        starter = Process(lambda: runs.start_run("nightly", TODAY))
        shut.kill(starter)
    begun = ProfileRun.objects.get()
    assert RunClaim.objects.using("dept_101").count() == 0
    offered = runs.resume(begun)
    assert {home for home, _ in offered} == {100, 101}
    assert len(offered) == 20
    runs.run_all(begun)
    assert_everybody_once(begun, 200)


def test_a_claim_that_never_gets_on_is_given_up_and_the_run_is_partial() -> None:
    crowd(100, 200)
    begun = runs.start_run("manual", TODAY)
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        cursor.execute("ALTER TABLE customers_3 ADD CONSTRAINT broken CHECK (version = 1)")
    try:
        for attempt in range(1, claims.MAX_ATTEMPTS + 1):
            assert runs.work(begun.pk, 100, HERE) is True
            row = claim_of(begun)
            assert (row["state"], row["attempts"]) == ("waiting", attempt)
            assert "broken" in row["error"]
            assert runs.work(begun.pk, 100, HERE) is False  # not due yet
            with sharding.atomic_home(100), sharding.cursor(100) as cursor:
                cursor.execute("UPDATE run_claims SET due_at = now() WHERE bucket = 3")
        runs.run_all(begun)
    finally:
        with sharding.atomic_home(100), sharding.cursor(100) as cursor:
            cursor.execute("ALTER TABLE customers_3 DROP CONSTRAINT broken")
    assert begun.state == "partial"
    assert [(one["home"], one["bucket"]) for one in begun.summary["failed"]] == [(100, HERE)]
    assert "broken" in begun.summary["failed"][0]["error"]
    assert counts() == {HIGH: 180}
    assert run().summary["changed"] == 20
    assert counts() == {HIGH: 200}


# ------------------------------------------------------------------------------------------------------------- stopped
def test_a_worker_that_was_stopped_past_its_claim_writes_nothing_when_it_wakes() -> None:
    crowd(100, 2500, bucket=HERE)
    begun = runs.start_run("manual", TODAY)
    with gate("dept_100", "customers", "UPDATE", "OLD.customer_id = 1000000015003") as shut:
        worker = Process(lambda: runs.work(begun.pk, 100, HERE))
        shut.wait_for(worker)
        os.kill(worker.pid, signal.SIGSTOP)
        shut.open()
        age()
        # Its transaction holds a thousand customers until the server ends it; the other one waits that long.
        assert runs.work(begun.pk, 100, HERE) is True
    written = stored()
    os.kill(worker.pid, signal.SIGCONT)
    worker.answer()
    assert stored() == written
    assert claim_of(begun)["state"] == "done"
    runs.run_all(begun)
    assert_everybody_once(begun, 2500)


def test_a_chunk_of_a_claim_that_was_taken_is_rolled_back_whole() -> None:
    crowd(100, 2500, bucket=HERE)
    begun = runs.start_run("manual", TODAY)
    claim = take(begun)
    taken: list[claims.Claim] = []

    def somebody_takes_it() -> None:
        if not taken:
            age()
            taken.append(take(begun))

    with pytest.raises(ClaimLostError):
        buckets.classify(claim, TODAY, publishing.current(), on_progress=somebody_takes_it)
    (other,) = taken
    assert other.token != claim.token
    assert (other.position, other.judged, other.mode) == (claim.position, 1000, "full")
    assert sum(name == HIGH for name in classes().values()) == 1000
    assert counts() == {HIGH: 1000}
    assert len(history()) == 1000


def test_a_worker_of_a_run_that_was_overtaken_writes_nothing() -> None:
    crowd(100, 2500, bucket=HERE)
    night = runs.start_run("nightly", TODAY)
    claim = take(night)
    tonight = runs.start_run("nightly", TODAY + timedelta(days=1))
    assert tonight.is_new
    with pytest.raises(ClaimLostError):
        buckets.classify(claim, TODAY, publishing.current(), on_progress=lambda: None)
    claims.make(night.pk, 100, only_report=False)  # a keeper that is late makes none for it
    assert {row.state for row in RunClaim.objects.using("dept_100").filter(run_id=night.pk)} == {"failed"}
    assert set(classes().values()) == {None}


# ------------------------------------------------------------------------------------------------------------- doubled
def test_of_many_who_start_a_run_at_once_one_does() -> None:
    crowd(100, 1000)
    processes = [Process(_start_and_work) for _ in range(4)]
    answers = [process.answer() for process in processes]
    assert len({pk for pk, _ in answers}) == 1
    assert sum(is_new for _, is_new in answers) == 1
    assert_everybody_once(ProfileRun.objects.get(), 1000)


def _start_and_work() -> tuple[int, bool]:
    begun = runs.start_run("nightly", TODAY)
    runs.run_all(begun)
    return begun.pk, begun.is_new


def test_a_deadlock_is_tried_again() -> None:
    crowd(100, 100)
    begun = runs.start_run("manual", TODAY)
    lock = "SELECT 1 FROM customers WHERE customer_id = %s AND bucket = 3 FOR UPDATE"
    # The run locks customers in ascending order. Somebody who does not meets it.
    with psycopg.connect(url_of("dept_100")) as other:
        other.execute(lock, [1000000000093])
        worker = Process(lambda: runs.work(begun.pk, 100, HERE))
        wait_for_somebody_behind_a_lock("dept_100")
        other.execute(lock, [1000000000003])  # the run waited first, so it is the one to be ended
    assert worker.answer() is True
    assert claim_of(begun)["attempts"] == 0
    runs.run_all(begun)
    assert_everybody_once(begun, 100)


# --------------------------------------------------------------------------------------------------------- homes down
def test_a_home_that_is_down_is_waited_for_while_the_others_go_on(fragile_department: PrivatePostgres) -> None:
    crowd(100, 100)
    crowd(101, 100)
    connections.close_all()
    fragile_department.stop()
    begun = runs.start_run("nightly", TODAY)
    assert begun.is_new
    runs.run_all(begun)
    assert (begun.state, begun.phase, begun.summary["unavailable"]) == ("running", 4, [101])
    assert counts([100]) == {HIGH: 100}
    fragile_department.start()
    time.sleep(1.1)  # it is not asked again within a second
    assert [home for home, _ in runs.resume(begun)] == [101] * 10
    runs.run_all(begun)
    assert (begun.state, begun.summary["unavailable"]) == ("done", [])
    assert counts() == {HIGH: 200}


def test_the_next_run_ends_one_that_only_waits_and_does_its_share(fragile_department: PrivatePostgres) -> None:
    crowd(100, 100)
    crowd(101, 100)
    connections.close_all()
    fragile_department.stop()
    night = runs.run_all(runs.start_run("nightly", TODAY))
    fragile_department.start()
    time.sleep(1.1)
    again = runs.start_run("manual", TODAY)
    assert not again.is_new  # it can go on now: nobody is in a hurry to end it
    assert again.pk == night.pk
    fragile_department.stop()
    connections.close_all()
    manual = runs.start_run("manual", TODAY)
    assert manual.is_new
    night.refresh_from_db()
    assert (night.state, night.summary["unavailable"]) == ("partial", [101])
    fragile_department.start()
    time.sleep(1.1)
    runs.run_all(manual)
    assert manual.state == "done"
    assert counts() == {HIGH: 200}


# ------------------------------------------------------------------------------------------------------ the real thing
def test_a_celery_worker_killed_in_the_middle_is_replaced_by_another(process_environ: dict[str, str]) -> None:
    crowd(100, 2500, bucket=HERE)
    begun = runs.start_run("manual", TODAY)
    with gate("dept_100", "customers", "UPDATE", "OLD.customer_id = 1000000015003") as shut:
        first = _celery(process_environ)
        try:
            tasks.wake(begun, runs.resume(begun))
            deadline = time.monotonic() + 60
            while not shut.waiting():
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
        for pid in shut.waiting():
            connections["dept_100"].cursor().execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", 0, "dept_100")
    connections.close_all()
    age()
    second = _celery(process_environ)
    try:
        deadline = time.monotonic() + 60
        while ProfileRun.objects.get().state == "running":
            tasks.wake(begun, runs.resume(begun))  # what the keeper does every ten seconds
            assert time.monotonic() < deadline, runs.run_progress(begun)
            time.sleep(0.2)
    finally:
        os.killpg(second.pid, signal.SIGTERM)
        second.wait()
    assert_everybody_once(begun, 2500)


def _celery(environ: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "scrm", "worker", "-c", "2", "--without-mingle", "--without-gossip"],
        env=environ,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
