"""Celery tasks of profile runs. They only wake: what is to be done is in the rows, and the keeper wakes again."""

from collections.abc import Iterable
from datetime import date
from typing import Any

import structlog
from celery import shared_task
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from profiles import runs
from profiles.days import day_of
from profiles.models import ProfileRun

logger = structlog.get_logger(__name__)

MESSAGE_SECONDS = 120


@shared_task(name="profiles.nightly")
def nightly() -> None:
    """Start tonight's run: behaviours before the midnight that has just been. Beat calls it at 00:00."""
    launch(ProfileRun.Kind.NIGHTLY, day_of(timezone.now()))


@shared_task(name="profiles.work_claim")
def work_claim(run_id: int, home: int, bucket: int) -> None:
    """Do the work of a run on one bucket, unless somebody else does."""
    runs.work(run_id, home, bucket, wake=wake)


@shared_task(name="profiles.take_step")
def take_step(run_id: int) -> None:
    """Do what one process does for a whole run, the fit or the figures, unless somebody else does."""
    runs.finish(ProfileRun.objects.select_related("rule_version").get(pk=run_id), wake=wake)


def launch(kind: str, as_of: date, **options: Any) -> ProfileRun:
    """Start a run and tell the workers. options and errors as in runs.start_run, whose answer comes back."""
    run = runs.start_run(kind, as_of, **options)
    if run.is_new:
        wake(run, runs.resume(run))
    return run


def wake(run: ProfileRun, claims: Iterable[tuple[int, int]]) -> int:
    """Send a task for each (home, bucket), and one for a step that is due of the run as runs.resume has found it.

    Returns how many were sent; without a broker the keeper tries again.
    """
    messages = [work_claim.s(run.pk, home, bucket) for home, bucket in claims]
    if run.is_step_due:
        messages.append(take_step.s(run.pk))
    sent = 0
    for message in messages:
        try:
            # Without workers messages must not pile up: a claim that is still free by then has been offered again.
            message.apply_async(retry=False, expires=MESSAGE_SECONDS)
        except BrokerError as error:
            logger.warning("workers_not_woken", run=run.pk, reason=str(error))
            break
        sent += 1
    return sent
