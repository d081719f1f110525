"""Callbacks, groups and welcome messages in the admin."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from customers.models import Audit, Department, Staff
from tests.customers.people import make
from tests.wxwork.fixtures_at import callback
from tests.wxwork.inbox.deeds import deed, done
from wxwork import welcome
from wxwork.inbox import working
from wxwork.inbox.storing import store
from wxwork.models import Callback, CustomerGroup, GroupMember, WelcomeDelivery, WelcomeMessage

LIST = "/admin/wxwork/callback/"


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("admin", "admin@example.com"))
    return client


@pytest.fixture
def staff_with() -> Callable[..., Client]:
    def log_in(*permissions: str) -> Client:
        user = User.objects.create_user("operator", is_staff=True)
        for permission in permissions:
            app, codename = permission.split(".")
            user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
        client = Client()
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def inbox() -> dict[str, int]:
    """Three that are done, two dead letters, one that waits behind another."""
    found = {name: store(deed(f"wm-{name}", n)).id for n, name in enumerate(["a", "b", "c"])}
    found |= {name: store(deed(f"wm-{name}", 9, do="raise:DataError")).id for name in ("d", "e")}
    working.work()
    found["first"] = store(deed("wm-f", 1, do="raise:RetryError")).id
    found["second"] = store(deed("wm-f", 2, at=1)).id
    working.work()
    return found


def text(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    return str(response.content.decode())


def test_the_list_is_filtered_and_searched(admin: Client, inbox: dict[str, int]) -> None:
    html = text(admin.get(LIST))
    assert "customer:wm-a" in html
    assert "处理失败" in html
    dead = text(admin.get(LIST, {"state__exact": "dead"}))
    assert ("customer:wm-d" in dead, "customer:wm-e" in dead, "customer:wm-a" in dead) == (True, True, False)
    assert "DataError: not there" in dead
    assert "重放筛选出的全部 2 条" in dead
    found = text(admin.get(LIST, {"q": "wm-b"}))
    assert ("customer:wm-b" in found, "customer:wm-a" in found) == (True, False)
    assert "customer:wm-a" not in text(admin.get(LIST, {"q": "wm-"}))
    assert "customer:wm-a" in text(admin.get(LIST, {"kind": "test_deed/go"}))
    assert "customer:wm-a" not in text(admin.get(LIST, {"kind": "change_external_chat/update"}))
    Callback.objects.filter(id=inbox["a"]).update(received_at=timezone.now() - timedelta(days=3))
    yesterday = timezone.localtime() - timedelta(days=1)
    recent = text(admin.get(LIST, {"received_at_from_0": f"{yesterday:%Y-%m-%d}", "received_at_from_1": "00:00:00"}))
    assert ("customer:wm-a" in recent, "customer:wm-b" in recent) == (False, True)


def test_a_callback_shows_its_error_and_xml(admin: Client, inbox: dict[str, int]) -> None:
    html = text(admin.get(f"{LIST}{inbox['d']}/change/"))
    assert "DataError: not there" in html
    assert "&lt;ExternalUserID&gt;&lt;![CDATA[wm-d]]&gt;" in html
    assert "处理失败，不会自动重试" in html
    waiting = text(admin.get(f"{LIST}{inbox['second']}/change/"))
    assert f"回调 {inbox['first']}" in waiting
    assert "RetryError" not in waiting
    assert admin.get(f"{LIST}999999/change/").status_code == 404


def test_mobiles_are_masked_until_somebody_may_and_asks(staff_with: Callable[..., Client]) -> None:
    number = store(callback("change_contact__create_user")).id
    client = staff_with("wxwork.view_callback")
    html = text(client.get(f"{LIST}{number}/change/"))
    assert "13800138003" not in html
    assert "查看手机号" not in html
    assert client.post(f"{LIST}{number}/clear/").status_code == 403
    user = User.objects.get()
    user.user_permissions.add(Permission.objects.get(codename="view_mobile"))
    html = text(client.get(f"{LIST}{number}/change/"))
    assert "13800138003" not in html
    assert "查看手机号" in html
    assert Audit.objects.count() == 0
    assert client.get(f"{LIST}{number}/clear/").status_code == 405
    assert "13800138003" in text(client.post(f"{LIST}{number}/clear/"))
    audit = Audit.objects.get()
    assert (audit.actor, audit.action, audit.detail) == ("operator", "read_mobile", {"callback": number})


def test_codes_are_shown_to_nobody(admin: Client) -> None:
    number = store(callback("change_external_contact__add_external_contact")).id
    for response in (admin.get(f"{LIST}{number}/change/"), admin.post(f"{LIST}{number}/clear/")):
        assert "WelcomeCodeSample" not in text(response)


def test_one_is_replayed(admin: Client, inbox: dict[str, int]) -> None:
    response = admin.post(f"{LIST}{inbox['a']}/replay/")
    assert response.headers["Location"] == f"{LIST}{inbox['a']}/change/"
    assert Callback.objects.get(id=inbox["a"]).state == "pending"
    working.work()
    assert done("wm-a") == [0, 0]
    assert admin.get(f"{LIST}{inbox['a']}/replay/").status_code == 405


def test_the_selected_are_replayed(admin: Client, inbox: dict[str, int]) -> None:
    selected = [inbox["a"], inbox["b"]]
    admin.post(LIST, {"action": "replay_selected", "_selected_action": selected})
    assert list(Callback.objects.filter(id__in=selected).values_list("state", flat=True)) == ["pending", "pending"]
    assert Callback.objects.get(id=inbox["c"]).state == "done"
    assert Audit.objects.get().detail == {"callbacks": 2}


def test_all_that_match_the_filter_are_replayed(admin: Client, inbox: dict[str, int]) -> None:
    url = f"{LIST}replay/?{urlencode({'state__exact': 'dead'})}"
    assert "重放 2 条回调" in text(admin.get(url))
    assert Callback.objects.filter(state="dead").count() == 2
    assert admin.post(url).headers["Location"] == f"{LIST}?state__exact=dead"
    assert Callback.objects.filter(state="dead").count() == 0
    assert set(Callback.objects.filter(external_userid__in=["wm-d", "wm-e"]).values_list("state", flat=True)) == {
        "pending"
    }
    assert Callback.objects.filter(state="done").count() == 3
    assert "收件箱里的全部回调" in text(admin.get(f"{LIST}replay/"))


@pytest.mark.parametrize("query", ["zz=1", "id__exact=abc"])
def test_a_filter_that_is_none_replays_nothing(admin: Client, inbox: dict[str, int], query: str) -> None:
    for ask in (admin.get, admin.post):
        assert ask(f"{LIST}replay/?{query}").headers["Location"] == LIST
    assert Callback.objects.filter(state="dead").count() == 2


def test_somebodys_callbacks_are_found_by_an_index(admin: Client, inbox: dict[str, int]) -> None:
    with CaptureQueriesContext(connection) as captured:
        admin.get(LIST, {"q": "wm-b"})
    found = [one["sql"] for one in captured.captured_queries if "wm-b" in one["sql"]]
    assert len(found) == 2
    assert all(""""callbacks"."external_userid" = 'wm-b'""" in sql for sql in found)


def test_members_are_counted_for_the_groups_of_a_page_only(admin: Client) -> None:
    for n in range(60):
        group = CustomerGroup.objects.create(chat_id=f"wr{n}", name=f"g{n}")
        GroupMember.objects.create(group=group, member_id="u", type=1)
        GroupMember.objects.create(group=group, member_id="wm", type=2)
    with CaptureQueriesContext(connection) as captured:
        html = text(admin.get("/admin/wxwork/customergroup/"))
    assert html.count(">2<") >= 50 or html.count("2") > 50
    (listed,) = [one["sql"] for one in captured.captured_queries if "LIMIT 50" in one["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {listed}")
        found = cursor.fetchone()[0]
    plan = json.loads(found) if isinstance(found, str) else found
    assert all(node["Actual Loops"] in (1, 50) for node in _nodes(plan[0]["Plan"]))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from _nodes(inner)


def test_seeing_is_not_replaying(staff_with: Callable[..., Client], inbox: dict[str, int]) -> None:
    client = staff_with("wxwork.view_callback")
    html = text(client.get(LIST))
    assert "重放" not in html
    assert f"{inbox['d']}/replay/" not in text(client.get(f"{LIST}{inbox['d']}/change/"))
    assert client.post(f"{LIST}{inbox['d']}/replay/").status_code == 403
    assert client.get(f"{LIST}replay/").status_code == 403
    assert client.post(f"{LIST}replay/").status_code == 403
    client.post(LIST, {"action": "replay_selected", "_selected_action": [inbox["d"]]})
    assert Callback.objects.get(id=inbox["d"]).state == "dead"


PAGES = ["callback", "customergroup", "welcomemessage", "welcomedelivery"]


@pytest.mark.parametrize("name", PAGES)
def test_every_list_wants_its_permission(name: str, staff_with: Callable[..., Client]) -> None:
    url = f"/admin/wxwork/{name}/"
    assert Client().get(url).headers["Location"] == f"/admin/login/?next={url}"
    client = staff_with()
    assert client.get(url).status_code == 403
    user = User.objects.get()
    user.user_permissions.add(Permission.objects.get(codename=f"view_{name}"))
    assert client.get(url).status_code == 200


def test_a_group_shows_its_members(admin: Client) -> None:
    Staff.objects.create(userid="linxiaoyu", name="林晓雨")
    customer_id = make("wm-member")
    group = CustomerGroup.objects.create(chat_id="wr1", name="福利群", owner="linxiaoyu")
    GroupMember.objects.create(group=group, member_id="linxiaoyu", type=1)
    GroupMember.objects.create(group=group, member_id="wm-member", type=2, join_scene=3, joined_at=timezone.now())
    GroupMember.objects.create(group=group, member_id="wm-stranger", type=2)
    html = text(admin.get("/admin/wxwork/customergroup/"))
    assert "福利群" in html
    html = text(admin.get("/admin/wxwork/customergroup/wr1/change/"))
    assert "林晓雨" in html
    assert f'href="/admin/customers/customer/{customer_id}/"' in html
    assert "扫描群二维码" in html
    assert "wm-stranger" in html


def test_welcome_messages_are_checked_and_take_effect_at_once(admin: Client) -> None:
    assert welcome.active_messages() == ()
    url = "/admin/wxwork/welcomemessage/add/"
    department = Department.objects.create(id=3, name="杭州")
    given = {"name": "默认", "text": "{name}您好，我是{staff}。", "departments": [department.pk], "is_active": "on"}
    assert admin.post(url, given).status_code == 302
    (active,) = welcome.active_messages()
    assert (active.text, active.departments) == ("{name}您好，我是{staff}。", frozenset({3}))
    html = text(admin.post(url, given | {"text": "好" * 1334}))
    assert "最多 4000 字节，现在最多会有 4002 字节" in html
    assert admin.post(url, given | {"text": "好" * 1333}).status_code == 302
    assert "最多 4000 字节" in text(admin.post(url, given | {"text": "好" * 1320 + "{name}"}))
    assert "默认" in text(admin.get("/admin/wxwork/welcomemessage/"))
    WelcomeMessage.objects.all().delete()


def test_deliveries_do_not_show_their_code(admin: Client) -> None:
    number = store(deed("wm1", 1)).id
    delivery = WelcomeDelivery.objects.create(
        callback_id=number, external_userid="wm1", userid="u", expires_at=timezone.now(), welcome_code="topsecret"
    )
    assert "topsecret" not in text(admin.get("/admin/wxwork/welcomedelivery/"))
    html = text(admin.get(f"/admin/wxwork/welcomedelivery/{delivery.pk}/change/"))
    assert "topsecret" not in html
    assert "待发送" in html
