"""Recommendation rules: saved with a check, read leniently, one that is broken named and left out.

saved as     name, action, groups of conditions as of a segment, reason with placeholders, base score, days
refused      with place and reason in 中文: groups[0][1].value
in use       active and readable; MAX_RULES at most, for each is judged for everybody each night
broken       named in `error` and in the run's summary; what it suggested stays until it expires
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

import structlog
from django.db import IntegrityError
from django.utils import timezone

from profiles.models import Action, RecommendationRule, Segment
from profiles.recommendations import wording
from profiles.recommendations.scoring import acceptance_rate
from profiles.recommendations.wording import Figure, Wording
from profiles.rules import FIELDS, Filter, Needs, RuleError
from profiles.segments.definitions import definitions_held
from scrm.held import Held

logger = structlog.get_logger(__name__)

MAX_RULES = 50
MAX_NAME = 64
LIMITS = {"base_score": (1, 99), "expires_days": (1, 365), "cooldown_days": (0, 365)}
LABELS = {"base_score": "基础分", "expires_days": "有效天数", "cooldown_days": "静默天数"}
HELD_SECONDS = 5.0
UNDO_MINUTES = 10


@dataclass(frozen=True)
class Compiled:
    """A rule that can be judged. rate: how often what it suggests is accepted."""

    rule_id: int
    name: str
    action: str
    filter: Filter
    wording: Wording
    base_score: int
    expires_days: int
    cooldown_days: int
    rate: float

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """The numbers that are kept of a suggestion: what its conditions compare, and what its reason says."""
        found = {one.name: one for one in (*wording.figures_of(self.filter.conditions), *self.wording.figures)}
        return tuple(found.values())

    @property
    def rest(self) -> timedelta:
        """How long after a decision nothing new is suggested: at least while the decision may be undone."""
        return max(timedelta(days=self.cooldown_days), timedelta(minutes=UNDO_MINUTES))

    @property
    def needs(self) -> Needs:
        needs = self.filter.needs | wording.needs_of_figures(self.figures)
        columns = {FIELDS["monetary_score"].column}
        if self.action == Action.WIN_BACK:
            columns.add(FIELDS["days_since_last_purchase"].column)
        return needs | Needs(frozenset(columns))


@dataclass(frozen=True)
class Plan:
    """The rules in use, and those that cannot be judged: {rule: (name, reason)}."""

    rules: tuple[Compiled, ...] = ()
    broken: Mapping[int, tuple[str, str]] = field(default_factory=dict)

    @cached_property
    def needs(self) -> Needs:
        found = Needs()
        for rule in self.rules:
            found |= rule.needs
        return found


def compile_rule(rule: RecommendationRule) -> Compiled:
    """Return a rule as it is judged. Raises RuleError."""
    return Compiled(
        rule_id=rule.pk,
        name=rule.name,
        action=rule.action,
        filter=Filter.from_json(rule.groups),
        wording=wording.read(rule.reason),
        base_score=rule.base_score,
        expires_days=rule.expires_days,
        cooldown_days=rule.cooldown_days,
        rate=acceptance_rate(rule.accepted, rule.dismissed),
    )


def read_plan() -> Plan:
    """Return what is to be judged now. Database: control, one query, one more for each rule that asks for segments."""
    compiled: list[Compiled] = []
    broken: dict[int, tuple[str, str]] = {}
    for rule in RecommendationRule.objects.filter(is_active=True).order_by("pk"):
        try:
            one = compile_rule(rule)
            _check_segments(one.filter)
            compiled.append(one)
        except RuleError as error:
            broken[rule.pk] = (rule.name, str(error))
    return Plan(tuple(compiled), broken)


def _check_segments(filter_: Filter) -> None:
    """Raise RuleError where conditions name a segment that is not there."""
    if not filter_.segments:
        return
    known = set(Segment.objects.filter(pk__in=map(int, filter_.segments)).values_list("pk", flat=True))
    for group, conditions in enumerate(filter_.groups):
        for place, one in enumerate(conditions):
            if one.field == "segment" and int(one.value) not in known:
                reason = f"没有编号为 {one.value} 的人群，可能已被删除"
                raise RuleError(reason, "groups", group, place, "value")


def name_broken(plan: Plan) -> list[dict[str, Any]]:
    """Store in each rule in use what is wrong with it, where that differs. Returns the broken ones for a summary."""
    for rule_id, (name, reason) in plan.broken.items():
        if RecommendationRule.objects.filter(pk=rule_id).exclude(error=reason).update(error=reason):
            logger.warning("recommendation_rule_broken", rule=rule_id, name=name, reason=reason)
    RecommendationRule.objects.filter(pk__in=[rule.rule_id for rule in plan.rules]).exclude(error="").update(error="")
    return [{"rule": rule_id, "name": name, "reason": reason} for rule_id, (name, reason) in plan.broken.items()]


# What readers leave out at once: suggestions of rules that were turned off or deleted.
@dataclass(frozen=True)
class Known:
    """Rules by id: their names, and which are in use."""

    names: Mapping[int, str]
    active: frozenset[int]


def _read_known() -> Known:
    rows = list(RecommendationRule.objects.values_list("pk", "name", "is_active"))
    return Known({pk: name for pk, name, _ in rows}, frozenset(pk for pk, _, is_active in rows if is_active))


# Database: one query on the control database, at most every few seconds.
known_rules = Held(_read_known, seconds=HELD_SECONDS)


# ------------------------------------------------------------------------------------------------------------- saving
def save_rule(values: Mapping[str, Any], *, rule_id: int | None = None) -> RecommendationRule:
    """Save a rule, new or changed. values: those of its columns that are given; the others stay, or are the default's.

    Database: control, one transaction, under the lock of definitions. Raises RuleError with place and reason,
    RecommendationRule.DoesNotExist.
    """
    try:
        with definitions_held():  # what the conditions name is not deleted meanwhile
            if rule_id is None:
                rule = RecommendationRule()
            else:
                rule = RecommendationRule.objects.select_for_update().get(pk=rule_id)
            for name in ("name", "action", "groups", "reason", "is_active", *LIMITS):
                if name in values:
                    setattr(rule, name, values[name])
            _check(rule)
            rule.error, rule.changed_at = "", timezone.now()
            rule.save()
    except IntegrityError as error:
        raise RuleError(f"已经有叫「{values.get('name', '')}」的规则", "name") from error
    known_rules.forget()
    return rule


def delete_rule(rule_id: int) -> bool:
    """Delete a rule; what it suggests is not shown any more from now on. Returns whether there was one."""
    deleted, _ = RecommendationRule.objects.filter(pk=rule_id).delete()
    known_rules.forget()
    return bool(deleted)


def set_active(rule_id: int, *, is_active: bool) -> RecommendationRule:
    """Turn a rule on or off. One that cannot be judged is not turned on: raises RuleError."""
    return save_rule({"is_active": is_active}, rule_id=rule_id)


def _check(rule: RecommendationRule) -> None:
    rule.name = rule.name.strip() if isinstance(rule.name, str) else ""
    if not rule.name or not rule.name.isprintable() or len(rule.name) > MAX_NAME:
        raise RuleError(f"要有名称，最多 {MAX_NAME} 个可见字符", "name")
    if rule.action not in Action.values:
        raise RuleError(f"动作要是 {'、'.join(Action.values)} 之一", "action")
    for name, (lowest, highest) in LIMITS.items():
        value = getattr(rule, name)
        if type(value) is not int or not lowest <= value <= highest:
            raise RuleError(f"{LABELS[name]}要是 {lowest} 到 {highest} 的整数", name)
    if not rule.is_active and rule.pk is not None:
        return  # whatever is wrong with it, it may be turned off
    filter_ = Filter.from_json(rule.groups)
    _check_segments(filter_)
    rule.groups = filter_.to_json()
    slots = wording.read(rule.reason)
    used = [part for part in slots.parts if part in ("{items}", "{because}")]
    if used and rule.action != Action.CROSS_SELL:
        raise RuleError(f"{used[0]} 只能用在「推荐搭配」的理由里", "reason")
    others = RecommendationRule.objects.filter(is_active=True).exclude(pk=rule.pk)
    if rule.is_active and others.count() >= MAX_RULES:
        raise RuleError(f"同时启用的规则最多 {MAX_RULES} 条，请先停用不用的", "is_active")


def places(error: RuleError) -> tuple[str, Sequence[str | int]]:
    """Return which part of a form an error is about, and the path within it."""
    first = str(error.path[0]) if error.path else ""
    return first, error.path[1:]
