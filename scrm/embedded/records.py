"""What a folder says about its servers: who owns which, and on what port. One file a server, mode 600."""

import contextlib
import dataclasses
import fcntl
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scrm.embedded import processes
from scrm.embedded.errors import EmbeddedServersError
from scrm.embedded.place import write_private
from scrm.embedded.processes import Process

LOCK_SECONDS = 90.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Record:
    """A server that a command started; `ended` once that command has stopped it, kept for the port."""

    port: int
    server: Process
    owner: Process
    ended: bool = False

    @property
    def is_running(self) -> bool:
        """Whether the server lives and the command that will stop it lives too."""
        return not self.ended and processes.is_alive(self.owner) and processes.is_alive(self.server)


def find(folder: Path, name: str) -> Record | None:
    """Return the record of a server; None if there is none that can be read."""
    try:
        fields = json.loads((folder / f"{name}.json").read_text())
        return Record(
            port=fields["port"],
            server=Process(**fields["server"]),
            owner=Process(**fields["owner"]),
            ended=fields["ended"],
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write(folder: Path, name: str, record: Record) -> None:
    """Keep a record."""
    write_private(folder / f"{name}.json", json.dumps(dataclasses.asdict(record)))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder against every other start and end.

    Errors: EmbeddedServersError when somebody has held it for longer than any start takes.
    """
    with (folder / "lock").open("a") as file:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EmbeddedServersError(
                        f"Another command has held {folder}/lock for {LOCK_SECONDS:.0f} s."
                    ) from None
                time.sleep(POLL_SECONDS)
        yield
