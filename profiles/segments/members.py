"""Who is in a segment: read page by page, changed by hand, handed out to whoever sends."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from django.db import OperationalError
from django.utils import timezone

from customers.access import EVERYTHING, Scope
from customers.directory import addresses
from customers.models import DirectoryEntry
from profiles.days import day_of
from profiles.looking import look_at
from profiles.models import DeletedSegment, Segment
from profiles.segments.definitions import SegmentKindError
from profiles.segments.writing import lock_bucket, write_changes
from scrm import sharding

MAX_AT_ONCE = 1_000
IN_THE_WAY = {"55P03", "40P01"}  # lock_not_available, deadlock_detected
BATCH = 1_000
DELETED = "deleted"
# Ascending, from the index of each partition.
BATCH_OF_MEMBERS = """
SELECT m.customer_id, c.external_userid FROM segment_members m
JOIN customers c ON c.customer_id = m.customer_id AND c.bucket = m.bucket
WHERE m.segment_id = %s AND m.customer_id > %s ORDER BY m.customer_id LIMIT %s
"""
VISIBLE = "SELECT customer_id FROM customers WHERE customer_id = ANY(%s) AND bucket = ANY(%s) AND {}"
COUNT_VISIBLE = """
SELECT count(*) FROM segment_members m
JOIN customers ON customers.customer_id = m.customer_id AND customers.bucket = m.bucket
WHERE m.segment_id = %s AND {}
"""
OF_CUSTOMER = """
SELECT segment_id, entered_at FROM segment_members WHERE customer_id = %s AND bucket = %s ORDER BY segment_id
"""
# Each time that somebody was in a segment: an entry, and the next change of that segment.
STAYS = """
SELECT segment_id, since, until, cause, until_cause FROM (
    SELECT segment_id, entered, at AS since, cause,
        lead(at) OVER (PARTITION BY segment_id ORDER BY at) AS until,
        lead(cause) OVER (PARTITION BY segment_id ORDER BY at) AS until_cause
    FROM segment_changes WHERE customer_id = %s AND bucket = %s AND segment_id = ANY(%s)
) AS changed
WHERE entered ORDER BY COALESCE(until, since) DESC, segment_id LIMIT %s
"""


@dataclass(frozen=True)
class Member:
    customer_id: int
    external_userid: str


@dataclass(frozen=True)
class InSegment:
    """That a customer is in a segment, since when."""

    segment_id: int
    name: str
    entered_at: datetime


@dataclass(frozen=True)
class Stay:
    """A time that a customer was in a segment, and why they entered and left.

    name: of a deleted segment the one that it had then. until: None while they are in it; of a deleted segment its end
    at the latest, with the cause DELETED.
    """

    segment_id: int
    name: str
    is_deleted: bool
    since: datetime
    until: datetime | None
    cause: str
    until_cause: str


@dataclass
class ChangedMembers:
    """added and removed: how many were; who was so already counts in neither.

    unknown: external_userids of nobody in scope. unavailable: homes that could not be written to, or not all of them as
    somebody else was at it for five seconds; repeat it.
    """

    added: int = 0
    removed: int = 0
    unknown: list[str] = field(default_factory=list)
    unavailable: list[int] = field(default_factory=list)


def iter_members(segment_id: int, home: int, *, after: int = 0) -> Iterator[list[Member]]:
    """Yield who is in a segment in one home, ascending by customer_id, up to a thousand at a time.

    The door for whoever sends to a segment: go on after the last customer_id that was dealt with. Who is being erased
    or moved right now is left out; a home that is down raises, so that nobody takes half for all.
    Database: for each batch one query on the home's and one on control. Raises HomeUnavailableError, UnknownHomeError.
    """
    while True:
        with sharding.cursor(home) as cursor:
            cursor.execute(BATCH_OF_MEMBERS, [segment_id, after, BATCH])
            rows = cursor.fetchall()
        if not rows:
            return
        after = rows[-1][0]
        live = set(
            DirectoryEntry.objects.filter(
                customer_id__in=[row[0] for row in rows], state=DirectoryEntry.State.LIVE
            ).values_list("customer_id", flat=True)
        )
        batch = [Member(*row) for row in rows if row[0] in live]
        if batch:
            yield batch


def change_members(
    segment: Segment,
    *,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    by: str,
    scope: Scope = EVERYTHING,
) -> ChangedMembers:
    """Put customers into a static segment and take others out, by external_userid. Repeatable.

    by: noted in the history as the cause. Who is in both lists is removed.
    Database: control, two queries and one for each bucket; a query on each home, a transaction for each bucket.
    Raises SegmentKindError for a dynamic segment.
    """
    if segment.kind != Segment.Kind.STATIC:
        raise SegmentKindError("动态人群的成员由条件决定，不能人工增减")
    leaving = set(remove)
    joining = set(add) - leaving
    done = ChangedMembers()
    there = addresses([*joining, *leaving])
    visible = _visible(there.values(), scope, done)
    ids = {who: one for who, one in there.items() if one in visible}
    done.unknown = sorted(
        who
        for who in joining | leaving
        if who not in ids and (who not in there or sharding.home_of(there[who]) not in done.unavailable)
    )
    moves = sorted((customer_id, who in joining) for who, customer_id in ids.items())

    def place(move: tuple[int, bool]) -> tuple[int, int]:
        return sharding.home_of(move[0]), sharding.bucket_of(move[0])

    for (home, bucket), group in groupby(sorted(moves, key=lambda move: (place(move), move)), key=place):
        try:
            _change_bucket(segment.pk, home, bucket, list(group), by, done)
        except sharding.HomeUnavailableError:
            done.unavailable = sorted({*done.unavailable, home})
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) not in IN_THE_WAY:
                raise
            done.unavailable = sorted({*done.unavailable, home})
    return done


def _visible(customer_ids: Iterable[int], scope: Scope, done: ChangedMembers) -> set[int]:
    by_home: dict[int, list[int]] = {}
    for customer_id in customer_ids:
        by_home.setdefault(sharding.home_of(customer_id), []).append(customer_id)

    def ask(home: int) -> set[int]:
        condition, params = scope.sql(home)
        ids = by_home[home]
        with sharding.cursor(home) as cursor:
            buckets = sorted({sharding.bucket_of(one) for one in ids})
            cursor.execute(VISIBLE.format(condition), [ids, buckets, *params])
            return {one for (one,) in cursor.fetchall()}

    answers = sharding.fan_out(ask, by_home)
    done.unavailable = sorted(answers.unavailable)
    return set().union(*answers.results.values())


def _change_bucket(
    segment_id: int, home: int, bucket: int, moves: Sequence[tuple[int, bool]], by: str, done: ChangedMembers
) -> None:
    with sharding.atomic_home(home), sharding.cursor(home) as cursor:
        lock_bucket(cursor, bucket)
        came, went = write_changes(
            cursor, bucket,
            [(customer_id, segment_id) for customer_id, joins in moves if joins],
            [(customer_id, segment_id) for customer_id, joins in moves if not joins],
            cause=by, today=day_of(timezone.now()),
        )  # fmt: skip
        if came or went:  # other segments and rules may go by who is in this one
            look_at(cursor, home, bucket, [customer_id for customer_id, _ in moves], fact=f"segment:{segment_id}")
    done.added += came.total()
    done.removed += went.total()


def count_visible(segment_id: int, scope: Scope) -> tuple[int, list[int]]:
    """Return how many members are in scope, and the homes that could not be asked. Database: one query on each home."""

    def ask(home: int) -> int:
        condition, params = scope.sql(home)
        with sharding.cursor(home) as cursor:
            cursor.execute(COUNT_VISIBLE.format(condition), [segment_id, *params])
            return int(cursor.fetchone()[0])

    answers = sharding.fan_out(ask)
    return sum(answers.results.values()), answers.unavailable


def segments_of(customer_id: int, names: Mapping[int, str]) -> list[InSegment]:
    """Return the segments that a customer is in now, of those named. Database: one query on the home's."""
    with sharding.cursor(sharding.home_of(customer_id)) as cursor:
        cursor.execute(OF_CUSTOMER, [customer_id, sharding.bucket_of(customer_id)])
        rows = cursor.fetchall()
    return [InSegment(one, names[one], at) for one, at in rows if one in names]


def stays_of(
    customer_id: int, names: Mapping[int, str], deleted: Mapping[int, DeletedSegment], *, limit: int = 20
) -> list[Stay]:
    """Return when a customer was in which segments of those named or deleted, the latest first.

    Database: one query on the home's, an index scan of one partition.
    """
    with sharding.cursor(sharding.home_of(customer_id)) as cursor:
        cursor.execute(STAYS, [customer_id, sharding.bucket_of(customer_id), sorted({*names, *deleted}), limit])
        rows = cursor.fetchall()
    return [_stay(*row, names=names, deleted=deleted) for row in rows]


def _stay(
    segment_id: int, since: datetime, until: datetime | None, cause: str, until_cause: str | None,
    *, names: Mapping[int, str], deleted: Mapping[int, DeletedSegment],
) -> Stay:  # fmt: skip
    if segment_id in names:
        return Stay(segment_id, names[segment_id], False, since, until, cause, until_cause or "")
    gone = deleted[segment_id]
    if until is None:  # its members are taken away without a word in the history
        until, until_cause = gone.deleted_at, DELETED
    return Stay(segment_id, gone.name, True, since, until, cause, until_cause or "")
