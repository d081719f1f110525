"""Departments and staff in the admin: what WeCom owns is shown and not changed here; what was made here may be."""

from typing import Any

import pytest
from django.test import Client

from customers import library
from customers.library import LibraryError
from customers.models import Department, Staff
from tests.pages.conftest import admin, admin_user, staff_with
from wxwork.simulator import SimulatorServer

__all__ = ["admin", "admin_user", "staff_with"]

DEPARTMENT, MEMBER = "/admin/customers/department/101/", "/admin/customers/staff/ChenSiYu/"
HINT = "由企业微信维护"


@pytest.mark.parametrize("page", [DEPARTMENT, MEMBER])
def test_what_wecom_owns_is_read_only_and_says_so(admin: Client, synced: SimulatorServer, page: str) -> None:
    shown = admin.get(f"{page}change/").content.decode()
    assert HINT in shown
    assert 'name="name"' not in shown
    assert 'name="_save"' not in shown
    assert admin.post(f"{page}change/", {"name": "改名"}).status_code == 403
    assert admin.post(f"{page}delete/", {"post": "yes"}).status_code == 403
    assert Department.objects.get(id=101).name == synced.state.departments[101].name
    assert Staff.objects.filter(userid="ChenSiYu").exists()


def test_the_ticked_ones_are_not_deleted_either(admin: Client, synced: SimulatorServer) -> None:
    ticked = {"action": "delete_selected", "_selected_action": ["ChenSiYu"], "post": "yes"}
    admin.post("/admin/customers/staff/", ticked)
    assert Staff.objects.filter(userid="ChenSiYu").exists()


def test_who_may_change_but_not_view_still_sees_them(staff_with: Any, synced: SimulatorServer) -> None:
    page = staff_with("customers.change_department").get(f"{DEPARTMENT}change/")
    assert (page.status_code, HINT in page.content.decode()) == (200, True)


def test_what_was_made_here_may_be_changed_and_deleted(admin: Client, synced: SimulatorServer) -> None:
    admin.post("/admin/customers/department/add/", {"id": "999", "name": "手工", "order": "0"})
    page = "/admin/customers/department/999/"
    shown = admin.get(f"{page}change/").content.decode()
    assert HINT not in shown
    assert 'name="name"' in shown
    admin.post(f"{page}change/", {"name": "改名", "order": "0"})
    assert Department.objects.get(id=999).name == "改名"
    admin.post(f"{page}delete/", {"post": "yes"})
    assert not Department.objects.filter(id=999).exists()


@pytest.mark.parametrize("missing", ["WXWORK_CORP_ID", "WXWORK_SECRET"])
def test_without_wecom_its_tags_are_not_offered(
    admin: Client, simulator: SimulatorServer, settings: Any, missing: str
) -> None:
    offered = 'name="is_wecom"'
    assert library.is_connected()
    assert offered in admin.get("/admin/customers/taggroup/add/").content.decode()
    setattr(settings, missing, "")
    assert not library.is_connected()
    assert offered not in admin.get("/admin/customers/taggroup/add/").content.decode()
    with pytest.raises(LibraryError, match="没有连接企业微信"):
        library.add_group("等级", ["高"], is_wecom=True)
