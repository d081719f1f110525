"""Judge customers by whole columns; say when time alone may change the answer; say why.

Facts are anything that gives a column by its key: a pandas DataFrame, or a dict of arrays of one length. Keys are those
of Needs.columns. Counts are numbers; amounts are yuan, as floats, Decimals or decimal strings, compared as whole cents
(whole cents already in CentFacts); *_day columns are datetime64, dates or ISO strings, NaT or None for never; tag:<id>
and other flags are bool; texts are str, None or "" for none.

A comparison with a missing number is False, also `!=`; `is_not` holds of somebody who has no value. A day that is not
before as_of has not been yet.

Worked example, as_of 2024-03-31, `purchase_count[30d] >= 1`, the last purchase on 03-10:
    03-10 lies in [03-01, 03-31): the condition holds. It leaves the window at as_of 2024-04-10 = 03-10 + 30 + 1 day, as
    [03-11, 04-10) does not hold it. So review_on is 2024-04-10, and every night before may pass this customer by.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from .conditions import Condition
from .fields import DECIMALS, Fact, Kind
from .rulesets import Rule, RuleSet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Days = NDArray[np.int64]
    Holds = NDArray[np.bool_]

# Days since 1970. NaT is the lowest int64; NEVER lies after every date and leaves room to add to it.
MISSING = -(2**63)
NEVER = 2**62


class Facts(Protocol):
    def __getitem__(self, key: str, /) -> Any: ...

    def __len__(self) -> int: ...


class CentFacts(dict[str, Any]):
    """Facts whose amounts and other decimals are whole hundredths, as blocks keep them."""


class MissingFactError(LookupError):
    """The facts lack a column that a rule reads: a fault of whoever loaded them, never of the rule."""


@dataclass(frozen=True)
class Outcome:
    """position: int16, 0 for the default, else the rule's place from 1; profiles: str objects. One of each a row."""

    position: "NDArray[np.int16]"
    profiles: "NDArray[np.object_]"


def evaluate(rule_set: RuleSet, facts: Facts, as_of: date) -> Outcome:
    """Return the class of every row: the first rule whose conditions all hold, else the default.

    Cost: one pass over a column per condition, a few ms a million rows.
    """
    import numpy as np

    columns = Columns(facts, as_of)
    position = np.zeros(columns.rows, dtype=np.int16)
    for place in range(len(rule_set.rules), 0, -1):
        if rule_set.rules[place - 1].problem is None:
            position[_rule_holds(rule_set.rules[place - 1], columns)] = place
    return Outcome(position, np.array(rule_set.profiles, dtype=object)[position])


def review_on(rule_set: RuleSet, facts: Facts, as_of: date) -> "NDArray[np.datetime64]":
    """Return per row the first date after as_of on which time alone may change the deciding rule, else NaT.

    Never too late: with no new input, evaluate() gives the same position at every as_of before that date. It may be
    early: a window tells its earliest day only, so a count that can lose three days and stay is still looked at.
    A rule in front of the deciding one can only begin to hold once each of its failing conditions has turned, and the
    deciding one stops when the first of its conditions turns.
    """
    import numpy as np

    columns = Columns(facts, as_of)
    review = np.full(columns.rows, NEVER, dtype=np.int64)
    undecided = np.ones(columns.rows, dtype=bool)
    for rule in rule_set.rules:
        if rule.problem is not None:
            continue
        judged = [_judge(condition, columns) for condition in rule.conditions]
        holds = np.logical_and.reduce([held for held, _ in judged])
        stops = np.minimum.reduce([turns for _, turns in judged])
        begins = np.maximum.reduce([np.where(held, MISSING, turns) for held, turns in judged])
        np.minimum(review, np.where(holds, stops, begins), out=review, where=undecided)
        undecided &= ~holds
    review[review >= NEVER] = MISSING
    return review.view("datetime64[D]")


# ---- columns ---------------------------------------------------------------------------------------------------------


