"""Incremental nights equal full runs, over random histories.

After every run each customer's class and figures are held against the reference of tests.profiles.strategies: plain
Python, one customer, one day, from the list of what was done. It shares nothing with the product but the dataclasses.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from customers.directory import upsert_many
from customers.erasure import request_erasure, run_erasure
from customers.records import CustomerData, FollowData
from profiles import claims, publishing, runs
from profiles.behaviours import record_behaviours
from profiles.buckets import begin as begin_bucket
from profiles.days import midnight
from profiles.rules import DEFAULT_RULE_SET, Condition, Rule, RuleSet
from scrm.held import forget_all
from tests.databases import reset_databases
from tests.profiles.nights import counts, stored
from tests.profiles.strategies import START, TAG_IDS, Act, History, amounts, figure, position, rule_sets

EXAMPLES = int(os.environ.get("NIGHT_EXAMPLES", "8"))
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
    ).map(lambda condition: (condition,)),
)
SHARP = st.builds(RuleSet, st.just(0), st.lists(sharp, min_size=1, max_size=3).map(tuple), st.just("其他"))
RULES = st.one_of(SHARP, SHARP, rule_sets())

who = st.integers(0, PEOPLE - 1)
# Days from today: late by up to twelve, of today, or of tomorrow.
when = st.integers(-12, 1)
BEHAVIOURS = st.one_of(
    st.tuples(st.just("purchase"), who, when, amounts(1, 900)),
    st.tuples(st.just("interaction"), who, when),
)
OTHERS = st.one_of(
    st.tuples(st.just("refund"), who, when, st.integers(0, 5), st.none() | st.integers(1, 99)),
    st.tuples(st.just("tag"), who, st.frozensets(st.sampled_from(TAG_IDS))),
    st.tuples(st.just("follow"), who, st.sampled_from(STAFF), st.frozensets(st.sampled_from(TAG_IDS)), st.booleans()),
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
    acts: list[Act] = field(default_factory=list)
    purchases: list[list[Any]] = field(default_factory=list)
    own_tags: frozenset[str] = frozenset()
    follows: dict[str, tuple[frozenset[str], bool]] = field(default_factory=dict)

    def history(self) -> History:
        live = [tags for tags, is_lost in self.follows.values() if not is_lost]
        return History(tuple(self.acts), self.own_tags.union(*live), len(live), net=True)


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
            person = self.people[number] = Person(f"wm{number}-{next(self.numbers)}")
            upsert_many([CustomerData(person.external_userid, home=100)])
        return self.people[number]

    def _record(self, person: Person, kind: str, day: date, **more: Any) -> str | None:
        """Record a behaviour of a day's noon; return its event_id, None if it was refused."""
        event_id = f"e{next(self.numbers)}"
        item = {
            "event_id": event_id, "external_userid": person.external_userid, "kind": kind, "channel": "store",
            "occurred_at": _noon(day), **more,
        }  # fmt: skip
        done = record_behaviours([item], source="test", now=_noon(self.today))
        return event_id if done.accepted else None

    def _purchase(self, number: int, ahead: int, amount: Decimal) -> None:
        person, day = self._person(number), self.today + timedelta(days=ahead)
        event_id = self._record(person, "purchase", day, amount=str(amount))
        person.acts.append(Act(day, "purchase", amount))
        person.purchases.append([event_id, day, amount, amount])

    def _interaction(self, number: int, ahead: int) -> None:
        person, day = self._person(number), self.today + timedelta(days=ahead)
        self._record(person, "interaction", day)
        person.acts.append(Act(day, "interaction", Decimal(0)))

    def _refund(self, number: int, ahead: int, place: int, percent: int | None) -> None:
        person, day = self._person(number), self.today + timedelta(days=ahead)
        if not person.purchases:
            return
        purchase = person.purchases[place % len(person.purchases)]
        event_id, bought_on, amount, left = purchase
        wanted = left if percent is None else (amount * percent / 100).quantize(Decimal("0.01"))
        told = {} if percent is None else {"amount": str(wanted)}
        accepted = self._record(person, "refund", day, refers_to=event_id, **told)
        assert bool(accepted) == (day >= bought_on and left > 0 and wanted <= left)
        if accepted:
            purchase[3] = left - wanted
            person.acts.append(Act(day, "part" if purchase[3] else "refund", wanted))

    def _tag(self, number: int, tags: frozenset[str]) -> None:
        person = self._person(number)
        person.own_tags = tags
        upsert_many([CustomerData(person.external_userid, tag_ids=tuple(sorted(tags)))])

    def _follow(self, number: int, userid: str, tags: frozenset[str], is_lost: bool) -> None:
        person = self._person(number)
        person.follows[userid] = tags, is_lost
        follows = tuple(
            FollowData(
                one, tag_ids=tuple(sorted(tags)), created_at=_noon(START), lost_at=_noon(START) if lost else None
            )
            for one, (tags, lost) in person.follows.items()
        )
        upsert_many([CustomerData(person.external_userid, follows=follows)])

    def _erase(self, number: int) -> None:
        person = self._person(number)
        run_erasure(request_erasure(person.external_userid, actor="test").id)
        del self.people[number]

    def _publish(self, rule_set: RuleSet) -> None:
        draft = publishing.save_draft(rule_set.rules, rule_set.default_profile)
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
        assert counts([100]) == self.expected_classes(self.today) == run.summary["classes"]

    # ---- what should be
    def expected_classes(self, as_of: date) -> dict[str, int]:
        return dict(Counter(str(self.expected(person, as_of)["profile"]) for person in self.people.values()))

    def expected(self, person: Person, as_of: date) -> dict[str, Any]:
        history = person.history()
        return {
            "profile": self.rules.profiles[position(self.rules, history, as_of)],
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


def _without_reviews(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {key: value for key, value in row.items() if key != "review_on"} for name, row in rows.items()}
