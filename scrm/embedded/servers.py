"""Start one server on a free port, wait until it answers, stop it. The same for PostgreSQL and Valkey."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from scrm.embedded import processes
from scrm.embedded.errors import EmbeddedServersError
from scrm.embedded.processes import Process

HOST = "127.0.0.1"
# A free port can be taken between our look and the server's bind; a killed postmaster's memory is held for a moment.
ATTEMPTS = 6
ATTEMPT_PAUSE_SECONDS = 0.2
READY_SECONDS = 60.0
POLL_SECONDS = 0.005
POSTGRES_STOP = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
VALKEY_STOP = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


@dataclass(frozen=True)
class Server:
    """What is needed to start a server; survives a trip through JSON.

    command: `{port}` stands for the port. port: tried first, 0 for any. log: kept for the last start only.
    postmaster_pid: the file in which PostgreSQL says that it is ready; empty for a Valkey.
    uid, gid: None for the account that we already are.
    """

    name: str
    command: list[str]
    log: str
    secret: str
    port: int = 0
    postmaster_pid: str = ""
    uid: int | None = None
    gid: int | None = None

    @property
    def stop_signals(self) -> tuple[tuple[signal.Signals, float], ...]:
        """PostgreSQL's fast, immediate and last stop; Valkey's stop by SIGTERM, tens of times faster than SHUTDOWN."""
        return POSTGRES_STOP if self.postmaster_pid else VALKEY_STOP


@dataclass(frozen=True)
class Running:
    """A started server that this process is the parent of."""

    server: Server
    port: int
    process: Process
    child: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Stop the server and reap it. A stopped (SIGSTOP) one is woken first, or it would not hear."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
        for number, seconds in self.server.stop_signals:
            if self.child.poll() is not None:
                return
            self.child.send_signal(number)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                continue


def start(server: Server) -> Running:
    """Start a server and return once it answers.

    Errors: EmbeddedServersError with the end of its log when it will not run on any port.
    """
    for attempt in range(ATTEMPTS):
        port = server.port if attempt == 0 and server.port else _free_port()
        _disown_stale_pid_file(server)
        child = _spawn(server, port)
        try:
            is_ready = _becomes_ready(server, child, port)
        except BaseException:  # SIGTERM in the warden: nobody would know of this child
            child.kill()
            child.wait()
            raise
        process = processes.identify(child.pid)
        if is_ready and process is not None:
            return Running(server=server, port=port, process=process, child=child)
        time.sleep(ATTEMPT_PAUSE_SECONDS)
    tail = Path(server.log).read_text(errors="replace").splitlines()[-8:]
    raise EmbeddedServersError(
        "\n  ".join([f"The embedded {server.name} does not start. The end of {server.log}:", *tail])
    )


def answers_ping(port: int, secret: str) -> bool:
    """Return whether a Valkey with that password answers on the port; one that is still loading does not count."""
    command = f"*2\r\n$4\r\nAUTH\r\n${len(secret)}\r\n{secret}\r\n*1\r\n$4\r\nPING\r\n"
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(command.encode())
            answer = b""
            while answer.count(b"\r\n") < 2:
                received = connection.recv(256)
                if not received:
                    return False
                answer += received
    except OSError:
        return False
    return answer == b"+OK\r\n+PONG\r\n"


def _spawn(server: Server, port: int) -> subprocess.Popen[bytes]:
    command = [argument.replace("{port}", str(port)) for argument in server.command]
    log = Path(server.log)
    log.unlink(missing_ok=True)
    try:
        with log.open("wb") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=environment(),
                start_new_session=True,  # a Ctrl-C in the terminal is for the owner, which stops the servers last
                user=server.uid,
                group=server.gid,
                extra_groups=None if server.uid is None else [],
            )
    except OSError as error:
        raise EmbeddedServersError(f"The embedded {server.name} cannot be run: {error}.") from error


def environment() -> dict[str, str]:
    """Return the whole environment of a server: nothing of ours (PGDATA, LC_ALL, secrets) leaks into it."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8"}


def _disown_stale_pid_file(server: Server) -> None:
    """Let PostgreSQL start over the pid file of a killed postmaster whose pid means something else by now.

    That is another process, or a zombie that a container's first process never reaps; PostgreSQL would refuse. Our own
    pid it takes for stale, as its parent's, and still makes sure that no orphaned backend holds the shared memory.
    """
    if not server.postmaster_pid:
        return
    try:
        # We may be root in a directory of another account: follow no link that it has put there.
        descriptor = os.open(server.postmaster_pid, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    with open(descriptor, "r+") as file:
        lines = file.read().splitlines()
        file.seek(0)
        file.write("\n".join([str(os.getpid()), *lines[1:], ""]))
        file.truncate()


def _becomes_ready(server: Server, child: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        if _says_ready(server, child.pid) if server.postmaster_pid else answers_ping(port, server.secret):
            return True
        time.sleep(POLL_SECONDS)
    if child.poll() is None:
        child.kill()
        child.wait()
    return False


def _says_ready(server: Server, pid: int) -> bool:
    """Read what `pg_ctl --wait` reads: the first line of postmaster.pid is the pid, the eighth the state."""
    try:
        lines = Path(server.postmaster_pid).read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
