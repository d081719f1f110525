"""Mend what crashes and restores have left between the directory and the homes: `manage.py sweep_directory`."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from customers.sweep import SETTLED_AFTER, Swept, sweep
from scrm import sharding


class Command(BaseCommand):
    help = "核对客户目录与各归属库，修复崩溃或恢复备份后留下的差异；可重复执行，keeper 每天也会执行一次。"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--home", type=int, action="append", help="只核对这个归属库，可多次给出")
        parser.add_argument(
            "--older-than", type=int, default=SETTLED_AFTER.total_seconds() // 60, metavar="MINUTES",
            help="只处理早于多少分钟的差异（默认 10）",
        )  # fmt: skip
        parser.add_argument("--force", action="store_true", help="即使一个归属库缺失很多客户，也删除目录中的记录")

    def handle(self, *args: Any, **options: Any) -> None:
        for home in options["home"] or ():
            if home not in sharding.shard_map():
                raise CommandError(f"There is no home {home}: see DEPARTMENT_DATABASES.")
        swept = sweep(
            older_than=timedelta(minutes=options["older_than"]), homes=options["home"], force=options["force"]
        )
        self._report(swept)
        if swept.suspicious or swept.unavailable:
            raise CommandError("Not all could be swept; see above.")

    def _report(self, swept: Swept) -> None:
        for name in ("settled", "erasures_started", "directory_removed", "rows_removed", "directory_added"):
            self.stdout.write(f"{name:20} {getattr(swept, name)}")
        for home, missing in swept.suspicious.items():
            self.stderr.write(
                f"dept_{home} lacks {missing} customers that the directory has: is it the right database, restored to "
                "the right time? If they are lost indeed, repeat with --force."
            )
        for home in sorted(set(swept.unavailable)):
            self.stderr.write(f"dept_{home} cannot be reached: repeat when it is back.")
