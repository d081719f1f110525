"""Figures of a run: exact, kept per day and home, repeatable; incremental cohorts are those of a full computation."""

import doctest
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from customers.models import Customer
from profiles import figures, runs
from profiles.figures import cohorts, keeping, summing
from profiles.models import CustomerScore, DailyFigure, ProfileRun
from scrm import sharding
from tests.databases import url_of
from tests.examples import examples
from tests.profiles.nights import TODAY, crowd, publish, run
from tests.servers import PrivatePostgres

pytestmark = pytest.mark.usefixtures("clean_databases")

HIGH, LOW = "高价值客户", "潜在客户"


def kept(kind: str, day: date = TODAY) -> dict[int, Any]:
    """Return {home: data} of a kind."""
    return dict(DailyFigure.objects.filter(kind=kind, day=day).values_list("home", "data"))


def write(home: int, sql: str, *params: Any) -> None:
    with psycopg.connect(url_of(sharding.alias(home)), cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(sql, params)


def score(home: int, count: int) -> None:
    """Give the first customers of a home scores that differ, as the second phase writes them."""
    write(
        home,
        """
        INSERT INTO customer_scores (customer_id, bucket, run_id, recency_score, frequency_score, monetary_score,
            rfm_segment, alive_percent, expected_purchases, expected_amount, loss_warning)
        SELECT customer_id, bucket, 1, 1 + n %% 5, 1 + n / 3 %% 5, 1 + n / 7 %% 5, 'S' || n %% 4, n %% 101, n / 8.0,
            n * n * 1.37, (ARRAY['', 'medium', 'high'])[1 + n %% 3]
        FROM (SELECT customer_id, bucket, customer_id %% 10000000000 AS n FROM customers) AS c WHERE n <= %s
        ON CONFLICT (customer_id, bucket) DO UPDATE SET (recency_score, frequency_score, monetary_score, rfm_segment,
            alive_percent, expected_purchases, expected_amount, loss_warning) = (excluded.recency_score,
            excluded.frequency_score, excluded.monetary_score, excluded.rfm_segment, excluded.alive_percent,
            excluded.expected_purchases, excluded.expected_amount, excluded.loss_warning)
        """,
        count,
    )
    write(home, "UPDATE customers SET lifecycle = (ARRAY['new', 'active', 'lost'])[1 + customer_id %% 3]")


def figures_again(run_: ProfileRun) -> None:
    """Compute a run's figures, whatever the run has done itself."""
    DailyFigure.objects.all().delete()
    figures.compute(run_)


def test_every_figure_is_what_plain_python_counts() -> None:
    crowd(100, 200, purchases="n %% 9", interactions="n %% 13")
    crowd(101, 50, purchases=7, interactions=10)
    done = run()
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        cursor.execute("DELETE FROM customer_scores")
    score(100, 180)
    write(
        100,
        "INSERT INTO segment_members (customer_id, bucket, segment_id, entered_at) "
        "SELECT customer_id, bucket, 7, now() FROM customers WHERE customer_id %% 2 = 0",
    )
    figures_again(done)
    people = list(Customer.objects.using("dept_100").values())
    scores = {row["customer_id"]: row for row in CustomerScore.objects.using("dept_100").values()}
    assert len(people) == 200
    assert len(scores) == 180
    newest = 100 * 10**10 + 200
    assert kept("classes") == {
        100: {"classes": dict(Counter(row["profile"] for row in people)), "unclassified": 0, "last_id": newest},
        101: {"classes": {LOW: 50}, "unclassified": 0, "last_id": 101 * 10**10 + 50},
    }
    assert kept("lifecycle")[100] == dict(Counter(row["lifecycle"] for row in people))
    assert kept("loss")[100] == dict(Counter(row["loss_warning"] for row in scores.values() if row["loss_warning"]))
    assert kept("segments")[100] == {"7": 100}
    assert kept("actions") == {100: {}, 101: {}}
    spent = {row["customer_id"]: row["total_amount"] for row in people}
    cells: dict[tuple[int, int], list[Any]] = {}
    segments: dict[str, list[Any]] = {}
    for customer_id, row in scores.items():
        cell = cells.setdefault((row["recency_score"], row["frequency_score"]), [0, 0, Decimal(0)])
        segment = segments.setdefault(row["rfm_segment"], [0, Decimal(0)])
        cell[:] = [cell[0] + 1, cell[1] + row["monetary_score"], cell[2] + spent[customer_id]]
        segment[:] = [segment[0] + 1, segment[1] + spent[customer_id]]
    assert kept("rfm")[100] == {
        "cells": [[r, f, n, m, str(amount)] for (r, f), (n, m, amount) in sorted(cells.items())],
        "segments": {name: [n, str(amount)] for name, (n, amount) in segments.items()},
    }
    value = summing.add_value(kept("value").values())
    expected = sorted((row["expected_amount"] for row in scores.values()), reverse=True)
    assert (value.customers, value.total) == (180, sum(expected))
    assert value.alive_percent == round(sum(row["alive_percent"] for row in scores.values()) / 180, 1)
    assert value.purchases == sum(row["expected_purchases"] for row in scores.values())
    assert value.best_share == pytest.approx(float(sum(expected[:36]) / sum(expected)), abs=0.003)
    for low, high, customers, amount in value.bins:
        within = [one for one in expected if one >= low and (high is None or one < high)]
        assert (customers, amount) == (len(within), sum(within))


def test_moves_are_kept_for_each_run_of_a_day_and_add_up() -> None:
    crowd(100, 30)
    first = run()
    publish("大客户: purchase_count > 5", default=LOW)
    second = run()
    assert kept("moves") == {
        100: {str(first.pk): [[None, HIGH, 30]], str(second.pk): [[HIGH, "大客户", 30]]},
        101: {str(first.pk): [], str(second.pk): []},
    }
    assert summing.add_moves(kept("moves").values()) == [(None, HIGH, 30), (HIGH, "大客户", 30)]


def test_a_repeat_writes_the_same_and_an_older_run_writes_over_nothing() -> None:
    crowd(100, 30)
    first = run()
    second = run()
    before = list(DailyFigure.objects.order_by("pk").values())
    assert {row["run_id"] for row in before} == {second.pk}
    figures.compute(second)
    figures.compute(first)
    assert list(DailyFigure.objects.order_by("pk").values()) == before


def test_backtests_and_runs_of_earlier_days_keep_none() -> None:
    crowd(100, 30)
    run(TODAY)
    before = list(DailyFigure.objects.order_by("pk").values())
    run(TODAY - timedelta(days=10))
    run(TODAY, "backtest")
    assert list(DailyFigure.objects.order_by("pk").values()) == before
    assert before


def test_a_home_that_is_down_keeps_its_last_figures_and_is_named(fragile_department: PrivatePostgres) -> None:
    crowd(100, 30)
    write_elsewhere = run(TODAY - timedelta(days=1))
    assert write_elsewhere.state == "done"
    latest = keeping.find_latest(["classes"])["classes"]
    assert (latest.day, latest.stale) == (TODAY - timedelta(days=1), [])
    fragile_department.stop()
    started = runs.run_all(runs.start_run("manual", TODAY))
    assert started.state == "running"
    assert figures.compute(started) == [101]
    latest = keeping.find_latest(["classes"])["classes"]
    assert (latest.day, latest.stale) == (TODAY, [101])
    assert latest.days == {100: TODAY, 101: TODAY - timedelta(days=1)}
    assert kept("classes", TODAY - timedelta(days=1))[101]["classes"] == {}


# ------------------------------------------------------------------------------------------------------------- cohorts
START = date(2026, 5, 20)
NIGHTS = 200


def reference(bought: dict[int, set[date]], as_of: date) -> list[list[Any]]:
    """The cells as of a day, from nothing but the days of purchases."""
    cells: Counter[tuple[str, str]] = Counter()
    for days in bought.values():
        counted = {f"{day:%Y-%m}" for day in days if day < as_of}
        for month in counted:
            cells[f"{min(days):%Y-%m}", month] += 1
    return sorted([cohort, month, customers] for (cohort, month), customers in cells.items())


def store(bought: dict[int, set[date]]) -> None:
    """Make the totals of home 100 what they are after these purchases."""
    with psycopg.connect(url_of("dept_100")) as connection:
        connection.execute("DELETE FROM customers")
        for n, days in bought.items():
            key = (100 * 10**10 + n, n % 10)
            connection.execute(
                "INSERT INTO customers (customer_id, bucket, external_userid, name, avatar, type, gender, corp_name, "
                "position, mobile, attributes, version, created_at, updated_at, purchase_count, interaction_count, "
                "total_amount) VALUES (%s, %s, %s, '', '', 1, 0, '', '', '', '{}', 1, now(), now(), 0, 0, 0)",
                [*key, f"wm{n}"],
            )
            connection.execute(
                "INSERT INTO running_totals (customer_id, bucket, purchase_count, purchase_amount, refund_count, "
                "refund_amount, interaction_count, first_day, last_day, purchase_days, first_purchase_day) "
                "VALUES (%s, %s, 1, 1, 0, 0, 0, %s, %s, %s, %s)",
                [*key, min(days), max(days), len(days), min(days)],
            )
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO daily_totals (customer_id, bucket, day, purchase_count, purchase_amount, "
                    "refund_count, refund_amount, interaction_count) VALUES (%s, %s, %s, 1, 1, 0, 0, 0)",
                    [(*key, day) for day in sorted(days)],
                )


def computed(as_of: date, before: dict[str, Any] | None) -> dict[str, Any]:
    with transaction.atomic(using="dept_100"), sharding.cursor(100) as cursor:
        return cohorts.compute_cohorts(cursor, as_of, before)


purchases = st.lists(st.tuples(st.integers(1, 12), st.integers(0, NIGHTS)), max_size=25)
nights = st.lists(
    st.tuples(st.integers(1, 60), purchases, st.sets(st.integers(1, 12), max_size=2)), min_size=1, max_size=5
)


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nights)
def test_cohorts_of_incremental_nights_are_those_of_a_full_one(
    given: list[tuple[int, list[tuple[int, int]], set[int]]],
) -> None:
    """Purchases of any day, late ones and tomorrow's included, and erasures; nights may be months apart."""
    bought: dict[int, set[date]] = {}
    as_of, before = START, None
    for days_later, happened, erased in given:
        as_of += timedelta(days=days_later)
        for number, back in happened:
            # One day ahead of as_of at most, as behaviours may be.
            bought.setdefault(number, set()).add(as_of - timedelta(days=back - 1))
        for number in erased:
            bought.pop(number, None)
        store(bought)
        before = computed(as_of, before)
        assert before["cells"] == reference(bought, as_of)
        assert before == computed(as_of, None)


