"""Why a customer is in a class: the run that put them there, its rule, and the numbers that decided.

And what it would take to be in another: by the rules in force, and by what has been recorded up to now.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from customers.organisation import organisation
from customers.segments import segment_names
from customers.tags import named
from profiles import publishing
from profiles.days import day_of
from profiles.facts import FactReader
from profiles.models import ProfileHistory, RuleVersion
from profiles.rules import Condition, Explanation, Needs, RuleSet, Verdict, describe_condition, explain, is_amount
from profiles.rules.conditions import Kind
from profiles.rules.reaching import Gap, Reach, describe_gap, reach
from profiles.rules.turning import Life
from profiles.totals import Picked
from profiles.vocabulary import channel_names
from scrm import sharding

HISTORY = 20
BEGUN = Needs(frozenset({"first_day"}))


@dataclass(frozen=True)
class Line:
    """A condition in words, the number that it met, and whether it held."""

    condition: str
    actual: str
    holds: bool


def list_history(customer_id: int, *, limit: int = HISTORY) -> list[ProfileHistory]:
    """Return the changes of a customer's class, the newest first. Database: one query on the home's."""
    rows = ProfileHistory.objects.using(sharding.alias(sharding.home_of(customer_id))).filter(
        customer_id=customer_id, bucket=sharding.bucket_of(customer_id)
    )
    return list(rows.order_by("-run_id")[:limit])


def explain_change(change: ProfileHistory) -> Explanation | None:
    """Return the rules that were tried at a change, with their numbers; None when the version is not there any more.

    Database: two queries on control.
    """
    version = RuleVersion.objects.filter(version=change.rule_version).first()
    if version is None:
        return None
    numbers = {
        "purchase_count": change.purchase_count,
        "interaction_count": change.interaction_count,
        "total_amount": change.total_amount,
        **(change.numbers or {}),
    }
    try:
        return explain(publishing.rule_set_of(version), numbers, change.as_of)
    except LookupError:
        return None  # written before a rule's facts were kept


def look_ahead(customer_id: int, rule_set: RuleSet) -> tuple[Explanation | None, list[Reach]]:
    """Return what rules say of a customer as of tomorrow, so that today counts, and what the classes ahead would take.

    None, and nothing, when nobody is there. Database: as totals.Reader for one customer. Raises HomeUnavailableError.
    """
    as_of = day_of(timezone.now()) + timedelta(days=1)
    facts = read_facts(customer_id, rule_set.needs | BEGUN, as_of)
    if facts is None:
        return None, []
    now = explain(rule_set, facts, as_of)
    first_day = facts["first_day"]
    # NaT, which differs from itself, for who has never done anything.
    return now, reach(now, Life(rule_set.settings.lifecycle, has_begun=bool(first_day == first_day)))


def read_facts(customer_id: int, needs: Needs, as_of: date) -> Mapping[str, Any] | None:
    """Return facts of one customer, amounts in yuan; the lifecycle is that of the last run."""
    reader = FactReader(sharding.home_of(customer_id), sharding.bucket_of(customer_id), as_of, needs)
    block = reader.read_picked(Picked(customer_id - 1, customer_id, is_last=True, ids=[customer_id]))
    if not len(block):
        return None
    return {
        key: Decimal(int(column[0])).scaleb(-2) if is_amount(key) else column[0] for key, column in block.facts.items()
    }


# ---- in words --------------------------------------------------------------------------------------------------------


def in_words(verdicts: Iterable[Verdict]) -> list[Line]:
    """Return conditions and their numbers in 中文. Database: none, but for what is held per process."""
    return [Line(describe(verdict.condition), _actual(verdict), verdict.holds) for verdict in verdicts]


def describe(condition: Condition) -> str:
    """Return a condition in 中文, tags, channels, staff and departments by their names."""
    return describe_condition(condition, **_names(condition))


def missing_in_words(gap: Gap) -> str:
    """Return in 中文 what a condition lacks."""
    return describe_gap(gap, **_names(gap.condition))


def _names(condition: Condition) -> dict[str, str | None]:
    channel = condition.channel
    return {
        "value_name": _value_name(condition.field, str(condition.value)),
        "channel_name": None if channel is None else channel_names().get(channel, channel),
    }


def _value_name(field: str, value: str) -> str | None:
    if field == "tags":
        return named([value])[0]["name"]
    if field == "followed_by":
        return organisation().staff_names.get(value)
    if field == "department" and value.isdecimal():
        return organisation().department_names.get(int(value))
    if field == "segment":
        return segment_names().get(int(value)) if value.isdecimal() else None
    return f"dept_{value}" if field == "home" else None


def _actual(verdict: Verdict) -> str:
    definition, actual = verdict.condition.definition, verdict.actual
    if definition.is_flag:
        return "有" if actual else "没有"
    if definition.kind is Kind.CHOICE:
        return definition.choices.get(str(actual), str(actual)) if actual else "没有"
    if actual is None:
        return "从未"
    if definition.kind is Kind.AMOUNT:
        return f"¥{Decimal(str(actual)):,.2f}"
    return f"{actual} 天" if definition.kind is Kind.DAYS else f"{actual}{definition.unit}"
