"""Read what WeCom's API says of customers, staff, departments and tags into plain data. Pure: no database, no network.

    externalcontact/get          {"external_contact": {…}, "follow_user": [{…, "tags": [{tag_id, type, …}]}, …]}
    batch/get_by_user            {"external_contact": {…}, "follow_info": {…, "tag_id": ["et…"]}}

Lenient at this edge, strict behind it: what is missing, null or of another type is as if it were not there, what
nobody knows is passed over, numbers may be texts (contract §6, 15). Only what a thing cannot be without makes it None:
an external_userid, a userid, an id. Texts are cut to what our columns and the cache are meant for; NUL goes.

tags       type 1 corp tag, 3 rule tag: into tag_ids; type 2 personal tag: into personal_tags, without an id.
           A batch tells no personal ones: personal_tags is None then, which means that they stay as they are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from customers.identity import is_external_userid
from customers.records import FollowData

PERSONAL_TAG = 2
NAME_LENGTH, TEXT_LENGTH, URL_LENGTH = 128, 2048, 1024
LATEST_SECONDS = 4_102_444_800  # the year 2100


@dataclass(frozen=True)
class Contact:
    """A customer as WeCom shows one. fields: as CustomerData.fields; follows: {userid: what that member noted}."""

    external_userid: str
    fields: Mapping[str, Any]
    follows: Mapping[str, FollowData] = field(default_factory=dict)

    @property
    def followed_at(self) -> datetime | None:
        """When the newest of the relations began."""
        return max((follow.created_at for follow in self.follows.values() if follow.created_at), default=None)


def read_customer(answer: Mapping[str, Any], *, read_at: datetime) -> Contact | None:
    """Return what `get` says, all followers and their personal tags included; None if it names nobody."""
    return _contact(answer.get("external_contact"), _list(answer.get("follow_user")), read_at, shows_personal=True)


def read_page(rows: Iterable[Any], *, read_at: datetime) -> list[Contact]:
    """Return the customers of a page of the batch, each once, in order, with those of their relations that are on it.

    >>> rows = [{"external_contact": {"external_userid": "wm1", "name": "周"}, "follow_info": {"userid": who}}
    ...         for who in ("chen", "lin")]
    >>> [(one.external_userid, sorted(one.follows)) for one in read_page(rows, read_at=datetime.now(UTC))]
    [('wm1', ['chen', 'lin'])]
    """
    found: dict[str, Contact] = {}
    for row in rows:
        row = _object(row)
        one = _contact(row.get("external_contact"), [row.get("follow_info")], read_at, shows_personal=False)
        if one is None:
            continue
        before = found.get(one.external_userid)
        follows = {**before.follows, **one.follows} if before else one.follows
        found[one.external_userid] = Contact(one.external_userid, one.fields, follows)
    return list(found.values())


def _contact(given: Any, follows: list[Any], read_at: datetime, *, shows_personal: bool) -> Contact | None:
    contact = _object(given)
    external_userid = contact.get("external_userid")
    if not is_external_userid(external_userid):
        return None
    read = (_follow(_object(one), read_at, shows_personal=shows_personal) for one in follows)
    return Contact(str(external_userid), _fields(contact), {one.userid: one for one in read if one is not None})


def _fields(contact: Mapping[str, Any]) -> dict[str, Any]:
    """Return a customer's own fields: those that the answer has, so that one that is left out stays as it is.

    corp_name and position are of WeCom users only: the answer about anybody else leaves them out. unionid may come
    later and is never taken back.
    """
    fields: dict[str, Any] = {}
    for name, length in (("name", NAME_LENGTH), ("avatar", URL_LENGTH), ("corp_name", NAME_LENGTH),
                         ("position", NAME_LENGTH)):  # fmt: skip
        if isinstance(contact.get(name), str):
            fields[name] = _text(contact[name], length)
    kind, gender = _number(contact.get("type")), _number(contact.get("gender"))
    if kind in (1, 2):
        fields["type"] = kind
    if gender in (0, 1, 2):
        fields["gender"] = gender
    if unionid := _text(contact.get("unionid"), 64):
        fields["unionid"] = unionid
    return fields


def _follow(row: Mapping[str, Any], read_at: datetime, *, shows_personal: bool) -> FollowData | None:
    userid = row.get("userid")
    if not is_external_userid(userid):  # the same kind of text
        return None
    tags = [_object(one) for one in _list(row.get("tags"))]
    ids = [one.get("tag_id") for one in tags if _number(one.get("type")) != PERSONAL_TAG] + _list(row.get("tag_id"))
    personal = [one for one in tags if _number(one.get("type")) == PERSONAL_TAG]
    return FollowData(
        userid=str(userid),
        remark=_text(row.get("remark"), NAME_LENGTH),
        description=_text(row.get("description"), TEXT_LENGTH),
        mobiles=tuple(dict.fromkeys(filter(None, (_text(one, 32) for one in _list(row.get("remark_mobiles")))))),
        add_way=_number(row.get("add_way")) or 0,
        state=_text(row.get("state"), NAME_LENGTH),
        created_at=read_time(row.get("createtime")),
        tag_ids=tuple(dict.fromkeys(_text(one, 64) for one in ids if isinstance(one, str) and one)),
        personal_tags=_personal(personal) if shows_personal else None,
        read_at=read_at,
    )


def _personal(tags: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    named = ((_text(one.get("group_name"), NAME_LENGTH), _text(one.get("tag_name"), NAME_LENGTH)) for one in tags)
    return tuple(dict.fromkeys((group, name) for group, name in named if name))


# --------------------------------------------------------------------------------------------- departments, staff, tags
@dataclass(frozen=True)
class DepartmentData:
    """A department. parent: may be of one that is not visible."""

    id: int
    name: str
    parent: int | None
    order: int


@dataclass(frozen=True)
class StaffData:
    """A member of staff. departments: the main one first."""

    userid: str
    name: str
    departments: tuple[int, ...]
    main_department: int | None
    position: str
    alias: str
    status: int


@dataclass(frozen=True)
class TagData:
    id: str
    name: str
    order: int


@dataclass(frozen=True)
class TagGroupData:
    """A group with its tags. strategy_id: of a rule group, else 0."""

    id: str
    name: str
    order: int
    strategy_id: int
    tags: tuple[TagData, ...]


def read_department(row: Any) -> DepartmentData | None:
    """Return a row of department/list or the object of department/get; parentid 0 is that of the root.

    >>> read_department({"id": 1, "name": "星河", "parentid": 0, "order": "100000000"})
    DepartmentData(id=1, name='星河', parent=None, order=100000000)
    """
    row = _object(row)
    number = _number(row.get("id"))
    if not number or number < 1:
        return None
    name = _text(row.get("name"), NAME_LENGTH) or str(number)
    parent = _number(row.get("parentid"))
    return DepartmentData(number, name, parent if parent and parent != number else None, _number(row.get("order")) or 0)


def read_staff(row: Any) -> StaffData | None:
    """Return a row of user/list or the answer of user/get."""
    row = _object(row)
    userid = row.get("userid")
    if not is_external_userid(userid):
        return None
    numbers = [number for one in _list(row.get("department")) if (number := _number(one)) and number > 0]
    main = _number(row.get("main_department")) or None
    ordered = sorted(dict.fromkeys(numbers), key=lambda number: number != main)
    return StaffData(
        userid=str(userid),
        name=_text(row.get("name"), 64) or str(userid),
        departments=tuple(ordered),
        main_department=main if main in numbers else (ordered[0] if ordered else None),
        position=_text(row.get("position"), NAME_LENGTH),
        alias=_text(row.get("alias"), 64),
        status=status if (status := _number(row.get("status"))) in (1, 2, 4, 5) else 1,
    )


def read_tag_groups(rows: Iterable[Any]) -> list[TagGroupData]:
    """Return the groups of get_corp_tag_list or get_strategy_tag_list, without what is marked as deleted."""
    found = []
    for row in map(_object, rows):
        group_id = _text(row.get("group_id"), 64)
        if not group_id or row.get("deleted") is True:
            continue
        tags = [_object(one) for one in _list(row.get("tag"))]
        found.append(
            TagGroupData(
                group_id,
                _text(row.get("group_name"), 64) or group_id,
                _number(row.get("order")) or 0,
                _number(row.get("strategy_id")) or 0,
                tuple(
                    TagData(tag_id, _text(tag.get("name"), 64) or tag_id, _number(tag.get("order")) or 0)
                    for tag in tags
                    if (tag_id := _text(tag.get("id"), 64)) and tag.get("deleted") is not True
                ),
            )
        )
    return found


# --------------------------------------------------------------------------------------------------------------- values
def read_time(value: Any) -> datetime | None:
    """Return a time in Unix seconds, which may be a text; None for 0, and for what is none.

    >>> read_time("1790035200"), read_time(0), read_time(True)
    (datetime.datetime(2026, 9, 22, 0, 0, tzinfo=datetime.timezone.utc), None, None)
    """
    seconds = _number(value)
    return datetime.fromtimestamp(seconds, tz=UTC) if seconds and 0 < seconds < LATEST_SECONDS else None


def _number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < 2**53 else None
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 17:
        return int(value)
    return None


def _text(value: Any, length: int) -> str:
    if not isinstance(value, str):
        return ""
    # PostgreSQL takes neither NUL nor half a surrogate pair.
    return value.replace("\x00", "").encode("utf-8", "ignore").decode().strip()[:length]


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
