"""Versions of the rules: read, copied into a draft, written by form, tried, published, rolled back, withdrawn."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_http_methods, require_POST

from customers.counts import known_classes
from customers.pages.access import actor_of
from profiles import publishing, releasing, tasks
from profiles.days import day_of
from profiles.models import ProfileRun, RuleVersion
from profiles.pages.conditions import FormRow, form_context
from profiles.pages.rendering import render_page
from profiles.pages.rules_form import RuleForm, RulesForm, form_of, read_form
from profiles.pages.runs import matrix
from profiles.publishing import DRAFT, PublishedError
from profiles.reasons import describe
from profiles.releasing import ReleasedError
from profiles.rules import Rule, RuleError, RuleSet, format_conditions
from profiles.rules.differences import SAME, Difference, differences
from profiles.rules.settings import SCOPES
from profiles.runs import RunRefusedError

KINDS = {"same": "不变", "moved": "移动", "changed": "修改", "added": "新增", "removed": "删除"}


def _may(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(f"profiles.{permission}"):
        raise PermissionDenied


def publishing_version() -> RuleVersion | None:
    """Return the version in force, or None."""
    try:
        return publishing.current_version()
    except RuleError:
        return None


def standing_of(version: RuleVersion, in_force: int | None) -> tuple[str, str]:
    """Return how a version stands: (the class of its label, what it says). in_force: the number of the one that is."""
    if version.state == DRAFT:
        return "is-partial", "草稿"
    if version.pk == in_force:
        return "is-done", "使用中"
    if releasing.is_pending(version):
        return "is-running", f"将于 {version.valid_from} 生效"
    return "", "已停用"


def shown_rules(rule_set: RuleSet) -> list[dict[str, Any]]:
    """Return rules for profiles/rule_list.html."""
    return [shown_rule(rule) for rule in rule_set.rules]


def shown_rule(rule: Rule) -> dict[str, Any]:
    return {
        "profile": rule.profile,
        "words": [describe(one) for one in rule.conditions],
        "text": format_conditions(rule.conditions),
        "problem": str(rule.problem) if rule.problem else "",
    }


def shown_settings(rule_set: RuleSet) -> list[tuple[str, str]]:
    """Return what a version says besides its rules, in words."""
    days = rule_set.settings.lifecycle
    return [
        ("新客", f"首次行为后 {days.new_days} 天内"),
        ("沉睡", f"超过 {days.dormant_days} 天没有购买和互动"),
        ("流失", f"超过 {days.lost_days} 天没有购买和互动"),
        ("回流", f"沉睡以后又来的 {days.return_days} 天内"),
        ("RFM", f"与{SCOPES[rule_set.settings.rfm_scope]}比较"),
    ]


# ---- one version -----------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
def version_page(request: HttpRequest, version_id: int) -> HttpResponseBase:
    """Show a version; a draft can be edited by whoever may."""
    _may(request, "view_ruleversion")
    version = get_object_or_404(RuleVersion, pk=version_id)
    user: Any = request.user
    if request.method == "POST":
        _may(request, "change_ruleversion")
        return _save(request, version)
    try:
        rule_set = publishing.rule_set_of(version)
    except RuleError as error:
        rule_set, problem = RuleSet(version.pk, (), version.default_profile or "？"), str(error)
    else:
        problem = ""
    if version.state == DRAFT and user.has_perm("profiles.change_ruleversion"):
        return _edit_page(request, version, form_of(version, rule_set), [problem] if problem else [])
    current = publishing_version()
    in_force = current.pk if current else None
    may_publish = user.has_perm("profiles.publish_ruleversion")
    is_pending = releasing.is_pending(version)
    return render_page(
        request, "profiles/rules.html", str(version), RuleVersion,
        {
            "version": version,
            "rows": shown_rules(rule_set),
            "problem": problem,
            "broken": rule_set.broken,
            "settings": shown_settings(rule_set),
            "standing": standing_of(version, in_force),
            "in_force": current,
            "can_copy": user.has_perm("profiles.add_ruleversion"),
            "can_publish": version.state == DRAFT and may_publish,
            "can_roll_back": version.state != DRAFT and version.pk != in_force and not is_pending and may_publish,
            "can_withdraw": is_pending and may_publish,
        },
    )  # fmt: skip


def _edit_page(
    request: HttpRequest, version: RuleVersion, form: RulesForm, errors: Sequence[str] = ()
) -> HttpResponseBase:
    user: Any = request.user
    form.rows = form.rows or [RuleForm("r0", rows=[FormRow()])]
    return render_page(
        request, "profiles/rules_edit.html", f"编辑{version}（草稿）", RuleVersion,
        {
            **form_context("rule"),
            "version": version,
            "seen": version.changed_at.isoformat(),
            "form": form,
            "blank_rule": RuleForm("__prefix__", rows=[FormRow()]),
            "spare_rule": RuleForm("spare", rows=[FormRow()]),
            "errors": [*errors, *form.errors],
            "classes": list(dict.fromkeys([*known_classes(), *form.profiles])),
            "today": day_of(timezone.now()).isoformat(),
            "can_publish": user.has_perm("profiles.publish_ruleversion"),
            "can_try": user.has_perm("profiles.add_profilerun"),
            "can_delete": user.has_perm("profiles.delete_ruleversion"),
        },
    )  # fmt: skip


def _save(request: HttpRequest, version: RuleVersion) -> HttpResponseBase:
    form = read_form(request.POST)
    seen = _moment(request.POST.get("seen", ""))
    if form.is_whole and version.state == DRAFT and seen is not None and seen != version.changed_at:
        # Said once: the form that is shown now knows of it.
        return _edit_page(
            request, version, form, ["打开这一页以后草稿又被改过，这里还没有保存；再保存一次会覆盖那些修改。"]
        )
    if form.is_whole:
        try:
            publishing.save_draft(
                form.rules, form.default_profile, note=form.note, version=version.pk, settings=form.settings,
                valid_from=form.starts,
            )  # fmt: skip
        except RuleError as error:
            form.place(error)
        except PublishedError:
            messages.error(request, "这个版本已经发布，不能再改；请复制为新的草稿。")
            return redirect("admin:profiles_ruleversion_change", version.pk)
        else:
            return _saved(request, version)
    if version.state != DRAFT:
        messages.error(request, "这个版本已经发布，不能再改；请复制为新的草稿。")
        return redirect("admin:profiles_ruleversion_change", version.pk)
    return _edit_page(request, version, form, ["有需要修改的地方，见下方标红处；草稿还没有保存。"])


def _saved(request: HttpRequest, version: RuleVersion) -> HttpResponseBase:
    messages.success(request, "草稿已保存。发布以前不影响任何客户。")
    if "publish" in request.POST:
        return redirect("admin:profiles_ruleversion_publish", version.pk)
    if "try" in request.POST and request.user.has_perm("profiles.add_profilerun"):
        return _try(request, version)
    return redirect("admin:profiles_ruleversion_change", version.pk)


@require_POST
def try_version(request: HttpRequest, version_id: int) -> HttpResponseBase:
    """Start a backtest of a draft as it is stored."""
    _may(request, "view_ruleversion")
    _may(request, "add_profilerun")
    return _try(request, get_object_or_404(RuleVersion, pk=version_id))


def _try(request: HttpRequest, version: RuleVersion) -> HttpResponseBase:
    """Start a backtest of a draft: how many customers it would put where, and nobody's class changed."""
    try:
        run = tasks.launch(
            ProfileRun.Kind.BACKTEST, day_of(timezone.now()), requested_by=actor_of(request), rule_version=version.pk
        )
    except (RunRefusedError, RuleError) as error:
        messages.error(request, f"没有试算：{error}")
        return redirect("admin:profiles_ruleversion_change", version.pk)
    return redirect("admin:profiles_profilerun_change", run.pk)


