"""Customers and relations: what each call shows in each state, pages, and what writes do and do not tell."""

import pytest

from wxwork.simulator import SimulatorServer


@pytest.fixture
def friend(simulator: SimulatorServer) -> tuple[str, str]:
    """(external_userid, userid) of somebody whom ChenSiYu has just met."""
    made = simulator.act("add_customer", staff="ChenSiYu", state="store-qr", name="周若楠")
    simulator.pushes.forget()
    return made["external_userid"], made["userid"]


def told(simulator):
    return [(push.event, push.change_type) for push in simulator.pushes.record]


def readable(api, external_userid, userid):
    """Return what get, list, batch and remark say of a relation."""
    got = api.get("externalcontact/get", external_userid=external_userid)
    listed = api.get("externalcontact/list", userid=userid)
    batch = api.post("externalcontact/batch/get_by_user", {"userid_list": [userid], "limit": 100})
    remark = api.post("externalcontact/remark", {"userid": userid, "external_userid": external_userid, "remark": "r"})
    rows = [row["external_contact"]["external_userid"] for row in batch["external_contact_list"]]
    return got["errcode"], external_userid in listed["external_userid"], external_userid in rows, remark["errcode"]


def test_a_relation_is_readable_from_the_moment_it_is_two_way(simulator, api):
    made = simulator.act("add_customer", staff="ChenSiYu", half=True)
    customer = made["external_userid"]
    assert told(simulator) == [("change_external_contact", "add_half_external_contact")]
    assert readable(api, customer, "ChenSiYu") == (84061, False, False, 84061)
    simulator.act("confirm_customer", external_userid=customer, userid="ChenSiYu")
    assert told(simulator)[1:] == [("change_external_contact", "add_external_contact")]
    assert readable(api, customer, "ChenSiYu") == (0, True, True, 0)


def test_a_customer_who_removes_the_member_stays_readable(simulator, api, friend):
    simulator.act("customer_deletes_staff", external_userid=friend[0], userid=friend[1])
    assert told(simulator) == [("change_external_contact", "del_follow_user")]
    assert readable(api, *friend) == (0, True, True, 0)


def test_a_customer_whom_the_member_deletes_is_84061(simulator, api, friend):
    simulator.act("delete_customer", external_userid=friend[0], userid=friend[1])
    assert told(simulator) == [("change_external_contact", "del_external_contact")]
    assert readable(api, *friend) == (84061, False, False, 84061)
    unknown = api.get("externalcontact/get", external_userid="wmNobody")
    assert unknown["errcode"] == 40096


def test_adding_again_makes_a_newer_relation_that_keeps_the_notes(simulator, api, friend):
    before = simulator.state.staff["chensiyu"].relations[friend[0]].createtime
    simulator.act("edit_customer", external_userid=friend[0], userid="ChenSiYu", remark="老客户")
    simulator.act("customer_deletes_staff", external_userid=friend[0], userid="ChenSiYu")
    simulator.act("advance_clock", seconds=60)
    simulator.act("readd_customer", external_userid=friend[0], userid="ChenSiYu", state="live")
    follow = api.get("externalcontact/get", external_userid=friend[0])["follow_user"][0]
    assert (follow["remark"], follow["state"]) == ("老客户", "live")
    assert follow["createtime"] >= before + 60


def test_a_transfer_takes_the_customer_from_one_to_the_other(simulator, api, friend):
    simulator.act("transfer_customer", external_userid=friend[0], userid="ChenSiYu", takeover_userid="XuJiaHao")
    xmls = [push.xml for push in simulator.pushes.record]
    assert "<Source><![CDATA[DELETE_BY_TRANSFER]]></Source>" in xmls[0]
    assert "del_external_contact" in xmls[0]
    assert "<UserID><![CDATA[XuJiaHao]]></UserID>" in xmls[1]
    followers = api.get("externalcontact/get", external_userid=friend[0])["follow_user"]
    assert [(row["userid"], row["add_way"]) for row in followers] == [("XuJiaHao", 202)]


def test_get_shows_tags_of_all_three_types_and_the_batch_only_ids_of_two(simulator, api, friend):
    changes = {"tags": ["ettag0101", "sttag0101"], "personal_tags": ["喜欢咖啡"], "mobiles": ["13800138000"]}
    simulator.act("edit_customer", external_userid=friend[0], userid="ChenSiYu", **changes)
    follow = api.get("externalcontact/get", external_userid=friend[0])["follow_user"][0]
    assert follow["tags"] == [
        {"group_name": "客户等级", "tag_name": "普通会员", "tag_id": "ettag0101", "type": 1},
        {"group_name": "规则组-华东", "tag_name": "重点", "tag_id": "sttag0101", "type": 3},
        {"group_name": "个人标签", "tag_name": "喜欢咖啡", "type": 2},
    ]
    batch = api.post("externalcontact/batch/get_by_user", {"userid_list": ["ChenSiYu"], "limit": 100})
    info = next(
        row["follow_info"]
        for row in batch["external_contact_list"]
        if row["external_contact"]["external_userid"] == friend[0]
    )
    assert (info["tag_id"], info["remark_mobiles"]) == (["ettag0101", "sttag0101"], ["13800138000"])
    assert "tags" not in info


