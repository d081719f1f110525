"""Contract §4.I: how staff deal with customers, by day in China, from yesterday back; several ids are one series."""

from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.groups import days_of, noise
from wxwork.simulator.endpoints.registry import Call, endpoint


@endpoint("POST", "/cgi-bin/externalcontact/get_user_behavior_data", app="customers", fail_extra={"behavior_data": []})
def get_user_behavior_data(call: Call) -> dict[str, Any]:
    userids, departments = call.texts("userid", most=100), call.numbers("partyid", most=100)
    if not userids and not departments:
        raise Refused(40058)
    if any(number not in call.state.departments for number in departments):
        raise Refused(60003)
    chosen = {call.state.serving(userid).userid for userid in userids}
    below = {one.id for number in departments for one in call.state.subtree(number)}
    chosen |= {staff.userid for staff in call.state.serving_staff() if below & set(staff.departments)}
    days = days_of(call, "start_time", "end_time", default_last=False)
    return {"behavior_data": [_day(call, sorted(chosen), day) for day in days]}


def _day(call: Call, userids: list[str], day: int) -> dict[str, Any]:
    chats = sum(noise(userid, day, most=40) for userid in userids)
    gained = sum(call.state.gained.get((userid, day), 0) for userid in userids)
    row: dict[str, Any] = {"stat_time": day, "chat_cnt": chats, "message_cnt": 4 * chats}
    if chats:
        row |= {"reply_percentage": 60.0 + noise(day, most=40), "avg_reply_time": 1 + noise(day, most=9)}
    lost = sum(call.state.lost.get((userid, day), 0) for userid in userids)
    applied = gained + sum(noise(userid, day, "applied", most=5) for userid in userids)
    return {**row, "negative_feedback_cnt": lost, "new_apply_cnt": applied, "new_contact_cnt": gained}
