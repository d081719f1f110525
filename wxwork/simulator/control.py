"""The control API of the simulator, under /_sim/ and never under /cgi-bin/: make things happen, and go wrong.

    GET  /_sim/state                        counts by kind, and the corp's time
    GET  /_sim/calls?limit=100              calls by path, answers by errcode, the latest calls
    GET  /_sim/pushes?limit=1000            counts of pushes by outcome, how long the receiver took, the latest ones
    GET  /_sim/relations?after=0&limit=1000 what is true of every relation, to compare with; "next": 0 at the end
    POST /_sim/act     {"act": …}           one act; answers with what it made
    POST /_sim/faults  {"path": …}          plant a fault; {"clear": true} or {"clear": "/cgi-bin/…"} forgets them
    POST /_sim/reset   {"seed": 1, "customers": 30, "staff": 0}     begin afresh, all of them optional; tokens, cursors,
                                            limits, faults and pushes too; the clock and the receiver of pushes stay

What cannot be is 400 {"error": "…"}, and nothing has changed. Every act takes "silent": true: it happens, and no
callback tells of it, which is how drift is planted. A client's own calls never cause a callback.

Customers

    {"act": "add_customer", "staff": "ChenSiYu", "state": "store-qr"}
        also external_userid, name, type (1 WeChat, 2 WeCom), gender, add_way, config_id, link_id, half, welcome
        (false: no code); all optional. Returns external_userid, userid, welcome_code, createtime.
    {"act": "confirm_customer", "external_userid": "<half>", "userid": "ChenSiYu"}
    {"act": "edit_customer", "external_userid": "<customer>", "userid": "<userid>", "remark": "老客户"}
        also tags (ids, replacing), description, mobiles, corp_name, add_tags, remove_tags, personal_tags (names)
    {"act": "customer_changes_name", "external_userid": "<customer>", "name": "小雨"}
    {"act": "customer_deletes_staff", "external_userid": "<customer>", "userid": "<userid>"}
    {"act": "readd_customer", "external_userid": "<customer>", "userid": "<userid>", "state": "live-0918"}
    {"act": "transfer_customer", "external_userid": "<customer>", "userid": "<userid>", "takeover_userid": "LinWanQing"}
    {"act": "delete_customer", "external_userid": "<customer>", "userid": "LinWanQing"}
    {"act": "bulk", "n": 10, "seed": 5, "kinds": ["add", "edit", "tag", "lost", "delete", "readd"]}

Staff and departments

    {"act": "staff_joins", "userid": "SunYue", "name": "孙悦", "departments": [110], "position": "客户顾问"}
    {"act": "staff_changes", "userid": "SunYue", "new_userid": "SunYue01", "departments": [111, 110]}
        also name, position, status, mobile; and, which WeCom does not tell of: has_customer_contact, is_verified,
        customer_limit, has_console_welcome
    {"act": "staff_leaves", "userid": "SunYue01"}
    {"act": "staff_tag_changes", "tagid": 1, "add_users": ["ChenSiYu"], "remove_departments": [110]}
    {"act": "department_create", "id": 130, "name": "成都太古里店", "parentid": 101}
    {"act": "department_update", "id": 130, "name": "成都店", "parentid": 100}
    {"act": "department_delete", "id": 130}
    {"act": "set_visible_departments", "departments": [100]}                          null: everybody

Tags

    {"act": "tag_group_create", "name": "购买意向", "tags": ["高意向", "观望"]}
    {"act": "tag_create", "group_id": "etgroup01", "name": "黑金会员"}
    {"act": "tag_rename", "tag_id": "ettag0102", "name": "白银会员"}
    {"act": "tag_group_rename", "group_id": "etgroup01", "name": "会员等级"}
    {"act": "tag_shuffle", "group_id": "etgroup01"}                                   without a group: the groups
    {"act": "tag_delete", "tag_id": "ettag0103"}
    {"act": "tag_group_delete", "group_id": "etgroup04"}

Customer groups

    {"act": "group_create", "owner": "ChenSiYu", "name": "福利群", "members": ["<customer>"]}
    {"act": "group_join", "chat_id": "<chat_id>", "members": ["<stranger>"], "scene": 3, "state": "groupexpo"}
    {"act": "group_leave", "chat_id": "<chat_id>", "members": ["<stranger>"], "scene": 0}
    {"act": "group_rename", "chat_id": "<chat_id>", "name": "新群名"}
    {"act": "group_notice", "chat_id": "<chat_id>", "notice": "周五上新"}
    {"act": "group_change_owner", "chat_id": "<chat_id>", "owner": "LinWanQing"}
    {"act": "group_dismiss", "chat_id": "<chat_id>"}

Acquisition links

    {"act": "acquisition_link", "name": "秋季投放", "userids": ["ChenSiYu"]}            returns link_id
    {"act": "acquisition_callback", "change_type": "balance_low"}
        also balance_exhausted, balance_increased, quota_expire_soon (expire_time, expire_quota), and with a link_id:
        link_unavailable, delete_link, open_profile, friend_request (state)
    {"act": "customer_writes", "link_id": "<link_id>", "external_userid": "<customer>", "userid": "ChenSiYu"}
        also messages: 3, 5 or 10 is told with a chat_key

Welcome codes, mass messages, logins

    {"act": "welcome_in_flight", "welcome_code": "<welcome_code>"}                    41096
    {"act": "welcome_sent_by_other", "welcome_code": "<welcome_code>"}                41051
    {"act": "confirm_mass_message", "msgid": "<msgid>", "userid": "<sender>"}
    {"act": "login_code", "userid": "ChenSiYu", "private": true}                      or external_userid, or openid
    {"act": "log_in_as", "userid": "ChenSiYu"}                                        for the login pages; or cancels

Apps and tokens

    {"act": "set_app", "agentid": 1000026, "secret": "another-secret", "customers": false}
        makes an app or changes one; also contacts, contacts_sync, enabled
    {"act": "expire_tokens"}                                                          42001
    {"act": "revoke_tokens"}                                                          40014
    {"act": "set_trusted_ips", "ips": ["127.0.0.1"]}                                  else 60020; null: anywhere

Time, limits, switches

    {"act": "advance_clock", "seconds": 86400}                                        transfers complete
    {"act": "set_clock", "at": 1795640000}
    {"act": "fail_transfers", "reason": "customer_refused"}                           or customer_limit_exceed
    {"act": "set_limits", "path": "/cgi-bin/user/get", "per_minute": 100, "concurrency": 5}
        also per_hour; without a path for all, and then minute_block_seconds, hour_block_seconds too
    {"act": "set_paging", "short_pages": 20, "empty_pages": 5}                        of a hundred
        also followers_per_page, forget_cursors (every cursor becomes 40058)
    {"act": "set_behaviour", "dispatch_seconds": 30, "group_lag_seconds": 2}
        also monthly_mass_messages, most_owners, bound_to_wechat, token_seconds, tells_little_of_contacts
    {"act": "set_pushes", "duplicate": 0.1, "reorder": 0.05, "tampered_signature": 1}
        also url, token, aes_key and the other settings in wxwork.simulator.pushing
    {"act": "verify_callback"}                                                        GET with echostr, within 1 s
    {"act": "push_callback", "event": "msgaudit_notify", "change_type": "", "fields": {"AgentID": 2000004}}
        any callback, of kinds that nobody knows too; fields in the order in which they are to stand
    {"act": "push_again", "id": 1}                                                    the same XML once more

Faults (see wxwork.simulator.faults)

    {"path": "/cgi-bin/externalcontact/get", "errcode": -1, "times": 2}
    {"path": "*", "status": 502}
    {"path": "/cgi-bin/user/get", "latency_seconds": 2.5, "times": null}              until cleared
    {"path": "/cgi-bin/department/list", "body": "truncated", "skip": 1}
    {"path": "/cgi-bin/department/list", "reset": true}
"""

