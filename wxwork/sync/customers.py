"""Sync customers: a batch of 100 members at a time, page by page, then what each batch has lost.

    for each page      read it, write its customers in bulk, record new adds, then store the cursor
    after the last     count the relations that are stored of each member; who has more stored than were read has lost
                       some: their list is read, and what it lacks, after one of these was asked for by itself
    WeCom refuses      the cursor (40058): the batch begins anew
                       to show any customer (84061): the batch is halved, until it is of one member, who has none
                       a member (84074, 60111, 60011): who serves customers is asked for anew, the batch begins anew
                         without those who do not; if all do, it is halved, until it is of the one who is refused,
                         who is passed over and counted

A page is the unit of all this: what is read is in memory once, however many customers there are.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from django.utils import timezone

from customers.directory import DirectoryError, Upserted, upsert_many
from customers.identity import digest
from customers.models import Staff, Tombstone
from customers.records import WECOM_FIELDS, CustomerData, FollowData
from scrm import sharding
from wxwork import interactions
from wxwork.errors import BugError, ConfigError, DataError
from wxwork.followers import end_follows
from wxwork.interactions import Interaction
from wxwork.merging import ADDED, LOST, READDED, RENAMED, STAFF, VALUES, Loss, Merged, merge
from wxwork.models import SyncBatch
from wxwork.reading import Contact, read_customer, read_page
from wxwork.refreshing import NO_CUSTOMER, NO_RELATION, refresh
from wxwork.sync.work import TEMPORARY_CODES, SliceOverError, SyncPausedError, Work

logger = structlog.get_logger(__name__)

BATCH_STAFF = 100
CHUNK = 1_000
REFUSED_CURSOR = 40058
REFUSED_MEMBER = {84074, 60111, 60011, 40003, NO_RELATION}
MAX_RESTARTS = 5
# Relations that WeCom lists, if it has not lost them: live ones, and those that the customer has ended.
LISTED = "(follows.lost_at IS NULL OR follows.lost_by IN ('customer', ''))"
COUNT = f"SELECT userid, count(*) FROM follows WHERE userid = ANY(%s) AND {LISTED} GROUP BY userid"  # noqa: S608
SELECT = f"""
SELECT follows.customer_id, customers.external_userid, follows.userid FROM follows
JOIN customers ON customers.customer_id = follows.customer_id AND customers.bucket = follows.bucket
WHERE follows.userid = ANY(%(userids)s) AND {LISTED} AND follows.customer_id > %(after)s
  AND (follows.read_at IS NULL OR follows.read_at < %(asked_at)s)
