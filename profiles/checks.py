"""System checks of profiles. Each says what to do.

profiles.E001  BEHAVIOUR_CHANNELS names something that is no channel
profiles.E002  TIME_ZONE is not the zone that days have been cut in (asked of the database: migrate, check --database)
"""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError

from profiles.models import DayZone
from profiles.vocabulary import read_channels


@register()
def channels_are_words(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse channels that no behaviour could name."""
    try:
        read_channels(settings.BEHAVIOUR_CHANNELS)
    except ValueError as error:
        return [Error(str(error), hint="For example: hotline=客服热线,tmall", id="profiles.E001")]
    return []


@register(Tags.database)
def days_stay_as_they_were_cut(databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """Refuse another time zone than the one in which behaviours have been folded into days."""
    if "default" not in (databases or ()):
        return []
    try:
        stored = DayZone.objects.values_list("name", flat=True).first()
    except DatabaseError:  # not migrated yet, or not there: others say so
        return []
    if stored is None or stored == settings.TIME_ZONE:
        return []
    return [
        Error(
            f"TIME_ZONE is {settings.TIME_ZONE}, but behaviours have been folded into days of {stored}.",
            hint=f"Set TIME_ZONE={stored}. Another zone needs a new installation and a new import.",
            id="profiles.E002",
        )
    ]
