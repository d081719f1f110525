"""Moving a customer to another home: nothing lost, nobody twice, whoever dies or writes meanwhile (customers.moves)."""

import threading
from datetime import timedelta

import pytest
from django.db import connections

from customers.directory import DirectoryError, upsert, upsert_many
from customers.erasure import request_erasure
from customers.lookup import CACHE, read, resolve_alias
from customers.models import Audit, CustomerAlias, DirectoryEntry, DirtyCustomer, ProfileCount
from customers.moves import move_customer
from customers.records import CustomerData
from customers.sweep import sweep
from scrm import sharding
from tests.customers.gates import Process, gate
from tests.customers.people import addresses_of, advisory_locks, make, rows_at, state_of
from tests.customers.test_erasure import make_rich
from tests.servers import PrivatePostgres

ROWS = {
    "customers": 1, "follows": 1, "customer_tags": 1, "notes": 1, "behaviour_keys": 1, "behaviours": 1,
    "daily_totals": 1, "running_totals": 1, "dirty_customers": 1,
}  # fmt: skip


def counted(home: int) -> int:
    return sum(one.customers for one in ProfileCount.objects.using(sharding.alias(home)))


def contents(external_userid: str) -> dict:
    """What a lookup shows of a person, but for the address."""
    customer, _ = read(external_userid)
    assert customer is not None
    return {name: value for name, value in customer.items() if name not in ("customer_id", "home")}


def test_everything_moves_and_the_old_address_leads_to_the_new_one() -> None:
    old = make_rich("wm1", home=100)
    before = contents("wm1")
    CACHE.get("wm1")
    new = move_customer("wm1", 101, actor="admin")
    assert sharding.home_of(new) == 101
    assert (rows_at(old), rows_at(new)) == ({}, ROWS)
    assert contents("wm1") == before
    assert CACHE.get("wm1").source == "miss"
    assert (resolve_alias(old), resolve_alias(new)) == (new, new)
    assert (counted(100), counted(101)) == (0, 1)
    trail = Audit.objects.get(action="move_customer")
    assert (trail.actor, trail.detail) == ("admin", {"from": old, "to": new})


def test_moving_to_where_they_live_is_no_move() -> None:
    customer_id = make("wm1", home=100)
    assert move_customer("wm1", 100, actor="admin") == customer_id
    assert not CustomerAlias.objects.exists()
    assert not Audit.objects.filter(action="move_customer").exists()


def test_every_former_address_leads_to_the_latest() -> None:
    ids = [make("wm1", home=100)]
    for home in (101, 100, 101):
        ids.append(move_customer("wm1", home, actor="admin"))
    assert [resolve_alias(one) for one in ids] == [ids[-1]] * 4
    assert addresses_of("wm1") == [ids[-1]]


def test_who_cannot_be_moved() -> None:
    with pytest.raises(DirectoryError) as caught:
        move_customer("nobody", 101, actor="admin")
    assert caught.value.code == "unknown_customer"
    make("wm1")
    with pytest.raises(sharding.UnknownHomeError):
        move_customer("wm1", 102, actor="admin")
    request_erasure("wm1", actor="admin")
    with pytest.raises(DirectoryError) as caught:
        move_customer("wm1", 101, actor="admin")
    assert caught.value.code == "erasure_in_progress"


def test_home_that_is_down_leaves_them_where_they_were(fragile_department: PrivatePostgres) -> None:
    here, there = make("here", home=100), make("there", home=101)
    fragile_department.stop()
    connections["dept_101"].close()
    for one, home in (("here", 101), ("there", 100)):
        with pytest.raises(sharding.HomeUnavailableError):
            move_customer(one, home, actor="admin")
    assert upsert(CustomerData("here", {"mobile": "1"})) == (here, "updated")
    assert CACHE.get("here").value is not None
    fragile_department.start()
    threading.Event().wait(1.1)  # until the home that came back is asked again
    assert sweep(older_than=timedelta(0)).settled == 1  # what could not be told where it was
    assert not any(vars(sweep(older_than=timedelta(0))).values())
    assert (addresses_of("here"), addresses_of("there")) == ([here], [there])
    assert {state_of("here"), state_of("there")} == {"live"}


