"""Where a reader of a list over all homes is, as an opaque text.

    text = base64url, without padding, of

    bytes  what
    1      version, 1
    6      digest of the filters: a cursor goes on with the list that it came from, and no other
    …      for each home, ascending: varint (home - the home before), varint state
             state 0: the home is exhausted; 1: not begun; 1 + n: handed out up to its n-th customer
    4      digest of all before, so that a mangled or cut cursor is noticed

    {100: None, 101: 1010000000042} for no filters  →  AU59cIa1NGQAASvH-q0q
    the same with one character changed             →  BadCursorError

It holds no secret and grants nothing: whoever makes one up sees what they may see anyway.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping

import orjson

from scrm.api.problems import BadCursorError
from scrm.sharding.ids import MAX_HOME, PER_HOME, home_of, make
from scrm.sharding.paging import Position

VERSION = b"\x01"
FILTERS_BYTES = 6
CHECK_BYTES = 4
# Ten homes are 80 characters, a thousand 3 000.
MAX_LENGTH = 8_000
MALFORMED = "This is not a cursor that a list has given."


def encode(position: Position, filters: Mapping[str, object]) -> str:
    """Return the cursor of a position in the list with these filters (JSON values; None means not filtered)."""
    body = VERSION + _digest_of(filters)
    before = 0
    for home in sorted(position):
        body += _varint(home - before) + _varint(_state(home, position[home]))
        before = home
    return _spelled(body + _check(body))


def decode(text: str, filters: Mapping[str, object]) -> Position:
    """Return the position of a cursor, or raise BadCursorError: it is none, or belongs to other filters."""
    body = _checked_body(text)
    if body[1 : 1 + FILTERS_BYTES] != _digest_of(filters):
        raise BadCursorError("This cursor belongs to a list with other filters: begin that one again without a cursor.")
    numbers = list(_varints(body[1 + FILTERS_BYTES :]))
    if len(numbers) % 2:
        raise BadCursorError(MALFORMED)
    position: Position = {}
    home = 0
    for step, state in zip(numbers[::2], numbers[1::2], strict=True):
        home += step
        if step < 1 or home > MAX_HOME or state > PER_HOME:
            raise BadCursorError(MALFORMED)
        position[home] = None if state == 0 else 0 if state == 1 else make(home, state - 1)
    return position


def _state(home: int, after: int | None) -> int:
    if after is None:
        return 0
    if after == 0:
        return 1
    if home_of(after) != home:
        raise ValueError(f"{after} is no customer of home {home}")
    return 1 + after % PER_HOME


def _checked_body(text: str) -> bytes:
    if len(text) > MAX_LENGTH or not text.isascii():
        raise BadCursorError(MALFORMED)
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadCursorError(MALFORMED) from None
    body, check = found[:-CHECK_BYTES], found[-CHECK_BYTES:]
    # Base64 spells the same bytes in several ways; a cursor is only the one that encode gives.
    is_whole = _spelled(found) == text and check == _check(body)
    if not is_whole or len(body) < 1 + FILTERS_BYTES or body[:1] != VERSION:
        raise BadCursorError(MALFORMED)
    return body


def _spelled(found: bytes) -> str:
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode()


def _digest_of(filters: Mapping[str, object]) -> bytes:
    told = {name: value for name, value in filters.items() if value is not None}
    text = orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=FILTERS_BYTES, person=b"scrm filters").digest()


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=CHECK_BYTES, person=b"scrm cursor").digest()


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that another follows."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _varints(body: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in body:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
        elif shift > 63:
            raise BadCursorError(MALFORMED)
    if shift:
        raise BadCursorError(MALFORMED)
