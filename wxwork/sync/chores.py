"""What the keeper does for syncs.

chore                every    does
waiting_sync         15 s     wakes a worker for a sync that nobody works on: begun and not told, killed, or paused
reconcile_catch_up   60 s     starts the reconcile of a night that was slept through
"""

from scrm import keeper
from wxwork import sync_tasks
from wxwork.sync import runs, schedule


def wake_for_sync() -> int:
    """Wake a worker for the run that waits. Returns how many were told."""
    return sum(sync_tasks.wake(run) for run in runs.waiting())


def catch_up() -> int:
    """Start the reconcile that is due, if nobody has."""
    run = schedule.catch_up()
    if run is not None:
        sync_tasks.wake(run)
    return int(run is not None)


def register() -> None:
    """Give the keeper these chores."""
    keeper.register("waiting_sync", wake_for_sync, every_seconds=15)
    keeper.register("reconcile_catch_up", catch_up, every_seconds=60)
