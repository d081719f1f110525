"""The simulator as a server: HTTP/1.1 with keep-alive, a thread for each connection.

    with SimulatorServer(customers=30, seed=1) as simulator:
        httpx.get(f"{simulator.url}/cgi-bin/gettoken?corpid=wwsimulator&corpsecret=simulator-secret")
        simulator.act("add_customer", staff="ChenSiYu", state="store-qr")
        simulator.faults("/cgi-bin/department/list", errcode=-1, times=2)
        simulator.state.customers

The parsing of requests is our own: the standard library's costs more than all the rest of a call.
"""

import contextlib
import socket
import socketserver
import sys
import threading
import traceback
from typing import Any
from urllib.parse import unquote

from wxwork.simulator import control
from wxwork.simulator.acts import perform
from wxwork.simulator.company import SampleCompany
from wxwork.simulator.corp import CORP_ID, Answer, Corp, Request
from wxwork.simulator.pushing import Pushes, PushSettings
from wxwork.simulator.state import State

MADE_AT = 1_793_462_400  # 2026-11-01 00:00 in China: the same company whenever it is started
MAX_BODY = 32 * 1024 * 1024
MAX_LINE = 65_536
REASONS = {
    200: "OK",
    302: "Found",
    206: "Partial Content",
    400: "Bad Request",
    404: "Not Found",
    500: "Internal Server Error",
}


class SimulatorServer:
    """A corp on a port of 127.0.0.1 (0: a free one). Use as a context manager, or start() and stop()."""

    def __init__(
        self,
        port: int = 0,
        *,
        customers: int = 300,
        seed: int = 1,
        staff: int = 0,
        callback_url: str | None = None,
        callback_token: str | None = None,
        callback_aes_key: str | None = None,
        made_at: int = MADE_AT,
        corp_id: str = CORP_ID,
        host: str = "127.0.0.1",
    ) -> None:
        company = SampleCompany(seed, made_at, customers, staff)
        settings = PushSettings(callback_url or "", callback_token or "", callback_aes_key or "")
        self.pushes = Pushes(corp_id, settings, seed)
        self.corp = Corp(company, self.pushes, corp_id=corp_id)
        self._server = _Server((host, port), _Connection)
        self._server.corp = self.corp
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def state(self) -> State:
        return self.corp.state

    def act(self, name: str, /, **given: Any) -> dict[str, Any]:
        """Make something happen (see wxwork.simulator.control). Raises ActError."""
        return perform(self.corp, name, given)

    def faults(self, path: str, /, **fault: Any) -> None:
        """Plant a fault (see wxwork.simulator.faults). Raises ActError."""
        control.plant(self.corp, {"path": path, **fault})

    def start(self) -> "SimulatorServer":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="simulator", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection, and end the pushes."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.close_connections()
        self.pushes.stop()

    def __enter__(self) -> "SimulatorServer":
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.stop()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512
    corp: Corp

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()

    def opened(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.discard(connection)

    def close_connections(self) -> None:
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a caller who has gone."""


class _Connection(socketserver.StreamRequestHandler):
    server: _Server
    disable_nagle_algorithm = True
    wbufsize = 0

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            while self._serve_one():
                pass

    def _serve_one(self) -> bool:
        """Serve a request. Returns whether the connection goes on."""
        line = self.rfile.readline(MAX_LINE)
        if line in (b"\r\n", b"\n"):
            line = self.rfile.readline(MAX_LINE)
        words = line.decode("latin-1").split()
        if len(words) != 3:
            return False
        method, target, version = words
        headers = self._headers()
        body = self._body(headers)
        if body is None:
            self._write(Answer(400, b"", {"Connection": "close"}))
            return False
        path, _mark, query = target.partition("?")
        request = Request(method, unquote(path), query, headers, body, str(self.client_address[0]))
        answer = self._answer(request)
        if answer.status == 0:
            self._reset()
            return False
        self._write(answer, has_body=method != "HEAD")
        wish = headers.get("connection", "").lower()
        return wish != "close" and (version != "HTTP/1.0" or wish == "keep-alive")

    def _answer(self, request: Request) -> Answer:
        """Answer a request. A bug of ours is a 500 that shows itself, so that nobody takes it for a planted fault."""
        try:
            if request.path.startswith("/_sim/"):
                return control.answer(self.server.corp, request)
            return self.server.corp.answer(request)
        except Exception:
            trace = traceback.format_exc()
            print(trace, file=sys.stderr)  # a simulator has no other log
            return Answer(500, trace.encode(), {"Content-Type": "text/plain; charset=utf-8"})

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        while (line := self.rfile.readline(MAX_LINE)) not in (b"\r\n", b"\n", b""):
            name, _colon, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return headers

    def _body(self, headers: dict[str, str]) -> bytes | None:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks()
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return None
        return self.rfile.read(int(length)) if int(length) else b""

    def _chunks(self) -> bytes | None:
        body = b""
        while len(body) <= MAX_BODY:
            try:
                size = int(self.rfile.readline(MAX_LINE).partition(b";")[0], 16)
            except ValueError:
                return None
            if size == 0:
                while self.rfile.readline(MAX_LINE) not in (b"\r\n", b"\n", b""):
                    pass
                return body
            body += self.rfile.read(size)
            self.rfile.readline(MAX_LINE)
        return None

    def _write(self, answer: Answer, *, has_body: bool = True) -> None:
        head = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Status')}"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        head += [f"Content-Length: {len(answer.body)}", "", ""]
        # One write for head and body: two would wait for each other's acknowledgement.
        self.wfile.write("\r\n".join(head).encode() + (answer.body if has_body else b""))

    def _reset(self) -> None:
        """End the connection with RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.connection.close()
