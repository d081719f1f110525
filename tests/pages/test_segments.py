"""Pages of segments: written with a form, counted while they are, looked at, exported, filled by hand."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from customers.models import Audit
from profiles.models import Segment
from profiles.segments import refreshing
from scrm import held
from scrm.demo.company import Company
from tests.profiles.segments import HOMES, changes, condition, dynamic, members, static

pytestmark = pytest.mark.usefixtures("clean_databases")
BUYERS = [[condition("purchase_count", ">=", 1)]]
FORM = {
    "name": "买过的人", "description": "付过钱", "is_active": "1", "group": ["g0", "g1"],
    "g0-field": "purchase_count", "g0-channel": "", "g0-window": "days", "g0-days": "30", "g0-operator": ">=",
    "g0-value": "1",
    "g1-field": "profile", "g1-channel": "", "g1-window": "", "g1-days": "", "g1-operator": "is",
    "g1-value": "高价值客户",
}  # fmt: skip
LIST = "/admin/profiles/segment/"


def html(response: Any) -> str:
    return str(response.content.decode())


def test_a_segment_is_written_counted_saved_and_shown(admin: Client, classified: Any) -> None:
    preview = html(admin.post(f"{LIST}preview/", FORM))
    assert "位客户" in preview
    assert "在全部 40 位客户里实时统计" in preview
    assert Segment.objects.count() == 0
    response = admin.post(f"{LIST}add/", FORM)
    segment = Segment.objects.get()
    assert response.headers["Location"] == f"{LIST}{segment.pk}/change/"
    assert segment.groups == [
        [condition("purchase_count", ">=", 1, window_days=30)], [condition("profile", "is", "高价值客户")]
    ]  # fmt: skip
    assert segment.created_by == "admin"
    page = html(admin.get(f"{LIST}{segment.pk}/change/"))
    assert "计算中" in page
    assert "正在计算" in page
    for home in HOMES:
        refreshing.recompute(home)
    there = members(segment)
    assert there
    page = html(admin.get(f"{LIST}{segment.pk}/change/"))
    assert f'{len(there)}<span class="scrm-small scrm-muted"> 位客户' in page
    assert "近 30 天购买次数 ≥ 1" in page
    assert "客户画像是「高价值客户」" in page
    assert "或者" in page
    listing = html(admin.get(f"/admin/customers/customer/?segment={segment.pk}"))
    assert f"本页 {len(there)} 位" in listing or listing.count('class="is-lead') == len(there)
    assert "买过的人" in html(admin.get(LIST))
    somebody = min(there)
    assert "买过的人" in html(admin.get(f"/admin/customers/customer/{somebody}/"))


def test_what_is_wrong_stands_at_its_place_and_nothing_is_saved(admin: Client) -> None:
    page = html(admin.post(f"{LIST}add/", {**FORM, "g0-days": "-3", "name": ""}))
    assert "要在 1 到 36500 天之间" in page or "要是整数天数" in page
    page = html(admin.post(f"{LIST}add/", {**FORM, "name": ""}))
    assert "要有名称" in page
    page = html(admin.post(f"{LIST}add/", {"name": "空", "group": "g0"}))
    assert "至少要有一个条件" in page
    assert Segment.objects.count() == 0
    dynamic("买过的人", *BUYERS, computed=False)
    assert "已经有叫" in html(admin.post(f"{LIST}add/", FORM))
    assert html(admin.post(f"{LIST}preview/", {**FORM, "g0-value": "x"})).count("有条件需要修改") == 1


def test_editing_grows_the_version_and_a_switch_pauses(admin: Client, company: Company) -> None:
    segment = dynamic("买过的人", *BUYERS)
    before = members(segment)
    page = html(admin.get(f"{LIST}{segment.pk}/edit/"))
    assert 'name="g0-value"' in page
    assert 'value="买过的人"' in page
    form = {**FORM, "group": "g0", "g0-window": "", "g0-days": "", "g0-value": "3"}
    assert admin.post(f"{LIST}{segment.pk}/edit/", form).status_code == 302
    segment.refresh_from_db()
    assert (segment.version, segment.groups) == (2, [[condition("purchase_count", ">=", 3)]])
    for home in HOMES:
        refreshing.recompute(home)
    assert members(segment) < before
    admin.post(f"{LIST}{segment.pk}/switch/")
    segment.refresh_from_db()
    assert (segment.is_active, segment.version) == (False, 3)
    assert "已停用" in html(admin.get(f"{LIST}{segment.pk}/change/"))


def test_one_that_others_use_is_not_deleted(admin: Client) -> None:
    one = dynamic("一", *BUYERS, computed=False)
    two = dynamic("二", [condition("segment", "in", str(one.pk))], computed=False)
    page = html(admin.post(f"{LIST}{one.pk}/delete/", follow=True))
    assert "没有删除：这些人群的条件用到了它：二" in page
    admin.post(f"{LIST}{two.pk}/delete/")
    admin.post(f"{LIST}{one.pk}/delete/")
    assert Segment.objects.count() == 0
    assert list(Audit.objects.values_list("action", flat=True)) == ["delete_segment", "delete_segment"]


def test_static_ones_are_filled_by_hand_and_from_a_list(admin: Client, company: Company) -> None:
    chosen = static("活动名单")
    ids = [company.external_userid(number) for number in range(3)]
    page = html(
        admin.post(f"{LIST}{chosen.pk}/by-hand/", {"external_userids": "\n".join([*ids, "nobody"])}, follow=True)
    )
    assert "已加入 3 位客户" in page
    assert "有 1 个 ID 找不到客户" in page
    admin.post(f"{LIST}{chosen.pk}/by-hand/", {"external_userids": ids[0], "do": "remove"})
    assert len(members(chosen)) == 2
    assert [(entered, cause) for _, entered, cause in changes(chosen)] == [(True, "admin")] * 3 + [(False, "admin")]
    response = admin.post(f"{LIST}collect/?home=100", {"name": "一库"})
    made = Segment.objects.get(name="一库")
    assert response.headers["Location"] == f"{LIST}{made.pk}/change/"
    assert {one // 10**10 for one in members(made)} == {100}
    assert "加入人群" in html(admin.get("/admin/customers/customer/"))


def test_an_export_holds_the_members_and_is_audited(admin: Client, company: Company) -> None:
    segment = dynamic("买过的人", *BUYERS)
    response = admin.post(f"{LIST}{segment.pk}/export/")
    lines = b"".join(response.streaming_content).decode("utf-8-sig").splitlines()  # type: ignore[attr-defined]
    assert len(lines) == len(members(segment)) + 1
    audit = Audit.objects.get()
    assert (audit.action, audit.detail["rows"]) == ("export_segment", len(members(segment)))


def test_who_may(staff_with: Callable[..., Client]) -> None:
    segment = static("名单")
    client = staff_with("profiles.view_segment")
    assert client.get(LIST).status_code == 200
    page = html(client.get(f"{LIST}{segment.pk}/change/"))
    assert "查看成员需要查看客户的权限" in page
    assert "导出" not in page
    assert "删除这个人群" not in page
    assert client.post(f"{LIST}preview/", FORM).status_code == 200
    for path in ("edit/", "switch/", "delete/", "export/", "by-hand/"):
        assert client.post(f"{LIST}{segment.pk}/{path}").status_code == 403
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.get(f"{LIST}collect/").status_code == 403


def test_nobody_without_the_permission(staff_with: Callable[..., Client]) -> None:
    segment = static("名单")
    client = staff_with("customers.view_customer")
    assert client.get(f"{LIST}{segment.pk}/change/").status_code == 403
    assert client.post(f"{LIST}preview/", FORM).status_code == 403
    held.forget_all()
    assert "加入人群" not in html(client.get("/admin/customers/customer/"))
