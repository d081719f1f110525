"""Import identities from a CSV file; see docs/import.md."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from customers.identity_importing import COLUMNS, take_claims
from customers.imports import CsvRow, Taken
from customers.imports.display import ImportCommand
from customers.models import ImportProgress


class Command(ImportCommand):
    help = "Say by which unionid, openid, mobile or number customers are known elsewhere. May be repeated."
    kind = ImportProgress.Kind.IDENTITIES
    title = "导入身份"
    columns = COLUMNS
    fates = {"accepted": "新增身份", "duplicates": "已有"}

    def taker(self, options: Mapping[str, Any]) -> tuple[str, Callable[[Sequence[CsvRow]], Taken]]:
        return "", take_claims
