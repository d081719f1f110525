"""Suggestions follow at once for single customers, and a night right after finds nothing to write.

Whatever is done, in whatever order: once a customer has been looked at, what is stored is what judging everybody gives.
"""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from customers.directory import upsert_many
from customers.models import DirtyCustomer
from customers.records import CustomerData
from profiles import looking
from profiles.models import ItemAffinity, RecommendationRule, Segment
from profiles.recommendations.deciding import decide, undo
from profiles.recommendations.rules import save_rule
from profiles.segments.members import change_members
from profiles.segments.tasks import wake_for
from scrm import held, sharding
from tests.counting import Counted
from tests.databases import reset_databases
from tests.examples import examples
from tests.profiles.behaviours import item, record
from tests.profiles.nights import run
from tests.profiles.recommending import BUYERS, a_run, bought, only_rule, people, rule, stored, suggest
from tests.profiles.segments import condition, dynamic, static

EXAMPLES = int(os.environ.get("LOOKING_EXAMPLES") or examples(3))
NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
NOBODYS = [[condition("purchase_count", "<", 1)]]

pytestmark = pytest.mark.usefixtures("clean_databases")


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as clock:
        held.forget_all()
        yield clock


def buy(event_id: str, who: str = "wmA", at: str = "2026-11-24T12:00:00+08:00", **more: Any) -> None:
    assert record(item(event_id, who, occurred_at=at, **more), now=datetime.now(UTC)).rejected == []


def tag(who: str, *tags: str) -> None:
    assert upsert_many([CustomerData(who, tag_ids=tags)]).rejected == {}


def within(segment: Segment) -> list[Any]:
    return [[condition("segment", "in", str(segment.pk))]]


def rows() -> list[tuple[Any, ...]]:
    """Return all that is stored but who wrote it."""
    return [
        (one.customer_id, one.recommendation_id, one.rule_id, one.state, one.score, one.reason, one.numbers, one.items,
         one.made_at, one.expires_at, one.decided_at, one.decided_by)
        for one in stored()
    ]  # fmt: skip


def test_a_purchase_closes_and_opens_at_once_and_a_whole_night_right_after_changes_nothing() -> None:
    a, b = people("wmA", "wmB")
    first = only_rule(name="还没有买过", groups=NOBODYS, reason="还没有买过")
    thanks = rule("谢谢", groups=BUYERS, reason="买过 {purchase_count} 次、{total_amount}", base_score=70)
    segment = dynamic("买过", [condition("purchase_count", ">=", 1)])
    warm = rule(
        "人群里的", groups=[[{"field": "segment", "operator": "in", "value": str(segment.pk)}]], reason="在人群里"
    )
    run(date(2026, 11, 25))
    assert [(one.customer_id, one.rule_id, one.state) for one in stored()] == [
        (a, first.pk, "open"), (b, first.pk, "open"),
    ]  # fmt: skip
    buy("e1", amount="1234.50")
    assert looking.refresh_customers([a, b]) == 4  # one entered, one withdrawn, two made; b waits for no look
    found = {one.rule_id: one for one in stored(customer_id=a)}
    assert {rule_id: one.state for rule_id, one in found.items()} == {
        first.pk: "withdrawn", thanks.pk: "open", warm.pk: "open",
    }  # fmt: skip
    made = found[thanks.pk]
    assert (made.run_id, made.score, made.reason, made.made_at) == (0, 70, "买过 1 次、¥1,234.50", NOW)
    assert not DirtyCustomer.objects.using("dept_100").filter(awaits_segments=True).exists()
    before = rows()
    assert looking.refresh_waiting() == 0
    run(date(2026, 11, 25), full=True)
    assert rows() == before


