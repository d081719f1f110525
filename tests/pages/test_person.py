"""A customer's page, and what can be done there."""

import re
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from customers.audit import subject_of
from customers.directory import find, upsert
from customers.lookup import CACHE, find_customer
from customers.models import Audit, Erasure, Note, Tag
from customers.moves import move_customer
from customers.notes import MAX_LENGTH, add_note
from customers.records import CustomerData, FollowData
from profiles.behaviours import record_behaviours
from profiles.models import ProfileRun
from scrm import sharding
from scrm.demo.company import Company
from tests.pages.people import seed_organisation

from .conftest import LONG_NAME

LIST = "/admin/customers/customer/"


@pytest.fixture
def person(clean_databases: None) -> int:
    """Somebody with everything: two follows, one of them lost, mobiles, attributes, tags of both kinds."""
    seed_organisation(Company(seed=1, now=timezone.localtime()))
    tea, silver = Tag.objects.get(name="茶具").id, Tag.objects.get(name="银卡会员").id
    now = timezone.now()
    customer_id, _ = upsert(
        CustomerData(
            "wm-person",
            {
                "name": LONG_NAME, "gender": 2, "mobile": "13812345678", "corp_name": "青岚",
                "attributes": {"会员号": "QL1", "等级": 3, "尺码": ["M", "L"]},
                "avatar": "https://wx.qlogo.cn/x/0",
            },
            home=100,
            follows=(
                FollowData(
                    "ChenSiYu", remark="老客", mobiles=("13900001111",), add_way=1, created_at=now, tag_ids=(tea,)
                ),
                FollowData("HeTian", add_way=16, created_at=now - timedelta(days=3), lost_at=now),
            ),
            tag_ids=(silver,),
        )
    )  # fmt: skip
    return customer_id


def url(customer_id: int, path: str = "") -> str:
    return f"{LIST}{customer_id}/{path}"


def said(client: Client, answer: object) -> str:
    return client.get(answer.headers["Location"]).content.decode()  # type: ignore[attr-defined]


def test_the_page_shows_it_all(admin: Client, person: int) -> None:
    html = admin.get(url(person)).content.decode()
    for text in (
        LONG_NAME, "wm-person", str(person), "dept_100", "女", "陈思雨", "上海南京西路店", "扫描二维码", "获客链接",
        "已流失", "茶具", "银卡会员", "会员号", "QL1", "等级", "138****5678", "139****1111", "还没有画像",
        "还没有购买或互动",
    ):  # fmt: skip
        assert text in html
    assert "13812345678" not in html
    assert "13900001111" not in html
    assert 'src="https://wx.qlogo.cn' not in html


def test_the_class_and_why(admin: Client, classified: ProfileRun) -> None:
    run = classified
    rich = re.findall(r'customer/(\d{13})/"', admin.get(f"{LIST}?profile=高价值客户").content.decode())[0]
    html = admin.get(url(int(rich))).content.decode()
    assert "依据第 1 版的第 1 条规则" in html
    assert "购买次数 &gt; 5" in html
    assert f"任务 {run.pk}" in html
    poor = re.findall(r'customer/(\d{13})/"', admin.get(f"{LIST}?profile=潜在客户").content.decode())[0]
    html = admin.get(url(int(poor))).content.decode()
    assert "没有任何规则全部符合，因此归入默认画像" in html
    assert "规则 1「高价值客户」不符合" in html


