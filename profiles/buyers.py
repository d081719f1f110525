"""Read who has bought, as compact rows: what RFM and value hang on, counting the days before as_of.

| column         | what                                                        | last_day before as_of | otherwise     |
|----------------|-------------------------------------------------------------|-----------------------|---------------|
| purchases      | purchases less those that are wholly refunded               | running_totals        | daily_totals, |
| amount         | paid less given back, in cents                              |                       | days before   |
| days           | days with a purchase; a refund takes none away              |                       | as_of         |
| first, last    | the first and the last of them, as day numbers              |                       |               |
| repeat_amount  | paid on all of them but the first, in cents; of what has    |                       |               |
|                | been given back, the part that falls to them is taken off   |                       |               |

Totals do not know of which day's purchase something was given back: it is taken off all of a customer's purchases in
proportion, so that 10 % given back in all are 10 % of repeat_amount.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from profiles import columns
from profiles.days import day_zone

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

BLOCK_SIZE = 20_000

RUNNING = """
SELECT r.customer_id, CASE WHEN r.last_day >= %(as_of)s THEN 1 ELSE 0 END, r.purchase_count - r.refund_count,
    ((r.purchase_amount - r.refund_amount) * 100)::bigint, r.purchase_days, r.first_purchase_day,
    COALESCE(r.last_purchase_at, '-infinity'), ((r.purchase_amount - r.first_purchase_amount) * 100
        * CASE WHEN r.refund_amount = 0 THEN 1
            ELSE GREATEST(1 - r.refund_amount / NULLIF(r.purchase_amount, 0), 0) END)::bigint
FROM running_totals_@ r WHERE r.customer_id > %(after)s AND r.purchase_days > 0
ORDER BY r.customer_id LIMIT %(size)s
"""
RUNNING_LAYOUT = {
    "customer_id": "bigint", "is_ahead": "int", "purchases": "int", "amount": "bigint", "days": "int", "first": "int",
    "last_at": "time", "repeat_amount": "bigint",
}  # fmt: skip
DAILY = """
SELECT t.customer_id, sum(t.purchase_count - t.refund_count), (sum(t.purchase_amount - t.refund_amount) * 100)::bigint,
    count(*) FILTER (WHERE t.purchase_count > 0),
    COALESCE(min(t.day) FILTER (WHERE t.purchase_count > 0), '-infinity'),
    COALESCE(max(t.day) FILTER (WHERE t.purchase_count > 0), '-infinity'),
    ((sum(t.purchase_amount) - COALESCE((array_agg(t.purchase_amount ORDER BY t.day)
        FILTER (WHERE t.purchase_count > 0))[1], 0)) * 100
        * GREATEST(1 - sum(t.refund_amount) / NULLIF(sum(t.purchase_amount), 0), 0))::bigint
FROM daily_totals_@ t
WHERE t.customer_id > %(after)s AND t.customer_id <= %(last)s AND t.customer_id = ANY(%(ids)s::bigint[])
    AND t.day < %(as_of)s
GROUP BY t.customer_id ORDER BY t.customer_id
"""
DAILY_LAYOUT = {
    "customer_id": "bigint", "purchases": "bigint", "amount": "bigint", "days": "bigint", "first": "int", "last": "int",
    "repeat_amount": "bigint",
}  # fmt: skip


@dataclass
class Buyers:
    """Some of a bucket's customers who have a day with a purchase before as_of, ascending, as columns of one length.

    last_id: the position after this block, whoever of it has none; is_last: nobody is beyond it.
    """

    column: "dict[str, Column]"
    last_id: int
    is_last: bool

    def __len__(self) -> int:
        return len(self.column["customer_id"])

    def where(self, picked: "Column") -> "dict[str, Column]":
        """Return the columns of some of them."""
        return {name: values[picked] for name, values in self.column.items()}


def read(home: int, bucket: int, as_of: date, after: int, size: int = BLOCK_SIZE) -> Buyers:
    """Return the next block of up to `size` customers beyond `after`.

    Database: the home's, one COPY, and one for those who did something on as_of or later. Memory: some 5 MB.
    Raises HomeUnavailableError.
    """
    import numpy as np

    params: dict[str, Any] = {"after": after, "as_of": as_of, "size": size}
    found = columns.read(home, columns.on_leaves(RUNNING, bucket), params, RUNNING_LAYOUT)
    ids, count = found["customer_id"], len(found["customer_id"])
    last_id = int(ids[-1]) if count else after
    days = columns.as_local_days(found.pop("last_at"), day_zone().key)
    found["last"] = (days - np.datetime64(columns.EPOCH, "D")).astype(np.int64)
    ahead = np.flatnonzero(found.pop("is_ahead"))
    if len(ahead):
        params |= {"last": last_id, "ids": columns.array(ids[ahead])}
        sums = columns.read(home, columns.on_leaves(DAILY, bucket), params, DAILY_LAYOUT)
        places = np.searchsorted(ids, sums["customer_id"])
        found["days"][ahead] = 0  # who is not in the sums has no day before as_of
        for name in DAILY_LAYOUT:
            found[name][places] = sums[name]
        there = found["days"] > 0
        found = {name: values[there] for name, values in found.items()}
    return Buyers(found, last_id, count < size)


def iter_blocks(home: int, bucket: int, as_of: date) -> Iterator[Buyers]:
    """Yield all of a bucket's, block by block. Errors and cost as of `read`."""
    after, is_last = 0, False
    while not is_last:
        block = read(home, bucket, as_of, after)
        yield block
        after, is_last = block.last_id, block.is_last
