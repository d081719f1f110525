import threading
import time

import psycopg
import pytest
import structlog
from django.db import connections

from customers.models import Customer
from scrm import sharding
from scrm.sharding import fanout
from tests.databases import url_of
from tests.sharding.people import add_customers

DEPARTMENTS = ("dept_100", "dept_101")


def count(home):
    return Customer.objects.using(sharding.alias(home)).count()


@pytest.fixture
def bound(settings):
    """Make fan-outs of this process use one connection at a time."""
    settings.FANOUT_CONNECTIONS = 1
    fanout._pool.cache_clear()
    yield 1
    fanout._pool.cache_clear()


class Watch:
    """Counts the department connections of this worker that work while something runs, and those left at the end.

    A connection that its client has closed stays in pg_stat_activity until its server process has gone, which takes
    as long as the machine likes; so the most are counted among those with a statement.
    """

    def __init__(self):
        self.most = 0
        self._stop = threading.Event()
        self._watching = threading.Thread(target=self._watch)

    def _watch(self):
        names = [connections.settings[alias]["NAME"] for alias in DEPARTMENTS]
        with psycopg.connect(url_of("default"), autocommit=True) as connection:
            while not self._stop.is_set():
                query = (
                    "SELECT count(*) FILTER (WHERE state = 'active'), count(*) FROM pg_stat_activity "
                    "WHERE datname = ANY (%s) AND pid <> ALL (%s)"
                )
                working, self.now = connection.execute(query, [names, self._others]).fetchone()
                self.most = max(self.most, working)
                time.sleep(0.005)

    def __enter__(self):
        connections.close_all()
        time.sleep(0.1)
        # What the web process of tests that ran before keeps open is not ours.
        with psycopg.connect(url_of("default")) as connection:
            self._others = [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity").fetchall()]
        self._watching.start()
        return self

    def __exit__(self, *_error):
        deadline = time.monotonic() + 10
        time.sleep(0.1)
        while self.now and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stop.set()
        self._watching.join()


def test_it_asks_every_home(clean_databases):
    add_customers(100, 3)
    add_customers(101, 2)
    answer = sharding.fan_out(count)
    assert (answer.results, answer.unavailable) == ({100: 3, 101: 2}, [])
    assert sharding.fan_out(count, [101]).results == {101: 2}
    assert sharding.fan_out(count, []).results == {}


def test_homes_are_asked_side_by_side(clean_databases):
    both_are_here = threading.Barrier(2)
    sharding.fan_out(lambda home: both_are_here.wait(timeout=20))


def test_an_exception_comes_back_when_all_have_ended(clean_databases):
    ended = []

    def ask(home):
        if home == 100:
            raise ZeroDivisionError
        time.sleep(0.2)
        ended.append(home)

    with pytest.raises(ZeroDivisionError):
        sharding.fan_out(ask)
    assert ended == [101]


def test_a_home_that_is_down_is_named_and_the_others_answer(fragile_department):
    add_customers(100, 3)
    fragile_department.stop()
    answer = sharding.fan_out(count)
    assert (answer.results, answer.unavailable) == ({100: 3}, [101])
    assert sharding.fan_out(count, [101]).unavailable == [101]
    fragile_department.start()
    time.sleep(1.1)  # for a second after a server did not answer nobody asks it
    assert sharding.fan_out(count).unavailable == []


def test_a_home_that_is_not_configured_is_an_error(clean_databases):
    with pytest.raises(sharding.UnknownHomeError):
        sharding.fan_out(count, [100, 999])


def test_all_fan_outs_of_a_process_share_its_connections_and_leave_none(clean_databases, bound):
    def slow(home):
        with sharding.cursor(home) as cursor:
            cursor.execute("SELECT pg_sleep(0.02)")

    threads = [threading.Thread(target=sharding.fan_out, args=[slow]) for _ in range(8)]
    with Watch() as watch:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert watch.most == bound
    assert watch.now == 0


def test_a_fan_out_inside_a_fan_out_does_not_wait_for_itself(clean_databases, bound):
    add_customers(101, 2)
    answer = sharding.fan_out(lambda home: sharding.fan_out(count).results)
    assert answer.results == {100: {100: 0, 101: 2}, 101: {100: 0, 101: 2}}


def test_a_fan_out_writes_in_transactions_of_its_own(clean_databases):
    def write(home):
        with sharding.atomic_home(home) as alias:
            Customer.objects.using(alias).update(name="李四")
        with pytest.raises(sharding.WriteOutsideAtomicError):
            Customer.objects.using(alias).update(name="赵六")

    add_customers(100, 2)
    sharding.fan_out(write)
    assert set(Customer.objects.using("dept_100").values_list("name", flat=True)) == {"李四"}


def test_the_request_id_goes_along_into_the_logs(clean_databases):
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        seen = sharding.fan_out(lambda home: structlog.contextvars.get_contextvars()["request_id"])
    assert seen.results == {100: "r-1", 101: "r-1"}
