"""What the keeper does for profile runs, with or without a broker.

chore               every    does
profile_runs        10 s     makes missing claims, wakes silent and waiting ones, ends runs whose claims are over
nightly_catch_up    60 s     starts the run of a midnight that was slept through
"""

from profiles import runs, schedule, tasks
from profiles.models import ProfileRun
from scrm import keeper

PROFILE_RUNS_SECONDS = 10


def look_after_runs() -> int:
    """Mend every run that is going on. Returns how many claims were given to workers."""
    return sum(tasks.wake(run, runs.resume(run)) for run in ProfileRun.objects.filter(state=ProfileRun.State.RUNNING))


def catch_up_nightly() -> int:
    """Start the last midnight's run if it has none."""
    return 1 if schedule.catch_up() else 0


def register() -> None:
    """Give the keeper these chores."""
    keeper.register("profile_runs", look_after_runs, every_seconds=PROFILE_RUNS_SECONDS)
    keeper.register("nightly_catch_up", catch_up_nightly, every_seconds=schedule.CATCH_UP_SECONDS)
