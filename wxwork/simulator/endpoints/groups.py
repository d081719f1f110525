"""Contract §4.H: customer groups (客户群), their statistics and join ways."""

import zlib
from typing import Any

from wxwork.simulator.answers import TEXTS, Refused
from wxwork.simulator.endpoints.registry import Call, endpoint
from wxwork.simulator.rows import group_row
from wxwork.simulator.state import Group, GroupMember, day_of

STAFF = 1
DAY = 86_400
OPTIONAL_JOIN_WAY = ("room_base_name", "room_base_id", "state", "mark_source")


def _owners(call: Call, *, required: bool = False) -> list[str]:
    wanted = call.mapping("owner_filter").get("userid_list") or []
    if not isinstance(wanted, list) or len(wanted) > 100 or not all(isinstance(one, str) for one in wanted):
        raise Refused(40058)
    if required and not wanted:
        raise Refused(40058)
    return wanted


@endpoint("POST", "/cgi-bin/externalcontact/groupchat/list", app="customers", fail_extra={"group_chat_list": []})
def group_list(call: Call) -> dict[str, Any]:
    limit = call.number("limit")
    status = call.number("status_filter", default=0)
    if not 1 <= limit <= 1000 or status not in (0, 1, 2, 3):
        raise Refused(40058)
    owners = {owner.lower() for owner in _owners(call)}
    if not owners and len(call.state.serving_staff()) > call.corp.most_owners:
        raise Refused(81017)
    found = [
        group
        for group in call.state.groups.values()
        if not group.dismissed
        and status in (0, group.status)
        and (group.owner.lower() in owners if owners else group.owner.lower() in call.state.staff)
    ]
    page, cursor = call.page(found, limit)
    return {"group_chat_list": [{"chat_id": g.chat_id, "status": g.status} for g in page], "next_cursor": cursor}


def _group(call: Call) -> Group:
    chat_id = call.text("chat_id")
    group = call.state.groups.get(chat_id)
    if group is None:
        raise Refused(40058)  # which code a random chat_id yields is not documented
    if group.dismissed:
        raise Refused(49008)
    owner = call.state.find_staff(group.owner)
    if owner is not None and not call.state.is_visible(owner):
        raise Refused(60011)
    return group


@endpoint("POST", "/cgi-bin/externalcontact/groupchat/get", app="customers")
def group_get(call: Call) -> dict[str, Any]:
    group = _group(call)
    has_names = call.number("need_name", default=0) == 1
    if group.lagging is not None and call.corp.clock.now() < group.lags_until:
        return {"group_chat": group.lagging}
    return {"group_chat": group_row(call.state, group, has_names=has_names)}


# ---------------------------------------------------------------------------------------------------------- statistics
def days_of(call: Call, first: str, last: str, *, default_last: bool) -> list[int]:
    """Return the midnights of a call's days: yesterday and before, at most 30 days, within 180. Raises Refused."""
    begin = day_of(call.number(first))
    end = day_of(call.number(last, default=begin if default_last else None))
    today = day_of(call.now)
    if not today - 180 * DAY <= begin <= end < today or end - begin > 30 * DAY:
        raise Refused(40058)
    return list(range(begin, end + DAY, DAY))


def noise(*of: object, most: int) -> int:
    """Return a number that is the same whenever it is asked for."""
    return zlib.crc32(repr(of).encode()) % (most + 1)


def _figures(groups: list[Group], days: list[int]) -> dict[str, int]:
    begin, end = days[0], days[-1] + DAY
    joined = [m for group in groups for m in group.members.values() if begin <= m.join_time < end]
    speaking = [noise(group.chat_id, begin, most=len(group.members)) for group in groups]
    return {
        "new_chat_cnt": sum(1 for group in groups if begin <= group.create_time < end),
        "chat_total": len(groups),
        "chat_has_msg": sum(1 for spoke in speaking if spoke),
        "new_member_cnt": len(joined),
        "member_total": sum(len(group.members) for group in groups),
        "member_has_msg": sum(speaking),
        "msg_total": 3 * sum(speaking),
    }


def _owned(call: Call, owner: str) -> list[Group]:
    return [g for g in call.state.groups.values() if g.owner.lower() == owner.lower() and not g.dismissed]


@endpoint("POST", "/cgi-bin/externalcontact/groupchat/statistic", app="customers", fail_extra={"items": []})
def group_statistic(call: Call) -> dict[str, Any]:
    days = days_of(call, "day_begin_time", "day_end_time", default_last=True)
    offset, limit = call.number("offset", default=0), call.limit(default=500, most=1000)
    order = {1: "new_chat_cnt", 2: "chat_total", 3: "new_member_cnt", 4: "member_total"}.get(
        call.number("order_by", default=1)
    )
    if offset < 0 or order is None:
        raise Refused(40058)
    rows = [
        {"owner": owner, "data": _figures(groups, days)}
        for owner in dict.fromkeys(_owners(call, required=True))
        if (groups := _owned(call, owner))
    ]
    rows.sort(key=lambda row: row["data"][order], reverse=call.number("order_asc", default=0) == 0)  # type: ignore[index]
    page = rows[offset : offset + limit]
    return {"total": len(rows), "next_offset": offset + len(page), "items": page}


