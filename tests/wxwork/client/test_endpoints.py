"""Every method against the simulator: as a company uses them, one family after the other."""

import time

import pytest

from wxwork.client import Client, wecom
from wxwork.errors import BugError, BusinessError, ConfigError, DataError, LaterError, LoginError, MediaError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)
DAY = 86_400


@pytest.fixture
def client(simulator):
    return wecom()


@pytest.fixture
def pair(simulator, client):
    """Somebody of staff, and a customer whom they follow."""
    for userid in client.list_follow_staff():
        found = client.list_customer_ids(userid)
        if found:
            return userid, found[0]
    raise AssertionError


def yesterday(simulator):
    now = int(simulator.corp.clock.now())
    return now - (now + 8 * 3600) % DAY - DAY


def test_departments_and_staff(client):
    departments = client.list_departments()
    assert {100, 101} <= {one["id"] for one in departments}
    assert {one["id"] for one in client.list_department_ids()} == {one["id"] for one in departments}
    assert {one["id"] for one in client.list_departments(100)} < {one["id"] for one in departments}
    assert client.get_department(100)["name"] == next(one["name"] for one in departments if one["id"] == 100)
    members = [member for one in departments for member in client.list_staff(one["id"])]
    names = [member for one in departments for member in client.list_staff_names(one["id"])]
    pairs = {(one["userid"], one["department"]) for one in client.iter_staff_ids()}
    assert {one["userid"] for one in members} == {one["userid"] for one in names} == {userid for userid, _ in pairs}
    someone = members[0]
    assert client.get_staff(someone["userid"].upper())["userid"] == someone["userid"]
    with pytest.raises(DataError) as caught:
        client.get_department(999_999)
    assert caught.value.code == 60003
    with pytest.raises(DataError) as caught:
        client.get_staff("nobody")
    assert caught.value.code == 60111
    with pytest.raises(DataError) as caught:
        client.find_userid("19900000000")
    assert caught.value.code == 46004


def test_membership_of_everybody_wants_the_secret_of_contacts_sync(simulator, client):
    simulator.act("set_app", agentid=1000025, contacts_sync=False)
    with pytest.raises(ConfigError) as caught:
        list(client.iter_staff_ids())
    assert caught.value.code == 48002


def test_customers(simulator, client, pair):
    userid, external_userid = pair
    found = client.get_customer(external_userid)
    assert found["external_contact"]["external_userid"] == external_userid
    assert userid in [follow["userid"] for follow in found["follow_user"]]
    staff = client.list_follow_staff()
    rows, cursor = [], ""
    while True:
        page = client.get_customers_of_staff(staff[:100], cursor, 7)
        rows += page["external_contact_list"]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert len({row["external_contact"]["external_userid"] for row in rows}) == 30
    wanted = sorted((one, userid) for userid in staff for one in client.list_customer_ids(userid))
    assert sorted((row["external_contact"]["external_userid"], row["follow_info"]["userid"]) for row in rows) == wanted
    client.remark_customer(userid, external_userid, remark="老客户", description="爱喝茶", mobiles=["13800138000"])
    follow = next(one for one in client.get_customer(external_userid)["follow_user"] if one["userid"] == userid)
    assert (follow["remark"], follow["description"], follow["remark_mobiles"]) == ("老客户", "爱喝茶", ["13800138000"])
    client.remark_customer(userid, external_userid, mobiles=[])
    follow = next(one for one in client.get_customer(external_userid)["follow_user"] if one["userid"] == userid)
    assert (follow["remark"], follow["remark_mobiles"]) == ("老客户", [])
    with pytest.raises(DataError):
        client.get_customer("wmNobody")


def test_followers_of_several_pages(simulator, client, pair):
    external_userid = pair[1]
    following = [follow["userid"] for follow in client.get_customer(external_userid)["follow_user"]]
    for userid in [userid for userid in client.list_follow_staff() if userid not in following][:6]:
        simulator.act("add_customer", staff=userid, external_userid=external_userid)
    simulator.act("set_paging", followers_per_page=2)
    follows = client.get_customer(external_userid)["follow_user"]
    assert len(follows) == len({follow["userid"] for follow in follows}) >= 6
    assert simulator.corp.calls["/cgi-bin/externalcontact/get"] >= 3


