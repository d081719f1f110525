"""Conditions as one line of text, written and read.

    conditions = condition { "and" condition }
    condition  = figure [ "@" channel ] [ "[" days "d" "]" ] (">" | ">=" | "<" | "<=" | "==" | "!=") number
               | "tags" ("has" | "has_not") text
               | field ("is" | "is_not") text
               | "segment" ("in" | "not_in") text
    text       = '"' characters '"'                    a quote or backslash in it is written \\" or \\\\

    purchase_count > 5 and interaction_count@store[90d] > 10 and tags has "etAbC" and lifecycle is_not "lost"
    purchase_count[90d > 5        refused: 第 19 个字符：时间窗口要写成 [90d]
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn

from .conditions import MAX_CONDITIONS, Condition, check_level
from .errors import RuleError
from .fields import DECIMALS, FIELDS, RULE, SEGMENT, Fact, Kind

MAX_TEXT = 10_000

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<channel>@[^\s\[\]<>=!"]*)
      | (?P<window>\[[^\]\s]*\]?)
      | (?P<operator>>=|<=|==|!=|>|<|=)
      | (?P<number>[+-]?[0-9][0-9A-Za-z_.+-]*)
      | (?P<string>"(?:[^"\\]|\\.)*"?)
      | (?P<other>\S)
      | (?P<end>$)
    )""",
    re.VERBOSE,
)
_WINDOW = re.compile(r"\[(-?[0-9]{1,9})d\]")
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?")


