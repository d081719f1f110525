"""Figures of departments: who is in scope is counted once in each, and nobody else; kept by the run, read by keys."""

import doctest
import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.utils import timezone

from customers.access import Scope, scope_of
from customers.models import Customer, Department, Follow, Staff
from customers.organisation import Organisation
from profiles import figures
from profiles.figures import departments, keeping, scopes, summing
from profiles.models import CustomerScore, DailyFigure, ProfileHistory, ProfileRun
from scrm import sharding
from scrm.api.keys import create_key, revoke_key
from scrm.held import forget_all
from tests.api.clients import Api, fields, problem
from tests.counting import Counted, executed
from tests.customers.people import follow, make
from tests.databases import url_of
from tests.profiles.nights import TODAY, crowd, publish, run
from tests.profiles.test_figures import write
from tests.profiles.worths import buyers

# Borrowed from the tests of the API.
from tests.api.conftest import nothing_held, private_cache  # isort: skip

__all__ = ["nothing_held", "private_cache"]

pytestmark = pytest.mark.usefixtures("nothing_held")

YESTERDAY = TODAY - timedelta(days=1)
PATHS = ("summary", "trends", "flows", "rfm", "value", "cohorts")
# 100 and 101 are homes. 3 > 100, 31 > 311; 7 > 101; 8 has nobody.
TREE = {3: None, 31: 3, 311: 31, 100: 3, 7: None, 101: 7, 8: None}
STAFF = {"an": (3,), "bo": (31,), "chen": (311, 7), "du": (7,), "en": ()}


@pytest.fixture
def company(nothing_held: None) -> None:
    for number, parent in TREE.items():
        Department.objects.create(id=number, name=f"部门{number}", parent_id=parent)
    for userid, own in STAFF.items():
        Staff.objects.create(userid=userid, name=userid).departments.set(own)
    forget_all()


def kept(scope: str, kind: str = "classes") -> dict[int, Any]:
    """Return {home: data} of today's figures of a scope."""
    return dict(DailyFigure.objects.filter(kind=kind, scope=scope, day=TODAY).values_list("home", "data"))


# ------------------------------------------------------------------------------------------------------------ division
def test_examples() -> None:
    done = doctest.testmod(scopes)
    assert (done.failed, done.attempted > 0) == (0, True)
    company = Organisation(TREE, {}, STAFF, {})
    found = scopes.divide(company, [(7, 3), (3, 311), (500, 311)], [100, 101, 102])
    assert found.names == ["3", "3,7", "7", "8", "31", "100", "101", "311", "311,500"]
    of_part = [{found.names[place] for place in part} for part in found.parts]
    assert {userid: of_part[part] for userid, part in found.staff.items()} == {
        "an": {"3", "3,7"}, "bo": {"3", "31", "3,7"}, "chen": {"3", "31", "311", "311,500", "7", "3,7"},
        "du": {"7", "3,7"},
    }  # fmt: skip
    assert {home: of_part[part] for home, part in found.homes.items()} == {
        100: {"3", "100", "3,7"}, 101: {"7", "101", "3,7"},
    }  # fmt: skip
    # A tree with a loop has an end, and a name that does not fit is a digest.
    looped = Organisation({1: 2, 2: 1, 3: 2}, {}, {}, {})
    assert (looped.topmost([1, 2, 3]), looped.topmost([3])) == ((2,), (3,))
    many = scopes.divide(company, [range(10**9, 10**9 + 40)], [])
    assert [len(name) for name in many.names if name.startswith("sha256:")] == [71]
    with pytest.raises(ValueError, match="does not say"):
        scopes.name_of(Scope(frozenset({3})))


def test_a_company_without_departments_pays_nothing(nothing_held: None) -> None:
    make("wm1", home=100)
    before = executed()
    done = run()
    figures.compute(done)
    assert set(DailyFigure.objects.values_list("scope", flat=True)) == {""}
    assert not DailyFigure.objects.filter(kind="scopes").exists()
    before = executed()
    figures.compute(done)
    plain = executed()["dept_101"] - before["dept_101"]
    Department.objects.create(id=101, name="华南")
    forget_all()
    before = executed()
    figures.compute(done)
    assert executed()["dept_100"] - before["dept_100"] == plain
    assert executed()["dept_101"] - before["dept_101"] > plain


