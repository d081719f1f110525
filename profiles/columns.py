"""Move columns between PostgreSQL and numpy without looking at single values.

The server gathers each column of a block into an array, and COPY in binary sends the one row of them: a driver that is
handed row by row costs more than all that is done with the rows. In an array each element is a 32-bit length and its
bytes, big end first. Where none is null and each has a fixed length that is a numpy record: one frombuffer reads all.

    kind        PostgreSQL        numpy     stands for null
    "bigint"    bigint            >i8       what the query coalesces it to
    "int"       integer, date     >i4       0; for a date -infinity, which is NO_DAY
    "smallint"  smallint          >i2
    "time"      timestamptz       >i8       -infinity, which is NO_TIME

A date counts days and a time microseconds from 2000-01-01, both without a zone.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError

from scrm import sharding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EPOCH = date(2000, 1, 1)
NO_DAY = -(2**31)
NO_TIME = -(2**63)
# In front of the row: COPY's signature, flags and extension (19 bytes), and the number of fields (2). In front of an
# array's elements: dimensions, whether there are nulls, the elements' type, how many there are, and the first's index.
_COPY_HEADER, _LENGTH, _ARRAY_HEADER = 19 + 2, struct.Struct(">i"), struct.Struct(">iiIii")
_WIDTHS = {"bigint": 8, "time": 8, "int": 4, "smallint": 2}
# PostgreSQL's numbers of the types: some others have elements of the same lengths.
_TYPES = {"bigint": {20}, "time": {1184}, "int": {23, 1082}, "smallint": {21}}


# Homes whose tables this thread joins as wholes now.
_joined: ContextVar[frozenset[int]] = ContextVar("joined", default=frozenset())


@contextmanager
def joined_whole(home: int) -> Iterator[None]:
    """Have a home's tables joined as wholes, by all that is read in a block: once, however many reads there are.

    Without statistics, or with old ones, the planner takes a block of customers for one row and looks through all of
    the other table for each of its thousands. Only for reading: what is written wants its rows in their order.
    Database: a statement before and one after.
    """
    joined = _joined.get()
    if home in joined:
        yield
        return
    with sharding.cursor(home) as cursor:
        cursor.execute("SET enable_nestloop = off")
        token = _joined.set(joined | {home})
        try:
            yield
        finally:
            _joined.reset(token)
            with suppress(DatabaseError):  # what broke the reading may have broken the connection, or its transaction
                cursor.execute("RESET enable_nestloop")


def read(home: int, select: str, params: Mapping[str, Any], layout: Mapping[str, str]) -> "dict[str, NDArray[Any]]":
    """Return the columns of a query, as int64.

    layout: {name: kind} of the query's columns, in order; none may be null.
    Database: one COPY from the home's, within joined_whole. Memory: the block, twice. Raises HomeUnavailableError.
    """
    import numpy as np

    names = ", ".join(f"c{place}" for place in range(len(layout)))
    gathered = ", ".join(f"array_agg(c{place})" for place in range(len(layout)))
    copied = f"COPY (SELECT {gathered} FROM ({select}) AS block ({names})) TO STDOUT (FORMAT binary)"  # noqa: S608
    with joined_whole(home), sharding.cursor(home) as cursor, cursor.copy(copied, params) as copy:
        data = b"".join(copy)
    found, offset = {}, _COPY_HEADER
    for name, kind in layout.items():
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += _LENGTH.size
        if length < 0:  # no rows
            found[name] = np.empty(0, dtype=np.int64)
            continue
        _, has_nulls, type_, count, _ = _ARRAY_HEADER.unpack_from(data, offset)
        element = np.dtype([("length", ">i4"), ("value", f">i{_WIDTHS[kind]}")])
        whole = _ARRAY_HEADER.size + count * element.itemsize == length
        if has_nulls or type_ not in _TYPES[kind] or not whole:
            raise ValueError(f"Column {name} is not {kind} throughout, or some of it is null.")
        values = np.frombuffer(data, element, count=count, offset=offset + _ARRAY_HEADER.size)
        found[name] = values["value"].astype(np.int64)
        offset += length
    return found


def array(values: "NDArray[Any] | Sequence[int]", *, null: int | None = None) -> str:
    """Return whole numbers as the text of a PostgreSQL array, for one parameter with a cast.

    A text is quoted and read in one go; a list would be adapted number by number (thirty times slower).

    >>> array([1, 2, 3], null=2)
    '{1,NULL,3}'
    """
    numbers = values.tolist() if hasattr(values, "tolist") else list(values)
    if null is None:
        return "{" + ",".join(map(str, numbers)) + "}"
    return "{" + ",".join("NULL" if number == null else str(number) for number in numbers) + "}"


def on_leaves(sql: str, bucket: int) -> str:
    """Return a statement on one bucket's tables, of which it says `customers_@` for customers_3 and so on.

    Named by themselves, and without a condition on the bucket, whose effect the planner underrates tenfold and more
    while it has no statistics (then it reads a table from end to end for each of a thousand rows).

    >>> on_leaves("SELECT 1 FROM customers_@", 3)
    'SELECT 1 FROM customers_3'
    """
    return sql.replace("_@", f"_{bucket}")


def day_number(day: date) -> int:
    """Return a day as PostgreSQL counts it.

    >>> day_number(date(2000, 1, 2))
    1
    """
    return (day - EPOCH).days


def to_day(number: int) -> date | None:
    """Return the day of such a number, None for NO_DAY."""
    return None if number == NO_DAY else EPOCH + timedelta(days=int(number))


def as_days(numbers: "NDArray[np.int64]") -> "NDArray[np.datetime64]":
    """Return days as numpy has them, NaT for NO_DAY."""
    import numpy as np

    days = np.datetime64(EPOCH, "D") + numbers.astype("timedelta64[D]")
    return np.where(numbers == NO_DAY, np.datetime64("NaT", "D"), days)


def as_day_numbers(days: "NDArray[np.datetime64]") -> "NDArray[np.int64]":
    """Return numpy's days as PostgreSQL counts them, NO_DAY for NaT."""
    import numpy as np

    numbers = (days.astype("datetime64[D]") - np.datetime64(EPOCH, "D")).astype(np.int64)
    return np.where(np.isnat(days), NO_DAY, numbers)


def as_local_days(times: "NDArray[np.int64]", zone: str) -> "NDArray[np.datetime64]":
    """Return the days of a zone that times lie on, NaT for NO_TIME."""
    import numpy as np
    import pandas as pd

    moments = np.where(
        times == NO_TIME,
        np.datetime64("NaT", "us"),
        np.datetime64(EPOCH, "us") + np.where(times == NO_TIME, 0, times).astype("timedelta64[us]"),
    )
    local = pd.DatetimeIndex(moments).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return local.to_numpy().astype("datetime64[D]")