ORDER BY follows.customer_id LIMIT {CHUNK}
"""  # noqa: S608 - made of constants


def list_members(work: Work) -> list[str]:
    """Return who serves customers, in a fixed order. Calls: 1."""
    return sorted(set(work.patiently(work.client.list_follow_staff)))


def sync_batches(work: Work) -> None:
    """Work on every batch that is not done."""
    gone = frozenset(Staff.objects.filter(status=Staff.Status.LEFT).values_list("userid", flat=True))
    while (batch := SyncBatch.objects.filter(run=work.run, is_done=False).order_by("number").first()) is not None:
        _Batch(work, batch, gone).work()


@dataclass
class _Page:
    """What one page came to, over several tries if some of its customers cannot be written at once.

    left: who is still to be written; adds: what is still to be recorded; returned: who is still to be read by
    themselves, being back after an erasure. found: {kind of drift: number}; seen: {userid
    in small letters: relations stored}.
    """

    left: list[Contact]
    adds: list[Interaction] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)


class _Batch:
    def __init__(self, work: Work, batch: SyncBatch, gone: frozenset[str]) -> None:
        self.work_, self.batch, self.gone = work, batch, gone
        # Whoever had this batch before may have been killed after writing a page, and before recording its adds.
        self.records_all = work.is_resumed

    def work(self) -> None:
        batch = self.batch
        batch.began_at = batch.began_at or timezone.now()
        is_last = not batch.userids
        while not is_last:
            asked_at = timezone.now()
            answer = self._read()
            if answer is None:
                if not batch.userids:
                    break
                continue
            contacts = read_page(answer["external_contact_list"], read_at=asked_at)
            page = _Page(contacts)
            page.counts["relations"] = sum(len(contact.follows) for contact in contacts)
            try:
                self.work_.patiently(lambda page=page, asked_at=asked_at: self._write(page, asked_at))  # type: ignore[misc]
            except SyncPausedError:
                self._note_part(page)
                raise
            is_last = not answer["next_cursor"]
            batch.cursor = answer["next_cursor"]
            batch.seen = dict(Counter(batch.seen) + page.seen)
            batch.pages += 1
            self.records_all = False
            if not is_last:
                self.work_.note(batch=batch, found=page.found, counts=page.counts)
            else:
                # The last page and the losses are written down together: one that is killed between repeats the page.
                lost = self._find_losses()
                batch.is_done = True
                self.work_.note(batch=batch, found=page.found + Counter({"follow_lost": lost}), counts=page.counts)
                return
        batch.is_done = True
        self.work_.note(batch=batch)

    def _note_part(self, page: _Page) -> None:
        """Count what has been written of a page that will be read again: by then it differs no more."""
        counts = {name: page.counts[name] for name in ("customers_created", "customers_updated", "interactions")}
        with suppress(SliceOverError):
            self.work_.note(found=page.found, counts=counts)

    def _read(self) -> dict[str, Any] | None:
        """Return the next page; None where the batch has begun anew."""
        batch, client = self.batch, self.work_.client
        try:
            return self.work_.patiently(lambda: client.get_customers_of_staff(batch.userids, batch.cursor))
        except BugError as error:
            if error.code != REFUSED_CURSOR or not batch.cursor or batch.restarts >= MAX_RESTARTS:
                raise
        except (DataError, ConfigError) as error:
            if error.code not in REFUSED_MEMBER:
                raise
            if error.code == NO_RELATION and not batch.cursor:
                return self._halve(error.code)
            serving = _small(list_members(self.work_))
            left = [userid for userid in batch.userids if userid.casefold() in serving]
            if len(left) == len(batch.userids):
                return self._halve(error.code)
            batch.userids = left
        logger.info("sync_batch_begins_anew", run=str(self.work_.run.pk), batch=batch.number)
        batch.cursor, batch.seen, batch.restarts = "", {}, batch.restarts + 1
        self.work_.note(batch=batch)
        return None

    def _halve(self, code: int) -> dict[str, Any] | None:
        """Deal with a refusal that does not tell whose it is: one member has no customers then, more are halved."""
        batch = self.batch
        batch.cursor, batch.seen = "", {}
        if len(batch.userids) == 1:
            if code != NO_RELATION:
                logger.warning("sync_member_refused", run=str(self.work_.run.pk), userid=batch.userids[0], code=code)
                self.work_.note(batch=batch, counts={"members_refused": 1})
            return {"external_contact_list": [], "next_cursor": ""}
        middle = len(batch.userids) // 2
        number = SyncBatch.objects.filter(run=self.work_.run).count()
        rest = SyncBatch(run_id=self.work_.run.pk, number=number, userids=batch.userids[middle:])
        batch.userids = batch.userids[:middle]
        self.work_.note(batch=batch, make=rest.save)
        return None

    def _write(self, page: _Page, asked_at: datetime) -> None:
        """Write the customers of a page, and record adds. Raises DirectoryError for those who cannot be written now.

        Database: one round of directory.upsert_many, one of record_behaviours if somebody was added.
        """
        if page.left:
            merged: dict[str, Merged] = {}
            contacts = page.left
            done = upsert_many([self._data(contact, asked_at, merged) for contact in contacts])
            page.left = [one for one in contacts if _is_temporary(done.rejected.get(one.external_userid))]
            for contact in contacts:
                if contact.external_userid not in done.rejected:
                    page.seen.update(userid.lower() for userid in contact.follows)
            page.found += _drift(done, merged)
            page.counts += Counter(customers_created=len(done.created), customers_updated=len(done.updated))
            page.adds += self._adds(contacts, merged, done)
            self._check(done, page)
            page.returned += _returned(done.created)
        while page.returned:
            # Erased once, and added again since: this page shows that add alone.
            refresh(page.returned[-1])
            self.work_.client.count(1)
            page.returned.pop()
        page.counts["interactions"] += interactions.record_all(page.adds)
        page.adds = []
        for contact in page.left:
            raise done.rejected[contact.external_userid]

    def _data(self, contact: Contact, asked_at: datetime, merged: dict[str, Merged]) -> CustomerData:
        def merge_follows(stored: Mapping[str, FollowData]) -> Sequence[FollowData]:
            merged[contact.external_userid] = merge(stored, contact.follows, gone=self.gone)
            return merged[contact.external_userid].follows

        return CustomerData(
            contact.external_userid,
            fields=contact.fields,
            merge_follows=merge_follows,
            by_wecom=True,
            read_at=asked_at,
            respect_tombstone=True,
            followed_at=contact.followed_at,
        )

    def _check(self, done: Upserted, page: _Page) -> None:
        for error in done.rejected.values():
            if error.code == "erased":
                page.counts["customers_erased"] += 1
            elif error.code == "invalid_external_userid":
                page.counts["customers_refused"] += 1
            elif error.code not in TEMPORARY_CODES:
                raise SyncPausedError(f"{error.code}: {error}") from error

    def _adds(self, contacts: Sequence[Contact], merged: Mapping[str, Merged], done: Upserted) -> list[Interaction]:
        """Return the adds to be recorded: of relations that are new, or of all that are shown and live."""
        found = []
        for contact in contacts:
            if contact.external_userid in done.rejected or contact.external_userid not in merged:
                continue
            outcome = merged[contact.external_userid]
            shown = {userid.casefold() for userid in contact.follows}
            for follow in outcome.follows:
                is_new = bool(outcome.changes.get(follow.userid, frozenset()) & {ADDED, READDED})
                is_shown = self.records_all and follow.userid.casefold() in shown
                if follow.created_at is not None and (is_new or (is_shown and follow.lost_at is None)):
                    found.append(Interaction(ADDED, follow.userid, contact.external_userid, follow.created_at))
        return found

    # ------------------------------------------------------------------------------------------------------- losses
    def _find_losses(self) -> int:
        """Find relations that are stored as WeCom's and that WeCom has no more. Returns how many have ended by it."""
        members = {userid.lower(): userid for userid in self.batch.userids}
        stored: Counter[str] = Counter()
        for counted in self.work_.patiently(lambda: _each_home(COUNT, [list(members.values())])):
            stored[counted[0].lower()] += counted[1]
        differing = [userid for small, userid in members.items() if stored[small] != self.batch.seen.get(small, 0)]
        return sum(self.work_.patiently(lambda userid=userid: self._lose(userid)) for userid in differing)  # type: ignore[misc]

    def _lose(self, userid: str) -> int:
        asked_at = timezone.now()
        try:
            listed = set(self.work_.client.list_customer_ids(userid))
        except (DataError, ConfigError) as error:
            if error.code in REFUSED_MEMBER:
                return 0  # not listed any more: nothing is lost by absence
            raise
        lost, is_sure = 0, False
        for missing in _missing(userid, listed, asked_at):
            if not is_sure and self._is_followed(userid, missing[0][0]):
                logger.error("list_of_customers_lacks_some", userid=userid)
                return lost
            if not is_sure and userid.casefold() not in _small(list_members(self.work_)):
                return lost  # out of sight since, or without client contact: so are all of their customers
            is_sure = True
            # WeCom's times are whole seconds.
            at = asked_at.replace(microsecond=0)
            lost += end_follows(
                {
                    external_userid: [Loss(spelling, STAFF, at, asked_at, is_exact=False)]
                    for external_userid, spelling in missing
                }
            )
        return lost

    def _is_followed(self, userid: str, external_userid: str) -> bool:
        """Ask for one customer whom a member's list lacks, whether they follow them. Calls: 1."""
        try:
            found = read_customer(self.work_.client.get_customer(external_userid), read_at=timezone.now())
        except DataError as error:
            if error.code in (NO_RELATION, NO_CUSTOMER):
                return False
            raise
        return found is not None and userid.casefold() in _small(found.follows)


