"""Tokens, scopes, tickets, logins, and the order of checks."""

import httpx

from .conftest import Api

GET = "/cgi-bin/externalcontact/get"


def code_of(answer):
    return answer.json()["errcode"]


def test_an_unknown_path_is_404_with_an_empty_body_whoever_asks(api):
    answer = api.http.get("/cgi-bin/no/such/path")
    assert (answer.status_code, answer.content) == (404, b"")


def test_checks_come_in_the_order_of_the_real_host(simulator, api):
    limited = Api(simulator.url)
    assert code_of(api.http.get(GET)) == 41001
    assert code_of(api.http.get(GET, headers={"Authorization": f"Bearer {api.token}"})) == 41001
    assert code_of(api.http.get(GET, params={"access_token": "nonsense"})) == 40014
    simulator.act("set_app", customers=False)
    assert limited.get("externalcontact/get")["errcode"] == 48002
    simulator.act("set_app", customers=True)
    assert api.get("externalcontact/get")["errcode"] == 41035
    assert api.get("externalcontact/get", external_userid="wmNobody")["errcode"] == 40096


def test_gettoken_gives_the_same_token_until_it_expires(simulator, api):
    query = {"corpid": "wwsimulator", "corpsecret": "simulator-secret"}
    first = api.http.get("/cgi-bin/gettoken", params=query).json()
    assert first == {"errcode": 0, "errmsg": "ok", "access_token": api.token, "expires_in": 7200}
    simulator.act("advance_clock", seconds=7100)
    again = api.http.get("/cgi-bin/gettoken", params=query).json()
    assert (again["access_token"], again["expires_in"]) == (api.token, 100)
    simulator.act("advance_clock", seconds=101)
    assert api.get("user/get", userid="ChenSiYu")["errcode"] == 42001
    fresh = api.new_token()
    assert fresh != api.token
    assert len(simulator.corp.auth.tokens) == 2


def test_gettoken_looks_at_the_secret_first(api):
    def ask(**query):
        return code_of(api.http.get("/cgi-bin/gettoken", params=query))

    assert ask() == 41004
    assert ask(corpsecret="simulator-secret") == 41002
    assert ask(corpid="wwother", corpsecret="simulator-secret") == 40013
    assert ask(corpid="wwsimulator", corpsecret="wrong") == 40001


def test_a_revoked_token_and_one_of_a_rotated_secret_are_40014(simulator, api):
    assert simulator.act("revoke_tokens") == {"tokens": 1}
    assert api.get("user/get", userid="ChenSiYu")["errcode"] == 40014
    api.token = api.new_token()
    assert api.get("user/get", userid="ChenSiYu")["errcode"] == 0
    simulator.act("set_app", secret="rotated")
    assert api.get("user/get", userid="ChenSiYu")["errcode"] == 40014
    assert api.new_token() == ""
    assert Api(simulator.url, "rotated").get("user/get", userid="ChenSiYu")["errcode"] == 0


def test_apps_have_tokens_of_their_own_and_open_what_they_may(simulator, api):
    simulator.act("set_app", agentid=1000026, secret="contacts", customers=False)
    simulator.act("set_app", contacts_sync=False)
    contacts = Api(simulator.url, "contacts")
    assert contacts.token != api.token
    assert contacts.post("user/list_id")["errcode"] == 0
    assert contacts.get("externalcontact/get_follow_user_list") == {
        "errcode": 48002, "errmsg": "api forbidden", "follow_user": [],
    }  # fmt: skip
    assert api.post("user/list_id")["errcode"] == 48002
    assert api.get("externalcontact/get_follow_user_list")["errcode"] == 0


def test_a_caller_from_an_untrusted_address_is_60020(simulator, api):
    simulator.act("set_trusted_ips", ips=["203.0.113.10"])
    assert api.get("user/get", userid="ChenSiYu")["errcode"] == 60020
    assert api.new_token() == ""
    simulator.act("set_trusted_ips", ips=None)
    assert api.get("user/get", userid="ChenSiYu")["errcode"] == 0


def test_tickets_of_corp_and_app_differ_and_stay(simulator, api):
    corp, agent = api.get("get_jsapi_ticket"), api.get("ticket/get", type="agent_config")
    assert corp["ticket"] != agent["ticket"]
    assert api.get("get_jsapi_ticket")["ticket"] == corp["ticket"]
    assert api.get("ticket/get", type="jsapi")["errcode"] == 40058
    simulator.act("advance_clock", seconds=7201)
    api.token = api.new_token()
    assert api.get("get_jsapi_ticket")["ticket"] != corp["ticket"]


def test_a_login_code_works_once_within_five_minutes(simulator, api):
    code = simulator.act("login_code", userid="chensiyu")["code"]
    assert api.get("auth/getuserinfo", code=code) == {"errcode": 0, "errmsg": "ok", "userid": "ChenSiYu"}
    assert api.get("auth/getuserinfo", code=code)["errcode"] == 40029
    late = simulator.act("login_code", userid="ChenSiYu")["code"]
    simulator.act("advance_clock", seconds=301)
    assert api.get("auth/getuserinfo", code=late)["errcode"] == 42003


def test_a_customer_who_logs_in_has_an_openid_and_no_userid(simulator, api):
    customer = next(iter(simulator.state.customers))
    code = simulator.act("login_code", external_userid=customer, openid="oCustomer")["code"]
    assert api.get("auth/getuserinfo", code=code) == {
        "errcode": 0, "errmsg": "ok", "openid": "oCustomer", "external_userid": customer,
    }  # fmt: skip


def test_a_login_page_sends_back_a_code_of_who_sits_before_it(simulator, api):
    query = {"appid": "wwsimulator", "redirect_uri": "https://x.example/in?next=1", "state": "s1", "agentid": 1000025}
    simulator.act("log_in_as", userid="chensiyu")
    answer = api.http.get("/wwlogin/sso/login", params=query)
    assert answer.status_code == 302
    sent = dict(httpx.URL(answer.headers["location"]).params)
    assert (sent["next"], sent["state"]) == ("1", "s1")
    assert api.get("auth/getuserinfo", code=sent["code"])["userid"] == "ChenSiYu"
    simulator.act("log_in_as", cancels=True)
    legacy = api.http.get("/wwopen/sso/qrConnect", params=query)
    assert "code" not in httpx.URL(legacy.headers["location"]).params
    assert api.http.get("/wwlogin/sso/login", params={**query, "appid": "wwother"}).status_code == 400
