"""The main ways through the pages, in a real browser: nothing goes wrong, nobody foreign is asked, phones fit."""

import csv
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from customers.directory import upsert
from customers.models import Tag
from customers.notes import add_note
from customers.records import CustomerData, FollowData
from profiles import publishing, runs
from profiles.models import ProfileRun, RuleVersion
from profiles.rules import Rule, parse_conditions

from .conftest import LONG_NAME

PHONE = {"width": 390, "height": 844}
LIST = "/admin/customers/customer/"
PASSWORD = "一个够长的密码-42"
RUN = re.compile(r"/profilerun/(\d+)/change/$")


@pytest.fixture(autouse=True)
def _nobody_foreign_is_asked(foreign_requests: list[str]) -> Iterator[None]:
    yield
    assert foreign_requests == []


def fits(page: Any) -> bool:
    """Tell whether a page is no wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.fixture
def long_person(classified: ProfileRun) -> int:
    """Somebody whose every text is as long as it may be, without a space to break at."""
    tags = [Tag.objects.create(id=f"long{n}", name="标" * 64, group_id="etgroup01").id for n in range(2)]
    follow = FollowData(
        "LinWanQing", remark="备" * 64, description="x" * 150, mobiles=("13912345678",), tag_ids=tuple(tags)
    )
    customer_id, _ = upsert(
        CustomerData(
            "w" * 64,
            {
                "name": LONG_NAME[:64], "mobile": "13812345678", "corp_name": "企" * 64, "position": "P" * 64,
                "avatar": "https://wx.qlogo.cn/" + "a" * 200, "attributes": {"k" * 64: "v" * 300},
            },
            home=100,
            follows=(follow,),
            tag_ids=tuple(tags),
        )
    )  # fmt: skip
    add_note(customer_id, "n" * 400, author="admin")
    return customer_id


def test_login_refuses_and_lets_in(page: Any, admin_user: User) -> None:
    admin_user.set_password(PASSWORD)
    admin_user.save()
    page.set_viewport_size(PHONE)
    page.goto("/admin/")
    assert "SCRM 客户管理" in page.content()
    assert fits(page)
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", "wrong")
    page.click("[type=submit]")
    page.wait_for_selector("text=用户名或密码不正确")
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", PASSWORD)
    page.click("[type=submit]")
    page.wait_for_selector("#dashboard #first-steps")


@pytest.mark.usefixtures("classified")
def test_search_filter_and_page(desk: Any, company: Any) -> None:
    for number in range(60):
        upsert(CustomerData(f"wm-more-{number}", {"name": f"诸葛{number}号"}, home=101))
    desk.goto(LIST)
    first = desk.locator("tbody tr").count()
    assert first == 50
    desk.click("text=下一页")
    desk.wait_for_selector("text=上一页")
    assert desk.locator("tbody tr").count() == 50
    desk.click("text=上一页")
    desk.wait_for_function("document.body && !document.body.innerText.includes('上一页')")

    desk.fill("[name=q]", "诸葛")
    desk.click("button:has-text('搜索')")
    desk.wait_for_url("**q=*")
    assert set(desk.locator("tbody tr td:nth-child(3)").all_inner_texts()) == {"dept_101"}
    assert desk.locator("tbody tr").count() == 50
    desk.fill("[name=q]", "葛7")
    desk.click("button:has-text('搜索')")
    desk.wait_for_url(re.compile("q=%E8%91%9B7"))
    assert "诸葛7号" in desk.inner_text("tbody")
    assert desk.locator("tbody tr").count() == 1

    desk.goto(f"{LIST}?profile=潜在客户")
    desk.select_option("[name=home]", "100")
    desk.click("button:has-text('搜索')")
    desk.wait_for_url("**home=100*")
    assert set(desk.locator("tbody tr td:nth-child(4)").all_inner_texts()) == {"潜在客户"}
    assert desk.input_value("[name=home]") == "100"


def test_a_customers_page(desk: Any, long_person: int) -> None:
    desk.goto(f"{LIST}{long_person}/")
    desk.click("#fields button:has-text('查看')")
    desk.wait_for_selector("text=13812345678")
    assert "已记入审计日志" in desk.inner_text("#fields")
    desk.click("#follows button:has-text('查看')")
    desk.wait_for_selector("text=13912345678")

    desk.fill("#note-text", "喜欢白茶\n月底回访")
    desk.click("text=添加记录")
    desk.wait_for_selector("text=已添加跟进记录")
    note = desk.locator("#notes li", has_text="喜欢白茶")
    note.get_by_role("button", name="删除", exact=True).click()
    note.get_by_role("button", name="取消").click()
    note.get_by_role("button", name="删除", exact=True).click()
    note.get_by_role("button", name="确定删除").click()
    desk.wait_for_selector("text=已删除跟进记录")
    assert desk.locator("#notes li", has_text="喜欢白茶").count() == 0

    desk.click("text=编辑")
    desk.click("text=添加属性")
    desk.locator("[name=key]").last.fill("尺码")
    desk.locator("[name=value]").last.fill("XL")
    desk.click("button:has-text('保存')")
    desk.wait_for_selector("text=已保存")
    assert "尺码" in desk.inner_text("#fields")


@pytest.mark.usefixtures("classified")
def test_more_behaviours_are_loaded(desk: Any) -> None:
    desk.goto(f"{LIST}?profile=高价值客户")
    desk.locator("tbody tr a").first.click()
    desk.wait_for_selector("#behaviours li")
    before = desk.locator("#behaviours li").count()
    desk.click("text=更早的行为")
    desk.wait_for_function(f"document.querySelectorAll('#behaviours li').length > {before}")


@pytest.mark.usefixtures("company")
def test_a_rule_is_written_published_and_run_with_its_progress_shown(desk: Any) -> None:
    desk.goto("/admin/profiles/ruleversion/")
    desk.click("text=以当前规则新建草稿")
    desk.click("button:has-text('复制为草稿')")
    desk.wait_for_selector("text=已复制为草稿")
    desk.click("text=添加规则")
    rule = desk.locator("[data-set-item]").last
    rule.locator("[name$=-profile]").fill("复购客户")
    rule.locator("[data-part=field]").select_option(label="购买次数")
    rule.locator("[data-part=window]").select_option("days")
    rule.locator("[data-part=days]").fill("90")
    rule.locator("[data-part=value]").fill("两")
    desk.wait_for_selector(".condition-words >> text=第 1 个条件：要是整数，不能是 两")
    rule.locator("[data-part=value]").fill("2")
    desk.wait_for_selector(".condition-words >> text=近 90 天购买次数 ≥ 2")
    rule.locator("[data-set=up]").click()
    assert desk.locator("[name$=-profile]").first.input_value() == "复购客户"
    assert desk.locator("[data-number]").all_inner_texts() == ["1", "2"]
    desk.click("text=保存并发布…")
    desk.wait_for_selector("#publish")
    assert desk.locator("#differences li").count() == 2
    assert desk.locator("#differences li.is-added").inner_text().count("近 90 天购买次数 ≥ 2") == 1
    desk.click("text=确认发布")
    desk.wait_for_selector("text=已发布")
    assert [rule.profile for rule in publishing.current().rules] == ["复购客户", "高价值客户"]

    desk.click("button:has-text('开始')")
    desk.wait_for_url(RUN)
    assert desk.inner_text("#state") == "进行中"
    assert desk.locator(".scrm-bucket").count() == 20
    run = ProfileRun.objects.get()
    for bucket in range(10):
        runs.work(run.pk, 100, bucket)
    desk.wait_for_function("document.querySelectorAll('.scrm-bucket.is-done').length === 10")
    runs.run_all(run)
    desk.wait_for_selector("#state.is-done")
    assert "复购客户" in desk.inner_text("#moves")


DRAFT = "/admin/profiles/ruleversion/{}/change/"


def draft_of(text: str) -> int:
    return publishing.save_draft([Rule("甲", parse_conditions(text))], "其他").pk


@pytest.mark.usefixtures("company")
def test_a_rule_is_written_with_the_keyboard(desk: Any) -> None:
    """Fields bring their own operators, values and units; what a field does not take is not sent."""
    draft = draft_of("purchase_count@store[30d] > 5")
    desk.goto(DRAFT.format(draft))
    row = desk.locator("[data-condition]").first
    assert row.locator("[data-part=channel]").is_visible()
    row.locator("[data-part=field]").focus()
    row.locator("[data-part=field]").select_option(label="标签")
    assert row.locator("[data-part=channel]").is_hidden()
    assert row.locator("[data-part=when]").is_hidden()
    assert row.locator("[data-part=operator] option").all_inner_texts() == ["有", "没有"]
    desk.keyboard.press("Tab")
    desk.keyboard.press("Tab")
    row.locator("[data-part=value]:focus").select_option(label="茶具")
    desk.wait_for_selector(".condition-words >> text=有标签「茶具」")
    desk.locator("[data-condition-add]").focus()
    desk.keyboard.press("Enter")
    second = desk.locator("[data-condition]").nth(1)
    second.locator("[data-part=field]:focus").select_option(label="消费金额")
    assert second.locator("[data-part=unit]").inner_text() == "元"
    second.locator("[data-part=value]").fill("1,200")
    desk.keyboard.press("Enter")  # does not send the form, nor move a rule
    desk.click("button:text-is('保存草稿')")
    desk.wait_for_selector("text=草稿已保存")
    tag = Tag.objects.get(name="茶具").id
    (rule,) = publishing.rule_set_of(RuleVersion.objects.get(pk=draft)).rules
    assert rule.conditions == parse_conditions(f'tags has "{tag}" and total_amount >= 1200')


def test_conditions_and_rules_are_taken_away(desk: Any) -> None:
    draft = draft_of("purchase_count > 5 and interaction_count > 2")
    desk.goto(DRAFT.format(draft))
    desk.locator("[data-condition-remove]").first.focus()
    desk.keyboard.press("Enter")
    assert desk.locator("[data-condition]").count() == 1
    assert desk.evaluate("document.activeElement.dataset.part") == "field"
    desk.wait_for_function("!document.querySelector('.condition-words').innerText.includes('购买次数')")
    desk.click("text=添加规则")
    desk.locator("[data-set=remove]").last.click()
    assert desk.locator("[data-set-item]").count() == 1
    desk.click("button:text-is('保存草稿')")
    desk.wait_for_selector("text=草稿已保存")
    (rule,) = publishing.rule_set_of(RuleVersion.objects.get(pk=draft)).rules
    assert rule.conditions == parse_conditions("interaction_count > 2")


def test_a_draft_on_a_phone(desk: Any) -> None:
    draft = draft_of("purchase_count@store[30d] > 5 and total_amount[90d] >= 1200.50 and days_since_last_purchase <= 9")
    desk.set_viewport_size(PHONE)
    desk.goto(DRAFT.format(draft))
    assert fits(desk)
    desk.locator("[data-part=value]").first.fill("")
    desk.locator("[data-part=days]").first.fill("-3")
    desk.click("button:text-is('保存草稿')")
    desk.wait_for_selector("text=草稿还没有保存")
    assert fits(desk)
    assert desk.locator("[data-condition].is-wrong .scrm-error").all_inner_texts() == [
        "要在 1 到 36500 天之间，不能是 -3"
    ] or desk.locator("[data-condition].is-wrong .scrm-error").all_inner_texts() == ["请填写数值"]


def test_a_draft_without_javascript(page: Any, admin_user: User, live_server_url: str) -> None:
    draft = draft_of("purchase_count > 5")
    client = Client()
    client.force_login(admin_user)
    context = page.context.browser.new_context(java_script_enabled=False, base_url=live_server_url)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server_url}])
    plain = context.new_page()
    plain.goto(DRAFT.format(draft))
    first = plain.locator("[data-set-item]").first
    first.locator("[data-part=value]").first.fill("7")
    more = first.locator("[data-condition]").nth(1)
    more.locator("[data-part=field]").select_option("interaction_count")
    more.locator("[data-part=value]").fill("3")
    more.locator("[data-part=operator]").select_option("<")
    plain.click("button:text-is('保存草稿')")
    plain.wait_for_selector("text=草稿已保存")
    (rule,) = publishing.rule_set_of(RuleVersion.objects.get(pk=draft)).rules
    assert rule.conditions == parse_conditions("purchase_count > 7 and interaction_count < 3")
    context.close()


@pytest.mark.usefixtures("classified")
def test_export_downloads(desk: Any, tmp_path: Any) -> None:
    desk.goto(f"{LIST}?home=100")
    with desk.expect_download() as download:
        desk.click("text=导出 CSV")
    target = tmp_path / "customers.csv"
    download.value.save_as(target)
    with target.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert {row["归属库"] for row in rows} == {"100"}


PAGES = """\
/admin/
/admin/customers/customer/
/admin/customers/customer/?q=没有
/admin/customers/customer/?home=7
/admin/customers/customer/{person}/
/admin/customers/customer/{person}/edit/
/admin/customers/customer/{person}/delete/
/admin/customers/customer/{person}/move/
/admin/profiles/ruleversion/
/admin/profiles/ruleversion/1/change/
/admin/profiles/ruleversion/{draft}/change/
/admin/profiles/ruleversion/{draft}/publish/
/admin/profiles/ruleversion/{draft}/delete/
/admin/profiles/profilerun/
/admin/profiles/profilerun/start/
/admin/profiles/profilerun/{run}/change/
/admin/sharding/home/?count
/admin/api/apikey/
/admin/api/apikey/new/
/admin/customers/
/admin/customers/department/
/admin/customers/staff/
/admin/customers/staff/LinWanQing/change/
/admin/customers/tag/
/admin/customers/taggroup/
/admin/customers/directoryentry/
/admin/customers/audit/
/admin/customers/erasure/
/admin/customers/importprogress/
/admin/auth/user/
/admin/auth/user/add/
/admin/auth/group/add/
/admin/django_celery_beat/periodictask/
/admin/django_celery_beat/periodictask/add/
/admin/password_change/
""".splitlines()


@pytest.mark.slow
def test_every_page_fits_a_phone_and_has_no_trouble(desk: Any, long_person: int, classified: ProfileRun) -> None:
    draft = publishing.save_draft(
        [Rule("沉" * 64, parse_conditions("purchase_count >= 0"))], "潜" * 64, note="注" * 200
    )
    wide = []
    desk.set_viewport_size(PHONE)
    for page in PAGES:
        url = page.format(person=long_person, draft=draft.pk, run=classified.pk)
        answer = desk.goto(url)
        assert answer.status == 200, url
        if not fits(desk):
            wide.append(url)
        assert desk.troubles == [], url
    assert wide == []


def test_a_phone_opens_the_menu(desk: Any) -> None:
    desk.set_viewport_size(PHONE)
    desk.goto("/admin/")
    assert not desk.locator("#nav-sidebar-apps").is_visible()
    desk.locator("#header-inner .material-symbols-outlined:visible").first.click()
    desk.click("text=全部客户")
    desk.wait_for_url(f"**{LIST}")
    desk.wait_for_selector("#first-steps")
    assert fits(desk)
