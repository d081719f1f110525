"""Versions of rules: drafts that may change, published ones that never do."""

import threading
from datetime import date

import pytest
import time_machine
from django.db import connections

from profiles import publishing, runs
from profiles.models import RuleVersion
from profiles.publishing import PublishedError
from profiles.rules import DEFAULT_RULE_SET, LifecycleSettings, RuleError, Settings, to_json
from profiles.rules import Rule as ParsedRule
from profiles.rules import parse_conditions as parse
from profiles.runs import RunRefusedError
from tests.profiles.nights import TODAY, classes, crowd, publish, run


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    pass


def rule(profile: str, conditions: str) -> ParsedRule:
    return ParsedRule(profile, parse(conditions))


def test_an_installation_begins_with_the_default_rule() -> None:
    current = publishing.current()
    assert to_json(current) | {"version": 1} == to_json(DEFAULT_RULE_SET)


def test_a_draft_changes_until_it_is_published_and_never_after() -> None:
    draft = publishing.save_draft([rule("甲", "purchase_count > 1")], "其他", note="一")
    again = publishing.save_draft(
        [rule("乙", "purchase_count > 2"), rule("丙", "total_amount >= 99.5")], "别的", version=draft.version
    )
    assert again.version == draft.version
    assert publishing.current_version().version == 1
    published = publishing.publish(draft.version, by="wang")
    assert (published.state, published.published_by) == ("published", "wang")
    assert publishing.current().profiles == ("别的", "乙", "丙")
    with pytest.raises(PublishedError):
        publishing.save_draft([rule("丁", "purchase_count > 3")], "其他", version=draft.version)
    assert publishing.current().profiles == ("别的", "乙", "丙")


def test_publishing_again_changes_nothing() -> None:
    draft = publishing.save_draft([rule("甲", "purchase_count > 1")], "其他")
    first = publishing.publish(draft.version, by="wang")
    assert publishing.publish(draft.version, by="li").published_at == first.published_at
    assert RuleVersion.objects.get(version=draft.version).published_by == "wang"


def test_the_one_published_last_is_in_force_whatever_its_number() -> None:
    older = publishing.save_draft([rule("旧", "purchase_count > 1")], "其他")
    newer = publishing.save_draft([rule("新", "purchase_count > 1")], "其他")
    publishing.publish(newer.version, by="wang")
    publishing.publish(older.version, by="wang")
    assert publishing.current_version().version == older.version


def test_rules_that_are_none_are_refused_when_saved_and_when_published() -> None:
    with pytest.raises(RuleError, match="名称"):
        publishing.save_draft([rule("甲", "purchase_count > 1")], " ")
    assert RuleVersion.objects.count() == 1
    draft = publishing.save_draft([rule("甲", "purchase_count > 1")], "其他")
    draft.rules.update(conditions=[{"field": "purchase_count", "operator": "~", "value": 1}])
    with pytest.raises(RuleError) as caught:
        publishing.publish(draft.version, by="wang")
    assert caught.value.place == "rules[0].conditions[0].operator"
    assert publishing.current_version().version == 1


