"""Workers are woken without anybody waiting, not too often, and by the keeper when nobody else did."""

import time
from collections.abc import Callable

import orjson
import pytest
import redis
from django.conf import settings
from django.utils import timezone

from profiles.tasks import nightly
from scrm import keeper
from scrm.celery import app
from tests.servers import PrivateValkey
from tests.wxwork.inbox.deeds import deed, done
from wxwork import chores, tasks
from wxwork.inbox import claims, waking, working
from wxwork.inbox.outcomes import Outcome
from wxwork.inbox.storing import store
from wxwork.models import Callback, CallbackKey


def until_length(client: redis.Redis, queue: str, length: int) -> None:
    deadline = time.monotonic() + 5
    while client.llen(queue) != length and time.monotonic() < deadline:
        time.sleep(0.01)
    assert client.llen(queue) == length


def test_telling_sends_a_message_that_says_nothing_but_wake_up(broker_client: redis.Redis) -> None:
    waking.tell(waking.CALLBACKS)
    until_length(broker_client, "callbacks", 1)
    message = orjson.loads(broker_client.lindex("callbacks", 0))
    assert message["headers"]["task"] == "wxwork.work_callbacks"
    assert message["headers"]["argsrepr"] == "()"
    # A worker whose clock is ahead would drop one that expires.
    assert message["headers"]["expires"] is None
    waking.tell(waking.WELCOMES)
    until_length(broker_client, "welcome", 1)
    assert orjson.loads(broker_client.lindex("welcome", 0))["headers"]["task"] == "wxwork.send_welcomes"


def test_enough_messages_are_enough(broker_client: redis.Redis) -> None:
    for _ in range(3):
        assert waking.wake(waking.CALLBACKS, 5)
    assert broker_client.llen("callbacks") == waking.ENOUGH


@pytest.mark.parametrize("trouble", ["stop", "pause"])
def test_telling_waits_for_no_broker(
    trouble: str, valkey_server: Callable[..., PrivateValkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = valkey_server(keeps=True)
    monkeypatch.setattr(settings, "CELERY_BROKER_URL", broker.url)
    getattr(broker, trouble)()
    try:
        began = time.monotonic()
        for _ in range(1000):
            waking.tell(waking.CALLBACKS)
        assert time.monotonic() - began < 0.5
        assert waking.wake(waking.CALLBACKS) is False
    finally:
        if trouble == "pause":
            broker.resume()


# --------------------------------------------------------------------------------------------------------- the keeper
def test_the_keeper_has_its_chores() -> None:
    found = {chore.name: chore.every_seconds for chore in keeper.registered()}
    assert (found["due_callbacks"], found["owed_welcomes"], found["old_callbacks"]) == (2, 1, 3600)


def test_what_was_stored_and_never_told_is_found(broker_client: redis.Redis) -> None:
    """As when the process dies between the insert and the message."""
    store(deed("wm1", 1))
    store(deed("wm1", 2))
    store(deed("wm2", 3))
    assert broker_client.llen("callbacks") == 0
    assert chores.wake_for_callbacks() == 2
    assert broker_client.llen("callbacks") == 2
    tasks.work_callbacks()
    assert sorted(done()) == [1, 2, 3]
    assert chores.wake_for_callbacks() == 0
    assert broker_client.llen("callbacks") == 2


def test_retries_that_are_due_and_claims_of_the_dead_are_found(broker_client: redis.Redis) -> None:
    store(deed("wm1", 1))
    store(deed("wm2", 2))
    first, second = claims.take(), claims.take()
    assert first is not None and second is not None  # noqa: PT018
    claims.finish(first, Outcome("pending", 60, False, "busy"))
    assert chores.wake_for_callbacks() == 0
    CallbackKey.objects.update(due_at=timezone.now())
    assert chores.wake_for_callbacks() == 2


def test_a_long_backlog_sends_few_messages(broker_client: redis.Redis) -> None:
    for n in range(20):
        store(deed(f"wm{n}", n))
    assert chores.wake_for_callbacks() == waking.ENOUGH
    assert broker_client.llen("callbacks") == waking.ENOUGH


def test_a_task_that_has_not_done_everything_comes_back(
    broker_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "work", lambda: (1, True))
    tasks.work_callbacks()
    assert broker_client.llen("callbacks") == 1


def test_a_keeper_without_a_broker_says_so_and_goes_on(
    valkey_server: Callable[..., PrivateValkey], monkeypatch
) -> None:
    broker = valkey_server(keeps=True)
    monkeypatch.setattr(settings, "CELERY_BROKER_URL", broker.url)
    broker.stop()
    store(deed("wm1", 1))
    assert chores.wake_for_callbacks() == 1
    assert Callback.objects.get().state == "pending"


def test_a_message_goes_to_its_own_queue_alone(broker_client: redis.Redis) -> None:
    queues = ["callbacks", "celery", "welcome"]
    with app.connection_for_write() as connection:
        for queue in queues:
            app.amqp.queues[queue](connection.default_channel).declare()
    broker_client.delete(*queues)
    nightly.apply_async()
    waking.wake(waking.CALLBACKS)
    tasks.send_welcomes.apply_async()
    found = {
        queue: [orjson.loads(one)["headers"]["task"] for one in broker_client.lrange(queue, 0, -1)] for queue in queues
    }
    assert found == {
        "callbacks": ["wxwork.work_callbacks"],
        "celery": ["profiles.nightly"],
        "welcome": ["wxwork.send_welcomes"],
    }
