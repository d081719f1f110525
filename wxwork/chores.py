"""What the keeper does for the inbox, with or without a broker.

chore                 every    does
due_callbacks         2 s      wakes workers for callbacks they were never told of, retries, and claims of the dead
owed_welcomes         1 s      the same for welcome messages, and ends those that are too late
callbacks_lost        60 s     makes keys that are missing: without one a callback is never worked on
old_callbacks         1 hour   deletes callbacks finished long ago
"""

from django.db import connection

from scrm import keeper
from wxwork import welcome
from wxwork.inbox import claims, forgetting, waking

# A look at an index when nothing is due, and never more than so many rows.
DUE = "SELECT count(*) FROM (SELECT 1 FROM callback_keys WHERE due_at <= now() ORDER BY due_at LIMIT %s) AS due"


def wake_for_callbacks() -> int:
    """Send as many messages as there are keys due, a few at the most. Returns how many keys, a few at the most."""
    with connection.cursor() as cursor:
        cursor.execute(DUE, [waking.ENOUGH])
        (due,) = cursor.fetchone()
    if due:
        waking.wake(waking.CALLBACKS, due)
    return int(due)


def wake_for_welcomes() -> int:
    """Wake for welcomes that are owed, end those that are too late. Returns how many were ended."""
    due = welcome.due()
    if due:
        waking.wake(waking.WELCOMES, due)
    return welcome.end_late()


def register() -> None:
    """Give the keeper these chores."""
    keeper.register("due_callbacks", wake_for_callbacks, every_seconds=2)
    keeper.register("owed_welcomes", wake_for_welcomes, every_seconds=1)
    keeper.register("callbacks_lost", claims.mend, every_seconds=60)
    keeper.register("old_callbacks", forgetting.delete_old, every_seconds=3600)
