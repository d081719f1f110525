"""Who sees whom: one rule, the same in a list, a lookup and a count (customers.access)."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from customers.access import EVERYTHING, Scope, scope_of
from customers.listing import Filters, list_customers
from customers.lookup import read, shown
from customers.models import Department, Staff
from customers.presentation import present
from scrm.held import forget_all
from tests.customers.people import follow, make

LOST = timezone.now()


@pytest.fixture
def company() -> None:
    """100 has 10 below it, and 10 has 11; 101 is beside them."""
    for number, parent in ((1, None), (100, 1), (10, 100), (11, 10), (101, 1)):
        Department.objects.create(id=number, name=f"部门{number}", parent_id=parent)
    for userid, departments in (("head", [100]), ("deep", [11]), ("other", [101]), ("both", [11, 101])):
        Staff.objects.create(userid=userid, name=userid).departments.set(departments)
    forget_all()


# (external_userid, home, follows, seen by 100, seen by 10, seen by 101)
CASES = [
    ("by-head", 101, (follow("head"),), True, False, False),
    ("by-deep", 101, (follow("deep"),), True, True, False),
    ("by-other", 100, (follow("other"),), False, False, True),
    ("by-both", 100, (follow("both"),), True, True, True),
    ("by-two", 100, (follow("deep"), follow("other")), True, True, True),
    ("by-a-stranger", 100, (follow("nobody"),), False, False, False),
    ("by-nobody", 100, (), True, False, False),
    ("by-nobody-there", 101, (), False, False, True),
    ("lost-by-other", 100, (follow("other", lost_at=LOST),), True, False, False),
    ("lost-by-deep-kept-by-other", 100, (follow("deep", lost_at=LOST), follow("other")), False, False, True),
]


def test_list_and_lookup_agree_on_who_is_in_scope(company: None) -> None:
    for external_userid, home, follows, *_ in CASES:
        make(external_userid, home=home, follows=follows)
    for at, department in enumerate((100, 10, 101), start=3):
        expected = {case[0] for case in CASES if case[at]}
        scope = scope_of([department])
        page = list_customers(Filters(), scope=scope, limit=100)
        assert {one.customer["external_userid"] for one in page.items} == expected
        admitted = {case[0] for case in CASES if scope.admits(read(case[0])[0])}  # type: ignore[arg-type]
        assert admitted == expected
        # As a filter of somebody who may see everything it means the same.
        page = list_customers(Filters(department=scope), limit=100)
        assert {one.customer["external_userid"] for one in page.items} == expected


def test_several_departments_see_what_any_of_them_sees(company: None) -> None:
    for external_userid, home, follows, *_ in CASES:
        make(external_userid, home=home, follows=follows)
    page = list_customers(Filters(), scope=scope_of([10, 101]), limit=100)
    assert {one.customer["external_userid"] for one in page.items} == {c[0] for c in CASES if c[4] or c[5]}


def test_follows_of_others_and_their_tags_are_left_out(company: None) -> None:
    make("wm1", follows=(follow("deep", tag_ids=("mine",)), follow("other", tag_ids=("theirs",))), tag_ids=("ours",))
    customer = read("wm1")[0]
    assert customer is not None
    seen = present(shown(customer), scope_of([10]))
    assert [one["userid"] for one in seen["follows"]] == ["deep"]
    assert [tag["id"] for tag in seen["tags"]] == ["mine", "ours"]
    assert {tag["id"] for tag in present(shown(customer), EVERYTHING)["tags"]} == {"mine", "theirs", "ours"}


def test_filtering_by_a_tag_does_not_tell_what_others_have_put_on(company: None) -> None:
    make("wm1", follows=(follow("deep"), follow("other", tag_ids=("theirs",))))
    assert list_customers(Filters(tag="theirs"), scope=scope_of([10])).items == []
    assert len(list_customers(Filters(tag="theirs"), scope=scope_of([101])).items) == 1
    assert len(list_customers(Filters(tag="theirs")).items) == 1


def test_nobody_named_sees_everything_and_a_department_without_anybody_nothing(company: None) -> None:
    make("wm1", home=100)
    assert scope_of(None) == scope_of([]) == EVERYTHING
    assert scope_of([999]) == Scope(frozenset({999}), roots=(999,))
    assert list_customers(Filters(), scope=scope_of([999])).items == []


def test_scope_is_worked_out_once_for_each_organisation_held(company: None) -> None:
    first = scope_of([100])
    with CaptureQueriesContext(connection) as queries:
        assert scope_of([100]) is first
    assert len(queries) == 0
    Staff.objects.create(userid="new", name="新").departments.add(11)
    forget_all()
    assert scope_of([100]).staff == {"head", "deep", "both", "new"}


def test_loop_among_departments_ends() -> None:
    Department.objects.create(id=1, name="甲")
    Department.objects.create(id=2, name="乙", parent_id=1)
    Department.objects.filter(id=1).update(parent_id=2)
    forget_all()
    assert scope_of([1]).departments == {1, 2}
