"""What a reader brings of a block: figures of channels and windows, as of a day; and in how many statements."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any
from unittest import mock

import pytest
from django.db import DatabaseError, connections
from django.test.utils import CaptureQueriesContext

from customers.directory import upsert_many
from customers.records import CustomerData, FollowData
from profiles import columns
from profiles.rules import Condition, Fact, LifecycleSettings, Needs, needs_of, parse_conditions
from profiles.totals import Block, Reader
from scrm import sharding
from scrm.sharding.ids import BUCKETS
from tests.profiles.behaviours import item, people, record, refund
from tests.profiles.nights import classes, crowd, history, publish, run

TODAY = date(2026, 11, 20)


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    pass


def at(day: int, hour: str = "12:00:00") -> str:
    return f"2026-11-{day:02}T{hour}+08:00"


def read(customer_id: int, conditions: Iterable[Condition], as_of: date) -> dict[str, Any]:
    """Return the facts of one customer."""
    needs = needs_of(conditions, reviewed=True)
    reader = Reader(sharding.home_of(customer_id), sharding.bucket_of(customer_id), as_of, needs, only_due=False)
    block = reader.read(0)
    assert isinstance(block, Block)
    place = block.column["customer_id"].tolist().index(customer_id)
    return {key: block.facts[key][place].item() for key in needs.columns}


def bought() -> int:
    """Somebody with two channels: 10 at the store on the 10th, 20 in the app on the 12th, given back later."""
    (wm_a,) = people("wmA")
    done = record(
        item("p1", amount=10, occurred_at=at(10)),
        item("p2", amount=20, occurred_at=at(12, "00:00:00"), channel="app"),
        item("p3", amount=7, occurred_at=at(12, "23:59:59"), channel="app"),
        item("i1", kind="interaction", occurred_at=at(14), channel="app"),
    )
    assert not done.rejected
    record(refund("r1", "p2", amount="5.00", occurred_at=at(15), channel="app"))
    record(refund("r2", "p2", occurred_at=at(17), channel="app"))
    record(refund("r3", "p1", occurred_at=at(18), channel="app"))  # brought to another counter
    return wm_a


@pytest.mark.parametrize(
    ("as_of", "count", "amount", "days", "in_window"),
    [
        (12, 0, 0, 0, 0),
        (13, 2, 2700, 1, 2),
        (16, 2, 2200, 1, 2),
        (18, 1, 700, 1, -1),
        (19, 0, -300, 1, -2),
    ],
)
def test_figures_of_a_channel_as_of_a_day(as_of: int, count: int, amount: int, days: int, in_window: int) -> None:
    """As in the table of docs/profiles.md: each on its own day, a refund from the channel that it names."""
    conditions = parse_conditions(
        "purchase_count@app > 0 and total_amount@app > 0 and purchase_days@app > 0 and purchase_count@app[5d] > 0"
    )
    found = read(bought(), conditions, date(2026, 11, as_of))
    assert [found[one.key] for one in conditions] == [count, amount, days, in_window]


def test_days_of_a_channel() -> None:
    wm_a = bought()
    conditions = parse_conditions(
        "days_since_last_purchase@app > 0 and days_since_last_interaction@app > 0 "
        "and days_since_first_behaviour@app > 0 and days_since_last_interaction@store > 0 "
        "and interaction_count@app[3d] > 0"
    )
    found = read(wm_a, conditions, TODAY)
    assert found == {
        "last_purchase_day@app": date(2026, 11, 12),
        "last_interaction_day@app": date(2026, 11, 14),
        "first_day@app": date(2026, 11, 12),
        "last_interaction_day@store": None,
        "interaction_count@app[3d]": 0,
        "first_day@app[3d]": date(2026, 11, 17),
    }


def test_windows_longer_than_history_has_days() -> None:
    conditions = parse_conditions("purchase_count[36500d] > 0 and purchase_count@store[36500d] > 0")
    found = read(bought(), conditions, TODAY)
    assert [found[one.key] for one in conditions] == [1, 1]


def test_when_a_customer_was_added() -> None:
    created = {name: datetime.fromisoformat(at(day)) for name, day in (("zhang", 12), ("li", 10), ("wang", 1))}
    follows = tuple(
        FollowData(name, created_at=moment, lost_at=moment if name == "wang" else None)
        for name, moment in created.items()
    )
    (wm_a, wm_b) = people("wmA", "wmB")
    upsert_many([CustomerData("wmA", follows=follows)])
    conditions = parse_conditions("days_since_added > 1 and follow_count > 1")
    assert read(wm_a, conditions, TODAY) == {"added_day": date(2026, 11, 10), "follow_count": 2}
    assert read(wm_b, conditions, TODAY) == {"added_day": None, "follow_count": 0}
    publish("老友: days_since_added >= 11", "新友: days_since_added >= 0")
    run(TODAY, homes=[100])
    assert classes([100]) == {"wmA": "新友", "wmB": "其他"}
    done = run(date(2026, 11, 21), homes=[100])
    assert (done.summary["judged"], classes([100])["wmA"]) == (1, "老友")
    assert run(date(2026, 11, 10), homes=[100]).summary["classes"] == {"其他": 2}  # not added yet, then


def test_a_channel_decides_and_is_left_by_time_alone() -> None:
    bought()
    publish('店客: purchase_count@store[9d] >= 1 and lifecycle is "new"')
    run(date(2026, 11, 17), homes=[100])
    assert classes([100]) == {"wmA": "店客"}
    assert history([100])[0]["numbers"] == {"purchase_count@store[9d]": 1, "lifecycle": "new"}
    # The refund of the 18th names the app: the store's purchase of the 10th counts until it leaves the window.
    run(date(2026, 11, 19), homes=[100])
    assert classes([100]) == {"wmA": "店客"}
    done = run(date(2026, 11, 20), homes=[100])
    assert (done.summary["judged"], classes([100])) == (1, {"wmA": "其他"})


# ---- statements ------------------------------------------------------------------------------------------------------
EVERYTHING = parse_conditions(
    "purchase_count[90d] > 1 and total_amount[30d] > 1 and purchase_count@store[90d] > 1 and interaction_count@app > 1 "
    'and days_since_added > 1 and follow_count > 1 and tags has "et1" and purchase_days > 1'
)


@pytest.mark.parametrize("size", [1, 40])
def test_a_block_costs_the_same_statements_whatever_its_size(size: int) -> None:
    crowd(100, 40, bucket=3, day=date(2026, 9, 1))
    assert BUCKETS == 10
    needs = Needs(needs_of(EVERYTHING, reviewed=True).columns)
    reader = Reader(100, 3, TODAY, needs, only_due=False, lifecycle=LifecycleSettings())
    picked = reader.pick(0, size)
    assert picked is not None
    reader.read_picked(picked)  # the names of classes are asked for once
    # A COPY is not captured with the other statements.
    with (
        CaptureQueriesContext(connections["dept_100"]) as queries,
        mock.patch.object(columns, "read", wraps=columns.read) as copies,
    ):
        assert len(reader.read_picked(picked)) == size
    # Marks, reviews, customers; windows, channels, tags, follows. Nobody may have come back.
    assert copies.call_count == 7
    assert [query["sql"] for query in queries] == ["SET enable_nestloop = off", "RESET enable_nestloop"]


def test_what_reading_sets_is_gone_after_it_also_when_it_breaks() -> None:
    crowd(100, 1, bucket=3)
    reader = Reader(100, 3, TODAY, Needs(), only_due=False)
    assert reader.read(0) is not None
    broken = Reader(100, 3, TODAY, Needs(frozenset({"purchase_count[7d]"})), only_due=False)
    broken.of_windows = [Fact("no_such", None, 7)]
    with pytest.raises(KeyError):
        broken.read(0)
    with sharding.cursor(100) as cursor:
        cursor.execute("SHOW enable_nestloop")
        assert cursor.fetchone() == ("on",)
    with pytest.raises(DatabaseError):
        columns.read(100, "SELECT 1 / 0", {}, {"one": "int"})
    with sharding.cursor(100) as cursor:
        cursor.execute("SHOW enable_nestloop")
        assert cursor.fetchone() == ("on",)


def test_columns_are_read_whole_in_their_order_and_nothing_that_only_looks_like_them() -> None:
    select = """SELECT n::bigint * -10000000000, CASE WHEN n %% 7 = 0 THEN '-infinity' ELSE '2000-01-01'::date - n END,
        (n %% 100 - 50)::smallint,
        CASE WHEN n %% 3 = 0 THEN '-infinity' ELSE timestamptz '2000-01-01Z' - n * interval '1s' END
        FROM generate_series(1, %(n)s::int) AS n WHERE '{} %%' <> %(text)s ORDER BY n DESC"""
    layout = {"number": "bigint", "day": "int", "small": "smallint", "at": "time"}
    for size in (0, 1, 20_000):
        found = columns.read(100, select, {"n": size, "text": "{a} %s"}, layout)
        assert {name: values.tolist() for name, values in found.items()} == {
            "number": [n * -10_000_000_000 for n in range(size, 0, -1)],
            "day": [-n if n % 7 else columns.NO_DAY for n in range(size, 0, -1)],
            "small": [n % 100 - 50 for n in range(size, 0, -1)],
            "at": [n * -1_000_000 if n % 3 else columns.NO_TIME for n in range(size, 0, -1)],
        }
    for other in ("NULL::bigint", "1", "0::numeric", "1.5::float8", "'8 bytes.'", "now()"):
        with pytest.raises(ValueError, match="Column one is not bigint throughout"):
            columns.read(100, f"SELECT {other}", {}, {"one": "bigint"})
    with pytest.raises(ValueError, match="Column one is not bigint throughout"):
        columns.read(100, "SELECT 1::bigint UNION ALL SELECT NULL", {}, {"one": "bigint"})