# ------------------------------------------------------------------------------------------------- who is counted where
@pytest.fixture
def people(company: None) -> None:
    """Nine customers, one for each way of being somebody's or nobody's."""
    gone = timezone.now()
    for name, home, follows in (
        ("of 3", 100, [follow("an")]),
        ("of 3 and 31", 101, [follow("an"), follow("bo")]),
        ("of 311 and 7 by one", 100, [follow("chen")]),
        ("of 31 and 7 by two", 100, [follow("bo"), follow("du")]),
        ("unfollowed at 100", 100, []),
        ("left by an, at 101", 101, [follow("an", lost_at=gone)]),
        ("left by an, kept by du", 100, [follow("an", lost_at=gone), follow("du")]),
        ("of staff without departments, at 100", 100, [follow("en")]),
        ("of staff that is unknown, at 101", 101, [follow("nobody")]),
    ):
        make(name, home=home, follows=follows)


@pytest.mark.usefixtures("people")
def test_each_is_counted_in_each_of_their_departments_once() -> None:
    create_key("both", department_ids=[7, 311, 3])
    publish("甲: purchase_count > 0", default="乙")
    done = run()
    totals = {
        scope: {home: data["classes"] for home, data in kept(scope).items()}
        for scope in DailyFigure.objects.exclude(scope="").values_list("scope", flat=True).distinct()
    }
    assert totals == {
        "3": {100: {"乙": 4}, 101: {"乙": 1}},
        "31": {100: {"乙": 2}, 101: {"乙": 1}},
        "311": {100: {"乙": 1}},
        "100": {100: {"乙": 1}},
        "7": {100: {"乙": 3}, 101: {"乙": 1}},
        "101": {101: {"乙": 1}},
        "3,7": {100: {"乙": 5}, 101: {"乙": 2}},
    }
    assert kept("")[100]["classes"] == {"乙": 6}
    assert kept("", "scopes") == {home: ["3", "3,7", "7", "8", "31", "100", "101", "311"] for home in (100, 101)}
    # The list agrees, asked of the department databases themselves.
    for scope, homes in totals.items():
        of_key = scope_of(map(int, scope.split(",")))
        for home in (100, 101):
            condition, params = of_key.sql(home)
            with sharding.cursor(home) as cursor:
                cursor.execute(f"SELECT count(*) FROM customers WHERE {condition}", params)
                assert cursor.fetchone()[0] == homes.get(home, {}).get("乙", 0), (scope, home)
    assert kept("3", "moves") == {100: {str(done.pk): [[None, "乙", 4]]}, 101: {str(done.pk): [[None, "乙", 1]]}}


@pytest.mark.usefixtures("company")
def test_every_figure_of_departments_is_what_plain_python_counts() -> None:
    for home in (100, 101):
        buyers(home, 120, as_of=TODAY)
    chance = random.Random(4)
    for home in (100, 101):
        with sharding.atomic_home(home) as alias:
            Follow.objects.using(alias).bulk_create(
                Follow(customer_id=home * 10**10 + n, bucket=n % 10, userid=userid, lost_at=lost)
                for n in range(1, 121)
                for userid in chance.sample(sorted(STAFF), chance.randrange(4))
                for lost in [chance.choice([None, None, timezone.now()])]
            )
        write(
            home,
            "INSERT INTO segment_members (customer_id, bucket, segment_id, entered_at) "
            "SELECT customer_id, bucket, 7, now() FROM customers WHERE customer_id %% 2 = 0",
        )
    create_key("both", department_ids=[3, 7])
    create_key("gone", department_ids=[31, 101])
    create_key("blind", department_ids=[7, 31], scopes=["customers:read"])
    assert revoke_key("gone")
    done = run()
    names = kept("", "scopes")[100]
    assert names == ["3", "3,7", "7", "8", "31", "100", "101", "311"]
    for name in names:
        scope = scope_of(map(int, name.split(",")))
        latest = keeping.find_latest(
            ["classes", "lifecycle", "loss", "segments", "moves", "rfm", "value", "cohorts", "actions"], scope=name
        )
        for home in (100, 101):
            assert_counted(scope, home, {kind: found.data[home] for kind, found in latest.items()}, done)
            assert {found.days[home] for found in latest.values()} == {TODAY}
    # The night after, by increments: cohorts of the old months are those of a full computation.
    with sharding.atomic_home(100) as alias:
        assert Follow.objects.using(alias).filter(userid="chen", bucket__lt=5).update(lost_at=timezone.now())
    run(TODAY + timedelta(days=1))
    night = {row.scope: row.data for row in cohorts_of(TODAY + timedelta(days=1))}
    run(TODAY + timedelta(days=1), full=True)
    assert {row.scope: row.data for row in cohorts_of(TODAY + timedelta(days=1))} == night
    assert night["311"]["cells"] != kept("311", "cohorts")[100]["cells"]
    # Of the day before nothing is left that only a comparison needs, and that in a cohort of one names its customer.
    assert {"checks" in data for data in kept("311", "cohorts").values()} == {False}
    assert set(night["311"]) == {"since", "cells", "checks"}


