"""What the last runs found a customer to be worth: RFM, value, loss warning, lifecycle, and how those have changed."""

from dataclasses import dataclass
from decimal import Decimal

from profiles.models import FactHistory
from profiles.value import HORIZON_DAYS
from scrm import sharding

WORTH = """
SELECT c.lifecycle, s.run_id, s.recency_score, s.frequency_score, s.monetary_score, s.rfm_segment, s.alive_percent,
    s.expected_purchases, s.expected_amount, s.loss_warning
FROM customers c LEFT JOIN customer_scores s ON s.customer_id = c.customer_id AND s.bucket = c.bucket
WHERE c.customer_id = %s AND c.bucket = %s
"""
SHOWN_FACTS = 50


@dataclass(frozen=True)
class Worth:
    """lifecycle: None before the first run. Of who has no purchases left everything else is None.

    run_id: the last run that changed any of it. expected_…: of the next horizon_days.
    """

    lifecycle: str | None = None
    run_id: int | None = None
    recency_score: int | None = None
    frequency_score: int | None = None
    monetary_score: int | None = None
    rfm_segment: str | None = None
    alive_percent: int | None = None
    expected_purchases: Decimal | None = None
    expected_amount: Decimal | None = None
    loss_warning: str | None = None
    horizon_days: int = HORIZON_DAYS

    @property
    def has_rfm(self) -> bool:
        return self.recency_score is not None

    @property
    def has_value(self) -> bool:
        return self.alive_percent is not None


def find_worth(customer_id: int) -> Worth:
    """Return what is stored of the customer at an address. Database: one query on the home's."""
    with sharding.cursor(sharding.home_of(customer_id)) as cursor:
        cursor.execute(WORTH, [customer_id, sharding.bucket_of(customer_id)])
        row = cursor.fetchone()
    return Worth(*row) if row else Worth()


def list_facts(customer_id: int, limit: int = SHOWN_FACTS) -> list[FactHistory]:
    """Return changes of lifecycle, rfm_segment and loss_warning, the newest first. Database: one query on the home."""
    rows = FactHistory.objects.using(sharding.alias(sharding.home_of(customer_id))).filter(
        customer_id=customer_id, bucket=sharding.bucket_of(customer_id)
    )
    return list(rows.order_by("-run_id", "fact")[:limit])
