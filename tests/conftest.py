"""The ground under the tests: real servers, test databases for each xdist worker, and fixtures.

Servers that the environment names are used (databases `test_…`, Redis databases 1 and up, which are emptied); the
others are embedded ones in `.local/test-<n>`, where n is the first that no other run of pytest holds. All this happens
while this file is imported, before Django reads its settings; so pyproject.toml does not name them to pytest-django.
"""

import fcntl
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import django
import hypothesis
import pytest
import redis
from django.conf import settings as django_settings

from scrm import embedded
from tests.examples import examples

# A machine that is busy with other things is no fault of a test's.
hypothesis.settings.register_profile(
    "scrm", max_examples=examples(100), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("scrm")

CHECKOUT = Path(__file__).resolve().parent.parent
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
_slot_lock: IO[str]  # held as long as this process lives


def _take_slot() -> Path:
    """Return a folder that no other run of pytest uses."""
    global _slot_lock
    for number in itertools.count():
        folder = embedded.local_folder(os.environ) / f"test-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        _slot_lock = (folder / "in-use").open("a")
        try:
            fcntl.flock(_slot_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return folder
    raise AssertionError


def _numbered(url: str, number: int) -> str:
    return urlsplit(url)._replace(path=f"/{number}").geturl()


if not WORKER:
    folder = _take_slot()
    os.environ["SCRM_TEST_DIR"] = str(folder)
    if "postgres" in embedded.provide(os.environ, folder / "servers", durable=False).started:
        os.environ["SCRM_TEST_TEMPLATES"] = "1"
# A cache and a broker number for each worker, also where both are one given server. Redis has 16 unless told otherwise.
_number = 1 + 2 * int(WORKER.removeprefix("gw") or 0)
os.environ["REDIS_URL"] = _numbered(os.environ["REDIS_URL"], _number)
os.environ["CELERY_BROKER_URL"] = _numbered(os.environ["CELERY_BROKER_URL"], _number + 1)
if django_settings.configured:
    raise pytest.UsageError("Unset DJANGO_SETTINGS_MODULE: with it pytest reads the settings before there are servers.")
os.environ["DJANGO_SETTINGS_MODULE"] = "scrm.settings"
django.setup()
del os.environ["DJANGO_SETTINGS_MODULE"]  # which an xdist worker would inherit

from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.test import TransactionTestCase  # noqa: E402
from pytest_django import DjangoDbBlocker  # noqa: E402

from scrm import sharding  # noqa: E402
from tests import servers  # noqa: E402
from tests.databases import (  # noqa: E402
    KeptStates,
    department_databases,
    drop_test_databases,
    make_test_databases,
    remember_seeds,
    reset_databases,
    url_of,
)

__all__ = ["reset_databases"]


# ---------------------------------------------------------------------------------------------------------- databases
@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_blocker: DjangoDbBlocker, django_db_modify_db_settings: None
) -> Iterator[None]:
    """Make the three test databases of this worker, once, all of them whatever a test marks."""
    # Tests marked django_db(transaction=True) are cleaned up the quick way too, and keep the seeds.
    TransactionTestCase._fixture_teardown = lambda self: reset_databases()  # type: ignore[attr-defined]
    with django_db_blocker.unblock():
        make_test_databases(keeps_templates="SCRM_TEST_TEMPLATES" in os.environ)
    yield
    with django_db_blocker.unblock():
        drop_test_databases()


@pytest.fixture
def clean_databases(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, redis_client: "redis.Redis"
) -> Iterator[None]:
    """Real transactions on all databases, from other threads and processes too; all is empty again afterwards."""
    with django_db_blocker.unblock():
        yield
        connections.close_all()
        reset_databases()


@pytest.fixture(scope="session")
def _kept_states() -> KeptStates:
    return KeptStates()


@pytest.fixture
def kept_state(clean_databases: None, _kept_states: KeptStates) -> Callable[[str, Callable[[], Any]], Any]:
    """Begin a test with a state that is expensive to make: `kept_state("a name", make)`, see KeptStates.get.

    For fixtures, which come before those that add something to the state: see below. Each worker makes a state once.
    The name says all that it depends on, such as the day.
    """
    return _kept_states.get


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set up kept states first, in whatever order a test names its fixtures: they replace all that there is."""
    for item in items:
        found = getattr(item, "_fixtureinfo", None)
        if found is None or "kept_state" not in found.names_closure:
            continue

        def place(name: str, fixtures: Any = found.name2fixturedefs) -> int:
            last = fixtures[name][-1] if name in fixtures else None
            # A home that is elsewhere is there before anything is put into it.
            if last is None or last.scope != "function" or name == "fragile_department":
                return 0
            return 1 if "kept_state" in last.argnames else 2

        found.names_closure.sort(key=place)


@pytest.fixture
def redis_client() -> Iterator["redis.Redis"]:
    """This worker's database of the cache (settings.REDIS_URL), empty before and after."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def broker_client() -> Iterator["redis.Redis"]:
    """This worker's database of the broker (settings.CELERY_BROKER_URL), empty before and after."""
    from profiles.segments.tasks import allowance

    client = redis.Redis.from_url(os.environ["CELERY_BROKER_URL"])
    client.flushdb()
    allowance.renew()
    yield client
    client.flushdb()
    client.close()


def _environ_of_processes() -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return environ | {
        "DJANGO_SETTINGS_MODULE": "scrm.settings",
        "DATABASE_URL": url_of("default"),
        "DEPARTMENT_DATABASES": department_databases(),
    }


@pytest.fixture
def process_environ(clean_databases: None) -> dict[str, str]:
    """The environment for a process of a test's own (writer, worker, command) on this worker's databases and cache."""
    return _environ_of_processes()


# ---------------------------------------------------------------------------------------------------- private servers
@pytest.fixture
def valkey_server() -> Iterator[Callable[..., servers.PrivateValkey]]:
    """Start private Valkeys: `valkey_server()` is set up as the cache, `valkey_server(keeps=True)` as the broker."""
    started: list[tuple[Path, servers.PrivateValkey]] = []

    def start(*, keeps: bool = False) -> servers.PrivateValkey:
        path = servers.private_folder(Path(os.environ["SCRM_TEST_DIR"]))
        started.append((path, servers.private_valkey(path, keeps=keeps)))
        return started[-1][1]

    yield start
    for path, server in started:
        server.stop()
        embedded.remove(path)


@pytest.fixture(scope="session")
def _private_postgres() -> Iterator[servers.PrivatePostgres]:
    path = servers.private_folder(Path(os.environ["SCRM_TEST_DIR"]))
    server = servers.private_postgres(path)
    yield server
    server.stop()
    embedded.remove(path)


@pytest.fixture
def postgres_server(_private_postgres: servers.PrivatePostgres) -> Iterator[servers.PrivatePostgres]:
    """A private PostgreSQL, lent to the tests of this worker one after the other; it runs again after each."""
    yield _private_postgres
    if _private_postgres.is_running:
        _private_postgres.resume()
    _private_postgres.start()


@pytest.fixture(scope="session")
def _migrated(_private_postgres: servers.PrivatePostgres) -> set[str]:
    return set()


@pytest.fixture
def fragile_department(
    clean_databases: None, postgres_server: servers.PrivatePostgres, _migrated: set[str]
) -> Iterator[servers.PrivatePostgres]:
    """Put dept_101 on a private PostgreSQL for one test: in this process, its threads, and process_environ asked later.

    Ask for it before process_environ. `stop()`, `pause()` and `start()` it; the other databases stay where they are.
    """
    entry = connections.settings["dept_101"]
    before = dict(entry)
    connections["dept_101"].close()
    entry |= {"HOST": "127.0.0.1", "PORT": str(postgres_server.port), "NAME": "dept_101"}
    entry |= {"USER": "scrm", "PASSWORD": postgres_server.secret}
    _wait_until_reachable("dept_101")
    if "dept_101" not in _migrated:
        call_command("migrate", database="dept_101", verbosity=0)
        remember_seeds("dept_101")
        _migrated.add("dept_101")
    yield postgres_server
    if postgres_server.is_running:
        postgres_server.resume()
    postgres_server.start()
    reset_databases()
    connections["dept_101"].close()
    entry.clear()
    entry |= before


def _wait_until_reachable(alias: str) -> None:
    """Wait for the second in which a home that the test before found down is not asked again."""
    deadline = time.monotonic() + 5
    while True:
        try:
            return connections[alias].ensure_connection()
        except sharding.HomeUnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


# ------------------------------------------------------------------------------------------------------ HTTP and pages
@pytest.fixture(scope="session")
def live_server_url(django_db_setup: None) -> Iterator[str]:
    """A granian of its own process on this worker's databases and cache; the URL without a slash at its end.

    It commits, so a test that uses it wants clean_databases too.
    """
    log = Path(os.environ["SCRM_TEST_DIR"]) / f"live-server-{WORKER or 'gw'}.log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)),
                *("--workers", "1", "--blocking-threads", "4", "scrm.wsgi:application"),
            ],
            cwd=CHECKOUT,
            env=_environ_of_processes(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/healthz", server, log)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"The live server does not answer:\n{log.read_text(errors='replace')[-4000:]}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The system's Chromium in Chinese, by playwright; skips where there is none."""
    program = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if program is None:
        pytest.skip("page tests want Chromium: apt-get install chromium fonts-noto-cjk, or CHROMIUM=/path/to/it")
    from playwright.sync_api import sync_playwright

    # Playwright's synchronous API keeps an event loop in this thread, at which Django would refuse every query.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            args=[
                *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
                *("--disable-background-networking", "--disable-component-update", "--lang=zh-CN"),
                "--accept-lang=zh-CN,zh",
            ],
        )
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def foreign_requests() -> list[str]:
    """The URLs outside the live server that `page` asked for, all refused; a test asserts that there are none."""
    return []


@pytest.fixture
def page(chromium: Any, live_server_url: str, foreign_requests: list[str]) -> Iterator[Any]:
    """A new page in a context of its own; `page.goto("/admin/")` goes to the live server."""
    context = chromium.new_context(
        base_url=live_server_url, locale="zh-CN", viewport={"width": 1440, "height": 900}, timezone_id="Asia/Shanghai"
    )

    def refuse_foreign(route: Any) -> None:
        if route.request.url.startswith(live_server_url):
            route.continue_()
        else:
            foreign_requests.append(route.request.url)
            route.abort()

    context.route("**/*", refuse_foreign)
    yield context.new_page()
    context.close()
