"""Make behaviours, and look at what the department databases really hold of them."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from customers.directory import addresses, upsert_many
from customers.models import DirtyCustomer
from customers.records import CustomerData
from profiles.behaviours import Recorded, record_behaviours
from profiles.models import Behaviour, BehaviourKey, DailyTotal, RunningTotal
from scrm import sharding

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)  # noon in Shanghai
FIGURES = (
    "purchase_count", "purchase_amount", "refund_count", "refund_amount", "interaction_count", "last_purchase_at",
    "last_interaction_at",
)  # fmt: skip


def people(*external_userids: str, home: int | None = 100) -> list[int]:
    """Create customers; return their customer_ids."""
    upsert_many([CustomerData(one, home=home) for one in external_userids])
    there = addresses(external_userids)
    return [there[one] for one in external_userids]


def item(event_id: str, external_userid: str = "wmA", kind: str = "purchase", **changes: Any) -> dict[str, Any]:
    amount = "10.00" if kind == "purchase" else None
    return {
        "event_id": event_id, "external_userid": external_userid, "kind": kind, "channel": "store", "amount": amount,
        "occurred_at": "2026-11-20T12:00:00+08:00", **changes,
    }  # fmt: skip


def refund(event_id: str, refers_to: str, amount: str | None = None, **changes: Any) -> dict[str, Any]:
    return item(event_id, kind="refund", refers_to=refers_to, **{"amount": amount, **changes})


def record(*items: object, source: str = "shop", now: datetime = NOW, **more: Any) -> Recorded:
    return record_behaviours(items, source=source, now=now, **more)


def codes(done: Recorded) -> dict[int, str]:
    """Return {index: code} of what was refused."""
    return {rejection.index: rejection.code for rejection in done.rejected}


def outcome(done: Recorded) -> tuple[int, int, dict[int, str]]:
    return done.accepted, done.duplicates, codes(done)


def raw_of(customer_id: int) -> dict[str, dict[str, Any]]:
    """Return {event_id: raw row}."""
    rows = Behaviour.objects.using(_alias(customer_id)).filter(customer_id=customer_id).values()
    return {row["event_id"]: row for row in rows}


def days_of(customer_id: int) -> dict[date, tuple[Any, ...]]:
    """Return {day: (purchases, amount, purchases undone, amount taken back, interactions)}."""
    rows = DailyTotal.objects.using(_alias(customer_id)).filter(customer_id=customer_id).order_by("day")
    return {row["day"]: tuple(row[name] for name in FIGURES[:5]) for row in rows.values()}


def running_of(customer_id: int) -> tuple[Any, ...] | None:
    """Return the figures over all days, like a day's, then the first and the last day."""
    row = RunningTotal.objects.using(_alias(customer_id)).filter(customer_id=customer_id).values().first()
    return row and (*(row[name] for name in FIGURES[:5]), row["first_day"], row["last_day"])


def dirty_of(customer_id: int) -> tuple[int, date | None] | None:
    """Return (mark, last_day)."""
    rows = DirtyCustomer.objects.using(_alias(customer_id)).filter(customer_id=customer_id)
    return rows.values_list("mark", "last_day").first()


def refunded(customer_id: int, event_id: str) -> Decimal | None:
    """Return how much of a purchase has been taken back."""
    keys = BehaviourKey.objects.using(_alias(customer_id)).filter(customer_id=customer_id, event_id=event_id)
    return keys.values_list("refunded", flat=True).get()


def rows_everywhere() -> dict[str, int]:
    """Return {table: rows in all homes} of the tables that a behaviour is written to."""
    models = (BehaviourKey, Behaviour, DailyTotal, RunningTotal)
    return {
        model._meta.db_table: sum(
            model._base_manager.using(sharding.alias(h)).count() for h in sharding.shard_map().homes
        )
        for model in models
    }


def _alias(customer_id: int) -> str:
    return sharding.alias(sharding.home_of(customer_id))
