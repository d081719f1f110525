"""What WeCom refuses or hides in the middle of a sync: nothing is lost by it, and the rest goes on."""

from typing import Any

import pytest
from django.db import connections

from customers.models import Staff
from tests.servers import PrivatePostgres
from tests.wxwork.corp import a_relation, ours, theirs
from tests.wxwork.sync.conftest import run_sync
from wxwork.models import CustomerGroup, SyncBatch, SyncRun
from wxwork.simulator import SimulatorServer
from wxwork.sync import start_sync, work_on
from wxwork.sync.drift import COUNTS, DRIFT

LIST = "/cgi-bin/externalcontact/list"
FOLLOW_USERS = "/cgi-bin/externalcontact/get_follow_user_list"


def reconcile() -> SyncRun:
    run = run_sync("reconcile")
    assert (run.state, run.error) == ("done", "")
    return run


# -------------------------------------------------------------------------------------------------------------- staff
def test_staff_out_of_sight_have_not_left(synced: SimulatorServer) -> None:
    """WeCom answers 60111 of them, as of those who have left."""
    before = ours()
    placed = sorted(Staff.departments.through.objects.values_list("staff_id", "department_id"))
    synced.act("set_visible_departments", departments=[100])
    assert reconcile().drift == {}
    assert not Staff.objects.filter(status=Staff.Status.LEFT).exists()
    assert sorted(Staff.departments.through.objects.values_list("staff_id", "department_id")) == placed
    assert ours() == before
    synced.act("set_visible_departments", departments=None)
    assert reconcile().drift == {}


def test_who_leaves_while_others_are_out_of_sight_has_left(synced: SimulatorServer) -> None:
    synced.act("set_visible_departments", departments=[100])
    visible = next(one for one in synced.state.serving_staff() if one.relations)
    synced.act("staff_leaves", userid=visible.userid, silent=True)
    assert reconcile().drift["staff_left"] == 1
    assert [one.pk for one in Staff.objects.filter(status=Staff.Status.LEFT)] == [visible.userid]


@pytest.mark.parametrize("code", [60011, 50002])
def test_a_member_whom_we_may_not_see_is_left_as_they_are(synced: SimulatorServer, code: int) -> None:
    synced.act("set_visible_departments", departments=[100])
    synced.faults("/cgi-bin/user/get", errcode=code, times=None)
    assert reconcile().drift == {}
    assert not Staff.objects.filter(status=Staff.Status.LEFT).exists()


# --------------------------------------------------------------------------------------------------- customers' pages
def refuse(simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch, *userids: str) -> None:
    """Have WeCom go on listing members as serving customers, and answer 84074 whenever one of them is named."""
    listed = simulator.state.serving_staff()
    for userid in userids:
        simulator.state.staff[userid.lower()].has_customer_contact = False
    monkeypatch.setattr(simulator.state, "serving_staff", lambda: listed)


def test_a_member_who_is_listed_and_refused_hides_nobody_else(
    synced: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ours()
    _, refused = a_relation(synced)
    who, userid = next(one for among in range(20) if (one := a_relation(synced, among=among))[1] != refused)
    refuse(synced, monkeypatch, refused)
    synced.act("edit_customer", external_userid=who, userid=userid, remark="改了", silent=True)
    run = reconcile()
    assert run.drift == {"remark": 1}
    assert run.counts["members_refused"] == 1
    before[who][1][userid]["remark"] = "改了"
    assert ours() == before
    assert reconcile().drift == {}


def test_a_first_sync_with_refused_members_takes_everybody_elses(
    simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = {a_relation(simulator, among=among)[1] for among in range(3)}
    refuse(simulator, monkeypatch, *refused)
    run = run_sync()
    assert (run.state, run.counts["members_refused"]) == ("done", len(refused))
    found = {who: set(follows) - refused for who, (_, follows) in theirs(simulator).items()}
    assert {who: set(follows) for who, (_, follows) in ours().items()} == {who: f for who, f in found.items() if f}
    assert SyncBatch.objects.filter(run=run, is_done=False).count() == 0


def test_a_range_that_shrinks_before_losses_are_looked_for_loses_nobody(synced: SimulatorServer) -> None:
    """Their list is empty then, and no read shows them: just as if they had deleted all their customers."""
    who, userid = a_relation(synced)
    synced.act("delete_customer", external_userid=who, userid=userid, silent=True)
    before = ours()

    def shrink(run: SyncRun) -> None:
        synced.act("staff_changes", userid=userid, has_customer_contact=False, silent=True)

    synced.faults(LIST, errcode=84061, times=None)
    reads: list[str] = []
    original = synced.state.readable_relations

    def readable(customer: Any) -> Any:
        if not reads:
            reads.append(userid)
            shrink(SyncRun())
        return original(customer)

    synced.state.readable_relations = readable  # type: ignore[method-assign]
    assert reconcile().drift == {}
    assert reads
    assert ours() == before


def test_groups_of_owners_out_of_sight_stay(synced: SimulatorServer) -> None:
    before = list(CustomerGroup.objects.order_by("chat_id").values_list("chat_id", "name", "dismissed_at"))
    owner = synced.state.find_staff(next(iter(synced.state.groups.values())).owner)
    assert owner is not None
    others = [one.id for one in synced.state.departments.values() if one.id not in owner.departments and one.id > 105]
    synced.act("set_visible_departments", departments=others[:1])
    assert reconcile().drift == {}
    assert list(CustomerGroup.objects.order_by("chat_id").values_list("chat_id", "name", "dismissed_at")) == before


# ------------------------------------------------------------------------------------------------------ what is counted
def test_what_a_page_had_written_before_a_home_went_down_is_counted(
    fragile_department: PrivatePostgres, simulator: SimulatorServer
) -> None:
    run_sync()
    for who in list(simulator.state.customers):
        simulator.act("customer_changes_name", external_userid=who, name="新昵称", silent=True)
    number = len(ours())
    run = start_sync("reconcile", "test")
    stopped: list[bool] = []

    def stop(run: SyncRun) -> None:
        if "members" in run.steps_done and not stopped:
            stopped.append(True)
            fragile_department.stop()
            connections["dept_101"].close()

    run = work_on(run, stop, seconds=60)
    assert run.state == "running"
    assert "101" in run.error
    fragile_department.start()
    while run.state == "running":
        run = work_on(run, seconds=60)
    assert (run.state, run.drift) == ("done", {"customer_fields": number})


def test_a_full_sync_says_what_it_made_and_not_what_was_missed(simulator: SimulatorServer) -> None:
    run = run_sync()
    assert run.counts["customers_created"] == len(theirs(simulator))
    assert "customer_added" not in run.counts
    assert run.counts["library_tags"] == len(simulator.state.tags)
    assert "tags" not in run.counts
    assert not [name for name in run.counts if name in DRIFT and "漏收" in COUNTS[name]]
    assert set(run.counts) <= set(COUNTS)
