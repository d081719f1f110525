"""Who may see which customers: the one door. Outside it a customer does not exist.

In scope is a customer with a live follow by staff of the departments' subtrees, or, without any live follow, one whose
home is among them. Follows of others are left out of what is shown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from customers.organisation import organisation


@dataclass(frozen=True)
class Scope:
    """What somebody may see. departments: with all below them, or None for everything; staff: their members.

    roots: the departments that were named, without those that lie below others of them.
    """

    departments: frozenset[int] | None = None
    staff: frozenset[str] = frozenset()
    roots: tuple[int, ...] = ()

    @property
    def is_everything(self) -> bool:
        return self.departments is None

    def admits(self, customer: Mapping[str, Any]) -> bool:
        """Tell whether a customer (home, follows [{userid, lost_at}]) is in scope."""
        if self.departments is None:
            return True
        live = [follow["userid"] for follow in customer["follows"] if follow["lost_at"] is None]
        return any(userid in self.staff for userid in live) if live else customer["home"] in self.departments

    def sql(self, home: int) -> tuple[str, list[Any]]:
        """Return the same as a condition on `customers` of one home, with its parameters."""
        if self.departments is None:
            return "TRUE", []
        live = (
            "EXISTS (SELECT 1 FROM follows WHERE follows.customer_id = customers.customer_id "
            "AND follows.bucket = customers.bucket AND follows.lost_at IS NULL{})"
        )
        by_ours = live.format(" AND follows.userid = ANY(%s)")
        if home not in self.departments:
            return by_ours, [sorted(self.staff)]
        return f"({by_ours} OR NOT {live.format('')})", [sorted(self.staff)]


EVERYTHING = Scope()


def scope_of(departments: Iterable[int] | None) -> Scope:
    """Return the scope of whoever is restricted to these departments; none named means everything.

    Database: none, but for the organisation (held per process, and with it the scopes that were asked for).
    """
    roots = tuple(departments or ())
    if not roots:
        return EVERYTHING
    company = organisation()
    scope = company.scopes.get(roots)
    if scope is None:
        within = company.subtree(roots)
        scope = company.scopes[roots] = Scope(within, company.staff_within(within), company.topmost(roots))
    return scope
