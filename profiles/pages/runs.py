"""Profile runs: their progress, what came of them, and the start of one."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from customers.pages.access import actor_of, scope_of_user
from profiles import runs, tasks
from profiles.claims import ACT, CLASSIFY, SCORE, ClaimView
from profiles.days import day_of
from profiles.models import Action, DailyFigure, ProfileRun, RunClaim
from profiles.pages.rendering import render_page
from profiles.pages.worth import value_context
from profiles.rules import RuleError
from profiles.runs import RunProgress, RunRefusedError, Step
from profiles.samples import list_samples
from scrm import sharding

MODES = {"full": "全量", "incremental": "增量", "report": "只计算"}
PHASES = {CLASSIFY: "判断画像", SCORE: "计算价值", ACT: "更新人群与建议"}
STEPS = {
    Step.FIT: "估计 RFM 分数线和价值模型",
    Step.OPEN: "估计 RFM 分数线和价值模型",
    Step.FIGURES: "统计指标",
    Step.CLOSE: "统计指标",
    Step.WAIT: "等待恢复的归属库",
}
RUNNING = ProfileRun.State.RUNNING
# Who asks for runs besides users and API keys.
REQUESTERS = {"system": "系统", "classify_profiles": "命令行"}


class StartForm(forms.Form):
    """What to run."""

    as_of = forms.DateField(
        label="统计日", widget=forms.DateInput({"class": "scrm-input", "type": "date"}, format="%Y-%m-%d"),
        help_text="统计这一天零点以前的行为，最晚是今天。早于上次统计日的任务只计算、不改画像。",
    )  # fmt: skip
    full = forms.BooleanField(
        label="全量重算", required=False,
        help_text="不勾选时只判断有变化的客户，结果相同而快得多；规则有新版本时总是全量。",
    )  # fmt: skip
    backtest = forms.BooleanField(
        label="只试算", required=False, help_text="只统计会有多少客户变化，不改任何客户的画像。"
    )
    homes = forms.TypedMultipleChoiceField(
        label="归属库", required=False, coerce=int, widget=forms.CheckboxSelectMultiple, help_text="不选就是全部。"
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, initial={"as_of": day_of(timezone.now())})
        homes: Any = self.fields["homes"]
        homes.choices = [(home, f"dept_{home}") for home in sharding.shard_map().homes]


def _may(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(f"profiles.{permission}"):
        raise PermissionDenied


@require_http_methods(["GET", "POST"])
def start_page(request: HttpRequest) -> HttpResponseBase:
    """Ask what to run, and start it; a POST without as_of runs as of today."""
    _may(request, "add_profilerun")
    data = request.POST.copy() if request.method == "POST" else None
    if data is not None and "as_of" not in data:
        data["as_of"] = day_of(timezone.now()).isoformat()
    form = StartForm(data)
    if data is not None and form.is_valid():
        run = _start(request, form)
        if run is not None:
            return redirect("admin:profiles_profilerun_change", run.pk)
    return render_page(request, "profiles/run_start.html", "立即运行", ProfileRun, {"form": form})


def _start(request: HttpRequest, form: StartForm) -> ProfileRun | None:
    given = form.cleaned_data
    kind = ProfileRun.Kind.BACKTEST if given["backtest"] else ProfileRun.Kind.MANUAL
    try:
        run = tasks.launch(
            kind, given["as_of"], full=given["full"], homes=given["homes"] or None, requested_by=actor_of(request)
        )
    except RunRefusedError:
        form.add_error("as_of", f"统计日最晚是今天（{day_of(timezone.now())}），并且时区要和首次安装时一致。")
        return None
    except RuleError as error:
        form.add_error(None, str(error))
        return None
    if run.is_new:
        messages.success(request, f"已开始画像任务 {run.pk}。")
    else:
        messages.info(request, f"任务 {run.pk} 正在进行，没有另外开始；等它结束后可以再运行。")
    return run


@require_POST
def wake_run(request: HttpRequest, run_id: int) -> HttpResponseBase:
    """Mend a run and tell workers of what waits: what the keeper does every ten seconds."""
    _may(request, "add_profilerun")
    run = get_object_or_404(ProfileRun, pk=run_id)
    if run.state == RUNNING:
        told = tasks.wake(run, runs.resume(run))
        messages.success(request, f"已唤醒 {told} 份等待中的工作。" if told else "没有等待中的工作。")
    return redirect("admin:profiles_profilerun_change", run_id)


def run_page(request: HttpRequest, run_id: int) -> HttpResponseBase:
    """Show a run. Database: three queries on control, one on each home."""
    _may(request, "view_profilerun")
    run = get_object_or_404(ProfileRun.objects.select_related("rule_version"), pk=run_id)
    user: Any = request.user
    return render_page(
        request, "profiles/run.html", str(run), ProfileRun,
        {
            "run": run,
            "requester": REQUESTERS.get(run.requested_by, run.requested_by),
            "progress": progress_of(run),
            "summary": run.summary,
            "homes": _homes(run.summary),
            "matrix": matrix(run.summary.get("moves", [])),
            "value": value_context(run),
            "without": run.summary.get("fitted_without", []),
            "suggestions": suggestions_of(run),
            "samples": list_samples(run, scope_of_user(user)) if user.has_perm("customers.view_customer") else None,
            "counts_today": run.as_of == day_of(run.started_at),
            "last_day": run.as_of - timedelta(days=1),
            "can_wake": run.state == RUNNING and request.user.has_perm("profiles.add_profilerun"),
        },
    )  # fmt: skip


@never_cache
def run_progress(request: HttpRequest, run_id: int) -> HttpResponseBase:
    """Answer with a run's progress as JSON, for its page to show."""
    _may(request, "view_profilerun")
    return JsonResponse(progress_of(get_object_or_404(ProfileRun, pk=run_id)))


