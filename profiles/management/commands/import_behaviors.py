"""Import behaviours from a CSV file; see docs/import.md."""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from django.core.management.base import CommandError

from customers.identity import is_external_userid
from customers.imports import CsvRow, Taken
from customers.imports.display import ImportCommand
from customers.models import ImportProgress
from profiles.importing import COLUMNS, take_behaviours


class Command(ImportCommand):
    help = "Import behaviours from a CSV file. May be repeated: an event_id of a source counts once."
    kind = ImportProgress.Kind.BEHAVIOURS
    title = "导入行为"
    columns = COLUMNS
    fates = {"accepted": "新增行为", "duplicates": "重复", "waiting": "待认领", "created": "新建客户"}

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--source", default="import", help="where the event_ids come from; they are unique within it (import)"
        )

    def taker(self, options: Mapping[str, Any]) -> tuple[str, Callable[[Sequence[CsvRow]], Taken]]:
        source = options["source"]
        if not is_external_userid(source):
            raise CommandError("--source is a text of 1 to 64 characters.")
        return source, partial(take_behaviours, source=source)
