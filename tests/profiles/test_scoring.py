"""What becomes of single customers in the second phase: written where it differs, dropped, left alone."""

import uuid
from datetime import date, timedelta
from decimal import Decimal

import pytest

from customers import erasure
from profiles import buyers as reading
from profiles import claims, fitting, publishing, runs, scoring
from profiles.models import CustomerScore, ProfileRun, RuleVersion
from scrm import sharding
from scrm.held import forget_all
from tests.counting import Counted, executed
from tests.profiles.behaviours import item, people, record, refund
from tests.profiles.nights import TODAY, run
from tests.profiles.worths import buyers, facts, scores, without_run

D = Decimal


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    forget_all()


def buy(external_userid: str, *days: str, amount: str = "10.00") -> None:
    items = [
        item(f"{external_userid}{day}", external_userid, amount=amount, occurred_at=f"2026-{day}T12:00:00+08:00")
        for day in days
    ]
    assert record(*items).accepted == len(days)


def test_a_small_base_has_scores_warnings_by_rhythm_and_no_value() -> None:
    steady, silent, once, nobody = people("wmSteady", "wmSilent", "wmOnce", "wmNobody")
    buy("wmSteady", "10-01", "10-31", "11-10", amount="20.00")
    buy("wmSilent", "09-29", "10-04", "10-09", "10-14")  # every 5 days, then silent for 36 until the 19th
    buy("wmOnce", "11-19", amount="500.00")
    done = run()
    assert done.value_model is not None
    assert (done.value_model["problem"], done.value_model["customers"]) == ("too_small", 3)
    assert done.state == "done"  # too few is no failure
    assert done.rfm == {
        "scope": "company",
        "company": {
            "recency": [10, 10, 1, 1], "frequency": [3, 3, 4, 4],
            "monetary": ["60.00", "60.00", "500.00", "500.00"], "customers": 3,
        },
    }  # fmt: skip
    found = {one: (row["recency_score"], row["frequency_score"], row["monetary_score"], row["rfm_segment"],
                   row["loss_warning"], row["alive_percent"]) for one, row in scores().items()}  # fmt: skip
    assert found == {
        steady: (3, 3, 3, "一般挽留客户", "", None),
        silent: (1, 5, 1, "一般保持客户", "high", None),
        once: (5, 1, 5, "重要发展客户", "", None),
    }
    assert nobody not in found
    history = facts()
    assert [(row["customer_id"], row["fact"], row["before"], row["after"]) for row in history] == [
        (silent, "loss_warning", None, "high"),  # of segments the first is no change
    ]
    assert history[0]["numbers"] == {
        "recency": 37, "frequency": 4, "monetary": "40.00", "scores": [1, 5, 1], "alive_percent": None,
    }  # fmt: skip
    again = run(full=True)
    assert again.summary["scored"] == 0
    assert facts() == history


def test_who_has_no_purchases_left_loses_the_score_and_history_says_so() -> None:
    (one, other) = people("wmA", "wmB")
    buy("wmA", "11-10")
    buy("wmB", "11-11")
    run(date(2026, 11, 12))
    assert set(scores()) == {one, other}
    assert record(refund("r", "wmA11-10", occurred_at="2026-11-13T12:00:00+08:00")).accepted == 1
    run(date(2026, 11, 13))
    assert set(scores()) == {one, other}  # given back on that day, which does not count yet
    done = run(date(2026, 11, 14))
    assert set(scores()) == {other}
    gone = [row for row in facts() if row["run_id"] == done.pk and row["customer_id"] == one]
    assert [(row["fact"], row["after"]) for row in gone] == [("rfm_segment", None)]


def test_purchases_of_the_day_itself_do_not_count() -> None:
    (one,) = people("wmA")
    buy("wmA", "11-10", "11-20")
    run(TODAY)
    first = scores()[one]
    done = run(TODAY + timedelta(days=1))
    assert first["run_id"] != done.pk
    assert done.rfm["company"]["frequency"] == [2, 2, None, None]  # type: ignore[index]


def test_a_base_that_has_become_degenerate_keeps_the_values() -> None:
    buyers(100, 300, as_of=TODAY)
    run()
    before = {
        one: (row["alive_percent"], row["expected_purchases"], row["expected_amount"]) for one, row in scores().items()
    }
    assert {alive for alive, _, _ in before.values()} > {100}
    assert all(amount is not None and amount == amount.to_integral_value() for _, _, amount in before.values())
    assert {row["loss_warning"] for row in scores().values()} == {"", "medium", "high"}
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        cursor.execute("UPDATE running_totals SET purchase_days = 1, first_purchase_day = last_purchase_at::date")
    done = run(TODAY, full=True)
    assert done.value_model is not None
    assert done.value_model["problem"] == "too_small"
    after = {
        one: (row["alive_percent"], row["expected_purchases"], row["expected_amount"]) for one, row in scores().items()
    }
    assert after == before
    assert {row["loss_warning"] for row in scores().values()} == {""}  # nobody comes back any more


