"""Figures of dashboards, computed in a run and kept per day, home and departments. Control database."""

from django.db import models
from django.utils import timezone


class DailyFigure(models.Model):
    """One figure of one home as of one day; see profiles.figures for the kinds and the form of each.

    scope: whom it counts. "" is everybody, "3" a department with all below it, "3,7" two of them together.
    """

    day = models.DateField("统计日")
    home = models.IntegerField("归属库")
    kind = models.CharField("指标", max_length=24)
    scope = models.CharField("部门", max_length=255, default="", db_default="", blank=True)
    data = models.JSONField("数据")
    run_id = models.BigIntegerField("任务")
    computed_at = models.DateTimeField("计算时间", default=timezone.now)

    class Meta:
        db_table = "daily_figures"
        verbose_name = "每日指标"
        verbose_name_plural = "每日指标"
        # The last one of a kind, home and scope is one step into this index.
        constraints = [models.UniqueConstraint(fields=["kind", "home", "scope", "day"], name="daily_figure_of_scope")]

    def __str__(self) -> str:
        return f"{self.kind} {self.day} dept_{self.home}"
