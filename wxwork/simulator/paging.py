"""Pages: opaque cursors that belong to one endpoint and one set of parameters.

    position  where the last page ended, as the endpoint counts (a number, or a pair)
    cursor    base64url of MAC, nonce and position; another endpoint or other parameters: 40058

Two cursors of one position differ, so that nobody comes to rely on what is in them. They outlive a restart of the
simulator with the same seed. Short pages, and empty ones with a cursor, are switches: both are allowed by WeCom.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

from wxwork.simulator.answers import Refused

T = TypeVar("T")
MAC_BYTES, NONCE_BYTES = 9, 6
# Of the parameters of a call, those that may differ between its pages.
FREE = frozenset({"cursor", "limit", "access_token", "page_id", "page_size", "debug"})


class Paging:
    """short_pages and empty_pages: of a hundred pages, how many are shorter than asked for, or empty."""

    def __init__(self, seed: int) -> None:
        self._key = hashlib.sha256(f"cursors/{seed}".encode()).digest()
        self._random = Random(f"{seed}/pages")
        self.short_pages = 0
        self.empty_pages = 0
        self.generation = 0

    def page(
        self, path: str, params: dict[str, Any], items: Sequence[T], limit: int, number_of: Callable[[T], int]
    ) -> tuple[list[T], str]:
        """Return the items after the cursor's position, and the next cursor ("" at the end).

        items: in the order of growing number_of, so that a page neither repeats nor skips what was there throughout.
        """
        after = self.position(path, params, default=0)
        rest = [item for item in items if number_of(item) > after] if after else items
        page = list(rest[: self.size(limit)])
        if len(page) == len(rest):
            return page, ""
        return page, self.cursor(path, params, number_of(page[-1]) if page else after)

    def size(self, limit: int) -> int:
        """Return how many rows this page has: the limit, unless a switch makes it short or empty."""
        if self.empty_pages and self._random.randrange(100) < self.empty_pages:
            return 0
        if self.short_pages and self._random.randrange(100) < self.short_pages:
            return self._random.randint(1, limit)
        return limit

    def position(self, path: str, params: dict[str, Any], default: Any) -> Any:
        """Return where the call's cursor points, or the default without one. Raises Refused 40058."""
        cursor = params.get("cursor") or ""
        if not cursor:
            return default
        try:
            raw = base64.urlsafe_b64decode(str(cursor).encode())
        except (binascii.Error, ValueError):
            raise Refused(40058, "invalid cursor") from None
        mac, rest = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(path, params, rest)):
            raise Refused(40058, "invalid cursor")
        return json.loads(rest[NONCE_BYTES:])

    def cursor(self, path: str, params: dict[str, Any], position: Any) -> str:
        rest = secrets.token_bytes(NONCE_BYTES) + json.dumps(position).encode()
        raw = self._mac(path, params, rest) + rest
        return base64.urlsafe_b64encode(raw + b" " * (-len(raw) % 3)).decode()

    def _mac(self, path: str, params: dict[str, Any], rest: bytes) -> bytes:
        bound = {name: value for name, value in params.items() if name not in FREE}
        text = json.dumps([self.generation, path, bound], sort_keys=True, default=str).encode()
        return hmac.digest(self._key, text + rest.rstrip(b" "), "sha256")[:MAC_BYTES]
