"""Callbacks: wechatpy opens what is pushed; what goes wrong is what was asked for."""

import base64
import hashlib
import xml.etree.ElementTree as ElementTree

import httpx
import pytest
from wechatpy.enterprise.crypto import WeChatCrypto
from wechatpy.enterprise.exceptions import InvalidCorpIdException
from wechatpy.exceptions import InvalidSignatureException

from tests.wxwork.conftest import CALLBACK_AES_KEY, CALLBACK_TOKEN
from wxwork.simulator import ActError, crypto

ORACLE = WeChatCrypto(CALLBACK_TOKEN, CALLBACK_AES_KEY, "wwsimulator")


@pytest.fixture
def pushing(simulator, receiver):
    simulator.act("set_pushes", url=receiver.url, retry_seconds=0.05)
    return simulator


def opened(got):
    query, body = got
    return ElementTree.fromstring(
        ORACLE.decrypt_message(body, query["msg_signature"], query["timestamp"], query["nonce"])
    )


def test_wechatpy_opens_what_is_pushed(pushing, receiver):
    made = pushing.act("add_customer", staff="ChenSiYu", state="门店")
    assert pushing.pushes.wait_until_idle(5)
    found = {node.tag: node.text for node in opened(receiver.got[0])}
    assert found.pop("CreateTime").isdecimal()
    assert found == {
        "ToUserName": "wwsimulator",
        "FromUserName": "sys",
        "MsgType": "event",
        "Event": "change_external_contact",
        "ChangeType": "add_external_contact",
        "UserID": "ChenSiYu",
        "ExternalUserID": made["external_userid"],
        "State": "门店",
        "WelcomeCode": made["welcome_code"],
    }
    outer = ElementTree.fromstring(receiver.got[0][1])
    assert [node.tag for node in outer] == ["ToUserName", "AgentID", "Encrypt"]
    assert pushing.pushes.summary()["outcomes"] == {"delivered": 1}


@pytest.mark.parametrize("length", [0, 1, 15, 16, 27, 31, 32, 33, 500])
def test_messages_of_every_length_are_padded_to_32(length):
    message = ("客" * length).encode()
    sealed = crypto.encrypt(message, CALLBACK_AES_KEY, "wwsimulator")
    assert len(base64.b64decode(sealed)) % 32 == 0
    signature = crypto.sign(CALLBACK_TOKEN, "1", "2", sealed)
    assert signature == hashlib.sha1("".join(sorted([CALLBACK_TOKEN, "1", "2", sealed])).encode()).hexdigest()
    body = f"<xml><Encrypt>{sealed}</Encrypt></xml>"
    assert ORACLE.decrypt_message(body, signature, "1", "2") == message.decode()


def test_a_published_vector_comes_out_the_same():
    sealed = crypto.encrypt(
        b"1616140317555161061",
        "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C",
        "wx5823bf96d3bd56c7",
        random=bytes.fromhex("63343162363434393163323436386430"),
    )
    assert sealed == "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="
    signature = crypto.sign("QDG6eK", "1409659589", "263014780", sealed)
    assert signature == "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3"


def test_anything_but_200_is_pushed_again_sealed_afresh(pushing, receiver):
    receiver.statuses = [500, 302, 204]
    pushing.act("add_customer", staff="ChenSiYu")
    assert pushing.pushes.wait_until_idle(5)
    push = pushing.pushes.record[0]
    assert [attempt["status"] for attempt in push.attempts] == [500, 302, 204, 200]
    assert push.outcome == "delivered"
    assert len({body for _query, body in receiver.got}) == 4
    assert len({ElementTree.tostring(opened(got)) for got in receiver.got}) == 1


def test_after_three_repeats_a_push_is_given_up(pushing, receiver):
    receiver.statuses = [503] * 9
    pushing.act("add_customer", staff="ChenSiYu")
    assert pushing.pushes.wait_until_idle(5)
    assert (len(receiver.got), pushing.pushes.record[0].outcome) == (4, "failed")


def test_who_does_not_answer_in_time_is_asked_again(pushing, receiver):
    receiver.waits_seconds = 0.6
    pushing.act("set_pushes", timeout_seconds=0.2, retries=1)
    pushing.act("add_customer", staff="ChenSiYu")
    assert pushing.pushes.wait_until_idle(5)
    push = pushing.pushes.record[0]
    assert [attempt.get("error") for attempt in push.attempts] == ["ReadTimeout", "ReadTimeout"]
    assert push.outcome == "failed"


def test_pushes_of_one_customer_keep_their_order(pushing, receiver):
    customer = pushing.act("add_customer", staff="ChenSiYu")["external_userid"]
    for number in range(30):
        pushing.act("edit_customer", external_userid=customer, userid="ChenSiYu", remark=str(number))
    pushing.act("delete_customer", external_userid=customer, userid="ChenSiYu")
    assert pushing.pushes.wait_until_idle(10)
    changes = [opened(got).findtext("ChangeType") for got in receiver.got]
    assert changes == ["add_external_contact"] + ["edit_external_contact"] * 30 + ["del_external_contact"]