def test_behaviours_page_by_page(admin: Client, person: int) -> None:
    start = timezone.now() - timedelta(days=40)
    items = [
        {
            "event_id": f"e{n}", "external_userid": "wm-person", "kind": "purchase", "channel": "store",
            "amount": f"{n}.00", "occurred_at": (start + timedelta(hours=n // 3)).isoformat(),
            "detail": {"商品": ["陶杯", "白茶"]},
        }
        for n in range(1, 31)
    ]  # fmt: skip
    refund = {**items[29], "event_id": "r", "kind": "refund", "amount": "12.50", "refers_to": "e30"}
    assert record_behaviours([*items, refund], source="shop", now=timezone.now()).accepted == 31
    pages, at = [], url(person)
    while at:
        html = admin.get(at).content.decode()
        pages.append(re.findall(r"· 来源 shop · <span class=\"scrm-mono\">(\w+)</span>", html))
        more = re.search(r'hx-get="(/admin/profiles/profilerun/behaviours/[^"]+)"', html)
        at = more[1].replace("&amp;", "&") if more else ""
    assert [len(page) for page in pages] == [12, 12, 7]
    shown = [event for page in pages for event in page]
    assert sorted(shown) == sorted(["r", *(f"e{n}" for n in range(1, 31))])
    first = admin.get(url(person)).content.decode()
    assert "-¥12.50" in first
    assert "已退 ¥12.50" in first
    assert "退自" in first
    assert "陶杯、白茶" in first


@pytest.mark.parametrize("query", ["", "at=x", "at=2026-01-01", "at=2026-01-01T00:00:00&source=a"])
def test_a_place_that_cannot_be_is_not_found(admin: Client, person: int, query: str) -> None:
    assert admin.get(f"/admin/profiles/profilerun/behaviours/{person}/?{query}").status_code == 404


@pytest.mark.parametrize("customer_id", ["0", "5", "1000000000000", "9" * 25])
@pytest.mark.usefixtures("clean_databases")
def test_nobody_is_not_found(admin: Client, customer_id: str) -> None:
    assert admin.get(f"{LIST}{customer_id}/").status_code == 404


def test_a_home_that_is_not_configured(admin: Client, person: int) -> None:
    entry = find("wm-person")
    assert entry is not None
    type(entry).objects.filter(pk=entry.pk).update(customer_id=7770000000001)
    answer = admin.get(url(7770000000001))
    assert answer.status_code == 503
    assert "没有配置归属库 dept_777" in answer.content.decode()


# -------------------------------------------------------------------------------------------------------- mobiles
def test_a_mobile_in_clear_leaves_a_trace(staff_with: Callable[..., Client], person: int) -> None:
    client = staff_with("customers.view_customer", "customers.view_mobile")
    answer = client.post(url(person, "mobile/"))
    assert "13812345678" in answer.content.decode()
    assert "no-store" in answer.headers["Cache-Control"]
    answer = client.post(url(person, "mobile/"), {"userid": "ChenSiYu"})
    assert "13900001111" in answer.content.decode()
    assert "13812345678" not in answer.content.decode()
    second, first = Audit.objects.all()
    assert (first.action, first.actor, first.subject, first.detail) == (
        "read_mobile", "operator", subject_of("wm-person"), {},
    )  # fmt: skip
    assert second.detail == {"userid": "ChenSiYu"}


# ---------------------------------------------------------------------------------------------------------- notes
def test_notes(admin: Client, admin_user: User, person: int) -> None:
    answer = admin.post(url(person, "notes/add/"), {"text": " 喜欢白茶，<b>月底</b>回访 "})
    html = said(admin, answer)
    assert "已添加跟进记录" in html
    assert "喜欢白茶，&lt;b&gt;月底&lt;/b&gt;回访" in html
    assert "林婉清" in html
    note = Note.objects.using("dept_100").get()
    assert (note.author, note.text) == ("admin", "喜欢白茶，<b>月底</b>回访")

    theirs = add_note(person, "同事写的", author="colleague")
    answer = admin.post(url(person, f"notes/{theirs.note_id}/delete/"))
    assert "没有删除" in said(admin, answer)
    answer = admin.post(url(person, f"notes/{note.note_id}/delete/"))
    assert "已删除跟进记录" in said(admin, answer)
    assert [one.author for one in Note.objects.using("dept_100").all()] == ["colleague"]
    assert "没有删除" in said(admin, admin.post(url(person, f"notes/{uuid.uuid4()}/delete/")))


@pytest.mark.parametrize("text", ["", "   ", "x" * (MAX_LENGTH + 1)])
def test_a_note_that_cannot_be(admin: Client, person: int, text: str) -> None:
    admin.post(url(person, "notes/add/"), {"text": text})
    assert not Note.objects.using("dept_100").exists()


def test_older_notes(admin: Client, person: int) -> None:
    for number in range(13):
        add_note(person, f"第{number}条", author="admin")
    html = admin.get(url(person)).content.decode()
    assert "第12条" in html
    assert "第2条" not in html
    more = re.search(rf'hx-get="({url(person)}notes/[^"]+)"', html)
    assert more is not None
    rest = admin.get(more[1]).content.decode()
    assert re.findall(r"第(\d+)条", rest) == ["2", "1", "0"]


# ----------------------------------------------------------------------------------------------------------- edits
def edited(client: Client, person: int, **changes: object) -> object:
    """Send the edit form as it is, but for some changes."""
    html = client.get(url(person, "edit/")).content.decode()
    data: dict[str, object] = {
        name: re.search(rf'name="{name}" value="([^"]*)"', html)[1]  # type: ignore[index]
        for name in ("version", "name", "corp_name")
    }
    pairs = re.findall(r'name="key" value="([^"]*)".*?name="value" value="([^"]*)"', html, re.DOTALL)
    data |= {"gender": "2", "position": "", "mobile": "", "tags": re.findall(r'value="(\w+)" checked', html)}
    data |= {"key": [key for key, _ in pairs], "value": [value.replace("&quot;", '"') for _, value in pairs]}
    return client.post(url(person, "edit/"), {**data, **changes})


def test_saving_without_a_change_changes_nothing(admin: Client, person: int) -> None:
    before, _ = find_customer(person)
    assert "没有改动" in said(admin, edited(admin, person))
    assert find_customer(person)[0] == before
    assert not Audit.objects.exists()


def test_an_edit_writes_what_changed_and_empties_the_cache(admin: Client, person: int) -> None:
    CACHE.get("wm-person")
    tea = Tag.objects.get(name="茶具").id
    answer = edited(
        admin,
        person,
        mobile="+86 139-0000-2222",
        key=["会员号", "等级", "备注"],
        value=["QL2", "4", "常买"],
        tags=[tea],
    )
    assert "已保存" in said(admin, answer)
    after, _ = find_customer(person)
    assert after is not None
    assert after["attributes"] == {"会员号": "QL2", "等级": 4, "备注": "常买"}
    assert after["mobile"] == "+86 139-0000-2222"
    assert after["own_tag_ids"] == [tea]
    assert len(after["follows"]) == 2
    cached = CACHE.get("wm-person")
    assert cached.source == "miss"
    assert "QL2" in (cached.value or b"").decode()
    assert Audit.objects.get().detail == {"fields": ["mobile", "attributes", "tags"]}


def test_the_edit_form_does_not_tell_the_mobile(admin: Client, person: int) -> None:
    html = admin.get(url(person, "edit/")).content.decode()
    assert "13812345678" not in html
    assert "138****5678" in html
    edited(admin, person, clear_mobile="on")
    assert find_customer(person)[0]["mobile"] == ""  # type: ignore[index]


def test_two_editors(admin: Client, person: int) -> None:
    html = admin.get(url(person, "edit/")).content.decode()
    version = re.search(r'name="version" value="(\d+)"', html)[1]  # type: ignore[index]
    upsert(CustomerData("wm-person", {"mobile": "13711112222"}))
    answer = edited(admin, person, version=version, mobile="13600000000")
    assert "刚刚有变化" in answer.content.decode()  # type: ignore[attr-defined]
    assert find_customer(person)[0]["mobile"] == "13711112222"  # type: ignore[index]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mobile": "打给我"}, "请填写手机号"),
        ({"key": ["a", "a"], "value": ["1", "2"]}, "写了两次"),
        ({"key": [""], "value": ["没有名称"]}, "没有名称"),
        ({"key": ["x" * 65], "value": ["1"]}, "最多 64 个字"),
        ({"key": ["大"], "value": ["字" * 1400]}, "最多 4096 字节"),
        ({"key": ["等级"], "value": ["很高"]}, "要写成 JSON"),
        ({"key": ["等级"], "value": ["1e999"]}, "要写成 JSON"),
        ({"key": ["a"], "value": ["x\x00y"]}, "不能保存"),
        ({"tags": ["no-such-tag"]}, "不在可用的选项中"),
        ({"gender": "9"}, "不在可用的选项中"),
    ],
)
def test_an_edit_that_cannot_be(admin: Client, person: int, changes: dict[str, object], words: str) -> None:
    before, _ = find_customer(person)
    html = edited(admin, person, **changes).content.decode()  # type: ignore[attr-defined]
    assert words in html
    assert find_customer(person)[0] == before


