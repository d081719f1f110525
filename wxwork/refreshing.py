"""Read one customer from WeCom and write what the read says: what every callback about a customer comes to.

    ask        externalcontact/get: the customer, and every member of staff who follows them
    merge      under the customer's row lock, by wxwork.merging
    write      customers.directory: creates who is new, unless they were erased and nobody has added them since

A customer whom nobody follows any more stays, with lost follows; only losses that a callback names are written then.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from customers.directory import upsert_many
from customers.records import CustomerData, FollowData
from wxwork import interactions
from wxwork.client import wecom
from wxwork.errors import DataError, RetryError
from wxwork.interactions import Interaction
from wxwork.merging import ADDED, READDED, Loss, Merged, merge
from wxwork.reading import Contact, read_customer

# Nobody whom we may see follows them; no such customer, or none that we may see.
NO_RELATION, NO_CUSTOMER = 84061, 40096
# A handler's own answers, which are no failures: there is nobody, or nobody any more.
NOBODY = {"erased", "unknown_customer"}
# WeCom's detail API may lag behind its callbacks by seconds (contract §6, 16).
LAG_SECONDS = 10.0


class NotYetError(RetryError):
    """A callback tells of something that the API does not show yet."""


@dataclass
class Refreshed:
    """What came of it. contact: None if nobody whom we may see follows them.

    fate: of upsert_many (created, updated, unchanged), or the code of why nothing is there (erased, unknown_customer).
    merged: as it was written last; empty if nothing was.
    """

    external_userid: str
    contact: Contact | None
    fate: str = ""
    merged: Merged = field(default_factory=lambda: Merged(()))

    def follow_of(self, userid: str) -> FollowData | None:
        """Return a member's follow as it has been written."""
        return next((one for one in self.merged.follows if one.userid.casefold() == userid.casefold()), None)


def ask(external_userid: str, *, asked_at: datetime) -> Contact | None:
    """Ask WeCom for a customer; None if nobody whom we may see follows them. Calls: 1, one more each 500 followers."""
    try:
        return read_customer(wecom().get_customer(external_userid), read_at=asked_at)
    except DataError as error:
        if error.code in (NO_RELATION, NO_CUSTOMER):
            return None
        raise


def refresh(
    external_userid: str,
    *,
    losses: Callable[[Contact | None, datetime], Sequence[Loss]] = lambda *_: (),
    added: str = "",
) -> Refreshed:
    """Read a customer and write what it says. Repeatable; an add that this read shows first is recorded.

    losses: what else is known to have ended, by what was read and when it was asked for. added: a member whose add is
    recorded in any case, because a first try may have been killed between writing and recording.
    Database: one or two rounds of directory.upsert_many. Raises WxworkError, DirectoryError.
    """
    asked_at = timezone.now()
    contact = ask(external_userid, asked_at=asked_at)
    done = write(external_userid, contact, asked_at=asked_at, losses=losses(contact, asked_at))
    _record_adds(done, added)
    return done


def write(
    external_userid: str, contact: Contact | None, *, asked_at: datetime, losses: Sequence[Loss] = ()
) -> Refreshed:
    """Write what was read of one customer. Somebody is created only by a read that shows somebody who follows them."""
    done = Refreshed(external_userid, contact)
    follows = contact.follows if contact else {}

    def merged(stored: "dict[str, FollowData]") -> tuple[FollowData, ...]:
        done.merged = merge(stored, follows, losses=losses, stamps=True)
        return done.merged.follows

    data = CustomerData(
        external_userid,
        fields=contact.fields if contact else {},
        merge_follows=merged,  # type: ignore[arg-type]
        by_wecom=True,
        read_at=asked_at if contact else None,
        stamps_read=True,
        respect_tombstone=True,
        followed_at=contact.followed_at if contact else None,
    )
    written = upsert_many([data], create=bool(follows))
    for error in written.rejected.values():
        if error.code not in NOBODY:
            raise error
        done.fate, done.merged = error.code, Merged(())
    for fate in ("created", "updated", "unchanged"):
        if getattr(written, fate):
            done.fate = fate
    return done


def _record_adds(done: Refreshed, added: str) -> None:
    """Record that staff were added, for follows that are new or have begun anew, also those that have ended since."""
    interactions.record_all(
        [
            Interaction(ADDED, one.userid, done.external_userid, one.created_at)
            for one in done.merged.follows
            if one.created_at is not None
            and (
                one.userid.casefold() == added.casefold()
                or done.merged.changes.get(one.userid, frozenset()) & {ADDED, READDED}
            )
        ]
    )
