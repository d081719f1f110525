"""What it would take for a condition to hold that does not: in steps, told from the number that it met.

| condition           | met     | steps                                  | in words                           |
|---------------------|---------|----------------------------------------|------------------------------------|
| purchases > 5       | 3       | MORE 3                                 | 再购买 3 次                        |
| spent[90d] >= 500   | 380.00  | MORE 120.00                            | 90 天内再消费 120.00 元            |
| purchases[30d] < 2  | 4       | WAIT 30                                | 等 30 天，其间没有购买             |
| purchases[30d] == 2 | 4       | WAIT 30, MORE 2                        | 等 30 天，其间没有购买，然后购买 2 次 |
| days since > 60     | 48      | WAIT 13                                | 等 13 天，其间没有购买             |
| days since <= 7     | 48      | DO                                     | 再购买一次                         |
| days since >= 30    | never   | DO, WAIT 29                            | 购买一次，等 29 天，其间没有购买   |
| has tag             | no      | TAG                                    | 需要标签「白茶」                   |
| interactions < 3    | 5       | (none: time does not take them away)   | 不再可能                           |
| lifecycle is not lost | lost  | DO: see turning.py                     | 购买或互动一次                     |

A run as of a day counts the days before it, and numbers here are as of tomorrow: what is done today counts at once, and
a purchase of today is one day ago. Steps are enough, not the least: a window is told to be empty after as many days as
it is long, although the behaviours that are too many may leave it earlier. Refunds, which could take a purchase away
again, are nobody's plan: what only they could reach is not possible.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from . import turning
from .acts import Act, Step
from .conditions import Condition
from .fields import Kind
from .judging import Explanation, RuleOutcome, Verdict
from .text import describe_condition
from .turning import Life

CENT = Decimal("0.01")
LIFECYCLE = "lifecycle"


@dataclass(frozen=True)
class Gap:
    """A condition that does not hold, and what would make it hold. No steps: nothing will."""

    condition: Condition
    actual: int | Decimal | bool | str | None
    steps: tuple[Step, ...]
    life: Life = field(default_factory=Life)

    @property
    def is_possible(self) -> bool:
        return bool(self.steps)


@dataclass(frozen=True)
class Reach:
    """A class in front of somebody's, and what is missing for it."""

    position: int
    profile: str
    gaps: tuple[Gap, ...]

    @property
    def is_possible(self) -> bool:
        return all(gap.is_possible for gap in self.gaps)


def reach(explanation: Explanation, life: Life | None = None) -> list[Reach]:
    """Return what is missing for each rule in front of the one that decided, the nearest in order first.

    life: what lifecycles go by, in the rules that were tried. Rules that give the class which they have anyhow are left
    out, and so are those that cannot be evaluated.
    """
    missed = explanation.rules[:-1] if explanation.position else explanation.rules
    return [
        Reach(rule.position, rule.profile, tuple(gap_of(one, life) for one in rule.verdicts if not one.holds))
        for rule in reversed(missed)
        if _is_ahead(rule, explanation)
    ]


def _is_ahead(rule: RuleOutcome, explanation: Explanation) -> bool:
    return bool(rule.verdicts) and rule.profile != explanation.profile


def gap_of(verdict: Verdict, life: Life | None = None) -> Gap:
    """Return what a condition lacks that does not hold.

    >>> gap_of(Verdict(Condition("purchase_count", ">", 5), 3, False)).steps
    (Step(act=<Act.MORE: 'more'>, amount=3),)
    """
    condition, actual = verdict.condition, verdict.actual
    if condition.field == LIFECYCLE:
        life = life or Life()
        steps = turning.steps_to(condition.operator, str(condition.value), str(actual or ""), life)
        return Gap(condition, actual, steps, life)
    return Gap(condition, actual, _steps(condition, actual))


def _steps(condition: Condition, actual: int | Decimal | bool | str | None) -> tuple[Step, ...]:
    kind = condition.definition.kind
    if kind is Kind.TAGS:
        return (Step(Act.TAG if condition.operator == "has" else Act.UNTAG),)
    if kind is Kind.DAYS:
        return _steps_of_days(condition, None if actual is None else int(actual))
    if kind in (Kind.COUNT, Kind.AMOUNT) and isinstance(actual, int | Decimal):
        return _steps_of_figure(condition, actual)
    return (Step(Act.BECOME),)


# ---- figures ---------------------------------------------------------------------------------------------------------


def _steps_of_figure(condition: Condition, actual: int | Decimal) -> tuple[Step, ...]:
    value = condition.value
    assert isinstance(value, int | Decimal)
    least: int | Decimal = CENT if condition.definition.kind is Kind.AMOUNT else 1
    if condition.operator == "!=":
        return _grown(condition, actual, actual + least)
    if condition.operator in (">", ">="):
        return _grown(condition, actual, value + least if condition.operator == ">" else value)
    highest = value - least if condition.operator == "<" else value
    if actual < value:
        return _grown(condition, actual, value)  # of ==, the only one that does not hold below its value
    return _fallen(condition, actual, highest)


