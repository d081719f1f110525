"""Fill an empty system with the sample company, through the functions that the product itself uses."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from django.contrib.auth import get_user_model
from django.utils import timezone

from customers.directory import upsert_many
from customers.identities import IMPORT, Claim, claim_identities
from customers.identity_kinds import digests_of
from profiles.behaviours import record_behaviours
from scrm.api.keys import create_key, digest_of
from scrm.api.models import ApiKey
from scrm.demo.company import Company

BATCH = 2_000
SOURCE = "demo"
MEMBER_NO = "member_no"
T = TypeVar("T")
Progress = Callable[[int], None]


def seed_own_fields(company: Company, progress: Progress) -> int:
    """Fill in what the company itself knows of customers whom a sync has brought. Repeatable. Returns how many."""
    there = 0
    for batch in _batches(company.own_fields()):
        done = upsert_many(batch, create=False)
        for error in done.rejected.values():
            raise error
        there += len(batch)
        progress(len(batch))
    return there


def seed_member_numbers(company: Company) -> int:
    """Tell whose the shops' member numbers are. Repeatable. Returns how many were new. Database: control."""
    return sum(
        len(
            claim_identities(
                [
                    Claim(external_userid, IMPORT, MEMBER_NO, digests_of(MEMBER_NO, [number]), replaces=False)
                    for external_userid, number in batch
                ]
            )
        )
        for batch in _batches(company.member_numbers())
    )


def seed_behaviours(company: Company, progress: Progress) -> int:
    """Record what they did. Repeatable: an event_id counts once. Returns how many were new."""
    accepted = 0
    for batch in _batches(company.behaviours()):
        done = record_behaviours(batch, source=SOURCE, now=timezone.now())
        if done.rejected:
            raise RuntimeError(f"The sample company has a bad behaviour: {done.rejected[0]}")
        accepted += done.accepted
        progress(len(batch))
    return accepted


def ensure_login(username: str, password: str) -> None:
    """Make sure that an administrator of this name can log in with this password. Database: control."""
    user, _created = get_user_model().objects.get_or_create(
        username=username, defaults={"is_staff": True, "is_superuser": True}
    )
    if not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])


def ensure_api_key(name: str, token: str) -> str:
    """Return a token that works: the given one if it still does, else that of a new key. Database: control."""
    if token and ApiKey.objects.filter(name=name, revoked_at=None, digest=digest_of(token)).exists():
        return token
    ApiKey.objects.filter(name=name).delete()
    return create_key(name)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch
