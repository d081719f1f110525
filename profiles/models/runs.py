"""Profile runs: the run in the control database, the work on each bucket in the department databases."""

from django.db import models
from django.utils import timezone

from profiles.models.classes import RuleVersion
from scrm.sharding import model_config


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
    samples = models.JSONField(
        default=list, db_default=models.Value([], models.JSONField()), help_text="[[from or null, to, [customer_id]]]"
    )
    # Which part of the run this is: 1 classify, 2 score, 3 act. The figures above are of the first and stay.
    phase = models.SmallIntegerField(default=1, db_default=1)
    phases = models.JSONField(
        default=dict, db_default=models.Value({}, models.JSONField()),
        help_text="{phase: {total, done, written, seconds}} of the phases after the first",
    )  # fmt: skip

    class Meta:
        db_table = "run_claims"

    def __str__(self) -> str:
        return f"{self.run_id}/{self.bucket} {self.state}"


# ------------------------------------------------------------------------------------------------ control database
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
    # What everybody's rows together say, once all homes have reported: see profiles.fitting.
    # 1 classify, 2 score and act, 4 figures.
    phase = models.SmallIntegerField("阶段", default=1, db_default=1)
    # Who does what one process does alone, the fit or the figures: see profiles.alone.
    fit_token = models.UUIDField(null=True, blank=True, editable=False)
    fit_heartbeat = models.DateTimeField(null=True, blank=True, editable=False)
    fit_attempts = models.SmallIntegerField(default=0, db_default=0, editable=False)
    rfm = models.JSONField("RFM 阈值", null=True, blank=True)
    value_model = models.JSONField("价值模型", null=True, blank=True)

    # Set by runs.start_run: whether that call made the run, or found it.
    is_new = False
    # Set by runs.resume: the fit or the figures are due, and nobody does them.
    is_step_due = False

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
