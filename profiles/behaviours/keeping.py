"""Keep behaviours of somebody whom no identity names yet: waiting_behaviours in the control database.

    identity (digest), source, event_id     once; the same contents again are a duplicate, others a conflict
    contents                                the item as it was accepted, without the identity's value
    expires_at                              90 days after it came

Who is claimed between "nobody" and the insert is made fresh again, so that profiles.waiting looks once more.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
from django.db import connection

from customers import identities
from profiles.behaviours.contents import Contents, Rejection, read_items

KEPT_DAYS = 90
ROUNDS = 3

KEEP = """
INSERT INTO waiting_behaviours (source, event_id, identity_kind, identity_digest, content_hash, contents, received_at,
                                expires_at, refused)
SELECT %(source)s, event_id, kind, decode(digest, 'hex'), decode(content_hash, 'hex'), contents, %(now)s, %(until)s, ''
FROM jsonb_to_recordset(%(items)s)
     AS one (event_id text, kind text, digest text, content_hash text, contents jsonb)
ORDER BY kind, digest, event_id
ON CONFLICT DO NOTHING RETURNING identity_kind, identity_digest, event_id
"""
HASHES = """
SELECT w.identity_kind, w.identity_digest, w.event_id, encode(w.content_hash, 'hex')
FROM jsonb_to_recordset(%(items)s) AS one (event_id text, kind text, digest text), LATERAL
     (SELECT * FROM waiting_behaviours w WHERE w.identity_kind = one.kind
      AND w.identity_digest = decode(one.digest, 'hex') AND w.source = %(source)s AND w.event_id = one.event_id
      OFFSET 0) AS w
"""

# (kind, digest, event_id)
Key = tuple[str, bytes, str]


@dataclass
class Kept:
    """What came of keeping."""

    waiting: int = 0
    duplicates: int = 0
    rejected: list[Rejection] = field(default_factory=list)


def keep_waiting(unknown: Sequence[Contents], *, source: str, now: datetime) -> Kept:
    """Keep behaviours until an identity names who they are of. Each has an identity.

    Database: control; two statements, a third if some of them wait already.
    """
    kept = Kept()
    firsts: dict[Key, Contents] = {}
    followers: list[tuple[Key, Contents]] = []
    for one in unknown:
        key = _key(one)
        if key in firsts:
            followers.append((key, one))
        else:
            firsts[key] = one
    hashes = {key: one.content_hash for key, one in firsts.items()}
    added, known = _insert(firsts, source, now)
    kept.waiting = len(added)
    followers += [(key, one) for key, one in firsts.items() if key not in added]
    for key, one in followers:
        stored = known.get(key, hashes[key] if key in added else None)
        if stored is None:  # somebody folds it in at this moment, each time we look
            kept.rejected.append(Rejection.because(one.place, "busy"))
        elif stored == one.content_hash:
            kept.duplicates += 1
        else:
            kept.rejected.append(Rejection.because(one.place, "event_id_conflict"))
    identities.freshen({(kind, digest) for kind, digest, _ in firsts})
    return kept


def _insert(firsts: dict[Key, Contents], source: str, now: datetime) -> tuple[set[Key], dict[Key, str]]:
    """Insert what does not wait yet. Returns (the keys of those, {key: content_hash} of the others)."""
    added: set[Key] = set()
    known: dict[Key, str] = {}
    for _round in range(ROUNDS):
        rest = [one for key, one in firsts.items() if key not in added and key not in known]
        if not rest:
            break
        parameters: dict[str, Any] = {
            "items": orjson.dumps([_row(one) for one in rest]).decode(),
            "source": source,
            "now": now.astimezone(UTC),
            "until": (now + timedelta(days=KEPT_DAYS)).astimezone(UTC),
        }
        with connection.cursor() as cursor:
            cursor.execute(KEEP, parameters)
            new = {(kind, bytes(digest), event_id) for kind, digest, event_id in cursor.fetchall()}
            added |= new
            if len(new) < len(rest):
                cursor.execute(HASHES, parameters)
                known |= {
                    (kind, bytes(digest), event_id): content_hash
                    for kind, digest, event_id, content_hash in cursor.fetchall()
                    if (kind, bytes(digest), event_id) not in added
                }
    return added, known


def are_waiting(keys: Collection[Key], *, source: str) -> set[Key]:
    """Return which of these wait. Database: one query on control."""
    items = [{"event_id": event_id, "kind": kind, "digest": digest.hex()} for kind, digest, event_id in keys]
    with connection.cursor() as cursor:
        cursor.execute(HASHES, {"items": orjson.dumps(items).decode(), "source": source})
        return {(kind, bytes(digest), event_id) for kind, digest, event_id, _ in cursor.fetchall()}


def _key(one: Contents) -> Key:
    if one.identity is None:
        raise ValueError("Only what names an identity can wait for one.")
    return (*one.identity, one.event_id)


def _row(one: Contents) -> dict[str, Any]:
    kind, digest, event_id = _key(one)
    contents = {
        "kind": one.kind,
        "channel": one.channel,
        "amount": None if one.amount is None else str(one.amount),
        "occurred_at": one.occurred_at.isoformat(),
        "refers_to": one.refers_to,
        "detail": one.detail,
    }
    return {
        "event_id": event_id, "kind": kind, "digest": digest.hex(), "content_hash": one.content_hash,
        "contents": contents,
    }  # fmt: skip


def kept_contents(
    place: int, external_userid: str, event_id: str, content_hash: bytes, kept: dict[str, Any]
) -> Contents:
    """Return the contents of a waiting behaviour, now that it is known whose it is."""
    detail = json.loads(kept["detail"]) if kept["detail"] is not None else None
    return Contents(
        place,
        event_id,
        external_userid,
        kept["kind"],
        kept["channel"],
        None if kept["amount"] is None else Decimal(kept["amount"]),
        datetime.fromisoformat(kept["occurred_at"]),
        kept["refers_to"],
        kept["detail"],
        None,
        content_hash.hex(),
        None,
        read_items(detail) if kept["kind"] == "purchase" else (),
    )
