import threading
import time

import psycopg
import pytest
from django.db import connections, transaction

from customers.models import Customer
from scrm import sharding
from scrm.sharding.backend import base
from tests.databases import run
from tests.sharding.people import add_customers, names


@pytest.fixture(autouse=True)
def _nothing_is_believed_to_be_down():
    base._unreachable_until.clear()
    yield
    base._unreachable_until.clear()


def kill(alias):
    """End the connection that this thread has to a department database, from the server's side."""
    pid = connections[alias].connection.info.backend_pid
    run(alias, f"SELECT pg_terminate_backend({pid})")
    time.sleep(0.05)


def test_a_server_that_is_stopped_is_unavailable_and_comes_back(fragile_department):
    customer_id = add_customers(101, 1)[0]
    fragile_department.stop()
    for ask in (
        lambda: names(101),
        lambda: sharding.allocate(101, 1),
        lambda: sharding.cursor(101).execute("SELECT 1"),
    ):
        with pytest.raises(sharding.HomeUnavailableError, match="dept_101 cannot be reached") as caught:
            ask()
        assert caught.value.home == 101
    assert names(100) == set()
    fragile_department.start()
    base._unreachable_until.clear()
    assert Customer.objects.using("dept_101").get().customer_id == customer_id
    with sharding.atomic(customer_id) as alias:
        Customer.objects.using(alias).update(name="李四")
    assert names(101) == {"李四"}


def test_a_frozen_server_is_unavailable_in_bounded_time_and_only_once_a_second(fragile_department):
    connections["dept_101"].close()
    fragile_department.pause()
    began = time.monotonic()
    with pytest.raises(sharding.HomeUnavailableError):
        names(101)
    assert 0.5 < time.monotonic() - began < 5
    began = time.monotonic()
    with pytest.raises(sharding.HomeUnavailableError):
        names(101)
    assert time.monotonic() - began < 0.5
    assert names(100) == set()


def test_a_missing_database_does_not_make_its_server_unreachable(clean_databases, monkeypatch):
    connections["dept_101"].close()
    with monkeypatch.context() as patch:
        patch.setitem(connections.settings["dept_101"], "NAME", "not_there")
        with pytest.raises(sharding.HomeUnavailableError) as caught:
            names(101)
    assert "does not exist" in str(caught.value.__cause__)
    connections["dept_100"].close()
    assert names(100) == set()  # on the same server


@pytest.mark.parametrize("alias", ["default", "dept_100"])
def test_a_connection_is_known_to_live_or_not_without_asking_its_server(clean_databases, alias):
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), 'the last query'")
        pid = cursor.fetchone()[0]
    assert connection.is_usable()
    with psycopg.connect(connection.connection.info.dsn, password=connection.connection.info.password) as other:
        (last,) = other.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
    assert "the last query" in last
    kill(alias)
    assert not connection.is_usable()
    connection.close()


def test_a_killed_connection_is_replaced_by_the_retry(clean_databases):
    add_customers(100, 1)
    kill("dept_100")
    with pytest.raises(sharding.HomeUnavailableError):
        names(100)
    assert names(100) == {"王一"}


def rename(work=lambda: None):
    with sharding.atomic_home(100) as alias:
        Customer.objects.using(alias).update(name="李四")
        work()
        Customer.objects.using(alias).update(position="店长")


def rename_and_lose_the_commit():
    with sharding.atomic_home(100) as alias:
        Customer.objects.using(alias).update(name="李四")
        kill(alias)


def rename_and_lose_the_savepoint():
    with sharding.atomic_home(100), sharding.atomic_home(100) as alias:
        Customer.objects.using(alias).update(name="李四")
        kill(alias)


@pytest.mark.parametrize(
    "work", [lambda: rename(lambda: kill("dept_100")), rename_and_lose_the_commit, rename_and_lose_the_savepoint]
)
def test_a_connection_killed_inside_atomic_loses_all_of_it_and_the_retry_works(clean_databases, work):
    add_customers(100, 1)
    done = []
    connections["dept_100"].run_on_commit = []
    with pytest.raises(sharding.HomeUnavailableError):
        work()
    assert not connections["dept_100"].in_atomic_block
    assert names(100) == {"王一"}
    with pytest.raises(sharding.WriteOutsideAtomicError):
        Customer.objects.using("dept_100").update(name="赵六")
    rename(lambda: sharding.after_commit_home(100, lambda: done.append(1)))
    assert (names(100), done) == ({"李四"}, [1])


def test_after_commit_of_a_lost_transaction_never_runs(clean_databases):
    done = []

    def work():
        with sharding.atomic_home(100):
            names(100)  # the transaction begins on the server with its first query
            sharding.after_commit_home(100, lambda: done.append(1))
            kill("dept_100")

    with pytest.raises(sharding.HomeUnavailableError):
        work()
    with sharding.atomic_home(100):
        pass
    assert done == []


def test_rows_that_stream_in_stop_with_the_same_error(clean_databases):
    add_customers(100, 5000)

    def work():
        with transaction.atomic(using="dept_100"):
            for number, _customer in enumerate(Customer.objects.using("dept_100").iterator(chunk_size=10)):
                if number == 20:
                    kill("dept_100")

    with pytest.raises(sharding.HomeUnavailableError):
        work()
    assert Customer.objects.using("dept_100").count() == 5000


def test_a_copy_stops_with_the_same_error(clean_databases):
    def work():
        with (
            sharding.atomic_home(100),
            sharding.cursor(100) as cursor,
            cursor.copy("COPY dirty_customers FROM STDIN") as copy,
        ):
            kill("dept_100")
            for number in range(1_000_000):
                copy.write_row((number, number % 10, 1, None))

    with pytest.raises(sharding.HomeUnavailableError):
        work()
    assert names(100) == set()


def test_a_deadlock_is_no_outage(clean_databases):
    first, second = add_customers(100, 2)
    held, errors = threading.Barrier(2), []

    def work(one, other):
        try:
            with sharding.atomic_home(100) as alias:
                Customer.objects.using(alias).filter(customer_id=one).update(name="a")
                held.wait(10)
                Customer.objects.using(alias).filter(customer_id=other).update(name="b")
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=pair) for pair in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error).__name__ for error in errors] == ["OperationalError"]
    assert "deadlock detected" in str(errors[0])


def test_a_request_does_not_fail_because_a_department_is_down(fragile_department):
    names(101)
    connection = connections["dept_101"]
    fragile_department.stop()
    connection.errors_occurred = True
    connection.close_if_unusable_or_obsolete()  # what Django does before and after each request
    with pytest.raises(sharding.HomeUnavailableError):
        names(101)
