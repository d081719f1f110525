"""What an external_userid may be, and what is left of one after an erasure. Needs no database.

external_userid   1 to 64 characters, no control characters, no space at either end; quotes and emoji are legal
digest            HMAC-SHA256(SECRET_KEY, "tombstone:" + external_userid), 32 bytes
"""

import hmac
import re
import unicodedata

from django.conf import settings

from customers.models import EXTERNAL_USERID_LENGTH

KEEP_FRONT, KEEP_BACK = 3, 4


def is_external_userid(value: object) -> bool:
    """Tell whether a value can be an external_userid: what PostgreSQL, Redis and a URL can all carry.

    >>> is_external_userid("wmEAAAAB"), is_external_userid("老王'🙂")
    (True, True)
    >>> is_external_userid(""), is_external_userid("a\\x00")
    (False, False)
    """
    if not isinstance(value, str) or not 1 <= len(value) <= EXTERNAL_USERID_LENGTH or value != value.strip():
        return False
    if value.isascii():
        return value.isprintable()  # the same, much faster: batches ask this of a thousand ids
    return not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value)


def digest(external_userid: str) -> bytes:
    """Return what a tombstone and an audit row keep of a person: 32 bytes that tell nothing without SECRET_KEY."""
    return hmac.digest(settings.SECRET_KEY.encode(), b"tombstone:" + external_userid.encode(), "sha256")


def mask_mobile(mobile: str) -> str:
    """Hide the middle of a mobile number.

    >>> mask_mobile("13812345678"), mask_mobile("+86 13812345678"), mask_mobile("12345"), mask_mobile("")
    ('138****5678', '+86****5678', '*****', '')
    """
    mobile = re.sub(r"\s", "", mobile)
    if len(mobile) < KEEP_FRONT + KEEP_BACK:
        return "*" * len(mobile)
    return f"{mobile[:KEEP_FRONT]}****{mobile[-KEEP_BACK:]}"
