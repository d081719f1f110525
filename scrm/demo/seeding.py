"""Fill an empty system with the sample company, through the functions that the product itself uses."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from django.contrib.auth import get_user_model
from django.utils import timezone

from customers.directory import upsert_many
from customers.models import Department, Staff, Tag, TagGroup
from customers.organisation import organisation
from profiles.behaviours import record_behaviours
from scrm.api.keys import create_key, digest_of
from scrm.api.models import ApiKey
from scrm.demo.company import DEPARTMENTS, STAFF, Company

BATCH = 2_000
SOURCE = "demo"
T = TypeVar("T")
Progress = Callable[[int], None]


def seed_organisation(company: Company) -> None:
    """Create departments, staff and the tag library. Repeatable. Database: control."""
    for order, (number, name, parent) in enumerate(DEPARTMENTS):
        Department.objects.update_or_create(id=number, defaults={"name": name, "parent_id": parent, "order": order})
    for userid, name, position, department in STAFF:
        staff, _created = Staff.objects.update_or_create(userid=userid, defaults={"name": name, "position": position})
        staff.departments.set([department])
    for order, (group_id, name, tags) in enumerate(company.tags()):
        TagGroup.objects.update_or_create(id=group_id, defaults={"name": name, "order": order})
        for tag_id, tag in tags:
            Tag.objects.update_or_create(id=tag_id, defaults={"name": tag, "group_id": group_id})
    organisation.forget()


def seed_customers(company: Company, progress: Progress) -> int:
    """Create the customers. Repeatable. Returns how many are there. Raises what the first rejected one says."""
    there = 0
    for batch in _batches(company.people()):
        done = upsert_many(batch)
        for error in done.rejected.values():
            raise error
        there += len(batch)
        progress(len(batch))
    return there


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