def test_tags(client, pair):
    group = client.add_tags(["高意向", {"name": "观望", "order": 9}], group_name="购买意向")
    ids = {tag["name"]: tag["id"] for tag in group["tag"]}
    first, second = ids["高意向"], ids["观望"]
    client.edit_tag(first, name="很高意向", order=3)
    client.edit_tag(group["group_id"], name="意向")
    with pytest.raises(BusinessError) as caught:
        client.edit_tag(first, name="观望")
    assert caught.value.code == 40071
    client.mark_tags(*pair, add_tag=[first, second])
    client.mark_tags(*pair, remove_tag=[second])
    follow = next(one for one in client.get_customer(pair[1])["follow_user"] if one["userid"] == pair[0])
    assert first in [tag.get("tag_id") for tag in follow["tags"]]
    assert second not in [tag.get("tag_id") for tag in follow["tags"]]
    assert group["group_id"] in [one["group_id"] for one in client.list_tags()]
    assert [one["group_name"] for one in client.list_tags(group_ids=[group["group_id"]])] == ["意向"]
    client.delete_tags([first])
    client.delete_tags(group_ids=[group["group_id"]])
    assert group["group_id"] not in [one["group_id"] for one in client.list_tags()]
    with pytest.raises(DataError) as caught:
        client.mark_tags(*pair, add_tag=[first])
    assert caught.value.code == 40068
    assert isinstance(client.list_strategy_tags(), list)


def test_contact_ways(client, pair):
    made = client.add_contact_way(users=[pair[0]], state="expo", remark="展会")
    assert made["qr_code"]
    way = client.get_contact_way(made["config_id"])
    assert (way["type"], way["scene"], way["state"], way["user"]) == (1, 2, "expo", [pair[0]])
    client.update_contact_way(made["config_id"], state="expo2")
    assert client.get_contact_way(made["config_id"])["state"] == "expo2"
    assert list(client.iter_contact_ways()) == [made["config_id"]]
    client.close_temporary_chat(*pair)
    client.delete_contact_way(made["config_id"])
    with pytest.raises(DataError) as caught:
        client.get_contact_way(made["config_id"])
    assert caught.value.code == 41044


def test_welcome_messages(simulator, client):
    added = simulator.act("add_customer", staff="ChenSiYu")
    media_id = client.upload_media("image", "欢迎.png", PNG)
    client.send_welcome(added["welcome_code"], "您好 🙂", [{"msgtype": "image", "image": {"media_id": media_id}}])
    with pytest.raises(BusinessError) as caught:
        client.send_welcome(added["welcome_code"], "您好")
    assert caught.value.code == 41050
    template = client.add_group_welcome("欢迎 %NICKNAME%", medium={"image": {"media_id": media_id}})
    client.edit_group_welcome(template, "欢迎")
    assert client.get_group_welcome(template)["text"] == {"content": "欢迎"}
    client.delete_group_welcome(template)


def test_mass_messages(simulator, client, pair):
    made = client.add_mass_message(external_userids=[pair[1], "wmUnknown"], sender=pair[0], text="今日上新")
    assert made["fail_list"] == ["wmUnknown"]
    simulator.act("set_behaviour", dispatch_seconds=0)
    assert [task["userid"] for task in client.iter_mass_message_tasks(made["msgid"])] == [pair[0]]
    simulator.act("confirm_mass_message", msgid=made["msgid"], userid=pair[0])
    (result,) = client.iter_mass_message_results(made["msgid"], pair[0])
    assert (result["external_userid"], result["status"]) == (pair[1], 1)
    now = int(simulator.corp.clock.now())
    assert [one["msgid"] for one in client.iter_mass_messages(start_time=now - DAY, end_time=now + 60)] == [
        made["msgid"]
    ]
    other = client.add_mass_message(sender=pair[0], text="明日上新")["msgid"]
    client.remind_mass_message(other)
    client.cancel_mass_message(other)
    with pytest.raises(BusinessError) as caught:
        client.cancel_mass_message(other)
    assert caught.value.code == 41093
    simulator.act("set_behaviour", dispatch_seconds=60)
    with pytest.raises(LaterError):
        list(client.iter_mass_message_tasks(client.add_mass_message(sender=pair[0], text="x")["msgid"]))


