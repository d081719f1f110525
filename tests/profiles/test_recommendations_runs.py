"""Recommendations within whole runs: their place in it, killed in the third phase, a home down, a backtest."""

import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from profiles import runs
from profiles.days import day_of
from profiles.models import HomeItems, ProfileRun, RecommendationRule, Segment
from profiles.rules import RuleError
from profiles.segments.definitions import SegmentInUseError, create_segment, delete_segment
from scrm import held, sharding
from tests.customers.gates import BEHIND_A_LOCK, Process, gate, wait_until
from tests.profiles.behaviours import item, record
from tests.profiles.nights import crowd
from tests.profiles.recommending import affinities, bought, only_rule, people, rule, stored
from tests.servers import PrivatePostgres

HERE = 3  # the bucket that trouble is made in

pytestmark = pytest.mark.usefixtures("clean_databases", "broker_client")


@pytest.fixture(autouse=True)
def _nothing_held() -> None:
    held.forget_all()


def night() -> ProfileRun:
    return runs.run_all(runs.start_run("manual", day_of(timezone.now())))


def shown() -> list[tuple[int, int, str, int, str]]:
    return [(one.customer_id, one.rule_id, str(one.recommendation_id), one.score, one.state) for one in stored()]


def test_a_run_names_what_is_broken_counts_and_suggests() -> None:
    people("wmA", home=100)
    people("wmB", home=101)
    only_rule(name="好")
    bad = rule("坏")
    RecommendationRule.objects.filter(pk=bad.pk).update(groups=[[{"field": "luck", "operator": ">", "value": 1}]])
    run = night()
    assert run.state == "done"
    found = run.summary["recommendations"]
    assert [(one["rule"], one["name"]) for one in found["broken_rules"]] == [(bad.pk, "坏")]
    assert found["affinities"] == {"items": 0, "pairs": 0, "written": 0, "unavailable": []}
    assert found["feedback_without"] == []
    assert [(one.state, one.run_id) for one in stored()] == [("open", run.pk)] * 2
    before = shown()
    assert night().state == "done"
    assert shown() == before


def test_a_backtest_suggests_nothing() -> None:
    people("wmA")
    only_rule()
    run = runs.run_all(runs.start_run("backtest", day_of(timezone.now())))
    assert run.state == "done"
    assert stored() == []
    assert "recommendations" not in run.summary


def test_a_rule_may_ask_for_a_segment() -> None:
    customer_id, _ = people("wmA", "wmB")
    assert record(item("e1", "wmA", occurred_at=(timezone.now() - timedelta(days=1)).isoformat()), now=timezone.now())
    segment = create_segment(
        name="买过", groups=[[{"field": "purchase_count", "operator": ">=", "value": 1}]], by="test"
    )
    asked = only_rule(groups=[[{"field": "segment", "operator": "in", "value": str(segment.pk)}]])
    night()
    assert [one.customer_id for one in stored()] == [customer_id]
    with pytest.raises(SegmentInUseError, match="建议规则「规则」"):
        delete_segment(segment.pk)
    Segment.objects.all().delete()
    run = night()
    assert [one["rule"] for one in run.summary["recommendations"]["broken_rules"]] == [asked.pk]
    assert {one.state for one in stored()} == {"open"}
    with pytest.raises(RuleError, match="可能已被删除"):
        only_rule(groups=[[{"field": "segment", "operator": "in", "value": str(segment.pk)}]])


def test_a_rule_and_the_deletion_of_the_segment_that_it_names_do_not_miss_each_other() -> None:
    first, second = (create_segment(name=name, kind="static", by="test") for name in ("一", "二"))

    def save(segment: Segment) -> str:
        try:
            rule(groups=[[{"field": "segment", "operator": "in", "value": str(segment.pk)}]])
        except RuleError as error:
            return str(error)
        return "saved"

    def delete(segment: Segment) -> str:
        try:
            delete_segment(segment.pk)
        except SegmentInUseError as error:
            return str(error)
        return "deleted"

    with gate("default", "profiles_segment", "DELETE") as shut:
        deleting = Process(lambda: delete(first))
        shut.wait_for(deleting)
        saving = Process(lambda: save(first))
        wait_until(BEHIND_A_LOCK, 2, "default")
        shut.open()
        assert deleting.answer() == "deleted"
        assert saving.answer().endswith(f"没有编号为 {first.pk} 的人群，可能已被删除")
    with gate("default", "profiles_recommendationrule", "INSERT") as shut:
        saving = Process(lambda: save(second))
        shut.wait_for(saving)
        deleting = Process(lambda: delete(second))
        wait_until(BEHIND_A_LOCK, 2, "default")
        shut.open()
        assert (saving.answer(), deleting.answer()) == ("saved", "这些人群的条件用到了它：建议规则「规则」")
    assert list(Segment.objects.values_list("pk", flat=True)) == [second.pk]


def test_killed_in_the_third_phase_the_outcome_is_the_same() -> None:
    crowd(100, 6000, bucket=HERE)
    only_rule(name="一")
    rule("二")
    run = runs.start_run("manual", day_of(timezone.now()))
    # In the second of two blocks: the first is committed, the second is not.
    with gate("dept_100", "recommendations", "INSERT", f"NEW.customer_id = {1000000000003 + 5500 * 10}") as shut:
        worker = Process(lambda: runs.run_all(run))
        shut.kill(worker)
    assert len(stored()) == 10_000
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        cursor.execute("UPDATE run_claims SET heartbeat = heartbeat - interval '1 hour' WHERE state = 'running'")
    assert runs.run_all(run).state == "done"
    assert {one.state for one in stored()} == {"open"}
    assert len(stored()) == len({(one.customer_id, one.rule_id) for one in stored()}) == 12_000


def test_two_who_help_with_a_run_make_each_suggestion_once() -> None:
    people(*(f"wm{n}" for n in range(60)), home=100)
    people(*(f"wx{n}" for n in range(60)), home=101)
    only_rule()
    run = runs.start_run("manual", day_of(timezone.now()))

    def work() -> None:
        try:
            runs.run_all(ProfileRun.objects.get(pk=run.pk))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.refresh_from_db()
    assert run.state == "done"
    assert len(stored()) == 120


def test_a_home_that_is_down_keeps_its_pairs(fragile_department: PrivatePostgres) -> None:
    here = people("wmA", "wmB", home=100)
    there = people("wmC", "wmD", home=101)
    for one in [*here, *there]:
        bought(one, "tea", "cup")
    RecommendationRule.objects.all().delete()
    night()
    assert affinities() == {("cup", "tea"): (4, 1.0), ("tea", "cup"): (4, 1.0)}
    fragile_department.stop()
    (more,) = people("wmE", home=100)
    bought(more, "tea", "cup")
    run = runs.start_run("manual", day_of(timezone.now()))
    runs.run_all(run)
    run.refresh_from_db()
    assert affinities() == {("cup", "tea"): (5, 1.0), ("tea", "cup"): (5, 1.0)}
    assert run.summary["recommendations"]["affinities"]["unavailable"] == [101]
    assert run.summary["recommendations"]["feedback_without"] == [101]
    assert HomeItems.objects.get(home=101).pairs == [["cup", "tea", 2]]
    fragile_department.start()
