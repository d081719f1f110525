"""Random rules, and a customer's history with the facts and the classes told one number at a time.

The reference below shares nothing with profiles.rules but the dataclasses: plain Python, one customer, one day.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from profiles.rules import Condition, Rule, RuleSet

WINDOWED = ("purchase_count", "interaction_count", "refund_count")
RECENCY = {
    "days_since_last_purchase": "purchase",
    "days_since_last_interaction": "interaction",
    "days_since_first_behaviour": None,
}
COMPARE = st.sampled_from([">", ">=", "<", "<=", "==", "!="])
TAG_IDS = ("et1", "et 二", 'quo"te\\')
START = date(2024, 2, 1)


def amounts(lowest: int = -10_000, highest: int = 10_000) -> st.SearchStrategy[Decimal]:
    return st.integers(lowest, highest).map(lambda cents: Decimal(cents).scaleb(-2))


@st.composite
def conditions(draw: st.DrawFn, *, days: int = 12, highest: int = 4, tag_ids: st.SearchStrategy[str] | None = None):
    kind = draw(st.sampled_from(["count", "amount", "days", "tags", "follows"]))
    window = draw(st.none() | st.integers(1, days))
    if kind == "count":
        return Condition(draw(st.sampled_from(WINDOWED)), draw(COMPARE), draw(st.integers(0, highest)), window)
    if kind == "amount":
        return Condition("total_amount", draw(COMPARE), draw(amounts(-500, 2_000)), window)
    if kind == "days":
        return Condition(draw(st.sampled_from(sorted(RECENCY))), draw(COMPARE), draw(st.integers(0, days)))
    if kind == "follows":
        return Condition("follow_count", draw(COMPARE), draw(st.integers(0, 2)))
    return Condition(
        "tags",
        draw(st.sampled_from(["has", "has_not"])),
        draw(st.sampled_from(TAG_IDS) if tag_ids is None else tag_ids),
    )


def rule_sets() -> st.SearchStrategy[RuleSet]:
    rules = st.builds(
        Rule, st.sampled_from(["甲", "乙", "丙"]), st.lists(conditions(), min_size=1, max_size=3).map(tuple)
    )
    return st.builds(RuleSet, st.integers(0, 9), st.lists(rules, max_size=4).map(tuple), st.just("其他"))


@dataclass(frozen=True)
class Act:
    """kind: purchase, interaction, refund (of a whole purchase), part (the refund of a part of one)."""

    day: date
    kind: str
    amount: Decimal


@dataclass(frozen=True)
class History:
    """net: a refund takes one from the purchases of its own day, as well as its amount."""

    acts: tuple[Act, ...]
    tags: frozenset[str]
    follows: int
    net: bool


def histories() -> st.SearchStrategy[History]:
    acts = st.builds(
        Act,
        st.integers(0, 25).map(lambda n: START + timedelta(days=n)),
        st.sampled_from(["purchase", "purchase", "interaction", "refund", "part"]),
        amounts(0, 900),
    )
    return st.builds(
        History,
        st.lists(acts, max_size=8).map(tuple),
        st.frozensets(st.sampled_from(TAG_IDS)),
        st.integers(0, 2),
        st.booleans(),
    )


def within(history: History, as_of: date, window: int | None) -> list[Act]:
    first = date.min if window is None else as_of - timedelta(days=window)
    return [act for act in history.acts if first <= act.day < as_of]


def figure(history: History, field: str, as_of: date, window: int | None) -> int | Decimal:
    acts = within(history, as_of, window)
    count = {kind: sum(act.kind == kind for act in acts) for kind in ("purchase", "interaction", "refund")}
    refunded = sum((act.amount for act in acts if act.kind in ("refund", "part")), Decimal(0))
    if field == "refund_amount":
        return refunded
    if field == "total_amount":
        return sum((act.amount for act in acts if act.kind == "purchase"), Decimal(0)) - refunded
    if field == "purchase_count":
        return count["purchase"] - (count["refund"] if history.net else 0)
    return count[field.removesuffix("_count")]


def days_since(history: History, field: str, as_of: date) -> int | None:
    kind = RECENCY[field]
    days = [act.day for act in within(history, as_of, None) if kind is None or act.kind == kind]
    if not days:
        return None
    return (as_of - (min(days) if kind is None else max(days))).days


def number(condition: Condition, history: History, as_of: date) -> int | Decimal | bool | None:
    if condition.field == "tags":
        return condition.value in history.tags
    if condition.field == "follow_count":
        return history.follows
    if condition.field in RECENCY:
        return days_since(history, condition.field, as_of)
    return figure(history, condition.field, as_of, condition.window_days)


def holds(condition: Condition, history: History, as_of: date) -> bool:
    left, right = number(condition, history, as_of), condition.value
    if left is None:
        return False
    return {
        "has": lambda: left is True,
        "has_not": lambda: left is False,
        ">": lambda: left > right,
        ">=": lambda: left >= right,
        "<": lambda: left < right,
        "<=": lambda: left <= right,
        "==": lambda: left == right,
        "!=": lambda: left != right,
    }[condition.operator]()


def position(rule_set: RuleSet, history: History, as_of: date) -> int:
    for place, rule in enumerate(rule_set.rules, start=1):
        if all(holds(condition, history, as_of) for condition in rule.conditions):
            return place
    return 0


def fact(column: str, history: History, as_of: date) -> object:
    """The value of one facts column, from its key alone."""
    if column.startswith("tag:"):
        return column.removeprefix("tag:") in history.tags
    if column == "follow_count":
        return history.follows
    name, _, rest = column.partition("[")
    window = int(rest.removesuffix("d]")) if rest else None
    if name.endswith("_day"):
        kind = {"first_day": None, "last_purchase_day": "purchase", "last_interaction_day": "interaction"}[name]
        days = [act.day for act in within(history, as_of, window) if kind is None or act.kind == kind]
        return (min if name == "first_day" else max)(days, default=None)
    return figure(history, name, as_of, window)
