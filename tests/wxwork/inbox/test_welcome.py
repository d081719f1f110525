"""Welcome messages: owed when a callback brings a code, sent within 20 s, at most once."""

import doctest
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from customers.models import Department, Staff
from scrm.held import forget_all
from tests.counting import Counted
from wxwork import chores, tasks, welcome, welcome_sending
from wxwork.inbox import working
from wxwork.inbox.storing import store
from wxwork.models import Callback, WelcomeDelivery, WelcomeMessage
from wxwork.simulator import SimulatorServer

STAFF = "ChenSiYu"
SEND = "/cgi-bin/externalcontact/send_welcome_msg"


@pytest.fixture
def general() -> WelcomeMessage:
    return make("所有人", "{name}您好，我是{staff}。")


def make(name: str, text: str, *, departments: tuple[int, ...] = (), **more: Any) -> WelcomeMessage:
    message = WelcomeMessage.objects.create(name=name, text=text, **more)
    message.departments.set(departments)
    forget_all()
    return message


def add(simulator: SimulatorServer, **given: Any) -> dict[str, Any]:
    """Somebody adds a member of staff, and the callback is stored."""
    result = simulator.act("add_customer", **{"staff": STAFF, "name": "周若楠"} | given)
    for push in simulator.pushes.record:
        store(push.xml.encode())
    simulator.pushes.forget()
    return result


def sent(simulator: SimulatorServer, code: str) -> str | None:
    found = simulator.state.welcome_codes[code].sent
    return found["text"]["content"] if found else None


def the_delivery() -> WelcomeDelivery:
    return WelcomeDelivery.objects.get()


def test_examples() -> None:
    found = doctest.testmod(welcome)
    assert (found.attempted > 0, found.failed) == (True, 0)


def test_a_welcome_is_owed_and_sent(simulator: SimulatorServer, general: WelcomeMessage) -> None:
    Staff.objects.create(userid="chensiyu", name="陈思雨")
    result = add(simulator)
    delivery = the_delivery()
    assert (delivery.state, delivery.welcome_code, delivery.userid) == ("owed", result["welcome_code"], STAFF)
    assert delivery.external_userid == result["external_userid"]
    assert 19 < (delivery.expires_at - timezone.now()).total_seconds() <= 20
    tasks.send_welcomes()
    assert sent(simulator, result["welcome_code"]) == "周若楠您好，我是陈思雨。"
    delivery = the_delivery()
    assert (delivery.state, delivery.welcome_code, delivery.error, delivery.attempts) == ("sent", "", "", 1)
    assert (delivery.message, delivery.sent_at is not None) == (general, True)


def test_it_is_stored_with_its_callback_in_one_statement(simulator: SimulatorServer, general: WelcomeMessage) -> None:
    simulator.act("add_customer", staff=STAFF)
    (push,) = simulator.pushes.record
    welcome.active_messages()
    with Counted() as counted:
        stored = store(push.xml.encode())
    assert counted.counts["default"] == 1
    assert stored.owes_welcome is True
    assert store(push.xml.encode()).owes_welcome is False
    assert WelcomeDelivery.objects.count() == 1


def test_nothing_is_owed_without_a_message_or_a_code(simulator: SimulatorServer) -> None:
    add(simulator)
    assert WelcomeDelivery.objects.count() == 0
    make("停用", "您好", is_active=False)
    add(simulator)
    assert WelcomeDelivery.objects.count() == 0
    make("所有人", "您好")
    add(simulator, welcome=False)
    assert WelcomeDelivery.objects.count() == 0
    add(simulator, half=True)
    assert WelcomeDelivery.objects.count() == 1


def test_the_most_specific_message_is_sent(simulator: SimulatorServer) -> None:
    for number, parent in [(1, None), (2, 1), (3, 2), (9, 1)]:
        Department.objects.update_or_create(id=number, defaults={"name": str(number), "parent_id": parent})
    Staff.objects.create(userid="chensiyu", name="陈思雨").departments.set([3])
    make("通用", "general")
    make("总部", "head office", departments=(1,))
    make("二部", "second", departments=(2,))
    make("别处", "elsewhere", departments=(9,))
    make("展会", "expo", state="expo2026")
    make("展会别处", "expo elsewhere", state="expo2026", departments=(9,))
    for state, expected in [("", "second"), ("expo2026", "expo"), ("unknown", "second")]:
        code = add(simulator, state=state)["welcome_code"]
        tasks.send_welcomes()
        assert sent(simulator, code) == expected


def test_where_no_message_is_meant_nothing_was_owed(simulator: SimulatorServer) -> None:
    make("展会", "expo", state="expo2026")
    code = add(simulator)["welcome_code"]
    tasks.send_welcomes()
    assert sent(simulator, code) is None
    assert WelcomeDelivery.objects.count() == 0


def test_a_welcome_without_a_name_is_better_than_none(simulator: SimulatorServer, general: WelcomeMessage) -> None:
    simulator.faults("/cgi-bin/externalcontact/get", errcode=84061, times=1)
    code = add(simulator)["welcome_code"]
    tasks.send_welcomes()
    assert sent(simulator, code) == "朋友您好，我是ChenSiYu。"


@pytest.mark.parametrize(("code", "word"), [(41050, "41050"), (41051, "41051"), (40058, "40058"), (999999, "999999")])
def test_what_wecom_refuses_is_final(simulator: SimulatorServer, general: WelcomeMessage, code: int, word: str) -> None:
    simulator.faults(SEND, errcode=code, times=1)
    add(simulator)
    tasks.send_welcomes()
    delivery = the_delivery()
    assert (delivery.state, delivery.welcome_code, delivery.sent_at) == ("failed", "", None)
    assert word in delivery.error
    tasks.send_welcomes()
    assert the_delivery().attempts == 1


