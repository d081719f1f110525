"""The company's departments and staff, held per process: small, read on every request, changed seldom.

At most 30 s old, which is the bound on how long somebody who changed departments keeps what they could see.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from customers.models import Department, Staff
from scrm.held import Held

HELD_SECONDS = 30.0


@dataclass(frozen=True)
class Organisation:
    """parents: {department: its parent or None}; departments_of: {userid: departments, the main one first}; names."""

    parents: dict[int, int | None]
    department_names: dict[int, str]
    departments_of: dict[str, tuple[int, ...]]
    staff_names: dict[str, str]
    # What customers.access made of it: walking the tree at each request would cost more than the request.
    scopes: dict[tuple[int, ...], Any] = field(default_factory=dict, compare=False, repr=False)

    def ancestors(self, department: int) -> Iterator[int]:
        """Yield a department and those above it, nearest first. A loop in the tree ends where it closes."""
        seen: set[int] = set()
        at: int | None = department
        while at is not None and at not in seen:
            seen.add(at)
            yield at
            at = self.parents.get(at)

    def subtree(self, departments: Iterable[int]) -> frozenset[int]:
        """Return these departments and all below them."""
        roots = set(departments)
        return frozenset(roots | {d for d in self.parents if any(a in roots for a in self.ancestors(d))})

    def topmost(self, departments: Iterable[int]) -> tuple[int, ...]:
        """Return those of some departments that lie below no other of them, ascending; they have the same subtree."""
        left = set(departments)
        for department in sorted(left):
            if any(above in left and above != department for above in self.ancestors(department)):
                left.discard(department)
        return tuple(sorted(left))

    def staff_within(self, departments: Collection[int]) -> frozenset[str]:
        """Return the userids of the members of these departments (give subtree's answer to include those below)."""
        return frozenset(u for u, own in self.departments_of.items() if any(d in departments for d in own))

    def home_of_staff(self, userid: str, homes: Collection[int]) -> int | None:
        """Return the nearest department with a database, at or above a staff member's first department; or None."""
        for department in self.departments_of.get(userid, ()):
            for at in self.ancestors(department):
                if at in homes:
                    return at
        return None


def _read() -> Organisation:
    departments = list(Department.objects.values_list("id", "parent_id", "name"))
    staff = list(Staff.objects.values_list("userid", "name", "main_department"))
    members: dict[str, list[int]] = {}
    through = Staff.departments.through
    for userid, department in through.objects.order_by("id").values_list("staff_id", "department_id"):
        members.setdefault(userid, []).append(department)
    for userid, _name, main in staff:
        if main in members.get(userid, ()):
            members[userid].sort(key=lambda department, main=main: department != main)  # type: ignore[misc]
    return Organisation(
        parents={number: parent for number, parent, _name in departments},
        department_names={number: name for number, _parent, name in departments},
        departments_of={userid: tuple(own) for userid, own in members.items()},
        staff_names={userid: name for userid, name, _main in staff},
    )


# Database: three queries on the control database, at most every 30 s.
organisation = Held(_read, seconds=HELD_SECONDS)