def test_an_ordinary_night_reads_two_months_and_a_late_purchase_only_its_cohort() -> None:
    bought = {n: {date(2026, 6 + n % 3, 1 + n), date(2026, 11, 1 + n)} for n in range(1, 13)}
    store(bought)
    before = computed(date(2026, 11, 20), None)
    assert before["since"] == "2026-10"
    with CaptureQueriesContext(connections["dept_100"]) as queries:
        assert computed(date(2026, 11, 21), before) == computed(date(2026, 11, 20), before) == before
    assert len([query for query in queries if "daily_totals" in query["sql"]]) == 2
    assert all("'2026-10-01'" in query["sql"] for query in queries if "daily_totals" in query["sql"])
    bought[3].add(date(2026, 7, 9))  # four months late
    store(bought)
    with CaptureQueriesContext(connections["dept_100"]) as queries:
        after = computed(date(2026, 11, 21), before)
    assert after["cells"] == reference(bought, date(2026, 11, 21)) != before["cells"]
    (_, again) = [query["sql"] for query in queries if "daily_totals" in query["sql"]]
    assert "'{2026-06}'" in again


def test_customers_who_change_places_with_others_of_the_same_sum_are_noticed() -> None:
    store({number: {date(2026, 6, 1), date(2026, 7, 1)} for number in (1, 4)})
    before = computed(date(2026, 11, 20), None)
    bought = {number: {date(2026, 6, 1), date(2026, 8, 1)} for number in (2, 3)}
    store(bought)
    after = computed(date(2026, 11, 21), before)
    assert (
        after["cells"]
        == reference(bought, date(2026, 11, 21))
        == [["2026-06", "2026-06", 2], ["2026-06", "2026-08", 2]]
    )