@require_POST
def copy_version(request: HttpRequest, version_id: int) -> HttpResponseBase:
    """Make a draft of a version's rules, and go there."""
    _may(request, "add_ruleversion")
    version = get_object_or_404(RuleVersion, pk=version_id)
    try:
        draft = releasing.copy(version, note=f"由{version}复制")
    except RuleError as error:
        messages.error(request, f"不能复制：{error}")
        return redirect("admin:profiles_ruleversion_change", version_id)
    messages.success(request, f"已复制为草稿{draft}。")
    return redirect("admin:profiles_ruleversion_change", draft.pk)


# ---- put in force ----------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
def publish_page(request: HttpRequest, version_id: int) -> HttpResponseBase:
    """Put a draft in force, after showing what differs from what is in force now, and what its dry run said."""
    _may(request, "publish_ruleversion")
    version = get_object_or_404(RuleVersion, pk=version_id)
    if version.state != DRAFT:
        messages.info(request, "这个版本已经发布过了。")
        return redirect("admin:profiles_ruleversion_change", version_id)
    given = version.valid_from.isoformat() if version.valid_from else ""
    problem = ""
    if request.method == "POST":
        given = request.POST.get("valid_from", "").replace("\x00", "").strip()[:40]
        problem = _wrong_start(given)
        if not problem:
            return _publish(request, version, given)
    return _publish_page(request, version, given, problem)


def _wrong_start(given: str) -> str:
    """Return what is wrong about the day from which rules are to be in force; "" means at once."""
    try:
        starts = parse_date(given)
    except ValueError:
        starts = None
    if given and starts is None:
        return f"要是日期，如 2026-01-31，不能是 {given}"
    today = day_of(timezone.now())
    return f"要是今天（{today}）或以后" if starts is not None and starts < today else ""


