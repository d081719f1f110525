"""What the import commands share: their arguments, progress on a terminal or in log lines, and the summary."""

import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table

from customers.imports.csv_stream import Columns, CsvRow, CsvStream, ImportFileError
from customers.imports.jobs import ImportStoppedError, Progress, Summary, Taken, run_import

LOG_EVERY_SECONDS = 5.0


class ImportCommand(BaseCommand):
    """Base of the commands that import a CSV file.

    kind: as in ImportProgress; title: of bar and summary; fates: {count: its name}, in the order of the summary.
    """

    kind: str
    title: str
    columns: Columns
    fates: Mapping[str, str]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="CSV with a header, plain or gzip")
        parser.add_argument("--encoding", default="utf-8", help="of the file: utf-8 (default), gb18030, …")
        parser.add_argument("--restart", action="store_true", help="from the first row, also if it was cut off before")
        parser.add_argument(
            "--rejected", type=Path, metavar="FILE", help="where bad rows go, instead of FILE.rejected.csv"
        )

    def taker(self, options: Mapping[str, Any]) -> tuple[str, Callable[[Sequence[CsvRow]], Taken]]:
        """Return the source of the rows, and what writes a chunk of them. Raises CommandError."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        rejects_path = options["rejected"] or path.with_name(f"{path.name}.rejected.csv")
        try:
            source, take = self.taker(options)
            with CsvStream(path, self.columns, encoding=options["encoding"]) as stream:
                for name in stream.ignored:
                    self.stderr.write(f"Column {name} is not known here and is ignored.")
                with self._shown(stream) as show:
                    summary = run_import(
                        stream, kind=self.kind, source=source, take=take, rejects_path=rejects_path,
                        restart=options["restart"], show=show,
                    )  # fmt: skip
        except (ImportFileError, ImportStoppedError) as error:
            raise CommandError(str(error)) from error
        except OperationalError as error:
            raise CommandError(f"A database does not answer: {error}Repeat the command to go on from there.") from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Repeat the command to go on from there.", returncode=130) from None
        self._print_summary(path, summary)

    @contextmanager
    def _shown(self, stream: CsvStream) -> Iterator[Callable[[Progress], None]]:
        """Give a function that shows progress: a bar by bytes on a terminal, a line now and then elsewhere."""
        console = Console(stderr=True)
        if not console.is_terminal:
            yield self._log_lines()
            return
        columns = (
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), DownloadColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(),
        )  # fmt: skip
        with Bars(*columns, console=console) as bars:
            bar = bars.add_task(self.title, total=max(stream.size, 1))
            yield lambda progress: bars.update(
                bar, completed=progress.position, description=f"{self.title} {progress.lines:,} 行"
            )

    def _log_lines(self) -> Callable[[Progress], None]:
        said_at = time.monotonic()

        def say(progress: Progress) -> None:
            nonlocal said_at
            if time.monotonic() - said_at >= LOG_EVERY_SECONDS:
                said_at = time.monotonic()
                counts = ", ".join(f"{count} {fate}" for fate, count in progress.counts.items())
                self.stderr.write(f"{progress.position / max(progress.size, 1):.0%}: {counts}")

        return say

    def _print_summary(self, path: Path, summary: Summary) -> None:
        table = Table(title=f"{self.title} · {path.name}", show_header=False, min_width=44)
        table.add_column()
        table.add_column(justify="right")
        for fate, name in self.fates.items():
            table.add_row(name, f"{summary.counts[fate]:,}")
        table.add_row("拒绝", f"{summary.counts['rejected']:,}")
        table.add_row("用时（秒）", f"{summary.seconds:.1f}")
        if summary.resumed_at:
            table.add_row("续传自第几行之后", f"{summary.resumed_at:,}")
        console = Console(width=None if self.stdout.isatty() else 100)
        with console.capture() as captured:
            console.print(table)
        self.stdout.write(captured.get())
        if summary.rejects:
            self.stdout.write(f"被拒绝的行及原因：{summary.rejects}")
