"""What a refund takes back of its purchase. Pure.

    purchase of 100.00, no refund yet
    refund 30.00            accepted        left 70.00
    refund 80.00            refund_exceeds_purchase
    refund, no amount       accepted, 70.00: nothing is left, so the purchase is undone on the day of this refund
    refund of any amount    refund_exceeds_purchase

A refund reduces the amount on its own day; only the one that leaves nothing counts as a purchase less (refund_count).
A purchase of 0.00 can be undone once, by a refund of 0.00.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass
class Purchase:
    """What is known of a purchase. refunded: the sum so far, None before the first refund."""

    amount: Decimal
    occurred_at: datetime
    refunded: Decimal | None = None

    @property
    def is_undone(self) -> bool:
        return self.refunded is not None and self.refunded >= self.amount


@dataclass(frozen=True)
class Taken:
    """An accepted refund. undoes: nothing is left of the purchase."""

    amount: Decimal
    undoes: bool


def take_back(purchase: Purchase | None, amount: Decimal | None, occurred_at: datetime) -> Taken | str:
    """Take a refund off its purchase, or return the code that says why not.

    amount: None for all that is left. Changes purchase.refunded when the refund is accepted.

    >>> from datetime import UTC
    >>> day = datetime(2026, 1, 1, tzinfo=UTC)
    >>> purchase = Purchase(Decimal("100.00"), day)
    >>> take_back(purchase, Decimal("30.00"), day)
    Taken(amount=Decimal('30.00'), undoes=False)
    >>> take_back(purchase, Decimal("80.00"), day)
    'refund_exceeds_purchase'
    >>> take_back(purchase, None, day)
    Taken(amount=Decimal('70.00'), undoes=True)
    """
    if purchase is None:
        return "unknown_purchase"
    if occurred_at < purchase.occurred_at:
        return "refund_before_purchase"
    left = purchase.amount - (purchase.refunded or 0)
    taken = left if amount is None else amount
    if purchase.is_undone or taken > left:
        return "refund_exceeds_purchase"
    purchase.refunded = (purchase.refunded or Decimal("0.00")) + taken
    return Taken(taken, purchase.is_undone)