# ---------------------------------------------------------------------------------------------------------- the killed
# (where the mover is killed, and the home that has the rows when all is settled)
STEPS = {
    "address taken": (("default", "directory", "UPDATE", "NEW.state = 'moving'"), 100),
    "directory says moving": (("dept_101", "customers", "INSERT", ""), 100),
    "half copied": (("dept_101", "behaviours", "INSERT", ""), 100),
    "copied": (("dept_100", "customers", "DELETE", ""), 100),
    "half deleted": (("dept_100", "follows", "DELETE", ""), 100),
    "moved": (("default", "customer_aliases", "INSERT", ""), 101),
    "alias left": (("default", "directory", "UPDATE", "NEW.state = 'live'"), 101),
}


@pytest.fixture(params=STEPS)
def killed_mover(request: pytest.FixtureRequest) -> tuple[dict, int]:
    make_rich("victim", home=100)
    before = contents("victim")
    CACHE.get("victim")
    place, home = STEPS[request.param]
    with gate(*place) as shut:
        shut.kill(Process(lambda: move_customer("victim", 101, actor="killed")))
    # Whatever is half done, readers see the customer, and see no other.
    assert contents("victim") == before
    assert CACHE.get("victim").value is not None
    return before, home


def settled(before: dict, home: int) -> None:
    (customer_id,) = addresses_of("victim")
    assert sharding.home_of(customer_id) == home
    assert rows_at(customer_id) == ROWS
    assert state_of("victim") == "live"
    assert DirectoryEntry.objects.get(external_userid="victim").customer_id == customer_id
    assert (counted(100), counted(101)) == ((1, 0) if home == 100 else (0, 1))
    assert CustomerAlias.objects.count() == (home == 101)
    assert advisory_locks() == 0
    assert contents("victim") == before


def test_sweep_settles_what_a_killed_mover_left(killed_mover: tuple[dict, int]) -> None:
    before, home = killed_mover
    sweep()  # too young: the mover may be alive
    sweep(older_than=timedelta(0))
    settled(before, home)
    assert not any(vars(sweep(older_than=timedelta(0))).values())


def test_next_mover_goes_on(killed_mover: tuple[dict, int]) -> None:
    before, _ = killed_mover
    move_customer("victim", 101, actor="next")
    settled(before, 101)


def test_writer_after_a_killed_mover_is_heard(killed_mover: tuple[dict, int]) -> None:
    before, home = killed_mover
    fate = upsert(CustomerData("victim", {"mobile": "13800000000"}))[1]
    assert fate == "updated"
    after = contents("victim")
    assert (after["mobile"], after["version"]) == ("13800000000", before["version"] + 1)
    sweep(older_than=timedelta(0))
    settled(after, home)


# ---------------------------------------------------------------------------------------------------------- races
def test_no_answered_write_is_lost_while_they_move() -> None:
    make("wm1", home=100)
    stop = threading.Event()
    surprises: list[str] = []

    def move_to_and_fro() -> None:
        try:
            home = 101
            while not stop.is_set():
                move_customer("wm1", home, actor="admin")
                home = 201 - home
        except Exception as error:
            surprises.append(repr(error))
        finally:
            connections.close_all()

    mover = threading.Thread(target=move_to_and_fro)
    mover.start()
    try:
        for n in range(1, 41):
            _until_answered(CustomerData("wm1", {"mobile": str(n)}))
            value = CACHE.get("wm1").value
            assert value is not None
            customer = read("wm1")[0]
            assert customer is not None
            assert customer["mobile"] == str(n)
            assert customer["version"] == n + 1
    finally:
        stop.set()
        mover.join()
    assert surprises == []
    (customer_id,) = addresses_of("wm1")
    assert CustomerAlias.objects.filter(customer_id=customer_id).count() == Audit.objects.count() > 0
    assert CustomerAlias.objects.count() == Audit.objects.count()


def _until_answered(item: CustomerData) -> None:
    for _attempt in range(100):
        done = upsert_many([item])
        if done.updated:
            return
        # Whoever is moved without a pause may be told to try again, and nothing else.
        assert [error.code for error in done.rejected.values()] == ["busy"]
    raise AssertionError("Never answered.")


def test_who_moved_is_judged_where_they_arrive() -> None:
    make("wm1", home=100)
    with sharding.atomic_home(100) as alias:
        DirtyCustomer.objects.using(alias).all().delete()
    new = move_customer("wm1", 101, actor="admin")
    assert [one.customer_id for one in DirtyCustomer.objects.using("dept_101").all()] == [new]
