"""Recording behaviours from several processes at once, and from one that is killed half way."""

import multiprocessing
from collections import Counter
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import connections

from customers import directory
from customers.erasure import request_erasure, run_erasure
from customers.models import Customer
from scrm import sharding
from scrm.held import forget_all
from tests.customers.gates import Process, gate, wait_for_somebody_behind_a_lock
from tests.profiles.behaviours import (
    days_of,
    dirty_of,
    item,
    outcome,
    people,
    raw_of,
    record,
    refund,
    refunded,
    rows_everywhere,
    running_of,
)

D = Decimal


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    forget_all()


Batches = list[list[dict[str, Any]]]


def record_at_once(works: list[Batches]) -> list[tuple[int, int, list[str]]]:
    """Record each work's batches in a process of its own, all beginning at once.

    Returns what came of each: (accepted, duplicates, codes).
    """
    barrier = multiprocessing.get_context("fork").Barrier(len(works))

    def work(batches: Batches) -> tuple[int, int, list[str]]:
        for alias in connections:
            connections[alias].ensure_connection()
        barrier.wait(60)
        outcomes = [outcome(record(*batch, create_missing=True)) for batch in batches]
        return (
            sum(one[0] for one in outcomes),
            sum(one[1] for one in outcomes),
            [c for o in outcomes for c in o[2].values()],
        )

    processes = [Process(partial(work, batches)) for batches in works]
    return [process.answer() for process in processes]


def test_eight_processes_with_the_same_batch_store_it_once() -> None:
    names = [f"wm{number:02}" for number in range(40)]
    batch = [item(f"p{number}", names[number % 40], amount="1.25") for number in range(400)]
    batch += [refund(f"r{number}", f"p{number}", "0.25", external_userid=names[number]) for number in range(40)]
    answers = record_at_once([[batch]] * 8)
    assert [codes for _, _, codes in answers] == [[]] * 8
    assert sum(accepted for accepted, _, _ in answers) == 440
    assert all(accepted + duplicates == 440 for accepted, duplicates, _ in answers)
    assert rows_everywhere() == {"behaviour_keys": 440, "behaviours": 440, "daily_totals": 40, "running_totals": 40}
    assert sum(Customer.objects.using(sharding.alias(home)).count() for home in (100, 101)) == 40
    for customer_id in people(*names, home=None):
        assert running_of(customer_id)[:5] == (10, D("12.50"), 0, D("0.25"), 0)
        assert list(days_of(customer_id).values()) == [(10, D("12.50"), 0, D("0.25"), 0)]


def test_batches_that_cross_each_other_neither_hang_nor_lose_anything() -> None:
    names = [f"wm{number:02}" for number in range(20)]
    ids = people(*names)
    works = []
    for worker in range(8):
        order = names if worker % 2 else names[::-1]
        # Own behaviours of everybody, and some that all processes bring, in opposite orders.
        works.append(
            [
                [item(f"w{worker}-{batch}-{n}", name) for n, name in enumerate(order)]
                + [item(f"all-{batch}", name, "interaction") for name in order]
                for batch in range(5)
            ]
        )
    answers = record_at_once(works)
    assert Counter(code for _, _, codes in answers for code in codes) == {}
    assert sum(accepted for accepted, _, _ in answers) == 8 * 5 * 20 + 5 * 20
    for customer_id in ids:
        assert running_of(customer_id)[:5] == (40, D("400.00"), 0, D("0.00"), 5)


def test_refunds_of_one_purchase_at_once_never_exceed_it() -> None:
    (wm_a,) = people("wmA")
    record(item("p1", amount="100"))
    answers = record_at_once([[[refund(f"r{worker}-{n}", "p1", "15")] for n in range(3)] for worker in range(8)])
    assert sum(accepted for accepted, _, _ in answers) == 6
    assert Counter(code for _, _, codes in answers for code in codes) == {"refund_exceeds_purchase": 18}
    assert refunded(wm_a, "p1") == D("90.00")
    assert running_of(wm_a)[2:4] == (0, D("90.00"))
    answers = record_at_once([[[refund(f"rest{worker}", "p1")]] for worker in range(8)])
    assert sum(accepted for accepted, _, _ in answers) == 1
    assert running_of(wm_a)[2:4] == (1, D("100.00"))


@pytest.mark.parametrize("table", ["behaviour_keys", "daily_totals", "running_totals", "dirty_customers"])
def test_a_process_killed_half_way_leaves_nothing(table: str) -> None:
    (wm_a,) = people("wmA")
    record(item("p1"))
    before = (running_of(wm_a), days_of(wm_a), dirty_of(wm_a), list(raw_of(wm_a)))
    batch = [item("p2"), item("i1", kind="interaction", occurred_at="2026-11-21T12:00:00+08:00"), refund("r1", "p1")]
    with gate("dept_100", table, "INSERT") as shut:
        shut.kill(Process(lambda: record(*batch)))
    assert (running_of(wm_a), days_of(wm_a), dirty_of(wm_a), list(raw_of(wm_a))) == before
    assert refunded(wm_a, "p1") is None
    assert outcome(record(*batch)) == (3, 0, {})


def test_an_erasure_under_way_wins_and_nothing_is_resurrected(monkeypatch: pytest.MonkeyPatch) -> None:
    (wm_a, _) = people("wmA", "wmB")
    batch = [item("p1"), item("p1", "wmB")]
    with gate("dept_100", "customers", "DELETE") as shut:
        eraser = Process(lambda: run_erasure(request_erasure("wmA", actor="test").id).state)
        shut.wait_for(eraser)
        # The directory says erasing already. Who had read it before comes with the old address.
        real, answers = directory.addresses, [directory.addresses(["wmB"]) | {"wmA": wm_a}]
        monkeypatch.setattr(directory, "addresses", lambda ids: answers.pop() if answers else real(ids))
        writer = Process(lambda: outcome(record(*batch)))
        wait_for_somebody_behind_a_lock("dept_100", 2)
        shut.open()
        assert eraser.answer() == "done"
        # Which of the two depends on whether the directory's row has gone when the writer looks again.
        assert writer.answer() in [(1, 0, {0: code}) for code in ("unknown_customer", "erasure_in_progress")]
    assert rows_everywhere() == {"behaviour_keys": 1, "behaviours": 1, "daily_totals": 1, "running_totals": 1}
    assert raw_of(wm_a) == {}


def test_behaviours_on_their_way_go_with_an_erasure_that_comes_after() -> None:
    (wm_a,) = people("wmA")
    with gate("dept_100", "behaviours", "INSERT") as shut:
        writer = Process(lambda: outcome(record(item("p1"))))
        shut.wait_for(writer)
        eraser = Process(lambda: run_erasure(request_erasure("wmA", actor="test").id).state)
        wait_for_somebody_behind_a_lock("dept_100", 2)
        shut.open()
        assert writer.answer() == (1, 0, {})
        assert eraser.answer() == "done"
    assert set(rows_everywhere().values()) == {0}
    assert dirty_of(wm_a) is None