def test_groups_and_their_codes(simulator, client, pair):
    chat_id = simulator.act("group_create", owner=pair[0], name="福利群", members=[pair[1]])["chat_id"]
    assert chat_id in [one["chat_id"] for one in client.iter_groups()]
    assert [one["chat_id"] for one in client.list_groups([pair[0]])["group_chat_list"]] == [
        one["chat_id"] for one in client.iter_groups([pair[0]])
    ]
    group = client.get_group(chat_id)
    assert (group["name"], group["owner"]) == ("福利群", pair[0])
    assert pair[1] in [member["userid"] for member in group["member_list"]]
    begin = yesterday(simulator)
    assert [row["owner"] for row in client.list_group_statistics([pair[0]], day_begin_time=begin)] == [pair[0]]
    assert len(client.list_group_statistics_by_day([pair[0]], day_begin_time=begin)) == 1
    code = client.add_join_way([chat_id], state="expo", remark="入群")
    assert client.get_join_way(code)["chat_id_list"] == [chat_id]
    client.update_join_way(code, [chat_id], state="expo2")
    assert client.get_join_way(code)["state"] == "expo2"
    client.delete_join_way(code)
    with pytest.raises(DataError):
        client.get_join_way(code)
    with pytest.raises(DataError) as caught:
        client.find_chat_id("oUnknown")
    assert caught.value.code in (90509, 90511)


def test_transfers(simulator, client, pair):
    taker = next(one for one in client.list_follow_staff() if one != pair[0])
    assert client.transfer_customers(pair[0], taker, [pair[1], "wmUnknown"], message="由我为您服务") == [
        {"external_userid": pair[1], "errcode": 0},
        {"external_userid": "wmUnknown", "errcode": 40096},
    ]
    (waiting,) = client.iter_transfer_results(pair[0], taker)
    assert (waiting["external_userid"], waiting["status"]) == (pair[1], 2)
    chat_id = simulator.act("group_create", owner=pair[0], name="群", members=[])["chat_id"]
    assert client.transfer_groups([chat_id], taker) == []
    assert client.get_group(chat_id)["owner"] == taker
    leaver = next(one for one in client.list_follow_staff() if one not in pair and client.list_customer_ids(one))
    theirs = client.list_customer_ids(leaver)
    own = simulator.act("group_create", owner=leaver, name="群2", members=[])["chat_id"]
    simulator.act("staff_leaves", userid=leaver)
    assert {one["external_userid"] for one in client.iter_unassigned()} == set(theirs)
    assert client.transfer_customers(leaver, pair[0], theirs[:1], has_left=True) == [
        {"external_userid": theirs[0], "errcode": 0}
    ]
    (result,) = client.iter_transfer_results(leaver, pair[0], has_left=True)
    assert result["external_userid"] == theirs[0]
    assert client.transfer_groups([own], pair[0], has_left=True) == []


def test_statistics(simulator, client, pair):
    begin = yesterday(simulator) - 6 * DAY
    rows = client.list_contact_statistics(userids=[pair[0]], start_time=begin, end_time=begin + 6 * DAY)
    assert len(rows) == 7
    assert {"stat_time", "new_contact_cnt", "negative_feedback_cnt"} <= rows[0].keys()


def test_media(simulator, client):
    media_id = client.upload_media("image", "海报🙂.png", PNG)
    content, content_type = client.download_media(media_id)
    assert (content, content_type) == (PNG, "image/png")
    assert client.upload_image("海报.png", PNG).startswith("http")
    assert client.upload_attachment("image", "海报.png", PNG)
    with pytest.raises(MediaError) as caught:
        client.download_media("unknown")
    assert caught.value.code == 40007
    simulator.act("advance_clock", seconds=3 * DAY + 1)
    with pytest.raises(MediaError):
        client.download_media(media_id)


def test_a_file_of_json_is_a_file(client):
    content = b'{"errcode": 40001, "errmsg": "a file that looks like an error"}'
    media_id = client.upload_media("file", "结果.json", content)
    assert client.download_media(media_id)[0] == content


