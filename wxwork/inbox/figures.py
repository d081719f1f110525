"""What operators see of the inbox in /metrics, asked of the database at each scrape: workers are other processes.

scrm_callbacks_waiting              callbacks that are not finished
scrm_callbacks_lag_seconds          how long the oldest that is due has been due, also behind one that waits
scrm_callbacks_dead                 dead letters
scrm_callbacks_finished{kind,state} finished in the last five minutes; kinds without a handler are "other"
scrm_welcomes_ended{state}          of the welcomes whose 20 s ended in the last five minutes
scrm_callbacks_received{outcome}    counted where they come in (wxwork.callback_views)
"""

from collections import Counter

from django.db import connection
from prometheus_client import Gauge

from wxwork.handlers import handled_kinds
from wxwork.models import WelcomeDelivery

MINUTES = 5
OTHER = "other"
FINAL_STATES = ("done", "ignored", "dead")

WAITING = Gauge("scrm_callbacks_waiting", "Callbacks that are not finished.", multiprocess_mode="mostrecent")
LAG = Gauge(
    "scrm_callbacks_lag_seconds", "How long the oldest callback that is due has been due.",
    multiprocess_mode="mostrecent",
)  # fmt: skip
DEAD = Gauge("scrm_callbacks_dead", "Callbacks that could not be handled.", multiprocess_mode="mostrecent")
FINISHED = Gauge(
    "scrm_callbacks_finished", "Callbacks finished in the last five minutes.", ["kind", "state"],
    multiprocess_mode="mostrecent",
)  # fmt: skip
WELCOMES = Gauge(
    "scrm_welcomes_ended", "Welcomes of the last five minutes by what came of them.", ["state"],
    multiprocess_mode="mostrecent",
)  # fmt: skip

STANDING = """
SELECT (SELECT count(*) FROM callbacks WHERE state = 'pending'), (SELECT count(*) FROM callbacks WHERE state = 'dead'),
    (SELECT extract(epoch FROM now() - min(due_at)) FROM callbacks WHERE state = 'pending' AND due_at <= now())
"""
RECENT = f"""
SELECT event, change_type, state, count(*) FROM callbacks
WHERE finished_at > now() - interval '{MINUTES} minutes' GROUP BY 1, 2, 3
"""  # noqa: S608 - made of constants
RECENT_WELCOMES = f"""
SELECT state, count(*) FROM welcome_deliveries
WHERE id > (SELECT max(id) - 10000 FROM welcome_deliveries) AND expires_at > now() - interval '{MINUTES} minutes'
GROUP BY 1
"""  # noqa: S608


def show_in_metrics() -> None:
    """Bring the gauges of /metrics up to date. Database: three queries on the control database."""
    with connection.cursor() as cursor:
        cursor.execute(STANDING)
        waiting, dead, lag = cursor.fetchone()
        cursor.execute(RECENT)
        finished = cursor.fetchall()
        cursor.execute(RECENT_WELCOMES)
        welcomes = dict(cursor.fetchall())
    WAITING.set(waiting)
    DEAD.set(dead)
    LAG.set(max(0.0, float(lag or 0)))
    known = {f"{event}/{change_type}" for event, change_type in handled_kinds()}
    counts: Counter[tuple[str, str]] = Counter()
    for event, change_type, state, count in finished:
        kind = f"{event}/{change_type}"
        counts[kind if kind in known else OTHER, state] += count
    # All of them each time: one that is left out would show what it was long ago.
    for kind in (*known, OTHER):
        for state in FINAL_STATES:
            FINISHED.labels(kind, state).set(counts[kind, state])
    for state in WelcomeDelivery.State.values:
        WELCOMES.labels(state).set(welcomes.get(state, 0))
