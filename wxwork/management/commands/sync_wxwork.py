"""Sync with WeCom now, in this process, with progress and a summary. A sync that is under way is joined."""

import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from wxwork.models import SyncRun
from wxwork.sync import NOT_SHOWN, SyncRefusedError, estimate, next_kind, progress_of, start_sync, work_on
from wxwork.sync.drift import COUNTS, DRIFT

LOG_EVERY_SECONDS = 5.0
LOOK_EVERY_SECONDS = 1.0
RUNNING = SyncRun.State.RUNNING


class Command(BaseCommand):
    help = "Bring departments, staff, tags and customers in step with WeCom. May be killed and repeated."

    def add_arguments(self, parser: ArgumentParser) -> None:
        kinds = parser.add_mutually_exclusive_group()
        kinds.add_argument("--full", action="store_true", help="report what was made; the first one is full anyway")
        kinds.add_argument("--reconcile", action="store_true", help="report the drift that is found and repaired")

    def handle(self, *args: Any, **options: Any) -> None:
        kind = "full" if options["full"] else "reconcile" if options["reconcile"] else next_kind()
        try:
            run = start_sync(kind, "sync_wxwork")
        except SyncRefusedError as error:
            raise CommandError(str(error)) from error
        if not run.is_new:  # type: ignore[attr-defined]
            self.stderr.write(
                f"正在进行：{run.get_kind_display()}（{run.started_by or '系统'} 于 "
                f"{timezone.localtime(run.started_at):%m-%d %H:%M} 发起），加入它。"
            )
        self._say_what_it_takes()
        with self._shown() as show:
            run = self._work(run, show)
        self._print_summary(run)
        if run.state == RUNNING:
            raise CommandError(f"同步暂停：{run.error}。守护进程会继续，也可以再次运行本命令。")
        if run.state != SyncRun.State.DONE:
            raise CommandError(f"同步失败：{run.error}")

    def _say_what_it_takes(self) -> None:
        expected = estimate()
        words = f"预计调用企业微信接口 {expected.calls:,} 次，约 {_duration(expected.seconds)}。"
        if expected.is_guess:
            words = (
                f"至少调用企业微信接口 {expected.calls:,} 次：还没有同步过，企业微信不会预先告知客户数，"
                "此外每 100 个跟进关系 1 次。"
            )
        self.stderr.write(words)

    def _work(self, run: SyncRun, show: Callable[[SyncRun], None]) -> SyncRun:
        """Work on a run, or watch whoever does; take it up if they fall silent."""
        while True:
            run = work_on(run, show)
            if run.state != RUNNING or run.error:
                return run
            show(run)
            time.sleep(LOOK_EVERY_SECONDS)

    @contextmanager
    def _shown(self) -> Iterator[Callable[[SyncRun], None]]:
        """Give a function that shows progress: a bar on a terminal, a line now and then elsewhere."""
        console = Console(stderr=True)
        if not console.is_terminal:
            yield self._log_lines()
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("同步", total=1.0)
            yield lambda run: bar.update(task, completed=progress_of(run).share, description=_line(run))

    def _log_lines(self) -> Callable[[SyncRun], None]:
        logged_at = time.monotonic()

        def log(run: SyncRun) -> None:
            nonlocal logged_at
            if time.monotonic() - logged_at >= LOG_EVERY_SECONDS:
                logged_at = time.monotonic()
                self.stderr.write(_line(run))

        return log

    def _print_summary(self, run: SyncRun) -> None:
        table = Table(title=f"{run.get_kind_display()} · {run.get_state_display()}")
        table.add_column("结果")
        table.add_column("数量", justify="right")
        for name, words in COUNTS.items():
            if name in run.counts:
                table.add_row(words, f"{run.counts[name]:,}")
        table.add_row("接口调用", f"{run.calls_made:,}")
        ended = run.finished_at or timezone.now()
        table.add_row("用时", _duration((ended - run.started_at).total_seconds()))
        self._print(table)
        if run.kind == SyncRun.Kind.RECONCILE:
            self._print(_drift_table(run))
            self.stdout.write("接口无法显示、因此没有核对的：")
            for words in NOT_SHOWN.values():
                self.stdout.write(f"  - {words}")

    def _print(self, table: Table) -> None:
        console = Console(width=None if self.stdout.isatty() else 100)
        with console.capture() as captured:
            console.print(table)
        self.stdout.write(captured.get())


def _drift_table(run: SyncRun) -> Table:
    table = Table(title="差异（已修复）")
    table.add_column("种类")
    table.add_column("数量", justify="right")
    for name, words in DRIFT.items():
        if run.drift.get(name):
            table.add_row(words, f"{run.drift[name]:,}")
    if not run.drift:
        table.add_row("没有差异", "0")
    return table


def _line(run: SyncRun) -> str:
    now = progress_of(run)
    waits = f"，等待接口额度 {now.waits_seconds:.0f} 秒" if now.waits_seconds > 1 else ""
    return (
        f"{run.get_kind_display()}：{now.step or '完成'}  {now.batches_done}/{now.batches} 批  {now.relations:,} 关系  "
        f"调用 {now.calls_made:,}/{now.calls_expected:,}{waits}"
    )


def _duration(seconds: float) -> str:
    """Show how long something takes.

    >>> _duration(3.2), _duration(125), _duration(7500)
    ('3 秒', '2 分 5 秒', '2 小时 5 分')
    """
    if seconds < 60:
        return f"{seconds:.0f} 秒"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} 分 {rest} 秒" if minutes < 60 else f"{minutes // 60} 小时 {minutes % 60} 分"
