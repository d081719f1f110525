"""Nights that pass by most customers, where it is easy to pass by too many: broken rules, moves, borders of days."""

from datetime import date, datetime
from typing import Any

import pytest
import time_machine

from customers.directory import upsert_many
from customers.models import Customer
from customers.moves import move_customer
from customers.records import CustomerData, FollowData
from profiles import publishing, runs
from profiles.models import RuleVersion
from profiles.rules import LifecycleSettings, RuleError, Settings
from tests.profiles.behaviours import item, people, record, refund
from tests.profiles.nights import TODAY, classes, crowd, publish, run, stored

GARBAGE: list[Any] = [
    0,
    "purchase_count > 1",
    {},
    [[]],
    [None],
    [],
    [{"field": ["purchase_count"], "operator": {}, "value": []}],
    [{"field": "purchase_count", "operator": [">"], "value": 1}],
    [{"field": "purchase_count", "operator": ">", "value": 1e30}],
    [{"field": "purchase_count", "operator": ">", "value": True}],
    [{"field": "total_amount", "operator": ">", "value": "NaN"}],
    [{"field": "total_amount", "operator": ">", "value": "1e999999999"}],
    [{"field": "total_amount", "operator": ">", "value": "sNaN"}],
    [{"field": "total_amount", "operator": ">", "value": "1e-999999999"}],
    [{"field": "total_amount", "operator": ">", "value": "９" * 40}],
    [{"field": "purchase_count", "operator": ">", "value": 1, "window_days": 10**30}],
    [{"field": "purchase_count", "operator": ">", "value": 1, "channel": "store'; drop table"}],
    [{"field": "tags", "operator": "has", "value": "\u202e"}],
    [{"field": "profile", "operator": "is", "value": "甲"}],
    [{"field": "segment", "operator": "in", "value": "1"}],
    [{"field": "lifecycle", "operator": "is", "value": "asleep"}],
    [{"field": "no_such", "operator": ">", "value": 1}] * 21,
]


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    pass


def at(text: str) -> str:
    return f"2026-{text}+08:00"


def equals_a_full_run(as_of: date) -> None:
    """See that a full run finds nothing to change after what nights have done."""
    before = stored()
    again = run(as_of, full=True, homes=[100])
    assert (again.summary["changed"], again.summary["updated"]) == (0, 0)
    assert [(name, row["profile"], row["lifecycle"]) for name, row in stored().items()] == [
        (name, row["profile"], row["lifecycle"]) for name, row in before.items()
    ]


# ---- broken rules ----------------------------------------------------------------------------------------------------
def rewrite(version: int, position: int, conditions: object) -> None:
    """Write behind the product's back."""
    RuleVersion.objects.get(version=version).rules.filter(position=position).update(conditions=conditions)


def test_whatever_stands_in_a_rule_it_does_not_stop_the_night() -> None:
    crowd(100, 2)
    version = publish(*[f"类{n}: purchase_count > 1" for n in range(len(GARBAGE))], "乙: purchase_count > 1")
    for position, garbage in enumerate(GARBAGE, start=1):
        rewrite(version, position, garbage)
    done = run(homes=[100])
    assert (done.state, done.summary["classes"]) == ("done", {"乙": 2})
    broken = done.summary["broken_rules"]
    assert [one["position"] for one in broken] == list(range(1, len(GARBAGE) + 1))
    assert all(one["place"].startswith(f"rules[{at}].conditions") for at, one in enumerate(broken))


def test_a_rule_that_breaks_between_two_nights_lets_go_of_its_customers_and_has_them_back_when_mended() -> None:
    crowd(100, 3)
    version = publish("甲: purchase_count > 1", "乙: interaction_count > 1")
    good = RuleVersion.objects.get(version=version).rules.get(position=1).conditions
    run(TODAY, homes=[100])
    assert set(classes([100]).values()) == {"甲"}
    rewrite(version, 1, [{"field": "purchase_count", "operator": ">", "value": 1, "window_days": -3}])
    run(TODAY, homes=[100])
    assert set(classes([100]).values()) == {"乙"}
    run(TODAY, homes=[100])
    rewrite(version, 1, good)
    run(TODAY, homes=[100])
    assert set(classes([100]).values()) == {"甲"}
    assert run(TODAY, homes=[100]).summary["judged"] == 0


def test_settings_that_break_between_two_nights_are_the_usual_ones_for_everybody() -> None:
    crowd(100, 2, day=date(2026, 11, 1))
    chosen = Settings(LifecycleSettings(new_days=1, dormant_days=2, lost_days=3, return_days=1))
    version = publish("甲: purchase_count > 1", settings=chosen)
    run(TODAY, homes=[100])
    assert {row["lifecycle"] for row in stored([100]).values()} == {"lost"}
    RuleVersion.objects.filter(version=version).update(settings=["none"])
    run(TODAY, homes=[100])
    assert {row["lifecycle"] for row in stored([100]).values()} == {"new"}


