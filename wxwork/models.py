"""What the link to WeCom keeps: the inbox of callbacks, customer groups, welcome messages and syncs.

All of it lives in the control database; what it learns of customers goes through customers.directory.
"""

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from customers.models import Department


class Callback(models.Model):
    """One thing that WeCom told us, as it was decrypted. The inbox: rows are the truth, Celery only wakes.

    Callbacks with the same key (`customer:<external_userid>`, `group:<chat_id>`, `staff:<userid>`, `department:<id>`,
    `tags`) are worked on one after the other, in order of WeCom's time; different keys at once.
    """

    class State(models.TextChoices):
        PENDING = "pending", "待处理"
        DONE = "done", "已处理"
        IGNORED = "ignored", "不需处理"
        DEAD = "dead", "处理失败"

    digest = models.BinaryField("摘要", max_length=32, unique=True, help_text="SHA-256 of the decrypted XML")
    event = models.CharField("事件", max_length=64)
    change_type = models.CharField("变更类型", max_length=64, blank=True)
    key = models.CharField("顺序键", max_length=160)
    external_userid = models.TextField("外部联系人ID", blank=True, help_text="whom an erasure takes it away with")
    xml = models.TextField("内容")
    created_at = models.DateTimeField("发生时间", help_text="WeCom's CreateTime, whole seconds")
    received_at = models.DateTimeField("接收时间", default=timezone.now)
    state = models.CharField("状态", max_length=8, choices=State.choices, default=State.PENDING)
    due_at = models.DateTimeField("下次处理", default=timezone.now)
    attempts = models.IntegerField("尝试次数", default=0)
    error = models.TextField("错误", blank=True)
    # A repeat that arrives while a worker is at it raises this; the worker only ends what it has begun.
    arrivals = models.IntegerField("收到次数", default=1)
    finished_at = models.DateTimeField("完成时间", null=True)

    class Meta:
        db_table = "callbacks"
        verbose_name = "回调消息"
        verbose_name_plural = "回调消息"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["key", "created_at", "id"], name="callbacks_of_a_key", condition=Q(state="pending")),
            models.Index(fields=["due_at"], name="callbacks_due", condition=Q(state="pending")),
            models.Index(fields=["state", "-id"], name="callbacks_by_state"),
            models.Index(fields=["external_userid"], name="callbacks_of_a_customer", condition=~Q(external_userid="")),
            models.Index(fields=["finished_at"], name="callbacks_finished", condition=Q(finished_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.event}/{self.change_type} {self.key}"


class CallbackKey(models.Model):
    """A key that has unfinished callbacks, and the claim of whoever works on them: one worker a key.

    due_at is when a worker may take it: the time of its first callback, of a retry, or, while somebody has it, the end
    of the claim. So one index finds work, retries and the claims of the dead, whatever the backlog of a single key.
    Whoever changes callbacks of a key locks its row here first (wxwork.inbox).
    """

    key = models.CharField(max_length=160, primary_key=True)
    due_at = models.DateTimeField(default=timezone.now)
    token = models.UUIDField(null=True)

    class Meta:
        db_table = "callback_keys"
        indexes = [models.Index(fields=["due_at"], name="callback_keys_due")]

    def __str__(self) -> str:
        return self.key


class WelcomeMessage(models.Model):
    """What is sent to somebody who has just added a staff member. The most specific active one is taken."""

    name = models.CharField("名称", max_length=64)
    text = models.TextField(
        "文字", help_text="4000 字节以内（约 1300 个汉字）。{name} 换成客户的名字，{staff} 换成员工的名字。"
    )
    state = models.CharField("渠道标识", max_length=64, blank=True, help_text="留空则不限渠道")
    departments = models.ManyToManyField(Department, verbose_name="部门", blank=True, help_text="留空则不限部门")
    is_active = models.BooleanField("启用", default=True)
    changed_at = models.DateTimeField("修改时间", auto_now=True)

    class Meta:
        db_table = "welcome_messages"
        verbose_name = "欢迎语"
        verbose_name_plural = "欢迎语"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class WelcomeDelivery(models.Model):
    """A welcome message that is owed, or what came of it. WeCom takes it for 20 s from the callback, once."""

    class State(models.TextChoices):
        OWED = "owed", "待发送"
        SENDING = "sending", "发送中"
        SENT = "sent", "已发送"
        FAILED = "failed", "未发送"

    callback = models.OneToOneField(Callback, on_delete=models.CASCADE, related_name="welcome")
    external_userid = models.TextField("外部联系人ID")
    userid = models.CharField("员工账号", max_length=64)
    welcome_code = models.TextField(blank=True, help_text="a secret for 20 s; blanked when it has been used")
    expires_at = models.DateTimeField("有效期至")
    state = models.CharField("状态", max_length=7, choices=State.choices, default=State.OWED)
    due_at = models.DateTimeField("下次发送", default=timezone.now)
    attempts = models.IntegerField("尝试次数", default=0)
    message = models.ForeignKey(
        WelcomeMessage, verbose_name="欢迎语", on_delete=models.SET_NULL, null=True, related_name="deliveries"
    )
    error = models.TextField("原因", blank=True)
    sent_at = models.DateTimeField("发送时间", null=True)

    class Meta:
        db_table = "welcome_deliveries"
        verbose_name = "欢迎语发送"
        verbose_name_plural = "欢迎语发送"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["due_at"], name="welcomes_owed", condition=Q(state="owed")),
            models.Index(fields=["expires_at"], name="welcomes_unsent", condition=Q(state__in=["owed", "sending"])),
            models.Index(fields=["external_userid"], name="welcomes_of_a_customer"),
        ]

    def __str__(self) -> str:
        return f"{self.userid} → {self.external_userid}"


