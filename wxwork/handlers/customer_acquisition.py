"""Callbacks about acquisition links (customer_acquisition). Event and ChangeType together: del_follow_user is in two.

ChangeType              done about it
customer_start_chat     the customer is read anew; recorded as an interaction: they wrote for the first time
del_follow_user         as that of change_external_contact, which comes too and records it

The others name no customer, and we keep nothing of links: they are stored and marked.
"""

from wxwork import interactions
from wxwork.handlers import handles
from wxwork.handlers.external_contact import leave
from wxwork.messages import Message
from wxwork.refreshing import refresh

EVENT = "customer_acquisition"


@handles(EVENT, "customer_start_chat")
def started_chat(message: Message) -> None:
    """Somebody who came by a link has written their first message."""
    refresh(message.external_userid)
    link = message.text("LinkId")
    detail = {"link_id": link} if link else None
    interactions.record("acquired", message.text("UserID"), message.external_userid, message.created_at, detail)


@handles(EVENT, "del_follow_user")
def left(message: Message) -> None:
    """Somebody who came by a link has deleted the member of staff."""
    leave(message)