def test_what_is_given_back_is_taken_off_what_repeat_days_brought() -> None:
    (one,) = people("wmA")
    for day, amount in (("10-01", "100.00"), ("10-10", "60.00"), ("10-20", "40.00")):
        buy("wmA", day, amount=amount)
    refund_of_60 = refund("r", "wmA10-10", occurred_at="2026-11-01T12:00:00+08:00")
    assert record(refund_of_60).accepted == 1

    def brought(as_of: date) -> tuple[int, int, int]:
        found = reading.read(100, sharding.bucket_of(one), as_of, 0).column
        return found["days"].item(), found["amount"].item(), found["repeat_amount"].item()

    assert brought(date(2026, 10, 2)) == (1, 100_00, 0)
    assert brought(date(2026, 11, 1)) == (3, 200_00, 100_00)  # given back on that day, which does not count yet
    assert brought(date(2026, 11, 2)) == (3, 140_00, 70_00)  # from totals: 60 of 200 are gone
    buy("wmA", "11-20", amount="900.00")
    assert brought(date(2026, 11, 2)) == (3, 140_00, 70_00)  # the same from the days
    assert record(refund("all", "wmA10-01", occurred_at="2026-11-21T12:00:00+08:00")).accepted == 1
    assert record(refund("all2", "wmA10-20", occurred_at="2026-11-21T12:00:00+08:00")).accepted == 1
    assert record(refund("all3", "wmA11-20", occurred_at="2026-11-21T12:00:00+08:00")).accepted == 1
    assert brought(date(2026, 11, 22)) == (4, 0, 0)


def test_who_gives_back_is_expected_to_bring_less() -> None:
    buyers(100, 300, as_of=TODAY)
    run()
    before = scores()
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        cursor.execute("UPDATE running_totals SET refund_amount = purchase_amount / 2")
    run(full=True)
    after = scores()
    assert {one: row["expected_purchases"] for one, row in after.items()} == {
        one: row["expected_purchases"] for one, row in before.items()
    }
    compared = [(before[one]["expected_amount"], after[one]["expected_amount"]) for one in before]
    assert all(abs(2 * half - whole) <= whole / 100 + 2 for whole, half in compared)


def test_thresholds_of_nobody_make_nobody_the_worst() -> None:
    """The homes that were up had no buyers; then one comes back that has."""
    begun = runs.start_run("manual", TODAY)
    for home in (100, 101):
        for bucket in range(10):
            runs.work(begun.pk, home, bucket)
    begun.refresh_from_db()
    assert (begun.rfm or {})["company"]["customers"] == 0
    ProfileRun.objects.filter(pk=begun.pk).update(state="running", finished_at=None)
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        cursor.execute("UPDATE run_claims SET state = 'done', phase = 1, position = 0, phases = '{}'")
    people("wmSilent")
    buy("wmSilent", "09-29", "10-04", "10-09", "10-14")
    runs.run_all(begun)
    (row,) = scores().values()
    assert (row["recency_score"], row["frequency_score"], row["rfm_segment"], row["loss_warning"]) == (
        None, None, "", "high",
    )  # fmt: skip
    (fact,) = facts()
    assert fact["numbers"]["scores"] is None
    run(full=True)
    assert {row["rfm_segment"] for row in scores().values()} == {"一般挽留客户"}


def test_a_block_costs_a_constant_number_of_statements() -> None:
    counts = []
    for number in (300, 900):  # enough for a model and its holdout
        buyers(100, number, as_of=TODAY, bucket=3)
        begun = runs.start_run("manual", TODAY, homes=[100])
        for bucket in range(10):
            assert runs.work(begun.pk, 100, bucket, on_progress=lambda: None)
        begun.refresh_from_db()
        before = executed()
        fitting.fit(begun)
        fit = {home: count - before.get(home, 0) for home, count in executed().items()}
        claim = claims.Claim(begun.pk, 100, 3, uuid.uuid4(), "full", 0, 0, 0, 0, 0, phase=claims.SCORE)
        with sharding.atomic_home(100), sharding.cursor(100) as cursor:
            cursor.execute("DELETE FROM customer_scores")
            cursor.execute(
                "UPDATE run_claims SET state = 'running', phase = 2, token = %s WHERE run_id = %s AND bucket = 3",
                [claim.token, begun.pk],
            )
        with Counted() as score:
            scoring.score(claim, begun, lambda: None)
        assert CustomerScore.objects.using("dept_100").count() == number
        counts.append((fit, score.counts))
        with sharding.atomic_home(100), sharding.cursor(100) as cursor:
            for table in ("running_totals", "daily_totals", "customers"):
                cursor.execute(f"DELETE FROM {table}")
            cursor.execute("DELETE FROM run_claims")
        ProfileRun.objects.all().update(state="done")
    assert counts[0] == counts[1]


def test_scores_by_home_compare_with_the_home() -> None:
    a, b = people("wmA", "wmB")
    c, d = people("wmC", "wmD", home=101)
    for name, amount in (("wmA", "1.00"), ("wmB", "2.00"), ("wmC", "100.00"), ("wmD", "200.00")):
        buy(name, "11-10", amount=amount)
    run()
    assert [scores()[one]["monetary_score"] for one in (a, b, c, d)] == [1, 2, 4, 5]
    RuleVersion.objects.filter(pk=publishing.current_version().pk).update(settings={"rfm": {"scope": "home"}})
    done = run(full=True)
    assert set(done.rfm or {}) == {"scope", "100", "101"}
    assert [scores()[one]["monetary_score"] for one in (a, b, c, d)] == [2, 4, 2, 4]


def test_who_is_erased_has_no_score() -> None:
    (one, other) = people("wmA", "wmB")
    for who in ("wmA", "wmB"):
        buy(who, "09-29", "10-04", "10-09", "10-14")  # every 5 days, then silent: a warning, which is history
    run()
    assert {row["customer_id"] for row in facts()} == {one, other}
    erasure.run_erasure(erasure.request_erasure("wmA", actor="test").id)
    assert set(scores()) == {other}
    assert {row["customer_id"] for row in facts()} == {other}
    assert without_run(scores())
    assert one not in scores()
