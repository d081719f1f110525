"""Conditions as rows of a form: read back as they were written, or said to be wrong where they are."""

from decimal import Decimal
from typing import Any

import pytest
from django.http import QueryDict
from django.template.loader import render_to_string

from customers.models import Tag, TagGroup
from customers.tags import tag_library
from profiles.pages.conditions import PARTS, FormRow, conditions_of, form_context, form_rows, read_conditions
from profiles.rules import Condition


def posted(*rows: dict[str, str], prefix: str = "r0") -> QueryDict:
    data = QueryDict(mutable=True)
    for part in PARTS:
        data.setlist(f"{prefix}-{part}", [row.get(part, "") for row in rows])
    return data


def sent(row: FormRow) -> dict[str, str]:
    return {part: getattr(row, part) for part in PARTS}


CONDITIONS = (
    Condition("purchase_count", ">=", 3, 90),
    Condition("total_amount", "<", Decimal("99.50")),
    Condition("days_since_last_purchase", "<=", 30),
    Condition("tags", "has", "et1"),
)


@pytest.fixture(autouse=True)
def _library(clean_databases: None) -> None:
    group = TagGroup.objects.create(id="g1", name="偏好")
    Tag.objects.create(id="et1", name="白茶", group=group)
    tag_library.forget()


def test_what_is_shown_is_read_back() -> None:
    rows = read_conditions(posted(*map(sent, form_rows(CONDITIONS))), "r0")
    assert conditions_of(rows) == CONDITIONS
    assert [row.errors for row in rows] == [{}] * 4


def test_sets_are_apart_and_blank_rows_are_left_out() -> None:
    data = posted({"field": "purchase_count", "operator": ">", "value": "5"}, {}, {"operator": ">"})
    assert len(read_conditions(data, "r0")) == 1
    assert read_conditions(data, "r1") == []


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ({"field": "purchase_count", "operator": ">", "value": " ５ "}, 5),
        ({"field": "total_amount", "operator": ">", "value": "¥1,200.5"}, Decimal("1200.50")),
        ({"field": "tags", "operator": "has", "value": "白茶"}, "et1"),
    ],
)
def test_values_as_people_type_them(row: dict[str, str], value: Any) -> None:
    (found,) = read_conditions(posted(row), "r0")
    assert found.condition is not None
    assert found.condition.value == value


@pytest.mark.parametrize(
    ("row", "part", "words"),
    [
        ({"field": "purchases", "operator": ">", "value": "5"}, "field", "没有「purchases」这个字段"),
        ({"field": "", "operator": ">", "value": "5"}, "field", "请选择字段"),
        ({"field": "purchase_count", "operator": ">", "value": ""}, "value", "请填写数值"),
        ({"field": "purchase_count", "operator": ">", "value": "1.5"}, "value", "要是整数，不能是 1.5"),
        ({"field": "purchase_count", "operator": ">", "value": "1e9"}, "value", "要是整数，不能是 1e9"),
        ({"field": "purchase_count", "operator": ">", "value": "-1"}, "value", "要在 0 到 1000000000 之间，不能是 -1"),
        ({"field": "purchase_count", "operator": ">", "value": "9" * 5000}, "value", "最多 200 个字"),
        ({"field": "purchase_count", "operator": "has", "value": "5"}, "operator", "购买次数不能这样比较，请重新选择"),
        ({"field": "purchase_count", "operator": "", "value": "5"}, "operator", "请选择比较方式"),
        ({"field": "total_amount", "operator": ">", "value": "1e999"}, "value", "要是金额，不能是 1e999"),
        ({"field": "total_amount", "operator": ">", "value": "0.001"}, "value", "最多两位小数，不能是 0.001"),
        ({"field": "tags", "operator": "has", "value": ""}, "value", "请选择"),
    ],
)
def test_what_is_wrong_is_said_at_its_part(row: dict[str, str], part: str, words: str) -> None:
    (found,) = read_conditions(posted(row), "r0")
    assert found.condition is None
    assert found.errors == {part: words}


@pytest.mark.parametrize(
    ("window", "part", "words"),
    [
        ({"window": "days", "days": "-3"}, "days", "要在 1 到 36500 天之间，不能是 -3"),
        ({"window": "days", "days": "0"}, "days", "要在 1 到 36500 天之间，不能是 0"),
        ({"window": "days", "days": ""}, "days", "请填写天数"),
        ({"window": "days", "days": "九十"}, "days", "要是整数天数，不能是 九十"),
        ({"window": "weeks", "days": "3"}, "window", "请选择全部时间或近几天"),
    ],
)
def test_windows_that_are_none(window: dict[str, str], part: str, words: str) -> None:
    (found,) = read_conditions(posted({"field": "purchase_count", "operator": ">", "value": "5", **window}), "r0")
    assert found.errors == {part: words}


def test_columns_of_other_lengths_and_too_many_rows() -> None:
    data = posted(*[{"field": "purchase_count", "operator": ">", "value": "5"}] * 300)
    data.setlist("r0-value", ["5"])
    rows = read_conditions(data, "r0")
    assert len(rows) == 21
    assert rows[0].condition == Condition("purchase_count", ">", 5)
    assert rows[1].errors == {"value": "请填写数值"}


def test_the_rows_as_html() -> None:
    rows = read_conditions(posted(*map(sent, form_rows(CONDITIONS)), {"field": "<script>", "value": "1"}), "r0")
    html = render_to_string("profiles/condition_rows.html", {**form_context("rule"), "rows": rows, "prefix": "r0"})
    assert html.count("data-condition>") == 6  # the last one within noscript
    assert '<option value="et1" selected>白茶</option>' in html
    assert 'name="r0-days" data-part="days" value="90"' in html
    assert "<script>" not in html
    assert "近 90 天购买次数 ≥ 3" in html
