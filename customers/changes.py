"""Change customers on behalf of a key, within what it may see.

of a customer out of scope      PUT OutOfScopeError; PATCH and DELETE: no such customer
follows                         a restricted key replaces those of its own staff; others' stay, unseen
somebody new                    must be in scope once created, so that a key sees what it has made
unionid, mobile, follows'       claimed weakly by a restricted key (customers.identities)
"""

from dataclasses import replace

from customers.access import Scope
from customers.directory import DirectoryError, choose_home, find, upsert, upsert_many
from customers.erasure import request_erasure
from customers.identity import digest
from customers.lookup import read
from customers.models import DirectoryEntry, Erasure
from customers.records import CustomerData
from customers.viewing import Viewer
from scrm import sharding
from scrm.sharding.models import open_homes


class OutOfScopeError(Exception):
    """What was to be written is not this key's to write. fields: those that lead out of its scope, if it is they."""

    def __init__(self, *fields: str) -> None:
        super().__init__(", ".join(fields))
        self.fields = list(fields)


class HomeIsFixedError(Exception):
    """A customer lives in another home than the one named: only `manage.py move_customer` changes that."""

    def __init__(self, home: int) -> None:
        super().__init__(f"This customer lives in home {home}.")
        self.home = home


def put_customer(data: CustomerData, viewer: Viewer, *, create: bool = True) -> bool:
    """Create a customer or replace what the data names. Returns whether somebody was created.

    Raises DirectoryError, OutOfScopeError, HomeIsFixedError; nothing has been changed then.
    """
    if not viewer.scope.is_everything:
        data = replace(_within_scope(data, viewer.scope), is_restricted=True)
    if data.home is not None:
        _check_home(data.external_userid, data.home)
    if not create:
        change_customer(data, viewer)
        return False
    return upsert(data)[1] == "created"


def change_customer(data: CustomerData, viewer: Viewer) -> None:
    """Change a customer who is there. Raises DirectoryError, OutOfScopeError for follows, HomeIsFixedError."""
    if not viewer.scope.is_everything:
        customer, _ = read(data.external_userid)
        if customer is None or not viewer.scope.admits(customer):
            raise DirectoryError("unknown_customer", data.external_userid)
        data = replace(_own_follows(data, viewer.scope), is_restricted=True)
    if data.home is not None:
        _check_home(data.external_userid, data.home)
    for error in upsert_many([replace(data, home=None)], create=False).rejected.values():
        raise error


def erase_customer(external_userid: str, viewer: Viewer) -> Erasure:
    """Begin to erase a customer; a repeat returns what has been begun. Raises DirectoryError unknown_customer, busy."""
    if not viewer.scope.is_everything:
        customer, _ = read(external_userid)
        if customer is None or not viewer.scope.admits(customer):
            # Who is being erased is hidden from all, but whoever asked for it may ask again.
            begun = Erasure.objects.filter(
                digest=digest(external_userid), state=Erasure.State.RUNNING, requested_by=viewer.name
            ).first()
            if customer is not None or begun is None:
                raise DirectoryError("unknown_customer", external_userid)
            return begun
    try:
        return request_erasure(external_userid, actor=viewer.name)
    except TimeoutError as error:
        raise DirectoryError("busy", external_userid) from error


def find_erasure(number: str, viewer: Viewer) -> Erasure | None:
    """Return an erasure that this key may follow: any, or those that a restricted key has asked for itself."""
    erasures = Erasure.objects.all() if viewer.scope.is_everything else Erasure.objects.filter(requested_by=viewer.name)
    return erasures.filter(id=number).first()


def _within_scope(data: CustomerData, scope: Scope) -> CustomerData:
    data = _own_follows(data, scope)
    customer, _ = read(data.external_userid)
    if customer is not None:
        if not scope.admits(customer):
            raise OutOfScopeError
        return data
    entry = find(data.external_userid)
    if entry is not None and entry.state == DirectoryEntry.State.ERASING:
        raise OutOfScopeError
    if any(follow.lost_at is None for follow in data.follows or ()):
        return data
    departments = scope.departments or frozenset()
    if data.home is None:
        homes = [home for home in open_homes() if home in departments]
        if not homes:
            raise OutOfScopeError("home", "follows")
        return replace(data, home=choose_home(data, homes))
    if data.home not in departments:
        raise OutOfScopeError("home")
    return data


def _own_follows(data: CustomerData, scope: Scope) -> CustomerData:
    if data.follows is None:
        return data
    if any(follow.userid not in scope.staff for follow in data.follows):
        raise OutOfScopeError("follows")
    return replace(data, follows_within=scope.staff)


def _check_home(external_userid: str, home: int) -> None:
    entry = find(external_userid)
    if entry is None or entry.state in (DirectoryEntry.State.CREATING, DirectoryEntry.State.ERASING):
        return
    lives_in = sharding.home_of(entry.customer_id)
    if lives_in != home:
        raise HomeIsFixedError(lives_in)
