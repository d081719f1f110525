import multiprocessing
from collections import Counter

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from customers.models import Customer
from scrm import sharding
from scrm.sharding.bucketing import StableHashStrategy
from scrm.sharding.ids import home_of
from tests.sharding.people import insert_customers

PROCESSES = 8
BLOCKS = (1, 500, 7, 1000, 2)


def take_blocks(_number):
    return [customer_id for count in BLOCKS for customer_id in sharding.allocate(100, count)]


def test_ids_are_of_the_home_ascending_and_new(clean_databases):
    first, second = sharding.allocate(101, 3), sharding.allocate(101, 2)
    assert first == sorted(first)
    assert {home_of(one) for one in first + second} == {101}
    assert len(set(first + second)) == 5
    assert max(first) < min(second)


def test_a_block_is_one_query_whatever_its_size(clean_databases):
    with CaptureQueriesContext(connections["dept_100"]) as captured:
        assert len(sharding.allocate(100, 10_000)) == 10_000
    assert [query["sql"].split()[0] for query in captured] == ["BEGIN", "SELECT", "COMMIT"]
    assert sharding.allocate(100, 0) == []


def test_ids_taken_in_a_transaction_that_fails_are_not_given_again(clean_databases):
    taken = []

    def work():
        with sharding.atomic_home(100):
            taken.extend(sharding.allocate(100, 5))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert not set(taken) & set(sharding.allocate(100, 5))


def test_eight_processes_at_once_get_no_id_twice(clean_databases):
    connections.close_all()  # a fork shares its parent's sockets
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        blocks = pool.map(take_blocks, range(PROCESSES * 4), chunksize=1)
    taken = [customer_id for block in blocks for customer_id in block]
    assert len(taken) == len(set(taken)) == PROCESSES * 4 * sum(BLOCKS)


def test_ten_thousand_customers_fill_the_tables_evenly(clean_databases):
    strategy = StableHashStrategy()
    chosen = Counter(strategy.pick_shard(f"wm{number}", [100, 101]) for number in range(10_000))
    for home, count in chosen.items():
        insert_customers(home, sharding.allocate(home, count))
    for home in (100, 101):
        assert abs(chosen[home] - 5_000) <= 750
        with sharding.cursor(home) as cursor:
            cursor.execute(
                "SELECT tableoid::regclass::text, count(*), min(bucket), max(bucket) FROM customers GROUP BY 1"
            )
            rows = cursor.fetchall()
        assert sorted(table for table, *_ in rows) == [f"customers_{bucket}" for bucket in range(10)]
        for table, count, smallest, largest in rows:
            assert abs(count - chosen[home] / 10) <= 0.15 * chosen[home] / 10
            assert smallest == largest == int(table[-1])
        assert Customer.objects.using(f"dept_{home}").count() == chosen[home]
