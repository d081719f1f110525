"""Segments: their definitions in the control database, who is in them in the department databases."""

from django.db import models
from django.utils import timezone

from scrm.sharding import model_config
from scrm.sharding.fields import BucketField, CustomerIdField


# ------------------------------------------------------------------------------------------- department databases
@model_config(shard_group="departments")
class SegmentMember(models.Model):
    """That a customer is in a segment, since when."""

    pk = models.CompositePrimaryKey("customer_id", "bucket", "segment_id")
    customer_id = CustomerIdField("客户编号")
    bucket = BucketField("分表")
    segment_id = models.BigIntegerField("人群")
    entered_at = models.DateTimeField("进入时间", default=timezone.now)

    class Meta:
        db_table = "segment_members"
        verbose_name = "人群成员"
        verbose_name_plural = "人群成员"
        indexes = [models.Index(fields=["segment_id", "customer_id"], name="segment_members_segment")]

    def __str__(self) -> str:
        return f"{self.customer_id} in {self.segment_id}"


@model_config(shard_group="departments")
class SegmentChange(models.Model):
    """That a customer entered or left a segment. cause: run:<id>, live, or who added or removed them by hand."""

    pk = models.CompositePrimaryKey("customer_id", "bucket", "segment_id", "at")
    customer_id = CustomerIdField("客户编号")
    bucket = BucketField("分表")
    segment_id = models.BigIntegerField("人群")
    at = models.DateTimeField("时间", default=timezone.now)
    entered = models.BooleanField("进入")
    cause = models.TextField("原因")

    class Meta:
        db_table = "segment_changes"
        verbose_name = "人群进出"
        verbose_name_plural = "人群进出"

    def __str__(self) -> str:
        return f"{self.customer_id} {'→' if self.entered else '←'} {self.segment_id}"


@model_config(shard_group="departments")
class SegmentDay(models.Model):
    """How many entered and left a segment on a day, and how many were in it at its end, in one bucket."""

    pk = models.CompositePrimaryKey("bucket", "segment_id", "day")
    bucket = models.SmallIntegerField()
    segment_id = models.BigIntegerField("人群")
    day = models.DateField("日期")
    entered = models.IntegerField("进入", default=0)
    departed = models.IntegerField("离开", default=0)
    members = models.BigIntegerField("人数", default=0)

    class Meta:
        db_table = "segment_days"
        verbose_name = "人群每日进出"
        verbose_name_plural = "人群每日进出"

    def __str__(self) -> str:
        return f"{self.segment_id} {self.day}: +{self.entered} -{self.departed}"


# ------------------------------------------------------------------------------------------------ control database
class Segment(models.Model):
    """A saved filter (dynamic), or a list of customers that somebody keeps (static).

    groups: [[condition, …], …]: whoever meets all conditions of any group is in it. Empty for static ones.
    """

    class Kind(models.TextChoices):
        DYNAMIC = "dynamic", "动态"
        STATIC = "static", "静态"

    name = models.CharField("名称", max_length=64, unique=True)
    description = models.CharField("说明", max_length=200, default="", blank=True)
    kind = models.CharField("类型", max_length=7, choices=Kind.choices, default=Kind.DYNAMIC)
    groups = models.JSONField("条件", default=list, blank=True)
    version = models.IntegerField("定义版本", default=1, help_text="grows with each change of the conditions")
    is_active = models.BooleanField("启用", default=True)
    error = models.TextField("问题", default="", blank=True, help_text="why its conditions cannot be evaluated")
    counts = models.JSONField("人数", default=dict, blank=True, help_text="{home: members} as last counted")
    computed = models.JSONField(
        "计算进度", default=dict, blank=True, help_text="{home: [version, buckets done]} of who is in it"
    )
    counted_at = models.DateTimeField("统计时间", null=True, blank=True)
    created_by = models.CharField("创建人", max_length=150, default="", blank=True)
    created_at = models.DateTimeField("创建时间", default=timezone.now)
    changed_at = models.DateTimeField("修改时间", default=timezone.now)

    class Meta:
        verbose_name = "客户人群"
        verbose_name_plural = "客户人群"
        permissions = [("export_segment", "可以导出人群成员")]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class DeletedSegment(models.Model):
    """That there was a segment, for the history of those who were in it. The keeper forgets both together."""

    segment_id = models.BigIntegerField("人群", primary_key=True)
    name = models.CharField("名称", max_length=64)
    deleted_at = models.DateTimeField("删除时间", default=timezone.now)
    deleted_by = models.CharField("删除人", max_length=150, default="", blank=True)

    class Meta:
        db_table = "deleted_segments"
        verbose_name = "已删除的人群"
        verbose_name_plural = "已删除的人群"
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class JudgedDepartment(models.Model):
    """Whom a department that conditions name had with all below it, when its customers were last cared for."""

    department_id = models.BigIntegerField("部门", primary_key=True)
    staff = models.JSONField("员工", default=list)

    class Meta:
        db_table = "judged_departments"
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.department_id)


class StaffChange(models.Model):
    """That staff came to or left such departments, and how far their customers have been looked at since."""

    userids = models.JSONField("员工", default=list)
    noticed_at = models.DateTimeField("发现时间", default=timezone.now)
    progress = models.JSONField(
        "进度", default=dict, help_text="{home: [bucket, the customer up to whom all are done]}"
    )

    class Meta:
        db_table = "staff_changes"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{len(self.userids)} {self.noticed_at}"
