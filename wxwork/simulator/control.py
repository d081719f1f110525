"""The control API, under /_sim/ and not under /cgi-bin/. (Written up fully below as acts are added.)"""

import json
from typing import Any
from urllib.parse import parse_qsl

import orjson

from wxwork.simulator.acts import ActError, perform
from wxwork.simulator.acts.registry import check_arguments
from wxwork.simulator.corp import Answer, Corp, Request
from wxwork.simulator.endpoints import ENDPOINTS
from wxwork.simulator.faults import BODIES, Fault


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
                return corp.state.counts()
        case "GET", "calls":
            return {"calls": dict(corp.calls), "codes": dict(corp.codes)}
        case "GET", "pushes":
            limit = query.get("limit", "1000")
            if not limit.isdecimal():
                raise ActError("limit is a number.")
            return {**corp.pushes.summary(), "pushes": corp.pushes.rows(int(limit))}
        case "POST", "act":
            body = _body(request)
            name = body.pop("act", None)
            if not isinstance(name, str):
                raise ActError('Name the act: {"act": "add_customer", …}.')
            return perform(corp, name, body)
        case "POST", "faults":
            return plant(corp, _body(request))
    return None


def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body or b"{}")
    except ValueError:
        raise ActError("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise ActError("The body is not a JSON object.")
    return body


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


def plant(corp: Corp, given: dict[str, Any]) -> dict[str, Any]:
    """Plant a fault, or clear them: {"clear": true} or {"clear": "/cgi-bin/…"}. Returns those that are planted."""
    clear = given.pop("clear", None)
    if clear is not None:
        if given or not (clear is True or isinstance(clear, str)):
            raise ActError("clear is true or a path, and stands alone.")
        corp.faults.clear(None if clear is True else clear)
        return {"faults": corp.faults.listed()}
    check_arguments(_fault, given, what="faults")
    fault = _fault(**given)
    if fault.path != "*" and fault.path not in ENDPOINTS:
        raise ActError(f"No endpoint {fault.path!r}.")
    if fault.body and fault.body not in BODIES:
        raise ActError(f"body is one of {', '.join(BODIES)}.")
    if (fault.times is not None and fault.times < 1) or fault.skip < 0 or fault.latency_seconds < 0:
        raise ActError("times is at least 1; skip and latency_seconds are not negative.")
    corp.faults.add(fault)
    return {"faults": corp.faults.listed()}
