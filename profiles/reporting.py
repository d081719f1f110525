"""Record behaviours on behalf of a key: of those customers only whom it may see.

in scope                              recorded
out of scope                          unknown_customer, as if there were nobody
nobody yet, create_missing            created where the key will see them: in a home of its departments
named by an identity                  as if only the claims of customers in scope were there: of one, recorded; of
                                      several, ambiguous_identity; of none, unknown_customer: only keys without
                                      restriction may leave something waiting
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from customers import identities
from customers.access import Scope
from customers.identity import is_external_userid
from customers.identity_kinds import IdentityError, Pair, read_identity
from customers.visibility import Sorted, sort_out
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
    pairs = _pairs(items)
    claimants = identities.list_claimants(set(pairs.values()))
    asked = {one for one in map(_external_userid, items) if one is not None}
    people = sort_out(asked.union(*claimants.values()), scope)
    visible, known = people.visible, people.there
    taken: list[tuple[int, object]] = []
    refused: list[Rejection] = []
    for index, item in enumerate(items):
        if index in pairs:
            name = _name(claimants.get(pairs[index], {}), people)
            if isinstance(name, _Nobody):
                refused.append(Rejection.because(index, name.code))
            else:
                taken.append((index, {**item, "identity": None, "external_userid": name}))  # type: ignore[dict-item]
            continue
        external_userid = _external_userid(item)
        if external_userid in people.unknown:
            # Not left to the recording: the home may be back by then, and they may be out of scope.
            refused.append(Rejection.because(index, "department_unavailable"))
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


def _pairs(items: Sequence[object]) -> dict[int, Pair]:
    """Return {index: identity} of the items that name one and nothing else; others are to be told what is wrong."""
    pairs: dict[int, Pair] = {}
    for index, item in enumerate(items):
        if isinstance(item, Mapping) and item.get("identity") is not None and not item.get("external_userid"):
            with suppress(IdentityError):
                pairs[index] = read_identity(item["identity"])
    return pairs


@dataclass(frozen=True)
class _Nobody:
    """That an identity names nobody to a key, and with which code it is told so."""

    code: str


def _name(claimants: Mapping[str, bool], people: Sorted) -> str | _Nobody:
    """Return whom an identity names among those who may be seen. claimants: see identities.choose."""
    if any(one in people.unknown for one in claimants):
        return _Nobody("department_unavailable")  # one of those who are down may be in scope, and claim it too
    seen = {one: is_weak for one, is_weak in claimants.items() if one in people.visible}
    if not seen:
        return _Nobody("unknown_customer")
    return identities.choose(seen) or _Nobody("ambiguous_identity")


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
