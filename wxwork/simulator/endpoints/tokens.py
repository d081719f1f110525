"""Contract §4.A: tokens, tickets, login, addresses."""

from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.registry import Call, endpoint


@endpoint("GET", "/cgi-bin/gettoken", app="none")
def gettoken(call: Call) -> dict[str, Any]:
    return call.corp.auth.issue(call.query, call.ip)


@endpoint("GET", "/cgi-bin/get_jsapi_ticket")
def get_jsapi_ticket(call: Call) -> dict[str, Any]:
    return call.corp.auth.ticket("corp", call.app)


@endpoint("GET", "/cgi-bin/ticket/get")
def ticket_get(call: Call) -> dict[str, Any]:
    if call.text("type") != "agent_config":
        raise Refused(40058)
    return call.corp.auth.ticket("agent", call.app)


@endpoint("GET", "/cgi-bin/auth/getuserinfo")
def getuserinfo(call: Call) -> dict[str, Any]:
    code = call.corp.auth.take_code(call.text("code", missing=40029))
    if not code.userid:
        found = {"openid": code.openid}
        return {**found, "external_userid": code.external_userid} if code.external_userid else found
    if not code.is_private:
        return {"userid": code.userid}
    ticket = call.corp.auth.new_user_ticket(code.userid)
    return {"userid": code.userid, "user_ticket": ticket, "expires_in": 1800}


@endpoint("POST", "/cgi-bin/auth/getuserdetail")
def getuserdetail(call: Call) -> dict[str, Any]:
    userid = call.corp.auth.userid_of_ticket(call.text("user_ticket", missing=84015))
    staff = call.state.find_staff(userid)
    if staff is None:
        raise Refused(84015)
    return {
        "userid": staff.userid,
        "gender": "0",
        "avatar": "",
        "qr_code": f"https://open.work.weixin.qq.com/wwopen/userQRCode?vcode={staff.userid}",
        "mobile": staff.mobile,
        "email": f"{staff.userid.lower()}@example.com",
        "biz_mail": f"{staff.userid.lower()}@example.wecom.work",
        "address": "",
    }


@endpoint("GET", "/cgi-bin/getcallbackip", fail_extra={"ip_list": []}, has_hint=False)
def getcallbackip(_call: Call) -> dict[str, Any]:
    return {"ip_list": ["127.0.0.0/8", "101.226.103.*"]}


@endpoint("GET", "/cgi-bin/get_api_domain_ip", fail_extra={"ip_list": []})
def get_api_domain_ip(_call: Call) -> dict[str, Any]:
    return {"ip_list": ["127.0.0.1"]}
