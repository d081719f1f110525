"""Whole columns against a customer at a time; and that no class changes before its review date."""

from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiles.rules import (
    DEFAULT_RULE_SET,
    Condition,
    LifecycleSettings,
    MissingFactError,
    Rule,
    RuleSet,
    Verdict,
    evaluate,
    explain,
    parse_conditions,
    review_on,
)
from tests.examples import examples
from tests.profiles.strategies import START, Act, History, compares, fact, histories, number, position, rule_sets

HORIZON = 45
LIFECYCLE = LifecycleSettings()


def facts_for(rule_set: RuleSet, customers: list[History], as_of: date) -> pd.DataFrame:
    return facts_of(rule_set.needs.columns, customers, as_of, rule_set.settings.lifecycle)


def facts_of(needed: Iterable[str], customers: list[History], as_of: date, chosen: LifecycleSettings) -> pd.DataFrame:
    """The facts as a reader would bring them: whole numbers, floats in yuan, datetime64, bool."""
    columns = {}
    for column in sorted(needed):
        values = [fact(column, customer, as_of, chosen) for customer in customers]
        if column == "lifecycle":
            columns[column] = pd.Series(values, dtype=object)
        elif column == "lifecycle_turns" or ("_day" in column and not column.startswith("purchase_days")):
            columns[column] = pd.Series(values, dtype="datetime64[s]")
        elif column.startswith(("total_amount", "refund_amount")):
            columns[column] = pd.Series([float(value) for value in values], dtype="float64")
        else:
            columns[column] = pd.Series(values, dtype=bool if column.startswith("tag:") else "int64")
    return pd.DataFrame(columns, index=range(len(customers)))


def one_rule(text: str) -> RuleSet:
    return RuleSet(1, (Rule("甲", parse_conditions(text)),), "其他")


# ---- evaluate --------------------------------------------------------------------------------------------------------
@given(rule_sets(), st.lists(histories(), min_size=1, max_size=5), st.integers(0, 40))
def test_columns_are_judged_as_a_customer_at_a_time(rule_set: RuleSet, customers: list[History], day: int) -> None:
    as_of = START + timedelta(days=day)
    outcome = evaluate(rule_set, facts_for(rule_set, customers, as_of), as_of)
    expected = [position(rule_set, customer, as_of) for customer in customers]
    assert outcome.position.tolist() == expected
    assert outcome.profiles.tolist() == [rule_set.profiles[place] for place in expected]


@pytest.mark.parametrize(
    ("purchases", "interactions", "profile"), [(5, 15, "潜在客户"), (6, 11, "高价值客户"), (6, 10, "潜在客户")]
)
def test_the_default_rule(purchases: int, interactions: int, profile: str) -> None:
    facts = {"purchase_count": np.array([purchases]), "interaction_count": np.array([interactions])}
    assert evaluate(DEFAULT_RULE_SET, facts, START).profiles.tolist() == [profile]


def test_the_first_rule_that_matches_decides() -> None:
    high = Rule("高", (Condition("purchase_count", ">", 5),))
    some = Rule("中", (Condition("purchase_count", ">", 1),))
    outcome = evaluate(RuleSet(1, (high, some), "低"), pd.DataFrame({"purchase_count": [9, 2, 0]}), START)
    assert (outcome.position.tolist(), outcome.profiles.tolist()) == ([1, 2, 0], ["高", "中", "低"])


@pytest.mark.parametrize("operator", [">", ">=", "<", "<=", "==", "!="])
@pytest.mark.parametrize("field", ["days_since_last_purchase", "follow_count", "total_amount"])
def test_a_comparison_with_a_missing_value_is_false(field: str, operator: str) -> None:
    facts = {
        "last_purchase_day": np.array(["NaT"], dtype="datetime64[D]"),
        "follow_count": np.array([np.nan]),
        "total_amount": pd.Series([None], dtype="Float64"),
    }
    rule_set = one_rule(f"{field} {operator} 1")
    assert evaluate(rule_set, facts, START).position.tolist() == [0]
    assert np.isnat(review_on(rule_set, facts, START)).all()


def test_a_missing_flag_is_no_tag() -> None:
    facts = pd.DataFrame({"tag:a": [True, False, None, np.nan]}, dtype=object)
    assert evaluate(one_rule('tags has "a"'), facts, START).position.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("amounts", [[0.1 + 0.2, 0.29999999999999993], [Decimal("0.30")] * 2, ["0.30", "0.30"]])
def test_amounts_compare_as_whole_cents(amounts: list[object]) -> None:
    assert evaluate(one_rule("total_amount == 0.30"), {"total_amount": amounts}, START).position.tolist() == [1, 1]


