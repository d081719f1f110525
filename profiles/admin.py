"""The admin of profiles: lists by unfold, pages of our own (profiles.pages) for what is behind them."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, IntegerField, QuerySet, Value
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from customers.admin import ReadOnlyAdmin
from customers.templatetags.customers import class_badge
from profiles import publishing, releasing
from profiles.models import ProfileRun, RuleVersion, WaitingBehaviour
from profiles.pages import (
    conditions,
    recommendation_admin,  # noqa: F401 - registers itself
    rules,
    runs,
    segment_admin,  # noqa: F401 - registers itself
)
from profiles.pages.sections import older_behaviours
from profiles.pages.waiting import WaitingBehaviourAdmin

STATES = {"进行中": "info", "完成": "success", "部分完成": "warning", "失败": "danger"}

admin.site.register(WaitingBehaviour, WaitingBehaviourAdmin)


@admin.register(RuleVersion)
class RuleVersionAdmin(ModelAdmin):
    list_display = ("title", "state_label", "rule_count", "default_badge", "note", "published_at", "published_by")
    list_filter = ("state",)
    actions = None
    actions_list = ("new_draft",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[RuleVersion]:
        current = rules.publishing_version()
        in_force = Value(current.pk if current else None, IntegerField(null=True))
        return super().get_queryset(request).annotate(number_of_rules=Count("rules"), in_force=in_force)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a draft is a copy

    def has_delete_permission(self, request: HttpRequest, obj: RuleVersion | None = None) -> bool:
        is_draft = obj is None or obj.state == RuleVersion.State.DRAFT
        return is_draft and bool(super().has_delete_permission(request, obj))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A draft goes with its dry runs, unless one is going on."""
        deleted, counts, needed, _ = super().get_deleted_objects(objs, request)
        running = ProfileRun.objects.filter(rule_version__in=objs, state=ProfileRun.State.RUNNING)
        protected = [f"试算还没有结束：任务 {run.pk}" for run in running]
        # Runs are read-only in the admin; these go with what they tried.
        return deleted, counts, needed - {ProfileRun._meta.verbose_name}, protected

    def delete_model(self, request: HttpRequest, obj: RuleVersion) -> None:
        try:
            releasing.delete_draft(obj.pk)
        except releasing.ReleasedError as error:
            raise PermissionDenied(str(error)) from error

    def get_urls(self) -> list[URLPattern]:
        pages = {
            "check/": ("check", conditions.check_conditions),
            "<int:version_id>/change/": ("change", rules.version_page),
            "<int:version_id>/copy/": ("copy", rules.copy_version),
            "<int:version_id>/publish/": ("publish", rules.publish_page),
            "<int:version_id>/try/": ("try", rules.try_version),
            "<int:version_id>/roll-back/": ("roll_back", rules.roll_back),
            "<int:version_id>/withdraw/": ("withdraw", rules.withdraw),
        }
        return [
            path(route, self.admin_site.admin_view(view), name=f"profiles_ruleversion_{name}")
            for route, (name, view) in pages.items()
        ] + super().get_urls()

    @action(description="以当前规则新建草稿", icon="add", permissions=["draft"], url_path="new-draft")
    def new_draft(self, request: HttpRequest) -> HttpResponseBase:
        """Go to the version in force, where it can be copied."""
        current = rules.publishing_version()
        if current is None:
            draft = publishing.save_draft((), "潜在客户")
            return redirect("admin:profiles_ruleversion_change", draft.pk)
        return redirect("admin:profiles_ruleversion_change", current.pk)

    def has_draft_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("profiles.add_ruleversion"))

    @display(description="版本", ordering="version")
    def title(self, version: RuleVersion) -> str:
        return str(version)

    @display(description="状态", label={"草稿": "warning", "使用中": "success", "待生效": "info", "已停用": None})
    def state_label(self, version: Any) -> str | tuple[str, str]:
        _, words = rules.standing_of(version, version.in_force)
        return ("待生效", words) if words.startswith("将于") else words

    @display(description="规则数")
    def rule_count(self, version: Any) -> int:
        return int(version.number_of_rules)

    @display(description="默认画像")
    def default_badge(self, version: RuleVersion) -> SafeString:
        return class_badge(version.default_profile)


@admin.register(ProfileRun)
class ProfileRunAdmin(ReadOnlyAdmin):
    list_display = (
        "number", "kind_label", "as_of", "rule_version", "state_label", "judged", "changed", "started_at", "took",
        "requester",
    )  # fmt: skip
    list_filter = ("kind", "state")
    list_select_related = ("rule_version",)
    actions_list = ("run_now",)
    list_per_page = 50

    def get_urls(self) -> list[URLPattern]:
        pages = {
            "start/": ("profilerun_start", runs.start_page),
            "<int:run_id>/change/": ("profilerun_change", runs.run_page),
            "<int:run_id>/progress/": ("profilerun_progress", runs.run_progress),
            "<int:run_id>/wake/": ("profilerun_wake", runs.wake_run),
            "behaviours/<int:customer_id>/": ("behaviours", older_behaviours),
        }
        return [
            path(route, self.admin_site.admin_view(view), name=f"profiles_{name}")
            for route, (name, view) in pages.items()
        ] + super().get_urls()

    @action(description="立即运行", icon="play_arrow", permissions=["run"], url_path="run-now")
    def run_now(self, request: HttpRequest) -> HttpResponseBase:
        """Go to the form that starts a run."""
        return redirect("admin:profiles_profilerun_start")

    def has_run_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("profiles.add_profilerun"))

    @display(description="任务", ordering="id")
    def number(self, run: ProfileRun) -> str:
        return f"任务 {run.pk}"

    @display(description="类型", ordering="kind")
    def kind_label(self, run: ProfileRun) -> str:
        return str(run.get_kind_display())

    @display(description="状态", label=STATES, ordering="state")
    def state_label(self, run: ProfileRun) -> str:
        return str(run.get_state_display())

    @display(description="判断客户")
    def judged(self, run: ProfileRun) -> str:
        return _number(run.summary.get("judged"))

    @display(description="变更")
    def changed(self, run: ProfileRun) -> str:
        return _number(run.summary.get("changed"))

    @display(description="发起人", ordering="requested_by")
    def requester(self, run: ProfileRun) -> str:
        return runs.REQUESTERS.get(run.requested_by, run.requested_by)

    @display(description="用时")
    def took(self, run: ProfileRun) -> str:
        return duration(run.finished_at - run.started_at) if run.finished_at else "—"


def _number(value: int | None) -> str:
    return "—" if value is None else f"{value:,}"


def duration(time: timedelta) -> str:
    """Show how long something took.

    >>> duration(timedelta(seconds=3.21)), duration(timedelta(seconds=125)), duration(timedelta(hours=2, minutes=5))
    ('3.2 秒', '2 分 5 秒', '2 小时 5 分')
    """
    seconds = time.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} 秒"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} 分 {rest} 秒" if minutes < 60 else f"{minutes // 60} 小时 {minutes % 60} 分"
