"""What it would take: whoever does what a gap says meets its condition, whatever they did before."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiles.rules import Condition, LifecycleSettings, Rule, RuleSet, explain, read_leniently, turning
from profiles.rules.acts import Act, Step
from profiles.rules.fields import FIELDS, Kind
from profiles.rules.judging import Verdict
from profiles.rules.reaching import Gap, describe_gap, gap_of, reach
from profiles.rules.turning import UNKNOWN, steps_to
from tests.profiles.strategies import LIFECYCLES, START, History, histories, lifecycle, lifecycle_settings
from tests.profiles.strategies import Act as Done

TODAY = date(2024, 3, 31)
CHANNELS = ("store", "wecom")


@dataclass
class Life:
    """What somebody did, and what holds of them, from which facts are counted the slow way."""

    # (day, kind, channel, amount)
    done: list[tuple[date, str, str, Decimal]] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    follow_count: int = 0
    added: date | None = None
    as_of: date = TODAY + timedelta(days=1)

    def fact(self, condition: Condition) -> Any:
        definition = condition.definition
        if definition.kind is Kind.TAGS:
            return condition.value in self.tags
        if condition.field == "follow_count":
            return self.follow_count
        if condition.field == "days_since_added":
            return self.added
        since = date.min if condition.window_days is None else self.as_of - timedelta(days=condition.window_days)
        seen = [
            one for one in self.done
            if since <= one[0] < self.as_of and condition.channel in (None, one[2])
        ]  # fmt: skip
        of = {kind: [one for one in seen if one[1] == kind] for kind in ("purchase", "interaction", "refund")}
        if condition.field in ("days_since_last_purchase", "days_since_last_interaction"):
            return max((one[0] for one in of[condition.field.rpartition("_")[2]]), default=None)
        if condition.field == "days_since_first_behaviour":
            return min((one[0] for one in seen), default=None)
        if condition.field == "total_amount":
            paid, returned = (sum((one[3] for one in of[kind]), Decimal()) for kind in ("purchase", "refund"))
            return paid - returned
        return {
            "purchase_count": len(of["purchase"]) - len(of["refund"]),
            "interaction_count": len(of["interaction"]),
            "refund_count": len(of["refund"]),
            "purchase_days": len({one[0] for one in of["purchase"]}),
        }[condition.field]

    def gap(self, condition: Condition) -> Gap | None:
        """Return what a condition lacks, None when it holds."""
        rules = RuleSet(1, (Rule("目标", (condition,)),), "其他")
        explanation = explain(rules, {condition.key: self.fact(condition)}, self.as_of)
        return None if explanation.position else gap_of(explanation.rules[0].verdicts[0])

    def take(self, condition: Condition, step: Step) -> None:
        """Do what a step says, on the last day that counts."""
        today = self.as_of - timedelta(days=1)
        channel = condition.channel or "store"
        if step.act is Act.WAIT:
            self.as_of += timedelta(days=int(step.amount))
        elif step.act is Act.TAG:
            self.tags.add(str(condition.value))
        elif step.act is Act.UNTAG:
            self.tags.discard(str(condition.value))
        elif step.act is Act.FEWER:
            self.follow_count -= int(step.amount)
        elif condition.field == "follow_count":
            self.follow_count += int(step.amount)
        elif condition.field == "days_since_added":
            self.added = today
        elif condition.field == "total_amount":
            self.done.append((today, "purchase", channel, Decimal(step.amount)))
        elif condition.field == "purchase_days":
            bought = {one[0] for one in self.done if one[1] == "purchase" and one[2] == channel}
            if condition.channel is None:
                bought = {one[0] for one in self.done if one[1] == "purchase"}
            free = (today - timedelta(days=back) for back in range(10_000))
            for _ in range(int(step.amount)):
                self.done.append((next(day for day in free if day not in bought), "purchase", channel, Decimal(1)))
        else:
            kind = {"interaction_count": "interaction", "days_since_last_interaction": "interaction",
                    "refund_count": "refund"}.get(condition.field, "purchase")  # fmt: skip
            self.done.extend([(today, kind, channel, Decimal(1))] * int(step.amount))


def conditions_of(name: str) -> st.SearchStrategy[Condition]:
    definition = FIELDS[name]
    amounts = st.decimals("-5", "60", places=2)
    values: dict[Kind, st.SearchStrategy[Any]] = {
        Kind.COUNT: st.integers(0, 12), Kind.DAYS: st.integers(0, 60), Kind.AMOUNT: amounts,
        Kind.TAGS: st.sampled_from(["et1", "et2"]),
    }  # fmt: skip
    return st.builds(
        Condition,
        st.just(name),
        st.sampled_from(definition.operators),
        values[definition.kind],
        st.none() | st.integers(1, 40) if definition.windowed else st.none(),
        st.sampled_from([None, *CHANNELS]) if definition.channelled else st.none(),
    )


NAMES = sorted(name for name, one in FIELDS.items() if one.level == "rule" and one.kind is not Kind.CHOICE)
BEHAVIOURS = st.tuples(
    st.integers(0, 70).map(lambda back: TODAY - timedelta(days=back)),
    st.sampled_from(["purchase", "purchase", "interaction", "refund"]),
    st.sampled_from(CHANNELS),
    st.decimals("0.01", "30", places=2),
)
LIVES: Callable[[], st.SearchStrategy[Life]] = lambda: st.builds(  # noqa: E731
    Life,
    st.lists(BEHAVIOURS, max_size=12),
    st.sets(st.sampled_from(["et1", "et2"])),
    st.integers(0, 4),
    st.none() | st.integers(0, 70).map(lambda back: TODAY - timedelta(days=back)),
)


@settings(max_examples=400, deadline=None)
@given(life=LIVES(), condition=st.sampled_from(NAMES).flatmap(conditions_of))
def test_doing_what_a_gap_says_makes_the_condition_hold(life: Life, condition: Condition) -> None:
    gap = life.gap(condition)
    if gap is None or not gap.steps:
        return
    assert describe_gap(gap)
    for step in gap.steps:
        assert step.amount > 0
        life.take(condition, step)
    assert life.gap(condition) is None


@pytest.mark.parametrize(
    ("condition", "actual", "words"),
    [
        (Condition("purchase_count", ">", 5), 3, "再购买 3 次"),
        (Condition("total_amount", ">=", Decimal(500), 90), Decimal("380.00"), "90 天内再消费 120.00 元"),
        (Condition("interaction_count", ">=", 3, 30), 0, "30 天内再互动 3 次"),
        (Condition("purchase_count", "<", 2, 30), 4, "等 30 天，其间没有购买"),
        (Condition("purchase_count", "==", 2, 30), 4, "等 30 天，其间没有购买，然后购买 2 次"),
        (Condition("days_since_last_purchase", ">", 60), 48, "等 13 天，其间没有购买"),
        (Condition("days_since_last_purchase", "<=", 7), 48, "再购买一次"),
        (Condition("days_since_first_behaviour", ">=", 30), 18, "等 12 天"),
        (Condition("days_since_first_behaviour", "<", 30), 31, "不再可能"),
        (Condition("days_since_added", ">", 3), None, "被员工添加一次，然后等 3 天"),
        (Condition("interaction_count", "<", 3), 5, "不再可能"),
        (Condition("purchase_days", ">=", 8, 7), 5, "不再可能"),
        (Condition("purchase_days", ">=", 3, 7, "store"), 1, "7 天内在store再有 2 天购买"),
        (Condition("days_since_last_purchase", "<=", 0), 3, "不再可能"),
        (Condition("follow_count", "<=", 1), 3, "少 2 位跟进员工"),
        (Condition("tags", "has", "et1"), False, "需要标签「et1」"),
        (Condition("tags", "has_not", "et1"), True, "去掉标签「et1」"),
        (Condition("lifecycle", "is", "active"), "dormant", "购买或互动一次（先成为回流客户），然后等 30 天"),
    ],
)
def test_gaps_in_words(condition: Condition, actual: Any, words: str) -> None:
    rules = RuleSet(1, (Rule("目标", (condition,)),), "其他")
    if condition.definition.kind is Kind.DAYS and actual is not None:
        actual = TODAY - timedelta(days=actual - 1)
    verdict = explain(rules, {condition.key: actual}, TODAY + timedelta(days=1)).rules[0].verdicts[0]
    assert not verdict.holds
    assert describe_gap(gap_of(verdict)) == words


def test_only_better_classes_that_are_others() -> None:
    rules = RuleSet(
        1,
        (
            Rule("甲", (Condition("purchase_count", ">", 5), Condition("interaction_count", ">", 1))),
            Rule("丙", (Condition("purchase_count", ">", 9),)),
            Rule("乙", (Condition("purchase_count", ">", 3),)),
            Rule("丙", (Condition("purchase_count", ">", 1),)),
            Rule("丁", (Condition("purchase_count", ">", 0),)),
        ),
        "其他",
    )
    found = reach(explain(rules, {"purchase_count": 2, "interaction_count": 9}, TODAY))
    assert [(one.position, one.profile, [gap.steps for gap in one.gaps]) for one in found] == [
        (3, "乙", [(Step(Act.MORE, 2),)]),
        (1, "甲", [(Step(Act.MORE, 4),)]),
    ]
    assert reach(explain(rules, {"purchase_count": 9, "interaction_count": 9}, TODAY)) == []


def test_a_broken_rule_decides_nothing_and_is_not_ahead() -> None:
    rules = [
        {"profile": "坏", "conditions": [{"field": "no_such", "operator": ">", "value": 1}]},
        {"profile": "甲", "conditions": [{"field": "purchase_count", "operator": ">", "value": 1}]},
    ]
    found = explain(read_leniently(1, "其他", rules, {}), {"purchase_count": 1}, TODAY)
    assert (found.position, found.profile) == (0, "其他")
    assert [one.profile for one in reach(found)] == ["甲"]


# ------------------------------------------------------------------------------------------------------- lifecycles
@settings(max_examples=300)
@given(histories(), st.integers(1, 40), lifecycle_settings(), st.sampled_from(["is", "is_not"]),
       st.sampled_from(LIFECYCLES))  # fmt: skip
def test_who_takes_the_steps_to_a_lifecycle_is_in_it(
    history: History, day: int, chosen: LifecycleSettings, operator: str, wanted: str
) -> None:
    """The lifecycle is that of a run as of today, as it is stored; nothing has happened today."""
    today = START + timedelta(days=day)
    history = replace(history, acts=tuple(one for one in history.acts if one.day < today), created=START)
    actual = lifecycle(history, today, chosen)
    if (actual == wanted) == (operator == "is"):
        return  # it holds
    steps = steps_to(operator, wanted, actual, turning.Life(chosen, has_begun=bool(history.acts)))
    if not steps or steps == UNKNOWN:
        assert wanted == "new" or chosen.new_days >= chosen.dormant_days
        return
    acts, begun = list(history.acts), today
    for step in steps:
        if step.act is Act.DO:
            acts.append(Done(today, "interaction", Decimal(0)))
        else:
            today += timedelta(days=int(step.amount))
    history = replace(history, acts=tuple(acts))
    # Who only waits is there on the last day, or has been on the way to being lost.
    days = range((today - begun).days + 1) if len(steps) == 1 else [(today - begun).days]
    became = [lifecycle(history, begun + timedelta(days=one + 1), chosen) for one in days]
    assert any((one == wanted) == (operator == "is") for one in became), (actual, steps, became)
    assert len(steps) > 1 or operator == "is" or became[-1] != wanted


@pytest.mark.parametrize(
    ("operator", "wanted", "actual", "words"),
    [
        ("is", "active", "lost", "购买或互动一次（先成为回流客户），然后等 20 天"),
        ("is", "active", "new", "购买或互动一次，然后等 15 天"),
        ("is", "dormant", "active", "无需操作，自然达到：最多等 60 天，其间没有购买和互动"),
        ("is", "dormant", "lost", "购买或互动一次（先成为回流客户），然后等 60 天，其间没有购买和互动"),
        ("is", "lost", "dormant", "无需操作，自然达到：最多等 120 天，其间没有购买和互动"),
        ("is", "returned", "dormant", "购买或互动一次"),
        ("is", "returned", "active", "等 61 天，其间没有购买和互动，然后再购买或互动一次"),
        ("is", "new", "active", "不再可能"),
        ("is_not", "new", "new", "最多等 15 天"),
        ("is_not", "active", "active", "最多等 60 天，其间没有购买和互动"),
        ("is_not", "lost", "lost", "购买或互动一次"),
    ],
)
def test_lifecycles_in_words_by_the_settings_of_the_rules(operator: str, wanted: str, actual: str, words: str) -> None:
    life = turning.Life(LifecycleSettings(new_days=15, dormant_days=60, lost_days=180, return_days=20))
    gap = gap_of(Verdict(Condition("lifecycle", operator, wanted), actual, False), life)
    assert describe_gap(gap) == words
    rules = RuleSet(1, (Rule("目标", (gap.condition,)),), "其他")
    assert reach(explain(rules, {"lifecycle": actual}, TODAY), life)[0].gaps == (gap,)


def test_who_has_never_done_anything_is_new_by_the_first_thing_they_do() -> None:
    life = turning.Life(LifecycleSettings(), has_begun=False)
    words = {
        wanted: describe_gap(gap_of(Verdict(Condition("lifecycle", "is", wanted), "dormant", False), life))
        for wanted in ("new", "active", "returned")
    }
    assert words == {
        "new": "购买或互动一次",
        "active": "购买或互动一次（先成为新客），然后等 30 天",
        "returned": "购买或互动一次（先成为新客），然后等 91 天，其间没有购买和互动，然后再购买或互动一次",
    }
