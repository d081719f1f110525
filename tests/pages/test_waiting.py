"""The list of behaviours that wait for an identity."""

from datetime import UTC, datetime

from django.test import Client

from customers.claiming import take_identities
from customers.directory import upsert
from customers.records import CustomerData
from profiles.behaviours import record_behaviours
from profiles.models import WaitingBehaviour
from profiles.waiting import fold_waiting

LIST = "/admin/profiles/waitingbehaviour/"
NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def wait(event_id: str, kind: str = "purchase", **more: object) -> None:
    one = {
        "event_id": event_id, "identity": {"kind": "mobile", "value": "13812345678"}, "kind": kind, "channel": "store",
        "occurred_at": "2026-11-20T12:00:00+08:00", **more,
    }  # fmt: skip
    done = record_behaviours([one], source="门店", now=NOW)
    assert (done.waiting, done.rejected) == (1, [])


def test_what_waits_is_listed_and_counted_without_who_it_is(admin: Client) -> None:
    wait("order-1", amount="29.30")
    wait("visit-1", "interaction")
    wait("refund-1", "refund", refers_to="order-9")
    page = admin.get(LIST).content.decode()
    for words in ("order-1", "门店", "手机号", "购买", "¥29.30", "剩余全额", "等待认领"):
        assert words in page, words
    assert [part.split("<")[0] for part in page.split('scrm-figure-value">')[1:]] == ["3", "0", "0"]
    assert "13812345678" not in page


def test_what_was_refused_says_why(admin: Client) -> None:
    wait("order-1", amount="29.30")
    wait("refund-1", "refund", refers_to="order-9")
    upsert(CustomerData("wmA"))
    take_identities([{"external_userid": "wmA", "kind": "mobile", "value": "13812345678"}], owner="import")
    assert fold_waiting() == 1
    page = admin.get(f"{LIST}?state=refused").content.decode()
    assert "找不到对应的购买" in page
    assert [part.split("<")[0] for part in page.split('scrm-figure-value">')[1:]] == ["0", "1", "0"]
    assert "order-1" not in page
    assert "refund-1" not in admin.get(f"{LIST}?state=waiting").content.decode()
    assert "refund-1" in admin.get(f"{LIST}?q=refund-1").content.decode()


def test_nothing_can_be_changed_there(admin: Client) -> None:
    wait("order-1", amount="1")
    number = WaitingBehaviour.objects.get().pk
    assert admin.get(f"{LIST}add/").status_code == 403
    assert admin.post(f"{LIST}{number}/delete/", {"post": "yes"}).status_code == 403
    assert admin.post(f"{LIST}{number}/change/", {"source": "x"}).status_code == 403
    assert WaitingBehaviour.objects.get().source == "门店"
