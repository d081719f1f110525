"""Rules in their order, and what a version says besides. A Rule or RuleSet that exists is valid."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .conditions import Condition, check_conditions, conditions_from_json, conditions_to_json
from .errors import RuleError, members, shown, within
from .fields import RULE
from .needs import Needs, needs_of
from .settings import Settings, settings_from_json, settings_to_json

MAX_RULES = 100
# Each window is one more sum over the daily totals, each channel one over the raw behaviours, each tag one more column
# in the memory of a worker.
MAX_WINDOWS = 12
MAX_CHANNELS = 12
MAX_TAGS = 100
MAX_NAME = 64
MAX_VERSION = 2**31 - 1


@dataclass(frozen=True)
class Rule:
    """Whoever meets all the conditions is of this class.

    problem: why it cannot be evaluated; only rules that a run reads have one (see read_leniently). Nobody meets it.
    """

    profile: str
    conditions: tuple[Condition, ...]
    problem: RuleError | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.problem is not None:
            return
        check_profile(self.profile, "profile")
        object.__setattr__(self, "conditions", tuple(self.conditions))
        if not self.conditions:
            raise RuleError("至少要有一个条件；人人都符合的画像请设为默认画像", "conditions")
        try:
            check_conditions(self.conditions, RULE)
        except RuleError as error:
            raise error.under("conditions") from None


@dataclass(frozen=True)
class RuleSet:
    """Ordered rules: the first that matches decides, else the default. Positions: 1.. for rules, 0 for the default."""

    version: int
    rules: tuple[Rule, ...]
    default_profile: str
    settings: Settings = field(default_factory=Settings)
    settings_problem: RuleError | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if type(self.version) is not int or not 0 <= self.version <= MAX_VERSION:
            raise RuleError(f"要是 0 到 {MAX_VERSION} 的整数，不能是 {shown(self.version)}", "version")
        check_profile(self.default_profile, "default_profile")
        object.__setattr__(self, "rules", tuple(self.rules))
        judged = sum(rule.problem is None for rule in self.rules)
        if judged > MAX_RULES:
            raise RuleError(f"最多 {MAX_RULES} 条规则，这里有 {judged} 条", "rules")
        check_sizes(self.needs, "rules")

    @property
    def profiles(self) -> tuple[str, ...]:
        """The class of each position, the default first."""
        return (
            self.default_profile,
            *(self.default_profile if rule.problem else rule.profile for rule in self.rules),
        )

    @property
    def conditions(self) -> Iterator[Condition]:
        """All conditions of all rules."""
        for rule in self.rules:
            yield from rule.conditions

    @property
    def needs(self) -> Needs:
        """Every facts column that evaluate, review_on and explain read."""
        return needs_of(self.conditions, reviewed=True)

    @property
    def broken(self) -> list[dict[str, Any]]:
        """What a run passes by, as it is kept with the run: [{position, profile, place, reason}]; 0 for settings."""
        found = [(0, self.default_profile, self.settings_problem)] if self.settings_problem else []
        problems = [(at, rule.profile, rule.problem) for at, rule in enumerate(self.rules, start=1) if rule.problem]
        return [
            {"position": position, "profile": profile, "place": problem.place, "reason": problem.reason}
            for position, profile, problem in [*found, *problems]
        ]


def check_profile(name: object, place: str) -> None:
    """Refuse what is no name of a class. Raises RuleError."""
    if not isinstance(name, str) or not name.strip():
        raise RuleError("要有名称", place)
    if name != name.strip() or not name.isprintable():
        raise RuleError("名称前后不能有空白，也不能含控制字符", place)
    if len(name) > MAX_NAME:
        raise RuleError(f"名称最多 {MAX_NAME} 个字", place)


def check_sizes(needs: Needs, *path: str | int) -> None:
    """Refuse what would cost a run too much. Raises RuleError."""
    for what, found, most in (
        ("不同的时间窗口", len(needs.windows), MAX_WINDOWS),
        ("用到的渠道", len(needs.channels), MAX_CHANNELS),
        ("用到的标签", len(needs.tags), MAX_TAGS),
    ):
        if found > most:
            raise RuleError(f"{what}最多 {most} 个，这里有 {found} 个", *path)


# ---- JSON ------------------------------------------------------------------------------------------------------------


def to_json(rule_set: RuleSet) -> dict[str, Any]:
    return {
        "version": rule_set.version,
        "default_profile": rule_set.default_profile,
        "rules": [
            {"profile": rule.profile, "conditions": conditions_to_json(rule.conditions)} for rule in rule_set.rules
        ],
        "settings": settings_to_json(rule_set.settings),
    }


def from_json(data: object) -> RuleSet:
    """Return the rule set, or raise RuleError with the place of the first mistake."""
    found: dict[str, Any] = members(data, required=("version", "default_profile", "rules"), optional=("settings",))
    if not isinstance(found["rules"], list):
        raise RuleError("要是规则的列表", "rules")
    if len(found["rules"]) > MAX_RULES:
        raise RuleError(f"最多 {MAX_RULES} 条规则，这里有 {len(found['rules'])} 条", "rules")
    rules = tuple(within(_rule_from_json, item, "rules", index) for index, item in enumerate(found["rules"]))
    settings = within(settings_from_json, found.get("settings", {}), "settings")
    return RuleSet(found["version"], rules, found["default_profile"], settings)


def read_leniently(version: int, default_profile: str, rules: Iterable[dict[str, Any]], settings: object) -> RuleSet:
    """Return what a run can judge by: a rule that cannot be evaluated keeps its place, and nobody meets it.

    rules: {profile, conditions} in their order. Settings that cannot be read are the defaults.
    Raises RuleError only where nothing could be judged: without a default class, or when no rule can be evaluated.

    >>> rules = [{"profile": "甲", "conditions": [{"field": "no_such", "operator": ">", "value": 1}]},
    ...          {"profile": "乙", "conditions": [{"field": "purchase_count", "operator": ">", "value": 1}]}]
    >>> found = read_leniently(1, "其他", rules, {})
    >>> found.profiles, found.broken[0]["place"]
    (('其他', '其他', '乙'), 'rules[0].conditions[0].field')
    """
    read: list[Rule] = []
    needs = Needs()
    for index, item in enumerate(rules):
        try:
            if index >= MAX_RULES:
                raise RuleError(f"最多 {MAX_RULES} 条规则", "rules", index)
            rule = within(_rule_from_json, item, "rules", index)
            check_sizes(needs | needs_of(rule.conditions, reviewed=True), "rules", index)
            needs |= needs_of(rule.conditions, reviewed=True)
        except RuleError as error:
            rule = Rule(str(item.get("profile", ""))[:MAX_NAME], (), problem=error)
        read.append(rule)
    if read and all(rule.problem is not None for rule in read):
        assert read[0].problem is not None
        raise read[0].problem
    problem = None
    try:
        checked = within(settings_from_json, settings, "settings")
    except RuleError as error:
        checked, problem = Settings(), error
    return RuleSet(version, tuple(read), default_profile, checked, problem)


def _rule_from_json(data: object) -> Rule:
    found: dict[str, Any] = members(data, required=("profile", "conditions"))
    conditions = within(lambda item: conditions_from_json(item, level=RULE), found["conditions"], "conditions")
    return Rule(found["profile"], conditions)


DEFAULT_RULE_SET = RuleSet(
    version=1,
    rules=(Rule("高价值客户", (Condition("purchase_count", ">", 5), Condition("interaction_count", ">", 10))),),
    default_profile="潜在客户",
)
