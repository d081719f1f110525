"""Random rules, and a customer's history with the facts and the classes told one number at a time.

The reference below shares nothing with profiles.rules but the dataclasses: plain Python, one customer, one day.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from profiles.rules import Condition, LifecycleSettings, Rule, RuleSet, Settings, read_key

WINDOWED = ("purchase_count", "interaction_count", "refund_count", "purchase_days")
RECENCY = {
    "days_since_last_purchase": "purchase",
    "days_since_last_interaction": "interaction",
    "days_since_first_behaviour": None,
}
COMPARE = st.sampled_from([">", ">=", "<", "<=", "==", "!="])
TAG_IDS = ("et1", "et 二", 'quo"te\\')
CHANNELS = ("store", "app")
LIFECYCLES = ("new", "active", "dormant", "lost", "returned")
START = date(2024, 2, 1)


def amounts(lowest: int = -10_000, highest: int = 10_000) -> st.SearchStrategy[Decimal]:
    return st.integers(lowest, highest).map(lambda cents: Decimal(cents).scaleb(-2))


@st.composite
def conditions(draw: st.DrawFn, *, days: int = 12, highest: int = 4, tag_ids: st.SearchStrategy[str] | None = None):
    kind = draw(st.sampled_from(["count", "count", "amount", "days", "days", "tags", "follows", "lifecycle"]))
    window = draw(st.none() | st.integers(1, days))
    channel = draw(st.none() | st.sampled_from(CHANNELS))
    if kind == "count":
        field = draw(st.sampled_from(WINDOWED))
        return Condition(field, draw(COMPARE), draw(st.integers(0, highest)), window, channel)
    if kind == "amount":
        return Condition("total_amount", draw(COMPARE), draw(amounts(-500, 2_000)), window, channel)
    if kind == "days":
        field = draw(st.sampled_from([*sorted(RECENCY), "days_since_added"]))
        value = draw(st.integers(0, days))
        return Condition(field, draw(COMPARE), value, channel=channel if field in RECENCY else None)
    if kind == "follows":
        return Condition("follow_count", draw(COMPARE), draw(st.integers(0, 2)))
    if kind == "lifecycle":
        return Condition("lifecycle", draw(st.sampled_from(["is", "is_not"])), draw(st.sampled_from(LIFECYCLES)))
    return Condition(
        "tags",
        draw(st.sampled_from(["has", "has_not"])),
        draw(st.sampled_from(TAG_IDS) if tag_ids is None else tag_ids),
    )


@st.composite
def lifecycle_settings(draw: st.DrawFn) -> LifecycleSettings:
    """Short ones, so that some days are a life."""
    dormant = draw(st.integers(1, 8))
    return LifecycleSettings(
        new_days=draw(st.integers(1, 10)),
        dormant_days=dormant,
        lost_days=draw(st.integers(dormant + 1, 14)),
        return_days=draw(st.integers(1, dormant)),
    )


def all_settings() -> st.SearchStrategy[Settings]:
    return st.builds(Settings, st.just(LifecycleSettings()) | lifecycle_settings())


def rule_sets() -> st.SearchStrategy[RuleSet]:
    rules = st.builds(
        Rule, st.sampled_from(["甲", "乙", "丙"]), st.lists(conditions(), min_size=1, max_size=3).map(tuple)
    )
    return st.builds(
        RuleSet, st.integers(0, 9), st.lists(rules, max_size=4).map(tuple), st.just("其他"), all_settings()
    )


@dataclass(frozen=True)
class Act:
    """kind: purchase, interaction, refund (of a whole purchase), part (the refund of a part of one)."""

    day: date
    kind: str
    amount: Decimal
    channel: str = "store"


@dataclass(frozen=True)
class History:
    """net: a refund takes one from the purchases of its own day, as well as its amount.

    created: the day that the customer was; added: the earliest day of the follows that are not lost.
    """

    acts: tuple[Act, ...]
    tags: frozenset[str]
    follows: int
    net: bool
    created: date = START
    added: date | None = None


def histories() -> st.SearchStrategy[History]:
    days = st.integers(0, 25).map(lambda n: START + timedelta(days=n))
    acts = st.builds(
        Act,
        days,
        st.sampled_from(["purchase", "purchase", "interaction", "refund", "part"]),
        amounts(0, 900),
        st.sampled_from(CHANNELS),
    )
    return st.builds(
        History,
        st.lists(acts, max_size=8).map(tuple),
        st.frozensets(st.sampled_from(TAG_IDS)),
        st.integers(0, 2),
        st.booleans(),
        days,
        st.none() | st.integers(0, 45).map(lambda n: START + timedelta(days=n)),
    )


def within(history: History, as_of: date, window: int | None, channel: str | None = None) -> list[Act]:
    first = date.min if window is None else as_of - timedelta(days=window)
    return [act for act in history.acts if first <= act.day < as_of and channel in (None, act.channel)]


def figure(history: History, field: str, as_of: date, window: int | None, channel: str | None = None) -> int | Decimal:
    acts = within(history, as_of, window, channel)
    count = {kind: sum(act.kind == kind for act in acts) for kind in ("purchase", "interaction", "refund")}
    refunded = sum((act.amount for act in acts if act.kind in ("refund", "part")), Decimal(0))
    if field == "purchase_days":
        return len({act.day for act in acts if act.kind == "purchase"})
    if field == "refund_amount":
        return refunded
    if field == "total_amount":
        return sum((act.amount for act in acts if act.kind == "purchase"), Decimal(0)) - refunded
    if field == "purchase_count":
        return count["purchase"] - (count["refund"] if history.net else 0)
    return count[field.removesuffix("_count")]


def lifecycle(history: History, as_of: date, chosen: LifecycleSettings) -> str:
    """The table of profiles.rules.lifecycle, said once more."""
    acts = within(history, as_of, None)
    active = sorted({act.day for act in acts if act.kind in ("purchase", "interaction")})
    first = min((act.day for act in acts), default=history.created)
    last = active[-1] if active else first
    silent = (as_of - last).days
    if silent > chosen.lost_days:
        return "lost"
    if silent > chosen.dormant_days:
        return "dormant"
    if (as_of - first).days <= chosen.new_days:
        return "new"
    for back in active:
        if (as_of - back).days <= chosen.return_days:
            before = [day for day in active if day < back]
            if first < back and (not before or (back - before[-1]).days > chosen.dormant_days):
                return "returned"
            break
    return "active"


def lifecycle_turns(history: History, as_of: date, chosen: LifecycleSettings) -> date | None:
    """The first day on which time alone changes it, found by trying."""
    now = lifecycle(history, as_of, chosen)
    days = (as_of + timedelta(days=n) for n in range(1, chosen.lost_days + chosen.new_days + 60))
    return next((day for day in days if lifecycle(history, day, chosen) != now), None)


def days_since(history: History, field: str, as_of: date, channel: str | None = None) -> int | None:
    kind = RECENCY[field]
    days = [act.day for act in within(history, as_of, None, channel) if kind is None or act.kind == kind]
    if not days:
        return None
    return (as_of - (min(days) if kind is None else max(days))).days


def number(
    condition: Condition, history: History, as_of: date, chosen: LifecycleSettings
) -> int | Decimal | bool | str | None:
    if condition.field == "tags":
        return condition.value in history.tags
    if condition.field == "lifecycle":
        return lifecycle(history, as_of, chosen)
    if condition.field == "follow_count":
        return history.follows
    if condition.field == "days_since_added":
        return None if history.added is None or history.added >= as_of else (as_of - history.added).days
    if condition.field in RECENCY:
        return days_since(history, condition.field, as_of, condition.channel)
    return figure(history, condition.field, as_of, condition.window_days, condition.channel)


def holds(condition: Condition, history: History, as_of: date, chosen: LifecycleSettings) -> bool:
    return compares(condition, number(condition, history, as_of, chosen))


def compares(condition: Condition, left: int | Decimal | bool | str | None) -> bool:
    right = condition.value
    if left is None:
        return False
    return {
        "has": lambda: left is True,
        "has_not": lambda: left is False,
        "is": lambda: left == right,
        "is_not": lambda: left != right,
        ">": lambda: left > right,
        ">=": lambda: left >= right,
        "<": lambda: left < right,
        "<=": lambda: left <= right,
        "==": lambda: left == right,
        "!=": lambda: left != right,
    }[condition.operator]()


def position(rule_set: RuleSet, history: History, as_of: date) -> int:
    chosen = rule_set.settings.lifecycle
    for place, rule in enumerate(rule_set.rules, start=1):
        if all(holds(condition, history, as_of, chosen) for condition in rule.conditions):
            return place
    return 0


def fact(column: str, history: History, as_of: date, chosen: LifecycleSettings) -> object:
    """The value of one facts column, from its key alone."""
    if column.startswith("tag:"):
        return column.removeprefix("tag:") in history.tags
    known = {"follow_count": history.follows, "added_day": history.added}
    if column in known:
        return known[column]
    if column == "lifecycle":
        return lifecycle(history, as_of, chosen)
    if column == "lifecycle_turns":
        return lifecycle_turns(history, as_of, chosen)
    key = read_key(column)
    assert key is not None
    if key.column.endswith("_day"):
        kind = {"first_day": None, "last_purchase_day": "purchase", "last_interaction_day": "interaction"}[key.column]
        acts = within(history, as_of, key.window_days, key.channel)
        days = [act.day for act in acts if kind is None or act.kind == kind]
        return (min if key.column == "first_day" else max)(days, default=None)
    return figure(history, key.column, as_of, key.window_days, key.channel)
