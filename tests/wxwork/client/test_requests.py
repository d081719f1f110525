"""What each method puts on the wire, against the requests of the contract, and what it makes of the answers there."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.wxwork.client.recorder import TOKEN
from wxwork.client import Client, wecom
from wxwork.errors import RetryError

FIXTURES = {
    one["id"]: one
    for one in json.loads((Path(__file__).resolve().parents[1] / "fixtures" / "client" / "requests.json").read_text())
}
WM, WM2 = "wmQx7DCwAAk3bTzV8yP0sJh2LrFe9aMg", "wmQx7DCwAAv5nRcX1uD7tKo4GiSb6wEq"
WM3, WMU = "wmQx7DCwAAp8dWgB6eK1yNv0CxHr3qZs", "wmUnknown000000000000000000000000"
WR, WR2 = "wrQx7DCwAAe6mKbZ4oW1gQn7HsLf2vYt", "wrQx7DCwAAj9pXuR5tA3cEi8DmGw0kBz"
MSG, WAY = "msgQx7DCwAAh4sLtZ0bVn6RkEy3FwUc9o", "3f9b1c7d5e2a48069d4c8b7a61e0f253"
JOIN = "b81d6f04c2e94a37a5d07c3e98f1264a"
MEDIA = "2Qx7DCwMediaImg0aVb3Ns8LtYk5Re1FhUo9Zc6WjPiGdXm4"
DAY, NEXT_DAY, BEGIN, END = 1789920000, 1790006400, 1788192000, 1790035200
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def sent(name: str) -> Any:
    return FIXTURES[name]["request"]


def answered(name: str) -> Any:
    return FIXTURES[name]["response"]


JOIN_WAY = {"remark": "展会入群码", "state": "groupexpo", "room_base_name": "星河优选福利群", "room_base_id": 10}
# Each method: how it is called, what comes back of the contract's answer.
CALLS: dict[str, tuple[Any, Any]] = {
    "get_jsapi_ticket": (lambda c: c.get_corp_ticket(), lambda a: (a["ticket"], 7200)),
    "ticket_get": (lambda c: c.get_agent_ticket(), lambda a: (a["ticket"], 7200)),
    "auth_getuserinfo": (lambda c: c.get_login("simCode_0001"), lambda a: a),
    "auth_getuserdetail": (lambda c: c.get_login_details("simUserTicket_0001"), lambda a: a),
    "getcallbackip": (lambda c: c.list_callback_ips(), lambda a: a["ip_list"]),
    "get_api_domain_ip": (lambda c: c.list_api_ips(), lambda a: a["ip_list"]),
    "department_list": (lambda c: c.list_departments(1), lambda a: a["department"]),
    "department_simplelist": (lambda c: c.list_department_ids(1), lambda a: a["department_id"]),
    "department_get": (lambda c: c.get_department(2), lambda a: a["department"]),
    "user_get": (lambda c: c.get_staff("linxiaoyu"), lambda a: a),
    "user_simplelist": (lambda c: c.list_staff_names(3), lambda a: a["userlist"]),
    "user_list": (lambda c: c.list_staff(3), lambda a: a["userlist"]),
    "user_list_id": (lambda c: list(c.iter_staff_ids()), lambda a: a["dept_user"]),
    "user_getuserid": (lambda c: c.find_userid("13800138001"), lambda a: "linxiaoyu"),
    "ec_get_follow_user_list": (lambda c: c.list_follow_staff(), lambda a: a["follow_user"]),
    "ec_list": (lambda c: c.list_customer_ids("linxiaoyu"), lambda a: a["external_userid"]),
    "ec_get": (lambda c: c.get_customer(WM), lambda a: a),
    "ec_batch_get_by_user": (
        lambda c: c.get_customers_of_staff(["linxiaoyu", "chenhao"]),
        lambda a: a | {"fail_info": {}},
    ),
    "ec_remark": (
        lambda c: c.remark_customer(
            "linxiaoyu", WM, remark="周女士-金卡", description="10月续费", company="若楠工作室",
            mobiles=["13800138088", "13900139066"], picture_media_id=MEDIA,
        ),
        lambda a: None,
    ),
    "ec_get_corp_tag_list": (
        lambda c: c.list_tags(group_ids=["etQx7DCwAAgroupLevel00000000001A"]), lambda a: a["tag_group"],
    ),
    "ec_add_corp_tag": (
        lambda c: c.add_tags(
            [{"name": "高意向", "order": 3}, {"name": "观望", "order": 2}], group_name="购买意向", order=3
        ),
        lambda a: a["tag_group"],
    ),
    "ec_edit_corp_tag": (
        lambda c: c.edit_tag("etQx7DCwAAtagNormal000000000012x", name="银卡", order=5), lambda a: None,
    ),
    "ec_del_corp_tag": (lambda c: c.delete_tags(["etQx7DCwAAtagNormal000000000012x"]), lambda a: None),
    "ec_mark_tag": (
        lambda c: c.mark_tags(
            "linxiaoyu", WM, ["etQx7DCwAAtagVip0000000000000011", "etQx7DCwAAtagExpo00000000000021y"],
            ["etQx7DCwAAtagNormal000000000012x"],
        ),
        lambda a: None,
    ),
    "ec_get_strategy_tag_list": (lambda c: c.list_strategy_tags(1), lambda a: a["tag_group"]),
    "ec_add_contact_way": (
        lambda c: c.add_contact_way(
            users=["linxiaoyu", "chenhao"], style=1, remark="2026杭州展会", state="expo2026_hz"
        ),
        lambda a: a,
    ),
    "ec_get_contact_way": (lambda c: c.get_contact_way(WAY), lambda a: a["contact_way"]),
    "ec_list_contact_way": (lambda c: list(c.iter_contact_ways(start_time=BEGIN, end_time=END)), lambda a: [WAY]),
    "ec_update_contact_way": (
        lambda c: c.update_contact_way(
            WAY, remark="2026杭州展会-二期", skip_verify=True, style=1, state="expo2026_hz2",
            users=["linxiaoyu", "zhaoyuqing"], departments=[],
        ),
        lambda a: None,
    ),
    "ec_del_contact_way": (lambda c: c.delete_contact_way(WAY), lambda a: None),
    "ec_close_temp_chat": (lambda c: c.close_temporary_chat("linxiaoyu", WM), lambda a: None),
    "ec_send_welcome_msg": (
        lambda c: c.send_welcome(
            sent("ec_send_welcome_msg")["welcome_code"], sent("ec_send_welcome_msg")["text"]["content"],
            sent("ec_send_welcome_msg")["attachments"],
        ),
        lambda a: None,
    ),
    "ec_gwt_add": (
        lambda c: c.add_group_welcome(
            sent("ec_gwt_add")["text"]["content"], medium={"image": sent("ec_gwt_add")["image"]}
        ),
        lambda a: a["template_id"],
    ),
    "ec_gwt_edit": (
        lambda c: c.edit_group_welcome(
            "msgXGroupWelcomeTpl0001", "欢迎 %NICKNAME%", medium={"link": sent("ec_gwt_edit")["link"]}
        ),
        lambda a: None,
    ),
    "ec_gwt_get": (lambda c: c.get_group_welcome("msgXGroupWelcomeTpl0001"), lambda a: a),
    "ec_gwt_del": (lambda c: c.delete_group_welcome("msgXGroupWelcomeTpl0001"), lambda a: None),
    "ec_add_msg_template": (
        lambda c: c.add_mass_message(
            external_userids=[WM, WM2, WMU], sender="linxiaoyu", text="国庆活动今日开始",
            attachments=sent("ec_add_msg_template")["attachments"],
        ),
        lambda a: a,
    ),
    "ec_get_groupmsg_list_v2": (
        lambda c: list(c.iter_mass_messages(start_time=BEGIN, end_time=END)), lambda a: a["group_msg_list"],
    ),
    "ec_get_groupmsg_task": (lambda c: list(c.iter_mass_message_tasks(MSG)), lambda a: a["task_list"]),
    "ec_get_groupmsg_send_result": (
        lambda c: list(c.iter_mass_message_results(MSG, "linxiaoyu")), lambda a: a["send_list"],
    ),
    "ec_remind_groupmsg_send": (lambda c: c.remind_mass_message(MSG), lambda a: None),
    "ec_cancel_groupmsg_send": (lambda c: c.cancel_mass_message(MSG), lambda a: None),
    "ec_gc_list": (lambda c: list(c.iter_groups(["linxiaoyu"])), lambda a: a["group_chat_list"]),
    "ec_gc_get": (lambda c: c.get_group(WR), lambda a: a["group_chat"]),
    "ec_gc_statistic": (
        lambda c: c.list_group_statistics(["linxiaoyu"], day_begin_time=DAY, order_by=2), lambda a: a["items"],
    ),
    "ec_gc_statistic_day": (
        lambda c: c.list_group_statistics_by_day(["linxiaoyu"], day_begin_time=DAY, day_end_time=NEXT_DAY),
        lambda a: a["items"],
    ),
    "ec_jw_add": (lambda c: c.add_join_way([WR, WR2], **JOIN_WAY), lambda a: JOIN),
    "ec_jw_get": (lambda c: c.get_join_way(JOIN), lambda a: a["join_way"]),
    "ec_jw_update": (
        lambda c: c.update_join_way(JOIN, [WR, WR2], **JOIN_WAY | {"remark": "展会入群码-二期"}), lambda a: None,
    ),
    "ec_jw_del": (lambda c: c.delete_join_way(JOIN), lambda a: None),
    "ec_gc_transfer": (
        lambda c: c.transfer_groups([WR, WR2], "chenhao", has_left=True), lambda a: a["failed_chat_list"],
    ),
    "ec_gc_onjob_transfer": (lambda c: c.transfer_groups([WR], "chenhao"), lambda a: a["failed_chat_list"]),
    "ec_opengid_to_chatid": (lambda c: c.find_chat_id("oSimOpengid0001"), lambda a: a["chat_id"]),
    "ec_get_user_behavior_data": (
        lambda c: c.list_contact_statistics(userids=["linxiaoyu"], start_time=DAY, end_time=NEXT_DAY),
        lambda a: a["behavior_data"],
    ),
    "ec_transfer_customer": (
        lambda c: c.transfer_customers("linxiaoyu", "chenhao", [WM, WMU], message="您好，后续由陈浩为您服务"),
        lambda a: a["customer"],
    ),
    "ec_transfer_result": (lambda c: list(c.iter_transfer_results("linxiaoyu", "chenhao")), lambda a: a["customer"]),
    "ec_get_unassigned_list": (lambda c: list(c.iter_unassigned()), lambda a: a["info"]),
    "ec_resigned_transfer_customer": (
        lambda c: c.transfer_customers("hejun", "chenhao", [WM3], has_left=True), lambda a: a["customer"],
    ),
    "ec_resigned_transfer_result": (
        lambda c: list(c.iter_transfer_results("hejun", "chenhao", has_left=True)), lambda a: a["customer"],
    ),
    "media_upload": (lambda c: c.upload_media("image", "poster.png", PNG), lambda a: a["media_id"]),
    "media_uploadimg": (lambda c: c.upload_image("poster.png", PNG), lambda a: a["url"]),
    "media_upload_attachment": (
        lambda c: c.upload_attachment("image", "moment.jpg", PNG), lambda a: a["media_id"],
    ),
    "media_get": (lambda c: c.download_media(MEDIA), lambda a: (PNG, "image/png")),
    "message_send": (
        lambda c: c.send_app_message(
            "text", "新客户待跟进：周若楠", userids=["linxiaoyu", "chenhao"], duplicate_check_seconds=1800
        ),
        lambda a: a,
    ),
    "message_recall": (lambda c: c.recall_app_message("simMsgid_0001"), lambda a: None),
    "message_update_template_card": (
        lambda c: c.update_template_card("simRespCode_0001", userids=["linxiaoyu"], button="已认领"), lambda a: [],
    ),
}  # fmt: skip
# What the contract's samples spell out and is WeCom's default, or an option that the product has no use for.
DEFAULTS = {
    "ec_get_corp_tag_list": {"tag_id": []},
    "ec_get_strategy_tag_list": {"tag_id": [], "group_id": []},
    "ec_add_contact_way": {"is_temp": False, "is_exclusive": False, "party": []},
    "ec_add_msg_template": {"allow_select": False},
    "ec_get_groupmsg_list_v2": {"creator": ""},
    "ec_jw_add": {"mark_source": True},
    "ec_jw_update": {"mark_source": True},
    "message_send": {"enable_id_trans": 0},
}


def test_every_endpoint_of_the_fixtures_has_its_method():
    assert CALLS.keys() == FIXTURES.keys()


@pytest.mark.parametrize("name", CALLS)
def test_a_method_sends_what_the_contract_shows_and_returns_what_it_answers(name, recorder):
    call, expected = CALLS[name]
    fixture = FIXTURES[name]
    response = fixture["response"]
    if "__binary__" in response:
        response = (200, {"Content-Type": "image/png", "Content-Disposition": 'attachment; filename="a.png"'}, PNG)
    elif name.startswith("ec_batch"):
        pass
    elif "next_cursor" in response:
        response = response | {"next_cursor": ""}
    recorder.answers[fixture["path"]] = response
    assert call(wecom()) == expected(fixture["response"])
    (got,) = recorder.calls(fixture["path"])
    assert got.method == fixture["method"]
    assert got.query == fixture["query"] | {"access_token": TOKEN}
    if fixture["request"] is None:
        assert got.body == b""
    elif "__multipart__" in fixture["request"]:
        part = fixture["request"]["__multipart__"]
        assert got.content_type.startswith("multipart/form-data; boundary=")
        head = f'name="{part["field"]}"; filename="{part["filename"]}"\r\nContent-Type: {part["content_type"]}'
        assert head.encode() in got.body
        assert PNG in got.body
    else:
        assert got.content_type == "application/json"
        assert got.json | DEFAULTS.get(name, {}) == fixture["request"] | (
            {} if name != "ec_add_contact_way" else {"party": []}
        )


def test_every_public_method_is_called_here():
    methods = {name for name in dir(Client) if not name.startswith("_") and callable(getattr(Client, name))}
    source = Path(__file__).read_text()
    assert {name for name in methods if f"c.{name}(" not in source} == {"list_groups"}  # which iter_groups calls


# ---------------------------------------------------------------------------------------------------------------- pages
def test_followers_of_all_pages_are_merged(recorder):
    contact = {"external_userid": WM, "name": "周若楠"}
    recorder.answers["/cgi-bin/externalcontact/get"] = [
        {"errcode": 0, "external_contact": contact, "follow_user": [{"userid": "a"}], "next_cursor": "page2"},
        {"errcode": 0, "external_contact": contact, "follow_user": [], "next_cursor": "page3"},  # empty, not the last
        {"errcode": 0, "external_contact": contact, "follow_user": [{"userid": "b"}]},
    ]
    found = wecom().get_customer(WM)
    assert found == {"errcode": 0, "external_contact": contact, "follow_user": [{"userid": "a"}, {"userid": "b"}]}
    assert [got.query.get("cursor") for got in recorder.calls("/cgi-bin/externalcontact/get")] == [
        None, "page2", "page3",
    ]  # fmt: skip


def test_a_cursor_that_comes_again_ends_in_an_error_and_not_in_a_loop(recorder):
    recorder.answers["*"] = {"errcode": 0, "dept_user": [{"userid": "a", "department": 1}], "next_cursor": "same"}
    with pytest.raises(RetryError, match="second time"):
        list(wecom().iter_staff_ids())
    assert len(recorder.calls("/cgi-bin/user/list_id")) == 2


def test_owners_of_groups_are_asked_for_a_hundred_at_a_time(recorder):
    recorder.answers["*"] = {"errcode": 0, "group_chat_list": [{"chat_id": "wr", "status": 0}], "next_cursor": ""}
    assert len(list(wecom().iter_groups([f"u{number}" for number in range(250)]))) == 3
    path = "/cgi-bin/externalcontact/groupchat/list"
    assert [len(got.json["owner_filter"]["userid_list"]) for got in recorder.calls(path)] == [100, 100, 50]


def test_statistics_of_groups_are_read_to_the_last_offset(recorder):
    recorder.answers["*"] = [
        {"errcode": 0, "total": 3, "items": [{"owner": "a"}, {"owner": "b"}], "next_offset": 2},
        {"errcode": 0, "total": 3, "items": [{"owner": "c"}], "next_offset": 3},
    ]
    assert len(wecom().list_group_statistics(["a", "b", "c"], day_begin_time=DAY)) == 3
    path = "/cgi-bin/externalcontact/groupchat/statistic"
    assert [got.json["offset"] for got in recorder.calls(path)] == [0, 2]
