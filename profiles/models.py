"""Tables of behaviours and profiles: first those of the department databases, then those of the control database."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.utils import timezone

from scrm.sharding import model_config
from scrm.sharding.fields import BucketField, CustomerIdField


# ------------------------------------------------------------------------------------------- department databases
@model_config(shard_group="departments")
class BehaviourKey(models.Model):
    """That an event_id of a source has been seen, with which contents; and of a purchase, how much is undone."""

    pk = models.CompositePrimaryKey("customer_id", "bucket", "source", "event_id")
    customer_id = CustomerIdField()
    bucket = BucketField()
    source = models.TextField()
    event_id = models.TextField()
    content_hash = models.BinaryField(max_length=16)
    # Of purchases only: what was paid, when, and how much of it has been refunded (null: no refund yet).
    amount = models.DecimalField(max_digits=14, decimal_places=2, null=True)
    occurred_at = models.DateTimeField(null=True)
    refunded = models.DecimalField(max_digits=14, decimal_places=2, null=True)

    class Meta:
        db_table = "behaviour_keys"

    def __str__(self) -> str:
        return f"{self.source}:{self.event_id}"


@model_config(shard_group="departments")
class Behaviour(models.Model):
    """Something a customer did, as it was told to us. The key is also the order of a customer's time line."""

    class Kind(models.TextChoices):
        PURCHASE = "purchase", "购买"
        INTERACTION = "interaction", "互动"
        REFUND = "refund", "退款"

    pk = models.CompositePrimaryKey("customer_id", "bucket", "occurred_at", "source", "event_id")
    customer_id = CustomerIdField()
    bucket = BucketField()
    source = models.TextField("来源")
    event_id = models.TextField("事件ID")
    kind = models.TextField("类型", choices=Kind.choices)
    channel = models.TextField("渠道")
    amount = models.DecimalField("金额", max_digits=14, decimal_places=2, default=0)
    occurred_at = models.DateTimeField("发生时间")
    refers_to = models.TextField("关联事件", null=True)
    detail = models.JSONField("详情", null=True)
    # Of refunds: nothing is left of the purchase, which from this day on does not count.
    undoes_purchase = models.BooleanField("全额退款", default=False)
    received_at = models.DateTimeField("接收时间", default=timezone.now)

    class Meta:
        db_table = "behaviours"
        verbose_name = "客户行为"
        verbose_name_plural = "客户行为"
        indexes = [BrinIndex(fields=["occurred_at"], name="behaviours_time")]

    def __str__(self) -> str:
        return f"{self.kind} {self.event_id}"


class Totals(models.Model):
    """The figures that daily and running totals share. Refunds are counted apart, on their own day."""

    purchase_count = models.IntegerField(default=0)
    purchase_amount = models.DecimalField(max_digits=16, decimal_places=2, default=0)
    refund_count = models.IntegerField(default=0)
    refund_amount = models.DecimalField(max_digits=16, decimal_places=2, default=0)
    interaction_count = models.IntegerField(default=0)
    last_purchase_at = models.DateTimeField(null=True)
    last_interaction_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True


@model_config(shard_group="departments")
class DailyTotal(Totals):
    """A customer's behaviours of one day (of Asia/Shanghai, or the stored zone)."""

    pk = models.CompositePrimaryKey("customer_id", "bucket", "day")
    customer_id = CustomerIdField()
    bucket = BucketField()
    day = models.DateField()

    class Meta:
        db_table = "daily_totals"

    def __str__(self) -> str:
        return f"{self.customer_id} {self.day}"


@model_config(shard_group="departments")
class RunningTotal(Totals):
    """A customer's behaviours of all days, those still to come included."""

    customer_id = CustomerIdField(primary_key=True)
    bucket = BucketField()
    first_day = models.DateField()
    last_day = models.DateField()

    class Meta:
        db_table = "running_totals"

    def __str__(self) -> str:
        return str(self.customer_id)


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

    def __str__(self) -> str:
        return f"{self.customer_id}: {self.from_profile} → {self.to_profile}"


