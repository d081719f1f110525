"""Totals equal a recount, after any sequence of batches."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles.models import RunningTotal
from scrm import sharding
from scrm.held import forget_all
from tests.databases import reset_databases
from tests.profiles.behaviours import NOW, days_of, dirty_of, people, raw_of, record, refunded, running_of

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

ITEMS = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(EVENT_IDS),
        "external_userid": st.sampled_from(PEOPLE),
        "kind": st.sampled_from(["purchase", "purchase", "interaction", "refund", "refund"]),
        "channel": st.sampled_from(["store", "app"]),
        "amount": st.sampled_from([None, "0", "0.01", "5", "7.50", "10", "1e3"]),
        "occurred_at": st.sampled_from([moment.isoformat() for moment in MOMENTS]),
        "refers_to": st.sampled_from([None, *EVENT_IDS]),
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

    def take(self, batch: list[dict[str, Any]]) -> tuple[int, int]:
        accepted, refunds, repeats = 0, [], []
        begun: dict[tuple[str, str], tuple[Any, ...]] = {}
        for item in batch:
            amount = item["amount"]
            if amount == "1e3" or (item["kind"] == "purchase" and amount is None):
                continue
            if item["kind"] == "refund" and item["refers_to"] is None:
                continue
            amount = None if amount is None else D(amount)
            if item["kind"] == "interaction":
                amount = amount or D(0)
            key = item["external_userid"], item["event_id"]
            contents = (item["kind"], item["channel"], amount, item["occurred_at"], item["refers_to"])
            if key in self.seen or key in begun:
                repeats.append((key, contents))
                continue
            begun[key] = contents
            if item["kind"] == "refund":
                refunds.append((key, contents))
                continue
            if item["kind"] == "purchase":
                self.paid[key] = amount, item["occurred_at"]
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


def recount(rows: list[tuple[str, Decimal, bool, date]]) -> tuple[Any, ...]:
    return (
        sum(kind == "purchase" for kind, *_ in rows),
        sum((amount for kind, amount, *_ in rows if kind == "purchase"), D("0.00")),
        sum(undoes for _, _, undoes, _ in rows),
        sum((amount for kind, amount, *_ in rows if kind == "refund"), D("0.00")),
        sum(kind == "interaction" for kind, *_ in rows),
    )


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
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
        assert (dirty_of(customer_id) or (0, None))[1] == max(days)
        for (owner, event_id), (paid, _) in reference.paid.items():
            if owner == name:
                assert refunded(customer_id, event_id) == reference.back.get((owner, event_id))
                assert paid >= reference.back.get((owner, event_id), D(0))
    for home in sharding.shard_map().homes:
        totals = RunningTotal.objects.using(sharding.alias(home))
        assert set(totals.values_list("customer_id", flat=True)) <= set(ids.values())
