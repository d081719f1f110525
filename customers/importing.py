"""Turn rows of a CSV file into customers.

    column            a cell
    external_userid   required; who is not known is created, who was erased is refused
    name avatar type gender unionid corp_name position
                      as in the API; gender also 男, 女, 未知; another value than WeCom's is refused once WeCom has
                      synced the customer (owned_by_wecom)
    mobile            in clear
    attributes        a JSON object, put over the stored ones
    attr:level        one attribute, as text; any number of such columns
    tags              our own tags by id or name, joined by |; they replace those there are
    home              where to create who is not known; else the bucketing strategy says

An empty cell leaves things as they are. Rows of one person are put together, later ones over earlier ones.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from rest_framework import serializers

from customers.directory import DirectoryError, upsert_many
from customers.identity import is_external_userid
from customers.imports import Columns, CsvRow, Taken
from customers.records import OUR_FIELDS, WECOM_FIELDS, CustomerData
from customers.serializers import CustomerBody
from customers.tags import tag_library

ATTRIBUTE = "attr:"
COLUMNS = Columns(
    required=("external_userid",), optional=(*WECOM_FIELDS, *OUR_FIELDS, "tags", "home"), prefixes=(ATTRIBUTE,)
)
GENDERS = {"未知": 0, "男": 1, "女": 2}
NUMBERS = ("type", "gender", "home")
# What a repeat may mend: the import waits for it.
PASSING = ("department_unavailable", "busy", "address_taken")
MAX_NUMBER_DIGITS = 9


class RowError(ValueError):
    """A row that says nothing that could be written. code and message as in the file of rejects."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_row(values: Mapping[str, str], body: CustomerBody) -> CustomerData:
    """Return what a row says of a customer. body: any instance; the rules are those of the API.

    Raises RowError.
    """
    external_userid = values["external_userid"]
    if not is_external_userid(external_userid):
        raise RowError("invalid_external_userid", "external_userid is a text of 1 to 64 characters.")
    try:
        given = body.run_validation(_body_of(values))
    except serializers.ValidationError as error:
        name, reason = _first_reason(error.detail)
        raise RowError(f"invalid_{name}", f"{name}: {reason}") from None
    tags = given.get("tags")
    return CustomerData(
        external_userid,
        fields={name: given[name] for name in (*WECOM_FIELDS, *OUR_FIELDS) if name in given},
        home=given.get("home"),
        tag_ids=None if tags is None else tuple(tags),
        merge_attributes=True,
        respect_tombstone=True,
    )


def _body_of(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the body that says of a customer what a row says; what is wrong in it stays wrong."""
    body: dict[str, Any] = {name: cell for name, cell in values.items() if cell and COLUMNS.knows(name)}
    del body["external_userid"]
    if "gender" in body:
        body["gender"] = GENDERS.get(body["gender"], body["gender"])
    for name in NUMBERS:
        cell = body.get(name)
        if isinstance(cell, str) and cell.isascii() and cell.isdigit() and len(cell) <= MAX_NUMBER_DIGITS:
            body[name] = int(cell)
    if "tags" in body:
        body["tags"] = _tag_ids(body["tags"])
    with suppress(ValueError, RecursionError):
        if "attributes" in body:
            body["attributes"] = json.loads(body["attributes"])
    single = {name.removeprefix(ATTRIBUTE): body.pop(name) for name in list(body) if name.startswith(ATTRIBUTE)}
    if single and isinstance(body.get("attributes", {}), dict):
        body["attributes"] = {**body.get("attributes", {}), **single}
    return body


def _tag_ids(cell: str) -> list[str]:
    """Return the ids of tags named by id or, where only one tag has it, by name; unknown ones as they are."""
    library = tag_library()
    named = Counter(tag["name"] for tag in library.values())
    ids = {tag["name"]: number for number, tag in library.items() if named[tag["name"]] == 1}
    words = [word for word in (part.strip() for part in cell.split("|")) if word]
    return [word if word in library else ids.get(word, word) for word in words]


def _first_reason(detail: Any) -> tuple[str, str]:
    """Return the first field of a validation error, and why."""
    name = next(iter(detail))
    reason = detail[name]
    while not isinstance(reason, str):
        reason = next(iter(reason.values() if isinstance(reason, dict) else reason))
    return name, str(reason)


def put_together(items: Iterable[CustomerData]) -> dict[str, CustomerData]:
    """Return one item a person, later ones over earlier ones."""
    people: dict[str, CustomerData] = {}
    for item in items:
        before = people.get(item.external_userid)
        if before is not None:
            attributes = {**before.fields.get("attributes", {}), **item.fields.get("attributes", {})}
            fields = {**before.fields, **item.fields, **({"attributes": attributes} if attributes else {})}
            tag_ids = before.tag_ids if item.tag_ids is None else item.tag_ids
            item = replace(item, fields=fields, home=before.home or item.home, tag_ids=tag_ids)
        people[item.external_userid] = item
    return people


def take_customers(rows: Sequence[CsvRow]) -> Taken:
    """Create or change the customers of a chunk of rows. Repeatable. Databases and cost: see directory.upsert_many."""
    taken = Taken()
    body = CustomerBody()
    read: list[tuple[CsvRow, CustomerData]] = []
    for row in rows:
        try:
            read.append((row, read_row(row.values, body)))
        except RowError as error:
            taken.refused.append((row, error.code, str(error)))
    done = upsert_many(list(put_together(item for _, item in read).values()))
    seen: set[str] = set()
    for row, item in read:
        refusal = done.rejected.get(item.external_userid)
        if refusal is not None:
            fate = taken.later if refusal.code in PASSING else taken.refused
            fate.append((row, refusal.code, _message(refusal)))
        elif item.external_userid in seen:
            taken.counts["repeated"] += 1
        else:
            fates = (("created", done.created), ("updated", done.updated), ("unchanged", done.unchanged))
            taken.counts[next(name for name, people in fates if item.external_userid in people)] += 1
        seen.add(item.external_userid)
    return taken


def _message(error: DirectoryError) -> str:
    fields = ", ".join(error.fields)
    return f"{error} ({fields})." if fields else f"{error}."
