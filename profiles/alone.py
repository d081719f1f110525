"""What one process does for a whole run: the fit between the phases, and the figures at the end.

Nobody waits for a lock. Who takes the step puts a token into the run's row and says every few seconds that it still is
at it; a silent one is replaced. What came of the step is stored by an UPDATE that must find the token, so that who was
replaced while it slept stores nothing. A step can be repeated: MAX_ATTEMPTS counts those who ended silently, and those
whose error may pass. One that always kills its process is given up.
All on the control database, whose clock counts.
"""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError, connection
from django.db.models import F

from profiles.models import ProfileRun
from scrm.sharding import HomeUnavailableError

logger = structlog.get_logger(__name__)

SILENT_SECONDS = 30
BEAT_SECONDS = 5
MAX_ATTEMPTS = 4
# A connection that broke, a statement that was cancelled, a deadlock: the next attempt may go well.
PASSING = (OperationalError, InterfaceError, HomeUnavailableError)

SILENT = f"(fit_heartbeat IS NULL OR fit_heartbeat < clock_timestamp() - interval '{SILENT_SECONDS} seconds')"
FREE = f"(fit_token IS NULL OR {SILENT})"
TAKE = f"""
UPDATE profiles_profilerun SET fit_token = %(token)s, fit_heartbeat = clock_timestamp(), fit_attempts = fit_attempts + 1
WHERE id = %(run)s AND state = 'running' AND phase = %(phase)s AND {FREE}
RETURNING fit_attempts
"""  # noqa: S608 - made of constants
BEAT = "UPDATE profiles_profilerun SET fit_heartbeat = clock_timestamp() WHERE id = %s AND fit_token = %s"


class StepLostError(Exception):
    """Somebody else does this step now, or its run has ended: nothing was stored."""


class Step:
    """A step that this process has. attempts: with this one, since the step was due."""

    def __init__(self, run: ProfileRun, token: uuid.UUID, attempts: int) -> None:
        self.run, self.token, self.attempts = run, token, attempts

    @property
    def may_be_repeated(self) -> bool:
        """Whether an error that may pass leaves it to the next attempt, which is one that does it."""
        return self.attempts < MAX_ATTEMPTS - 1

    @property
    def is_last_attempt(self) -> bool:
        """Whether those before ended without a word, so that this one gives up."""
        return self.attempts >= MAX_ATTEMPTS

    def beat(self) -> None:
        """Say that it is still being done."""
        with connection.cursor() as cursor:
            cursor.execute(BEAT, [self.run.pk, self.token])

    def end(self, phase: int, **values: Any) -> None:
        """Store what came of it, and bring the run to a phase. Raises StepLostError."""
        stored = ProfileRun.objects.filter(pk=self.run.pk, state=ProfileRun.State.RUNNING, fit_token=self.token).update(
            phase=phase, fit_token=None, fit_heartbeat=None, fit_attempts=0, **values
        )
        self.run.refresh_from_db()
        if not stored:
            raise StepLostError(f"Another process goes on with run {self.run.pk}.")


def is_free(run: ProfileRun) -> bool:
    """Whether nobody does a step of this run. Database: one query on control."""
    return ProfileRun.objects.filter(pk=run.pk).extra(where=[FREE]).exists()  # noqa: S610 - a constant


@contextmanager
def taken(run: ProfileRun) -> Iterator[Step | None]:
    """Take the step that a run is at, for the time of a block; None when somebody has it.

    What the block raises leaves the step to others at once; where that cannot be stored, after SILENT_SECONDS.
    Database: control, one UPDATE, and one every few seconds on a connection of its own.
    """
    token = uuid.uuid4()
    with connection.cursor() as cursor:
        cursor.execute(TAKE, {"token": token, "run": run.pk, "phase": run.phase})
        row = cursor.fetchone()
    if row is None:
        yield None
        return
    step = Step(run, token, row[0])
    ended = threading.Event()
    beating = threading.Thread(target=_keep_beating, args=(step, ended), name=f"run-{run.pk}-step", daemon=True)
    beating.start()
    try:
        yield step
    except BaseException as error:
        _leave(step, is_attempt=not isinstance(error, (KeyboardInterrupt, SystemExit)))
        raise
    finally:
        ended.set()
        beating.join()


def _leave(step: Step, *, is_attempt: bool) -> None:
    """Leave a step to others. is_attempt: whether it counts; a worker that is restarted has not failed at it."""
    left: dict[str, Any] = {"fit_token": None, "fit_heartbeat": None}
    if not is_attempt:
        left["fit_attempts"] = F("fit_attempts") - 1
    try:
        connection.close_if_unusable_or_obsolete()  # it may be what broke
        ProfileRun.objects.filter(pk=step.run.pk, fit_token=step.token).update(**left)
    except (OperationalError, InterfaceError):
        logger.warning("step_not_left", run=step.run.pk, exc_info=True)


def _keep_beating(step: Step, ended: threading.Event) -> None:
    try:
        while not ended.wait(BEAT_SECONDS):
            try:
                step.beat()
            except Exception:
                logger.warning("step_beat_failed", run=step.run.pk, exc_info=True)
                connection.close()
    finally:
        connection.close()