class CustomerGroup(models.Model):
    """A customer group (客户群)."""

    chat_id = models.CharField("群ID", max_length=64, primary_key=True)
    name = models.CharField("群名", max_length=256, blank=True)
    owner = models.CharField("群主", max_length=64, blank=True)
    notice = models.TextField("群公告", blank=True)
    status = models.SmallIntegerField("状态", default=0, help_text="0 正常 1 跟进人离职 2 离职继承中 3 离职继承完成")
    member_version = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField("创建时间", null=True)
    dismissed_at = models.DateTimeField("解散时间", null=True)
    read_at = models.DateTimeField("同步时间", default=timezone.now)

    class Meta:
        db_table = "customer_groups"
        verbose_name = "客户群"
        verbose_name_plural = "客户群"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name or self.chat_id


class GroupMember(models.Model):
    """Somebody in a customer group: staff (type 1) or a customer (type 2)."""

    class Type(models.IntegerChoices):
        STAFF = 1, "员工"
        CUSTOMER = 2, "客户"

    group = models.ForeignKey(CustomerGroup, on_delete=models.CASCADE, related_name="members")
    member_id = models.CharField("成员", max_length=64, help_text="userid, or external_userid")
    type = models.SmallIntegerField("类型", choices=Type.choices)
    joined_at = models.DateTimeField("入群时间", null=True)
    join_scene = models.SmallIntegerField("入群方式", default=0)

    class Meta:
        db_table = "customer_group_members"
        verbose_name = "群成员"
        verbose_name_plural = "群成员"
        constraints = [models.UniqueConstraint(fields=["group", "member_id"], name="member_of_a_group_once")]
        indexes = [models.Index(fields=["member_id"], name="groups_of_a_member")]

    def __str__(self) -> str:
        return self.member_id


class SyncRun(models.Model):
    """One sync with WeCom: what it is to read, how far it has come, what it found. One at a time."""

    class Kind(models.TextChoices):
        FULL = "full", "全量同步"
        RECONCILE = "reconcile", "对账"

    class State(models.TextChoices):
        RUNNING = "running", "进行中"
        DONE = "done", "已完成"
        FAILED = "failed", "失败"

    id = models.UUIDField("编号", primary_key=True, default=uuid.uuid4)
    kind = models.CharField("类型", max_length=9, choices=Kind.choices)
    state = models.CharField("状态", max_length=7, choices=State.choices, default=State.RUNNING)
    started_at = models.DateTimeField("开始时间", default=timezone.now)
    finished_at = models.DateTimeField("结束时间", null=True)
    started_by = models.CharField("发起人", max_length=128, blank=True)
    token = models.UUIDField(null=True, help_text="whose turn it is")
    heartbeat_at = models.DateTimeField(null=True)
    steps_done = models.JSONField("已完成步骤", default=list)
    last_group = models.TextField(blank=True, help_text="chat_id of the group that was read last, in their order")
    calls_expected = models.IntegerField("预计调用", default=0)
    calls_made = models.IntegerField("已调用", default=0)
    counts = models.JSONField("结果", default=dict, help_text="{what: number}")
    drift = models.JSONField("差异", default=dict, help_text="{kind: number found and repaired}")
    error = models.TextField("错误", blank=True)

    class Meta:
        db_table = "sync_runs"
        verbose_name = "同步任务"
        verbose_name_plural = "同步任务"
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(fields=["state"], name="one_sync_at_a_time", condition=Q(state="running"))
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.started_at:%Y-%m-%d %H:%M}"


class SyncBatch(models.Model):
    """Up to 100 staff whose customers a sync reads page by page; the cursor says how far it has come.

    seen: {userid in small letters: relations read and stored}, for as many pages as the cursor stands for.
    """

    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="batches")
    number = models.IntegerField()
    userids = models.JSONField(default=list)
    cursor = models.TextField(blank=True)
    pages = models.IntegerField(default=0)
    began_at = models.DateTimeField(null=True, help_text="before its first page was read")
    seen = models.JSONField(default=dict)
    restarts = models.IntegerField(default=0, help_text="how often WeCom refused its cursor")
    is_done = models.BooleanField(default=False)

    class Meta:
        db_table = "sync_batches"
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="batch_of_a_sync_once")]

    def __str__(self) -> str:
        return f"{self.run_id} {self.number}"


class ApiLimit(models.Model):
    """What is left of WeCom's API: no table, but a name for the page and its permissions. wxwork.budget knows."""

    api = models.CharField("接口", max_length=128, primary_key=True)

    class Meta:
        managed = False
        default_permissions = ("view", "change")
        verbose_name = "接口额度"
        verbose_name_plural = "接口额度"

    def __str__(self) -> str:
        return self.api
