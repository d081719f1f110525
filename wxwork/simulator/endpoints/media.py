"""Contract §4.P: files. A media_id lives three days of the corp's clock."""

from dataclasses import dataclass
from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.registry import Binary, Call, Upload, endpoint

MEDIA_SECONDS = 3 * 86_400
MIB = 1024 * 1024
LARGEST = {"image": 5 * MIB, "voice": 2 * MIB, "video": 10 * MIB, "file": 20 * MIB}
BEGINNINGS = {"image": (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"), "voice": (b"#!AMR",)}
CONTENT_TYPES = {"image": "image/png", "voice": "audio/amr", "video": "video/mp4", "file": "application/octet-stream"}


@dataclass(slots=True)
class Media:
    kind: str
    filename: str
    content: bytes
    expires_at: float


def _checked(call: Call, kind: str) -> Upload:
    upload = call.upload
    if upload is None or not upload.content:
        raise Refused(44001)
    if len(upload.content) <= 5:
        raise Refused(40006)
    if len(upload.content) > LARGEST[kind]:
        raise Refused(45001)
    if kind in BEGINNINGS and not upload.content.startswith(BEGINNINGS[kind]):
        raise Refused(40004)
    if kind == "video" and upload.content[4:8] != b"ftyp":
        raise Refused(40004)
    return upload


def _keep(call: Call, kind: str, upload: Upload) -> str:
    media_id = call.state.new_id("2Qsim", 44)
    call.state.media[media_id] = Media(kind, upload.filename, upload.content, call.corp.clock.now() + MEDIA_SECONDS)
    return media_id


@endpoint("POST", "/cgi-bin/media/upload")
def media_upload(call: Call) -> dict[str, Any]:
    kind = call.query.get("type", "")
    if kind not in LARGEST:
        raise Refused(40005)
    upload = _checked(call, kind)
    return {"errmsg": "", "type": kind, "media_id": _keep(call, kind, upload), "created_at": str(call.now)}


@endpoint("POST", "/cgi-bin/media/uploadimg")
def media_uploadimg(call: Call) -> dict[str, Any]:
    _checked(call, "image")
    return {"errmsg": "", "url": f"https://p.qpic.cn/pic_wework/{call.state.new_id('', 16)}/0"}


@endpoint("POST", "/cgi-bin/media/upload_attachment")
def media_upload_attachment(call: Call) -> dict[str, Any]:
    kind = call.query.get("media_type", "")
    if kind not in ("image", "video", "file") or call.query.get("attachment_type") not in ("1", "2"):
        raise Refused(40058)
    upload = _checked(call, kind)
    return {"errmsg": "", "type": kind, "media_id": _keep(call, kind, upload), "created_at": call.now}


@endpoint("GET", "/cgi-bin/media/get")
def media_get(call: Call) -> Binary:
    media_id = call.text("media_id", missing=40007)
    content = call.corp.media_content(media_id)
    media = call.state.media[media_id]
    kind = "image/jpeg" if content.startswith(b"\xff\xd8\xff") else CONTENT_TYPES[media.kind]
    wanted = call.headers.get("range", "").removeprefix("bytes=").partition("-")
    if not wanted[0].isdecimal():
        return Binary(content, kind, media.filename)
    first = int(wanted[0])
    last = min(int(wanted[2]) if wanted[2].isdecimal() else len(content) - 1, len(content) - 1)
    said = f"bytes {first}-{last}/{len(content)}"
    return Binary(content[first : last + 1], kind, media.filename, is_partial=True, content_range=said)
