"""The summary, trends, flows, RFM, value and cohorts over HTTP: from kept figures, and no home is asked."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from profiles import runs
from profiles.models import DailyFigure, ProfileRun, Segment
from scrm.held import forget_all
from tests.api.clients import Api, fields
from tests.counting import Counted, executed
from tests.customers.people import make
from tests.profiles.nights import TODAY, crowd, publish, run
from tests.profiles.test_figures import HIGH, LOW, score
from tests.servers import PrivatePostgres

# Borrowed from the tests of the API.
from tests.api.conftest import nothing_held, private_cache  # isort: skip

__all__ = ["nothing_held", "private_cache"]

pytestmark = pytest.mark.usefixtures("nothing_held")

PATHS = ("summary", "trends", "flows", "rfm", "value", "cohorts")


def make_two_nights() -> list[int]:
    crowd(100, 12, purchases="n %% 7", interactions=11)
    crowd(101, 6)
    for home in (100, 101):
        score(home, 12)
    first = run(TODAY - timedelta(days=1))
    publish("大客户: purchase_count >= 6", "小客户: purchase_count >= 1", default=LOW)
    return [first.pk, run(TODAY).pk]


@pytest.fixture
def two_nights(nothing_held: None, kept_state: Callable[..., Any]) -> list[ProfileRun]:
    """Twelve customers in 100 and six in 101, as of two days; in the second a new rule moves some."""
    kept = kept_state("two nights", make_two_nights)
    forget_all()
    return [ProfileRun.objects.get(pk=run_id) for run_id in kept]


def test_nobody_asks_a_home(two_nights: list[ProfileRun]) -> None:
    api = Api()
    api.get("/profiles/summary/")  # the key and the organisation are held from now on
    for path in PATHS:
        before = executed()
        assert before["dept_100"] > 0
        with Counted() as counted:
            assert api.get(f"/profiles/{path}/").status_code == 200
        assert executed() == before, path
        assert counted.counts["default"] <= 4, (path, counted.queries["default"])


def test_nobody_asks_a_home_while_a_run_is_going_on(two_nights: list[ProfileRun]) -> None:
    started = runs.start_run("manual", TODAY)
    api = Api()
    api.get("/profiles/summary/")
    before = executed()
    seen = api.get("/profiles/summary/").json()
    assert executed() == before
    assert (seen["last_run"]["id"], seen["last_run"]["state"]) == (started.pk, "running")
    assert seen["last_run"]["progress"]["share"] is None


def test_summary(two_nights: list[ProfileRun]) -> None:
    make("since the run", home=101)
    seen = Api().get("/profiles/summary/").json()
    assert seen["day"] == TODAY.isoformat()
    assert (seen["total"], seen["unclassified"], seen["unavailable"]) == (19, 1, [])
    assert seen["classes"] == {"小客户": 10, "大客户": 7, LOW: 1}
    assert seen["homes"] == [
        {"home": 100, "day": TODAY.isoformat(), "unclassified": 0, "classes": {"小客户": 10, "大客户": 1, LOW: 1}},
        {"home": 101, "day": TODAY.isoformat(), "unclassified": 1, "classes": {"大客户": 6}},
    ]
    for name in ("lifecycle", "loss_warnings", "rfm_segments"):
        kind = {"loss_warnings": "loss", "rfm_segments": "rfm"}.get(name, name)
        assert sum(seen[name].values()) == sum(
            sum(data.values()) if kind != "rfm" else sum(n for n, _ in data["segments"].values())
            for data in DailyFigure.objects.filter(kind=kind, day=TODAY).values_list("data", flat=True)
        )


def test_trends(two_nights: list[ProfileRun]) -> None:
    api = Api()
    yesterday = (TODAY - timedelta(days=1)).isoformat()
    span = f"from={yesterday}&to={TODAY.isoformat()}"
    seen = api.get(f"/profiles/trends/?{span}").json()
    assert seen == {
        "departments": None, "kind": "classes", "from": yesterday, "to": TODAY.isoformat(), "names": {},
        "results": [
            {"day": yesterday, "values": {LOW: 11, HIGH: 7}, "stale": []},
            {"day": TODAY.isoformat(), "values": {"小客户": 10, "大客户": 7, LOW: 1}, "stale": []},
        ],
    }  # fmt: skip
    one = api.get(f"/profiles/trends/?{span}&home=101").json()["results"]
    assert [point["values"] for point in one] == [{HIGH: 6}, {"大客户": 6}]
    # A home without a figure of a day counts with its last one.
    DailyFigure.objects.filter(home=101, day=TODAY).delete()
    assert api.get(f"/profiles/trends/?from={TODAY}&to={TODAY}").json()["results"] == [
        {"day": TODAY.isoformat(), "values": {"小客户": 10, HIGH: 6, "大客户": 1, LOW: 1}, "stale": [101]}
    ]
    for kind in ("lifecycle", "loss", "rfm", "actions"):
        assert len(api.get(f"/profiles/trends/?{span}&kind={kind}").json()["results"]) == 2


def test_trend_of_segments_has_their_names() -> None:
    segment = Segment.objects.create(name="老客户")
    DailyFigure.objects.create(kind="segments", day=TODAY, home=100, run_id=1, data={str(segment.pk): 4, "999": 2})
    seen = Api().get(f"/profiles/trends/?kind=segments&from={TODAY}&to={TODAY}").json()
    assert seen["names"] == {str(segment.pk): "老客户"}
    assert seen["results"] == [{"day": TODAY.isoformat(), "values": {str(segment.pk): 4, "999": 2}, "stale": [101]}]


def test_flows_add_up_days_and_homes(two_nights: list[ProfileRun]) -> None:
    api = Api()
    yesterday = TODAY - timedelta(days=1)
    seen = api.get(f"/profiles/flows/?from={yesterday}&to={TODAY}").json()
    assert seen["days"] == [yesterday.isoformat(), TODAY.isoformat()]
    assert seen["results"] == [
        {"from": None, "to": LOW, "customers": 11},
        {"from": LOW, "to": "小客户", "customers": 10},
        {"from": None, "to": HIGH, "customers": 7},
        {"from": HIGH, "to": "大客户", "customers": 7},
    ]
    assert api.get(f"/profiles/flows/?from={TODAY}&to={TODAY}&home=101").json()["results"] == [
        {"from": HIGH, "to": "大客户", "customers": 6}
    ]


def test_rfm_value_and_cohorts(two_nights: list[ProfileRun]) -> None:
    api = Api()
    rfm = api.get("/profiles/rfm/").json()
    assert (rfm["day"], rfm["stale"], len(rfm["grid"])) == (TODAY.isoformat(), [], 25)
    assert sum(cell["customers"] for cell in rfm["grid"]) == sum(one["customers"] for one in rfm["segments"])
    value = api.get("/profiles/value/").json()
    assert value["customers"] == sum(one["customers"] for one in value["bins"])
    assert [one["from"] for one in value["bins"]] == [0, 10, 50, 100, 200, 500, 1000, 2000, 5000, 10000]
    cohorts = api.get("/profiles/cohorts/").json()
    assert (cohorts["day"], cohorts["stale"]) == (TODAY.isoformat(), [])
    # An earlier day's, and one before any.
    assert api.get(f"/profiles/rfm/?day={TODAY - timedelta(days=1)}").json()["day"] != TODAY.isoformat()
    for path in ("rfm", "value", "cohorts"):
        seen = api.get(f"/profiles/{path}/?day=2020-01-01").json()
        assert (seen["day"], seen["stale"]) == (None, [])


def test_cohorts_and_value_of_known_figures() -> None:
    for home, cells in ((100, [["2026-10", "2026-10", 4], ["2026-10", "2026-11", 1]]), (101, [["2026-11"] * 2 + [3]])):
        DailyFigure.objects.create(kind="cohorts", day=TODAY, home=home, run_id=1, data={"cells": cells})
    assert Api().get("/profiles/cohorts/").json()["results"] == [
        {"month": "2026-10", "customers": 4, "active": [4, 1], "retention": [1.0, 0.25]},
        {"month": "2026-11", "customers": 3, "active": [3], "retention": [1.0]},
    ]


def test_before_the_first_run() -> None:
    api = Api()
    make("somebody", home=100)
    seen = api.get("/profiles/summary/").json()
    assert (seen["day"], seen["total"], seen["unclassified"], seen["last_run"]) == (None, 1, 1, None)
    assert api.get("/profiles/trends/").json()["results"] == []
    assert api.get("/profiles/flows/").json()["results"] == []
    assert sum(cell["customers"] for cell in api.get("/profiles/rfm/").json()["grid"]) == 0
    value = api.get("/profiles/value/").json()
    assert (value["customers"], value["best_fifth_share"], value["mean_alive_percent"]) == (0, None, None)
    assert api.get("/profiles/cohorts/").json()["results"] == []


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("trends/?kind=moves", {"kind": "invalid_choice"}),
        ("trends/?kind=classes&kind=rfm", {"kind": "repeated"}),
        ("trends/?from=2026-11-20&to=2026-11-19", {"from": "after_to"}),
        ("trends/?from=1900-01-01", {"from": "too_long"}),
        ("trends/?from=yesterday", {"from": "not_a_date"}),
        ("trends/?to=0001-01-01&home=1", {"home": "unknown_home"}),
        ("flows/?home=102", {"home": "unknown_home"}),
        ("flows/?home=100000000000000000000", {"home": "out_of_range"}),
        ("flows/?kind=classes", {"kind": "unknown"}),
        ("rfm/?from=2026-11-19", {"from": "unknown"}),
        ("value/?day=20261119", {"day": "not_a_date"}),
        ("cohorts/?home=x", {"home": "out_of_range"}),
    ],
)
def test_parameters_that_cannot_be(query: str, wrong: dict[str, str]) -> None:
    assert fields(Api().get(f"/profiles/{query}")) == wrong


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_days_at_the_ends_of_time(day: str) -> None:
    api = Api()
    for path in (f"trends/?from={day}&to={day}", f"flows/?from={day}&to={day}", f"rfm/?day={day}", f"trends/?to={day}"):
        assert api.get(f"/profiles/{path}").status_code == 200, path


def test_a_home_that_is_down_counts_with_its_last_figures(fragile_department: PrivatePostgres) -> None:
    crowd(100, 3)
    crowd(101, 2)
    yesterday = TODAY - timedelta(days=1)
    run(yesterday)
    fragile_department.stop()
    connections["dept_101"].close()
    runs.run_all(runs.start_run("manual", TODAY))
    api = Api()
    seen = api.get("/profiles/summary/").json()
    assert (seen["total"], seen["classes"], seen["unavailable"]) == (5, {HIGH: 5}, [101])
    assert [(one["home"], one["day"]) for one in seen["homes"]] == [
        (100, TODAY.isoformat()), (101, yesterday.isoformat()),
    ]  # fmt: skip
    assert api.get("/profiles/value/").json()["stale"] == [101]
