"""Callbacks about customers: the deletion matrix, replays, reads that are old, who was erased."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from customers.directory import addresses, upsert
from customers.erasure import request_erasure, run_erasure
from customers.models import DirtyCustomer
from customers.records import CustomerData
from profiles.models import Behaviour
from scrm import sharding
from tests.wxwork.corp import a_relation, follow_of, look, ours, tell, tell_of_customer, theirs
from wxwork.errors import ConfigError, DataError
from wxwork.refreshing import NotYetError
from wxwork.simulator import SimulatorServer


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), tz=UTC).isoformat()


def same_moment(text: str | None, seconds: float) -> bool:
    return text is not None and int(datetime.fromisoformat(text).timestamp()) == int(seconds)


def interactions_of(external_userid: str) -> list[str]:
    """Return the event_ids that are stored of a customer, sorted."""
    customer_id = addresses([external_userid])[external_userid]
    rows = Behaviour.objects.using(sharding.alias(sharding.home_of(customer_id))).filter(customer_id=customer_id)
    return sorted(rows.values_list("event_id", flat=True))


def is_dirty(external_userid: str) -> bool:
    customer_id = addresses([external_userid])[external_userid]
    return DirtyCustomer.objects.using(sharding.alias(sharding.home_of(customer_id))).filter(pk=customer_id).exists()


def clear_dirty() -> None:
    for home in sharding.shard_map().homes:
        with sharding.atomic_home(home) as alias:
            DirtyCustomer.objects.using(alias).all().delete()


# ---------------------------------------------------------------------------------------------------- adds and edits
def test_an_add_creates_the_customer_with_all_that_the_read_shows(synced: SimulatorServer) -> None:
    made = synced.act("add_customer", staff="ChenSiYu", state="store-qr", name="周若楠", gender=2)
    who = made["external_userid"]
    tell_of_customer("add_external_contact", "ChenSiYu", who)
    assert ours() == theirs(synced)
    customer = look(who)
    assert customer is not None
    assert (customer["name"], customer["gender"], customer["home"]) == ("周若楠", 2, 100)
    assert interactions_of(who) == [f"wecom:added:ChenSiYu:{who}:{made['createtime']}"]


def test_a_repeat_changes_and_records_nothing(synced: SimulatorServer) -> None:
    made = synced.act("add_customer", staff="ChenSiYu", state="store-qr")
    who = made["external_userid"]
    tell_of_customer("add_external_contact", "ChenSiYu", who)
    before = look(who)
    clear_dirty()
    for _ in range(2):
        tell_of_customer("add_external_contact", "ChenSiYu", who)
        tell_of_customer("edit_external_contact", "ChenSiYu", who)
    assert look(who) == before
    assert len(interactions_of(who)) == 1
    assert not is_dirty(who)


def test_an_edit_of_somebody_unknown_creates_them(synced: SimulatorServer) -> None:
    who = synced.act("add_customer", staff="TanXiaoLi", silent=True)["external_userid"]
    tell_of_customer("edit_external_contact", "TanXiaoLi", who)
    assert ours() == theirs(synced)
    assert len(interactions_of(who)) == 1


def test_an_edit_brings_remark_mobiles_tags_and_personal_tags(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    clear_dirty()
    synced.act(
        "edit_customer", external_userid=who, userid=userid, remark="周女士-金卡", mobiles=["13800138088"],
        description="十月续费", tags=["ettag0101", "ettag0203"], personal_tags=["喜欢白茶"],
    )  # fmt: skip
    tell_of_customer("edit_external_contact", userid, who)
    follow = follow_of(who, userid)
    assert follow is not None
    assert (follow["remark"], follow["description"], follow["mobiles"], follow["tag_ids"], follow["personal_tags"]) == (
        "周女士-金卡", "十月续费", ["13800138088"], ["ettag0101", "ettag0203"],
        [{"group": "个人标签", "name": "喜欢白茶"}],
    )  # fmt: skip
    assert is_dirty(who)


def test_a_remark_alone_is_no_input_of_a_rule(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    clear_dirty()
    version = (look(who) or {})["version"]
    synced.act("edit_customer", external_userid=who, userid=userid, remark="只改备注")
    tell_of_customer("edit_external_contact", userid, who)
    assert (look(who) or {})["version"] == version + 1
    assert not is_dirty(who)


def test_half_an_add_changes_nothing_until_it_is_confirmed(synced: SimulatorServer) -> None:
    who = synced.act("add_customer", staff="ChenSiYu", half=True)["external_userid"]
    tell_of_customer("add_half_external_contact", "ChenSiYu", who)
    assert addresses([who]) == {}
    synced.act("confirm_customer", external_userid=who, userid="ChenSiYu")
    tell_of_customer("add_external_contact", "ChenSiYu", who)
    assert follow_of(who, "ChenSiYu") is not None


@pytest.mark.parametrize("kind", ["transfer_fail", "msg_audit_approved"])
def test_what_only_tells_of_a_customer_is_a_read(synced: SimulatorServer, kind: str) -> None:
    who, userid = a_relation(synced)
    synced.act("customer_changes_name", external_userid=who, name="新昵称")
    tell_of_customer(kind, userid, who, FailReason="customer_refused")
    assert (look(who) or {})["name"] == "新昵称"
    assert ours() == theirs(synced)


# ----------------------------------------------------------------------------------------------- the deletion matrix
def test_staff_deletes_a_customer(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    at = time.time()
    synced.act("delete_customer", external_userid=who, userid=userid)
    tell_of_customer("del_external_contact", userid, who, at=at)
    follow = follow_of(who, userid)
    assert follow is not None
    assert (same_moment(follow["lost_at"], at), follow["lost_by"]) == (True, "staff")
    # Nobody follows them any more: they stay.
    assert look(who) is not None
    assert not [one for one in interactions_of(who) if ":lost:" in one]


def test_inheritance_moves_a_customer(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    taker = next(one.userid for one in synced.state.serving_staff() if who not in one.relations)
    at = time.time()
    synced.act("transfer_customer", external_userid=who, userid=userid, takeover_userid=taker)
    tell_of_customer("del_external_contact", userid, who, at=at, Source="DELETE_BY_TRANSFER")
    tell_of_customer("add_external_contact", taker, who, at=at)
    lost, new = follow_of(who, userid), follow_of(who, taker)
    assert lost is not None
    assert new is not None
    assert (lost["lost_by"], same_moment(lost["lost_at"], at)) == ("transfer", True)
    assert (new["lost_at"], new["lost_by"], new["add_way"]) == (None, "", 202)


def test_a_customer_deletes_staff_and_the_read_still_shows_the_relation(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    at = time.time()
    synced.act("customer_deletes_staff", external_userid=who, userid=userid)
    tell_of_customer("del_follow_user", userid, who, at=at)
    follow = follow_of(who, userid)
    assert follow is not None
    assert (same_moment(follow["lost_at"], at), follow["lost_by"]) == (True, "customer")
    assert f"wecom:lost:{userid}:{who}:{int(at)}" in interactions_of(who)
    assert ours(lost=True)[who] == theirs(synced, lost=True)[who]
    # Edits go on, and do not bring them back.
    synced.act("edit_customer", external_userid=who, userid=userid, remark="已流失")
    tell_of_customer("edit_external_contact", userid, who)
    follow = follow_of(who, userid)
    assert follow is not None
    assert (follow["remark"], follow["lost_by"]) == ("已流失", "customer")


def test_both_delete_each_other(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    at = time.time() - 100
    synced.act("customer_deletes_staff", external_userid=who, userid=userid)
    tell_of_customer("del_follow_user", userid, who, at=at)
    synced.act("delete_customer", external_userid=who, userid=userid)
    tell_of_customer("del_external_contact", userid, who)
    follow = follow_of(who, userid)
    assert follow is not None
    assert (same_moment(follow["lost_at"], at), follow["lost_by"]) == (True, "both")


def test_a_loss_that_two_families_tell_of_is_recorded_once(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    synced.act("customer_deletes_staff", external_userid=who, userid=userid)
    at = time.time()
    tell_of_customer("del_follow_user", userid, who, at=at)
    tell("customer_acquisition", "del_follow_user", at=at + 1, UserID=userid, ExternalUserID=who, LinkId="caw1")
    assert len([one for one in interactions_of(who) if ":lost:" in one]) == 1
    assert same_moment((follow_of(who, userid) or {})["lost_at"], at)


def test_the_first_message_by_a_link(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    at = time.time()
    for _ in range(2):
        tell("customer_acquisition", "customer_start_chat", at=at, UserID=userid, ExternalUserID=who, LinkId="caw1")
    assert [one for one in interactions_of(who) if "acquired" in one] == [f"wecom:acquired:{userid}:{who}:{int(at)}"]


def test_nothing_is_invented(synced: SimulatorServer) -> None:
    who, _ = a_relation(synced)
    before = look(who)
    stranger = next(one.userid for one in synced.state.serving_staff() if who not in one.relations)
    tell_of_customer("del_external_contact", stranger, who, at=time.time() - 60)
    tell_of_customer("del_follow_user", stranger, who, at=time.time() - 60)
    assert (look(who) or {})["follows"] == (before or {})["follows"]
    tell_of_customer("del_external_contact", stranger, "wmNobodyAtAll", at=time.time() - 60)
    tell_of_customer("edit_external_contact", stranger, "wmNobodyAtAll")
    assert addresses(["wmNobodyAtAll"]) == {}


# --------------------------------------------------------------------------------------------------- replays, order
def test_a_replayed_deletion_of_somebody_who_is_back_does_nothing(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    deleted_at = time.time() - 50
    synced.act("delete_customer", external_userid=who, userid=userid)
    tell_of_customer("del_external_contact", userid, who, at=deleted_at)
    synced.act("readd_customer", external_userid=who, userid=userid)
    tell_of_customer("add_external_contact", userid, who)
    for _ in range(2):
        tell_of_customer("del_external_contact", userid, who, at=deleted_at)
    assert (follow_of(who, userid) or {})["lost_at"] is None
    assert ours(lost=True)[who] == theirs(synced, lost=True)[who]


def test_a_loss_from_before_a_newer_add_does_nothing(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    lost_at = time.time() - 50
    synced.act("customer_deletes_staff", external_userid=who, userid=userid)
    tell_of_customer("del_follow_user", userid, who, at=lost_at)
    synced.act("readd_customer", external_userid=who, userid=userid)
    tell_of_customer("add_external_contact", userid, who)
    assert (follow_of(who, userid) or {})["lost_at"] is None
    tell_of_customer("del_follow_user", userid, who, at=lost_at)
    assert (follow_of(who, userid) or {})["lost_at"] is None


def test_leaving_and_coming_back_within_one_second(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    now = int(time.time()) + 1
    synced.corp.clock.set(now)
    synced.act("customer_deletes_staff", external_userid=who, userid=userid)
    synced.act("readd_customer", external_userid=who, userid=userid)
    assert synced.state.staff[userid.lower()].relations[who].createtime == now
    tell_of_customer("del_follow_user", userid, who, at=now)
    tell_of_customer("add_external_contact", userid, who, at=now)
    assert (follow_of(who, userid) or {})["lost_at"] is None
    # Repeats, in whatever order.
    for change in ("del_follow_user", "add_external_contact", "del_follow_user"):
        tell_of_customer(change, userid, who, at=now)
        assert (follow_of(who, userid) or {})["lost_at"] is None


def test_coming_and_leaving_within_one_second(synced: SimulatorServer) -> None:
    now = int(time.time()) + 1
    synced.corp.clock.set(now)
    who = synced.act("add_customer", staff="ChenSiYu")["external_userid"]
    synced.act("customer_deletes_staff", external_userid=who, userid="ChenSiYu")
    tell_of_customer("add_external_contact", "ChenSiYu", who, at=now)
    tell_of_customer("del_follow_user", "ChenSiYu", who, at=now)
    for change in ("add_external_contact", "del_follow_user"):  # repeats that came late
        tell_of_customer(change, "ChenSiYu", who, at=now)
        assert (follow_of(who, "ChenSiYu") or {})["lost_by"] == "customer"


def test_a_deletion_that_the_api_does_not_show_yet_is_asked_for_again(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    with pytest.raises(NotYetError):
        tell_of_customer("del_external_contact", userid, who)
    assert (follow_of(who, userid) or {})["lost_at"] is None
    # Some seconds later the API's word counts.
    tell_of_customer("del_external_contact", userid, who, at=time.time() - 11)
    assert (follow_of(who, userid) or {})["lost_at"] is None


def test_case_means_nothing_in_a_userid(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    synced.act("customer_deletes_staff", external_userid=who, userid=userid)
    tell_of_customer("del_follow_user", userid.upper(), who)
    assert [(one["userid"], one["lost_by"]) for one in (look(who) or {})["follows"]] == [(userid, "customer")]


# -------------------------------------------------------------------------------------------- erased, owned, refused
def test_an_erased_customer_stays_away_until_a_newer_add(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    run_erasure(request_erasure(who, actor="test").id)
    assert addresses([who]) == {}
    tell_of_customer("edit_external_contact", userid, who)
    tell_of_customer("add_external_contact", userid, who)
    assert addresses([who]) == {}
    synced.corp.clock.advance(5)
    synced.act("delete_customer", external_userid=who, userid=userid)
    synced.act("readd_customer", external_userid=who, userid=userid)
    tell_of_customer("add_external_contact", userid, who)
    assert (follow_of(who, userid) or {})["lost_at"] is None


def test_what_is_ours_is_left_alone(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    upsert(CustomerData(who, fields={"mobile": "13900000000", "attributes": {"level": 3}}, tag_ids=("ettag0301",)))
    synced.act("edit_customer", external_userid=who, userid=userid, remark="改了")
    tell_of_customer("edit_external_contact", userid, who)
    customer = look(who)
    assert customer is not None
    assert (customer["mobile"], customer["attributes"], customer["own_tag_ids"]) == (
        "13900000000", {"level": 3}, ["ettag0301"],
    )  # fmt: skip


@pytest.mark.parametrize(("code", "error"), [(48002, ConfigError), (60111, DataError)])
def test_what_wecom_refuses_gets_out(synced: SimulatorServer, code: int, error: type[Exception], settings: Any) -> None:
    who, userid = a_relation(synced)
    before = look(who)
    synced.faults("/cgi-bin/externalcontact/get", errcode=code, times=1)
    with pytest.raises(error):
        tell_of_customer("del_external_contact", userid, who, at=time.time() - 60)
    assert look(who) == before
