"""The protocol on the smallest table: what customers do with a dozen tables, for tests with many processes."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg

from scrm.cache import CacheClient, CacheUnreachableError, Loaded, ReadThrough, settle

TABLES = """
DROP TABLE IF EXISTS things, owed;
CREATE TABLE things (key text PRIMARY KEY, version bigint NOT NULL);
CREATE TABLE owed (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL, version bigint NOT NULL);
"""
FREE = "SELECT version FROM things WHERE key = %s FOR SHARE SKIP LOCKED"
PLAIN = "SELECT version FROM things WHERE key = %s"
WRITE = """
INSERT INTO things VALUES (%s, 1) ON CONFLICT (key) DO UPDATE SET version = things.version + 1 RETURNING version
"""
OWE = "INSERT INTO owed (key, version) VALUES (%s, %s)"


class Things:
    """Things with a version, in PostgreSQL and through a cache. One connection for each thread."""

    def __init__(self, postgres_url: str, connect: Callable[[], CacheClient], **options: Any) -> None:
        self.url = postgres_url
        self.cached = ReadThrough(connect, **{"prefix": "thing:", "ttl_seconds": 86_400, "load": self.load} | options)
        self._local = threading.local()

    @property
    def connection(self) -> psycopg.Connection:
        if getattr(self._local, "connection", None) is None:
            self._local.connection = psycopg.connect(self.url, autocommit=True)
        return self._local.connection

    def create(self) -> None:
        self.connection.execute(TABLES)

    def drop_tables(self) -> None:
        self.connection.execute("DROP TABLE things, owed")

    def close(self) -> None:
        self.connection.close()
        self._local.connection = None

    def stored(self, key: str) -> int:
        row = self.connection.execute(PLAIN, [key]).fetchone()
        return row[0] if row else 0

    def load(self, key: str) -> Loaded:
        with self.connection.transaction():
            row = self.connection.execute(FREE, [key]).fetchone()
            is_free = row is not None
            row = row or self.connection.execute(PLAIN, [key]).fetchone()
        if row is None:
            return Loaded(None, may_fill=True)
        return Loaded(b"%d" % row[0], may_fill=is_free)

    def get(self, key: str) -> int:
        return int(self.cached.get(key).value or 0)

    def write(self, key: str, *, meanwhile: Callable[[str], None] = lambda step: None) -> tuple[int, bool]:
        """Raise a thing's version. Returns (it, whether the cache could not be told)."""
        with self.connection.transaction():
            (version,) = self.connection.execute(WRITE, [key]).fetchone()
            meanwhile("locked")
            is_owing = not self._drop(key, version)
            meanwhile("told")
        meanwhile("committed")
        if version == 1:
            is_owing |= not self._drop(key, version)
        return version, is_owing

    def _drop(self, key: str, version: int) -> bool:
        try:
            self.cached.drop([key])
        except CacheUnreachableError:
            self.connection.execute(OWE, [key, version])
            return False
        return True

    def settle(self) -> dict[str, int]:
        """Delete what writers could not. Returns {key: version} that are promised from now on."""
        owed = self.connection.execute("SELECT id, key, version FROM owed ORDER BY id").fetchall()
        done = set(settle(self.cached, ((number, key) for number, key, _ in owed)))
        self.connection.execute("DELETE FROM owed WHERE id = ANY(%s)", [list(done)])
        return {key: version for number, key, version in owed if number in done}
