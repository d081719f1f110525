"""Which day a moment belongs to. Days are cut at midnight of one zone, stored at the first migration.

Another TIME_ZONE later would move behaviours between days that are folded already, so the stored zone counts.
"""

from datetime import date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from django.conf import settings

from profiles.models import DayZone


@cache
def day_zone() -> ZoneInfo:
    """Return the stored zone. Held per process: it never changes. Database: one query on the control database, once."""
    name = DayZone.objects.values_list("name", flat=True).first()
    return ZoneInfo(name or settings.TIME_ZONE)


def day_of(moment: datetime) -> date:
    """Return the day that an aware moment lies on."""
    return moment.astimezone(day_zone()).date()


def midnight(day: date) -> datetime:
    """Return the moment that a day begins."""
    return datetime.combine(day, time(), day_zone())


def end_of_tomorrow(now: datetime) -> datetime:
    """Return the first moment that is too far ahead to be a behaviour's."""
    return midnight(day_of(now) + timedelta(days=2))
