"""Once more, by hand."""

from datetime import timedelta

from django.utils import timezone

from customers.models import Audit
from tests.wxwork.inbox.deeds import deed, done
from wxwork.inbox import claims, working
from wxwork.inbox.outcomes import DONE, Outcome, dead
from wxwork.inbox.replaying import replay
from wxwork.inbox.storing import store
from wxwork.models import Callback, CallbackKey


def test_dead_letters_run_again_with_all_their_attempts() -> None:
    for n in range(3):
        store(deed(f"wm{n}", n))
        claim = claims.take()
        assert claim is not None
        claims.finish(claim, dead("broken") if n else DONE)
    assert replay(Callback.objects.filter(state="dead"), actor="admin") == 2
    assert set(Callback.objects.filter(state="pending").values_list("attempts", "error", "arrivals")) == {(0, "", 1)}
    audit = Audit.objects.get()
    assert (audit.actor, audit.action, audit.detail) == ("admin", "replay_callbacks", {"callbacks": 2})
    assert working.work() == (2, False)
    assert sorted(done()) == [1, 2]


def test_nothing_to_replay_is_nothing() -> None:
    assert replay(Callback.objects.filter(state="dead"), actor="admin") == 0
    assert Audit.objects.count() == 0


def test_a_replay_brings_a_waiting_key_forward() -> None:
    store(deed("wm1", 1))
    claim = claims.take()
    assert claim is not None
    claims.finish(claim, Outcome("pending", 3600, False, "busy"))
    assert claims.take() is None
    replay(Callback.objects.all(), actor="admin")
    assert claims.take() is not None


def test_a_replay_of_one_that_is_worked_on_runs_it_once_more_and_takes_it_from_nobody() -> None:
    store(deed("wm1", 1))
    claim = claims.take()
    assert claim is not None
    before = CallbackKey.objects.get()
    replay(Callback.objects.all(), actor="admin")
    after = CallbackKey.objects.get()
    assert (after.token, after.due_at) == (before.token, before.due_at)
    assert claims.take() is None
    assert claims.finish(claim, DONE)
    assert Callback.objects.get().state == "pending"
    again = claims.take()
    assert again is not None
    claims.finish(again, DONE)
    assert Callback.objects.get().state == "done"


def test_hundreds_are_replayed_in_their_order() -> None:
    for n in range(1100):
        store(deed(f"wm{n % 5}", n, at=n))
    Callback.objects.update(state="dead", finished_at=timezone.now() - timedelta(hours=1))
    CallbackKey.objects.all().delete()
    assert replay(Callback.objects.filter(external_userid="wm3"), actor="admin") == 220
    assert CallbackKey.objects.count() == 1
    assert replay(Callback.objects.filter(state="dead"), actor="admin") == 880
    assert Callback.objects.filter(state="pending").count() == 1100


def test_a_replay_of_one_that_a_worker_is_at_leaves_no_attempts_below_none() -> None:
    store(deed("wm1", 1))
    claim = claims.take()
    assert claim is not None
    replay(Callback.objects.all(), actor="admin")
    claims.finish(claim, Outcome("pending", 30, True, "dept_101 is down"))
    assert Callback.objects.get().attempts == 0
