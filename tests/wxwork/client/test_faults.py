"""What a call makes of everything that a host, or the way to it, may answer; and that secrets are seen nowhere."""

import json
import logging
import pickle
import socket
import threading
import time
import traceback
from collections import Counter

import httpx
import pytest
import structlog.testing

from tests.wxwork.client.recorder import TOKEN
from wxwork import counters, tally, transport
from wxwork.client import wecom
from wxwork.codes import CODES
from wxwork.errors import (
    ERRORS,
    BugError,
    BusinessError,
    ConfigError,
    DataError,
    LaterError,
    LimitedError,
    OutcomeUnknownError,
    RetryError,
    UnknownCodeError,
    WxworkError,
    error_for,
)

FOLLOW = "/cgi-bin/externalcontact/get_follow_user_list"
REMARK = "/cgi-bin/externalcontact/remark"
SEND = "/cgi-bin/message/send"
WELCOME = "/cgi-bin/externalcontact/send_welcome_msg"
ADD_WAY = "/cgi-bin/externalcontact/add_contact_way"
MASS = "/cgi-bin/externalcontact/add_msg_template"


pytestmark = pytest.mark.usefixtures("short_pauses")


# ---------------------------------------------------------------------------------------------------------------- codes
@pytest.mark.parametrize(
    "code", [code for code, known in CODES.items() if known.kind not in ("RETRY", "REFRESH", "WAIT")]
)
def test_a_code_becomes_the_error_that_says_what_can_be_done(recorder, code):
    recorder.answers[FOLLOW] = {"errcode": code, "errmsg": "whatever, hint: [1]", "follow_user": []}
    with pytest.raises(WxworkError) as caught:
        wecom().list_follow_staff()
    assert type(caught.value) is ERRORS[CODES[code].kind]
    assert (caught.value.code, caught.value.path) == (code, FOLLOW)
    assert CODES[code].meaning in str(caught.value)
    assert CODES[code].action in str(caught.value)
    assert len(recorder.calls(FOLLOW)) == 1 + (code == 40001)  # one other token, in case


@pytest.mark.parametrize("code", [-1, 6000, 45033, 45035, 41096])
def test_what_is_worth_another_try_is_tried_three_times_writes_too(recorder, code):
    recorder.answers[SEND] = {"errcode": code, "errmsg": "busy"}
    with pytest.raises(RetryError) as caught:
        wecom().send_app_message("text", "你好", userids=["zhang"])
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert len(recorder.calls(SEND)) == 3


def test_a_busy_wecom_that_answers_the_third_time_is_no_error(simulator):
    simulator.faults(FOLLOW, errcode=-1, times=2)
    assert wecom().list_follow_staff()


def test_a_code_that_nobody_knows_is_permanent(recorder):
    recorder.answers[FOLLOW] = {"errcode": 999_999, "errmsg": "new"}
    with pytest.raises(UnknownCodeError, match="999999"):
        wecom().list_follow_staff()
    assert len(recorder.calls(FOLLOW)) == 1


def test_the_empty_lists_of_a_failure_are_no_answer(simulator):
    simulator.faults("/cgi-bin/externalcontact/list", errcode=60011)
    with pytest.raises(ConfigError):
        wecom().list_customer_ids("ChenSiYu")


def test_84061_means_no_customers_on_one_call_only(simulator):
    path = "/cgi-bin/externalcontact/list"
    simulator.faults(path, errcode=84061)
    assert wecom().list_customer_ids("ChenSiYu") == []
    simulator.faults("/cgi-bin/externalcontact/get", errcode=84061)
    with pytest.raises(DataError):
        wecom().get_customer("wm1")


@pytest.mark.parametrize("errcode", [0, "0", None])
def test_success_is_an_errcode_of_zero_or_none(recorder, errcode):
    recorder.answers[FOLLOW] = {"errmsg": "not ok at all", "follow_user": ["zhang"]} | (
        {} if errcode is None else {"errcode": errcode}
    )
    assert wecom().list_follow_staff() == ["zhang"]


def test_a_code_in_a_text_counts_too(recorder):
    recorder.answers[FOLLOW] = {"errcode": "60011", "errmsg": ""}
    with pytest.raises(ConfigError):
        wecom().list_follow_staff()


