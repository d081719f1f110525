"""GET|POST /wxwork/callback as WeCom calls it, and as nobody should."""

import itertools
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import structlog
import time_machine
from django.test import Client

from tests.counting import Counted
from tests.wxwork.fixtures_at import crypto
from tests.wxwork.inbox.conftest import AES_KEY, TOKEN, body_of, push, push_json, query, sealed
from tests.wxwork.inbox.deeds import deed
from wxwork import callback_views
from wxwork.crypto import Pair, sign
from wxwork.models import Callback

URL = "/wxwork/callback"
# The same whatever was wrong.
HEADERS = {
    *("Content-Type", "Content-Length", "Expires", "Cache-Control"),
    *("X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy", "Vary"),
    "Content-Language",
}
REFUSED = (403, b"Forbidden\n", "text/plain")


def answer(response: Any) -> tuple[int, bytes, str]:
    return response.status_code, response.content, response["Content-Type"]


def counted(outcome: str) -> float:
    return callback_views.RECEIVED.labels(outcome)._value.get()


def test_the_url_is_verified_with_the_bare_echo() -> None:
    vector = next(one for one in json.loads(crypto("golden_vectors.json")) if one["id"] == "G1")
    names = {"msg_signature": "msg_signature", "timestamp": "timestamp", "nonce": "nonce", "echostr": "encrypt"}
    with Counted() as counts:
        response = Client().get(URL, {name: vector[field] for name, field in names.items()})
    assert answer(response) == (200, vector["plaintext"].encode(), "text/plain")
    assert counts.counts == {"default": 0, "dept_100": 0, "dept_101": 0}
    assert set(response.headers) & {"Set-Cookie"} == set()


def test_a_bare_plus_in_the_echo_is_put_right() -> None:
    """The published vector has two, which a form's decoder makes spaces of."""
    echostr = next(e for e in (sealed(b"4528173960415283746") for _ in range(200)) if "+" in e)
    rest = query(echostr)
    assert Client().get(f"{URL}?{rest}&echostr={quote(echostr, safe='+')}").content == b"4528173960415283746"
    assert Client().get(f"{URL}?{rest}&echostr={quote(echostr, safe='')}").content == b"4528173960415283746"


def test_a_push_is_stored_and_answered_with_nothing() -> None:
    before = counted("stored")
    with Counted() as counts:
        response = push(deed("wm1", 1))
    assert answer(response) == (200, b"", "text/plain")
    assert counts.counts == {"default": 1, "dept_100": 0, "dept_101": 0}
    assert response.cookies == {}
    assert Callback.objects.get().xml.encode() == deed("wm1", 1)
    assert counted("stored") == before + 1


def test_a_repeat_is_the_same_callback_though_it_is_encrypted_anew() -> None:
    before = counted("repeat")
    push(deed("wm1", 1))
    assert answer(push(deed("wm1", 1))) == (200, b"", "text/plain")
    assert Callback.objects.get().arrivals == 2
    assert counted("repeat") == before + 1


def test_a_push_needs_no_csrf_token() -> None:
    assert push(deed("wm1", 1), client=Client(enforce_csrf_checks=True)).status_code == 200


def test_the_json_form_is_read_too() -> None:
    assert answer(push_json(deed("wm1", 1))) == (200, b"", "text/plain")
    assert Callback.objects.get().external_userid == "wm1"


