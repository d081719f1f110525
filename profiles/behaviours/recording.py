"""Store behaviours and fold them into totals: look, decide, write, in one transaction per department database.

    look      locks the customers (FOR KEY SHARE) and the purchases that refunds name (FOR UPDATE), in order of
              customer_id; reads which keys are there already
    decide    new, duplicate, conflict, refund accepted or not: plain Python
    write     keys → raw rows → daily totals → running totals → dirty marks, in one statement; items in another

An item that names an identity is looked up in the map of identities first; whom that does not know yet waits in the
control database (profiles.waiting).

A key that somebody else commits between look and write makes the statement write nothing; then the home begins again,
and sees it. So of any crowd that sends the same batch at once each behaviour is stored by exactly one.
"""

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import structlog
from django.db import OperationalError

from customers import directory, identities
from customers.identity import is_external_userid
from customers.marks import tell_marked
from customers.records import CustomerData
from profiles.behaviours.contents import Bounds, Contents, Rejection, read_contents
from profiles.behaviours.keeping import are_waiting, keep_waiting
from profiles.behaviours.refunds import Purchase, take_back
from profiles.behaviours.statements import ITEMS, LOOK, WRITE_WITH_REFUNDS, WRITE_WITHOUT_REFUNDS
from profiles.days import day_zone, end_of_tomorrow, midnight
from profiles.vocabulary import channel_names
from scrm import sharding

logger = structlog.get_logger(__name__)

EARLIEST_DAY = date(1990, 1, 1)
ATTEMPTS = 10
# deadlock_detected, serialization_failure: PostgreSQL asks to try again
TRY_AGAIN = {"40P01", "40001"}

Key = tuple[int, str]


@dataclass
class Recorded:
    """What came of a batch. rejected is in order of index; created counts customers, not behaviours; waiting counts
    those of whom it is not known yet who they are."""

    accepted: int = 0
    duplicates: int = 0
    waiting: int = 0
    created: int = 0
    rejected: list[Rejection] = field(default_factory=list)


def record_behaviours(
    items: Sequence[object],
    *,
    source: str,
    now: datetime,
    create_missing: bool = False,
    assume_zone: ZoneInfo | None = None,
) -> Recorded:
    """Store behaviours and fold them into their customers' daily and running totals.

    items: 1..10 000 mappings as contents.py describes, in any order; a repeated event_id is counted, not stored, and of
    two with other contents the first stays. source: 1..64 characters. now: aware.
    create_missing: make customers of those whom the directory does not know, in the item's home if it names one; never
    of identities.
    assume_zone: of times that name no offset, which are refused without it.
    Routes: one transaction per department database; a department that is down rejects its own items only.
    Errors: none for a bad item - it comes back in Recorded.rejected with a code. Repeat after any error: what has been
    stored is a duplicate then.
    Cost: 1 directory query, then 2 statements per department (3 where purchases have items), whatever the batch; 1 on
    control if there are identities, and 2 if some of them are unknown.
    """
    if not is_external_userid(source):  # the same kind of text
        raise ValueError("A source is a text of 1 to 64 characters without control characters.")
    if len(items) > directory.MAX_BATCH:
        raise ValueError(f"At most {directory.MAX_BATCH} behaviours a call.")
    done = Recorded()
    bounds = Bounds(midnight(EARLIEST_DAY), end_of_tomorrow(now), frozenset(channel_names()), assume_zone)
    read: list[Contents] = []
    for index, item in enumerate(items):
        contents = read_contents(index, item, bounds)
        if isinstance(contents, Contents):
            read.append(contents)
        else:
            done.rejected.append(contents)
    named, unknown = _name(read, done)
    record_contents(named, done, source=source, now=now, create_missing=create_missing)
    _keep(unknown + _before_their_purchase(named, done, source), done, source=source, now=now)
    done.rejected.sort(key=lambda rejection: rejection.index)
    return done


def _name(read: Sequence[Contents], done: Recorded) -> tuple[list[Contents], list[Contents]]:
    """Put external_userids for identities. Returns (those that have one, those that nobody claims)."""
    pairs = {one.identity for one in read if one.identity is not None}
    if not pairs:
        return list(read), []
    names = identities.resolve(pairs)
    named, unknown = [], []
    for one in read:
        if one.identity is None:
            named.append(one)
        elif one.identity not in names:
            unknown.append(one)
        elif (external_userid := names[one.identity]) is None:
            done.rejected.append(Rejection.because(one.place, "ambiguous_identity"))
        else:
            named.append(one._replace(external_userid=external_userid))
    return named, unknown