def test_errors_can_be_sent_to_another_process():
    error = error_for(45009, "x", FOLLOW)
    error.retry_after_seconds = 12.5
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.code, copy.path, copy.retry_after_seconds) == (
        LimitedError, str(error), 45009, FOLLOW, 12.5,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------- answers that are none
NONSENSE = {
    "truncated": b'{"errcode": 0, "follow_us',
    "html": b"<html>Bad gateway</html>",
    "empty": b"",
    "list": b"[]",
    "null": b"null",
    "code that is no number": b'{"errcode": "x"}',
    "code that is true": b'{"errcode": true}',
    "code that is a list": b'{"errcode": [0]}',
    "a number that JSON does not know": b'{"errcode": 0, "follow_user": [NaN]}',
    "without the list": b'{"errcode": 0, "errmsg": "ok"}',
    "an object for the list": b'{"errcode": 0, "follow_user": {}}',
    "HTTP 500": (500, {}, b""),
    "HTTP 502": (502, {}, b"<html>"),
    "HTTP 404 without a body": (404, {}, b""),
    "HTTP 404 with one": (404, {}, b"not here"),
    "HTTP 403": (403, {}, b""),
    "broken gzip": (200, {"Content-Encoding": "gzip"}, b"no gzip"),
    "cut off": (200, {"Content-Length": "500", "Connection": "close"}, b'{"errcode": 0'),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_read_is_repeated_until_there_is_an_answer(recorder, name):
    is_answer = name in ("without the list", "an object for the list")
    recorder.answers[FOLLOW] = [NONSENSE[name], {"errcode": 0, "follow_user": ["zhang"]}]
    if is_answer:  # an answer whose list is missing is told at once, and not taken for an empty one
        with pytest.raises(RetryError):
            wecom().list_follow_staff()
    else:
        assert wecom().list_follow_staff() == ["zhang"]
    assert len(recorder.calls(FOLLOW)) == 2 - is_answer


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (b"\x14\xe7\x90\xa6", "\x14琦"),  # WeChat's nicknames have such things in them
        (b"a\xe4\xbd", "a\ufffd"),
        (b"a\\ud83d", "a?"),
        (b"\xed\xa0\xbd", "\ufffd\ufffd\ufffd"),
    ],
)
def test_a_name_with_broken_characters_does_not_cost_the_whole_answer(recorder, name, read):
    recorder.answers[FOLLOW] = b'{"errcode": 0, "follow_user": ["zhang", "' + name + b'"]}'
    assert wecom().list_follow_staff() == ["zhang", read]


def test_who_has_no_patience_left_does_not_begin_another_try(recorder):
    recorder.answers[FOLLOW] = (502, {}, b"")
    with pytest.raises(RetryError):
        wecom(patience_seconds=0.0001).list_follow_staff()
    assert len(recorder.calls(FOLLOW)) == 1


UNSURE = [name for name in NONSENSE if "list" not in name and name != "HTTP 404 without a body"]


@pytest.mark.parametrize("name", UNSURE)
def test_a_write_that_may_have_been_done_is_not_repeated(recorder, name):
    recorder.answers["*"] = NONSENSE[name] if name != "list" else b"[]"
    with pytest.raises(OutcomeUnknownError, match="may have been done"):
        wecom().send_app_message("text", "你好", userids=["zhang"])
    assert len(recorder.calls(SEND)) == 1


@pytest.mark.parametrize(
    ("path", "call"),
    [
        (ADD_WAY, lambda c: c.add_contact_way(users=["ChenSiYu"])),
        (MASS, lambda c: c.add_mass_message(sender="ChenSiYu", text="你好")),
        (SEND, lambda c: c.send_app_message("text", "你好", userids=["ChenSiYu"])),
        ("/cgi-bin/externalcontact/add_corp_tag", lambda c: c.add_tags(["新标签"], group_name="新组")),
    ],
)
def test_an_answer_that_is_lost_leaves_one_thing_done(simulator, path, call):
    simulator.faults(path, lost_answer=True)
    with pytest.raises(OutcomeUnknownError):
        call(wecom())
    assert simulator.corp.calls[path] == 1


def test_an_idempotent_write_whose_answer_is_lost_is_repeated(simulator):
    follow = next(iter(simulator.state.customers))
    staff = wecom().get_customer(follow)["follow_user"][0]["userid"]
    simulator.faults(REMARK, lost_answer=True)
    wecom().remark_customer(staff, follow, remark="两次一样")
    assert simulator.corp.calls[REMARK] == 2
    assert wecom().get_customer(follow)["follow_user"][0]["remark"] == "两次一样"


