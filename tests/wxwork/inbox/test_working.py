"""What becomes of a callback by what its handler raises, and in what order a worker works."""

from datetime import timedelta

import pytest
import structlog
from django.utils import timezone

from tests.wxwork.fixtures_at import callback
from tests.wxwork.inbox.deeds import deed, done, journal
from wxwork.inbox import working
from wxwork.inbox.outcomes import MAX_ATTEMPTS
from wxwork.inbox.storing import store
from wxwork.models import Callback, CallbackKey


def delay(row: Callback) -> float:
    return (row.due_at - timezone.now()).total_seconds()


def test_what_is_due_is_worked_off() -> None:
    for n in range(3):
        store(deed("wm1", n, at=n))
        store(deed("wm2", 10 + n, at=n))
    assert working.work() == (6, False)
    assert (done("wm1"), done("wm2")) == ([0, 1, 2], [10, 11, 12])
    assert set(Callback.objects.values_list("state", "attempts")) == {("done", 1)}
    assert working.work() == (0, False)


def test_a_slice_of_time_ends() -> None:
    for n in range(3):
        store(deed("wm1", n, at=n))
    assert working.work(seconds=0) == (1, True)
    assert done() == [0]


def test_an_unknown_kind_is_marked_and_not_failed() -> None:
    store(deed("wm1", 1, change_type="never_heard_of"))
    store(callback("click"))
    working.work()
    assert set(Callback.objects.values_list("event", "state", "error", "attempts")) == {
        ("test_deed", "ignored", "", 1),
        ("click", "ignored", "", 1),
    }
    assert CallbackKey.objects.count() == 0
    assert journal() == []


@pytest.mark.parametrize(
    ("raised", "attempts", "shortest", "longest"),
    [
        ("RetryError", 1, 2, 2.5),
        ("OperationalError", 1, 2, 2.5),
        ("busy", 1, 2, 2.5),
        ("LaterError", 1, 30, 37.5),
        ("LimitedError", 0, 90, 112.5),
        ("ConfigError", 0, 2, 2.5),
        ("UnreachableError", 0, 2, 2.5),
        ("HomeUnavailableError", 0, 2, 2.5),
        ("department_unavailable", 0, 2, 2.5),
        ("erasure_in_progress", 0, 2, 2.5),
    ],
)
def test_what_may_pass_is_tried_again(raised: str, attempts: int, shortest: float, longest: float) -> None:
    store(deed("wm1", 1, do=f"raise:{raised}"))
    store(deed("wm1", 2, at=1))
    assert working.work() == (1, False)
    row = Callback.objects.get(created_at__lt=Callback.objects.latest("created_at").created_at)
    assert (row.state, row.attempts, row.finished_at) == ("pending", attempts, None)
    assert shortest - 1 < delay(row) <= longest
    assert done() == []


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        ("DataError", "DataError: not there"),
        ("UnknownCodeError", "UnknownCodeError: what"),
        ("address_taken", "DirectoryError: wm1: the home gives customer_ids twice: run `manage.py migrate_shards`,"),
        ("IntegrityError", "IntegrityError: twice"),
        ("ValueError", "ValueError: not a number: 138****8000"),
        ("unstorable", "ValueError: a\ufffdb?"),
    ],
)
def test_what_cannot_pass_is_a_dead_letter_without_anybodys_number(raised: str, error: str) -> None:
    store(deed("wm1", 1, do=f"raise:{raised}"))
    store(deed("wm1", 2, at=1))
    with structlog.testing.capture_logs() as logged:
        assert working.work() == (2, False)
    row = Callback.objects.get(state="dead")
    assert row.error.startswith(error)
    assert "13800138000" not in row.error
    assert done() == [2]
    assert len(logged) == 1
    assert "deeds.py" in logged[0]["stack"]
    assert "13800138000" not in repr(logged[0]) + logged[0]["stack"]
    assert not logged[0].keys() & {"exc_info", "exception"}


def test_delays_grow_until_the_attempts_are_used_up() -> None:
    store(deed("wm1", 1, do="raise:RetryError"))
    delays = []
    for _ in range(MAX_ATTEMPTS - 1):
        assert working.work() == (1, False)
        delays.append(delay(Callback.objects.get()))
        past = timezone.now() - timedelta(seconds=1)
        Callback.objects.update(due_at=past)
        CallbackKey.objects.update(due_at=past)
    for n, seconds in enumerate(delays):
        expected = min(2 * 2**n, 1800)
        assert expected - 1 < seconds <= expected * 1.25
    working.work()
    row = Callback.objects.get()
    assert (row.state, row.attempts) == ("dead", MAX_ATTEMPTS)
    assert len(journal()) == MAX_ATTEMPTS


def test_a_home_that_is_down_for_long_is_asked_less_often_and_never_given_up() -> None:
    store(deed("wm1", 1, do="raise:HomeUnavailableError"))
    Callback.objects.update(received_at=timezone.now() - timedelta(days=2))
    for _ in range(MAX_ATTEMPTS + 2):
        working.work()
        row = Callback.objects.get()
        assert (row.state, row.attempts) == ("pending", 0)
        assert 29 < delay(row) <= 37.5
        past = timezone.now() - timedelta(seconds=1)
        Callback.objects.update(due_at=past)
        CallbackKey.objects.update(due_at=past)


def test_what_is_not_ours_to_see_frees_its_key_after_days() -> None:
    for who, raised in [("wm1", "not_visible"), ("wm2", "ConfigError")]:
        store(deed(who, 1, do=f"raise:{raised}"))
        store(deed(who, 2, at=1))
    Callback.objects.update(received_at=timezone.now() - timedelta(days=4))
    working.work()
    assert Callback.objects.get(state="dead").error == "ConfigError: not visible"
    assert (done("wm1"), done("wm2")) == ([2], [])


def test_a_callback_that_kills_its_workers_is_given_up() -> None:
    store(deed("wm1", 1))
    Callback.objects.update(attempts=MAX_ATTEMPTS)
    working.work()
    row = Callback.objects.get()
    assert (row.state, row.error) == ("dead", "Its workers stopped without a word.")
    assert journal() == []
