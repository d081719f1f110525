"""What the keeper does for segments, with or without a broker.

chore                     every    does
refresh_segments          5 s      looks at customers who have changed and whom nobody has looked at since, for what is
                                   suggested as well
recompute_segments        15 s     goes on with definitions that have changed
count_segments            60 s     notes how many are in each segment
forget_deleted_segments   60 s     takes away the members of segments that have been deleted
follow_staff_changes      15 s     looks at customers of staff who have changed departments
forget_old_histories      6 h      … and their history, 400 days later
"""

from profiles import looking, staff_changes
from profiles.segments import counting, deleting, refreshing
from scrm import keeper


def recompute_waiting() -> int:
    """Go on with definitions that have changed, whose departments are noted first (see staff_changes)."""
    staff_changes.notice()
    return refreshing.recompute_waiting()


def register() -> None:
    """Give the keeper these chores."""
    keeper.register("refresh_segments", looking.refresh_waiting, every_seconds=5)
    keeper.register("recompute_segments", recompute_waiting, every_seconds=15)
    keeper.register("count_segments", counting.store_counts, every_seconds=60)
    keeper.register("forget_deleted_segments", deleting.forget_deleted, every_seconds=60)
    keeper.register("follow_staff_changes", staff_changes.follow_staff_changes, every_seconds=15)
    keeper.register("forget_old_histories", deleting.forget_histories, every_seconds=6 * 3600)