def _before_their_purchase(named: Sequence[Contents], done: Recorded, source: str) -> list[Contents]:
    """Take back what was refused only because the purchase that it refunds is still waiting for the same identity."""
    refused = {one.index for one in done.rejected if one.code == "unknown_purchase"}
    refunds = [one for one in named if one.place in refused and one.identity is not None] if refused else []
    if not refunds:
        return []
    waiting = are_waiting([(*one.identity, one.refers_to or "") for one in refunds if one.identity], source=source)
    early = [one for one in refunds if one.identity and (*one.identity, one.refers_to or "") in waiting]
    places = {one.place for one in early}
    done.rejected = [one for one in done.rejected if one.index not in places]
    return early


def _keep(unknown: Sequence[Contents], done: Recorded, *, source: str, now: datetime) -> None:
    if not unknown:
        return
    kept = keep_waiting(unknown, source=source, now=now)
    done.waiting += kept.waiting
    done.duplicates += kept.duplicates
    done.rejected += kept.rejected


def record_contents(
    contents: Sequence[Contents], done: Recorded, *, source: str, now: datetime, create_missing: bool = False
) -> None:
    """Record behaviours that look as they must and name a customer. What comes of them is added to `done`."""
    waiting = list(contents)
    for is_second in (False, True):
        if not waiting:
            break
        addresses = _resolve(waiting, done, create_missing=create_missing, settle=is_second)
        waiting = _record_all(waiting, addresses, done, source=source, now=now)
        if waiting:
            logger.info("behaviours_of_absent_customers", items=len(waiting), is_second=is_second)
    done.rejected += [Rejection.because(one.place, "unknown_customer") for one in waiting]


def _resolve(
    waiting: Sequence[Contents], done: Recorded, *, create_missing: bool, settle: bool = False
) -> dict[str, int]:
    """Return {external_userid: customer_id} of those who are there, or now are; reject the items of all others.

    settle: they were not where the directory says; wait for who is moving them, or end what a dead one began.
    """
    wanted: dict[str, Contents] = {}
    for one in waiting:
        if one.external_userid not in wanted or (one.home and not wanted[one.external_userid].home):
            wanted[one.external_userid] = one
    known = {} if settle else directory.addresses(list(wanted))
    missing = [one for external_userid, one in wanted.items() if external_userid not in known]
    if not missing:
        return known
    codes = dict.fromkeys((one.external_userid for one in missing), "unknown_customer")
    if create_missing or settle:
        made = directory.upsert_many(
            [CustomerData(one.external_userid, home=one.home, respect_tombstone=True) for one in missing],
            create=not settle,
        )
        done.created += len(made.created)
        known |= made.created | made.updated | made.unchanged
        codes = {external_userid: error.code for external_userid, error in made.rejected.items()}
    done.rejected += [
        Rejection.because(one.place, codes[one.external_userid]) for one in waiting if one.external_userid not in known
    ]
    return known


def _record_all(
    waiting: Sequence[Contents], addresses: Mapping[str, int], done: Recorded, *, source: str, now: datetime
) -> list[Contents]:
    """Record the items home by home; return those whose customer is no longer where the directory said."""
    homes: dict[int, list[tuple[int, Contents]]] = {}
    for one in waiting:
        customer_id = addresses.get(one.external_userid)
        if customer_id is not None:
            homes.setdefault(sharding.home_of(customer_id), []).append((customer_id, one))
    absent: list[Contents] = []
    for home in sorted(homes):
        try:
            decision = _record_home(home, homes[home], source=source, now=now)
        except sharding.HomeError:
            reason = f"dept_{home}"
            done.rejected += [Rejection.because(one.place, "department_unavailable", reason) for _, one in homes[home]]
            continue
        if decision is None:
            done.rejected += [Rejection.because(one.place, "busy") for _, one in homes[home]]
            continue
        done.accepted += len(decision.rows)
        done.duplicates += decision.duplicates
        done.rejected += decision.rejected
        absent += decision.absent
    return absent


@dataclass
class _Looked:
    """What LOOK found: who is there, the hash of each known key, the purchases that refunds name."""

    live: set[int]
    hashes: dict[Key, str]
    purchases: dict[Key, Purchase]


