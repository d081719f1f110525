"""Segments when workers are killed, crowds write, homes are down, people are moved and erased."""

import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from customers.erasure import request_erasure, run_erasure
from customers.marks import after_marking
from customers.models import DirtyCustomer
from customers.moves import move_customer
from profiles import looking, runs
from profiles.models import DeletedSegment, RecommendationRule, Segment, SegmentChange, SegmentMember
from profiles.rules import Filter
from profiles.segments import counting, deleting, refreshing
from profiles.segments.definitions import change_segment, delete_segment, deleted_segments, segment_names
from profiles.segments.members import change_members, iter_members, stays_of
from profiles.segments.preview import preview
from scrm import sharding
from scrm.held import forget_all
from tests.customers.gates import Process, gate
from tests.profiles.behaviours import item, people, record
from tests.profiles.nights import TODAY, crowd, run
from tests.profiles.segments import HOMES, changes, compute, condition, dynamic, members, static
from tests.profiles.test_runs_crashes import age
from tests.servers import PrivatePostgres

BUYERS = [[condition("purchase_count", ">=", 1)]]
HERE = 3


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    forget_all()


def assert_each_change_once(segment: Segment) -> None:
    """Members are what the changes say, and nobody entered or left twice in a row."""
    seen: dict[int, list[bool]] = {}
    for customer_id, entered, _ in changes(segment):
        seen.setdefault(customer_id, []).append(entered)
    for steps in seen.values():
        assert steps == [place % 2 == 0 for place in range(len(steps))]
    assert {one for one, steps in seen.items() if steps[-1]} == members(segment)


def test_a_worker_killed_in_the_third_phase_is_replaced_and_everybody_enters_once() -> None:
    crowd(100, 12_000, bucket=HERE)
    segment = dynamic("买过", *BUYERS, computed=False)
    begun = runs.start_run("manual", TODAY)
    # In the second of three blocks of the phase: the first is committed, the second is not.
    with gate("dept_100", "segment_members", "INSERT", "NEW.customer_id = 1000000060003") as shut:
        worker = Process(lambda: runs.run_all(begun))
        shut.kill(worker)
    assert len(members(segment)) == 5000
    age()
    runs.run_all(begun)
    begun.refresh_from_db()
    assert begun.state == "done"
    assert len(members(segment)) == 12_000
    assert len(changes(segment)) == 12_000
    assert Segment.objects.get(pk=segment.pk).counts == {"100": 12_000, "101": 0}


def test_a_recomputation_killed_in_the_middle_goes_on() -> None:
    crowd(100, 200)
    segment = dynamic("买过", *BUYERS, computed=False)
    with gate("dept_100", "segment_members", "INSERT", "NEW.customer_id = 1000000000005") as shut:
        worker = Process(lambda: refreshing.recompute(100))
        shut.kill(worker)
    assert Segment.objects.get(pk=segment.pk).computed["100"] == [1, 5]
    assert len(members(segment)) == 100
    compute()
    assert len(members(segment)) == 200
    assert_each_change_once(segment)
    assert Segment.objects.get(pk=segment.pk).computed == {"100": [1, 10], "101": [1, 10]}


def test_one_broken_segment_is_named_and_keeps_its_members_and_stops_nobody() -> None:
    a, b = people("wmA", "wmB")
    record(item("1"))
    broken, fine = dynamic("坏的", *BUYERS), dynamic("好的", *BUYERS)
    uses = dynamic("用到坏的", [condition("segment", "in", str(broken.pk))])
    Segment.objects.filter(pk=broken.pk).update(groups=[[condition("shoe_size", ">", 1)]])
    record(item("2", "wmB"))
    done = run()
    assert done.state == "done"
    (named,) = done.summary["broken_segments"]
    assert (named["id"], named["name"]) == (broken.pk, "坏的")
    assert "shoe_size" in named["reason"]
    assert members(broken) == {a}
    assert members(fine) == {a, b}
    assert members(uses) == {a}
    change_segment(broken.pk, {"groups": BUYERS})
    compute()
    assert Segment.objects.get(pk=broken.pk).error == ""
    assert members(uses) == {a, b}


def test_crowds_of_writers_and_a_night_agree_in_the_end() -> None:
    names = [f"wm{number}" for number in range(20)]
    people(*names)
    segment = dynamic("买过", *BUYERS)
    marked: list[int] = []
    after_marking.append(lambda _home, ids: marked.extend(ids))
    try:

        def write(worker: int) -> None:
            try:
                for number, name in enumerate(names):
                    if number % 4 == worker:
                        record(item(f"{name}-1", name), source=f"s{worker}")
                    looking.refresh_waiting()
                    if number % 4 == worker and number % 2:
                        record(item(f"{name}-r", name, kind="refund", refers_to=f"{name}-1"), source=f"s{worker}")
            finally:
                connections.close_all()

        threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        run()
        for thread in threads:
            thread.join()
    finally:
        after_marking.pop()
    looking.refresh_waiting()
    there = {one for number, one in enumerate(people(*names)) if not number % 2}
    assert members(segment) == there
    assert_each_change_once(segment)
    assert len(marked) == 30
    assert not DirtyCustomer.objects.using("dept_100").filter(awaits_segments=True).exists()