@endpoint(
    "POST", "/cgi-bin/externalcontact/groupchat/statistic_group_by_day", app="customers", fail_extra={"items": []}
)
def group_statistic_by_day(call: Call) -> dict[str, Any]:
    days = days_of(call, "day_begin_time", "day_end_time", default_last=True)
    groups = [group for owner in dict.fromkeys(_owners(call, required=True)) for group in _owned(call, owner)]
    return {"items": [{"stat_time": day, "data": _figures(groups, [day])} for day in days]}


# ----------------------------------------------------------------------------------------------------------- join ways
def _join_way(call: Call) -> dict[str, Any]:
    scene = call.number("scene", missing=41038)
    if scene not in (1, 2):
        raise Refused(41040)
    chat_ids = call.texts("chat_id_list", required=True)
    if len(chat_ids) > 5:
        raise Refused(41091)
    if any(chat_id not in call.state.groups or call.state.groups[chat_id].dismissed for chat_id in chat_ids):
        raise Refused(90501)
    return {
        "scene": scene,
        "remark": call.text("remark", required=False)[:30],  # a longer one is cut, not refused
        "auto_create_room": call.number("auto_create_room", default=1),
        "room_base_name": call.text("room_base_name", required=False, chars=40),
        "room_base_id": call.number("room_base_id", default=0),
        "chat_id_list": chat_ids,
        "state": call.text("state", required=False, chars=30),
        "mark_source": call.flag("mark_source", True),
    }


def _stored_way(call: Call) -> dict[str, Any]:
    way = call.state.join_ways.get(call.text("config_id", missing=41043))
    if way is None:
        raise Refused(41044)
    return way


@endpoint("POST", "/cgi-bin/externalcontact/groupchat/add_join_way", app="customers")
def join_way_add(call: Call) -> dict[str, Any]:
    way = _join_way(call)
    config_id = call.state.new_id("", 32)
    more = {"config_id": config_id, "qr_code": f"https://p.qpic.cn/wwhead/join-{config_id}/0"}
    call.state.join_ways[config_id] = {**way, **more}
    return {"config_id": config_id}


@endpoint("POST", "/cgi-bin/externalcontact/groupchat/get_join_way", app="customers")
def join_way_get(call: Call) -> dict[str, Any]:
    return {"join_way": _stored_way(call)}


@endpoint("POST", "/cgi-bin/externalcontact/groupchat/update_join_way", app="customers")
def join_way_update(call: Call) -> dict[str, Any]:
    _stored_way(call).update(_join_way(call))
    return {}


@endpoint("POST", "/cgi-bin/externalcontact/groupchat/del_join_way", app="customers")
def join_way_del(call: Call) -> dict[str, Any]:
    del call.state.join_ways[_stored_way(call)["config_id"]]
    return {}


# --------------------------------------------------------------------------------------------------------- inheritance
def _hand_over(call: Call, *, is_resigned: bool) -> dict[str, Any]:
    chat_ids = call.texts("chat_id_list", most=100, required=True)
    taker = call.state.serving(call.text("new_owner"))
    if not taker.is_verified:
        raise Refused(40098)
    failed = []
    for chat_id in chat_ids:
        code = _refusal(call, chat_id, taker.userid, is_resigned=is_resigned)
        if code:
            failed.append({"chat_id": chat_id, "errcode": code, "errmsg": TEXTS[code]})
            continue
        group = call.state.groups[chat_id]
        group.owner, group.status = taker.userid, 3 if is_resigned else group.status
        group.moves.append(call.now)
        group.members.setdefault(taker.userid, GroupMember(taker.userid, STAFF, call.now, 1))
        call.state.change_version(group)
    return {"failed_chat_list": failed}


def _refusal(call: Call, chat_id: str, taker: str, *, is_resigned: bool) -> int:
    """Return why a group cannot be handed over, or 0."""
    group = call.state.groups.get(chat_id)
    if group is None or group.dismissed:
        return 90501
    if group.owner == taker:
        return 90508 if group.status == 3 else 90504
    has_left = group.owner.lower() not in call.state.staff
    if is_resigned and not has_left:
        return 90500
    if not is_resigned and has_left:
        return 90502
    if not is_resigned and sum(at > call.now - 90 * DAY for at in group.moves) >= 2:
        return 40128
    return 0


@endpoint("POST", "/cgi-bin/externalcontact/groupchat/transfer", app="customers")
def group_transfer(call: Call) -> dict[str, Any]:
    return _hand_over(call, is_resigned=True)


@endpoint("POST", "/cgi-bin/externalcontact/groupchat/onjob_transfer", app="customers")
def group_onjob_transfer(call: Call) -> dict[str, Any]:
    return _hand_over(call, is_resigned=False)


@endpoint("POST", "/cgi-bin/externalcontact/opengid_to_chatid", app="customers")
def opengid_to_chatid(call: Call) -> dict[str, Any]:
    """An opengid is `o` and the chat_id, in this corp."""
    chat_id = call.text("opengid").removeprefix("o")
    group = call.state.groups.get(chat_id)
    if group is None:
        raise Refused(90511)
    if group.dismissed:
        raise Refused(90509)
    return {"chat_id": chat_id}
