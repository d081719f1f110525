"""Files (素材). Docs 90253, 90254, 90256, 95098. Those of upload_media and upload_attachment live for three days.

kind     bytes at most    form
image    5 MB             JPG, PNG (the page says 10 MB, the table of codes 5)
voice    2 MB             AMR, 60 s
video    10 MB            MP4
file     20 MB
"""

import mimetypes
from typing import Any

from wxwork import transport
from wxwork.client import arguments
from wxwork.client.calls import Calls
from wxwork.errors import BugError
from wxwork.tokens import CUSTOMERS
from wxwork.transport import Answer, Request, Upload

UPLOAD, GET = "/cgi-bin/media/upload", "/cgi-bin/media/get"
UPLOAD_IMAGE, UPLOAD_ATTACHMENT = "/cgi-bin/media/uploadimg", "/cgi-bin/media/upload_attachment"
MB = 1024 * 1024
MAX_BYTES = {"image": 5 * MB, "voice": 2 * MB, "video": 10 * MB, "file": 20 * MB}
MIN_BYTES = 6
MOMENTS, PRODUCTS = 1, 2


class MediaCalls(Calls):
    def upload_media(self, kind: str, filename: str, content: bytes) -> str:
        """Upload a file for messages; return its media_id, for three days and all applications (doc 90253)."""
        answer = self._upload(UPLOAD, _upload(kind, filename, content), type=kind)
        return str(answer.get("media_id", ""))

    def upload_image(self, filename: str, content: bytes) -> str:
        """Upload an image for good; return its URL, for pic_url (doc 90256). 1 000 a day, 3 000 a month."""
        return str(self._upload(UPLOAD_IMAGE, _upload("image", filename, content)).get("url", ""))

    def upload_attachment(self, kind: str, filename: str, content: bytes, *, attachment_type: int = MOMENTS) -> str:
        """Upload an image, video or file for moments (1) or product albums (2); return its media_id (doc 95098)."""
        arguments.choice("kind", kind, ("image", "video", "file"))
        used = arguments.choice("attachment_type", attachment_type, (MOMENTS, PRODUCTS))
        upload = _upload(kind, filename, content)
        answer = self._upload(UPLOAD_ATTACHMENT, upload, media_type=kind, attachment_type=used)
        return str(answer.get("media_id", ""))

    def download_media(self, media_id: str) -> tuple[bytes, str]:
        """Return a file's bytes and Content-Type (doc 90254). MediaError 40007: it is over."""
        name = arguments.identifier("media_id", media_id, max_bytes=512)
        request = Request("GET", GET, params={"media_id": name}, timeout_seconds=transport.UPLOAD_SECONDS)
        found = self._send(request, CUSTOMERS, "", _read_file)
        return found["content"], found["content_type"]


def _read_file(answer: Answer, request: Request) -> dict[str, Any]:
    """Return the file: an answer in JSON tells an error, unless it comes as a file."""
    if not answer.is_file and answer.content_type.partition(";")[0].strip().lower() == "application/json":
        transport.read(answer, request)
        raise BugError(f"WeCom answers {request.path} without a file.", path=request.path)
    transport.count(request, 0)
    return {"content": answer.body, "content_type": answer.content_type}


def _upload(kind: str, filename: str, content: bytes) -> Upload:
    arguments.choice("kind", kind, MAX_BYTES)
    name = arguments.identifier("filename", filename, max_bytes=255)
    if not isinstance(content, bytes | bytearray) or not MIN_BYTES <= len(content) <= MAX_BYTES[kind]:
        size = len(content) if isinstance(content, bytes | bytearray) else "no"
        raise BugError(f"A {kind} has {MIN_BYTES} to {MAX_BYTES[kind]} bytes, not {size}.")
    return Upload(name, bytes(content), mimetypes.guess_type(name)[0] or "application/octet-stream")
