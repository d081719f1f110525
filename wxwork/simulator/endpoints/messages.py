"""Contract §4.P: messages of the app to staff."""

from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.registry import Call, endpoint

DAY = 86_400
# Each kind, the field that must not be empty, and the bytes it may have (0: not limited here). Longer text is cut.
KINDS: dict[str, tuple[str, int]] = {
    "text": ("content", 0), "markdown": ("content", 2048), "image": ("media_id", 0), "voice": ("media_id", 0),
    "video": ("media_id", 0), "file": ("media_id", 0), "textcard": ("title", 128), "news": ("articles", 0),
    "mpnews": ("articles", 0), "miniprogram_notice": ("title", 0), "template_card": ("card_type", 0),
}  # fmt: skip
INTERACTIVE = ("button_interaction", "vote_interaction", "multiple_interaction")


@endpoint("POST", "/cgi-bin/message/send")
def message_send(call: Call) -> dict[str, Any]:
    agentid = call.number("agentid", missing=40056)
    if agentid != call.app.agentid:
        known = any(app.agentid == agentid for app in call.corp.auth.apps)
        raise Refused(301002 if known else 40056)
    kind, content = _content(call)
    sent_to, said = _recipients(call)
    if not sent_to:
        raise Refused(81013, **said)
    msgid = call.state.new_id("simMsg")
    kept = {"to": sent_to, "msgtype": kind, "content": content, "sent_at": call.now, "recalled": False}
    answer: dict[str, Any] = {**said, "msgid": msgid}
    if kind == "template_card" and content.get("card_type") in INTERACTIVE:
        answer["response_code"] = kept["response_code"] = call.state.new_id("simResponse")
    call.state.app_messages[msgid] = {**kept, "agentid": agentid}
    return answer


def _content(call: Call) -> tuple[str, dict[str, Any]]:
    kind = call.text("msgtype", missing=40008)
    if kind not in KINDS:
        raise Refused(40008)
    content = call.mapping(kind)
    name, most = KINDS[kind]
    if not content.get(name):
        raise Refused(44004)
    if most and len(str(content[name]).encode()) > most:
        raise Refused(45002)
    if kind == "textcard" and (
        len(str(content.get("description", "")).encode()) > 512 or len(str(content.get("url", "")).encode()) > 2048
    ):
        raise Refused(45002)
    if kind == "news" and (not isinstance(content["articles"], list) or len(content["articles"]) > 8):
        raise Refused(45008)
    if name == "media_id":
        call.corp.media_content(str(content["media_id"]))
    return kind, content


def _recipients(call: Call) -> tuple[list[str], dict[str, Any]]:
    """Return who gets a message, and what the answer says of the others: ids lower-cased and joined by |."""
    users, parties, tags = (call.text(name, required=False) for name in ("touser", "toparty", "totag"))
    if not users and not parties and not tags:
        raise Refused(82001, "user & party & tag all empty")
    state = call.state
    visible = [staff for staff in state.staff.values() if state.is_visible(staff)]
    if users == "@all":
        return [staff.userid for staff in visible], _said([], [], [])
    userids, numbers, tagids = ([one for one in text.split("|") if one] for text in (users, parties, tags))
    if len(userids) > 1000 or len(numbers) > 100 or len(tagids) > 100:
        raise Refused(40058)
    lists = _by_department(call, numbers), _by_tag(call, tagids)
    chosen = {staff.userid for staff in visible if staff.userid.lower() in {one.lower() for one in userids}}
    chosen |= {staff.userid for staff in visible if staff.userid in lists[0] | lists[1]}
    known = {staff.userid.lower() for staff in visible}
    bad_parties = [one for one in numbers if not one.isdecimal() or int(one) not in state.departments]
    bad_tags = [one for one in tagids if not one.isdecimal() or int(one) not in state.staff_tags]
    return sorted(chosen), _said([u.lower() for u in userids if u.lower() not in known], bad_parties, bad_tags)


def _by_department(call: Call, numbers: list[str]) -> set[str]:
    tops = {int(one) for one in numbers if one.isdecimal()}
    below = {department.id for top in tops for department in call.state.subtree(top)}
    return {staff.userid for staff in call.state.staff.values() if below & set(staff.departments)}


def _by_tag(call: Call, tagids: list[str]) -> set[str]:
    tags = [call.state.staff_tags[int(one)] for one in tagids if one.isdecimal() and int(one) in call.state.staff_tags]
    departments = _by_department(call, [str(number) for tag in tags for number in tag.departments])
    return departments | {userid for tag in tags for userid in tag.userids}


def _said(users: list[str], parties: list[str], tags: list[str]) -> dict[str, Any]:
    joined = {"invaliduser": users, "invalidparty": parties, "invalidtag": tags, "unlicenseduser": []}
    return {name: "|".join(ids) for name, ids in joined.items()}


@endpoint("POST", "/cgi-bin/message/recall")
def message_recall(call: Call) -> dict[str, Any]:
    message = call.state.app_messages.get(call.text("msgid"))
    if message is None or message["agentid"] != call.app.agentid or message["sent_at"] + DAY <= call.now:
        raise Refused(40058)
    message["recalled"] = True
    return {}


@endpoint("POST", "/cgi-bin/message/update_template_card")
def message_update_template_card(call: Call) -> dict[str, Any]:
    if call.number("agentid", missing=40056) != call.app.agentid:
        raise Refused(301002)
    code = call.text("response_code")
    found = next((m for m in call.state.app_messages.values() if m.get("response_code") == code), None)
    if found is None or found["sent_at"] + 3 * DAY <= call.now:
        raise Refused(40058)
    if not call.body.get("button") and not call.body.get("template_card"):
        raise Refused(40058)
    userids = call.texts("userids")
    call.numbers("partyids")
    call.numbers("tagids")
    found["response_code"] = None  # single use
    return {"invaliduser": [userid for userid in userids if call.state.find_staff(userid) is None]}