def test_of_two_who_publish_at_once_one_is_recorded() -> None:
    draft = publishing.save_draft([rule("甲", "purchase_count > 1")], "其他")
    at_once = threading.Barrier(2)

    def publish_it(by: str) -> None:
        at_once.wait()
        publishing.publish(draft.version, by=by)
        connections.close_all()

    threads = [threading.Thread(target=publish_it, args=(by,)) for by in ("wang", "li")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert RuleVersion.objects.get(version=draft.version).published_by in {"wang", "li"}
    assert RuleVersion.objects.filter(state="published").count() == 2


def test_a_run_keeps_the_rules_that_were_in_force_when_it_began() -> None:
    crowd(100, 10)
    begun = runs.start_run("manual", TODAY)
    publish("新: purchase_count > 1")
    assert runs.run_all(begun).summary["classes"] == {"高价值客户": 10}
    assert run().summary["classes"] == {"新": 10}


def test_a_backtest_may_try_a_draft_and_nothing_else_may() -> None:
    crowd(100, 10)
    draft = publishing.save_draft([rule("试", "purchase_count > 1")], "其他")
    assert run(kind="backtest", rule_version=draft.version).summary["classes"] == {"试": 10}
    with pytest.raises(RunRefusedError):
        runs.start_run("manual", TODAY, rule_version=draft.version)
    assert run().summary["classes"] == {"高价值客户": 10}


# ---- when a version is in force --------------------------------------------------------------------------------------
def published(name: str, on: str, valid_from: date | None = None) -> int:
    with time_machine.travel(f"{on}T04:00:00Z", tick=False):
        draft = publishing.save_draft([rule(name, "purchase_count > 1")], "其他", valid_from=valid_from)
        return publishing.publish(draft.version, by="wang").version


@pytest.mark.parametrize("first", [True, False])
def test_a_version_is_in_force_from_its_day_on(first: bool) -> None:
    """Whichever is published first: of two the one that came into force last counts."""
    with time_machine.travel("2026-01-01T00:00:00Z"):
        RuleVersion.objects.update(published_at="2026-01-01T00:00:00Z")
    later = published("十二月", "2026-11-20", date(2026, 12, 1)) if first else 0
    soon = published("十一月", "2026-11-21")
    later = later or published("十二月", "2026-11-20", date(2026, 12, 1))
    days = {date(2026, 11, 20): 1, date(2026, 11, 21): soon, date(2026, 11, 30): soon, date(2026, 12, 1): later}
    assert {day: publishing.current_version(day).version for day in days} == days
    with time_machine.travel("2026-11-30T16:00:00Z"):  # midnight in Shanghai
        assert publishing.current_version().version == later


def test_a_day_that_has_passed_is_at_once() -> None:
    RuleVersion.objects.update(published_at="2026-11-19T00:00:00Z")
    backdated = published("甲", "2026-11-20", date(2026, 1, 1))
    assert publishing.current_version(date(2026, 11, 19)).version == 1
    assert publishing.current_version(date(2026, 11, 20)).version == backdated


def test_settings_belong_to_a_version() -> None:
    chosen = Settings(LifecycleSettings(dormant_days=60), rfm_scope="home")
    draft = publishing.save_draft([rule("甲", "purchase_count > 1")], "其他", settings=chosen)
    assert publishing.rule_set_of(RuleVersion.objects.get(version=draft.version)).settings == chosen
    RuleVersion.objects.filter(version=draft.version).update(settings={"lifecycle": {"lost_days": 1}})
    with pytest.raises(RuleError) as caught:
        publishing.publish(draft.version, by="wang")
    assert caught.value.place == "settings.lifecycle.lost_days"


def test_a_channel_that_is_none_is_refused() -> None:
    with pytest.raises(RuleError, match="没有 shop 这个渠道") as caught:
        publishing.save_draft([rule("甲", "purchase_count > 1 and purchase_count@shop > 1")], "其他")
    assert caught.value.place == "rules[0].conditions[1].channel"
    assert RuleVersion.objects.count() == 1


# ---- broken rules ----------------------------------------------------------------------------------------------------
def test_a_broken_rule_is_passed_by_and_named_and_the_others_go_on() -> None:
    crowd(100, 4, purchases="n")
    version = publish("甲: purchase_count > 3", "乙: purchase_count > 2", "丙: purchase_count > 1")
    second = RuleVersion.objects.get(version=version).rules.get(position=2)
    second.conditions = [{"field": "purchase_count", "operator": ">", "value": 2, "window_days": -3}]
    second.save()
    done = run(homes=[100])
    assert done.state == "done"
    assert done.summary["classes"] == {"丙": 2, "甲": 1, "其他": 1}
    assert done.summary["broken_rules"] == [
        {
            "position": 2, "profile": "乙", "place": "rules[1].conditions[0].window_days",
            "reason": "要在 1 到 36500 天之间，不能是 -3",
        }
    ]  # fmt: skip
    assert publishing.rule_set_of(RuleVersion.objects.get(version=version)).profiles == ("其他", "甲", "其他", "丙")
    assert sorted(str(name) for name in classes([100]).values()) == ["丙", "丙", "其他", "甲"]


def test_broken_settings_are_the_usual_ones_and_are_named() -> None:
    crowd(100, 1)
    RuleVersion.objects.update(settings={"lifecycle": {"new_days": -1}})
    done = run(homes=[100])
    assert (done.state, done.summary["classes"]) == ("done", {"高价值客户": 1})
    assert [(one["position"], one["place"]) for one in done.summary["broken_rules"]] == [
        (0, "settings.lifecycle.new_days")
    ]


def test_a_field_of_segments_is_refused_in_a_rule_with_the_reason() -> None:
    with pytest.raises(RuleError, match="只能用在客户人群和推荐规则里") as caught:
        rule("甲", 'purchase_count > 1 and profile is "乙"')
    assert caught.value.place == "conditions[1].field"
