"""Next best actions: on a customer's page, as a list of work over all homes, and the form of their rules.

| permission                            | allows                                          |
|---------------------------------------|-------------------------------------------------|
| profiles.view_recommendation          | what is suggested for a customer, the work list |
| profiles.change_recommendation        | accept, dismiss, undo                           |
| profiles.view_recommendationrule      | the rules and how often they are accepted       |
| profiles.add_, change_, delete_…rule  | as the names say                                |
| profiles.view_itemaffinity            | what is bought together                         |

The work list shows customers, so it wants customers.view_customer as well.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from customers.audit import record
from customers.organisation import organisation
from customers.pages.access import actor_of, scope_of_user
from customers.pages.filters import ANY, INPUT
from customers.pages.person import of_person
from customers.pages.rendering import render_page as render_customers_page
from customers.pages.sections import section
from profiles.models import Action, Recommendation, RecommendationRule
from profiles.pages.conditions import PLACES, FormRow, form_context, form_rows
from profiles.pages.rendering import render_page
from profiles.pages.segments import GroupForm, read_groups
from profiles.recommendations import rules
from profiles.recommendations.deciding import (
    DECISIONS,
    MAX_NOTE,
    UNDO_MINUTES,
    AlreadyDecidedError,
    NotOpenError,
    decide,
    may_undo,
    undo,
)
from profiles.recommendations.reading import Asked, Place, Suggestion, list_all, list_by_score
from profiles.recommendations.scoring import acceptance_rate, score
from profiles.rules import Filter, RuleError
from scrm import sharding
from scrm.sharding import ids

State = Recommendation.State
PAGE_SIZE = 50
SHOWN_OVER = 10
HUES = {Action.WIN_BACK: 1, Action.CROSS_SELL: 3, Action.THANK: 2, Action.REMIND_STAFF: 0}
ICONS = {
    Action.WIN_BACK: "campaign", Action.CROSS_SELL: "add_shopping_cart", Action.THANK: "favorite",
    Action.REMIND_STAFF: "notifications_active",
}  # fmt: skip
CURSOR = re.compile(r"([0-9]{1,3})\.([0-9]{1,18})\.([0-9a-f-]{36})", re.ASCII)


def _may(request: HttpRequest, *permissions: str) -> None:
    if not all(request.user.has_perm(one if "." in one else f"profiles.{one}") for one in permissions):
        raise PermissionDenied


# ------------------------------------------------------------------------------------------------ a customer's page
def shown(one: Suggestion, who: str = "") -> dict[str, Any]:
    """Return a suggestion as pages show one. who: the customer's name, if it does not know that."""
    names = organisation().staff_names
    return {
        "one": one,
        "who": one.name or who or one.external_userid or "（无姓名）",
        "id": str(one.recommendation_id),
        "action_name": Action(one.action).label,
        "state_name": State(one.state).label,
        "hue": HUES[Action(one.action)],
        "icon": ICONS[Action(one.action)],
        "is_open": one.state == State.OPEN,
        "is_decided": one.state in DECISIONS,
        "may_undo": may_undo(one),
        "staff": [names.get(userid, userid) for userid in one.staff],
        "decider": one.decided_by.removeprefix("api:"),
    }


