"""The department databases of this process: which there are, how to reach one, how to write to one.

`transaction.atomic()` and `delay_on_commit` act on `default` and protect nothing here; use what is below.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from django.conf import settings
from django.db import connections, transaction
from django.utils.module_loading import import_string

from scrm.sharding.backend.base import DatabaseWrapper
from scrm.sharding.bucketing import BucketingStrategy
from scrm.sharding.errors import WriteOutsideAtomicError
from scrm.sharding.ids import home_of, make
from scrm.sharding.shard_map import ShardMap

SEQUENCE = "customer_ids"


@cache
def shard_map() -> ShardMap:
    """Return the homes that this process knows, from the settings."""
    return ShardMap.of_aliases(settings.DATABASES)


@cache
def bucketing() -> BucketingStrategy:
    """Return the strategy that chooses homes, from the setting SHARDING_STRATEGY."""
    strategy: BucketingStrategy = import_string(settings.SHARDING_STRATEGY)()
    return strategy


def alias(home: int) -> str:
    """Return the database alias of a home, for using(…) in reads. Raises UnknownHomeError."""
    return shard_map().alias(home)


def cursor(home: int) -> Any:
    """Return a cursor on a home's database: for reads anywhere, for writes inside atomic.

    Raises UnknownHomeError, HomeUnavailableError.
    """
    return connections[alias(home)].cursor()


@contextmanager
def atomic(customer_id: int, *, durable: bool = False) -> Iterator[str]:
    """Open a read-write transaction on the database that holds a customer, and yield its alias.

    Only inside may sharded tables be written. Nests (as a savepoint) on the same home. An exception rolls back.
    Raises InvalidCustomerIdError, UnknownHomeError, HomeUnavailableError; when the COMMIT itself finds nobody, what was
    written may be there or not, so a caller that retries must be one that may repeat itself.
    """
    with atomic_home(home_of(customer_id), durable=durable) as name:
        yield name


@contextmanager
def atomic_home(home: int, *, durable: bool = False) -> Iterator[str]:
    """Open a read-write transaction on a home's database, and yield its alias. See atomic."""
    name = alias(home)
    connection: DatabaseWrapper = connections[name]  # type: ignore[assignment]
    if connection.in_atomic_block:
        if not connection.writable:
            raise WriteOutsideAtomicError(
                f"A plain transaction.atomic() is open on {name}: begin with sharding.atomic() instead."
            )
        with transaction.atomic(using=name, durable=durable):
            yield name
        return
    connection.begin_writable()
    try:
        with transaction.atomic(using=name, durable=durable):
            yield name
    finally:
        connection.end_writable()


def after_commit(customer_id: int, fn: Callable[[], object]) -> None:
    """Call fn once the open transaction on a customer's home has committed; at once if none is open.

    Not at all when it rolls back, or when the process dies first: what must happen has a row of its own.
    """
    after_commit_home(home_of(customer_id), fn)


def after_commit_home(home: int, fn: Callable[[], object]) -> None:
    """Call fn once the open transaction on a home's database has committed. See after_commit."""
    transaction.on_commit(fn, using=alias(home))


def allocate(home: int, count: int) -> list[int]:
    """Take customer_ids for new customers of a home, in ascending order; an id is never given twice.

    Ids that are taken and not used are lost, which costs nothing: a home has 10^10.
    Database: one query on the home's, outside or inside a transaction. Raises HomeUnavailableError.
    """
    with atomic_home(home), cursor(home) as rows:
        rows.execute("SELECT nextval(%s) FROM generate_series(1, %s)", [SEQUENCE, count])
        return sorted(make(home, n) for (n,) in rows.fetchall())
