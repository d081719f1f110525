"""Drift of every kind that the API can show, planted by acts that no callback tells of: found, counted, repaired."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from customers.directory import addresses
from customers.erasure import request_erasure, run_erasure
from customers.models import Department, DirtyCustomer, Staff, Tag, TagGroup
from scrm import sharding
from tests.wxwork.corp import a_relation, follow_of, look, ours, tell_of_customer, theirs
from tests.wxwork.handlers.test_external_contact import clear_dirty, interactions_of, is_dirty
from tests.wxwork.sync.conftest import run_sync
from wxwork.models import CustomerGroup, SyncRun
from wxwork.simulator import SimulatorServer
from wxwork.sync import DRIFT, NOT_SHOWN, start_sync, work_on

Plant = Callable[[SimulatorServer], None]


def reconcile() -> SyncRun:
    run = run_sync("reconcile")
    assert (run.state, run.error) == ("done", "")
    return run


def planted(act: str, **given: Any) -> Plant:
    return lambda simulator: simulator.act(act, **given, silent=True) and None


def _of_a_relation(act: str, **given: Any) -> Plant:
    def plant(simulator: SimulatorServer) -> None:
        who, userid = a_relation(simulator)
        simulator.act(act, external_userid=who, userid=userid, **given, silent=True)

    return plant


def _second_follower(simulator: SimulatorServer) -> None:
    who, _ = a_relation(simulator)
    taker = next(one.userid for one in simulator.state.serving_staff() if who not in one.relations)
    simulator.act("add_customer", staff=taker, external_userid=who, silent=True)


def _transfer(simulator: SimulatorServer) -> None:
    who, userid = a_relation(simulator)
    taker = next(one.userid for one in simulator.state.serving_staff() if who not in one.relations)
    simulator.act("transfer_customer", external_userid=who, userid=userid, takeover_userid=taker, silent=True)


def _readd(simulator: SimulatorServer) -> None:
    who, userid = a_relation(simulator)
    simulator.act("customer_deletes_staff", external_userid=who, userid=userid)
    tell_of_customer("del_follow_user", userid, who, at=simulator.corp.clock.seconds() - 5)
    simulator.act("readd_customer", external_userid=who, userid=userid, silent=True)


def _name(simulator: SimulatorServer) -> None:
    simulator.act("customer_changes_name", external_userid=a_relation(simulator)[0], name="新昵称", silent=True)


def _rename(simulator: SimulatorServer) -> None:
    _, userid = a_relation(simulator)
    simulator.act("staff_changes", userid=userid, new_userid="Renamed01", silent=True)


def _leaves(simulator: SimulatorServer) -> None:
    simulator.act("staff_leaves", userid=a_relation(simulator)[1], silent=True)


def _customers_of_one(simulator: SimulatorServer) -> int:
    return sum(one.is_readable for one in simulator.state.staff[a_relation(simulator)[1].lower()].relations.values())


def _group(simulator: SimulatorServer) -> None:
    chat_id = next(iter(simulator.state.groups))
    simulator.act("group_rename", chat_id=chat_id, name="新群名", silent=True)


KINDS: list[tuple[str, Plant, dict[str, int]]] = [
    ("a new customer", planted("add_customer", staff="ChenSiYu"), {"customer_added": 1, "follow_added": 1}),
    ("a second follower", _second_follower, {"follow_added": 1}),
    ("back after leaving", _readd, {"follow_readded": 1, "source": 1}),
    ("deleted by staff", _of_a_relation("delete_customer"), {"follow_lost": 1}),
    ("handed over", _transfer, {"follow_lost": 1, "follow_added": 1}),
    ("a remark", _of_a_relation("edit_customer", remark="老客户"), {"remark": 1}),
    ("a description", _of_a_relation("edit_customer", description="爱喝茶"), {"description": 1}),
    ("mobiles", _of_a_relation("edit_customer", mobiles=["13800138000"]), {"mobiles": 1}),
    ("tags", _of_a_relation("edit_customer", tags=["ettag0101", "ettag0305"]), {"tags": 1}),
    ("a name", _name, {"customer_fields": 1}),
    (
        "a tag group",
        planted("tag_group_create", name="意向", tags=["高", "低"]),
        {"tag_group_added": 1, "tag_added": 2},
    ),
    ("a renamed tag", planted("tag_rename", tag_id="ettag0102", name="白银"), {"tag_changed": 1}),
    ("a renamed group", planted("tag_group_rename", group_id="etgroup01", name="等级"), {"tag_group_changed": 1}),
    ("a deleted tag", planted("tag_delete", tag_id="ettag0103"), {"tag_deleted": 1}),
    ("a deleted group", planted("tag_group_delete", group_id="etgroup01"), {"tag_deleted": 3, "tag_group_deleted": 1}),
    ("a new member", planted("staff_joins", userid="SunYue", name="孙悦", departments=[110]), {"staff_added": 1}),
    ("a moved member", planted("staff_changes", userid="ChenSiYu", departments=[121]), {"staff_changed": 1}),
    ("a department", planted("department_create", id=130, name="成都", parentid=101), {"department_added": 1}),
    ("a renamed one", planted("department_update", id=113, name="线上", parentid=101), {"department_changed": 1}),
    ("a group", _group, {"group_changed": 1}),
]


@pytest.mark.parametrize(("plant", "drift"), [one[1:] for one in KINDS], ids=[one[0] for one in KINDS])
def test_drift_is_found_counted_and_repaired_at_once(
    synced: SimulatorServer, plant: Plant, drift: dict[str, int]
) -> None:
    plant(synced)
    run = reconcile()
    assert run.drift == drift
    assert set(run.drift) <= set(DRIFT)
    assert ours() == theirs(synced)
    assert reconcile().drift == {}


def test_a_deleted_department(synced: SimulatorServer) -> None:
    synced.act("department_create", id=130, name="成都", parentid=101, silent=True)
    reconcile()
    synced.act("department_delete", id=130, silent=True)
    assert reconcile().drift == {"department_removed": 1}
    assert not Department.objects.filter(id=130).exists()
    assert reconcile().drift == {}


def test_staff_who_left_stay_and_their_customers_wait(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    waiting = _customers_of_one(synced)
    live = sum(one.status == "full" for one in synced.state.staff[userid.lower()].relations.values())
    _leaves(synced)
    run = reconcile()
    group = {"group_changed": run.drift["group_changed"]} if "group_changed" in run.drift else {}
    # Those whom the customers had left, unheard, are waiting for somebody new too.
    assert run.drift == {"staff_left": 1, "follow_staff_left": waiting, **group}
    assert live <= waiting
    assert (Staff.objects.get(userid=userid).status, (follow_of(who, userid) or {})["lost_by"]) == (5, "staff_left")
    assert reconcile().drift == {}


def test_a_new_userid_that_nobody_told_of(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    number, before = _customers_of_one(synced), interactions_of(who)
    _rename(synced)
    run = reconcile()
    assert {name: run.drift[name] for name in run.drift if name != "group_changed"} == {
        "staff_added": 1, "staff_left": 1, "follow_renamed": number,
    }  # fmt: skip
    assert ours() == theirs(synced)
    assert follow_of(who, userid) is None
    # It is the same relation: nobody was added.
    assert interactions_of(who) == before
    assert reconcile().drift == {}


def test_much_at_once_is_counted_kind_by_kind(synced: SimulatorServer) -> None:
    done = synced.act("bulk", n=60, seed=5, kinds=["add", "edit", "delete"], silent=True)
    run = reconcile()
    assert ours() == theirs(synced)
    gone = Counter(one[1] for one in done["done"] if one[0] == "delete")
    added = {one[1] for one in done["done"] if one[0] == "add"}
    # Who was added and deleted since the last look was never there for us.
    assert run.drift["customer_added"] == len(added - set(gone))
    assert run.drift["follow_lost"] > 1
    assert run.drift["follow_lost"] == sum(number for who, number in gone.items() if who not in added)
    assert reconcile().drift == {}


def test_only_who_has_changed_is_written_and_marked(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    other, _ = a_relation(synced, among=1)
    clear_dirty()
    before = {one: (look(one) or {})["version"] for one in (who, other)}
    synced.act("edit_customer", external_userid=who, userid=userid, tags=["ettag0305"], silent=True)
    reconcile()
    assert (look(who) or {})["version"] == before[who] + 1
    assert (look(other) or {})["version"] == before[other]
    assert is_dirty(who)
    marks = [DirtyCustomer.objects.using(sharding.alias(home)).count() for home in sharding.shard_map().homes]
    assert sum(marks) == 1


# --------------------------------------------------------------------------------------------- what no read may change
def test_who_has_removed_staff_stays_lost_through_any_number_of_syncs(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    synced.act("customer_deletes_staff", external_userid=who, userid=userid)
    tell_of_customer("del_follow_user", userid, who)
    lost = follow_of(who, userid)
    for kind in ("reconcile", "full", "reconcile", "full"):
        run = run_sync(kind)
        assert (run.state, run.drift) == ("done", {})
        assert follow_of(who, userid) == lost
    synced.act("delete_customer", external_userid=who, userid=userid, silent=True)
    assert reconcile().drift == {"follow_lost": 1}
    assert (follow_of(who, userid) or {})["lost_by"] == "both"
    assert reconcile().drift == {}


def test_a_loss_that_no_read_shows_is_named_not_counted(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    synced.act("customer_deletes_staff", external_userid=who, userid=userid, silent=True)
    synced.act("edit_customer", external_userid=who, userid=userid, personal_tags=["新的"], silent=True)
    assert reconcile().drift == {}
    assert {"missed_del_follow_user", "personal_tags"} <= set(NOT_SHOWN)


def test_personal_tags_stay(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    synced.act("edit_customer", external_userid=who, userid=userid, personal_tags=["喜欢白茶"])
    tell_of_customer("edit_external_contact", userid, who)
    synced.act("edit_customer", external_userid=who, userid=userid, remark="改了", silent=True)
    assert reconcile().drift == {"remark": 1}
    assert (follow_of(who, userid) or {})["personal_tags"] == [{"group": "个人标签", "name": "喜欢白茶"}]


def test_an_erased_customer_is_not_there_the_next_morning(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    run_erasure(request_erasure(who, actor="test").id)
    for _ in range(2):
        run = reconcile()
        assert (run.drift, run.counts["customers_erased"]) == ({}, 1)
        assert addresses([who]) == {}
    synced.corp.clock.advance(5)
    synced.act("delete_customer", external_userid=who, userid=userid, silent=True)
    synced.act("readd_customer", external_userid=who, userid=userid, silent=True)
    assert reconcile().drift == {"customer_added": 1, "follow_added": 1}
    assert (follow_of(who, userid) or {})["lost_at"] is None


def test_who_comes_back_after_an_erasure_comes_with_all_who_follow_them(synced: SimulatorServer) -> None:
    who, _ = a_relation(synced)
    run_erasure(request_erasure(who, actor="test").id)
    synced.corp.clock.advance(5)
    _second_follower(synced)
    reconcile()
    assert ours()[who] == theirs(synced)[who]
    assert len(ours()[who][1]) == 2
    assert reconcile().drift == {}


def test_a_smaller_range_loses_nobody(synced: SimulatorServer) -> None:
    before = ours()
    synced.act("set_visible_departments", departments=[100])
    run = run_sync("reconcile")
    assert run.state == "done"
    assert not {name for name in run.drift if name.startswith(("follow", "customer", "department", "tag"))}
    assert ours() == before
    assert Department.objects.filter(id=120).exists()


def test_a_member_without_customer_contact_loses_nobody(synced: SimulatorServer) -> None:
    before = ours()
    synced.act("staff_changes", userid=a_relation(synced)[1], has_customer_contact=False)
    assert reconcile().drift == {}
    assert ours() == before


def test_a_list_that_fails_loses_nobody(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    synced.act("delete_customer", external_userid=who, userid=userid, silent=True)
    before = ours()
    synced.faults("/cgi-bin/externalcontact/list", errcode=84074, times=None)
    assert reconcile().drift == {}
    assert ours() == before
    synced.corp.faults.clear()
    assert reconcile().drift == {"follow_lost": 1}


def test_a_newer_read_is_not_written_over(synced: SimulatorServer) -> None:
    """A page that was asked for before a callback's read, and is written after it."""
    who, userid = a_relation(synced)
    taken: list[Any] = []

    def meanwhile(run: SyncRun) -> None:
        if "members" in run.steps_done and not taken:
            taken.append(True)
            synced.act("edit_customer", external_userid=who, userid=userid, remark="新")
            tell_of_customer("edit_external_contact", userid, who)

    assert work_on(start_sync("reconcile", "test"), meanwhile).state == "done"
    assert (follow_of(who, userid) or {})["remark"] == "新"


def test_what_was_here_by_hand_is_left_alone(synced: SimulatorServer) -> None:
    Staff.objects.create(userid="by-hand", name="手工")
    Department.objects.create(id=999, name="手工")
    Tag.objects.create(id="own-1", name="手工", group_id=_own_group())
    assert reconcile().drift == {}
    assert Staff.objects.get(userid="by-hand").status == 1
    assert Department.objects.filter(id=999).exists()
    assert Tag.objects.filter(id="own-1").exists()


def _own_group() -> str:
    return TagGroup.objects.create(id="own-group", name="手工").pk


def test_groups_are_read_too(synced: SimulatorServer) -> None:
    chat_id = next(iter(synced.state.groups))
    synced.act("group_dismiss", chat_id=chat_id, silent=True)
    assert reconcile().drift == {"group_changed": 1}
    assert CustomerGroup.objects.get(chat_id=chat_id).dismissed_at is not None
    assert reconcile().drift == {}