def progress_of(run: ProfileRun) -> dict[str, Any]:
    """Return how far a run is, for a page. Database: one query on each home."""
    progress = runs.run_progress(run)
    ended = run.finished_at or timezone.now()
    return {
        "state": run.state,
        "state_name": run.get_state_display(),
        "phase": _phase(run, progress),
        "percent": 100 if run.state == ProfileRun.State.DONE else int(progress.share * 100),
        "judged": progress.judged,
        "changed": progress.changed,
        "seconds": max(int((ended - run.started_at).total_seconds()), 0),
        "unavailable": progress.unavailable,
        "homes": [_home(home, progress) for home in sorted(progress.claims)],
    }


def _phase(run: ProfileRun, progress: RunProgress) -> str:
    """Say what is being done."""
    if run.state != RUNNING:
        return ""
    step = runs.next_step(run, progress)
    return STEPS.get(step) or PHASES[progress.phase]


def _home(home: int, progress: RunProgress) -> dict[str, Any]:
    views = progress.claims[home]
    return {
        "home": home,
        "judged": sum(view.judged for view in views),
        "total": sum(view.total for view in views),
        "changed": sum(view.changed for view in views),
        "buckets": [_bucket(view) for view in views],
    }


def _bucket(view: ClaimView) -> dict[str, Any]:
    name = RunClaim.State(view.state).label
    text = f"分表 {view.bucket}：{PHASES[view.phase]}{name}，{view.judged} / {view.total} 位，变更 {view.changed} 位"
    return {
        "bucket": view.bucket,
        "state": view.state,
        "title": f"{text}。{view.error}" if view.error else text,
        "error": view.error,
    }


def suggestions_of(run: ProfileRun) -> dict[str, Any] | None:
    """Return what a run says of recommendations, for its page; None if it says nothing. Database: one query on control.

    open: [{action, name, count}] of those open at its end, None where no figures are kept of it (any more).
    """
    noted = run.summary.get("recommendations")
    if noted is None:
        return None
    found = DailyFigure.objects.filter(kind="actions", scope="", day=run.as_of, home__in=run.homes, run_id=run.pk)
    kept = list(found.values_list("data", flat=True))
    counted = [
        {"action": action.value, "name": action.label, "count": sum(one.get(action, 0) for one in kept)}
        for action in Action
    ]
    return {**noted, "open": counted if kept else None}


def _homes(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {**found, "home": home, "modes": "、".join(MODES.get(mode, mode) for mode in found.get("modes", []))}
        for home, found in sorted(summary.get("homes", {}).items(), key=lambda item: int(item[0]))
    ]


def matrix(moves: list[list[Any]]) -> dict[str, Any]:
    """Return moves as a table: the classes before down, the classes after across, None for not classified before.

    >>> matrix([[None, "潜在客户", 7], ["潜在客户", "高价值客户", 2]])["rows"]
    [(None, [7, 0], 7), ('潜在客户', [0, 2], 2)]
    """
    counts = {(before, after): count for before, after, count in moves}
    columns = sorted({after for _before, after in counts})
    before = sorted({one for one, _after in counts}, key=lambda one: (one is not None, one or ""))
    rows = [(one, [counts.get((one, after), 0) for after in columns]) for one in before]
    return {"columns": columns, "rows": [(one, row, sum(row)) for one, row in rows]}
