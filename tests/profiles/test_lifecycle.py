"""Lifecycles: the table of profiles.rules.lifecycle, by columns and a customer at a time; and as a run writes it."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import time_machine
from hypothesis import example, given, settings
from hypothesis import strategies as st

from customers.directory import upsert_many
from customers.models import Customer
from customers.records import CustomerData
from profiles import columns, publishing
from profiles.behaviours import record_behaviours
from profiles.models import FactHistory
from profiles.rules import LifecycleSettings, RuleError, Settings, lifecycle, settings_from_json
from scrm import sharding
from tests.profiles import strategies
from tests.profiles.nights import publish, run, stored
from tests.profiles.strategies import START, Act, History, histories, lifecycle_settings

TODAY = date(2026, 11, 20)
USUAL = LifecycleSettings()
# Their first behaviour lies within the days in which one may have come back, and is no activity.
REFUNDED_FIRST = History(
    (Act(START, "refund", Decimal(0)), Act(START + timedelta(days=1), "interaction", Decimal(0))),
    tags=frozenset(), follows=0, net=False,
)  # fmt: skip


def columns_of(history: History, as_of: date, chosen: LifecycleSettings) -> tuple[lifecycle.Lived, Any]:
    """What a reader would bring of one customer."""
    acts = strategies.within(history, as_of, None)
    active = [act.day for act in acts if act.kind in ("purchase", "interaction")]
    days = lifecycle.reading_days(as_of, chosen)
    first = min((act.day for act in acts), default=history.created)
    lived = lifecycle.Lived(np.array([columns.day_number(first)]), _number(max(active, default=None)))
    before = max((day for day in active if days["since"] <= day < days["lately"]), default=None)
    was_away = before is None or before < days["away"]
    back = min((day for day in active if day >= days["lately"]), default=None) if was_away else None
    if not lifecycle.may_have_returned(lived, columns.day_number(as_of), chosen)[0]:
        return lived, _number(None)
    return lived, lifecycle.came_back(lived.first, _number(back), _number(before), chosen)


def _number(day: date | None) -> Any:
    return np.array([columns.NO_DAY if day is None else columns.day_number(day)])


def judged(history: History, as_of: date, chosen: LifecycleSettings) -> tuple[str, date | None]:
    lived, back = columns_of(history, as_of, chosen)
    codes, turns = lifecycle.lifecycles(lived, back, columns.day_number(as_of), chosen)
    turn = int(turns[0])
    return lifecycle.CODES[codes[0]], None if turn == lifecycle.NEVER else columns.to_day(turn)


# ---- pure ------------------------------------------------------------------------------------------------------------
@settings(max_examples=400)
@given(histories(), st.integers(0, 60), lifecycle_settings())
@example(REFUNDED_FIRST, 2, LifecycleSettings(new_days=1, dormant_days=2, lost_days=3, return_days=2))
def test_columns_are_judged_as_a_customer_at_a_time(history: History, day: int, chosen: LifecycleSettings) -> None:
    as_of = START + timedelta(days=day)
    assert judged(history, as_of, chosen)[0] == strategies.lifecycle(history, as_of, chosen)


@settings(max_examples=400)
@given(histories(), st.integers(26, 60), lifecycle_settings())
def test_time_alone_changes_none_before_its_turn_and_each_at_it(
    history: History, day: int, chosen: LifecycleSettings
) -> None:
    as_of = START + timedelta(days=day)  # after every act: later ones would be new input
    _, turn = judged(history, as_of, chosen)
    exact = strategies.lifecycle_turns(history, as_of, chosen)
    # It may be early by what a run that looks in vain costs: somebody who is new may have come back meanwhile.
    assert (turn is None) == (exact is None)
    if turn is not None and exact is not None:
        assert as_of < turn <= exact


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"lifecycle": {"new_days": 0}}, "lifecycle.new_days"),
        ({"lifecycle": {"new_days": True}}, "lifecycle.new_days"),
        ({"lifecycle": {"lost_days": 3651}}, "lifecycle.lost_days"),
        ({"lifecycle": {"lost_days": 90}}, "lifecycle.lost_days"),
        ({"lifecycle": {"return_days": 91}}, "lifecycle.return_days"),
        ({"lifecycle": {"sleepy_days": 9}}, "lifecycle"),
        ({"lifecycle": []}, "lifecycle"),
        ({"rfm": {"scope": "galaxy"}}, "rfm.scope"),
        ({"rfm": {"scope": ["home"]}}, "rfm.scope"),
        ({"other": 1}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_settings_that_make_no_sense_say_where(given: object, place: str) -> None:
    with pytest.raises(RuleError) as caught:
        settings_from_json(given)
    assert caught.value.place == place


# ---- as a run writes it ----------------------------------------------------------------------------------------------
def at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 4, tzinfo=UTC)


def create(name: str, day: date) -> None:
    with time_machine.travel(at(day), tick=False):
        upsert_many([CustomerData(name, home=100)])


def interact(name: str, *days: date) -> None:
    items = [
        {"event_id": f"{name}-{day}", "external_userid": name, "kind": "interaction", "channel": "store",
         "occurred_at": at(day).isoformat()}
        for day in days
    ]  # fmt: skip
    assert not record_behaviours(items, source="test", now=at(TODAY)).rejected


def lives() -> dict[str, tuple[str | None, date | None]]:
    return {name: (row["lifecycle"], row["review_on"]) for name, row in stored([100]).items()}


def facts(name: str) -> list[tuple[str | None, str | None, date, Any]]:
    alias = sharding.alias(100)
    customer_id = Customer.objects.using(alias).get(external_userid=name).customer_id
    rows = FactHistory.objects.using(alias).filter(customer_id=customer_id).order_by("run_id")
    return [(row.before, row.after, row.as_of, row.numbers) for row in rows]


WORKED = [
    (date(2026, 11, 10), [], "new", date(2026, 12, 11)),
    (date(2026, 10, 20), [], "active", date(2027, 1, 19)),
    (date(2026, 5, 1), ["2026-10-20"], "active", date(2027, 1, 19)),
    (date(2026, 5, 1), ["2026-06-01", "2026-08-22"], "active", date(2026, 11, 21)),
    (date(2026, 5, 1), ["2026-06-01", "2026-08-21"], "dormant", date(2027, 2, 18)),
    (date(2026, 5, 1), ["2026-05-23"], "lost", None),
    (date(2026, 5, 1), ["2026-06-01", "2026-11-05", "2026-11-19"], "returned", date(2026, 12, 6)),
    (date(2026, 5, 1), ["2026-06-01", "2026-08-07", "2026-11-05"], "active", date(2027, 2, 4)),
]


@pytest.mark.usefixtures("clean_databases")
def test_the_worked_table() -> None:
    for number, (created, days, _, _) in enumerate(WORKED):
        create(f"wm{number}", created)
        interact(f"wm{number}", *map(date.fromisoformat, days))
    run(TODAY, homes=[100])
    assert lives() == {f"wm{n}": (code, review) for n, (_, _, code, review) in enumerate(WORKED)}
    assert not FactHistory.objects.using(sharding.alias(100)).exists()  # to begin is no change


@pytest.mark.usefixtures("clean_databases")
def test_a_life_without_behaviours_and_one_that_goes_on() -> None:
    create("wmIdle", date(2026, 1, 1))
    create("wmBack", date(2026, 1, 1))
    told = []
    for day in (date(2026, 1, 1), date(2026, 2, 1), date(2026, 4, 2), date(2026, 7, 1)):
        run(day, homes=[100])
        told.append(lives()["wmIdle"])
    assert told == [
        ("new", date(2026, 2, 1)),
        ("active", date(2026, 4, 2)),
        ("dormant", date(2026, 7, 1)),
        ("lost", None),
    ]
    interact("wmBack", date(2026, 1, 1), date(2026, 7, 1))
    done = run(date(2026, 7, 2), homes=[100])
    assert done.summary["judged"] == 1
    assert lives()["wmBack"] == ("returned", date(2026, 8, 1))
    assert facts("wmBack")[-1] == (
        "lost", "returned", date(2026, 7, 2),
        {"first_day": "2026-01-01", "last_day": "2026-07-01", "returned_on": "2026-07-01"},
    )  # fmt: skip
    assert [(before, after) for before, after, _, _ in facts("wmIdle")] == [
        ("new", "active"), ("active", "dormant"), ("dormant", "lost"),
    ]  # fmt: skip
    assert facts("wmIdle")[0][2:] == (date(2026, 2, 1), {"first_day": "2026-01-01"})


@pytest.mark.usefixtures("clean_databases")
def test_other_settings_are_another_version_that_judges_everybody() -> None:
    create("wmA", date(2026, 11, 1))
    run(TODAY, homes=[100])
    assert lives()["wmA"] == ("new", date(2026, 12, 2))
    publish("甲: purchase_count > 100", settings=Settings(LifecycleSettings(5, 10, 15, 5)))
    run(TODAY, homes=[100])
    assert lives()["wmA"] == ("lost", None)
    assert [(row[:2], row[2]) for row in facts("wmA")] == [(("new", "lost"), TODAY)]
    assert publishing.current_version().settings["lifecycle"]["lost_days"] == 15


@pytest.mark.usefixtures("clean_databases")
def test_a_run_that_only_reports_changes_no_lifecycle() -> None:
    create("wmA", date(2026, 11, 1))
    interact("wmA", date(2026, 11, 1), date(2026, 11, 19))
    publish('新: lifecycle is "new"')
    run(TODAY, homes=[100])
    before = stored([100])
    done = run(date(2026, 11, 5), homes=[100])
    assert done.summary["classes"] == {"新": 1}
    assert stored([100]) == before
