"""What a read of WeCom, or a loss that it told of, may and may not change of a customer's follows. Pure.

    stored follow                 what WeCom says                          becomes
    none                          the relation is there                    a follow
    any                           a read asked for before the stored one   stays as it is
    live                          there                                    WeCom's values; from a batch the personal
                                                                             tags stay, which it does not tell
    lost by customer, or nobody   there, createtime not after the loss     WeCom's values, and still lost: reads go on
      knows by whom                                                          showing a relation that the customer ended
                                  there, createtime after the loss         live again: they were added anew
    lost by staff, both,          there                                    live again: it had been gone altogether
      transfer, staff_left
    any                           not in the read                          stays: a read alone loses nothing
    none                          a loss                                   nothing: what was never there is not invented
    live                          lost to the customer at T, createtime    lost by customer at T
                                    not after T
                                  the same, createtime after T             stays: they were added anew since
    live                          gone at T (deleted, handed over, left)   lost by that at T; at the time of reading if
                                                                             the relation began after T
    live, begun after T           its staff left at T                      stays: they are back
    lost by customer              gone too                                 lost by both, at the customer's time
    lost by staff                 lost to the customer too                 lost by both, at the earlier time
    lost by anything else         gone at T, by a callback                 its time and reason
    userid of somebody gone       the same createtime under a new userid   one follow, under the new userid

WeCom's times are whole seconds. A createtime equal to a loss is after it if the relation had begun earlier before (they
came back within the second), and before it if it is the one that was known. userids are equal whatever their case,
tags whatever their order.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from customers.records import FollowData

T = TypeVar("T")

STAFF, CUSTOMER, BOTH, TRANSFER, STAFF_LEFT = "staff", "customer", "both", "transfer", "staff_left"
# What a batch shows of a relation, by the name that drift is counted under.
VALUES = {
    "remark": ("remark",),
    "description": ("description",),
    "mobiles": ("mobiles",),
    "tags": ("tag_ids",),
    "personal_tags": ("personal_tags",),
    "source": ("add_way", "state"),
}
ADDED, READDED, LOST, RENAMED = "added", "readded", "lost", "renamed"


@dataclass(frozen=True)
class Loss:
    """That a relation has ended. at: when, read_at: when we asked whether it is so. is_exact: WeCom named the time."""

    userid: str
    by: str
    at: datetime
    read_at: datetime
    is_exact: bool = True


@dataclass(frozen=True)
class Merged:
    """follows: all of them, as they are to be. changes: {userid: what has changed}, of those who changed.

    Of added, readded, lost, renamed, and the names in VALUES; a new follow is added and nothing else.
    """

    follows: tuple[FollowData, ...]
    changes: Mapping[str, frozenset[str]] = field(default_factory=dict)


def merge(
    stored: Mapping[str, FollowData],
    read: Mapping[str, FollowData],
    *,
    losses: Iterable[Loss] = (),
    gone: Collection[str] = (),
    stamps: bool = False,
) -> Merged:
    """Return the follows after a read and losses, by the table above.

    read: what WeCom showed, each with its read_at. gone: userids of staff who are not WeCom's any more. stamps: a read
    that finds nothing new is noted too, so that one that was asked for before it cannot write over it.
    """
    before = dict(stored)
    names = {userid.casefold(): userid for userid in before}
    after = dict(before)
    renamed: set[str] = set()
    for shown in read.values():
        userid = names.get(shown.userid.casefold())
        if userid is None and (former := _former(shown, before, gone)) is not None:
            before[shown.userid] = replace(before.pop(former), userid=shown.userid)
            del after[former]
            renamed.add(shown.userid)
        userid = userid or shown.userid
        after[userid] = _after_read(before.get(userid), replace(shown, userid=userid), stamps=stamps)
    for loss in losses:
        userid = names.get(loss.userid.casefold(), loss.userid)
        if userid in after:
            after[userid] = _after_loss(before.get(userid), after[userid], loss)
    changes = {userid: _changes(before.get(userid), follow, userid in renamed) for userid, follow in after.items()}
    return Merged(tuple(after.values()), {userid: names for userid, names in changes.items() if names})


def rename(stored: Mapping[str, FollowData], old: str, new: str) -> list[FollowData]:
    """Return the follows with those of a userid under another; if both are there the one that was read later stays."""
    found = {userid.casefold(): userid for userid in stored}
    from_, to = found.get(old.casefold()), found.get(new.casefold())
    if from_ is None or from_ == new:
        return list(stored.values())
    kept = [follow for userid, follow in stored.items() if userid not in (from_, to)]
    moved = stored[from_]
    if to is not None and to != from_ and _read_later(stored[to], moved):
        moved = stored[to]
    return [*kept, replace(moved, userid=new)]


def without_tags(stored: Mapping[str, FollowData], tag_ids: Collection[str]) -> list[FollowData]:
    """Return the follows without tags that have been deleted from the library."""
    return [
        replace(follow, tag_ids=tuple(tag for tag in follow.tag_ids if tag not in tag_ids))
        for follow in stored.values()
    ]


def _read_later(one: FollowData, other: FollowData) -> bool:
    return one.read_at is not None and (other.read_at is None or one.read_at >= other.read_at)


def _is_stale(stored: FollowData, read_at: datetime | None) -> bool:
    return stored.read_at is not None and (read_at is None or read_at < stored.read_at)


def _former(shown: FollowData, before: Mapping[str, FollowData], gone: Collection[str]) -> str | None:
    """Return under which userid of somebody gone this very relation is stored."""
    for userid, follow in before.items():
        if userid in gone and shown.created_at is not None and follow.created_at == shown.created_at:
            return userid
    return None


def _after_read(stored: FollowData | None, shown: FollowData, *, stamps: bool) -> FollowData:
    if stored is None:
        return replace(shown, lost_at=None, lost_by="", personal_tags=shown.personal_tags or ())
    if _is_stale(stored, shown.read_at):
        return stored
    comes_back = stored.lost_at is not None and _comes_back(stored, shown)
    personal = stored.personal_tags if shown.personal_tags is None else shown.personal_tags
    merged = replace(
        shown,
        created_at=shown.created_at or stored.created_at,
        tag_ids=_same_or(stored.tag_ids, shown.tag_ids),
        personal_tags=_same_or(stored.personal_tags or (), personal or ()),
        lost_at=None if comes_back else stored.lost_at,
        lost_by="" if comes_back else stored.lost_by,
    )
    if not stamps and replace(merged, read_at=stored.read_at) == stored:
        return stored
    return merged


def _same_or(stored: tuple[T, ...], shown: tuple[T, ...]) -> tuple[T, ...]:
    """Return the stored order where the same are shown: `get` and the batch need not agree on it."""
    return stored if set(stored) == set(shown) else shown


def _comes_back(stored: FollowData, shown: FollowData) -> bool:
    if stored.lost_by in (STAFF, BOTH, TRANSFER, STAFF_LEFT):
        return True
    if shown.created_at is None or stored.lost_at is None:
        return False
    return shown.created_at > stored.lost_at or (shown.created_at == stored.lost_at and _has_begun_anew(stored, shown))


def _has_begun_anew(before: FollowData | None, after: FollowData) -> bool:
    return (
        before is not None
        and before.created_at is not None
        and after.created_at is not None
        and before.created_at < after.created_at
    )


def _after_loss(before: FollowData | None, follow: FollowData, loss: Loss) -> FollowData:
    """Return a follow after a loss. before: as it was stored, before what the same read has changed of it."""
    if _is_stale(follow, loss.read_at):
        return follow
    if loss.by == CUSTOMER:
        return _lost_to_customer(before, follow, loss)
    return _gone(follow, loss)


def _lost_to_customer(before: FollowData | None, follow: FollowData, loss: Loss) -> FollowData:
    began = follow.created_at
    if began is not None and (
        began > loss.at
        or (began == loss.at and before is not None and before.lost_at is None and _has_begun_anew(before, follow))
    ):
        return follow
    if follow.lost_at is None:
        return replace(follow, lost_at=loss.at, lost_by=CUSTOMER, read_at=loss.read_at)
    if follow.lost_by == STAFF:
        return replace(follow, lost_at=min(follow.lost_at, loss.at), lost_by=BOTH, read_at=loss.read_at)
    if not follow.lost_by:
        return replace(follow, lost_by=CUSTOMER, read_at=loss.read_at)
    return follow


def _gone(follow: FollowData, loss: Loss) -> FollowData:
    is_about_this = follow.created_at is None or follow.created_at <= loss.at
    if loss.by == STAFF_LEFT and not is_about_this:
        return follow
    if follow.lost_at is None:
        at = loss.at if is_about_this else loss.read_at
        return replace(follow, lost_at=at, lost_by=loss.by, read_at=loss.read_at)
    if follow.lost_by == CUSTOMER and loss.by == STAFF:
        return replace(follow, lost_by=BOTH, read_at=loss.read_at)
    if follow.lost_by == "" or (follow.lost_by == STAFF and loss.is_exact and is_about_this):
        at = loss.at if loss.is_exact and is_about_this else follow.lost_at
        return replace(follow, lost_at=at, lost_by=loss.by, read_at=loss.read_at)
    return follow


def _changes(before: FollowData | None, after: FollowData, is_renamed: bool) -> frozenset[str]:
    if before is None:
        return frozenset({ADDED})
    found = {RENAMED} if is_renamed else set()
    for name, fields in VALUES.items():
        if any(getattr(before, one) != getattr(after, one) for one in fields):
            found.add(name)
    if after.lost_at is None and (before.lost_at is not None or _has_begun_anew(before, after)):
        found.add(READDED)
    elif after.lost_at is not None and before.lost_at is None:
        found.add(LOST)
    elif (after.lost_at, after.lost_by or "", after.created_at) != (
        before.lost_at, before.lost_by or "", before.created_at,
    ):  # fmt: skip
        found.add("ending")
    return frozenset(found)
