"""Processes: is there a keeper, does a worker answer?"""

from collections.abc import Iterator
from datetime import UTC, datetime

import celery
from kombu.exceptions import OperationalError

from scrm import keeper
from scrm.doctor.findings import Finding

WORKER_SECONDS = 1.5


def find_troubles() -> Iterator[Finding]:
    """Look for the keeper of this machine and for any worker."""
    path = keeper.heartbeat_file()
    for trouble in keeper.find_trouble(path, now=datetime.now(UTC)):
        yield Finding(trouble, "If it runs on another machine or in its own container, ask there.", is_problem=False)
    for failure in keeper.find_failures(path):
        yield Finding(failure)
    try:
        answers = celery.current_app.control.ping(timeout=WORKER_SECONDS)
    except (OperationalError, OSError):
        return  # the broker is down, and is told elsewhere
    if not answers:
        yield Finding(
            f"No worker answered within {WORKER_SECONDS} s: the night's classification waits for one.",
            "Start `celery -A scrm worker`, or look at its log.",
            is_problem=False,
        )
