"""What the control database knows of the department databases."""

import time

from django.db import models

from scrm.sharding.databases import shard_map


class Home(models.Model):
    """A department database that has been migrated, and whether new customers may go there."""

    home = models.PositiveIntegerField("归属库", primary_key=True)
    is_open = models.BooleanField("接收新客户", default=False)
    opened_at = models.DateTimeField("开放时间", null=True, blank=True)
    registered_at = models.DateTimeField("登记时间", auto_now_add=True)

    class Meta:
        db_table = "sharding_home"
        verbose_name = "归属库"
        verbose_name_plural = "归属库"

    def __str__(self) -> str:
        return f"dept_{self.home}"


OPEN_HOMES_SECONDS = 5.0
_open_homes: tuple[float, tuple[int, ...]] = (0.0, ())


def open_homes() -> tuple[int, ...]:
    """Return the homes that take new customers and that this process knows, ascending.

    Held per process for five seconds. Database: at most one query on the control database.
    """
    global _open_homes
    read_at, homes = _open_homes
    if homes and time.monotonic() - read_at < OPEN_HOMES_SECONDS:
        return homes
    known = shard_map()
    homes = tuple(
        h for h in Home.objects.filter(is_open=True).order_by("home").values_list("home", flat=True) if h in known
    )
    _open_homes = (time.monotonic(), homes)
    return homes


def forget_open_homes() -> None:
    """Make the next open_homes() of this process ask the database."""
    global _open_homes
    _open_homes = (0.0, ())
