"""The published estimates, from the shipped import and the shipped run, over two homes. See tests/data/README.md."""

import csv
import gzip
from collections.abc import Callable
from datetime import date
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from customers.directory import upsert_many
from customers.records import CustomerData
from profiles.models import CustomerScore, FactHistory, ProfileRun
from scrm import sharding
from scrm.held import forget_all
from tests.profiles.nights import classes

SAMPLE = Path(__file__).parents[1] / "data" / "cdnow_sample.csv.gz"
CALIBRATED = date(1997, 10, 1)
CUSTOMERS = 2357


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    forget_all()


@pytest.fixture
def cdnow(tmp_path: Path, kept_state: Callable[..., Any]) -> None:
    """The sample, imported: odd customers in one home, even ones in the other."""
    kept_state("cdnow", partial(import_sample, tmp_path))
    forget_all()


def import_sample(folder: Path) -> None:
    with gzip.open(SAMPLE, "rt") as file:
        purchases = list(csv.DictReader(file))
    people = sorted({one["customer"] for one in purchases})
    assert (len(purchases), len(people)) == (6919, CUSTOMERS)
    upsert_many([CustomerData(f"wmCDNOW{one}", home=100 + int(one) % 2) for one in people])
    path = folder / "cdnow.csv"
    with path.open("w") as file:
        file.write("event_id,external_userid,kind,channel,amount,occurred_at\n")
        for number, one in enumerate(purchases):
            file.write(
                f"c{number},wmCDNOW{one['customer']},purchase,ecommerce,{one['amount']},{one['day']}T12:00:00+08:00\n"
            )
    call_command("import_behaviors", str(path), stdout=StringIO(), stderr=StringIO())


@pytest.fixture
def first_run(cdnow: None, kept_state: Callable[..., Any]) -> ProfileRun:
    """The run at the end of the calibration period."""
    run_id = kept_state("cdnow calibrated", lambda: classify("--date", "1997-10-01").pk)
    forget_all()
    return ProfileRun.objects.get(pk=run_id)


def classify(*options: str) -> ProfileRun:
    call_command("classify_profiles", *options, stdout=StringIO(), stderr=StringIO())
    run = ProfileRun.objects.first()
    assert run is not None
    assert run.state == "done", run.summary
    return run


def scores() -> dict[str, dict[str, Any]]:
    found = {}
    for home in (100, 101):
        with sharding.cursor(home) as cursor:
            cursor.execute("SELECT customer_id, external_userid FROM customers")
            names = dict(cursor.fetchall())
        for row in CustomerScore.objects.using(sharding.alias(home)).values():
            found[names[row.pop("customer_id")]] = row
    return found


def test_the_published_estimates_come_out(first_run: ProfileRun) -> None:
    model = first_run.value_model
    assert model is not None
    published = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426, "log_likelihood": -9582.4}
    assert {name: model[name] for name in published} == pytest.approx(published, rel=0.002)
    assert (model["customers"], model["repeat_customers"], model["spenders"]) == (CUSTOMERS, 946, 946)
    spend = {"p": 6.25, "q": 3.74, "gamma": 15.44}
    assert {name: model[name] for name in spend} == pytest.approx(spend, rel=0.002)
    assert [row["actual"] for row in model["calibration"]] == [1411, 439, 214, 100, 62, 38, 29, 64]
    held = model["holdout"]
    assert (held["as_of"], held["days"], held["buckets"]) == ("1997-07-25", 68, 10)
    assert held["expected"] == pytest.approx(held["actual"], rel=0.2)
    # The paper's own example: 2 repeat purchases, the last in week 30.43 of 38.86.
    found = scores()
    assert len(found) == CUSTOMERS
    assert found["wmCDNOW0001"]["alive_percent"] == 73
    assert {row["run_id"] for row in found.values()} == {first_run.pk}
    assert first_run.summary["scored"] == CUSTOMERS


def test_a_repeat_writes_nothing_and_a_backtest_changes_nothing(first_run: ProfileRun) -> None:
    before, there, facts = scores(), classes(), _facts()
    again = classify("--date", "1997-10-01", "--full")
    assert again.value_model == first_run.value_model
    assert again.rfm == first_run.rfm
    assert again.summary["scored"] == 0
    backtest = classify("--date", "1997-10-01", "--backtest")
    assert backtest.value_model == first_run.value_model
    earlier = classify("--date", "1997-07-01")
    assert earlier.value_model is not None
    assert earlier.value_model["log_likelihood"] > -9582
    assert (scores(), classes(), _facts()) == (before, there, facts)
    # Later days know more: their totals are read from the running ones, those above from days.
    later = classify("--date", "1998-07-01")
    assert later.value_model is not None
    assert later.value_model["customers"] == CUSTOMERS
    assert later.summary["scored"] > 2000


def _facts() -> list[Any]:
    return [
        row for home in (100, 101) for row in FactHistory.objects.using(sharding.alias(home)).order_by("pk").values()
    ]
