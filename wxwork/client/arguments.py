"""Check arguments before a call is made of them: what WeCom would refuse costs no call. All raise BugError.

WeCom limits some texts in characters and others in bytes of UTF-8; a Chinese character has three.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from wxwork.errors import BugError

ID_BYTES = 64
CURSOR_BYTES = 4096


def identifier(name: str, value: object, *, max_bytes: int = ID_BYTES) -> str:
    """Return a userid, external_userid, chat_id or the like.

    >>> identifier("userid", "")
    Traceback (most recent call last):
        ...
    wxwork.errors.BugError: userid must be a text of 1 to 64 bytes, not ''.
    """
    if isinstance(value, str) and value.strip() and value.isprintable() and len(_bytes(name, value)) <= max_bytes:
        return value
    raise BugError(f"{name} must be a text of 1 to {max_bytes} bytes, not {_shown(value)}.")


def identifiers(
    name: str, values: Iterable[object], *, at_most: int, at_least: int = 1, max_bytes: int = ID_BYTES
) -> list[str]:
    """Return a list of ids, each once, in the order given."""
    if isinstance(values, str | bytes | Mapping):
        raise BugError(f"{name} must be a list, not {_shown(values)}.")
    found = list(dict.fromkeys(identifier(f"each of {name}", value, max_bytes=max_bytes) for value in values))
    if not at_least <= len(found) <= at_most:
        raise BugError(f"{name} takes {at_least} to {at_most} of them, not {len(found)}.")
    return found


def text(
    name: str,
    value: object,
    *,
    max_characters: int | None = None,
    max_bytes: int | None = None,
    is_needed: bool = False,
) -> str:
    """Return a text within its limits.

    >>> text("remark", "王" * 21, max_characters=20)
    Traceback (most recent call last):
        ...
    wxwork.errors.BugError: remark may have 20 characters, not 21.
    """
    if not isinstance(value, str):
        raise BugError(f"{name} must be a text, not {_shown(value)}.")
    encoded = _bytes(name, value)
    if is_needed and not value.strip():
        raise BugError(f"{name} must not be empty.")
    if max_characters is not None and len(value) > max_characters:
        raise BugError(f"{name} may have {max_characters} characters, not {len(value)}.")
    if max_bytes is not None and len(encoded) > max_bytes:
        raise BugError(f"{name} may have {max_bytes} bytes of UTF-8, not {len(encoded)}.")
    return value


def optional(name: str, value: object, **limits: Any) -> str | None:
    """Return a text within its limits, or None."""
    return None if value is None else text(name, value, **limits)


def number(name: str, value: object, *, lowest: int, highest: int) -> int:
    """Return an integer within its limits."""
    if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
        return value
    raise BugError(f"{name} must be an integer from {lowest} to {highest}, not {_shown(value)}.")


def department(name: str, value: object) -> int:
    """Return the id of a department, 1 to 2^32 - 1."""
    return number(name, value, lowest=1, highest=2**32 - 1)


def choice(name: str, value: object, choices: Iterable[Any]) -> Any:
    """Return a value that is one of a few."""
    known = list(choices)
    if not isinstance(value, bool) and isinstance(value, str | int) and value in known:
        return value
    raise BugError(f"{name} must be one of {known}, not {_shown(value)}.")


def cursor(value: object) -> str:
    """Return a cursor: whatever WeCom gave, empty for the first page."""
    return text("cursor", value, max_bytes=CURSOR_BYTES)


def seconds(name: str, value: object) -> int:
    """Return a Unix time in seconds. Refuses milliseconds."""
    return number(name, value, lowest=0, highest=10**10)


def attachments(values: Iterable[Mapping[str, Any]] | None, *, at_most: int = 9) -> list[dict[str, Any]]:
    """Return attachments of messages: each {"msgtype": kind, kind: {…}}, with the limits of their texts.

    image {media_id | pic_url}, link {title <= 128 B, url, picurl, desc <= 512 B},
    miniprogram {title <= 64 B, pic_media_id, appid, page}, video {media_id}, file {media_id}.
    """
    found = [_attachment(value) for value in values or ()]
    if len(found) > at_most:
        raise BugError(f"There may be {at_most} attachments, not {len(found)}.")
    return found


ATTACHMENT_FIELDS = {
    "image": (),
    "link": ("title", "url"),
    "miniprogram": ("title", "pic_media_id", "appid", "page"),
    "video": ("media_id",),
    "file": ("media_id",),
}
TEXT_BYTES = {("link", "title"): 128, ("link", "desc"): 512, ("miniprogram", "title"): 64}


def _attachment(value: object) -> dict[str, Any]:
    kind = value.get("msgtype") if isinstance(value, Mapping) else None
    inner = value.get(kind) if isinstance(value, Mapping) and isinstance(kind, str) else None
    if kind not in ATTACHMENT_FIELDS or not isinstance(inner, Mapping):
        raise BugError(f"An attachment is {{'msgtype': kind, kind: {{…}}}} with a kind of {list(ATTACHMENT_FIELDS)}.")
    for name in ATTACHMENT_FIELDS[kind]:
        text(f"{kind}.{name}", inner.get(name), is_needed=True)
    for (of, name), max_bytes in TEXT_BYTES.items():
        if of == kind and name in inner:
            text(f"{kind}.{name}", inner[name], max_bytes=max_bytes)
    if kind == "image" and not (inner.get("media_id") or inner.get("pic_url")):
        raise BugError("An image has a media_id or a pic_url.")
    return {"msgtype": kind, kind: dict(inner)}


def chunks(values: list[str], size: int) -> Iterable[list[str]]:
    """Yield a list in pieces.

    >>> list(chunks(["a", "b", "c"], 2))
    [['a', 'b'], ['c']]
    """
    return (values[at : at + size] for at in range(0, len(values), size))


def _bytes(name: str, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise BugError(f"{name} holds half a character (a lone surrogate).") from None


def _shown(value: object) -> str:
    return repr(value)[:60]