import json
from typing import Any
from urllib.parse import parse_qsl

import orjson

from wxwork.simulator.acts import ActError, perform
from wxwork.simulator.acts.registry import check_arguments
from wxwork.simulator.company import SampleCompany
from wxwork.simulator.corp import Answer, Corp, Request
from wxwork.simulator.faults import BODIES, Fault
from wxwork.simulator.state import Relation

MAX_CUSTOMERS = 5_000_000


def answer(corp: Corp, request: Request) -> Answer:
    """Answer a request to /_sim/…; 400 with {"error": …} for what cannot be done."""
    try:
        found = _routed(corp, request)
    except ActError as error:
        return _json(400, {"error": str(error)})
    return _json(404, {"error": f"No {request.method} {request.path}."}) if found is None else _json(200, found)


def _json(status: int, body: Any) -> Answer:
    return Answer(status, orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS), {"Content-Type": "application/json"})


def _routed(corp: Corp, request: Request) -> Any:
    query = dict(parse_qsl(request.query))
    match request.method, request.path.removeprefix("/_sim/"):
        case "GET", "state":
            with corp.state.lock:
                return {**corp.state.counts(), "now": corp.clock.seconds()}
        case "GET", "calls":
            log = list(corp.call_log)[-_number(query, "limit", 100) :]
            return {"calls": dict(corp.calls), "codes": dict(corp.codes), "log": log}
        case "GET", "pushes":
            return {**corp.pushes.summary(), "pushes": corp.pushes.rows(_number(query, "limit", 1000))}
        case "GET", "relations":
            return _relations(corp, _number(query, "after", 0), _number(query, "limit", 1000))
        case "POST", "act":
            body = _body(request)
            name = body.pop("act", None)
            if not isinstance(name, str):
                raise ActError('Name the act: {"act": "add_customer", …}.')
            return perform(corp, name, body)
        case "POST", "faults":
            return _plant(corp, _body(request))
        case "POST", "reset":
            given = _body(request)
            check_arguments(_reset, given, what="reset")
            return _reset(corp, **given)
    return None


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal():
        raise ActError(f"{name} is a number.")
    return int(text)


