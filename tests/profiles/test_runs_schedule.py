"""When runs start, who works on them, and what the command says."""

import subprocess
import sys
from datetime import date
from io import StringIO
from pathlib import Path

import pytest
import time_machine
from django.conf import settings
from django.core.management import CommandError, call_command

from profiles import chores, runs, schedule, tasks
from profiles.models import ProfileRun, RuleVersion
from scrm import keeper
from scrm.celery import app
from scrm.held import forget_all
from tests.profiles.nights import TODAY, counts, crowd, publish
from tests.servers import PrivatePostgres

HIGH = "高价值客户"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None, broker_client: object) -> None:
    forget_all()


def install(at: str) -> None:
    RuleVersion.objects.update(published_at=at)


# ------------------------------------------------------------------------------------------------------------ midnight
def test_beat_starts_the_night_at_midnight_of_the_zone() -> None:
    entry = settings.CELERY_BEAT_SCHEDULE["profiles.nightly"]
    assert entry["task"] == tasks.nightly.name
    assert (entry["schedule"].hour, entry["schedule"].minute) == ({0}, {0})
    assert str(app.timezone) == "Asia/Shanghai"


def test_the_nightly_task_runs_as_of_the_midnight_that_has_just_been() -> None:
    with time_machine.travel("2026-11-20T16:00:01Z"):  # 21st of November, one second past midnight
        tasks.nightly()
        tasks.nightly()
    night = ProfileRun.objects.get()
    assert (night.kind, night.as_of, night.state) == ("nightly", date(2026, 11, 21), "running")


def test_a_midnight_that_was_slept_through_is_caught_up_once() -> None:
    install("2026-11-01T00:00:00Z")
    with time_machine.travel("2026-11-20T06:00:00Z"):
        caught = schedule.catch_up()
        assert caught is not None
        assert (caught.kind, caught.as_of) == ("nightly", date(2026, 11, 20))
        assert schedule.catch_up() is None
    with time_machine.travel("2026-11-23T06:00:00Z"):  # three nights later: one run, last night's is overtaken
        assert schedule.catch_up() is not None
    assert list(ProfileRun.objects.order_by("as_of").values_list("as_of", "state")) == [
        (date(2026, 11, 20), "partial"),
        (date(2026, 11, 23), "running"),
    ]


def test_the_midnight_before_the_installation_is_not_caught_up() -> None:
    install("2026-11-20T05:00:00Z")
    with time_machine.travel("2026-11-20T06:00:00Z"):
        assert schedule.catch_up() is None
    with time_machine.travel("2026-11-20T15:59:59Z"):
        assert schedule.catch_up() is None
    with time_machine.travel("2026-11-20T16:00:00Z"):
        assert schedule.catch_up() is not None


def test_a_manual_run_under_way_puts_the_night_off() -> None:
    install("2026-11-01T00:00:00Z")
    with time_machine.travel("2026-11-20T16:00:30Z"):
        manual = runs.start_run("manual", date(2026, 11, 20))
        assert schedule.catch_up() is None
        runs.run_all(manual)
        assert schedule.catch_up() is not None


# -------------------------------------------------------------------------------------------------------------- keeper
def test_the_keeper_has_its_chores() -> None:
    named = {chore.name: chore.every_seconds for chore in keeper.registered()}
    assert named["profile_runs"] == 10
    assert named["nightly_catch_up"] == 60


def test_the_keeper_tells_workers_once_and_ends_what_is_over(broker_client) -> None:
    crowd(100, 10)
    run = runs.start_run("manual", TODAY)
    assert chores.look_after_runs() == 20
    assert broker_client.llen("celery") == 20
    assert chores.look_after_runs() == 0
    for _phase in ("classify", "score and act"):
        for home in (100, 101):
            for bucket in range(10):
                tasks.work_claim(run.pk, home, bucket)
    run.refresh_from_db()
    assert (run.state, counts()) == ("done", {HIGH: 10})
    assert chores.look_after_runs() == 0


def test_without_a_broker_the_keeper_carries_on(process_environ: dict[str, str]) -> None:
    crowd(100, 10)
    run = runs.start_run("manual", TODAY)
    script = "import django; django.setup(); from profiles import chores; print(chores.look_after_runs())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, env=process_environ | {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0"}, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.stdout.split()[-1] == "0", done.stderr
    assert "workers_not_woken" in done.stdout + done.stderr
    assert runs.run_all(run).state == "done"


# ------------------------------------------------------------------------------------------------------------- command
def classify(*arguments: str) -> str:
    out = StringIO()
    call_command("classify_profiles", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_the_command_classifies_and_ends_with_a_table() -> None:
    crowd(100, 20)
    crowd(101, 5)
    printed = classify("--date", "2026-11-20")
    assert "2026-11-20" in printed
    row = next(line for line in printed.splitlines() if HIGH in line)
    assert row.replace("│", " ").split() == [HIGH, "20", "5", "25", "25"]
    row = next(line for line in classify("--date", "2026-11-20", "--full").splitlines() if HIGH in line)
    assert row.replace("│", " ").split() == [HIGH, "20", "5", "25", "0"]
    assert ProfileRun.objects.filter(kind="manual", state="done", requested_by="classify_profiles").count() == 2


def test_the_command_helps_a_run_under_way_and_then_does_what_was_asked() -> None:
    crowd(100, 20)
    night = runs.start_run("nightly", TODAY)
    classify("--date", "2026-11-20", "--home", "100")
    night.refresh_from_db()
    assert night.state == "done"
    assert ProfileRun.objects.filter(kind="manual", homes=[100], state="done").count() == 1


def test_the_command_backtests() -> None:
    crowd(100, 20)
    assert "25" not in classify("--date", "2026-11-20", "--backtest")
    assert counts() == {}
    assert ProfileRun.objects.get().kind == "backtest"


def test_the_command_refuses_what_cannot_be_run() -> None:
    with time_machine.travel("2026-11-20T06:00:00Z"), pytest.raises(CommandError, match="is not over"):
        classify("--date", "2026-11-21")
    with pytest.raises(CommandError, match="home 999"):
        classify("--home", "999")


def test_the_command_says_which_home_is_missing(fragile_department: PrivatePostgres) -> None:
    crowd(100, 20)
    fragile_department.stop()
    with pytest.raises(CommandError, match="dept_101 cannot be reached"):
        classify("--date", "2026-11-20")
    assert ProfileRun.objects.get().state == "running"


def test_the_command_in_a_process_of_its_own(process_environ: dict[str, str]) -> None:
    crowd(100, 20)
    publish("复购客户: purchase_count > 5")
    done = subprocess.run(
        [sys.executable, "manage.py", "classify_profiles", "--date", "2026-11-20"],
        cwd=ROOT, env=process_environ, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "复购客户" in done.stdout
    assert counts() == {"复购客户": 20}