def test_nobody_there_is_tried_again_and_named_writes_too(settings, simulator):
    wecom().list_follow_staff()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings.WXWORK_BASE_URL = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(RetryError, match=r"127\.0\.0\.1:\d+ cannot be reached") as caught:
        wecom().send_app_message("text", "你好", userids=["ChenSiYu"])
    assert not isinstance(caught.value, OutcomeUnknownError)  # nothing was sent


def test_a_redirect_is_not_followed_with_the_token(recorder):
    recorder.answers[FOLLOW] = (301, {"Location": "https://elsewhere.invalid/"}, b"")
    with pytest.raises(ConfigError, match="WXWORK_BASE_URL"):
        wecom().list_follow_staff()
    assert len(recorder.calls(FOLLOW)) == 1


def test_429_of_a_gateway_is_a_limit(recorder):
    recorder.answers[FOLLOW] = (429, {}, b"")
    with pytest.raises(LimitedError):
        wecom().list_follow_staff()
    with pytest.raises(LimitedError):
        wecom().list_follow_staff()
    assert len(recorder.calls(FOLLOW)) == 1


def test_a_warning_is_logged_and_the_answer_taken(simulator):
    simulator.faults(FOLLOW, body="warning")
    with structlog.testing.capture_logs() as logs:
        assert wecom().list_follow_staff()
    assert [(line["event"], line["path"]) for line in logs if line["event"] == "wecom_warning"] == [
        ("wecom_warning", FOLLOW)
    ]


def test_who_answers_a_byte_at_a_time_does_not_hold_a_thread_for_ever(settings):
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.wait(0.05):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    threading.Thread(target=drip, daemon=True).start()
    settings.WXWORK_BASE_URL = f"http://127.0.0.1:{listener.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(RetryError, match="did not answer in time"):
        transport.send(transport.Request("GET", "/x", timeout_seconds=5, whole_seconds=0.4))
    assert time.monotonic() - began < 2
    stop.set()
    listener.close()


def test_a_slow_answer_is_given_up(recorder, simulator, settings):
    settings.WXWORK_BASE_URL = simulator.url
    simulator.faults("/cgi-bin/gettoken", latency_seconds=2, times=1)
    with pytest.raises(RetryError, match="did not answer in time"):
        transport.send(
            transport.Request("GET", "/cgi-bin/gettoken", {"corpid": "x"}, {"corpsecret": "y"}, timeout_seconds=0.2)
        )


def test_an_answer_that_never_ends_is_cut_off(recorder, monkeypatch):
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1000)
    recorder.answers[FOLLOW] = {"errcode": 0, "follow_user": ["x" * 5000]}
    with pytest.raises(RetryError, match="larger than"):
        wecom().list_follow_staff()


# ------------------------------------------------------------------------------------------------------ what is sent
TEXT = '你好，𠮷野家 🙂👨‍👩‍👧 "引号" \\反斜杠 \n换行 \t'


def test_texts_arrive_as_they_are_and_unescaped(recorder, simulator, settings):
    settings.WXWORK_BASE_URL = recorder.url
    settings.WXWORK_CORP_ID = "wwrecorder"
    wecom().send_app_message("text", TEXT, userids=["zhang"])
    (got,) = recorder.calls(SEND)
    assert b"\\u" not in got.body
    assert "你好，𠮷野家 🙂👨‍👩‍👧".encode() in got.body
    assert got.json["text"]["content"] == TEXT
    settings.WXWORK_BASE_URL, settings.WXWORK_CORP_ID = simulator.url, "wwsimulator"
    settings.WXWORK_SECRET = "simulator-secret"
    external_userid = next(iter(simulator.state.customers))
    staff = wecom().get_customer(external_userid)["follow_user"][0]["userid"]
    wecom().remark_customer(staff, external_userid, remark="𠮷老师🙂", description=TEXT)  # 40033 otherwise
    follow = wecom().get_customer(external_userid)["follow_user"][0]
    assert (follow["remark"], follow["description"]) == ("𠮷老师🙂", TEXT)