def test_writes_of_the_api_change_and_tell_nobody(simulator, api, friend):
    who = {"external_userid": friend[0], "userid": "chensiyu"}
    notes = {
        "remark": "周女士",
        "description": "十月续费",
        "remark_company": "工作室",
        "remark_mobiles": ["13900139066"],
    }
    assert api.post("externalcontact/remark", {**who, **notes})["errcode"] == 0
    marked = api.post("externalcontact/mark_tag", {**who, "add_tag": ["ettag0101", "ettag0102"]})
    assert marked["errcode"] == 0
    assert api.post("externalcontact/mark_tag", {**who, "remove_tag": ["ettag0101"]})["errcode"] == 0
    relation = simulator.state.staff["chensiyu"].relations[friend[0]]
    assert (relation.remark, relation.description, relation.corp_name) == ("周女士", "十月续费", "工作室")
    assert (relation.mobiles, relation.tag_ids) == (("13900139066",), ("ettag0102",))
    assert api.post("externalcontact/remark", {**who, "remark_mobiles": [""]})["errcode"] == 0
    assert relation.mobiles == ()
    assert (relation.remark, told(simulator)) == ("周女士", [])


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("remark", {}, 40058),
        ("remark", {"remark": "很" * 21}, 40058),
        ("remark", {"description": "很" * 151}, 40058),
        ("remark", {"remark": "x", "external_userid": "wmNobody"}, 40096),
        ("remark", {"remark": "x", "userid": "nobody"}, 60111),
        ("remark", {"remark": "x", "userid": "LinWanQing"}, 84061),
        ("remark", {"remark": "x", "userid": ""}, 41009),
        ("remark", {"remark": "x", "external_userid": ""}, 41035),
        ("remark", {"remark_pic_mediaid": "nothing"}, 40007),
        ("mark_tag", {}, 40058),
        ("mark_tag", {"add_tag": ["ettag9999"]}, 40068),
        ("mark_tag", {"add_tag": "ettag0101"}, 40058),
        ("batch/get_by_user", {"userid_list": []}, 40058),
        ("batch/get_by_user", {"userid_list": ["x"] * 101}, 40058),
        ("batch/get_by_user", {"userid_list": ["nobody"]}, 60111),
        ("batch/get_by_user", {"userid_list": ["ChenSiYu"], "cursor": "made up"}, 40058),
    ],
)
def test_wrong_parameters_have_the_contracts_codes(simulator, api, friend, path, body, code):
    who = {"external_userid": friend[0], "userid": friend[1]}
    answer = api.post(f"externalcontact/{path}", {**who, **body} if "userid_list" not in body else body)
    assert answer["errcode"] == code
    assert simulator.state.staff["chensiyu"].relations[friend[0]].remark == ""


def test_a_member_without_customers_is_84061_on_list_and_nothing_in_the_batch(simulator, api):
    simulator.act("staff_joins", userid="SunYue", name="孙悦", departments=[110])
    listed = api.get("externalcontact/list", userid="SunYue")
    assert listed == {"errcode": 84061, "errmsg": "not external contact", "external_userid": []}
    batch = api.post("externalcontact/batch/get_by_user", {"userid_list": ["SunYue"]})
    assert batch == {"errcode": 0, "errmsg": "ok", "external_contact_list": [], "next_cursor": ""}


def test_who_has_no_customer_contact_or_is_out_of_sight_is_not_served(simulator, api, friend):
    simulator.act("staff_changes", userid="ChenSiYu", has_customer_contact=False)
    assert api.get("externalcontact/list", userid="ChenSiYu")["errcode"] == 84074
    assert "ChenSiYu" not in api.get("externalcontact/get_follow_user_list")["follow_user"]
    assert api.get("externalcontact/get", external_userid=friend[0])["errcode"] == 84061
    simulator.act("staff_changes", userid="ChenSiYu", has_customer_contact=True)
    simulator.act("set_visible_departments", departments=[101])
    assert api.get("externalcontact/list", userid="ChenSiYu")["errcode"] == 60011
    assert api.get("user/get", userid="ChenSiYu")["errcode"] == 60111
    assert "OuYangFeng" in api.get("externalcontact/get_follow_user_list")["follow_user"]
    rows = api.get("department/simplelist")["department_id"]
    assert [(row["id"], row["parentid"]) for row in rows] == [(101, 1), (120, 101), (121, 101), (122, 101)]