def cohorts_of(day: Any) -> Any:
    return DailyFigure.objects.filter(kind="cohorts", home=100, day=day).exclude(scope="")


def assert_counted(scope: Scope, home: int, found: dict[str, Any], done: ProfileRun) -> None:
    alias = sharding.alias(home)
    follows: dict[int, list[dict[str, Any]]] = {}
    for row in Follow.objects.using(alias).values("customer_id", "userid", "lost_at"):
        follows.setdefault(row["customer_id"], []).append(row)
    people = {
        row["customer_id"]: row
        for row in Customer.objects.using(alias).values()
        if scope.admits({"home": home, "follows": follows.get(row["customer_id"], [])})
    }
    scores = {
        row["customer_id"]: row for row in CustomerScore.objects.using(alias).values() if row["customer_id"] in people
    }
    assert found["classes"] == {"classes": dict(Counter(row["profile"] for row in people.values())), "unclassified": 0}
    assert found["lifecycle"] == dict(Counter(row["lifecycle"] for row in people.values()))
    assert found["loss"] == dict(Counter(row["loss_warning"] for row in scores.values() if row["loss_warning"]))
    assert found["segments"] == ({"7": n} if (n := sum(not one % 2 for one in people)) else {})
    moved = ProfileHistory.objects.using(alias).filter(run_id=done.pk, customer_id__in=list(people))
    assert summing.add_moves([found["moves"]]) == [
        (before, after, count)
        for (before, after), count in Counter(moved.values_list("from_profile", "to_profile")).most_common()
    ]
    with sharding.cursor(home) as cursor:
        cursor.execute("SELECT customer_id, action FROM recommendations WHERE state = 'open' AND expires_at > now()")
        assert found["actions"] == dict(Counter(action for one, action in cursor.fetchall() if one in people))
    rfm, value = summing.add_rfm([found["rfm"]]), summing.add_value([found["value"]])
    for (r, f), cell in rfm.grid.items():
        of_cell = [one for one, row in scores.items() if (row["recency_score"], row["frequency_score"]) == (r, f)]
        assert cell.customers == len(of_cell)
        assert cell.monetary == sum(scores[one]["monetary_score"] for one in of_cell)
        assert cell.amount == sum(people[one]["total_amount"] for one in of_cell)
    assert {name: n for name, (n, _) in rfm.segments.items()} == dict(
        Counter(row["rfm_segment"] for row in scores.values() if row["rfm_segment"])
    )
    expected = [row["expected_amount"] for row in scores.values() if row["expected_amount"] is not None]
    assert (value.customers, value.total) == (len(expected), sum(expected, Decimal(0)))
    assert value.purchases == sum((row["expected_purchases"] or 0 for row in scores.values()), Decimal(0))
    months: Counter[tuple[str, str]] = Counter()
    with sharding.cursor(home) as cursor:
        cursor.execute("SELECT customer_id, day FROM daily_totals WHERE purchase_count > 0 AND day < %s", [TODAY])
        bought: dict[int, list[Any]] = {}
        for one, day in cursor.fetchall():
            bought.setdefault(one, []).append(day)
    for one, days in bought.items():
        if one in people:
            months.update({(f"{min(days):%Y-%m}", f"{day:%Y-%m}") for day in days})
    cells = [[cohort, month, count] for (cohort, month), count in sorted(months.items())]
    assert found["cohorts"].get("cells", []) == cells


