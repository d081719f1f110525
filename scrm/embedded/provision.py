"""Give the environment the servers that it does not name. The states are drawn in the package's docstring."""

import atexit
import dataclasses
import os
import shutil
import subprocess
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from scrm.embedded import postgres, processes, records, valkey, warden
from scrm.embedded.errors import EmbeddedServersError
from scrm.embedded.place import Place, outside_of, settle
from scrm.embedded.records import Record
from scrm.embedded.servers import POSTGRES_STOP, VALKEY_STOP, Server

CHECKOUT = Path(__file__).resolve().parent.parent.parent
WARDEN_SECONDS = 30.0


@dataclass
class Provided:
    """What `provide` did. Stops what it started when it is closed, or else when this process ends."""

    folder: Path
    started: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    _warden: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _owner: int = field(default_factory=os.getpid, repr=False)

    def close(self) -> None:
        """Stop the servers that this process started; those that it joined run on. May be repeated."""
        # A fork inherits this object and must not stop what is its parent's.
        if self._warden is None or self._owner != os.getpid():
            return
        atexit.unregister(self.close)
        ended, self._warden = self._warden, None
        with records.locked(self.folder):
            mine = {name: record for name in self.started if (record := self._find_mine(name))}
            for name, record in mine.items():
                records.write(self.folder, name, dataclasses.replace(record, ended=True))
            ended.terminate()
            try:
                ended.wait(WARDEN_SECONDS)
            except subprocess.TimeoutExpired:
                ended.kill()
                ended.wait()
            for name, record in mine.items():
                # Only a warden that was killed leaves some.
                processes.stop(record.server, POSTGRES_STOP if name == "postgres" else VALKEY_STOP)

    def _find_mine(self, name: str) -> Record | None:
        record = records.find(self.folder, name)
        return record if record is not None and record.owner == processes.current() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def local_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of everything that stays on this machine: SCRM_LOCAL_DIR, else `.local` of the checkout."""
    return Path(environ.get("SCRM_LOCAL_DIR") or CHECKOUT / ".local").expanduser().resolve()


def provide(environ: MutableMapping[str, str], folder: Path, *, durable: bool = True) -> Provided:
    """Fill in DATABASE_URL, DEPARTMENT_DATABASES, REDIS_URL and CELERY_BROKER_URL where environ has none.

    folder: of this set of servers, made if missing; another folder is another set. durable: survive a crash of the
    machine (fsync); tests need not. A REDIS_URL that is given serves as broker too, unless a broker is given.
    Errors: EmbeddedServersError, with what to do. Cost: half a second the first time, a fifth later, nothing to join.
    """
    if environ.get("REDIS_URL") and not environ.get("CELERY_BROKER_URL"):
        environ["CELERY_BROKER_URL"] = environ["REDIS_URL"]
    needed = _list_needed(environ)
    if not needed:
        return Provided(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder = folder.resolve()
        with records.locked(folder):
            place = settle(folder)
            provided = _start_or_join(place, needed, durable=durable)
            ports = {name: record.port for name in needed if (record := records.find(folder, name))}
    except OSError as error:
        raise EmbeddedServersError(
            f"The embedded servers cannot use {folder}: {error}. Set SCRM_LOCAL_DIR to a folder that you can write."
        ) from error
    _fill(environ, ports, place.secret)
    return provided


def remove(folder: Path) -> None:
    """Delete a folder of servers with its data, wherever they lie.

    Errors: EmbeddedServersError while a command still runs them.
    """
    if not (folder / "secret").exists():
        return
    folder = folder.resolve()
    with records.locked(folder):
        for name in ("postgres", "cache", "broker"):
            record = records.find(folder, name)
            if record is not None and record.is_running:
                raise EmbeddedServersError(
                    f"The {name} in {folder} is in use by process {record.owner.pid}: stop that first."
                )
        for base in (folder, outside_of(folder)):
            _stop_all_of(base)
            shutil.rmtree(base, ignore_errors=True)


def _list_needed(environ: Mapping[str, str]) -> list[str]:
    given = {name for name, value in environ.items() if value}
    needed = {
        "postgres": not {"DATABASE_URL", "DEPARTMENT_DATABASES"} <= given,
        "cache": "REDIS_URL" not in given,
        "broker": "CELERY_BROKER_URL" not in given,
    }
    return [name for name, is_needed in needed.items() if is_needed]


def _start_or_join(place: Place, needed: list[str], *, durable: bool) -> Provided:
    known = {name: records.find(place.folder, name) for name in needed}
    joined = tuple(name for name, record in known.items() if record is not None and record.is_running)
    wanted = [name for name in needed if name not in joined]
    if not wanted:
        return Provided(place.folder, joined=joined)
    _forget_other_data(place)
    for name in wanted:
        _stop_all_of(place.data / name, place.data / f"{name}.conf")
    ports = {name: record.port for name, record in known.items() if record is not None}
    servers = [_server(place, name, port=ports.get(name, 0), durable=durable) for name in wanted]
    process, started = warden.launch(servers, log=place.folder / "warden.log")
    provided = Provided(place.folder, started=tuple(wanted), joined=joined, _warden=process)
    atexit.register(provided.close)
    for name, one in started.items():
        records.write(place.folder, name, Record(port=one.port, server=one.process, owner=processes.current()))
    return provided


def _server(place: Place, name: str, *, port: int, durable: bool) -> Server:
    if name == "postgres":
        return postgres.server(place, durable=durable, port=port)
    return {"cache": valkey.cache, "broker": valkey.broker}[name](place, port=port)


def _forget_other_data(place: Place) -> None:
    """Delete what a deleted folder of the same path left behind, in /var/tmp, with servers that may still run on it."""
    for data in place.base.glob("data-*"):
        if data != place.data:
            _stop_all_of(data)
            shutil.rmtree(data, ignore_errors=True)


def _stop_all_of(*paths: Path) -> None:
    for path in paths:
        for process in list(processes.iter_servers_of(path)):
            processes.stop(process, POSTGRES_STOP)


def _fill(environ: MutableMapping[str, str], ports: Mapping[str, int], secret: str) -> None:
    values = {}
    if "postgres" in ports:
        values["DATABASE_URL"] = postgres.url(ports["postgres"], secret)
        values["DEPARTMENT_DATABASES"] = postgres.department_databases(ports["postgres"], secret)
    if "cache" in ports:
        values["REDIS_URL"] = valkey.url(ports["cache"], secret)
    if "broker" in ports:
        values["CELERY_BROKER_URL"] = valkey.url(ports["broker"], secret)
    for name, value in values.items():
        if not environ.get(name):
            environ[name] = value
