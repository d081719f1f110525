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


class Allowance:
    """How many messages a process may still send: so many at once, and so many a second in the long run.

    A look at one customer costs twenty times what it costs among a thousand. So a burst of single changes (callbacks, a
    sync of single follows) is left to the keeper, which looks at all of them together within 5 s.
    """

    AT_ONCE, A_SECOND = 20.0, 2.0

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Have all of it again."""
        self._left, self._seen_at = self.AT_ONCE, monotonic()

    def take(self) -> bool:
        """Take one; returns False when there is none. Two threads at once may take the same one, which does no harm."""
        now = monotonic()
        self._left = min(self.AT_ONCE, self._left + max(0.0, now - self._seen_at) * self.A_SECOND)
        self._seen_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


allowance = Allowance()


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
    if monotonic() < _paused_until or not allowance.take():
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
