"""Suggestions of a night: made, refreshed, ended, and nothing written twice."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine

from customers.models import Customer
from profiles.models import RecommendationRule
from profiles.recommendations import rules
from profiles.recommendations.cooccurrence import HomeCounts
from profiles.recommendations.part import recommendation_id
from scrm import held, sharding
from tests.counting import Counted
from tests.profiles.behaviours import item, record
from tests.profiles.recommending import (
    BUYERS,
    a_run,
    affinities,
    bought,
    only_rule,
    people,
    rule,
    states,
    stored,
    suggest,
)

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("clean_databases")


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as clock:
        held.forget_all()
        yield clock


def buy(*event_ids: str, who: str = "wmA", at: str = "2026-11-20T12:00:00+08:00", amount: str = "10.00") -> None:
    done = record(*(item(one, who, occurred_at=at, amount=amount) for one in event_ids), now=datetime.now(UTC))
    assert done.rejected == []


def test_a_suggestion_says_why_how_much_and_until_when() -> None:
    (customer_id,) = people("wmA")
    thank = only_rule(groups=BUYERS, reason="买过 {purchase_count} 次、{total_amount}", base_score=70, expires_days=7)
    buy("e1", "e2", amount="1234.50")
    run = a_run()
    assert suggest(run) == 1
    (one,) = stored()
    assert (one.customer_id, one.bucket, one.rule_id, one.action) == (customer_id, customer_id % 10, thank.pk, "thank")
    assert (one.score, one.reason) == (70, "买过 2 次、¥2,469.00")
    assert one.numbers == {"purchase_count": 2, "total_amount": "2469.00"}
    assert (one.state, one.run_id, one.made_at, one.expires_at) == ("open", run.pk, NOW, NOW + timedelta(days=7))
    assert one.recommendation_id == recommendation_id(customer_id, thank.pk, date(2026, 11, 26))
    assert suggest() == 0  # a repeat writes nothing


def test_of_a_rule_there_is_one_open_suggestion_however_often_nights_come(clock: time_machine.Traveller) -> None:
    people("wmA", "wmB", home=100)
    people("wmC", home=101)
    only_rule(name="一")
    rule("二")
    assert suggest() == 6
    for _ in range(3):
        clock.shift(timedelta(days=1))
        assert suggest() == 0
    assert len(stored(state="open")) == 6


def test_it_goes_when_the_rule_does_not_hold_any_more() -> None:
    people("wmA")
    only_rule(groups=[[{"field": "purchase_count", "operator": "<", "value": 1}]], reason="还没有买过")
    assert suggest() == 1
    buy("e1")
    assert suggest() == 1
    (one,) = stored()
    assert (one.state, one.decided_at, one.decided_by) == ("withdrawn", NOW, "")
    assert suggest() == 0


def test_one_withdrawn_today_opens_again_today() -> None:
    people("wmA")
    made = only_rule(groups=BUYERS)
    buy("e1")
    assert suggest() == 1
    rules.save_rule({"groups": [[{"field": "purchase_count", "operator": ">", "value": 5}]]}, rule_id=made.pk)
    assert suggest() == 1
    rules.save_rule({"groups": BUYERS}, rule_id=made.pk)
    assert suggest() == 1
    (one,) = stored()
    assert (one.state, one.decided_at) == ("open", None)


def test_it_expires_and_while_the_rule_holds_another_is_made(clock: time_machine.Traveller) -> None:
    (customer_id,) = people("wmA")
    only_rule(expires_days=7)
    suggest()
    clock.shift(timedelta(days=6, hours=23))
    assert suggest() == 0
    clock.shift(timedelta(hours=1))
    assert suggest() == 2
    assert states(customer_id) == ["expired", "open"]
    assert suggest() == 0


def test_the_score_follows_feedback_and_worth_and_is_written_only_where_it_differs() -> None:
    people("wmA", "wmB")
    thank = only_rule(base_score=70)
    suggest()
    RecommendationRule.objects.filter(pk=thank.pk).update(dismissed=10)
    assert suggest() == 2
    assert [one.score for one in stored()] == [44, 44]
    RecommendationRule.objects.filter(pk=thank.pk).update(dismissed=10, accepted=0)
    assert suggest() == 0


def test_what_was_decided_rests_for_the_cooldown(clock: time_machine.Traveller) -> None:
    (customer_id,) = people("wmA")
    only_rule(cooldown_days=30, expires_days=90)
    suggest()
    with sharding.atomic(customer_id) as alias:
        stored()[0].__class__.objects.using(alias).filter(customer_id=customer_id).update(
            state="dismissed", decided_at=NOW, decided_by="admin"
        )
    clock.shift(timedelta(days=29))
    assert suggest() == 0
    clock.shift(timedelta(days=1))
    assert suggest() == 1
    assert states(customer_id) == ["dismissed", "open"]


def test_a_broken_rule_is_named_and_the_others_go_on() -> None:
    people("wmA")
    good = only_rule(name="好")
    bad = rule("坏")
    suggest()
    RecommendationRule.objects.filter(pk=bad.pk).update(groups=[[{"field": "luck", "operator": ">", "value": 1}]])
    buy("e1")
    plan = rules.read_plan()
    assert [one["name"] for one in rules.name_broken(plan)] == ["坏"]
    bad.refresh_from_db()
    assert bad.error.startswith("第 1 组条件 · 第 1 个条件 · 字段：没有 luck 这个字段")
    assert suggest() == 0
    assert {one.rule_id: one.state for one in stored()} == {good.pk: "open", bad.pk: "open"}
    rules.save_rule({"groups": BUYERS}, rule_id=bad.pk)
    bad.refresh_from_db()
    assert bad.error == ""


def test_a_broken_rules_suggestions_still_expire(clock: time_machine.Traveller) -> None:
    people("wmA")
    only_rule(name="好", expires_days=90)
    bad = rule("坏", expires_days=7)
    suggest()
    RecommendationRule.objects.filter(pk=bad.pk).update(groups=[[{"field": "luck", "operator": ">", "value": 1}]])
    clock.shift(timedelta(days=8))
    suggest()
    assert [one.state for one in stored(rule_id=bad.pk)] == ["expired"]


def test_suggestions_of_rules_that_are_off_or_gone_are_withdrawn() -> None:
    people("wmA")
    only_rule(name="留")
    off, gone = rule("关"), rule("删")
    suggest()
    rules.set_active(off.pk, is_active=False)
    rules.delete_rule(gone.pk)
    assert suggest() == 2
    assert sorted((one.rule_id in (off.pk, gone.pk), one.state) for one in stored()) == [
        (False, "open"), (True, "withdrawn"), (True, "withdrawn"),
    ]  # fmt: skip


def test_without_rules_the_part_is_not_active() -> None:
    people("wmA")
    RecommendationRule.objects.all().delete()
    assert suggest() == 0


def test_win_back_keeps_the_last_purchase_and_is_refreshed_by_a_newer_one() -> None:
    people("wmA")
    only_rule(action="win_back", groups=BUYERS, reason="已 {days_since_last_purchase} 天没有购买")
    buy("e1", at="2026-08-18T12:00:00+08:00")
    suggest()
    assert (stored()[0].reason, stored()[0].numbers["last_purchase_day"]) == ("已 100 天没有购买", "2026-08-18")
    buy("e2", at="2026-11-24T12:00:00+08:00")
    assert suggest() == 1
    assert (stored()[0].reason, stored()[0].numbers["last_purchase_day"]) == ("已 2 天没有购买", "2026-11-24")


def test_who_is_erased_between_reading_and_writing_gets_nothing() -> None:
    from profiles.facts import FactReader
    from profiles.recommendations.part import RecommendationPart
    from tests.profiles.recommending import rules_as_of

    (customer_id,) = people("wmA")
    only_rule()
    part = RecommendationPart(a_run(), 100, customer_id % 10)
    reader = FactReader(100, customer_id % 10, rules_as_of(), part.needs)
    picked = reader.pick(0, 10)
    assert picked is not None
    judged = part.judge(reader.read_picked(picked))
    with sharding.atomic(customer_id) as alias:
        Customer.objects.using(alias).filter(customer_id=customer_id).delete()
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        assert part.write(cursor, judged, judged.touched.nonzero()[0]) == 0
    assert stored() == []


def test_cross_sell_suggests_what_goes_with_what_was_bought() -> None:
    from profiles.recommendations import affinities as together

    buyers = people(*(f"wm{n}" for n in range(4)), home=100)
    others = people("wmX", "wmY", home=101)
    for one in buyers:
        bought(one, "tea", "cup")
    bought(others[0], "tea")
    bought(others[1], "hat")
    only_rule(action="cross_sell", reason="买「{because}」也常买 {items}", base_score=50)
    with Counted() as counted:
        counts = together.count_home(101)
    assert counted.counts["dept_101"] == 1  # everybody's latest items, from which both are counted, are found once
    assert counts == HomeCounts({"tea": 1, "hat": 1}, {"tea": "名tea", "hat": "名hat"}, {})
    done = together.compute(a_run())
    assert done == {"items": 2, "pairs": 2, "written": 2, "unavailable": []}
    assert affinities() == {("tea", "cup"): (4, 0.8944), ("cup", "tea"): (4, 0.8944)}
    assert together.compute(a_run())["written"] == 0
    assert suggest() == 1
    (one,) = stored()
    assert (one.customer_id, one.score, one.reason) == (others[0], 58, "买「名tea」也常买 名cup")
    assert one.items == [{"id": "cup", "name": "名cup", "because": "名tea"}]
    assert suggest() == 0
    bought(others[0], "cup")
    assert suggest() == 1
    assert states(others[0]) == ["withdrawn"]
