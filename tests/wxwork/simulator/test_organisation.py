"""Staff who come, change and leave; customers and groups that they leave behind; customer groups; acquisition links."""

from typing import Any

import pytest

from wxwork.simulator import ActError

DAY = 86_400


def told(simulator):
    return [(push.event, push.change_type) for push in simulator.pushes.record]


def last_xml(simulator):
    return simulator.pushes.record[-1].xml


def user(api, userid):
    return api.get("user/get", userid=userid)


# --------------------------------------------------------------------------------------------------------------- staff
def test_staff_come_and_are_found_in_whatever_case(simulator, api):
    simulator.act("staff_joins", userid="SunYue", name="孙悦", departments=[111, 110], position="客户顾问")
    assert "<Department><![CDATA[111,110]]></Department><MainDepartment>111</MainDepartment>" in last_xml(simulator)
    found = user(api, "SUNYUE")
    assert (found["userid"], found["department"], found["main_department"]) == ("SunYue", [111, 110], 111)
    assert "SunYue" in [row["userid"] for row in api.get("user/simplelist", department_id=110)["userlist"]]
    assert "SunYue" in api.get("externalcontact/get_follow_user_list")["follow_user"]


def test_a_new_userid_takes_customers_and_groups_along(simulator, api):
    staff = next(staff for staff in simulator.state.staff.values() if staff.relations)
    old, customers = staff.userid, list(staff.relations)
    simulator.act("staff_changes", userid=old, new_userid="Renamed")
    assert f"<UserID><![CDATA[{old}]]></UserID><NewUserID><![CDATA[Renamed]]></NewUserID>" in last_xml(simulator)
    assert user(api, old)["errcode"] == 60111
    assert api.get("externalcontact/list", userid="renamed")["external_userid"] == [
        one for one in customers if staff.relations[one].is_readable
    ]
    follow = api.get("externalcontact/get", external_userid=customers[0])["follow_user"]
    assert "Renamed" in [row["userid"] for row in follow]
    assert any(group.owner == "Renamed" for group in simulator.state.groups.values())


def test_what_wecom_does_not_tell_of_is_not_told(simulator):
    simulator.act("staff_changes", userid="ChenSiYu", has_customer_contact=False)
    customer = next(iter(simulator.state.customers))
    simulator.act("customer_changes_name", external_userid=customer, name="小雨")
    assert told(simulator) == []
    assert simulator.state.customers[customer].name == "小雨"


def test_departments_are_made_moved_and_deleted(simulator, api):
    simulator.act("department_create", id=130, name="成都店", parentid=101)
    simulator.act("department_update", id=130, parentid=100)
    assert api.get("department/get", id=130)["department"]["parentid"] == 100
    assert 130 in [row["id"] for row in api.get("department/list", id=100)["department"]]
    simulator.act("department_delete", id=130)
    assert api.get("department/get", id=130)["errcode"] == 60003
    assert [change for _event, change in told(simulator)] == ["create_party", "update_party", "delete_party"]
    for bad in ({"id": 100}, {"id": 110}, {"id": 1}, {"id": 999}):
        with pytest.raises(ActError):
            simulator.act("department_delete", **bad)


def leave(simulator) -> tuple[str, list[str]]:
    staff = next(s for s in simulator.state.staff.values() if s.relations)
    customers = list(staff.relations)
    simulator.act("staff_leaves", userid=staff.userid)
    return staff.userid, customers


def test_who_leaves_leaves_customers_unassigned_and_groups_without_owner(simulator, api):
    userid, customers = leave(simulator)
    assert told(simulator) == [("change_contact", "delete_user")]
    assert user(api, userid)["errcode"] == 60111
    assert api.get("externalcontact/list", userid=userid)["errcode"] == 60111
    info = api.post("externalcontact/get_unassigned_list", {"page_size": 1000})
    assert sorted(row["external_userid"] for row in info["info"]) == sorted(customers)
    assert info["is_last"] is True
    owned = [group.chat_id for group in simulator.state.groups.values() if group.owner == userid]
    listed = api.post("externalcontact/groupchat/list", {"limit": 1000})["group_chat_list"]
    assert not set(owned) & {row["chat_id"] for row in listed}
    theirs = {"limit": 1000, "owner_filter": {"userid_list": [userid]}, "status_filter": 1}
    assert api.post("externalcontact/groupchat/list", theirs)["group_chat_list"] == [{"chat_id": owned[0], "status": 1}]


