"""Celery tasks of the link to WeCom. They only wake: what is to be done is in the rows, and the keeper wakes again.

    queue        tasks                     why a queue of its own
    callbacks    wxwork.work_callbacks     how many messages lie in it says whether anybody needs to be woken
    welcome      wxwork.send_welcomes      20 s from the callback: nothing may stand in front of it

CELERY_TASK_ROUTES says which goes where. A worker that is started without -Q serves all of CELERY_TASK_QUEUES.
"""

from celery import shared_task

from wxwork import welcome, welcome_sending
from wxwork.inbox import waking, working


@shared_task(name="wxwork.work_callbacks")
def work_callbacks() -> None:
    """Work on callbacks until none is due; after some seconds let other tasks in, and come back."""
    _done, may_be_more = working.work()
    if may_be_more:
        waking.wake(waking.CALLBACKS)


@shared_task(name="wxwork.send_welcomes")
def send_welcomes() -> None:
    """Send the welcome messages that are owed."""
    welcome_sending.send_owed()
    welcome.end_late()
