"""Say which process is which, and stop one. A pid alone is never trusted: pids are given out again."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
HAS_PROC = (PROC / "self" / "stat").exists()
SERVER_PROGRAMS = {"postgres", "valkey-server"}
POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Process:
    """A process and the moment it began, which together are never given out twice."""

    pid: int
    started: str


def identify(pid: int) -> Process | None:
    """Return the live process of that pid; None if there is none, or only a zombie that nobody reaped."""
    if HAS_PROC:
        try:
            # The name in parentheses may hold spaces and parentheses itself: the fields begin after the last one.
            fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        state, started = fields[0], fields[19]
    else:
        line = _ps("-o", "stat=,lstart=", "-p", str(pid)).strip()
        if not line:
            return None
        state, _, started = line.partition(" ")
    return None if state[0] in "ZX" else Process(pid, started.strip())


def current() -> Process:
    """Return this process."""
    process = identify(os.getpid())
    assert process is not None
    return process


def is_alive(process: Process) -> bool:
    """Return whether that very process still runs."""
    return identify(process.pid) == process


def iter_servers_of(place: Path) -> Iterator[Process]:
    """Yield the PostgreSQL and Valkey servers started with an argument that is, or lies under, `place`.

    A postmaster's children have no such argument: they rewrite their command line.
    """
    for pid, arguments in _iter_command_lines():
        if Path(arguments[0]).name not in SERVER_PROGRAMS:
            continue
        if any(argument == str(place) or argument.startswith(f"{place}/") for argument in arguments[1:]):
            process = identify(pid)
            if process is not None:
                yield process


def stop(process: Process, signals: Sequence[tuple[signal.Signals, float]]) -> None:
    """Send each signal in turn and give the process its seconds to end, until it has.

    Raises TimeoutError when it outlives all of them.
    """
    for number, seconds in signals:
        if not is_alive(process):
            return
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not is_alive(process):
                return
            time.sleep(POLL_SECONDS)
    if is_alive(process):
        raise TimeoutError(f"Process {process.pid} does not end.")


def _iter_command_lines() -> Iterator[tuple[int, list[str]]]:
    if HAS_PROC:
        for folder in PROC.iterdir():
            if folder.name.isdigit():
                try:
                    arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                except OSError:
                    continue
                if arguments[0]:
                    yield int(folder.name), arguments
        return
    for line in _ps("-axww", "-o", "pid=,command=").splitlines():
        pid, *arguments = line.split()
        if arguments:
            yield int(pid), arguments


def _ps(*arguments: str) -> str:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout
