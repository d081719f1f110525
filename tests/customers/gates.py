"""Stop a process at a statement, inside the database, and kill it there.

A gate is a trigger on a table that waits for an advisory lock, which the test holds. Nothing of the product is changed:
a process of its own runs the product's function and comes to the gate by itself.
"""

import os
import pickle
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connections

from tests.databases import url_of

GATE = 0x6A7E
PATIENCE_SECONDS = 30

SET_UP = """
CREATE FUNCTION test_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared({gate});
    RETURN COALESCE(NEW, OLD);
END $$;
CREATE TRIGGER test_gate BEFORE {operation} ON {table} FOR EACH ROW {when} EXECUTE FUNCTION test_gate();
"""
HERE = "(SELECT oid FROM pg_database WHERE datname = current_database())"
AT_THE_GATE = (
    f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s AND database = {HERE}"
)
BEHIND_A_LOCK = (
    f"SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND (database = {HERE} OR database IS NULL)"
)
HOLDING_PERSONS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 23619"


class Process:
    """A process of its own, forked from this one, that calls a function."""

    def __init__(self, function: Callable[[], Any]) -> None:
        # What a child inherits it must not talk on: it opens connections of its own.
        connections.close_all()
        read_end, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                answer = True, function()
            except BaseException:
                answer = False, traceback.format_exc()
            with os.fdopen(write_end, "wb") as pipe:
                pipe.write(pickle.dumps(answer))
            os._exit(0)
        os.close(write_end)
        self._pipe = os.fdopen(read_end, "rb")

    @property
    def is_done(self) -> bool:
        """Whether it has answered, or died."""
        return bool(select.select([self._pipe], [], [], 0)[0])

    def answer(self) -> Any:
        """Wait for it, and return what the function returned; fail with its traceback if it raised."""
        assert select.select([self._pipe], [], [], 2 * PATIENCE_SECONDS)[0], "It hangs."
        written = self._pipe.read()
        os.waitpid(self.pid, 0)
        went_well, value = pickle.loads(written)
        assert went_well, value
        return value

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._pipe.close()


class Gate:
    """A shut gate. Everybody who comes to it waits there, with the transaction that brought them open."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def waiting(self) -> list[int]:
        """Return the database's process ids of those at the gate."""
        return [pid for (pid,) in self._connection.execute(AT_THE_GATE, [GATE])]

    def wait_for(self, process: Process) -> None:
        """Wait until a process is at the gate."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.waiting():
            assert not process.is_done, f"It ended before it came to the gate: {process.answer()}"
            assert time.monotonic() < deadline, "It did not come to the gate."
            time.sleep(0.005)

    def kill(self, process: Process) -> None:
        """Kill a process once it is at the gate; the statement that it was at never happens.

        PostgreSQL would else finish the statement of a client that is gone, as it notices only afterwards.
        """
        self.wait_for(process)
        process.kill()
        for pid in self.waiting():
            self._connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        wait_until(HOLDING_PERSONS, 0, "default")

    def open(self) -> None:
        """Let everybody pass."""
        self._connection.execute("SELECT pg_advisory_unlock_all()")


@contextmanager
def gate(alias: str, table: str, operation: str, when: str = "") -> Iterator[Gate]:
    """Put a shut gate before each row that an operation (INSERT, UPDATE, DELETE) of a table touches.

    when: a condition on NEW and OLD, to let other rows pass. Afterwards the gate is gone.
    """
    with psycopg.connect(url_of(alias), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [GATE])
        connection.execute(
            SET_UP.format(gate=GATE, table=table, operation=operation, when=when and f"WHEN ({when})")  # type: ignore[arg-type]
        )
        try:
            yield Gate(connection)
        finally:
            connection.execute("SELECT pg_advisory_unlock_all()")
            connection.execute("SET lock_timeout = '20s'")
            connection.execute(f"DROP TRIGGER test_gate ON {table}")  # type: ignore[arg-type]
            connection.execute("DROP FUNCTION test_gate()")


def wait_for_somebody_behind_a_lock(alias: str, number: int = 1) -> None:
    """Wait until so many sessions wait for a lock that another one holds."""
    wait_until(BEHIND_A_LOCK, number, alias)


def wait_until(question: str, answer: int, alias: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    with psycopg.connect(url_of(alias), autocommit=True) as connection:
        while connection.execute(question).fetchone() != (answer,):  # type: ignore[arg-type]
            assert time.monotonic() < deadline, question
            time.sleep(0.005)