# --------------------------------------------------------------------------------------------------------------- pages
def read_all(api, userids, limit=100, **more):
    rows, cursor, pages = [], "", 0
    while True:
        answer = api.post(
            "externalcontact/batch/get_by_user",
            {"userid_list": userids, "limit": limit, "cursor": cursor, **more},
        )
        assert answer["errcode"] == 0
        rows += [
            (row["follow_info"]["userid"], row["external_contact"]["external_userid"])
            for row in answer["external_contact_list"]
        ]
        cursor, pages = answer["next_cursor"], pages + 1
        if not cursor:
            return rows, pages


def everybody(simulator):
    return sorted((r.userid, r.external_userid) for r in simulator.state.iter_relations() if r.is_readable)


def test_the_batch_gives_every_relation_once_whatever_the_page(simulator, api):
    userids = [staff.userid for staff in simulator.state.staff.values()]
    total = len(everybody(simulator))
    for limit, pages in [(1, total), (7, -(-total // 7)), (100, 1), (1000, 1)]:
        rows, read = read_all(api, userids, limit)
        assert sorted(rows) == everybody(simulator)
        assert read == pages


def test_a_limit_above_100_is_100_and_none_is_50(simulator, api):
    for _ in range(120):
        simulator.act("add_customer", staff="ChenSiYu")
    batch = "externalcontact/batch/get_by_user"
    assert len(api.post(batch, {"userid_list": ["ChenSiYu"], "limit": 101})["external_contact_list"]) == 100
    assert len(api.post(batch, {"userid_list": ["ChenSiYu"]})["external_contact_list"]) == 50


def test_short_and_empty_pages_lose_nothing(simulator, api):
    simulator.act("set_paging", short_pages=40, empty_pages=30)
    userids = [staff.userid for staff in simulator.state.staff.values()]
    rows, pages = read_all(api, userids, 10)
    assert sorted(rows) == everybody(simulator)
    assert pages > len(rows) / 10


def test_changes_between_pages_neither_repeat_nor_skip_others(simulator, api):
    body = {"userid_list": [staff.userid for staff in simulator.state.staff.values()], "limit": 5}
    before = everybody(simulator)

    def page(cursor):
        answer = api.post("externalcontact/batch/get_by_user", {**body, "cursor": cursor})
        rows = answer["external_contact_list"]
        return [(r["follow_info"]["userid"], r["external_contact"]["external_userid"]) for r in rows], answer[
            "next_cursor"
        ]

    seen, cursor = page("")
    simulator.act("delete_customer", userid=seen[0][0], external_userid=seen[0][1])
    simulator.act("add_customer", staff=seen[-1][0])
    while cursor:
        rows, cursor = page(cursor)
        seen += rows
    assert len(set(seen)) == len(seen)
    assert set(before) <= set(seen)


def test_a_cursor_belongs_to_its_endpoint_and_parameters(simulator, api):
    body = {"userid_list": ["ChenSiYu", "ZhouMingYuan"], "limit": 1}
    for staff in body["userid_list"]:
        simulator.act("add_customer", staff=staff)
    path = "externalcontact/batch/get_by_user"
    cursor = api.post(path, body)["next_cursor"]
    assert cursor != api.post(path, body)["next_cursor"]
    assert api.post(path, {**body, "cursor": cursor, "limit": 50})["errcode"] == 0
    assert api.post(path, {**body, "userid_list": ["ChenSiYu"], "cursor": cursor})["errcode"] == 40058
    assert api.post("user/list_id", {"cursor": cursor})["errcode"] == 40058
    assert api.post(path, {**body, "cursor": cursor[:-2]})["errcode"] == 40058
    simulator.act("set_paging", forget_cursors=True)
    assert api.post(path, {**body, "cursor": cursor})["errcode"] == 40058


def test_followers_come_in_pages_that_repeat_the_customer(simulator, api, friend):
    simulator.act("set_paging", followers_per_page=2)
    for staff in ("XuJiaHao", "ShenYue", "HeTian"):
        simulator.act("add_customer", staff=staff, external_userid=friend[0])
    pages = [api.get("externalcontact/get", external_userid=friend[0])]
    while cursor := pages[-1].get("next_cursor"):
        pages.append(api.get("externalcontact/get", external_userid=friend[0], cursor=cursor))
    followers = [[row["userid"] for row in page["follow_user"]] for page in pages]
    assert followers == [["ChenSiYu", "XuJiaHao"], ["ShenYue", "HeTian"]]
    assert {page["external_contact"]["name"] for page in pages} == {"周若楠"}
    assert "next_cursor" not in pages[-1]
