"""What /metrics says of the inbox."""

from datetime import timedelta

from django.test import Client
from django.utils import timezone

from tests.wxwork.inbox.conftest import push
from tests.wxwork.inbox.deeds import deed
from wxwork.inbox import working
from wxwork.inbox.storing import store
from wxwork.models import Callback


def scraped() -> dict[str, float]:
    lines = Client().get("/metrics").content.decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line.startswith("scrm_"))}


def test_lag_dead_letters_and_what_was_finished() -> None:
    store(deed("wm1", 1))
    store(deed("wm2", 2, do="raise:DataError"))
    store(deed("wm3", 3, change_type="never_heard_of"))
    working.work()
    old = store(deed("wm4", 4)).id
    Callback.objects.filter(id=old).update(due_at=timezone.now() - timedelta(seconds=90))
    found = scraped()
    assert found["scrm_callbacks_waiting"] == 1
    assert found["scrm_callbacks_dead"] == 1
    assert 90 <= found["scrm_callbacks_lag_seconds"] < 120
    assert found['scrm_callbacks_finished{kind="test_deed/go",state="done"}'] == 1
    assert found['scrm_callbacks_finished{kind="test_deed/go",state="dead"}'] == 1
    assert found['scrm_callbacks_finished{kind="other",state="ignored"}'] == 1
    assert found['scrm_callbacks_finished{kind="change_external_chat/update",state="done"}'] == 0
    working.work()
    Callback.objects.update(finished_at=timezone.now() - timedelta(minutes=6))
    found = scraped()
    assert (found["scrm_callbacks_waiting"], found["scrm_callbacks_lag_seconds"]) == (0, 0)
    assert found['scrm_callbacks_finished{kind="test_deed/go",state="done"}'] == 0
    assert found["scrm_callbacks_dead"] == 1


def test_what_comes_in_is_counted_by_what_it_was() -> None:
    before = scraped()
    push(deed("wm1", 1))
    push(deed("wm1", 1))
    push(deed("wm1", 2), receiveid="wwother")
    found = scraped()
    names = [f'scrm_callbacks_received_total{{outcome="{one}"}}' for one in ("stored", "repeat", "receiveid")]
    assert [found[name] - before.get(name, 0) for name in names] == [1, 1, 1]
