"""Whom a figure counts: everybody, a department with all below it, or several departments together.

| scope  | counts                                                                                            |
|--------|---------------------------------------------------------------------------------------------------|
| ""     | everybody                                                                                         |
| "3"    | who is in scope of department 3 (customers.access): followed by staff in or below it, or, without |
|        | any live follow, at home in or below it                                                           |
| "3,7"  | who is in scope of 3 or of 7, once: for API keys that are restricted to both                      |

Every department of the tree has one, and every set of departments that a live key is restricted to which may read
figures. As of one run that is a Division: staff whose departments are in the same scopes are one part, so that a
customer is known by the parts of their followers, and those are few.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from customers.access import Scope
from customers.organisation import Organisation, organisation
from scrm import sharding
from scrm.api.models import ApiKey
from scrm.api.scopes import PROFILES_READ

EVERYBODY = ""
MAX_LENGTH = 255


def name_of(scope: Scope) -> str:
    """Return what figures of a scope are kept under.

    >>> name_of(Scope()), name_of(Scope(frozenset({3, 7, 8}), roots=(3, 7)))
    ('', '3,7')
    """
    if scope.is_everything:
        return EVERYBODY
    if not scope.roots:
        raise ValueError("A scope that does not say which departments it is of has no figures.")
    return _name(scope.roots)


def _name(roots: Sequence[int]) -> str:
    text = ",".join(map(str, roots))
    return text if len(text) <= MAX_LENGTH else f"sha256:{sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True)
class Division:
    """The scopes of a run, and who belongs to which.

    names: of the scopes. parts: of each part the places in `names` of the scopes it belongs to, never none. staff:
    {userid: part}; homes: {home: part of its unfollowed}; whoever is in no scope is left out.
    """

    names: list[str]
    parts: list[tuple[int, ...]]
    staff: dict[str, int]
    homes: dict[int, int]

    def has_anybody(self, home: int) -> bool:
        """Whether somebody of a home can be in any scope."""
        return bool(self.staff) or home in self.homes


def find_division() -> Division:
    """Return the scopes of now. Database: one query on control, and the organisation (held per process, 30 s)."""
    live = ApiKey.objects.filter(revoked_at=None, scopes__contains=[PROFILES_READ]).exclude(department_ids=[])
    return divide(organisation(), live.values_list("department_ids", flat=True), sharding.shard_map().homes)


def divide(company: Organisation, restrictions: Iterable[Iterable[int]], homes: Iterable[int]) -> Division:
    """Return the scopes of a company and of the departments that keys are restricted to. Pure."""
    alone = {(department,) for department in company.parents}
    alone |= {(department,) for own in company.departments_of.values() for department in own}
    scopes = sorted(alone | {company.topmost(named) for named in restrictions})
    naming: dict[int, list[int]] = {}
    for place, roots in enumerate(scopes):
        for department in roots:
            naming.setdefault(department, []).append(place)
    numbers: dict[tuple[int, ...], int] = {}
    known: dict[tuple[int, ...], int | None] = {}

    def part_of(departments: tuple[int, ...]) -> int | None:
        if departments not in known:
            above = {one for department in departments for one in company.ancestors(department)}
            found = tuple(sorted({place for one in above for place in naming.get(one, ())}))
            known[departments] = numbers.setdefault(found, len(numbers)) if found else None
        return known[departments]

    staff = {userid: part_of(own) for userid, own in company.departments_of.items()}
    unfollowed = {home: part_of((home,)) for home in homes}
    return Division(
        [_name(roots) for roots in scopes],
        list(numbers),
        {userid: part for userid, part in staff.items() if part is not None},
        {home: part for home, part in unfollowed.items() if part is not None},
    )