@model_config(shard_group="departments")
class BucketState(models.Model):
    """What the last classification of a bucket was: as of which day, and by which rules all of it is judged."""

    bucket = models.SmallIntegerField(primary_key=True)
    last_as_of = models.DateField(null=True)
    rule_version = models.IntegerField(null=True, help_text="null: a full judgement is under way or never ended")

    class Meta:
        db_table = "bucket_states"

    def __str__(self) -> str:
        return f"{self.bucket} {self.last_as_of}"


@model_config(shard_group="departments")
class RunClaim(models.Model):
    """The work of a run on one bucket: who has it, how far they are, what came of it. Rows are the truth."""

    class State(models.TextChoices):
        WAITING = "waiting", "等待"
        RUNNING = "running", "进行中"
        DONE = "done", "完成"
        FAILED = "failed", "失败"

    pk = models.CompositePrimaryKey("run_id", "bucket")
    run_id = models.BigIntegerField()
    bucket = models.SmallIntegerField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    # Who has it writes with this token or not at all; taking the claim changes it.
    token = models.UUIDField(null=True)
    heartbeat = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(default=timezone.now, help_text="not to be begun before")
    offered_at = models.DateTimeField(null=True, help_text="when a worker was last told of it")
    attempts = models.IntegerField(default=0, help_text="times taken since it last got on")
    error = models.TextField(default="")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    mode = models.CharField(max_length=12, default="", help_text="full, incremental or report")
    # The customers up to and including this one are done.
    position = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    judged = models.BigIntegerField(default=0)
    changed = models.BigIntegerField(default=0, help_text="customers put in another class, or who would be")
    updated = models.BigIntegerField(default=0, help_text="customers of whom anything was written")
    moves = models.JSONField(default=list, help_text="[[from class or null, to class, customers], …]")
    classes = models.JSONField(default=dict, help_text="{class: customers} of those judged")

    class Meta:
        db_table = "run_claims"

    def __str__(self) -> str:
        return f"{self.run_id}/{self.bucket} {self.state}"


# ------------------------------------------------------------------------------------------------ control database
class DayZone(models.Model):
    """The time zone that days are cut in, as it was at the first migration. One row."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    name = models.CharField(max_length=64)

    class Meta:
        db_table = "day_zone"

    def __str__(self) -> str:
        return self.name


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
    published_at = models.DateTimeField("发布时间", null=True, blank=True)
    published_by = models.CharField("发布人", max_length=150, default="", blank=True)

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


class ProfileRun(models.Model):
    """One classification of everybody it concerns."""

    class Kind(models.TextChoices):
        NIGHTLY = "nightly", "每日"
        MANUAL = "manual", "手动"
        BACKTEST = "backtest", "回测"

    class State(models.TextChoices):
        RUNNING = "running", "进行中"
        DONE = "done", "完成"
        PARTIAL = "partial", "部分完成"
        FAILED = "failed", "失败"

    kind = models.CharField("类型", max_length=8, choices=Kind.choices)
    as_of = models.DateField("统计日", help_text="counts behaviours before this day's midnight")
    rule_version = models.ForeignKey(RuleVersion, verbose_name="规则版本", on_delete=models.PROTECT)
    full = models.BooleanField("全量", default=False)
    homes = models.JSONField("归属库", default=list)
    state = models.CharField("状态", max_length=8, choices=State.choices, default=State.RUNNING)
    requested_by = models.CharField("发起人", max_length=150, default="system")
    started_at = models.DateTimeField("开始时间", default=timezone.now)
    finished_at = models.DateTimeField("结束时间", null=True, blank=True)
    summary = models.JSONField("结果", default=dict)

    # Set by runs.start_run: whether that call made the run, or found it.
    is_new = False

    class Meta:
        verbose_name = "画像任务"
        verbose_name_plural = "画像任务"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["as_of"], condition=models.Q(kind="nightly"), name="one_nightly_run_a_day"),
            models.UniqueConstraint(
                fields=["state"],
                condition=models.Q(state="running") & ~models.Q(kind="backtest"),
                name="one_run_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.as_of}"
