"""One comparison of a rule or a segment. A Condition that exists is valid: making a wrong one raises RuleError.

The fields, and the facts that each reads, are in fields.py. A condition on a day that never was is False, and so is a
comparison with a number that is missing. `is_not` holds of somebody who has no value; `has_not` and `not_in` likewise.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from .errors import RuleError, members, shown, within
from .fields import CHANNEL, DECIMALS, FIELDS, RULE, SEGMENT, Fact, Field, Kind

MAX_CONDITIONS = 20
MAX_DAYS = 36_500
MAX_COUNT = 10**9
MAX_AMOUNT = Decimal("99999999999999.99")
MAX_NUMBER = Decimal(10**9)
MAX_TEXT_VALUE = 128

__all__ = [
    "FIELDS",
    "Condition",
    "Field",
    "Kind",
    "RuleError",
    "conditions_from_json",
    "conditions_to_json",
]


@dataclass(frozen=True)
class Condition:
    """One comparison. value: int for counts and days, Decimal for amounts (yuan) and numbers, else a text.

    >>> Condition("purchase_count", ">", 5).key
    'purchase_count'
    >>> Condition("total_amount", ">=", Decimal("99.5"), window_days=90, channel="store").key
    'total_amount@store[90d]'
    >>> Condition("purchase_count", ">", 5, window_days=-3)
    Traceback (most recent call last):
        ...
    profiles.rules.errors.RuleError: 时间窗口：要在 1 到 36500 天之间，不能是 -3
    """

    field: str
    operator: str
    value: int | Decimal | str
    window_days: int | None = None
    channel: str | None = None

    def __post_init__(self) -> None:
        field = FIELDS.get(self.field) if isinstance(self.field, str) else None
        if field is None:
            raise RuleError(f"没有 {shown(self.field)} 这个字段，可用的有 {'、'.join(FIELDS)}", "field")
        if self.operator not in field.operators:
            reason = f"{field.name} 不能用 {shown(self.operator)}，可用的有 {' '.join(field.operators)}"
            raise RuleError(reason, "operator")
        _check_window(field, self.window_days)
        _check_channel(field, self.channel)
        object.__setattr__(self, "value", _checked_value(field, self.value))

    @property
    def definition(self) -> Field:
        return FIELDS[self.field]

    @property
    def key(self) -> str:
        """The facts column that this condition compares."""
        if self.definition.is_flag:
            return f"{self.definition.column}:{self.value}"
        return self._fact(self.definition.column)

    @property
    def turning_columns(self) -> tuple[str, ...]:
        """The facts columns that say when time alone may change the answer."""
        if self.field == "lifecycle":
            return ("lifecycle_turns",)
        if self.window_days is None:
            return ()
        needed = (self._fact("first_day"),)
        taken_by = self.definition.taken_by
        return needed if taken_by is None else (*needed, self._fact(taken_by))

    def _fact(self, column: str) -> str:
        return Fact(column, self.channel, self.window_days).key


def check_level(condition: Condition, level: str) -> None:
    """Refuse a field of segments in a rule. Raises RuleError with the place `field`."""
    if level == RULE and condition.definition.level == SEGMENT:
        label = condition.definition.label
        reason = f"{label}（{condition.field}）要等全部客户算完才有，只能用在客户人群和推荐规则里，不能用在画像规则里"
        raise RuleError(reason, "field")


def check_conditions(conditions: tuple[Condition, ...], level: str) -> None:
    """Refuse too many conditions, and fields of segments in a rule. The path begins with the index of the wrong one."""
    if len(conditions) > MAX_CONDITIONS:
        raise RuleError(f"最多 {MAX_CONDITIONS} 个条件，这里有 {len(conditions)} 个")
    for index, condition in enumerate(conditions):
        try:
            check_level(condition, level)
        except RuleError as error:
            raise error.under(index) from None


# ---- values ----------------------------------------------------------------------------------------------------------


def _check_window(field: Field, window_days: object) -> None:
    if window_days is None:
        return
    if not field.windowed:
        raise RuleError(f"{field.name} 不能带时间窗口", "window_days")
    if type(window_days) is not int:
        raise RuleError(f"要是整数天数，不能是 {shown(window_days)}", "window_days")
    if not 1 <= window_days <= MAX_DAYS:
        raise RuleError(f"要在 1 到 {MAX_DAYS} 天之间，不能是 {shown(window_days)}", "window_days")


def _check_channel(field: Field, channel: object) -> None:
    if channel is None:
        return
    if not field.channelled:
        raise RuleError(f"{field.name} 不能按渠道统计", "channel")
    if not isinstance(channel, str) or not CHANNEL.fullmatch(channel):
        raise RuleError(f"渠道要是小写字母、数字和下划线，最多 32 个，不能是 {shown(channel)}", "channel")


def _checked_value(field: Field, value: object) -> int | Decimal | str:
    if field.kind is Kind.AMOUNT:
        return _checked_decimal(value, "金额（元）", -MAX_AMOUNT, MAX_AMOUNT)
    if field.kind is Kind.NUMBER:
        return _checked_decimal(value, "数字", Decimal(0), MAX_NUMBER)
    if field.kind in (Kind.COUNT, Kind.DAYS):
        return _checked_whole(value, MAX_DAYS if field.kind is Kind.DAYS else MAX_COUNT)
    return _checked_text(field, value)


def _checked_whole(value: object, highest: int) -> int:
    # bool is an int to Python; `purchase_count > true` is a mistake.
    if type(value) is not int:
        raise RuleError(f"要是整数，不能是 {shown(value)}", "value")
    if not 0 <= value <= highest:
        raise RuleError(f"要在 0 到 {highest} 之间，不能是 {shown(value)}", "value")
    return value


def _checked_decimal(value: object, what: str, lowest: Decimal, highest: Decimal) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise RuleError(f"要是{what}，不能是 {shown(value)}", "value")
    amount = Decimal(value)
    if not amount.is_finite():
        raise RuleError(f"要是有限的{what}，不能是 {shown(str(value))}", "value")
    if not lowest <= amount <= highest:
        among = f"正负 {highest} 元之内" if lowest < 0 else f" {lowest} 到 {highest} 之间"
        raise RuleError(f"要在{among}，不能是 {shown(str(value))}", "value")
    cents = amount.quantize(Decimal("0.01"))
    if cents != amount:
        raise RuleError(f"最多两位小数，不能是 {shown(str(value))}", "value")
    return cents + Decimal(0)  # -0.00 becomes 0.00


def _checked_text(field: Field, value: object) -> str:
    what = "标签 ID" if field.kind is Kind.TAGS else field.label
    if not isinstance(value, str) or not value:
        raise RuleError(f"要是{what}，不能是 {shown(value)}", "value")
    if len(value) > MAX_TEXT_VALUE or not value.isprintable():
        raise RuleError(f"{what} 最多 {MAX_TEXT_VALUE} 个可见字符", "value")
    if field.choices and value not in field.choices:
        known = "、".join(code if code == label else f"{code}（{label}）" for code, label in field.choices.items())
        raise RuleError(f"{what}没有 {shown(value)}，可用的有 {known}", "value")
    if field.form is not None and not field.form.fullmatch(value):
        raise RuleError(f"{what}要写编号（数字），不能是 {shown(value)}", "value")
    return value


# ---- JSON ------------------------------------------------------------------------------------------------------------


def conditions_to_json(conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    """Return plain JSON values. Amounts are decimal strings, as everywhere; what is not given is left out.

    >>> conditions_to_json([Condition("total_amount", ">=", Decimal("99.5"), 90, "store")])
    [{'field': 'total_amount', 'operator': '>=', 'value': '99.50', 'window_days': 90, 'channel': 'store'}]
    """
    return [_condition_to_json(condition) for condition in conditions]


def _condition_to_json(condition: Condition) -> dict[str, Any]:
    value = str(condition.value) if isinstance(condition.value, Decimal) else condition.value
    found: dict[str, Any] = {"field": condition.field, "operator": condition.operator, "value": value}
    given = {"window_days": condition.window_days, "channel": condition.channel}
    return found | {name: value for name, value in given.items() if value is not None}


def conditions_from_json(data: object, *, level: str = SEGMENT) -> tuple[Condition, ...]:
    """Return the conditions, or raise RuleError whose path begins with the index of the wrong one.

    level: RULE refuses fields that only segments may use.
    """
    if not isinstance(data, list):
        raise RuleError("要是条件的列表")
    if len(data) > MAX_CONDITIONS:
        raise RuleError(f"最多 {MAX_CONDITIONS} 个条件，这里有 {len(data)} 个")
    conditions = tuple(within(_condition_from_json, item, index) for index, item in enumerate(data))
    check_conditions(conditions, level)
    return conditions


def _condition_from_json(data: object) -> Condition:
    found: dict[str, Any] = members(data, required=("field", "operator", "value"), optional=("window_days", "channel"))
    value = found["value"]
    field = FIELDS.get(found["field"]) if isinstance(found["field"], str) else None
    if field is not None and field.kind in DECIMALS:
        value = _decimal_from_json(value, "金额（元）" if field.kind is Kind.AMOUNT else "数字")
    return Condition(found["field"], found["operator"], value, found.get("window_days"), found.get("channel"))


def _decimal_from_json(value: object, what: str) -> object:
    if not isinstance(value, str | float):
        return value
    try:
        return Decimal(str(value).strip())
    except InvalidOperation:
        raise RuleError(f"要是{what}，不能是 {shown(value)}", "value") from None
