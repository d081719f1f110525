"""One worker's work on a run: its calls, what it writes down, its patience."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, reset_queries, transaction
from django.utils import timezone

from customers.directory import DirectoryError
from scrm.sharding import HomeError
from wxwork.client import Client
from wxwork.errors import LimitedError, RetryError
from wxwork.models import SyncBatch, SyncRun
from wxwork.sync import claims

logger = structlog.get_logger(__name__)
T = TypeVar("T")

# Of one call: through a block of the hour's limit. A worker with other things to do has less.
PATIENCE_SECONDS = 2 * 3600.0
SHORT_PATIENCE_SECONDS = 20.0
PAUSES_SECONDS = (1.0, 2.0, 5.0, 10.0, 20.0)
SHORT_PAUSES_SECONDS = (1.0,)
TEMPORARY_CODES = {"busy", "department_unavailable", "erasure_in_progress"}


class SyncPausedError(Exception):
    """It does not go on for now; the message says why. Whoever takes the run up later may find that it does."""


class SliceOverError(SyncPausedError):
    """Other work may want this process: the run goes on with the next message."""


class SyncClient(Client):
    """A client with patience that counts its calls."""

    def __init__(self, *, patience_seconds: float) -> None:
        super().__init__(patience_seconds=patience_seconds)
        self._made = 0
        self._lock = threading.Lock()

    def _once(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        with self._lock:
            self._made += 1
        return super()._once(*args, **kwargs)

    def count(self, calls: int) -> None:
        """Count calls that others made for this sync."""
        with self._lock:
            self._made += calls

    def take_count(self) -> int:
        """Return how many calls were made since this was asked last."""
        with self._lock:
            made, self._made = self._made, 0
        return made


class Work:
    """A run that this process holds.

    seconds: after so long it lets go of the run (SliceOverError), None for never. is_resumed: somebody had begun it.
    """

    def __init__(
        self,
        run: SyncRun,
        token: uuid.UUID,
        *,
        is_resumed: bool,
        seconds: float | None,
        show: Callable[[SyncRun], None] = lambda _: None,
    ) -> None:
        self.run, self.token, self.is_resumed = run, token, is_resumed
        self._until = None if seconds is None else time.monotonic() + seconds
        self._show = show
        patience = PATIENCE_SECONDS if seconds is None else SHORT_PATIENCE_SECONDS
        self.client = SyncClient(patience_seconds=patience)

    def note(
        self,
        *,
        step: str = "",
        found: Mapping[str, int] | None = None,
        counts: Mapping[str, int] | None = None,
        batch: SyncBatch | None = None,
        calls_expected: int | None = None,
        last_group: str = "",
        make: Callable[[], object] | None = None,
    ) -> None:
        """Write down how far it has come, in one transaction: what was found, a batch's position, a finished step.

        found: drift of a reconcile, counts of a full sync, which has counted who is new. make: something else to write
        with it.
        Raises ClaimLostError, and then nothing was written; SliceOverError once it has been.
        Database: three statements on control, four with a batch.
        """
        if settings.DEBUG:
            reset_queries()  # else Django keeps the text of every statement, and each holds a page of customers
        with transaction.atomic():
            claims.lock(self.run.pk, self.token)
            run = SyncRun.objects.get(pk=self.run.pk)
            added = Counter(run.counts) + Counter(counts or {})
            if run.kind == SyncRun.Kind.RECONCILE:
                run.drift = dict(Counter(run.drift) + Counter(found or {}))
            else:
                added += Counter({kind: number for kind, number in (found or {}).items() if kind != "customer_added"})
            run.counts = dict(added)
            run.calls_made += self.client.take_count()
            run.calls_expected = max(run.calls_expected if calls_expected is None else calls_expected, run.calls_made)
            run.error, run.heartbeat_at = "", timezone.now()
            run.last_group = last_group or run.last_group
            if step:
                run.steps_done = [*run.steps_done, step]
            if batch is not None:
                batch.save(update_fields=["userids", "cursor", "pages", "began_at", "seen", "restarts", "is_done"])
            if make is not None:
                make()
            run.save(
                update_fields=[
                    "drift",
                    "counts",
                    "calls_made",
                    "calls_expected",
                    "error",
                    "heartbeat_at",
                    "steps_done",
                    "last_group",
                ]
            )
        self.run = run
        self._show(run)
        if self._until is not None and time.monotonic() > self._until:
            raise SliceOverError("Another worker goes on.")

    def patiently(self, do: Callable[[], T]) -> T:
        """Do something that may fail for a while: again after some pauses, then SyncPausedError."""
        for pause in (*(PAUSES_SECONDS if self._until is None else SHORT_PAUSES_SECONDS), None):
            try:
                return do()
            except LimitedError as error:
                if self._until is not None or pause is None:
                    raise SyncPausedError(str(error)) from error
                wait: float = error.retry_after_seconds
            except (RetryError, HomeError, OperationalError, InterfaceError) as error:
                if pause is None:
                    raise SyncPausedError(words_of(error)) from error
                wait = pause
            except DirectoryError as error:
                if error.code not in TEMPORARY_CODES:
                    raise
                if pause is None:
                    raise SyncPausedError(words_of(error)) from error
                wait = pause
            logger.info("sync_waits", run=str(self.run.pk), seconds=round(wait, 1))
            time.sleep(wait)
        raise AssertionError


def words_of(error: Exception) -> str:
    """Say what keeps a sync from going on."""
    if isinstance(error, DirectoryError):
        return f"dept_{error.home} cannot be reached." if error.home else error.code
    if isinstance(error, OperationalError | InterfaceError):
        return "A database cannot be reached."
    return str(error)
