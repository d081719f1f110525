"""Who logs in, where WeCom's servers are, and tickets for the JSSDK. Docs 91023, 95833, 92521, 92520, 90506."""

from typing import Any

from wxwork.client import arguments
from wxwork.client.calls import Calls, list_in
from wxwork.errors import RetryError

USER_INFO, USER_DETAIL = "/cgi-bin/auth/getuserinfo", "/cgi-bin/auth/getuserdetail"
CALLBACK_IPS, API_IPS = "/cgi-bin/getcallbackip", "/cgi-bin/get_api_domain_ip"
CORP_TICKET, AGENT_TICKET = "/cgi-bin/get_jsapi_ticket", "/cgi-bin/ticket/get"


class LoginCalls(Calls):
    def get_login(self, code: str) -> dict[str, Any]:
        """Return who came back with this code (doc 91023): `userid` for staff, else `openid`, maybe `external_userid`.

        A code works once, for five minutes: LoginError 40029.
        """
        given = arguments.text("code", code, max_bytes=512, is_needed=True)
        return self._get(USER_INFO, code=given, hidden=(given,))

    def get_login_details(self, user_ticket: str) -> dict[str, Any]:
        """Return what somebody has agreed to tell: mobile, e-mail, gender "1" or "2" (doc 95833). LoginError 84014."""
        given = arguments.text("user_ticket", user_ticket, max_bytes=512, is_needed=True)
        return self._post(USER_DETAIL, {"user_ticket": given}, hidden=(given,))

    def list_callback_ips(self) -> list[str]:
        """Return the addresses that callbacks come from; ranges and wildcards too (doc 92521)."""
        return list_in(self._get(CALLBACK_IPS), "ip_list", CALLBACK_IPS)

    def list_api_ips(self) -> list[str]:
        """Return the addresses of WeCom's API (doc 92520)."""
        return list_in(self._get(API_IPS), "ip_list", API_IPS)

    def get_corp_ticket(self) -> tuple[str, int]:
        """Return a ticket for wx.config and its life in seconds; 400 an hour (doc 90506). See wxwork.tickets."""
        return _ticket(self._get(CORP_TICKET), CORP_TICKET)

    def get_agent_ticket(self) -> tuple[str, int]:
        """Return a ticket for wx.agentConfig and its life in seconds; 100 an hour (doc 90506). See wxwork.tickets."""
        return _ticket(self._get(AGENT_TICKET, type="agent_config"), AGENT_TICKET)


def _ticket(answer: dict[str, Any], path: str) -> tuple[str, int]:
    ticket, seconds = answer.get("ticket"), answer.get("expires_in")
    if not isinstance(ticket, str) or not ticket or not isinstance(seconds, int) or isinstance(seconds, bool):
        raise RetryError(f"WeCom answers {path} without a ticket.", path=path)
    return ticket, seconds
