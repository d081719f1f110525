"""One worker a key, the oldest first, nobody overtakes, and a claim that has been lost ends nothing."""

import json
import threading
import time
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from tests.wxwork.inbox.deeds import deed
from wxwork.inbox import claims
from wxwork.inbox.claims import Claim
from wxwork.inbox.outcomes import DONE, Outcome, dead
from wxwork.inbox.storing import store
from wxwork.models import Callback, CallbackKey

RETRY = Outcome("pending", 60.0, False, "busy")


def take() -> Claim:
    claim = claims.take()
    assert claim is not None
    return claim


def number(claim: Claim | None) -> int | None:
    return int(claim.xml.partition("<N>")[2].partition("<")[0]) if claim else None


def let_time_pass() -> None:
    """Make everything due that waits, and every claim as old as that of a dead worker."""
    past = timezone.now() - timedelta(seconds=1)
    CallbackKey.objects.update(due_at=past)
    Callback.objects.filter(state="pending").update(due_at=past)


def test_the_oldest_of_a_key_comes_first_by_wecoms_time_and_then_by_ours() -> None:
    for n, at in [(1, 5), (2, 3), (3, 3), (4, 1)]:
        store(deed("wm1", n, at=at))
    order = []
    while (claim := claims.take()) is not None:
        order.append(number(claim))
        claims.finish(claim, DONE)
    assert order == [4, 2, 3, 1]
    assert CallbackKey.objects.count() == 0


def test_one_worker_a_key_and_others_for_other_keys() -> None:
    store(deed("wm1", 1))
    store(deed("wm1", 2, at=1))
    store(deed("wm2", 3, at=2))
    first, second = take(), take()
    assert (number(first), number(second), claims.take()) == (1, 3, None)
    # Also one that is older than what is being worked on waits for it.
    store(deed("wm1", 4, at=-5))
    assert claims.take() is None
    claims.finish(first, DONE)
    assert number(claims.take()) == 4


def test_a_key_waits_with_its_oldest_callback_for_a_retry() -> None:
    store(deed("wm1", 1))
    store(deed("wm1", 2, at=1))
    store(deed("wm2", 3))
    claims.finish(take(), RETRY)
    other = take()
    assert number(other) == 3
    claims.finish(other, DONE)
    assert claims.take() is None
    store(deed("wm1", 4, at=2))
    assert claims.take() is None
    let_time_pass()
    assert number(claims.take()) == 1


def test_a_dead_letter_frees_its_key() -> None:
    store(deed("wm1", 1))
    store(deed("wm1", 2, at=1))
    claims.finish(take(), dead("broken"))
    assert number(claims.take()) == 2
    row = Callback.objects.get(state="dead")
    assert (row.error, row.attempts, row.finished_at is not None) == ("broken", 1, True)


def test_what_waits_freely_uses_up_no_attempt() -> None:
    store(deed("wm1", 1))
    claims.finish(take(), Outcome("pending", 30.0, True, "dept_101 is down"))
    row = Callback.objects.get()
    assert (row.attempts, row.error) == (0, "dept_101 is down")
    assert 29 < (row.due_at - timezone.now()).total_seconds() <= 30
    assert CallbackKey.objects.get().due_at == row.due_at


def test_a_worker_that_was_overtaken_ends_nothing() -> None:
    store(deed("wm1", 1))
    store(deed("wm1", 2, at=1))
    stopped = take()
    let_time_pass()
    other = take()
    assert (other.id, other.attempts) == (stopped.id, 2)
    assert other.token != stopped.token
    assert claims.finish(stopped, DONE) is False
    assert Callback.objects.get(id=stopped.id).state == "pending"
    assert claims.finish(other, DONE) is True
    third = take()
    assert claims.finish(stopped, dead("late")) is False
    assert claims.finish(other, dead("late")) is False
    assert claims.finish(third, DONE) is True
    assert set(Callback.objects.values_list("state", flat=True)) == {"done"}


def test_a_repeat_while_a_worker_is_at_it_makes_it_run_once_more() -> None:
    store(deed("wm1", 1))
    claim = take()
    store(deed("wm1", 1))
    assert claims.take() is None
    claims.finish(claim, DONE)
    row = Callback.objects.get()
    assert (row.state, row.attempts, row.finished_at) == ("pending", 0, None)
    again = take()
    assert (again.id, again.attempts, again.arrivals) == (claim.id, 1, 2)
    claims.finish(again, DONE)
    assert Callback.objects.get().state == "done"
    assert claims.take() is None