def test_the_largest_amounts_keep_their_cents() -> None:
    facts = {"total_amount": np.array([9_999_999_999_999.98, 9_999_999_999_999.99])}
    assert evaluate(one_rule("total_amount > 9999999999999.98"), facts, START).position.tolist() == [0, 1]


def test_no_rules_and_no_rows() -> None:
    empty = RuleSet(1, (), "其他")
    assert evaluate(empty, pd.DataFrame(index=range(2)), START).profiles.tolist() == ["其他", "其他"]
    assert np.isnat(review_on(empty, pd.DataFrame(index=range(2)), START)).tolist() == [True, True]
    nobody = pd.DataFrame({"purchase_count": [], "interaction_count": []}, dtype="int64")
    assert evaluate(DEFAULT_RULE_SET, nobody, START).position.tolist() == []


def test_facts_that_lack_a_column_are_the_readers_fault() -> None:
    with pytest.raises(MissingFactError, match="no column interaction_count"):
        evaluate(DEFAULT_RULE_SET, pd.DataFrame({"purchase_count": [1]}), START)


# ---- review_on -------------------------------------------------------------------------------------------------------
@settings(max_examples=examples(120))
@given(rule_sets(), histories(), st.integers(26, 40))
def test_time_alone_changes_no_class_before_the_review_date(rule_set: RuleSet, customer: History, day: int) -> None:
    as_of = START + timedelta(days=day)  # after every act: later ones would be new input
    [review] = review_on(rule_set, facts_for(rule_set, [customer], as_of), as_of).astype("O")
    assert review is None or review > as_of
    now = position(rule_set, customer, as_of)
    end = min(review or date.max, as_of + timedelta(days=HORIZON))
    later = as_of
    while later < end:
        assert position(rule_set, customer, later) == now, later
        later += timedelta(days=1)


@given(rule_sets(), histories(), st.integers(26, 40))
def test_following_the_review_dates_finds_every_change(rule_set: RuleSet, customer: History, day: int) -> None:
    known: tuple[int, date | None] | None = None
    for later in range(day, day + HORIZON):
        as_of = START + timedelta(days=later)
        if known is None or (known[1] is not None and known[1] <= as_of):
            facts = facts_for(rule_set, [customer], as_of)
            known = (
                int(evaluate(rule_set, facts, as_of).position[0]),
                review_on(rule_set, facts, as_of).astype("O")[0],
            )
        assert known[0] == position(rule_set, customer, as_of)


SHORT = [
    History(tuple(Act(START + timedelta(days=n), kind, Decimal(5)) for n, kind in enumerate(kinds) if kind), *other)
    for kinds in product(["purchase", "refund", "part", None], repeat=4)
    for other in [(frozenset(), 0, False), (frozenset(), 0, True)]
]


@pytest.mark.parametrize(
    ("field", "values", "windows"),
    [
        ("purchase_count", range(3), range(1, 5)),
        ("refund_count", range(3), range(1, 5)),
        ("total_amount", range(-5, 11, 5), range(1, 5)),
        ("days_since_last_purchase", range(7), [None]),
        ("days_since_first_behaviour", range(7), [None]),
    ],
)
def test_every_condition_over_every_history_of_four_days(field: str, values: range, windows: list[int | None]) -> None:
    as_of = START + timedelta(days=4)
    days = [as_of + timedelta(days=n) for n in range(10)]
    for window in windows:
        # What a condition compares does not depend on its operator and value: told once for all of them.
        every = [
            RuleSet(1, (Rule("甲", (Condition(field, operator, value, window),)),), "其他")
            for operator, value in product([">", ">=", "<", "<=", "==", "!="], values)
        ]
        [condition] = every[0].rules[0].conditions
        numbers = [[number(condition, customer, day, LIFECYCLE) for day in days] for customer in SHORT]
        columns = frozenset().union(*(rule_set.needs.columns for rule_set in every))
        facts = facts_of(columns, SHORT, as_of, LIFECYCLE)
        for rule_set in every:
            [condition] = rule_set.rules[0].conditions
            reviews = review_on(rule_set, facts, as_of).astype("O")
            for customer, lefts, review in zip(SHORT, numbers, reviews, strict=True):
                held = {
                    compares(condition, left)
                    for left, day in zip(lefts, days, strict=True)
                    if review is None or day < review
                }
                assert len(held) == 1, (condition, customer, review)


AS_OF = date(2024, 3, 31)


