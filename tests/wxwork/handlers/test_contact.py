"""Callbacks about departments and staff."""

import time

import pytest

from customers.models import Department, Staff
from customers.organisation import organisation
from scrm.held import forget_all
from tests.wxwork.corp import a_relation, follow_of, ours, tell, theirs
from wxwork.errors import RetryError
from wxwork.models import CustomerGroup
from wxwork.simulator import SimulatorServer


def told(change_type: str, **fields: object) -> None:
    tell("change_contact", change_type, at=time.time() - 60, **fields)


def test_somebody_joins_and_the_held_organisation_knows(synced: SimulatorServer) -> None:
    assert organisation().departments_of.get("SunYue") is None
    synced.act("staff_joins", userid="SunYue", name="孙悦", departments=[110, 111], position="客户顾问")
    told("create_user", UserID="SunYue", Department="110,111")
    staff = Staff.objects.get(userid="SunYue")
    assert (staff.name, staff.position, staff.status, staff.main_department) == ("孙悦", "客户顾问", 1, 110)
    assert organisation().departments_of["SunYue"] == (110, 111)


def test_moved_to_another_main_department(synced: SimulatorServer) -> None:
    synced.act("staff_changes", userid="ChenSiYu", departments=[121, 110], name="陈思雨2")
    told("update_user", UserID="ChenSiYu", Department="121,110")
    assert organisation().departments_of["ChenSiYu"] == (121, 110)
    assert organisation().home_of_staff("ChenSiYu", [100, 101]) == 101
    assert Staff.objects.get(userid="ChenSiYu").name == "陈思雨2"


def test_a_callback_that_says_more_than_the_read_is_not_believed(synced: SimulatorServer) -> None:
    told("update_user", UserID="ChenSiYu", Name="别人", Status=5)
    staff = Staff.objects.get(userid="ChenSiYu")
    assert (staff.name, staff.status) == ("陈思雨", 1)


def test_somebody_leaves_and_their_customers_wait(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    synced.act("staff_leaves", userid=userid)
    left_at = synced.corp.clock.seconds()
    told("delete_user", UserID=userid)
    staff = Staff.objects.get(userid=userid)
    assert (staff.status, list(staff.departments.all())) == (5, [])
    follow = follow_of(who, userid)
    assert follow is not None
    assert follow["lost_by"] == "staff_left"
    assert follow["lost_at"] is not None
    told("delete_user", UserID=userid)
    assert follow_of(who, userid) == follow
    assert abs(left_at - time.time()) < 60


def test_a_replayed_leaving_of_somebody_who_is_back_does_nothing(synced: SimulatorServer) -> None:
    told("delete_user", UserID="ChenSiYu")
    assert Staff.objects.get(userid="ChenSiYu").status == 1
    assert organisation().departments_of["ChenSiYu"] == (110,)


def test_a_new_userid_takes_customers_and_groups_along(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    group = CustomerGroup.objects.filter(owner=userid).first()
    synced.act("staff_changes", userid=userid, new_userid="Renamed01")
    for _ in range(2):
        told("update_user", UserID=userid, NewUserID="Renamed01")
    assert ours() == theirs(synced)
    assert follow_of(who, userid) is None
    assert not Staff.objects.filter(userid=userid).exists()
    assert Staff.objects.get(userid="Renamed01").status == 1
    if group is not None:
        group.refresh_from_db()
        assert group.owner == "Renamed01"


def test_departments(synced: SimulatorServer) -> None:
    synced.act("department_create", id=130, name="成都太古里店", parentid=101)
    told("create_party", Id=130, Name="别的名字", ParentId="100")
    made = Department.objects.get(id=130)
    assert (made.name, made.parent_id) == ("成都太古里店", 101)
    synced.act("department_update", id=130, name="成都店", parentid=100)
    told("update_party", Id=130, Name="成都店")
    made.refresh_from_db()
    assert (made.name, made.parent_id) == ("成都店", 100)
    assert organisation().parents[130] == 100
    synced.act("department_delete", id=130)
    told("delete_party", Id=130)
    assert not Department.objects.filter(id=130).exists()
    assert 130 not in organisation().parents


def test_a_replayed_deletion_of_a_department_that_is_there_does_nothing(synced: SimulatorServer) -> None:
    told("delete_party", Id=110)
    assert Department.objects.filter(id=110).exists()


def test_what_is_out_of_sight_is_left_alone(synced: SimulatorServer) -> None:
    synced.act("set_visible_departments", departments=[100])
    told("update_party", Id=120)
    assert Department.objects.filter(id=120).exists()


def test_staff_tags_are_not_kept(synced: SimulatorServer) -> None:
    told("update_tag", TagId=1, AddUserItems="ChenSiYu")


def test_errors_get_out_and_nothing_has_changed(synced: SimulatorServer) -> None:
    synced.faults("/cgi-bin/user/get", errcode=-1, times=3)
    with pytest.raises(RetryError):
        told("delete_user", UserID="ChenSiYu")
    forget_all()
    assert Staff.objects.get(userid="ChenSiYu").status == 1
