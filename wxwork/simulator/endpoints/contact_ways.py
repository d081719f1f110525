"""Contract §4.E: contact ways (联系我, 渠道活码)."""

from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.registry import Call, endpoint

MAX_MEMBERS = 100
QUOTA = 500_000
DAY = 86_400
HIDDEN = ("created_at",)
EDITABLE = (
    "remark", "skip_verify", "style", "state", "user", "party", "expires_in", "chat_expires_in", "unionid",
    "mark_source", "conclusions",
)  # fmt: skip


def _members(call: Call, kind: int) -> tuple[list[str], list[int]]:
    """Return the users and departments of a way, checked. Raises Refused."""
    userids, departments = call.texts("user"), call.numbers("party")
    if kind == 1 and (len(userids) != 1 or departments):
        raise Refused(40058)
    if not userids and not departments:
        raise Refused(40058)
    for userid in userids:
        staff = call.state.find_staff(userid)
        if staff is None:
            raise Refused(40003)
        if staff.status != 1:
            raise Refused(41054)
        if not staff.is_verified:
            raise Refused(40098)
        call.state.serving(userid)
    if any(number not in call.state.departments for number in departments):
        raise Refused(60003)
    below = {one.id for number in departments for one in call.state.subtree(number)}
    expanded = {s.userid for s in call.state.staff.values() if below & set(s.departments)} | set(userids)
    if len(expanded) > MAX_MEMBERS:
        raise Refused(41041)
    return userids, departments


def _options(call: Call) -> dict[str, Any]:
    style = call.number("style", default=1)
    if style not in (1, 2, 3):
        raise Refused(41042)
    conclusions = call.mapping("conclusions")
    if len(str(conclusions.get("text", {}).get("content", "")).encode()) > 4000:
        raise Refused(40058)
    return {
        "style": style,
        "remark": call.text("remark", required=False, chars=30),
        "skip_verify": call.flag("skip_verify", True),
        "state": call.text("state", required=False, chars=30),
        "expires_in": call.number("expires_in", default=0),
        "chat_expires_in": call.number("chat_expires_in", default=0),
        "unionid": call.text("unionid", required=False),
        "mark_source": call.flag("mark_source", True),
        "conclusions": conclusions,
    }


@endpoint("POST", "/cgi-bin/externalcontact/add_contact_way", app="customers")
def add_contact_way(call: Call) -> dict[str, Any]:
    kind, scene = call.number("type", missing=41037), call.number("scene", missing=41038)
    if kind not in (1, 2):
        raise Refused(41039)
    if scene not in (1, 2):
        raise Refused(41040)
    options = _options(call)
    userids, departments = _members(call, kind)
    is_temp = call.flag("is_temp", False)
    if is_temp and kind != 1:
        raise Refused(40058)
    if any(not 0 <= options[name] <= 14 * DAY for name in ("expires_in", "chat_expires_in")):
        raise Refused(40058)
    if not is_temp and len(call.state.contact_ways) + len(call.state.join_ways) >= QUOTA:
        raise Refused(41045)
    config_id = call.state.new_id("", 32)
    way = {
        "config_id": config_id,
        "type": kind,
        "scene": scene,
        **options,
        "user": userids,
        "party": departments,
        "is_temp": is_temp,
        "is_exclusive": call.flag("is_exclusive", False),
        "created_at": call.now,
    }
    if is_temp:
        way["expires_in"] = way["expires_in"] or 7 * DAY
        way["chat_expires_in"] = way["chat_expires_in"] or DAY
    if scene == 2:
        way["qr_code"] = f"https://p.qpic.cn/wwhead/{config_id}/0"
    call.state.contact_ways[config_id] = way
    return {"config_id": config_id, **({"qr_code": way["qr_code"]} if scene == 2 else {})}


def _way(call: Call) -> dict[str, Any]:
    way = call.state.contact_ways.get(call.text("config_id", missing=41043))
    if way is None:
        raise Refused(41044)
    return way


@endpoint("POST", "/cgi-bin/externalcontact/get_contact_way", app="customers")
def get_contact_way(call: Call) -> dict[str, Any]:
    return {"contact_way": {name: value for name, value in _way(call).items() if name not in HIDDEN}}


@endpoint("POST", "/cgi-bin/externalcontact/list_contact_way", app="customers", fail_extra={"contact_way": []})
def list_contact_way(call: Call) -> dict[str, Any]:
    begin = call.number("start_time", default=call.now - 90 * DAY)
    end = call.number("end_time", default=call.now)
    if begin > end:
        raise Refused(40058)
    limit = call.limit(default=100, most=1000)
    ways = [w for w in call.state.contact_ways.values() if begin <= w["created_at"] <= end and not w["is_temp"]]
    page, cursor = call.page(ways, limit)
    return {"contact_way": [{"config_id": way["config_id"]} for way in page], "next_cursor": cursor}


@endpoint("POST", "/cgi-bin/externalcontact/update_contact_way", app="customers")
def update_contact_way(call: Call) -> dict[str, Any]:
    way = _way(call)
    if way["is_temp"] and way["created_at"] + way["expires_in"] <= call.now:
        raise Refused(41044)
    options = _options(call)
    changed = {name: options[name] for name in EDITABLE if name in options and name in call.body}
    if "user" in call.body or "party" in call.body:
        changed["user"], changed["party"] = _members(call, way["type"])
    way.update(changed)
    return {}


@endpoint("POST", "/cgi-bin/externalcontact/del_contact_way", app="customers")
def del_contact_way(call: Call) -> dict[str, Any]:
    del call.state.contact_ways[_way(call)["config_id"]]
    return {}


@endpoint("POST", "/cgi-bin/externalcontact/close_temp_chat", app="customers")
def close_temp_chat(call: Call) -> dict[str, Any]:
    call.state.relation(call.text("userid", missing=41009), call.text("external_userid", missing=41035))
    return {}
