"""Where a customer stands: the class and since when, the live figures, what is to be judged yet, and the history."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from profiles.models import ProfileHistory
from scrm import sharding

STANDING = """
SELECT c.profile, c.profile_updated_at, d.customer_id IS NOT NULL,
    COALESCE(t.purchase_count - t.refund_count, 0), COALESCE(t.interaction_count, 0), COALESCE(t.refund_count, 0),
    COALESCE(t.purchase_amount - t.refund_amount, 0), COALESCE(t.refund_amount, 0),
    t.last_purchase_at, t.last_interaction_at
FROM customers c
LEFT JOIN running_totals t ON t.customer_id = c.customer_id AND t.bucket = c.bucket
LEFT JOIN dirty_customers d ON d.customer_id = c.customer_id AND d.bucket = c.bucket
WHERE c.customer_id = %s AND c.bucket = %s
"""


@dataclass(frozen=True)
class Standing:
    """profile: as of the last classification, None before the first. is_dirty: an input has changed since.

    The figures are of all that has been recorded by now; purchases that are refunded whole count no more, and what was
    given back is taken off the amount.
    """

    profile: str | None
    since: datetime | None
    is_dirty: bool
    purchase_count: int
    interaction_count: int
    refund_count: int
    total_amount: Decimal
    refund_amount: Decimal
    last_purchase_at: datetime | None
    last_interaction_at: datetime | None


def find_standing(customer_id: int) -> Standing | None:
    """Return where the customer at an address stands, None if nobody is there. Database: one query on the home's."""
    with sharding.cursor(sharding.home_of(customer_id)) as cursor:
        cursor.execute(STANDING, [customer_id, sharding.bucket_of(customer_id)])
        row = cursor.fetchone()
    return Standing(*row) if row else None


def list_changes(
    customer_id: int, *, before_run: int | None = None, limit: int = 20
) -> tuple[list[ProfileHistory], int | None]:
    """Return changes of class, the newest first, and the run to go on before if there are more.

    Database: one query on the home's.
    """
    rows = ProfileHistory.objects.using(sharding.alias(sharding.home_of(customer_id))).filter(
        customer_id=customer_id, bucket=sharding.bucket_of(customer_id)
    )
    if before_run is not None:
        rows = rows.filter(run_id__lt=before_run)
    found = list(rows.order_by("-run_id")[: limit + 1])
    return found[:limit], found[limit - 1].run_id if len(found) > limit else None
