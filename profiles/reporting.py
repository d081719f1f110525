"""Record behaviours on behalf of a key: of those customers only whom it may see.

in scope                              recorded
out of scope                          unknown_customer, as if there were nobody
nobody yet, create_missing            created where the key will see them: in a home of its departments
named by an identity                  of somebody in scope: recorded; else unknown_customer, also where it is ambiguous:
                                      only keys without restriction may leave something waiting
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from customers import identities
from customers.access import Scope
from customers.identity import is_external_userid
from customers.identity_kinds import IdentityError, Pair, read_identity
from customers.visibility import sort_out
from profiles.behaviours import Recorded, Rejection, record_behaviours
from scrm import sharding
from scrm.sharding.models import open_homes

# What would tell a key that somebody is there whom it may not see.
TELLING = {"erased", "erasure_in_progress"}


def report_behaviours(
    items: Sequence[object], *, source: str, scope: Scope, now: datetime, create_missing: bool = False
) -> Recorded:
    """Record behaviours within a scope. As record_behaviours, which it is for a scope of everything.

    Database: for a restricted scope one query more on the control database (two if there are identities) and one more
    on each home's.
    """
    if scope.is_everything:
        return record_behaviours(items, source=source, now=now, create_missing=create_missing)
    items, named = _with_names(items)
    people = sort_out({one for one in map(_external_userid, items) if one is not None}, scope)
    visible, known = people.visible, people.there
    taken: list[tuple[int, object]] = []
    refused: list[Rejection] = []
    for index, item in enumerate(items):
        external_userid = _external_userid(item)
        if external_userid in people.unknown:
            # Not left to the recording: the home may be back by then, and they may be out of scope.
            refused.append(Rejection.because(index, "department_unavailable"))
            continue
        if index in named and external_userid not in visible:
            refused.append(Rejection.because(index, "unknown_customer"))
            continue
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


def _with_names(items: Sequence[object]) -> tuple[list[object], dict[int, str | None]]:
    """Put the external_userid for the identity where an item names one that can be.

    Returns (the items, {index: external_userid, None where the identity names nobody} of those).
    """
    pairs: dict[int, Pair] = {}
    for index, item in enumerate(items):
        if isinstance(item, Mapping) and item.get("identity") is not None and not item.get("external_userid"):
            try:
                pairs[index] = read_identity(item["identity"])
            except IdentityError:
                continue  # to be told what is wrong with it
    names = identities.resolve(set(pairs.values()))
    found = {index: names.get(pair) for index, pair in pairs.items()}
    put = [
        {**item, "identity": None, "external_userid": found[index]} if index in found else item  # type: ignore[dict-item]
        for index, item in enumerate(items)
    ]
    return put, found


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
