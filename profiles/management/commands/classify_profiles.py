"""Classify customers now: what the night does, in this process, with progress and a summary."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from profiles import runs
from profiles.days import day_of
from profiles.models import ProfileRun
from profiles.rules import RuleError
from profiles.runs import RunProgress, RunRefusedError
from scrm import sharding

LOG_EVERY_SECONDS = 5


def _date(text: str) -> date:
    return datetime.strptime(text, "%Y-%m-%d").date()


class Command(BaseCommand):
    help = "Put every customer in a class, as of midnight at the start of today or of --date. May be repeated."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--date", type=_date, metavar="YYYY-MM-DD", help="count behaviours before this day")
        parser.add_argument("--home", type=int, action="append", metavar="N", help="only this home; may be repeated")
        parser.add_argument("--full", action="store_true", help="judge everybody, not only whom something changed")
        parser.add_argument("--backtest", action="store_true", help="only say what would become of everybody")

    def handle(self, *args: Any, **options: Any) -> None:
        kind = ProfileRun.Kind.BACKTEST if options["backtest"] else ProfileRun.Kind.MANUAL
        try:
            run = self._run(kind, options["date"] or day_of(timezone.now()), options["full"], options["home"])
        except (RunRefusedError, RuleError, sharding.UnknownHomeError) as error:
            raise CommandError(str(error)) from error
        self._print_summary(run)
        if run.state == ProfileRun.State.RUNNING:
            waiting = ", ".join(f"dept_{home}" for home in run.summary["unavailable"])
            raise CommandError(f"{waiting} cannot be reached: the run goes on there when the keeper finds it back.")
        if run.state != ProfileRun.State.DONE:
            raise CommandError(f"The run ended as {run.state}: {_trouble(run)}")

    def _run(self, kind: str, as_of: date, full: bool, homes: list[int] | None) -> ProfileRun:
        """Run as asked; a run that is under way is helped to its end first."""
        while True:
            run = runs.start_run(kind, as_of, full=full, homes=homes, requested_by="classify_profiles")
            if not run.is_new:
                self.stderr.write(f"Run {run.pk} ({run.kind}, as of {run.as_of}) is under way: helping it first.")
            with self._shown(run) as show:
                runs.run_all(run, show)
            asked = sorted(set(homes or sharding.shard_map().homes))
            if run.is_new or run.state == ProfileRun.State.RUNNING:
                return run
            if (run.as_of, run.full, run.homes, run.kind) == (as_of, full, asked, kind) and run.rule_version_id == (
                runs.publishing.current_version().pk
            ):
                return run

    @contextmanager
    def _shown(self, run: ProfileRun) -> Iterator[Callable[[RunProgress], None]]:
        """Give a function that shows progress: a bar on a terminal, a line now and then elsewhere."""
        console = Console(stderr=True)
        if not console.is_terminal:
            yield self._log_lines(run)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(f"画像任务 {run.pk}", total=1.0)

            def show(progress: RunProgress) -> None:
                over = sum(view.is_over for view in progress.every_claim)
                bar.update(
                    task,
                    completed=progress.share,
                    description=f"画像任务 {run.pk}  {over}/{len(progress.every_claim)} 分表  "
                    f"{progress.judged} 人  变更 {progress.changed}",
                )

            yield show

    def _log_lines(self, run: ProfileRun) -> Callable[[RunProgress], None]:
        logged_at = timezone.now()

        def log(progress: RunProgress) -> None:
            nonlocal logged_at
            if (timezone.now() - logged_at).total_seconds() >= LOG_EVERY_SECONDS:
                logged_at = timezone.now()
                self.stderr.write(
                    f"run {run.pk}: {progress.share:.0%}, {progress.judged} judged, {progress.changed} changed"
                )

        return log

    def _print_summary(self, run: ProfileRun) -> None:
        summary = run.summary
        title = f"画像任务 {run.pk} · {run.get_kind_display()} · {run.as_of} · 规则第 {run.rule_version_id} 版"
        table = Table(title=f"{title} · {run.get_state_display()}")
        homes = list(summary.get("homes", {}))
        table.add_column("画像")
        for home in homes:
            table.add_column(f"dept_{home}", justify="right")
        table.add_column("合计", justify="right")
        table.add_column("转入", justify="right")
        for name, customers in summary.get("classes", {}).items():
            moved = sum(count for _, after, count in summary["moves"] if after == name)
            of_homes = [str(summary["homes"][home]["classes"].get(name, 0)) for home in homes]
            table.add_row(name, *of_homes, str(customers), str(moved))
        table.add_section()
        rows = (("判定", "judged"), ("画像变更", "changed"), ("写入", "updated"), ("用时（秒）", "seconds"))
        for label, key in rows:
            total = summary.get(key, "") if key != "seconds" else _seconds(run)
            table.add_row(label, *(str(summary["homes"][home][key]) for home in homes), str(total), "")
        console = Console(width=None if self.stdout.isatty() else 100)
        with console.capture() as captured:
            console.print(table)
        self.stdout.write(captured.get())


def _trouble(run: ProfileRun) -> str:
    """Say why a run is not done whole."""
    summary = run.summary
    if summary.get("fit_error"):
        return f"no new RFM and value: {summary['fit_error']}"
    return str(summary.get("error") or summary["failed"])


def _seconds(run: ProfileRun) -> str:
    ended = run.finished_at or timezone.now()
    return f"{(ended - run.started_at).total_seconds():.1f}"
