"""Contract §1.3: the login pages. Whoever opens one is at once the person that the act `log_in_as` has named.

/connect/oauth2/authorize   appid redirect_uri scope state agentid    in WeCom's own browser
/wwlogin/sso/login          appid redirect_uri state agentid          QR code, current
/wwopen/sso/qrConnect       the same, legacy: who cancels comes back without a code
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    from wxwork.simulator.corp import Corp

PAGES = ("/connect/oauth2/authorize", "/wwlogin/sso/login", "/wwopen/sso/qrConnect")


@dataclass
class Person:
    """Who sits before the page: staff, a customer, a stranger, or somebody who cancels."""

    userid: str = ""
    external_userid: str = ""
    openid: str = ""
    cancels: bool = False


def redirect_of(corp: "Corp", path: str, query: str) -> tuple[int, str]:
    """Return (302, where the page sends the browser), or (400, what is wrong)."""
    given = dict(parse_qsl(query, keep_blank_values=True))
    target, state = given.get("redirect_uri", ""), given.get("state", "")
    if given.get("appid") != corp.corp_id:
        return 400, "appid is not a corp of this simulator"
    if not urlsplit(target).scheme.startswith("http"):
        return 400, "redirect_uri is not a URL"
    if len(state.encode()) > 128:
        return 400, "state is longer than 128 bytes"
    person = corp.logs_in
    added = {"state": state}
    if not person.cancels:
        is_private = given.get("scope") == "snsapi_privateinfo"
        openid = "" if person.userid else person.openid or "oSimStranger"
        code = corp.auth.new_code(
            userid=person.userid, openid=openid, external_userid=person.external_userid, is_private=is_private
        )
        added = {"code": code, **added}
    elif path != "/wwopen/sso/qrConnect":
        return 400, "cancelled"
    if path == "/wwopen/sso/qrConnect":
        added["appid"] = corp.corp_id
    return 302, f"{target}{'&' if urlsplit(target).query else '?'}{urlencode(added)}"
