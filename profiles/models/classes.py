"""Classes of customers: rules in the control database, reviews and history in the department databases."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.utils import timezone

from scrm.sharding import model_config
from scrm.sharding.fields import BucketField, CustomerIdField


@model_config(shard_group="departments")
class ProfileReview(models.Model):
    """The first day on which time alone can put a customer into another class. Only of those who have one.

    A table of its own, so that the index on the day does not cost the customers' rows their HOT updates.
    """

    customer_id = CustomerIdField(primary_key=True)
    bucket = BucketField()
    review_on = models.DateField()

    class Meta:
        db_table = "profile_reviews"
        indexes = [models.Index(fields=["review_on"], name="profile_reviews_due")]

    def __str__(self) -> str:
        return f"{self.customer_id} {self.review_on}"


@model_config(shard_group="departments")
class ProfileHistory(models.Model):
    """That a run put a customer into another class, and the numbers that decided."""

    pk = models.CompositePrimaryKey("customer_id", "bucket", "run_id")
    customer_id = CustomerIdField()
    bucket = BucketField()
    run_id = models.BigIntegerField("任务")
    as_of = models.DateField("统计日")
    at = models.DateTimeField("时间")
    from_profile = models.TextField("原画像", null=True)
    to_profile = models.TextField("新画像")
    rule_version = models.IntegerField("规则版本")
    rule_position = models.SmallIntegerField("命中规则", help_text="0: no rule matched, the default")
    purchase_count = models.IntegerField("购买次数")
    interaction_count = models.IntegerField("互动次数")
    total_amount = models.DecimalField("累计金额", max_digits=16, decimal_places=2)
    numbers = models.JSONField("其他依据", null=True)

    class Meta:
        db_table = "profile_history"
        verbose_name = "画像变更"
        verbose_name_plural = "画像变更"
        # What one run has done, for its figures of departments: rows are appended in order of runs, but for those of
        # customers who are moved in, which minmax_multi keeps apart. It costs writers next to nothing.
        indexes = [
            BrinIndex(
                fields=["run_id"], name="profile_history_by_run", opclasses=["int8_minmax_multi_ops"],
                pages_per_range=32, autosummarize=True,
            )
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.customer_id}: {self.from_profile} → {self.to_profile}"


@model_config(shard_group="departments")
class FactHistory(models.Model):
    """That a run changed a fact of a customer other than the class: lifecycle, loss_warning or rfm_segment."""

    pk = models.CompositePrimaryKey("customer_id", "bucket", "fact", "run_id")
    customer_id = CustomerIdField()
    bucket = BucketField()
    fact = models.TextField("事实")
    run_id = models.BigIntegerField("任务")
    as_of = models.DateField("统计日")
    at = models.DateTimeField("时间")
    before = models.TextField("原值", null=True)
    after = models.TextField("新值", null=True)
    numbers = models.JSONField("依据", null=True)

    class Meta:
        db_table = "fact_history"
        verbose_name = "客户状态变更"
        verbose_name_plural = "客户状态变更"

    def __str__(self) -> str:
        return f"{self.customer_id} {self.fact}: {self.before} → {self.after}"


# ------------------------------------------------------------------------------------------------ control database
class RuleVersion(models.Model):
    """A set of rules; published ones never change, and the newest published one is in force."""

    class State(models.TextChoices):
        DRAFT = "draft", "草稿"
        PUBLISHED = "published", "已发布"

    version = models.AutoField("版本", primary_key=True)
    state = models.CharField("状态", max_length=9, choices=State.choices, default=State.DRAFT)
    default_profile = models.CharField("默认画像", max_length=64)
    note = models.CharField("说明", max_length=200, default="", blank=True)
    created_at = models.DateTimeField("创建时间", default=timezone.now)
    # When what it says last changed: a dry run that began later tried exactly this.
    changed_at = models.DateTimeField("修改时间", default=timezone.now)
    published_at = models.DateTimeField("发布时间", null=True, blank=True)
    published_by = models.CharField("发布人", max_length=150, default="", blank=True)
    valid_from = models.DateField("生效日", null=True, blank=True, help_text="null: as soon as it is published")
    # Of lifecycle and RFM; see profiles.rules.settings. What is not named has its default.
    settings = models.JSONField("参数", default=dict, db_default=models.Value({}, models.JSONField()))

    class Meta:
        verbose_name = "画像规则"
        verbose_name_plural = "画像规则"
        permissions = [("publish_ruleversion", "可以发布画像规则")]
        ordering = ["-version"]

    def __str__(self) -> str:
        return f"第 {self.version} 版"


class Rule(models.Model):
    """One rule of a version: all conditions hold → profile. The first that matches wins."""

    version = models.ForeignKey(RuleVersion, verbose_name="版本", on_delete=models.CASCADE, related_name="rules")
    position = models.PositiveSmallIntegerField("顺序")
    profile = models.CharField("画像", max_length=64)
    conditions = models.JSONField("条件", default=list)

    class Meta:
        verbose_name = "规则"
        verbose_name_plural = "规则"
        ordering = ["version", "position"]
        constraints = [models.UniqueConstraint(fields=["version", "position"], name="rule_position_once")]

    def __str__(self) -> str:
        return self.profile
