"""wxwork.messages: every callback of the contract, both envelopes, and what no message may do."""

import doctest
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxwork import crypto, messages, vocabulary
from wxwork.inbox import masking
from wxwork.messages import MAX_BYTES, MessageError, parse_message

FIXTURES = Path(__file__).parent / "fixtures"
HEAD = "<xml><CreateTime>1790035200</CreateTime><MsgType><![CDATA[event]]></MsgType>"


@pytest.mark.parametrize("module", [crypto, messages, masking, vocabulary], ids=lambda one: one.__name__)
def test_examples(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert (found.attempted > 0, found.failed) == (True, 0)


def message(inside: str, event: str = "change_external_contact", change_type: str = "edit_external_contact"):
    kind = f"<Event><![CDATA[{event}]]></Event><ChangeType><![CDATA[{change_type}]]></ChangeType>"
    return parse_message(f"{HEAD}{kind}{inside}</xml>".encode())


def read(name: str):
    return parse_message((FIXTURES / "callbacks" / f"{name}.xml").read_bytes())


KEYS = {
    "change_contact__create_party": "department:8",
    "change_contact__create_user": "staff:sunyue",
    "change_contact__create_user_min": "staff:sunyue",
    "change_contact__delete_party": "department:8",
    "change_contact__delete_user": "staff:hejun",
    "change_contact__update_party": "department:8",
    "change_contact__update_tag": "staff_tags",
    "change_contact__update_user": "staff:sunyue",
    "change_external_tag__create": "tags",
    "change_external_tag__delete": "tags",
    "change_external_tag__shuffle": "tags",
    "change_external_tag__update": "tags",
    "customer_acquisition__balance_exhausted": "acquisition",
    "customer_acquisition__balance_increased": "acquisition",
    "customer_acquisition__balance_low": "acquisition",
    "customer_acquisition__quota_expire_soon": "acquisition",
    "customer_acquisition__customer_start_chat": "customer:wmQx7DCwAAk3bTzV8yP0sJh2LrFe9aMg",
    "customer_acquisition__del_follow_user": "customer:wmQx7DCwAAk3bTzV8yP0sJh2LrFe9aMg",
    "batch_job_result": "other:batch_job_result",
    "msgaudit_notify": "other:msgaudit_notify",
    "click": "other:click:linxiaoyu",
    "enter_agent": "other:enter_agent:linxiaoyu",
    "subscribe": "other:subscribe:linxiaoyu",
    "unsubscribe": "other:unsubscribe:linxiaoyu",
    "template_card_event": "other:template_card_event:linxiaoyu",
}


@pytest.mark.parametrize("path", sorted((FIXTURES / "callbacks").glob("*.xml")), ids=lambda path: path.stem)
def test_every_callback_of_the_contract_has_its_kind_time_and_key(path: Path) -> None:
    found = parse_message(path.read_bytes())
    event, _, change_type = path.stem.partition("__")
    assert found.event == event
    for more in ("_min", "_add_member", "_del_member", "_change_owner", "_change_name", "_change_notice"):
        change_type = change_type.removesuffix(more)
    assert found.change_type == change_type
    assert found.created_at == datetime(2026, 9, 22, tzinfo=UTC)
    if path.stem in KEYS:
        assert found.key == KEYS[path.stem]
    elif event == "change_external_contact":
        assert found.key == f"customer:{found.external_userid}"
        assert found.external_userid.startswith(("wm", "wo"))
    elif event == "change_external_chat":
        assert found.key == f"group:{found.text('ChatId')}"
    else:
        assert found.key == "link:cawcde3f7a91b04c58"


def test_one_item_and_several_are_both_a_list() -> None:
    assert read("change_external_chat__update_del_member").items("MemChangeList") == [
        "wmQx7DCwAAv5nRcX1uD7tKo4GiSb6wEq"
    ]
    assert read("change_external_chat__update_add_member").fields["MemChangeList"] == [
        "wmQx7DCwAAk3bTzV8yP0sJh2LrFe9aMg",
        "wmQx7DCwAAv5nRcX1uD7tKo4GiSb6wEq",
    ]
    assert message("<MemChangeList>wm1</MemChangeList>").items("MemChangeList") == ["wm1"]
    assert message("<MemChangeList></MemChangeList>").items("MemChangeList") == []
    assert message("").items("MemChangeList") == []


def test_an_empty_element_is_not_a_missing_one() -> None:
    found = read("change_contact__update_tag")
    assert found.fields["DelUserItems"] == ""
    assert "Name" not in found.fields
    assert (found.text("Name"), found.text("DelUserItems")) == ("", "")
    assert found.split("AddUserItems") == ["linxiaoyu", "chenhao"]
    assert found.split("DelUserItems") == []


def test_space_around_cdata_goes_and_space_inside_a_name_stays() -> None:
    found = message("<Avatar>\n  <![CDATA[http://a/0]]>\n</Avatar><Name><![CDATA[王 一]]></Name>")
    assert (found.text("Avatar"), found.text("Name")) == ("http://a/0", "王 一")


@pytest.mark.parametrize("spelling", ["NewUserID", "NewUserId"])
def test_both_spellings_of_a_new_userid(spelling: str) -> None:
    found = message(f"<UserID>SunYue</UserID><{spelling}>sunyue01</{spelling}>", "change_contact", "update_user")
    assert found.text("NewUserID") == "sunyue01"
    assert found.key == "staff:sunyue"
    assert found.text("UserID") == "SunYue"


def test_nested_elements_come_by_their_path() -> None:
    assert read("batch_job_result").text("BatchJob.JobType") == "replace_user"
    found = read("change_contact__create_user")
    assert found.fields["ExtAttr.Item.Name"] == ["工号", "主页"]
    assert found.text("ExtAttr.Item.Text.Value") == "XH1031"


def test_unknown_kinds_and_tags_are_messages_like_others() -> None:
    found = message("<Brand><New>1</New></Brand>", "brand_new", "thing")
    assert (found.event, found.change_type, found.key) == ("brand_new", "thing", "other:brand_new")
    assert found.fields["Brand.New"] == "1"


def test_ordinary_messages_have_their_type_for_a_kind() -> None:
    xml = b"<xml><CreateTime>1</CreateTime><FromUserName>chen</FromUserName><MsgType>text</MsgType></xml>"
    found = parse_message(xml)
    assert (found.event, found.change_type, found.key) == ("message", "text", "other:message:chen")


def test_the_envelope_of_third_party_apps() -> None:
    found = parse_message(
        b"<xml><SuiteId>s</SuiteId><InfoType>change_external_contact</InfoType><TimeStamp>1790035200</TimeStamp>"
        b"<ChangeType>del_follow_user</ChangeType><UserID>u</UserID><ExternalUserID>wm1</ExternalUserID></xml>"
    )
    assert (found.event, found.change_type, found.key) == ("change_external_contact", "del_follow_user", "customer:wm1")
    assert found.created_at == datetime(2026, 9, 22, tzinfo=UTC)


def test_a_key_has_a_bounded_length_and_still_tells_apart() -> None:
    first, second = (message(f"<ExternalUserID>{'w' * 200}{n}</ExternalUserID>") for n in "12")
    assert len(first.key) <= 160
    assert first.key != second.key
    assert first.external_userid == "w" * 200 + "1"


def test_a_message_keeps_its_contents_out_of_its_repr() -> None:
    assert "13800138003" not in repr(read("change_contact__create_user"))


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"not xml",
        b"<xml><CreateTime>1</CreateTime>",
        b"<html><CreateTime>1</CreateTime></html>",
        b"<xml></xml>",
        b"<xml><CreateTime></CreateTime></xml>",
        b"<xml><CreateTime>-5</CreateTime></xml>",
        b"<xml><CreateTime>1e9</CreateTime></xml>",
        b"<xml><CreateTime>99999999999999999999</CreateTime></xml>",
        # The last second of the year 9999, which is in no year in Asia/Shanghai.
        b"<xml><CreateTime>253402300799</CreateTime></xml>",
        "<xml><CreateTime>１７９</CreateTime></xml>".encode(),
        b"<xml><CreateTime>1</CreateTime><A>\xff</A></xml>",
        b"<xml><CreateTime>1</CreateTime><A>\x00</A></xml>",
        "<xml><CreateTime>1</CreateTime></xml>".encode("utf-16"),
        b"<xml><CreateTime>1</CreateTime>" + b"<a>" * 9 + b"</a>" * 9 + b"</xml>",
        b"<xml><CreateTime>1</CreateTime>" + b"<a>" * 8000 + b"</a>" * 8000 + b"</xml>",
        b"<xml><CreateTime>1</CreateTime><A>" + b"x" * MAX_BYTES + b"</A></xml>",
        b"<xml><CreateTime>1</CreateTime><Event>" + b"x" * 65 + b"</Event></xml>",
        b"<xml><CreateTime>1</CreateTime><ExternalUserID>" + b"x" * 257 + b"</ExternalUserID></xml>",
        (FIXTURES / "crypto" / "hostile_entity_bomb.xml").read_bytes(),
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x"><xml><CreateTime>1</CreateTime></xml>',
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><CreateTime>1</CreateTime><A>&a;</A></xml>',
        b"<!DOCTYPE xml><xml><CreateTime>1</CreateTime></xml>",
        b"<xml><CreateTime>1</CreateTime><A>&nbsp;</A></xml>",
    ],
    ids=lambda xml: repr(xml[:40]),
)
def test_what_no_message_may_be(xml: bytes) -> None:
    with pytest.raises(MessageError) as refused:
        parse_message(xml)
    assert len(str(refused.value)) < 100


def test_an_encoding_declared_means_nothing() -> None:
    found = parse_message(
        '\ufeff<?xml version="1.0" encoding="gb2312"?><xml><CreateTime>1</CreateTime><Name>周</Name></xml>'.encode()
    )
    assert found.text("Name") == "周"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for xml in (content, b"<xml><CreateTime>1</CreateTime>" + content + b"</xml>"):
        with suppress(MessageError):
            parse_message(xml)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z][A-Za-z]{1,9}", fullmatch=True),
        st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"], exclude_characters="]")),
        max_size=6,
    )
)
def test_every_text_in_cdata_comes_out_as_it_is(fields: dict[str, str]) -> None:
    fields.pop("CreateTime", None)
    body = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items())
    found = parse_message(f"<xml><CreateTime>1</CreateTime>{body}</xml>".encode())
    assert {name: found.text(name) for name in fields} == {name: value.strip() for name, value in fields.items()}
