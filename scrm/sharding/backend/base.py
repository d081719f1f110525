"""Django's PostgreSQL backend for a department database, with three things added.

- **Writes need sharding.atomic.** Sessions begin read-only (`default_transaction_read_only`), and sharding.atomic()
  begins its transaction READ WRITE, so that PostgreSQL itself refuses every other write, raw SQL and COPY included.
  psycopg puts the mode into the BEGIN that it sends anyway: no round trip.
- **Down is one error.** Whatever way a server is out of reach, HomeUnavailableError; and for a second after a failed
  connect the next one fails at once, so that a list over many homes does not wait for the same dead server again.
- **Tables of customers are partitioned** by bucket: see schema.py.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError
from django.db.backends.postgresql import base

from scrm.sharding.backend.schema import DatabaseSchemaEditor
from scrm.sharding.errors import HomeUnavailableError, WriteOutsideAtomicError
from scrm.sharding.shard_map import PREFIX

UNREACHABLE_SECONDS = 1.0
# Classes 08 (connection exception) and 57P (operator intervention) of PostgreSQL's appendix A.
GONE = ("08", "57P")

_unreachable_until: dict[str, float] = {}


def is_gone(error: BaseException) -> bool:
    """Tell whether a Django database error means that the server, not the statement, is the trouble."""
    cause = error.__cause__
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(cause, psycopg.OperationalError):
        return False
    return cause.sqlstate is None or cause.sqlstate.startswith(GONE)


class DatabaseOperations(base.DatabaseWrapper.ops_class):  # type: ignore[misc]
    def execute_sql_flush(self, sql_list: list[str]) -> None:
        with self.connection.read_write_session():
            super().execute_sql_flush(sql_list)


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor
    ops_class = DatabaseOperations

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        self.writable = False
        self.execute_wrappers.append(self._explain_errors)

    @property
    def home(self) -> int:
        return int(self.alias.removeprefix(PREFIX))

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        if not self.alias.startswith(PREFIX):
            return params  # Django's nameless connection for CREATE DATABASE
        given = params.get("options", "")
        params["options"] = f"{given} -c default_transaction_read_only=on".strip()
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if not self.alias.startswith(PREFIX):
            return super().get_new_connection(conn_params)
        # Keyed by address, so that a moved database is asked at once.
        server = f"{conn_params.get('host')}:{conn_params.get('port')}"
        if time.monotonic() < _unreachable_until.get(server, 0):
            raise HomeUnavailableError(self.home)
        try:
            return super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            if "does not exist" in str(error):
                raise  # the server answers; a missing database is for migrate_shards and doctor to explain
            _unreachable_until[server] = time.monotonic() + UNREACHABLE_SECONDS
            raise HomeUnavailableError(self.home) from error

    def _explain_errors(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        try:
            return execute(sql, params, many, context)
        except InternalError as error:
            if isinstance(error.__cause__, psycopg.errors.ReadOnlySqlTransaction):
                raise WriteOutsideAtomicError(
                    f"A write to {self.alias} outside sharding.atomic(): {str(sql)[:120]}"
                ) from error
            raise
        except (OperationalError, InterfaceError) as error:
            if is_gone(error):
                raise HomeUnavailableError(self.home) from error
            raise

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
        # A health check that finds the server gone drops the connection; the next query says HomeUnavailableError.
        try:
            super().close_if_unusable_or_obsolete()
        except (DatabaseError, HomeUnavailableError):
            with suppress(Exception):
                self.close()