def test_pushes_are_doubled_lost_and_held_back_when_asked(pushing, receiver):
    pushing.act("set_pushes", duplicate=1)
    pushing.act("add_customer", staff="ChenSiYu")
    assert pushing.pushes.wait_until_idle(5)
    assert len(receiver.got) == 2
    pushing.act("set_pushes", duplicate=0, drop=1)
    pushing.act("add_customer", staff="ChenSiYu")
    pushing.act("set_pushes", drop=0, reorder=1, reorder_seconds=0.3)
    late = pushing.act("add_customer", staff="ChenSiYu")["external_userid"]
    pushing.act("set_pushes", reorder=0)
    pushing.act("edit_customer", external_userid=late, userid="ChenSiYu", remark="x")
    assert pushing.pushes.wait_until_idle(5)
    changes = [opened(got).findtext("ChangeType") for got in receiver.got[2:]]
    assert changes == ["edit_external_contact", "add_external_contact"]
    assert pushing.pushes.outcomes == {"delivered": 4, "dropped": 1}


def test_a_spoiled_push_is_refused_by_a_good_receiver_and_its_repeat_is_in_order(pushing, receiver):
    spoils = ["tampered_signature", "wrong_receiveid", "oversized", "entity_bomb", "inner_entity_bomb"]
    for spoil in spoils:
        receiver.got.clear()
        receiver.statuses = [400]
        pushing.act("set_pushes", **{spoil: 1})
        pushing.act("add_customer", staff="ChenSiYu")
        assert pushing.pushes.wait_until_idle(5)
        assert [attempt["spoiled"] for attempt in pushing.pushes.record[-1].attempts] == [spoil, ""]
        if spoil == "tampered_signature":
            with pytest.raises(InvalidSignatureException):
                opened(receiver.got[0])
        elif spoil == "wrong_receiveid":
            with pytest.raises(InvalidCorpIdException):
                opened(receiver.got[0])
        elif spoil == "oversized":
            assert len(receiver.got[0][1]) > 1024 * 1024
        elif spoil == "entity_bomb":
            assert receiver.got[0][1].startswith(b"<!DOCTYPE")
        else:
            query, body = receiver.got[0]
            inner = ORACLE.decrypt_message(body, query["msg_signature"], query["timestamp"], query["nonce"])
            assert inner.startswith("<!DOCTYPE xml [<!ENTITY a ")
        assert opened(receiver.got[1]).findtext("ChangeType") == "add_external_contact"


def test_contacts_have_no_agent_and_may_have_a_pair_of_their_own(pushing, receiver):
    own = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
    pushing.act("set_pushes", contacts_token="own", contacts_aes_key=own)
    pushing.act("department_create", id=130, name="成都店", parentid=101)
    assert pushing.pushes.wait_until_idle(5)
    query, body = receiver.got[0]
    assert [node.tag for node in ElementTree.fromstring(body)] == ["ToUserName", "Encrypt"]
    oracle = WeChatCrypto("own", own, "wwsimulator")
    inner = oracle.decrypt_message(body, query["msg_signature"], query["timestamp"], query["nonce"])
    assert "<Id>130</Id><Name><![CDATA[成都店]]></Name><ParentId><![CDATA[101]]></ParentId>" in inner


def test_the_url_is_verified_as_the_console_does(pushing, receiver):
    receiver.answers_get = b"wrong"
    assert pushing.act("verify_callback") == {"verified": False, "status": 200}
    query, _body = receiver.got[0]
    plain = ORACLE.check_signature(query["msg_signature"], query["timestamp"], query["nonce"], query["echostr"])
    assert plain.isdecimal()


def test_a_silent_act_happens_and_is_not_told(pushing, receiver):
    made = pushing.act("add_customer", staff="ChenSiYu", silent=True)
    pushing.act("bulk", n=20, seed=3, silent=True)
    assert made["external_userid"] in pushing.state.customers
    assert (list(pushing.pushes.record), receiver.got) == ([], [])


def test_a_receiver_that_is_away_is_recorded(simulator):
    with httpx.Client() as probe:  # a port that nobody listens on
        del probe
    simulator.act("set_pushes", url="http://127.0.0.1:9/callback", retries=1, retry_seconds=0.01)
    simulator.act("add_customer", staff="ChenSiYu")
    assert simulator.pushes.wait_until_idle(5)
    assert [attempt["error"] for attempt in simulator.pushes.record[0].attempts] == ["ConnectError"] * 2


def test_any_callback_can_be_pushed_and_pushed_again(pushing, receiver):
    fields = {"Id": 5, "Items": ["a", "b"], "Deep": {"Name": "]]>"}}
    made = pushing.act("push_callback", event="from_the_future", change_type="unheard_of", fields=fields)
    assert pushing.pushes.wait_until_idle(5)
    pushing.act("push_again", **made)
    assert pushing.pushes.wait_until_idle(5)
    first, second = map(opened, receiver.got)
    assert ElementTree.tostring(first) == ElementTree.tostring(second)
    assert [node.text for node in first.find("Items")] == ["a", "b"]
    assert (first.findtext("ChangeType"), first.findtext("Deep/Name")) == ("unheard_of", "]]>")
    with pytest.raises(ActError):
        pushing.act("push_again", id=99)