def _small(userids: Iterable[str]) -> set[str]:
    return {userid.casefold() for userid in userids}


def _is_temporary(error: DirectoryError | None) -> bool:
    return error is not None and error.code in TEMPORARY_CODES and error.code != "erasure_in_progress"


def _returned(external_userids: Iterable[str]) -> list[str]:
    """Return those who have been erased before. Database: one query on control, none for nobody."""
    asked = {digest(one): one for one in external_userids}
    if not asked:
        return []
    found = Tombstone.objects.filter(digest__in=list(asked)).values_list("digest", flat=True)
    return sorted(asked[bytes(key)] for key in found)


def _missing(userid: str, listed: set[str], asked_at: datetime) -> "list[list[tuple[str, str]]]":
    """Return [(external_userid, userid as stored)], a thousand at the most each, that a member's list lacks."""
    chunks = []
    for home in sharding.shard_map().homes:
        after = 0
        while True:
            with sharding.cursor(home) as cursor:
                cursor.execute(SELECT, {"userids": [userid], "after": after, "asked_at": asked_at})
                rows = cursor.fetchall()
            missing = [(external_userid, spelling) for _, external_userid, spelling in rows]
            missing = [one for one in missing if one[0] not in listed]
            if missing:
                chunks.append(missing)
            if len(rows) < CHUNK:
                break
            after = rows[-1][0]
    return chunks


def _each_home(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for home in sharding.shard_map().homes:
        with sharding.cursor(home) as cursor:
            cursor.execute(sql, parameters)
            rows += cursor.fetchall()
    return rows


def _drift(done: Upserted, merged: Mapping[str, Merged]) -> Counter[str]:
    """Return what differed, by kind (wxwork.sync.drift)."""
    found: Counter[str] = Counter(customer_added=len(done.created))
    for external_userid in done.updated:
        if done.changes[external_userid] & set(WECOM_FIELDS):
            found["customer_fields"] += 1
    for external_userid, outcome in merged.items():
        if external_userid in done.rejected:
            continue
        for what in outcome.changes.values():
            for kind in what & {ADDED, READDED, LOST, RENAMED}:
                found[f"follow_{kind}"] += 1
            for kind in what & set(VALUES):
                found[kind] += 1
    return +found