def test_a_home_that_is_down_is_named_and_the_others_go_on(fragile_department: PrivatePostgres) -> None:
    (a,) = people("wmA")
    (c,) = people("wmC", home=101)
    record(item("1"), item("2", "wmC"))
    segment = dynamic("买过", *BUYERS)
    assert members(segment) == {a, c}
    chosen = static("名单")
    fragile_department.stop()
    connections["dept_101"].close()
    found = preview(Filter.from_json(BUYERS))
    assert (found.found, found.unavailable) == (1, [101])
    done = change_members(chosen, add=["wmA", "wmC"], by="test")
    assert (done.added, done.unknown, done.unavailable) == (1, [], [101])
    assert looking.refresh_customers([a, c]) == 0
    assert looking.refresh_waiting() == 0
    assert refreshing.recompute_waiting() == 0
    assert counting.store_counts() == 1
    assert Segment.objects.get(pk=segment.pk).counts == {"100": 1, "101": 1}
    with pytest.raises(sharding.HomeUnavailableError):
        list(iter_members(segment.pk, 101))
    assert [[one.external_userid for one in batch] for batch in iter_members(segment.pk, 100)] == [["wmA"]]


def test_the_erased_leave_nothing_and_the_moved_stay_members() -> None:
    a, b = people("wmA", "wmB")
    record(item("1"), item("2", "wmB"))
    segment = dynamic("买过", *BUYERS)
    run_erasure(request_erasure("wmA", actor="test").id)
    assert members(segment) == {b}
    assert not SegmentChange.objects.using("dept_100").filter(customer_id=a).exists()
    moved = move_customer("wmB", 101, actor="test")
    assert members(segment) == {moved}
    looking.refresh_waiting()
    assert members(segment) == {moved}
    run()
    assert Segment.objects.get(pk=segment.pk).counts == {"100": 0, "101": 1}
    assert [len(batch) for batch in iter_members(segment.pk, 101)] == [1]


def test_members_of_a_deleted_segment_are_taken_away_and_their_history_keeps_its_name_for_400_days() -> None:
    crowd(100, 300)
    (a,) = people("wmA", home=101)
    record(item("1"))
    gone, kept = dynamic("要删", *BUYERS), dynamic("留着", *BUYERS)
    record(item("2", kind="refund", refers_to="1"))
    looking.refresh_waiting()
    record(item("3"))
    looking.refresh_waiting()
    assert deleting.forget_deleted() == 0
    delete_segment(gone.pk, by="admin")
    assert len(members(gone)) == 301
    assert deleting.forget_deleted() == 301
    assert deleting.forget_deleted() == 0
    assert (members(gone), len(members(kept))) == (set(), 301)
    assert counting.read_counts(100, [gone.pk, kept.pk]) == {gone.pk: 0, kept.pk: 300}

    deleted = deleted_segments()[gone.pk]
    assert (deleted.name, deleted.deleted_by) == ("要删", "admin")
    seen = stays_of(a, segment_names(), deleted_segments())
    assert [(one.name, one.is_deleted, one.cause, one.until_cause) for one in seen] == [
        ("要删", True, "live", "deleted"), ("留着", False, "live", ""),
        ("要删", True, "definition", "live"), ("留着", False, "definition", "live"),
    ]  # fmt: skip
    assert [one.until for one in seen][:2] == [deleted.deleted_at, None]
    assert seen[2].since < (seen[2].until or seen[2].since) < seen[0].since < deleted.deleted_at
    entered = len(changes(gone)), len(changes(kept))
    assert entered == (303, 303)
    deleting.CHUNK = 100
    try:
        assert deleting.forget_histories() == 0
        DeletedSegment.objects.update(deleted_at=timezone.now() - timedelta(days=400, seconds=1))
        assert deleting.forget_histories() == 303
    finally:
        deleting.CHUNK = 5_000
    assert (changes(gone), len(changes(kept)), DeletedSegment.objects.count()) == ([], 303, 0)


def test_without_segments_a_night_writes_nothing_and_nobody_is_told(broker_client: object) -> None:
    RecommendationRule.objects.update(is_active=False)
    (a,) = people("wmA")
    record(item("1"))
    assert broker_client.llen("celery") == 0  # type: ignore[attr-defined]
    run()
    assert sum(SegmentMember.objects.using(sharding.alias(home)).count() for home in HOMES) == 0
    dynamic("买过", *BUYERS)
    record(item("2"))
    assert broker_client.llen("celery") == 1  # type: ignore[attr-defined]
    assert looking.refresh_customers([a]) == 0
