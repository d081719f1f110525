"""The form of a draft: its rules in their order, and what it says besides.

rule                    the prefix of each rule, in their order; anything else is read only through these
<prefix>-profile        the class, and the rule's conditions as in profiles.pages.conditions
default_profile, note, valid_from ("" for at once), rfm_scope
new_days, dormant_days, lost_days, return_days
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from django.http import QueryDict

from profiles.models import RuleVersion
from profiles.pages.conditions import PLACES, FormRow, conditions_of, form_rows, plain_number, read_conditions
from profiles.rules import Rule, RuleError, RuleSet
from profiles.rules.rulesets import MAX_RULES
from profiles.rules.settings import SCOPES, LifecycleSettings, Settings

MAX_NOTE = 200
SHOWN = 100
PREFIX = re.compile(r"[a-z0-9]{1,32}", re.ASCII)
WHOLE = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)
# (name, label, what it means) of the days of the lifecycle.
DAYS = (
    ("new_days", "新客", "首次行为后的这些天内算新客"),
    ("dormant_days", "沉睡", "超过这些天没有购买和互动算沉睡"),
    ("lost_days", "流失", "超过这些天没有购买和互动算流失，要多于沉睡"),
    ("return_days", "回流", "沉睡以后又来，在这些天内算回流，不多于沉睡"),
)


@dataclass
class RuleForm:
    """A rule as it stands in the form. errors: of the rule; those of its conditions stand at their rows."""

    prefix: str
    profile: str = ""
    rows: list[FormRow] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    rule: Rule | None = None

    @property
    def is_blank(self) -> bool:
        return not self.profile and not self.rows


@dataclass
class RulesForm:
    """A draft as it stands in the form. places: {name of a control: what is wrong}; errors: of the whole."""

    rows: list[RuleForm] = field(default_factory=list)
    default_profile: str = ""
    note: str = ""
    valid_from: str = ""
    rfm_scope: str = "company"
    days: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    settings: Settings = field(default_factory=Settings)
    starts: date | None = None

    @property
    def rules(self) -> list[Rule]:
        return [row.rule for row in self.rows if row.rule is not None]

    @property
    def is_whole(self) -> bool:
        """Whether all of it can be saved."""
        return len(self.rules) == len(self.rows) and not self.places and not self.errors

    @property
    def profiles(self) -> list[str]:
        return [name for name in (*(row.profile for row in self.rows), self.default_profile) if name]

    @property
    def days_fields(self) -> list[dict[str, str]]:
        return [
            {"name": name, "label": label, "help": text, "value": self.days.get(name, ""),
             "error": self.places.get(name, "")}
            for name, label, text in DAYS
        ]  # fmt: skip

    @property
    def scope_choices(self) -> list[tuple[str, str]]:
        return list(SCOPES.items())

    def place(self, error: RuleError) -> None:
        """Put what is wrong about the whole at its control, or above the form."""
        name = str(error.path[-1]) if error.path else ""
        match error.path:
            case ("rules", int(rule), "conditions", int(condition), str(part)):
                self.rows[rule].rows[condition].errors[PLACES.get(part, part)] = error.reason
                return
        if name in ("default_profile", *(one for one, _, _ in DAYS)):
            self.places[name] = error.reason
        else:
            self.errors.append(str(error))


def form_of(version: RuleVersion, rule_set: RuleSet) -> RulesForm:
    """Return the form of a version; rules that cannot be evaluated come without conditions, and say why."""
    lifecycle = rule_set.settings.lifecycle
    return RulesForm(
        rows=[
            RuleForm(
                f"r{place}",
                rule.profile,
                form_rows(rule.conditions),
                [f"这条规则不能使用：{rule.problem.reason}"] if rule.problem else [],
                rule,
            )
            for place, rule in enumerate(rule_set.rules)
        ],
        default_profile=rule_set.default_profile,
        note=version.note,
        valid_from=version.valid_from.isoformat() if version.valid_from else "",
        rfm_scope=rule_set.settings.rfm_scope,
        days={name: str(getattr(lifecycle, name)) for name, _, _ in DAYS},
        errors=[f"参数不能使用：{rule_set.settings_problem}"] if rule_set.settings_problem else [],
    )


def read_form(post: QueryDict) -> RulesForm:
    """Return what was sent, with what is wrong at its place. Whatever is sent, this raises nothing."""
    prefixes = [one for one in dict.fromkeys(post.getlist("rule")) if PREFIX.fullmatch(one)]
    form = RulesForm(
        rows=_read_rules(post, prefixes),
        default_profile=_text(post, "default_profile"),
        note=_text(post, "note", MAX_NOTE),
        valid_from=_text(post, "valid_from"),
        rfm_scope=_text(post, "rfm_scope") or "company",
        days={name: _text(post, name) for name, _, _ in DAYS},
    )
    if len(prefixes) > MAX_RULES + 1:
        form.errors.append(f"最多 {MAX_RULES} 条规则，这里有 {len(prefixes)} 条")
    _read_settings(form)
    _read_start(form)
    if all(row.rule for row in form.rows) and not form.errors:
        try:
            RuleSet(0, tuple(form.rules), form.default_profile, form.settings)
        except RuleError as error:
            form.place(error)
    return form


def _read_rules(post: QueryDict, prefixes: Sequence[str]) -> list[RuleForm]:
    rows = [
        RuleForm(prefix, _text(post, f"{prefix}-profile"), read_conditions(post, prefix))
        for prefix in prefixes[: MAX_RULES + 1]
    ]
    rows = [row for row in rows if not row.is_blank]
    for row in rows:
        conditions = conditions_of(row.rows)
        if conditions is None:
            continue
        try:
            row.rule = Rule(row.profile, conditions)
        except RuleError as error:
            row.errors.append({"profile": f"画像：{error.reason}"}.get(str(error.path[0]), error.reason))
    return rows


def _read_settings(form: RulesForm) -> None:
    days: dict[str, int] = {}
    for name, _, _ in DAYS:
        text = plain_number(form.days[name])
        if WHOLE.fullmatch(text):
            days[name] = int(text)
        elif form.days[name]:
            form.places[name] = f"要是整数天数，不能是 {form.days[name][:40]}"
    if form.rfm_scope not in SCOPES:
        form.places["rfm_scope"] = "请选择统计范围"
    if form.places:
        return
    try:
        form.settings = Settings(LifecycleSettings(**days), form.rfm_scope)
    except RuleError as error:
        form.place(error)


def _read_start(form: RulesForm) -> None:
    if not form.valid_from:
        return
    try:
        form.starts = date.fromisoformat(form.valid_from)
    except ValueError:
        form.places["valid_from"] = f"要是日期，如 2026-01-31，不能是 {form.valid_from[:40]}"


def _text(post: QueryDict, name: str, longest: int = SHOWN) -> str:
    return str(post.get(name, "")).replace("\x00", "").strip()[:longest]
