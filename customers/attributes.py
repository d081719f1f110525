"""What `attributes` may be: an object of the company's own fields, kept as JSON. Pure.

keys       1 to 64 characters, at most 100 of them
values     text, true, false, null, numbers up to 2^53 either way, lists and objects of these, 5 levels deep
size       4 096 bytes of JSON (UTF-8, no spaces)

{"level": 3, "shop": {"city": "上海"}}   yes
{"level": 1e999}                         no: not a number that JSON and PostgreSQL both have
{"note": "a\\u0000b"}                     no: PostgreSQL keeps no NUL
"""

import json
import math
from typing import Any

MAX_BYTES = 4096
MAX_KEYS = 100
MAX_KEY_LENGTH = 64
MAX_LEVELS = 5
# Beyond it JavaScript and spreadsheets lose digits, and PostgreSQL gives 1e20 back as an integer of 21.
MAX_NUMBER = 2**53


class InvalidAttributesError(ValueError):
    """The text says what is wrong with the attributes, for whoever sent them."""


def check_attributes(value: object) -> dict[str, Any]:
    """Return attributes that may be stored, unchanged. Raises InvalidAttributesError.

    >>> check_attributes({"level": 3})
    {'level': 3}
    >>> check_attributes({"level": float("inf")})
    Traceback (most recent call last):
    ...
    customers.attributes.InvalidAttributesError: level: a number is between -2^53 and 2^53.
    """
    if not isinstance(value, dict):
        raise InvalidAttributesError("attributes is an object.")
    if len(value) > MAX_KEYS:
        raise InvalidAttributesError(f"At most {MAX_KEYS} attributes.")
    for key, inner in value.items():
        _check_text(key, str(key)[:MAX_KEY_LENGTH])
        if not 1 <= len(key) <= MAX_KEY_LENGTH:
            raise InvalidAttributesError(f"The name of an attribute has 1 to {MAX_KEY_LENGTH} characters.")
        _check_value(inner, key, MAX_LEVELS - 1)
    if is_too_large(value):
        raise InvalidAttributesError(f"At most {MAX_BYTES} bytes of JSON.")
    return value


def is_too_large(attributes: dict[str, Any]) -> bool:
    """Tell whether attributes that are otherwise right take more room than one customer may."""
    return len(json.dumps(attributes, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_BYTES


def is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether attributes are the same JSON, whatever the order of keys.

    >>> is_same({"vip": 1}, {"vip": True}), {"vip": 1} == {"vip": True}
    (False, True)
    """
    return one == other and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _check_value(value: object, name: str, levels: int) -> None:
    if isinstance(value, str):
        return _check_text(value, name)
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        if not (math.isfinite(value) if isinstance(value, float) else True) or abs(value) > MAX_NUMBER:
            raise InvalidAttributesError(f"{name}: a number is between -2^53 and 2^53.")
        return None
    if not isinstance(value, dict | list):
        raise InvalidAttributesError(f"{name}: not a JSON value.")
    if levels == 0:
        raise InvalidAttributesError(f"{name}: at most {MAX_LEVELS} levels.")
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, dict):
            _check_text(key, name)
        _check_value(inner, name, levels - 1)
    return None


def _check_text(value: object, name: str) -> None:
    if not isinstance(value, str):
        raise InvalidAttributesError("The name of an attribute is a text.")
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidAttributesError(f"{name.encode('utf-8', 'replace').decode()}: no NUL and no lone surrogates.")