def test_tags_lists_and_decisions_are_looked_at_too(broker_client: Any, clock: time_machine.Traveller) -> None:
    (a,) = people("wmA")
    chosen = static("名单")
    listed = only_rule(name="名单里的", groups=within(chosen))
    tagged = rule("有标签的", groups=[[condition("tags", "has", "et1")]], cooldown_days=0)
    looking.refresh_waiting()
    assert stored() == []
    change_members(chosen, add=["wmA"], by="test")
    assert [(one.rule_id, one.state) for one in stored()] == [(listed.pk, "open")]
    broker_client.delete("celery")
    tag("wmA", "et1")
    assert broker_client.llen("celery") == 1  # told once, by what marks customers anyhow
    looking.refresh_customers([a])
    (one,) = stored(rule_id=tagged.pk)
    assert one.state == "open"
    decide(a, one.recommendation_id, "dismissed", by="test", external_userid="wmA")
    assert broker_client.llen("celery") == 2
    clock.shift(timedelta(minutes=9))
    assert (looking.refresh_waiting(), suggest()) == (1, 0)
    undo(a, one.recommendation_id, by="test", external_userid="wmA")
    tag("wmA")
    assert looking.refresh_waiting() == 1
    assert [one.state for one in stored(rule_id=tagged.pk)] == ["withdrawn"]
    assert suggest() == 0


def test_a_cross_sell_made_at_once_is_the_nights_to_the_item() -> None:
    a, b, c = people("wmA", "wmB", "wmC")
    pairs = [("tea", "cup", 0.5), ("tea", "pot", 0.5), ("tea", "jar", 0.5), ("ink", "pen", 0.9), ("ink", "cup", 0.5),
             ("tea", "box", 0.5), ("hat", "bag", 0.8)]  # fmt: skip
    for one, other, score in pairs:
        for row in ((one, other), (other, one)):
            ItemAffinity.objects.create(
                item_id=row[0], other_id=row[1], name=f"名{row[0]}", other_name=f"名{row[1]}", together=3, score=score,
                run_id=1,
            )  # fmt: skip
    only_rule(action="cross_sell", reason="{because}：{items}")
    for one in (a, b):
        bought(one, "tea", "ink", "box")
    bought(c, "hat")
    suggest(homes=[100])
    night = [(one.score, one.reason, one.items) for one in stored()]
    assert night[0][1] == "名ink：名pen、名cup、名jar"
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        cursor.execute("DELETE FROM recommendations WHERE customer_id <> %s", [a])
    for who in ("wmA", "wmB", "wmC"):
        tag(who, "et1")
    assert looking.refresh_waiting() == 3
    assert [(one.score, one.reason, one.items) for one in stored()] == night
    assert [one.run_id == 0 for one in stored()] == [False, True, True]  # a's was right, and was not written
    bought(a, "pen")
    tag("wmA")
    looking.refresh_waiting()
    assert stored(customer_id=a)[0].reason == "名ink：名cup、名jar、名pot"
    assert suggest() == 0


def test_of_many_scattered_ones_only_theirs_is_read() -> None:
    """A look at a few of a bucket asks by their ids, not for all that lies between the first and the last."""
    people(*(f"wm{number}" for number in range(60)))
    only_rule()
    suggest()
    there = sorted(one.customer_id for one in stored() if one.customer_id % 10 == 3)
    RecommendationRule.objects.update(groups=[[condition("purchase_count", ">", 9)]])
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        assert looking.look_at(cursor, 100, 3, [there[0], there[-1]]) == 2
    assert {one.customer_id for one in stored(state="withdrawn")} == {there[0], there[-1]}


def test_a_message_that_others_were_faster_than_costs_a_statement_and_no_lock() -> None:
    ids = people(*(f"wm{number}" for number in range(20)))
    only_rule()
    looking.refresh_waiting()
    with Counted() as counted:
        assert looking.refresh_customers(ids) == 0
    assert (counted.counts["default"], counted.counts["dept_100"], counted.counts["dept_101"]) == (0, 1, 0)
    tag("wm3", "et1")
    with Counted() as counted:
        looking.refresh_customers(ids)
    asked = counted.queries["dept_100"]
    assert len([one for one in asked if "pg_advisory_xact_lock" in one]) == 1  # of one of ten buckets
    assert not DirtyCustomer.objects.using("dept_100").filter(awaits_segments=True).exists()


def test_where_nothing_is_in_use_nobody_is_told_and_nobody_looks(broker_client: Any) -> None:
    RecommendationRule.objects.update(is_active=False)
    held.forget_all()
    (a,) = people("wmA")
    buy("e1")
    assert broker_client.llen("celery") == 0
    assert (looking.refresh_waiting(), looking.refresh_customers([a])) == (0, 0)
    assert DirtyCustomer.objects.using("dept_100").get(customer_id=a).awaits_segments