def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body or b"{}")
    except ValueError:
        raise ActError("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise ActError("The body is not a JSON object.")
    return body


# ----------------------------------------------------------------------------------------------------------- relations
def _relations(corp: Corp, after: int, limit: int) -> dict[str, Any]:
    with corp.state.lock:
        later = sorted((r for r in corp.state.iter_relations() if r.number > after), key=lambda one: one.number)
        page = later[: limit or 1000]
        return {
            "relations": [_relation_row(corp, relation) for relation in page],
            "next": page[-1].number if len(page) < len(later) else 0,
        }


def _relation_row(corp: Corp, relation: Relation) -> dict[str, Any]:
    customer = corp.state.customers[relation.external_userid]
    return {
        "external_userid": relation.external_userid,
        "name": customer.name,
        "type": customer.type,
        "gender": customer.gender,
        "userid": relation.userid,
        "status": relation.status,
        "remark": relation.remark,
        "description": relation.description,
        "mobiles": list(relation.mobiles),
        "tag_ids": list(relation.tag_ids),
        "personal_tags": [{"group": group, "name": name} for group, name in relation.personal_tags],
        "add_way": relation.add_way,
        "state": relation.state,
        "createtime": relation.createtime,
        "lost_at": relation.lost_at,
    }


# ---------------------------------------------------------------------------------------------------- faults and reset
def _fault(
    *,
    path: str,
    times: int | None = 1,
    skip: int = 0,
    errcode: int | None = None,
    status: int | None = None,
    latency_seconds: float = 0.0,
    body: str = "",
    reset: bool = False,
    lost_answer: bool = False,
) -> Fault:
    return Fault(path, times, skip, errcode, status, latency_seconds, body, reset, lost_answer)


def _plant(corp: Corp, given: dict[str, Any]) -> dict[str, Any]:
    """Plant a fault, or clear them. Returns those that are planted."""
    if "clear" in given:
        clear = given.pop("clear")
        if given or not (clear is True or isinstance(clear, str)):
            raise ActError("clear is true or a path, and stands alone.")
        corp.faults.clear(None if clear is True else clear)
        return {"faults": corp.faults.listed()}
    plant(corp, given)
    return {"faults": corp.faults.listed()}


def plant(corp: Corp, given: dict[str, Any]) -> None:
    """Check a fault and plant it. Raises ActError."""
    check_arguments(_fault, given, what="faults")
    fault = _fault(**given)
    if fault.path != "*" and fault.path not in corp.paths:
        raise ActError(f"No endpoint {fault.path!r}.")
    if fault.body and fault.body not in BODIES:
        raise ActError(f"body is one of {', '.join(BODIES)}.")
    if (fault.times is not None and fault.times < 1) or fault.skip < 0 or fault.latency_seconds < 0:
        raise ActError("times is at least 1; skip and latency_seconds are not negative.")
    if fault.status is not None and not 200 <= fault.status <= 599:
        raise ActError("status is an HTTP status.")
    corp.faults.add(fault)


def _reset(corp: Corp, *, seed: int | None = None, customers: int | None = None, staff: int = 0) -> dict[str, Any]:
    old = corp.state.company
    number = old.customers if customers is None else customers
    if not 0 <= number <= MAX_CUSTOMERS or staff < 0:
        raise ActError(f"customers is 0 to {MAX_CUSTOMERS}, staff not negative.")
    company = SampleCompany(old.seed if seed is None else seed, old.made_at, number, staff)
    corp.pushes.forget()
    corp.begin(company)
    with corp.state.lock:
        return corp.state.counts()
