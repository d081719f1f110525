"""What a condition may be about, and the column of facts that each reads.

A run with `as_of` counts the days before it. A window of W days is the days in [as_of - W, as_of).

| field, usable everywhere                        | [Wd] | @channel | operators       | value      | column of facts  |
|-------------------------------------------------|------|----------|-----------------|------------|------------------|
| purchase_count, interaction_count, refund_count | may  | may      | > >= < <= == != | 0 .. 10^9  | purchase_count   |
| total_amount                                    | may  | may      |                 | yuan, 0.01 | total_amount     |
| purchase_days (days with a purchase)            | may  | may      |                 | 0 .. 10^9  | purchase_days    |
| days_since_last_purchase                        | no   | may      |                 | 0 .. 36500 | last_purchase_day|
| days_since_last_interaction                     | no   | may      |                 | 0 .. 36500 | last_interacti…  |
| days_since_first_behaviour                      | no   | may      |                 | 0 .. 36500 | first_day        |
| days_since_added (earliest follow not lost)     | no   | no       |                 | 0 .. 36500 | added_day        |
| follow_count (follows that are not lost)        | no   | no       |                 | 0 .. 10^9  | follow_count     |
| tags                                            | no   | no       | has has_not     | a tag id   | tag:<id>         |
| lifecycle                                       | no   | no       | is is_not       | a code     | lifecycle        |

| field, of segments and recommendation rules only | operators | value                        | column of facts     |
|--------------------------------------------------|-----------|------------------------------|---------------------|
| profile, rfm_segment, loss_warning, home,        | is is_not | a text                       | profile             |
|   gender, type                                   |           |                              |                     |
| recency_score, frequency_score, monetary_score,  | > >= …    | a whole number               | recency_score       |
|   alive_percent                                  |           |                              |                     |
| expected_purchases                               | > >= …    | 0 .. 10^9, 0.01              | expected_purchases  |
| expected_amount                                  | > >= …    | yuan, 0.01                   | expected_amount     |
| days_since_created                               | > >= …    | 0 .. 36500                   | created_day         |
| add_way, follow_state, followed_by, department   | is is_not | of any follow not lost       | followed_by:<value> |
| segment                                          | in not_in | a segment's id, as text      | segment:<id>        |

Without a window a figure is over all time. Keys of columns: purchase_count, purchase_count[90d], purchase_count@store,
purchase_count@store[90d].

What says when time alone may change an answer is read as well, where a run asks for it: for a window W first_day[Wd],
the earliest day in the window with any behaviour (of the channel). Refunds take from purchase_count (when they leave
nothing of the purchase) and from total_amount, on their own day; so those two also want refund_count[Wd] or
refund_amount[Wd]: where a window holds no refund, time alone only lowers its figures; where it holds one, they may go
either way, as the refund may outlive its purchase in the window. For lifecycle it is lifecycle_turns, a day.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

RULE, SEGMENT = "rule", "segment"

COMPARISONS = (">", ">=", "<", "<=", "==", "!=")
MEMBERSHIPS = ("has", "has_not")
IDENTITIES = ("is", "is_not")
INCLUSIONS = ("in", "not_in")

NUMBER_TEXT = re.compile(r"[0-9]{1,18}", re.ASCII)
CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)


class Kind(Enum):
    """COUNT whole; AMOUNT yuan to the cent; NUMBER to the hundredth; DAYS since a day; the others are texts."""

    COUNT = "count"
    AMOUNT = "amount"
    NUMBER = "number"
    DAYS = "days"
    TAGS = "tags"
    CHOICE = "choice"
    SEGMENTS = "segments"


OPERATORS = {Kind.TAGS: MEMBERSHIPS, Kind.CHOICE: IDENTITIES, Kind.SEGMENTS: INCLUSIONS}
# In hundredths as whole numbers while they are judged.
DECIMALS = (Kind.AMOUNT, Kind.NUMBER)

LIFECYCLES = {"new": "新客", "active": "活跃", "dormant": "沉睡", "lost": "流失", "returned": "回流"}
LOSS_WARNINGS = {"medium": "中", "high": "高"}
RFM_SEGMENTS = {
    f"{value}{what}客户": f"{value}{what}客户"
    for value in ("重要", "一般")
    for what in ("价值", "发展", "保持", "挽留")
}
GENDERS = {"0": "未知", "1": "男", "2": "女"}
TYPES = {"1": "微信用户", "2": "企业微信用户"}


@dataclass(frozen=True)
class Field:
    """label: in 中文. level: RULE is usable in rules and everywhere, SEGMENT in segments and recommendation rules only.

    choices: {value: label} where these are the only ones. many: a customer may have several values at once.
    form: what a value must look like. taken_by: the figure of what refunds take from this one, on their own day.
    """

    name: str
    label: str
    kind: Kind
    column: str
    windowed: bool = False
    channelled: bool = False
    level: str = RULE
    taken_by: str | None = None
    choices: Mapping[str, str] = field(default_factory=dict, hash=False)
    many: bool = False
    form: re.Pattern[str] | None = None
    unit: str = ""

    @property
    def operators(self) -> tuple[str, ...]:
        return OPERATORS.get(self.kind, COMPARISONS)

    @property
    def is_flag(self) -> bool:
        """Whether its facts are one bool column per value: tag:<id>, followed_by:<userid>, segment:<id>."""
        return self.many or self.kind in (Kind.TAGS, Kind.SEGMENTS)


def _figure(name: str, label: str, kind: Kind, taken_by: str | None = None, unit: str = "") -> Field:
    return Field(name, label, kind, name, windowed=True, channelled=True, taken_by=taken_by, unit=unit)


def _days(name: str, label: str, column: str, *, channelled: bool = False, level: str = RULE) -> Field:
    return Field(name, label, Kind.DAYS, column, channelled=channelled, level=level, unit="天")


def _choice(
    name: str, label: str, choices: Mapping[str, str], *, form: re.Pattern[str] | None = None, many: bool = False
) -> Field:
    return Field(name, label, Kind.CHOICE, name, level=SEGMENT, choices=choices, form=form, many=many)


FIELDS: Mapping[str, Field] = {
    one.name: one
    for one in (
        _figure("purchase_count", "购买次数", Kind.COUNT, "refund_count"),
        _figure("interaction_count", "互动次数", Kind.COUNT),
        _figure("total_amount", "消费金额", Kind.AMOUNT, "refund_amount", unit="元"),
        _figure("refund_count", "退款次数", Kind.COUNT),
        _figure("purchase_days", "购买天数", Kind.COUNT),
        _days("days_since_last_purchase", "距上次购买天数", "last_purchase_day", channelled=True),
        _days("days_since_last_interaction", "距上次互动天数", "last_interaction_day", channelled=True),
        _days("days_since_first_behaviour", "距首次行为天数", "first_day", channelled=True),
        _days("days_since_added", "距添加天数", "added_day"),
        Field("tags", "标签", Kind.TAGS, "tag"),
        Field("follow_count", "跟进员工数", Kind.COUNT, "follow_count"),
        Field("lifecycle", "生命周期", Kind.CHOICE, "lifecycle", choices=LIFECYCLES),
        # What hangs on the class, on all customers together, or on what no mark tells of.
        _choice("profile", "客户画像", {}),
        _choice("rfm_segment", "RFM 分群", RFM_SEGMENTS),
        _choice("loss_warning", "流失预警", LOSS_WARNINGS),
        Field("recency_score", "R 得分", Kind.COUNT, "recency_score", level=SEGMENT),
        Field("frequency_score", "F 得分", Kind.COUNT, "frequency_score", level=SEGMENT),
        Field("monetary_score", "M 得分", Kind.COUNT, "monetary_score", level=SEGMENT),
        Field("alive_percent", "活跃概率", Kind.COUNT, "alive_percent", level=SEGMENT, unit="%"),
        Field("expected_purchases", "预计 90 天购买次数", Kind.NUMBER, "expected_purchases", level=SEGMENT),
        Field("expected_amount", "预计 90 天消费", Kind.AMOUNT, "expected_amount", level=SEGMENT, unit="元"),
        _choice("home", "归属库", {}, form=NUMBER_TEXT),
        _choice("gender", "性别", GENDERS),
        _choice("type", "客户类型", TYPES),
        _choice("add_way", "添加方式", {}, form=NUMBER_TEXT, many=True),
        _choice("follow_state", "来源标识", {}, many=True),
        _choice("followed_by", "跟进员工", {}, many=True),
        _choice("department", "跟进部门", {}, form=NUMBER_TEXT, many=True),
        _days("days_since_created", "距建档天数", "created_day", level=SEGMENT),
        Field("segment", "客户人群", Kind.SEGMENTS, "segment", level=SEGMENT, form=NUMBER_TEXT),
    )
}


class Fact(NamedTuple):
    """A column of facts that is no flag, taken apart."""

    column: str
    channel: str | None = None
    window_days: int | None = None

    @property
    def key(self) -> str:
        """Return the column's name.

        >>> Fact("purchase_count", "store", 90).key, Fact("first_day").key
        ('purchase_count@store[90d]', 'first_day')
        """
        channel = "" if self.channel is None else f"@{self.channel}"
        window = "" if self.window_days is None else f"[{self.window_days}d]"
        return f"{self.column}{channel}{window}"


_FACT = re.compile(r"([a-z_]+)(?:@([a-z][a-z0-9_]*))?(?:\[([0-9]+)d\])?", re.ASCII)


def read_key(key: str) -> Fact | None:
    """Return what a column's name says, None for flags.

    >>> read_key("total_amount[90d]")
    Fact(column='total_amount', channel=None, window_days=90)
    >>> read_key("tag:etAbC") is None
    True
    """
    match = _FACT.fullmatch(key)
    return None if match is None else Fact(match[1], match[2], int(match[3]) if match[3] else None)


def is_amount(key: str) -> bool:
    """Tell whether a column of facts is money, which blocks keep in cents.

    >>> is_amount("refund_amount[7d]"), is_amount("tag:total_amount")
    (True, False)
    """
    fact = read_key(key)
    return fact is not None and fact.column.endswith("_amount")
