"""Stop a process at a statement, inside the database, and kill it there.

A gate is a trigger on a table that waits for an advisory lock, which the test holds. Nothing of the product is changed:
the process runs the product's function and comes to the gate by itself.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.databases import url_of

CHECKOUT = Path(__file__).resolve().parent.parent.parent
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
WAITING = """
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Gate:
    """A shut gate. Everybody who comes to it waits there, with the transaction that brought them open."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def waiting(self) -> list[int]:
        """Return the database's process ids of those at the gate."""
        return [pid for (pid,) in self._connection.execute(WAITING, [GATE])]

    def wait_for_somebody(self, process: subprocess.Popen[str] | None = None) -> int:
        """Wait until somebody is at the gate."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if there := self.waiting():
                return there[0]
            if process is not None and process.poll() is not None:
                raise AssertionError(f"It ended before it came to the gate: {process.communicate()}")
            time.sleep(0.01)
        raise AssertionError("Nobody came to the gate.")

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill a process with SIGKILL once it is at the gate; the statement that it was at never happens.

        PostgreSQL would else finish the statement of a client that is gone, as it notices only afterwards.
        """
        self.wait_for_somebody(process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        for pid in self.waiting():
            self._connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

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


def run(program: str, environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """Run a program of Python with Django set up, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import django; django.setup()\n{program}"],
        cwd=CHECKOUT,
        env=dict(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_gone(environ: Mapping[str, str]) -> None:
    """Wait until the database has noticed that killed processes hold no locks any more."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with psycopg.connect(environ["DATABASE_URL"], autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 23619")
            if row.fetchone() == (0,):
                return
            time.sleep(0.01)
    raise AssertionError("A killed process still holds a lock.")
