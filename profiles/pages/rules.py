"""Versions of the rules: read, copied into a draft, edited as text, published."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from customers.counts import known_classes
from customers.pages.access import actor_of
from customers.pages.filters import tag_choices
from profiles import publishing, tasks
from profiles.days import day_of
from profiles.models import ProfileRun, RuleVersion
from profiles.pages.rendering import render_page
from profiles.publishing import DRAFT, PublishedError
from profiles.reasons import describe
from profiles.rules import FIELDS, Rule, RuleError, RuleSet, format_conditions, parse_conditions
from profiles.runs import RunRefusedError

MAX_NOTE = 200
EXAMPLES = (
    ("purchase_count > 5 and interaction_count > 10", "买过 5 次以上，且互动 10 次以上"),
    ("total_amount[90d] >= 2000", "近 90 天消费满 2000 元"),
    ("days_since_last_purchase > 60 and purchase_count >= 3", "买过 3 次以上，60 天没有再买"),
)


@dataclass
class Row:
    """A rule as it stands in the form, with what is wrong about it."""

    profile: str = ""
    text: str = ""
    errors: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


def _may(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(f"profiles.{permission}"):
        raise PermissionDenied


def in_words(text: str) -> list[str]:
    """Return conditions in 中文. Raises RuleError."""
    return [describe(condition) for condition in parse_conditions(text)]


def _rows_of(version: RuleVersion) -> tuple[list[Row], str]:
    """Return the rules of a version, and why they cannot be read, if so."""
    try:
        rule_set = publishing.rule_set_of(version)
    except RuleError as error:
        return [], str(error)
    return [
        Row(rule.profile, format_conditions(rule.conditions), words=[describe(one) for one in rule.conditions])
        for rule in rule_set.rules
    ], ""


@require_http_methods(["GET", "POST"])
def version_page(request: HttpRequest, version_id: int) -> HttpResponseBase:
    """Show a version; a draft can be edited by whoever may."""
    _may(request, "view_ruleversion")
    version = get_object_or_404(RuleVersion, pk=version_id)
    user: Any = request.user
    can_change = user.has_perm("profiles.change_ruleversion")
    if request.method == "POST":
        _may(request, "change_ruleversion")
        return _save(request, version)
    rows, problem = _rows_of(version)
    errors = [problem] if problem else []
    if version.state == DRAFT and can_change:
        return _edit_page(request, version, rows, errors, version.default_profile, version.note)
    return render_page(
        request, "profiles/rules.html", str(version), RuleVersion,
        {
            "version": version,
            "rows": rows,
            "errors": errors,
            "in_force": version == publishing_version(),
            "can_copy": user.has_perm("profiles.add_ruleversion"),
            "can_publish": version.state == DRAFT and user.has_perm("profiles.publish_ruleversion"),
        },
    )  # fmt: skip


def publishing_version() -> RuleVersion | None:
    """Return the version in force, or None."""
    try:
        return publishing.current_version()
    except RuleError:
        return None


def _edit_page(
    request: HttpRequest,
    version: RuleVersion,
    rows: Sequence[Row],
    errors: Sequence[str],
    default_profile: str,
    note: str,
) -> HttpResponseBase:
    user: Any = request.user
    return render_page(
        request, "profiles/rules_edit.html", f"编辑{version}（草稿）", RuleVersion,
        {
            "version": version,
            "rows": rows or [Row()],
            "errors": errors,
            "default_profile": default_profile,
            "note": note,
            "fields": FIELDS.values(),
            "tags": tag_choices(),
            "examples": EXAMPLES,
            "classes": list(known_classes()),
            "can_publish": user.has_perm("profiles.publish_ruleversion"),
            "can_try": user.has_perm("profiles.add_profilerun"),
            "can_delete": user.has_perm("profiles.delete_ruleversion"),
        },
    )  # fmt: skip


def _save(request: HttpRequest, version: RuleVersion) -> HttpResponseBase:
    profiles, texts = request.POST.getlist("profile"), request.POST.getlist("conditions")
    rows = [
        Row(profile.strip(), text.strip())
        for profile, text in zip(profiles, texts, strict=False)
        if profile.strip() or text.strip()
    ]
    default_profile = request.POST.get("default_profile", "").strip()
    note = request.POST.get("note", "").strip()[:MAX_NOTE].replace("\x00", "")
    rules = [rule for row in rows if (rule := _parse(row)) is not None]
    errors: list[str] = []
    if len(rules) == len(rows):
        try:
            RuleSet(version.pk, tuple(rules), default_profile)
            publishing.save_draft(rules, default_profile, note=note, version=version.pk)
        except RuleError as error:
            errors.append(str(error))
        except PublishedError:
            messages.error(request, "这个版本已经发布，不能再改；请复制为新的草稿。")
            return redirect("admin:profiles_ruleversion_change", version.pk)
        else:
            messages.success(request, "草稿已保存。发布以前不影响任何客户。")
            if "publish" in request.POST:
                return redirect("admin:profiles_ruleversion_publish", version.pk)
            if "try" in request.POST and request.user.has_perm("profiles.add_profilerun"):
                return _try(request, version)
            return redirect("admin:profiles_ruleversion_change", version.pk)
    else:
        errors.append("有规则需要修改，见下方标红处；草稿还没有保存。")
    return _edit_page(request, version, rows, errors, default_profile, note)


def _try(request: HttpRequest, version: RuleVersion) -> HttpResponseBase:
    """Start a backtest of a draft: how many customers it would put where, and nobody's class changed."""
    try:
        run = tasks.launch(
            ProfileRun.Kind.BACKTEST, day_of(timezone.now()), requested_by=actor_of(request), rule_version=version.pk
        )
    except RunRefusedError as error:
        messages.error(request, f"没有试算：{error}")
        return redirect("admin:profiles_ruleversion_change", version.pk)
    return redirect("admin:profiles_profilerun_change", run.pk)