# --------------------------------------------------------------------------------------------------- what keys are told
@pytest.mark.usefixtures("people")
def test_a_restricted_key_is_told_of_its_departments_and_no_home_is_asked() -> None:
    everybody, both = Api("everybody"), Api("both", departments=[7, 311, 3])
    for api, query in ((both, ""), (everybody, "?department=3")):
        for path in PATHS:
            seen = api.get(f"/profiles/{path}/{query}").json()
            assert (seen["departments"], seen.get("day")) == ([3] if query else [3, 7], None), path
            assert seen.get("results", seen.get("classes", {})) in ([], {}), path
    assert both.get("/profiles/summary/").json()["total"] == 0
    publish("甲: purchase_count > 0", default="乙")
    run(YESTERDAY)
    publish("甲: purchase_count > 0", default="丙")
    run(TODAY)
    make("since the run", home=100, follows=[follow("an")])

    before = executed()
    yesterday, today = YESTERDAY.isoformat(), TODAY.isoformat()
    with Counted() as counted:
        seen = both.get("/profiles/summary/").json()
    assert counted.counts["default"] <= 4, counted.queries["default"]
    assert (seen["departments"], seen["day"], seen["unavailable"]) == ([3, 7], today, [])
    assert (seen["total"], seen["unclassified"], seen["classes"], seen["lifecycle"]) == (7, 0, {"丙": 7}, {"new": 7})
    assert seen["homes"] == [
        {"home": 100, "day": today, "unclassified": 0, "classes": {"丙": 5}},
        {"home": 101, "day": today, "unclassified": 0, "classes": {"丙": 2}},
    ]
    span = f"from={yesterday}&to={today}"
    trend = both.get(f"/profiles/trends/?{span}").json()["results"]
    assert [(point["day"], point["values"]) for point in trend] == [(yesterday, {"乙": 7}), (today, {"丙": 7})]
    assert both.get(f"/profiles/trends/?{span}&home=101&department=31").json()["results"] == [
        {"day": yesterday, "values": {"乙": 1}, "stale": []}, {"day": today, "values": {"丙": 1}, "stale": []},
    ]  # fmt: skip
    flows = both.get(f"/profiles/flows/?{span}").json()
    assert (flows["days"], flows["results"]) == (
        [yesterday, today],
        [{"from": None, "to": "乙", "customers": 7}, {"from": "乙", "to": "丙", "customers": 7}],
    )
    for path in ("rfm", "value", "cohorts"):
        found = both.get(f"/profiles/{path}/").json()
        assert (found["day"], found["stale"], found.get("customers", 0)) == (today, [], 0), path

    # One department: whoever sees everybody may ask for any, a restricted key for one of its own.
    totals = {
        number: everybody.get(f"/profiles/summary/?department={number}").json()["classes"].get("丙", 0)
        for number in TREE
    }
    assert totals == {3: 5, 31: 3, 311: 1, 100: 1, 7: 4, 101: 1, 8: 0}
    empty = everybody.get("/profiles/summary/?department=8").json()
    assert (empty["day"], empty["total"]) == (today, 0)
    assert both.get("/profiles/summary/?department=101").json()["total"] == 1
    assert everybody.get("/profiles/summary/").json()["total"] == 10
    for api, number in ((everybody, 9), (Api("low", departments=[31]), 3), (both, 8)):
        for path in PATHS:
            answer = api.get(f"/profiles/{path}/?department={number}")
            assert fields(answer) == {"department": "unknown_department"}, path

    # A restriction that no run has seen: neither the figures of more, nor a sum of those of less.
    fresh = Api("fresh", departments=[31, 7])
    for path in PATHS:
        seen = fresh.get(f"/profiles/{path}/").json()
        assert (seen["departments"], seen.get("day")) == ([7, 31], None)
    assert (fresh.get("/profiles/summary/").json()["total"], seen["results"]) == (0, [])
    assert executed() == before
    assert problem(Api("other", scopes=["customers:read"], departments=[3]).get("/profiles/rfm/")) == (
        403, "missing_scope",
    )  # fmt: skip
    figures.compute(ProfileRun.objects.latest("pk"))
    assert fresh.get("/profiles/summary/").json()["total"] == 5


@pytest.mark.usefixtures("people")
def test_a_later_run_of_the_day_leaves_nothing_of_a_department_that_all_have_left() -> None:
    first, second = run(), run()
    assert kept("311") == {100: {"classes": {"潜在客户": 1}, "unclassified": 0}}
    chen = Follow.objects.using("dept_100").get(userid="chen").customer_id
    with sharding.atomic(chen) as alias:
        Follow.objects.using(alias).filter(userid="chen").update(lost_at=timezone.now())
    figures.compute(second)
    assert [kept("311"), kept("311", "lifecycle")] == [{}, {}]
    assert keeping.find_latest(["classes"], scope="311")["classes"].data == {
        home: {"classes": {}, "unclassified": 0} for home in (100, 101)
    }
    # An older run does not bring it back, whatever it finds.
    with sharding.atomic(chen) as alias:
        Follow.objects.using(alias).filter(userid="chen").update(lost_at=None)
    before = list(DailyFigure.objects.exclude(kind="moves").order_by("pk").values())
    figures.compute(first)
    assert list(DailyFigure.objects.exclude(kind="moves").order_by("pk").values()) == before
    figures.compute(second)
    assert kept("311") == {100: {"classes": {"潜在客户": 1}, "unclassified": 0}}


