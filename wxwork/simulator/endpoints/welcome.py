"""Contract §4.F: welcome messages, once and within 20 s, and templates for groups."""

from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.contents import KINDS, check_medium, message_of, text_of
from wxwork.simulator.endpoints.registry import Call, endpoint

MAX_TEMPLATES = 100
MAX_TEMPLATE_BYTES = 3000
MEDIA = ("image", "link", "miniprogram", "file", "video")  # the first that is there wins


@endpoint("POST", "/cgi-bin/externalcontact/send_welcome_msg", app="customers")
def send_welcome_msg(call: Call) -> dict[str, Any]:
    code = call.state.welcome_codes.get(call.text("welcome_code", missing=41049))
    message = message_of(call)
    if code is None or code.expires_at <= call.corp.clock.now() or code.used_by == call.app.agentid:
        raise Refused(41050)
    if code.used_by:
        raise Refused(41051)
    if code.in_flight_by and code.in_flight_by != call.app.agentid:
        raise Refused(41096)
    code.used_by, code.sent = call.app.agentid, message
    return {}


def _template(call: Call) -> dict[str, Any]:
    text = text_of(call, MAX_TEMPLATE_BYTES)
    found: dict[str, Any] = {"text": text} if text else {}
    for kind in MEDIA:
        if call.body.get(kind):
            check_medium(call, kind if kind in KINDS else "file", call.body[kind])
            return {**found, kind: call.body[kind]}
    if not text:
        raise Refused(40058)
    return found


def _stored(call: Call, *, is_write: bool) -> dict[str, Any]:
    template = call.state.templates.get(call.text("template_id"))
    if template is None:
        raise Refused(40058)  # the code is not documented
    if is_write and template["owner"] != call.app.agentid:
        raise Refused(41058)
    return template


@endpoint("POST", "/cgi-bin/externalcontact/group_welcome_template/add", app="customers")
def template_add(call: Call) -> dict[str, Any]:
    content = _template(call)
    if len(call.state.templates) >= MAX_TEMPLATES:
        raise Refused(41055)
    template_id = call.state.new_id("msg")
    call.state.templates[template_id] = {"owner": call.app.agentid, "content": content}
    return {"template_id": template_id}


@endpoint("POST", "/cgi-bin/externalcontact/group_welcome_template/edit", app="customers")
def template_edit(call: Call) -> dict[str, Any]:
    template = _stored(call, is_write=True)
    template["content"] = _template(call)
    return {}


@endpoint("POST", "/cgi-bin/externalcontact/group_welcome_template/get", app="customers")
def template_get(call: Call) -> dict[str, Any]:
    content = dict(_stored(call, is_write=False)["content"])
    if "image" in content:
        given = content["image"]
        content["image"] = {"pic_url": given.get("pic_url") or f"https://p.qpic.cn/{given['media_id'][:16]}/0"}
    return content


@endpoint("POST", "/cgi-bin/externalcontact/group_welcome_template/del", app="customers")
def template_del(call: Call) -> dict[str, Any]:
    template = _stored(call, is_write=True)
    call.state.templates = {key: one for key, one in call.state.templates.items() if one is not template}
    return {}
