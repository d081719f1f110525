"""What a behaviour must look like. Pure: no database.

    field            form                                                             code when it is not
    event_id         text of 1..128 characters, no control characters                 invalid_event_id
    external_userid  see customers.identity                                           invalid_external_userid
    identity         instead of it: {"kind": …, "value": …}, see                      invalid_identity
                     customers.identity_kinds; one of the two                         unknown_identity_kind
                                                                                      external_userid_and_identity
    kind             purchase | interaction | refund                                  unknown_kind
    channel          a word of profiles.vocabulary                                    unknown_channel
    amount           "29.33" or a number, 0..10^10 yuan, at most 2 decimals           invalid_amount
                     purchase: required; interaction: 0 if left out;
                     refund: all that is left of its purchase if left out
    occurred_at      ISO 8601 with an offset, or an aware datetime                    invalid_occurred_at
                     from 1990-01-01 to the end of tomorrow in the stored zone        occurred_at_out_of_range
    refers_to        an event_id; required for a refund: the purchase it undoes       invalid_refers_to
    detail           an object, at most 4 kB of JSON and 16 levels                    invalid_detail
    home             a number, only where customers may be created                    unknown_home

Two items have the same contents when all but event_id, external_userid, identity and home are the same: 29.3 is 29.30,
and a moment is the same in any offset.

Of the `detail` of a purchase, `items` is read: a list of objects, each with an `id` (a text of 1..128 characters, or a
whole number) and maybe a `name`. What in it is no such object is kept as it is, like the rest of the detail, and counts
for nothing.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from customers.identity import is_external_userid
from customers.identity_kinds import IdentityError, Pair, read_identity
from profiles.vocabulary import KINDS
from scrm.sharding.ids import MAX_HOME

EVENT_ID_LENGTH = 128
MAX_AMOUNT = 10**10
MAX_DETAIL_BYTES = 4096
MAX_DETAIL_DEPTH = 16
AMOUNT = re.compile(r"[0-9]{1,11}(\.[0-9]{1,2})?", re.ASCII)
CENT = Decimal("0.01")
ITEM_ID_LENGTH = 128
ITEM_NAME_LENGTH = 200
# U+0000 as JSON writes it, which jsonb refuses; not a backslash followed by u0000.
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

REASONS = {
    "invalid_item": "a behaviour is an object with event_id, external_userid, kind, channel, amount, occurred_at",
    "invalid_event_id": "event_id is a text of 1 to 128 characters without control characters",
    "invalid_external_userid": "external_userid is a text of 1 to 64 characters without control characters",
    "invalid_identity": "identity is {kind, value}; the value has 1 to 128 characters, that of a mobile 5 to 20 digits",
    "unknown_identity_kind": "the identity's kind is none that is known here: a new one is named in IDENTITY_KINDS",
    "external_userid_and_identity": "a behaviour names its customer by external_userid or by identity, not by both",
    "ambiguous_identity": "several customers claim this identity",
    "unknown_kind": "kind is purchase, interaction or refund",
    "unknown_channel": "channel is none that is known here: a new one is named in BEHAVIOUR_CHANNELS",
    "invalid_amount": "amount is a decimal from 0 to 10000000000 with at most two decimals, and a purchase needs one",
    "invalid_occurred_at": "occurred_at is an ISO 8601 time with an offset, like 2026-11-23T09:30:00+08:00",
    "occurred_at_out_of_range": "occurred_at is before 1990 or after tomorrow",
    "invalid_refers_to": "refers_to is the event_id of a purchase, and a refund needs one",
    "invalid_detail": "detail is an object of at most 4096 bytes of JSON and 16 levels",
    "unknown_customer": "no such customer",
    "unknown_home": "the home named is not configured here or not open for new customers",
    "erased": "this customer was erased, and has not been added again since",
    "erasure_in_progress": "this customer is being erased",
    "no_open_home": "no home is open for new customers: open one with `manage.py shards open N`",
    "address_taken": "the home gives customer_ids twice: run `manage.py migrate_shards`, then try again",
    "department_unavailable": "the department database cannot be reached: try again later",
    "busy": "others are writing the same customers: try again",
    "event_id_conflict": "this event_id was used before with other contents",
    "unknown_purchase": "refers_to names no purchase of this customer from this source",
    "refund_before_purchase": "the refund lies before its purchase",
    "refund_exceeds_purchase": "the refund is more than what is left of its purchase",
}


@dataclass(frozen=True)
class Rejection:
    """Why an item was not taken. index: its place among the items; code: one of REASONS."""

    index: int
    code: str
    message: str

    @classmethod
    def because(cls, index: int, code: str, detail: str = "") -> "Rejection":
        """Return the rejection of that code, with its text."""
        return cls(index, code, f"{REASONS[code]}{f' ({detail})' if detail else ''}.")


class Contents(NamedTuple):
    """A behaviour that looks as it must. amount: None for a refund of all that is left; detail: JSON.

    external_userid: empty as long as only the identity is known. items: (id, name) of what was bought, each once.
    """

    place: int
    event_id: str
    external_userid: str
    kind: str
    channel: str
    amount: Decimal | None
    occurred_at: datetime
    refers_to: str | None
    detail: str | None
    home: int | None
    content_hash: str
    identity: Pair | None = None
    items: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Bounds:
    """What the contents of a batch are held against. earliest ≤ occurred_at < end; assume_zone: of times without an
    offset, which are refused if it is None."""

    earliest: datetime
    end: datetime
    channels: frozenset[str]
    assume_zone: ZoneInfo | None = None


class _InvalidError(ValueError):
    """An item is not what it must be; the argument is the code."""


def read_contents(index: int, item: object, bounds: Bounds) -> Contents | Rejection:
    """Return an item's contents, or why it is refused. Never raises, whatever the item is."""
    try:
        return _read(index, item, bounds)
    except _InvalidError as error:
        return Rejection.because(index, str(error))


