"""Totals equal a recount, after any sequence of batches."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles.models import CustomerItem, RunningTotal
from scrm import sharding
from scrm.held import forget_all
from tests.customers.gates import Process
from tests.databases import reset_databases
from tests.examples import examples
from tests.profiles.behaviours import (
    NOW,
    days_of,
    dirty_of,
    item,
    people,
    raw_of,
    record,
    refund,
    refunded,
    running_of,
)

D = Decimal
SHANGHAI = ZoneInfo("Asia/Shanghai")
PEOPLE = ("wmA", "wmB", "wmC")
# Late ones, the summer of 1990, and the last moment that is not too far ahead.
MOMENTS = [
    datetime(1990, 4, 14, 16, 0, tzinfo=UTC), datetime(1990, 9, 15, 14, 59, tzinfo=UTC),
    *(NOW - timedelta(hours=hours) for hours in (0, 3, 5, 23, 49, 24 * 400)),
    NOW + timedelta(hours=35, minutes=59),
]  # fmt: skip
EVENT_IDS = [f"e{number}" for number in range(9)]

SET = [{"id": 2, "name": "乙"}, {"id": "a", "name": "甲"}, {"id": "a"}, "x"]
DETAILS: list[dict[str, Any] | None] = [None, None, {"items": [{"id": "a"}]}, {"items": SET}]

ITEMS = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(EVENT_IDS),
        "external_userid": st.sampled_from(PEOPLE),
        "kind": st.sampled_from(["purchase", "purchase", "interaction", "refund", "refund"]),
        "channel": st.sampled_from(["store", "app"]),
        "amount": st.sampled_from([None, "0", "0.01", "5", "7.50", "10", "1e3"]),
        "occurred_at": st.sampled_from([moment.isoformat() for moment in MOMENTS]),
        "refers_to": st.sampled_from([None, *EVENT_IDS]),
        "detail": st.sampled_from(DETAILS),
    }
)
HISTORIES = st.lists(st.lists(ITEMS, min_size=1, max_size=12), min_size=1, max_size=5)


class Reference:
    """The same rules told one item at a time, in plain Python, sharing nothing with the product."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str], tuple[Any, ...]] = {}
        self.paid: dict[tuple[str, str], tuple[Decimal, str]] = {}
        self.back: dict[tuple[str, str], Decimal] = {}
        self.raw: dict[str, dict[str, tuple[Any, ...]]] = defaultdict(dict)
        self.bought: dict[tuple[str, str], list[date]] = defaultdict(list)

    def take(self, batch: list[dict[str, Any]]) -> tuple[int, int]:
        accepted, refunds, repeats = 0, [], []
        begun: dict[tuple[str, str], tuple[Any, ...]] = {}
        for one in batch:
            amount = one["amount"]
            if amount == "1e3" or (one["kind"] == "purchase" and amount is None):
                continue
            if one["kind"] == "refund" and one["refers_to"] is None:
                continue
            amount = None if amount is None else D(amount)
            if one["kind"] == "interaction":
                amount = amount or D(0)
            key = one["external_userid"], one["event_id"]
            contents = (one["kind"], one["channel"], amount, one["occurred_at"], one["refers_to"], one["detail"])
            if key in self.seen or key in begun:
                repeats.append((key, contents))
                continue
            begun[key] = contents
            if one["kind"] == "refund":
                refunds.append((key, contents))
                continue
            if one["kind"] == "purchase":
                self.paid[key] = amount, one["occurred_at"]
            self._keep(key, contents, amount, undoes=False)
            accepted += 1
        for key, contents in refunds:
            purchase = (key[0], contents[4])
            if purchase not in self.paid or contents[3] < self.paid[purchase][1]:
                continue
            paid = self.paid[purchase][0]
            left = paid - self.back.get(purchase, D(0))
            amount = left if contents[2] is None else contents[2]
            if amount > left or (left == 0 and purchase in self.back):
                continue
            self.back[purchase] = self.back.get(purchase, D(0)) + amount
            self._keep(key, contents, amount, undoes=self.back[purchase] == paid)
            accepted += 1
        return accepted, sum(self.seen.get(key) == contents for key, contents in repeats)

    def _keep(self, key: tuple[str, str], contents: tuple[Any, ...], amount: Decimal, *, undoes: bool) -> None:
        self.seen[key] = contents
        day = datetime.fromisoformat(contents[3]).astimezone(SHANGHAI).date()
        self.raw[key[0]][key[1]] = (contents[0], amount, undoes, day)
        if contents[0] == "purchase" and contents[5]:
            for number in {str(one["id"]) for one in contents[5]["items"] if one != "x"}:
                self.bought[key[0], number].append(day)


