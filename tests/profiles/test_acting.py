"""What phase 3 asks of a home for a block of customers, and suggestions of rules that are all turned off."""

import re
from collections.abc import Callable
from uuid import UUID, uuid5

import pytest

from profiles import acting, claims
from profiles.facts import FactReader
from profiles.models import RecommendationRule, Segment
from profiles.recommendations.part import CHUNK, NAMESPACE, id_maker
from profiles.rules import Needs
from profiles.segments.definitions import change_segment
from profiles.segments.part import SegmentPart, as_of_now
from scrm import held, sharding
from tests.counting import Counted
from tests.customers.gates import Process, gate
from tests.profiles.nights import crowd
from tests.profiles.recommending import a_run, only_rule, people, rule, states, stored, suggest
from tests.profiles.segments import condition, dynamic

HERE = 3

pytestmark = pytest.mark.usefixtures("clean_databases")


@pytest.fixture(autouse=True)
def _nothing_held() -> None:
    held.forget_all()


def act(on_progress: Callable[[], object] = lambda: None) -> list[str]:
    """Do the third phase of a run over one bucket. Returns the statements that its home was asked."""
    run = a_run()
    claims.make(run.pk, 100, only_report=False)
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        cursor.execute("UPDATE run_claims SET phase = 3 WHERE run_id = %s AND bucket = %s", [run.pk, HERE])
    claim = claims.take(run.pk, 100, HERE)
    assert claim is not None
    with Counted() as counted:
        acting.act(claim, run, on_progress)
    return counted.queries["dept_100"]


def test_a_block_takes_as_many_statements_whoever_is_in_it() -> None:
    crowd(100, 20, bucket=HERE)
    only_rule(reason="买过 {purchase_count} 次、近 30 天 {total_amount[30d]}")
    rule("二", "win_back", reason="已 {days_since_last_purchase} 天")
    rule("三", "cross_sell", reason="{because} 和 {items}")
    dynamic("买过", [condition("purchase_count", ">=", 1)], computed=False)
    made = act()
    assert len(stored()) == 40
    again = act()
    assert not [one for one in again if re.match(r"\s*(INSERT INTO|UPDATE) recommendations", one)]
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        cursor.execute("DELETE FROM segment_members")
        cursor.execute("DELETE FROM recommendations")
        cursor.execute("DELETE FROM running_totals")
        cursor.execute("DELETE FROM daily_totals")
        cursor.execute("DELETE FROM customers")
    crowd(100, 400, bucket=HERE)
    assert len(act()) == len(made)
    assert len(stored()) == 800
    assert len(act()) == len(again)


def test_suggestions_are_written_by_the_thousand() -> None:
    crowd(100, 700, bucket=HERE)
    only_rule()
    rule("二")
    rule("三", "win_back", reason="已 {days_since_last_purchase} 天")
    inserts = [one for one in act() if re.match(r"\s*INSERT INTO recommendations", one)]
    assert len(inserts) == -(-3 * 700 // CHUNK) == 3
    assert len(stored()) == len({(one.customer_id, one.rule_id) for one in stored()}) == 2100


def test_where_nothing_is_in_use_nobody_is_read() -> None:
    crowd(100, 20, bucket=HERE)
    RecommendationRule.objects.all().delete()
    asked = act()
    assert not [one for one in asked if re.search(r"\b(customers|running_totals|follows|daily_totals)_3\b", one)
                and "count(*)" not in one]  # fmt: skip
    assert stored() == []


def test_marks_and_reviews_are_none_of_it() -> None:
    crowd(100, 20, bucket=HERE)
    reader = FactReader(100, HERE, as_of_now(), Needs())
    picked = reader.pick(0, 100)
    assert picked is not None
    assert not {"mark", "mark_day", "review_on"} & reader.read_picked(picked).column.keys()


def test_suggestions_end_also_when_the_last_rule_is_turned_off() -> None:
    (customer_id,) = people("wmA")
    only_rule()
    assert suggest() == 1
    RecommendationRule.objects.update(is_active=False)
    held.forget_all()
    assert suggest() == 1
    assert states(customer_id) == ["withdrawn"]
    assert suggest() == 0


def test_what_is_taken_back_just_when_the_rule_suggests_anew_stops_no_run() -> None:
    """Without a cooldown a rule suggests again what was dismissed, just while that is taken back after all."""
    crowd(100, 1, bucket=HERE)
    only_rule(cooldown_days=0)
    act()
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        cursor.execute(
            "UPDATE recommendations SET state = 'dismissed', decided_at = now() - interval '11 minutes', "
            "decided_by = 'x', recommendation_id = gen_random_uuid()"
        )
    with gate("dept_100", "recommendations", "INSERT", "true") as shut:
        worker = Process(act)
        shut.wait_for(worker)
        with sharding.atomic_home(100), sharding.cursor(100) as cursor:
            cursor.execute("UPDATE recommendations SET state = 'open', decided_at = NULL, decided_by = ''")
    worker.answer()
    assert [one.state for one in stored()] == ["open"]


def test_what_is_mended_while_a_run_goes_on_is_not_named_broken_at_its_end() -> None:
    segment = dynamic("买过", [condition("purchase_count", ">=", 1)], computed=False)
    good, bad = segment.groups, [[{"field": "luck", "operator": ">", "value": 1}]]
    Segment.objects.update(groups=bad)
    part = SegmentPart(a_run(), 100, HERE)
    assert set(part.broken) == {segment.pk}
    change_segment(segment.pk, {"groups": good})
    part.reload()
    assert part.broken == {}


def test_ids_are_those_of_uuid5() -> None:
    day = as_of_now()
    make = id_maker(7, day)
    for customer_id in range(1000000000003, 1000000001003, 10):
        assert UUID(make(customer_id)) == uuid5(NAMESPACE, f"{customer_id}/7/{day.isoformat()}")
