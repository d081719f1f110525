"""What other writers do between the read of a page and its writing: erasures, moves, callbacks, deleted tags."""

from collections.abc import Callable
from typing import Any

import pytest

from customers.directory import addresses
from customers.erasure import request_erasure, run_erasure
from customers.models import Tag
from customers.moves import move_customer
from tests.wxwork.corp import a_relation, follow_of, look, ours, tell, tell_of_customer, theirs
from tests.wxwork.sync.conftest import run_sync
from wxwork.client import Client
from wxwork.models import SyncRun
from wxwork.simulator import SimulatorServer
from wxwork.sync import start_sync, work_on

Deed = Callable[[], object]


def reconcile_while(monkeypatch: pytest.MonkeyPatch, deed: Deed) -> SyncRun:
    """Reconcile, and do something between the read of the first page and its writing."""
    done: list[bool] = []
    original = Client.get_customers_of_staff

    def read(self: Client, *args: Any, **kwargs: Any) -> dict[str, Any]:
        answer = original(self, *args, **kwargs)
        if not done:
            done.append(True)
            deed()
        return answer

    monkeypatch.setattr(Client, "get_customers_of_staff", read)
    run = work_on(start_sync("reconcile", "test"))
    assert (run.state, run.error, done) == ("done", "", [True])
    return run


def test_erased_after_the_page_was_read(synced: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    who, _ = a_relation(synced)
    run = reconcile_while(monkeypatch, lambda: run_erasure(request_erasure(who, actor="test").id))
    assert run.drift == {}
    assert addresses([who]) == {}


def test_moved_after_the_page_was_read(synced: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    who, userid = a_relation(synced)
    synced.act("edit_customer", external_userid=who, userid=userid, remark="改了", silent=True)
    home = (look(who) or {})["home"]
    target = 101 if home == 100 else 100
    run = reconcile_while(monkeypatch, lambda: move_customer(who, target, actor="test"))
    assert run.drift == {"remark": 1}
    assert (look(who) or {})["home"] == target
    assert ours() == theirs(synced)


def test_lost_to_the_customer_after_the_page_was_read(synced: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    who, userid = a_relation(synced)

    def leave() -> None:
        synced.act("customer_deletes_staff", external_userid=who, userid=userid)
        tell_of_customer("del_follow_user", userid, who)

    assert reconcile_while(monkeypatch, leave).drift == {}
    assert (follow_of(who, userid) or {})["lost_by"] == "customer"
    assert run_sync("reconcile").drift == {}


def test_deleted_by_staff_after_the_page_was_read(synced: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    who, userid = a_relation(synced)

    def delete() -> None:
        synced.act("delete_customer", external_userid=who, userid=userid)
        tell_of_customer("del_external_contact", userid, who)

    assert reconcile_while(monkeypatch, delete).drift == {}
    assert (follow_of(who, userid) or {})["lost_by"] == "staff"
    assert run_sync("reconcile").drift == {}


def test_a_tag_deleted_after_the_page_was_read(synced: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    who, userid = a_relation(synced)
    synced.act("edit_customer", external_userid=who, userid=userid, tags=["ettag0305"], silent=True)

    def delete() -> None:
        synced.act("tag_delete", tag_id="ettag0305", silent=True)
        tell("change_external_tag", "delete", Id="ettag0305", TagType="tag")

    reconcile_while(monkeypatch, delete)
    assert not Tag.objects.filter(pk="ettag0305").exists()
    # The page may have brought it back to whoever was on it; the next one takes it off again.
    run_sync("reconcile")
    assert ours() == theirs(synced)
    assert run_sync("reconcile").drift == {}


def test_added_after_the_page_was_read(synced: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def add() -> None:
        done = synced.act("add_customer", staff="ChenSiYu")
        made.append(done["external_userid"])
        tell_of_customer("add_external_contact", "ChenSiYu", made[0])

    reconcile_while(monkeypatch, add)
    assert ours() == theirs(synced)
    assert run_sync("reconcile").drift == {}


def test_who_is_back_after_an_erasure_is_read_again_if_wecom_was_busy(
    synced: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, userid = a_relation(synced)
    run_erasure(request_erasure(who, actor="test").id)
    synced.corp.clock.advance(5)
    # On a page after that of the relation which was there before.
    monkeypatch.setattr(synced.corp.paging, "size", lambda limit: 5)
    taker = max(one.userid for one in synced.state.serving_staff() if who not in one.relations)
    assert taker > userid
    synced.act("add_customer", staff=taker, external_userid=who, silent=True)
    synced.faults("/cgi-bin/externalcontact/get", errcode=-1, times=3)
    assert run_sync("reconcile").state == "done"
    assert len(ours()[who][1]) == 2
    assert ours()[who] == theirs(synced)[who]
