"""What the keeper does for customers (customers.chores)."""

import time
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from customers import chores, erasure
from customers.directory import upsert
from customers.erasure import request_erasure
from customers.lookup import CACHE, read
from customers.models import CacheDeletion, DirectoryEntry, Erasure
from customers.records import CustomerData
from scrm import keeper, sharding
from tests.customers.people import addresses_of, insert_row, make, state_of
from tests.servers import PrivatePostgres, PrivateValkey


def owed() -> int:
    return sum(CacheDeletion.objects.using(sharding.alias(home)).count() for home in sharding.shard_map().homes)


def test_they_are_registered() -> None:
    every = {chore.name: chore.every_seconds for chore in keeper.registered()}
    assert every["settle_cache_deletions"] <= 5
    assert every["waiting_erasures"] <= 30
    assert {"unfinished_directory", "sweep_directory"} <= set(every)


def test_what_writers_could_not_delete_is_deleted_once_redis_answers(private_cache: PrivateValkey) -> None:
    make("wm1", home=100, name="旧")
    make("wm2", home=101, name="旧")
    for one in ("wm1", "wm2"):
        assert CACHE.get(one).source == "miss"
    private_cache.pause()
    for one in ("wm1", "wm2"):
        upsert(CustomerData(one, {"name": "新"}))
    assert owed() == 2
    assert chores.settle_cache_deletions() == 0
    assert owed() == 2
    private_cache.resume()
    for _attempt in range(100):  # until the breaker lets a call pass
        chores.settle_cache_deletions()
        if not owed():
            break
        time.sleep(0.02)
    assert owed() == 0
    for one in ("wm1", "wm2"):
        value, source = CACHE.get(one)
        assert source == "miss"
        assert value is not None
        assert "新" in value.decode()


def test_home_that_is_down_keeps_no_other_waiting(fragile_department: PrivatePostgres) -> None:
    with sharding.atomic_home(100) as alias:
        CacheDeletion.objects.using(alias).create(external_userid="wm1")
    fragile_department.stop()
    connections["dept_101"].close()
    assert chores.settle_cache_deletions() == 1
    assert not CacheDeletion.objects.using("dept_100").exists()
    fragile_department.start()


def test_more_than_a_chunk_is_settled_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores, "CHUNK", 10)
    with sharding.atomic_home(100) as alias:
        CacheDeletion.objects.using(alias).bulk_create(CacheDeletion(external_userid=f"wm{n}") for n in range(35))
    assert chores.settle_cache_deletions() == 35
    assert chores.settle_cache_deletions() == 0


def test_erasures_that_no_worker_was_told_of_are_finished() -> None:
    for n in range(3):
        make(f"wm{n}")
        request_erasure(f"wm{n}", actor="test")
    assert erasure.run_waiting() == 3
    assert erasure.run_waiting() == 0
    assert [addresses_of(f"wm{n}") for n in range(3)] == [[]] * 3


def test_one_erasure_that_fails_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    make("first")
    make("second")
    poisoned = request_erasure("first", actor="test")
    request_erasure("second", actor="test")
    # No person at all: whatever is done with it fails.
    Erasure.objects.filter(id=poisoned.id).update(external_userid="\ud7ff" * 3, places={"cache": 5})
    assert erasure.run_waiting() == 1
    assert addresses_of("second") == []


def test_what_the_dead_left_is_ended() -> None:
    old = timezone.now() - timedelta(hours=1)
    customer_id = sharding.allocate(100, 1)[0]
    insert_row(customer_id, "wm1", name="王小明")
    DirectoryEntry.objects.create(external_userid="wm1", customer_id=customer_id, state="creating", changed_at=old)
    assert chores.end_unfinished() == 1
    assert chores.end_unfinished() == 0
    assert (state_of("wm1"), read("wm1")[0]["name"]) == ("live", "王小明")  # type: ignore[index]


def test_daily_sweep_mends_and_says_how_much() -> None:
    insert_row(sharding.allocate(100, 1)[0], "wm1", created_at=timezone.now() - timedelta(hours=1))
    assert (chores.sweep_all(), chores.sweep_all()) == (1, 0)
    assert state_of("wm1") == "live"
