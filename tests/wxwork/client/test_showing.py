"""What people see: the page of limits, /metrics, and the words of doctor."""

import re
import time

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from customers.models import Audit
from scrm import doctor
from scrm.doctor.findings import registered
from wxwork import budget, tokens, troubles
from wxwork.client import wecom
from wxwork.errors import ConfigError, LimitedError, RetryError
from wxwork.pages.limits import duration

FOLLOW = "/cgi-bin/externalcontact/get_follow_user_list"
URL = "/admin/wxwork/apilimit/"


def log_in(*permissions: str) -> Client:
    user = User.objects.create_user(f"operator{len(permissions)}", is_staff=True)
    for codename in permissions:
        user.user_permissions.add(Permission.objects.get(content_type__app_label="wxwork", codename=codename))
    client = Client()
    client.force_login(user)
    return client


def text_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


# ----------------------------------------------------------------------------------------------------------------- page
def test_the_page_wants_its_permission(clean_databases):
    assert Client().get(URL).headers["Location"] == f"/admin/login/?next={URL}"
    assert log_in().get(URL).status_code == 403
    client = log_in("view_apilimit")
    assert client.get(URL).status_code == 200
    assert client.post(f"{URL}retry/").status_code == 403


def test_the_page_shows_what_is_used_and_left(clean_databases, simulator):
    for _ in range(3):
        wecom().list_follow_staff()
    simulator.faults("/cgi-bin/department/list", errcode=45009)
    with pytest.raises(LimitedError):
        wecom().list_departments()
    text = text_of(log_in("view_apilimit").get(URL))
    assert f"{FOLLOW} 正常 3 4,997 3 119,997 0 / 8 现在" in text
    # A minute less what the page took.
    assert re.search(r"/cgi-bin/department/list 超出每分钟上限 1 4,999 1 119,999 0 / 8 (1 分|\d\d 秒)后", text)
    assert "令牌还有 1 小时 55 分" in text
    assert "simulator-secret" not in text


def test_refused_credentials_are_shown_and_can_be_tried_again(clean_databases, simulator, settings):
    settings.WXWORK_SECRET = "wrong"
    with pytest.raises(ConfigError):
        wecom().list_follow_staff()
    client = log_in("view_apilimit", "change_apilimit")
    text = text_of(client.get(URL))
    assert "被拒绝 40001 10 分内不再调用" in text
    assert "请核对 WXWORK_SECRET" in text
    assert client.get(f"{URL}retry/").status_code == 405
    assert client.post(f"{URL}retry/").headers["Location"] == URL
    assert Audit.objects.filter(action="retry_wecom").count() == 1
    assert tokens.grant_of(tokens.credential()).find_refusal() is None
    assert "尚未使用" in text_of(client.get(URL))


def test_the_page_of_a_company_without_settings(clean_databases, settings):
    settings.WXWORK_SECRET = settings.WXWORK_CONTACTS_SECRET = ""
    text = text_of(log_in("view_apilimit").get(URL))
    assert text.count("未配置") >= 2
    assert "最近没有调用过企业微信的接口" in text


def test_the_page_without_redis(clean_databases, simulator, settings, valkey_server):
    server = valkey_server()
    settings.REDIS_URL = server.url
    server.stop()
    wecom().list_follow_staff()
    text = text_of(log_in("view_apilimit").get(URL))
    assert "Redis 无法连接" in text
    assert FOLLOW in text


def test_durations_read_well():
    assert [duration(seconds) for seconds in (0, 59, 60, 90, 3_599, 7_260, 86_400)] == [
        "不到 1 秒", "59 秒", "1 分", "2 分", "1 小时", "2 小时 1 分", "24 小时",
    ]  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- metrics
def test_metrics_count_calls_and_tell_the_budget(clean_databases, simulator):
    wecom().list_follow_staff()
    simulator.faults(FOLLOW, errcode=45009)
    with pytest.raises(LimitedError):
        wecom().list_follow_staff()
    found = figures()
    assert found[f'scrm_wecom_calls_total{{api="{FOLLOW}",code="0"}}'] >= 1
    assert found[f'scrm_wecom_calls_total{{api="{FOLLOW}",code="45009"}}'] >= 1
    assert found['scrm_wecom_calls_total{api="/cgi-bin/gettoken",code="0"}'] >= 1
    assert found[f'scrm_wecom_budget_left{{api="{FOLLOW}",window="minute"}}'] == 4_998
    assert found[f'scrm_wecom_budget_used{{api="{FOLLOW}",window="hour"}}'] == 2
    assert found[f'scrm_wecom_circuit_open{{api="{FOLLOW}"}}'] == 1
    assert 55 < found[f'scrm_wecom_next_free_seconds{{api="{FOLLOW}"}}'] <= 60
    assert found['scrm_wecom_credentials_refused{credential="customers"}'] == 0
    assert found[f'scrm_wecom_call_seconds_count{{api="{FOLLOW}"}}'] >= 2


def figures() -> dict[str, float]:
    lines = Client().get("/metrics").content.decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("scrm_wecom")}


