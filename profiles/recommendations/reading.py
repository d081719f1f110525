"""What is suggested now: of one customer, and across homes.

What is stored as open may be over already, and is shown so before a run says it:

| stored open, and                                              | shown as  |
|---------------------------------------------------------------|-----------|
| expires_at has passed                                         | expired   |
| its rule was turned off or deleted                            | withdrawn |
| a win back, and a purchase on a later day than when it was made | withdrawn |
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.utils import timezone

from customers.access import EVERYTHING, Scope
from customers.models import DirectoryEntry
from profiles.days import day_zone
from profiles.recommendations.rules import known_rules
from scrm import sharding

# Of `recommendations r` and `running_totals t`: what has been bought since it was to be won back.
IS_WON = """r.action = 'win_back' AND t.last_purchase_at IS NOT NULL AND COALESCE(
    (t.last_purchase_at AT TIME ZONE %(zone)s)::date > (r.numbers->>'last_purchase_day')::date, TRUE)"""
# The state that readers see.
STATE = f"""
CASE WHEN r.state <> 'open' THEN r.state
     WHEN r.expires_at <= %(now)s THEN 'expired'
     WHEN NOT r.rule_id = ANY(%(active)s::bigint[]) THEN 'withdrawn'
     WHEN {IS_WON} THEN 'withdrawn' ELSE 'open' END
"""
COLUMNS = f"""r.customer_id, r.recommendation_id, r.rule_id, r.action, {STATE} AS state, r.score, r.reason, r.numbers,
    r.items, r.run_id, r.made_at, r.expires_at, r.decided_at, r.decided_by, r.note"""
TOTALS = "LEFT JOIN running_totals t ON t.customer_id = r.customer_id AND t.bucket = r.bucket"
OF_CUSTOMER = f"""
SELECT {COLUMNS}, '' FROM recommendations r {TOTALS}
WHERE r.customer_id = %(customer_id)s AND r.bucket = %(bucket)s
"""  # noqa: S608 - made of constants


@dataclass(frozen=True)
class Suggestion:
    """One suggestion, its state as shown now."""

    customer_id: int
    recommendation_id: UUID
    rule_id: int
    action: str
    state: str
    score: int
    reason: str
    numbers: dict[str, Any]
    items: list[dict[str, str]]
    run_id: int
    made_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str
    note: str
    external_userid: str = ""
    name: str = ""
    staff: tuple[str, ...] = ()

    @property
    def rule_name(self) -> str:
        return known_rules().names.get(self.rule_id, "")


@dataclass(frozen=True)
class Asked:
    """What to list. staff: followed by this member now. state: as shown; None for any."""

    action: str | None = None
    state: str | None = "open"
    home: int | None = None
    staff: str | None = None
    rule_id: int | None = None


@dataclass(frozen=True)
class Customer:
    """A customer with suggestions: what sharding.page_across pages by."""

    customer_id: int
    suggestions: tuple[Suggestion, ...]


def _params() -> dict[str, Any]:
    return {"now": timezone.now(), "active": sorted(known_rules().active), "zone": day_zone().key}


def _from_row(row: Sequence[Any]) -> Suggestion:
    values = list(row)
    values[7], values[8] = orjson.loads(values[7]), orjson.loads(values[8])
    return Suggestion(*values)


def list_open(customer_id: int) -> list[Suggestion]:
    """Return what is suggested for a customer now, best first. Database: one query on the home's."""
    return [one for one in list_all(customer_id) if one.state == "open"]


def list_all(customer_id: int, *, limit: int = 100) -> list[Suggestion]:
    """Return a customer's suggestions, those that are over as well: open ones first, the best before the others.

    Database: one query on the home's, an index scan of one partition.
    """
    params = _params() | {"customer_id": customer_id, "bucket": sharding.bucket_of(customer_id), "limit": limit}
    order = "ORDER BY state <> 'open', CASE WHEN state = 'open' THEN score END DESC NULLS LAST, made_at DESC, rule_id"
    with sharding.cursor(sharding.home_of(customer_id)) as cursor:
        cursor.execute(f"SELECT * FROM ({OF_CUSTOMER}) AS r {order} LIMIT %(limit)s", params)  # noqa: S608
        return [_from_row(row) for row in cursor.fetchall()]


def find(customer_id: int, recommendation_id: UUID) -> Suggestion | None:
    """Return one suggestion of a customer. Database: one query on the home's."""
    params = _params() | {
        "customer_id": customer_id, "bucket": sharding.bucket_of(customer_id), "id": recommendation_id,
    }  # fmt: skip
    with sharding.cursor(sharding.home_of(customer_id)) as cursor:
        cursor.execute(f"{OF_CUSTOMER} AND r.recommendation_id = %(id)s", params)
        row = cursor.fetchone()
    return _from_row(row) if row else None


def _where(home: int, asked: Asked, scope: Scope) -> tuple[str, dict[str, Any]]:
    visible, values = scope.sql(home)
    params: dict[str, Any] = _params() | {f"scope_{place}": value for place, value in enumerate(values)}
    for place in range(len(values)):
        visible = visible.replace("%s", f"%(scope_{place})s", 1)
    conditions = [visible]
    for column, value in (("r.action", asked.action), ("r.rule_id", asked.rule_id)):
        if value is not None:
            name = column.partition(".")[2]
            conditions.append(f"{column} = %({name})s")
            params[name] = value
    if asked.staff is not None:
        conditions.append(
            "EXISTS (SELECT 1 FROM follows f WHERE f.customer_id = r.customer_id AND f.bucket = r.bucket "
            "AND f.lost_at IS NULL AND f.userid = %(staff)s)"
        )
        params["staff"] = asked.staff
        if not scope.is_everything and asked.staff not in scope.staff:
            conditions.append("FALSE")  # of whom others follow besides, nothing is told
    if asked.state is not None:
        conditions.append(f"{STATE} = %(state)s")
        params["state"] = asked.state
        if asked.state in ("open", "accepted", "dismissed"):
            conditions.append(f"r.state = '{asked.state}'")  # by which an index can be used
    return " AND ".join(f"({one})" for one in conditions), params


