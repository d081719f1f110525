"""Claim identities on behalf of somebody: item by item, each taken or rejected by itself.

{"external_userid": "wmA", "kind": "openid", "value": "oX…"}         claimed, or known already
{"external_userid": "wmA", "kind": "openid", "value": null}          with replace: no openid any more, as we say
of a customer out of scope, or of nobody                             unknown_customer
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from customers.access import EVERYTHING, Scope
from customers.identities import Claim, claim_identities
from customers.identity import is_external_userid
from customers.identity_kinds import IdentityError, Pair, kind_names, read_pair
from customers.visibility import sort_out

FIELDS = {"external_userid", "kind", "value"}
REASONS = {
    "invalid_item": "an identity is an object with external_userid, kind and value, and nothing else",
    "invalid_external_userid": "external_userid is a text of 1 to 64 characters without control characters",
    "unknown_identity_kind": "the kind is none that is known here: a new one is named in IDENTITY_KINDS",
    "invalid_identity": "the value is a text of 1 to 128 characters, a mobile one of 5 to 20 digits in clear",
    "unknown_customer": "no such customer",
    "department_unavailable": "the department database cannot be reached: try again later",
}


@dataclass(frozen=True)
class Refusal:
    """Why an item was not taken. index: its place among the items; code: one of REASONS."""

    index: int
    code: str

    @property
    def message(self) -> str:
        return f"{REASONS[self.code]}."


@dataclass
class Claimed:
    """What came of a batch. duplicates: known already. rejected is in order of index."""

    accepted: int = 0
    duplicates: int = 0
    rejected: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True)
class _Item:
    index: int
    external_userid: str
    kind: str
    digest: bytes | None


class _InvalidError(ValueError):
    """An item is not what it must be; the argument is the code."""


def take_identities(
    items: Sequence[object], *, owner: str, scope: Scope = EVERYTHING, replace: bool = False
) -> Claimed:
    """Claim identities for customers in scope. Repeatable.

    items: 1..10 000, as above. owner: see customers.identities. replace: of each customer and kind named here, the
    owner gives up the values that are not. What a restricted scope claims is weak.
    Database: one query and one statement on control; one more on each home for a restricted scope.
    """
    claimed = Claimed()
    read: list[_Item] = []
    for index, item in enumerate(items):
        try:
            read.append(_read(index, item, replace=replace))
        except _InvalidError as error:
            claimed.rejected.append(Refusal(index, str(error)))
    people = sort_out({one.external_userid for one in read}, scope)
    digests: dict[tuple[str, str], set[bytes]] = {}
    for one in read:
        if one.external_userid in people.unknown:
            claimed.rejected.append(Refusal(one.index, "department_unavailable"))
        elif one.external_userid not in people.visible:
            claimed.rejected.append(Refusal(one.index, "unknown_customer"))
        else:
            found = digests.setdefault((one.external_userid, one.kind), set())
            found.update([] if one.digest is None else [one.digest])
            claimed.duplicates += 1
    is_weak = not scope.is_everything
    new = claim_identities(
        [
            Claim(who, owner, kind, frozenset(found), replaces=replace, is_weak=is_weak)
            for (who, kind), found in digests.items()
        ]
    )
    claimed.accepted = len(new)
    claimed.duplicates -= len(new)
    claimed.rejected.sort(key=lambda refusal: refusal.index)
    return claimed


def _read(index: int, item: object, *, replace: bool) -> _Item:
    if not isinstance(item, Mapping) or set(item) - FIELDS:
        raise _InvalidError("invalid_item")
    external_userid, kind, value = (item.get(name) for name in ("external_userid", "kind", "value"))
    if not isinstance(external_userid, str) or not is_external_userid(external_userid):
        raise _InvalidError("invalid_external_userid")
    if value is None and replace and isinstance(kind, str) and kind in kind_names():
        return _Item(index, external_userid, kind, None)
    try:
        pair: Pair = read_pair(kind, value)
    except IdentityError as error:
        raise _InvalidError(error.code) from None
    return _Item(index, external_userid, *pair)
