"""An erased person leaves the inbox, and does not come back by a callback that is late; old callbacks go."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from customers import erasure
from customers.directory import upsert
from customers.models import Erasure, Tombstone
from customers.records import CustomerData, FollowData
from scrm.held import forget_all
from tests.wxwork.inbox.deeds import BASE, deed, done
from wxwork.inbox import claims, working
from wxwork.inbox.forgetting import FORGOTTEN, delete_old, erased_among
from wxwork.inbox.outcomes import DONE, Outcome
from wxwork.inbox.storing import store
from wxwork.models import Callback, CallbackKey, CustomerGroup, GroupMember, WelcomeDelivery, WelcomeMessage

WHO = "wm-erased-0001"


def group_callback(*members: str) -> bytes:
    items = "".join(f"<Item><![CDATA[{one}]]></Item>" for one in members)
    return (
        f"<xml><CreateTime>{BASE}</CreateTime><Event>test_group</Event><ChangeType>update</ChangeType>"
        f"<ChatId>wr1</ChatId><MemChangeList>{items}</MemChangeList></xml>"
    ).encode()


def erase(external_userid: str = WHO) -> Erasure:
    return erasure.run_erasure(erasure.request_erasure(external_userid, actor="admin").id)


@pytest.fixture
def person() -> int:
    return upsert(CustomerData(WHO, fields={"name": "王一"}, home=100))[0]


def test_an_erasure_clears_the_inbox_groups_and_welcomes(person: int) -> None:
    finished = store(deed(WHO, 1)).id
    store(deed(WHO, 2, at=1))
    other = store(deed("wm-other", 3)).id
    working.work()
    store(deed(WHO, 4, at=2))
    named = store(group_callback(WHO, "wm-other")).id
    WelcomeDelivery.objects.create(
        callback_id=finished, external_userid=WHO, userid="u", expires_at=timezone.now(), welcome_code="secret"
    )
    group = CustomerGroup.objects.create(chat_id="wr1")
    for member in (WHO, "wm-other"):
        GroupMember.objects.create(group=group, member_id=member, type=2)

    job = erase()
    assert job.state == "done"
    assert {name: job.places[name]["rows"][name] for name in ("inbox", "groups")} == {"inbox": 5, "groups": 1}
    assert sorted(Callback.objects.values_list("id", flat=True)) == sorted([other, named])
    assert "<![CDATA[]]></Item><Item><![CDATA[wm-other]]>" in Callback.objects.get(id=named).xml
    assert WHO not in "".join(Callback.objects.values_list("xml", flat=True))
    assert WelcomeDelivery.objects.count() == 0
    assert list(GroupMember.objects.values_list("member_id", flat=True)) == ["wm-other"]
    working.work()
    assert 4 not in done()
    assert CallbackKey.objects.count() == 0


def test_what_comes_after_an_erasure_is_handled_and_then_says_nothing_of_anybody(person: int) -> None:
    erase()
    late = store(deed(WHO, 1)).id
    named = store(group_callback(WHO, "wm-other")).id
    unknown = store(deed(WHO, 2, change_type="never_heard_of")).id
    working.work()
    assert done() == [1]
    for row in Callback.objects.filter(id__in=[late, unknown]):
        assert (row.external_userid, row.key, row.xml) == ("", "", FORGOTTEN)
        assert row.state in ("done", "ignored")
    assert WHO not in Callback.objects.get(id=named).xml
    assert "wm-other" in Callback.objects.get(id=named).xml
    # The repeat of what has been forgotten is recognised, handled, and forgotten again.
    assert store(deed(WHO, 1)).id == late
    assert Callback.objects.get(id=late).external_userid == WHO
    working.work()
    assert done() == [1, 1]
    assert Callback.objects.get(id=late).xml == FORGOTTEN


def test_a_callback_that_came_after_the_erasure_was_asked_for_is_not_deleted_with_the_others(person: int) -> None:
    """It may be a new add, and an erasure may wait for a department database for hours."""
    store(deed(WHO, 1))
    job = erasure.request_erasure(WHO, actor="admin")
    Callback.objects.update(received_at=job.requested_at - timedelta(seconds=1))
    add = store(deed(WHO, 2, at=1)).id
    erasure.run_erasure(job.id)
    row = Callback.objects.get()
    assert (row.id, row.state, row.external_userid) == (add, "pending", WHO)
    assert WHO in row.xml
    working.work()
    assert done() == [2]


def test_somebody_who_came_back_is_remembered(person: int) -> None:
    erase()
    Tombstone.objects.update(erased_at=timezone.now() - timedelta(days=1))
    assert erased_among([WHO, "wm-other"]) == {WHO}
    now = timezone.now()
    upsert(CustomerData(WHO, home=100, respect_tombstone=True, followed_at=now, follows=[FollowData("u")]))
    assert erased_among([WHO]) == set()
    row = store(deed(WHO, 1)).id
    working.work()
    assert Callback.objects.get(id=row).external_userid == WHO


def test_a_claim_on_a_callback_that_was_erased_meanwhile_ends_quietly(person: int) -> None:
    store(deed(WHO, 1))
    claim = claims.take()
    assert claim is not None
    erase()
    assert claims.finish(claim, DONE) is True
    assert Callback.objects.count() == 0
    assert CallbackKey.objects.count() == 0


def test_old_callbacks_go_and_dead_letters_stay(settings: Any) -> None:
    now = timezone.now()
    ages = {"done": 15, "ignored": 15, "dead": 100}
    for n, (state, days) in enumerate([*ages.items(), ("done", 13), ("ignored", 13)]):
        number = store(deed(f"wm{n}", n)).id
        Callback.objects.filter(id=number).update(state=state, finished_at=now - timedelta(days=days))
    store(deed("wm9", 9))
    Callback.objects.filter(state="pending").update(received_at=now - timedelta(days=50))
    assert delete_old() == 2
    assert sorted(Callback.objects.values_list("state", flat=True)) == ["dead", "done", "ignored", "pending"]
    settings.WXWORK_CALLBACK_KEEP_DAYS = 1
    Callback.objects.filter(state="done").update(finished_at=now - timedelta(days=2))
    assert delete_old() == 1  # a repeat must be recognised for three days
    assert sorted(Callback.objects.values_list("state", flat=True)) == ["dead", "done", "pending"]


def test_what_is_made_due_again_at_that_moment_is_not_deleted_as_old() -> None:
    store(deed("wm1", 1))
    working.work()
    Callback.objects.update(finished_at=timezone.now() - timedelta(days=30))
    has_begun, may_end = threading.Event(), threading.Event()

    def replay_slowly() -> None:
        with transaction.atomic():
            Callback.objects.update(state="pending", finished_at=None)
            has_begun.set()
            may_end.wait(1)
        connection.close()

    replaying = threading.Thread(target=replay_slowly)
    replaying.start()
    assert has_begun.wait(5)
    assert delete_old() == 0
    may_end.set()
    replaying.join()
    assert Callback.objects.get().state == "pending"


def test_a_welcome_that_is_owed_to_somebody_erased_goes_with_their_late_callback(person: int) -> None:
    WelcomeMessage.objects.create(name="所有人", text="您好")
    forget_all()
    erase()
    late = deed(WHO, 1, change_type="never_heard_of").replace(b"test_deed", b"change_external_contact")
    stored = store(late.replace(b"<N>", b"<UserID>u</UserID><WelcomeCode>secret</WelcomeCode><N>"))
    assert stored.owes_welcome
    working.work()
    assert Callback.objects.get().xml == FORGOTTEN
    assert WelcomeDelivery.objects.count() == 0


def test_no_key_that_waits_goes_on_naming_them(person: int) -> None:
    store(deed(WHO, 1))
    claim = claims.take()
    assert claim is not None
    claims.finish(claim, Outcome("pending", 1800, False, "busy"))
    erase()
    assert CallbackKey.objects.count() == 0