def test_control_characters_are_left_out_for_they_have_only_an_escaped_form(recorder):
    wecom().send_app_message("text", "一\x00二\x1b[31m三\u2028四\x7f", userids=["zhang"])
    (got,) = recorder.calls(SEND)
    assert b"\\u" not in got.body
    assert got.json["text"]["content"] == "一二[31m三\u2028四\x7f"


def test_the_token_is_in_the_query_and_nowhere_else(recorder):
    wecom().send_app_message("text", "x", userids=["zhang"])
    (got,) = recorder.calls(SEND)
    assert got.query == {"access_token": TOKEN}
    assert TOKEN.encode() not in got.body


def test_a_path_below_a_base_url_is_kept(recorder, settings):
    settings.WXWORK_BASE_URL = f"{recorder.url}/proxy/"
    recorder.answers["*"] = {"errcode": 0, "follow_user": []}
    recorder.answers["/proxy/cgi-bin/gettoken"] = {"errcode": 0, "access_token": "t", "expires_in": 7200}
    assert wecom().list_follow_staff() == []
    assert recorder.got[-1].path == f"/proxy{FOLLOW}"


def test_proxies_of_the_environment_are_used_but_not_for_this_machine(monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    assert transport._proxy_for("https://qyapi.weixin.qq.com") == "http://proxy.invalid:3128"
    assert transport._proxy_for("http://127.0.0.1:9000") is None
    monkeypatch.setenv("NO_PROXY", ".weixin.qq.com")
    assert transport._proxy_for("https://qyapi.weixin.qq.com") is None


# -------------------------------------------------------------------------------------------------------------- secrets
SECRETS = (TOKEN, "sec-VERYSECRETSECRET-0001", "wel-VERYSECRETCODE-0001", "log-VERYSECRETCODE-0001", "13800138777")


ECHO = "whatever the caller sent"


class Everything(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.getMessage()} {record.args!r}")


@pytest.mark.parametrize(
    "answer",
    [
        {"errcode": 41050, "errmsg": f"bad code {ECHO} for token {TOKEN}"},
        {"errcode": 40014, "errmsg": f"invalid access_token {TOKEN}"},
        {"errcode": 40001, "errmsg": "invalid credential sec-VERYSECRETSECRET-0001"},
        {"errcode": 0, "errmsg": f"Warning: wrong json format. {TOKEN}"},
        b"<html>" + TOKEN.encode(),
        (500, {}, TOKEN.encode()),
        (301, {"Location": f"https://elsewhere/?access_token={TOKEN}"}, b""),
        (200, {"Content-Length": "5000", "Connection": "close"}, b"{"),
    ],
)
def test_no_secret_is_in_a_log_an_exception_or_a_traceback(recorder, answer):
    handler = Everything()
    loggers = [logging.getLogger(name) for name in ("", "httpx", "wxwork")]  # LOG_LEVEL=DEBUG, and more
    before = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    seen: list[str] = []
    try:
        with structlog.testing.capture_logs() as logs:
            for call, sent in (
                (lambda c: c.send_welcome(SECRETS[2], "你好"), SECRETS[2]),
                (lambda c: c.get_login(SECRETS[3]), SECRETS[3]),
                (lambda c: c.find_userid(SECRETS[4]), SECRETS[4]),
                (lambda c: c.list_follow_staff(), "nothing"),
            ):
                is_json = isinstance(answer, dict)
                recorder.answers["*"] = json.loads(json.dumps(answer).replace(ECHO, sent)) if is_json else answer
                client = wecom()
                try:
                    call(client)
                except Exception as error:
                    seen += [repr(error), str(error), repr(error.__dict__), "".join(traceback.format_exception(error))]
                    chained = error.__cause__ or error.__context__
                    seen += [
                        repr(chained),
                        repr(getattr(chained, "_request", "")),
                        str(getattr(chained, "request", "")),
                    ]
                seen.append(repr(client))
    finally:
        logging.getLogger().removeHandler(handler)
        for logger, level in before:
            logger.setLevel(level)
    assert any("HTTP Request" in line for line in handler.lines)  # httpx does log, and was looked at
    text = "\n".join([*seen, *handler.lines, *map(str, logs)])
    for secret in SECRETS:
        assert secret not in text, text[max(0, text.find(secret) - 300) : text.find(secret) + 60]


def test_a_request_shows_no_secret():
    request = transport.Request(
        "GET",
        "/x",
        {"a": "shown"},
        {"access_token": "hidden"},
        b"hidden",
        transport.Upload("a", b"hidden"),
        hidden=("hidden",),
    )
    assert "hidden" not in repr(request)
    assert "shown" in repr(request)


def test_numbers_without_end_are_one_label(recorder):
    for code in (987_654_321, 987_654_322):
        recorder.answers[FOLLOW] = {"errcode": code, "errmsg": ""}
        with pytest.raises(UnknownCodeError):
            wecom().list_follow_staff()
    tally.show_in_metrics()
    labels = {sample.labels["code"] for sample in next(iter(counters.CALLS.collect())).samples}
    assert "unknown" in labels
    assert not [label for label in labels if label.startswith("98765")]


def test_the_authorities_are_read_once_for_all_clients():
    transport._authorities.cache_clear()
    for number in range(3):
        transport._make_client(f"https://host-{number}.invalid")
    assert transport._authorities.cache_info().misses == 1


def test_what_httpx_knows_of_a_request_has_no_token(recorder):
    recorder.answers["*"] = {"errcode": 0, "errmsg": "ok"}
    seen = []
    client = transport._client()
    client.event_hooks["request"].append(lambda request: seen.append(str(request.url)))
    try:
        wecom().send_app_message("text", "x", userids=["zhang"])
    finally:
        client.event_hooks["request"].clear()
    assert len(seen) == 2
    assert not [url for url in seen if "token=" in url or "secret=" in url]
    assert isinstance(client, httpx.Client)
    assert recorder.calls(SEND)[0].query == {"access_token": TOKEN}


def test_the_codes_are_those_of_the_contract():
    kinds = Counter(known.kind for known in CODES.values())
    assert kinds == Counter(
        RETRY=5, REFRESH=3, WAIT=1, LATER=5, MEDIA=2, CONFIG=26, DATA=39, BUSINESS=26, BUG=36, USER=4
    )
    assert ERRORS[CODES[41051].kind] is BusinessError
    assert ERRORS[CODES[41063].kind] is LaterError
    assert ERRORS[CODES[40033].kind] is BugError
    assert json.loads(json.dumps({str(code): known for code, known in CODES.items()}))


# --------------------------------------------------------------------------------------------------------------- alerts
def alerts_of(call, times=3):
    with structlog.testing.capture_logs() as logs:
        for _ in range(times):
            with pytest.raises(WxworkError):
                call()
    return [line for line in logs if line["log_level"] == "error"]


def test_what_somebody_must_look_at_is_logged_once_for_each_code(recorder, redis_client):
    recorder.answers[FOLLOW] = {"errcode": 999_999, "errmsg": "new"}
    (line,) = alerts_of(wecom().list_follow_staff)
    assert (line["event"], line["code"]) == ("wecom_unknown_code", 999_999)
    assert 86_000 < redis_client.ttl("wecom:said:unknown:999999") <= 86_400
    recorder.answers[FOLLOW] = {"errcode": 60011, "errmsg": ""}
    (line,) = alerts_of(wecom().list_follow_staff)
    assert (line["event"], line["path"]) == ("wecom_wants_configuration", FOLLOW)
    recorder.answers[FOLLOW] = {"errcode": 84061, "errmsg": ""}
    assert alerts_of(wecom().list_follow_staff) == []


def test_a_request_that_is_wrong_is_logged_by_its_shape_and_without_its_contents(recorder):
    recorder.answers[SEND] = {"errcode": 40058, "errmsg": "bad parameter"}
    (line,) = alerts_of(lambda: wecom().send_app_message("text", "秘密的内容", userids=["zhang"]))
    assert line["event"] == "wecom_refuses_our_request"
    assert line["shape"]["text"] == {"content": "text of 5"}
    assert "秘密" not in str(line)
    assert "zhang" not in str(line)


def test_a_secret_that_calls_refuse_again_and_again_is_not_fetched_for_each(recorder):
    recorder.answers[FOLLOW] = {"errcode": 40001, "errmsg": "invalid credential"}
    for _ in range(5):
        with pytest.raises(ConfigError):
            wecom().list_follow_staff()
    assert len(recorder.calls("/cgi-bin/gettoken")) == 2
    assert len(recorder.calls(FOLLOW)) == 2