def test_unassigned_customers_and_groups_are_handed_on(simulator, api):
    userid, customers = leave(simulator)
    taker = next(s.userid for s in simulator.state.staff.values() if customers[0] not in s.relations)
    body = {"handover_userid": userid, "takeover_userid": taker, "external_userid": [customers[0], "wmNobody"]}
    asked = api.post("externalcontact/resigned/transfer_customer", body)
    assert [row["errcode"] for row in asked["customer"]] == [0, 40096]
    again = api.post("externalcontact/resigned/transfer_customer", body)
    assert again["customer"][0]["errcode"] == 40100
    simulator.act("advance_clock", seconds=DAY)
    api.token = api.new_token()
    result = api.post("externalcontact/resigned/transfer_result", {**body, "cursor": ""})
    assert [(row["external_userid"], row["status"]) for row in result["customer"]] == [(customers[0], 1)]
    assert taker in [f["userid"] for f in api.get("externalcontact/get", external_userid=customers[0])["follow_user"]]
    assert told(simulator)[-1] == ("change_external_contact", "add_external_contact")
    chat_id = next(group.chat_id for group in simulator.state.groups.values() if group.owner == userid)
    hand = {"chat_id_list": [chat_id], "new_owner": taker}
    onjob = api.post("externalcontact/groupchat/onjob_transfer", hand)["failed_chat_list"]
    assert [row["errcode"] for row in onjob] == [90502]
    assert api.post("externalcontact/groupchat/transfer", hand)["failed_chat_list"] == []
    assert api.post("externalcontact/groupchat/transfer", hand)["failed_chat_list"][0]["errcode"] == 90508
    assert (simulator.state.groups[chat_id].owner, simulator.state.groups[chat_id].status) == (taker, 3)


def transfer(simulator, api) -> tuple[str, dict[str, Any]]:
    customer = simulator.act("add_customer", staff="ChenSiYu")["external_userid"]
    body = {"handover_userid": "ChenSiYu", "takeover_userid": "XuJiaHao"}
    asked = api.post("externalcontact/transfer_customer", {**body, "external_userid": [customer]})
    assert asked["customer"] == [{"external_userid": customer, "errcode": 0}]
    simulator.pushes.forget()
    return customer, body


def test_a_transfer_waits_a_day_and_then_is_told(simulator, api):
    customer, body = transfer(simulator, api)
    waiting = api.post("externalcontact/transfer_result", body)["customer"][0]
    assert waiting["status"] == 2
    assert waiting["takeover_time"] > simulator.state.clock.seconds()
    assert simulator.act("advance_clock", seconds=DAY)["transfers"] == 1
    assert told(simulator) == [
        ("change_external_contact", "del_external_contact"), ("change_external_contact", "add_external_contact"),
    ]  # fmt: skip
    api.token = api.new_token()
    assert api.post("externalcontact/transfer_result", body)["customer"][0]["status"] == 1
    followers = api.get("externalcontact/get", external_userid=customer)["follow_user"]
    assert [row["userid"] for row in followers] == ["XuJiaHao"]


def test_a_customer_may_refuse_and_a_taker_may_be_full(simulator, api):
    _customer, body = transfer(simulator, api)
    simulator.act("fail_transfers")
    assert "<FailReason><![CDATA[customer_refused]]></FailReason>" in last_xml(simulator)
    assert api.post("externalcontact/transfer_result", body)["customer"][0]["status"] == 3
    other, _body = transfer(simulator, api)
    simulator.act("staff_changes", userid="XuJiaHao", customer_limit=0)
    simulator.act("advance_clock", seconds=DAY)
    assert "<FailReason><![CDATA[customer_limit_exceed]]></FailReason>" in last_xml(simulator)
    assert [r.userid for r in simulator.state.customers[other].relations] == ["ChenSiYu"]
    api.token = api.new_token()
    full = api.post("externalcontact/transfer_customer", {**body, "external_userid": [other]})
    assert full["customer"][0]["errcode"] == 40099
    resigned = api.post("externalcontact/resigned/transfer_customer", {**body, "external_userid": [other]})
    assert resigned["errcode"] == 40097


# -------------------------------------------------------------------------------------------------------------- groups
def test_member_versions_join_up(simulator, api):
    customer = next(iter(simulator.state.customers))
    chat_id = simulator.act("group_create", owner="ChenSiYu", name="福利群")["chat_id"]

    def group():
        return api.post("externalcontact/groupchat/get", {"chat_id": chat_id, "need_name": 1})["group_chat"]

    before = group()["member_version"]
    after = simulator.act("group_join", chat_id=chat_id, members=[customer, "wmStranger"], state="expo")
    xml = last_xml(simulator)
    assert f"<LastMemVer><![CDATA[{before}]]></LastMemVer>" in xml
    assert f"<CurMemVer><![CDATA[{after['member_version']}]]></CurMemVer>" in xml
    items = f"<Item><![CDATA[{customer}]]></Item><Item><![CDATA[wmStranger]]></Item>"
    assert f"<MemChangeCnt>2</MemChangeCnt><MemChangeList>{items}</MemChangeList>" in xml
    assert group()["member_version"] == after["member_version"]
    rows = {row["userid"]: row for row in group()["member_list"]}
    assert (rows[customer]["type"], rows[customer]["join_scene"], rows[customer]["state"]) == (2, 3, "expo")
    assert rows["ChenSiYu"]["type"] == 1
    simulator.act("group_leave", chat_id=chat_id, members=["wmStranger"], scene=1)
    assert "<UpdateDetail><![CDATA[del_member]]></UpdateDetail><QuitScene>1</QuitScene>" in last_xml(simulator)
    assert len(group()["member_list"]) == 2


