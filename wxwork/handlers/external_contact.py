"""Callbacks about customers (change_external_contact). Each reads the customer anew before it changes anything.

ChangeType                    done about it
add_external_contact          what the read shows is written; recorded as an interaction
edit_external_contact         what the read shows is written: the callback carries no difference
add_half_external_contact     the same; the new relation itself is not readable until it is confirmed (84061)
del_external_contact          the read shows the relation: nothing is lost, they have been added again since
                              it does not: lost by staff, or by transfer if Source says so, at CreateTime
del_follow_user               reads go on showing a relation that the customer has ended: the loss is the callback's,
                              at CreateTime, unless the relation has begun after that; recorded as an interaction
transfer_fail                 what the read shows is written: the customer stays with whoever has them
msg_audit_approved            the same; archiving of chats is not kept

Nothing is invented: a loss of a relation that we never had, or of a customer whom we do not know, changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone

from wxwork import interactions
from wxwork.handlers import handles
from wxwork.merging import CUSTOMER, LOST, STAFF, TRANSFER, Loss
from wxwork.messages import Message
from wxwork.reading import Contact
from wxwork.refreshing import LAG_SECONDS, NotYetError, refresh

EVENT = "change_external_contact"
BY_TRANSFER = "DELETE_BY_TRANSFER"


@handles(EVENT, "add_external_contact")
def added(message: Message) -> None:
    """Somebody and a member of staff have become friends."""
    userid = message.text("UserID")
    done = refresh(message.external_userid, added=userid)
    if _shown(done.contact, userid) is None and _is_fresh(message):
        raise NotYetError("The relation that was added is not readable yet.")


@handles(EVENT, "edit_external_contact", "add_half_external_contact", "transfer_fail", "msg_audit_approved")
def changed(message: Message) -> None:
    """Something has changed, and the read says what."""
    refresh(message.external_userid)


@handles(EVENT, "del_external_contact")
def deleted(message: Message) -> None:
    """A member of staff has deleted a customer, or handed one over."""
    by = TRANSFER if message.text("Source") == BY_TRANSFER else STAFF
    userid = message.text("UserID")

    def losses(contact: Contact | None, asked_at: datetime) -> Sequence[Loss]:
        began = _shown(contact, userid)
        if began is None:
            return [Loss(userid, by, message.created_at, asked_at)]
        if began < message.created_at and _is_fresh(message):
            raise NotYetError("The relation that was deleted is still shown.")
        return []

    refresh(message.external_userid, losses=losses)


@handles(EVENT, "del_follow_user")
def left(message: Message) -> None:
    """A customer has deleted a member of staff."""
    leave(message)
    interactions.record(LOST, message.text("UserID"), message.external_userid, message.created_at)


def leave(message: Message) -> None:
    """Write that a customer has deleted a member of staff."""
    userid = message.text("UserID")

    def losses(contact: Contact | None, asked_at: datetime) -> Sequence[Loss]:
        # Whole seconds do not tell a relation that ended in the second in which it began from one that began anew in
        # the second in which it ended. What this callback made of it the first time stays, however often it comes.
        if _shown(contact, userid) == message.created_at and interactions.is_recorded(
            LOST, userid, message.external_userid, message.created_at
        ):
            return []
        return [Loss(userid, CUSTOMER, message.created_at, asked_at)]

    refresh(message.external_userid, losses=losses)


def _shown(contact: Contact | None, userid: str) -> datetime | None:
    """Return when the relation with a member began, if the read shows it."""
    for follow in contact.follows.values() if contact else ():
        if follow.userid.casefold() == userid.casefold():
            return follow.created_at or follow.read_at
    return None


def _is_fresh(message: Message) -> bool:
    """Tell whether a callback is so young that the API may not show yet what it tells of."""
    age = (timezone.now() - message.created_at).total_seconds()
    return abs(age) < LAG_SECONDS