HISTORY = """
INSERT INTO profile_history (customer_id, bucket, run_id, as_of, at, from_profile, to_profile, rule_version,
    rule_position, purchase_count, interaction_count, total_amount)
SELECT 1000000000000 + n, n %% 10, 1000 + run, current_date, now(), '甲', '乙', 1, 1, 1, 1, 1
FROM generate_series(1, 40) AS run, generate_series(1, 2000) AS n ORDER BY run
"""


@pytest.mark.usefixtures("company")
def test_moves_of_a_run_are_found_without_reading_the_history_and_no_check_outlives_the_next_figure() -> None:
    long_ago = TODAY - timedelta(days=60)
    crowd(100, 2000, day=long_ago - timedelta(days=9))
    done = run(long_ago)
    write(100, HISTORY)
    with psycopg.connect(url_of("dept_100"), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE profile_history")
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        departments._gather(cursor, 100, scopes.find_division())
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {departments.MOVES}", {"run_id": 1040})
        [plan] = cursor.fetchone()[0]
        scans = [node for node in nodes(plan["Plan"]) if node.get("Relation Name", "").startswith("profile_history_")]
        assert {node["Node Type"] for node in scans} == {"Bitmap Heap Scan"}
        assert sum(node["Actual Rows"] for node in scans) == 2000
        # Of 82,000 rows.
        assert sum(node["Actual Rows"] + node["Rows Removed by Index Recheck"] for node in scans) < 30_000
        cursor.execute(departments.MOVES, {"run_id": 1040})
        assert [row[1:] for row in cursor.fetchall()] == [("甲", "乙", 2000)] * 2
    of_3 = DailyFigure.objects.filter(scope="3", day=long_ago)
    assert of_3.get(kind="moves").data == {str(done.pk): [[None, "高价值客户", 2000]]}
    # However long it takes until then.
    cohorts = DailyFigure.objects.filter(kind="cohorts", data__has_key="checks").order_by("home", "scope")
    of_homes = [(100, ""), (100, "100"), (100, "3"), (101, "")]
    assert list(cohorts.values_list("home", "scope", "day")) == [(*one, long_ago) for one in of_homes]
    run()
    assert list(cohorts.values_list("home", "scope", "day")) == [(*one, TODAY) for one in of_homes]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def test_a_home_that_is_down_and_what_is_thinned_out_are_told_apart_by_department(nothing_held: None) -> None:
    days = [TODAY.replace(year=2025, month=9, day=1) + timedelta(days=n) for n in range(100)]
    rows = [DailyFigure(kind="scopes", day=day, home=100, run_id=n, data=["3", "7"]) for n, day in enumerate(days)]
    for n, day in enumerate(days[:40]):
        for scope in ("3", "7"):
            moves = {str(n): [[None, "乙", int(scope)]]}
            rows += [DailyFigure(kind="moves", scope=scope, day=day, home=100, run_id=n, data=moves)] * (n < 20)
            rows.append(DailyFigure(kind="loss", scope=scope, day=day, home=100, run_id=n, data={"high": int(scope)}))
    rows.append(DailyFigure(kind="scopes", day=days[50], home=101, run_id=50, data=["3"]))
    DailyFigure.objects.bulk_create(rows)
    # September: of 30 days the last stays; moves lie on the 20th.
    assert figures.thin(today=TODAY) == 29 + 2 * (19 + 29)
    found = keeping.find_range("moves", days[0], days[29], [100], scope="7")
    assert [(day.day, len(data)) for day, _home, data in found] == [(20, 20), (30, 0)]
    assert summing.add_moves(data for _day, _home, data in found) == [(None, "乙", 140)]
    assert [data for *_, data in keeping.find_range("loss", days[0], days[29], [100], scope="3")] == [{"high": 3}]
    latest = {scope: keeping.find_latest(["loss"], scope=scope)["loss"] for scope in ("3", "7", "3,7")}
    assert {scope: (found.day, found.data, found.stale) for scope, found in latest.items()} == {
        "3": (days[99], {100: {}, 101: {}}, [101]),
        "7": (days[99], {100: {}}, [101]),
        "3,7": (None, {}, []),
    }
