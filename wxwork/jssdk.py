"""Sign pages for WeCom's JSSDK. Pure.

signature = sha1 of `jsapi_ticket=T&noncestr=N&timestamp=S&url=U`: in this order, values as they are, U without `#…`.

    >>> sign("sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg",
    ...      noncestr="Wm3WZYTPz0wzccnW", timestamp=1414587457, url="http://mp.weixin.qq.com?params=value")
    '0f9de62fce790f9a083d5c99e95740ceb90c27ed'

Whoever may have any page signed may use the company's JSSDK in a page of their own, so only pages of the origins in
WXWORK_JSSDK_ORIGINS are. An origin is scheme, host and port, compared as a browser does:

    allowed                 page                                    signed
    https://a.example.com   https://A.example.com:443/x?y#z         yes
                            http://a.example.com/x                  no: another scheme
                            https://a.example.com:8443/x            no: another port
                            https://a.example.com@evil.com/         no: evil.com
                            https://a.example.com\\@evil.com/        no: a browser reads it otherwise than we might
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}
MAX_URL = 2_048


class PageError(ValueError):
    """This page is not signed. code: not_a_url, origin_not_allowed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def sign(ticket: str, *, noncestr: str, timestamp: int, url: str) -> str:
    """Return the signature of a page. url: without a fragment."""
    text = f"jsapi_ticket={ticket}&noncestr={noncestr}&timestamp={timestamp}&url={url}"
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def origin_of(url: str) -> tuple[str, str, int]:
    """Return (scheme, host, port) of a page. Raises PageError where a browser might see another.

    >>> origin_of("https://A.example.com/x")
    ('https', 'a.example.com', 443)
    """
    # Blanks, control characters and backslashes are what parsers disagree about.
    if len(url) > MAX_URL or not url.isprintable() or any(character in url for character in " \\\u3000"):
        raise PageError("not_a_url", "This is no URL of a page.")
    try:
        parts = urlsplit(url)
        port = parts.port
        url.encode()
    except ValueError:
        raise PageError("not_a_url", "This is no URL of a page.") from None
    if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc:
        raise PageError("not_a_url", "A page's URL is http(s)://host/path, without a user name.")
    return parts.scheme, parts.hostname.rstrip("."), port or PORTS[parts.scheme]


def is_origin(text: str) -> bool:
    """Tell whether this is scheme://host or scheme://host:port.

    >>> is_origin("https://a.example.com"), is_origin("a.example.com"), is_origin("https://a.example.com/x")
    (True, False, False)
    """
    try:
        origin_of(text)
    except PageError:
        return False
    parts = urlsplit(text)
    return parts.path in ("", "/") and not parts.query and not parts.fragment


def page_of(url: str, origins: Iterable[str]) -> str:
    """Return the URL that is signed: without its fragment. Raises PageError unless its origin is one of these."""
    origin = origin_of(url)
    if origin not in {origin_of(allowed) for allowed in origins if is_origin(allowed)}:
        raise PageError("origin_not_allowed", "Pages of this origin are not signed: WXWORK_JSSDK_ORIGINS lists which.")
    return url.partition("#")[0]


def configure(page: str, *, corp_id: str, agent_id: str, get_ticket: Callable[[str], str]) -> dict[str, Any]:
    """Return what a page needs for wx.config and wx.agentConfig, or ww.register.

    page: of page_of. get_ticket: "corp" or "agent_config" -> the ticket; what it raises passes.
    """
    answer: dict[str, Any] = {"url": page}
    for name, kind, ids in (
        ("config", "corp", {"appId": corp_id}),
        ("agent_config", "agent_config", {"corpId": corp_id, "agentId": agent_id}),
    ):
        nonce, now = secrets.token_urlsafe(12), int(time.time())
        signature = sign(get_ticket(kind), noncestr=nonce, timestamp=now, url=page)
        answer[name] = {**ids, "timestamp": now, "nonceStr": nonce, "signature": signature}
    return answer