def test_metrics_of_a_redis_that_has_lost_everything_leave_no_circuit_open(clean_databases, simulator, redis_client):
    simulator.faults(FOLLOW, errcode=45009)
    with pytest.raises(LimitedError):
        wecom().list_follow_staff()
    assert figures()[f'scrm_wecom_circuit_open{{api="{FOLLOW}"}}'] == 1
    redis_client.flushdb()
    found = figures()
    assert found[f'scrm_wecom_circuit_open{{api="{FOLLOW}"}}'] == 0
    assert found[f'scrm_wecom_next_free_seconds{{api="{FOLLOW}"}}'] == 0
    assert found[f'scrm_wecom_budget_left{{api="{FOLLOW}",window="minute"}}'] == 5_000


def test_metrics_tell_of_the_contacts_secret_where_it_is_the_only_one(clean_databases, simulator, settings):
    settings.WXWORK_SECRET, settings.WXWORK_CONTACTS_SECRET = "", "wrong"
    with pytest.raises(ConfigError):
        wecom().list_departments()
    assert figures()['scrm_wecom_credentials_refused{credential="contacts"}'] == 1


def test_metrics_answer_without_redis_and_without_settings(clean_databases, settings, valkey_server):
    server = valkey_server()
    settings.REDIS_URL, settings.WXWORK_SECRET = server.url, ""
    server.stop()
    assert Client().get("/metrics").status_code == 200


# --------------------------------------------------------------------------------------------------------------- doctor
def found_troubles() -> list[doctor.Finding]:
    return list(troubles.find_troubles())


def test_doctor_asks_for_the_link_and_finds_it_in_order(simulator):
    assert registered()["wecom"] is troubles.find_troubles
    assert found_troubles() == []
    assert sum(simulator.corp.calls.values()) == 3  # a token (both secrets are one here), and one list with each


def test_doctor_says_that_nothing_is_configured(settings, simulator):
    settings.WXWORK_SECRET = settings.WXWORK_CONTACTS_SECRET = ""
    (one,) = found_troubles()
    assert (one.is_problem, "WXWORK_SECRET is not set" in one.trouble) == (False, True)
    settings.WXWORK_SECRET, settings.WXWORK_CORP_ID = "x", ""
    (one,) = found_troubles()
    assert "WXWORK_CORP_ID is not set" in one.trouble
    assert sum(simulator.corp.calls.values()) == 0


@pytest.mark.parametrize(
    ("setting", "value", "code", "words"),
    [
        ("WXWORK_SECRET", "wrong", "40001", "into WXWORK_SECRET"),
        ("WXWORK_CONTACTS_SECRET", "wrong", "40001", "into WXWORK_CONTACTS_SECRET"),
        ("WXWORK_CORP_ID", "wwother", "40013", "企业ID"),
    ],
)
def test_doctor_names_the_setting_that_wecom_refuses(simulator, settings, setting, value, code, words):
    setattr(settings, setting, value)
    one = found_troubles()[0]
    assert one.is_problem
    assert f"code {code}" in one.trouble
    assert words in one.remedy
    again = found_troubles()[0]  # from what is remembered: WeCom is not asked again
    assert f"code {code}" in again.trouble
    assert "not asked again" in again.trouble
    assert "wrong" not in (one.trouble + one.remedy).replace("What is wrong", "")


def test_doctor_tells_of_an_address_that_is_not_trusted(simulator):
    simulator.act("set_trusted_ips", ips=["10.0.0.1"])
    found = found_troubles()
    assert "code 60020" in found[0].trouble
    assert "from ip: 127.0.0.1" in found[0].trouble
    assert "企业可信IP" in found[0].remedy


def test_doctor_tells_of_an_application_that_is_not_listed(simulator):
    simulator.act("set_app", agentid=1000025, customers=False)
    (one,) = found_troubles()
    assert "code 48002" in one.trouble
    assert "可调用接口的应用" in one.remedy


@pytest.mark.usefixtures("short_pauses")
def test_doctor_tells_of_a_host_that_cannot_be_reached(simulator, settings):
    settings.WXWORK_BASE_URL = "http://127.0.0.1:1"
    began = time.monotonic()
    one = found_troubles()[0]
    assert "127.0.0.1" in one.trouble
    assert "cannot be reached" in one.trouble
    assert "WXWORK_BASE_URL" in one.remedy
    assert time.monotonic() - began < 10


def test_doctor_tells_of_an_agent_id_that_is_none_and_of_blocks(simulator, settings):
    settings.WXWORK_AGENT_ID = "app"
    simulator.faults("/cgi-bin/user/get", errcode=45009)
    with pytest.raises((LimitedError, RetryError)):
        wecom().get_staff("ChenSiYu")
    agent, block = found_troubles()
    assert "WXWORK_AGENT_ID" in agent.trouble
    assert "/cgi-bin/user/get" in block.trouble
    assert not block.is_problem
    assert budget.usage()["/cgi-bin/user/get"].open_seconds > 50
