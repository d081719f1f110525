"""Run the product's processes side by side, and end them together."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

STOP_SECONDS = 10.0
RESTART_SECONDS = 1.0
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def free_port(preferred: int) -> int:
    """Return the preferred port of 127.0.0.1 if nobody listens there, else a free one."""
    for port in (preferred, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise OSError("No port is free on 127.0.0.1.")


def _end_with_parent() -> None:
    """In a child: be told to end when the parent is killed, so that it leaves no process behind (Linux only)."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Processes:
    """Named child processes, each with a log of its own. One that ends by itself is started again."""

    logs: Path
    environ: Mapping[str, str]
    _commands: dict[str, list[str]] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: list[str]) -> None:
        """Start a process in a group of its own, so that a Ctrl-C of the terminal reaches only us."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 - commands are ours
                command,
                env=dict(self.environ),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                process_group=0,
                preexec_fn=_end_with_parent,  # we have no other thread
            )
        self._commands[name] = command

    def run(self, command: list[str], **more: str) -> None:
        """Run a command to its end, with `more` environment, and what it says on our own output.

        Raises CalledProcessError.
        """
        subprocess.run(command, env={**self.environ, **more}, check=True)  # noqa: S603 - commands are ours

    def kill(self, name: str) -> None:
        """Kill one with all that it has started, as a machine does that runs out of memory."""
        self._signal(self._running[name], signal.SIGKILL)
        self._running[name].wait()

    def restart_ended(self, *, at_once: bool = False) -> list[str]:
        """Start again what has ended by itself, each after a second unless `at_once`; return their names."""
        ended = [name for name, process in self._running.items() if process.poll() is not None]
        for name in ended:
            time.sleep(0 if at_once else RESTART_SECONDS)
            self.start(name, self._commands[name])
        return ended

    def stop(self) -> None:
        """End all, politely and then not."""
        for process in self._running.values():
            self._signal(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._running.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._signal(process, signal.SIGKILL)
                process.wait()
        self._running.clear()

    @staticmethod
    def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        if process.poll() is None:
            os.killpg(process.pid, number)
