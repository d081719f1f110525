"""What is wrong with a rule, and where."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

_PLACES = {
    "field": "字段",
    "operator": "比较符",
    "value": "数值",
    "window_days": "时间窗口",
    "channel": "渠道",
    "profile": "客户画像",
    "default_profile": "默认画像",
    "version": "版本",
    "rules": "规则",
    "conditions": "条件",
    "groups": "条件组",
    "settings": "参数",
    "lifecycle": "生命周期",
    "new_days": "新客天数",
    "dormant_days": "沉睡天数",
    "lost_days": "流失天数",
    "return_days": "回流天数",
    "rfm": "RFM",
    "scope": "统计范围",
    "reason": "理由",
}
_ORDINALS = {"rules": "条规则", "groups": "组条件"}


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
        where = place_in_words(self.path)
        return f"{where}：{self.reason}" if where else self.reason


def place_in_words(path: Sequence[str | int]) -> str:
    """Return a path in 中文.

    >>> place_in_words(("rules", 0, "conditions", 2, "value")), place_in_words(("groups", 1, 0, "field"))
    ('第 1 条规则 · 第 3 个条件 · 数值', '第 2 组条件 · 第 1 个条件 · 字段')
    """
    words: list[str] = []
    for before, step in zip(["", *path], path, strict=False):
        if isinstance(step, int):
            words = words[:-1] if before and isinstance(before, str) else words
            words.append(f"第 {step + 1} {_ORDINALS.get(str(before), '个条件')}")
        else:
            words.append(_PLACES.get(step, step))
    return " · ".join(words)


def within(read: Callable[[object], T], data: object, *path: str | int) -> T:
    """Return read(data); the place of what it refuses is seen from outside."""
    try:
        return read(data)
    except RuleError as error:
        raise error.under(*path) from None


def shown(value: object) -> str:
    """Return what somebody wrote, to be shown in a reason: not all of it."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 40 else text[:40] + "…"


def members(data: object, *, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, object]:
    """Return an object of JSON that has these members and no others, or raise RuleError."""
    if not isinstance(data, dict):
        raise RuleError("要是一个对象")
    for name in required:
        if name not in data:
            raise RuleError("缺少这一项", name)
    for name in data:
        if name not in (*required, *optional):
            raise RuleError(f"不认识 {shown(name)} 这一项")
    return data