def test_while_another_application_sends_it_is_tried_again(simulator: SimulatorServer, general: WelcomeMessage) -> None:
    code = add(simulator)["welcome_code"]
    simulator.act("welcome_in_flight", welcome_code=code)
    tasks.send_welcomes()
    delivery = the_delivery()
    assert (delivery.state, delivery.welcome_code, delivery.attempts) == ("owed", code, 1)
    assert delivery.due_at > timezone.now()
    assert chores.wake_for_welcomes() == 0
    simulator.act("welcome_in_flight", welcome_code=code, agentid=0)
    WelcomeDelivery.objects.update(due_at=timezone.now())
    tasks.send_welcomes()
    assert (the_delivery().state, sent(simulator, code)) == ("sent", "周若楠您好，我是ChenSiYu。")


def test_what_is_too_late_is_not_sent(simulator: SimulatorServer, general: WelcomeMessage) -> None:
    code = add(simulator)["welcome_code"]
    WelcomeDelivery.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    tasks.send_welcomes()
    delivery = the_delivery()
    assert (delivery.state, delivery.welcome_code, delivery.error) == ("failed", "", welcome.TOO_LATE)
    assert sent(simulator, code) is None


def test_a_worker_that_died_while_sending_is_not_followed_by_a_second_try(
    simulator: SimulatorServer, general: WelcomeMessage
) -> None:
    code = add(simulator)["welcome_code"]
    assert welcome_sending._take() is not None
    tasks.send_welcomes()
    assert chores.wake_for_welcomes() == 0
    assert (the_delivery().state, sent(simulator, code)) == ("sending", None)
    WelcomeDelivery.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert chores.wake_for_welcomes() == 1
    assert (the_delivery().state, the_delivery().welcome_code) == ("failed", "")


def test_the_keeper_wakes_for_what_is_owed(
    simulator: SimulatorServer, general: WelcomeMessage, broker_client: Any
) -> None:
    add(simulator)
    chores.wake_for_welcomes()
    assert broker_client.llen("welcome") == 1
    assert broker_client.llen("callbacks") == 0


def test_a_welcome_waits_for_no_backlog(simulator: SimulatorServer, general: WelcomeMessage) -> None:
    """Its callback is not even looked at: sending needs only what was stored with it."""
    code = add(simulator)["welcome_code"]
    began = time.monotonic()
    tasks.send_welcomes()
    assert time.monotonic() - began < 5
    assert sent(simulator, code) is not None
    assert Callback.objects.get().state == "pending"


def test_no_text_is_longer_than_wecom_takes(simulator: SimulatorServer) -> None:
    assert welcome.text_problem("") == "文字不能为空。"
    assert welcome.text_problem("好" * 1333) == ""
    assert welcome.text_problem("好" * 1334) != ""
    longest = "好" * 1290 + "{name}"
    assert welcome.text_problem(longest) == ""
    make("长", longest)
    code = add(simulator, name="😀" * 32)["welcome_code"]
    tasks.send_welcomes()
    assert sent(simulator, code) == "好" * 1290 + "😀" * 32


def test_a_replayed_callback_owes_nothing_more(simulator: SimulatorServer, general: WelcomeMessage) -> None:
    add(simulator)
    tasks.send_welcomes()
    row = Callback.objects.get()
    store(row.xml.encode())
    working.work()
    assert WelcomeDelivery.objects.count() == 1
    assert the_delivery().state == "sent"


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_wrong_neither_ends_a_welcome_nor_sends_it_late(
    simulator: SimulatorServer, general: WelcomeMessage, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """The 20 s are the database's, whatever a web server, a worker and the keeper take for the time."""
    code, late = add(simulator)["welcome_code"], add(simulator)["welcome_code"]
    expired = timezone.now() - timedelta(seconds=1)
    WelcomeDelivery.objects.filter(welcome_code=late).update(expires_at=expired)
    real = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(hours=hours))
    assert welcome.due() == 2
    assert chores.wake_for_welcomes() == 1
    assert welcome_sending.send_owed() == 1
    assert sent(simulator, code) is not None
    assert sent(simulator, late) is None
    assert abs((WelcomeDelivery.objects.get(state="sent").sent_at - real()).total_seconds()) < 5


def test_one_that_was_being_sent_may_have_gone_out(simulator: SimulatorServer, general: WelcomeMessage) -> None:
    code = add(simulator)["welcome_code"]
    delivery = welcome_sending._take()
    assert delivery is not None
    WelcomeDelivery.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert welcome.end_late() == 1
    assert (the_delivery().state, the_delivery().error) == ("failed", welcome.CUT_OFF)
    # Its worker was only slow.
    assert welcome_sending._send(delivery) is True
    assert sent(simulator, code) is not None
    assert (the_delivery().state, the_delivery().error) == ("sent", "")


def test_what_nobody_thought_of_ends_one_welcome_and_keeps_no_other_waiting(
    simulator: SimulatorServer, general: WelcomeMessage
) -> None:
    add(simulator)
    code = add(simulator)["welcome_code"]
    first = WelcomeDelivery.objects.earliest("id")
    # No body can be made of it.
    WelcomeDelivery.objects.filter(id=first.id).update(welcome_code="x" * 600)
    assert welcome_sending.send_owed() == 1
    assert sent(simulator, code) is not None
    first.refresh_from_db()
    assert (first.state, first.error != "") == ("failed", True)


def test_a_task_gets_no_connection_that_its_server_has_ended() -> None:
    """As after a restart of the control database: without that a worker's next thousand tasks would fail."""
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    with connection.copy("default").cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    tasks.send_welcomes.apply(throw=True)
