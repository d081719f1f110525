"""Private servers of one test, which it may stop, freeze, kill and bring back without hurting another."""

import itertools
import os
import signal
from pathlib import Path

from scrm.embedded import place, postgres, processes, remove, servers, valkey
from scrm.embedded.servers import POSTGRES_STOP, Running, Server

_numbers = itertools.count()


class PrivateServer:
    """A server on a port that stays the same from start to start."""

    def __init__(self, server: Server) -> None:
        self.secret = server.secret
        self._server = server
        self._running: Running | None = None
        self.port = 0
        self.start()

    @property
    def pid(self) -> int:
        """The pid of the running server."""
        assert self._running is not None
        return self._running.process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has been started and neither stopped nor killed; a paused one counts as running."""
        return self._running is not None and self._running.child.poll() is None

    def start(self) -> None:
        """Start it, on its old port if it has one."""
        if self.is_running:
            return
        self._running = servers.start(self._server)
        self.port = self._running.port
        self._server = Server(**{**self._server.__dict__, "port": self.port})

    def stop(self) -> None:
        """Stop it the clean way; connections are refused from then on."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._running is not None
        self._running.child.wait()
        self._running = None

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections open, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start it; a cache is empty then."""
        self.stop()
        self.start()


class PrivateValkey(PrivateServer):
    """A cache or a broker of a test's own."""

    @property
    def url(self) -> str:
        """The URL of its database 0."""
        return valkey.url(self.port, self.secret)


class PrivatePostgres(PrivateServer):
    """A PostgreSQL of a test's own, with the databases scrm, dept_100 and dept_101, all empty."""

    def url(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return postgres.url(self.port, self.secret, database)


def private_folder(folder: Path) -> Path:
    """Return an empty folder for one private server; what a killed run left running there is stopped."""
    path = folder / f"private-{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}-{next(_numbers)}"
    for base in (path, place.outside_of(path)):
        for orphan in list(processes.iter_servers_of(base)):
            processes.stop(orphan, POSTGRES_STOP)
    remove(path)
    path.mkdir()
    return path


def private_valkey(folder: Path, *, keeps: bool) -> PrivateValkey:
    """Start a Valkey in an empty folder, with the settings of the cache, or of the broker if it `keeps`."""
    settled = place.settle(folder)
    return PrivateValkey(valkey.broker(settled) if keeps else valkey.cache(settled))


def private_postgres(folder: Path) -> PrivatePostgres:
    """Start a PostgreSQL in an empty folder; about a second."""
    return PrivatePostgres(postgres.server(place.settle(folder), durable=False))