def test_a_burst_of_single_changes_is_left_to_the_keeper(broker_client: Any) -> None:
    (a,) = people("wmA")
    only_rule(groups=BUYERS)
    looking.refresh_waiting()
    buy("e1")
    told = sum(wake_for(100, [a]) for _ in range(100))
    assert 10 <= told < 100  # twenty at once, less those told before, and two more a second
    assert broker_client.llen("celery") >= told
    assert looking.refresh_waiting() == 1
    assert [one.state for one in stored()] == ["open"]


# ------------------------------------------------------------------------------------------------- over random lives
GROUPS = [
    NOBODYS,
    BUYERS,
    [[condition("purchase_count", ">=", 2, window_days=3)]],
    [[condition("days_since_last_purchase", ">", 2)], [condition("tags", "has", "et1")]],
    [[condition("tags", "has_not", "et1"), condition("interaction_count", "<", 2)]],
]
who = st.integers(0, 2)
RULES = st.lists(
    st.tuples(st.sampled_from(GROUPS), st.sampled_from(["thank", "win_back"]), st.sampled_from([0, 1, 3]),
              st.sampled_from([1, 2, 30])),
    min_size=2, max_size=3,
)  # fmt: skip
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("purchase"), who, st.integers(0, 3)),
        st.tuples(st.just("purchase"), who, st.integers(0, 3)),
        st.tuples(st.just("interaction"), who, st.integers(0, 3)),
        st.tuples(st.just("tags"), who, st.booleans()),
        st.tuples(st.just("accepted"), who, st.integers(0, 2)),
        st.tuples(st.just("dismissed"), who, st.integers(0, 2)),
        st.tuples(st.just("undo"), who, st.integers(0, 2)),
        st.tuples(st.just("later"), st.sampled_from([4, 11, 24 * 60]), st.just(0)),
    ),
    min_size=6, max_size=12,
)  # fmt: skip


def night(ids: list[int]) -> int:
    """Judge everybody as phase 3 does. Returns how many rows were written."""
    return suggest(a_run(), buckets=sorted({one % 10 for one in ids}))


def do(name: str, ids: list[int], number: int, value: int, step: int, clock: time_machine.Traveller) -> None:
    if name == "later":
        clock.shift(timedelta(minutes=number))
        night(ids)  # time marks nobody: that is the night's
        return
    external_userid = f"wm{number}"
    if name in ("purchase", "interaction"):
        at = datetime.now(UTC) - timedelta(days=value)
        buy(
            f"e{step}",
            external_userid,
            at=at.isoformat(),
            kind=name,
            **({} if name == "purchase" else {"amount": None}),
        )
    elif name == "tags":
        tag(external_userid, *(["et1"] if value else []))
    else:
        wanted = "open" if name != "undo" else "accepted"
        found = stored(customer_id=ids[number], state=wanted)
        if found:
            one = found[value % len(found)]
            key = (one.customer_id, one.recommendation_id)
            if name == "undo":
                undo(*key, by="t", external_userid=external_userid)
            elif one.expires_at > datetime.now(UTC):
                decide(*key, name, by="t", external_userid=external_userid)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
@given(RULES, STEPS)
def test_after_a_look_judging_everybody_writes_nothing(rules: Any, steps: Any) -> None:
    reset_databases()
    held.forget_all()
    with time_machine.travel(NOW, tick=False) as clock:
        ids = people("wm0", "wm1", home=100) + people("wm2", home=101)
        RecommendationRule.objects.all().delete()
        for number, (groups, action, cooldown_days, expires_days) in enumerate(rules):
            save_rule({"name": f"规则{number}", "action": action, "groups": groups, "reason": "理由",
                       "cooldown_days": cooldown_days, "expires_days": expires_days})  # fmt: skip
        held.forget_all()
        looking.refresh_waiting()
        assert night(ids) == 0
        for step, (name, number, value) in enumerate(steps):
            do(name, ids, number, value, step, clock)
            looking.refresh_waiting()
            # A decision moves its rule's rate, and with it everybody's scores: those are the night's.
            assert night(ids) == 0 or name in ("accepted", "dismissed", "undo"), (name, number, value)
            assert night(ids) == 0
            assert len(stored(state="open")) == len({(one.customer_id, one.rule_id) for one in stored(state="open")})
