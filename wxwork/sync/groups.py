"""Sync customer groups: each is read anew, and what it says is stored as a callback about it would be."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from wxwork import groups
from wxwork.errors import BugError, ConfigError, DataError
from wxwork.models import CustomerGroup, GroupMember, SyncBatch
from wxwork.sync.work import Work

# No right to groups, or no client contact: whoever runs the product without groups has nothing to sync.
NO_RIGHT = {48002, 60011, 84074}
TOO_MANY = 81017


def sync_groups(work: Work) -> int:
    """Read every group that WeCom lists, and those of ours that it does not. Returns how many it lists.

    Calls: 1 for a thousand, 1 for each. Goes on after the group that was read last, in order of chat_id.
    """
    try:
        listed = _list(work)
    except (ConfigError, DataError) as error:
        if error.code not in NO_RIGHT:
            raise
        return 0
    ours = CustomerGroup.objects.filter(dismissed_at=None).values_list("chat_id", flat=True)
    after = work.run.last_group
    for chat_id in sorted({*listed, *ours} - {""}):
        if chat_id > after:
            before = _looks(chat_id)
            now = timezone.now()
            work.patiently(lambda chat_id=chat_id, now=now: _refresh(chat_id, now))  # type: ignore[misc]
            work.client.count(1)
            work.note(found={"group_changed": int(before != _looks(chat_id))}, last_group=chat_id)
    return len(listed)


def _list(work: Work) -> list[str]:
    """Return the chat_ids of all groups; in a large company, those of whoever serves customers, 100 owners a call."""
    try:
        return list(_pages(work, ()))
    except BugError as error:
        if error.code != TOO_MANY:
            raise
    batches = SyncBatch.objects.filter(run=work.run).order_by("number").values_list("userids", flat=True)
    return [chat_id for userids in batches if userids for chat_id in _pages(work, userids)]


def _pages(work: Work, owners: Sequence[str]) -> Iterator[str]:
    cursor, is_last = "", False
    while not is_last:
        page = work.patiently(lambda cursor=cursor: work.client.list_groups(owners, cursor=cursor))  # type: ignore[misc]
        yield from (str(row.get("chat_id", "")) for row in page["group_chat_list"])
        cursor = str(page.get("next_cursor") or "")
        is_last = not cursor


def _refresh(chat_id: str, now: datetime) -> None:
    try:
        groups.refresh(chat_id, at=now)
    except (DataError, BugError, ConfigError) as error:
        if isinstance(error, ConfigError) and error.code not in NO_RIGHT:
            raise
        return  # not ours to see any more: it stays as it is


def _looks(chat_id: str) -> tuple[Any, ...]:
    """Return what is stored of a group, but for when it was read."""
    columns = ("name", "owner", "notice", "status", "created_at", "dismissed_at")
    row = CustomerGroup.objects.filter(chat_id=chat_id).values_list(*columns).first()
    members = GroupMember.objects.filter(group_id=chat_id).order_by("member_id")
    return row, list(members.values_list("member_id", "type", "joined_at", "join_scene"))
