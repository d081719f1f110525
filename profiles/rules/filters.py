"""Who a segment or a recommendation is for: groups of conditions, of which any one has to hold as a whole.

    [[{"field": "lifecycle", "operator": "is", "value": "dormant"}, {"field": "total_amount", …}],   both of these
     [{"field": "tags", "operator": "has", "value": "etAbC"}]]                                       or this

Every field may be used. Facts are as of a day: segments are judged as of tomorrow, so that today counts.
"""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from .conditions import Condition, check_conditions, conditions_from_json, conditions_to_json
from .errors import RuleError, within
from .fields import SEGMENT, Kind
from .judging import Columns, Facts, judge_now
from .needs import Needs, needs_of
from .rulesets import check_sizes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_GROUPS = 10
MAX_SEGMENTS = 20


@dataclass(frozen=True)
class Filter:
    """Groups of conditions. A Filter that exists is valid: places of mistakes are like groups[0][1].value.

    >>> Filter.from_json([[{"field": "lifecycle", "operator": "is", "value": "sleepy"}]])
    Traceback (most recent call last):
        ...
    profiles.rules.errors.RuleError: 第 1 组条件 · 第 1 个条件 · 数值：生命周期没有 sleepy，可用的有 \
new（新客）、active（活跃）、dormant（沉睡）、lost（流失）、returned（回流）
    """

    groups: tuple[tuple[Condition, ...], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(tuple(group) for group in self.groups))
        if not self.groups:
            raise RuleError("至少要有一组条件", "groups")
        if len(self.groups) > MAX_GROUPS:
            raise RuleError(f"最多 {MAX_GROUPS} 组条件，这里有 {len(self.groups)} 组", "groups")
        for index, group in enumerate(self.groups):
            if not group:
                raise RuleError("每组至少要有一个条件", "groups", index)
            try:
                check_conditions(group, SEGMENT)
            except RuleError as error:
                raise error.under("groups", index) from None
        check_sizes(self.needs, "groups")
        if len(self.segments) > MAX_SEGMENTS:
            raise RuleError(f"最多引用 {MAX_SEGMENTS} 个人群，这里有 {len(self.segments)} 个", "groups")

    @classmethod
    def from_json(cls, data: object) -> "Filter":
        """Return the filter of [[condition, …], …], or raise RuleError with the place of the first mistake."""
        if not isinstance(data, list):
            raise RuleError("要是条件组的列表", "groups")
        if len(data) > MAX_GROUPS:
            raise RuleError(f"最多 {MAX_GROUPS} 组条件，这里有 {len(data)} 组", "groups")
        return cls(tuple(within(conditions_from_json, group, "groups", index) for index, group in enumerate(data)))

    def to_json(self) -> list[list[dict[str, Any]]]:
        return [conditions_to_json(group) for group in self.groups]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return tuple(condition for group in self.groups for condition in group)

    @property
    def needs(self) -> Needs:
        """The facts columns that holds() reads."""
        return needs_of(self.conditions)

    @property
    def segments(self) -> frozenset[str]:
        """The ids of the segments that it refers to."""
        return frozenset(str(one.value) for one in self.conditions if one.definition.kind is Kind.SEGMENTS)


def holds(found: Filter, facts: Facts, as_of: date) -> "NDArray[np.bool_]":
    """Return for every row whether the filter holds. Raises MissingFactError (our bug).

    >>> import numpy as np
    >>> found = Filter(((Condition("lifecycle", "is", "lost"),), (Condition("days_since_created", "<=", 1),)))
    >>> created = np.array(["2026-11-01", "2026-11-01", "2026-11-20"], "M8[D]")
    >>> facts = {"lifecycle": ["lost", "new", None], "created_day": created}
    >>> holds(found, facts, date(2026, 11, 21)).tolist()
    [True, False, True]
    """
    import numpy as np

    columns = Columns(facts, as_of)
    groups = [np.logical_and.reduce([judge_now(one, columns) for one in group]) for group in found.groups]
    return np.asarray(np.logical_or.reduce(groups), dtype=bool)