def test_cohorts_older_than_two_years_are_not_kept() -> None:
    bought = {1: {date(2020, 1, 5), date(2026, 11, 5)}, 2: {date(2024, 12, 1)}, 3: {date(2024, 11, 30)}}
    store(bought)
    assert computed(date(2026, 11, 20), None)["cells"] == [["2024-12", "2024-12", 1]]


# ------------------------------------------------------------------------------------------------------------- keeping
def test_old_figures_are_thinned_to_one_a_month_with_all_moves() -> None:
    days = [date(2025, 9, 1) + timedelta(days=n) for n in range(100)]
    DailyFigure.objects.bulk_create(
        DailyFigure(kind=kind, day=day, home=100, run_id=n, data={str(n): [[None, LOW, 1]]})
        for n, day in enumerate(days)
        for kind in ("moves", "lifecycle")
    )
    # 400 days before lies in October 2025: September is thinned.
    assert figures.thin(today=date(2026, 11, 20)) == 2 * 29
    assert figures.thin(today=date(2026, 11, 20)) == 0
    left = DailyFigure.objects.filter(kind="moves").order_by("day")
    assert [row.day for row in left[:2]] == [date(2025, 9, 30), date(2025, 10, 1)]
    assert summing.add_moves(row.data for row in left) == [(None, LOW, 100)]
    assert DailyFigure.objects.get(kind="lifecycle", day=date(2025, 9, 30)).data == {"29": [[None, LOW, 1]]}


