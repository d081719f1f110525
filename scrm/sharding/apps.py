from django.apps import AppConfig


class ShardingConfig(AppConfig):
    """Department databases."""

    name = "scrm.sharding"
    label = "sharding"
    verbose_name = "分库"

    def ready(self) -> None:
        from scrm.sharding import checks  # noqa: F401 - registers; models are ready only now
