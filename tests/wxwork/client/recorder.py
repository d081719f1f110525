"""A host that keeps what it is sent, byte for byte, and answers what it is told to. No simulator: it knows nothing."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "tok-VERYSECRETTOKEN-0001"


@dataclass
class Got:
    method: str
    path: str
    query: dict[str, str]
    content_type: str
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Recorder:
    """answers: for each path, or "*": a dict as JSON, bytes, (status, headers, either), or a list of them."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)

    def calls(self, path: str) -> list[Got]:
        return [one for one in self.got if one.path == path]


@contextmanager
def recording() -> Iterator[Recorder]:
    recorder = Recorder()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one write: two would wait for each other's acknowledgement, 40 ms a call.
        wbufsize = -1
        disable_nagle_algorithm = True

        def handle_one(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            recorder.got.append(Got(self.command, parts.path, query, self.headers.get("Content-Type", ""), body))
            found = recorder.answers.get(parts.path, recorder.answers.get("*", {"errcode": 0, "errmsg": "ok"}))
            if parts.path == "/cgi-bin/gettoken":
                found = {"errcode": 0, "errmsg": "ok", "access_token": TOKEN, "expires_in": 7200}
            if isinstance(found, list):
                found = found.pop(0)
            status, headers, content = found if isinstance(found, tuple) else (200, {}, found)
            if isinstance(content, dict):
                headers, content = {"Content-Type": "application/json"} | headers, json.dumps(content).encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = handle_one  # noqa: N815 - the names of http.server

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    recorder.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
