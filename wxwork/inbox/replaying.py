"""Have callbacks handled once more, by hand: dead letters after their cause was mended, or any others."""

from django.db import connection, transaction
from django.db.models import QuerySet

from customers import audit
from wxwork.inbox.claims import PATIENCE
from wxwork.inbox.waking import CALLBACKS, tell
from wxwork.models import Callback

BATCH = 2_000

# Keys in one order, so that two replays do not wait for each other; a claim that somebody holds stays theirs.
DUE = """
INSERT INTO callback_keys (key, due_at)
SELECT DISTINCT key, now() FROM callbacks WHERE id = ANY(%(ids)s) AND key <> '' ORDER BY key
ON CONFLICT (key) DO UPDATE
SET due_at = CASE WHEN callback_keys.token IS NULL THEN LEAST(callback_keys.due_at, EXCLUDED.due_at)
    ELSE callback_keys.due_at END
"""
# One that a worker is at runs once more, as after a repeat.
AGAIN = """
UPDATE callbacks SET state = 'pending', due_at = now(), attempts = 0, error = '', finished_at = NULL,
    arrivals = arrivals + CASE WHEN state = 'pending' THEN 1 ELSE 0 END
WHERE id = ANY(%(ids)s) AND key <> ''
"""


def replay(callbacks: QuerySet[Callback], *, actor: str) -> int:
    """Make callbacks due now, with all their attempts. Returns how many; those forgotten after an erasure are none.

    Database: control; four statements for each 2 000, and an audit row.
    """
    replayed, last = 0, 0
    while True:
        ids = list(callbacks.filter(id__gt=last).order_by("id").values_list("id", flat=True)[:BATCH])
        if not ids:
            break
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(PATIENCE)
            cursor.execute(DUE, {"ids": ids})
            cursor.execute(AGAIN, {"ids": ids})
            replayed += cursor.rowcount
        last = ids[-1]
    if replayed:
        audit.record(actor, "replay_callbacks", detail={"callbacks": replayed})
        tell(CALLBACKS)
    return replayed
