"""Celery tasks of customers. They only wake: what is to be done is in the rows, and the keeper does it without them."""

import uuid

import structlog
from celery import shared_task
from kombu.exceptions import OperationalError as BrokerError

from customers.erasure import run_erasure
from customers.models import Erasure

logger = structlog.get_logger(__name__)


@shared_task(name="customers.erase")
def erase(erasure_id: str) -> None:
    """Clear what can be reached of one customer."""
    run_erasure(uuid.UUID(erasure_id))


def wake(erasure: Erasure) -> None:
    """Tell the workers of an erasure. Without a broker the keeper takes it up."""
    try:
        erase.apply_async((str(erasure.id),), retry=False)
    except BrokerError as error:
        logger.warning("workers_not_woken", erasure=str(erasure.id), reason=str(error))
