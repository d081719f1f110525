"""How a customer group looks in groupchat/get; acts keep an old look of it while details lag."""

from typing import Any

from wxwork.simulator.state import Group, GroupMember, State

CUSTOMER = 2


def group_row(state: State, group: Group, *, has_names: bool) -> dict[str, Any]:
    return {
        "chat_id": group.chat_id,
        "name": group.name,
        "owner": group.owner,
        "create_time": group.create_time,
        "notice": group.notice,
        "member_list": [_member_row(state, member, has_name=has_names) for member in group.members.values()],
        "admin_list": [{"userid": userid} for userid in group.admins],
        "member_version": group.version,
    }


def _member_row(state: State, member: GroupMember, *, has_name: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "userid": member.id,
        "type": member.type,
        "join_time": member.join_time,
        "join_scene": member.join_scene,
    }
    customer, staff = state.customers.get(member.id), state.find_staff(member.id)
    if member.type == CUSTOMER and customer and customer.unionid and state.is_bound_to_wechat:
        row["unionid"] = customer.unionid
    if member.invitor:
        row["invitor"] = {"userid": member.invitor}
    row["group_nickname"] = member.nickname
    if has_name:
        row["name"] = customer.name if customer else staff.name if staff else ""
    if member.state:
        row["state"] = member.state
    return row