def test_a_repeat_while_it_fails_for_good_makes_it_run_once_more() -> None:
    store(deed("wm1", 1))
    claim = take()
    store(deed("wm1", 1))
    claims.finish(claim, dead("not there"))
    assert Callback.objects.get().state == "pending"
    assert take().attempts == 1


def test_a_callback_that_went_meanwhile_ends_quietly_and_its_key_too() -> None:
    store(deed("wm1", 1))
    claim = take()
    Callback.objects.all().delete()
    assert claims.finish(claim, DONE) is True
    assert CallbackKey.objects.count() == 0
    store(deed("wm1", 2))
    Callback.objects.all().delete()
    assert claims.take() is None
    assert CallbackKey.objects.count() == 0


def test_a_key_that_is_missing_is_made_again() -> None:
    store(deed("wm1", 1))
    claim = take()
    store(deed("wm2", 2))
    CallbackKey.objects.filter(key="customer:wm2").delete()
    assert claims.take() is None
    assert claims.mend() == 1
    assert number(claims.take()) == 2
    claims.finish(claim, DONE)
    assert claims.mend() == 0


def test_a_claim_is_renewed_while_its_handler_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.05)
    store(deed("wm1", 1))
    claim = take()
    past = timezone.now() - timedelta(seconds=1)
    CallbackKey.objects.update(due_at=past)
    with claims.kept(claim):
        deadline = time.monotonic() + 5
        while CallbackKey.objects.get().due_at <= past and time.monotonic() < deadline:
            time.sleep(0.01)
        assert CallbackKey.objects.get().due_at > timezone.now() + timedelta(seconds=30)
    assert claims.take() is None


def test_a_claim_of_somebody_else_is_not_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.01)
    store(deed("wm1", 1))
    stopped = take()
    let_time_pass()
    take()
    before = CallbackKey.objects.get().due_at
    with claims.kept(stopped):
        time.sleep(0.1)
    assert CallbackKey.objects.get().due_at == before


# ------------------------------------------------------------------------------------------------------- a long backlog
BACKLOG = """
INSERT INTO callbacks (digest, event, change_type, key, external_userid, xml, created_at, received_at, state, due_at,
    attempts, error, arrivals)
SELECT sha256(n::text::bytea), 'e', 'c', CASE WHEN n % 2 = 0 THEN 'tags' ELSE 'customer:' || n END, '', '<xml/>',
    now() - n * interval '1 second', now(), 'pending', now() - interval '1 hour', 0, '', 1
FROM generate_series(1, 100000) AS n
"""
KEYS = "INSERT INTO callback_keys (key, due_at) SELECT DISTINCT key, now() - interval '1 hour' FROM callbacks"


def test_a_hundred_thousand_callbacks_make_claiming_no_slower() -> None:
    """Half of them have keys of their own, the other half one key, which waits: rows and pages read stay few."""
    with connection.cursor() as cursor:
        cursor.execute(BACKLOG)
        cursor.execute(KEYS)
        cursor.execute("UPDATE callback_keys SET due_at = now() + interval '1 hour' WHERE key = 'tags'")
        cursor.execute("ANALYZE callbacks, callback_keys")
        claims.finish(take(), DONE)
        token = "00000000-0000-0000-0000-000000000000"
        for statement, values in [
            (claims.TAKE_KEY, {"token": token}),
            (claims.NEXT, {"key": "tags"}),
            (claims.TAKE_CALLBACK, {"key": "tags"}),
        ]:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values)
            found = cursor.fetchone()[0]
            plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
            assert "Seq Scan" not in json.dumps(plan), statement
            assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 100, statement


def test_a_worker_stopped_in_the_middle_of_a_transaction_keeps_no_callback_out_for_long() -> None:
    """It holds the key's row: the server ends its session, so that WeCom's next callback of the key can be stored."""
    store(deed("wm1", 1))
    claim = take()
    holds, ended = threading.Event(), threading.Event()

    def stop_half_way() -> None:
        with suppress(OperationalError, InterfaceError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(claims.PATIENCE)
            cursor.execute(claims.LOCK, {"key": claim.key, "token": claim.token})
            holds.set()
            ended.wait(20)
        connection.close()

    stopped = threading.Thread(target=stop_half_way)
    stopped.start()
    assert holds.wait(5)
    began = time.monotonic()
    store(deed("wm1", 2))
    assert 0.5 < time.monotonic() - began < 4
    ended.set()
    stopped.join()
    assert claims.finish(claim, DONE)
