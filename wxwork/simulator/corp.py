"""One corp with everything around it, and how a call goes through: the order of checks is the real host's.

path (404, empty) -> faults of the wire -> access_token (41001, 40014, 42001) -> limits (45009, 45033)
-> planted errcode -> what the app may do (48002) -> method and body (40058, 40063, 40033) -> relation (45035)
-> the endpoint's own parameters
"""

import json
import re
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

from wxwork.simulator.answers import Refused, failure
from wxwork.simulator.auth import App, Auth
from wxwork.simulator.clock import Clock
from wxwork.simulator.company import SampleCompany
from wxwork.simulator.endpoints import ENDPOINTS, Binary, Call, Endpoint, Upload
from wxwork.simulator.faults import Fault, Faults
from wxwork.simulator.limits import Limits
from wxwork.simulator.logins import PAGES, Person, redirect_of
from wxwork.simulator.multipart import parse_multipart
from wxwork.simulator.paging import Paging
from wxwork.simulator.pushing import Pushes
from wxwork.simulator.state import OWN_APP, State

CORP_ID = "wwsimulator"
SECRET = "simulator-secret"  # noqa: S105 - of a simulator
FOLLOWERS_PER_PAGE = 500
MOST_OWNERS = 1000
HTML = b"<html><body><h1>504 Gateway Time-out</h1></body></html>"
ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[0-9a-fA-F]{4}")
JSON_TYPES = ("", "application/json", "text/json")
CALLS_KEPT = 20_000


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    ip: str


