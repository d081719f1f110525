"""What doctor says of callbacks."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from scrm import doctor
from scrm.doctor.findings import registered
from tests.wxwork.inbox.conftest import push
from tests.wxwork.inbox.deeds import deed
from wxwork.crypto import Pair
from wxwork.inbox import working
from wxwork.inbox.storing import store
from wxwork.inbox.troubles import find_troubles
from wxwork.models import Callback


def found() -> list[doctor.Finding]:
    return list(find_troubles())


def test_doctor_looks_at_callbacks() -> None:
    assert registered()["callbacks"] is find_troubles
    assert found() == []


def test_a_missing_token_is_named(settings: Any) -> None:
    settings.WXWORK_CALLBACK_TOKEN = []
    assert [one.trouble.partition(" ")[0] for one in found()] == ["WXWORK_CALLBACK_TOKEN"]


def test_callbacks_that_do_not_verify_are_told_with_the_setting_that_is_wrong() -> None:
    push(deed("wm1", 1), pair=Pair.of("another", "kQ3vXz8NfT1mWb5RyU7hJc2LgP9sAdE4iOoKxV6uYBw"))
    push(deed("wm1", 1), receiveid="wwother")
    first, second = found()
    assert first.trouble.startswith("Callbacks do not verify (signature), last at 20")
    assert "WXWORK_CALLBACK_TOKEN" in first.remedy
    assert "WXWORK_CORP_ID" in second.remedy
    # Once good ones come, it has been mended.
    store(deed("wm1", 1))
    Callback.objects.update(received_at=timezone.now() + timedelta(seconds=2))
    working.work()
    assert found() == []


def test_what_waits_and_what_failed_is_told() -> None:
    store(deed("wm1", 1, do="raise:DataError"))
    working.work()
    store(deed("wm2", 2))
    Callback.objects.filter(state="pending").update(due_at=timezone.now() - timedelta(minutes=7))
    waits, dead = found()
    assert (waits.trouble, waits.is_problem) == ("Callbacks have been waiting for 7 min.", True)
    assert (dead.trouble, dead.is_problem) == ("1 callbacks could not be handled.", False)
