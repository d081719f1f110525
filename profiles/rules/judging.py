"""Judge customers by whole columns; say when time alone may change the answer; say why.

Facts are anything that gives a column by its key: a pandas DataFrame, or a dict of arrays of one length. Keys are those
of conditions.needed_columns. Counts are numbers; amounts are yuan, as floats, Decimals or decimal strings, compared as
whole cents; *_day columns are datetime64, dates or ISO strings, NaT or None for never; tag:<id> is bool.

A comparison with a missing value is False, also `!=`.

Worked example, as_of 2024-03-31, `purchase_count[30d] >= 1`, the last purchase on 03-10:
    03-10 lies in [03-01, 03-31): the condition holds. It leaves the window at as_of 2024-04-10 = 03-10 + 30 + 1 day, as
    [03-11, 04-10) does not hold it. So review_on is 2024-04-10, and every night before may pass this customer by.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from .conditions import Condition, Kind, Rule, RuleSet, windowed

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

    columns = _Columns(facts, as_of)
    position = np.zeros(columns.rows, dtype=np.int16)
    for place in range(len(rule_set.rules), 0, -1):
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

    columns = _Columns(facts, as_of)
    review = np.full(columns.rows, NEVER, dtype=np.int64)
    undecided = np.ones(columns.rows, dtype=bool)
    for rule in rule_set.rules:
        judged = [_judge(condition, columns) for condition in rule.conditions]
        holds = np.logical_and.reduce([held for held, _ in judged])
        stops = np.minimum.reduce([turns for _, turns in judged])
        begins = np.maximum.reduce([np.where(held, MISSING, turns) for held, turns in judged])
        np.minimum(review, np.where(holds, stops, begins), out=review, where=undecided)
        undecided &= ~holds
    review[review >= NEVER] = MISSING
    return review.view("datetime64[D]")


# ---- columns ---------------------------------------------------------------------------------------------------------


class _Columns:
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
            raise MissingFactError(f"facts have no column {key}: load needed_columns(rule_set)") from None

    def days(self, key: str) -> "Days":
        import numpy as np

        if key not in self._read:
            self._read[key] = np.asarray(self.column(key), dtype="datetime64[D]").astype(np.int64)
        return self._read[key]

    def numbers(self, key: str, kind: Kind) -> Any:
        """int64, or float64 where something is missing (nan)."""
        import numpy as np

        if key not in self._read:
            self._read[key] = _as_numbers(self.column(key), kind, np)
        return self._read[key]

    def flags(self, key: str) -> "Holds":
        import numpy as np

        found = np.asarray(self.column(key))
        # A missing flag is no tag: as a bool, nan would be True.
        return found if found.dtype.kind == "b" else np.equal(found, True).astype(bool)


def _as_numbers(column: Any, kind: Kind, np: Any) -> Any:
    found = np.asarray(column)
    if found.dtype.kind not in "iuf":
        found = np.asarray(column, dtype=np.float64)
    # A sum of floats, or a float that stands for a decimal, is a hair off its cents; whole cents compare exactly.
    return np.rint(found * 100.0) if kind is Kind.AMOUNT else found


# ---- one condition ---------------------------------------------------------------------------------------------------


def _rule_holds(rule: Rule, columns: _Columns) -> "Holds":
    import numpy as np

    return np.logical_and.reduce([_judge_now(condition, columns) for condition in rule.conditions])


def _judge_now(condition: Condition, columns: _Columns) -> "Holds":
    import numpy as np

    if condition.definition.kind is Kind.TAGS:
        flags = columns.flags(condition.key)
        return flags if condition.operator == "has" else ~flags
    if condition.definition.kind is Kind.DAYS:
        days = columns.days(condition.key)
        return (days != MISSING) & _compare(columns.as_of - days, condition.operator, condition.value)
    numbers = columns.numbers(condition.key, condition.definition.kind)
    holds = _compare(numbers, condition.operator, _threshold(condition))
    return holds & ~np.isnan(numbers) if condition.operator == "!=" and numbers.dtype.kind == "f" else holds


def _threshold(condition: Condition) -> int:
    """The value in the unit of _Columns.numbers."""
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


def _judge(condition: Condition, columns: _Columns) -> "tuple[Holds, Days]":
    """Return whether the condition holds, and the first date on which time alone may turn it (NEVER if none)."""
    import numpy as np

    holds = _judge_now(condition, columns)
    if condition.definition.kind is Kind.DAYS:
        return holds, _recency_turns(condition, columns)
    if condition.window_days is None:
        return holds, np.full(columns.rows, NEVER, dtype=np.int64)
    return holds, _window_turns(condition, columns)


def _recency_turns(condition: Condition, columns: _Columns) -> "Days":
    """Days since a day grow by one a day: they reach the value at day + value and pass it a day later."""
    import numpy as np

    days = columns.days(condition.key)
    reached = np.where(days == MISSING, NEVER, days) + int(condition.value)
    if condition.operator in (">", "<="):
        turns = reached + 1
    elif condition.operator in (">=", "<"):
        turns = reached
    else:
        turns = np.where(reached > columns.as_of, reached, reached + 1)
    return np.where(turns > columns.as_of, turns, NEVER)


def _window_turns(condition: Condition, columns: _Columns) -> "Days":
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
        may_turn |= columns.numbers(windowed(condition.definition.taken_by, condition.window_days), Kind.COUNT) != 0
        may_turn |= numbers < 0
    first = columns.days(windowed("first_day", condition.window_days))
    # A first_day outside the window, or none beside a figure that is not 0, is a contradiction: look again next day.
    leaves = np.where(first == MISSING, columns.as_of, first + condition.window_days) + 1
    return np.where(may_turn, np.maximum(leaves, columns.as_of + 1), NEVER)


# ---- why -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """actual: the number that decided: int, Decimal in yuan, bool for tags, None when there is none to compare."""

    condition: Condition
    actual: int | Decimal | bool | None
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
    columns = _Columns({key: [None if row[key] != row[key] else row[key]] for key in row.keys()}, as_of)  # noqa: SIM118
    tried: list[RuleOutcome] = []
    for position, rule in enumerate(rule_set.rules, start=1):
        verdicts = tuple(_verdict(condition, columns) for condition in rule.conditions)
        tried.append(RuleOutcome(position, rule.profile, all(verdict.holds for verdict in verdicts), verdicts))
        if tried[-1].holds:
            return Explanation(rule_set.version, position, rule.profile, tuple(tried))
    return Explanation(rule_set.version, 0, rule_set.default_profile, tuple(tried))


def _verdict(condition: Condition, columns: _Columns) -> Verdict:
    return Verdict(condition, _actual(condition, columns), bool(_judge_now(condition, columns)[0]))


def _actual(condition: Condition, columns: _Columns) -> int | Decimal | bool | None:
    if condition.definition.kind is Kind.TAGS:
        return bool(columns.flags(condition.key)[0])
    if condition.definition.kind is Kind.DAYS:
        day = int(columns.days(condition.key)[0])
        return None if day == MISSING else columns.as_of - day
    number = columns.numbers(condition.key, condition.definition.kind)[0]
    if number != number:
        return None
    return Decimal(int(number)).scaleb(-2) if condition.definition.kind is Kind.AMOUNT else int(number)
