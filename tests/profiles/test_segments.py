"""Who is in a segment: computed, at once, and in the night."""

from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine

from profiles import looking
from profiles.models import Segment
from tests.profiles.behaviours import item, people, record
from tests.profiles.nights import run
from tests.profiles.segments import changes, condition, dynamic, members

pytestmark = pytest.mark.usefixtures("clean_databases")
NOW = datetime(2031, 3, 23, 4, 0, tzinfo=UTC)  # noon in Shanghai
TODAY = date(2031, 3, 23)


@pytest.fixture(autouse=True)
def _noon():
    with time_machine.travel(NOW, tick=True):
        yield


def test_a_new_segment_is_computed_and_a_customer_enters_and_leaves_at_once() -> None:
    a, b = people("wmA", "wmB")
    record(item("1", "wmA"))
    buyers = dynamic("买过", [condition("purchase_count", ">=", 1)])
    assert members(buyers) == {a}
    assert changes(buyers) == [(a, True, "definition")]
    record(item("2", "wmB"))
    assert looking.refresh_customers([b]) == 1
    assert members(buyers) == {a, b}
    assert looking.refresh_customers([b]) == 0
    record(item("3", "wmB", kind="refund", refers_to="2"))
    assert looking.refresh_waiting() == 2
    assert looking.refresh_waiting() == 0
    assert members(buyers) == {a}
    assert changes(buyers)[1:] == [(b, True, "live"), (b, False, "live")]


def test_the_night_writes_only_who_enters_or_leaves() -> None:
    a, _b = people("wmA", "wmB")
    recent = dynamic("近七天", [condition("purchase_count", ">=", 1, window_days=7)])
    record(item("1", "wmA", occurred_at="2031-03-20T12:00:00+08:00"), now=NOW)
    done = run(TODAY)
    assert members(recent) == {a}
    assert changes(recent) == [(a, True, f"run:{done.pk}")]
    run(TODAY)
    assert len(changes(recent)) == 1
    with time_machine.travel(NOW + timedelta(days=4), tick=True):
        last = run(TODAY + timedelta(days=4))
    assert members(recent) == set()
    assert changes(recent)[-1] == (a, False, f"run:{last.pk}")
    assert Segment.objects.get(pk=recent.pk).counts == {"100": 0, "101": 0}
