"""Membership kept up by single looks, nights and changed definitions equals judging from scratch, over random lives.

The reference is plain Python: one customer, one condition at a time, from the list of what was done.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from customers.directory import addresses, upsert_many
from customers.records import CustomerData, FollowData
from profiles import looking, runs
from profiles.behaviours import record_behaviours
from profiles.days import midnight
from profiles.models import Segment
from profiles.segments.definitions import change_segment
from profiles.segments.members import change_members
from scrm.held import forget_all
from tests.databases import reset_databases
from tests.examples import examples
from tests.profiles.segments import changes, compute, condition, dynamic, members, static

EXAMPLES = int(os.environ.get("SEGMENT_EXAMPLES") or examples(5))
PEOPLE = 4
FIRST_DAY = date(2031, 3, 1)
TAGS = ("et1", "et2")
STAFF = ("zhang", "li")

who = st.integers(0, PEOPLE - 1)
window = st.none() | st.integers(1, 4)


def _count(field_name: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda operator, value, days: condition(field_name, operator, value, **({"window_days": days} if days else {})),
        st.sampled_from([">=", "<", "==", "!="]), st.integers(0, 2), window,
    )  # fmt: skip


BASE = st.one_of(
    _count("purchase_count"),
    _count("interaction_count"),
    st.builds(
        lambda op, n: condition("days_since_last_purchase", op, n), st.sampled_from([">", "<="]), st.integers(1, 4)
    ),
    st.builds(lambda op, tag: condition("tags", op, tag), st.sampled_from(["has", "has_not"]), st.sampled_from(TAGS)),
    st.builds(
        lambda op, one: condition("followed_by", op, one), st.sampled_from(["is", "is_not"]), st.sampled_from(STAFF)
    ),
    st.builds(lambda op, one: condition("gender", op, one), st.sampled_from(["is", "is_not"]), st.sampled_from("012")),
)
USES = st.builds(
    lambda op, one: {"field": "segment", "operator": op, "value": one},
    st.sampled_from(["in", "not_in"]), st.sampled_from(["static", "first"]),
)  # fmt: skip


def groups(one: st.SearchStrategy[Any]) -> st.SearchStrategy[list[list[Any]]]:
    return st.lists(st.lists(one, min_size=1, max_size=2), min_size=1, max_size=2)


STEPS = st.one_of(
    st.tuples(st.just("purchase"), who, st.integers(-3, 0)),
    st.tuples(st.just("purchase"), who, st.integers(-3, 0)),
    st.tuples(st.just("interaction"), who, st.integers(-3, 0)),
    st.tuples(st.just("tags"), who, st.frozensets(st.sampled_from(TAGS))),
    st.tuples(st.just("follows"), who, st.frozensets(st.sampled_from(STAFF))),
    st.tuples(st.just("gender"), who, st.sampled_from([0, 1, 2])),
    st.tuples(st.just("list"), who, st.booleans()),
    st.tuples(st.just("first"), groups(BASE)),
    st.tuples(st.just("second"), groups(BASE | USES)),
    st.tuples(st.just("night"), st.integers(1, 3)),
    st.tuples(st.just("night"), st.integers(1, 3)),
)
LIVES = st.tuples(groups(BASE), groups(BASE | USES), st.lists(STEPS, min_size=4, max_size=12))


@dataclass
class Person:
    external_userid: str
    acts: list[tuple[str, date]] = field(default_factory=list)
    tags: frozenset[str] = frozenset()
    follows: frozenset[str] = frozenset()
    gender: int = 0
    is_listed: bool = False


class World:
    """The system and what it should be, side by side."""

    def __init__(self, first: list[Any], second: list[Any]) -> None:
        self.today = FIRST_DAY
        self.people = [Person(f"wm{number}") for number in range(PEOPLE)]
        upsert_many([CustomerData(one.external_userid, home=100 + n % 2) for n, one in enumerate(self.people)])
        self.numbers = iter(range(10**9))
        self.static = static("名单")
        self.names = {"static": str(self.static.pk)}
        self.first = dynamic("一", *first, computed=False)
        self.names["first"] = str(self.first.pk)
        self.second = dynamic("二", *self._named(second), computed=False)
        self.wanted = {"first": first, "second": second}
        compute()

    def _named(self, found: list[Any]) -> list[Any]:
        return [
            [{**one, "value": self.names[one["value"]]} if one["field"] == "segment" else one for one in group]
            for group in found
        ]

    def do(self, name: str, *values: Any) -> None:
        if name in ("first", "second"):
            self._define(name, *values)
        elif name == "night":
            self._night(*values)
        else:
            self._change(name, self.people[values[0]], values[1])

    def _change(self, name: str, person: Person, value: Any) -> None:
        if name in ("purchase", "interaction"):
            day = self.today + timedelta(days=value)
            at = midnight(day) + timedelta(hours=11)
            item = {
                "event_id": f"e{next(self.numbers)}", "external_userid": person.external_userid, "kind": name,
                "channel": "store", "occurred_at": at.isoformat(), "amount": "1.00" if name == "purchase" else None,
            }  # fmt: skip
            assert record_behaviours([item], source="t", now=self._noon()).accepted == 1
            person.acts.append((name, day))
            return
        if name == "list":
            lists = {"add" if value else "remove": [person.external_userid]}
            change_members(self.static, by="test", **lists)  # type: ignore[arg-type]
            person.is_listed = value
            return
        setattr(person, name, value)
        follows = tuple(FollowData(userid, tag_ids=()) for userid in sorted(person.follows))
        data = CustomerData(
            person.external_userid, {"gender": person.gender}, follows=follows, tag_ids=tuple(sorted(person.tags))
        )
        assert upsert_many([data]).rejected == {}

    def _define(self, name: str, found: list[Any]) -> None:
        change_segment(int(getattr(self, name).pk), {"groups": self._named(found)})
        self.wanted[name] = found
        compute()

    def _night(self, days: int) -> None:
        self.today += timedelta(days=days)
        with time_machine.travel(midnight(self.today), tick=True):
            assert runs.run_all(runs.start_run("nightly", self.today)).state == "done"
            self.check()

    def _noon(self) -> datetime:
        return (midnight(self.today) + timedelta(hours=12)).astimezone(UTC)

    # ---- what should be
    def holds(self, person: Person, found: list[Any]) -> bool:
        return any(all(self._meets(person, one) for one in group) for group in found)

    def _meets(self, person: Person, one: dict[str, Any]) -> bool:
        name, operator, value = one["field"], one["operator"], one["value"]
        if name in ("purchase_count", "interaction_count"):
            since = self.today - timedelta(days=one["window_days"] - 1) if "window_days" in one else date.min
            number = sum(kind == name.removesuffix("_count") and day >= since for kind, day in person.acts)
            return {">=": number >= value, "<": number < value, "==": number == value, "!=": number != value}[operator]
        if name == "days_since_last_purchase":
            days = [day for kind, day in person.acts if kind == "purchase"]
            since_last = (self.today - max(days)).days + 1 if days else None
            return since_last is not None and (since_last > value if operator == ">" else since_last <= value)
        if name == "segment":
            is_in = person.is_listed if value == "static" else self.holds(person, self.wanted["first"])
            return is_in == (operator == "in")
        is_so = {
            "tags": value in person.tags, "followed_by": value in person.follows, "gender": str(person.gender) == value
        }[name]  # fmt: skip
        return is_so == (operator in ("has", "is"))

    def check(self) -> None:
        there = addresses([one.external_userid for one in self.people])
        for segment, name in ((self.first, "first"), (self.second, "second")):
            wanted = {there[one.external_userid] for one in self.people if self.holds(one, self.wanted[name])}
            assert members(segment) == wanted, name
            self._check_history(segment)

    def _check_history(self, segment: Segment) -> None:
        steps: dict[int, list[bool]] = {}
        for customer_id, entered, _ in changes(segment):
            steps.setdefault(customer_id, []).append(entered)
        for found in steps.values():
            assert found == [place % 2 == 0 for place in range(len(found))]
        assert {one for one, found in steps.items() if found[-1]} == members(segment)


@pytest.mark.usefixtures("clean_databases")
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
@given(LIVES)
def test_membership_kept_up_equals_judging_from_scratch(life: Any) -> None:
    first, second, steps = life
    reset_databases()
    forget_all()
    with time_machine.travel(midnight(FIRST_DAY) + timedelta(hours=12), tick=True) as clock:
        world = World(first, second)
        world.check()
        for step in steps:
            world.do(*step)
            clock.move_to(world._noon())
            looking.refresh_waiting()
            world.check()
    with suppress(Exception):
        forget_all()
