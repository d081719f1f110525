"""Fill an empty system with the sample company, through the functions that the product itself uses."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.utils import timezone

from customers.directory import upsert_many
from customers.identities import IMPORT, Claim, claim_identities
from customers.identity_kinds import digests_of
from profiles.behaviours import record_behaviours
from profiles.models import Segment
from profiles.segments.definitions import create_segment
from scrm.api.keys import create_key, digest_of
from scrm.api.models import ApiKey
from scrm.demo.company import Company

# (name, what it is for, its conditions); the first is where the home page's tile of warnings leads to.
SEGMENTS: list[tuple[str, str, list[list[dict[str, Any]]]]] = [
    ("高流失风险", "复购过、正在走开的买家，请导购尽快联系",
     [[{"field": "loss_warning", "operator": "is", "value": "high"}]]),
    ("重要客户回访", "买得多的客户，两个月没有再买",
     [[{"field": "rfm_segment", "operator": "is", "value": "重要价值客户"},
       {"field": "days_since_last_purchase", "operator": ">", "value": 60}],
      [{"field": "rfm_segment", "operator": "is", "value": "重要保持客户"}]]),
    ("门店常客", "近 90 天在门店购买两次以上",
     [[{"field": "purchase_count", "operator": ">=", "value": 2, "window_days": 90, "channel": "store"}]]),
    ("加好友未下单", "近 60 天加了好友，还没有买过",
     [[{"field": "days_since_added", "operator": "<=", "value": 60},
       {"field": "purchase_count", "operator": "==", "value": 0}]]),
]  # fmt: skip
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


def seed_segments() -> int:
    """Save some segments; the next run finds out who is in them. Repeatable. Returns how many were new."""
    there = set(Segment.objects.values_list("name", flat=True))
    wanted = [one for one in SEGMENTS if one[0] not in there]
    for name, description, groups in wanted:
        create_segment(name=name, description=description, groups=groups, by=SOURCE)
    return len(wanted)


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
