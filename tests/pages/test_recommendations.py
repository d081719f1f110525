"""Suggestions on a customer's page, the work list, and the form of rules."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from customers.models import Audit
from profiles.models import ItemAffinity, Recommendation, RecommendationRule
from profiles.recommendations import rules
from scrm import held
from tests.profiles.recommending import ALWAYS, BUYERS, only_rule, people, rule, stored, suggest

LIST = "/admin/profiles/recommendation/"
RULES = "/admin/profiles/recommendationrule/"


@pytest.fixture
def suggested(clean_databases: None) -> Recommendation:
    """An open suggestion about 王一, by the only rule."""
    people("wm-王一", staff="zhang")
    only_rule(name="沉睡召回", action="win_back", base_score=70, reason="买过 {purchase_count} 次，请召回")
    suggest()
    held.forget_all()
    return stored()[0]


def person(one: Recommendation) -> str:
    return f"/admin/customers/customer/{one.customer_id}/"


def deciding(one: Recommendation) -> str:
    return f"{LIST}{one.customer_id}/{one.recommendation_id}/"


def form(**values: Any) -> dict[str, Any]:
    """A form of a rule with one group of one condition."""
    return {
        "name": "新规则", "action": "thank", "reason": "买过 {purchase_count} 次", "base_score": "60",
        "expires_days": "7", "cooldown_days": "0", "is_active": "1", "group": "g0", "g0-field": "purchase_count",
        "g0-channel": "", "g0-window": "", "g0-days": "", "g0-operator": ">=", "g0-value": "2", **values,
    }  # fmt: skip


def test_a_customers_page_says_what_to_do_and_why(suggested: Recommendation, admin: Client) -> None:
    html = admin.get(person(suggested)).content.decode()
    section = html[html.index('id="recommendations"') :]
    for text in ("召回", "买过 0 次，请召回", "沉睡召回", "采纳", "忽略", ">70<"):
        assert text in section


def test_accepting_and_undoing_by_htmx(suggested: Recommendation, admin: Client) -> None:
    response = admin.post(deciding(suggested), {"what": "accept"}, headers={"HX-Request": "true"})
    html = response.content.decode()
    assert response.status_code == 200
    assert "已采纳" in html
    assert "撤销" in html
    assert stored()[0].state == "accepted"
    assert (stored()[0].decided_by, RecommendationRule.objects.get().accepted) == ("admin", 1)
    html = admin.post(deciding(suggested), {"what": "undo"}, headers={"HX-Request": "true"}).content.decode()
    assert "采纳" in html
    assert "已采纳" not in html
    assert (stored()[0].state, RecommendationRule.objects.get().accepted) == ("open", 0)


def test_dismissing_without_javascript_goes_back(suggested: Recommendation, admin: Client) -> None:
    response = admin.post(
        deciding(suggested), {"what": "dismiss", "note": "刚联系过", "back": f"{LIST}?action=win_back"}
    )
    assert response.headers["Location"] == f"{LIST}?action=win_back"
    assert (stored()[0].state, stored()[0].note) == ("dismissed", "刚联系过")
    again = admin.post(deciding(suggested), {"what": "accept", "back": "https://evil.example/"}, follow=True)
    assert again.redirect_chain[0][0] == person(suggested)
    assert "admin 已经处理过这条建议，没有改动。" in again.content.decode()
    assert stored()[0].state == "dismissed"


def test_deciding_wants_its_permission_and_a_post(
    suggested: Recommendation, staff_with: Callable[..., Client], admin: Client
) -> None:
    assert admin.get(deciding(suggested)).status_code == 405
    client = staff_with("customers.view_customer", "profiles.view_recommendation")
    assert client.post(deciding(suggested), {"what": "accept"}).status_code == 403
    html = client.get(person(suggested)).content.decode()
    assert 'id="recommendations"' in html
    assert deciding(suggested) not in html
    assert stored()[0].state == "open"
    assert not Audit.objects.exists()


def test_without_permission_nothing_is_suggested(suggested: Recommendation, staff_with: Callable[..., Client]) -> None:
    html = staff_with("customers.view_customer").get(person(suggested)).content.decode()
    assert 'id="recommendations"' not in html


@pytest.mark.parametrize(
    ("url", "permissions"),
    [
        (LIST, ("profiles.view_recommendation", "customers.view_customer")),
        (RULES, ("profiles.view_recommendationrule",)),
        (f"{RULES}add/", ("profiles.add_recommendationrule",)),
        ("/admin/profiles/itemaffinity/", ("profiles.view_itemaffinity",)),
    ],
)
def test_a_page_wants_its_permissions(
    url: str, permissions: tuple[str, ...], clean_databases: None, staff_with: Callable[..., Client]
) -> None:
    client = staff_with(*permissions)
    assert client.get(url).status_code == 200
    client.logout()
    assert Client().get(url).headers["Location"] == f"/admin/login/?next={url}"


def test_the_work_list_is_by_score_and_filtered(suggested: Recommendation, admin: Client) -> None:
    people("wm-李二", home=101, staff="li")
    rule("感谢", base_score=90)
    suggest()
    held.forget_all()
    html = admin.get(LIST).content.decode()
    names = re.findall(r'scrm-break" href="/admin/customers/customer/\d+/">([^<]*)<', html)
    assert names == ["wm-王一", "wm-李二", "wm-王一", "wm-李二"]
    html = admin.get(f"{LIST}?action=win_back&home=101").content.decode()
    assert "wm-李二" in html
    assert "wm-王一" not in html
    html = admin.get(f"{LIST}?state=expired").content.decode()
    assert "没有符合条件的建议" in html
    assert "筛选条件有误" in admin.get(f"{LIST}?action=dance").content.decode()
    assert admin.get(f"{LIST}?cursor=rubbish").status_code == 200


def test_an_empty_work_list_says_what_to_do(clean_databases: None, admin: Client) -> None:
    html = admin.get(LIST).content.decode()
    assert "没有待处理的建议" in html
    assert "查看建议规则" in html


def test_pages_of_the_work_list(clean_databases: None, admin: Client) -> None:
    people(*(f"wm{n:03}" for n in range(60)))
    only_rule()
    suggest()
    held.forget_all()
    html = admin.get(LIST).content.decode()
    following = re.search(r'rel="next" href="\?([^"]+)"', html)
    assert following is not None
    rest = admin.get(f"{LIST}?{following[1].replace('&amp;', '&')}").content.decode()
    first, second = (set(re.findall(r">(wm\d{3})<", text)) for text in (html, rest))
    assert (len(first), len(second), first & second) == (50, 10, set())


def test_a_rule_is_written_with_the_form(clean_databases: None, admin: Client) -> None:
    response = admin.post(f"{RULES}add/", form())
    assert response.status_code == 302, response.content.decode()[:2000]
    made = RecommendationRule.objects.get(name="新规则")
    assert (made.action, made.base_score, made.expires_days, made.cooldown_days) == ("thank", 60, 7, 0)
    assert made.groups == [[{"field": "purchase_count", "operator": ">=", "value": 2}]]
    html = admin.get(f"{RULES}{made.pk}/change/").content.decode()
    assert "还没有人处理过" in html
    assert admin.post(f"{RULES}{made.pk}/change/", form(base_score="80")).status_code == 302
    made.refresh_from_db()
    assert made.base_score == 80


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reason": "{lucky_number}"}, "没有 {lucky_number} 这个占位"),
        ({"reason": "{items} 很搭"}, "只能用在「推荐搭配」的理由里"),
        ({"reason": ""}, "请写下理由"),
        ({"base_score": "100"}, "要是 1 到 99 的整数"),
        ({"expires_days": "x"}, "要是 1 到 365 的整数"),
        ({"name": ""}, "要有名称"),
        ({"action": "dance"}, "动作要是"),
        ({"g0-value": ""}, "请填写数值"),
        ({"g0-window": "days", "g0-days": "-3"}, "要在 1 到 36500 天之间，不能是 -3"),
        ({"group": ""}, "至少要有一个条件"),
    ],
)
def test_a_wrong_rule_is_refused_where_it_is_wrong(
    changes: dict[str, str], message: str, clean_databases: None, admin: Client
) -> None:
    before = RecommendationRule.objects.count()
    response = admin.post(f"{RULES}add/", form(**changes))
    assert response.status_code == 200
    assert message in response.content.decode()
    assert RecommendationRule.objects.count() == before


def test_two_rules_of_one_name(clean_databases: None, admin: Client) -> None:
    only_rule(name="新规则", groups=ALWAYS)
    assert "已经有叫「新规则」的规则" in admin.post(f"{RULES}add/", form()).content.decode()


def test_a_broken_rule_is_shown_and_can_be_turned_off(clean_databases: None, admin: Client) -> None:
    made = only_rule(name="坏")
    RecommendationRule.objects.update(groups=[[{"field": "luck", "operator": ">", "value": 1}]])
    rules.name_broken(rules.read_plan())
    assert "条件有误" in admin.get(RULES).content.decode()
    assert "没有 luck 这个字段" in admin.get(f"{RULES}{made.pk}/change/").content.decode()
    admin.post(f"{RULES}{made.pk}/switch/", {})
    assert not RecommendationRule.objects.get().is_active
    html = admin.post(f"{RULES}{made.pk}/switch/", {"is_active": "1"}, follow=True).content.decode()
    assert "没有启用" in html
    admin.post(f"{RULES}{made.pk}/delete/")
    assert not RecommendationRule.objects.exists()


def test_what_goes_together_is_listed(clean_databases: None, admin: Client) -> None:
    ItemAffinity.objects.create(
        item_id="tea", other_id="cup", name="茶", other_name="杯", together=4, score=0.8944, run_id=1
    )
    html = admin.get("/admin/profiles/itemaffinity/").content.decode()
    for text in ("茶", "杯", "0.89"):
        assert text in html


# -------------------------------------------------------------------------------------------------------- in Chromium
def test_work_in_chromium(desk: Any, clean_databases: None, foreign_requests: list[str]) -> None:
    people("wm-王一", "wm-李二", "wm-赵三", staff="zhang")
    only_rule(name="沉睡召回", action="win_back", base_score=70, reason="买过 {purchase_count} 次，请召回")
    suggest()
    desk.goto(LIST)
    rows = desk.locator(".suggestions > li")
    assert rows.count() == 3
    rows.nth(0).get_by_role("button", name="采纳").click()
    rows.nth(0).get_by_text("已采纳").wait_for()
    rows.nth(1).get_by_role("button", name="忽略", exact=True).click()
    rows.nth(1).get_by_placeholder("为什么忽略（可不填）").fill("刚联系过")
    rows.nth(1).get_by_role("button", name="确定忽略").click()
    rows.nth(1).get_by_text("刚联系过").wait_for()
    rows.nth(1).get_by_role("button", name="撤销").click()
    rows.nth(1).get_by_role("button", name="采纳").wait_for()
    assert [one.state for one in stored()] == ["accepted", "open", "open"]
    for width in (1440, 390):
        desk.set_viewport_size({"width": width, "height": 900})
        for url in (LIST, f"/admin/customers/customer/{stored()[0].customer_id}/", RULES, f"{RULES}add/"):
            desk.goto(url)
            assert desk.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (width, url)
    assert foreign_requests == []


def test_a_rule_in_chromium(desk: Any, clean_databases: None, foreign_requests: list[str]) -> None:
    people("wm-王一")
    desk.goto(f"{RULES}add/")
    desk.get_by_label("名称").fill("首单感谢")
    desk.get_by_label("动作").select_option("thank")
    desk.get_by_label("理由").fill("买过 {purchase_count} 次")
    row = desk.locator("[data-set-item]").first
    row.locator("select[name$=-field]").first.select_option("purchase_count")
    row.locator("select[name$=-operator]").first.select_option(">=")
    row.locator("input[name$=-value]").first.fill("1")
    desk.get_by_role("button", name="保存").click()
    desk.wait_for_url(f"**{RULES}")
    assert RecommendationRule.objects.get(name="首单感谢").groups == BUYERS
    assert foreign_requests == []
