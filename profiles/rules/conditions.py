"""The vocabulary of rules. A Condition, Rule or RuleSet that exists is valid: making a wrong one raises RuleError.

A run with `as_of` counts the days before it. A window of W days is the days in [as_of - W, as_of).

| field                                              | window | operators       | value       | facts column         |
|----------------------------------------------------|--------|-----------------|-------------|----------------------|
| purchase_count, interaction_count, refund_count    | may    | > >= < <= == != | 0 .. 10^9   | purchase_count[90d]  |
| total_amount                                       | may    |                 | yuan, 0.01  | total_amount[90d]    |
| days_since_last_purchase                           | no     |                 | 0 .. 36500  | last_purchase_day    |
| days_since_last_interaction                        | no     |                 | 0 .. 36500  | last_interaction_day |
| days_since_first_behaviour                         | no     |                 | 0 .. 36500  | first_day            |
| follow_count (follows that are not lost)           | no     |                 | 0 .. 10^9   | follow_count         |
| tags                                               | no     | has has_not     | a tag id    | tag:<id>             |

Without a window a figure is over all time, in the column purchase_count. A condition on a day that never was is False.
Each window W that is used also wants first_day[Wd], the earliest day in the window with any behaviour. Refunds take
from purchase_count (when they leave nothing of the purchase) and from total_amount, on their own day; so those two also
want refund_count[Wd] or refund_amount[Wd]: where a window holds no refund, time alone only lowers its figures; where it
holds one, they may go either way, as the refund may outlive its purchase in the window.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, TypeVar

MAX_RULES = 100
MAX_CONDITIONS = 20
# Each window is one more sum over the daily totals, each tag one more column in the memory of a worker.
MAX_WINDOWS = 12
MAX_TAGS = 100
MAX_DAYS = 36_500
MAX_COUNT = 10**9
MAX_AMOUNT = Decimal("99999999999999.99")
MAX_NAME = 64
MAX_TAG_ID = 128
MAX_VERSION = 2**31 - 1

COMPARISONS = (">", ">=", "<", "<=", "==", "!=")
MEMBERSHIPS = ("has", "has_not")


class RuleError(ValueError):
    """A rule that cannot be evaluated. `place` is a path such as rules[0].conditions[2].value, `reason` is in 中文."""

    def __init__(self, reason: str, *path: str | int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path

    @property
    def place(self) -> str:
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return steps.removeprefix(".")

    def under(self, *path: str | int) -> "RuleError":
        """Return the same error seen from outside, `path` in front of its own."""
        return RuleError(self.reason, *path, *self.path)

    def __str__(self) -> str:
        where = _place_in_words(self.path)
        return f"{where}：{self.reason}" if where else self.reason


_PLACES = {
    "field": "字段",
    "operator": "比较符",
    "value": "数值",
    "window_days": "时间窗口",
    "profile": "客户画像",
    "default_profile": "默认画像",
    "version": "版本",
    "rules": "规则",
    "conditions": "条件",
}


def _place_in_words(path: Sequence[str | int]) -> str:
    words: list[str] = []
    for before, step in zip(["", *path], path, strict=False):
        if isinstance(step, int):
            words = words[:-1] if before else words
            words.append(f"第 {step + 1} {'条规则' if before == 'rules' else '个条件'}")
        else:
            words.append(_PLACES.get(step, step))
    return " · ".join(words)


class Kind(Enum):
    COUNT = "count"
    AMOUNT = "amount"
    DAYS = "days"
    TAGS = "tags"


@dataclass(frozen=True)
class Field:
    name: str
    label: str
    kind: Kind
    windowed: bool
    column: str
    taken_by: str | None = None  # the figure of what refunds take from this one, on their own day

    @property
    def operators(self) -> tuple[str, ...]:
        return MEMBERSHIPS if self.kind is Kind.TAGS else COMPARISONS


FIELDS: Mapping[str, Field] = {
    field.name: field
    for field in (
        Field("purchase_count", "购买次数", Kind.COUNT, True, "purchase_count", taken_by="refund_count"),
        Field("interaction_count", "互动次数", Kind.COUNT, True, "interaction_count"),
        Field("total_amount", "消费金额", Kind.AMOUNT, True, "total_amount", taken_by="refund_amount"),
        Field("refund_count", "退款次数", Kind.COUNT, True, "refund_count"),
        Field("days_since_last_purchase", "距上次购买天数", Kind.DAYS, False, "last_purchase_day"),
        Field("days_since_last_interaction", "距上次互动天数", Kind.DAYS, False, "last_interaction_day"),
        Field("days_since_first_behaviour", "距首次行为天数", Kind.DAYS, False, "first_day"),
        Field("tags", "标签", Kind.TAGS, False, "tag"),
        Field("follow_count", "跟进员工数", Kind.COUNT, False, "follow_count"),
    )
}


@dataclass(frozen=True)
class Condition:
    """One comparison. value: int for counts and days, Decimal in yuan for amounts, a tag id for tags.

    >>> Condition("purchase_count", ">", 5).key
    'purchase_count'
    >>> Condition("total_amount", ">=", Decimal("99.5"), window_days=90).key
    'total_amount[90d]'
    >>> Condition("purchase_count", ">", 5, window_days=-3)
    Traceback (most recent call last):
        ...
    profiles.rules.conditions.RuleError: 时间窗口：要在 1 到 36500 天之间，不能是 -3
    """

    field: str
    operator: str
    value: int | Decimal | str
    window_days: int | None = None

    def __post_init__(self) -> None:
        field = FIELDS.get(self.field) if isinstance(self.field, str) else None
        if field is None:
            raise RuleError(f"没有 {_shown(self.field)} 这个字段，可用的有 {'、'.join(FIELDS)}", "field")
        if self.operator not in field.operators:
            reason = f"{field.name} 不能用 {_shown(self.operator)}，可用的有 {' '.join(field.operators)}"
            raise RuleError(reason, "operator")
        _check_window(field, self.window_days)
        object.__setattr__(self, "value", _checked_value(field.kind, self.value))

    @property
    def definition(self) -> Field:
        return FIELDS[self.field]

    @property
    def key(self) -> str:
        """The facts column that this condition compares."""
        if self.definition.kind is Kind.TAGS:
            return f"tag:{self.value}"
        return windowed(self.definition.column, self.window_days)

    @property
    def columns(self) -> tuple[str, ...]:
        """All facts columns that judging needs: the compared one, and for a window what says when it may change."""
        if self.window_days is None:
            return (self.key,)
        needed = (self.key, windowed("first_day", self.window_days))
        taken_by = self.definition.taken_by
        return needed if taken_by is None else (*needed, windowed(taken_by, self.window_days))


@dataclass(frozen=True)
class Rule:
    """Whoever meets all the conditions is of this class."""

    profile: str
    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        _check_profile(self.profile, "profile")
        object.__setattr__(self, "conditions", tuple(self.conditions))
        if not self.conditions:
            raise RuleError("至少要有一个条件；人人都符合的画像请设为默认画像", "conditions")
        if len(self.conditions) > MAX_CONDITIONS:
            raise RuleError(f"最多 {MAX_CONDITIONS} 个条件，这里有 {len(self.conditions)} 个", "conditions")


@dataclass(frozen=True)
class RuleSet:
    """Ordered rules: the first that matches decides, else the default. Positions: 1.. for rules, 0 for the default."""

    version: int
    rules: tuple[Rule, ...]
    default_profile: str

    def __post_init__(self) -> None:
        if type(self.version) is not int or not 0 <= self.version <= MAX_VERSION:
            raise RuleError(f"要是 0 到 {MAX_VERSION} 的整数，不能是 {_shown(self.version)}", "version")
        _check_profile(self.default_profile, "default_profile")
        object.__setattr__(self, "rules", tuple(self.rules))
        if len(self.rules) > MAX_RULES:
            raise RuleError(f"最多 {MAX_RULES} 条规则，这里有 {len(self.rules)} 条", "rules")
        if len(needed_windows(self)) > MAX_WINDOWS:
            raise RuleError(f"不同的时间窗口最多 {MAX_WINDOWS} 个，这里有 {len(needed_windows(self))} 个", "rules")
        if len(needed_tags(self)) > MAX_TAGS:
            raise RuleError(f"用到的标签最多 {MAX_TAGS} 个，这里有 {len(needed_tags(self))} 个", "rules")

    @property
    def profiles(self) -> tuple[str, ...]:
        """The class of each position, the default first."""
        return (self.default_profile, *(rule.profile for rule in self.rules))


def windowed(column: str, window_days: int | None) -> str:
    """Return the facts column of a figure over a window, or over all time.

    >>> windowed("purchase_count", 90), windowed("purchase_count", None)
    ('purchase_count[90d]', 'purchase_count')
    """
    return column if window_days is None else f"{column}[{window_days}d]"


def _all_conditions(rule_set: RuleSet) -> Iterator[Condition]:
    for rule in rule_set.rules:
        yield from rule.conditions


def needed_columns(rule_set: RuleSet) -> set[str]:
    """Return every facts column that evaluate, review_on and explain will read."""
    return {column for condition in _all_conditions(rule_set) for column in condition.columns}


def needed_windows(rule_set: RuleSet) -> set[int]:
    return {condition.window_days for condition in _all_conditions(rule_set) if condition.window_days is not None}


def needed_tags(rule_set: RuleSet) -> set[str]:
    return {str(condition.value) for condition in _all_conditions(rule_set) if condition.field == "tags"}


def needs_follows(rule_set: RuleSet) -> bool:
    return any(condition.field == "follow_count" for condition in _all_conditions(rule_set))


# ---- values ----------------------------------------------------------------------------------------------------------


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _check_window(field: Field, window_days: object) -> None:
    if window_days is None:
        return
    if not field.windowed:
        raise RuleError(f"{field.name} 不能带时间窗口", "window_days")
    if type(window_days) is not int:
        raise RuleError(f"要是整数天数，不能是 {_shown(window_days)}", "window_days")
    if not 1 <= window_days <= MAX_DAYS:
        raise RuleError(f"要在 1 到 {MAX_DAYS} 天之间，不能是 {_shown(window_days)}", "window_days")


def _checked_value(kind: Kind, value: object) -> int | Decimal | str:
    if kind is Kind.TAGS:
        return _checked_tag(value)
    if kind is Kind.AMOUNT:
        return _checked_amount(value)
    highest = MAX_DAYS if kind is Kind.DAYS else MAX_COUNT
    # bool is an int to Python; `purchase_count > true` is a mistake.
    if type(value) is not int:
        raise RuleError(f"要是整数，不能是 {_shown(value)}", "value")
    if not 0 <= value <= highest:
        raise RuleError(f"要在 0 到 {highest} 之间，不能是 {_shown(value)}", "value")
    return value


def _checked_amount(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise RuleError(f"要是金额（元），不能是 {_shown(value)}", "value")
    amount = Decimal(value)
    if not amount.is_finite():
        raise RuleError(f"要是有限的金额，不能是 {_shown(str(value))}", "value")
    if abs(amount) > MAX_AMOUNT:
        raise RuleError(f"要在正负 {MAX_AMOUNT} 元之内，不能是 {_shown(str(value))}", "value")
    cents = amount.quantize(Decimal("0.01"))
    if cents != amount:
        raise RuleError(f"最多两位小数，不能是 {_shown(str(value))}", "value")
    return cents + Decimal(0)  # -0.00 becomes 0.00


def _checked_tag(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise RuleError(f"要是标签 ID，不能是 {_shown(value)}", "value")
    if len(value) > MAX_TAG_ID or not value.isprintable():
        raise RuleError(f"标签 ID 最多 {MAX_TAG_ID} 个可见字符", "value")
    return value


def _check_profile(name: object, place: str) -> None:
    if not isinstance(name, str) or not name.strip():
        raise RuleError("要有名称", place)
    if name != name.strip() or not name.isprintable():
        raise RuleError("名称前后不能有空白，也不能含控制字符", place)
    if len(name) > MAX_NAME:
        raise RuleError(f"名称最多 {MAX_NAME} 个字", place)


# ---- JSON ------------------------------------------------------------------------------------------------------------


def conditions_to_json(conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    """Return plain JSON values. An amount is a decimal string, as everywhere; all time has no window_days.

    >>> conditions_to_json([Condition("total_amount", ">=", Decimal("99.5"), 90)])
    [{'field': 'total_amount', 'operator': '>=', 'value': '99.50', 'window_days': 90}]
    """
    return [_condition_to_json(condition) for condition in conditions]


def _condition_to_json(condition: Condition) -> dict[str, Any]:
    value = str(condition.value) if isinstance(condition.value, Decimal) else condition.value
    found: dict[str, Any] = {"field": condition.field, "operator": condition.operator, "value": value}
    return found if condition.window_days is None else {**found, "window_days": condition.window_days}


def conditions_from_json(data: object) -> tuple[Condition, ...]:
    """Return the conditions, or raise RuleError whose path begins with the index of the wrong one."""
    if not isinstance(data, list):
        raise RuleError("要是条件的列表")
    if len(data) > MAX_CONDITIONS:
        raise RuleError(f"最多 {MAX_CONDITIONS} 个条件，这里有 {len(data)} 个")
    return tuple(_within(_condition_from_json, item, index) for index, item in enumerate(data))


def _condition_from_json(data: object) -> Condition:
    found = _members(data, required=("field", "operator", "value"), optional=("window_days",))
    value = found["value"]
    field = FIELDS.get(found["field"]) if isinstance(found["field"], str) else None
    if field is not None and field.kind is Kind.AMOUNT:
        value = _amount_from_json(value)
    return Condition(found["field"], found["operator"], value, found.get("window_days"))


def _amount_from_json(value: object) -> object:
    if not isinstance(value, str | float):
        return value
    try:
        return Decimal(str(value).strip())
    except InvalidOperation:
        raise RuleError(f"要是金额（元），不能是 {_shown(value)}", "value") from None


def to_json(rule_set: RuleSet) -> dict[str, Any]:
    return {
        "version": rule_set.version,
        "default_profile": rule_set.default_profile,
        "rules": [
            {"profile": rule.profile, "conditions": conditions_to_json(rule.conditions)} for rule in rule_set.rules
        ],
    }


def from_json(data: object) -> RuleSet:
    """Return the rule set, or raise RuleError with the place of the first mistake."""
    found = _members(data, required=("version", "default_profile", "rules"))
    if not isinstance(found["rules"], list):
        raise RuleError("要是规则的列表", "rules")
    if len(found["rules"]) > MAX_RULES:
        raise RuleError(f"最多 {MAX_RULES} 条规则，这里有 {len(found['rules'])} 条", "rules")
    rules = tuple(_within(_rule_from_json, item, "rules", index) for index, item in enumerate(found["rules"]))
    return RuleSet(found["version"], rules, found["default_profile"])


def _rule_from_json(data: object) -> Rule:
    found = _members(data, required=("profile", "conditions"))
    return Rule(found["profile"], _within(conditions_from_json, found["conditions"], "conditions"))


T = TypeVar("T")


def _within(read: Callable[[object], T], data: object, *path: str | int) -> T:
    try:
        return read(data)
    except RuleError as error:
        raise error.under(*path) from None


def _members(data: object, *, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise RuleError("要是一个对象")
    for name in required:
        if name not in data:
            raise RuleError("缺少这一项", name)
    for name in data:
        if name not in (*required, *optional):
            raise RuleError(f"不认识 {_shown(name)} 这一项")
    return data


DEFAULT_RULE_SET = RuleSet(
    version=1,
    rules=(Rule("高价值客户", (Condition("purchase_count", ">", 5), Condition("interaction_count", ">", 10))),),
    default_profile="潜在客户",
)