def test_wecoms_fields_are_closed_once_synced(admin: Client, person: int) -> None:
    upsert(CustomerData("wm-person", {"name": "同步来的"}, by_wecom=True))
    html = admin.get(url(person, "edit/")).content.decode()
    assert 'name="name"' not in html
    assert "由企业微信维护" in html


# ------------------------------------------------------------------------------------------------- moves, erasures
def test_a_move_and_the_old_address(admin: Client, person: int) -> None:
    add_note(person, "带走我", author="admin")
    answer = admin.post(url(person, "move/"), {"home": "101"})
    entry = find("wm-person")
    assert entry is not None
    assert sharding.home_of(entry.customer_id) == 101
    assert answer.headers["Location"] == url(entry.customer_id)
    html = said(admin, answer)
    assert "已迁移到 dept_101" in html
    assert "带走我" in html
    assert admin.get(url(person)).headers["Location"] == url(entry.customer_id)
    move_customer("wm-person", 100, actor="test")
    assert admin.get(url(person)).status_code == 302


def test_an_erasure(admin: Client, person: int) -> None:
    assert "永久删除" in admin.get(url(person, "delete/")).content.decode()
    admin.post(url(person, "delete/"))
    assert find("wm-person") is not None, "a POST that does not confirm erases nobody"
    answer = admin.post(url(person, "delete/"), {"confirm": "yes"})
    erasure = Erasure.objects.get()
    assert erasure.state == "done"
    assert answer.headers["Location"] == f"/admin/customers/erasure/{erasure.pk}/change/"
    html = said(admin, answer)
    assert "客户已从所有位置删除" in html
    assert "dept_100" in html
    assert find("wm-person") is None
    assert admin.get(url(person)).status_code == 404
    assert "删除客户" in admin.get("/admin/customers/audit/").content.decode()
