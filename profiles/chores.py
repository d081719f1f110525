"""What the keeper does for profile runs, with or without a broker.

chore               every    does
profile_runs        10 s     makes missing claims, wakes silent and waiting ones, ends runs whose claims are over
waiting_behaviours  10 s     folds in what has been waiting for identities that somebody claims now
waiting_refunds     1 hour   has refunds tried again that came before their purchases
waiting_expiry      1 day    deletes what has been waiting for 90 days
nightly_catch_up    60 s     starts the run of a midnight that was slept through
profile_figures     6 h      thins out figures of more than 400 days ago
"""

from profiles import figures, runs, schedule, tasks, waiting
from profiles.models import ProfileRun
from scrm import keeper

PROFILE_RUNS_SECONDS = 10
FIGURES_SECONDS = 6 * 3600
WAITING_SECONDS = 10
WAITING_REFUNDS_SECONDS = 60 * 60
DAY_SECONDS = 24 * 60 * 60


def look_after_runs() -> int:
    """Mend every run that is going on. Returns how many claims were given to workers."""
    return sum(tasks.wake(run, runs.resume(run)) for run in ProfileRun.objects.filter(state=ProfileRun.State.RUNNING))


def catch_up_nightly() -> int:
    """Start the last midnight's run if it has none."""
    return 1 if schedule.catch_up() else 0


def register() -> None:
    """Give the keeper these chores."""
    keeper.register("profile_runs", look_after_runs, every_seconds=PROFILE_RUNS_SECONDS)
    keeper.register("waiting_behaviours", waiting.fold_waiting, every_seconds=WAITING_SECONDS)
    keeper.register("waiting_refunds", waiting.retry_refunds, every_seconds=WAITING_REFUNDS_SECONDS)
    keeper.register("waiting_expiry", waiting.delete_expired, every_seconds=DAY_SECONDS)
    keeper.register("nightly_catch_up", catch_up_nightly, every_seconds=schedule.CATCH_UP_SECONDS)
    keeper.register("profile_figures", figures.thin, every_seconds=FIGURES_SECONDS)
