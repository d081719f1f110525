"""Figures of dashboards, computed in a run and kept per day and home. Control database."""

from django.db import models
from django.utils import timezone


class DailyFigure(models.Model):
    """One figure of one home as of one day; see profiles.figures for the kinds and the form of each."""

    day = models.DateField("统计日")
    home = models.IntegerField("归属库")
    kind = models.CharField("指标", max_length=24)
    data = models.JSONField("数据")
    run_id = models.BigIntegerField("任务")
    computed_at = models.DateTimeField("计算时间", default=timezone.now)

    class Meta:
        db_table = "daily_figures"
        verbose_name = "每日指标"
        verbose_name_plural = "每日指标"
        constraints = [models.UniqueConstraint(fields=["kind", "day", "home"], name="daily_figure_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.day} dept_{self.home}"
