"""When nights run: at 00:00 of the stored zone, or as soon as there is somebody to run them.

Beat sends profiles.nightly at midnight (CELERY_BEAT_SCHEDULE in the settings). The keeper looks every minute whether
the last midnight has its run, so that one that was slept through is caught up. Nights before that need none: a night
judges everybody whose class may have changed since their last judgement, however long ago that was.
"""

from datetime import datetime

from django.utils import timezone

from profiles import tasks
from profiles.days import day_of, midnight
from profiles.models import ProfileRun, RuleVersion

CATCH_UP_SECONDS = 60


def catch_up(now: datetime | None = None) -> ProfileRun | None:
    """Start the run of the last midnight if it has none. Returns it if this call started it.

    Not on the day of the installation: at that midnight there was nothing yet. Database: control, two queries.
    """
    today = day_of(now or timezone.now())
    if ProfileRun.objects.filter(kind=ProfileRun.Kind.NIGHTLY, as_of=today).exists():
        return None
    if not RuleVersion.objects.filter(published_at__lt=midnight(today)).exists():
        return None
    run = tasks.launch(ProfileRun.Kind.NIGHTLY, today)
    return run if run.is_new else None
