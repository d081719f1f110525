"""Celery tasks of segments and of looks at single customers.

They only wake: what is to be done is in the rows, and the keeper does it without them.
"""

from collections.abc import Sequence
from time import monotonic

import structlog
from celery import shared_task
from kombu.exceptions import OperationalError as BrokerError

from profiles import looking, staff_changes
from profiles.segments import refreshing
from scrm import sharding

logger = structlog.get_logger(__name__)

MESSAGE_SECONDS = 60
# While the broker does not answer no writer waits for it more than once in so long.
PAUSE_SECONDS = 10.0
_paused_until = 0.0


@shared_task(name="profiles.refresh_customers")
def refresh_customers(customer_ids: list[int]) -> None:
    """Look whether customers enter or leave segments, and what is to be suggested for them."""
    looking.refresh_customers(customer_ids)


@shared_task(name="profiles.recompute_segments")
def recompute_segments(home: int) -> None:
    """Compute who is in segments whose conditions have changed, in one home."""
    staff_changes.notice()  # who changes departments while it is computed, or before the keeper comes, is told apart so
    try:
        refreshing.recompute(home)
    except sharding.HomeUnavailableError:
        logger.warning("recompute_left", home=home)


def wake_for(home: int, customer_ids: Sequence[int]) -> bool:
    """Tell a worker of customers who have just changed. Returns whether one was told; else the keeper finds them.

    Database: none, but for whether there are segments or rules at all (held). Never raises for a broker that is down.
    """
    global _paused_until
    if not customer_ids or len(customer_ids) > looking.MAX_AT_ONCE or not looking.are_in_use():
        return False
    if monotonic() < _paused_until:
        return False
    return _send(refresh_customers, list(customer_ids))


def wake_recompute() -> int:
    """Tell workers, one for each home, that definitions have changed. Returns how many were told."""
    looking.are_in_use.forget()
    return sum(_send(recompute_segments, home) for home in sharding.shard_map().homes)


def _send(task: "object", argument: object) -> bool:
    global _paused_until
    try:
        # A message that nobody takes in a minute has been overtaken by the keeper.
        task.apply_async((argument,), retry=False, expires=MESSAGE_SECONDS)  # type: ignore[attr-defined]
    except BrokerError as error:
        _paused_until = monotonic() + PAUSE_SECONDS
        logger.warning("workers_not_woken", reason=str(error))
        return False
    return True
