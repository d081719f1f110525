"""The admin of syncs: a list by unfold, pages of our own (wxwork.pages.syncs) for what is behind it."""

from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path
from unfold.decorators import action, display

from customers.admin import ReadOnlyAdmin
from profiles.admin import duration
from wxwork.models import SyncRun
from wxwork.pages import syncs


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin):
    list_display = ("kind_label", "state_label", "started_at", "took", "calls", "found", "requester", "short_error")
    list_filter = ("kind", "state")
    actions_list = ("start_reconcile", "start_full")
    list_per_page = 50

    def get_urls(self) -> list[URLPattern]:
        site = self.admin_site
        kinds = [
            path(f"start/{kind}/", site.admin_view(syncs.start_page), {"kind": kind}, name=f"wxwork_syncrun_{kind}")
            for kind in SyncRun.Kind.values
        ]
        pages = {
            "<uuid:run_id>/change/": ("change", syncs.run_page),
            "<uuid:run_id>/progress/": ("progress", syncs.run_progress),
        }
        return [
            *kinds,
            *(
                path(route, site.admin_view(view), name=f"wxwork_syncrun_{name}")
                for route, (name, view) in pages.items()
            ),
            *super().get_urls(),
        ]

    @action(description="开始对账", icon="fact_check", permissions=["start"], url_path="start-reconcile")
    def start_reconcile(self, request: HttpRequest) -> HttpResponseBase:
        """Go to what a reconcile will take."""
        return redirect("admin:wxwork_syncrun_reconcile")

    @action(description="全量同步", icon="sync", permissions=["start"], url_path="start-full")
    def start_full(self, request: HttpRequest) -> HttpResponseBase:
        """Go to what a full sync will take."""
        return redirect("admin:wxwork_syncrun_full")

    def has_start_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("wxwork.add_syncrun"))

    @display(description="类型", ordering="kind")
    def kind_label(self, run: SyncRun) -> str:
        return str(run.get_kind_display())

    @display(description="状态", label={"进行中": "info", "已完成": "success", "失败": "danger"}, ordering="state")
    def state_label(self, run: SyncRun) -> str:
        return str(run.get_state_display())

    @display(description="用时")
    def took(self, run: SyncRun) -> str:
        return duration(run.finished_at - run.started_at) if run.finished_at else "—"

    @display(description="接口调用", ordering="calls_made")
    def calls(self, run: SyncRun) -> str:
        return f"{run.calls_made:,} / {run.calls_expected:,}"

    @display(description="差异")
    def found(self, run: SyncRun) -> str:
        if run.kind != SyncRun.Kind.RECONCILE or run.state != SyncRun.State.DONE:
            return "—"
        return f"{sum(run.drift.values()):,} 处" if run.drift else "没有差异"

    @display(description="发起人", ordering="started_by")
    def requester(self, run: SyncRun) -> str:
        return syncs.REQUESTERS.get(run.started_by, run.started_by)

    @display(description="错误")
    def short_error(self, run: SyncRun) -> str:
        return run.error if len(run.error) <= 60 else f"{run.error[:60]}…"
