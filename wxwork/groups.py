"""Customer groups: what WeCom says of a group, stored, and who has joined and left since it was read last.

    WeCom says                                  stored                           interactions of customers
    a group with members                        the group, just these members    joined_group, at its join time, of who
                                                                                 was not there; left_group, at the
                                                                                 callback's time (a sync's: of the
                                                                                 read), of who is missing
    no such group, or dissolved (49008, …)      dissolved, without members       none: nobody left by their own choice
    the group as it was before the callback     nothing: it is read again soon   none

Interactions are recorded before the members are stored: if a department database is down nothing is stored, and the
next try finds the same difference. Their ids are made of WeCom's times, so that a second time adds nothing.
A person who was erased is not stored, though they still sit in the group, until they are a customer again.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone

from customers.identity import is_external_userid
from wxwork import interactions
from wxwork.client import wecom
from wxwork.errors import RetryError, WxworkError
from wxwork.inbox.forgetting import erased_among
from wxwork.interactions import Interaction
from wxwork.models import CustomerGroup, GroupMember

logger = structlog.get_logger(__name__)

# Dissolved, no customer group, not there (contract §4.H: which code a strange chat_id gets is not documented; the only
# argument of the call comes from WeCom, so that a bad parameter is a chat_id that is no more).
GONE = {49008, 90501, 90509, 40058}
# How long WeCom may still answer as before a callback (contract §6.16: seconds).
LAG = timedelta(seconds=60)
STAFF, CUSTOMER = GroupMember.Type.STAFF, GroupMember.Type.CUSTOMER


@dataclass(frozen=True)
class Member:
    """Somebody in a group, as WeCom says it."""

    member_id: str
    type: int
    joined_at: datetime | None
    join_scene: int


def refresh(chat_id: str, *, at: datetime, before: str = "", is_dissolved: bool = False) -> None:
    """Read a group from WeCom and store what it is now.

    at: the time of the callback that says so. before: the member_version that it replaces, if the callback says.
    is_dissolved: the callback says that the group is no more.
    Raises WxworkError, and RetryError while WeCom still answers as before; HomeError, DirectoryError.
    Database: control; the homes of customers who joined or left.
    """
    asked_at = timezone.now()
    try:
        group = wecom().get_group(chat_id)
    except WxworkError as error:
        if error.code not in GONE:
            raise
        dissolve(chat_id, at=at)
        return
    is_old_news = is_dissolved or (before and group.get("member_version") == before)
    if is_old_news and asked_at - at < LAG:
        raise RetryError("WeCom still answers as before this callback.", path="/cgi-bin/externalcontact/groupchat/get")
    store(chat_id, group, asked_at=asked_at, at=at)


def dissolve(chat_id: str, *, at: datetime) -> None:
    """Write down that a group is no more. Database: control, one transaction."""
    with transaction.atomic():
        GroupMember.objects.filter(group_id=chat_id).delete()
        CustomerGroup.objects.filter(chat_id=chat_id, dismissed_at=None).update(
            dismissed_at=at, member_version="", read_at=timezone.now()
        )


def store(chat_id: str, group: dict[str, Any], *, asked_at: datetime, at: datetime) -> None:
    """Store what WeCom says of a group, and record who joined and left. asked_at: when WeCom was asked."""
    members = _members(group)
    stored = {member.member_id: member for member in GroupMember.objects.filter(group_id=chat_id)}
    joined = [
        one for one in members.values()
        if one.member_id not in stored or stored[one.member_id].joined_at != one.joined_at
    ]  # fmt: skip
    left = [member for member_id, member in stored.items() if member_id not in members]
    _record(chat_id, joined, left, at=at)
    with transaction.atomic():
        row, is_new = CustomerGroup.objects.select_for_update().get_or_create(
            chat_id=chat_id, defaults={"read_at": asked_at}
        )
        if not is_new and row.read_at > asked_at:
            return  # somebody has read it since
        _fill(row, group, asked_at)
        row.save()
        _store_members(row, members)
    if joined or left:
        logger.info("group_changed", joined=len(joined), left=len(left))


def _store_members(row: CustomerGroup, members: dict[str, Member]) -> None:
    """Make the members of a group, whose row is locked, these. Who is there already is not written."""
    wanted = _without_erased(members)  # again: an erasure may have taken them out of all groups while we recorded
    of_group = GroupMember.objects.filter(group=row)
    of_group.exclude(member_id__in=list(wanted)).delete()
    there = {Member(*values) for values in of_group.values_list("member_id", "type", "joined_at", "join_scene")}
    GroupMember.objects.bulk_create(
        [GroupMember(group=row, **asdict(one)) for one in wanted.values() if one not in there],
        update_conflicts=True, unique_fields=["group", "member_id"],
        update_fields=["type", "joined_at", "join_scene"],
    )  # fmt: skip


def _fill(row: CustomerGroup, group: dict[str, Any], asked_at: datetime) -> None:
    row.name = str(group.get("name") or "")[:256]
    row.owner = str(group.get("owner") or "")[:64]
    row.notice = str(group.get("notice") or "")
    row.member_version = str(group.get("member_version") or "")[:64]
    row.created_at = _time(group.get("create_time"))
    row.dismissed_at = None
    row.read_at = asked_at


def _members(group: dict[str, Any]) -> dict[str, Member]:
    """Return {member_id: member} of all who may be stored."""
    found: dict[str, Member] = {}
    for one in group.get("member_list") or []:
        member_id = one.get("userid")
        if is_external_userid(member_id):
            found[member_id] = Member(
                member_id,
                STAFF if one.get("type") == STAFF else CUSTOMER,
                _time(one.get("join_time")),
                int(one.get("join_scene") or 0),
            )
    return _without_erased(found)


def _without_erased(members: dict[str, Member]) -> dict[str, Member]:
    erased = erased_among(member_id for member_id, one in members.items() if one.type == CUSTOMER)
    return {member_id: one for member_id, one in members.items() if member_id not in erased}


def _record(chat_id: str, joined: list[Member], left: list[GroupMember], *, at: datetime) -> None:
    """Record what customers did; who is in a group need not be one, and then nothing is recorded.

    Who leaves ends the membership that began at their join_time: with it in the id, whoever notices it, by whatever
    callback, records the same.
    """
    came = [
        Interaction("joined_group", chat_id, one.member_id, one.joined_at or at, {"join_scene": one.join_scene})
        for one in joined
        if one.type == CUSTOMER
    ]
    went = [
        Interaction("left_group", chat_id, member.member_id, at, since=member.joined_at)
        for member in left
        if member.type == CUSTOMER
    ]
    interactions.record_all(came + went)


def _time(seconds: object) -> datetime | None:
    try:
        number = int(seconds)  # type: ignore[call-overload]
        return datetime.fromtimestamp(number, tz=UTC) if number > 0 else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None
