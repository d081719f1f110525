"""A small loop that needs no broker: does what must be done even when nobody asks and Celery sleeps.

    chore                       every    does
    settle_cached_deletions     2 s      deletes cache keys that writers could not     (for example)

An app registers its chores in AppConfig.ready():

    keeper.register("settle_cached_deletions", settle_cached_deletions, every_seconds=2)

Each chore has a thread of its own, so that one that hangs on a database stops no other. A chore may be killed at any
moment and may run in two keepers at once: it must be repeatable, and the database must decide who has a row.
"""

import json
import os
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import connections

logger = structlog.get_logger(__name__)

HEARTBEAT_EVERY_SECONDS = 1.0
SILENT_AFTER_SECONDS = 15.0
STOP_SECONDS = 1.5
# A chore that runs this long hangs: its own period five times, and a minute at least.
HANGS_AFTER_PERIODS = 5
HANGS_AFTER_SECONDS = 60.0


@dataclass
class Chore:
    """Something to do again and again. `do` returns how much it did, or None; what it raises is logged."""

    name: str
    do: Callable[[], int | None]
    every_seconds: float
    running_since: datetime | None = field(default=None, compare=False)
    succeeded_at: datetime | None = field(default=None, compare=False)
    error: str | None = field(default=None, compare=False)

    def run(self) -> bool:
        """Do it once, log what came of it. Returns whether it went well; raises nothing."""
        self.running_since = datetime.now(UTC)
        began = time.monotonic()
        try:
            done = self.do()
        except Exception as error:
            before, self.error = self.error, type(error).__name__
            # One traceback tells all: a database that is down for an hour needs no thousand.
            logger.warning("chore_failed", chore=self.name, error=self.error, exc_info=self.error != before)
            return False
        finally:
            self.running_since = None
        self.succeeded_at, self.error = datetime.now(UTC), None
        if done:
            logger.info("chore_done", chore=self.name, done=done, seconds=round(time.monotonic() - began, 3))
        return True


_chores: dict[str, Chore] = {}


def register(name: str, do: Callable[[], int | None], *, every_seconds: float) -> Chore:
    """Have the keeper do something every so many seconds, counted from the end of one run to the begin of the next."""
    if name in _chores:
        raise ValueError(f"There is a chore {name} already.")
    _chores[name] = Chore(name, do, every_seconds)
    return _chores[name]


def registered() -> list[Chore]:
    """Return all chores, in the order of their registration."""
    return list(_chores.values())


def run_once(chores: Iterable[Chore]) -> list[str]:
    """Do each chore once, one after the other. Returns the names of those that failed."""
    return [chore.name for chore in chores if not chore.run()]


def run(stop: threading.Event, chores: Iterable[Chore], *, heartbeat: Path | None = None) -> list[str]:
    """Keep doing the chores until `stop` is set, then wait for them, 1.5 s at the longest.

    heartbeat: a file, written anew every second (see find_trouble, find_failures). Returns the names of chores that
    still hang; their threads die with the process.
    """
    chores = list(chores)
    threads = {
        chore.name: threading.Thread(target=_keep_doing, args=(chore, stop), name=f"chore-{chore.name}", daemon=True)
        for chore in chores
    }
    logger.info("keeper_begins", chores=list(threads))
    for thread in threads.values():
        thread.start()
    while True:
        if heartbeat is not None:
            _write_heartbeat(heartbeat, chores)
        if stop.wait(HEARTBEAT_EVERY_SECONDS):
            break
    patience_ends = time.monotonic() + STOP_SECONDS
    for thread in threads.values():
        thread.join(max(0.0, patience_ends - time.monotonic()))
    hanging = [name for name, thread in threads.items() if thread.is_alive()]
    if heartbeat is not None:
        heartbeat.unlink(missing_ok=True)
    logger.info("keeper_ends", hanging=hanging)
    return hanging


def _keep_doing(chore: Chore, stop: threading.Event) -> None:
    while not stop.is_set():
        chore.run()
        # A database that went away must not leave a dead connection behind, nor a live one be held for nothing.
        connections.close_all()
        stop.wait(chore.every_seconds)


def heartbeat_file() -> Path:
    """Return where this installation's keeper leaves its heartbeat: KEEPER_HEARTBEAT_FILE, or a temporary file."""
    given = getattr(settings, "KEEPER_HEARTBEAT_FILE", None)
    installation = zlib.crc32(str(settings.BASE_DIR).encode())
    return Path(given or Path(tempfile.gettempdir()) / f"scrm-keeper-{os.getuid()}-{installation:08x}.json")


def _write_heartbeat(path: Path, chores: list[Chore]) -> None:
    beat = {
        "at": datetime.now(UTC).isoformat(),
        "pid": os.getpid(),
        "chores": {
            chore.name: {
                "every_seconds": chore.every_seconds,
                "running_since": chore.running_since and chore.running_since.isoformat(),
                "succeeded_at": chore.succeeded_at and chore.succeeded_at.isoformat(),
                "error": chore.error,
            }
            for chore in chores
        },
    }
    try:
        # A file of its own first, so that who reads never finds half of it.
        number, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(number, "w") as file:
            json.dump(beat, file)
        os.replace(name, path)
    except OSError as error:
        logger.warning("keeper_heartbeat_not_written", path=str(path), reason=str(error))


def find_trouble(path: Path, *, now: datetime) -> list[str]:
    """Read a heartbeat and say in words for what the keeper must be restarted; nothing when it need not."""
    beat = _read_heartbeat(path)
    if beat is None:
        return [f"No keeper runs here: there is no heartbeat at {path}. Start `manage.py keeper`."]
    silence = (now - datetime.fromisoformat(beat["at"])).total_seconds()
    if silence > SILENT_AFTER_SECONDS:
        return [f"The keeper (process {beat['pid']}) has been silent for {silence:.0f} s. Restart it."]
    found = []
    for name, chore in beat["chores"].items():
        patience = timedelta(seconds=max(HANGS_AFTER_SECONDS, HANGS_AFTER_PERIODS * chore["every_seconds"]))
        if chore["running_since"] and now - datetime.fromisoformat(chore["running_since"]) > patience:
            found.append(f"The chore {name} has been running since {chore['running_since']}. Restart the keeper.")
    return found


def find_failures(path: Path) -> list[str]:
    """Read a heartbeat and say in words which chores failed the last time. A restart does not help them."""
    chores = (_read_heartbeat(path) or {"chores": {}})["chores"]
    return [
        f"The chore {name} fails with {chore['error']}; the keeper's log says why."
        for name, chore in chores.items()
        if chore["error"]
    ]


def _read_heartbeat(path: Path) -> dict[str, Any] | None:
    try:
        beat = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return beat if isinstance(beat, dict) and {"at", "pid", "chores"} <= beat.keys() else None
