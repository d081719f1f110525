"""What one customer looks like to a writer: plain data, no database.

owner    fields                                                                   who may change them
WeCom    name avatar type gender unionid corp_name position, follows              WeCom once synced; the API before
ours     mobile attributes tag_ids                                                the API, always
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

WECOM_FIELDS = ("name", "avatar", "type", "gender", "unionid", "corp_name", "position")
OUR_FIELDS = ("mobile", "attributes")


@dataclass(frozen=True)
class FollowData:
    """A staff member's relation to a customer. mobiles and tag_ids in WeCom's order; times aware.

    lost_by: one of Follow.LostBy, empty where that is not known. personal_tags: (group, name), which have no id.
    read_at: when WeCom was asked for this. These three, and created_at, stay as they are stored where they are None;
    lost_by is emptied with lost_at.
    """

    userid: str
    remark: str = ""
    description: str = ""
    mobiles: tuple[str, ...] = ()
    add_way: int = 0
    state: str = ""
    created_at: datetime | None = None
    lost_at: datetime | None = None
    tag_ids: tuple[str, ...] = ()
    lost_by: str | None = None
    personal_tags: tuple[tuple[str, str], ...] | None = None
    read_at: datetime | None = None


MergeFollows = Callable[[Mapping[str, FollowData]], Sequence[FollowData]]


@dataclass(frozen=True)
class CustomerData:
    """What is to be written of one customer. A field that is not in `fields`, or None below, stays as it is.

    home: where to create, if there is nobody yet; else chosen (see directory.choose_home).
    follows: all of them, replacing those there are; of those, only the ones of staff in follows_within, if given.
    merge_follows: instead of follows: is given those there are, {userid: follow}, under the customer's lock, and
    returns all of them as they are to be. Pure; may be called again.
    tag_ids: our own tags, replacing those there are.
    merge_attributes: put the given attributes over the stored ones, None deleting one, instead of replacing them.
    by_wecom: the data is WeCom's: it may change WeCom's fields and stamps the customer as synced.
    read_at: when WeCom was asked; a customer who was read later keeps WeCom's fields. Stored with what it changes, and
    with stamps_read also where it changes nothing, which bumps no version.
    respect_tombstone: do not create somebody who was erased, unless followed_at is after the erasure.
    if_version: only change a customer who has this version, and create nobody.
    is_restricted: it comes from a key that is restricted to departments, which claims identities weakly.
    """

    external_userid: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    home: int | None = None
    follows: tuple[FollowData, ...] | None = None
    follows_within: frozenset[str] | None = None
    merge_follows: MergeFollows | None = field(default=None, compare=False)
    tag_ids: tuple[str, ...] | None = None
    merge_attributes: bool = False
    by_wecom: bool = False
    read_at: datetime | None = None
    stamps_read: bool = False
    respect_tombstone: bool = False
    followed_at: datetime | None = None
    if_version: int | None = None
    is_restricted: bool = False

    def with_follows(self, stored: Mapping[str, FollowData]) -> "CustomerData":
        """Return the same with follows instead of merge_follows, which is given those that are stored."""
        if self.merge_follows is None:
            return self
        return replace(self, follows=tuple(self.merge_follows(stored)), merge_follows=None)


def merged_attributes(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with the given ones over them.

    >>> merged_attributes({"level": 1, "shop": "A"}, {"level": 2, "shop": None})
    {'level': 2}
    """
    return {key: value for key, value in {**stored, **given}.items() if value is not None}


def wecom_conflicts(stored: Mapping[str, Any], data: CustomerData) -> list[str]:
    """Return the names of WeCom's fields that the data would change though WeCom owns them."""
    if data.by_wecom or stored["synced_at"] is None:
        return []
    return [name for name in WECOM_FIELDS if name in data.fields and data.fields[name] != stored[name]]