# Joined by rows in order: a page needs a few of many.
FROM = f"""
FROM recommendations r
JOIN customers ON customers.customer_id = r.customer_id AND customers.bucket = r.bucket
{TOTALS}
"""


def list_customers(
    asked: Asked, *, scope: Scope = EVERYTHING, position: sharding.Position | None = None, limit: int = 50
) -> sharding.Page[Customer]:
    """Return the next page of customers in scope that have such suggestions, each with all of them, best first.

    In order of customer_id; go on while the page has a position. Database: two queries on each home asked, one on
    control.
    Raises UnknownHomeError.
    """
    if asked.home is not None:
        sharding.alias(asked.home)
    homes: Sequence[int] = [asked.home] if asked.home is not None else sharding.shard_map().homes
    page = sharding.page_across(
        lambda home, after, count: _fetch_customers(home, after, count, asked, scope), position, limit, homes
    )
    settled = _settled(one.customer_id for one in page.items)
    page.items = [one for one in page.items if one.customer_id in settled]
    return page


def _settled(customer_ids: Iterable[int]) -> set[int]:
    """Return those whom a lookup would find there: not who is being created or erased, or the other end of a move."""
    entries = DirectoryEntry.objects.filter(
        customer_id__in=set(customer_ids), state__in=[DirectoryEntry.State.LIVE, DirectoryEntry.State.MOVING]
    )
    return set(entries.values_list("customer_id", flat=True))


def _fetch_customers(home: int, after: int, count: int, asked: Asked, scope: Scope) -> list[Customer]:
    where, params = _where(home, asked, scope)
    params |= {"after": after, "count": count}
    with sharding.cursor(home) as cursor:
        cursor.execute(
            f"SELECT DISTINCT r.customer_id {FROM} WHERE {where} AND r.customer_id > %(after)s "
            "ORDER BY 1 LIMIT %(count)s",
            params,
        )
        ids = [customer_id for (customer_id,) in cursor.fetchall()]
        if not ids:
            return []
        cursor.execute(
            f"SELECT {COLUMNS}, customers.external_userid {FROM} WHERE {where} "
            "AND r.customer_id = ANY(%(ids)s) ORDER BY r.customer_id, r.score DESC, r.made_at DESC, r.rule_id",
            params | {"ids": ids},
        )
        found: dict[int, list[Suggestion]] = {}
        for row in cursor.fetchall():
            found.setdefault(row[0], []).append(_from_row(row))
    return [Customer(customer_id, tuple(suggestions)) for customer_id, suggestions in found.items()]


@dataclass(frozen=True)
class WorkPage:
    """Suggestions over all homes by score. after: the place to go on from, None at the end."""

    items: list[Suggestion]
    after: "Place | None"
    unavailable: list[int]


@dataclass(frozen=True, order=True)
class Place:
    """Where a list by score is: ordered as the list is."""

    negative_score: int
    customer_id: int
    recommendation_id: UUID

    @classmethod
    def of(cls, one: Suggestion) -> "Place":
        return cls(-one.score, one.customer_id, one.recommendation_id)


def list_by_score(asked: Asked, *, scope: Scope = EVERYTHING, after: Place | None = None, limit: int = 50) -> WorkPage:
    """Return the next page of suggestions, the highest score first, whatever home they are of.

    Database: one query on each home asked, which reads an index in its order, one on control.
    Raises UnknownHomeError.
    """
    if asked.home is not None:
        sharding.alias(asked.home)
    homes = [asked.home] if asked.home is not None else None
    answers = sharding.fan_out(lambda home: _fetch_by_score(home, asked, scope, after, limit + 1), homes)
    found = sorted((one for rows in answers.results.values() for one in rows), key=Place.of)
    page = found[:limit]
    after = Place.of(page[-1]) if len(found) > limit else None
    settled = _settled(one.customer_id for one in page)
    return WorkPage([one for one in page if one.customer_id in settled], after, sorted(answers.unavailable))


STAFF = """ARRAY(SELECT f.userid FROM follows f WHERE f.customer_id = r.customer_id AND f.bucket = r.bucket
    AND f.lost_at IS NULL ORDER BY f.created_at, f.userid)"""


def _fetch_by_score(home: int, asked: Asked, scope: Scope, after: Place | None, count: int) -> list[Suggestion]:
    where, params = _where(home, asked, scope)
    params["count"] = count
    if after is not None:
        where += (
            " AND r.score <= %(score)s AND (r.score < %(score)s OR r.customer_id > %(after)s "
            "OR (r.customer_id = %(after)s AND r.recommendation_id > %(after_id)s))"
        )
        params |= {
            "score": -after.negative_score, "after": after.customer_id, "after_id": after.recommendation_id,
        }  # fmt: skip
    with sharding.cursor(home) as cursor:
        cursor.execute(
            f"SELECT {COLUMNS}, customers.external_userid, customers.name, {STAFF} {FROM} WHERE {where} "
            "ORDER BY r.score DESC, r.customer_id, r.recommendation_id LIMIT %(count)s",
            params,
        )
        rows = cursor.fetchall()
    staff = scope.staff
    return [
        replace(one, staff=tuple(userid for userid in one.staff if scope.is_everything or userid in staff))
        for one in map(_from_row, rows)
    ]