def test_app_messages(client, settings, pair):
    sent = client.send_app_message("text", "新客户待跟进", userids=[pair[0], "nobody"])
    assert sent["invaliduser"] == "nobody"
    client.recall_app_message(sent["msgid"])
    client.send_app_message("textcard", {"title": "待办", "description": "三位", "url": "https://a.example.com"},
                            to_everybody=True)  # fmt: skip
    with pytest.raises(DataError) as caught:
        client.send_app_message("markdown", "**好**", userids=["nobody"])
    assert caught.value.code == 81013
    card = {"card_type": "button_interaction", "main_title": {"title": "认领"}, "task_id": "t1",
            "button_list": [{"text": "认领", "key": "k"}]}  # fmt: skip
    code = client.send_app_message("template_card", card, userids=[pair[0]]).get("response_code")
    if code:
        assert client.update_template_card(code, userids=[pair[0]], button="已认领") == []
    settings.WXWORK_AGENT_ID = "1000099"
    with pytest.raises(ConfigError) as caught:
        client.send_app_message("text", "x", userids=[pair[0]])
    assert caught.value.code in (301002, 40056)
    settings.WXWORK_AGENT_ID = ""
    with pytest.raises(ConfigError, match="WXWORK_AGENT_ID"):
        client.send_app_message("text", "x", userids=[pair[0]])


def test_logins_addresses_and_tickets(simulator, client, pair):
    assert client.get_login(simulator.act("login_code", userid=pair[0])["code"])["userid"] == pair[0]
    code = simulator.act("login_code", userid=pair[0], private=True)["code"]
    found = client.get_login(code)
    assert client.get_login_details(found["user_ticket"])["userid"] == pair[0]
    with pytest.raises(LoginError):
        client.get_login(code)
    stranger = client.get_login(simulator.act("login_code", external_userid=pair[1])["code"])
    assert "userid" not in stranger
    assert client.list_callback_ips()
    assert client.list_api_ips()
    assert client.get_corp_ticket()[1] > 7000
    assert client.get_agent_ticket() != client.get_corp_ticket()


# ---------------------------------------------------------------------------------------- malformed and huge arguments
LONE = "\ud83d"
BAD = {
    "get_staff": [("",), (" ",), ("x" * 65,), ("王" * 22,), (None,), (1,), (LONE,), ("a\nb",), (["a"],)],
    "get_customer": [("",), ("x" * 65,), (b"wm",), ("wm\x00",)],
    "list_customer_ids": [("",), (None,)],
    "get_department": [(0,), (-1,), (2**32,), ("1",), (True,), (1.0,), (None,)],
    "list_staff": [(0,), (None,)],
    "list_departments": [("1",), (0,)],
    "get_customers_of_staff": [([],), (["a"] * 0,), ([f"u{n}" for n in range(101)],), ("abc",), (["a", ""],),
                               (["a"], "x" * 5000), (["a"], None), (["a"], "", 0), (["a"], "", 101), (["a"], "", "1")],
    "mark_tags": [("a", "wm"), ("a", "wm", [""]), ("", "wm", ["t"]), ("a", "wm", [f"t{n}" for n in range(3001)]),
                  ("a", "wm", "t")],
    "list_tags": [([],), ([f"t{n}" for n in range(1001)],)],
    "delete_tags": [(), ([], [])],
    "edit_tag": [("t",), ("",)],
    "get_contact_way": [("",), ("x" * 65,)],
    "send_welcome": [("", "x"), ("c",), ("c", ""), ("c", "王" * 1334), ("c", None), ("c", LONE),
                     ("c", "x", [{"msgtype": "image", "image": {}}]), ("c", "x", [{"msgtype": "music", "music": {}}]),
                     ("c", "x", ["image"]), ("c", "x", [{"msgtype": "link", "link": {"title": "x" * 129, "url": "u"}}]),
                     ("c", "x", [{"msgtype": "video", "video": {"media_id": "m"}}] * 10)],
    "get_group": [("",), (None,)],
    "list_groups": [([f"u{n}" for n in range(101)],)],
    "transfer_customers": [("a", "b", []), ("a", "b", [f"w{n}" for n in range(101)]), ("", "b", ["w"])],
    "transfer_groups": [([], "b"), (["c"], "")],
    "upload_media": [("image", "a.png", b"12345"), ("image", "a.png", bytes(5 * 1024 * 1024 + 1)), ("song", "a", PNG),
                     ("image", "", PNG), ("image", "a.png", "text"), ("image", "a\r\nX: y.png", PNG)],
    "download_media": [("",), ("x" * 513,)],
    "get_login": [("",), ("x" * 513,), (None,)],
    "find_userid": [("",), ("1" * 33,)],
    "recall_app_message": [("",)],
}  # fmt: skip


