"""Store what WeCom told us before it is answered: one statement, whatever it is.

    what comes                                        what happens
    new                                               stored, due now; its key is due unless somebody has it (what
                                                      the key waits with may be younger: whoever takes it will see)
    a repeat of one that waits                        counted
    a repeat of one that a worker is at               counted: the worker will see, and it runs once more
    a repeat of one that is done, ignored or dead     due again: an edit says nothing of what was edited and has whole
                                                      seconds, so two edits in one second are the same bytes
    what cannot be read                               stored as a dead letter

The key's row is locked before its callbacks are touched, here as in claims: so a worker that finds no more of a key,
and deletes it, never misses one that is just being stored.
"""

import hashlib
from dataclasses import dataclass

from django.db import connection
from django.utils import timezone

from wxwork import welcome
from wxwork.inbox.masking import mask_digits
from wxwork.messages import MessageError, parse_message
from wxwork.models import Callback

UNREADABLE = "unreadable"

STORE = """
WITH key AS (
    INSERT INTO callback_keys (key, due_at) VALUES (%(key)s, now())
    ON CONFLICT (key) DO UPDATE SET due_at = CASE WHEN callback_keys.token IS NULL
        THEN LEAST(callback_keys.due_at, EXCLUDED.due_at) ELSE callback_keys.due_at END
    RETURNING key
), stored AS (
    INSERT INTO callbacks AS c (digest, event, change_type, key, external_userid, xml, created_at, received_at, state,
        due_at, attempts, error, arrivals)
    SELECT %(digest)s, %(event)s, %(change_type)s, key, %(external_userid)s, %(xml)s, %(created_at)s, now(), 'pending',
        now(), 0, '', 1
    FROM key
    ON CONFLICT (digest) DO UPDATE SET
        arrivals = c.arrivals + 1, state = 'pending', finished_at = NULL,
        key = EXCLUDED.key, external_userid = EXCLUDED.external_userid, xml = EXCLUDED.xml,
        due_at = CASE WHEN c.state = 'pending' THEN c.due_at ELSE EXCLUDED.due_at END,
        attempts = CASE WHEN c.state = 'pending' THEN c.attempts ELSE 0 END,
        error = CASE WHEN c.state = 'pending' THEN c.error ELSE '' END
    RETURNING id, xmax = 0 AS is_new
), owed AS (
    INSERT INTO welcome_deliveries (callback_id, external_userid, userid, welcome_code, expires_at, state, due_at,
        attempts, error)
    SELECT id, %(external_userid)s, %(userid)s, %(welcome_code)s, now() + %(welcome_seconds)s * interval '1 second',
        'owed', now(), 0, ''
    FROM stored WHERE is_new AND %(welcome_code)s <> ''
    RETURNING 1
)
SELECT id, is_new, EXISTS (SELECT 1 FROM owed) FROM stored
"""


@dataclass(frozen=True)
class Stored:
    """Where a callback is. is_new: it had not come before. owes_welcome: there is a welcome message to send."""

    id: int
    is_new: bool
    owes_welcome: bool = False


def store(xml: bytes) -> Stored:
    """Store a decrypted message. Database: one statement on the control database, outside any transaction.

    Raises OperationalError if it cannot be stored: then WeCom must not be told that it was.
    """
    digest = hashlib.sha256(xml).digest()
    try:
        message = parse_message(xml)
    except MessageError as error:
        return _store_unreadable(xml, digest, error)
    welcome_code = welcome.code_owed(message)
    with connection.cursor() as cursor:
        cursor.execute(
            STORE,
            {
                "digest": digest,
                "event": message.event,
                "change_type": message.change_type,
                "key": message.key,
                "external_userid": message.external_userid,
                "xml": xml.decode("utf-8-sig"),
                "created_at": message.created_at,
                "userid": message.text("UserID")[:64],
                "welcome_code": welcome_code,
                "welcome_seconds": welcome.SECONDS,
            },
        )
        number, is_new, owes_welcome = cursor.fetchone()
    return Stored(number, is_new, owes_welcome)


def _store_unreadable(xml: bytes, digest: bytes, error: MessageError) -> Stored:
    now = timezone.now()
    text = xml.decode("utf-8", "replace").replace("\0", "\ufffd")
    row = Callback(
        digest=digest, event=UNREADABLE, key=UNREADABLE, xml=text, created_at=now, received_at=now, due_at=now,
        state=Callback.State.DEAD, error=mask_digits(f"MessageError: {error}"), finished_at=now,
    )  # fmt: skip
    Callback.objects.bulk_create([row], ignore_conflicts=True)
    found = Callback.objects.only("id").get(digest=digest)
    return Stored(found.id, False)
