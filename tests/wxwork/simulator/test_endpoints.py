"""Every endpoint of the contract's families A to J, O and P: the keys of its answer, and what a refusal carries."""

import json
from pathlib import Path
from typing import Any

import pytest

from wxwork.simulator import SimulatorServer
from wxwork.simulator.endpoints import ENDPOINTS

from .conftest import Api

FIXTURES = Path(__file__).parents[1] / "fixtures" / "api" / "endpoints.json"
CONTRACT: dict[str, dict[str, Any]] = {one["id"]: one for one in json.loads(FIXTURES.read_text())}
DAY = 86_400
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
# Keys that a real answer may lack or have, by the contract's own words.
OPTIONAL = {
    "next_cursor", "wechat_channels", "state", "unionid", "invitor", "send_time", "reply_percentage", "avg_reply_time",
    "deleted", "response_code", "text", "attachments", "name", "external_userid", "chat_id", "invalidlist",
    "invalidparty", "quota_list", "image", "link", "position", "corp_name", "corp_full_name", "external_profile",
    "is_exclusive", "mark_source", "chat_name", "admin_list",
}  # fmt: skip


def calls(simulator: SimulatorServer, api: Api) -> dict[str, tuple[dict[str, Any], Any]]:
    """Return (query, body) of a call of each endpoint that succeeds, having made what it speaks of."""
    state = simulator.state
    staff = next(s for s in state.staff.values() if len(s.relations) >= 2)
    customer, second = list(staff.relations)[:2]
    other = next(s for s in state.staff.values() if s is not staff and not s.relations.keys() & {customer, second})
    leaver = next(s for s in state.staff.values() if s.relations and s not in (staff, other))
    left_customer = next(iter(leaver.relations))
    owned = next(group.chat_id for group in state.groups.values() if group.owner == staff.userid)
    simulator.act("staff_leaves", userid=leaver.userid)
    left_group = next(group for group in state.groups.values() if group.owner == leaver.userid)
    left_group.owner = leaver.userid
    state.staff["chensiyu"].mobile = "13800138001"
    simulator.act("edit_customer", external_userid=customer, userid=staff.userid, tags=["ettag0101", "sttag0101"])
    simulator.act("edit_customer", external_userid=customer, userid=staff.userid, personal_tags=["喜欢咖啡"])
    welcome = simulator.act("add_customer", staff=other.userid)["welcome_code"]
    private = simulator.act("login_code", userid=staff.userid, private=True)["code"]
    detail = api.get("auth/getuserinfo", code=simulator.act("login_code", userid=staff.userid, private=True)["code"])
    media_id = api.upload("media/upload", "poster.png", PNG, type="image")["media_id"]
    users = {"user": [staff.userid, other.userid]}
    way = api.post("externalcontact/add_contact_way", {"type": 2, "scene": 2, "state": "x", **users})["config_id"]
    spare = api.post("externalcontact/add_contact_way", {"type": 2, "scene": 2, **users})["config_id"]
    join = {"scene": 2, "chat_id_list": [owned], "state": "groupexpo", "remark": "r" * 40}
    join_way = api.post("externalcontact/groupchat/add_join_way", join)["config_id"]
    text = {"text": {"content": "你好"}}
    attachments = {"attachments": [{"msgtype": "image", "image": {"media_id": media_id}}]}
    template = api.post("externalcontact/group_welcome_template/add", {**text, "image": {"media_id": media_id}})
    template_id = template["template_id"]
    mass = {"external_userid": [customer, second, "wmUnknown"], "sender": staff.userid, **text, **attachments}
    msgid = api.post("externalcontact/add_msg_template", mass)["msgid"]
    simulator.act("confirm_mass_message", msgid=msgid, userid=staff.userid)
    priority = {"priority_type": 2, "priority_userid_list": [staff.userid]}
    link = {"link_name": "秋季投放", "range": {"user_list": [staff.userid]}, "priority_option": priority}
    link_id = api.post("externalcontact/customer_acquisition/create_link", link)["link"]["link_id"]
    simulator.act("add_customer", staff=other.userid, link_id=link_id, state="douyin_a")
    writes = {"link_id": link_id, "external_userid": customer, "userid": staff.userid, "messages": 3}
    chat_key = simulator.act("customer_writes", **writes)["chat_key"]
    to_staff = {"touser": staff.userid, "msgtype": "text", "agentid": 1000025, "text": {"content": "新客户"}}
    sent = api.post("message/send", to_staff)["msgid"]
    card = {"card_type": "button_interaction", "main_title": {"title": "认领"}}
    response_code = api.post("message/send", {**to_staff, "msgtype": "template_card", "template_card": card})
    group = api.post("externalcontact/add_corp_tag", {"group_name": "临时", "tag": [{"name": "一"}, {"name": "二"}]})
    tags = [tag["id"] for tag in group["tag_group"]["tag"]]
    now = state.clock.seconds()
    yesterday = now - DAY
    relation = {"userid": staff.userid, "external_userid": customer}
    owner = {"owner_filter": {"userid_list": [staff.userid]}}
    days = {"day_begin_time": yesterday, "day_end_time": yesterday, **owner}
    span = {"start_time": yesterday, "end_time": yesterday}
    hand = {"handover_userid": staff.userid, "takeover_userid": other.userid}
    left_hand = {"handover_userid": leaver.userid, "takeover_userid": other.userid}
    api.post("externalcontact/transfer_customer", {**hand, "external_userid": [second]})
    api.post("externalcontact/resigned/transfer_customer", {**left_hand, "external_userid": [left_customer]})
    members = {"tagid": 1, "userlist": [staff.userid, "nobody"], "partylist": [110]}
    return {
        "gettoken": ({"corpid": "wwsimulator", "corpsecret": "simulator-secret"}, None),
        "get_jsapi_ticket": ({}, None),
        "ticket_get": ({"type": "agent_config"}, None),
        "auth_getuserinfo": ({"code": private}, None),
        "auth_getuserdetail": ({}, {"user_ticket": detail["user_ticket"]}),
        "getcallbackip": ({}, None),
        "get_api_domain_ip": ({}, None),
        "department_list": ({}, None),
        "department_simplelist": ({}, None),
        "department_get": ({"id": 110}, None),
        "user_get": ({"userid": staff.userid}, None),
        "user_simplelist": ({"department_id": staff.departments[0]}, None),
        "user_list": ({"department_id": staff.departments[0]}, None),
        "user_list_id": ({}, {"cursor": "", "limit": 10_000}),
        "user_getuserid": ({}, {"mobile": "13800138001"}),
        "tag_list": ({}, None),
        "tag_get": ({"tagid": 1}, None),
        "tag_create": ({}, {"tagname": "售后专员", "tagid": 12}),
        "tag_update": ({}, {"tagid": 12, "tagname": "售后主管"}),
        "tag_delete": ({"tagid": 12}, None),
        "tag_addtagusers": ({}, members),
        "tag_deltagusers": ({}, {"tagid": 1, "userlist": [staff.userid], "partylist": []}),
        "ec_get_follow_user_list": ({}, None),
        "ec_list": ({"userid": staff.userid}, None),
        "ec_get": ({"external_userid": customer}, None),
        "ec_batch_get_by_user": ({}, {"userid_list": [staff.userid], "limit": 1}),
        "ec_remark": ({}, {**relation, "remark": "周女士", "remark_mobiles": ["13800138088"]}),
        "ec_contact_list": ({}, {"limit": 3}),
        "ec_unionid_convert": ({}, {"unionid": unionid(simulator), "openid": "o1"}),
        "ec_unionid_to_external_userid": ({}, {"unionid": unionid(simulator)}),
        "ec_get_corp_tag_list": ({}, {"group_id": ["etgroup01"]}),
        "ec_add_corp_tag": ({}, {"group_name": "购买意向", "tag": [{"name": "高意向", "order": 3}]}),
        "ec_edit_corp_tag": ({}, {"id": tags[0], "name": "银卡", "order": 5}),
        "ec_del_corp_tag": ({}, {"tag_id": [tags[1]]}),
        "ec_mark_tag": ({}, {**relation, "add_tag": ["ettag0102"]}),
        "ec_get_strategy_tag_list": ({}, {"strategy_id": 1}),
        "ec_add_contact_way": ({}, {"type": 1, "scene": 2, "user": [staff.userid]}),
        "ec_get_contact_way": ({}, {"config_id": way}),
        "ec_list_contact_way": ({}, {"limit": 1000}),
        "ec_update_contact_way": ({}, {"config_id": way, "remark": "二期"}),
        "ec_del_contact_way": ({}, {"config_id": spare}),
        "ec_close_temp_chat": ({}, relation),
        "ec_send_welcome_msg": ({}, {"welcome_code": welcome, **text, **attachments}),
        "ec_gwt_add": ({}, text),
        "ec_gwt_edit": ({}, {"template_id": template_id, **text, "image": {"media_id": media_id}}),
        "ec_gwt_get": ({}, {"template_id": template_id}),
        "ec_gwt_del": ({}, {"template_id": template_id}),
        "ec_add_msg_template": ({}, mass),
        "ec_get_groupmsg_list_v2": ({}, {"chat_type": "single", "start_time": now - 60, "end_time": now + 60}),
        "ec_get_groupmsg_task": ({}, {"msgid": msgid}),
        "ec_get_groupmsg_send_result": ({}, {"msgid": msgid, "userid": staff.userid}),
        "ec_remind_groupmsg_send": ({}, {"msgid": msgid}),
        "ec_cancel_groupmsg_send": ({}, {"msgid": msgid}),
        "ec_gc_list": ({}, {"limit": 1000}),
        "ec_gc_get": ({}, {"chat_id": owned, "need_name": 1}),
        "ec_gc_statistic": ({}, days),
        "ec_gc_statistic_day": ({}, days),
        "ec_jw_add": ({}, join),
        "ec_jw_get": ({}, {"config_id": join_way}),
        "ec_jw_update": ({}, {"config_id": join_way, **join}),
        "ec_jw_del": ({}, {"config_id": join_way}),
        "ec_gc_transfer": ({}, {"chat_id_list": [owned], "new_owner": other.userid}),
        "ec_gc_onjob_transfer": ({}, {"chat_id_list": ["wrUnknown"], "new_owner": other.userid}),
        "ec_opengid_to_chatid": ({}, {"opengid": f"o{owned}"}),
        "ec_get_user_behavior_data": ({}, {"userid": [staff.userid], **span}),
        "ec_transfer_customer": ({}, {**hand, "external_userid": [customer, "wmUnknown"]}),
        "ec_transfer_result": ({}, hand),
        "ec_get_unassigned_list": ({}, {"page_size": 1000}),
        "ec_resigned_transfer_customer": ({}, {**left_hand, "external_userid": [left_customer]}),
        "ec_resigned_transfer_result": ({}, left_hand),
        "ca_list_link": ({}, {"limit": 100}),
        "ca_get": ({}, {"link_id": link_id}),
        "ca_create_link": ({}, link),
        "ca_update_link": ({}, {"link_id": link_id, **link}),
        "ca_customer": ({}, {"link_id": link_id}),
        "ca_statistic": ({}, {"link_id": link_id, **span}),
        "ca_quota": ({}, None),
        "ca_get_chat_info": ({}, {"chat_key": chat_key}),
        "ca_delete_link": ({}, {"link_id": link_id}),
        "media_get": ({"media_id": media_id}, None),
        "message_send": ({}, to_staff),
        "message_recall": ({}, {"msgid": sent}),
        "message_update_template_card": (
            {},
            {
                "userids": [staff.userid],
                "agentid": 1000025,
                "response_code": response_code["response_code"],
                "button": {"replace_name": "已认领"},
            },
        ),
    }