@pytest.mark.parametrize(("method", "given"), [(name, one) for name, many in BAD.items() for one in many])
def test_wrong_arguments_are_refused_before_anything_is_sent(recorder, method, given):
    with pytest.raises(BugError):
        getattr(Client(), method)(*given)
    assert recorder.got == []


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("remark_customer", {"userid": "a", "external_userid": "wm"}),
        ("remark_customer", {"userid": "a", "external_userid": "wm", "remark": "王" * 21}),
        ("remark_customer", {"userid": "a", "external_userid": "wm", "description": "王" * 151}),
        ("remark_customer", {"userid": "a", "external_userid": "wm", "mobiles": [13800138000]}),
        ("add_tags", {"names": [], "group_name": "x"}),
        ("add_tags", {"names": ["x"]}),
        ("add_tags", {"names": ["王" * 31], "group_name": "x"}),
        ("add_tags", {"names": [{"title": "x"}], "group_name": "x"}),
        ("add_tags", {"names": [{"name": "x", "order": -1}], "group_name": "x"}),
        ("add_contact_way", {}),
        ("add_contact_way", {"users": [f"u{n}" for n in range(101)]}),
        ("add_contact_way", {"users": ["a"], "state": "x" * 31}),
        ("add_contact_way", {"users": ["a"], "scene": 3}),
        ("add_contact_way", {"users": ["a"], "expires_in_seconds": 15 * DAY}),
        ("add_contact_way", {"users": ["a"], "conclusions": {"x": object()}}),
        ("add_group_welcome", {}),
        ("add_group_welcome", {"text": "王" * 1001}),
        ("add_group_welcome", {"text": "x", "medium": {"image": {"media_id": "m"}, "video": {"media_id": "m"}}}),
        ("add_mass_message", {"text": "x"}),
        ("add_mass_message", {"sender": "a"}),
        ("add_mass_message", {"chat_ids": ["c"], "text": "x"}),
        ("add_mass_message", {"external_userids": [f"w{n}" for n in range(10_001)], "text": "x"}),
        ("add_mass_message", {"tag_groups": [[f"t{n}" for n in range(101)]], "text": "x"}),
        ("send_app_message", {"kind": "text", "content": "x"}),
        ("send_app_message", {"kind": "song", "content": "x", "userids": ["a"]}),
        ("send_app_message", {"kind": "text", "content": "王" * 683, "userids": ["a"]}),
        ("send_app_message", {"kind": "text", "content": "", "userids": ["a"]}),
        ("send_app_message", {"kind": "text", "content": 5, "userids": ["a"]}),
        ("send_app_message", {"kind": "text", "content": "x", "userids": [f"u{n}" for n in range(1001)]}),
        ("send_app_message", {"kind": "text", "content": "x", "userids": ["a"], "duplicate_check_seconds": 99_999}),
        ("send_app_message", {"kind": "news", "content": {"articles": [{}] * 9}, "userids": ["a"]}),
        ("send_app_message", {"kind": "news", "content": {"articles": "x"}, "userids": ["a"]}),
        ("add_join_way", {"chat_ids": [f"c{n}" for n in range(6)]}),
        ("add_join_way", {"chat_ids": []}),
        ("list_group_statistics", {"owners": ["a"], "day_begin_time": int(time.time() * 1000)}),
        ("list_group_statistics", {"owners": ["a"], "day_begin_time": 100, "day_end_time": 99}),
        ("list_contact_statistics", {"start_time": 0, "end_time": 1}),
        ("list_contact_statistics", {"userids": ["a"], "start_time": 0, "end_time": 31 * DAY}),
        ("upload_attachment", {"kind": "voice", "filename": "a.amr", "content": PNG}),
        ("update_template_card", {"response_code": "x"}),
    ],
)
def test_wrong_keyword_arguments_are_refused_before_anything_is_sent(recorder, method, given):
    with pytest.raises(BugError):
        getattr(Client(), method)(**given)
    assert recorder.calls("/cgi-bin/gettoken") == []


def test_lists_are_sent_once_each_in_their_order(recorder):
    recorder.answers["*"] = {"errcode": 0}
    wecom().mark_tags("a", "wm", ["t2", "t1", "t2"])
    assert recorder.got[-1].json["add_tag"] == ["t2", "t1"]
