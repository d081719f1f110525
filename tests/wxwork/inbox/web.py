"""A granian of a test's own that knows the tests' token and key, and pushes to it over HTTP."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import CHECKOUT, WORKER, _environ_of_processes
from tests.wxwork.inbox.conftest import AES_KEY, CORP, TOKEN, body_of, query, sealed

KNOWN = {"WXWORK_CORP_ID": CORP, "WXWORK_CALLBACK_TOKEN": TOKEN, "WXWORK_CALLBACK_AES_KEY": AES_KEY}


class Web:
    """Where it listens."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def push(self, xml: bytes, connection: http.client.HTTPConnection | None = None) -> tuple[int, bytes]:
        encrypted = sealed(xml)
        connection = connection or self.connect()
        connection.request("POST", f"/wxwork/callback?{query(encrypted)}", body_of(encrypted))
        response = connection.getresponse()
        return response.status, response.read()

    def raw(self, head: str, body: bytes) -> bytes:
        """Send bytes as they are and return what comes back until the server has no more, or for two seconds."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
            found = b""
            try:
                while chunk := connection.recv(65536):
                    found += chunk
            except TimeoutError:
                pass
            return found


@contextmanager
def web_server(**environ: str) -> Iterator[Web]:
    """Run granian on this worker's databases; environ: what is to be different."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = Path(os.environ["SCRM_TEST_DIR"]) / f"callback-web-{WORKER or 'gw'}.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)),
                *("--workers", "1", "--blocking-threads", "2", "scrm.wsgi:application"),
            ],
            cwd=CHECKOUT,
            env=_environ_of_processes() | KNOWN | environ,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    web = Web(port)
    try:
        _wait_for(web, server, log)
        yield web
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(web: Web, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            connection = web.connect()
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"The web server does not answer:\n{log.read_text(errors='replace')[-4000:]}")
