"""What a key sees of a customer: one door for every endpoint that shows one.

out of scope        as unknown, whatever else is known
pii:read            mobiles in clear, past the cache, which holds them masked; each person read leaves an audit row
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from customers.access import Scope, scope_of
from customers.audit import record_many
from customers.listing import Filters, list_customers
from customers.lookup import CACHE, find_external_userid, read, shown
from customers.models import EXTERNAL_USERID_LENGTH
from customers.presentation import present
from scrm import sharding
from scrm.api.keys import KeyHolder
from scrm.api.scopes import PII_READ
from scrm.cache.read_through import Source


@dataclass(frozen=True)
class Viewer:
    """Who looks, whom they may see, and whether mobiles are shown to them in clear. name: as the audit calls them."""

    name: str
    scope: Scope
    in_clear: bool


@dataclass(frozen=True)
class View:
    """A customer as this viewer sees them, or None; and where that came from, as X-Cache says it."""

    customer: dict[str, Any] | None
    source: Source


def viewer_of(holder: KeyHolder) -> Viewer:
    """Return what a key may see. Database: none, but for the organisation (held per process)."""
    return Viewer(f"api:{holder.name}", scope_of(holder.department_ids), PII_READ in holder.scopes)


def view_customer(external_userid: str, viewer: Viewer) -> View:
    """Look a customer up for somebody.

    Database: none when cached; else see lookup.read, and one insert more for mobiles in clear.
    Raises HomeUnavailableError when a customer is not cached and their home is down.
    """
    if len(external_userid) > EXTERNAL_USERID_LENGTH:
        return View(None, "negative")  # nobody's, and no key for Redis
    if viewer.in_clear:
        customer = read(external_userid)[0]
        found = shown(customer, mask=False) if customer else None
        view = View(_presented(found, viewer.scope), "bypass")
        if view.customer is not None:
            record_many(viewer.name, "read_mobile", [external_userid])
    else:
        value, source = CACHE.get(external_userid)
        view = View(_presented(orjson.loads(value) if value is not None else None, viewer.scope), source)
    if view.customer is None and not viewer.scope.is_everything:
        # Where an answer came from would tell that somebody is there and only out of scope.
        return View(None, "negative")
    return view


def view_cached(external_userid: str, viewer: Viewer) -> View | None:
    """Return what a viewer would be shown of a customer who is cached; None where view_customer must be asked.

    Database: none, but for what is held per process.
    """
    if viewer.in_clear or len(external_userid) > EXTERNAL_USERID_LENGTH:
        return None
    value = CACHE.peek(external_userid)
    customer = _presented(orjson.loads(value), viewer.scope) if value is not None else None
    return View(customer, "hit") if customer is not None else None


def _presented(customer: Mapping[str, Any] | None, scope: Scope) -> dict[str, Any] | None:
    return present(customer, scope) if customer is not None and scope.admits(customer) else None


def view_address(customer_id: int, viewer: Viewer) -> View:
    """Look up who lives, or lived before a move, at an address.

    Database: one query on the control database more than view_customer.
    """
    external_userid = find_external_userid(customer_id)
    return view_customer(external_userid, viewer) if external_userid is not None else View(None, "negative")


@dataclass(frozen=True)
class PageView:
    """A page of customers; where it ended, None at the end of the list; homes that could not be asked."""

    customers: list[dict[str, Any]]
    position: sharding.Position | None
    unavailable: list[int]


def view_page(filters: Filters, viewer: Viewer, *, position: sharding.Position | None, limit: int) -> PageView:
    """Return a page of customers in scope. Database: see list_customers; one insert more for mobiles in clear."""
    page = list_customers(filters, scope=viewer.scope, position=position, limit=limit)
    if viewer.in_clear:
        record_many(viewer.name, "read_mobile", [one.customer["external_userid"] for one in page.items])
    customers = [present(shown(one.customer, mask=not viewer.in_clear), viewer.scope) for one in page.items]
    return PageView(customers, page.position, page.unavailable)
