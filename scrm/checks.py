"""System checks of the settings. Each says what to do.

scrm.E001  SECRET_KEY is not set (DEBUG off)
scrm.E002  a server is not named (DEBUG off): embedded servers are for demo and tests
scrm.E003  ALLOWED_HOSTS is empty (DEBUG off)
scrm.W001  cache and broker are one server
"""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

SERVERS = ("DATABASE_URL", "DEPARTMENT_DATABASES", "REDIS_URL", "CELERY_BROKER_URL")


@register()
def production_is_complete(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse to run with DEBUG off on anything that is only good for the demo."""
    if settings.DEBUG or settings.TESTING:
        return []
    found: list[CheckMessage] = []
    if not _has_secret_key():
        found.append(Error("SECRET_KEY is not set.", hint="Set it to 50 random characters.", id="scrm.E001"))
    missing = [name for name in SERVERS if not settings.ENVIRON.get(name)]
    if missing:
        found.append(
            Error(
                f"{', '.join(missing)} not set, and with DEBUG off no embedded server is used.",
                hint="docs/configuration.md lists every variable with an example.",
                id="scrm.E002",
            )
        )
    if not settings.ALLOWED_HOSTS:
        found.append(Error("ALLOWED_HOSTS is empty.", hint="Name the hosts this site answers to.", id="scrm.E003"))
    if settings.REDIS_URL.rsplit("/", 1)[0] == settings.CELERY_BROKER_URL.rsplit("/", 1)[0]:
        found.append(
            Warning(
                "REDIS_URL and CELERY_BROKER_URL are one server.",
                hint="A cache must forget and a broker must keep: give each its own (docs/read-through.md).",
                id="scrm.W001",
            )
        )
    return found


def _has_secret_key() -> bool:
    try:
        return bool(settings.SECRET_KEY)
    except ImproperlyConfigured:  # what Django answers to whoever reads an empty one
        return False