class Columns:
    """Facts as plain arrays, each read once: whole numbers for counts, cents for amounts, days since 1970 for days."""

    def __init__(self, facts: Facts, as_of: date) -> None:
        import numpy as np

        self.facts = facts
        self.as_of = int(np.datetime64(as_of, "D").astype(np.int64))
        self.rows = len(next(iter(facts.values()))) if isinstance(facts, dict) and facts else len(facts)
        self._read: dict[str, Any] = {}

    def column(self, key: str) -> Any:
        try:
            return self.facts[key]
        except KeyError:
            raise MissingFactError(f"facts have no column {key}: load what needs says") from None

    def days(self, key: str) -> "Days":
        import numpy as np

        if key not in self._read:
            self._read[key] = np.asarray(self.column(key), dtype="datetime64[D]").astype(np.int64)
        return self._read[key]

    def has_been(self, days: "Days") -> "Holds":
        """Tell which days lie before as_of; those that are missing do not."""
        return (days != MISSING) & (days < self.as_of)

    def numbers(self, key: str, kind: Kind) -> Any:
        """int64, or float64 where something is missing (nan)."""
        import numpy as np

        if key not in self._read:
            found = np.asarray(self.column(key))
            if found.dtype.kind not in "iuf":
                found = np.asarray(self.column(key), dtype=np.float64)
            # A sum of floats, or a float that stands for a decimal, is a hair off its cents; whole cents are exact.
            is_to_be_rounded = kind in DECIMALS and not isinstance(self.facts, CentFacts)
            self._read[key] = np.rint(found * 100.0) if is_to_be_rounded else found
        return self._read[key]

    def flags(self, key: str) -> "Holds":
        import numpy as np

        found = np.asarray(self.column(key))
        # A missing flag is no tag: as a bool, nan would be True.
        return found if found.dtype.kind == "b" else np.equal(found, True).astype(bool)

    def texts(self, key: str) -> Any:
        import numpy as np

        if key not in self._read:
            self._read[key] = np.asarray(self.column(key), dtype=object)
        return self._read[key]


# ---- one condition ---------------------------------------------------------------------------------------------------


def _rule_holds(rule: Rule, columns: Columns) -> "Holds":
    import numpy as np

    return np.logical_and.reduce([judge_now(condition, columns) for condition in rule.conditions])


def judge_now(condition: Condition, columns: Columns) -> "Holds":
    """Return for every row whether a condition holds. Raises MissingFactError."""
    import numpy as np

    kind = condition.definition.kind
    if condition.definition.is_flag:
        flags = columns.flags(condition.key)
        return flags if condition.operator in ("has", "is", "in") else ~flags
    if kind is Kind.CHOICE:
        same = np.equal(columns.texts(condition.key), str(condition.value)).astype(bool)
        return same if condition.operator == "is" else ~same
    if kind is Kind.DAYS:
        days = columns.days(condition.key)
        return columns.has_been(days) & _compare(columns.as_of - days, condition.operator, condition.value)
    numbers = columns.numbers(condition.key, kind)
    held = _compare(numbers, condition.operator, _threshold(condition))
    return held & ~np.isnan(numbers) if condition.operator == "!=" and numbers.dtype.kind == "f" else held


def _threshold(condition: Condition) -> int:
    """The value in the unit of Columns.numbers."""
    return int(condition.value * 100) if isinstance(condition.value, Decimal) else int(condition.value)


def _compare(left: Any, operator: str, right: Any) -> "Holds":
    if operator == ">":
        return left > right
    if operator == ">=":
        return left >= right
    if operator == "<":
        return left < right
    if operator == "<=":
        return left <= right
    return left == right if operator == "==" else left != right


def _judge(condition: Condition, columns: Columns) -> "tuple[Holds, Days]":
    """Return whether the condition holds, and the first date on which time alone may turn it (NEVER if none)."""
    import numpy as np

    holds = judge_now(condition, columns)
    if condition.field == "lifecycle":
        turns = columns.days("lifecycle_turns")
        return holds, np.where((turns == MISSING) | (turns <= columns.as_of), NEVER, turns)
    if condition.definition.kind is Kind.DAYS:
        return holds, _recency_turns(condition, columns)
    if condition.window_days is None:
        return holds, np.full(columns.rows, NEVER, dtype=np.int64)
    return holds, _window_turns(condition, columns)


