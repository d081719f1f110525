"""The sweep mends both directions, and touches neither the young nor what looks like a wrong restore."""

from datetime import timedelta

import psycopg
import pytest
from django.db import connections
from django.utils import timezone

from customers import directory
from customers import sweep as sweeping
from customers.erasure import request_erasure, run_erasure, run_waiting
from customers.identities import resolve
from customers.identity_kinds import read_pair
from customers.lookup import CACHE, read
from customers.models import Customer, DirectoryEntry, Erasure, Identity
from customers.moves import move_customer
from customers.settling import remove_rows
from customers.sweep import SETTLED_AFTER, Swept, sweep
from scrm import sharding
from tests.customers.people import addresses_of, insert_row, make, state_of
from tests.databases import url_of
from tests.servers import PrivatePostgres

OLD = timezone.now() - timedelta(hours=1)
NOTHING = vars(Swept())


def enter(external_userid: str, customer_id: int, state: str = "live", **more: object) -> None:
    DirectoryEntry.objects.create(
        external_userid=external_userid, customer_id=customer_id, state=state, changed_at=OLD, **more
    )


def take(home: int) -> int:
    return sharding.allocate(home, 1)[0]


def age() -> None:
    """Make everything look an hour old."""
    DirectoryEntry.objects.update(changed_at=OLD)
    for home in sharding.shard_map().homes:
        with sharding.atomic_home(home) as alias:
            Customer.objects.using(alias).update(created_at=OLD)


def differing(swept: Swept) -> dict[str, object]:
    return {name: value for name, value in vars(swept).items() if value != NOTHING[name]}


def test_nothing_to_do_does_nothing() -> None:
    for n in range(20):
        make(f"wm{n}", home=100 + n % 2)
    age()
    assert differing(sweep()) == {}
    assert all(state_of(f"wm{n}") == "live" for n in range(20))


def test_who_is_in_no_home_loses_identities_with_the_directory_row() -> None:
    lost = make("lost", mobile="13812345678")
    make("there", mobile="13812345678")
    age()
    remove_rows(lost, "lost")
    pair = read_pair("mobile", "13812345678")
    assert resolve([pair]) == {pair: None}
    Identity.objects.update(is_fresh=False)
    assert differing(sweep()) == {"directory_removed": 1}
    assert resolve([pair]) == {pair: "there"}
    # What waits for it is looked through.
    assert list(Identity.objects.values_list("external_userid", "is_fresh")) == [("there", True)]


def test_young_are_left_alone() -> None:
    DirectoryEntry.objects.create(external_userid="creating", customer_id=take(100), state="creating")
    DirectoryEntry.objects.create(external_userid="no-row", customer_id=take(100), state="live")
    DirectoryEntry.objects.create(external_userid="erasing", customer_id=take(100), state="erasing")
    insert_row(take(100), "no-entry")
    assert timedelta(minutes=10) == SETTLED_AFTER
    assert differing(sweep()) == {}
    assert DirectoryEntry.objects.count() == 3
    assert len(addresses_of("no-entry")) == 1


def test_creation_without_a_row_is_taken_back_and_with_one_is_finished() -> None:
    enter("without", take(100), "creating")
    customer_id = take(101)
    enter("with", customer_id, "creating")
    insert_row(customer_id, "with", name="王小明", created_at=OLD)
    assert differing(sweep()) == {"settled": 2}
    assert (state_of("without"), state_of("with")) == (None, "live")
    assert read("with")[0]["name"] == "王小明"  # type: ignore[index]


def test_erasing_without_a_job_gets_one() -> None:
    make("wm1")
    age()
    DirectoryEntry.objects.update(state="erasing")
    assert differing(sweep()) == {"erasures_started": 1}
    assert differing(sweep()) == {}
    assert Erasure.objects.get().requested_by == "sweep"
    assert run_waiting() == 1
    assert addresses_of("wm1") == []


def test_directory_row_without_a_customer_goes() -> None:
    customer_id = make("wm1")
    with sharding.atomic(customer_id) as alias:
        Customer.objects.using(alias).get(customer_id=customer_id).delete()
    CACHE.get("wm1")
    age()
    assert differing(sweep()) == {"directory_removed": 1}
    assert state_of("wm1") is None
    assert make("wm1") != customer_id


def test_row_whose_person_lives_elsewhere_goes() -> None:
    customer_id = make("wm1", home=100)
    stray = take(101)
    insert_row(stray, "wm1", created_at=OLD)
    age()
    assert differing(sweep()) == {"rows_removed": 1}
    assert addresses_of("wm1") == [customer_id]


