"""The backend of the control database, for a department database, with three things added.

- **Writes need sharding.atomic.** Sessions begin read-only (`default_transaction_read_only`), and sharding.atomic()
  begins its transaction READ WRITE, so that PostgreSQL itself refuses every other write, raw SQL and COPY included.
  psycopg puts the mode into the BEGIN that it sends anyway: no round trip.
- **Down is one error.** Whatever way a server is out of reach, HomeUnavailableError, and the broken connection is
  dropped at once, so that a retry in the same process opens a new one. For a second after a server did not answer,
  the next connect to it fails without waiting: a list over many homes does not wait for one dead server many times.
- **Tables of customers are partitioned** by bucket: see schema.py.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import psycopg
from django.db import DatabaseError
from django.db.backends.postgresql import operations
from django.db.backends.postgresql.base import CursorDebugWrapper
from django.db.backends.utils import CursorWrapper
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property

from scrm.sharding.backend.control import base
from scrm.sharding.backend.schema import DatabaseSchemaEditor
from scrm.sharding.errors import HomeUnavailableError, WriteOutsideAtomicError
from scrm.sharding.shard_map import PREFIX

UNREACHABLE_SECONDS = 1.0
# Classes 08 (connection exception) and 57P (operator intervention) of PostgreSQL's appendix A.
GONE = ("08", "57P")

_unreachable_until: dict[str, float] = {}


class ErrorWrapper(DatabaseErrorWrapper):
    """Give errors of a department database their names, wherever they come up: connect, query, fetch, COPY, COMMIT."""

    wrapper: "DatabaseWrapper"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, traceback)
        except DatabaseError as named:
            if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
                raise WriteOutsideAtomicError(
                    f"{self.wrapper.alias}: {error}. Write to a department database inside sharding.atomic() only."
                ) from named
            if self.wrapper.is_gone(error):
                with suppress(Exception):
                    self.wrapper.close()
                raise HomeUnavailableError(self.wrapper.home) from named
            raise


class _CopyMixin:
    db: "DatabaseWrapper"
    cursor: Any

    @contextmanager
    def copy(self, statement: str, params: Any = None) -> Iterator[psycopg.Copy]:
        """Begin a COPY. Django's own cursor hands out the driver's, whose errors have no names of ours."""
        self.db.validate_no_broken_transaction()
        with self.db.wrap_database_errors, self.cursor.copy(statement, params) as copy:
            yield copy


class DepartmentCursor(_CopyMixin, CursorWrapper):
    pass


class DepartmentDebugCursor(_CopyMixin, CursorDebugWrapper):  # type: ignore[misc]
    pass


class DatabaseOperations(operations.DatabaseOperations):
    connection: "DatabaseWrapper"

    def execute_sql_flush(self, sql_list: Iterable[str]) -> None:
        with self.connection.read_write_session():
            super().execute_sql_flush(sql_list)


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor
    ops_class = DatabaseOperations

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        self.writable = False

    @property
    def home(self) -> int:
        return int(self.alias.removeprefix(PREFIX))

    @property
    def _is_department(self) -> bool:
        return self.alias.startswith(PREFIX)  # not so is Django's nameless connection for CREATE DATABASE

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        return ErrorWrapper(self) if self._is_department else DatabaseErrorWrapper(self)

    def make_cursor(self, cursor: Any) -> CursorWrapper:
        return DepartmentCursor(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> CursorDebugWrapper:
        return DepartmentDebugCursor(cursor, self)

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        if self._is_department:
            params["options"] = f"{params.get('options', '')} -c default_transaction_read_only=on".strip()
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if not self._is_department:
            return super().get_new_connection(conn_params)
        # Keyed by address, so that a database that has moved is asked at once.
        server = f"{conn_params.get('host')}:{conn_params.get('port')}"
        if time.monotonic() < _unreachable_until.get(server, 0):
            raise HomeUnavailableError(self.home)
        try:
            return super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            # A server that refuses one database or password (it says FATAL) is there for its other databases.
            if "FATAL" not in str(error):
                _unreachable_until[server] = time.monotonic() + UNREACHABLE_SECONDS
            raise HomeUnavailableError(self.home) from error

    def is_gone(self, error: BaseException | None) -> bool:
        """Tell whether an error of the driver means that the connection, not the statement, is the trouble."""
        if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return False
        if self.connection is not None and self.connection.closed:
            return True
        return (error.sqlstate or "").startswith(GONE)

    def begin_writable(self) -> None:
        """Make the next transaction READ WRITE. Raises HomeUnavailableError."""
        # Atomic would check after us, and might go on with another connection, a read-only one.
        self.close_if_health_check_failed()
        self.ensure_connection()
        self.connection.read_only = False
        self.writable = True

    def end_writable(self) -> None:
        """Make the transactions after this one read-only again."""
        self.writable = False
        if self.connection is None or self.connection.closed:
            return
        if self.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            self.connection.read_only = None
        else:
            self.close()  # its rollback failed: nothing is known of it

    def _commit(self) -> None:
        super()._commit()
        self.end_writable()  # before the functions of after_commit run, which are outside of it

    @contextmanager
    def read_write_session(self) -> Iterator[None]:
        """Let this connection write in any transaction: for migrations and flush, not for the product's work."""
        with self.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
        try:
            yield
        finally:
            self.close()

    def close_if_unusable_or_obsolete(self) -> None:
        # At the begin and end of requests and tasks, which must not fail because one department is down.
        try:
            super().close_if_unusable_or_obsolete()
        except (DatabaseError, HomeUnavailableError):
            with suppress(Exception):
                self.close()
