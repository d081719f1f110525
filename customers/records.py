"""What one customer looks like to a writer: plain data, no database.

owner    fields                                                                   who may change them
WeCom    name avatar type gender unionid corp_name position, follows              WeCom once synced; the API before
ours     mobile attributes tag_ids                                                the API, always
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

WECOM_FIELDS = ("name", "avatar", "type", "gender", "unionid", "corp_name", "position")
OUR_FIELDS = ("mobile", "attributes")


@dataclass(frozen=True)
class FollowData:
    """A staff member's relation to a customer. mobiles and tag_ids in WeCom's order; times aware."""

    userid: str
    remark: str = ""
    description: str = ""
    mobiles: tuple[str, ...] = ()
    add_way: int = 0
    state: str = ""
    created_at: datetime | None = None
    lost_at: datetime | None = None
    tag_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class CustomerData:
    """What is to be written of one customer. A field that is not in `fields`, or None below, stays as it is.

    home: where to create, if there is nobody yet; else chosen (see directory.choose_home).
    follows: all of them, replacing those there are; of those, only the ones of staff in follows_within, if given.
    tag_ids: our own tags, replacing those there are.
    merge_attributes: put the given attributes over the stored ones, None deleting one, instead of replacing them.
    by_wecom: the data is WeCom's: it may change WeCom's fields and stamps the customer as synced.
    respect_tombstone: do not create somebody who was erased, unless followed_at is after the erasure.
    if_version: only change a customer who has this version, and create nobody.
    """

    external_userid: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    home: int | None = None
    follows: tuple[FollowData, ...] | None = None
    follows_within: frozenset[str] | None = None
    tag_ids: tuple[str, ...] | None = None
    merge_attributes: bool = False
    by_wecom: bool = False
    respect_tombstone: bool = False
    followed_at: datetime | None = None
    if_version: int | None = None


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