def _read(index: int, item: object, bounds: Bounds) -> Contents:
    if not isinstance(item, Mapping):
        raise _InvalidError("invalid_item")
    get = item.get
    event_id = _read_event_id(get("event_id"), "invalid_event_id")
    external_userid, identity = get("external_userid"), get("identity")
    pair = None
    if identity is not None:
        pair, external_userid = _read_identity(identity, external_userid), ""
    elif not is_external_userid(external_userid):
        raise _InvalidError("invalid_external_userid")
    kind, channel = get("kind"), get("channel")
    if not isinstance(kind, str) or kind not in KINDS:
        raise _InvalidError("unknown_kind")
    if not isinstance(channel, str) or channel not in bounds.channels:
        raise _InvalidError("unknown_channel")
    amount = _read_amount(get("amount"), kind)
    occurred_at = _read_occurred_at(get("occurred_at"), bounds)
    refers_to = get("refers_to")
    if refers_to not in (None, "") or kind == "refund":
        refers_to = _read_event_id(refers_to, "invalid_refers_to")
    detail = get("detail")
    text = _read_detail(detail) if detail is not None else None
    home = _read_home(get("home"))
    return Contents(
        index,
        event_id,
        external_userid,  # type: ignore[arg-type]
        kind,
        channel,
        amount,
        occurred_at,
        refers_to or None,
        text,
        home,
        _hash(
            kind, channel, "" if amount is None else str(amount), occurred_at.isoformat(), refers_to or "", text or ""
        ),
        pair,
        read_items(detail) if kind == "purchase" else (),
    )


def _read_identity(identity: object, external_userid: object) -> Pair:
    if external_userid not in (None, ""):
        raise _InvalidError("external_userid_and_identity")
    try:
        return read_identity(identity)
    except IdentityError as error:
        raise _InvalidError(error.code) from None