def _grown(condition: Condition, actual: int | Decimal, wanted: int | Decimal) -> tuple[Step, ...]:
    window = condition.window_days
    if condition.field == "purchase_days" and window is not None and wanted > window:
        return ()  # there are not as many days
    return (Step(Act.MORE, wanted - actual),)


def _fallen(condition: Condition, actual: int | Decimal, highest: int | Decimal) -> tuple[Step, ...]:
    """Steps of a figure that is too high, to `highest` or, of ==, just that."""
    if condition.field == "follow_count":
        return (Step(Act.FEWER, actual - highest),) if highest >= 0 else ()
    if condition.window_days is None or highest < 0:
        return ()
    emptied = Step(Act.WAIT, condition.window_days)
    return (emptied, *_grown(condition, 0, highest)) if condition.operator == "==" and highest > 0 else (emptied,)


# ---- days since ------------------------------------------------------------------------------------------------------

# What can be done again; the others are of a first time.
AGAIN = ("days_since_last_purchase", "days_since_last_interaction")


def _steps_of_days(condition: Condition, actual: int | None) -> tuple[Step, ...]:
    if actual is None:
        return (Step(Act.DO), *_waited(condition, 1)) if _can_be_met(condition) else ()
    waited = _waited(condition, actual)
    if waited:
        return waited
    return (Step(Act.DO), *_waited(condition, 1)) if condition.field in AGAIN and _can_be_met(condition) else ()


def _can_be_met(condition: Condition) -> bool:
    """Whether some number of days from 1 on will do."""
    assert isinstance(condition.value, int)
    lowest = {"<": 2, "<=": 1, "==": 1}.get(condition.operator, 0)
    return condition.value >= lowest


def _waited(condition: Condition, days: int) -> tuple[Step, ...]:
    """Return how long to wait from so many days since; nothing when it holds already, or when waiting is no help."""
    assert isinstance(condition.value, int)
    if condition.operator == "!=":
        return (Step(Act.WAIT, 1),) if days == condition.value else ()
    if condition.operator in ("<", "<="):
        return ()
    missing = condition.value + (condition.operator == ">") - days
    return (Step(Act.WAIT, missing),) if missing > 0 else ()


# ---- in words --------------------------------------------------------------------------------------------------------

DOING = {
    "purchase_count": "购买", "purchase_days": "购买", "total_amount": "消费", "interaction_count": "互动",
    "refund_count": "退款", "days_since_last_purchase": "购买", "days_since_last_interaction": "互动",
    "days_since_first_behaviour": "购买或互动", "days_since_added": "被员工添加", "follow_count": "员工添加",
}  # fmt: skip


def describe_gap(gap: Gap, *, value_name: str | None = None, channel_name: str | None = None) -> str:
    """Return what is missing in 中文. Names as in describe_condition.

    >>> describe_gap(gap_of(Verdict(Condition("purchase_count", ">=", 3, 30, "store"), 1, False)), channel_name="门店")
    '30 天内在门店再购买 2 次'
    >>> describe_gap(gap_of(Verdict(Condition("days_since_last_purchase", ">=", 30), None, False)))
    '购买一次，然后等 29 天，其间没有购买'
    >>> describe_gap(gap_of(Verdict(Condition("interaction_count", "<", 3), 5, False)))
    '不再可能'
    """
    if not gap.steps:
        return "不再可能"
    condition = gap.condition
    if condition.field == LIFECYCLE and gap.steps != turning.UNKNOWN:
        return turning.words_of(gap.steps, condition.operator, str(condition.value), str(gap.actual or ""), gap.life)
    where = f"在{channel_name or condition.channel}" if condition.channel else ""
    return "，然后".join(_step_in_words(gap, place, value_name, where) for place in range(len(gap.steps)))


def _step_in_words(gap: Gap, place: int, value_name: str | None, where: str) -> str:
    step, condition = gap.steps[place], gap.condition
    doing = DOING.get(condition.field, condition.definition.label)
    if step.act is Act.MORE:
        return _more(condition, step.amount, where, again=place == 0)
    if step.act is Act.WAIT:
        quiet = condition.window_days is not None or condition.field in AGAIN
        return f"等 {step.amount} 天" + (f"，其间没有{where}{doing}" if quiet else "")
    if step.act is Act.DO:
        again = "再" if gap.actual is not None else ""
        return f"{where}{again}{doing}一次"
    if step.act is Act.FEWER:
        return f"少 {step.amount} 位跟进员工"
    if step.act is Act.TAG:
        return f"需要标签「{value_name or condition.value}」"
    if step.act is Act.UNTAG:
        return f"去掉标签「{value_name or condition.value}」"
    return f"需要{describe_condition(condition, value_name=value_name)}"


def _more(condition: Condition, amount: int | Decimal, where: str, *, again: bool) -> str:
    when = f"{condition.window_days} 天内" if condition.window_days is not None and again else ""
    doing, more = DOING.get(condition.field, condition.definition.label), "再" if again else ""
    if condition.field == "follow_count":
        return f"再有 {amount} 位员工添加"
    if condition.field == "purchase_days":
        return f"{when}{where}{more}有 {amount} 天购买"
    unit = "元" if condition.definition.kind is Kind.AMOUNT else "次"
    return f"{when}{where}{more}{doing} {amount} {unit}"
