"""What a process holds of the keys, when it asks, and what it does while the database does not answer."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError

from scrm.api.keys import KeyHolder, KeyRing
from scrm.api.problems import UnavailableError

SHOP = KeyHolder("shop", frozenset({"customers:read"}), ())
ERP = KeyHolder("erp", frozenset({"customers:read"}), (2,))


class Table:
    """The table of keys, and how often it was read."""

    def __init__(self) -> None:
        self.rows = {"shop": SHOP}
        self.reads = 0
        self.is_down = False
        self.while_reading: Callable[[], None] = lambda: None

    def read(self) -> dict[str, KeyHolder]:
        self.reads += 1
        found = dict(self.rows)
        self.while_reading()
        if self.is_down:
            raise OperationalError("connection refused")
        return found


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(table: Table, clock: Clock) -> KeyRing:
    return KeyRing(table.read, clock=clock)


def test_a_known_key_costs_one_read_in_thirty_seconds(ring: KeyRing, table: Table, clock: Clock) -> None:
    for clock.now in (1_000.0, 1_001.0, 1_029.9):
        assert ring.find("shop") is SHOP
    assert table.reads == 1
    clock.now = 1_030.0
    assert ring.find("shop") is SHOP
    assert table.reads == 2


def test_a_revoked_key_works_no_longer_than_thirty_seconds(ring: KeyRing, table: Table, clock: Clock) -> None:
    assert ring.find("shop") is SHOP
    table.rows.clear()
    clock.now += 29.9
    assert ring.find("shop") is SHOP
    clock.now += 0.1
    assert ring.find("shop") is None


def test_the_thirty_seconds_begin_before_the_reading(ring: KeyRing, table: Table, clock: Clock) -> None:
    def take_a_while() -> None:
        clock.now += 4

    table.while_reading = take_a_while
    assert ring.find("shop") is SHOP
    clock.now = 1_030.0
    ring.find("shop")
    assert table.reads == 2


def test_a_fresh_key_works_at_once(ring: KeyRing, table: Table, clock: Clock) -> None:
    assert ring.find("shop") is SHOP
    clock.now += 0.01
    table.rows["erp"] = ERP
    assert ring.find("erp") is ERP
    assert table.reads == 2


def test_an_unknown_key_on_a_cold_ring_costs_one_read(ring: KeyRing, table: Table) -> None:
    assert ring.find("guess") is None
    assert table.reads == 1


def test_guessing_costs_one_read_a_second(ring: KeyRing, table: Table, clock: Clock) -> None:
    ring.find("shop")
    for n in range(10_000):
        clock.now += 0.001
        assert ring.find(f"guess {n}") is None
    # One to begin with, five at once, then one for each of the ten seconds; the last falls on the last guess.
    assert 1 + 5 + 9 <= table.reads <= 1 + 5 + 10
    assert ring.find("shop") is SHOP


def test_while_the_database_is_down_held_keys_work_for_five_minutes(ring: KeyRing, table: Table, clock: Clock) -> None:
    ring.find("shop")
    table.is_down = True
    for clock.now in range(1_001, 1_301):
        assert ring.find("shop") is SHOP
        with pytest.raises(UnavailableError):
            ring.find("erp")
    # One try every five seconds and no more: each may take as long as a connect does.
    assert 50 <= table.reads <= 62
    clock.now = 1_301
    with pytest.raises(UnavailableError):
        ring.find("shop")
    table.is_down = False
    clock.now += 5
    assert ring.find("shop") is SHOP
    assert ring.find("guess") is None


def test_a_cold_ring_with_the_database_down_cannot_tell(ring: KeyRing, table: Table, clock: Clock) -> None:
    table.is_down = True
    for _ in range(3):
        with pytest.raises(UnavailableError):
            ring.find("shop")
    assert table.reads == 1
    table.is_down = False
    clock.now += 5
    assert ring.find("shop") is SHOP


def test_forgetting_while_a_reading_goes_on_is_not_lost(ring: KeyRing, table: Table) -> None:
    def revoke_meanwhile() -> None:
        if table.rows:
            table.rows.clear()
            ring.forget()

    table.while_reading = revoke_meanwhile
    assert ring.find("shop") is SHOP  # what was read before the revocation
    assert ring.find("shop") is None


def test_a_crowd_on_an_old_ring_reads_once(ring: KeyRing, table: Table, clock: Clock) -> None:
    ring.find("shop")
    clock.now += 31
    table.while_reading = lambda: time.sleep(0.2)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ring.find, ["shop"] * 64)) == {SHOP}
    assert table.reads == 2


def test_a_crowd_does_not_queue_for_a_database_that_is_down(table: Table) -> None:
    clock = Clock()
    ring = KeyRing(table.read, clock=clock)
    ring.find("shop")
    clock.now += 31
    table.is_down = True
    with pytest.raises(UnavailableError):
        ring.find("erp")  # finds out
    clock.now += 6
    tries = threading.Event()
    go_on = threading.Event()

    def hang() -> None:
        tries.set()
        go_on.wait(10)

    table.while_reading = hang
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(ring.find, "shop")
        assert tries.wait(5)
        # The first one hangs in its try; the others are answered meanwhile.
        assert [pool.submit(ring.find, "shop").result(timeout=5) for _ in range(8)] == [SHOP] * 8
        go_on.set()
        assert first.result(timeout=5) is SHOP
    assert table.reads == 3
