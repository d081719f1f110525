"""The fixtures that the other tests stand on (tests/conftest.py)."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections

from customers.models import Customer
from scrm import sharding
from scrm.sharding.models import Home
from tests.conftest import reset_databases
from tests.databases import url_of
from tests.servers import PrivatePostgres, PrivateValkey


def count(alias: str, table: str) -> int:
    with psycopg.connect(url_of(alias)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def put_customer(name: str) -> int:
    with sharding.atomic_home(100) as alias:
        [customer_id] = sharding.allocate(100, 1)
        Customer.objects.using(alias).create(customer_id=customer_id, external_userid=name)
    return customer_id


def test_every_database_is_a_test_database_of_this_worker(clean_databases: None) -> None:
    names = [connections.settings[alias]["NAME"] for alias in connections]
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    assert names == [f"test_{name}{worker and f'_{worker}'}" for name in ("scrm", "dept_100", "dept_101")]


def test_reset_empties_what_was_committed_and_keeps_what_was_seeded(clean_databases: None) -> None:
    rules = count("default", "profiles_rule")
    get_user_model().objects.create_user("somebody")
    Home.objects.filter(home=100).update(is_open=False)
    put_customer("wm1")
    assert count("dept_100", "customers") == 1
    reset_databases()
    assert count("dept_100", "customers") == 0
    assert get_user_model().objects.count() == 0
    assert list(Home.objects.values_list("home", "is_open").order_by("home")) == [(100, True), (101, True)]
    assert count("default", "profiles_rule") == rules > 0


MADE: list[int] = []


def make_state() -> int:
    get_user_model().objects.create_user("kept")
    MADE.append(put_customer("kept"))
    return MADE[-1]


@pytest.fixture
def visitor(clean_databases: None) -> None:
    get_user_model().objects.create_user("visitor")


@pytest.fixture
def state(kept_state: Callable[..., int]) -> int:
    return kept_state("ground", make_state)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_kept_state_is_made_once_and_comes_back_whatever_a_test_did(visitor: None, state: int, turn: int) -> None:
    assert (len(MADE), MADE[0]) == (1, state)
    assert list(Customer.objects.using("dept_100").values_list("customer_id", "external_userid")) == [(state, "kept")]
    # The state came first, although the test names it last; and it has not kept what another test added.
    assert set(get_user_model().objects.values_list("username", flat=True)) == {"kept", "visitor"}
    assert count("default", "profiles_rule") > 0
    put_customer("another")
    get_user_model().objects.filter(username="kept").delete()
    with sharding.atomic_home(100) as alias:
        Customer.objects.using(alias).filter(customer_id=state).delete()


def test_a_kept_state_is_for_those_only_who_ask(clean_databases: None) -> None:
    assert (count("dept_100", "customers"), get_user_model().objects.count()) == (0, 0)


@pytest.mark.parametrize("mark", ["first", "second"])
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_transactional_tests_keep_the_seeds_too(mark: str) -> None:
    assert Home.objects.filter(is_open=True).count() == 2
    assert not get_user_model().objects.exists()
    get_user_model().objects.create_user("somebody")


def test_threads_and_processes_see_what_was_committed(clean_databases: None, process_environ: dict[str, str]) -> None:
    get_user_model().objects.create_user("somebody")
    seen: list[int] = []

    def look() -> None:
        seen.append(get_user_model().objects.count())
        connections.close_all()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [1]
    program = (
        "import django; django.setup(); from django.contrib.auth import get_user_model as u; print(u().objects.count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=process_environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


def test_cache_and_broker_are_numbers_of_this_worker(redis_client: redis.Redis, broker_client: redis.Redis) -> None:
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    assert settings.REDIS_URL.endswith(f"/{1 + 2 * number}")
    assert settings.CELERY_BROKER_URL.endswith(f"/{2 + 2 * number}")
    redis_client.set("a", "b")
    assert broker_client.get("a") is None


def test_private_cache_can_stop_freeze_and_come_back_empty(valkey_server: Callable[..., PrivateValkey]) -> None:
    server = valkey_server()
    client = redis.Redis.from_url(server.url, retry=None, socket_timeout=0.2)
    client.set("a", "b")
    server.pause()
    with pytest.raises(redis.TimeoutError):
        client.get("a")
    server.resume()
    assert client.get("a") == b"b"
    server.stop()
    with pytest.raises(redis.ConnectionError):
        client.get("a")
    server.start()
    assert client.get("a") is None
    server.kill()
    assert not server.is_running
    server.start()
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}


def test_private_broker_keeps(valkey_server: Callable[..., PrivateValkey]) -> None:
    server = valkey_server(keeps=True)
    redis.Redis.from_url(server.url).set("a", "b")
    server.restart()
    assert redis.Redis.from_url(server.url).get("a") == b"b"


@pytest.mark.parametrize("attempt", ["first", "second"])
def test_one_department_goes_down_and_comes_back(fragile_department: PrivatePostgres, attempt: str) -> None:
    with sharding.cursor(101) as rows:
        rows.execute("SELECT current_database(), (SELECT count(*) FROM customers)")
        assert rows.fetchone() == ("dept_101", 0)
    fragile_department.stop()
    connections["dept_101"].close()
    with pytest.raises(sharding.HomeUnavailableError):
        sharding.cursor(101)
    with sharding.cursor(100) as rows:
        rows.execute("SELECT 1")
    fragile_department.start()


def test_department_is_back_on_the_shared_server_afterwards(clean_databases: None) -> None:
    assert connections.settings["dept_101"]["PORT"] == connections.settings["dept_100"]["PORT"]
    assert count("dept_101", "customers") == 0


def test_slot_is_held_by_this_run() -> None:
    slot = Path(os.environ["SCRM_TEST_DIR"])
    assert slot.name.startswith("test-")
    assert (slot / "in-use").exists()
