"""Who works on which callback: the oldest unfinished one of a key, and one worker a key.

A worker takes the key that has been due longest, skipping those that others are just taking, and gets the oldest of its
callbacks (WeCom's time, then ours). While it works `due_at` of the key is the end of its claim: a worker that dies just
becomes late. One that was stopped, and overtaken while it slept, finds another token when it wakes and ends nothing.
All times are the database's own.

    step     cost, statements on the control database, one transaction each
    take     3 (and another 2 for each key whose callbacks have gone or are not due)
    renew    1, every RENEW_SECONDS of a long handler
    finish   5
"""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.db import DatabaseError, connection, transaction

from wxwork.inbox.outcomes import Outcome

logger = structlog.get_logger(__name__)

# What a killed worker had is taken up after this and one look of the keeper, so within a minute.
CLAIM_SECONDS = 40
RENEW_SECONDS = 12.0
# A handler that takes longer hangs; its key is given to another worker.
LONGEST_SECONDS = 600.0
ERROR_LENGTH = 4000

# A row is locked while its worker commits; a worker that is stopped just there is ended by the server, so that WeCom's
# next callback of the key is not kept waiting.
PATIENCE = (
    "SELECT set_config('idle_in_transaction_session_timeout', '2s', true), set_config('lock_timeout', '5s', true)"
)
# Nothing is lost with a claim that was taken and, after a crash of the server, was not.
UNHURRIED = f"{PATIENCE}, set_config('synchronous_commit', 'off', true)"
TAKE_KEY = f"""
WITH next AS MATERIALIZED (
    SELECT key FROM callback_keys WHERE due_at <= statement_timestamp() ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE callback_keys SET token = %(token)s, due_at = statement_timestamp() + interval '{CLAIM_SECONDS} seconds'
FROM next WHERE callback_keys.key = next.key
RETURNING callback_keys.key
"""  # noqa: S608 - made of constants
OLDEST = "SELECT {} FROM callbacks WHERE key = %(key)s AND state = 'pending' ORDER BY created_at, id LIMIT 1"
TAKE_CALLBACK = f"""
UPDATE callbacks SET attempts = attempts + 1
WHERE id = ({OLDEST.format("id")}) AND due_at <= statement_timestamp()
RETURNING id, xml, event, change_type, external_userid, received_at, attempts, arrivals
"""  # noqa: S608
RENEW = f"""
UPDATE callback_keys SET due_at = clock_timestamp() + interval '{CLAIM_SECONDS} seconds'
WHERE key = %(key)s AND token = %(token)s
"""  # noqa: S608
LOCK = "SELECT 1 FROM callback_keys WHERE key = %(key)s AND token = %(token)s FOR UPDATE"
FINISH = """
UPDATE callbacks SET
    state = CASE WHEN again THEN 'pending' ELSE %(state)s END,
    attempts = CASE WHEN again THEN 0 ELSE GREATEST(0, attempts - %(free)s::int) END,
    due_at = statement_timestamp() + CASE WHEN again THEN 0 ELSE %(seconds)s END * interval '1 second',
    finished_at = CASE WHEN NOT again AND %(state)s <> 'pending' THEN statement_timestamp() END,
    error = %(error)s,
    xml = CASE WHEN again THEN xml ELSE COALESCE(%(xml)s, xml) END,
    external_userid = CASE WHEN again OR NOT %(forget)s THEN external_userid ELSE '' END,
    key = CASE WHEN again OR NOT %(forget)s THEN key ELSE '' END
FROM (
    SELECT id AS n, arrivals <> %(arrivals)s AND %(state)s <> 'pending' AS again FROM callbacks WHERE id = %(id)s
) AS a
WHERE id = a.n
"""
FORGET_WELCOME = "DELETE FROM welcome_deliveries WHERE callback_id = %(id)s"
NEXT = OLDEST.format("due_at")
LET_GO = "UPDATE callback_keys SET token = NULL, due_at = %(due_at)s WHERE key = %(key)s"
END_KEY = "DELETE FROM callback_keys WHERE key = %(key)s"

# There is none to make unless somebody has meddled: a callback and its key are stored by one statement.
MEND = """
INSERT INTO callback_keys (key, due_at) SELECT DISTINCT key, now() FROM callbacks WHERE state = 'pending' AND key <> ''
ON CONFLICT (key) DO NOTHING
"""


@dataclass(frozen=True)
class Claim:
    """A callback that this process works on. attempts: with this one. arrivals: how often it had come by then."""

    key: str
    token: uuid.UUID
    id: int
    xml: str
    event: str
    change_type: str
    external_userid: str
    received_at: datetime
    attempts: int
    arrivals: int


def take() -> Claim | None:
    """Claim the next callback that is due; None if none is, or others are quicker."""
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(UNHURRIED)
            token = uuid.uuid4()
            cursor.execute(TAKE_KEY, {"token": token})
            found = cursor.fetchone()
            if found is None:
                return None
            (key,) = found
            cursor.execute(TAKE_CALLBACK, {"key": key})
            row = cursor.fetchone()
            if row is not None:
                return Claim(key, token, *row)
            _pass_on(cursor, key)


def finish(claim: Claim, outcome: Outcome, *, forget: bool = False, xml: str | None = None) -> bool:
    """Write down what became of a callback and let its key go. False if it was no longer ours: then nothing is written.

    forget: it names only somebody who has been erased. xml: what is kept of the contents instead.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(PATIENCE)
        cursor.execute(LOCK, {"key": claim.key, "token": claim.token})
        if cursor.fetchone() is None:
            return False
        cursor.execute(
            FINISH,
            {
                "id": claim.id, "arrivals": claim.arrivals, "state": outcome.state, "seconds": outcome.seconds,
                "free": outcome.is_free, "error": outcome.error[:ERROR_LENGTH], "forget": forget, "xml": xml,
            },
        )  # fmt: skip
        if forget:
            cursor.execute(FORGET_WELCOME, {"id": claim.id})
        _pass_on(cursor, claim.key)
        return True


def _pass_on(cursor: Any, key: str) -> None:
    """Let go of a key: until its oldest callback is due, or for good if it has none. Its row is locked by us."""
    cursor.execute(NEXT, {"key": key})
    found = cursor.fetchone()
    if found is None:
        cursor.execute(END_KEY, {"key": key})
    else:
        cursor.execute(LET_GO, {"key": key, "due_at": found[0]})


def mend() -> int:
    """Make keys that are missing, as after a restore of some tables. Returns how many. Database: control."""
    with connection.cursor() as cursor:
        cursor.execute(MEND)
        return int(cursor.rowcount)


@contextmanager
def kept(claim: Claim) -> Iterator[None]:
    """Keep a claim for as long as the body takes, from a thread that stops when this process is stopped."""
    over = threading.Event()
    thread = threading.Thread(target=_renew, args=(claim, over), name=f"claim-{claim.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _renew(claim: Claim, over: threading.Event) -> None:
    until = time.monotonic() + LONGEST_SECONDS
    try:
        while not over.wait(RENEW_SECONDS) and time.monotonic() < until:
            with connection.cursor() as cursor:
                cursor.execute(RENEW, {"key": claim.key, "token": claim.token})
                if cursor.rowcount != 1:
                    return
    except DatabaseError as error:
        logger.warning("claim_not_renewed", callback=claim.id, reason=type(error).__name__)
    finally:
        connection.close()
