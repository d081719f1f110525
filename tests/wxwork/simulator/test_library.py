"""The tag library, contact ways, welcome codes, mass messages, media."""

import pytest

from .conftest import Api

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
TEXT = {"text": {"content": "你好"}}
DAY = 86_400


def names(api):
    groups = api.post("externalcontact/get_corp_tag_list")["tag_group"]
    return {group["group_name"]: [tag["name"] for tag in group["tag"]] for group in groups}


def told(simulator):
    return [push.change_type for push in simulator.pushes.record]


# ---------------------------------------------------------------------------------------------------------------- tags
def test_tags_are_added_to_a_named_group_or_a_new_one(api):
    added = api.post(
        "externalcontact/add_corp_tag", {"group_name": "客户等级", "tag": [{"name": "黑金"}, {"name": "黑金"}]}
    )
    assert (added["tag_group"]["group_id"], len(added["tag_group"]["tag"])) == ("etgroup01", 1)
    again = api.post("externalcontact/add_corp_tag", {"group_name": "客户等级", "tag": [{"name": "黑金"}]})
    assert again["errcode"] == 40071
    empty = api.post("externalcontact/add_corp_tag", {"group_name": "空", "tag": []})
    assert empty["errcode"] == 40058
    assert "空" not in names(api)
    assert names(api)["客户等级"] == ["普通会员", "银卡会员", "金卡会员", "黑金"]


def test_a_group_goes_with_its_last_tag_and_a_deleted_tag_comes_off_customers(simulator, api):
    made = api.post("externalcontact/add_corp_tag", {"group_name": "临时", "tag": [{"name": "一"}]})["tag_group"]
    tag = made["tag"][0]["id"]
    customer = simulator.act("add_customer", staff="ChenSiYu")["external_userid"]
    who = {"userid": "ChenSiYu", "external_userid": customer}
    api.post("externalcontact/mark_tag", {**who, "add_tag": [tag, "ettag0101"]})
    simulator.pushes.forget()
    assert api.post("externalcontact/del_corp_tag", {"tag_id": [tag]})["errcode"] == 0
    assert "临时" not in names(api)
    assert simulator.state.staff["chensiyu"].relations[customer].tag_ids == ("ettag0101",)
    asked = api.post("externalcontact/get_corp_tag_list", {"group_id": [made["group_id"]]})["tag_group"][0]
    assert (asked["deleted"], asked["tag"][0]["deleted"]) == (True, True)
    assert api.post("externalcontact/mark_tag", {**who, "add_tag": [tag]})["errcode"] == 40068
    assert api.post("externalcontact/del_corp_tag", {"tag_id": [tag]})["errcode"] == 40068
    assert told(simulator) == []


def test_an_app_edits_only_what_it_has_made(simulator, api):
    console = simulator.act("tag_group_create", name="购买意向", tags=["高", "低"])
    assert told(simulator) == ["create", "create", "create"]
    assert api.post("externalcontact/edit_corp_tag", {"id": console["group_id"], "name": "x"})["errcode"] == 81011
    assert api.post("externalcontact/del_corp_tag", {"tag_id": console["tag_ids"]})["errcode"] == 81011
    assert api.post("externalcontact/edit_corp_tag", {"id": "ettag0101", "name": "银卡会员"})["errcode"] == 40071
    assert api.post("externalcontact/edit_corp_tag", {"id": "ettag0101", "name": "新会员", "order": 1})["errcode"] == 0
    assert names(api)["客户等级"] == ["银卡会员", "金卡会员", "新会员"]
    simulator.act("set_app", agentid=1000026, secret="other")
    other = Api(simulator.url, "other")
    assert other.post("externalcontact/edit_corp_tag", {"id": "ettag0101", "name": "y"})["errcode"] == 81011


def test_what_the_console_does_to_tags_is_told(simulator, api):
    simulator.act("tag_rename", tag_id="ettag0101", name="新人")
    simulator.act("tag_shuffle", group_id="etgroup01")
    simulator.act("tag_delete", tag_id="ettag0102")
    simulator.act("tag_group_delete", group_id="etgroup02")
    assert told(simulator) == ["update", "shuffle", "delete", "delete"]
    assert sorted(names(api)["客户等级"]) == ["新人", "金卡会员"]
    assert "客户来源" not in names(api)


