"""Contract §4.O: acquisition links (获客助手), which callbacks of customer_acquisition speak of."""

from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.groups import days_of
from wxwork.simulator.endpoints.registry import Call, endpoint

PREFIX = "/cgi-bin/externalcontact/customer_acquisition"
MAX_LINKS = 1000
CHAT_KEY_SECONDS = 1800


def new_link(link_id: str, name: str, now: int, owner: int, **fields: Any) -> dict[str, Any]:
    """Return what is kept of a link."""
    url = f"https://work.weixin.qq.com/ca/{link_id}"
    kept = {"link_id": link_id, "link_name": name, "url": url, "create_time": now, "owner": owner, "customers": []}
    return {**kept, "skip_verify": True, "mark_source": True, "range": {}, "priority_option": {}, **fields}


def _fields(call: Call) -> dict[str, Any]:
    wanted = call.mapping("range")
    userids, departments = wanted.get("user_list") or [], wanted.get("department_list") or []
    if not userids and not departments:
        raise Refused(40058)
    if len(userids) > 500 or any(call.state.find_staff(str(userid)) is None for userid in userids):
        raise Refused(40003)
    return {
        "skip_verify": call.flag("skip_verify", True),
        "mark_source": call.flag("mark_source", True),
        "range": {"user_list": userids, "department_list": departments},
        "priority_option": call.mapping("priority_option"),
    }


def _link(call: Call) -> dict[str, Any]:
    link = call.state.links.get(call.text("link_id"))
    if link is None or link["owner"] not in (0, call.app.agentid):
        raise Refused(40058)
    return link


@endpoint("POST", f"{PREFIX}/list_link", app="customers", fail_extra={"link_id_list": []})
def list_link(call: Call) -> dict[str, Any]:
    limit = call.limit(default=100, most=100)
    mine = [link["link_id"] for link in call.state.links.values() if link["owner"] in (0, call.app.agentid)]
    page, cursor = call.page(mine, limit)
    return {"link_id_list": page, "next_cursor": cursor}


@endpoint("POST", f"{PREFIX}/get", app="customers")
def get_link(call: Call) -> dict[str, Any]:
    link = _link(call)
    shown = ("link_name", "url", "create_time", "skip_verify", "mark_source")
    return {
        "link": {name: link[name] for name in shown},
        "range": link["range"],
        "priority_option": link["priority_option"],
    }


@endpoint("POST", f"{PREFIX}/create_link", app="customers")
def create_link(call: Call) -> dict[str, Any]:
    name, fields = call.text("link_name", chars=30), _fields(call)
    if len(call.state.links) >= MAX_LINKS:
        raise Refused(41095)
    link = new_link(call.state.new_id("caw", 15), name, call.now, call.app.agentid, **fields)
    call.state.links[link["link_id"]] = link
    return {"link": {name: link[name] for name in ("link_id", "link_name", "url", "create_time")}}


@endpoint("POST", f"{PREFIX}/update_link", app="customers")
def update_link(call: Call) -> dict[str, Any]:
    link = _link(call)
    name = call.text("link_name", required=False, chars=30)
    changed = _fields(call) if "range" in call.body else {}
    link.update(changed, link_name=name or link["link_name"])
    return {}


@endpoint("POST", f"{PREFIX}/delete_link", app="customers")
def delete_link(call: Call) -> dict[str, Any]:
    del call.state.links[_link(call)["link_id"]]
    return {}


@endpoint("POST", f"{PREFIX}/customer", app="customers", fail_extra={"customer_list": []})
def customers_of_link(call: Call) -> dict[str, Any]:
    link = _link(call)
    limit = call.limit(default=1000, most=1000)
    page, cursor = call.page(link["customers"], limit)
    rows = [
        {"external_userid": external_userid, "userid": userid, "chat_status": 0, "state": state}
        for external_userid, userid, state in page
    ]
    return {"customer_list": rows, "next_cursor": cursor}


@endpoint("POST", f"{PREFIX}/statistic", app="customers")
def link_statistic(call: Call) -> dict[str, Any]:
    link = _link(call)
    days_of(call, "start_time", "end_time", default_last=False)
    gained = len(link["customers"])
    return {"click_link_customer_cnt": 3 * gained, "new_customer_cnt": gained}


@endpoint("GET", "/cgi-bin/externalcontact/customer_acquisition_quota", app="customers")
def quota(call: Call) -> dict[str, Any]:
    used = sum(len(link["customers"]) for link in call.state.links.values())
    balance = max(0, 1000 - used)
    return {"total": used, "balance": balance, "quota_list": [{"expire_date": 1_830_268_800, "balance": balance}]}


@endpoint("POST", f"{PREFIX}/get_chat_info", app="customers")
def get_chat_info(call: Call) -> dict[str, Any]:
    found = call.state.chat_keys.get(call.text("chat_key"))
    if found is None or found["expires_at"] <= call.now:
        raise Refused(40058)
    return {
        "userid": found["userid"],
        "external_userid": found["external_userid"],
        "chat_info": {"recv_msg_cnt": found["messages"], "link_id": found["link_id"], "state": found["state"]},
    }
