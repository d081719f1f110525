"""Workers as processes: four at once, killed, stopped, and with a department database that is down."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connections
from django.utils import timezone

from customers.models import Customer
from scrm import sharding
from tests.servers import PrivatePostgres
from tests.wxwork.inbox.conftest import Start, ready
from tests.wxwork.inbox.deeds import deed, done, journal
from wxwork.inbox import working
from wxwork.inbox.storing import store
from wxwork.models import Callback, CallbackKey


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def began(number: int) -> bool:
    return any(line[0] == "begin" and line[2] == str(number) for line in journal())


def expire_claims() -> None:
    """Make claims as old as if CLAIM_SECONDS had passed."""
    CallbackKey.objects.filter(token__isnull=False).update(due_at=timezone.now() - timedelta(seconds=1))


def test_four_workers_keep_the_order_of_each_key_and_lose_and_double_nothing(start_worker: Start) -> None:
    """Callbacks of twelve keys are stored in order, interleaved, while the workers are at it."""
    workers = [start_worker() for _ in range(4)]
    ready(*workers)
    chance = random.Random(7)
    numbers = dict.fromkeys((f"wm{n}" for n in range(12)), 0)
    for _ in range(300):
        who = chance.choice(list(numbers))
        numbers[who] += 1
        store(deed(who, numbers[who], at=numbers[who] // 3, do=chance.choice(["", "", "sleep:0.005"])))
    until(lambda: not Callback.objects.filter(state="pending").exists())
    for who, count in numbers.items():
        assert done(who) == list(range(1, count + 1))
    at_once = _at_once()
    assert at_once["keys"] >= 3, "four workers work on several keys at once"
    assert at_once["of_a_key"] == 1
    assert len({line[3] for line in journal()}) == 4
    assert Callback.objects.exclude(state="done", attempts=1).count() == 0
    assert CallbackKey.objects.count() == 0


def _at_once() -> dict[str, int]:
    """Return how many keys were worked on at once, and how many callbacks of one key, by the journal."""
    open_keys: dict[str, int] = {}
    most_keys = most_of_a_key = 0
    for what, who, _number, _pid in journal():
        open_keys[who] = open_keys.get(who, 0) + (1 if what == "begin" else -1)
        most_of_a_key = max(most_of_a_key, open_keys[who])
        most_keys = max(most_keys, sum(count > 0 for count in open_keys.values()))
    return {"keys": most_keys, "of_a_key": most_of_a_key}


def test_storing_and_ending_a_key_at_the_same_moment_loses_nothing(start_worker: Start) -> None:
    """Two threads store one callback after the other of a single key, which two workers find empty again and again."""
    ready(start_worker(), start_worker())

    def press(first: int) -> None:
        for n in range(first, first + 100):
            store(deed("wm1", n, at=n))
            time.sleep(random.random() * 0.01)
        connections.close_all()

    threads = [threading.Thread(target=press, args=(first,)) for first in (0, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(done()) == 200)
    assert sorted(done()) == [*range(100), *range(1000, 1100)]
    until(lambda: CallbackKey.objects.count() == 0)
    assert set(Callback.objects.values_list("state", flat=True)) == {"done"}


def test_what_a_killed_worker_was_at_is_taken_up(start_worker: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    store(deed("wm1", 1, do=f"wait:{gate}"))
    store(deed("wm1", 2, at=1))
    worker = start_worker()
    ready(worker)
    until(lambda: began(1))
    worker.kill()
    worker.wait()
    assert working.work() == (0, False), "its claim holds for a while"
    lasts = (CallbackKey.objects.get().due_at - timezone.now()).total_seconds()
    assert 0 < lasts <= 40
    expire_claims()
    gate.touch()
    assert working.work() == (2, False)
    assert done() == [1, 2]
    assert list(Callback.objects.order_by("id").values_list("state", "attempts")) == [("done", 2), ("done", 1)]


def test_a_worker_stopped_past_its_claim_does_not_end_what_another_has(start_worker: Start, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    store(deed("wm1", 1, do=f"wait:{first}"))
    store(deed("wm1", 2, at=1, do=f"wait:{second}"))
    stopped = start_worker()
    ready(stopped)
    until(lambda: began(1))
    os.kill(stopped.pid, signal.SIGSTOP)
    expire_claims()
    first.touch()
    other = start_worker()
    ready(other)
    until(lambda: began(2))
    token = CallbackKey.objects.get().token
    os.kill(stopped.pid, signal.SIGCONT)
    until(lambda: done().count(1) == 2)  # it ends its handler, which may be called twice
    time.sleep(0.3)
    key = CallbackKey.objects.get()
    assert key.token == token
    assert sum(line[:3] == ["begin", "wm1", "2"] for line in journal()) == 1
    assert Callback.objects.get(xml__contains="<N>2</N>").state == "pending"
    second.touch()
    until(lambda: not Callback.objects.filter(state="pending").exists())
    assert done() == [1, 1, 2]


def test_a_repeat_that_comes_while_it_is_handled_makes_it_run_once_more(start_worker: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    store(deed("wm1", 1, do=f"wait:{gate}"))
    ready(start_worker(), start_worker())
    until(lambda: began(1))
    for _ in range(3):
        store(deed("wm1", 1, do=f"wait:{gate}"))
    time.sleep(0.2)
    assert done() == []
    gate.touch()
    until(lambda: not Callback.objects.filter(state="pending").exists())
    assert done() == [1, 1]
    assert Callback.objects.get().arrivals == 4


def test_a_callback_waits_for_its_department_while_others_go_on(
    fragile_department: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragile_department.stop()
    store(deed("wm1", 1, do="upsert:101"))
    store(deed("wm1", 2, at=1))
    store(deed("wm2", 3, do="upsert:100"))
    working.work()
    assert done() == [3]
    waiting = Callback.objects.get(external_userid="wm1", created_at__lt=_latest())
    assert (waiting.state, waiting.attempts) == ("pending", 0)
    assert waiting.error.startswith("DirectoryError: wm1: the department database cannot be reached")
    assert waiting.due_at > timezone.now()

    fragile_department.start()
    until(lambda: _answers("dept_101"))
    past = timezone.now() - timedelta(seconds=1)
    Callback.objects.filter(state="pending").update(due_at=past)
    CallbackKey.objects.update(due_at=past)
    working.work()
    assert done() == [3, 1, 2]
    assert Customer.objects.using(sharding.alias(101)).get().name == "n1"
    assert set(Callback.objects.values_list("state", "attempts")) == {("done", 1)}


def _latest():
    return Callback.objects.filter(external_userid="wm1").latest("created_at").created_at


def _answers(alias: str) -> bool:
    try:
        connections[alias].ensure_connection()
    except sharding.HomeUnavailableError:
        return False
    return True
