"""Read what WeCom pushed, once it is decrypted. Pure: no Django, no database.

    <xml>                                                             fields
      <UserID><![CDATA[linxiaoyu]]></UserID>                          "UserID": "linxiaoyu"
      <DelUserItems><![CDATA[]]></DelUserItems>                       "DelUserItems": ""       (missing: no such key)
      <MemChangeList><Item>a</Item></MemChangeList>                   "MemChangeList": ["a"]   (one Item is a list too)
      <BatchJob><JobId>j</JobId></BatchJob>                           "BatchJob.JobId": "j"
      <ExtAttr><Item><Name>x</Name></Item>…</ExtAttr>                 "ExtAttr.Item.Name": ["x", …], "x" if single
    </xml>

Every callback has a key, and callbacks of one key are worked on one after the other:

    whom or what it concerns                      key
    a customer (any callback with ExternalUserID) customer:<external_userid>
    change_external_chat                          group:<ChatId>
    change_contact, *_user                        staff:<UserID in small letters>  (case means nothing in them)
    change_contact, *_party                       department:<Id>
    change_contact, update_tag                    staff_tags
    change_external_tag                           tags      (they move and rename each other: one library, one key)
    customer_acquisition without a customer       link:<LinkId>, or acquisition
    anything else                                 other:<event>, or other:<event>:<FromUserName>

Strict about what can hurt (size, depth, entities, document types, anything but UTF-8), lenient about what it does not
know: unknown tags are fields like others, an unknown kind is a message like others. Ordinary messages (MsgType text,
image, …) come out as event "message" with their type as change_type. The envelope of third-party apps (InfoType,
TimeStamp) is read like the other.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

MAX_BYTES = 64 * 1024
MAX_DEPTH = 8
MAX_KEY = 160
MAX_KIND = 64
# Of an ExternalUserID. WeCom's have up to 64; PostgreSQL indexes up to some 2 700 bytes.
MAX_ID = 256
# What does not fit into 32 bits of seconds (the year 2106) is none, or in milliseconds.
END_OF_TIME = 2**32
# Pages of WeCom spell these both ways.
SPELLINGS = {"NewUserId": "NewUserID", "ExternalUserId": "ExternalUserID", "UserId": "UserID", "ChatID": "ChatId"}

Field = str | list[str]


class MessageError(ValueError):
    """What came is no message that can be read. Trying again does not help. The message says why, without contents."""


@dataclass(frozen=True)
class Message:
    """One callback. created_at: CreateTime, whole seconds. external_userid: empty if it is about no customer."""

    event: str
    change_type: str
    created_at: datetime
    fields: Mapping[str, Field] = field(repr=False)
    key: str
    external_userid: str

    def text(self, name: str) -> str:
        """Return a field as a text, the first of several; empty if it is missing."""
        return _first(self.fields, name)

    def items(self, name: str) -> list[str]:
        """Return a field as a list, whether it came with one Item, with several, or with none."""
        value = self.fields.get(name, "")
        return list(value) if isinstance(value, list) else [value] if value else []

    def split(self, name: str) -> list[str]:
        """Return a comma-separated field (Department, AddUserItems) as a list, blanks dropped."""
        return [part.strip() for part in self.text(name).split(",") if part.strip()]


def parse_message(xml: bytes) -> Message:
    """Read a decrypted message. Raises MessageError.

    >>> message = parse_message(b"<xml><CreateTime>1790035200</CreateTime><Event>change_external_chat</Event>"
    ...                         b"<ChangeType>create</ChangeType><ChatId> wr1 </ChatId></xml>")
    >>> message.key, message.created_at.isoformat()
    ('group:wr1', '2026-09-22T00:00:00+00:00')
    >>> parse_message(b"<xml><CreateTime>soon</CreateTime></xml>")
    Traceback (most recent call last):
        ...
    wxwork.messages.MessageError: CreateTime is not a time.
    """
    fields = parse_fields(xml)
    event = _first(fields, "Event") or _first(fields, "InfoType")
    change_type = _first(fields, "ChangeType")
    if not event:
        event, change_type = "message", _first(fields, "MsgType")
    external_userid = _first(fields, "ExternalUserID")
    if max(len(event), len(change_type)) > MAX_KIND:
        raise MessageError("The name of its kind is too long.")
    if len(external_userid) > MAX_ID:
        raise MessageError("Its ExternalUserID is too long.")
    return Message(
        event=event,
        change_type=change_type,
        created_at=_time(_first(fields, "CreateTime") or _first(fields, "TimeStamp")),
        fields=MappingProxyType(fields),
        key=key_of(event, change_type, fields),
        external_userid=external_userid,
    )


def parse_fields(xml: bytes) -> dict[str, Field]:
    """Read a flat `<xml>` document, the outer one of a push or the inner. Raises MessageError."""
    if len(xml) > MAX_BYTES:
        raise MessageError(f"It has more than {MAX_BYTES} bytes.")
    try:
        # As text, so that an encoding it declares for itself means nothing.
        root = fromstring(xml.decode("utf-8-sig"), forbid_dtd=True)
    except UnicodeDecodeError:
        raise MessageError("It is not UTF-8.") from None
    except DefusedXmlException as error:
        raise MessageError(f"It declares what no message needs ({type(error).__name__}).") from None
    except (ParseError, ValueError) as error:
        raise MessageError(f"It is not XML ({type(error).__name__}).") from None
    if root.tag != "xml":
        raise MessageError("Its root is not <xml>.")
    found: dict[str, list[str]] = {}
    lists: set[str] = set()
    for child in root:
        for name, value, is_item in _leaves(child):
            found.setdefault(name, []).extend([value] if value is not None else [])
            if is_item:
                lists.add(name)
    return {
        SPELLINGS.get(name, name): values if name in lists or len(values) != 1 else values[0]
        for name, values in found.items()
    }


def _leaves(element: Any, path: str = "", depth: int = 1) -> Iterator[tuple[str, str | None, bool]]:
    """Yield (name, text, whether it is one of a list) of everything in an element that has no children."""
    if depth > MAX_DEPTH:
        raise MessageError(f"It is nested more than {MAX_DEPTH} deep.")
    name = f"{path}.{element.tag}" if path else element.tag
    if len(element) == 0:
        yield name, (element.text or "").strip(), False
    elif all(child.tag == "Item" and len(child) == 0 for child in element):
        for child in element:
            yield name, (child.text or "").strip(), True
    else:
        for child in element:
            yield from _leaves(child, name, depth + 1)


def key_of(event: str, change_type: str, fields: Mapping[str, Field]) -> str:
    """Return the key that orders a message among others."""
    if customer := _first(fields, "ExternalUserID"):
        return _key("customer", customer)
    if event == "change_external_chat":
        return _key("group", _first(fields, "ChatId"))
    if event == "change_external_tag":
        return "tags"
    if event == "change_contact":
        if change_type.endswith("_party"):
            return _key("department", _first(fields, "Id"))
        if change_type.endswith("_user"):
            return _key("staff", _first(fields, "UserID").lower())
        return "staff_tags"
    if event == "customer_acquisition":
        link = _first(fields, "LinkId")
        return _key("link", link) if link else "acquisition"
    sender = _first(fields, "FromUserName")
    return _key("other", event if sender in ("", "sys") else f"{event}:{sender}")


def _key(kind: str, identity: str) -> str:
    key = f"{kind}:{identity}"
    return key if len(key) <= MAX_KEY else f"{kind}:sha256:{hashlib.sha256(identity.encode()).hexdigest()}"


def _first(fields: Mapping[str, Field], name: str) -> str:
    value = fields.get(name, "")
    return value if isinstance(value, str) else value[0] if value else ""


def _time(text: str) -> datetime:
    try:
        seconds = int(text) if text.isascii() and text.isdigit() else -1
        if not 0 < seconds < END_OF_TIME:
            raise ValueError
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):
        raise MessageError("CreateTime is not a time.") from None
