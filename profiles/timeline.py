"""A customer's behaviours, the newest first, page by page."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Q

from profiles.models import Behaviour, BehaviourKey
from scrm import sharding


@dataclass(frozen=True)
class Place:
    """Where a page ended: the last behaviour on it."""

    occurred_at: datetime
    source: str
    event_id: str


@dataclass(frozen=True)
class Moment:
    """A behaviour, and of a purchase how much of it has been given back."""

    behaviour: Behaviour
    refunded: Decimal | None


def list_behaviours(
    customer_id: int, *, after: Place | None = None, limit: int = 20
) -> tuple[list[Moment], Place | None]:
    """Return a page of a customer's behaviours, and where it ended if there are more.

    Database: one query on the home's, a second one when there are purchases among them.
    """
    alias = sharding.alias(sharding.home_of(customer_id))
    own = {"customer_id": customer_id, "bucket": sharding.bucket_of(customer_id)}
    rows = Behaviour.objects.using(alias).filter(**own)
    if after is not None:
        # The first condition is what an index can use; the second settles those of the same moment.
        rows = rows.filter(occurred_at__lte=after.occurred_at).filter(
            Q(occurred_at__lt=after.occurred_at)
            | Q(source__lt=after.source)
            | Q(source=after.source, event_id__lt=after.event_id)
        )
    found = list(rows.order_by("-occurred_at", "-source", "-event_id")[: limit + 1])
    page = found[:limit]
    refunds = _refunded(alias, own, [one for one in page if one.kind == Behaviour.Kind.PURCHASE])
    last = page[-1] if len(found) > limit else None
    return (
        [Moment(one, refunds.get((one.source, one.event_id))) for one in page],
        Place(last.occurred_at, last.source, last.event_id) if last else None,
    )


def _refunded(alias: str, own: Mapping[str, int], purchases: list[Behaviour]) -> dict[tuple[str, str], Decimal | None]:
    if not purchases:
        return {}
    keys: Any = BehaviourKey.objects.using(alias).filter(
        **own,
        source__in={one.source for one in purchases},
        event_id__in={one.event_id for one in purchases},
        refunded__gt=0,
    )
    return {
        (source, event_id): amount for source, event_id, amount in keys.values_list("source", "event_id", "refunded")
    }
