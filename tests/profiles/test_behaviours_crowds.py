"""Recording behaviours from several processes at once, and from one that is killed half way."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from customers.models import Customer
from scrm import sharding
from scrm.held import forget_all
from tests.customers.gates import CHECKOUT, gate, run
from tests.profiles.behaviours import (
    days_of,
    dirty_of,
    item,
    people,
    raw_of,
    record,
    refund,
    refunded,
    rows_everywhere,
    running_of,
)

D = Decimal
# Forked after Django is there and before any database is touched: eight real processes for the price of one start.
PROGRAM = """
import json, multiprocessing, sys
from tests.profiles.behaviours import outcome, record
from django.db import connections

def work(batches):
    for alias in connections:
        connections[alias].ensure_connection()
    barrier.wait(60)
    outcomes = [outcome(record(*batch, create_missing=True)) for batch in batches]
    connections.close_all()
    return sum(o[0] for o in outcomes), sum(o[1] for o in outcomes), [code for o in outcomes for code in o[2].values()]

context = multiprocessing.get_context("fork")
barrier = context.Barrier(8)
pool = context.Pool(8)
for line in sys.stdin:
    print(json.dumps(pool.map(work, json.loads(line), chunksize=1)), flush=True)
"""


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    forget_all()


class Crowd:
    """Eight processes that wait for work, so that they all begin at once."""

    def __init__(self, leader: subprocess.Popen[str]) -> None:
        self._leader = leader

    def record(self, works: list[list[list[dict[str, Any]]]]) -> list[tuple[int, int, list[str]]]:
        """Give each process its batches; return what came of each: (accepted, duplicates, codes)."""
        assert self._leader.stdin is not None
        assert self._leader.stdout is not None
        self._leader.stdin.write(json.dumps(works) + "\n")
        self._leader.stdin.flush()
        return [tuple(answer) for answer in json.loads(self._leader.stdout.readline())]


@pytest.fixture
def crowd(process_environ: dict[str, str]) -> Iterator[Crowd]:
    leader = subprocess.Popen(
        [sys.executable, "-c", f"import django; django.setup()\n{PROGRAM}"],
        cwd=CHECKOUT,
        env=process_environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield Crowd(leader)
    leader.communicate(timeout=30)


@pytest.mark.slow
def test_eight_processes_with_the_same_batch_store_it_once(crowd: Crowd) -> None:
    names = [f"wm{number:02}" for number in range(40)]
    batch = [item(f"p{number}", names[number % 40], amount="1.25") for number in range(400)]
    batch += [refund(f"r{number}", f"p{number}", "0.25", external_userid=names[number]) for number in range(40)]
    answers = crowd.record([[batch]] * 8)
    assert [codes for _, _, codes in answers] == [[]] * 8
    assert sum(accepted for accepted, _, _ in answers) == 440
    assert all(accepted + duplicates == 440 for accepted, duplicates, _ in answers)
    assert rows_everywhere() == {"behaviour_keys": 440, "behaviours": 440, "daily_totals": 40, "running_totals": 40}
    assert sum(Customer.objects.using(sharding.alias(home)).count() for home in (100, 101)) == 40
    for customer_id in people(*names, home=None):
        assert running_of(customer_id)[:5] == (10, D("12.50"), 0, D("0.25"), 0)
        assert list(days_of(customer_id).values()) == [(10, D("12.50"), 0, D("0.25"), 0)]


@pytest.mark.slow
def test_batches_that_cross_each_other_neither_hang_nor_lose_anything(crowd: Crowd) -> None:
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
    answers = crowd.record(works)
    assert Counter(code for _, _, codes in answers for code in codes) == {}
    assert sum(accepted for accepted, _, _ in answers) == 8 * 5 * 20 + 5 * 20
    for customer_id in ids:
        assert running_of(customer_id)[:5] == (40, D("400.00"), 0, D("0.00"), 5)


@pytest.mark.slow
def test_refunds_of_one_purchase_at_once_never_exceed_it(crowd: Crowd) -> None:
    (wm_a,) = people("wmA")
    record(item("p1", amount="100"))
    answers = crowd.record([[[refund(f"r{worker}-{n}", "p1", "15")] for n in range(3)] for worker in range(8)])
    assert sum(accepted for accepted, _, _ in answers) == 6
    assert Counter(code for _, _, codes in answers for code in codes) == {"refund_exceeds_purchase": 18}
    assert refunded(wm_a, "p1") == D("90.00")
    assert running_of(wm_a)[2:4] == (0, D("90.00"))
    answers = crowd.record([[[refund(f"rest{worker}", "p1")]] for worker in range(8)])
    assert sum(accepted for accepted, _, _ in answers) == 1
    assert running_of(wm_a)[2:4] == (1, D("100.00"))


@pytest.mark.parametrize("table", ["daily_totals", "dirty_customers"])
def test_a_process_killed_half_way_leaves_nothing(table: str, process_environ: dict[str, str]) -> None:
    (wm_a,) = people("wmA")
    record(item("p1"))
    before = (running_of(wm_a), days_of(wm_a), dirty_of(wm_a), list(raw_of(wm_a)))
    batch = [item("p2"), item("i1", kind="interaction", occurred_at="2026-11-21T12:00:00+08:00"), refund("r1", "p1")]
    with gate("dept_100", table, "INSERT") as shut:
        process = run(f"from tests.profiles.behaviours import record\nrecord(*{batch!r})", process_environ)
        shut.kill(process)
    assert (running_of(wm_a), days_of(wm_a), dirty_of(wm_a), list(raw_of(wm_a))) == before
    assert refunded(wm_a, "p1") is None
    done = record(*batch)
    assert (done.accepted, done.duplicates, done.rejected) == (3, 0, [])


def test_an_erasure_in_between_wins_and_nothing_is_resurrected(process_environ: dict[str, str]) -> None:
    (wm_a, _) = people("wmA", "wmB")
    batch = [item("p1"), item("p1", "wmB")]
    with gate("dept_100", "customers", "DELETE") as shut:
        eraser = run(
            "from customers.erasure import request_erasure, run_erasure\n"
            "run_erasure(request_erasure('wmA', actor='t').id)",
            process_environ,
        )
        shut.wait_for_somebody(eraser)
        # The directory says erasing already. Who had read it before comes with the old address.
        writer = run(
            "from customers import directory\n"
            "from tests.profiles.behaviours import outcome, record\n"
            "real, stale = directory.addresses, [True]\n"
            "def addresses(ids):\n"
            f"    return {{**real(ids), 'wmA': {wm_a}}} if stale and stale.pop() else real(ids)\n"
            "directory.addresses = addresses\n"
            f"print(outcome(record(*{batch!r})))",
            process_environ,
        )
        shut.open()
        eraser.communicate(timeout=30)
        assert eraser.returncode == 0
        out, errors = writer.communicate(timeout=30)
    assert out.strip() in ("(1, 0, {0: 'unknown_customer'})", "(2, 0, {})"), errors
    assert raw_of(wm_a) == {}
    assert running_of(wm_a) is None
