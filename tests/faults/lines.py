"""A wire between a process and a server that a test may hold or cut at a word, as a slow or broken network does."""

import socket
import threading
from contextlib import suppress

PATIENCE_SECONDS = 30


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.goes_up, self.goes_down, self.is_answered = threading.Event(), threading.Event(), threading.Event()
        self.let_go()

    def let_go(self) -> None:
        self.goes_up.set()
        self.goes_down.set()

    def cut(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.let_go()


class Line:
    """Forwards a port of its own to a server's port on this machine.

    A held message waits on the line. Its sender may time out or be killed meanwhile: nobody at the other end knows.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._word: bytes | None = None
        self._skipped = 0
        self._holds_answer = False
        self._held: _Connection | None = None
        self._is_held = threading.Event()
        self._connections: list[_Connection] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold_at(self, word: bytes, *, skip: int = 0, answer: bool = False) -> None:
        """Hold the next message to the server that has a word in it; or let it pass and hold the answer.

        skip: how many such messages go through before.
        """
        self._is_held.clear()
        self._held, self._holds_answer, self._skipped, self._word = None, answer, skip, word

    def wait(self) -> None:
        """Wait until a message is held. If it is an answer, the server has done what it was told."""
        assert self._is_held.wait(PATIENCE_SECONDS), "Nobody has said the word."

    def release(self) -> None:
        """Deliver what is held, whether its sender lives or not, and wait until the server has answered it."""
        assert self._held is not None
        self._held.let_go()
        assert self._held.is_answered.wait(PATIENCE_SECONDS), "The server has not answered."

    def cut(self) -> None:
        """Lose what is held; both ends notice."""
        assert self._held is not None
        self._held.cut()

    def close(self) -> None:
        """Cut everything."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(client, server)
            self._connections.append(connection)
            threading.Thread(target=self._carry_up, args=[connection], daemon=True).start()
            threading.Thread(target=self._carry_down, args=[connection], daemon=True).start()

    def _carry_up(self, connection: _Connection) -> None:
        with suppress(OSError):
            while message := connection.client.recv(65536):
                if self._word is not None and self._word in message:
                    self._skipped -= 1
                    if self._skipped < 0:
                        self._hold(connection)
                connection.goes_up.wait()
                connection.server.sendall(message)
        # The client is gone. What it sent has arrived; only now does the server learn of it.
        with suppress(OSError):
            connection.server.shutdown(socket.SHUT_WR)

    def _hold(self, connection: _Connection) -> None:
        self._word, self._held = None, connection
        connection.is_answered.clear()
        if self._holds_answer:
            connection.goes_down.clear()
        else:
            connection.goes_up.clear()
            self._is_held.set()

    def _carry_down(self, connection: _Connection) -> None:
        with suppress(OSError):
            while message := connection.server.recv(65536):
                connection.is_answered.set()
                if not connection.goes_down.is_set():
                    self._is_held.set()
                    connection.goes_down.wait()
                connection.client.sendall(message)
        for end in (connection.client, connection.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
