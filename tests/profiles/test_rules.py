"""The language of rules: what may be said, read and written as text and as JSON."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.rules import (
    DEFAULT_RULE_SET,
    FIELDS,
    Condition,
    Rule,
    RuleError,
    RuleSet,
    RuleSyntaxError,
    conditions_from_json,
    conditions_to_json,
    describe_condition,
    format_conditions,
    from_json,
    parse_conditions,
    to_json,
)
from tests.profiles.strategies import conditions, rule_sets

ANY_TAG = st.text(min_size=1, max_size=128).filter(str.isprintable)
MANY = st.lists(conditions(days=36_500, highest=10**9, tag_ids=ANY_TAG), min_size=1, max_size=20).map(tuple)


# ---- text ------------------------------------------------------------------------------------------------------------
@given(MANY)
def test_text_reads_back_as_what_was_written(found: tuple[Condition, ...]) -> None:
    assert parse_conditions(format_conditions(found)) == found


@given(st.text(max_size=60) | st.text(alphabet='purchase_cotags[90d]>=<! and"\\hx.\n', max_size=60))
def test_any_other_text_is_refused_with_a_position_inside_it(text: str) -> None:
    try:
        parse_conditions(text)
    except RuleSyntaxError as refused:
        error = refused
    else:
        return
    assert 0 <= error.position <= len(text)
    assert str(error) == f"第 {error.position + 1} 个字符：{error.reason}"


def test_text_of_every_kind() -> None:
    text = 'purchase_count>5 and  total_amount[90d] >= -99.50 AND tags has_not "et\\"1" and days_since_last_purchase!=0'
    assert parse_conditions(text) == (
        Condition("purchase_count", ">", 5),
        Condition("total_amount", ">=", Decimal("-99.50"), 90),
        Condition("tags", "has_not", 'et"1'),
        Condition("days_since_last_purchase", "!=", 0),
    )


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "这里要有字段名，不能是 结尾"),
        ("  ", 2, "这里要有字段名，不能是 结尾"),
        ("purchases > 5", 0, f"没有 purchases 这个字段，可用的有 {'、'.join(FIELDS)}"),
        ("purchase_count", 14, "purchase_count 后面要有 > >= < <= == != 之一，不能是 结尾"),
        ("purchase_count = 5", 15, "相等要写成 =="),
        ("purchase_count > ", 17, "这里要有数字，不能是 结尾"),
        ("purchase_count > five", 17, "这里要有数字，不能是 five"),
        ("purchase_count > 1e999", 17, "这里要有数字，不能是 1e999"),
        ("total_amount > nan", 15, "这里要有数字，不能是 nan"),
        ("purchase_count > 5.5", 17, "要是整数，不能是 5.5"),
        ("purchase_count > -1", 17, "要在 0 到 1000000000 之间，不能是 -1"),
        ("total_amount > 0.001", 15, "最多两位小数，不能是 0.001"),
        ("total_amount > 999999999999999", 15, "要在正负 99999999999999.99 元之内，不能是 999999999999999"),
        ("purchase_count[-3d] > 5", 14, "要在 1 到 36500 天之间，不能是 -3"),
        ("purchase_count[0d] > 5", 14, "要在 1 到 36500 天之间，不能是 0"),
        ("purchase_count[36501d] > 5", 14, "要在 1 到 36500 天之间，不能是 36501"),
        ("purchase_count[90] > 5", 14, "时间窗口要写成 [90d]"),
        ("purchase_count[90d > 5", 14, "时间窗口要写成 [90d]"),
        ("follow_count[90d] > 5", 12, "follow_count 不能带时间窗口"),
        ("tags has et1", 9, '标签要写在双引号里，如 "etAbC"，不能是 et1'),
        ('tags has "et1', 9, '双引号没有成对，或反斜杠后不是 " 或 \\'),
        ('tags has "a\\n"', 9, '双引号没有成对，或反斜杠后不是 " 或 \\'),
        ('tags has ""', 9, "要是标签 ID，不能是 "),
        ('tags has "a\nb"', 9, "标签 ID 最多 128 个可见字符"),
        ("tags == 5", 5, "tags 后面要有 has has_not 之一，不能是 =="),
        ("purchase_count > 5 or purchase_count > 6", 19, "条件之间只能用 and 连接，不能是 or"),
        ("purchase_count > 5 and", 22, "这里要有字段名，不能是 结尾"),
        ("purchase_count > 5;", 18, "条件之间只能用 and 连接，不能是 ;"),
        (" and ".join(["purchase_count > 5"] * 21), 23 * 20, "最多 20 个条件"),
        ("x" * 10_001, 10_000, "最多 10000 个字符"),
    ],
)
def test_text_that_is_no_condition_says_where_and_why(text: str, position: int, reason: str) -> None:
    with pytest.raises(RuleSyntaxError) as caught:
        parse_conditions(text)
    assert (caught.value.position, caught.value.reason) == (position, reason)


def test_conditions_are_described_in_chinese() -> None:
    assert [describe_condition(c) for c in parse_conditions('total_amount[30d] >= 99.5 and tags has "et1"')] == [
        "近 30 天消费金额 ≥ 99.50 元",
        "有标签「et1」",
    ]


# ---- JSON ------------------------------------------------------------------------------------------------------------
@given(rule_sets())
def test_json_reads_back_as_what_was_written(rule_set: RuleSet) -> None:
    assert from_json(json.loads(json.dumps(to_json(rule_set)))) == rule_set


def test_amounts_may_be_numbers_in_json() -> None:
    for value in ("99.50", "99.5", 99.5):
        found = conditions_from_json([{"field": "total_amount", "operator": ">", "value": value}])
        assert found == (Condition("total_amount", ">", Decimal("99.50")),)
    assert conditions_to_json(found) == [{"field": "total_amount", "operator": ">", "value": "99.50"}]


GOOD = {"field": "purchase_count", "operator": ">", "value": 5}


def a_set(**change: object) -> dict[str, object]:
    return {"version": 1, "default_profile": "丙", "rules": [{"profile": "甲", "conditions": [GOOD, GOOD | change]}]}


@pytest.mark.parametrize(
    ("data", "place", "message"),
    [
        (a_set(field="spend"), "rules[0].conditions[1].field", "第 1 条规则 · 第 2 个条件 · 字段：没有 spend 这个字段"),
        (a_set(field=["a"]), "rules[0].conditions[1].field", "没有 ['a'] 这个字段"),
        (a_set(field={}), "rules[0].conditions[1].field", "没有 {} 这个字段"),
        (a_set(operator="~"), "rules[0].conditions[1].operator", "不能用 ~"),
        (a_set(operator="has"), "rules[0].conditions[1].operator", "不能用 has"),
        (a_set(operator=["has"]), "rules[0].conditions[1].operator", "不能用 ['has']"),
        (a_set(window_days=-3), "rules[0].conditions[1].window_days", "时间窗口：要在 1 到 36500 天之间，不能是 -3"),
        (a_set(window_days=0), "rules[0].conditions[1].window_days", "要在 1 到 36500 天之间"),
        (a_set(window_days=36_501), "rules[0].conditions[1].window_days", "要在 1 到 36500 天之间"),
        (a_set(window_days=True), "rules[0].conditions[1].window_days", "要是整数天数"),
        (a_set(window_days="90"), "rules[0].conditions[1].window_days", "要是整数天数"),
        (a_set(window_days=90.0), "rules[0].conditions[1].window_days", "要是整数天数"),
        (a_set(field="tags", operator="has", value="a", window_days=9), "rules[0].conditions[1].window_days", "不能带"),
        (a_set(value="5"), "rules[0].conditions[1].value", "数值：要是整数，不能是 5"),
        (a_set(value=True), "rules[0].conditions[1].value", "要是整数，不能是 True"),
        (a_set(value=None), "rules[0].conditions[1].value", "要是整数，不能是 None"),
        (a_set(value=float("nan")), "rules[0].conditions[1].value", "要是整数，不能是 nan"),
        (a_set(value=2**63), "rules[0].conditions[1].value", "要在 0 到 1000000000 之间"),
        (a_set(field="days_since_last_purchase", value=36_501), "rules[0].conditions[1].value", "0 到 36500"),
        (a_set(field="total_amount", value="1e999"), "rules[0].conditions[1].value", "要在正负"),
        (a_set(field="total_amount", value="nan"), "rules[0].conditions[1].value", "要是有限的金额"),
        (a_set(field="total_amount", value="sNaN"), "rules[0].conditions[1].value", "要是有限的金额"),
        (a_set(field="total_amount", value=float("inf")), "rules[0].conditions[1].value", "要是有限的金额"),
        (a_set(field="total_amount", value="十"), "rules[0].conditions[1].value", "要是金额（元）"),
        (a_set(field="total_amount", value=True), "rules[0].conditions[1].value", "要是金额（元）"),
        (a_set(field="total_amount", value=[1]), "rules[0].conditions[1].value", "要是金额（元）"),
        (a_set(field="total_amount", value="0.005"), "rules[0].conditions[1].value", "最多两位小数"),
        (a_set(field="tags", operator="has", value=5), "rules[0].conditions[1].value", "要是标签 ID"),
        (a_set(field="tags", operator="has", value="x" * 129), "rules[0].conditions[1].value", "最多 128 个"),
        (a_set(field="tags", operator="has", value="a\0"), "rules[0].conditions[1].value", "可见字符"),
        (a_set(days=90), "rules[0].conditions[1]", "不认识 days 这一项"),
        (a_set() | {"rules": {}}, "rules", "规则：要是规则的列表"),
        (a_set() | {"rules": [5]}, "rules[0]", "第 1 条规则：要是一个对象"),
        (a_set() | {"rules": [{"profile": "甲"}]}, "rules[0].conditions", "第 1 条规则 · 条件：缺少这一项"),
        (a_set() | {"rules": [{"profile": "甲", "conditions": "a"}]}, "rules[0].conditions", "要是条件的列表"),
        (a_set() | {"rules": [{"profile": "甲", "conditions": []}]}, "rules[0].conditions", "至少要有一个条件"),
        (a_set() | {"rules": [{"profile": "甲", "conditions": [GOOD] * 21}]}, "rules[0].conditions", "最多 20 个条件"),
        (a_set() | {"rules": [{"profile": "甲", "conditions": ["a"]}]}, "rules[0].conditions[0]", "要是一个对象"),
        (a_set() | {"rules": [{"profile": " ", "conditions": [GOOD]}]}, "rules[0].profile", "要有名称"),
        (a_set() | {"rules": [{"profile": "甲\n", "conditions": [GOOD]}]}, "rules[0].profile", "空白"),
        (a_set() | {"rules": [{"profile": 5, "conditions": [GOOD]}]}, "rules[0].profile", "要有名称"),
        (a_set() | {"rules": [{"profile": "甲", "conditions": [GOOD]}] * 101}, "rules", "最多 100 条规则"),
        (a_set() | {"default_profile": "甲" * 65}, "default_profile", "默认画像：名称最多 64 个字"),
        (a_set() | {"version": "1"}, "version", "版本：要是 0 到"),
        (a_set() | {"version": -1}, "version", "版本：要是 0 到"),
        ({"version": 1}, "default_profile", "缺少这一项"),
        ([], "", "要是一个对象"),
        (None, "", "要是一个对象"),
    ],
)
def test_json_that_is_no_rule_set_says_where_and_why(data: object, place: str, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        from_json(data)
    assert caught.value.place == place
    assert message in str(caught.value)


def test_conditions_alone_name_their_place() -> None:
    with pytest.raises(RuleError, match=r"^第 2 个条件 · 时间窗口：要在") as caught:
        conditions_from_json([GOOD, GOOD | {"window_days": -3}])
    assert caught.value.place == "[1].window_days"


def test_too_many_windows_or_tags_are_refused() -> None:
    windows = [Rule("甲", (Condition("purchase_count", ">", 5, days),)) for days in range(1, 14)]
    with pytest.raises(RuleError, match=r"^规则：不同的时间窗口最多 12 个，这里有 13 个"):
        RuleSet(1, tuple(windows), "丙")
    tags = [Rule("甲", tuple(Condition("tags", "has", f"et{n}-{m}") for m in range(11))) for n in range(10)]
    with pytest.raises(RuleError, match=r"^规则：用到的标签最多 100 个，这里有 110 个"):
        RuleSet(1, tuple(tags), "丙")


# ---- what the reader must load ---------------------------------------------------------------------------------------
def test_only_what_the_rules_read_is_needed() -> None:
    needs = DEFAULT_RULE_SET.needs
    assert needs.columns == {"purchase_count", "interaction_count"}
    assert (needs.windows, needs.tags, needs.channels) == (set(), set(), set())

    text = (
        'total_amount[90d] > 5 and interaction_count@store[7d] > 1 and tags has "et1" and follow_count > 0 '
        "and purchase_days[30d] > 1 and purchase_count@app > 1 and days_since_last_purchase@app > 3 "
        'and lifecycle is "lost"'
    )
    rule_set = RuleSet(1, (Rule("甲", parse_conditions(text)),), "丙")
    assert rule_set.needs.columns == {
        "total_amount[90d]",
        "first_day[90d]",
        "refund_amount[90d]",
        "interaction_count@store[7d]",
        "first_day@store[7d]",
        "tag:et1",
        "follow_count",
        "purchase_days[30d]",
        "first_day[30d]",
        "purchase_count@app",
        "last_purchase_day@app",
        "lifecycle",
        "lifecycle_turns",
    }
    needs = rule_set.needs
    assert (needs.windows, needs.tags, needs.channels) == ({7, 30, 90}, {"et1"}, {"store", "app"})
