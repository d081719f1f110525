"""Who may open which page."""

from collections.abc import Callable

import pytest
from django.test import Client

from customers.models import Audit

NO_NOTE = "00000000-0000-4000-8000-000000000000"  # fixed: xdist workers must collect the same names
PERSON = "/admin/customers/customer/{id}/"
PAGES = {
    "/admin/customers/customer/": "customers.view_customer",
    PERSON: "customers.view_customer",
    "/admin/profiles/ruleversion/": "profiles.view_ruleversion",
    "/admin/profiles/ruleversion/1/change/": "profiles.view_ruleversion",
    "/admin/profiles/ruleversion/check/": "profiles.view_ruleversion",
    "/admin/profiles/segment/": "profiles.view_segment",
    "/admin/profiles/recommendationrule/": "profiles.view_recommendationrule",
    "/admin/profiles/itemaffinity/": "profiles.view_itemaffinity",
    "/admin/profiles/profilerun/": "profiles.view_profilerun",
    "/admin/profiles/profilerun/start/": "profiles.add_profilerun",
    "/admin/profiles/waitingbehaviour/": "profiles.view_waitingbehaviour",
    "/admin/sharding/home/": "sharding.view_home",
    "/admin/wxwork/apilimit/": "wxwork.view_apilimit",
    "/admin/api/apikey/": "api.view_apikey",
    "/admin/api/apikey/new/": "api.add_apikey",
    "/admin/customers/staff/": "customers.view_staff",
    "/admin/customers/department/": "customers.view_department",
    "/admin/customers/tag/": "customers.view_tag",
    "/admin/customers/taggroup/": "customers.view_taggroup",
    "/admin/customers/directoryentry/": "customers.view_directoryentry",
    "/admin/customers/erasure/": "customers.view_erasure",
    "/admin/customers/audit/": "customers.view_audit",
    "/admin/customers/importprogress/": "customers.view_importprogress",
    "/admin/django_celery_beat/periodictask/": "django_celery_beat.view_periodictask",
    "/admin/auth/user/": "auth.view_user",
    "/admin/auth/group/": "auth.view_group",
}


@pytest.mark.parametrize(("url", "permission"), PAGES.items())
def test_a_page_wants_its_permission(
    url: str, permission: str, customer_id: int, staff_with: Callable[..., Client]
) -> None:
    url = url.format(id=customer_id)
    assert Client().get(url).headers["Location"] == f"/admin/login/?next={url}"
    client = staff_with(permission)
    assert client.get(url).status_code == 200
    client.logout()


@pytest.mark.parametrize("url", PAGES)
def test_without_permission_pages_are_refused(url: str, customer_id: int, staff_with: Callable[..., Client]) -> None:
    assert staff_with().get(url.format(id=customer_id)).status_code == 403


CHANGES = {
    "notes/add/": ("change_customer", {"text": "回访"}),
    f"notes/{NO_NOTE}/delete/": ("change_customer", {}),
    "edit/": ("change_customer", {}),
    "mobile/": ("view_mobile", {}),
    "move/": ("move_customer", {"home": "101"}),
    "delete/": ("delete_customer", {"confirm": "yes"}),
}


@pytest.mark.parametrize(("path", "permission", "data"), [(path, *rest) for path, rest in CHANGES.items()])
def test_seeing_a_customer_is_not_changing_one(
    path: str, permission: str, data: dict[str, str], customer_id: int, staff_with: Callable[..., Client]
) -> None:
    url = PERSON.format(id=customer_id)
    client = staff_with("customers.view_customer")
    assert client.post(url + path, data).status_code == 403
    html = client.get(url).content.decode()
    assert url + path not in html
    assert not Audit.objects.exists()
    client.logout()
    assert Client().post(url + path, data).headers["Location"].startswith("/admin/login/")


def test_changing_wants_a_post(customer_id: int, admin: Client) -> None:
    for path in ("notes/add/", "mobile/"):
        assert admin.get(PERSON.format(id=customer_id) + path).status_code == 405


@pytest.mark.usefixtures("clean_databases")
def test_rules_and_runs_want_more_than_to_be_seen(staff_with: Callable[..., Client]) -> None:
    client = staff_with("profiles.view_ruleversion", "profiles.view_profilerun")
    assert client.post("/admin/profiles/ruleversion/1/copy/").status_code == 403
    assert client.post("/admin/profiles/ruleversion/1/publish/").status_code == 403
    assert client.post("/admin/profiles/ruleversion/1/change/", {"default_profile": "x"}).status_code == 403
    assert client.post("/admin/profiles/profilerun/start/").status_code == 403
    assert client.post("/admin/sharding/home/100/state/", {"to": "close"}).status_code == 403


@pytest.mark.usefixtures("clean_databases")
def test_the_home_page_shows_what_one_may_see(staff_with: Callable[..., Client]) -> None:
    html = staff_with().get("/admin/").content.decode()
    assert "还没有查看客户或画像的权限" in html
    assert "立即运行" not in html
