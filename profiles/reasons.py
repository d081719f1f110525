"""Why a customer is in a class: the run that put them there, its rule, and the numbers that decided."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from customers.tags import named
from profiles import publishing
from profiles.models import ProfileHistory, RuleVersion
from profiles.rules import Condition, Explanation, Verdict, describe_condition, explain
from profiles.rules.conditions import Kind
from scrm import sharding

HISTORY = 20


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


def in_words(verdicts: Iterable[Verdict]) -> list[Line]:
    """Return conditions and their numbers in 中文. Database: none, but for the tag library (held per process)."""
    return [Line(describe(verdict.condition), _actual(verdict), verdict.holds) for verdict in verdicts]


def describe(condition: Condition) -> str:
    """Return a condition in 中文, tags by their names."""
    name = named([str(condition.value)])[0]["name"] if condition.field == "tags" else None
    return describe_condition(condition, value_name=name)


def _actual(verdict: Verdict) -> str:
    kind, actual = verdict.condition.definition.kind, verdict.actual
    if kind is Kind.TAGS:
        return "有" if actual else "没有"
    if actual is None:
        return "从未"
    if kind is Kind.AMOUNT:
        return f"¥{Decimal(str(actual)):,.2f}"
    return f"{actual} 天" if kind is Kind.DAYS else str(actual)
