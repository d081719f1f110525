"""Turn rows of a CSV file into behaviours.

column            must be there    a cell
event_id          yes              unique per source and customer: repeating an import changes nothing
external_userid   or the next      whoever is not known is created
identity_kind, identity_value      see customers.identity_kinds; whom nobody claims yet, the behaviour waits for
kind              yes              purchase, interaction, refund
channel           yes              see profiles.vocabulary
amount            yes              29.33; may be empty for interactions and for refunds of all that is left
occurred_at       yes              2026-11-20T12:00:00+08:00; also 2026/11/20 12:00, then in the stored zone
refers_to         no               a refund: the event_id of the purchase
detail            no               a JSON object
home              no               where to create who is not known; else the bucketing strategy says
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from django.utils import timezone

from customers.imports import Columns, CsvRow, Taken
from profiles.behaviours import record_behaviours
from profiles.days import day_zone

COLUMNS = Columns(
    required=("event_id", "kind", "channel", "amount", "occurred_at"),
    optional=("external_userid", "identity_kind", "identity_value", "refers_to", "detail", "home"),
    one_of=(("external_userid",), ("identity_kind", "identity_value")),
)
# What a repeat may mend: the import waits for it.
PASSING = ("department_unavailable", "busy", "address_taken")
# How Excel in China shows a time.
SPREADSHEET_TIME = re.compile(r"(\d{4})[/-](\d{1,2})[/-](\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?)?", re.ASCII)


def read_time(text: str) -> str:
    """Return a spreadsheet's time in ISO 8601, and any other text unchanged.

    >>> read_time("2026/1/5 9:30"), read_time("2026-01-05T09:30:00+08:00")
    ('2026-01-05T09:30:00', '2026-01-05T09:30:00+08:00')
    """
    found = SPREADSHEET_TIME.fullmatch(text)
    if not found:
        return text
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"


def item_of(row: CsvRow) -> dict[str, Any]:
    """Return a row as an item for record_behaviours; what is wrong in it stays wrong, for that to refuse."""
    item: dict[str, Any] = dict(row.values)
    item["occurred_at"] = read_time(item["occurred_at"])
    kind, value = item.pop("identity_kind", ""), item.pop("identity_value", "")
    if kind or value:
        item["identity"] = {"kind": kind, "value": value}
    detail = item.get("detail")
    if not detail:
        item["detail"] = None
    else:
        with suppress(ValueError, RecursionError):
            item["detail"] = json.loads(detail)
    return item


def take_behaviours(rows: Sequence[CsvRow], *, source: str) -> Taken:
    """Record a chunk of rows. Repeatable. See record_behaviours for databases and cost."""
    done = record_behaviours(
        [item_of(row) for row in rows], source=source, now=timezone.now(), create_missing=True, assume_zone=day_zone()
    )
    taken = Taken(
        Counter(accepted=done.accepted, duplicates=done.duplicates, waiting=done.waiting, created=done.created)
    )
    for rejection in done.rejected:
        fate = taken.later if rejection.code in PASSING else taken.refused
        fate.append((rows[rejection.index], rejection.code, rejection.message))
    return taken