@section("recommendations", order=7, permission="profiles.view_recommendation")
def recommendations(request: HttpRequest, customer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What to do next about a customer, and what became of earlier suggestions. Database: one query on the home's."""
    found = [shown(one) for one in list_all(customer["customer_id"])]
    return "profiles/customer_recommendations.html", {
        "open": [one for one in found if one["is_open"]],
        "just_decided": [one for one in found if one["may_undo"]],
        "over": [one for one in found if not one["is_open"] and not one["may_undo"]][:SHOWN_OVER],
        "can_decide": request.user.has_perm("profiles.change_recommendation"),
        "max_note": MAX_NOTE,
    }


@require_POST
@of_person("view_customer")
def decide_page(request: HttpRequest, customer: dict[str, Any], recommendation_id: UUID) -> HttpResponseBase:
    """Accept, dismiss or open a suggestion again: answers with a piece of the page, or goes back to it."""
    _may(request, "view_recommendation", "change_recommendation")
    what, problem = request.POST.get("what", ""), ""
    who = {"by": actor_of(request), "external_userid": customer["external_userid"]}
    customer_id = customer["customer_id"]
    try:
        if what == "undo":
            found = undo(customer_id, recommendation_id, **who)
            if found is not None and found.state in DECISIONS:
                problem = (
                    f"处理超过 {UNDO_MINUTES} 分钟，或者情况已有变化"
                    "（有了新的建议、规则已停用、客户又买了），不能再撤销。"
                )
        else:
            state = State.ACCEPTED if what == "accept" else State.DISMISSED
            note = request.POST.get("note", "").replace("\x00", "").strip()
            found = decide(customer_id, recommendation_id, state, note=note, **who)
    except AlreadyDecidedError as error:
        found, problem = error.suggestion, f"{error.suggestion.decided_by} 已经处理过这条建议，没有改动。"
    except NotOpenError as error:
        found, problem = error.suggestion, "这条建议已经失效，不用再处理。"
    if request.headers.get("HX-Request") != "true":
        if problem:
            messages.error(request, problem)
        return _back(request, customer_id)
    context = {
        "suggestion": shown(found, customer["name"] or customer["external_userid"]) if found else None,
        "customer_id": customer_id,
        "problem": problem if found else "这条建议已不在。",
        "can_decide": True,
        "is_listed": request.POST.get("is_listed") == "1",
        "max_note": MAX_NOTE,
    }
    return TemplateResponse(request, "profiles/suggestion.html", context)


def _back(request: HttpRequest, customer_id: int) -> HttpResponseBase:
    to = request.POST.get("back", "")
    if to and url_has_allowed_host_and_scheme(to, allowed_hosts=None):
        return HttpResponseRedirect(to)
    return redirect("admin:customers_customer_change", customer_id)


# -------------------------------------------------------------------------------------------------------- work list
class WorkForm(forms.Form):
    """action, home, staff and state, as they stand in the list's URL."""

    action = forms.ChoiceField(label="动作", required=False)
    home = forms.TypedChoiceField(label="归属库", required=False, coerce=int, empty_value=None)
    staff = forms.ChoiceField(label="跟进员工", required=False)
    state = forms.ChoiceField(label="状态", required=False)

    def __init__(self, data: Any) -> None:
        super().__init__(data, auto_id="filter_%s")
        staff = sorted(organisation().staff_names.items(), key=lambda one: one[1])
        wanted = data.get("staff", "")
        if wanted and wanted not in organisation().staff_names:
            staff.append((wanted[:64], wanted[:64]))
        self._set("action", [ANY, *Action.choices])
        self._set("home", [ANY, *((str(home), f"dept_{home}") for home in sharding.shard_map().homes)])
        self._set("staff", [ANY, *staff])
        self._set("state", [("", "待处理"), *(one for one in State.choices if one[0] != State.OPEN)])

    def _set(self, name: str, choices: list[Any]) -> None:
        found: Any = self.fields[name]
        found.widget = forms.Select(INPUT)
        found.choices = choices

    def asked(self) -> Asked:
        """Return what to list, of a form that is valid."""
        given = self.cleaned_data
        return Asked(
            action=given["action"] or None,
            state=given["state"] or State.OPEN.value,
            home=given["home"],
            staff=given["staff"] or None,
        )

    @property
    def is_filtering(self) -> bool:
        return any(self.data.get(name) for name in self.fields)


def work_list(request: HttpRequest) -> HttpResponseBase:
    """Show what to do, the most promising first. Database: one query on each home asked, one on control."""
    _may(request, "view_recommendation", "customers.view_customer")
    form = WorkForm(request.GET)
    is_valid = form.is_valid()
    items: list[Suggestion] = []
    unavailable: list[int] = []
    after: Place | None = None
    if is_valid:
        page = list_by_score(
            form.asked(), scope=scope_of_user(request.user), after=_place(request.GET.get("cursor", "")),
            limit=PAGE_SIZE,
        )  # fmt: skip
        items, unavailable, after = page.items, page.unavailable, page.after
    return render_customers_page(
        request, "profiles/work_list.html", "行动建议",
        {
            "form": form,
            "is_valid": is_valid,
            "suggestions": [shown(one) for one in items],
            "unavailable": unavailable,
            "next": _query(request.GET, cursor=_cursor(after)) if after else None,
            "first": _query(request.GET, cursor="") if request.GET.get("cursor") else None,
            "can_decide": request.user.has_perm("profiles.change_recommendation"),
            "can_see_rules": request.user.has_perm("profiles.view_recommendationrule"),
            "max_note": MAX_NOTE,
        },
    )  # fmt: skip


def _query(query: QueryDict, **changes: str) -> str:
    changed = query.copy()
    for name, value in changes.items():
        changed[name] = value
    for name in [name for name, value in changed.items() if not value]:
        del changed[name]
    return changed.urlencode()


def _cursor(place: Place) -> str:
    return f"{-place.negative_score}.{place.customer_id}.{place.recommendation_id}"


def _place(cursor: str) -> Place | None:
    """Return the place that a cursor of this page spells; from the beginning for any other text."""
    match = CURSOR.fullmatch(cursor)
    if match is None:
        return None
    try:
        return Place(-int(match[1]), ids.parse(match[2]), UUID(match[3]))
    except ValueError:
        return None


# ------------------------------------------------------------------------------------------------------------- rules
@dataclass
class RuleForm:
    """A rule as it stands in the form. places: {name of a control: what is wrong}; errors: of the whole."""

    name: str = ""
    action: str = Action.WIN_BACK
    reason: str = ""
    numbers: dict[str, str] = field(
        default_factory=lambda: {"base_score": "50", "expires_days": "14", "cooldown_days": "30"}
    )
    is_active: bool = True
    groups: list[GroupForm] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    filter: Filter | None = None

    @property
    def is_whole(self) -> bool:
        return not self.places and not self.errors and self.filter is not None

    @property
    def values(self) -> dict[str, Any]:
        """What is saved of it."""
        return {
            "name": self.name, "action": self.action, "reason": self.reason, "is_active": self.is_active,
            "groups": self.filter.to_json() if self.filter else [],
            **{name: int(text) for name, text in self.numbers.items()},
        }  # fmt: skip

    def place(self, error: RuleError) -> None:
        """Put what is wrong at its control, or above the form."""
        match error.path:
            case ("groups", int(group), int(row), str(part)) if group < len(self.groups):
                self.groups[group].rows[row].errors[PLACES.get(part, part)] = error.reason
            case ("groups", int(group), *_) if group < len(self.groups):
                self.groups[group].errors.append(error.reason)
            case (str(name), *_) if name in ("name", "action", "reason", "is_active", *rules.LIMITS):
                self.places[name] = error.reason
            case _:
                self.errors.append(error.reason)


def rule_form_of(rule: RecommendationRule) -> RuleForm:
    """Return the form of what is saved; conditions that cannot be read are left out, and the form says so."""
    form = RuleForm(rule.name, rule.action, rule.reason, is_active=rule.is_active)
    form.numbers = {name: str(getattr(rule, name)) for name in rules.LIMITS}
    try:
        form.filter = Filter.from_json(rule.groups)
    except RuleError as error:
        form.errors.append(f"保存的条件不能使用，请重新填写：{error}")
        return form
    form.groups = [GroupForm(f"g{place}", form_rows(group)) for place, group in enumerate(form.filter.groups)]
    return form


def read_rule_form(post: QueryDict) -> RuleForm:
    """Return what was sent, with what is wrong at its place. Whatever is sent, this raises nothing."""

    def text(name: str, longest: int) -> str:
        return str(post.get(name, "")).replace("\x00", "").strip()[:longest]

    form = RuleForm(text("name", 100), text("action", 20), text("reason", 300), is_active="is_active" in post)
    for name, (lowest, highest) in rules.LIMITS.items():
        form.numbers[name] = given = text(name, 10)
        if not (given.isascii() and given.isdigit() and lowest <= int(given) <= highest):
            form.places[name] = f"要是 {lowest} 到 {highest} 的整数"
    read_groups(post, form)
    return form


@require_http_methods(["GET", "POST"])
def add_rule_page(request: HttpRequest) -> HttpResponseBase:
    """Write a new rule."""
    _may(request, "add_recommendationrule")
    form = read_rule_form(request.POST) if request.method == "POST" else RuleForm()
    return _saved(request, form, None) or _rule_page(request, form, None)


@require_http_methods(["GET", "POST"])
def rule_page(request: HttpRequest, rule_id: int) -> HttpResponseBase:
    """Show a rule with how often it is accepted; whoever may can change it."""
    _may(request, "view_recommendationrule")
    rule = get_object_or_404(RecommendationRule, pk=rule_id)
    form = rule_form_of(rule)
    if request.method == "POST":
        _may(request, "change_recommendationrule")
        form = read_rule_form(request.POST)
    return _saved(request, form, rule) or _rule_page(request, form, rule)


def _saved(request: HttpRequest, form: RuleForm, rule: RecommendationRule | None) -> HttpResponseBase | None:
    """Save a form that was sent and is whole; None where there is something to mend."""
    if request.method != "POST" or not form.is_whole:
        return None
    try:
        saved = rules.save_rule(form.values, rule_id=rule.pk if rule else None)
    except RuleError as error:
        form.place(error)
        return None
    what = "change_recommendation_rule" if rule else "create_recommendation_rule"
    record(actor_of(request), what, detail={"rule": saved.pk, "name": saved.name})
    messages.success(request, f"已保存规则「{saved.name}」，下一次画像任务按它给出建议。")
    return redirect("admin:profiles_recommendationrule_changelist")


def _rule_page(request: HttpRequest, form: RuleForm, rule: RecommendationRule | None) -> HttpResponseBase:
    user: Any = request.user
    return render_page(
        request, "profiles/recommendation_rule.html", rule.name if rule else "新建建议规则", RecommendationRule,
        {
            **form_context("segment"),
            "form": form,
            "rule": rule,
            "actions": Action.choices,
            "groups": form.groups or [GroupForm("g0", [FormRow()])],
            "blank_group": GroupForm("__prefix__"),
            "spare_group": GroupForm("spare"),
            "feedback": feedback_of(rule) if rule else None,
            "is_wrong": not form.is_whole and request.method == "POST",
            "can_save": user.has_perm(f"profiles.{'change' if rule else 'add'}_recommendationrule"),
            "can_delete": rule is not None and user.has_perm("profiles.delete_recommendationrule"),
            "can_preview": user.has_perm("profiles.view_segment"),
        },
    )  # fmt: skip


def feedback_of(rule: RecommendationRule) -> dict[str, Any]:
    """Return how a rule has fared, and what becomes of its score by that."""
    decided = rule.accepted + rule.dismissed
    rate = acceptance_rate(rule.accepted, rule.dismissed)
    return {
        "decided": decided,
        "percent": round(100 * rule.accepted / decided) if decided else None,
        "score": score(rule.base_score, rate),
    }


@require_POST
def switch_rule(request: HttpRequest, rule_id: int) -> HttpResponseBase:
    """Turn a rule on or off."""
    _may(request, "view_recommendationrule", "change_recommendationrule")
    rule = get_object_or_404(RecommendationRule, pk=rule_id)
    wanted = "is_active" in request.POST
    try:
        rules.set_active(rule_id, is_active=wanted)
    except RuleError as error:
        messages.error(request, f"没有启用：{error}")
    else:
        record(actor_of(request), "change_recommendation_rule", detail={"rule": rule_id, "is_active": wanted})
        messages.success(request, f"已{'启用' if wanted else '停用'}规则「{rule.name}」。")
    return redirect("admin:profiles_recommendationrule_changelist")


@require_POST
def delete_rule_page(request: HttpRequest, rule_id: int) -> HttpResponseBase:
    """Delete a rule; what it has suggested disappears."""
    _may(request, "view_recommendationrule", "delete_recommendationrule")
    rule = get_object_or_404(RecommendationRule, pk=rule_id)
    if rules.delete_rule(rule_id):
        record(actor_of(request), "delete_recommendation_rule", detail={"rule": rule_id, "name": rule.name})
        messages.success(request, f"已删除规则「{rule.name}」，它给出的建议不再显示。")
    return redirect("admin:profiles_recommendationrule_changelist")