# -------------------------------------------------------------------------------------------------------- contact ways
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"scene": 2, "user": ["ChenSiYu"]}, 41037),
        ({"type": 1, "user": ["ChenSiYu"]}, 41038),
        ({"type": 3, "scene": 2, "user": ["ChenSiYu"]}, 41039),
        ({"type": 1, "scene": 3, "user": ["ChenSiYu"]}, 41040),
        ({"type": 1, "scene": 1, "style": 9, "user": ["ChenSiYu"]}, 41042),
        ({"type": 1, "scene": 2, "user": ["ChenSiYu", "ShenYue"]}, 40058),
        ({"type": 1, "scene": 2, "user": ["nobody"]}, 40003),
        ({"type": 2, "scene": 2, "user": ["ChenSiYu"], "remark": "很" * 31}, 40058),
        ({"type": 2, "scene": 2}, 40058),
    ],
)
def test_a_contact_way_is_checked(simulator, api, body, code):
    assert api.post("externalcontact/add_contact_way", body)["errcode"] == code
    assert simulator.state.contact_ways == {}


def test_who_scans_a_contact_way_comes_with_its_state(simulator, api):
    made = api.post("externalcontact/add_contact_way", {"type": 1, "scene": 2, "user": ["ChenSiYu"], "state": "expo"})
    customer = simulator.act("add_customer", staff="ChenSiYu", config_id=made["config_id"])["external_userid"]
    follow = api.get("externalcontact/get", external_userid=customer)["follow_user"][0]
    assert (follow["state"], follow["add_way"]) == ("expo", 1)
    assert "<State><![CDATA[expo]]></State>" in simulator.pushes.record[-1].xml
    assert api.post("externalcontact/del_contact_way", {"config_id": made["config_id"]})["errcode"] == 0
    assert api.post("externalcontact/get_contact_way", {"config_id": made["config_id"]})["errcode"] == 41044


# ----------------------------------------------------------------------------------------------------- welcome messages
@pytest.fixture
def code(simulator):
    return simulator.act("add_customer", staff="ChenSiYu")["welcome_code"]


def send(api, code, **body):
    return api.post("externalcontact/send_welcome_msg", {"welcome_code": code, **(body or TEXT)})["errcode"]


def test_a_welcome_code_works_once(simulator, api, code):
    assert send(api, code) == 0
    assert simulator.state.welcome_codes[code].sent == TEXT
    assert send(api, code) == 41050
    assert send(api, "CODEunknown") == 41050
    assert send(api, "") == 41049


def test_a_welcome_code_lives_twenty_seconds(simulator, api, code):
    simulator.act("advance_clock", seconds=21)
    assert send(api, code) == 41050
    assert simulator.state.welcome_codes[code].sent is None


def test_another_app_may_be_quicker(simulator, api, code):
    simulator.act("welcome_in_flight", welcome_code=code)
    assert send(api, code) == 41096
    simulator.act("welcome_in_flight", welcome_code=code, agentid=0)
    simulator.act("welcome_sent_by_other", welcome_code=code)
    assert send(api, code) == 41051


def test_a_bad_welcome_message_does_not_use_the_code_up(api, code):
    assert send(api, code, text={"content": "很" * 1334}) == 40058
    assert send(api, code, text={"content": ""}) == 40058
    link = {"msgtype": "link", "link": {"title": "t", "url": "https://x"}}
    assert send(api, code, attachments=[link] * 10) == 41064
    assert send(api, code, attachments=[{"msgtype": "voice", "voice": {}}]) == 41065
    assert send(api, code, attachments=[{"msgtype": "image", "image": {"media_id": "gone"}}]) == 40007
    assert send(api, code, attachments=[link]) == 0


def test_there_is_no_code_for_wecom_users_nor_beside_the_consoles_own_message(simulator):
    assert simulator.act("add_customer", staff="ChenSiYu", type=2)["welcome_code"] == ""
    simulator.act("staff_changes", userid="ChenSiYu", has_console_welcome=True)
    assert simulator.act("add_customer", staff="ChenSiYu")["welcome_code"] == ""
    assert "WelcomeCode" not in simulator.pushes.record[-1].xml


def test_a_code_used_while_half_added_is_not_given_again(simulator, api):
    half = simulator.act("add_customer", staff="ChenSiYu", half=True)
    assert send(api, half["welcome_code"]) == 0
    confirmed = simulator.act("confirm_customer", external_userid=half["external_userid"], userid="ChenSiYu")
    assert confirmed["welcome_code"] == ""


