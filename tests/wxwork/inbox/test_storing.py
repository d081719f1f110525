"""What is stored of a callback, and what a repeat does, by the state in which it finds the first."""

import hashlib
import random
import string
from datetime import UTC, datetime

import pytest
from django.db import connection

from tests.counting import Counted
from tests.wxwork.fixtures_at import crypto
from tests.wxwork.inbox.conftest import push
from tests.wxwork.inbox.deeds import deed
from wxwork.inbox import claims
from wxwork.inbox.outcomes import DONE, IGNORED, Outcome, dead
from wxwork.inbox.storing import store
from wxwork.models import Callback, CallbackKey

FIRST = deed("wm1", 1)


def the_row() -> Callback:
    return Callback.objects.get(digest=hashlib.sha256(FIRST).digest())


def test_a_callback_is_stored_with_its_key_in_one_statement() -> None:
    with Counted() as counted:
        stored = store(FIRST)
    assert counted.counts == {"default": 1, "dept_100": 0, "dept_101": 0}
    row = the_row()
    assert (stored.id, stored.is_new, stored.owes_welcome) == (row.id, True, False)
    assert (row.event, row.change_type, row.key, row.external_userid) == ("test_deed", "go", "customer:wm1", "wm1")
    assert row.xml.encode() == FIRST
    assert row.created_at == datetime(2026, 11, 25, tzinfo=UTC)
    assert (row.state, row.attempts, row.arrivals, row.error, row.finished_at) == ("pending", 0, 1, "", None)
    key = CallbackKey.objects.get()
    assert (key.key, key.token, key.due_at) == ("customer:wm1", None, row.due_at)


def test_a_repeat_of_one_that_waits_is_only_counted() -> None:
    store(FIRST)
    before, key = the_row(), CallbackKey.objects.get()
    assert store(FIRST).is_new is False
    after = the_row()
    assert after.arrivals == 2
    assert (after.id, after.state, after.due_at, after.received_at) == (
        before.id,
        "pending",
        before.due_at,
        before.received_at,
    )
    assert CallbackKey.objects.get() == key
    assert CallbackKey.objects.get().due_at == key.due_at


@pytest.mark.parametrize("outcome", [DONE, IGNORED, dead("broken")], ids=lambda one: one.state)
def test_a_repeat_of_one_that_is_over_is_due_again(outcome: Outcome) -> None:
    store(FIRST)
    claim = claims.take()
    assert claim is not None
    assert claims.finish(claim, outcome)
    assert the_row().state == outcome.state
    assert the_row().finished_at is not None
    assert CallbackKey.objects.count() == 0

    stored = store(FIRST)
    row = the_row()
    assert (stored.id, stored.is_new) == (row.id, False)
    assert (row.state, row.attempts, row.arrivals, row.error, row.finished_at) == ("pending", 0, 2, "", None)
    again = claims.take()
    assert again is not None
    assert (again.id, again.attempts, again.arrivals) == (row.id, 1, 2)


def test_a_repeat_of_one_that_waits_for_a_retry_keeps_its_delay_and_attempts() -> None:
    store(FIRST)
    claim = claims.take()
    assert claim is not None
    claims.finish(claim, Outcome("pending", 60, False, "busy"))
    before = the_row()
    store(FIRST)
    row = the_row()
    assert (row.attempts, row.error, row.due_at, row.arrivals) == (1, "busy", before.due_at, 2)
    assert claims.take() is None


def test_the_same_content_is_another_callback_when_a_byte_differs() -> None:
    store(FIRST)
    store(deed("wm1", 1, at=1))
    assert Callback.objects.count() == 2
    assert CallbackKey.objects.count() == 1


@pytest.mark.parametrize(
    ("xml", "error"),
    [
        (crypto("hostile_entity_bomb.xml"), "MessageError: It declares what no message needs (DTDForbidden)."),
        (b"<xml>", "MessageError: It is not XML (ParseError)."),
        (b'{"event": 1}', "MessageError: It is not XML (ParseError)."),
        (b"", "MessageError: It is not XML (ParseError)."),
        (b"a\x00b", "MessageError: It is not XML (ParseError)."),
    ],
    ids=["bomb", "broken", "json", "empty", "nul"],
)
def test_what_cannot_be_read_is_a_dead_letter_and_keeps_nobody_waiting(xml: bytes, error: str) -> None:
    stored = store(xml)
    assert store(xml).id == stored.id
    row = Callback.objects.get()
    assert (row.state, row.event, row.error) == ("dead", "unreadable", error)
    assert row.xml == xml.decode().replace("\0", "\ufffd")
    assert CallbackKey.objects.count() == 0


def test_storing_waits_for_whoever_holds_the_key_and_then_its_callback_is_found() -> None:
    """A worker that finds no more of a key deletes it: a callback stored at that moment must not be lost."""
    store(FIRST)
    claim = claims.take()
    assert claim is not None
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM callback_keys")
    store(deed("wm1", 2))
    assert CallbackKey.objects.get().token is None
    # Its claim went with the row, so what it ends is nobody's.
    assert claims.finish(claim, DONE) is False
    assert Callback.objects.filter(state="pending").count() == 2


def test_an_id_longer_than_an_index_takes_is_a_dead_letter_and_not_lost() -> None:
    who = "".join(random.Random(1).choices(string.ascii_letters, k=9000))
    assert push(deed(who, 1)).status_code == 200
    row = Callback.objects.get()
    assert (row.state, row.error) == ("dead", "MessageError: Its ExternalUserID is too long.")


def test_one_that_is_older_than_what_the_key_waits_with_does_not_wait() -> None:
    store(deed("wm1", 2, at=5))
    claim = claims.take()
    assert claim is not None
    claims.finish(claim, Outcome("pending", 1800, False, "busy"))
    store(deed("wm1", 3, at=6))
    assert claims.take() is None
    waits_until = Callback.objects.get(id=claim.id).due_at
    assert CallbackKey.objects.get().due_at == waits_until
    older = store(deed("wm1", 1, at=3))
    taken = claims.take()
    assert taken is not None
    assert taken.id == older.id
    claims.finish(taken, DONE)
    assert CallbackKey.objects.get().due_at == waits_until