def unionid(simulator: SimulatorServer) -> str:
    return next(c.unionid for c in simulator.state.customers.values() if c.unionid and c.relations)


def differences(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """Return where the keys or types of two answers differ, looking at the first item of each list."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        odd = [f"{where}.{key}" for key in (ours.keys() ^ theirs.keys()) - OPTIONAL]
        return odd + [
            line
            for key in ours.keys() & theirs.keys()
            for line in differences(ours[key], theirs[key], f"{where}.{key}")
        ]
    if isinstance(theirs, list) and isinstance(ours, list):
        return differences(ours[0], theirs[0], f"{where}[]") if ours and theirs else []
    if type(ours) is not type(theirs):
        return [f"{where}: {type(ours).__name__} for {type(theirs).__name__}"]
    return []


def test_every_endpoint_answers_in_the_contracts_shape(simulator, api):
    table = calls(simulator, api)
    uploads = {"media_upload", "media_uploadimg", "media_upload_attachment"}
    assert set(table) | uploads == set(CONTRACT)
    found = {}
    for name, (query, body) in table.items():
        contract = CONTRACT[name]
        path = contract["path"].removeprefix("/cgi-bin/")
        if name == "media_get":
            answer = api.http.get(contract["path"], params={"access_token": api.token, **query})
            assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")
            continue
        answer = api.post(path, body, **query) if contract["method"] == "POST" else api.get(path, **query)
        assert answer["errcode"] == 0, (name, answer)
        if odd := differences(answer, contract["response"]):
            found[name] = odd
    assert found == {}


@pytest.mark.parametrize("name", ["media_upload", "media_uploadimg", "media_upload_attachment"])
def test_uploads_answer_in_the_contracts_shape(api, name):
    path = CONTRACT[name]["path"].removeprefix("/cgi-bin/")
    answer = api.upload(path, "poster.png", PNG, type="image", media_type="image", attachment_type=1)
    assert answer["errcode"] == 0
    assert answer["errmsg"] == ""
    assert differences(answer, CONTRACT[name]["response"]) == []


def test_every_endpoint_fails_with_its_empty_lists_and_says_what_the_real_one_says(api):
    for name, contract in CONTRACT.items():
        api.token = "stale"
        path = contract["path"].removeprefix("/cgi-bin/")
        answer = api.post(path) if contract["method"] == "POST" else api.get(path)
        code = 41004 if name == "gettoken" else 40014
        assert answer == {"errcode": code, "errmsg": answer["errmsg"], **contract["fail_extra"]}, name
        probed = {"getcallbackip", "ec_list", "user_get", "department_simplelist", "ec_get_follow_user_list"}
        assert ("hint: [" in answer["errmsg"]) is (name not in probed), name


def test_the_simulator_serves_what_the_contract_has_and_no_more():
    assert set(ENDPOINTS) == {contract["path"] for contract in CONTRACT.values()}
    for contract in CONTRACT.values():
        served = ENDPOINTS[contract["path"]]
        assert (served.method, served.fail_extra) == (contract["method"], contract["fail_extra"]), contract["id"]


def test_a_get_on_a_post_endpoint_and_a_strange_body_are_refused(api):
    path, token = "/cgi-bin/externalcontact/get_corp_tag_list", {"access_token": api.token}
    form = {"content": b"a=1", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    assert api.http.get(path, params=token).json()["errcode"] == 40058
    assert api.http.post(path, params=token, **form).json()["errcode"] == 40063
    assert api.http.post(path, params=token, content=b'{"tag_id": [').json()["errcode"] == 40058
    assert api.http.post(path, params=token, content=b'{"tag_id": ["\\u5ba2"]}').json()["errcode"] == 40033
    assert api.http.post(path, params=token, content=b'{"tag_id": "et"}').json()["errcode"] == 40058
    assert api.http.post(path, params=token, content=b"{}").json()["errcode"] == 0
