"""What names others have for a customer, in which form they are compared, and what is kept of one. Needs no database.

    kind        value                                                  compared as
    unionid     1 to 128 characters, no control characters             it stands, without blanks around it
    openid      the same; of one mini-program or official account      the same
    mobile      "138 1234 5678", "+86-13812345678"                     13812345678
                "+852 6123 4567"                                       +85261234567
    member_no   1 to 128 characters                                    it stands, without blanks around it

Further kinds are named in the setting IDENTITY_KINDS, as channels are in BEHAVIOUR_CHANNELS: `taobao=淘宝昵称,card_no`.

    digest      HMAC-SHA256(SECRET_KEY, "identity:" + kind + ":" + value), 32 bytes
"""

import hmac
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache

from django.conf import settings

KINDS = {
    "unionid": "UnionID",
    "openid": "OpenID",
    "mobile": "手机号",
    "member_no": "会员号",
}
UNIONID, MOBILE = "unionid", "mobile"
VALUE_LENGTH = 128
CODE = re.compile(r"[a-z][a-z0-9_]{0,31}")
BETWEEN_DIGITS = re.compile(r"[\s().\-]")
COUNTRY = re.compile(r"^(?:(?:\+|00)?86(?=1[0-9]{10}$)|\+86)")
NUMBER = re.compile(r"\+?[0-9]{5,20}")

# (kind, digest): what a value in clear is exchanged for as soon as it has been read.
Pair = tuple[str, bytes]


class IdentityError(ValueError):
    """What is no identity. code: unknown_identity_kind or invalid_identity."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def read_kinds(words: Iterable[str]) -> dict[str, str]:
    """Return {code: name} of the words of IDENTITY_KINDS.

    >>> read_kinds(["taobao=淘宝昵称", "card_no"])
    {'taobao': '淘宝昵称', 'card_no': 'card_no'}
    >>> read_kinds(["Card No"])
    Traceback (most recent call last):
    ...
    ValueError: IDENTITY_KINDS: 'Card No' is no kind: a-z, 0-9 and _, 32 characters at most.
    """
    return read_words("IDENTITY_KINDS", "kind", words)


def read_words(setting: str, noun: str, words: Iterable[str]) -> dict[str, str]:
    """Return {code: name} of a setting's words `code=name`, or a code alone. Raises ValueError for what is no code."""
    found = {}
    for word in words:
        code, _, name = (part.strip() for part in word.partition("="))
        if not CODE.fullmatch(code):
            raise ValueError(f"{setting}: {code!r} is no {noun}: a-z, 0-9 and _, 32 characters at most.")
        found[code] = name or code
    return found


@cache
def kind_names() -> dict[str, str]:
    """Return {code: Chinese name} of every kind that is accepted."""
    return KINDS | read_kinds(settings.IDENTITY_KINDS)


def normal_value(kind: str, value: str) -> str:
    """Return a value as it is compared. Raises IdentityError invalid_identity.

    >>> normal_value("mobile", "+86 138-1234-5678"), normal_value("mobile", "8613812345678")
    ('13812345678', '13812345678')
    >>> normal_value("mobile", "+852 6123 4567"), normal_value("member_no", " A 1 ")
    ('+85261234567', 'A 1')
    >>> normal_value("mobile", "138****5678")
    Traceback (most recent call last):
    ...
    customers.identity_kinds.IdentityError: invalid_identity
    """
    if len(value) > 2 * VALUE_LENGTH:
        raise IdentityError("invalid_identity")
    if kind == MOBILE:
        digits = COUNTRY.sub("", BETWEEN_DIGITS.sub("", unicodedata.normalize("NFKC", value)), count=1)
        if not NUMBER.fullmatch(digits):
            raise IdentityError("invalid_identity")
        return digits
    value = value.strip()
    if not 1 <= len(value) <= VALUE_LENGTH or _is_unprintable(value):
        raise IdentityError("invalid_identity")
    return value


def _is_unprintable(value: str) -> bool:
    if value.isascii():
        return not value.isprintable()
    return any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value)


def identity_digest(kind: str, value: str) -> bytes:
    """Return what is kept of a value: 32 bytes that tell nothing without SECRET_KEY. Raises IdentityError."""
    text = f"identity:{kind}:{normal_value(kind, value)}"
    return hmac.digest(settings.SECRET_KEY.encode(), text.encode(), "sha256")


def read_pair(kind: object, value: object) -> Pair:
    """Return what is kept of an identity that somebody names. Raises IdentityError, whatever it is given."""
    if not isinstance(kind, str) or kind not in kind_names():
        raise IdentityError("unknown_identity_kind")
    if not isinstance(value, str):
        raise IdentityError("invalid_identity")
    return kind, identity_digest(kind, value)


def read_identity(identity: object) -> Pair:
    """Return the same of {"kind": …, "value": …}, with nothing else in it. Raises IdentityError."""
    if not isinstance(identity, Mapping) or set(identity) != {"kind", "value"}:
        raise IdentityError("invalid_identity")
    return read_pair(identity["kind"], identity["value"])


def digests_of(kind: str, values: Iterable[str]) -> frozenset[bytes]:
    """Return what is kept of the values that are of the kind's form; others, which name nobody, are left out."""
    found = set()
    for value in values:
        try:
            found.add(identity_digest(kind, value))
        except IdentityError:
            continue
    return frozenset(found)
