"""Runs in one process: who is put where, what is written, and what is not."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.db import connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from customers import erasure
from customers.lookup import CACHE
from profiles import runs
from profiles.judged import judge
from profiles.models import BucketState, RuleVersion
from profiles.rules import DEFAULT_RULE_SET, RuleError
from profiles.runs import RunRefusedError
from profiles.totals import Reader
from scrm import sharding
from scrm.held import forget_all
from tests.profiles.behaviours import item, people, record, refund
from tests.profiles.nights import TODAY, classes, counts, crowd, dirty, history, publish, run, stored

HIGH, LOW = "高价值客户", "潜在客户"
D = Decimal


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    forget_all()


def behave(
    external_userid: str, purchases: int, interactions: int, *, day: str = "2026-11-10", prefix: str = ""
) -> None:
    at = f"{day}T12:00:00+08:00"
    done = record(
        *(item(f"{prefix}p{n}", external_userid, occurred_at=at) for n in range(purchases)),
        *(item(f"{prefix}i{n}", external_userid, "interaction", occurred_at=at) for n in range(interactions)),
    )
    assert done.accepted == purchases + interactions, done.rejected


# -------------------------------------------------------------------------------------------------------- default rule
def test_the_default_rule_wants_more_than_5_purchases_and_more_than_10_interactions() -> None:
    people("wm5-15", "wm6-11")
    people("wm6-10", "wmNothing", home=101)
    behave("wm5-15", 5, 15)
    behave("wm6-11", 6, 11)
    behave("wm6-10", 6, 10)
    done = run()
    assert classes() == {"wm5-15": LOW, "wm6-11": HIGH, "wm6-10": LOW, "wmNothing": LOW}
    assert counts() == {HIGH: 1, LOW: 3}
    assert dirty() == set()
    assert done.state == "done"
    assert (done.summary["judged"], done.summary["changed"], done.summary["updated"]) == (4, 4, 4)
    assert done.summary["classes"] == {LOW: 3, HIGH: 1}
    assert sorted(map(tuple, done.summary["moves"]), key=str) == [(None, LOW, 3), (None, HIGH, 1)]
    assert done.summary["homes"]["101"]["classes"] == {LOW: 2}


def test_figures_and_history_say_what_decided() -> None:
    (wm_a,) = people("wmA")
    behave("wmA", 6, 11)
    done = run()
    row = stored()["wmA"]
    assert row == {
        "profile": HIGH, "version": 2, "purchase_count": 6, "interaction_count": 11, "total_amount": D("60.00"),
        "last_purchase_at": datetime(2026, 11, 10, 4, tzinfo=UTC),
        "last_interaction_at": datetime(2026, 11, 10, 4, tzinfo=UTC), "lifecycle": "new",
        "review_on": date(2026, 12, 11),
    }  # fmt: skip
    (entry,) = history()
    at = entry.pop("at")
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert entry == {
        "customer_id": wm_a, "bucket": wm_a % 10, "run_id": done.pk, "as_of": TODAY, "from_profile": None,
        "to_profile": HIGH, "rule_version": 1, "rule_position": 1, "purchase_count": 6, "interaction_count": 11,
        "total_amount": D("60.00"), "numbers": None,
    }  # fmt: skip


def test_who_has_no_behaviour_is_judged_and_has_zeros() -> None:
    people("wmA")
    run()
    row = stored()["wmA"]
    assert (row["profile"], row["purchase_count"], row["total_amount"], row["last_purchase_at"]) == (LOW, 0, D(0), None)


# --------------------------------------------------------------------------------------------------------- as of a day
def test_a_day_counts_from_the_midnight_after_it_in_the_stored_zone() -> None:
    people("wmA")
    record(
        item("last", amount=1, occurred_at="2026-11-19T23:59:59+08:00"),
        item("first", amount=2, occurred_at="2026-11-19T16:00:00Z"),
    )
    run(TODAY)
    assert stored()["wmA"]["total_amount"] == D("1.00")
    assert dirty() != set()  # the purchase of the 20th is still to be counted
    run(TODAY + timedelta(days=1))
    assert stored()["wmA"]["total_amount"] == D("3.00")
    assert dirty() == set()


def test_refunds_count_on_their_own_day() -> None:
    people("wmA")
    record(item("p1", amount=100, occurred_at="2026-11-10T12:00:00+08:00"))
    record(refund("r1", "p1", amount="30.00", occurred_at="2026-11-12T12:00:00+08:00"))
    assert record(refund("r2", "p1", occurred_at="2026-11-13T12:00:00+08:00")).accepted == 1
    # As in the table of docs/profiles.md.
    table = {10: (0, "0.00"), 11: (1, "100.00"), 12: (1, "100.00"), 13: (1, "70.00"), 14: (0, "0.00")}
    for day, (purchases, amount) in table.items():
        run(date(2026, 11, day))
        row = stored()["wmA"]
        assert (day, row["purchase_count"], row["total_amount"]) == (day, purchases, D(amount))
    assert stored()["wmA"]["last_purchase_at"] == datetime(2026, 11, 10, 4, tzinfo=UTC)


def test_a_window_may_hold_a_refund_without_its_purchase() -> None:
    people("wmA")
    publish("负数: total_amount[3d] < 0", "其余: total_amount[3d] > 0")
    record(item("p1", amount=100, occurred_at="2026-11-10T12:00:00+08:00"))
    record(refund("r1", "p1", amount="30.00", occurred_at="2026-11-12T12:00:00+08:00"))
    found = {}
    for day in range(11, 17):
        run(date(2026, 11, day))
        found[day] = (classes()["wmA"], stored()["wmA"]["review_on"])
    assert [name for name, _ in found.values()] == ["其余", "其余", "其余", "负数", "负数", "其他"]
    assert found[16][1] == date(2026, 12, 11)  # when they are not new any more


def test_a_run_of_an_earlier_day_reports_and_touches_nothing() -> None:
    people("wmA", "wmB")
    behave("wmA", 6, 11, day="2026-11-15")
    run()
    before = stored()
    people("wmNew")
    earlier = run(date(2026, 11, 15))
    assert stored() == before | {"wmNew": stored()["wmNew"]}
    assert stored()["wmNew"]["profile"] is None
    assert earlier.summary["updated"] == 0
    assert earlier.summary["homes"]["100"]["modes"] == ["report"]
    assert earlier.summary["classes"] == {LOW: 3}
    assert sorted(map(tuple, earlier.summary["moves"]), key=str) == [(HIGH, LOW, 1), (None, LOW, 1)]
    assert len(history()) == 2


def test_a_backtest_reports_and_leaves_the_next_night_as_it_was() -> None:
    people("wmA")
    behave("wmA", 6, 11)
    done = run(kind="backtest")
    assert done.summary["classes"] == {HIGH: 1}
    assert classes() == {"wmA": None}
    assert dirty() != set()
    assert not BucketState.objects.using("dept_100").exists()
    assert run().summary["classes"] == {HIGH: 1}


def test_tomorrow_cannot_be_run() -> None:
    with time_machine.travel("2026-11-20T15:59:00Z"), pytest.raises(RunRefusedError, match="2026-11-20 at the latest"):
        runs.start_run("manual", date(2026, 11, 21))
    with time_machine.travel("2026-11-20T16:00:00Z"):
        assert runs.start_run("manual", date(2026, 11, 21)).is_new


# ------------------------------------------------------------------------------------------------------ writing nothing
def test_a_repeat_writes_nothing_and_deletes_nothing_from_the_cache(redis_client) -> None:
    crowd(100, 50)
    people("wmA", home=101)
    behave("wmA", 1, 1)
    run()
    assert CACHE.get("wmA").source == "miss"
    before = stored()
    for again in (run(), run(full=True)):
        assert again.is_new
        assert (again.summary["changed"], again.summary["updated"]) == (0, 0)
    assert stored() == before
    assert CACHE.get("wmA").source == "hit"
    assert len(history()) == 51


def test_only_whom_something_changed_leaves_the_cache(redis_client) -> None:
    people("wmA", "wmB")
    run()
    CACHE.get("wmA"), CACHE.get("wmB")
    behave("wmA", 1, 0)
    assert CACHE.get("wmA").source == "hit"  # a day of behaviours does not empty the cache
    run()
    assert (CACHE.get("wmA").source, CACHE.get("wmB").source) == ("miss", "hit")
    assert json.loads(CACHE.get("wmA").value)["purchase_count"] == 1


def test_figures_change_without_the_class_and_leave_no_history() -> None:
    people("wmA")
    run()
    behave("wmA", 1, 0)
    done = run()
    assert (done.summary["judged"], done.summary["changed"], done.summary["updated"]) == (1, 0, 1)
    assert (stored()["wmA"]["purchase_count"], stored()["wmA"]["version"]) == (1, 3)
    assert len(history()) == 1


def test_an_incremental_night_looks_only_at_whom_something_changed() -> None:
    crowd(100, 100)
    run()
    people("wmA")
    behave("wmA", 6, 11)
    done = run()
    assert done.summary["homes"]["100"]["modes"] == ["incremental"]
    assert done.summary["judged"] == 1
    assert done.summary["classes"] == {HIGH: 101}


def test_a_mark_that_changes_while_the_customer_is_judged_stays() -> None:
    (wm_a,) = people("wmA")
    behave("wmA", 1, 0)
    run_ = runs.start_run("manual", TODAY)
    judged = []

    def meanwhile(progress: runs.RunProgress) -> None:
        if progress.judged and not judged:
            judged.append(progress.judged)

    from profiles import chunks

    write = chunks.Writer.write

    def write_late(self: chunks.Writer, *args: object, **more: object) -> None:
        if self.claim.bucket == wm_a % 10:
            behave("wmA", 1, 0, prefix="late")
        write(self, *args, **more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks.Writer, "write", write_late)
        runs.run_all(run_, meanwhile)
    assert stored()["wmA"]["purchase_count"] == 1
    assert dirty() == {wm_a}
    run()
    assert stored()["wmA"]["purchase_count"] == 2
    assert dirty() == set()


# --------------------------------------------------------------------------------------------------------------- rules
def test_a_rule_published_today_takes_effect_today() -> None:
    people("wmA", "wmB")
    behave("wmA", 6, 0)
    run()
    assert classes() == {"wmA": LOW, "wmB": LOW}
    version = publish("复购客户: purchase_count > 5", default=LOW)
    done = run()
    assert done.rule_version_id == version
    assert done.summary["homes"]["100"]["modes"] == ["full"]
    assert classes() == {"wmA": "复购客户", "wmB": LOW}
    assert counts() == {"复购客户": 1, LOW: 1}
    assert [(row["from_profile"], row["to_profile"], row["rule_position"]) for row in history()][2:] == [
        (LOW, "复购客户", 1)
    ]


def test_a_shop_without_interactions_has_no_high_value_customers_until_a_rule_says_so() -> None:
    # Like the CDNOW file: many with one purchase, few with many, and nothing else.
    crowd(100, 1200, purchases="1 + mod(n, 7) * mod(n, 3)", interactions=0)
    crowd(101, 1157, purchases="1 + mod(n, 7) * mod(n, 3)", interactions=0)
    bought = [1 + (n % 7) * (n % 3) for count in (1200, 1157) for n in range(1, count + 1)]
    assert run().summary["classes"] == {LOW: 2357}
    publish("复购客户: purchase_count > 5", default=LOW)
    often = sum(purchases > 5 for purchases in bought)
    assert run().summary["classes"] == {LOW: 2357 - often, "复购客户": often}
    assert counts() == {LOW: 2357 - often, "复购客户": often}
    assert sum(row["total_amount"] for row in stored().values()) == 10 * sum(bought)
    assert len(history()) == 2357 + often


def test_a_class_leaves_a_window_by_time_alone() -> None:
    people("wmA", "wmB")
    publish("活跃: interaction_count[7d] >= 1")
    behave("wmA", 0, 1, day="2026-11-10")
    run(date(2026, 11, 12))
    assert classes() == {"wmA": "活跃", "wmB": "其他"}
    assert stored()["wmA"]["review_on"] == date(2026, 11, 18)
    assert history()[0]["numbers"] == {"interaction_count[7d]": 1}
    assert run(date(2026, 11, 17)).summary["judged"] == 0
    done = run(date(2026, 11, 18))
    assert (done.summary["judged"], done.summary["changed"], done.summary["updated"]) == (1, 1, 1)
    assert classes() == {"wmA": "其他", "wmB": "其他"}
    assert stored()["wmA"]["review_on"] == date(2026, 12, 11)  # when they are not new any more


def test_only_the_review_date_changes_no_version() -> None:
    people("wmA")
    publish("活跃: interaction_count[7d] >= 1")
    behave("wmA", 0, 2, day="2026-11-10")
    behave("wmA", 0, 1, day="2026-11-12", prefix="b")
    run(date(2026, 11, 13))
    before = stored()["wmA"]
    run(date(2026, 11, 18))
    assert stored()["wmA"] == before | {"review_on": date(2026, 11, 20)}


def test_tags_and_follows_and_days_decide_too() -> None:
    from customers.directory import upsert_many
    from customers.records import CustomerData, FollowData

    publish(
        '重要: tags has "vip" and follow_count >= 2',
        "沉睡: days_since_last_purchase >= 5",
        "新客: days_since_first_behaviour < 3 and total_amount[3d] >= 9.99",
    )
    follows = (FollowData("zhang", tag_ids=("vip", "et2")), FollowData("li"))
    upsert_many([CustomerData("wmA", home=100, follows=follows), CustomerData("wmB", home=100, follows=follows[:1])])
    upsert_many([CustomerData("wmC", home=101, tag_ids=("vip",)), CustomerData("wmD", home=101)])
    behave("wmB", 1, 0, day="2026-11-15")
    behave("wmC", 1, 0, day="2026-11-16")
    behave("wmD", 1, 0, day="2026-11-19")
    run()
    assert classes() == {"wmA": "重要", "wmB": "沉睡", "wmC": "其他", "wmD": "新客"}
    reasons = {row["to_profile"]: row["numbers"] for row in history()}
    assert reasons["新客"] == {
        "tag:vip": False, "follow_count": 0, "last_purchase_day": "2026-11-19", "first_day": "2026-11-19",
        "total_amount[3d]": "10.00",
    }  # fmt: skip
    lost = FollowData("wang", lost_at=datetime(2026, 11, 1, tzinfo=UTC), tag_ids=("vip",))
    upsert_many(
        [CustomerData("wmC", follows=(FollowData("li"), lost)), CustomerData("wmD", follows=(lost, *follows[1:]))]
    )
    run()
    assert classes() == {"wmA": "重要", "wmB": "沉睡", "wmC": "其他", "wmD": "新客"}
    upsert_many([CustomerData("wmC", follows=(FollowData("li"), FollowData("wang")))])
    run()
    assert classes()["wmC"] == "重要"


def test_rules_that_cannot_be_read_fail_the_run_clearly() -> None:
    people("wmA")
    begun = runs.start_run("manual", TODAY)
    RuleVersion.objects.get().rules.update(conditions=[{"field": "nonsense", "operator": ">", "value": 1}])
    assert runs.work(begun.pk, 100, 1) is False
    begun.refresh_from_db()
    assert begun.state == "failed"
    assert "nonsense" in begun.summary["error"]
    with pytest.raises(RuleError, match="nonsense"):
        runs.start_run("manual", TODAY)
    publish("甲: purchase_count > 1")
    assert run().state == "done"


@override_settings(TIME_ZONE="UTC")
def test_another_time_zone_than_the_stored_one_is_refused() -> None:
    with pytest.raises(RunRefusedError, match="Asia/Shanghai"):
        runs.start_run("manual", TODAY)


# ---------------------------------------------------------------------------------------------------------- one at once
def test_a_second_start_returns_the_run_under_way() -> None:
    first = runs.start_run("manual", TODAY)
    second = runs.start_run("nightly", TODAY, requested_by="beat")
    assert (first.is_new, second.is_new, second.pk) == (True, False, first.pk)
    backtest = runs.start_run("backtest", TODAY)
    assert backtest.is_new  # it disturbs nobody
    runs.run_all(first)
    assert runs.start_run("nightly", TODAY).is_new


def test_there_is_one_nightly_run_a_day() -> None:
    night = run(kind="nightly")
    again = runs.start_run("nightly", TODAY)
    assert (again.is_new, again.pk, again.state) == (False, night.pk, "done")
    assert runs.start_run("nightly", TODAY + timedelta(days=1)).is_new


def test_tonight_overtakes_a_night_that_never_ended() -> None:
    crowd(100, 10)
    last = runs.start_run("nightly", TODAY)
    assert runs.work(last.pk, 100, 3)
    tonight = runs.start_run("nightly", TODAY + timedelta(days=1))
    assert tonight.is_new
    last.refresh_from_db()
    assert last.state == "partial"
    assert len(last.summary["failed"]) == 19
    assert runs.work(last.pk, 100, 4) is False
    assert runs.run_all(tonight).summary["classes"] == {HIGH: 10}


def test_one_home_alone() -> None:
    crowd(100, 10)
    crowd(101, 10)
    assert run(homes=[101]).summary["homes"].keys() == {"101"}
    assert counts([100]) == {}
    assert counts([101]) == {HIGH: 10}
    with pytest.raises(sharding.UnknownHomeError):
        runs.start_run("manual", TODAY, homes=[999])


# ---------------------------------------------------------------------------------------------------------------- edges
def test_erased_customers_leave_the_counts_and_the_review_dates() -> None:
    people("wmA", "wmB")
    publish("活跃: interaction_count[7d] >= 1")
    behave("wmA", 0, 1, day="2026-11-19")
    run()
    assert counts() == {"活跃": 1, "其他": 1}
    erasure.run_erasure(erasure.request_erasure("wmA", actor="test").id)
    run(TODAY + timedelta(days=1))
    assert counts() == {"其他": 1}
    assert classes() == {"wmB": "其他"}


def test_a_class_that_nobody_knows_any_more_is_left() -> None:
    crowd(100, 3)
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        cursor.execute("UPDATE customers SET profile = '旧画像' WHERE customer_id %% 2 = 0", [])
    run()
    assert {row["from_profile"] for row in history()} == {"旧画像", None}
    assert set(classes().values()) == {HIGH}


def test_more_than_a_block_and_a_chunk() -> None:
    crowd(100, 20_500, bucket=3, purchases=1)
    done = run(homes=[100])
    assert (done.summary["judged"], done.summary["changed"]) == (20_500, 20_500)
    assert counts() == {LOW: 20_500}
    assert len(history()) == 20_500


def test_who_is_erased_while_a_block_is_read_does_not_end_the_bucket() -> None:
    crowd(100, 5, bucket=3)
    reader = Reader(
        100,
        3,
        TODAY,
        DEFAULT_RULE_SET.needs,
        only_due=False,
        names=DEFAULT_RULE_SET.profiles,
        lifecycle=DEFAULT_RULE_SET.settings.lifecycle,
    )
    picked = reader.pick(0, 2)
    assert picked is not None
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        cursor.execute("DELETE FROM customers WHERE customer_id <= 1000000000013")
    gone = reader.read_picked(picked)
    assert (len(gone), gone.is_last) == (0, False)
    judged = judge(gone, DEFAULT_RULE_SET, TODAY)
    assert (len(judged.after), judged.classes(slice(0, 0)), judged.moved()) == (0, {}, {})
    rest = reader.read(gone.last, 2)
    assert rest is not None
    assert (rest.column["customer_id"].tolist(), rest.is_last) == ([1000000000023, 1000000000033], False)
    end = reader.read(rest.last, 2)
    assert end is not None
    assert (len(end), end.is_last) == (1, True)
    assert reader.read(end.last, 2) is None


def test_reads_and_writes_are_planned_against_one_partition() -> None:
    people("wmA")
    behave("wmA", 1, 1)
    publish('甲: tags has "vip" and follow_count >= 1 and interaction_count[7d] >= 1 and purchase_count > 1')
    connection = connections["dept_100"]
    with CaptureQueriesContext(connection) as captured:
        run(full=True)
    checked = 0
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        for query in captured.captured_queries:
            sql = query["sql"].strip()
            inner = sql[len("COPY (") : sql.rindex(") TO STDOUT")] if sql.startswith("COPY") else sql
            if "customer_id" not in inner or "run_claims" in inner:
                continue
            cursor.execute("EXPLAIN (FORMAT JSON) " + inner.replace("%", "%%"))
            plan = cursor.fetchone()[0]
            tables = set(_relations(json.loads(plan) if isinstance(plan, str) else plan))
            for table in ("customers", "running_totals", "daily_totals", "dirty_customers", "profile_reviews"):
                assert sum(name.startswith(f"{table}_") for name in tables) <= 1, (inner, tables)
            checked += 1
    assert checked >= 6


def _relations(plan: object) -> list[str]:
    if isinstance(plan, dict):
        here = [plan["Relation Name"]] if "Relation Name" in plan else []
        return here + [name for value in plan.values() for name in _relations(value)]
    if isinstance(plan, list):
        return [name for one in plan for name in _relations(one)]
    return []
