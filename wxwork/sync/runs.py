"""Syncs: begun, worked on step by step, ended.

    departments  staff  unassigned  tags  members  customers  groups

Every step may be repeated. Only customers, which take longest, are taken up in their midst. What was found to differ is
counted where it is written; a step or a page that is repeated after a kill counts what the first try had left.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import structlog
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from customers.directory import DirectoryError
from scrm.sharding import HomeError
from wxwork.errors import LimitedError, RetryError, WxworkError
from wxwork.followers import mark_unassigned
from wxwork.library import is_configured, refresh_library
from wxwork.models import SyncBatch, SyncRun
from wxwork.reading import read_time
from wxwork.sync import claims
from wxwork.sync.customers import list_members, sync_batches
from wxwork.sync.estimates import (
    SINGLE_CALLS,
    batches_of,
    estimate,
    pages_of,
    relations_by_staff,
    serving_staff,
)
from wxwork.sync.groups import sync_groups
from wxwork.sync.organisation import sync_departments, sync_staff
from wxwork.sync.progress import STEPS
from wxwork.sync.work import SliceOverError, SyncPausedError, Work, words_of

logger = structlog.get_logger(__name__)

RUNNING, DONE, FAILED = SyncRun.State.RUNNING, SyncRun.State.DONE, SyncRun.State.FAILED
TEMPORARY = (
    SyncPausedError, RetryError, LimitedError, HomeError, DirectoryError, OperationalError, InterfaceError,
)  # fmt: skip
# One that does not come to its end by then is given up: the next begins anew.
GIVE_UP_AFTER = timedelta(hours=48)
ERROR_LENGTH = 2_000


class SyncRefusedError(Exception):
    """No sync can be begun; the message says why."""


def next_kind() -> str:
    """Return what to do if nobody says: full until one has come to its end, then reconcile."""
    done = SyncRun.objects.filter(state=DONE, kind=SyncRun.Kind.FULL).exists()
    return SyncRun.Kind.RECONCILE if done else SyncRun.Kind.FULL


def start_sync(kind: str, started_by: str) -> SyncRun:
    """Begin a sync, or join the one that is under way: run.is_new tells. Nothing is read yet: see work_on.

    Raises SyncRefusedError without a corp and a secret. Database: control, and one query on each home.
    """
    if not is_configured():
        raise SyncRefusedError("没有配置企业微信：请设置 WXWORK_CORP_ID 和 WXWORK_SECRET。")
    expected = estimate().calls
    try:
        with transaction.atomic():
            run = SyncRun.objects.create(kind=SyncRun.Kind(kind), started_by=started_by[:128], calls_expected=expected)
        run.is_new = True  # type: ignore[attr-defined]
    except IntegrityError:
        running = SyncRun.objects.filter(state=RUNNING).first()
        if running is None:  # it has ended just now
            return start_sync(kind, started_by)
        run = running
        run.is_new = False  # type: ignore[attr-defined]
    return run


def work_on(
    run: SyncRun, progress: Callable[[SyncRun], None] | None = None, *, seconds: float | None = None
) -> SyncRun:
    """Work on a run until its end. Returns it as it is then: done, failed, or still running.

    Still running: somebody else works on it, or it cannot go on for now (its error says why), or the seconds are over;
    whoever calls next goes on from there. progress: called with the run after each step and page.
    Errors: none of WeCom's or of a database's, which end or pause the run. ClaimLostError ends this call quietly.
    """
    taken = claims.take(run.pk)
    if taken is None:
        run.refresh_from_db()
        return run
    token, is_resumed = taken
    work = Work(run, token, is_resumed=is_resumed, seconds=seconds, show=progress or (lambda _: None))
    try:
        with claims.kept(run.pk, token):
            _work(work)
    except claims.ClaimLostError:
        logger.warning("sync_claim_lost", run=str(run.pk))
    except SliceOverError:
        pass
    except TEMPORARY as error:
        _pause(run.pk, token, words_of(error))
    except WxworkError as error:
        _end(run.pk, token, FAILED, str(error))
    except Exception as error:
        _end(run.pk, token, FAILED, f"{type(error).__name__}")
        raise
    finally:
        _let_go(run.pk, token)
    run.refresh_from_db()
    return run


def _let_go(run_id: uuid.UUID, token: uuid.UUID) -> None:
    try:
        claims.release(run_id, token)
    except DatabaseError:
        connection.close_if_unusable_or_obsolete()  # it falls silent by itself


def _work(work: Work) -> None:
    run = SyncRun.objects.get(pk=work.run.pk)
    work.run = run
    logger.info("sync_begins", run=str(run.pk), kind=run.kind, is_resumed=work.is_resumed, steps_done=run.steps_done)
    for step in STEPS:
        if step not in run.steps_done:
            DO[step](work)
    _end(run.pk, work.token, DONE, "")
    logger.info("sync_ends", run=str(run.pk))


def _departments(work: Work) -> None:
    found = sync_departments(work)
    work.note(step="departments", found=found)


def _staff(work: Work) -> None:
    found, number = sync_staff(work)
    work.note(step="staff", found=found, counts={"staff": number})


def _unassigned(work: Work) -> None:
    asked_at = timezone.now()

    def rows() -> Iterator[tuple[str, str, datetime]]:
        for row in work.client.iter_unassigned():
            left_at = read_time(row.get("dimission_time"))
            if left_at is not None:
                yield str(row.get("handover_userid", "")), str(row.get("external_userid", "")), left_at

    marked = work.patiently(lambda: mark_unassigned(rows(), asked_at=asked_at))
    work.note(step="unassigned", found=Counter(follow_staff_left=marked))


def _tags(work: Work) -> None:
    library = work.patiently(lambda: refresh_library(work.client))
    work.note(step="tags", found=library.drift, counts={"tag_groups": library.groups, "library_tags": library.tags})


def _members(work: Work) -> None:
    members = list_members(work)
    relations = relations_by_staff()
    batches = [
        SyncBatch(run_id=work.run.pk, number=number, userids=userids)
        for number, userids in enumerate(batches_of(members))
    ]
    run = work.run
    expected = max(SINGLE_CALLS, run.calls_expected - pages_of(serving_staff(), relations)) + pages_of(
        members, relations
    )
    work.note(
        step="members",
        counts={"members": len(members)},
        calls_expected=expected,
        make=lambda: SyncBatch.objects.bulk_create(batches, ignore_conflicts=True),
    )


def _customers(work: Work) -> None:
    sync_batches(work)
    work.note(step="customers")


def _groups(work: Work) -> None:
    number = sync_groups(work)
    work.note(step="groups", counts={"groups": number})


DO: dict[str, Callable[[Work], None]] = {
    "departments": _departments,
    "staff": _staff,
    "unassigned": _unassigned,
    "tags": _tags,
    "members": _members,
    "customers": _customers,
    "groups": _groups,
}


def _pause(run_id: uuid.UUID, token: uuid.UUID, why: str) -> None:
    logger.info("sync_pauses", run=str(run_id), reason=why)
    connection.close_if_unusable_or_obsolete()
    SyncRun.objects.filter(pk=run_id, token=token, state=RUNNING).update(error=why[:ERROR_LENGTH])


def _end(run_id: uuid.UUID, token: uuid.UUID, state: str, error: str) -> None:
    """End a run; nothing happens if it is no longer ours."""
    ours = SyncRun.objects.filter(pk=run_id, token=token, state=RUNNING)
    if ours.update(state=state, error=error[:ERROR_LENGTH], finished_at=timezone.now(), token=None) and error:
        logger.error("sync_failed", run=str(run_id), reason=error)


def waiting() -> list[SyncRun]:
    """Return the run that nobody works on though it is not over; ends one that has been going on for too long."""
    old = SyncRun.objects.filter(state=RUNNING, started_at__lt=timezone.now() - GIVE_UP_AFTER)
    old.update(state=FAILED, finished_at=timezone.now(), token=None, error="超过 48 小时没有完成，已放弃。")
    is_free = Q(token__isnull=True) | Q(heartbeat_at__lt=Now() - timedelta(seconds=claims.SILENT_SECONDS))
    return list(SyncRun.objects.filter(is_free, state=RUNNING))
