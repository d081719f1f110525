"""What a message to customers may hold: text by bytes, up to nine attachments (contract §4.F, §4.G)."""

from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.registry import Call

MAX_TEXT_BYTES = 4000
MAX_ATTACHMENTS = 9
# Each kind: what must be there, and what may be how many bytes long.
KINDS: dict[str, tuple[tuple[str, ...], dict[str, int]]] = {
    "image": ((), {}),
    "link": (("title", "url"), {"title": 128, "desc": 512, "url": 2048, "picurl": 2048}),
    "miniprogram": (("title", "pic_media_id", "appid", "page"), {"title": 64}),
    "video": (("media_id",), {}),
    "file": (("media_id",), {}),
}


def text_of(call: Call, most: int = MAX_TEXT_BYTES) -> dict[str, Any]:
    """Return the text of a message, {} without one. Raises Refused."""
    text = call.mapping("text")
    content = text.get("content", "")
    if not isinstance(content, str) or len(content.encode()) > most:
        raise Refused(40058)
    return {"content": content} if content else {}


def message_of(call: Call) -> dict[str, Any]:
    """Return text and attachments, one of which there must be. Raises Refused."""
    text, attachments = text_of(call), call.body.get("attachments") or []
    if not isinstance(attachments, list):
        raise Refused(40058)
    if len(attachments) > MAX_ATTACHMENTS:
        raise Refused(41064)
    if not text and not attachments:
        raise Refused(40058)
    for attachment in attachments:
        _check_attachment(call, attachment)
    found: dict[str, Any] = {"text": text} if text else {}
    return {**found, "attachments": attachments} if attachments else found


def _check_attachment(call: Call, attachment: Any) -> None:
    if not isinstance(attachment, dict):
        raise Refused(40058)
    kind = attachment.get("msgtype")
    if kind not in KINDS:
        raise Refused(41065)
    check_medium(call, str(kind), attachment.get(str(kind)))


def check_medium(call: Call, kind: str, medium: Any) -> None:
    """Check one medium, and that its media_id is still alive. Raises Refused."""
    if not isinstance(medium, dict):
        raise Refused(40058)
    required, longest = KINDS[kind]
    if any(not isinstance(medium.get(name), str) or not medium[name] for name in required):
        raise Refused(40058)
    if any(len(str(medium.get(name, "")).encode()) > most for name, most in longest.items()):
        raise Refused(40058)
    if kind == "image" and not medium.get("media_id") and not medium.get("pic_url"):
        raise Refused(40058)
    for name in ("media_id", "pic_media_id"):
        if medium.get(name):
            call.corp.media_content(str(medium[name]))
