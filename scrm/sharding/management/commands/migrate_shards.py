import sys
import threading
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from scrm.sharding import inspection, report
from scrm.sharding.databases import shard_map
from scrm.sharding.migrating import Migrated, migrate_all

LINE_EVERY_SECONDS = 2.0


class Command(BaseCommand):
    help = "Migrate the control database and every department database, then check and count them. May be repeated."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-count", action="store_true", help="leave out row counts: quicker on large databases")

    def handle(self, *args: Any, **options: Any) -> None:
        console = report.console(self.stdout)
        migrated = self._migrate_on_terminal(console) if console.is_terminal else self._migrate_in_lines()
        failed = [result for result in migrated if result.error]
        if console.is_terminal:
            for result in migrated:
                self.stdout.write(f"{result.alias}: {'; '.join([result.summary, *result.news])}")
        found = inspection.inspect(count=not options["no_count"])
        report.show(console, found)
        if failed:
            self.stderr.write(
                f"{len(failed)} of {len(migrated)} databases failed. Repeat this command once it is mended."
            )
        if failed or found.problems:
            sys.exit(1)

    def _migrate_on_terminal(self, console: Console) -> list[Migrated]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            aliases = ["default", *map(shard_map().alias, shard_map().homes)]
            tasks = {name: progress.add_task(name, text="waits", total=None) for name in aliases}
            return migrate_all(lambda name, text: progress.update(tasks[name], text=text))

    def _migrate_in_lines(self) -> list[Migrated]:
        lock = threading.Lock()
        said_at: dict[str, float] = {}

        def say(name: str, text: str) -> None:
            with lock:
                # Most migrations of most databases take no time: a line each would be a thousand lines.
                if not text.startswith("applies ") or time.monotonic() - said_at.get(name, 0) > LINE_EVERY_SECONDS:
                    said_at[name] = time.monotonic()
                    self.stdout.write(f"{name}: {text}")

        return migrate_all(say)
