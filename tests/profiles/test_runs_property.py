"""Incremental nights equal full runs, over random histories.

After every run each customer's class, lifecycle and figures are held against the reference of strategies.py beside it:
plain Python, one customer, one day, from the list of what was done. It shares nothing with the product but dataclasses.
After every run it is also asked whether the history of lifecycles tells how each came to be what it is.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from customers.directory import upsert_many
from customers.erasure import request_erasure, run_erasure
from customers.models import Customer
from customers.records import CustomerData, FollowData
from profiles import claims, publishing, runs
from profiles.behaviours import record_behaviours
from profiles.buckets import begin as begin_bucket
from profiles.days import midnight
from profiles.models import FactHistory
from profiles.rules import DEFAULT_RULE_SET, Condition, Rule, RuleSet
from scrm import sharding
from scrm.held import forget_all
from tests.databases import reset_databases
from tests.examples import examples
from tests.profiles.nights import counts, stored
from tests.profiles.strategies import (
    CHANNELS,
    START,
    TAG_IDS,
    Act,
    History,
    all_settings,
    amounts,
    figure,
    lifecycle,
    position,
    rule_sets,
)

EXAMPLES = int(os.environ.get("NIGHT_EXAMPLES") or examples(8))
PEOPLE = 8
STAFF = ("zhang", "li")
FIRST_DAY = START + timedelta(days=10)

# Rules of one condition, so that hardly a behaviour is without effect.
sharp = st.builds(
    Rule,
    st.sampled_from(["甲", "乙"]),
    st.builds(
        Condition,
        st.sampled_from(["purchase_count", "interaction_count", "total_amount"]),
        st.sampled_from([">", ">=", "<", "=="]),
        st.integers(0, 2),
        st.none() | st.integers(1, 8),
        st.none() | st.sampled_from(CHANNELS),
    ).map(lambda condition: (condition,)),
)
SHARP = st.builds(
    RuleSet, st.just(0), st.lists(sharp, min_size=1, max_size=3).map(tuple), st.just("其他"), all_settings()
)
RULES = st.one_of(SHARP, SHARP, rule_sets())

who = st.integers(0, PEOPLE - 1)
# Days from today: late by up to twelve, of today, or of tomorrow.
when = st.integers(-12, 1)
channel = st.sampled_from(CHANNELS)
tags = st.frozensets(st.sampled_from(TAG_IDS))
BEHAVIOURS = st.one_of(
    st.tuples(st.just("purchase"), who, when, amounts(1, 900), channel),
    st.tuples(st.just("interaction"), who, when, channel),
)
OTHERS = st.one_of(
    st.tuples(st.just("refund"), who, when, st.integers(0, 5), st.none() | st.integers(1, 99), channel),
    st.tuples(st.just("tag"), who, tags),
    st.tuples(st.just("follow"), who, st.sampled_from(STAFF), tags, st.booleans(), when),
    st.tuples(st.just("create"), who),
    st.tuples(st.just("erase"), who),
    st.tuples(st.just("publish"), RULES),
)
# After how many days, the nights between being skipped. Most of a class's changes by time alone need some days.
DAYS = st.sampled_from([1, 1, 1, 2, 3, 5, 8, 13])
NIGHTS = st.one_of(
    st.tuples(st.just("night"), DAYS),
    st.tuples(st.just("night"), DAYS),
    st.tuples(st.just("night"), DAYS),
    st.just(("again",)),
    st.just(("full",)),
    st.tuples(st.just("cut short"), st.integers(0, 9)),
    st.tuples(st.just("backtest"), st.integers(0, 8)),
    st.tuples(st.just("earlier"), st.integers(1, 8)),
)
# Rules and behaviours to begin with, so that there is something for time to change; then nights, with little between.
HISTORIES = st.tuples(
    RULES,
    st.lists(BEHAVIOURS, min_size=PEOPLE, max_size=2 * PEOPLE),
    st.lists(st.tuples(st.lists(BEHAVIOURS | OTHERS, max_size=3), NIGHTS), min_size=3, max_size=8),
)


@dataclass
class Person:
    """What one customer has done and is, as the test knows it. purchases: [(event_id, day, amount, left)]."""

    external_userid: str
    created: date
    acts: list[Act] = field(default_factory=list)
    purchases: list[list[Any]] = field(default_factory=list)
    own_tags: frozenset[str] = frozenset()
    follows: dict[str, tuple[frozenset[str], bool, date]] = field(default_factory=dict)

    def history(self) -> History:
        live = [(tags, added) for tags, is_lost, added in self.follows.values() if not is_lost]
        own = self.own_tags.union(*(tags for tags, _ in live))
        added = min((day for _, day in live), default=None)
        return History(tuple(self.acts), own, len(live), net=True, created=self.created, added=added)


class World:
    """The system and what it should be, side by side."""

    def __init__(self) -> None:
        self.today = FIRST_DAY
        self.rules: RuleSet = DEFAULT_RULE_SET
        self.people: dict[int, Person] = {}
        self.judged_as_of: date | None = None
        self.numbers = iter(range(10**9))

    # ---- what happens
    def do(self, step: tuple[Any, ...]) -> None:
        name, *values = step
        getattr(self, "_" + name.replace(" ", "_"))(*values)

    def _person(self, number: int) -> Person:
        if number not in self.people:
            person = self.people[number] = Person(f"wm{number}-{next(self.numbers)}", self.today)
            with time_machine.travel(_noon(self.today), tick=False):
                upsert_many([CustomerData(person.external_userid, home=100)])
        return self.people[number]

    def _create(self, number: int) -> None:
        self._person(number)

    def _record(self, person: Person, kind: str, day: date, channel: str, **more: Any) -> str | None:
        """Record a behaviour of a day's noon; return its event_id, None if it was refused."""
        event_id = f"e{next(self.numbers)}"
        item = {
            "event_id": event_id, "external_userid": person.external_userid, "kind": kind, "channel": channel,
            "occurred_at": _noon(day), **more,
        }  # fmt: skip
        done = record_behaviours([item], source="test", now=_noon(self.today))
        return event_id if done.accepted else None

    def _purchase(self, number: int, ahead: int, amount: Decimal, channel: str) -> None:
        person, day = self._person(number), self.today + timedelta(days=ahead)
        event_id = self._record(person, "purchase", day, channel, amount=str(amount))
        person.acts.append(Act(day, "purchase", amount, channel))
        person.purchases.append([event_id, day, amount, amount])

    def _interaction(self, number: int, ahead: int, channel: str) -> None:
        person, day = self._person(number), self.today + timedelta(days=ahead)
        self._record(person, "interaction", day, channel)
        person.acts.append(Act(day, "interaction", Decimal(0), channel))

    def _refund(self, number: int, ahead: int, place: int, percent: int | None, channel: str) -> None:
        person, day = self._person(number), self.today + timedelta(days=ahead)
        if not person.purchases:
            return
        purchase = person.purchases[place % len(person.purchases)]
        event_id, bought_on, amount, left = purchase
        wanted = left if percent is None else (amount * percent / 100).quantize(Decimal("0.01"))
        told = {} if percent is None else {"amount": str(wanted)}
        accepted = self._record(person, "refund", day, channel, refers_to=event_id, **told)
        assert bool(accepted) == (day >= bought_on and left > 0 and wanted <= left)
        if accepted:
            purchase[3] = left - wanted
            person.acts.append(Act(day, "part" if purchase[3] else "refund", wanted, channel))

    def _tag(self, number: int, tags: frozenset[str]) -> None:
        person = self._person(number)
        person.own_tags = tags
        upsert_many([CustomerData(person.external_userid, tag_ids=tuple(sorted(tags)))])

    def _follow(self, number: int, userid: str, tags: frozenset[str], is_lost: bool, ahead: int) -> None:
        """A follow that begins some days ago, today or (by the clock of another machine) tomorrow."""
        person = self._person(number)
        person.follows[userid] = tags, is_lost, self.today + timedelta(days=ahead)
        follows = tuple(
            FollowData(
                one, tag_ids=tuple(sorted(tags)), created_at=_noon(added), lost_at=_noon(START) if lost else None
            )
            for one, (tags, lost, added) in person.follows.items()
        )
        upsert_many([CustomerData(person.external_userid, follows=follows)])

    def _erase(self, number: int) -> None:
        person = self._person(number)
        run_erasure(request_erasure(person.external_userid, actor="test").id)
        del self.people[number]

    def _publish(self, rule_set: RuleSet) -> None:
        draft = publishing.save_draft(rule_set.rules, rule_set.default_profile, settings=rule_set.settings)
        publishing.publish(draft.version, by="test")
        self.rules = rule_set

    # ---- runs
    def _night(self, days: int = 1) -> None:
        self.today += timedelta(days=days)
        self._run("nightly")

    def _again(self) -> None:
        self._run("manual")

    def _full(self) -> None:
        self._run("manual", full=True)

    def _cut_short(self, buckets: int) -> None:
        """A night of which only some buckets are done, overtaken by the next one."""
        self.today += timedelta(days=1)
        run = runs.start_run("nightly", self.today, homes=[100])
        for bucket in range(buckets):
            runs.work(run.pk, 100, bucket)
        # And of one more it is the worker that dies, as soon as it has begun.
        begin = partial(begin_bucket, as_of=run.as_of, rule_set=publishing.current(), full=False)
        assert claims.take(run.pk, 100, buckets, begin=begin)
        self._night()

    def _backtest(self, days: int) -> None:
        as_of = self.today - timedelta(days=days)
        before = stored([100])
        done = runs.run_all(runs.start_run("backtest", as_of, homes=[100]))
        assert done.summary["classes"] == self.expected_classes(as_of)
        assert stored([100]) == before

    def _earlier(self, days: int) -> None:
        as_of = self.today - timedelta(days=days)
        if self.judged_as_of is None or as_of >= self.judged_as_of:
            return
        before = stored([100])
        done = runs.run_all(runs.start_run("manual", as_of, homes=[100]))
        assert done.summary["classes"] == self.expected_classes(as_of)
        assert stored([100]) == before

    def _run(self, kind: str, **options: Any) -> None:
        run = runs.start_run(kind, self.today, homes=[100], **options)
        assert run.is_new
        runs.run_all(run)
        assert run.state == "done", run.summary
        self.judged_as_of = self.today
        expected = {one.external_userid: self.expected(one, self.today) for one in self.people.values()}
        found = {name: {key: row[key] for key in expected.get(name, row)} for name, row in stored([100]).items()}
        assert found == expected
        assert _lifecycles_told(expected) == {name: row["lifecycle"] for name, row in expected.items()}
        assert counts([100]) == self.expected_classes(self.today) == run.summary["classes"]

    # ---- what should be
    def expected_classes(self, as_of: date) -> dict[str, int]:
        return dict(Counter(str(self.expected(person, as_of)["profile"]) for person in self.people.values()))

    def expected(self, person: Person, as_of: date) -> dict[str, Any]:
        history = person.history()
        return {
            "profile": self.rules.profiles[position(self.rules, history, as_of)],
            "lifecycle": lifecycle(history, as_of, self.rules.settings.lifecycle),
            "purchase_count": figure(history, "purchase_count", as_of, None),
            "interaction_count": figure(history, "interaction_count", as_of, None),
            "total_amount": figure(history, "total_amount", as_of, None),
            "last_purchase_at": _last(person, "purchase", as_of),
            "last_interaction_at": _last(person, "interaction", as_of),
        }


