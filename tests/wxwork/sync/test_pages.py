"""Syncs and the tag library in the admin."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from customers.models import Tag, TagGroup
from tests.pages.conftest import admin, admin_user, staff_with
from tests.wxwork.sync.conftest import run_sync
from wxwork.models import SyncRun
from wxwork.simulator import SimulatorServer

__all__ = ["admin", "admin_user", "staff_with"]

SYNCS = "/admin/wxwork/syncrun/"


def html(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, answer
    return answer.content.decode()


def test_a_sync_is_started_and_workers_are_told(admin: Client, simulator: SimulatorServer, broker_client: Any) -> None:
    asked = html(admin, f"{SYNCS}start/full/")
    assert "至少调用企业微信接口" in asked
    answer = admin.post(f"{SYNCS}start/full/")
    run = SyncRun.objects.get()
    assert answer.headers["Location"] == f"{SYNCS}{run.pk}/change/"
    assert (run.kind, run.started_by, run.state) == ("full", "admin", "running")
    assert broker_client.llen("celery") == 1
    assert "已开始全量同步" in html(admin, answer.headers["Location"])
    again = admin.post(f"{SYNCS}start/reconcile/")
    assert again.headers["Location"] == answer.headers["Location"]
    assert "没有另外开始" in html(admin, again.headers["Location"])
    progress = admin.get(f"{SYNCS}{run.pk}/progress/").json()
    assert (progress["state"], progress["percent"], progress["step"], progress["calls_made"]) == (
        "running",
        0,
        "部门",
        0,
    )


def test_what_a_reconcile_found_is_told_in_words(admin: Client, synced: SimulatorServer) -> None:
    synced.act("add_customer", staff="ChenSiYu", silent=True)
    run = run_sync("reconcile")
    page = html(admin, f"{SYNCS}{run.pk}/change/")
    for text in ("漏收的新客户", "漏收的添加（跟进关系）", "接口无法显示的", "客户删除了员工", "已完成", "接口调用"):
        assert text in page
    assert "customer_added" not in page
    listed = html(admin, SYNCS)
    assert "2 处" in listed
    assert "开始对账" in listed
    assert "预计调用企业微信接口" in html(admin, f"{SYNCS}start/reconcile/")


def test_a_failure_is_shown_as_text(admin: Client) -> None:
    run = SyncRun.objects.create(kind="full", state="failed", error="<script>alert(1)</script>")
    page = html(admin, f"{SYNCS}{run.pk}/change/")
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_without_a_secret_it_says_so(admin: Client, settings: Any) -> None:
    settings.WXWORK_SECRET = ""
    answer = admin.post(f"{SYNCS}start/full/", follow=True)
    assert "没有配置企业微信" in answer.content.decode()
    assert not SyncRun.objects.exists()


@pytest.mark.parametrize(("permission", "may_see", "may_start"), [
    ("wxwork.view_syncrun", 200, 403), ("wxwork.add_syncrun", 403, 200), ("customers.view_customer", 403, 403),
])  # fmt: skip
def test_permissions(
    staff_with: Callable[..., Client], permission: str, may_see: int, may_start: int, simulator: SimulatorServer
) -> None:
    run = SyncRun.objects.create(kind="full", state="done")
    client = staff_with(permission)
    assert client.get(f"{SYNCS}{run.pk}/change/").status_code == may_see
    assert client.get(f"{SYNCS}{run.pk}/progress/").status_code == may_see
    for kind in ("full", "reconcile"):
        assert client.get(f"{SYNCS}start/{kind}/").status_code == may_start
    if may_start == 403:
        assert client.post(f"{SYNCS}start/full/").status_code == 403
        assert SyncRun.objects.count() == 1


def test_no_such_run(admin: Client) -> None:
    assert admin.get(f"{SYNCS}00000000-0000-0000-0000-000000000000/change/").status_code == 404


# ---------------------------------------------------------------------------------------------------- the tag library
def test_tags_of_wecom_are_changed_there_first(admin: Client, synced: SimulatorServer) -> None:
    admin.post("/admin/customers/tag/ettag0102/change/", {"name": "白银会员", "order": "50"})
    assert (synced.state.tags["ettag0102"].name, Tag.objects.get(id="ettag0102").name) == ("白银会员", "白银会员")
    admin.post("/admin/customers/tag/add/", {"name": "黑金", "group": "etgroup01", "order": "0"})
    made = Tag.objects.get(name="黑金")
    assert synced.state.tags[made.pk].name == "黑金"
    admin.post(
        "/admin/customers/taggroup/add/", {"name": "意向", "order": "0", "is_wecom": "on", "tag_names": "高\n低，无"}
    )
    group = TagGroup.objects.get(name="意向")
    assert [tag.name for tag in group.tags.all()] == ["高", "低", "无"]
    assert group.pk in synced.state.tag_groups
    admin.post(f"/admin/customers/taggroup/{group.pk}/delete/", {"post": "yes"})
    assert synced.state.tag_groups[group.pk].deleted
    assert not TagGroup.objects.filter(pk=group.pk).exists()


def test_a_refusal_is_shown_and_changes_nothing(admin: Client, synced: SimulatorServer) -> None:
    for path in ("edit", "add", "del"):
        synced.faults(f"/cgi-bin/externalcontact/{path}_corp_tag", errcode=81011, times=None)
    words = "这个标签由其他应用创建"
    answer = admin.post("/admin/customers/tag/ettag0102/change/", {"name": "白银会员", "order": "50"})
    assert words in answer.content.decode()
    assert Tag.objects.get(id="ettag0102").name == "银卡会员"
    number = Tag.objects.count()
    answer = admin.post("/admin/customers/tag/add/", {"name": "黑金", "group": "etgroup01", "order": "0"})
    assert words in answer.content.decode()
    answer = admin.post("/admin/customers/tag/ettag0102/delete/", {"post": "yes"}, follow=True)
    assert words in answer.content.decode()
    answer = admin.post(
        "/admin/customers/tag/",
        {"action": "delete_selected", "_selected_action": ["ettag0102"], "post": "yes"},
        follow=True,
    )
    assert words in answer.content.decode()
    assert Tag.objects.count() == number


def test_own_tags_need_no_wecom(admin: Client) -> None:
    admin.post("/admin/customers/taggroup/add/", {"name": "内部", "order": "0", "tag_names": "甲,乙"})
    group = TagGroup.objects.get(name="内部")
    assert not group.is_wecom
    assert [tag.name for tag in group.tags.all()] == ["甲", "乙"]
    assert "自建" in html(admin, "/admin/customers/taggroup/")
    assert re.search(r"own-\w+", group.pk)
    assert User.objects.exists()
