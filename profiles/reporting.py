"""Record behaviours on behalf of a key: of those customers only whom it may see.

in scope                              recorded
out of scope                          unknown_customer, as if there were nobody
nobody yet, create_missing            created where the key will see them: in a home of its departments
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from customers.access import Scope
from customers.directory import addresses
from customers.identity import is_external_userid
from profiles.behaviours import Recorded, Rejection, record_behaviours
from scrm import sharding
from scrm.sharding.models import open_homes

# What would tell a key that somebody is there whom it may not see.
TELLING = {"erased", "erasure_in_progress"}


def report_behaviours(
    items: Sequence[object], *, source: str, scope: Scope, now: datetime, create_missing: bool = False
) -> Recorded:
    """Record behaviours within a scope. As record_behaviours, which it is for a scope of everything.

    Database: for a restricted scope one query more on the control database and one more on each home's.
    """
    if scope.is_everything:
        return record_behaviours(items, source=source, now=now, create_missing=create_missing)
    visible, known = _sort_out(items, scope)
    taken: list[tuple[int, object]] = []
    refused: list[Rejection] = []
    for index, item in enumerate(items):
        external_userid = _external_userid(item)
        if external_userid is None or external_userid in visible:
            taken.append((index, item))  # the former to be told what is wrong with it
            continue
        home = _home_for(item, external_userid, scope) if create_missing and external_userid not in known else None
        if home is None:
            refused.append(Rejection.because(index, "unknown_customer"))
        else:
            taken.append((index, {**item, "home": home}))  # type: ignore[dict-item]
    done = record_behaviours([item for _, item in taken], source=source, now=now, create_missing=create_missing)
    rejected = [_rejected(taken[one.index][0], one) for one in done.rejected]
    done.rejected = sorted([*refused, *rejected], key=lambda one: one.index)
    return done


def _rejected(index: int, one: Rejection) -> Rejection:
    if one.code in TELLING:
        return Rejection.because(index, "unknown_customer")
    return Rejection(index, one.code, one.message)


def _external_userid(item: object) -> str | None:
    given: Any = item.get("external_userid") if isinstance(item, Mapping) else None
    return given if is_external_userid(given) else None


def _home_for(item: Any, external_userid: str, scope: Scope) -> int | None:
    """Return where to create somebody so that the scope holds them, None if there is no such home."""
    homes = [home for home in open_homes() if home in (scope.departments or ())]
    if item.get("home") not in (None, ""):
        return item["home"] if item["home"] in homes else None
    return sharding.bucketing().pick_shard(external_userid, homes) if homes else None


def _sort_out(items: Sequence[object], scope: Scope) -> tuple[set[str], set[str]]:
    """Return (who of those named is in scope, who is there at all).

    Whose home is down counts as in scope: their items are refused as department_unavailable.
    """
    there = addresses([one for one in map(_external_userid, items) if one is not None])
    names = {customer_id: external_userid for external_userid, customer_id in there.items()}
    by_home: dict[int, list[int]] = {}
    for customer_id in names:
        by_home.setdefault(sharding.home_of(customer_id), []).append(customer_id)

    def ask(home: int) -> list[int]:
        condition, params = scope.sql(home)
        ids = by_home[home]
        with sharding.cursor(home) as cursor:
            cursor.execute(
                "SELECT customer_id FROM customers WHERE customer_id = ANY(%s) AND bucket = ANY(%s) "  # noqa: S608
                f"AND {condition}",
                [ids, sorted({customer_id % 10 for customer_id in ids}), *params],
            )
            return [customer_id for (customer_id,) in cursor.fetchall()]

    known_homes = [home for home in by_home if home in sharding.shard_map()]
    answers = sharding.fan_out(ask, known_homes) if known_homes else sharding.FanOut()
    visible = {customer_id for found in answers.results.values() for customer_id in found}
    for home in set(by_home) - set(answers.results):
        visible.update(by_home[home])
    return {names[customer_id] for customer_id in visible}, set(there)
