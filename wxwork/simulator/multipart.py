"""Reading one file out of a multipart/form-data body, as much of it as uploads need."""

import re

from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.registry import Upload

BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
NAME = re.compile(r'[; ]name="([^"]*)"')
FILENAME = re.compile(r'filename="([^"]*)"')


def parse_multipart(content_type: str, body: bytes) -> Upload:
    """Return the part called `media`, with its filename. Raises Refused: 40063 not multipart, 44001 no such file."""
    boundary = BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or boundary is None:
        raise Refused(40063, "wrong content type")
    for part in body.split(b"--" + boundary.group(1).encode()):
        head, blank, content = part.partition(b"\r\n\r\n")
        name = NAME.search(head.decode("utf-8", "replace"))
        filename = FILENAME.search(head.decode("utf-8", "replace"))
        if blank and name and name.group(1) == "media" and filename and filename.group(1):
            return Upload("media", filename.group(1), content.removesuffix(b"\r\n"))
    raise Refused(44001)
