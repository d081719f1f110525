"""Ask WeCom: one method for each endpoint, in a module for each family.

    from wxwork.client import wecom
    wecom().get_customer("wm…")                         {"external_contact": {…}, "follow_user": […]}
    wecom(patience_seconds=300).list_groups()           a job in the background may wait for the budget

Answers are WeCom's own dictionaries, with fields that nobody knows yet. Which secret an endpoint takes, tokens, limits
and second tries are seen to (wxwork.client.calls). What goes wrong is a wxwork.errors.WxworkError; wrong arguments are
a BugError before anything is sent.
"""

from wxwork.client.app_messages import AppMessageCalls
from wxwork.client.contact_ways import ContactWayCalls
from wxwork.client.contacts import ContactCalls
from wxwork.client.customers import CustomerCalls
from wxwork.client.groups import GroupCalls
from wxwork.client.logins import LoginCalls
from wxwork.client.mass_messages import MassMessageCalls
from wxwork.client.media import MediaCalls
from wxwork.client.statistics import StatisticCalls
from wxwork.client.tags import TagCalls
from wxwork.client.transfers import TransferCalls
from wxwork.client.welcomes import WelcomeCalls
from wxwork.transport import READ_SECONDS

__all__ = ["Client", "wecom"]


class Client(
    ContactCalls,
    CustomerCalls,
    TagCalls,
    ContactWayCalls,
    WelcomeCalls,
    MassMessageCalls,
    GroupCalls,
    TransferCalls,
    StatisticCalls,
    MediaCalls,
    AppMessageCalls,
    LoginCalls,
):
    """All of WeCom's API that the product uses."""


def wecom(patience_seconds: float = 5.0, *, answer_seconds: float = READ_SECONDS) -> Client:
    """Return a client of the settings' corp. Costs nothing: connections belong to the process.

    patience_seconds: how long one call may wait for room in the budget before it raises LimitedError, and begin another
    try. answer_seconds: how long WeCom may take to answer one try.
    """
    return Client(patience_seconds=patience_seconds, answer_seconds=answer_seconds)
