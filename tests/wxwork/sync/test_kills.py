"""Syncs that are killed, stopped, joined, limited: real processes, against a corp of some hundred customers."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from tests.conftest import CHECKOUT
from tests.servers import PrivatePostgres
from tests.wxwork.corp import ours, theirs
from tests.wxwork.sync.conftest import run_sync
from wxwork.models import SyncBatch, SyncRun
from wxwork.simulator import SimulatorServer
from wxwork.sync import start_sync, work_on
from wxwork.sync.chores import wake_for_sync

BATCH = "/cgi-bin/externalcontact/batch/get_by_user"
CUSTOMERS, STAFF = 700, 130


@pytest.fixture
def corp(settings: Any) -> Iterator[SimulatorServer]:
    """700 customers of 130 members: two batches, some ten pages."""
    with SimulatorServer(customers=CUSTOMERS, staff=STAFF, seed=3) as server:
        settings.WXWORK_BASE_URL = server.url
        settings.WXWORK_CORP_ID, settings.WXWORK_AGENT_ID = "wwsimulator", "1000025"
        settings.WXWORK_SECRET = settings.WXWORK_CONTACTS_SECRET = "simulator-secret"
        yield server


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def command(corp: SimulatorServer, process_environ: dict[str, str]) -> Iterator[Start]:
    """Start `manage.py sync_wxwork` on this test's databases and corp."""
    started = []

    def start(*options: str) -> "subprocess.Popen[str]":
        environ = process_environ | {
            "WXWORK_BASE_URL": corp.url, "WXWORK_CORP_ID": "wwsimulator", "WXWORK_AGENT_ID": "1000025",
            "WXWORK_SECRET": "simulator-secret", "WXWORK_CONTACTS_SECRET": "simulator-secret", "DEBUG": "1",
            "WXWORK_BLOCK_SECONDS": "1",
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "manage.py", "sync_wxwork", *options],
            cwd=CHECKOUT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def wait_for(what: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def as_if_silent() -> None:
    """Let the time pass after which a dead worker's run may be taken up."""
    SyncRun.objects.filter(state="running").update(heartbeat_at="2026-01-01T00:00:00Z")


def test_killed_three_times_it_ends_like_one_that_was_not(corp: SimulatorServer, command: Start) -> None:
    pages_of_one_run = (CUSTOMERS + 2 * CUSTOMERS) // 100  # more than there are
    corp.faults(BATCH, latency_seconds=0.03, times=None)
    for kill in range(3):
        process = command("--full")
        goal = corp.corp.calls[BATCH] + random.Random(kill).randint(1, 3)
        wait_for(lambda goal=goal: corp.corp.calls[BATCH] >= goal, process)  # type: ignore[misc]
        time.sleep(random.Random(kill).uniform(0, 0.08))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert SyncRun.objects.get().state == "running"
        as_if_silent()
    process = command("--full")
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "正在进行" in err
    run = SyncRun.objects.get()
    assert (run.state, run.kind) == ("done", "full")
    assert ours() == theirs(corp)
    relations = sum(len(follows) for _, follows in theirs(corp).values())
    pages = SyncBatch.objects.filter(run=run)
    needed = sum(batch.pages for batch in pages)
    assert needed <= pages_of_one_run
    # Each kill repeats one page at the most.
    assert corp.corp.calls[BATCH] <= needed + 3
    assert run.counts["relations"] == relations
    assert run_sync("reconcile").drift == {}


def test_one_that_was_stopped_and_overtaken_writes_nothing_down(corp: SimulatorServer, command: Start) -> None:
    corp.faults(BATCH, latency_seconds=0.05, times=None)
    process = command("--full")
    wait_for(lambda: corp.corp.calls[BATCH] >= 2, process)
    process.send_signal(signal.SIGSTOP)
    as_if_silent()
    run = work_on(SyncRun.objects.get())
    assert run.state == "done"
    before = (run.counts, run.calls_made)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=30)
    run.refresh_from_db()
    assert (run.counts, run.calls_made) == before
    assert ours() == theirs(corp)