def _recency_turns(condition: Condition, columns: Columns) -> "Days":
    """Days since a day grow by one a day: they reach the value at day + value and pass it a day later.

    A day that has not been yet counts from the day after it.
    """
    import numpy as np

    days = columns.days(condition.key)
    reached = np.where(days == MISSING, NEVER, days) + int(condition.value)
    if condition.operator in (">", "<="):
        turns = reached + 1
    elif condition.operator in (">=", "<"):
        turns = reached
    else:
        turns = np.where(reached > columns.as_of, reached, reached + 1)
    turns = np.where((days != MISSING) & (days >= columns.as_of), days + 1, turns)
    return np.where(turns > columns.as_of, turns, NEVER)


def _window_turns(condition: Condition, columns: Columns) -> "Days":
    """A day d is inside while as_of - window <= d, so the earliest one leaves at d + window + 1.

    Without refunds in the window, figures only fall as days leave: what is 0 or has fallen past its value stays so.
    """
    import numpy as np

    assert condition.window_days is not None
    threshold = _threshold(condition)
    numbers = columns.numbers(condition.key, condition.definition.kind)
    may_turn = (numbers > threshold) if condition.operator in (">", "<=") else (numbers >= threshold)
    may_turn &= numbers > 0
    if condition.definition.taken_by is not None:
        taken = Fact(condition.definition.taken_by, condition.channel, condition.window_days).key
        may_turn |= columns.numbers(taken, condition.definition.kind) != 0
        may_turn |= numbers < 0
    first = columns.days(Fact("first_day", condition.channel, condition.window_days).key)
    # A first_day outside the window, or none beside a figure that is not 0, is a contradiction: look again next day.
    leaves = np.where(first == MISSING, columns.as_of, first + condition.window_days) + 1
    return np.where(may_turn, np.maximum(leaves, columns.as_of + 1), NEVER)


# ---- why -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """actual: what decided: int, Decimal (yuan), bool for tags and other flags, a text; None when there is none."""

    condition: Condition
    actual: int | Decimal | bool | str | None
    holds: bool


@dataclass(frozen=True)
class RuleOutcome:
    position: int
    profile: str
    holds: bool
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Explanation:
    """rules: those that were tried, in order, up to the one that decided; all of them when it was the default."""

    version: int
    position: int
    profile: str
    rules: tuple[RuleOutcome, ...]

    @property
    def deciding(self) -> RuleOutcome | None:
        return self.rules[-1] if self.position else None


def explain(rule_set: RuleSet, row: Mapping[str, Any], as_of: date) -> Explanation:
    """Return the rule that put one customer in a class, and each condition tried with the number that decided.

    row: one row of facts, a dict or a Series; values as in the columns, also as they come back from JSON.
    """
    # NaT and nan, which differ from themselves, say "missing" in a Series; keys(), as a Series iterates its values.
    columns = Columns({key: [None if row[key] != row[key] else row[key]] for key in row.keys()}, as_of)  # noqa: SIM118
    tried: list[RuleOutcome] = []
    for position, rule in enumerate(rule_set.rules, start=1):
        verdicts = tuple(_verdict(condition, columns) for condition in rule.conditions)
        holds = rule.problem is None and all(verdict.holds for verdict in verdicts)
        tried.append(RuleOutcome(position, rule.profile, holds, verdicts))
        if tried[-1].holds:
            return Explanation(rule_set.version, position, rule.profile, tuple(tried))
    return Explanation(rule_set.version, 0, rule_set.default_profile, tuple(tried))


def _verdict(condition: Condition, columns: Columns) -> Verdict:
    return Verdict(condition, _actual(condition, columns), bool(judge_now(condition, columns)[0]))


def _actual(condition: Condition, columns: Columns) -> int | Decimal | bool | str | None:
    kind = condition.definition.kind
    if condition.definition.is_flag:
        return bool(columns.flags(condition.key)[0])
    if kind is Kind.CHOICE:
        return columns.texts(condition.key)[0] or None
    if kind is Kind.DAYS:
        days = columns.days(condition.key)
        return columns.as_of - int(days[0]) if columns.has_been(days)[0] else None
    number = columns.numbers(condition.key, kind)[0]
    if number != number:
        return None
    return Decimal(int(number)).scaleb(-2) if kind in DECIMALS else int(number)
