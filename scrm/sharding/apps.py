from django.apps import AppConfig


class ShardingConfig(AppConfig):
    """Department databases."""

    name = "scrm.sharding"
    label = "sharding"
    verbose_name = "分库"
