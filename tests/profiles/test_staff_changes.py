"""Staff change departments: segments and suggestions that go by departments follow, in the background."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connections

from customers.models import Department, DirtyCustomer, Staff
from customers.organisation import organisation
from profiles import staff_changes
from profiles.models import JudgedDepartment, RecommendationRule, StaffChange
from profiles.segments import chores, tasks
from profiles.segments.definitions import change_segment
from scrm import held
from tests.counting import Counted
from tests.customers.gates import Process, gate
from tests.profiles.recommending import only_rule, people, states, stored, suggest
from tests.profiles.segments import changes, condition, dynamic, members
from tests.servers import PrivatePostgres

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
WAIT = timedelta(seconds=staff_changes.WAIT_SECONDS)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as clock:
        held.forget_all()
        yield clock


@pytest.fixture(autouse=True)
def company(clean_databases: None, clock: time_machine.Traveller) -> None:
    """zhang is in 杭州, which is below 华东; li is in 华南."""
    Department.objects.create(id=100, name="华东")
    Department.objects.create(id=110, name="杭州", parent_id=100)
    Department.objects.create(id=101, name="华南")
    for userid, department in (("zhang", 110), ("li", 101)):
        Staff.objects.create(userid=userid, name=userid).departments.add(department)
    RecommendationRule.objects.update(is_active=False)
    held.forget_all()


def test_customers_of_who_moves_leaves_or_is_put_elsewhere_follow(clock: time_machine.Traveller) -> None:
    a, b = people("wmA", "wmB", staff="zhang")
    (c,) = people("wmC", home=101, staff="zhang")
    (d,) = people("wmD", staff="li")
    east = dynamic("华东的客户", [condition("department", "is", "100")])
    only_rule(groups=[[condition("department", "is", "101")]])
    suggest()
    assert (members(east), [one.customer_id for one in stored()]) == ({a, b, c}, [d])
    assert staff_changes.follow_staff_changes() == 0  # from now on it is known who is where
    assert list(JudgedDepartment.objects.order_by("pk").values_list("pk", "staff")) == [(100, ["zhang"]), (101, ["li"])]

    Staff.objects.get(userid="zhang").departments.set([101])
    assert staff_changes.follow_staff_changes() == 0
    (change,) = StaffChange.objects.all()
    assert change.userids == ["zhang"]
    clock.shift(WAIT - timedelta(seconds=1))  # others may still judge by the company as it was
    assert (staff_changes.follow_staff_changes(), members(east)) == (0, {a, b, c})
    clock.shift(timedelta(seconds=1))
    assert staff_changes.follow_staff_changes() == 3
    assert members(east) == set()
    assert [row[1:] for row in changes(east)[3:]] == [(False, "live")] * 3
    assert {one.customer_id for one in stored(state="open")} == {a, b, c, d}
    assert StaffChange.objects.count() == 0
    assert (staff_changes.follow_staff_changes(), suggest()) == (0, 0)

    Department.objects.filter(id=101).update(parent_id=100)
    Staff.objects.get(userid="li").departments.clear()  # as one who has left
    staff_changes.follow_staff_changes()
    assert StaffChange.objects.get().userids == ["li", "zhang"]
    clock.shift(WAIT)
    assert staff_changes.follow_staff_changes() == 4
    assert members(east) == {a, b, c}
    assert (states(d), states(a)) == (["withdrawn"], ["open"])
    assert not DirtyCustomer.objects.using("dept_100").filter(awaits_segments=False).exists()  # nobody is marked for it


def test_where_no_condition_names_a_department_the_company_is_not_read(clock: time_machine.Traveller) -> None:
    people("wmA", staff="zhang")
    segment = dynamic("华东的客户", [condition("department", "is", "100")])
    staff_changes.follow_staff_changes()
    assert JudgedDepartment.objects.count() == 1
    change_segment(segment.pk, {"groups": [[condition("purchase_count", ">=", 1)]]})
    with Counted() as counted:
        assert staff_changes.follow_staff_changes() == 0
    assert JudgedDepartment.objects.count() == 0
    assert not [one for one in counted.queries["default"] if "customers_staff" in one or "customers_department" in one]
    Staff.objects.get(userid="zhang").departments.clear()
    staff_changes.follow_staff_changes()
    assert StaffChange.objects.count() == 0


def test_who_moves_before_the_keeper_first_knows_of_a_condition_is_noticed(clock: time_machine.Traveller) -> None:
    """A definition is computed right after it is saved; the keeper comes up to 15 s later."""
    (a,) = people("wmA", staff="zhang")
    east = dynamic("华东的客户", [condition("department", "is", "100")], computed=False)
    assert chores.recompute_waiting() == 1
    assert members(east) == {a}
    Staff.objects.get(userid="zhang").departments.set([101])
    assert staff_changes.follow_staff_changes() == 0
    clock.shift(WAIT)
    assert (staff_changes.follow_staff_changes(), members(east)) == (1, set())

    # Also where this process still holds the company as it was when no condition named a department.
    change_segment(east.pk, {"groups": [[condition("purchase_count", ">=", 1)]]})
    staff_changes.notice()
    organisation()
    Staff.objects.get(userid="zhang").departments.set([110])
    change_segment(east.pk, {"groups": [[condition("department", "is", "100")]]})
    tasks.recompute_segments(100)
    assert members(east) == {a}


def test_killed_in_the_middle_it_goes_on_and_a_home_that_is_down_is_done_later(
    clock: time_machine.Traveller, fragile_department: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = people(*(f"wm{number}" for number in range(20)), staff="zhang")
    (there,) = people("wmX", home=101, staff="zhang")
    east = dynamic("华东的客户", [condition("department", "is", "100")])
    staff_changes.follow_staff_changes()
    assert members(east) == {*here, there}
    Staff.objects.get(userid="zhang").departments.set([101])
    staff_changes.notice()
    clock.shift(WAIT)
    monkeypatch.setattr(staff_changes, "STEP", 1)
    last = max(one for one in here if one % 10 == 5)
    fragile_department.stop()
    connections["dept_101"].close()
    with gate("dept_100", "segment_members", "DELETE", f"OLD.customer_id = {last}") as shut:
        worker = Process(staff_changes.follow_staff_changes)
        shut.kill(worker)
    first = next(one for one in here if one % 10 == 5 and one != last)
    assert StaffChange.objects.get().progress == {"100": [5, first]}
    left = {one for one in here if one % 10 > 5} | {last}
    assert staff_changes.follow_staff_changes() == len(left)
    assert StaffChange.objects.get().progress == {"100": [10, 0]}
    fragile_department.start()
    time.sleep(1.1)  # it is not asked again within a second
    connections["dept_101"].close()
    assert staff_changes.follow_staff_changes() == 1
    assert members(east) == set()
    assert StaffChange.objects.count() == 0