def test_rules_beyond_the_hundredth_are_named() -> None:
    crowd(100, 1)
    version = publish(*["甲: purchase_count > 100"] * 100)
    last = RuleVersion.objects.get(version=version).rules.get(position=100)
    last.pk, last.position, last.profile = None, 101, "乙"
    last.save(force_insert=True)
    done = run(homes=[100])
    assert (done.state, done.summary["classes"]) == ("done", {"其他": 1})
    assert [(one["position"], one["profile"]) for one in done.summary["broken_rules"]] == [(101, "乙")]


def test_a_channel_that_is_none_any_more_and_a_tag_that_is_gone_stop_nothing() -> None:
    people("wmA")
    record(item("p1", channel="store"))
    version = publish('甲: purchase_count@store >= 1 and tags has_not "etGone"', "乙: purchase_count > 100")
    rewrite(version, 2, [{"field": "purchase_count", "operator": ">=", "value": 0, "channel": "gone"}])
    done = run(date(2026, 11, 23), homes=[100])
    assert (done.state, done.summary["broken_rules"]) == ("done", [])
    assert classes([100]) == {"wmA": "甲"}


# ---- borders of days -------------------------------------------------------------------------------------------------
def test_the_last_second_of_a_day_leaves_a_window_with_its_day() -> None:
    people("wmA", "wmB")
    record(
        item("a", "wmA", occurred_at=at("11-10T23:59:59.999999"), channel="app"),
        item("b", "wmB", occurred_at=at("11-11T00:00:00"), channel="app"),
    )
    publish("渠: purchase_count@app[5d] >= 1", "窗: purchase_count[6d] >= 1")
    for day, expected in [
        (10, ("其他", "其他")), (11, ("渠", "其他")), (12, ("渠", "渠")), (15, ("渠", "渠")), (16, ("窗", "渠")),
        (17, ("其他", "窗")), (18, ("其他", "其他")),
    ]:  # fmt: skip
        run(date(2026, 11, day), homes=[100])
        assert tuple(classes([100]).values()) == expected, day


def test_a_refund_of_another_channel_outlives_its_purchase_in_the_window() -> None:
    people("wmA")
    record(item("a", occurred_at=at("11-10T10:00:00"), channel="store"))
    record(item("b", occurred_at=at("11-11T10:00:00"), channel="app"))
    record(refund("r", "a", occurred_at=at("11-13T10:00:00"), channel="app"))
    publish("负: total_amount@app[4d] < 0", "零: total_amount@app[4d] == 0 and purchase_count@app[4d] == 0")
    # The app's: +10 on the 11th, -10 on the 13th.
    expected = {12: "其他", 13: "其他", 14: "零", 15: "零", 16: "负", 17: "负", 18: "零", 19: "零"}
    for day, profile in expected.items():
        run(date(2026, 11, day), homes=[100])
        assert classes([100]) == {"wmA": profile}, day


def test_a_follow_that_is_lost_and_comes_back_counts_again_from_its_day() -> None:
    people("wmA")

    def follow(added: str, lost: str | None) -> None:
        moments = [None if one is None else datetime.fromisoformat(at(one)) for one in (added, lost)]
        assert moments[0] is not None
        upsert_many([CustomerData("wmA", follows=(FollowData("zhang", created_at=moments[0], lost_at=moments[1]),))])

    publish("老: days_since_added >= 5", "新: days_since_added >= 0")
    follow("11-09T23:59:59", None)
    found = {}
    for day in (10, 14, 15):
        run(date(2026, 11, day), homes=[100])
        found[day] = classes([100])["wmA"]
    # From the 9th on: five days are over on the 14th.
    assert found == {10: "新", 14: "老", 15: "老"}
    follow("11-09T23:59:59", "11-15T12:00:00")
    run(date(2026, 11, 15), homes=[100])
    assert classes([100]) == {"wmA": "其他"}
    follow("11-17T00:00:00", None)
    found = {}
    for day in (17, 18, 21, 22):
        run(date(2026, 11, day), homes=[100])
        found[day] = classes([100])["wmA"]
    assert found == {17: "其他", 18: "新", 21: "新", 22: "老"}


