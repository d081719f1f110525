"""Mark customers whose class may have changed, for the next run to judge."""

from collections.abc import Iterable
from datetime import date

from scrm import sharding

# In customer_id order, so that two writers meet in the same order.
MARK = """
INSERT INTO dirty_customers (customer_id, bucket, mark, last_day)
SELECT id, id %% 10, nextval('dirty_marks'), %s::date FROM unnest(%s::bigint[]) AS id ORDER BY id
ON CONFLICT (customer_id, bucket) DO UPDATE
SET mark = excluded.mark, last_day = GREATEST(dirty_customers.last_day, excluded.last_day)
"""


def mark_dirty(home: int, customer_ids: Iterable[int], *, last_day: date | None = None) -> None:
    """Mark customers of a home as changed, in the open transaction of what changed them.

    last_day: the newest day that the input lies on; None for inputs that have no day, such as a tag.
    Database: one statement on the home's, inside sharding.atomic.
    """
    ids = sorted(set(customer_ids))
    if ids:
        with sharding.cursor(home) as cursor:
            cursor.execute(MARK, [last_day, ids])
