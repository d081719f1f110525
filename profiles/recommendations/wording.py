"""Reasons with a customer's own numbers. Pure.

    {total_amount}  {purchase_count[30d]}  {days_since_last_purchase@store}  {lifecycle}    as conditions read them
    {items}  {because}          of a cross-sell: what is suggested, and what it goes with

| fact                  | in numbers | in the reason |
|-----------------------|------------|---------------|
| 3 purchases           | 3          | 3             |
| 123 450 cents         | "1234.50"  | ¥1,234.50     |
| last bought 95 days ago | 95       | 95            |
| lifecycle "dormant"   | "dormant"  | 沉睡           |
| nothing               | null       | 多 for days, else — |
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from profiles.rules import FIELDS, Condition, Fact, Field, Kind, Needs, RuleError, is_amount

MAX_LENGTH = 200
ITEMS, BECAUSE = "items", "because"
ITEMS_SLOT, BECAUSE_SLOT = f"{{{ITEMS}}}", f"{{{BECAUSE}}}"
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_FIGURE = re.compile(r"([a-z_]+)(?:@([a-z][a-z0-9_]*))?(?:\[([0-9]{1,9})d\])?", re.ASCII)
NOTHING = "—"
LONG = "多"


@dataclass(frozen=True)
class Figure:
    """A number of a customer, by its field. name: as it is written, total_amount@store[90d]."""

    name: str
    field: Field
    key: str

    def read(self, value: Any, as_of: date) -> int | str | None:
        """Return what a value of a block's facts says, as JSON takes it. value: Python's own, as tolist() gives it."""
        if self.field.kind is Kind.DAYS:
            return (as_of - value).days if isinstance(value, date) and value < as_of else None
        if self.field.kind is Kind.CHOICE:
            return str(value) if value else None
        if value is None or math.isnan(value):
            return None
        if is_amount(self.key):
            return str((Decimal(round(value)) / 100).quantize(Decimal("0.01")))
        if self.field.kind is Kind.COUNT:
            return int(value)
        return str(Decimal(str(float(value))).quantize(Decimal("0.01")))

    def show(self, value: int | str | None) -> str:
        """Return a number as people read it."""
        if value is None:
            return LONG if self.field.kind is Kind.DAYS else NOTHING
        if self.field.kind is Kind.AMOUNT:
            amount = Decimal(value)
            return f"{'-' if amount < 0 else ''}¥{abs(amount):,.2f}"
        if self.field.kind is Kind.CHOICE:
            return self.field.choices.get(str(value), str(value))
        return str(value)


@dataclass(frozen=True)
class Wording:
    """A reason that can be written: texts and figures in turn. Made by read()."""

    parts: tuple[str | Figure, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        return tuple(part for part in self.parts if isinstance(part, Figure))

    def write(self, numbers: Mapping[str, Any], *, items: Iterable[str] = (), because: str = "") -> str:
        """Return the reason. numbers: {Figure.name: what it read}."""
        texts = {one.name: one.show(numbers.get(one.name)) for one in self.figures}
        return self.put(texts, items="、".join(items), because=because)

    def put(self, texts: Mapping[str, str], *, items: str = "", because: str = "") -> str:
        """Return the reason of texts that are made already: {Figure.name: as it is shown}."""
        slots = {ITEMS_SLOT: items or NOTHING, BECAUSE_SLOT: because or NOTHING}
        return "".join([texts[part.name] if isinstance(part, Figure) else slots.get(part, part) for part in self.parts])


def read(template: str) -> Wording:
    """Return the wording of a template, or raise RuleError with the place `reason`.

    >>> wording = read("已 {days_since_last_purchase} 天没有购买，累计 {total_amount}")
    >>> wording.write({"days_since_last_purchase": 95, "total_amount": "1234.50"})
    '已 95 天没有购买，累计 ¥1,234.50'
    >>> read("{lucky_number}")
    Traceback (most recent call last):
        ...
    profiles.rules.errors.RuleError: 理由：没有 {lucky_number} 这个占位
    """
    if not template.strip():
        raise RuleError("请写下理由", "reason")
    if not template.isprintable():
        raise RuleError("不能含换行和控制字符", "reason")
    if len(template) > MAX_LENGTH:
        raise RuleError(f"最多 {MAX_LENGTH} 个字，这里有 {len(template)} 个", "reason")
    parts: list[str | Figure] = []
    end = 0
    for match in _PLACEHOLDER.finditer(template):
        parts.append(template[end : match.start()])
        end = match.end()
        parts.append(match[0] if match[1] in (ITEMS, BECAUSE) else _figure(match[1]))
    parts.append(template[end:])
    if any(
        isinstance(part, str) and part not in (ITEMS_SLOT, BECAUSE_SLOT) and re.search("[{}]", part) for part in parts
    ):
        raise RuleError("花括号要成对，只能用来写占位，例如 {total_amount}", "reason")
    return Wording(tuple(part for part in parts if part))


def _figure(text: str) -> Figure:
    match = _FIGURE.fullmatch(text)
    field = FIELDS.get(match[1]) if match else None
    if match is None or field is None or field.is_flag:
        raise RuleError(f"没有 {{{text[:40]}}} 这个占位", "reason")
    channel, window_days = match[2], int(match[3]) if match[3] else None
    if field.kind is Kind.CHOICE:
        if channel or window_days:
            raise RuleError(f"{field.label}不能带渠道或时间窗口", "reason")
    else:
        try:
            Condition(
                field.name, ">=", Decimal(0) if field.kind in (Kind.AMOUNT, Kind.NUMBER) else 0, window_days, channel
            )
        except RuleError as error:
            raise RuleError(error.reason, "reason") from None
    return Figure(text, field, Fact(field.column, channel, window_days).key)


def figures_of(conditions: Iterable[Condition]) -> tuple[Figure, ...]:
    """Return the numbers that conditions compare, each once; flags have none."""
    found: dict[str, Figure] = {}
    for one in conditions:
        if not one.definition.is_flag:
            name = Fact(one.field, one.channel, one.window_days).key
            found.setdefault(name, Figure(name, one.definition, one.key))
    return tuple(found.values())


def needs_of_figures(figures: Iterable[Figure]) -> Needs:
    return Needs(frozenset(figure.key for figure in figures))