class RuleSyntaxError(RuleError):
    """Text that is no condition. `position` counts characters from 0."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason)
        self.position = position

    def __str__(self) -> str:
        return f"第 {self.position + 1} 个字符：{self.reason}"


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int

    @property
    def shown(self) -> str:
        return "结尾" if self.kind == "end" else self.text[:40]


def parse_conditions(text: str, *, level: str = SEGMENT) -> tuple[Condition, ...]:
    """Return the conditions, at least one; RuleSyntaxError tells where and why not. level: RULE for rules of classes.

    >>> parse_conditions('purchase_count[90d] >= 3')
    (Condition(field='purchase_count', operator='>=', value=3, window_days=90, channel=None),)
    >>> parse_conditions('purchase_count > 5 or tags has "et1"')
    Traceback (most recent call last):
        ...
    profiles.rules.text.RuleSyntaxError: 第 20 个字符：条件之间只能用 and 连接，不能是 or
    """
    if len(text) > MAX_TEXT:
        raise RuleSyntaxError(f"最多 {MAX_TEXT} 个字符", MAX_TEXT)
    reader = _Reader(text, level)
    conditions = [reader.condition()]
    while reader.next.kind != "end":
        if reader.next.text.lower() != "and":
            reader.refuse(f"条件之间只能用 and 连接，不能是 {reader.next.shown}")
        reader.take()
        if len(conditions) == MAX_CONDITIONS:
            reader.refuse(f"最多 {MAX_CONDITIONS} 个条件")
        conditions.append(reader.condition())
    return tuple(conditions)


class _Reader:
    def __init__(self, text: str, level: str) -> None:
        self.text = text
        self.level = level
        self.offset = 0
        self.next = self._scan()

    def _scan(self) -> _Token:
        match = _TOKEN.match(self.text, self.offset)
        if match is None or match.lastgroup is None:
            # `.` in the pattern stops at a line break inside a string.
            return _Token("other", self.text[self.offset :].strip()[:1], self.offset)
        self.offset = match.end()
        return _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))

    def take(self) -> _Token:
        token, self.next = self.next, self._scan()
        return token

    def refuse(self, reason: str, position: int | None = None) -> NoReturn:
        raise RuleSyntaxError(reason, self.next.position if position is None else position)

    def condition(self) -> Condition:
        at = {"field": self.next.position}
        name = self._field()
        at["channel"] = self.next.position
        channel = self._channel()
        at["window_days"] = self.next.position
        window_days = self._window()
        at["operator"] = self.next.position
        operator = self._operator(name)
        at["value"] = self.next.position
        value = self._value(name)
        try:
            condition = Condition(name, operator, value, window_days, channel)
            check_level(condition, self.level)
            return condition
        except RuleError as error:
            raise RuleSyntaxError(error.reason, at[str(error.path[0])]) from None

    def _field(self) -> str:
        if self.next.kind != "name":
            self.refuse(f"这里要有字段名，不能是 {self.next.shown}")
        if self.next.text not in FIELDS:
            known = [name for name, field in FIELDS.items() if field.level in (RULE, self.level)]
            self.refuse(f"没有 {self.next.shown} 这个字段，可用的有 {'、'.join(known)}")
        return self.take().text

    def _channel(self) -> str | None:
        return self.take().text.removeprefix("@") if self.next.kind == "channel" else None

    def _window(self) -> int | None:
        if self.next.kind != "window":
            return None
        match = _WINDOW.fullmatch(self.next.text)
        if match is None:
            self.refuse("时间窗口要写成 [90d]")
        self.take()
        return int(match[1])

    def _operator(self, name: str) -> str:
        operators = FIELDS[name].operators
        if self.next.text == "=":
            self.refuse("相等要写成 ==")
        if self.next.text not in operators:
            self.refuse(f"{name} 后面要有 {' '.join(operators)} 之一，不能是 {self.next.shown}")
        return self.take().text

    def _value(self, name: str) -> int | Decimal | str:
        kind = FIELDS[name].kind
        if kind in (Kind.TAGS, Kind.CHOICE, Kind.SEGMENTS):
            return self._string(FIELDS[name].label)
        if self.next.kind != "number" or not _NUMBER.fullmatch(self.next.text):
            self.refuse(f"这里要有数字，不能是 {self.next.shown}")
        if kind not in DECIMALS and "." in self.next.text:
            self.refuse(f"要是整数，不能是 {self.next.shown}")
        number = self.take().text
        return Decimal(number) if kind in DECIMALS else int(number)

    def _string(self, label: str) -> str:
        if self.next.kind != "string":
            self.refuse(f'{label}要写在双引号里，如 "etAbC"，不能是 {self.next.shown}')
        if not re.fullmatch(r'"(?:[^"\\]|\\["\\])*"', self.next.text):
            self.refuse('双引号没有成对，或反斜杠后不是 " 或 \\')
        return re.sub(r"\\(.)", r"\1", self.take().text[1:-1])


def format_conditions(conditions: tuple[Condition, ...]) -> str:
    r"""Return the text that parse_conditions reads back as the same conditions.

    >>> format_conditions((Condition("total_amount", ">=", Decimal("99.5"), 90), Condition("tags", "has", 'a"b')))
    'total_amount[90d] >= 99.50 and tags has "a\\"b"'
    """
    return " and ".join(_formatted(condition) for condition in conditions)


def _formatted(condition: Condition) -> str:
    figure = Fact(condition.field, condition.channel, condition.window_days).key
    return f"{figure} {condition.operator} {_value_text(condition)}"


def _value_text(condition: Condition) -> str:
    if isinstance(condition.value, str):
        return '"' + condition.value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(condition.value).removesuffix(".00")


_SIGNS = {">": ">", ">=": "≥", "<": "<", "<=": "≤", "==": "=", "!=": "≠"}


def describe_condition(condition: Condition, *, value_name: str | None = None, channel_name: str | None = None) -> str:
    """Return the condition in 中文, for pages.

    value_name: what people call the value: the name of a tag, of a member of staff, of a department, of a segment.
    channel_name: what they call the channel.

    >>> describe_condition(Condition("purchase_count", ">=", 3, 90, "mini_program"), channel_name="小程序")
    '近 90 天小程序渠道购买次数 ≥ 3'
    >>> describe_condition(Condition("tags", "has_not", "et1"), value_name="黑名单")
    '没有标签「黑名单」'
    >>> describe_condition(Condition("lifecycle", "is", "dormant"))
    '生命周期是「沉睡」'
    """
    field = condition.definition
    if field.kind in (Kind.TAGS, Kind.CHOICE, Kind.SEGMENTS):
        name = value_name or field.choices.get(str(condition.value)) or condition.value
        return _VERBS[condition.operator].format(field.label, name)
    when = "" if condition.window_days is None else f"近 {condition.window_days} 天"
    where = "" if condition.channel is None else f"{channel_name or condition.channel}渠道"
    unit = {"元": " 元", "%": "%"}.get(field.unit, "")
    return f"{when}{where}{field.label} {_SIGNS[condition.operator]} {_value_text(condition)}{unit}"


_VERBS = {
    "has": "有{}「{}」",
    "has_not": "没有{}「{}」",
    "is": "{}是「{}」",
    "is_not": "{}不是「{}」",
    "in": "在{}「{}」中",
    "not_in": "不在{}「{}」中",
}
