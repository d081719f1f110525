import pytest
from django.db import IntegrityError, connections, transaction
from django.test.utils import CaptureQueriesContext

from customers.models import Customer
from scrm import sharding
from tests.sharding.people import add_customers, names

COPY_MARKS = "COPY dirty_customers (customer_id, bucket, mark, last_day) FROM STDIN"


@pytest.fixture
def customer_id(clean_databases):
    return add_customers(100, 1)[0]


def update_by_orm():
    Customer.objects.using("dept_100").update(name="李四")


def update_by_sql():
    with sharding.cursor(100) as cursor:
        cursor.execute("UPDATE customers SET name = '李四'")


def copy_in():
    with sharding.cursor(100) as cursor, cursor.copy(COPY_MARKS) as copy:
        copy.write_row((1000000000001, 1, 1, None))


def copy_in_while_queries_are_captured():
    with CaptureQueriesContext(connections["dept_100"]):
        copy_in()


def lock_rows():
    list(Customer.objects.using("dept_100").select_for_update())


def take_an_id_by_sql():
    with sharding.cursor(100) as cursor:
        cursor.execute("SELECT nextval('customer_ids')")


WRITES = [update_by_orm, update_by_sql, copy_in, copy_in_while_queries_are_captured, take_an_id_by_sql]


@pytest.mark.parametrize("write", WRITES)
def test_a_write_outside_sharding_atomic_is_refused_by_the_server(customer_id, write):
    with pytest.raises(sharding.WriteOutsideAtomicError, match=r"dept_100: cannot execute .* sharding\.atomic\(\)"):
        write()
    assert names(100) == {"王一"}


@pytest.mark.parametrize("write", WRITES)
def test_a_plain_transaction_of_django_is_not_enough(customer_id, write):
    with pytest.raises(sharding.WriteOutsideAtomicError), transaction.atomic(using="dept_100"):
        write()
    assert names(100) == {"王一"}


def test_sharding_atomic_inside_a_plain_transaction_says_what_is_wrong(customer_id):
    with (
        transaction.atomic(using="dept_100"),
        pytest.raises(sharding.WriteOutsideAtomicError, match=r"A plain transaction\.atomic\(\) is open on dept_100"),
        sharding.atomic(customer_id),
    ):
        pass


def test_a_lock_on_rows_is_a_write_too(customer_id):
    with pytest.raises(sharding.WriteOutsideAtomicError), transaction.atomic(using="dept_100"):
        lock_rows()
    with sharding.atomic(customer_id):
        lock_rows()


def test_inside_it_writes_and_commits(customer_id):
    with sharding.atomic(customer_id) as alias:
        assert alias == "dept_100"
        update_by_orm()
    assert names(100) == {"李四"}
    with sharding.atomic_home(100):
        with sharding.cursor(100) as cursor, cursor.copy(COPY_MARKS) as copy:
            copy.write_row((customer_id, customer_id % 10, 1, None))
        update_by_sql()


def test_after_it_the_connection_refuses_again(customer_id):
    with sharding.atomic(customer_id):
        update_by_sql()
    with pytest.raises(sharding.WriteOutsideAtomicError):
        update_by_sql()
    with pytest.raises(RuntimeError, match="mine"), sharding.atomic(customer_id):
        raise RuntimeError("mine")
    with pytest.raises(sharding.WriteOutsideAtomicError):
        update_by_sql()


def test_one_home_is_not_another(customer_id):
    with pytest.raises(sharding.WriteOutsideAtomicError, match="dept_100"), sharding.atomic_home(101):
        update_by_sql()


def test_an_exception_rolls_back(customer_id):
    def work():
        with sharding.atomic(customer_id):
            update_by_orm()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert names(100) == {"王一"}


def test_it_nests_and_the_inner_one_rolls_back_alone(customer_id):
    with sharding.atomic(customer_id) as alias:
        update_by_orm()
        with pytest.raises(IntegrityError), sharding.atomic_home(100):
            Customer.objects.using(alias).create(customer_id=customer_id, external_userid="wm")
        with sharding.atomic_home(100), transaction.atomic(using=alias):
            Customer.objects.using(alias).update(position="店长")
    customer = Customer.objects.using("dept_100").get()
    assert (customer.name, customer.position) == ("李四", "店长")


def test_durable_refuses_to_nest(customer_id):
    with (
        sharding.atomic(customer_id),
        pytest.raises(RuntimeError, match="durable"),
        sharding.atomic(customer_id, durable=True),
    ):
        pass


def test_two_homes_are_two_transactions(customer_id):
    other = add_customers(101, 1)[0]

    def work():
        with sharding.atomic(customer_id):
            update_by_orm()
            with sharding.atomic(other) as alias:
                Customer.objects.using(alias).update(name="赵六")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert (names(100), names(101)) == ({"王一"}, {"赵六"})


@pytest.mark.parametrize("customer_id", [0, -1, 2**63, True])
def test_what_is_no_id_opens_no_transaction(customer_id):
    with pytest.raises(sharding.InvalidCustomerIdError), sharding.atomic(customer_id):
        pass


def test_an_unknown_home_opens_no_transaction():
    with pytest.raises(sharding.UnknownHomeError), sharding.atomic(9990000000001):
        pass


def test_after_commit_waits_for_the_commit_of_that_database(customer_id):
    done = []
    with sharding.atomic_home(101):
        with sharding.atomic(customer_id):
            update_by_orm()
            sharding.after_commit(customer_id, lambda: done.append(names(100)))
            sharding.after_commit_home(101, lambda: done.append("101"))
            assert done == []
        assert done == [{"李四"}]
    assert done == [{"李四"}, "101"]


def test_after_commit_is_forgotten_by_a_rollback(customer_id):
    done = []

    def inner():
        with sharding.atomic(customer_id):
            sharding.after_commit(customer_id, lambda: done.append("inner"))
            raise KeyError

    def outer():
        with sharding.atomic(customer_id):
            sharding.after_commit(customer_id, lambda: done.append("outer"))
            with pytest.raises(KeyError):
                inner()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        outer()
    with sharding.atomic(customer_id):
        pass
    assert done == []


def test_after_commit_runs_at_once_when_nothing_is_open(customer_id):
    done = []
    with transaction.atomic():  # the control database's transaction has nothing to do with it
        sharding.after_commit(customer_id, lambda: done.append(1))
        assert done == [1]


def test_what_runs_after_the_commit_is_outside_of_it_and_may_begin_anew(customer_id):
    def write_again():
        with pytest.raises(sharding.WriteOutsideAtomicError), transaction.atomic(using="dept_100"):
            update_by_sql()
        with sharding.atomic(customer_id):
            update_by_sql()

    with sharding.atomic(customer_id):
        sharding.after_commit(customer_id, write_again)
    assert names(100) == {"李四"}
    with pytest.raises(sharding.WriteOutsideAtomicError):
        update_by_sql()


def test_a_stale_connection_is_replaced_before_the_transaction_not_under_it(customer_id):
    connection = connections["dept_100"]
    connection.ensure_connection()
    connection.connection.close()
    connection.health_check_enabled, connection.health_check_done = True, False  # as at the begin of a request
    with sharding.atomic(customer_id):
        update_by_sql()
    assert names(100) == {"李四"}


def test_it_costs_begin_and_commit_and_nothing_else(customer_id):
    with CaptureQueriesContext(connections["dept_100"]) as captured, sharding.atomic(customer_id):
        update_by_sql()
    assert [query["sql"].split()[0] for query in captured] == ["BEGIN", "UPDATE", "COMMIT"]
