"""Celery tasks of syncs. They only wake: what is to be done is in the rows, and the keeper wakes again.

A sync of a large company takes hours. A task works on it for some seconds, then lets other tasks in and comes back.
"""

import uuid

import structlog
from celery import shared_task
from kombu.exceptions import OperationalError as BrokerError

from wxwork.models import SyncRun
from wxwork.sync import schedule
from wxwork.sync.runs import start_sync, work_on

logger = structlog.get_logger(__name__)

SLICE_SECONDS = 20.0
MESSAGE_SECONDS = 120


@shared_task(name="wxwork.reconcile")
def reconcile() -> None:
    """Start tonight's reconcile. Beat calls it at WXWORK_RECONCILE_AT."""
    run = schedule.reconcile()
    if run is not None:
        wake(run)


@shared_task(name="wxwork.sync")
def sync(run_id: str) -> None:
    """Work on a sync for some seconds, unless somebody does; then tell another worker, unless it has to wait."""
    run = SyncRun.objects.filter(pk=uuid.UUID(run_id), state=SyncRun.State.RUNNING).first()
    if run is None:
        return
    run = work_on(run, seconds=SLICE_SECONDS)
    if run.state == SyncRun.State.RUNNING and run.token is None and not run.error:
        wake(run)


def launch(kind: str, started_by: str) -> SyncRun:
    """Start a sync and tell the workers. Errors as in start_sync, whose answer comes back."""
    run = start_sync(kind, started_by)
    if run.is_new:  # type: ignore[attr-defined]
        wake(run)
    return run


def wake(run: SyncRun) -> bool:
    """Tell a worker of a run. Without a broker the keeper tries again."""
    try:
        sync.apply_async((str(run.pk),), retry=False, expires=MESSAGE_SECONDS)
    except BrokerError as error:
        logger.warning("workers_not_woken", run=str(run.pk), reason=str(error))
        return False
    return True
