"""Customers over all homes: what is listed, how it goes on, and the same as a file."""

import csv
import io
import re
import time
from collections.abc import Callable

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from customers.directory import upsert
from customers.models import Audit, Customer, DirectoryEntry, Tag
from customers.records import CustomerData
from scrm import held
from tests.servers import PrivatePostgres

LIST = "/admin/customers/customer/"


def listed(client: Client, query: str = "") -> list[int]:
    """Return the customers of a page of the list, in their order."""
    answer = client.get(f"{LIST}{query}")
    assert answer.status_code == 200
    return [int(found) for found in re.findall(r'href="/admin/customers/customer/(\d{13})/"', answer.content.decode())]


def following(client: Client, query: str) -> str | None:
    found = re.search(r'rel="next" href="(\?[^"]+)"', client.get(f"{LIST}{query}").content.decode())
    return found[1].replace("&amp;", "&") if found else None


def test_everybody_is_listed_in_order(admin: Client, customer_ids: list[int]) -> None:
    assert listed(admin) == customer_ids


def test_paging_shows_everybody_once_and_finds_back(
    admin: Client, customer_ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customers.pages.listing.PAGE_SIZE", 7)
    seen: list[list[int]] = []
    queries = ["?q="]
    while True:
        seen.append(listed(admin, queries[-1]))
        after = following(admin, queries[-1])
        if after is None:
            break
        queries.append(after)
    assert [one for page in seen for one in page] == customer_ids
    back = re.search(r'rel="prev" href="(\?[^"]*)"', admin.get(LIST + queries[-1]).content.decode())
    assert back is not None
    assert listed(admin, back[1].replace("&amp;", "&")) == seen[-2]


def test_filters(admin: Client, customer_ids: list[int], classified: object) -> None:
    assert listed(admin, "?home=101") == [one for one in customer_ids if one // 10**10 == 101]
    by_class = {
        name: [one for home in (100, 101) for one in Customer.objects.using(f"dept_{home}").filter(profile=name)]
        for name in ("高价值客户", "潜在客户")
    }
    for name, people in by_class.items():
        assert listed(admin, f"?profile={name}") == sorted(person.customer_id for person in people)
    shop = listed(admin, "?department=110")
    assert shop
    assert set(shop) < set(listed(admin, "?department=100")) < set(customer_ids)
    tag = Tag.objects.get(name="茶具")
    assert set(listed(admin, f"?tag={tag.id}")) < set(customer_ids)
    assert listed(admin, "?profile=+") == []
    upsert(CustomerData("wm-新客", {"name": "新来的"}, home=100))
    assert len(listed(admin, "?profile=+")) == 1


@pytest.mark.usefixtures("customer_id")
def test_search_by_one_character_by_two_and_by_id(admin: Client) -> None:
    external_userid = "wm'quote\"🙂"
    customer_id, _ = upsert(CustomerData(external_userid, {"name": "欧阳娜娜"}, home=101))
    for q in ("欧", "阳娜", "欧阳娜娜", external_userid):
        assert customer_id in listed(admin, f"?{'q=' + q}")
    assert listed(admin, "?q=阳欧") == []
    assert listed(admin, "?q=%25") == []
    assert "没有符合条件的客户" in admin.get(f"{LIST}?q=没有这个人").content.decode()


@pytest.mark.parametrize("query", ["home=7", "home=x", "department=9999", "tag=nope", "q=" + "x" * 65])
@pytest.mark.usefixtures("customer_id")
def test_a_filter_that_cannot_be_is_said_to_be_wrong(admin: Client, query: str) -> None:
    html = admin.get(f"{LIST}?{query}").content.decode()
    assert "筛选条件有误" in html
    assert "data-label" not in html


@pytest.mark.parametrize("cursor", ["abc", "x", "1", "x100.x", "9" * 40, "x100.-5"])
@pytest.mark.usefixtures("customer_id")
def test_a_cursor_that_cannot_be_begins_anew(admin: Client, cursor: str) -> None:
    answer = admin.get(f"{LIST}?home=100&cursor={cursor}&trail=~")
    assert answer.headers["Location"] == "?home=100"


def test_names_are_text_not_markup(admin: Client, clean_databases: None) -> None:
    upsert(CustomerData("wm-x", {"name": '<script>alert("x")</script>'}, home=100))
    html = admin.get(f"{LIST}?q=alert").content.decode()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


@pytest.mark.parametrize("home", [100, 101])
def test_queries_of_a_page(admin: Client, company: object, home: int) -> None:
    admin.get(LIST)  # what is held is held
    with (
        CaptureQueriesContext(connections["default"]) as control,
        CaptureQueriesContext(connections[f"dept_{home}"]) as department,
    ):
        listed(admin, f"?home={home}")
    # Who asks, and whether anybody listed is being erased just now.
    assert [one["sql"].split('"')[1] for one in control] == ["django_session", "auth_user", "directory"]
    assert len([one for one in department if not one["sql"].startswith(("BEGIN", "COMMIT", "SET"))]) == 2


@pytest.mark.usefixtures("clean_databases")
def test_without_customers_it_says_what_to_do(admin: Client) -> None:
    html = admin.get(LIST).content.decode()
    assert "还没有客户" in html
    assert "import_customers" in html


# ---------------------------------------------------------------------------------------------------------- a file
def exported(client: Client, query: str = "") -> list[list[str]]:
    answer = client.get(f"{LIST}export/{query}")
    assert answer.headers["Content-Type"] == "text/csv"
    assert int(answer.headers["Content-Length"])
    text = b"".join(answer.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    return list(csv.reader(io.StringIO(text)))


def test_export_is_the_whole_list_with_masked_mobiles_and_audited(
    admin: Client, customer_ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customers.pages.listing.EXPORT_STEP", 7)
    head, *rows = exported(admin)
    assert [int(row[0]) for row in rows] == customer_ids
    mobiles = {row[head.index("手机号")] for row in rows} - {""}
    assert mobiles
    assert all(re.fullmatch(r"1\d\d\*{4}\d{4}", mobile) for mobile in mobiles)
    audit = Audit.objects.get()
    assert (audit.action, audit.actor, audit.detail) == ("export_customers", "admin", {"filters": {}, "rows": 40})


def test_an_export_that_is_too_large_is_refused(
    admin: Client, company: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customers.pages.listing.MAX_EXPORT", 39)
    assert "没有导出：超过 39 位客户" in admin.get(f"{LIST}export/", follow=True).content.decode()
    assert not Audit.objects.exists()


@pytest.mark.usefixtures("customer_id")
def test_export_is_filtered_and_no_formula(admin: Client) -> None:
    upsert(CustomerData("wm-formula", {"name": '=HYPERLINK("x")'}, home=100))
    _head, *rows = exported(admin, "?q=hyper&home=100")
    assert [row[1:3] for row in rows] == [["wm-formula", '\'=HYPERLINK("x")']]
    assert Audit.objects.get().detail == {"filters": {"q": "hyper", "home": 100}, "rows": 1}


@pytest.mark.usefixtures("customer_id")
def test_export_wants_its_permission(staff_with: Callable[..., Client]) -> None:
    client = staff_with("customers.view_customer")
    assert client.get(f"{LIST}export/").status_code == 403
    assert "导出 CSV" not in client.get(LIST).content.decode()


# --------------------------------------------------------------------------------------------------- a home is down
def test_a_home_that_is_down_is_named_and_the_rest_is_shown(
    fragile_department: PrivatePostgres, admin: Client, company: object
) -> None:
    ids = sorted(DirectoryEntry.objects.values_list("customer_id", flat=True))
    held.forget_all()
    fragile_department.stop()
    assert listed(admin) == [one for one in ids if one // 10**10 == 100]
    html = admin.get(LIST).content.decode()
    assert "dept_101" in html
    assert "暂时无法连接" in html

    refused = admin.get(f"{LIST}export/", follow=True)
    assert "没有导出：归属库 dept_101 暂时无法连接" in refused.content.decode()
    assert not Audit.objects.exists()
    _head, *rows = exported(admin, "?home=100")
    assert len(rows) == len([one for one in ids if one // 10**10 == 100])

    lost = admin.get(f"{LIST}{ids[-1]}/")
    assert lost.status_code == 503
    assert "归属库 dept_101 暂时无法连接" in lost.content.decode()
    assert admin.get(f"{LIST}{ids[0]}/").status_code == 200
    assert admin.get("/admin/").status_code == 200  # of kept figures: it asks no home
    homes = admin.get("/admin/sharding/home/")
    assert "无法连接" in homes.content.decode()

    fragile_department.start()
    held.forget_all()
    time.sleep(1.1)  # a home that was down is not asked again within a second
    assert listed(admin) == ids