def test_a_groups_details_may_lag_behind_its_callback(simulator, api):
    chat_id = next(iter(simulator.state.groups))
    simulator.act("set_behaviour", group_lag_seconds=3)
    before = simulator.state.groups[chat_id].version
    after = simulator.act("group_join", chat_id=chat_id, members=["wmStranger"])["member_version"]

    def version():
        answer = api.post("externalcontact/groupchat/get", {"chat_id": chat_id})
        return answer["group_chat"]["member_version"]

    assert version() == before
    simulator.act("advance_clock", seconds=4)
    assert version() == after


def test_other_changes_of_a_group_carry_no_values(simulator, api):
    chat_id = next(iter(simulator.state.groups))
    simulator.act("group_rename", chat_id=chat_id, name="新群名")
    simulator.act("group_notice", chat_id=chat_id, notice="周五上新")
    simulator.act("group_change_owner", chat_id=chat_id, owner="LinWanQing")
    assert all("新群名" not in push.xml and "LinWanQing" not in push.xml for push in simulator.pushes.record)
    group = api.post("externalcontact/groupchat/get", {"chat_id": chat_id})["group_chat"]
    assert (group["name"], group["notice"], group["owner"]) == ("新群名", "周五上新", "LinWanQing")
    assert "name" not in group["member_list"][0]
    simulator.act("group_dismiss", chat_id=chat_id)
    assert api.post("externalcontact/groupchat/get", {"chat_id": chat_id})["errcode"] == 49008
    assert api.post("externalcontact/groupchat/get", {"chat_id": "wrNobody"})["errcode"] == 40058


def test_the_list_of_groups_wants_a_limit_and_with_many_staff_owners(simulator, api):
    for limit in ({}, {"limit": 0}, {"limit": 1001}):
        assert api.post("externalcontact/groupchat/list", limit)["errcode"] == 40058
    simulator.act("set_behaviour", most_owners=3)
    assert api.post("externalcontact/groupchat/list", {"limit": 10})["errcode"] == 81017
    pages, cursor = [], ""
    simulator.act("set_behaviour", most_owners=1000)
    while True:
        page = api.post("externalcontact/groupchat/list", {"limit": 4, "cursor": cursor})
        pages.append(len(page["group_chat_list"]))
        if not (cursor := page["next_cursor"]):
            break
    assert pages == [4, 2]


# ---------------------------------------------------------------------------------------------- acquisition, statistics
def test_an_acquired_customer_comes_with_link_and_state(simulator, api):
    link_id = simulator.act("acquisition_link", userids=["ChenSiYu"])["link_id"]
    customer = simulator.act("add_customer", staff="ChenSiYu", link_id=link_id, state="douyin_a")["external_userid"]
    assert f"<LinkId><![CDATA[{link_id}]]></LinkId>" in last_xml(simulator)
    follow = api.get("externalcontact/get", external_userid=customer)["follow_user"][0]
    assert (follow["add_way"], follow["state"]) == (16, "douyin_a")
    gained = api.post("externalcontact/customer_acquisition/customer", {"link_id": link_id})["customer_list"]
    assert [(row["external_userid"], row["state"]) for row in gained] == [(customer, "douyin_a")]
    simulator.act("customer_deletes_staff", external_userid=customer, userid="ChenSiYu", link_id=link_id)
    assert told(simulator)[-2:] == [
        ("change_external_contact", "del_follow_user"), ("customer_acquisition", "del_follow_user"),
    ]  # fmt: skip


def test_statistics_are_of_yesterday_and_before(simulator, api):
    simulator.act("add_customer", staff="ChenSiYu")
    customer = simulator.act("add_customer", staff="ChenSiYu")["external_userid"]
    simulator.act("customer_deletes_staff", external_userid=customer, userid="ChenSiYu")
    now = simulator.state.clock.seconds()
    path = "externalcontact/get_user_behavior_data"
    assert api.post(path, {"userid": ["ChenSiYu"], "start_time": now, "end_time": now})["errcode"] == 40058
    simulator.act("advance_clock", seconds=DAY)
    api.token = api.new_token()
    day = api.post(path, {"userid": ["ChenSiYu"], "start_time": now, "end_time": now})["behavior_data"][0]
    assert (day["new_contact_cnt"], day["negative_feedback_cnt"]) == (2, 1)


def test_a_corp_may_tell_little_of_its_contacts(simulator):
    simulator.act("set_behaviour", tells_little_of_contacts=True)
    simulator.act("staff_joins", userid="SunYue", name="孙悦", departments=[111, 110])
    assert "<UserID><![CDATA[SunYue]]></UserID><Department><![CDATA[111,110]]></Department></xml>" in last_xml(
        simulator
    )
    simulator.act("staff_changes", userid="SunYue", name="孙越")
    assert [change for _event, change in told(simulator)] == ["create_user"]
