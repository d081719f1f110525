"""Versions of the rules: copied, edited as text, published."""

import re

import pytest
from django.test import Client

from customers.counts import count_customers
from profiles import publishing, runs
from profiles.models import ProfileRun, RuleVersion

VERSIONS = "/admin/profiles/ruleversion/"

pytestmark = pytest.mark.usefixtures("clean_databases")


def copied(admin: Client) -> str:
    """Copy the version in force and return the address of the draft."""
    address = admin.post(f"{VERSIONS}{publishing.current_version().pk}/copy/").headers["Location"]
    assert re.fullmatch(rf"{VERSIONS}\d+/change/", address)
    return str(address)


def form(*rules: tuple[str, str], default_profile: str = "潜在客户", **more: str) -> dict[str, object]:
    return {
        "profile": [profile for profile, _ in rules],
        "conditions": [conditions for _, conditions in rules],
        "default_profile": default_profile,
        "note": "",
        **more,
    }


def test_the_default_version_is_read_only(admin: Client) -> None:
    html = admin.get(f"{VERSIONS}1/change/").content.decode()
    assert "使用中" in html
    assert "购买次数 &gt; 5" in html
    assert "互动次数 &gt; 10" in html
    assert "<textarea" not in html
    answer = admin.post(f"{VERSIONS}1/change/", form(("x", "purchase_count > 1")))
    assert "已经发布，不能再改" in admin.get(answer.headers["Location"]).content.decode()
    assert admin.post(f"{VERSIONS}1/delete/", {"post": "yes"}).status_code == 403


def test_copy_edit_publish(admin: Client) -> None:
    draft = copied(admin)
    html = admin.get(draft).content.decode()
    assert "purchase_count &gt; 5 and interaction_count &gt; 10" in html
    rules = [("复购客户", "purchase_count[90d] >= 2"), ("高价值客户", "purchase_count > 5 and interaction_count > 10")]
    answer = admin.post(draft, form(*rules, note="分出复购"))
    assert "草稿已保存" in admin.get(answer.headers["Location"]).content.decode()
    assert publishing.current_version().pk == 1

    number = int(draft.split("/")[-3])
    confirm = admin.get(f"{VERSIONS}{number}/publish/").content.decode()
    assert "近 90 天购买次数 ≥ 2" in confirm
    assert "现在使用：第 1 版" in confirm
    answer = admin.post(f"{VERSIONS}{number}/publish/")
    assert answer.headers["Location"] == "/admin/profiles/profilerun/start/"
    current = publishing.current_version()
    assert (current.pk, current.published_by, current.note) == (number, "admin", "分出复购")
    assert [rule.profile for rule in publishing.current().rules] == ["复购客户", "高价值客户"]
    assert "已停用" in admin.get(f"{VERSIONS}1/change/").content.decode()
    assert admin.get(f"{VERSIONS}{number}/publish/").headers["Location"] == draft


def test_saving_may_go_on_to_publish(admin: Client) -> None:
    draft = copied(admin)
    answer = admin.post(draft, form(("a", "purchase_count > 1"), publish="1"))
    assert answer.headers["Location"] == draft.replace("change", "publish")


@pytest.mark.usefixtures("company", "broker_client")
def test_a_draft_is_tried_and_changes_nobody(admin: Client) -> None:
    draft = copied(admin)
    answer = admin.post(draft, form(("人人", "interaction_count >= 0"), **{"try": "1"}))
    run = ProfileRun.objects.get()
    assert answer.headers["Location"] == f"/admin/profiles/profilerun/{run.pk}/change/"
    runs.run_all(run)
    html = admin.get(answer.headers["Location"]).content.decode()
    assert "这是一次试算" in html
    assert "人人" in html
    assert run.summary["classes"] == {"人人": 40}
    assert count_customers().unclassified == 40
    assert publishing.current_version().pk == 1


def test_order_and_empty_rows(admin: Client) -> None:
    draft = copied(admin)
    admin.post(draft, form(("二", "purchase_count > 2"), ("", ""), ("一", "purchase_count > 1")))
    version = RuleVersion.objects.get(pk=int(draft.split("/")[-3]))
    assert list(version.rules.values_list("position", "profile")) == [(1, "二"), (2, "一")]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (("高价值", "purchase_count >"), "条件：第 17 个字符"),
        (("高价值", "purchases > 5"), "没有 purchases 这个字段"),
        (("高价值", "purchase_count > 5 or interaction_count > 2"), "条件之间只能用 and 连接"),
        (("高价值", "total_amount > 1e999"), "这里要有数字"),
        (("", "purchase_count > 5"), "要有名称"),
        (("高价值", ""), "这里要有字段名"),
        (("x" * 65, "purchase_count > 5"), "名称最多 64 个字"),
    ],
)
def test_a_mistake_is_shown_at_its_rule_and_nothing_is_lost(admin: Client, rule: tuple[str, str], words: str) -> None:
    draft = copied(admin)
    html = admin.post(draft, form(("好的", "purchase_count > 9"), rule)).content.decode()
    assert "草稿还没有保存" in html
    first, second = html.split('<div class="scrm-card rule-row"')[-2:]
    assert words not in first
    assert words in second
    assert rule[0] in second
    version = RuleVersion.objects.get(pk=int(draft.split("/")[-3]))
    assert [one.profile for one in version.rules.all()] == ["高价值客户"]


def test_mistakes_of_the_whole(admin: Client) -> None:
    draft = copied(admin)
    html = admin.post(draft, form(("a", "purchase_count > 9"), default_profile="")).content.decode()
    assert "默认画像：要有名称" in html
    many = [(f"r{n}", f"purchase_count[{n}d] > 1") for n in range(1, 15)]
    html = admin.post(draft, form(*many)).content.decode()
    assert "不同的时间窗口最多 12 个" in html


def test_conditions_are_read_while_they_are_written(admin: Client) -> None:
    url = f"{VERSIONS}check/"
    assert "近 30 天互动次数 &lt; 4" in admin.get(url, {"conditions": "interaction_count[30d] < 4"}).content.decode()
    assert "第 1 个字符" in admin.get(url, {"conditions": "<script>"}).content.decode()
    assert admin.get(url, {"conditions": ""}).content.decode().strip() == ""


def test_a_draft_can_be_thrown_away(admin: Client) -> None:
    draft = copied(admin)
    admin.post(draft.replace("change", "delete"), {"post": "yes"})
    assert RuleVersion.objects.count() == 1


def test_the_list(admin: Client) -> None:
    copied(admin)
    html = admin.get(VERSIONS).content.decode()
    assert "使用中" in html
    assert "草稿" in html
    assert admin.get(f"{VERSIONS}new-draft/").headers["Location"] == f"{VERSIONS}1/change/"
