"""The Celery application: `celery -A scrm worker`, and beat as a process of its own."""

import os

from celery import Celery
from celery.signals import task_prerun
from django.db import close_old_connections
from django_structlog.celery.steps import DjangoStructLogInitStep

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scrm.settings")

app = Celery("scrm")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Whoever wakes workers waits for a broker that does not answer a second or two, not without end: what is to be done is
# in the rows, and the keeper wakes again. Workers' own reconnecting does not go by these.
app.conf.broker_transport_options = {
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}
app.steps["worker"].add(DjangoStructLogInitStep)
app.autodiscover_tasks()


@task_prerun.connect
def drop_dead_connections(**_: object) -> None:
    """Begin each task without connections that their server has ended, as Django does for requests.

    Celery itself would give every task the dead ones until a thousand have failed (CELERY_DB_REUSE_MAX).
    """
    close_old_connections()
