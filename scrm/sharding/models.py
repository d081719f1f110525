"""What the control database knows of the department databases."""

from django.db import models

from scrm.held import Held
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


def _read_open_homes() -> tuple[int, ...]:
    known = shard_map()
    opened = Home.objects.filter(is_open=True).order_by("home").values_list("home", flat=True)
    return tuple(home for home in opened if home in known)


# The homes that take new customers and that this process knows, ascending; at most five seconds old.
# Database: one query on the control database.
open_homes = Held(_read_open_homes, seconds=5)
