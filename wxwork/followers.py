"""Change the follows of many customers: when staff are renamed or leave, when a tag is deleted.

Customers are found home by home, a thousand at a time in order of customer_id, and written through the directory, each
under its row lock. A call that was broken off may be repeated. A home that is down raises: nothing is passed over.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from customers.directory import DirectoryError, upsert_many
from customers.identity import is_external_userid
from customers.records import CustomerData, FollowData
from scrm import sharding
from wxwork.merging import LOST, STAFF_LEFT, Loss, merge, rename, without_tags

logger = structlog.get_logger(__name__)

CHUNK = 1_000
# Who is not there any more, or is just going, needs no change.
PASSED_OVER = {"unknown_customer", "erasure_in_progress", "erased"}
BY_STAFF = "follows.userid = %(what)s"
BY_TAGS = "follows.tag_ids && %(what)s::text[]"
SELECT = """
SELECT DISTINCT follows.customer_id, customers.external_userid FROM follows
JOIN customers ON customers.customer_id = follows.customer_id AND customers.bucket = follows.bucket
WHERE {} AND follows.customer_id > %(after)s
ORDER BY follows.customer_id LIMIT {}
"""

Change = Callable[[Mapping[str, FollowData]], Sequence[FollowData]]


def rename_staff(old: str, new: str) -> int:
    """Give the follows of one userid to another, of the same person. Returns how many customers changed."""
    return _change_all(BY_STAFF, old, lambda stored: rename(stored, old, new))


def strip_tags(tag_ids: Iterable[str]) -> int:
    """Take tags that the library has no more off every follow. Returns how many customers changed.

    WeCom has taken them off too, and tells of it customer by customer to nobody. Database: reads all follows of each
    home, which has no index for it.
    """
    gone = frozenset(tag_ids)
    return _change_all(BY_TAGS, list(gone), lambda stored: without_tags(stored, gone)) if gone else 0


def mark_unassigned(rows: Iterable[tuple[str, str, datetime]], *, asked_at: datetime) -> int:
    """Mark follows of staff who have left as lost by that. Returns how many were not marked yet.

    rows: (userid, external_userid, when they left), as get_unassigned_list tells of them: a relation that has begun
    anew since stays. Database: a round of upsert_many for a thousand.
    """
    marked = 0
    for chunk in _chunks(rows):
        losses: dict[str, list[Loss]] = {}
        for userid, external_userid, left_at in chunk:
            if not is_external_userid(external_userid):
                continue
            losses.setdefault(external_userid, []).append(Loss(userid, STAFF_LEFT, left_at, asked_at))
        marked += end_follows(losses)
    return marked


def end_follows(losses: Mapping[str, Sequence[Loss]]) -> int:
    """Write losses that are known for certain, {external_userid: losses}. Returns how many follows have ended by it."""
    ended: dict[str, int] = {}

    def change_of(external_userid: str) -> Change:
        def change(stored: Mapping[str, FollowData]) -> Sequence[FollowData]:
            merged = merge(stored, {}, losses=losses[external_userid])
            ended[external_userid] = sum(bool(what & {LOST, "ending"}) for what in merged.changes.values())
            return merged.follows

        return change

    _write({external_userid: change_of(external_userid) for external_userid in losses})
    return sum(ended.values())


def _change_all(where: str, what: Any, change: Change) -> int:
    changed = 0
    for home in sharding.shard_map().homes:
        after = 0
        while True:
            with sharding.cursor(home) as cursor:
                cursor.execute(SELECT.format(where, CHUNK), {"what": what, "after": after})
                found = cursor.fetchall()
            changed += _write({external_userid: change for _customer_id, external_userid in found})
            if len(found) < CHUNK:
                break
            after = found[-1][0]
    return changed


def _write(changes: Mapping[str, Change]) -> int:
    """Change the follows of customers who are there. Returns how many customers changed. Raises DirectoryError."""
    if not changes:
        return 0
    done = upsert_many(
        [
            CustomerData(external_userid, merge_follows=change, by_wecom=True)
            for external_userid, change in changes.items()
        ],
        create=False,
    )
    for error in done.rejected.values():
        if error.code not in PASSED_OVER:
            raise error
    return len(done.updated)


def _chunks(rows: Iterable[tuple[str, str, datetime]]) -> Iterator[list[tuple[str, str, datetime]]]:
    chunk = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def strip_tags_if_possible(tag_ids: Iterable[str]) -> int:
    """Do as strip_tags; where a home is down, leave the rest to the next reconcile, which compares every customer."""
    try:
        return strip_tags(tag_ids)
    except (sharding.HomeError, DirectoryError) as error:
        logger.warning("deleted_tags_left_for_reconcile", reason=type(error).__name__)
        return 0
