"""Mark customers of whom something has changed, for the next run to judge, and for whoever looks at them at once.

The row is the truth: `awaits_segments` stays until somebody has looked. Those in `after_marking` are only told, after
the commit, so that they need not wait for the keeper to find the row.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date

import structlog

from scrm import sharding

logger = structlog.get_logger(__name__)

# In customer_id order, so that two writers meet in the same order.
MARK = """
INSERT INTO dirty_customers (customer_id, bucket, mark, last_day)
SELECT id, id %% 10, nextval('dirty_marks'), %s::date FROM unnest(%s::bigint[]) AS id ORDER BY id
ON CONFLICT (customer_id, bucket) DO UPDATE
SET mark = excluded.mark, last_day = GREATEST(dirty_customers.last_day, excluded.last_day), awaits_segments = true
"""

# fn(home, customer_ids), called after the commit of what marked them. Apps above this one put theirs in.
after_marking: list[Callable[[int, Sequence[int]], object]] = []


def mark_dirty(home: int, customer_ids: Iterable[int], *, last_day: date | None = None) -> None:
    """Mark customers of a home as changed, in the open transaction of what changed them.

    last_day: the newest day that the input lies on; None for inputs that have no day, such as a tag.
    Database: one statement on the home's, inside sharding.atomic.
    """
    ids = sorted(set(customer_ids))
    if ids:
        with sharding.cursor(home) as cursor:
            cursor.execute(MARK, [last_day, ids])
        tell_marked(home, ids)


def tell_marked(home: int, customer_ids: Sequence[int]) -> None:
    """Have those in after_marking told of customers once the open transaction on their home has committed.

    For whoever marks customers with a statement of their own. What a listener raises is logged and hurts nobody.
    """
    if after_marking and customer_ids:
        sharding.after_commit_home(home, lambda: _tell(home, customer_ids))


def _tell(home: int, customer_ids: Sequence[int]) -> None:
    for listener in after_marking:
        try:
            listener(home, customer_ids)
        except Exception:
            logger.exception("after_marking_failed", home=home)