@pytest.mark.parametrize(
    ("text", "facts", "review"),
    [
        # The worked example of the module: a purchase on 03-10 leaves a window of 30 days at 04-10.
        ("purchase_count[30d] >= 1", {"purchase_count[30d]": 1, "first_day[30d]": "2024-03-10"}, date(2024, 4, 10)),
        ("purchase_count[30d] >= 2", {"purchase_count[30d]": 1, "first_day[30d]": "2024-03-10"}, None),
        ("purchase_count[30d] < 1", {"purchase_count[30d]": 1, "first_day[30d]": "2024-03-01"}, date(2024, 4, 1)),
        ("purchase_count[30d] < 1", {"purchase_count[30d]": 0, "first_day[30d]": "2024-03-10"}, None),
        (
            "purchase_count[30d] >= 2",
            {"purchase_count[30d]": 1, "first_day[30d]": "2024-03-10", "refund_count[30d]": 1},
            date(2024, 4, 10),
        ),
        ("days_since_last_purchase > 30", {"last_purchase_day": "2024-03-10"}, date(2024, 4, 10)),
        ("days_since_last_purchase >= 30", {"last_purchase_day": "2024-03-10"}, date(2024, 4, 9)),
        ("days_since_last_purchase > 30", {"last_purchase_day": "2024-01-01"}, None),
        ("days_since_last_purchase < 30", {"last_purchase_day": "2024-03-10"}, date(2024, 4, 9)),
        ("days_since_last_purchase == 21", {"last_purchase_day": "2024-03-10"}, date(2024, 4, 1)),
        ("days_since_last_purchase == 22", {"last_purchase_day": "2024-03-10"}, date(2024, 4, 1)),
        ("days_since_last_purchase == 20", {"last_purchase_day": "2024-03-10"}, None),
        ("purchase_count > 5 and days_since_last_purchase > 30", {"last_purchase_day": "2024-03-10"}, None),
        (
            "purchase_count >= 0 and days_since_last_purchase > 30",
            {"last_purchase_day": "2024-03-10"},
            date(2024, 4, 10),
        ),
        (
            "days_since_first_behaviour >= 40 and days_since_last_purchase > 30",
            {"last_purchase_day": "2024-03-10", "first_day": "2024-03-09"},
            date(2024, 4, 18),
        ),
    ],
)
def test_review_dates_are_exact_where_that_is_cheap(text: str, facts: dict[str, object], review: date | None) -> None:
    row = {"purchase_count": 0, "refund_count[30d]": 0} | facts
    found = review_on(one_rule(text), {key: [value] for key, value in row.items()}, AS_OF)
    assert found.dtype == "datetime64[D]"
    assert found.astype("O").tolist() == [review]


def test_rules_behind_the_deciding_one_do_not_matter() -> None:
    always = Rule("甲", (Condition("purchase_count", ">=", 0),))
    soon = Rule("乙", (Condition("days_since_last_purchase", ">", 30),))
    facts = {"purchase_count": [0], "last_purchase_day": ["2024-03-10"]}
    assert review_on(RuleSet(1, (always, soon), "其他"), facts, AS_OF).astype("O").tolist() == [None]
    assert review_on(RuleSet(1, (soon, always), "其他"), facts, AS_OF).astype("O").tolist() == [date(2024, 4, 10)]


def test_facts_that_contradict_themselves_are_looked_at_the_next_day() -> None:
    rule_set = one_rule("purchase_count[30d] >= 1")
    facts = {"purchase_count[30d]": [2, 2], "refund_count[30d]": [0, 0], "first_day[30d]": [None, "2020-01-01"]}
    assert review_on(rule_set, facts, AS_OF).astype("O").tolist() == [date(2024, 4, 1)] * 2


# ---- explain ---------------------------------------------------------------------------------------------------------
@given(rule_sets(), histories(), st.integers(0, 40))
def test_an_explanation_tells_the_numbers_that_decided(rule_set: RuleSet, customer: History, day: int) -> None:
    as_of = START + timedelta(days=day)
    row = facts_for(rule_set, [customer], as_of).astype(object).iloc[0] if rule_set.needs else {}
    found = explain(rule_set, row, as_of)
    assert found.position == position(rule_set, customer, as_of)
    assert found.profile == rule_set.profiles[found.position]
    assert [rule.position for rule in found.rules] == list(range(1, (found.position or len(rule_set.rules)) + 1))
    assert found.deciding == (found.rules[-1] if found.position else None)
    for rule in found.rules:
        assert [verdict.actual for verdict in rule.verdicts] == [
            number(verdict.condition, customer, as_of, rule_set.settings.lifecycle) for verdict in rule.verdicts
        ]


def test_an_explanation_from_what_was_kept_as_json() -> None:
    rule_set = one_rule('total_amount[90d] >= 99.5 and days_since_last_purchase < 30 and tags has "a"')
    kept = {"total_amount[90d]": "100.10", "last_purchase_day": "2024-03-10", "tag:a": False}
    found = explain(rule_set, kept, AS_OF)
    assert (found.position, found.profile, found.version) == (0, "其他", 1)
    amount, days, tag = rule_set.rules[0].conditions
    assert found.rules[0].verdicts == (
        Verdict(amount, Decimal("100.10"), True),
        Verdict(days, 21, True),
        Verdict(tag, False, False),
    )