def test_row_of_the_erased_goes() -> None:
    make("wm1")
    run_erasure(request_erasure("wm1", actor="test").id)
    insert_row(take(101), "wm1", created_at=OLD)  # restored from a backup
    assert differing(sweep()) == {"rows_removed": 1}
    assert addresses_of("wm1") == []


def test_row_without_a_directory_row_is_entered() -> None:
    customer_id = take(100)
    insert_row(customer_id, "wm1", name="王小明", created_at=OLD)
    assert CACHE.get("wm1").value is None  # and is remembered as nobody for some seconds
    assert differing(sweep()) == {"directory_added": 1}
    assert read("wm1")[0]["customer_id"] == customer_id  # type: ignore[index]
    assert CACHE.get("wm1").value is not None


def test_two_rows_of_one_person_become_one() -> None:
    ids = [take(100), take(101)]
    for customer_id in ids:
        insert_row(customer_id, "wm1", created_at=OLD)
    assert differing(sweep()) == {"directory_added": 1, "rows_removed": 1}
    assert addresses_of("wm1") == [ids[0]]
    assert differing(sweep()) == {}


def test_alias_survives_the_sweep() -> None:
    make("wm1", home=100)
    new = move_customer("wm1", 101, actor="test")
    age()
    assert differing(sweep()) == {}
    assert addresses_of("wm1") == [new]


def test_home_that_lost_many_is_reported_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "SUSPICIOUS_COUNT", 5)
    ids = [make(f"wm{n}", home=100) for n in range(12)]
    for n, customer_id in enumerate(ids[:6]):
        remove_rows(customer_id, f"wm{n}")
    age()
    assert differing(sweep()) == {"suspicious": {100: 6}}
    assert DirectoryEntry.objects.count() == 12
    assert differing(sweep(force=True)) == {"directory_removed": 6}
    assert DirectoryEntry.objects.count() == 6


def test_home_that_is_down_is_named_and_the_others_are_swept(fragile_department: PrivatePostgres) -> None:
    for n in range(3):
        make(f"wm{n}", home=101)
    insert_row(take(100), "here", created_at=OLD)
    enter("there", take(101), "creating")
    age()
    fragile_department.stop()
    connections["dept_101"].close()
    swept = sweep()
    assert (set(swept.unavailable), swept.directory_added, swept.directory_removed) == ({101}, 1, 0)
    assert DirectoryEntry.objects.filter(external_userid="there").exists()
    fragile_department.start()


def test_chunks_are_walked_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "CHUNK", 3)
    for n in range(10):
        make(f"wm{n}", home=100)
    lost = make("lost", home=100)
    with sharding.atomic(lost) as alias:
        Customer.objects.using(alias).get(customer_id=lost).delete()
    insert_row(take(100), "found", created_at=OLD)
    age()
    assert differing(sweep()) == {"directory_removed": 1, "directory_added": 1}


def test_who_came_again_after_an_erasure_is_kept() -> None:
    make("wm1")
    run_erasure(request_erasure("wm1", actor="test").id)
    make("wm1", name="又来了")
    DirectoryEntry.objects.all().delete()  # restored to a moment before they came again
    assert differing(sweep(older_than=timedelta(0))) == {"directory_added": 1}
    assert read("wm1")[0]["name"] == "又来了"  # type: ignore[index]


def test_a_row_of_somebody_else_at_an_address_is_theirs() -> None:
    customer_id = take(100)
    enter("wmA", customer_id)
    insert_row(customer_id, "wmB", name="乙")
    age()
    assert differing(sweep()) == {"directory_removed": 1, "directory_added": 1}
    assert (read("wmA")[0], read("wmB")[0]["name"]) == (None, "乙")  # type: ignore[index]


def test_one_who_cannot_be_settled_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    enter("wm1", 999 * 10**10 + 5, "creating")  # a home that this process does not know
    enter("wm2", take(100), "creating")
    enter("wm3", take(100), "creating")
    monkeypatch.setattr(directory, "LOCK_TIMEOUT_SECONDS", 0.1)
    with psycopg.connect(url_of("default"), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", [directory.LOCK_SPACE, directory.stripe_of("wm2")])
        assert differing(sweep()) == {"settled": 1, "unavailable": [999]}
    assert [state_of(one) for one in ("wm1", "wm2", "wm3")] == ["creating", "creating", None]