def test_old_and_new_pairs_are_good_during_a_rotation(settings: Any) -> None:
    new = Pair.of("newToken", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG")
    assert answer(push(deed("wm1", 1), pair=new)) == REFUSED
    settings.WXWORK_CALLBACK_TOKEN = [TOKEN, "newToken"]
    settings.WXWORK_CALLBACK_AES_KEY = [AES_KEY, "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"]
    assert push(deed("wm1", 1), pair=new).status_code == 200
    assert push(deed("wm1", 2)).status_code == 200
    assert Callback.objects.count() == 2


GOOD = sealed(deed("wm1", 1))
STAMP, NONCE = "1790035200", "n"
SIGNED = {"msg_signature": sign(TOKEN, STAMP, NONCE, GOOD), "timestamp": STAMP, "nonce": NONCE}


def _numbered() -> Callable[[object], str]:
    numbers = itertools.count()
    return lambda _value: str(next(numbers))


def without(name: str) -> str:
    return urlencode({key: value for key, value in SIGNED.items() if key != name})


@pytest.mark.parametrize(
    ("query_string", "body", "kind"),
    [
        ("", body_of(GOOD), "query"),
        (without("msg_signature"), body_of(GOOD), "query"),
        (without("timestamp"), body_of(GOOD), "query"),
        (without("nonce"), body_of(GOOD), "query"),
        (urlencode(SIGNED | {"nonce": ""}), body_of(GOOD), "query"),
        (urlencode(SIGNED) + "&nonce=n", body_of(GOOD), "query"),
        (urlencode(SIGNED | {"x": "y" * 9000}), body_of(GOOD), "query"),
        (urlencode(SIGNED) + "&a=b" * 20, body_of(GOOD), "query"),
        (urlencode(SIGNED | {"msg_signature": "0" * 40}), body_of(GOOD), "signature"),
        (urlencode(SIGNED | {"timestamp": "1790035201"}), body_of(GOOD), "signature"),
        (urlencode(SIGNED), body_of(GOOD[:-4] + "AAA="), "signature"),
        (query("@@"), body_of("@@"), "ciphertext"),
        (query(sealed(deed("wm1", 1), receiveid="wwother")), None, "receiveid"),
        (urlencode(SIGNED), b"", "body"),
        (urlencode(SIGNED), b"<xml></xml>", "body"),
        (urlencode(SIGNED), b"<xml><Encrypt><Item>a</Item></Encrypt></xml>", "body"),
        (urlencode(SIGNED), b"not xml", "body"),
        (urlencode(SIGNED), b"{", "body"),
        (urlencode(SIGNED), b'{"encrypt": 1}', "body"),
        (urlencode(SIGNED), b"[1]", "body"),
        (urlencode(SIGNED), crypto("hostile_entity_bomb.xml"), "body"),
        (urlencode(SIGNED), b"\xff\xfe", "body"),
    ],
    ids=_numbered(),  # what is sealed is another text in every worker, and tests must have one name in all
)
def test_everything_untrusted_gets_the_same_answer(query_string: str, body: bytes | None, kind: str) -> None:
    if body is None:
        encrypted = sealed(deed("wm1", 1), receiveid="wwother")
        query_string, body = query(encrypted), body_of(encrypted)
    before = counted(kind)
    with Counted() as counts:
        response = Client().post(f"{URL}?{query_string}", body, content_type="text/xml")
    assert answer(response) == REFUSED
    assert set(response.headers) == HEADERS
    assert counts.counts["default"] == 0
    assert Callback.objects.count() == 0
    assert counted(kind) == before + 1


@pytest.mark.parametrize("vector", json.loads(crypto("negative_vectors.json")), ids=lambda one: one["id"])
def test_the_broken_vectors_are_refused_here_too(vector: dict[str, str], settings: Any) -> None:
    names = {"msg_signature": "msg_signature", "timestamp": "timestamp", "nonce": "nonce"}
    values = {name: vector[field] for name, field in names.items()}
    response = Client().post(f"{URL}?{urlencode(values)}", body_of(vector["encrypt"]), content_type="text/xml")
    assert answer(response) == REFUSED
    assert answer(Client().get(URL, values | {"echostr": vector["encrypt"]})) == REFUSED


@pytest.mark.parametrize(("tokens", "keys"), [(["new"], ["typo"]), (["new"], []), ([], [AES_KEY])])
def test_a_pair_that_is_none_keeps_the_other_in_use(settings: Any, tokens: list[str], keys: list[str]) -> None:
    settings.WXWORK_CALLBACK_TOKEN = [TOKEN, *tokens]
    settings.WXWORK_CALLBACK_AES_KEY = [AES_KEY, *keys]
    with structlog.testing.capture_logs() as logged:
        assert push(deed("wm1", 1)).status_code == 200
    assert [(one["event"], one["place"]) for one in logged if "place" in one] == (
        [("callback_pair_ignored", 2)] if keys and tokens else []
    )
    assert "typo" not in str(logged)


def test_without_pairs_nobody_is_trusted(settings: Any) -> None:
    settings.WXWORK_CALLBACK_TOKEN, settings.WXWORK_CALLBACK_AES_KEY = [], []
    assert answer(push(deed("wm1", 1))) == REFUSED


@pytest.mark.parametrize("method", ["put", "delete", "patch", "head", "options"])
def test_other_methods_are_not_allowed(method: str) -> None:
    response = getattr(Client(), method)(URL)
    assert (response.status_code, response["Allow"], response.content) == (405, "GET, POST", b"")


def test_large_bodies_are_not_read() -> None:
    response = Client().post(f"{URL}?{urlencode(SIGNED)}", b"x" * (64 * 1024 + 1), content_type="text/xml")
    assert (response.status_code, response.content) == (413, b"")
    padded = b"<xml><Encrypt>" + GOOD.encode() + b"</Encrypt>" + b" " * (60 * 1024) + b"</xml>"
    assert Client().post(f"{URL}?{urlencode(SIGNED)}", padded, content_type="text/xml").status_code == 200


def test_a_message_as_large_as_may_be_is_stored() -> None:
    xml = deed("wm1", 1, do="x" * 40_000)
    assert push(xml).status_code == 200
    assert Callback.objects.get().xml.encode() == xml


def test_a_bomb_inside_is_stored_as_a_dead_letter_and_answered() -> None:
    assert answer(push(crypto("hostile_entity_bomb.xml"))) == (200, b"", "text/plain")
    assert Callback.objects.get().state == "dead"


def test_old_signatures_are_refused_only_if_a_setting_says_so(settings: Any) -> None:
    with time_machine.travel(1790035200 + 700, tick=False):
        assert push(deed("wm1", 1)).status_code == 200
        settings.WXWORK_CALLBACK_MAX_AGE_SECONDS = 600
        before = counted("stale")
        assert answer(push(deed("wm1", 2))) == REFUSED
        assert counted("stale") == before + 1
    with time_machine.travel(1790035200 + 599, tick=False):
        assert push(deed("wm1", 2)).status_code == 200
    with time_machine.travel(1790035200 - 601, tick=False):
        assert answer(push(deed("wm1", 3))) == REFUSED
