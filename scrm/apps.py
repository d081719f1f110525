from django.apps import AppConfig

from scrm import celery, checks  # noqa: F401 - tasks need the app, and Django the checks, in every process


class ScrmConfig(AppConfig):
    """What belongs to no app: checks of the settings, the keeper, doctor, the demo."""

    name = "scrm"
    verbose_name = "系统"
