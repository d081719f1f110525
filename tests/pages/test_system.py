"""The home page, homes, keys, users, and what is said when something goes wrong."""

import json
import re
from collections import Counter

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connections
from django.template.loader import render_to_string
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from customers.counts import count_customers
from customers.models import Audit, Customer, Department, Erasure, Staff, Tag, TagGroup
from customers.organisation import organisation
from customers.tags import named
from profiles.models import ProfileRun
from scrm.api.models import ApiKey
from scrm.sharding.models import Home, open_homes

pytestmark = pytest.mark.usefixtures("clean_databases")


# --------------------------------------------------------------------------------------------------- the home page
@pytest.mark.usefixtures("company")
def test_counts_are_those_of_the_tables(admin: Client) -> None:
    assert count_customers().homes == {
        home: {None: Customer.objects.using(f"dept_{home}").count()} for home in (100, 101)
    }
    html = admin.get("/admin/").content.decode()
    assert re.search(r'id="total">40<', html)
    assert "还没有画像数据" in html
    assert "还没有运行过" in html


def test_counts_after_a_run(admin: Client, classified: ProfileRun) -> None:
    counts = count_customers()
    for home in (100, 101):
        people = Customer.objects.using(f"dept_{home}")
        assert counts.homes[home] == Counter(people.values_list("profile", flat=True))
    assert counts.unclassified == 0
    html = admin.get("/admin/").content.decode()
    chart = json.loads(re.search(r"data-value=\"([^\"]+)\"", html)[1].replace("&quot;", '"'))  # type: ignore[index]
    assert chart["labels"] == ["dept_100", "dept_101"]
    assert {one["label"]: sum(one["data"]) for one in chart["datasets"]} == counts.classes


@pytest.mark.usefixtures("classified")
def test_queries_of_the_home_page(admin: Client) -> None:
    admin.get("/admin/")
    with CaptureQueriesContext(connections["default"]) as control:
        admin.get("/admin/")
    # Session, user, the last run (with its rules), the rules in force; the kept figures, whatever there are of them.
    assert len(control) == 12


def test_an_empty_system_says_what_to_do(admin: Client) -> None:
    html = admin.get("/admin/").content.decode()
    for text in ("还没有客户", "import_customers", "还没有运行过", "立即运行"):
        assert text in html
    assert "<canvas" not in html


# ----------------------------------------------------------------------------------------------------------- homes
def test_homes_are_opened_and_closed(admin: Client) -> None:
    html = admin.get("/admin/sharding/home/?count").content.decode()
    assert html.count("停止接收新客户") == 2
    assert html.count("customers_0") == 2
    answer = admin.post("/admin/sharding/home/101/state/", {"to": "close"})
    assert "dept_101 现在不再接收新客户" in admin.get(answer.headers["Location"]).content.decode()
    open_homes.forget()
    assert open_homes() == (100,)
    answer = admin.post("/admin/sharding/home/100/state/", {"to": "close"})
    assert "最后一个开放的归属库" in admin.get(answer.headers["Location"]).content.decode()
    assert Home.objects.get(home=100).is_open
    admin.post("/admin/sharding/home/101/state/", {"to": "open"})
    assert Home.objects.get(home=101).is_open
    answer = admin.post("/admin/sharding/home/999/state/", {"to": "open"})
    assert "没有配置 dept_999" in admin.get(answer.headers["Location"]).content.decode()
    assert list(Audit.objects.order_by("id").values_list("action", "detail")) == [
        ("close_home", {"home": 101}),
        ("open_home", {"home": 101}),
    ]


# ------------------------------------------------------------------------------------------------------------ keys
def test_a_key_is_shown_once(admin: Client) -> None:
    Department.objects.create(id=1, name="青岚")
    organisation.forget()
    html = admin.post(
        "/admin/api/apikey/new/", {"name": "shop", "scopes": ["customers:read"], "departments": ["1"]}
    ).content.decode()
    token = re.search(r'id="token"[^>]*>(scrm_[\w-]+)<', html)[1]  # type: ignore[index]
    key = ApiKey.objects.get()
    assert key.matches(token)
    assert (key.scopes, key.department_ids) == (["customers:read"], [1])
    page = f"/admin/api/apikey/{key.pk}/"
    for url in ("/admin/api/apikey/", f"{page}change/"):
        html = admin.get(url).content.decode()
        assert token not in html
        assert key.prefix in html
    again = admin.post("/admin/api/apikey/new/", {"name": "shop", "scopes": ["customers:read"]})
    assert "已有同名的密钥" in again.content.decode()
    answer = admin.post(f"{page}revoke/")
    assert "已吊销「shop」" in admin.get(answer.headers["Location"]).content.decode()
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert list(Audit.objects.order_by("id").values_list("action", flat=True)) == ["create_api_key", "revoke_api_key"]