def _noon(day: date) -> datetime:
    return (midnight(day) + timedelta(hours=12)).astimezone(UTC)


def _last(person: Person, kind: str, as_of: date) -> datetime | None:
    days = [act.day for act in person.acts if act.kind == kind and act.day < as_of]
    return _noon(max(days)) if days else None


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(HISTORIES)
def test_incremental_nights_equal_full_runs(
    clean_databases: None, history: tuple[RuleSet, list[Any], list[Any]]
) -> None:
    reset_databases()
    forget_all()
    world = World()
    rule_set, behaviours, nights = history
    for steps, night in [([("publish", rule_set), *behaviours], ("again",)), *nights]:
        for step in [*steps, night]:
            note(f"{world.today} {step}")
            world.do(step)
    world.do(("night",))
    before = stored([100])
    again = runs.run_all(runs.start_run("manual", world.today, homes=[100], full=True))
    assert (again.summary["changed"], again.summary["updated"]) == (0, 0)
    # A full run may find a later day to look again than the one that was right some days ago.
    assert _without_reviews(stored([100])) == _without_reviews(before)


def _lifecycles_told(people: Iterable[str]) -> dict[str, str]:
    """What the history says that each is: what the last change made of them; who never changed is what they are."""
    alias = sharding.alias(100)
    told = {name: row["lifecycle"] for name, row in stored([100]).items() if name in people}
    names = dict(Customer.objects.using(alias).values_list("customer_id", "external_userid"))
    last: dict[str, str] = {}
    for row in FactHistory.objects.using(alias).filter(fact="lifecycle").order_by("run_id"):
        name = names[row.customer_id]
        assert row.before != row.after
        assert last.get(name, row.before) == row.before
        last[name] = str(row.after)
    return told | last


def _without_reviews(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {key: value for key, value in row.items() if key != "review_on"} for name, row in rows.items()}
