"""The process between a command and the servers it started: starts them, waits for the command to die, stops them.

    stdin    one line of JSON: {"owner": pid, "servers": [Server, …]}
    stdout   one line of JSON: {name: {"port": …, "pid": …, "started": …}} or {"error": "…"}

It ends when its owner ends, however that happens, or at SIGTERM. It is a session of its own, so that neither Ctrl-C nor
a closed terminal reaches it before the owner has cleaned up.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from scrm.embedded import servers
from scrm.embedded.errors import EmbeddedServersError
from scrm.embedded.processes import Process
from scrm.embedded.servers import Running, Server

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Started:
    """A server as its owner knows it."""

    port: int
    process: Process


def launch(wanted: Sequence[Server], *, log: Path) -> tuple[subprocess.Popen[bytes], dict[str, Started]]:
    """Start a warden with these servers; return it once all of them answer.

    Errors: EmbeddedServersError when one does not start; then none of them runs.
    """
    order = {"owner": os.getpid(), "servers": [dataclasses.asdict(server) for server in wanted]}
    log.unlink(missing_ok=True)
    with log.open("wb") as errors:
        warden = subprocess.Popen(
            # Without site-packages, which it does not need, it is there in half of the time.
            [sys.executable, "-S", "-c", "from scrm.embedded import warden; warden.main()", str(log.parent)],
            cwd=Path(__file__).resolve().parent.parent.parent,
            env={**servers.environment(), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    assert warden.stdin
    assert warden.stdout
    with warden.stdin, warden.stdout:
        warden.stdin.write(json.dumps(order).encode() + b"\n")
        warden.stdin.flush()
        answer = json.loads(warden.stdout.readline() or '{"error": "The warden ended."}')
    if "error" in answer:
        warden.wait()
        raise EmbeddedServersError(f"{answer['error']} (warden's log: {log})")
    return warden, {
        name: Started(port=one["port"], process=Process(one["pid"], one["started"])) for name, one in answer.items()
    }


def main() -> None:
    """Run as a warden."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    order = json.loads(sys.stdin.readline())
    running: list[Running] = []
    try:
        for wanted in order["servers"]:
            running.append(servers.start(Server(**wanted)))
        _report({one.server.name: {"port": one.port, **dataclasses.asdict(one.process)} for one in running})
        _wait_for_the_end_of(order["owner"])
    except EmbeddedServersError as error:
        _report({"error": str(error)})
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for one in reversed(running):
            one.stop()


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _report(answer: Mapping[str, object]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the owner is gone already: the wait for its end is over at once
        print(json.dumps(answer), flush=True)


def _wait_for_the_end_of(owner: int) -> None:
    """Return when the owner is dead: a child whose parent ended is given another, even while the parent is a zombie."""
    while os.getppid() == owner:
        time.sleep(POLL_SECONDS)