def _parse(row: Row) -> Rule | None:
    """Return a row's rule; None when it is none, and then the row says why."""
    try:
        conditions = parse_conditions(row.text)
        row.words = [describe(one) for one in conditions]
        return Rule(row.profile, conditions)
    except RuleError as error:
        row.errors.append(f"条件：{error}" if not row.words else str(error))
        return None


def check_conditions(request: HttpRequest) -> HttpResponseBase:
    """Answer with conditions in 中文, or with what is wrong and where: a piece of the page."""
    _may(request, "view_ruleversion")
    text = request.GET.get("conditions", "").strip()
    context: dict[str, Any] = {"words": [], "errors": []}
    if text:
        try:
            context["words"] = in_words(text)
        except RuleError as error:
            context["errors"] = [f"条件：{error}"]
    return TemplateResponse(request, "profiles/rule_words.html", context)


@require_POST
def copy_version(request: HttpRequest, version_id: int) -> HttpResponseBase:
    """Make a draft of a version's rules, and go there."""
    _may(request, "add_ruleversion")
    version = get_object_or_404(RuleVersion, pk=version_id)
    try:
        rule_set = publishing.rule_set_of(version)
        draft = publishing.save_draft(rule_set.rules, rule_set.default_profile, note=f"由{version}复制")
    except RuleError as error:
        messages.error(request, f"不能复制：{error}")
        return redirect("admin:profiles_ruleversion_change", version_id)
    messages.success(request, f"已复制为草稿{draft}。")
    return redirect("admin:profiles_ruleversion_change", draft.pk)


@require_http_methods(["GET", "POST"])
def publish_page(request: HttpRequest, version_id: int) -> HttpResponseBase:
    """Put a draft in force, after showing it beside what is in force now."""
    _may(request, "publish_ruleversion")
    version = get_object_or_404(RuleVersion, pk=version_id)
    if version.state != DRAFT:
        messages.info(request, "这个版本已经发布过了。")
        return redirect("admin:profiles_ruleversion_change", version_id)
    if request.method == "POST":
        try:
            publishing.publish(version_id, by=actor_of(request))
        except RuleError as error:
            messages.error(request, f"没有发布：{error}")
            return redirect("admin:profiles_ruleversion_change", version_id)
        messages.success(request, f"{version}已发布。下次画像任务会按它重新判断全部客户；也可以现在就运行。")
        return redirect("admin:profiles_profilerun_start")
    rows, problem = _rows_of(version)
    current = publishing_version()
    return render_page(
        request, "profiles/publish.html", f"发布{version}", RuleVersion,
        {
            "version": version, "rows": rows, "problem": problem, "current": current,
            "current_rows": _rows_of(current)[0] if current else [],
        },
    )  # fmt: skip
