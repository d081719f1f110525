"""Move columns between PostgreSQL and numpy without looking at single values.

COPY in binary gives each row as a 16-bit number of fields, then each field as a 32-bit length and its bytes, big end
first. Where no field is null and each has a fixed length that is a numpy record: one frombuffer reads a block of rows.

    kind        PostgreSQL        numpy     stands for null
    "bigint"    bigint            >i8       what the query coalesces it to
    "int"       integer, date     >i4       0; for a date -infinity, which is NO_DAY
    "smallint"  smallint          >i2
    "time"      timestamptz       >i8       -infinity, which is NO_TIME

A date counts days and a time microseconds from 2000-01-01, both without a zone.
"""

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
_HEADER_BYTES, _TRAILER_BYTES = 19, 2
_WIDTHS = {"bigint": 8, "time": 8, "int": 4, "smallint": 2}


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

    data = bytearray()
    copied = f"COPY ({select}) TO STDOUT (FORMAT binary)"
    with joined_whole(home), sharding.cursor(home) as cursor, cursor.copy(copied, params) as copy:
        for part in copy:
            data += part
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in layout.items():
        fields += [(f"length of {name}", ">i4"), (name, f">i{_WIDTHS[kind]}")]
    record = np.dtype(fields)
    body = len(data) - _HEADER_BYTES - _TRAILER_BYTES
    if body % record.itemsize:
        raise ValueError(f"The rows do not have the layout {dict(layout)}: is a column null or of another type?")
    rows = np.frombuffer(data, record, count=body // record.itemsize, offset=_HEADER_BYTES)
    for name, kind in layout.items():
        if len(rows) and int(rows[f"length of {name}"][0]) != _WIDTHS[kind]:
            raise ValueError(f"Column {name} is not {kind}.")
    return {name: rows[name].astype(np.int64) for name in layout}


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
