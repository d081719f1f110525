"""Delete what writers could not, from the rows in which they recorded it."""

from collections.abc import Hashable, Iterable
from itertools import islice
from typing import TypeVar

from scrm.cache.errors import CacheUnreachableError
from scrm.cache.read_through import KEYS_PER_COMMAND, ReadThrough

Id = TypeVar("Id", bound=Hashable)


def settle(read_through: ReadThrough, owed: Iterable[tuple[Id, str]]) -> list[Id]:
    """Drop the keys of committed rows (id, key). Returns the ids that are done, whose rows the caller then deletes.

    Stops at the first command that Redis does not take: the other rows wait for the next time. Deleting a key twice
    costs a load and harms nothing, so that two keepers, or one that is killed in between, need no lock.
    """
    done: list[Id] = []
    rows = iter(owed)
    while chunk := list(islice(rows, KEYS_PER_COMMAND)):
        try:
            read_through.drop(key for _, key in chunk)
        except CacheUnreachableError:
            break
        done.extend(row_id for row_id, _ in chunk)
    return done