def test_two_who_keep_the_same_run_at_once() -> None:
    crowd(100, 30)
    done = run()
    before = list(DailyFigure.objects.order_by("pk").values())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_compute_in_thread, [done] * 8))
    assert list(DailyFigure.objects.order_by("pk").values()) == before


def _compute_in_thread(run_: ProfileRun) -> None:
    figures.compute(run_)
    connections.close_all()


# ------------------------------------------------------------------------------------------------------------- summing
@pytest.mark.parametrize("name", ["summing"])
def test_examples(name: str) -> None:
    found = doctest.testmod(import_module(f"profiles.figures.{name}"))
    assert (found.failed, found.attempted > 0) == (0, True)


@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=200))
def test_share_of_the_best_fifth_is_off_by_a_twentieth_of_one_bin_at_most(cents: list[int]) -> None:
    bins: dict[int, tuple[int, Decimal]] = {}
    for one in cents:
        count, amount = bins.get(summing.bin_of(one), (0, Decimal(0)))
        bins[summing.bin_of(one)] = (count + 1, amount + one)
    found = summing.best_share(bins)
    total = sum(cents)
    if not total:
        assert found is None
        return
    ordered = sorted(cents, reverse=True)
    whole, part = divmod(len(cents), 5)
    exact = Decimal(sum(ordered[:whole])) + Decimal(ordered[whole] if part else 0) * part / 5
    cut = bins[summing.bin_of(ordered[min(whole, len(cents) - 1)])]
    assert found is not None
    assert abs(Decimal(str(found)) * total - exact) <= cut[1] / 20 + Decimal(total) / 10_000