def recount(rows: list[tuple[str, Decimal, bool, date]]) -> tuple[Any, ...]:
    return (
        sum(kind == "purchase" for kind, *_ in rows),
        sum((amount for kind, amount, *_ in rows if kind == "purchase"), D("0.00")),
        sum(undoes for _, _, undoes, _ in rows),
        sum((amount for kind, amount, *_ in rows if kind == "refund"), D("0.00")),
        sum(kind == "interaction" for kind, *_ in rows),
    )


def purchase_days(rows: list[tuple[str, Decimal, bool, date]]) -> tuple[int, date | None, Decimal]:
    """Return (days with a purchase, the first of them, what was paid on it), of raw rows."""
    paid: dict[date, Decimal] = defaultdict(lambda: D("0.00"))
    for kind, amount, _, day in rows:
        if kind == "purchase":
            paid[day] += amount
    return (len(paid), min(paid), paid[min(paid)]) if paid else (0, None, D("0.00"))


@pytest.mark.slow
@settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=HISTORIES)
def test_totals_equal_a_recount_of_what_was_accepted(clean_databases: None, history: list[list[dict]]) -> None:
    reset_databases()
    forget_all()
    ids = dict(zip(PEOPLE, people(*PEOPLE, home=None), strict=True))
    reference = Reference()
    for batch in history:
        done = record(*batch)
        assert (done.accepted, done.duplicates) == reference.take(batch)
        assert done.accepted + done.duplicates + len(done.rejected) == len(batch)
    for name, customer_id in ids.items():
        expected = reference.raw[name]
        stored = {
            event_id: (
                row["kind"], row["amount"], row["undoes_purchase"], row["occurred_at"].astimezone(SHANGHAI).date(),
            )
            for event_id, row in raw_of(customer_id).items()
        }  # fmt: skip
        assert stored == expected
        days: dict[date, list[Any]] = defaultdict(list)
        for row in expected.values():
            days[row[3]].append(row)
        assert days_of(customer_id) == {day: recount(rows) for day, rows in days.items()}
        if not expected:
            assert running_of(customer_id) is None
            continue
        assert running_of(customer_id) == (*recount(list(expected.values())), min(days), max(days))
        total = RunningTotal.objects.using(sharding.alias(sharding.home_of(customer_id))).get(customer_id=customer_id)
        assert (total.purchase_days, total.first_purchase_day, total.first_purchase_amount) == purchase_days(
            list(expected.values())
        )
        assert (dirty_of(customer_id) or (0, None))[1] == max(days)
        for (owner, event_id), (paid, _) in reference.paid.items():
            if owner == name:
                assert refunded(customer_id, event_id) == reference.back.get((owner, event_id))
                assert paid >= reference.back.get((owner, event_id), D(0))
    names = {customer_id: name for name, customer_id in ids.items()}
    stored_items = {
        (names[row.customer_id], row.item_id): (row.purchases, row.last_day)
        for home in sharding.shard_map().homes
        for row in CustomerItem.objects.using(sharding.alias(home))
    }
    assert stored_items == {key: (len(days), max(days)) for key, days in reference.bought.items()}
    for home in sharding.shard_map().homes:
        totals = RunningTotal.objects.using(sharding.alias(home))
        assert set(totals.values_list("customer_id", flat=True)) <= set(ids.values())


def purchase_days_of(customer_id: int) -> tuple[int, date | None, Decimal]:
    totals = RunningTotal.objects.using(sharding.alias(sharding.home_of(customer_id))).filter(customer_id=customer_id)
    return totals.values_list("purchase_days", "first_purchase_day", "first_purchase_amount").get()


