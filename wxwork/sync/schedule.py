"""When nights reconcile: at WXWORK_RECONCILE_AT of the company's zone, or as soon as there is somebody to do it.

Beat sends wxwork.reconcile (CELERY_BEAT_SCHEDULE in the settings). The keeper looks every minute whether the last such
moment has its run, so that one that was slept through is caught up. Nothing happens without a corp and a secret, nor
before a first sync has come to its end: when that begins is for people to say.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone

from wxwork.library import is_configured
from wxwork.models import SyncRun
from wxwork.sync.runs import start_sync

SYSTEM = "system"
# Beat gets so long before the keeper takes its place.
GRACE = timedelta(minutes=2)


def last_due(now: datetime) -> datetime:
    """Return the last moment at which a reconcile was due."""
    zone = ZoneInfo(settings.TIME_ZONE)
    at = settings.WXWORK_RECONCILE_AT
    today = datetime.combine(now.astimezone(zone).date(), at, tzinfo=zone)
    return today if today <= now else datetime.combine(today.date() - timedelta(days=1), at, tzinfo=zone)


def reconcile(now: datetime | None = None) -> SyncRun | None:
    """Start the reconcile that is due, unless one has begun since it was. Returns it if this call started it."""
    due = last_due(now or timezone.now())
    if not is_configured() or not SyncRun.objects.filter(state=SyncRun.State.DONE).exists():
        return None
    if SyncRun.objects.filter(started_at__gte=due).exists() or SyncRun.objects.filter(state="running").exists():
        return None
    run = start_sync(SyncRun.Kind.RECONCILE, SYSTEM)
    return run if run.is_new else None  # type: ignore[attr-defined]


def catch_up(now: datetime | None = None) -> SyncRun | None:
    """Start the reconcile that is due if beat has not, a little later."""
    now = now or timezone.now()
    return reconcile(now) if now - last_due(now) >= GRACE else None
