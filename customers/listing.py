"""List and search customers across department databases, page by page, in order of customer_id."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from customers.access import EVERYTHING, Scope
from customers.lookup import COLUMNS, from_row, related
from customers.models import DirectoryEntry
from customers.segments import IN_SEGMENT
from scrm import sharding

MAX_QUERY_LENGTH = 64
# Follows and own tags of a page's customers, one row each; a point query per customer and partition.
CHILDREN = """
SELECT id,
  (SELECT COALESCE(json_agg(json_build_object('userid', userid, 'remark', remark, 'description', description,
          'mobiles', mobiles, 'add_way', add_way, 'state', state, 'created_at', created_at, 'lost_at', lost_at,
          'lost_by', lost_by, 'tag_ids', tag_ids, 'personal_tags', personal_tags) ORDER BY created_at, userid), '[]')
   FROM follows WHERE customer_id = id AND bucket = id %% 10),
  (SELECT COALESCE(json_agg(tag_id ORDER BY tag_id), '[]')
   FROM customer_tags WHERE customer_id = id AND bucket = id %% 10)
FROM unnest(%s::bigint[]) AS id
"""
TAGGED = """(
    EXISTS (SELECT 1 FROM customer_tags AS own
            WHERE own.customer_id = customers.customer_id AND own.bucket = customers.bucket AND own.tag_id = %s)
    OR EXISTS (SELECT 1 FROM follows AS by
               WHERE by.customer_id = customers.customer_id AND by.bucket = customers.bucket
                 AND by.lost_at IS NULL AND %s = ANY(by.tag_ids)))"""
TAGGED_VISIBLY = TAGGED.removesuffix("))") + " AND by.userid = ANY(%s)))"


@dataclass(frozen=True)
class Filters:
    """What to list. department: in or below it, as in access; q: part of a name, or a whole external_userid.

    profile "" means not classified yet; None any.
    """

    home: int | None = None
    department: Scope | None = None
    profile: str | None = None
    tag: str | None = None
    q: str = ""
    segment: int | None = None


@dataclass(frozen=True)
class Listed:
    customer_id: int
    customer: dict[str, Any]


def list_customers(
    filters: Filters, *, scope: Scope = EVERYTHING, position: sharding.Position | None = None, limit: int = 50
) -> sharding.Page[Listed]:
    """Return the next page of customers in scope, mobiles in clear (lookup.shown masks them).

    A page may hold fewer than limit, and more may follow: go on while it has a position.
    Database: two queries per home asked, one on the control database; homes that are down are named in the page and
    owed (see sharding.paging). Raises UnknownHomeError for a home that is not there.
    """
    if filters.home is not None:
        sharding.alias(filters.home)
    homes: Sequence[int] = [filters.home] if filters.home is not None else sharding.shard_map().homes
    page = sharding.page_across(
        lambda home, after, count: _fetch(home, after, count, filters, scope), position, limit, homes
    )
    page.items = _without_unsettled(page.items)
    return page


def _without_unsettled(found: Sequence[Listed]) -> list[Listed]:
    """Leave out those whom a lookup would not find there: being created or erased, or the other end of a move."""
    known = set(
        DirectoryEntry.objects.filter(
            customer_id__in=[one.customer_id for one in found],
            state__in=[DirectoryEntry.State.LIVE, DirectoryEntry.State.MOVING],
        ).values_list("customer_id", flat=True)
    )
    return [one for one in found if one.customer_id in known]


def _conditions(home: int, filters: Filters, scope: Scope) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    params: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        conditions.append(condition)
        params.extend(values)

    for limit in (scope, _asked_department(filters, scope)):
        if not limit.is_everything:
            condition, values = limit.sql(home)
            add(condition, *values)
    if filters.profile is not None:
        add(*(("profile = %s", filters.profile) if filters.profile else ("profile IS NULL",)))
    if filters.tag is not None:
        # Of the tags on others' follows nothing may be learned, not even by asking for them.
        staff = [] if scope.is_everything else [sorted(scope.staff)]
        add(TAGGED_VISIBLY if staff else TAGGED, filters.tag, filters.tag, *staff)
    if filters.segment is not None:
        add(IN_SEGMENT, filters.segment)
    if filters.q:
        q = filters.q[:MAX_QUERY_LENGTH].lower()
        pattern = q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        add(
            "((scrm_grams(name) @> %s::text[] AND lower(name) LIKE %s) OR external_userid = %s)",
            grams(q), f"%{pattern}%", filters.q,
        )  # fmt: skip
    return conditions, params


def _asked_department(filters: Filters, scope: Scope) -> Scope:
    """Return the department asked for, with only those of its staff whose follows the asker sees."""
    asked = filters.department or EVERYTHING
    return asked if scope.is_everything else Scope(asked.departments, asked.staff & scope.staff)


def grams(text: str) -> list[str]:
    """Return what the index must hold for a name to contain a text: its pairs, or its only character.

    >>> grams("王小明"), grams("王")
    (['王小', '小明'], ['王'])
    """
    return sorted({text[at : at + 2] for at in range(len(text) - 1)}) if len(text) > 1 else [text]


def _fetch(home: int, after: int, count: int, filters: Filters, scope: Scope) -> list[Listed]:
    conditions, params = _conditions(home, filters, scope)
    where = " AND ".join(["customer_id > %s", *conditions])
    with sharding.cursor(home) as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM customers WHERE {where} ORDER BY customer_id LIMIT %s",  # noqa: S608 - constants
            [after, *params, count],
        )
        rows = cursor.fetchall()
        ids = [row[0] for row in rows]
        cursor.execute(CHILDREN, [ids])
        children = {customer_id: rest for customer_id, *rest in cursor.fetchall()}
    return [Listed(row[0], {**from_row(row), **related(*children[row[0]])}) for row in rows]