def test_two_commands_at_once_are_one_sync(corp: SimulatorServer, command: Start) -> None:
    corp.faults(BATCH, latency_seconds=0.1, times=None)
    first = command("--full")
    wait_for(lambda: SyncRun.objects.filter(token__isnull=False).exists(), first)
    second = command("--reconcile")
    outputs = [process.communicate(timeout=60) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outputs
    assert "正在进行：全量同步" in outputs[1][1]
    run = SyncRun.objects.get()
    assert corp.corp.calls[BATCH] == sum(batch.pages for batch in SyncBatch.objects.filter(run=run))


def test_what_the_command_says(corp: SimulatorServer, command: Start) -> None:
    out, err = command("--full").communicate(timeout=60)
    assert "至少调用企业微信接口" in err
    assert "新建客户" in out
    assert "700" in out
    corp.act("add_customer", staff="ChenSiYu", silent=True)
    process = command()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "预计调用企业微信接口" in err
    assert "差异（已修复）" in out
    assert "漏收的新客户" in out
    assert "接口无法显示" in out


def test_a_wrong_secret_ends_the_command(
    corp: SimulatorServer, command: Start, process_environ: dict[str, str]
) -> None:
    process_environ["NOTHING"] = ""
    corp.act("set_app", agentid=1000025, secret="another-secret")
    corp.faults("/cgi-bin/gettoken", errcode=40001, times=None)
    process = command("--full")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "40001" in err
    assert "simulator-secret" not in out + err
    assert SyncRun.objects.get().state == "failed"


# ------------------------------------------------------------------------------------------------- limits and faults
def test_a_limit_in_the_middle_is_waited_for(corp: SimulatorServer, settings: Any) -> None:
    settings.WXWORK_BLOCK_SECONDS = 1
    corp.faults(BATCH, errcode=45009, skip=3, times=1)
    began = time.monotonic()
    run = run_sync()
    assert (run.state, run.error) == ("done", "")
    assert time.monotonic() - began >= 1
    assert ours() == theirs(corp)
    # Nobody called it while it was blocked.
    assert corp.corp.codes["45009"] == 1


def test_a_worker_does_not_wait_but_comes_back(corp: SimulatorServer, settings: Any) -> None:
    settings.WXWORK_BLOCK_SECONDS = 25
    corp.faults(BATCH, errcode=45009, skip=3, times=1)
    run = work_on(start_sync("full", "test"), seconds=60)
    assert (run.state, run.token) == ("running", None)
    assert "45009" in run.error


def test_a_slice_ends_after_a_page(corp: SimulatorServer) -> None:
    run = start_sync("full", "test")
    rounds = 0
    while run.state == "running":
        run = work_on(run, seconds=0)
        assert run.error == "" or run.state != "running"
        rounds += 1
        assert rounds < 100
    assert run.state == "done"
    assert ours() == theirs(corp)


@pytest.mark.parametrize(
    "fault",
    [{"errcode": -1, "times": 2}, {"status": 502, "times": 2}, {"body": "truncated", "times": 1}, {"reset": True}],
)
def test_faults_of_a_moment_are_ridden_out(corp: SimulatorServer, fault: dict[str, Any]) -> None:
    corp.faults(BATCH, skip=2, **fault)
    corp.faults("/cgi-bin/department/list", **fault)
    assert run_sync().state == "done"
    assert ours() == theirs(corp)


def test_a_cursor_that_is_refused_begins_the_batch_anew(corp: SimulatorServer) -> None:
    done: list[bool] = []

    def forget(run: SyncRun) -> None:
        if not done and corp.corp.calls[BATCH] == 3:
            done.append(True)
            corp.act("set_paging", forget_cursors=True)

    run = work_on(start_sync("full", "test"), forget)
    assert (run.state, run.error, done) == ("done", "", [True])
    assert sorted(SyncBatch.objects.filter(run=run).values_list("restarts", flat=True)) == [0, 1]
    assert ours() == theirs(corp)


def test_a_batch_that_has_no_customers_as_wecom_says_is_halved(corp: SimulatorServer) -> None:
    corp.faults(BATCH, errcode=84061, times=2)
    run = run_sync()
    assert (run.state, run.error) == ("done", "")
    assert SyncBatch.objects.filter(run=run).count() == 4
    assert ours() == theirs(corp)


def test_a_home_that_is_down_is_waited_for(
    fragile_department: PrivatePostgres, corp: SimulatorServer, broker_client: Any
) -> None:
    run = start_sync("full", "test")
    for _ in range(5):
        run = work_on(run, seconds=0)
    fragile_department.stop()
    connections["dept_101"].close()
    run = work_on(run, seconds=60)
    assert (run.state, run.token, "customers" in run.steps_done) == ("running", None, False)
    assert "101" in run.error
    assert wake_for_sync() == 1
    fragile_department.start()
    deadline = time.monotonic() + 30
    while run.state == "running" and time.monotonic() < deadline:
        run = work_on(run, seconds=60)
    assert (run.state, run.error) == ("done", "")
    assert ours() == theirs(corp)


def test_a_member_who_leaves_in_its_midst(corp: SimulatorServer) -> None:
    done: list[str] = []

    def leave(run: SyncRun) -> None:
        if not done and corp.corp.calls[BATCH] == 2:
            done.append(SyncBatch.objects.filter(run=run, is_done=False).first().userids[5])  # type: ignore[union-attr]
            corp.act("staff_leaves", userid=done[0], silent=True)

    run = work_on(start_sync("full", "test"), leave)
    assert (run.state, run.error) == ("done", "")
    assert run_sync("reconcile").state == "done"
    assert ours() == theirs(corp)


def test_short_and_empty_pages_end_nothing(corp: SimulatorServer) -> None:
    corp.act("set_paging", short_pages=40, empty_pages=30)
    assert run_sync().state == "done"
    assert ours() == theirs(corp)


def test_what_is_wrong_for_good_fails_and_says_so(corp: SimulatorServer) -> None:
    corp.faults(BATCH, errcode=48002, times=None)
    run = run_sync()
    assert run.state == "failed"
    assert "48002" in run.error
    assert run.token is None
    corp.corp.faults.clear()
    assert run_sync().state == "done"


def test_memory_of_a_page_is_all_it_holds(corp: SimulatorServer) -> None:
    run = run_sync()
    for batch in SyncBatch.objects.filter(run=run):
        assert len(json.dumps(batch.seen)) < 5_000
        assert batch.is_done