@dataclass
class Answer:
    """status 0: the connection is reset instead."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Corp:
    """What the simulator serves. state.lock is held while an endpoint or an act runs."""

    def __init__(self, company: SampleCompany, pushes: Pushes, *, corp_id: str = CORP_ID) -> None:
        self.pushes = pushes
        self.clock = Clock()
        self.corp_id = corp_id
        self.paths = frozenset(ENDPOINTS)
        self.calls: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.faults = Faults()
        self._counting = threading.Lock()
        self.call_log: deque[dict[str, Any]] = deque(maxlen=CALLS_KEPT)
        self.logs_in = Person()
        self.begin(company)

    def begin(self, company: SampleCompany) -> None:
        """Begin afresh with a company."""
        self.state = State(company, self.clock, self.corp_id)
        self.auth = Auth(self.corp_id, self.clock, company.seed, [App(OWN_APP, SECRET)])
        self.limits = Limits(self.clock)
        self.paging = Paging(company.seed)
        self.followers_per_page = FOLLOWERS_PER_PAGE
        self.dispatch_seconds = 0.0
        self.group_lag_seconds = 0.0
        self.tells_little_of_contacts = False
        self.most_owners = MOST_OWNERS
        self.monthly_mass_messages = 0
        self.calls.clear()
        self.codes.clear()
        self.call_log.clear()
        self.faults.clear()

    # ----------------------------------------------------------------------------------------------------------- calls
    def answer(self, request: Request) -> Answer:
        """Answer a call of the API, or the request of a login page."""
        if request.path in PAGES:
            return self._login(request)
        endpoint = ENDPOINTS.get(request.path)
        with self._counting:
            self.calls[request.path if endpoint else "404"] += 1
        if endpoint is None:
            return Answer(404)
        fault = self.faults.take(request.path)
        if fault is None:
            return self._served(endpoint, request, None)
        return self._spoiled(endpoint, request, fault)

    def _login(self, request: Request) -> Answer:
        with self.state.lock:
            status, said = redirect_of(self, request.path, request.query)
        return Answer(302, b"", {"Location": said}) if status == 302 else Answer(status, said.encode())

    def _spoiled(self, endpoint: Endpoint, request: Request, fault: Fault) -> Answer:
        if fault.reset:
            time.sleep(fault.latency_seconds)
            return Answer(0)
        if fault.status is not None:
            time.sleep(fault.latency_seconds)
            return Answer(fault.status)
        answer = self._served(endpoint, request, fault)
        if fault.lost_answer:
            return Answer(0)
        if fault.body == "truncated":
            answer.body = answer.body[: len(answer.body) // 2]
        elif fault.body == "html":
            answer = Answer(200, HTML, {"Content-Type": "text/html"})
        elif fault.body == "empty":
            answer.body = b""
        return answer

    def _served(self, endpoint: Endpoint, request: Request, fault: Fault | None) -> Answer:
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        try:
            found = self._call(endpoint, request, query, fault)
        except Refused as refused:
            self._note(endpoint.path, refused.code)
            extra = {**endpoint.fail_extra, **refused.extra}
            has_hint = endpoint.has_hint and refused.code != 84061
            now = self.clock.seconds()
            return _json(
                failure(refused.code, refused.text, request.ip, extra=extra, has_hint=has_hint, now=now), refused.code
            )
        self._note(endpoint.path, 0)
        if isinstance(found, Binary):
            return _binary(found)
        body = {"errcode": 0, "errmsg": "ok", **found}
        if fault and fault.body == "no_errcode":
            del body["errcode"], body["errmsg"]
        if fault and fault.body == "warning":
            body["errmsg"] = f"{body['errmsg']}, Warning: wrong json format. "
        return _json(body, 0)

    def _note(self, path: str, code: int) -> None:
        with self._counting:
            self.codes[str(code)] += 1
            self.call_log.append({"at": time.time(), "path": path, "errcode": code})

    def _call(
        self, endpoint: Endpoint, request: Request, query: dict[str, str], fault: Fault | None
    ) -> dict[str, Any] | Binary:
        app = self.auth.apps[0] if endpoint.app == "none" else self._app(query, request.ip)
        self.limits.count(endpoint.path)
        with ExitStack() as held:
            held.enter_context(self.limits.running(endpoint.path))
            if fault and fault.errcode is not None:
                time.sleep(fault.latency_seconds)
                raise Refused(fault.errcode)
            _check_scope(endpoint, app)
            body, upload = _body(endpoint, request)
            if endpoint.relation:
                held.enter_context(self.limits.writing(_relation(endpoint.relation, body)))
            if fault and fault.latency_seconds:
                time.sleep(fault.latency_seconds)
            params = query if endpoint.method == "GET" else body
            call = Call(self, endpoint.path, query, body, params, app, request.ip, request.headers, upload)
            with self.state.lock:
                return endpoint.handler(call)

    def _app(self, query: dict[str, str], ip: str) -> App:
        with self.state.lock:
            return self.auth.check(query, ip)

    # ----------------------------------------------------------------------------------------------------------- media
    def media_content(self, media_id: str) -> bytes:
        """Return the bytes behind a media_id. Raises Refused 40007 when it is unknown or three days old."""
        media = self.state.media.get(media_id)
        if media is None or media.expires_at <= self.clock.now():
            raise Refused(40007)
        return bytes(media.content)


def _check_scope(endpoint: Endpoint, app: App) -> None:
    if endpoint.app in ("contacts", "contacts_sync", "customers") and not getattr(app, endpoint.app):
        raise Refused(48002)


def _body(endpoint: Endpoint, request: Request) -> tuple[dict[str, Any], Upload | None]:
    if endpoint.method == "GET":
        return {}, None
    if request.method != "POST":
        raise Refused(40058, "wrong http method")
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if endpoint.path.startswith("/cgi-bin/media/"):
        return {}, parse_multipart(content_type, request.body)
    if kind not in JSON_TYPES:
        raise Refused(40063, "wrong content type")
    if ESCAPE.search(request.body):
        raise Refused(40033)
    try:
        body = json.loads(request.body.decode()) if request.body.strip() else {}
    except ValueError:
        raise Refused(40058, "wrong json format") from None
    if not isinstance(body, dict):
        raise Refused(40058)
    return body, None


def _relation(names: tuple[str, str], body: dict[str, Any]) -> tuple[str, str]:
    userid, external_userid = (str(body.get(name, "")) for name in names)
    return userid.lower(), external_userid


def _json(body: dict[str, Any], code: int) -> Answer:
    headers = {"Content-Type": "application/json; charset=UTF-8", "Error-Code": str(code)}
    if code:
        headers["Error-Msg"] = str(body["errmsg"]).partition(",")[0]
    return Answer(200, orjson.dumps(body), headers)


def _binary(found: Binary) -> Answer:
    headers = {
        "Content-Type": found.content_type,
        "Content-Disposition": f'attachment; filename="{found.filename}"',
        "Accept-Ranges": "bytes",
    }
    if found.is_partial:
        headers["Content-Range"] = found.content_range
    return Answer(206 if found.is_partial else 200, found.content, headers)
