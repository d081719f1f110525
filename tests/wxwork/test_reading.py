"""Read WeCom's JSON: both shapes, and what is missing, unknown or of the wrong type."""

from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from wxwork.reading import read_customer, read_department, read_page, read_staff, read_tag_groups

NOW = datetime(2026, 11, 25, tzinfo=UTC)
CONTACT = {
    "external_userid": "wmQx7DCwAAk3bTzV8yP0sJh2", "name": "周若楠", "avatar": "http://wx.qlogo.cn/0", "type": 1,
    "gender": 2, "unionid": "oQx7D5w", "something_new": {"a": 1},
}  # fmt: skip
FOLLOW = {
    "userid": "linxiaoyu", "remark": "周女士-会员", "description": "偏好下午联系", "createtime": 1789981200,
    "tags": [
        {"group_name": "客户等级", "tag_name": "VIP", "tag_id": "et11", "type": 1},
        {"group_name": "我的标签", "tag_name": "喜欢咖啡", "type": 2},
        {"group_name": "规则组-华东", "tag_name": "重点", "tag_id": "st31", "type": 3},
    ],
    "remark_mobiles": ["13800138088", ""], "add_way": 1, "state": "expo2026_hz", "oper_userid": "x",
}  # fmt: skip


def test_both_shapes() -> None:
    one = read_customer({"external_contact": CONTACT, "follow_user": [FOLLOW]}, read_at=NOW)
    assert one is not None
    assert one.fields == {
        "name": "周若楠", "avatar": "http://wx.qlogo.cn/0", "type": 1, "gender": 2, "unionid": "oQx7D5w",
    }  # fmt: skip
    follow = one.follows["linxiaoyu"]
    assert (follow.remark, follow.mobiles, follow.tag_ids, follow.personal_tags, follow.add_way, follow.state) == (
        "周女士-会员", ("13800138088",), ("et11", "st31"), (("我的标签", "喜欢咖啡"),), 1, "expo2026_hz",
    )  # fmt: skip
    assert (follow.created_at, follow.read_at) == (datetime.fromtimestamp(1789981200, UTC), NOW)
    row = {"external_contact": CONTACT, "follow_info": {**FOLLOW, "tags": None, "tag_id": ["et11", "st31"]}}
    (page,) = read_page([row], read_at=NOW)
    assert page.follows["linxiaoyu"].tag_ids == ("et11", "st31")
    assert page.follows["linxiaoyu"].personal_tags is None
    assert page.followed_at == follow.created_at


def test_wrong_types_are_as_if_not_there() -> None:
    odd = {
        "external_userid": "wm1", "name": None, "type": "2", "gender": 9, "corp_name": 7, "position": "经理\x00",
    }  # fmt: skip
    one = read_customer(
        {
            "external_contact": odd,
            "follow_user": [
                {"userid": "chen", "createtime": "1789981200", "tags": "x", "remark_mobiles": None, "add_way": "16"},
                {"userid": ""}, None, "x", {"remark": "nobody"},
            ],
        },
        read_at=NOW,
    )  # fmt: skip
    assert one is not None
    assert one.fields == {"type": 2, "position": "经理"}
    assert list(one.follows) == ["chen"]
    assert (one.follows["chen"].add_way, one.follows["chen"].mobiles, one.follows["chen"].tag_ids) == (16, (), ())
    assert read_customer({"external_contact": {"name": "x"}, "follow_user": []}, read_at=NOW) is None
    assert read_page([None, {}, {"external_contact": {"external_userid": ""}}], read_at=NOW) == []


def test_a_customer_of_two_members_comes_once() -> None:
    rows = [{"external_contact": CONTACT, "follow_info": {**FOLLOW, "userid": userid}} for userid in ("chen", "lin")]
    (one,) = read_page(rows, read_at=NOW)
    assert list(one.follows) == ["chen", "lin"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = [
    "external_contact", "follow_user", "follow_info", "external_userid", "userid", "name", "type", "gender", "tags",
    "tag_id", "createtime", "remark_mobiles", "add_way", "unionid", "id", "parentid", "order", "department", "status",
    "group_id", "tag", "deleted", "main_department", "group_name", "tag_name",
]  # fmt: skip
objects = st.recursive(
    st.dictionaries(st.sampled_from(NAMES), json_values, max_size=6),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner | st.lists(inner, max_size=2), max_size=6),
    max_leaves=6,
)


@given(objects)
def test_nothing_that_wecom_could_send_breaks_it(value: Any) -> None:
    read_customer(value, read_at=NOW)
    read_page([value], read_at=NOW)
    read_staff(value)
    read_department(value)
    read_tag_groups([value])


def test_staff_and_departments() -> None:
    staff = read_staff(
        {
            "userid": "LinXiaoYu",
            "name": "林晓雨",
            "department": [3, "2"],
            "main_department": 2,
            "status": 1,
            "alias": "雨",
        }
    )
    assert staff is not None
    assert (staff.departments, staff.main_department, staff.alias) == ((2, 3), 2, "雨")
    bare = read_staff({"userid": "x"})
    assert bare is not None
    assert (bare.name, bare.departments, bare.main_department, bare.status) == ("x", (), None, 1)
    root = read_department({"id": 1, "name": "星河", "parentid": 0, "order": 5})
    assert root is not None
    assert root.parent is None
    assert read_department({"id": 0}) is None
