"""Versions of the rules: copied, written by form, tried, published, taken back."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from customers.counts import count_customers
from customers.models import Audit
from profiles import publishing, releasing, runs
from profiles.days import day_of
from profiles.models import ProfileRun, RuleVersion
from profiles.pages.conditions import PARTS, form_rows
from profiles.rules import Rule, parse_conditions

VERSIONS = "/admin/profiles/ruleversion/"

pytestmark = pytest.mark.usefixtures("clean_databases")


def copied(admin: Client) -> str:
    """Copy the version in force and return the address of the draft."""
    address = admin.post(f"{VERSIONS}{publishing.current_version().pk}/copy/").headers["Location"]
    assert re.fullmatch(rf"{VERSIONS}\d+/change/", address)
    return str(address)


def form(*rules: tuple[str, str], default_profile: str = "潜在客户", **more: str) -> dict[str, object]:
    """Return what the form sends of rules; conditions are written as text here, a wrong one as a dict of its parts."""
    data: dict[str, object] = {
        "rule": [f"r{place}" for place in range(len(rules))], "default_profile": default_profile, "note": "",
        "valid_from": "", "rfm_scope": "company", "new_days": "30", "dormant_days": "90", "lost_days": "180",
        "return_days": "30",
    }  # fmt: skip
    for place, (profile, conditions) in enumerate(rules):
        data[f"r{place}-profile"] = profile
        rows = form_rows(parse_conditions(conditions)) if conditions else []
        data |= {f"r{place}-{part}": [getattr(row, part) for row in rows] for part in PARTS}
    return data | more


def number_of(draft: str) -> int:
    return int(draft.split("/")[-3])


def stored(draft: str) -> tuple[object, ...]:
    """Return all that is stored of a version."""
    version = RuleVersion.objects.get(pk=number_of(draft))
    rules = list(version.rules.values_list("position", "profile", "conditions"))
    return rules, version.default_profile, version.note, version.settings, version.valid_from, version.changed_at


def test_the_default_version_is_read_only(admin: Client) -> None:
    html = admin.get(f"{VERSIONS}1/change/").content.decode()
    assert "使用中" in html
    assert "购买次数 &gt; 5" in html
    assert "互动次数 &gt; 10" in html
    assert "<select" not in html
    answer = admin.post(f"{VERSIONS}1/change/", form(("x", "purchase_count > 1")))
    assert "已经发布，不能再改" in admin.get(answer.headers["Location"]).content.decode()
    assert admin.post(f"{VERSIONS}1/delete/", {"post": "yes"}).status_code == 403


def test_copy_edit_publish(admin: Client) -> None:
    draft = copied(admin)
    html = admin.get(draft).content.decode()
    assert "购买次数 &gt; 5" in html
    rules = [("复购客户", "purchase_count[90d] >= 2"), ("高价值客户", "purchase_count > 5 and interaction_count > 10")]
    answer = admin.post(draft, form(*rules, note="分出复购"))
    assert "草稿已保存" in admin.get(answer.headers["Location"]).content.decode()
    assert publishing.current_version().pk == 1

    number = number_of(draft)
    confirm = admin.get(f"{VERSIONS}{number}/publish/").content.decode()
    assert "近 90 天购买次数 ≥ 2" in confirm
    assert "现在使用：第 1 版" in confirm
    assert "还没有试算过" in confirm
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
    ("profile", "parts", "words"),
    [
        ("高价值", {"value": ""}, "请填写数值"),
        ("高价值", {"field": "purchases"}, "没有「purchases」这个字段"),
        ("高价值", {"field": "rfm_segment"}, "这个字段只能用于人群"),
        ("高价值", {"value": "1e999"}, "要是整数，不能是 1e999"),
        ("高价值", {"value": "9" * 100_000}, "最多 200 个字"),
        ("高价值", {"window": "days", "days": "-3"}, "要在 1 到 36500 天之间，不能是 -3"),
        ("高价值", {"channel": "moon"}, "没有「moon」这个渠道"),
        ("高价值", {"operator": "has"}, "购买次数不能这样比较"),
        ("", {}, "画像：要有名称"),
        ("x" * 65, {}, "名称最多 64 个字"),
        ("高\u200b价值", {}, "不能含控制字符"),
    ],
)
def test_a_mistake_is_shown_at_its_rule_and_changes_nothing(
    admin: Client, profile: str, parts: dict[str, str], words: str
) -> None:
    draft = copied(admin)
    before = stored(draft)
    sent = form(("好的", "purchase_count > 9"), (profile, "purchase_count > 5"))
    html = admin.post(draft, sent | {f"r1-{part}": value for part, value in parts.items()}).content.decode()
    assert "草稿还没有保存" in html
    first, second = html.split('<fieldset class="scrm-card rule-row"')[2:4]
    assert words not in first
    assert words in second
    assert profile in second
    assert 'value="9"' in first
    assert stored(draft) == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"default_profile": ""}, "默认画像：要有名称"),
        ({"lost_days": "60"}, "流失天数：要大于沉睡天数 90，不能是 60"),
        ({"return_days": "91"}, "回流天数：不能大于沉睡天数 90，这里是 91"),
        ({"new_days": "许多"}, "新客天数：要是整数天数，不能是 许多"),
        ({"new_days": "0"}, "新客天数：要在 1 到 3650 天之间，不能是 0"),
        ({"rfm_scope": "world"}, "请选择统计范围"),
        ({"valid_from": "明天"}, "要是日期，如 2026-01-31，不能是 明天"),
    ],
)
def test_mistakes_of_the_whole(admin: Client, more: dict[str, str], words: str) -> None:
    draft = copied(admin)
    before = stored(draft)
    html = admin.post(draft, form(("a", "purchase_count > 9"), **more)).content.decode()
    assert words in html
    assert stored(draft) == before


def test_too_much_of_everything(admin: Client) -> None:
    draft = copied(admin)
    before = stored(draft)
    many = [(f"r{n}", f"purchase_count[{n}d] > 1") for n in range(1, 15)]
    assert "不同的时间窗口最多 12 个" in admin.post(draft, form(*many)).content.decode()
    sent = form(("a", " and ".join(["purchase_count > 9"] * 20)))
    sent = {
        name: value + value if isinstance(value, list) and name != "rule" else value for name, value in sent.items()
    }
    assert "最多 20 个条件，这里有 21 个" in admin.post(draft, sent).content.decode()
    assert "最多 100 条规则" in admin.post(draft, form(*[("a", "purchase_count > 9")] * 101)).content.decode()
    assert stored(draft) == before


def test_more_fields_than_django_counts_by_itself_can_be_sent(admin: Client) -> None:
    draft = copied(admin)
    conditions = "purchase_count > 1 and purchase_count > 2 and purchase_count > 3"
    answer = admin.post(draft, form(*[(f"画像{n}", conditions) for n in range(60)]))
    assert (answer.status_code, answer.headers.get("Location")) == (302, draft)
    assert len(stored(draft)[0]) == 60


def test_what_is_not_a_form_changes_nothing(admin: Client) -> None:
    draft = copied(admin)
    before = stored(draft)
    for body in ({}, {"rule": ["'; --", "x" * 1000, ""]}, {"rule": "r0", "r0-field": ["purchase_count"] * 3}):
        assert admin.post(draft, body).status_code == 200
    assert stored(draft) == before


def test_settings_and_the_first_day_are_kept(admin: Client) -> None:
    draft = copied(admin)
    sent = form(("a", "purchase_count@store[90d] >= 2"), new_days="14", rfm_scope="home", valid_from="2030-01-02")
    admin.post(draft, sent)
    _, _, _, settings, valid_from, _ = stored(draft)
    assert settings == {
        "lifecycle": {"new_days": 14, "dormant_days": 90, "lost_days": 180, "return_days": 30},
        "rfm": {"scope": "home"},
    }
    assert valid_from == date(2030, 1, 2)
    html = admin.get(draft).content.decode()
    assert 'value="2030-01-02"' in html
    assert '<option value="store" selected>门店</option>' in html


def test_a_draft_knows_when_what_it_says_changed(admin: Client) -> None:
    draft = copied(admin)
    first = stored(draft)[-1]
    same = form(("高价值客户", "purchase_count > 5 and interaction_count > 10"), note="只改了说明")
    admin.post(draft, same)
    assert stored(draft)[2] == "只改了说明"
    assert stored(draft)[-1] == first
    admin.post(draft, same | {"new_days": "31"})
    assert stored(draft)[-1] > first


def test_conditions_are_read_while_they_are_written(admin: Client, staff_with: Any) -> None:
    url = f"{VERSIONS}check/"
    sent = form(("a", "interaction_count[30d] < 4 and purchase_count > 1")) | {"prefix": "r0"}
    assert "近 30 天互动次数 &lt; 4" in admin.get(url, sent).content.decode()
    html = admin.get(url, sent | {"r0-value": ["4", "x"]}).content.decode()
    assert "第 2 个条件：要是整数，不能是 x" in html
    html = admin.get(url, sent | {"r0-value": ["4", ""]}).content.decode()
    assert "scrm-error" not in html  # not finished is not wrong
    assert "…" in html
    assert admin.get(url).content.decode().strip() == ""
    assert staff_with("customers.view_customer").get(url, sent).status_code == 403


# ---- publishing ------------------------------------------------------------------------------------------------------


def test_publishing_shows_what_differs(admin: Client) -> None:
    draft = copied(admin)
    admin.post(draft, form(("新人", "purchase_count > 0"), ("高价值客户", "purchase_count > 8"), lost_days="200"))
    html = admin.get(f"{VERSIONS}{number_of(draft)}/publish/").content.decode()
    kinds = re.findall(r'<li class="rule-line is-(\w+)">', html)
    assert kinds == ["added", "changed", "changed"]
    assert "超过 180 天没有购买和互动" in html
    assert "超过 200 天没有购买和互动" in html


def test_publishing_later(admin: Client) -> None:
    draft = copied(admin)
    number = number_of(draft)
    address = f"{VERSIONS}{number}/publish/"
    for wrong, words in (("2020-01-01", "或以后"), ("0000-00-00", "要是日期"), ("\x00'", "要是日期")):
        assert words in admin.post(address, {"valid_from": wrong}).content.decode()
    assert RuleVersion.objects.get(pk=number).state == "draft"
    tomorrow = day_of(timezone.now()) + timedelta(days=1)
    answer = admin.post(address, {"valid_from": tomorrow.isoformat()})
    assert f"将于 {tomorrow} 生效" in admin.get(answer.headers["Location"]).content.decode()
    assert f"将于 {tomorrow} 生效" in admin.get(VERSIONS).content.decode()
    assert publishing.current_version().pk == 1
    assert publishing.current_version(tomorrow).pk == number
    (row,) = Audit.objects.all()
    assert (row.actor, row.action) == ("admin", "publish_rules")
    assert row.detail == {"version": number, "note": "由第 1 版复制", "valid_from": tomorrow.isoformat()}

    other = copied(admin)
    assert f"将于 {tomorrow} 生效" in admin.get(f"{VERSIONS}{number_of(other)}/publish/").content.decode()
    admin.post(f"{VERSIONS}{number}/withdraw/")
    assert RuleVersion.objects.get(pk=number).state == "draft"
    assert publishing.current_version(tomorrow).pk == 1
    admin.post(f"{VERSIONS}{number}/withdraw/")
    assert list(Audit.objects.values_list("action", flat=True)) == ["withdraw_rules", "publish_rules"]


def test_rolling_back(admin: Client) -> None:
    draft = copied(admin)
    admin.post(draft, form(("复购客户", "purchase_count >= 2"), new_days="7"))
    admin.post(f"{VERSIONS}{number_of(draft)}/publish/")
    assert "回滚到第 1 版" in admin.get(f"{VERSIONS}1/change/").content.decode()
    answer = admin.post(f"{VERSIONS}1/roll-back/")
    current = publishing.current_version()
    assert answer.headers["Location"] == f"{VERSIONS}{current.pk}/change/"
    assert current.pk > number_of(draft)
    assert (current.note, current.published_by) == ("回滚到第 1 版", "admin")
    assert publishing.rule_set_of(current).rules == publishing.rule_set_of(RuleVersion.objects.get(pk=1)).rules
    assert publishing.rule_set_of(current).settings.lifecycle.new_days == 30
    assert Audit.objects.first().detail == {
        "version": current.pk, "note": "回滚到第 1 版", "valid_from": None, "to": 1, "from": number_of(draft)
    }  # fmt: skip
    # Pressed again, it is done already.
    admin.post(f"{VERSIONS}1/roll-back/")
    assert publishing.current_version() == current
    assert Audit.objects.count() == 2


def test_what_was_changed_since_it_was_shown_is_not_published(admin: Client) -> None:
    draft = copied(admin)
    admin.post(draft, form(("复购客户", "purchase_count >= 2")))
    address = f"{VERSIONS}{number_of(draft)}/publish/"
    seen = admin.get(address).context["seen"]
    assert f'name="seen" value="{seen}"' in admin.get(address).content.decode()
    admin.post(draft, form(("复购客户", "purchase_count >= 200")))
    answer = admin.post(address, {"valid_from": "", "seen": seen})
    assert answer.headers["Location"] == address
    html = admin.get(address).content.decode()
    assert "打开这一页以后草稿又改过" in html
    assert RuleVersion.objects.get(pk=number_of(draft)).state == "draft"
    assert Audit.objects.count() == 0
    # A note is not what the rules say.
    seen = admin.get(address).context["seen"]
    admin.post(draft, form(("复购客户", "purchase_count >= 200"), note="改了备注"))
    admin.post(address, {"valid_from": "", "seen": seen})
    assert publishing.current_version().pk == number_of(draft)


def test_of_two_who_edit_a_draft_the_second_is_told(admin: Client) -> None:
    draft = copied(admin)
    seen = admin.get(draft).context["seen"]
    admin.post(draft, form(("复购客户", "purchase_count >= 2"), seen=seen))
    answer = admin.post(draft, form(("大客户", "purchase_count >= 9"), seen=seen))
    assert "草稿又被改过" in answer.content.decode()
    assert stored(draft)[0][0][1] == "复购客户"
    html = answer.content.decode()
    assert 'value="大客户"' in html
    assert f'name="seen" value="{answer.context["seen"]}"' in html
    admin.post(draft, form(("大客户", "purchase_count >= 9"), seen=answer.context["seen"]))
    assert stored(draft)[0][0][1] == "大客户"


def test_a_version_that_cannot_be_evaluated_is_not_taken_for_the_one_in_force(admin: Client) -> None:
    draft = copied(admin)
    admin.post(draft, form(("复购客户", "purchase_count >= 2")))
    admin.post(f"{VERSIONS}{number_of(draft)}/publish/")
    for version in RuleVersion.objects.all():
        version.rules.update(conditions=[{"field": "moon", "operator": ">", "value": 1}])
    html = admin.post(f"{VERSIONS}1/roll-back/", follow=True).content.decode()
    assert "没有回滚" in html
    assert "已回滚" not in html
    assert publishing.current_version().pk == number_of(draft)


def at_once(*work: Callable[[], object]) -> list[object]:
    """Do things side by side, each on connections of its own; return what came of each, or its error."""
    barrier = Barrier(len(work))

    def one(function: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return function()
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(one, work))


@pytest.mark.parametrize("_time", range(3))
def test_of_many_who_publish_and_roll_back_at_once_each_is_done_once(admin: Client, _time: int) -> None:
    draft = number_of(copied(admin))
    admin.post(f"{VERSIONS}{draft}/change/", form(("复购客户", "purchase_count >= 2")))
    done = at_once(
        *[lambda: releasing.publish(draft, by="li")] * 3,
        *[lambda: releasing.roll_back(1, by="wang")] * 3,
        lambda: publishing.save_draft([], "别的", version=draft).pk,
        lambda: releasing.withdraw(draft, by="zhao"),
    )
    assert [error for error in done[:6] if isinstance(error, Exception)] == []
    assert isinstance(done[6], publishing.PublishedError | int)
    assert isinstance(done[7], releasing.ReleasedError)
    actions = list(Audit.objects.values_list("action", flat=True))
    assert actions.count("publish_rules") == 1
    # Whoever rolls back finds it done, or there is nothing to go back from yet.
    assert actions.count("roll_back_rules") <= 1
    assert RuleVersion.objects.filter(state="published").count() == 1 + len(actions)


@pytest.mark.parametrize("_time", range(3))
def test_a_draft_tried_and_thrown_away_at_once_is_one_or_the_other(admin: Client, _time: int) -> None:
    draft = number_of(copied(admin))
    clients = [Client(), Client()]
    for client in clients:
        client.cookies = admin.cookies
    answers = at_once(
        lambda: clients[0].post(f"{VERSIONS}{draft}/try/").status_code,
        lambda: clients[1].post(f"{VERSIONS}{draft}/delete/", {"post": "yes"}).status_code,
    )
    # 200: the page that says that it is being tried.
    assert answers[0] in (302, 404)
    assert answers[1] in (200, 302, 403)
    is_there = RuleVersion.objects.filter(pk=draft).exists()
    assert ProfileRun.objects.filter(rule_version=draft).exists() <= is_there


def test_a_draft_that_is_gone_or_a_draft_is_not_rolled_back_to(admin: Client) -> None:
    draft = copied(admin)
    admin.post(f"{VERSIONS}{number_of(draft)}/roll-back/")
    assert publishing.current_version().pk == 1
    RuleVersion.objects.get(pk=number_of(draft)).delete()
    for page in ("publish", "roll-back", "withdraw", "try", "copy"):
        assert admin.post(f"{VERSIONS}{number_of(draft)}/{page}/").status_code == 404
    assert Audit.objects.count() == 0


@pytest.mark.parametrize(
    ("page", "permissions"),
    [
        ("publish", ("view_ruleversion", "change_ruleversion")),
        ("roll-back", ("view_ruleversion", "change_ruleversion")),
        ("withdraw", ("view_ruleversion", "change_ruleversion")),
        ("try", ("view_ruleversion", "publish_ruleversion")),
        ("copy", ("view_ruleversion", "change_ruleversion")),
        ("change", ("view_ruleversion",)),
    ],
)
def test_who_may_not(admin: Client, staff_with: Any, page: str, permissions: tuple[str, ...]) -> None:
    draft = copied(admin)
    operator = staff_with(*(f"profiles.{one}" for one in permissions))
    assert operator.post(f"{VERSIONS}{number_of(draft)}/{page}/", form(("a", "purchase_count > 1"))).status_code == 403
    assert RuleVersion.objects.filter(state="published").count() == 1
    assert RuleVersion.objects.count() == 2
    assert ProfileRun.objects.count() == 0


@pytest.mark.usefixtures("company", "broker_client")
def test_the_dry_run_of_just_this_draft(admin: Client) -> None:
    draft = copied(admin)
    number = number_of(draft)
    admin.post(draft, form(("人人", "interaction_count >= 0")))
    answer = admin.post(f"{VERSIONS}{number}/try/")
    run = ProfileRun.objects.get()
    assert answer.headers["Location"] == f"/admin/profiles/profilerun/{run.pk}/change/"
    assert "试算还没有结束" in admin.get(f"{VERSIONS}{number}/publish/").content.decode()
    runs.run_all(run)
    html = admin.get(f"{VERSIONS}{number}/publish/").content.decode()
    assert re.search(r"判断了 <strong[^>]*>40</strong> 位客户，其中 <strong[^>]*>40</strong> 位", html)
    admin.post(draft, form(("人人", "interaction_count >= 1")))
    html = admin.get(f"{VERSIONS}{number}/publish/").content.decode()
    assert "在这次试算以后又改过" in html
    assert "位会变更画像" not in html


def test_a_broken_rule_is_named(admin: Client) -> None:
    rules = [Rule(name, parse_conditions("purchase_count > 1")) for name in ("甲", "乙")]
    version = publishing.save_draft(rules, "其他")
    version.rules.filter(position=1).update(conditions=[{"field": "no_such", "operator": ">", "value": 1}])
    for page in ("change", "publish"):
        assert "没有 no_such 这个字段" in admin.get(f"{VERSIONS}{version.pk}/{page}/").content.decode()
    admin.post(f"{VERSIONS}{version.pk}/publish/")
    assert publishing.current_version().pk == 1
    RuleVersion.objects.filter(pk=version.pk).update(state="published", published_at=timezone.now())
    html = admin.get(f"{VERSIONS}{version.pk}/change/").content.decode()
    assert "规则 1「甲」" in html
    assert "不能使用，判断时跳过" in html
    version.rules.update(conditions=[{"field": "no_such", "operator": ">", "value": 1}])
    html = admin.get(f"{VERSIONS}{version.pk}/change/").content.decode()
    assert "这个版本不能使用：第 1 条规则 · 第 1 个条件 · 字段：没有 no_such 这个字段" in html


def test_a_draft_can_be_thrown_away(admin: Client) -> None:
    draft = copied(admin)
    admin.post(draft.replace("change", "delete"), {"post": "yes"})
    assert RuleVersion.objects.count() == 1


@pytest.mark.usefixtures("company", "broker_client")
def test_a_draft_goes_with_its_dry_runs_but_not_while_one_goes_on(admin: Client) -> None:
    draft = copied(admin)
    page = draft.replace("change", "delete")
    admin.post(f"{VERSIONS}{number_of(draft)}/try/")
    run = ProfileRun.objects.get()
    assert f"任务 {run.pk}" in admin.get(page).content.decode()
    admin.post(page, {"post": "yes"})
    assert RuleVersion.objects.count() == 2
    runs.run_all(run)
    admin.post(page, {"post": "yes"})
    assert RuleVersion.objects.count() == 1
    assert ProfileRun.objects.count() == 0


def test_the_list(admin: Client) -> None:
    copied(admin)
    html = admin.get(VERSIONS).content.decode()
    assert "使用中" in html
    assert "草稿" in html
    assert admin.get(f"{VERSIONS}new-draft/").headers["Location"] == f"{VERSIONS}1/change/"


@pytest.mark.usefixtures("company")
def test_a_run_names_the_rules_that_it_passed_by(admin: Client) -> None:
    rules = [
        Rule("甲", parse_conditions("purchase_count > 999999")),
        Rule("乙", parse_conditions("purchase_count >= 0")),
    ]
    version = publishing.publish(publishing.save_draft(rules, "其他").pk, by="admin")
    version.rules.filter(position=1).update(conditions=[{"field": "no_such", "operator": ">", "value": 1}])
    run = runs.run_all(runs.start_run("manual", day_of(timezone.now()), requested_by="admin"))
    assert run.state == "done"
    assert run.summary["classes"] == {"乙": 40}
    (broken,) = run.summary["broken_rules"]
    assert (broken["position"], broken["profile"], broken["place"]) == (1, "甲", "rules[0].conditions[0].field")
    html = admin.get(f"/admin/profiles/profilerun/{run.pk}/change/").content.decode()
    assert "规则 1「甲」：没有 no_such 这个字段" in html
