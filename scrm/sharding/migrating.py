"""Bring every database to what the code expects: the control database first, then the departments side by side.

Repeatable, and whatever fails does not stop the others. Two runs at once, as two containers do when they start, follow
each other by an advisory lock in each database.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from django.core.management import CommandError, call_command
from django.core.management.commands import migrate
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from scrm.sharding import inspection
from scrm.sharding.backend.base import DatabaseWrapper
from scrm.sharding.databases import SEQUENCE, alias, atomic_home, cursor, shard_map
from scrm.sharding.errors import ShardingError
from scrm.sharding.homes import register
from scrm.sharding.ids import PER_HOME
from scrm.sharding.shard_map import PREFIX
from scrm.sharding.structure import find_last_number

PARALLEL_DATABASES = 8
# "migrate" in ASCII; the lock space of customers has two keys, so the two never meet.
LOCK = 0x6D696772617465
LOCK_POLL_SECONDS = 0.2

Progress = Callable[[str, str], None]


def _ignore(_alias: str, _text: str) -> None:
    pass


@dataclass
class Migrated:
    """What came of one database. opened: None if it was registered before. sequence_from: None if it was right."""

    alias: str
    applied: int = 0
    error: str | None = None
    opened: bool | None = None
    sequence_from: int | None = None
    seconds: float = 0.0

    @property
    def summary(self) -> str:
        if self.error:
            return f"error: {self.error}"
        return f"applied {self.applied} migrations" if self.applied else "already up to date"

    @property
    def news(self) -> list[str]:
        """What has become of the home, beyond its migrations."""
        home = self.alias.removeprefix(PREFIX)
        found = []
        if self.opened is not None:
            found.append("registered and opened" if self.opened else f"registered; `shards open {home}` opens it")
        if self.sequence_from is not None:
            found.append(f"sequence moved on from {self.sequence_from}, so that no id is given twice")
        return found


class MigrateCommand(migrate.Command):
    """Django's migrate, one at a time per database, and able to write to a department database."""

    def __init__(self, *args: Any, progress: Progress = _ignore, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.progress = progress
        self.applied = 0

    def handle(self, *args: Any, **options: Any) -> Any:
        self.alias = options["database"]
        connection = connections[self.alias]
        session = connection.read_write_session() if isinstance(connection, DatabaseWrapper) else nullcontext()
        with (
            exclusively(self.alias, lambda: self.progress(self.alias, "waits for another migrate to end")),
            session,
        ):
            return super().handle(*args, **options)

    def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:
        super().migration_progress_callback(action, migration, fake)
        if action == "apply_start":
            self.progress(self.alias, f"applies {migration}")
        if action == "apply_success":
            self.applied += 1


@contextmanager
def exclusively(name: str, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the migration lock of a database, on a connection of its own.

    on_wait is called once if somebody else has it. A process that dies lets go of it.
    """
    connection: BaseDatabaseWrapper = connections[name].copy()
    try:
        is_waiting = False
        while not _try_lock(connection):
            if not is_waiting:
                on_wait()
            is_waiting = True
            # Not a lock that waits in the server: CREATE INDEX CONCURRENTLY waits for every transaction, so also for
            # one that waits for the lock, and neither would ever end.
            time.sleep(LOCK_POLL_SECONDS)
        yield
    finally:
        connection.close()


def migrate_all(progress: Progress = _ignore) -> list[Migrated]:
    """Migrate every database, register the homes, and move sequences past every id that has been given.

    progress(alias, text) is told what happens, from several threads. Raises nothing for a database that fails: its
    entry says what went wrong. Databases: default first, then up to 8 departments at once.
    """
    control = _migrate("default", progress)
    with ThreadPoolExecutor(PARALLEL_DATABASES, thread_name_prefix="migrate") as pool:
        homes = shard_map().homes
        departments = dict(zip(homes, pool.map(lambda home: _migrate_in_thread(home, progress), homes), strict=True))
    done = {home: result for home, result in departments.items() if not result.error}
    if not control.error:
        for home, is_open in register(done).items():
            done[home].opened = is_open
        _catch_up_sequences(done)
    for result in done.values():
        for news in result.news:
            progress(result.alias, news)
    return [control, *departments.values()]


def catch_up_sequence(home: int, given: int) -> int | None:
    """Move a home's sequence past the greatest number ever given. Returns where it was, None if that was right.

    After a restore the tables may be older than the directory, or the directory older than the tables; an id that
    either has seen must not be given to somebody else. given: the greatest number that the directory has seen.
    Database: one transaction on the home's, which those who take ids wait for.
    """
    with atomic_home(home), cursor(home) as rows:
        # Changes nothing, but takes the lock that nextval() respects: between our look and our setval nobody takes ids.
        rows.execute("ALTER SEQUENCE customer_ids INCREMENT BY 1")
        rows.execute("SELECT max(customer_id) FROM customers")
        wanted = max(given, (rows.fetchone()[0] or 0) % PER_HOME)
        last = find_last_number(home)
        if last is None or last >= wanted:
            return None
        rows.execute("SELECT setval(%s, %s)", [SEQUENCE, wanted])
        return last


def _migrate_in_thread(home: int, progress: Progress) -> Migrated:
    try:
        return _migrate(alias(home), progress)
    finally:
        connections.close_all()


def _migrate(name: str, progress: Progress) -> Migrated:
    began = time.monotonic()
    result = Migrated(name)
    command = MigrateCommand(progress=progress)
    try:
        call_command(command, database=name, verbosity=0, interactive=False)
    except (DatabaseError, ShardingError) as error:
        result.error = inspection.explain(error)
    except CommandError as error:
        result.error = " ".join(str(error).split())
    except Exception as error:  # a data migration may raise anything, and the other databases still want theirs
        result.error = f"{type(error).__name__}: {error} (`manage.py migrate --database={name}` shows where)"
    result.applied = command.applied
    result.seconds = time.monotonic() - began
    progress(name, result.summary)
    return result


def _catch_up_sequences(done: dict[int, Migrated]) -> None:
    figures = inspection.directory_figures()
    for home, result in done.items():
        largest = figures[home].max_customer_id if home in figures else 0
        try:
            result.sequence_from = catch_up_sequence(home, largest % PER_HOME)
        except (DatabaseError, ShardingError) as error:
            result.error = inspection.explain(error)


def _try_lock(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])
