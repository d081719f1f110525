"""Whose turn it is: one worker a run, known by its token. All times are the database's own.

    free ──take──> taken ──release──> free        silent for SILENT_SECONDS: whoever takes it goes on

Whatever a worker writes down of a run is written with the run's row locked and its token checked, so that one that was
stopped, and overtaken while it slept, writes nothing down. What it has written of customers it may write again.
"""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import DatabaseError, connection

logger = structlog.get_logger(__name__)

SILENT_SECONDS = 30
RENEW_SECONDS = 8.0
FREE = f"(token IS NULL OR heartbeat_at < clock_timestamp() - interval '{SILENT_SECONDS} seconds')"
TAKE = f"""
UPDATE sync_runs SET token = %(token)s, heartbeat_at = clock_timestamp()
FROM (SELECT id AS n, heartbeat_at IS NOT NULL AS again FROM sync_runs WHERE id = %(id)s FOR UPDATE) AS before
WHERE id = n AND state = 'running' AND {FREE}
RETURNING again
"""  # noqa: S608 - made of constants
RENEW = "UPDATE sync_runs SET heartbeat_at = clock_timestamp() WHERE id = %(id)s AND token = %(token)s"
RELEASE = "UPDATE sync_runs SET token = NULL WHERE id = %(id)s AND token = %(token)s"
LOCK = "SELECT 1 FROM sync_runs WHERE id = %(id)s AND token = %(token)s AND state = 'running' FOR UPDATE"


class ClaimLostError(Exception):
    """Somebody else works on this run, or it is over."""


def take(run_id: uuid.UUID) -> tuple[uuid.UUID, bool] | None:
    """Take a run that nobody works on. Returns (token, whether somebody had begun it), or None."""
    token = uuid.uuid4()
    with connection.cursor() as cursor:
        cursor.execute(TAKE, {"id": run_id, "token": token})
        row = cursor.fetchone()
    return (token, bool(row[0])) if row else None


def release(run_id: uuid.UUID, token: uuid.UUID) -> None:
    """Let go of a run, for whoever comes next."""
    with connection.cursor() as cursor:
        cursor.execute(RELEASE, {"id": run_id, "token": token})


def lock(run_id: uuid.UUID, token: uuid.UUID) -> None:
    """Lock a run's row in the open transaction. Raises ClaimLostError if it is no longer ours."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, {"id": run_id, "token": token})
        if cursor.fetchone() is None:
            raise ClaimLostError(f"Sync {run_id} is no longer ours.")


@contextmanager
def kept(run_id: uuid.UUID, token: uuid.UUID) -> Iterator[None]:
    """Keep a run for as long as the body takes, from a thread that stops when this process is stopped."""
    over = threading.Event()
    thread = threading.Thread(target=_renew, args=(run_id, token, over), name=f"sync-{run_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _renew(run_id: uuid.UUID, token: uuid.UUID, over: threading.Event) -> None:
    while not over.wait(RENEW_SECONDS):
        try:
            with connection.cursor() as cursor:
                cursor.execute(RENEW, {"id": run_id, "token": token})
                if cursor.rowcount != 1:
                    break
        except DatabaseError as error:
            logger.warning("sync_claim_not_renewed", run=str(run_id), reason=type(error).__name__)
        finally:
            connection.close()