# -------------------------------------------------------------------------------------------------------- mass messages
def test_a_mass_message_is_a_task_until_the_member_sends_it(simulator, api):
    simulator.act("set_behaviour", dispatch_seconds=30, monthly_mass_messages=1)
    friend, lost = (simulator.act("add_customer", staff="ChenSiYu")["external_userid"] for _ in range(2))
    body = {"external_userid": [friend, lost, "wmNobody"], "sender": "ChenSiYu", **TEXT}
    made = api.post("externalcontact/add_msg_template", body)
    assert made["fail_list"] == ["wmNobody"]
    msgid = {"msgid": made["msgid"]}
    assert api.post("externalcontact/get_groupmsg_task", msgid)["errcode"] == 41063
    simulator.act("advance_clock", seconds=31)
    task = api.post("externalcontact/get_groupmsg_task", msgid)
    assert task["task_list"] == [{"userid": "ChenSiYu", "status": 0}]
    simulator.act("customer_deletes_staff", external_userid=lost, userid="ChenSiYu")
    assert simulator.act("confirm_mass_message", **msgid, userid="ChenSiYu") == {
        "sent": 1, "not_friends": 1, "capped": 0,
    }  # fmt: skip
    result = api.post("externalcontact/get_groupmsg_send_result", {**msgid, "userid": "ChenSiYu"})["send_list"]
    assert [(row["external_userid"], row["status"], "send_time" in row) for row in result] == [
        (friend, 1, True), (lost, 2, False),
    ]  # fmt: skip
    second = api.post("externalcontact/add_msg_template", {**body, "external_userid": [friend]})["msgid"]
    assert simulator.act("confirm_mass_message", msgid=second, userid="ChenSiYu")["capped"] == 1


def test_mass_messages_are_reminded_thrice_and_cancelled_once(simulator, api):
    simulator.act("add_customer", staff="ChenSiYu")
    msgid = {"msgid": api.post("externalcontact/add_msg_template", {"sender": "ChenSiYu", **TEXT})["msgid"]}
    reminded = [api.post("externalcontact/remind_groupmsg_send", msgid)["errcode"] for _ in range(4)]
    assert reminded == [0, 0, 0, 41094]
    cancelled = [api.post("externalcontact/cancel_groupmsg_send", msgid)["errcode"] for _ in range(2)]
    assert cancelled == [0, 41093]
    nobody = api.post("externalcontact/add_msg_template", {"external_userid": ["wmNobody"], **TEXT})
    assert (nobody["errcode"], nobody["fail_list"]) == (41048, ["wmNobody"])
    assert api.post("externalcontact/get_groupmsg_task", {"msgid": "x"})["errcode"] == 41047


# --------------------------------------------------------------------------------------------------------------- media
def test_media_is_checked_and_lives_three_days(simulator, api):
    def upload(name, content, **query):
        return api.upload("media/upload", name, content, **{"type": "image", **query})["errcode"]

    assert upload("a.png", b"") == 44001
    assert upload("a.png", b"12345") == 40006
    assert upload("a.png", b"no image at all") == 40004
    assert upload("a.png", PNG, type="picture") == 40005
    assert upload("a.png", PNG, field="file") == 44001
    assert upload("a.png", PNG + b"\0" * 5 * 1024 * 1024) == 45001
    media_id = api.upload("media/upload", "a.png", PNG, type="image")["media_id"]
    part = api.http.get(
        "/cgi-bin/media/get",
        params={"access_token": api.token, "media_id": media_id},
        headers={"Range": "bytes=1-3"},
    )
    assert (part.status_code, part.content) == (206, b"PNG")
    simulator.act("advance_clock", seconds=3 * DAY)
    api.token = api.new_token()
    assert api.get("media/get", media_id=media_id)["errcode"] == 40007


def test_a_message_to_staff_says_whom_it_does_not_reach(simulator, api):
    body = {"touser": "chensiyu|NoBody", "msgtype": "text", "agentid": 1000025, **TEXT}
    sent = api.post("message/send", body)
    assert (sent["invaliduser"], simulator.state.app_messages[sent["msgid"]]["to"]) == ("nobody", ["ChenSiYu"])
    assert api.post("message/send", {**body, "touser": "nobody"})["errcode"] == 81013
    assert api.post("message/send", {**body, "agentid": 7})["errcode"] == 40056
    assert api.post("message/send", {**body, "text": {"content": ""}})["errcode"] == 44004
    assert api.post("message/send", {**body, "touser": ""})["errcode"] == 82001
    simulator.act("set_app", agentid=1000026, secret="other")
    assert api.post("message/send", {**body, "agentid": 1000026})["errcode"] == 301002
