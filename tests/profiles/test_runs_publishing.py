"""Versions of rules: drafts that may change, published ones that never do."""

import threading

import pytest
from django.db import connections

from profiles import publishing, runs
from profiles.models import RuleVersion
from profiles.publishing import PublishedError
from profiles.rules import DEFAULT_RULE_SET, RuleError, to_json
from profiles.rules import Rule as ParsedRule
from profiles.rules import parse_conditions as parse
from profiles.runs import RunRefusedError
from tests.profiles.nights import TODAY, crowd, publish, run


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