def test_an_import_of_what_lies_before_the_customer_was_created_begins_their_life_there() -> None:
    with time_machine.travel("2026-11-20T02:00:00Z", tick=False):
        people("wmA")
    run(date(2026, 11, 20), homes=[100])
    assert stored([100])["wmA"]["lifecycle"] == "new"
    record(item("a", occurred_at="2026-01-05T10:00:00+08:00"))
    run(date(2026, 11, 20), homes=[100])
    assert stored([100])["wmA"]["lifecycle"] == "lost"
    record(item("b", occurred_at=at("11-19T10:00:00")))
    run(date(2026, 11, 20), homes=[100])
    assert stored([100])["wmA"]["lifecycle"] == "returned"
    for day, life in ((date(2026, 12, 19), "returned"), (date(2026, 12, 20), "active"), (date(2027, 2, 18), "dormant")):
        with time_machine.travel(f"{day}T04:00:00Z", tick=False):
            run(day, homes=[100])
            assert (day, stored([100])["wmA"]["lifecycle"]) == (day, life)


def test_returned_at_its_borders_where_return_and_dormant_days_are_the_same() -> None:
    people("wmA", "wmB")
    record(*(item(f"a{day}", "wmA", occurred_at=at(f"11-{day:02}T00:00:00")) for day in (1, 5)))
    record(*(item(f"b{day}", "wmB", occurred_at=at(f"11-{day:02}T23:59:59")) for day in (1, 4)))
    chosen = Settings(LifecycleSettings(new_days=1, dormant_days=3, lost_days=6, return_days=3))
    publish('回: lifecycle is "returned"', settings=chosen)
    found = {}
    for day in range(2, 13):
        run(date(2026, 11, day), homes=[100])
        found[day] = tuple(str(row["lifecycle"]) for row in stored([100]).values())
    assert found == {
        2: ("new", "new"), 3: ("active", "active"), 4: ("active", "active"), 5: ("dormant", "active"),
        6: ("returned", "active"), 7: ("returned", "active"), 8: ("returned", "dormant"), 9: ("dormant", "dormant"),
        10: ("dormant", "dormant"), 11: ("dormant", "lost"), 12: ("lost", "lost"),
    }  # fmt: skip


# ---- moves -----------------------------------------------------------------------------------------------------------
def test_who_moves_where_other_rules_were_judged_last_is_judged_by_the_new_ones_and_keeps_their_life() -> None:
    with time_machine.travel("2026-06-01T02:00:00Z", tick=False):
        people("wmA")
    publish("甲: purchase_count[30d] >= 1", default="旧")
    run(TODAY)
    assert stored()["wmA"]["lifecycle"] == "dormant"
    publish("甲: purchase_count[30d] >= 1", default="新")
    run(TODAY, homes=[101])
    assert classes() == {"wmA": "旧"}
    target = move_customer("wmA", 101, actor="test")
    created = Customer.objects.using("dept_101").get(customer_id=target).created_at
    assert created == datetime.fromisoformat("2026-06-01T02:00:00+00:00")
    done = run(TODAY, homes=[101])
    assert (done.summary["judged"], classes()) == (1, {"wmA": "新"})
    assert stored()["wmA"]["review_on"] == date(2026, 11, 29)


# ---- days of runs ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("as_of", [date.min, date(1900, 1, 1), date(1970, 1, 2)])
def test_a_backtest_of_long_ago_finds_nobody_to_have_done_anything(as_of: date) -> None:
    crowd(100, 2)
    chosen = Settings(LifecycleSettings(new_days=3650, dormant_days=3649, lost_days=3650, return_days=3649))
    publish(
        "甲: purchase_count[36500d] >= 1", "乙: purchase_count@store[36500d] >= 1", "丙: days_since_added >= 36500",
        settings=chosen,
    )  # fmt: skip
    assert run(as_of, kind="backtest", homes=[100]).summary["classes"] == {"其他": 2}


def test_a_version_whose_day_came_while_no_night_ran_judges_everybody_in_the_next_one() -> None:
    with time_machine.travel("2026-11-20T04:00:00Z", tick=False):
        crowd(100, 2)
        publish("甲: purchase_count > 1")
        run(date(2026, 11, 20))
        draft = publishing.save_draft(
            publishing.current().rules, "其他", valid_from=date(2026, 11, 22), settings=Settings(rfm_scope="home")
        )
        publishing.publish(draft.version, by="test")
    with time_machine.travel("2026-11-21T15:59:59Z", tick=False):  # a second before that day
        assert run(date(2026, 11, 21)).rule_version.version == draft.version - 1
    with time_machine.travel("2026-11-21T16:00:00Z", tick=False):
        done = run(date(2026, 11, 22))
        assert (done.rule_version.version, done.summary["judged"]) == (draft.version, 2)
    with time_machine.travel("2026-11-25T02:00:00Z", tick=False):
        assert run(date(2026, 11, 25)).summary["judged"] == 0


def test_nothing_to_judge_by_is_told_at_once() -> None:
    crowd(100, 1)
    version = publish("甲: purchase_count > 1")
    rewrite(version, 1, [])
    with pytest.raises(RuleError) as caught:
        runs.start_run("manual", TODAY)
    assert caught.value.place == "rules[0].conditions"
