"""Contract §4.G: mass messages. The API makes tasks; a member sends them in the client (act confirm_mass_message)."""

from dataclasses import dataclass, field
from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.contents import message_of
from wxwork.simulator.endpoints.registry import Call, endpoint
from wxwork.simulator.state import Relation, State

MONTH = 31 * 86_400
DAY = 86_400
UNSENT, SENT = 0, 2


@dataclass
class MassMessage:
    """tasks: userid -> {"status", "send_time"}. recipients: userid -> [{"id", "status", "send_time"}]."""

    msgid: str
    chat_type: str
    create_time: int
    message: dict[str, Any]
    tasks: dict[str, dict[str, int]]
    recipients: dict[str, list[dict[str, Any]]]
    is_cancelled: bool = False
    reminders: list[float] = field(default_factory=list)


@endpoint("POST", "/cgi-bin/externalcontact/add_msg_template", app="customers")
def add_msg_template(call: Call) -> dict[str, Any]:
    chat_type = call.text("chat_type", required=False) or "single"
    if chat_type not in ("single", "group"):
        raise Refused(40058)
    message = message_of(call)
    sender = call.text("sender", required=False)
    if sender:
        sender = call.state.serving(sender).userid
    recipients, failed = _group_audience(call, sender) if chat_type == "group" else _audience(call, sender)
    if not any(recipients.values()):
        raise Refused(41048, fail_list=failed)
    msgid = call.state.new_id("msg")
    call.state.mass_messages[msgid] = MassMessage(
        msgid,
        chat_type,
        call.now,
        message,
        {userid: {"status": UNSENT} for userid in recipients},
        {userid: [{"id": one, "status": 0} for one in ids] for userid, ids in recipients.items()},
    )
    return {"fail_list": failed, "msgid": msgid}


def _group_audience(call: Call, sender: str) -> tuple[dict[str, list[str]], list[str]]:
    if not sender:
        raise Refused(40058)
    wanted = call.texts("chat_id_list", most=2000)
    owned = {g.chat_id for g in call.state.groups.values() if g.owner == sender and not g.dismissed}
    failed = [chat_id for chat_id in wanted if chat_id not in owned]
    return {sender: [chat_id for chat_id in wanted or sorted(owned) if chat_id in owned]}, failed


def _audience(call: Call, sender: str) -> tuple[dict[str, list[str]], list[str]]:
    """Return whom each member is asked to write to, and which ids cannot be reached."""
    wanted = call.texts("external_userid", most=10_000)
    groups = call.mapping("tag_filter").get("group_list") or []
    if not sender and not wanted and not groups:
        raise Refused(40058)
    state = call.state
    if wanted:
        chosen, failed = {}, []
        for external_userid in dict.fromkeys(wanted):
            relation = _last_in_touch(state, external_userid, sender)
            if relation is None:
                failed.append(external_userid)
            else:
                chosen[external_userid] = relation.userid
        return _by_staff(chosen), failed
    members = [state.serving(sender)] if sender else state.serving_staff()
    relations = [r for staff in members for r in staff.relations.values() if r.is_readable and _matches(r, groups)]
    newest = {r.external_userid: r.userid for r in sorted(relations, key=lambda one: one.createtime)}
    return _by_staff(newest), []


def _by_staff(chosen: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for external_userid, userid in chosen.items():
        found.setdefault(userid, []).append(external_userid)
    return found


def _last_in_touch(state: State, external_userid: str, sender: str) -> Relation | None:
    """Return the sender's relation, or without a sender the newest one."""
    customer = state.customers.get(external_userid)
    relations = state.readable_relations(customer) if customer else []
    found = [relation for relation in relations if sender in ("", relation.userid)]
    return max(found, key=lambda relation: relation.createtime, default=None)


def _matches(relation: Relation, groups: list[Any]) -> bool:
    """Whether the tags satisfy a filter: any of each list."""
    for group in groups:
        if not isinstance(group, dict) or not isinstance(group.get("tag_list"), list) or len(group["tag_list"]) > 100:
            raise Refused(40058)
        if not set(group["tag_list"]) & set(relation.tag_ids):
            return False
    return True


def _found(call: Call) -> MassMessage:
    msgid = call.text("msgid", missing=41046)
    message = call.state.mass_messages.get(msgid)
    if not isinstance(message, MassMessage):
        raise Refused(41047)
    return message


def _check_dispatched(call: Call, message: MassMessage) -> None:
    if message.create_time + call.corp.dispatch_seconds > call.corp.clock.now():
        raise Refused(41063)


@endpoint("POST", "/cgi-bin/externalcontact/get_groupmsg_list_v2", app="customers", fail_extra={"group_msg_list": []})
def get_groupmsg_list(call: Call) -> dict[str, Any]:
    chat_type = call.text("chat_type")
    begin, end = call.number("start_time"), call.number("end_time")
    if chat_type not in ("single", "group") or not 0 <= end - begin <= MONTH:
        raise Refused(40058)
    limit = call.limit(default=50, most=100)
    filter_type = call.number("filter_type", default=2)
    messages = [
        message
        for message in call.state.mass_messages.values()
        if message.chat_type == chat_type and begin <= message.create_time <= end and filter_type in (0, 2)
    ]
    for message in messages:
        _check_dispatched(call, message)
    page, cursor = call.page(messages, limit)
    rows = [{"msgid": m.msgid, "create_time": m.create_time, "create_type": 0, **m.message} for m in page]
    return {"next_cursor": cursor, "group_msg_list": rows}


@endpoint("POST", "/cgi-bin/externalcontact/get_groupmsg_task", app="customers", fail_extra={"task_list": []})
def get_groupmsg_task(call: Call) -> dict[str, Any]:
    message = _found(call)
    if message.is_cancelled:
        raise Refused(41093)
    _check_dispatched(call, message)
    limit = call.limit(default=500, most=1000)
    page, cursor = call.page([{"userid": userid, **task} for userid, task in message.tasks.items()], limit)
    return {"next_cursor": cursor, "task_list": page}


@endpoint("POST", "/cgi-bin/externalcontact/get_groupmsg_send_result", app="customers", fail_extra={"send_list": []})
def get_groupmsg_send_result(call: Call) -> dict[str, Any]:
    message = _found(call)
    _check_dispatched(call, message)
    userid = call.state.serving(call.text("userid", missing=41009)).userid
    limit = call.limit(default=500, most=1000)
    is_group = message.chat_type == "group"
    rows = []
    for one in message.recipients.get(userid, []):
        if is_group and one["status"] != 1:
            continue
        row = {("chat_id" if is_group else "external_userid"): one["id"], "userid": userid, "status": one["status"]}
        rows.append({**row, "send_time": one["send_time"]} if one["status"] == 1 else row)
    page, cursor = call.page(rows, limit)
    return {"next_cursor": cursor, "send_list": page}


@endpoint("POST", "/cgi-bin/externalcontact/remind_groupmsg_send", app="customers")
def remind_groupmsg_send(call: Call) -> dict[str, Any]:
    message = _found(call)
    if message.is_cancelled:
        raise Refused(41093)
    now = call.corp.clock.now()
    message.reminders = [at for at in message.reminders if at > now - DAY]
    if len(message.reminders) >= 3:
        raise Refused(41094)
    message.reminders.append(now)
    return {}


@endpoint("POST", "/cgi-bin/externalcontact/cancel_groupmsg_send", app="customers")
def cancel_groupmsg_send(call: Call) -> dict[str, Any]:
    message = _found(call)
    if message.is_cancelled:
        raise Refused(41093)
    message.is_cancelled = True
    return {}
