"""The control API: its documentation holds, and bad input changes nothing."""

import json
import re
from typing import Any

import pytest

from wxwork.simulator import SimulatorServer, control
from wxwork.simulator.acts import ACTS

from .conftest import Api

EXAMPLE = re.compile(r'^ {4}(\{"(?:act|path)".*?\})(?: {2,}.*)?$', re.MULTILINE)
EXAMPLES = [json.loads(text) for text in EXAMPLE.findall(control.__doc__ or "")]
TEXT = {"text": {"content": "你好"}}


def test_every_act_is_documented_with_an_example():
    documented = [example["act"] for example in EXAMPLES if "act" in example]
    assert sorted(set(documented)) == sorted(ACTS)


def test_every_documented_example_works(simulator: SimulatorServer, api: Api, receiver: Any):
    simulator.act("set_pushes", url=receiver.url)
    customer = simulator.act("add_customer", staff="ChenSiYu")["external_userid"]
    made = simulator.act("add_customer", staff="XuJiaHao", external_userid=customer)
    half = simulator.act("add_customer", staff="ChenSiYu", half=True)
    msgid = api.post("externalcontact/add_msg_template", {"sender": "XuJiaHao", **TEXT})["msgid"]
    words = {
        "<customer>": customer,
        "<userid>": "XuJiaHao",
        "<half>": half["external_userid"],
        "<stranger>": "wmStranger",
        "<welcome_code>": made["welcome_code"],
        "<msgid>": msgid,
        "<sender>": "XuJiaHao",
    }
    for example in EXAMPLES:
        body = {name: filled(value, words) for name, value in example.items()}
        answer = api.control("act" if "act" in example else "faults", body)
        assert answer.status_code == 200, (body, answer.text)
        words |= {f"<{name}>": value for name, value in answer.json().items() if name in ("chat_id", "link_id")}


def filled(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [filled(one, words) for one in value]
    return words.get(value, value) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("what", "body", "says"),
    [
        ("act", {}, "Name the act"),
        ("act", {"act": "fly"}, "No act 'fly'; there are: "),
        ("act", {"act": "add_customer", "staf": "x"}, "add_customer takes no staf; it takes: staff, "),
        ("act", {"act": "add_customer", "staff": 5}, "add_customer: staff is not str: 5."),
        ("act", {"act": "add_customer", "staff": "nobody"}, "No staff 'nobody'."),
        ("act", {"act": "add_customer", "half": 1}, "add_customer: half is not bool: 1."),
        ("act", {"act": "add_customer", "silent": "yes"}, "silent is true or false."),
        ("act", {"act": "delete_customer", "userid": "ChenSiYu"}, "delete_customer wants external_userid."),
        ("act", {"act": "edit_customer", "external_userid": "wmNobody", "userid": "ChenSiYu"}, "No customer"),
        ("act", {"act": "staff_joins", "userid": "a", "name": "b", "departments": []}, "at least one department"),
        ("act", {"act": "staff_joins", "userid": "a", "name": "b", "departments": ["110"]}, "is not list[int]"),
        ("act", {"act": "tag_delete", "tag_id": "ettag9999"}, "No tag 'ettag9999'."),
        ("act", {"act": "set_limits", "path": "/nowhere"}, "No endpoint '/nowhere'."),
        ("act", {"act": "set_pushes", "drop": 2}, "drop is a share, 0 to 1."),
        ("act", {"act": "bulk", "n": 0}, "n is 1 to 100000."),
        ("faults", {"errcode": -1}, "faults wants path."),
        ("faults", {"path": "/cgi-bin/no"}, "No endpoint '/cgi-bin/no'."),
        ("faults", {"path": "*", "body": "green"}, "body is one of"),
        ("faults", {"path": "*", "times": 0}, "times is at least 1"),
        ("faults", {"clear": 1}, "clear is true or a path"),
        ("reset", {"customers": -1}, "customers is 0 to"),
        ("reset", {"people": 5}, "reset takes no people"),
        ("act", [], "The body is not a JSON object."),
    ],
)
def test_bad_input_is_400_with_a_reason_and_changes_nothing(simulator, api, what, body, says):
    before, version = simulator.state.counts(), simulator.state.new_id("probe")
    answer = api.control(what, body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]
    assert simulator.state.counts() == before
    assert simulator.corp.faults.listed() == []
    assert list(simulator.pushes.record) == []
    assert version != simulator.state.new_id("probe")


def test_what_is_not_json_and_where_nothing_is(api):
    assert api.http.post("/_sim/act", content=b"{").json() == {"error": "The body is not JSON."}
    assert api.http.get("/_sim/nothing").status_code == 404
    assert api.http.get("/_sim/pushes?limit=x").status_code == 400


def test_state_calls_and_relations_are_counted(simulator, api):
    state = api.http.get("/_sim/state").json()
    assert {kind: state[kind] for kind in ("departments", "staff", "customers", "tag_groups", "tags")} == {
        "departments": 10, "staff": 20, "customers": 30, "tag_groups": 4, "tags": 19,
    }  # fmt: skip
    api.get("department/list")
    api.get("department/get")
    calls = api.http.get("/_sim/calls").json()
    assert calls["calls"] == {"/cgi-bin/gettoken": 1, "/cgi-bin/department/list": 1, "/cgi-bin/department/get": 1}
    assert calls["codes"] == {"0": 2, "40058": 1}
    assert [(row["path"], row["errcode"]) for row in calls["log"]][1:] == [
        ("/cgi-bin/department/list", 0),
        ("/cgi-bin/department/get", 40058),
    ]
    rows, after = [], 0
    while True:
        page = api.http.get("/_sim/relations", params={"after": after, "limit": 10}).json()
        rows += page["relations"]
        if not (after := page["next"]):
            break
    assert len(rows) == state["follows"]
    assert {row["external_userid"] for row in rows} == set(simulator.state.customers)


def test_reset_begins_afresh(simulator, api):
    first = sorted(simulator.state.customers)
    simulator.act("bulk", n=20)
    simulator.faults("*", errcode=-1)
    assert api.control("reset", {"customers": 30}).json()["customers"] == 30
    assert sorted(simulator.state.customers) == first
    assert api.get("department/list")["errcode"] == 40014
    assert simulator.corp.faults.listed() == []
    assert api.control("reset", {"seed": 8, "customers": 5, "staff": 3}).json()["staff"] == 3
    assert not set(simulator.state.customers) & set(first)


def test_the_same_bulk_does_the_same_changes(simulator, api):
    first = simulator.act("bulk", n=60, seed=4)
    told = [push.change_type for push in simulator.pushes.record]
    simulator.act("bulk", n=5)
    api.control("reset", {})
    assert simulator.act("bulk", n=60, seed=4) == first
    assert [push.change_type for push in simulator.pushes.record] == told
    assert sum(first["counts"].values()) == 60
    only = simulator.act("bulk", n=10, seed=4, kinds=["lost"])
    assert only["counts"] == {"lost": 10}