def _moment(text: str) -> datetime | None:
    """Return when what the page shows was written; None where that is not said."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _publish(request: HttpRequest, version: RuleVersion, given: str) -> HttpResponseBase:
    user: Any = request.user
    try:
        published = releasing.publish(
            version.pk,
            by=actor_of(request),
            valid_from=parse_date(given) if given else None,
            seen=_moment(request.POST.get("seen", "")),
        )
    except RuleVersion.DoesNotExist:
        messages.error(request, "这份草稿刚刚被删除了，没有发布。")
        return redirect("admin:profiles_ruleversion_changelist")
    except ReleasedError as error:
        messages.error(request, f"没有发布：{error}。")
        return redirect("admin:profiles_ruleversion_publish", version.pk)
    except RuleError as error:
        messages.error(request, f"没有发布：{error}")
        return redirect("admin:profiles_ruleversion_change", version.pk)
    if releasing.is_pending(published):
        messages.success(request, f"{version}已发布，将于 {published.valid_from} 生效；在那以前可以撤回。")
        return redirect("admin:profiles_ruleversion_change", version.pk)
    messages.success(request, f"{version}已发布。下次画像任务会按它重新判断全部客户；也可以现在就运行。")
    return redirect("admin:profiles_profilerun_start" if user.has_perm("profiles.add_profilerun") else "admin:index")


def _publish_page(request: HttpRequest, version: RuleVersion, given: str, wrong_start: str) -> HttpResponseBase:
    user: Any = request.user
    current = publishing_version()
    problem, found, settings = "", [], []
    try:
        wanted = publishing.checked_rule_set_of(version)
        before = publishing.rule_set_of(current) if current else RuleSet(0, (), wanted.default_profile)
        found, settings = differences(before, wanted), _changed_settings(before, wanted)
    except RuleError as error:
        problem = str(error)
    return render_page(
        request, "profiles/publish.html", f"发布{version}", RuleVersion,
        {
            "version": version,
            "seen": version.changed_at.isoformat(),
            "current": current,
            "problem": problem,
            "differences": [_shown_difference(one) for one in found],
            "is_same": all(one.kind == SAME for one in found) and not settings,
            "settings": settings,
            "valid_from": given,
            "wrong_start": wrong_start,
            "today": day_of(timezone.now()).isoformat(),
            "dry_run": dry_run_of(version) if user.has_perm("profiles.view_profilerun") else None,
            "can_try": user.has_perm("profiles.add_profilerun"),
            "pending": [one for one in releasing.list_pending() if one.pk != version.pk],
        },
    )  # fmt: skip


def _shown_difference(one: Difference) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "kind_name": KINDS[one.kind],
        "before": shown_rule(one.before) if one.before else None,
        "after": shown_rule(one.after) if one.after else None,
        "position_before": one.position_before,
        "position_after": one.position_after,
    }


def _changed_settings(before: RuleSet, after: RuleSet) -> list[dict[str, str]]:
    """Return what differs besides the rules: the default class and the settings, in words."""
    old = [("默认画像", before.default_profile), *shown_settings(before)]
    new = [("默认画像", after.default_profile), *shown_settings(after)]
    return [
        {"name": name, "before": was, "after": now}
        for (name, was), (_, now) in zip(old, new, strict=True)
        if was != now
    ]


def dry_run_of(version: RuleVersion) -> dict[str, Any] | None:
    """Return the last dry run of a draft, and whether the draft has changed since. Database: one query on control."""
    run = ProfileRun.objects.filter(kind=ProfileRun.Kind.BACKTEST, rule_version=version).order_by("-pk").first()
    if run is None:
        return None
    return {
        "run": run,
        "is_old": run.started_at <= version.changed_at,
        "matrix": matrix(run.summary.get("moves", [])),
        "judged": run.summary.get("judged", 0),
        "changed": run.summary.get("changed", 0),
        "unavailable": run.summary.get("unavailable", []),
    }


# ---- taken back ------------------------------------------------------------------------------------------------------


@require_POST
def roll_back(request: HttpRequest, version_id: int) -> HttpResponseBase:
    """Put the rules of an older version in force again, as a version of their own."""
    _may(request, "publish_ruleversion")
    version = get_object_or_404(RuleVersion, pk=version_id)
    try:
        made = releasing.roll_back(version.pk, by=actor_of(request))
    except (RuleError, ReleasedError) as error:
        messages.error(request, f"没有回滚：{error}")
        return redirect("admin:profiles_ruleversion_change", version_id)
    messages.success(request, f"已回滚到{version}：它的规则作为{made}发布。下次画像任务会重新判断全部客户。")
    return redirect("admin:profiles_ruleversion_change", made.pk)


@require_POST
def withdraw(request: HttpRequest, version_id: int) -> HttpResponseBase:
    """Make a draft again of a version that is published and not in force yet."""
    _may(request, "publish_ruleversion")
    get_object_or_404(RuleVersion, pk=version_id)
    try:
        releasing.withdraw(version_id, by=actor_of(request))
    except ReleasedError as error:
        messages.error(request, f"没有撤回：{error}")
    else:
        messages.success(request, "已撤回，又是草稿了，不会生效。")
    return redirect("admin:profiles_ruleversion_change", version_id)