@dataclass
class _Decision:
    """What is to be written, and what is not and why. purchases: stored ones whose refunded changes; bought: items."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    bought: list[dict[str, Any]] = field(default_factory=list)
    purchases: list[dict[str, Any]] = field(default_factory=list)
    duplicates: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    absent: list[Contents] = field(default_factory=list)


class _OvertakenError(Exception):
    """Somebody else committed one of our keys after we looked. Nothing has been written."""


def _record_home(home: int, items: Sequence[tuple[int, Contents]], *, source: str, now: datetime) -> _Decision | None:
    """Record the items of one home in one transaction. None: others were faster each time."""
    for attempt in range(ATTEMPTS):
        try:
            with sharding.atomic_home(home), sharding.cursor(home) as cursor:
                decision = _decide(items, _look(cursor, items, source))
                if decision.rows:
                    _write(cursor, decision, source, now)
                    tell_marked(home, sorted({row["customer_id"] for row in decision.rows}))
            return decision
        except _OvertakenError:
            pass
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) not in TRY_AGAIN:
                raise
        time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - to part two who met
    return None


def _look(cursor: Any, items: Sequence[tuple[int, Contents]], source: str) -> _Looked:
    asked = [
        {"customer_id": i, "event_id": one.event_id, "refers_to": one.refers_to if one.kind == "refund" else None}
        for i, one in items
    ]
    cursor.execute(LOOK, {"items": _json(asked), "source": source})
    looked = _Looked(set(), {}, {})
    for what, customer_id, event_id, content_hash, amount, occurred_at, refunded in cursor.fetchall():
        if what == "live":
            looked.live.add(customer_id)
        elif what == "key":
            looked.hashes[customer_id, event_id] = content_hash
        else:
            looked.purchases[customer_id, event_id] = Purchase(amount, occurred_at, refunded)
    return looked


def _decide(items: Iterable[tuple[int, Contents]], looked: _Looked) -> _Decision:
    """Say of each item whether it is new. Of a key that comes several times the first stands for all that equal it."""
    decision = _Decision()
    firsts: dict[Key, Contents] = {}
    followers: list[tuple[Key, Contents]] = []
    for customer_id, one in items:
        key = customer_id, one.event_id
        if customer_id not in looked.live:
            decision.absent.append(one)
        elif key in looked.hashes:
            _count_repeat(decision, one, looked.hashes[key])
        elif key in firsts:
            followers.append((key, one))
        else:
            firsts[key] = one
    refused = _settle(decision, firsts, looked.purchases)
    for key, one in followers:
        if key in refused and one.content_hash == firsts[key].content_hash:
            decision.rejected.append(Rejection.because(one.place, refused[key]))
        else:
            _count_repeat(decision, one, firsts[key].content_hash)
    return decision


def _count_repeat(decision: _Decision, one: Contents, content_hash: str) -> None:
    if one.content_hash == content_hash:
        decision.duplicates += 1
    else:
        decision.rejected.append(Rejection.because(one.place, "event_id_conflict"))


def _settle(decision: _Decision, new: Mapping[Key, Contents], stored: Mapping[Key, Purchase]) -> dict[Key, str]:
    """Make rows of new items, purchases before the refunds that name them. Returns {key: code} of refused refunds."""
    before = {key: purchase.refunded for key, purchase in stored.items()}
    purchases = dict(stored) | {
        key: Purchase(one.amount or Decimal(0), one.occurred_at) for key, one in new.items() if one.kind == "purchase"
    }
    refused: dict[Key, str] = {}
    for key, one in new.items():
        amount, undoes = one.amount, False
        if one.kind == "refund":
            taken = take_back(purchases.get((key[0], one.refers_to or "")), one.amount, one.occurred_at)
            if isinstance(taken, str):
                refused[key] = taken
                decision.rejected.append(Rejection.because(one.place, taken))
                continue
            amount, undoes = taken.amount, taken.undoes
        decision.rows.append(_row(key[0], one, amount, undoes=undoes))
        decision.bought += [
            {"customer_id": key[0], "item_id": number, "name": name, "occurred_at": one.occurred_at}
            for number, name in one.items
        ]
    for row in decision.rows:
        if row["kind"] == "purchase":
            row["refunded"] = _text(purchases[row["customer_id"], row["event_id"]].refunded)
    decision.purchases = [
        {"customer_id": key[0], "event_id": key[1], "refunded": _text(purchase.refunded)}
        for key, purchase in stored.items()
        if purchase.refunded != before[key]
    ]
    return refused


def _row(customer_id: int, one: Contents, amount: Decimal | None, *, undoes: bool) -> dict[str, Any]:
    return {
        "customer_id": customer_id,
        "event_id": one.event_id,
        "content_hash": one.content_hash,
        "kind": one.kind,
        "channel": one.channel,
        "amount": _text(amount),
        "occurred_at": one.occurred_at,
        "refers_to": one.refers_to,
        "detail": one.detail,
        "refunded": None,
        "undoes": undoes,
    }


def _write(cursor: Any, decision: _Decision, source: str, now: datetime) -> None:
    parameters = {
        "items": _json(decision.rows),
        "purchases": _json(decision.purchases),
        "count": len(decision.rows),
        "source": source,
        "zone": day_zone().key,
        "now": now.astimezone(UTC),
    }
    cursor.execute(WRITE_WITH_REFUNDS if decision.purchases else WRITE_WITHOUT_REFUNDS, parameters)
    if cursor.fetchone()[0] != len(decision.rows):
        raise _OvertakenError
    if decision.bought:
        cursor.execute(ITEMS, {"bought": _json(decision.bought), "zone": day_zone().key})


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
