"""A client of httpx alone, so that nothing of ours stands between a test and the simulator; and a callback receiver."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from wxwork.simulator import SimulatorServer


class Api:
    """Calls with a token. Answers are dicts."""

    def __init__(self, url: str, secret: str = "simulator-secret") -> None:
        self.http = httpx.Client(base_url=url, timeout=10)
        self.secret = secret
        self.token = self.new_token()

    def new_token(self) -> str:
        query = {"corpid": "wwsimulator", "corpsecret": self.secret}
        return str(self.http.get("/cgi-bin/gettoken", params=query).json().get("access_token", ""))

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self.http.get(f"/cgi-bin/{path}", params={"access_token": self.token, **query}).json()

    def post(self, path: str, body: Any = None, **query: Any) -> dict[str, Any]:
        params = {"access_token": self.token, **query}
        return self.http.post(f"/cgi-bin/{path}", params=params, json=body or {}).json()

    def upload(self, path: str, name: str, content: bytes, field: str = "media", **query: Any) -> dict[str, Any]:
        params = {"access_token": self.token, **query}
        return self.http.post(f"/cgi-bin/{path}", params=params, files={field: (name, content)}).json()

    def control(self, what: str, body: Any) -> httpx.Response:
        return self.http.post(f"/_sim/{what}", json=body)


@pytest.fixture
def api(simulator: SimulatorServer) -> Iterator[Api]:
    api = Api(simulator.url)
    yield api
    api.http.close()


@dataclass
class Receiver:
    """A callback endpoint that keeps what it gets. statuses: what it answers, one after the other, then 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers_get: bytes | None = None
    waits_seconds: float = 0.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((dict(parse_qsl(urlsplit(self.path).query)), body))
            done.wait(receiver.waits_seconds)
            self.answer(receiver.statuses.pop(0) if receiver.statuses else 200, b"")

        def do_GET(self) -> None:
            receiver.got.append((dict(parse_qsl(urlsplit(self.path).query)), b""))
            self.answer(200, receiver.answers_get or b"")

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/wxwork/callback"
        yield receiver
        done.set()
        server.shutdown()
