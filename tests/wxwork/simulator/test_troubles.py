"""Limits and planted faults."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from .conftest import Api

LIST = "department/simplelist"
PATH = f"/cgi-bin/{LIST}"


def test_who_calls_too_often_is_blocked_for_a_minute(simulator, api):
    simulator.act("set_limits", path=PATH, per_minute=5)
    codes = [api.get(LIST)["errcode"] for _ in range(7)]
    assert codes == [0] * 5 + [45009] * 2
    assert api.get(LIST)["department_id"] == []
    assert api.get("department/list")["errcode"] == 0
    simulator.act("advance_clock", seconds=61)
    assert api.get(LIST)["errcode"] == 0


def test_the_hours_limit_blocks_for_an_hour(simulator, api):
    simulator.act("set_limits", per_hour=3)
    assert [api.get(LIST)["errcode"] for _ in range(4)] == [0, 0, 0, 45009]
    simulator.act("advance_clock", seconds=61)
    assert api.get(LIST)["errcode"] == 45009
    simulator.act("advance_clock", seconds=3600)
    assert api.get(LIST)["errcode"] == 0


def test_calls_spread_over_the_window_stay_below(simulator, api):
    simulator.act("set_limits", path=PATH, per_minute=6)
    for _ in range(4):
        assert [api.get(LIST)["errcode"] for _ in range(3)] == [0, 0, 0]
        simulator.act("advance_clock", seconds=40)


def test_more_calls_at_once_than_allowed_are_45033(simulator):
    simulator.act("set_limits", path=PATH, concurrency=2)
    simulator.faults(PATH, latency_seconds=0.5, times=2)
    apis = [Api(simulator.url) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(api.get, LIST) for api in apis[:2]]
        deadline = time.monotonic() + 5
        while simulator.corp.limits.of(PATH).running < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert apis[2].get(LIST)["errcode"] == 45033
        assert [one.result()["errcode"] for one in running] == [0, 0]
    assert apis[2].get(LIST)["errcode"] == 0


def test_two_writers_of_one_relation_are_45035(simulator):
    mark = "externalcontact/mark_tag"
    made = simulator.act("add_customer", staff="ChenSiYu")
    other = simulator.act("add_customer", staff="ChenSiYu")
    simulator.faults(f"/cgi-bin/{mark}", latency_seconds=0.5)

    def body(customer):
        return {"userid": "ChenSiYu", "external_userid": customer["external_userid"], "add_tag": ["ettag0101"]}

    apis = [Api(simulator.url) for _ in range(2)]
    slow: list[int] = []
    thread = threading.Thread(target=lambda: slow.append(apis[0].post(mark, body(made))["errcode"]))
    thread.start()
    deadline = time.monotonic() + 5
    while simulator.corp.faults.listed() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    remark = {"userid": "chensiyu", "external_userid": made["external_userid"], "remark": "x"}
    assert apis[1].post("externalcontact/remark", remark)["errcode"] == 45035
    assert apis[1].post(mark, body(other))["errcode"] == 0
    thread.join()
    assert slow == [0]
    assert apis[1].post("externalcontact/remark", remark)["errcode"] == 0


def test_a_planted_code_comes_as_often_as_asked_with_the_endpoints_lists(simulator, api):
    simulator.faults(PATH, errcode=-1, times=2, skip=1)
    answers = [api.get(LIST) for _ in range(4)]
    assert [answer["errcode"] for answer in answers] == [0, -1, -1, 0]
    assert answers[1]["department_id"] == []


@pytest.mark.parametrize("status", [404, 500, 502, 504])
def test_a_planted_status_has_no_body(simulator, api, status):
    simulator.faults("*", status=status)
    answer = api.http.get(PATH)
    assert (answer.status_code, answer.content) == (status, b"")
    assert api.get(LIST)["errcode"] == 0


def test_bodies_can_be_broken(simulator, api):
    def body(kind):
        simulator.faults(PATH, body=kind)
        return api.http.get(PATH, params={"access_token": api.token})

    assert body("truncated").text.startswith('{"errcode":0')
    with pytest.raises(ValueError, match=r"."):
        body("truncated").json()
    assert body("html").headers["content-type"] == "text/html"
    assert body("empty").content == b""
    assert "errcode" not in body("no_errcode").json()
    assert body("warning").json()["errmsg"] == "ok, Warning: wrong json format. "
    assert len(body("warning").json()["department_id"]) == 10


def test_a_connection_is_reset_before_or_after_the_deed(simulator, api):
    made = simulator.act("add_customer", staff="ChenSiYu")
    remark = {"userid": "ChenSiYu", "external_userid": made["external_userid"], "remark": "x"}
    path = "externalcontact/remark"
    relation = simulator.state.staff["chensiyu"].relations[made["external_userid"]]
    simulator.faults(f"/cgi-bin/{path}", reset=True)
    with pytest.raises(httpx.TransportError):
        api.post(path, remark)
    assert relation.remark == ""
    simulator.faults(f"/cgi-bin/{path}", lost_answer=True)
    with pytest.raises(httpx.TransportError):
        api.post(path, remark)
    assert relation.remark == "x"


def test_a_slow_answer_does_not_hold_up_others(simulator, api):
    simulator.faults(PATH, latency_seconds=1.0)
    other = Api(simulator.url)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(api.get, LIST)
        time.sleep(0.05)
        assert other.get("department/list")["errcode"] == 0
        assert not slow.done()
        assert slow.result()["errcode"] == 0


def test_bodies_come_chunked_and_connections_are_kept(simulator, api):
    chunks = iter([b'{"cursor": "",', b' "limit": 3}'])
    answer = api.http.post("/cgi-bin/user/list_id", params={"access_token": api.token}, content=chunks)
    assert len(answer.json()["dept_user"]) == 3
    assert api.http.get("/cgi-bin/gettoken", headers={"Connection": "close"}).json()["errcode"] == 41004
    assert api.get(LIST)["errcode"] == 0
