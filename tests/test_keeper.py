"""The keeper: chores on their own threads, stopped within seconds, and a heartbeat that says what is wrong."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connections

from scrm import keeper
from scrm.keeper import Chore

CHECKOUT = Path(__file__).resolve().parent.parent


def until(happens: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Running:
    """A keeper in a thread of the test."""

    def __init__(self, *chores: Chore, heartbeat: Path | None = None) -> None:
        self.stop_event = threading.Event()
        self.hanging: list[str] | None = None
        self.thread = threading.Thread(target=self._run, args=[chores, heartbeat])
        self.thread.start()

    def _run(self, chores: tuple[Chore, ...], heartbeat: Path | None) -> None:
        self.hanging = keeper.run(self.stop_event, chores, heartbeat=heartbeat)

    def stop(self) -> float:
        began = time.monotonic()
        self.stop_event.set()
        self.thread.join(10)
        return time.monotonic() - began


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(*chores: Chore, heartbeat: Path | None = None) -> Running:
        running.append(Running(*chores, heartbeat=heartbeat))
        return running[-1]

    yield begin
    for each in running:
        each.stop()


def test_each_chore_has_its_own_pace(start: Callable[..., Running]) -> None:
    often, seldom = [], []
    running = start(
        Chore("often", lambda: often.append(1), every_seconds=0.01),
        Chore("seldom", lambda: seldom.append(1), every_seconds=60),
    )
    until(lambda: len(often) > 20)
    assert seldom == [1]
    assert running.stop() < 1
    assert running.hanging == []


def test_a_chore_that_fails_is_tried_again_and_disturbs_no_other(
    start: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    tried, other = [], []

    def fail() -> None:
        tried.append(1)
        raise OSError("no such database")

    chore = Chore("fails", fail, every_seconds=0.01)
    start(chore, Chore("other", lambda: other.append(1), every_seconds=0.01))
    until(lambda: len(tried) > 5 and len(other) > 5)
    assert (chore.error, chore.succeeded_at) == ("OSError", None)
    tracebacks = [record for record in caplog.records if record.exc_info or "exc_info': True" in str(record.msg)]
    assert len(tracebacks) == 1  # the first time only


def test_a_chore_that_recovers_is_well_again() -> None:
    answers = iter([OSError(), 3])

    def do() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    chore = Chore("shaky", do, every_seconds=1)
    assert [chore.run(), chore.error] == [False, "OSError"]
    assert [chore.run(), chore.error] == [True, None]
    assert chore.succeeded_at is not None
    assert chore.running_since is None


def test_a_chore_that_hangs_stops_neither_the_others_nor_the_end(start: Callable[..., Running]) -> None:
    released, other = threading.Event(), []
    running = start(
        Chore("hangs", lambda: released.wait(30) and None, every_seconds=1),
        Chore("other", lambda: other.append(1), every_seconds=0.01),
    )
    until(lambda: len(other) > 20)
    assert keeper.STOP_SECONDS <= running.stop() < keeper.STOP_SECONDS + 1
    assert running.hanging == ["hangs"]
    released.set()


def test_no_database_connection_is_held_between_runs(clean_databases: None, start: Callable[..., Running]) -> None:
    seen = []

    def ask() -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT 1")
        seen.append(connections["default"])

    start(Chore("asks", ask, every_seconds=0.01))
    until(lambda: len(seen) > 2)
    until(lambda: seen[0].connection is None)
    assert len(set(map(id, seen))) == 1


def test_a_name_is_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_chores", {})
    chore = keeper.register("settle", lambda: 1, every_seconds=2)
    with pytest.raises(ValueError, match="settle already"):
        keeper.register("settle", lambda: 2, every_seconds=2)
    assert keeper.registered() == [chore]


def test_once_does_all_and_names_those_that_failed() -> None:
    done = []
    chores = [
        Chore("fails", lambda: 1 // 0, every_seconds=1),
        Chore("works", lambda: done.append(1), every_seconds=1),
    ]
    assert keeper.run_once(chores) == ["fails"]
    assert done == [1]


# ----------------------------------------------------------------------------------------------------------- heartbeat
def test_heartbeat_says_what_every_chore_is_at(start: Callable[..., Running], tmp_path: Path) -> None:
    path, released = tmp_path / "beat.json", threading.Event()
    running = start(
        Chore("hangs", lambda: released.wait(30) and None, every_seconds=2),
        Chore("fails", lambda: 1 // 0, every_seconds=0.01),
        Chore("works", lambda: 1, every_seconds=0.01),
        heartbeat=path,
    )
    until(path.exists)
    until(lambda: json.loads(path.read_text())["chores"]["works"]["succeeded_at"])
    chores = json.loads(path.read_text())["chores"]
    assert chores["hangs"]["running_since"] is not None
    assert chores["hangs"]["every_seconds"] == 2
    assert chores["fails"]["error"] == "ZeroDivisionError"
    assert chores["works"]["error"] is None
    assert keeper.find_trouble(path, now=datetime.now(UTC)) == []  # a restart would not help
    assert keeper.find_failures(path) == ["The chore fails fails with ZeroDivisionError; the keeper's log says why."]
    released.set()
    running.stop()
    assert list(tmp_path.iterdir()) == []  # nothing is left that would tell of a keeper


NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def write_beat(path: Path, *, age_seconds: float = 0, every_seconds: float = 2, running_seconds: float = 0) -> None:
    chore = {
        "every_seconds": every_seconds,
        "running_since": (NOW - timedelta(seconds=running_seconds)).isoformat() if running_seconds else None,
        "succeeded_at": None,
        "error": None,
    }
    at = (NOW - timedelta(seconds=age_seconds)).isoformat()
    path.write_text(json.dumps({"at": at, "pid": 42, "chores": {"settle": chore}}))


@pytest.mark.parametrize(
    ("beat", "trouble"),
    [
        ({}, []),
        ({"age_seconds": 15}, []),
        ({"age_seconds": 16}, ["The keeper (process 42) has been silent for 16 s. Restart it."]),
        ({"running_seconds": 60}, []),
        (
            {"running_seconds": 61},
            ["The chore settle has been running since 2026-11-23T11:58:59+00:00. Restart the keeper."],
        ),
        ({"running_seconds": 61, "every_seconds": 20}, []),
    ],
)
def test_trouble_is_told_in_words(tmp_path: Path, beat: dict[str, float], trouble: list[str]) -> None:
    path = tmp_path / "beat.json"
    write_beat(path, **beat)
    assert keeper.find_trouble(path, now=NOW) == trouble


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"at": "2026-11-23"}'])
def test_a_heartbeat_that_is_none_means_no_keeper(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "beat.json"
    if content is not None:
        path.write_text(content)
    assert keeper.find_trouble(path, now=NOW) == [
        f"No keeper runs here: there is no heartbeat at {path}. Start `manage.py keeper`."
    ]
    assert keeper.find_failures(path) == []


# ------------------------------------------------------------------------------------------------------------- command
@pytest.fixture
def environ(process_environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return process_environ | {"TMPDIR": str(tmp_path)}


def manage(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=CHECKOUT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_runs_until_it_is_told_to_stop(
    environ: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "keeper"], cwd=CHECKOUT, env=environ, stderr=subprocess.PIPE
    )
    until(lambda: list(tmp_path.glob("scrm-keeper-*[0-9a-f].json")), seconds=60)
    check = manage("keeper", "--check", environ=environ)
    assert (check.returncode, check.stdout) == (0, "The keeper is well.\n"), check.stderr
    began = time.monotonic()
    process.send_signal(number)
    _, log = process.communicate(timeout=10)
    assert process.returncode == 0, log
    assert time.monotonic() - began < 3
    assert b"keeper_ends" in log
    check = manage("keeper", "--check", environ=environ)
    assert check.returncode == 1
    assert "No keeper runs here" in check.stderr


def test_once_as_a_command(environ: dict[str, str]) -> None:
    run = manage("keeper", "--once", environ=environ)
    assert (run.returncode, run.stdout) == (0, f"{len(keeper.registered())} chores done.\n"), run.stderr
