from typing import Any

from django.apps import AppConfig
from django.core.signals import request_finished


class ApiConfig(AppConfig):
    """What every endpoint shares: keys, problems, cursors, request bodies."""

    name = "scrm.api"
    label = "api"
    verbose_name = "接口"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        request_finished.connect(_record_uses, dispatch_uid="scrm.api.keys.record_uses")


def _record_uses(**_kwargs: Any) -> None:
    # Only once the apps are ready there are models.
    from scrm.api.keys import record_uses

    record_uses()