def test_days_with_a_purchase_are_right_in_any_order_of_arrival(clean_databases: None) -> None:
    forget_all()
    (wm_a,) = people("wmA")

    def buy(event_id: str, day: str, amount: str) -> tuple[int, date | None, Decimal]:
        record(item(event_id, occurred_at=f"{day}T12:00:00+08:00", amount=amount))
        return purchase_days_of(wm_a)

    record(item("i1", kind="interaction", occurred_at="2026-11-01T12:00:00+08:00"))
    assert purchase_days_of(wm_a) == (0, None, D("0.00"))
    assert buy("p1", "2026-11-10", "10") == (1, date(2026, 11, 10), D("10.00"))
    assert buy("p2", "2026-11-12", "5") == (2, date(2026, 11, 10), D("10.00"))
    assert buy("p3", "2026-11-10", "7") == (2, date(2026, 11, 10), D("17.00")), "the same day twice"
    assert buy("p4", "2026-11-01", "3") == (3, date(2026, 11, 1), D("3.00")), "late, on a day with an interaction"
    assert buy("p4", "2026-11-01", "3") == (3, date(2026, 11, 1), D("3.00")), "a duplicate"
    record(refund("r1", "p4", occurred_at="2026-11-02T12:00:00+08:00"))
    record(item("i2", kind="interaction", occurred_at="2026-10-01T12:00:00+08:00"))
    assert purchase_days_of(wm_a) == (3, date(2026, 11, 1), D("3.00")), "a refund takes no day away"
    record(
        item("p5", occurred_at="1990-01-01T00:00:00+08:00", amount="0"),
        item("p6", occurred_at="1990-01-01T23:59:59+08:00", amount="1.50"),
        item("p7", occurred_at="2026-11-24T23:59:59+08:00", amount="2"),
    )
    assert purchase_days_of(wm_a) == (5, date(1990, 1, 1), D("1.50"))


def test_days_with_a_purchase_are_right_when_many_write_at_once(clean_databases: None) -> None:
    forget_all()
    (wm_a,) = people("wmA")

    def work(worker: int) -> int:
        batches = [
            [
                item(f"w{worker}-{n}-{day}", occurred_at=f"2026-11-{day:02}T12:00:00+08:00")
                for day in (1 + n % 3, 5, 6 + n)
            ]
            for n in range(8)
        ]
        return sum(record(*batch).accepted for batch in batches)

    crowd = [Process(partial(work, worker)) for worker in range(4)]
    assert [process.answer() for process in crowd] == [24] * 4
    assert purchase_days_of(wm_a) == (12, date(2026, 11, 1), D("120.00"))


@pytest.mark.parametrize(
    ("detail", "items"),
    [
        ({"items": [{"id": "s1", "name": "红茶", "quantity": 2, "price": "29.30"}, {"id": "s1"}]}, {"s1": "红茶"}),
        ({"items": [{"id": 7}, {"id": " s2 ", "name": 3}, {"id": "🙂'\\"}]}, {"7": "", "s2": "", "🙂'\\": ""}),
        ({"items": [{"id": "n", "name": "x" * 300}]}, {"n": "x" * 200}),
        ({"items": [{"id": True}, {"id": ""}, {"id": "x" * 129}, {"id": 1.5}, {"id": 2**63}, None, [], "tea", {}]}, {}),
        ({"items": {"id": "s1"}}, {}),
        ({"items": "s1"}, {}),
        ({"item": [{"id": "s1"}]}, {}),
        ({}, {}),
        (None, {}),
    ],
)
def test_what_was_bought_is_kept_and_what_is_no_item_refuses_nothing(
    clean_databases: None, detail: Any, items: dict[str, str]
) -> None:
    forget_all()
    (wm_a,) = people("wmA")
    with CaptureQueriesContext(connections["dept_100"]) as queries:
        assert record(item("p1", detail=detail), item("i1", kind="interaction", detail=detail)).accepted == 2
    assert sum("customer_items" in query["sql"] for query in queries) == bool(items)
    assert raw_of(wm_a)["p1"]["detail"] == detail
    stored = CustomerItem.objects.using("dept_100").values_list("item_id", "name", "purchases", "last_day")
    assert sorted(stored) == sorted((number, name, 1, date(2026, 11, 20)) for number, name in items.items())


def test_items_keep_the_latest_name_and_the_last_day(clean_databases: None) -> None:
    forget_all()
    people("wmA")

    def buy(event_id: str, day: int, name: str) -> None:
        detail = {"items": [{"id": "s1", "name": name}]}
        record(item(event_id, occurred_at=f"2026-11-{day:02}T12:00:00+08:00", detail=detail))

    for event_id, day, name in (("p1", 10, "旧"), ("p2", 12, "新"), ("p3", 11, "中"), ("p4", 13, ""), ("p4", 13, "")):
        buy(event_id, day, name)
    record(refund("r1", "p4"))
    assert list(CustomerItem.objects.using("dept_100").values_list("item_id", "name", "purchases", "last_day")) == [
        ("s1", "新", 4, date(2026, 11, 13))
    ]
