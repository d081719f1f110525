"""Pages signed for the JSSDK: the published vectors, whose pages, tickets that all processes share, the endpoint."""

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from scrm.held import forget_all
from tests.api.clients import Api, fields, problem
from wxwork import grants, jssdk, tickets, transport
from wxwork.errors import RetryError
from wxwork.jssdk import PageError, origin_of, page_of, sign

pytestmark = pytest.mark.usefixtures("short_pauses")

TICKET = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg"
CORP_TICKET, AGENT_TICKET = "/cgi-bin/get_jsapi_ticket", "/cgi-bin/ticket/get"
ORIGIN = "https://sidebar.example.com"
PAGE = f"{ORIGIN}/客户/?from=工具栏&x=1"
PATH = "/wxwork/jssdk-config/?url="


@pytest.mark.parametrize(
    ("ticket", "noncestr", "timestamp", "url", "signature"),
    [
        (TICKET, "Wm3WZYTPz0wzccnW", 1414587457, "http://mp.weixin.qq.com?params=value",
         "0f9de62fce790f9a083d5c99e95740ceb90c27ed"),
        (TICKET, "Wm3WZYTPz0wzccnW", 1414587457, "http://mp.weixin.qq.com", "f4d90daf4b3bca3078ab155816175ba34c443a7b"),
        ("simTicketAgentHoagFKDcsGMVCIY2vOjf9sample02", "simNonce01", 1790035200,
         "https://scrm.example.com/sidebar/?from=工具栏&x=1", "92dde7eb64471ccf4ad9f30bb30d40625c9bf5ec"),
    ],
)  # fmt: skip
def test_published_vectors(ticket, noncestr, timestamp, url, signature):
    assert sign(ticket, noncestr=noncestr, timestamp=timestamp, url=url) == signature


@pytest.mark.parametrize(
    ("page", "signed"),
    [
        (f"{ORIGIN}/a?b=c#d#e", f"{ORIGIN}/a?b=c"),
        ("https://SIDEBAR.example.com:443/", "https://SIDEBAR.example.com:443/"),
        (ORIGIN, ORIGIN),
        (f"{ORIGIN}#x", ORIGIN),
        ("http://127.0.0.1:8000/x", "http://127.0.0.1:8000/x"),
        (PAGE, PAGE),
    ],
)
def test_pages_of_allowed_origins_are_signed_without_their_fragment(page, signed):
    assert page_of(page, [ORIGIN, "http://127.0.0.1:8000/"]) == signed


@pytest.mark.parametrize(
    "page",
    [
        *("http://sidebar.example.com/", f"{ORIGIN}:8443/", "https://example.com/", "https://sidebar.example.com.evil.com/"),
        *("https://evil-sidebar.example.com/", f"{ORIGIN}@evil.com/", "https://evil.com/#@sidebar.example.com/"),
        *(f"{ORIGIN}\\@evil.com/", "https:\\\\sidebar.example.com\\", f"{ORIGIN} .evil.com/", f" {ORIGIN}/"),
        *(f"https://evil.com?{ORIGIN}", "https://user:pass@sidebar.example.com/", "javascript:alert(1)"),
        *("//sidebar.example.com/", "sidebar.example.com", "", "https://", "https://[::1", f"{ORIGIN}:99999/"),
        *(f"{ORIGIN}:x/", f"{ORIGIN}/\n", f"{ORIGIN}/\x00", f"{ORIGIN}/\ud800", f"{ORIGIN}/" + "x" * 2048),
        *("https://sidebar。example.com/", "file:///etc/passwd", "ftp://sidebar.example.com/"),
        "https://sidebar.example.com\t.evil.com/",
    ],
)  # fmt: skip
def test_other_pages_are_not(page):
    with pytest.raises(PageError):
        page_of(page, [ORIGIN])


def test_without_origins_nothing_is_signed():
    with pytest.raises(PageError) as caught:
        page_of(f"{ORIGIN}/", [])
    assert caught.value.code == "origin_not_allowed"
    assert origin_of("https://a.example.com.:443/") == ("https", "a.example.com", 443)


# -------------------------------------------------------------------------------------------------------------- tickets
def test_tickets_are_fetched_once_for_all_and_apart_from_each_other(simulator, redis_client):
    with ThreadPoolExecutor(8) as pool:
        found = set(
            pool.map(lambda number: tickets.get(tickets.CORP if number % 2 else tickets.AGENT_CONFIG), range(24))
        )
    assert len(found) == 2
    assert (simulator.corp.calls[CORP_TICKET], simulator.corp.calls[AGENT_TICKET]) == (1, 1)
    digest = hashlib.sha256(b"simulator-secret").hexdigest()[:16]
    assert 6_800 < redis_client.ttl(f"wecom:ticket:wwsimulator:{digest}:agent_config") <= 6_900


