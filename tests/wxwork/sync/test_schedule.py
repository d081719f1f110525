"""When syncs begin by themselves, who works on them, and what they cost."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.utils import timezone

from scrm import keeper
from tests.counting import Counted
from tests.wxwork.corp import a_relation, look, ours, theirs
from tests.wxwork.sync.conftest import run_sync
from wxwork import sync_tasks
from wxwork.models import SyncBatch, SyncRun
from wxwork.simulator import SimulatorServer
from wxwork.sync import SyncRefusedError, estimate, next_kind, start_sync, work_on
from wxwork.sync.chores import catch_up, wake_for_sync
from wxwork.sync.schedule import last_due, reconcile

SHANGHAI = ZoneInfo("Asia/Shanghai")


def at(day: int, hour: int, minute: int) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=SHANGHAI)


def test_when_it_is_due() -> None:
    assert last_due(at(25, 3, 20)) == at(25, 3, 20)
    assert last_due(at(25, 3, 19)) == at(24, 3, 20)
    assert last_due(at(25, 23, 59)) == at(25, 3, 20)


def test_a_night_reconciles_once(simulator: SimulatorServer) -> None:
    assert reconcile() is None  # nobody has said that it may begin
    SyncRun.objects.create(kind="full", state="done", started_at=at(24, 12, 0))
    first = reconcile(at(25, 3, 20))
    assert first is not None
    assert (first.kind, first.started_by) == ("reconcile", "system")
    assert reconcile(at(25, 3, 21)) is None
    SyncRun.objects.filter(pk=first.pk).update(state="done", started_at=at(25, 3, 20))
    assert reconcile(at(25, 9, 0)) is None
    assert catch_up_at(at(26, 3, 21)) == 0  # beat has its time
    assert catch_up_at(at(26, 3, 23)) == 1


def catch_up_at(moment: datetime) -> int:
    with time_machine.travel(moment, tick=True):
        return catch_up()


def test_nothing_begins_without_a_secret(simulator: SimulatorServer, settings: Any) -> None:
    SyncRun.objects.create(kind="full", state="done", started_at=at(20, 12, 0))
    settings.WXWORK_SECRET = ""
    assert reconcile(at(25, 3, 20)) is None
    sync_tasks.reconcile()
    with pytest.raises(SyncRefusedError):
        start_sync("full", "test")
    assert SyncRun.objects.count() == 1


def test_the_keeper_wakes_for_a_sync_that_nobody_works_on(simulator: SimulatorServer, broker_client: Any) -> None:
    run = start_sync("full", "test")
    assert wake_for_sync() == 1
    assert broker_client.llen("celery") == 1
    SyncRun.objects.filter(pk=run.pk).update(token=run.pk, heartbeat_at=timezone.now())
    assert wake_for_sync() == 0
    SyncRun.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now() - timedelta(seconds=31))
    assert wake_for_sync() == 1
    SyncRun.objects.filter(pk=run.pk).update(started_at=timezone.now() - timedelta(hours=49))
    assert wake_for_sync() == 0
    assert SyncRun.objects.get().state == "failed"
    assert {"waiting_sync", "reconcile_catch_up"} <= {chore.name for chore in keeper.registered()}


def test_a_task_does_the_work_and_a_second_one_nothing(simulator: SimulatorServer, broker_client: Any) -> None:
    run = sync_tasks.launch("full", "test")
    sync_tasks.sync(str(run.pk))
    run.refresh_from_db()
    assert run.state == "done"
    calls = sum(simulator.corp.calls.values())
    sync_tasks.sync(str(run.pk))
    assert sum(simulator.corp.calls.values()) == calls
    assert ours() == theirs(simulator)


def test_the_first_is_full(simulator: SimulatorServer) -> None:
    assert next_kind() == "full"
    run_sync()
    assert next_kind() == "reconcile"


def test_a_second_start_joins(simulator: SimulatorServer) -> None:
    first = start_sync("full", "one")
    second = start_sync("reconcile", "two")
    assert (first.is_new, second.is_new, second.pk) == (True, False, first.pk)  # type: ignore[attr-defined]


def test_what_it_takes_is_known_beforehand(synced: SimulatorServer) -> None:
    expected = estimate()
    assert not expected.is_guess
    before = sum(synced.corp.calls.values())
    run = run_sync("reconcile")
    made = sum(synced.corp.calls.values()) - before
    assert run.calls_made == run.calls_expected == expected.calls == made


def test_what_a_page_costs(synced: SimulatorServer) -> None:
    """One round of bulk statements a home, and the cursor, however many customers of it have changed."""
    work_pages(synced)
    who, userid = a_relation(synced)
    home = (look(who) or {})["home"]
    synced.act("edit_customer", external_userid=who, userid=userid, remark="一", silent=True)
    one = work_pages(synced)
    for among in range(15):
        who, userid = a_relation(synced, among=among)
        synced.act("edit_customer", external_userid=who, userid=userid, remark="二", silent=True)
    many = work_pages(synced)
    nothing = work_pages(synced)
    # control: who is gone, batches, directory, identities; then lock, read and write of run and batch.
    # home: lock, follows, the count of relations; with a difference: update, follows, and no mark for a remark.
    assert nothing == {"default": 9, "dept_100": 3, "dept_101": 3}
    assert one == nothing | {f"dept_{home}": 5}
    assert many == {"default": 9, "dept_100": 5, "dept_101": 5}


def work_pages(simulator: SimulatorServer) -> dict[str, int]:
    """Return how many statements the step of customers takes, of one page."""
    run = start_sync("reconcile", "test")
    counted = Counted()
    found: list[dict[str, int]] = []

    def show(run: SyncRun) -> None:
        if run.steps_done and run.steps_done[-1] == "members":
            if not SyncBatch.objects.filter(run=run, is_done=True).exists():
                counted.__enter__()
            elif not found:
                counted.__exit__(None, None, None)
                found.append(counted.counts)

    assert work_on(run, show).state == "done"
    assert SyncBatch.objects.get(run=run).pages == 1
    return found[0]
