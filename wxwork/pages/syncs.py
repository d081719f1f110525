"""Syncs in the admin: how far one is, what it found, and the start of one."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from customers.pages.access import actor_of
from profiles.pages.rendering import render_page
from wxwork import sync_tasks
from wxwork.models import SyncRun
from wxwork.sync import DRIFT, NOT_SHOWN, Estimate, SyncRefusedError, estimate, progress_of
from wxwork.sync.drift import COUNTS
from wxwork.sync.progress import STEPS

# Who asks for syncs besides users.
REQUESTERS = {"system": "系统（每日对账）", "sync_wxwork": "命令行"}
ABOUT = {
    "full": "读取企业微信的全部部门、员工、标签、客户和客户群，补上缺少的，改正不同的。首次接入时使用。",
    "reconcile": "与每日凌晨的对账相同：逐个核对，列出漏收的变更，并全部修复。",
}


def _may(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(f"wxwork.{permission}"):
        raise PermissionDenied


@require_http_methods(["GET", "POST"])
def start_page(request: HttpRequest, kind: str) -> HttpResponseBase:
    """Say what a sync will take, and start it on POST."""
    _may(request, "add_syncrun")
    running = SyncRun.objects.filter(state=SyncRun.State.RUNNING).first()
    if request.method == "POST":
        try:
            run = sync_tasks.launch(kind, actor_of(request))
        except SyncRefusedError as error:
            messages.error(request, str(error))
            return redirect("admin:wxwork_syncrun_changelist")
        if run.is_new:  # type: ignore[attr-defined]
            messages.success(request, f"已开始{run.get_kind_display()}。")
        else:
            messages.info(request, f"{run.get_kind_display()}正在进行，没有另外开始；等它结束后可以再运行。")
        return redirect("admin:wxwork_syncrun_change", run.pk)
    return render_page(
        request, "wxwork/sync_start.html", SyncRun.Kind(kind).label, SyncRun,
        {"kind": kind, "label": SyncRun.Kind(kind).label, "about": ABOUT[kind], "running": running,
         "expected": _expected(estimate())},
    )  # fmt: skip


def run_page(request: HttpRequest, run_id: str) -> HttpResponseBase:
    """Show a sync."""
    _may(request, "view_syncrun")
    run = get_object_or_404(SyncRun, pk=run_id)
    return render_page(
        request, "wxwork/sync.html", run.get_kind_display(), SyncRun,
        {
            "run": run,
            "requester": REQUESTERS.get(run.started_by, run.started_by),
            "progress": shown(run),
            "drift": rows(run.drift, DRIFT),
            "counts": rows(run.counts, COUNTS),
            "not_shown": list(NOT_SHOWN.values()) if run.kind == SyncRun.Kind.RECONCILE else [],
        },
    )  # fmt: skip


@never_cache
def run_progress(request: HttpRequest, run_id: str) -> HttpResponseBase:
    """Answer with a sync's progress as JSON, for its page to show."""
    _may(request, "view_syncrun")
    return JsonResponse(shown(get_object_or_404(SyncRun, pk=run_id)))


def shown(run: SyncRun) -> dict[str, Any]:
    """Return how far a sync is, for a page."""
    now = progress_of(run)
    ended = run.finished_at or timezone.now()
    return {
        "state": run.state,
        "percent": 100 if run.state == SyncRun.State.DONE else int(now.share * 100),
        "step": now.step,
        "steps": [
            {
                "name": words,
                "state": "done" if name in run.steps_done else run.state if words == now.step else "waiting",
            }
            for name, words in STEPS.items()
        ],
        "batches": now.batches,
        "batches_done": now.batches_done,
        "pages": now.pages,
        "relations": now.relations,
        "calls_made": now.calls_made,
        "calls_expected": now.calls_expected,
        "waits_seconds": round(now.waits_seconds),
        "error": run.error,
        "seconds": max(int((ended - run.started_at).total_seconds()), 0),
    }


def rows(found: dict[str, int], words: dict[str, str]) -> list[tuple[str, int]]:
    """Return what was counted, in words and in their order; what has no words by its name.

    >>> rows({"remark": 2, "brand_new": 1}, {"remark": "备注", "tags": "标签"})
    [('备注', 2), ('brand_new', 1)]
    """
    named = [(text, found[name]) for name, text in words.items() if found.get(name)]
    return named + [(name, number) for name, number in sorted(found.items()) if name not in words and number]


def _expected(found: Estimate) -> dict[str, Any]:
    minutes = max(1, round(found.seconds / 60))
    words = f"{minutes} 分钟" if minutes < 120 else f"{minutes / 60:.1f} 小时"
    return {"calls": found.calls, "words": words, "is_guess": found.is_guess}