def read_items(detail: object) -> tuple[tuple[str, str], ...]:
    """Return (id, name) of the items in a purchase's detail, each id once; what is no item is passed over.

    >>> read_items({"items": [{"id": "sku-1", "name": "红茶"}, {"id": 7}, {"id": "sku-1"}, {"id": ""}, "tea", None]})
    (('sku-1', '红茶'), ('7', ''))
    >>> read_items({"items": 3}), read_items(None)
    ((), ())
    """
    given = detail.get("items") if isinstance(detail, dict) else None
    if not isinstance(given, list | tuple):
        return ()
    found: dict[str, str] = {}
    for one in given:
        if not isinstance(one, dict):
            continue
        number, name = one.get("id"), one.get("name")
        if isinstance(number, int) and not isinstance(number, bool) and abs(number) < 2**63:
            number = str(number)
        if isinstance(number, str) and 1 <= len(number.strip()) <= ITEM_ID_LENGTH:
            known = found.get(number.strip(), "")
            found[number.strip()] = known or (name.strip()[:ITEM_NAME_LENGTH] if isinstance(name, str) else "")
    return tuple(found.items())


def _hash(*parts: str) -> str:
    # Only the last part, JSON, could hold the separator, and JSON escapes it.
    return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def _read_event_id(value: object, code: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= EVENT_ID_LENGTH or value != value.strip():
        raise _InvalidError(code)
    if not (value.isascii() and value.isprintable()) and any(
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value
    ):
        raise _InvalidError(code)
    return value


def _read_amount(value: object, kind: str) -> Decimal | None:
    if value is None or value == "":
        if kind == "purchase":
            raise _InvalidError("invalid_amount")
        return None if kind == "refund" else Decimal("0.00")
    return read_amount(value)


def read_amount(value: object) -> Decimal:
    """Return an amount in yuan with two decimals.

    >>> read_amount("29.3"), read_amount(5), read_amount(0.1)
    (Decimal('29.30'), Decimal('5.00'), Decimal('0.10'))

    Raises ValueError for what is none: more than two decimals, signs, exponents, nan, inf, more than 10^10.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise _InvalidError("invalid_amount")
    if isinstance(value, str):
        if not AMOUNT.fullmatch(value):
            raise _InvalidError("invalid_amount")
        exact = Decimal(value)
    elif isinstance(value, Decimal) and not value.is_finite():
        raise _InvalidError("invalid_amount")
    elif 0 <= value <= MAX_AMOUNT:  # before anything is made of it: some numbers have a million digits; nan is false
        exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    else:
        raise _InvalidError("invalid_amount")
    amount = abs(exact.quantize(CENT))  # no minus zero
    if amount != exact or amount > MAX_AMOUNT:
        raise _InvalidError("invalid_amount")
    return amount


def _read_occurred_at(value: object, bounds: Bounds) -> datetime:
    if isinstance(value, str) and len(value) <= 40 and value.isascii():
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise _InvalidError("invalid_occurred_at") from None
    if not isinstance(value, datetime):
        raise _InvalidError("invalid_occurred_at")
    if value.utcoffset() is None:
        if bounds.assume_zone is None:
            raise _InvalidError("invalid_occurred_at")
        value = value.replace(tzinfo=bounds.assume_zone)
    if not bounds.earliest <= value < bounds.end:
        raise _InvalidError("occurred_at_out_of_range")
    return value.astimezone(UTC)


def _read_detail(value: object) -> str:
    if not isinstance(value, dict) or _is_deeper(value, MAX_DETAIL_DEPTH):
        raise _InvalidError("invalid_detail")
    try:
        # The form that is hashed, so that the order of keys makes no other contents.
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError):  # no JSON, nan, inf, lone surrogates, integers of thousands of digits
        raise _InvalidError("invalid_detail") from None
    if size > MAX_DETAIL_BYTES or NUL.search(text):
        raise _InvalidError("invalid_detail")
    return text


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list | tuple):
        return False
    return levels == 0 or any(
        _is_deeper(inner, levels - 1) for inner in (value.values() if isinstance(value, dict) else value)
    )


def _read_home(value: object) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(MAX_HOME)):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_HOME:
        raise _InvalidError("unknown_home")
    return value
