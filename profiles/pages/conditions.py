"""Conditions written with selects: rows of a form, read into conditions or into what is wrong and where.

A set of conditions has a prefix, and of each row exactly one control of each part:

    <prefix>-field      a name of FIELDS; a row with neither field nor value is left out
    <prefix>-channel    "" for every channel
    <prefix>-window     "" for all time, "days" for the last <prefix>-days days
    <prefix>-days
    <prefix>-operator
    <prefix>-value      a number, a tag's id or name, a choice's code or name

Pages include profiles/condition_head.html once and profiles/condition_rows.html for each set, with form_context(level),
`rows` and `prefix`; scrm/conditions.js adds and removes rows and sets (data-sets, data-set-item). Without JavaScript
what is there can be changed and sent, and a noscript row takes one more condition.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache

from customers.counts import known_classes
from customers.organisation import organisation
from customers.pages.filters import department_choices, tag_choices
from customers.tags import named, tag_library
from profiles.reasons import describe
from profiles.rules import FIELDS, Condition, Field, Kind, RuleError
from profiles.rules.conditions import MAX_CONDITIONS
from profiles.rules.fields import RULE
from profiles.vocabulary import channel_names
from scrm import sharding

PARTS = ("field", "channel", "window", "days", "operator", "value")
# Where the form shows what Condition says of a part.
PLACES = {"window_days": "days"}
MAX_TEXT = 200
WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
DECIMAL = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,10})?")

GROUPS = {
    "count": "数量", "number": "数量", "amount": "金额", "days": "时间", "tags": "标签", "choice": "状态",
    "segments": "人群",
}  # fmt: skip
OPERATORS = {
    ">": "大于", ">=": "不少于", "<": "小于", "<=": "不超过", "==": "等于", "!=": "不等于", "has": "有",
    "has_not": "没有", "is": "是", "is_not": "不是", "in": "在", "not_in": "不在",
}  # fmt: skip
# Who may write conditions anywhere may have them read back in words.
PERMISSIONS = ("profiles.view_ruleversion", "profiles.view_segment", "profiles.view_recommendationrule")

Choices = Sequence[tuple[str, str]]
_choices: dict[str, Callable[[], Choices]] = {}


def choices_for(name: str) -> Callable[[Callable[[], Choices]], Callable[[], Choices]]:
    """Register what a field may be compared with: fn() -> [(value, 中文)], called for each page."""

    def register(function: Callable[[], Choices]) -> Callable[[], Choices]:
        _choices[name] = function
        return function

    return register


@choices_for("profile")
def _classes() -> Choices:
    return [(name, name) for name in known_classes()]


@choices_for("home")
def _homes() -> Choices:
    return [(str(home), f"dept_{home}") for home in sharding.shard_map().homes]


@choices_for("department")
def _departments() -> Choices:
    return department_choices(organisation())


@dataclasses.dataclass
class FormRow:
    """A condition as it stands in the form. errors: {part: what is wrong}; condition: None when anything is."""

    field: str = ""
    channel: str = ""
    window: str = ""
    days: str = ""
    operator: str = ""
    value: str = ""
    errors: dict[str, str] = dataclasses.field(default_factory=dict)
    condition: Condition | None = None

    @property
    def is_blank(self) -> bool:
        return not self.field and not self.value

    @property
    def is_unfinished(self) -> bool:
        """Whether it lacks something, rather than having something wrong: nothing to complain of while it is typed."""
        return not (self.field and self.operator and self.value) or (self.window == "days" and not self.days)

    @property
    def words(self) -> str:
        return describe(self.condition) if self.condition is not None else ""

    @property
    def unit(self) -> str:
        definition = FIELDS.get(self.field)
        return definition.unit if definition else ""

    @property
    def has_channel(self) -> bool:
        """Whether the control is shown: also where one was given that may not be."""
        return bool(self.channel) or takes_channel(FIELDS.get(self.field))

    @property
    def has_window(self) -> bool:
        definition = FIELDS.get(self.field)
        return bool(self.window) or (definition is not None and definition.windowed)

    @property
    def operators(self) -> list[tuple[str, str]]:
        """The operators that the field takes; all of them for a row without a field, as it is without JavaScript."""
        definition = FIELDS.get(self.field)
        return operator_choices(definition.operators) if definition else [("", "比较…"), *OPERATORS.items()]

    @property
    def options(self) -> "list[tuple[str, Choices]] | None":
        """What the value is chosen from, in groups; None where it is typed."""
        definition = FIELDS.get(self.field)
        groups = None if definition is None else value_choices(definition)
        if groups is None or not self.value or any(self.value == value for _, group in groups for value, _ in group):
            return groups
        return [("", [(self.value, _name_of(definition, self.value))]), *groups]


# ---- reading and writing ---------------------------------------------------------------------------------------------


def form_rows(conditions: Iterable[Condition]) -> list[FormRow]:
    """Return the rows that show conditions, and read back as them."""
    return [
        FormRow(
            field=one.field,
            channel=one.channel or "",
            window="" if one.window_days is None else "days",
            days="" if one.window_days is None else str(one.window_days),
            operator=one.operator,
            value=_value_text(one.value),
            condition=one,
        )
        for one in conditions
    ]


def read_conditions(post: QueryDict, prefix: str, level: str = "rule") -> list[FormRow]:
    """Return the rows of a set that are not blank. One too many is kept, for whoever counts them to complain.

    level: "rule" refuses fields that only segments may use.
    """
    columns = [[_cleaned(text) for text in post.getlist(f"{prefix}-{part}")[: 4 * MAX_CONDITIONS]] for part in PARTS]
    rows = [
        FormRow(field, channel, window, days, operator, value)
        for field, channel, window, days, operator, value in zip_longest(*columns, fillvalue="")
    ]
    rows = [row for row in rows if not row.is_blank][: MAX_CONDITIONS + 1]
    for row in rows:
        _read(row, level)
    return rows


def conditions_of(rows: Iterable[FormRow]) -> tuple[Condition, ...] | None:
    """Return the conditions of rows, None when one of them is none."""
    found = [row.condition for row in rows]
    return tuple(one for one in found if one is not None) if None not in found else None


def _cleaned(text: str) -> str:
    return text.replace("\x00", "").strip()[: MAX_TEXT + 1]


def _read(row: FormRow, level: str) -> None:
    definition = FIELDS.get(row.field)
    if not row.field:
        row.errors["field"] = "请选择字段"
        return
    if definition is None or (level == "rule" and definition.level != RULE):
        row.errors["field"] = f"没有「{row.field[:40]}」这个字段" if definition is None else "这个字段只能用于人群"
        return
    if row.operator not in definition.operators:
        row.errors["operator"] = "请选择比较方式" if not row.operator else f"{definition.label}不能这样比较，请重新选择"
    if row.channel and definition.channelled and row.channel not in channel_names():
        row.errors["channel"] = f"没有「{row.channel[:40]}」这个渠道"
    window_days = _window(row, definition)
    value = _value(row, definition)
    if row.errors:
        return
    try:
        row.condition = Condition(row.field, row.operator, value, window_days, row.channel or None)
    except RuleError as error:
        part = str(error.path[0]) if error.path else "value"
        row.errors[PLACES.get(part, part)] = error.reason


def _window(row: FormRow, definition: Field) -> int | None:
    if row.window == "":
        return None
    if row.window != "days":
        row.errors["window"] = "请选择全部时间或近几天"
    elif not definition.windowed:
        row.errors["window"] = f"{definition.label}不分时间，请选全部时间"
    elif not row.days:
        row.errors["days"] = "请填写天数"
    elif not WHOLE.fullmatch(plain_number(row.days)):
        row.errors["days"] = f"要是整数天数，不能是 {row.days[:40]}"
    else:
        return int(plain_number(row.days))
    return None


def _value(row: FormRow, definition: Field) -> Any:
    """Return the value in the type that Condition wants of this kind; what is none is said in row.errors."""
    text, kind = row.value, definition.kind.value
    if not text:
        row.errors["value"] = "请选择" if value_choices(definition) is not None else "请填写数值"
    elif len(text) > MAX_TEXT:
        row.errors["value"] = f"最多 {MAX_TEXT} 个字"
    elif kind in ("count", "days"):
        if WHOLE.fullmatch(plain_number(text)):
            return int(plain_number(text))
        row.errors["value"] = f"要是整数，不能是 {text[:40]}"
    elif kind in ("amount", "number"):
        if DECIMAL.fullmatch(plain_number(text)):
            return Decimal(plain_number(text))
        row.errors["value"] = f"要是{'金额' if kind == 'amount' else '数'}，不能是 {text[:40]}"
    else:
        return _chosen(definition, text)
    return None


def plain_number(number: str) -> str:
    """Return a number as people type it the way that Python reads it.

    >>> plain_number("１，２００"), plain_number("¥ 1,200.50")
    ('1200', '1200.50')
    """
    return re.sub(r"[,，¥￥\s]", "", unicodedata.normalize("NFKC", number))


def _chosen(definition: Field, text: str) -> str:
    """Return the code that is meant by a code or, typed without JavaScript, by a name that only one has."""
    choices = [choice for _, group in value_choices(definition) or [] for choice in group]
    if any(text == value for value, _ in choices):
        return text
    same = [value for value, name in choices if name.strip() == text]
    return same[0] if len(same) == 1 else text


def _value_text(value: object) -> str:
    return str(value).removesuffix(".00") if isinstance(value, Decimal) else str(value)


def _name_of(definition: Field | None, value: str) -> str:
    if definition is not None and definition.kind is Kind.TAGS:
        return named([value])[0]["name"] if value in tag_library() else f"{value}（不在标签库里）"
    return f"{value}（现在没有这一项）"


# ---- what there is to choose from ------------------------------------------------------------------------------------


def takes_channel(definition: Field | None) -> bool:
    return definition is not None and definition.channelled


def operator_choices(operators: Iterable[str]) -> list[tuple[str, str]]:
    return [(one, OPERATORS.get(one, one)) for one in operators]


def value_choices(definition: Field) -> list[tuple[str, Choices]] | None:
    """Return what a field may be compared with, in groups; None where a value is typed."""
    if definition.kind is Kind.TAGS:
        return list(tag_choices())
    known = _choices.get(definition.name)
    if known is not None:
        return [("", known())]
    return [("", list(definition.choices.items()))] if definition.choices else None


def form_context(level: str) -> dict[str, Any]:
    """Return what the templates of conditions want: the fields in groups, and what each may be compared with.

    level: "rule", or "segment" for all fields. Database: none but for what is held per process.
    """
    usable = [one for one in FIELDS.values() if level != "rule" or one.level == RULE]
    groups: dict[str, list[Field]] = {name: [] for name in GROUPS.values()}
    for one in usable:
        groups.setdefault(GROUPS.get(one.kind.value, "其他"), []).append(one)
    return {
        "level": level,
        "field_groups": [(name, fields) for name, fields in groups.items() if fields],
        "channels": list(channel_names().items()),
        "blank_row": FormRow(),
        "max_conditions": MAX_CONDITIONS,
        "condition_fields": {
            one.name: {
                "label": one.label,
                "windowed": one.windowed,
                "channelled": takes_channel(one),
                "operators": operator_choices(one.operators),
                "unit": one.unit,
                "whole": one.kind.value in ("count", "days"),
                "options": value_choices(one),
            }
            for one in usable
        },
    }


# ---- read back while they are written --------------------------------------------------------------------------------


@never_cache
def check_conditions(request: HttpRequest) -> HttpResponseBase:
    """Answer with a set's conditions in 中文, or with what is wrong and where: a piece of the page."""
    if not any(request.user.has_perm(permission) for permission in PERMISSIONS):
        raise PermissionDenied
    level = "segment" if request.GET.get("level") == "segment" else "rule"
    rows = read_conditions(request.GET, request.GET.get("prefix", "")[:40], level)
    return TemplateResponse(request, "profiles/condition_words.html", words_context(rows))


def words_context(rows: Sequence[FormRow]) -> dict[str, Any]:
    """Return what stands below a set: its conditions in a sentence, and what is wrong about those that are whole."""
    return {
        "rows": rows,
        "mistakes": [
            (place, words)
            for place, row in enumerate(rows, start=1)
            if not row.is_unfinished
            for words in row.errors.values()
        ],
    }
