"""Customer groups: read from WeCom at each callback, stored as they are, joining and leaving recorded once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from customers import erasure
from customers.models import Tombstone
from profiles.models import Behaviour
from scrm import sharding
from tests.customers.people import make
from wxwork import groups
from wxwork.errors import RetryError
from wxwork.handlers import find_handler, handled_kinds
from wxwork.inbox import working
from wxwork.inbox.storing import store
from wxwork.messages import parse_message
from wxwork.models import Callback, CustomerGroup, GroupMember
from wxwork.simulator import SimulatorServer

OWNER = "ChenSiYu"


def pushed(simulator: SimulatorServer) -> list[bytes]:
    """Return the callbacks that WeCom has pushed, decrypted, and forget them."""
    found = [push.xml.encode() for push in simulator.pushes.record]
    simulator.pushes.forget()
    return found


def tell(simulator: SimulatorServer, act: str, **given: Any) -> dict[str, Any]:
    """Make something happen and have its callbacks handled."""
    result = simulator.act(act, **given)
    for xml in pushed(simulator):
        store(xml)
    working.work()
    return result


def members(chat_id: str) -> set[str]:
    return set(GroupMember.objects.filter(group_id=chat_id, type=2).values_list("member_id", flat=True))


def recorded() -> list[tuple[str, str]]:
    found = []
    for home in sharding.shard_map().homes:
        for event_id, detail in Behaviour.objects.using(sharding.alias(home)).values_list("event_id", "detail"):
            assert event_id.startswith("wecom:")
            found.append((detail["what"], event_id.split(":")[3]))
    return sorted(found)


@pytest.fixture
def chat(simulator: SimulatorServer) -> str:
    """A group of a member of staff with two customers and a stranger, known to us as it is."""
    for who in ("wm-one", "wm-two", "wm-three"):
        make(who)
    return tell(simulator, "group_create", owner=OWNER, name="福利群", members=["wm-one", "wm-stranger"])["chat_id"]


def test_every_kind_of_the_contract_has_a_handler() -> None:
    kinds = {change_type for event, change_type in handled_kinds() if event == "change_external_chat"}
    assert kinds == {"create", "update", "dismiss"}


def test_a_new_group_is_read_and_stored(simulator: SimulatorServer, chat: str) -> None:
    group = CustomerGroup.objects.get()
    theirs = simulator.state.groups[chat]
    assert (group.chat_id, group.name, group.owner) == (chat, "福利群", theirs.owner)
    assert (group.member_version, group.dismissed_at) == (theirs.version, None)
    assert group.created_at == datetime.fromtimestamp(theirs.create_time, tz=UTC)
    assert members(chat) == {"wm-one", "wm-stranger"}
    assert list(group.members.filter(type=1).values_list("member_id", flat=True)) == [theirs.owner]
    # Who is in the group and no customer did nothing that is recorded.
    assert recorded() == [("joined_group", "wm-one")]
    assert set(Callback.objects.values_list("state", flat=True)) == {"done"}


def test_joining_and_leaving_are_recorded_once(simulator: SimulatorServer, chat: str) -> None:
    tell(simulator, "group_join", chat_id=chat, members=["wm-two"], scene=3)
    tell(simulator, "group_leave", chat_id=chat, members=["wm-one"])
    assert members(chat) == {"wm-two", "wm-stranger"}
    expected = [("joined_group", "wm-one"), ("joined_group", "wm-two"), ("left_group", "wm-one")]
    assert recorded() == expected
    member = GroupMember.objects.get(member_id="wm-two")
    assert member.join_scene == 3
    # The same callbacks once more, in whatever order, change nothing.
    for row in Callback.objects.order_by("-id"):
        store(row.xml.encode())
    working.work()
    assert recorded() == expected
    assert members(chat) == {"wm-two", "wm-stranger"}
    assert set(Callback.objects.values_list("state", "arrivals")) == {("done", 2)}


def test_a_member_who_comes_back_joins_again(simulator: SimulatorServer, chat: str) -> None:
    tell(simulator, "group_leave", chat_id=chat, members=["wm-one"])
    simulator.act("advance_clock", seconds=10)
    tell(simulator, "group_join", chat_id=chat, members=["wm-one"])
    assert recorded() == [("joined_group", "wm-one"), ("joined_group", "wm-one"), ("left_group", "wm-one")]


def test_missed_callbacks_are_made_up_for_by_the_next(simulator: SimulatorServer, chat: str) -> None:
    simulator.act("group_join", chat_id=chat, members=["wm-two", "wm-three"])
    simulator.act("group_leave", chat_id=chat, members=["wm-one"])
    simulator.pushes.forget()
    tell(simulator, "group_rename", chat_id=chat, name="新名字")
    assert CustomerGroup.objects.get().name == "新名字"
    assert members(chat) == {"wm-two", "wm-three", "wm-stranger"}
    assert recorded() == [
        ("joined_group", "wm-one"), ("joined_group", "wm-three"), ("joined_group", "wm-two"),
        ("left_group", "wm-one"),
    ]  # fmt: skip


def test_owner_name_and_notice_are_read_anew(simulator: SimulatorServer, chat: str) -> None:
    other = next(one for one in simulator.state.staff if one != simulator.state.groups[chat].owner)
    tell(simulator, "group_rename", chat_id=chat, name="")
    tell(simulator, "group_notice", chat_id=chat, notice="请文明交流")
    tell(simulator, "group_change_owner", chat_id=chat, owner=other)
    group = CustomerGroup.objects.get()
    assert (group.name, group.notice, group.owner) == ("", "请文明交流", simulator.state.groups[chat].owner)


def test_a_dissolved_group_has_no_members_and_nobody_left_it(simulator: SimulatorServer, chat: str) -> None:
    tell(simulator, "group_dismiss", chat_id=chat)
    group = CustomerGroup.objects.get()
    at = Callback.objects.get(change_type="dismiss").created_at
    assert (group.dismissed_at, group.members.count(), group.member_version) == (at, 0, "")
    assert recorded() == [("joined_group", "wm-one")]
    # An older callback that comes late finds it dissolved too.
    row = Callback.objects.get(change_type="create")
    store(row.xml.encode())
    working.work()
    assert CustomerGroup.objects.get().dismissed_at == at


def test_a_group_that_is_gone_before_it_was_read_leaves_nothing(simulator: SimulatorServer) -> None:
    chat_id = simulator.act("group_create", owner=OWNER)["chat_id"]
    simulator.act("group_dismiss", chat_id=chat_id)
    for xml in pushed(simulator):
        store(xml)
    working.work()
    assert CustomerGroup.objects.count() == 0
    assert set(Callback.objects.values_list("state", flat=True)) == {"done"}


def test_a_dismissal_that_wecom_does_not_know_of_yet_is_tried_again(simulator: SimulatorServer, chat: str) -> None:
    now = timezone.now()
    with pytest.raises(RetryError):
        groups.refresh(chat, at=now, is_dissolved=True)
    assert CustomerGroup.objects.get().dismissed_at is None
    # Whoever replays it a day later believes what WeCom says today.
    groups.refresh(chat, at=now - timedelta(days=1), is_dissolved=True)
    assert CustomerGroup.objects.get().dismissed_at is None
    assert "wm-one" in members(chat)


def test_an_answer_from_before_the_callback_is_not_taken(simulator: SimulatorServer, chat: str) -> None:
    simulator.act("set_behaviour", group_lag_seconds=3600)
    tell(simulator, "group_join", chat_id=chat, members=["wm-two"])
    row = Callback.objects.latest("id")
    assert (row.state, row.attempts) == ("pending", 1)
    assert "WeCom still answers as before" in row.error
    assert "wm-two" not in members(chat)
    simulator.act("advance_clock", seconds=7200)
    _handle(row)
    assert "wm-two" in members(chat)


def _handle(row: Callback) -> None:
    message = parse_message(row.xml.encode())
    handler = find_handler(message)
    assert handler is not None
    handler(message)


def test_nothing_is_stored_while_wecom_does_not_answer(simulator: SimulatorServer, chat: str) -> None:
    simulator.faults("/cgi-bin/externalcontact/groupchat/get", errcode=60011, times=1)
    tell(simulator, "group_rename", chat_id=chat, name="新名字")
    row = Callback.objects.latest("id")
    assert (row.state, row.attempts) == ("pending", 0)
    assert CustomerGroup.objects.get().name == "福利群"
    assert CustomerGroup.objects.get().dismissed_at is None


def test_an_erased_member_is_not_stored_again(simulator: SimulatorServer, chat: str) -> None:
    erasure.run_erasure(erasure.request_erasure("wm-one", actor="admin").id)
    assert Tombstone.objects.count() == 1
    tell(simulator, "group_rename", chat_id=chat, name="新名字")
    assert members(chat) == {"wm-stranger"}
    assert recorded() == []
    make("wm-one")  # by hand, which overrides a tombstone
    tell(simulator, "group_notice", chat_id=chat, notice="x")
    assert members(chat) == {"wm-one", "wm-stranger"}


def test_who_is_erased_while_their_group_is_read_is_not_stored(
    simulator: SimulatorServer, chat: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = groups._record

    def erase_meanwhile(*given: Any, **more: Any) -> None:
        record(*given, **more)
        erasure.run_erasure(erasure.request_erasure("wm-one", actor="admin").id)

    monkeypatch.setattr(groups, "_record", erase_meanwhile)
    tell(simulator, "group_rename", chat_id=chat, name="新名字")
    assert members(chat) == {"wm-stranger"}


def test_only_members_who_changed_are_written(simulator: SimulatorServer, chat: str) -> None:
    def versions() -> set[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT xmin::text FROM customer_group_members WHERE group_id = %s", [chat])
            return {xmin for (xmin,) in cursor.fetchall()}

    before = versions()
    tell(simulator, "group_rename", chat_id=chat, name="新名字")
    assert versions() == before
    tell(simulator, "group_join", chat_id=chat, members=["wm-two"])
    assert len(versions()) == len(before) + 1