def test_a_ticket_that_cannot_be_had_is_asked_for_again_soon(simulator):
    simulator.faults(CORP_TICKET, status=502, times=3)
    with pytest.raises(RetryError):
        tickets.get(tickets.CORP)
    with pytest.raises(RetryError):
        tickets.get(tickets.CORP)
    assert simulator.corp.calls[CORP_TICKET] == 3
    tickets.grant_of(tickets.CORP).allow()
    assert tickets.get(tickets.CORP)


def test_a_ticket_that_wecom_lets_hang_holds_no_page_and_no_lock(simulator, monkeypatch, redis_client):
    monkeypatch.setattr(tickets, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(tickets, "PATIENCE_SECONDS", 0.2)
    simulator.faults(CORP_TICKET, latency_seconds=1.5, times=None)
    began = time.monotonic()
    with pytest.raises(RetryError):
        tickets.get(tickets.CORP)
    assert time.monotonic() - began < 1.4
    assert simulator.corp.calls[CORP_TICKET] == 1
    assert not [key for key in redis_client.keys("*") if key.endswith(b":lock")]


def test_a_page_does_not_wait_longer_than_a_ticket_is_locked():
    longest = transport.Request("GET", CORP_TICKET, timeout_seconds=tickets.ANSWER_SECONDS).longest_seconds
    assert tickets.PATIENCE_SECONDS + longest < grants.LOCK_SECONDS


# ------------------------------------------------------------------------------------------------------------- endpoint
@pytest.fixture
def api(clean_databases, simulator, settings):
    forget_all()
    settings.WXWORK_JSSDK_ORIGINS = [ORIGIN]
    yield Api(scopes=["wxwork:jssdk"])
    forget_all()


def test_a_page_gets_both_signatures(api, simulator):
    response = api.get(PATH + quote(f"{PAGE}#top", safe=""))
    assert response.status_code == 200, response.content
    found = json.loads(response.content)
    assert found.keys() == {"url", "config", "agent_config"}
    assert found["url"] == PAGE
    assert found["config"].keys() == {"appId", "timestamp", "nonceStr", "signature"}
    assert found["agent_config"].keys() == {"corpId", "agentId", "timestamp", "nonceStr", "signature"}
    assert (found["config"]["appId"], found["agent_config"]["corpId"]) == ("wwsimulator", "wwsimulator")
    assert found["agent_config"]["agentId"] == "1000025"
    for name, kind in (("config", "corp"), ("agent_config", "agent/1000025")):
        part = found[name]
        ticket = simulator.corp.auth.tickets[kind][0]
        assert part["signature"] == sign(
            ticket, noncestr=part["nonceStr"], timestamp=part["timestamp"], url=found["url"]
        )
    assert found["config"]["nonceStr"] != found["agent_config"]["nonceStr"]
    assert api.get(PATH + quote(PAGE)).status_code == 200
    assert simulator.corp.calls[CORP_TICKET] == 1


def test_who_may_not_and_what_is_wrong(api, simulator, settings):
    assert problem(api.get(PATH + quote("https://evil.example.com/"))) == (403, "origin_not_allowed")
    assert fields(api.get("/wxwork/jssdk-config/")) == {"url": "required"}
    assert fields(api.get(PATH + "nonsense")) == {"url": "not_a_url"}
    assert fields(api.get(PATH + "x" * 3000)) == {"url": "too_long"}
    assert fields(api.get(PATH + "x&uri=y")) == {"uri": "unknown"}
    assert fields(api.get(PATH + "x&url=y")) == {"url": "repeated"}
    assert problem(Api("other", scopes=["customers:read"]).get(PATH + quote(PAGE))) == (403, "missing_scope")
    assert problem(api.send("POST", PATH + quote(PAGE), {})) == (405, "method_not_allowed")
    assert simulator.corp.calls[CORP_TICKET] == 0
    settings.WXWORK_JSSDK_ORIGINS = []
    assert problem(api.get(PATH + quote(PAGE))) == (403, "origin_not_allowed")


def test_without_wecom_there_is_no_signature_and_no_fault(api, simulator, settings):
    settings.WXWORK_SECRET = "wrong"
    response = api.get(PATH + quote(PAGE))
    assert problem(response) == (503, "wecom_refused")
    assert b"40001" not in response.content
    settings.WXWORK_SECRET = ""
    assert problem(api.get(PATH + quote(PAGE))) == (503, "wecom_refused")
    settings.WXWORK_SECRET = "simulator-secret"
    simulator.faults(CORP_TICKET, status=502, times=None)
    response = api.get(PATH + quote(PAGE))
    assert problem(response) == (503, "wecom_unavailable")
    assert response["Retry-After"]


def test_a_signature_is_over_the_page_alone():
    page = page_of(f"{ORIGIN}/#x", [ORIGIN])
    found = jssdk.configure(page, corp_id="ww", agent_id="1", get_ticket=lambda kind: kind)
    part = found["config"]
    expected = f"jsapi_ticket=corp&noncestr={part['nonceStr']}&timestamp={part['timestamp']}&url={ORIGIN}/"
    assert part["signature"] == hashlib.sha1(expected.encode()).hexdigest()