@pytest.mark.parametrize(
    "data", [{}, {"name": "x"}, {"name": "x", "scopes": ["root"]}, {"name": "", "scopes": ["pii:read"]}]
)
def test_a_key_that_cannot_be(admin: Client, data: dict[str, object]) -> None:
    assert admin.post("/admin/api/apikey/new/", data).status_code == 200
    assert not ApiKey.objects.exists()


# ------------------------------------------------------------------------------------------- the organisation, users
def test_a_renamed_tag_is_seen_at_once(admin: Client) -> None:
    group = TagGroup.objects.create(id="g", name="等级")
    Tag.objects.create(id="t", name="金卡", group=group)
    assert named(["t"])[0]["name"] == "金卡"
    admin.post("/admin/customers/tag/t/change/", {"name": "黑金", "group": "g", "order": "0"})
    assert named(["t"])[0]["name"] == "黑金"


def test_staff_and_departments(admin: Client) -> None:
    admin.post("/admin/customers/department/add/", {"id": "7", "name": "七号店", "order": "0"})
    admin.post(
        "/admin/customers/staff/add/",
        {"userid": "zhang", "name": "张三", "departments": ["7"], "position": "", "status": "1"},
    )
    assert Staff.objects.get().departments.get().name == "七号店"
    assert organisation().departments_of == {"zhang": (7,)}
    assert "张三" in admin.get("/admin/customers/staff/?q=张").content.decode()


def test_permissions_are_given_by_their_names(admin: Client) -> None:
    html = admin.get("/admin/auth/group/add/").content.decode()
    for name in ("客户：查看", "客户：可以查看手机号明文", "画像规则：可以发布画像规则"):
        assert name in html
    permission = Permission.objects.get(codename="view_customer")
    admin.post("/admin/auth/group/add/", {"name": "运营", "permissions": [str(permission.pk)]})
    assert list(Group.objects.get().permissions.all()) == [permission]


def test_a_user_is_made(admin: Client) -> None:
    password = "再一个够长的密码-7"
    admin.post(
        "/admin/auth/user/add/",
        {"username": "li", "password1": password, "password2": password, "usable_password": "true"},
    )
    user = User.objects.get(username="li")
    page = admin.get(f"/admin/auth/user/{user.pk}/change/").content.decode()
    assert "姓名" in page


def test_every_list_opens(admin: Client) -> None:
    for app, model in (
        ("customers", "department"), ("customers", "staff"), ("customers", "tag"), ("customers", "taggroup"),
        ("customers", "directoryentry"), ("customers", "erasure"), ("customers", "importprogress"),
        ("customers", "audit"),
        ("django_celery_beat", "periodictask"), ("django_celery_beat", "crontabschedule"),
        ("django_celery_beat", "intervalschedule"), ("auth", "user"), ("auth", "group"), ("api", "apikey"),
    ):  # fmt: skip
        assert admin.get(f"/admin/{app}/{model}/").status_code == 200
    for app in ("customers", "profiles", "auth", "sharding", "api"):
        assert admin.get(f"/admin/{app}/").status_code == 200
    assert admin.get("/admin/search/?s=客户").status_code == 200


def test_an_unfinished_erasure_says_what_it_waits_for(admin: Client) -> None:
    erasure = Erasure.objects.create(
        external_userid="wm-x", digest=b"x", requested_by="admin", places={"dept_100": {"rows": {"notes": 2}}},
        waiting_for=["dept_101"],
    )  # fmt: skip
    html = admin.get(f"/admin/customers/erasure/{erasure.pk}/change/").content.decode()
    assert "恢复后会自动清除" in html
    assert "dept_101" in html
    assert "notes 2 行" in html


# ---------------------------------------------------------------------------------------------------------- errors
@override_settings(DEBUG=False)
def test_errors_are_said_in_chinese(admin: Client) -> None:
    answer = admin.get("/admin/customers/customer/5/")
    assert answer.status_code == 404
    assert "没有找到" in answer.content.decode()
    strict = Client(enforce_csrf_checks=True)
    answer = strict.post("/admin/login/", {"username": "a", "password": "b"})
    assert answer.status_code == 403
    assert "页面已过期" in answer.content.decode()


@pytest.mark.parametrize("code", [400, 403, 404, 500])
def test_every_error_has_a_page(code: int) -> None:
    html = render_to_string(f"{code}.html")
    assert f">{code}<" in html
    assert 'href="/admin/"' in html
