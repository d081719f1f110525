"""Import customers from a CSV file; see docs/import.md."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from customers.importing import COLUMNS, take_customers
from customers.imports import CsvRow, Taken
from customers.imports.display import ImportCommand
from customers.models import ImportProgress


class Command(ImportCommand):
    help = "Create and change customers from a CSV file. May be repeated: what is as the file says stays untouched."
    kind = ImportProgress.Kind.CUSTOMERS
    title = "导入客户"
    columns = COLUMNS
    fates = {"created": "新建客户", "updated": "更新客户", "unchanged": "无变化", "repeated": "同一客户的其他行"}

    def taker(self, options: Mapping[str, Any]) -> tuple[str, Callable[[Sequence[CsvRow]], Taken]]:
        return "", take_customers
