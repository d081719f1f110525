"""Next best actions: whom to suggest what for, why, and what became of it."""

import uuid

from django.db import models
from django.utils import timezone

from scrm.sharding import model_config
from scrm.sharding.fields import BucketField, CustomerIdField


class Action(models.TextChoices):
    WIN_BACK = "win_back", "召回"
    CROSS_SELL = "cross_sell", "推荐搭配"
    THANK = "thank", "感谢"
    REMIND_STAFF = "remind_staff", "提醒跟进"


# ------------------------------------------------------------------------------------------- department databases
@model_config(shard_group="departments")
class Recommendation(models.Model):
    """A suggestion for one customer. Of the open ones the one with the highest score is the next best action."""

    class State(models.TextChoices):
        OPEN = "open", "待处理"
        ACCEPTED = "accepted", "已采纳"
        DISMISSED = "dismissed", "已忽略"
        EXPIRED = "expired", "已过期"
        WITHDRAWN = "withdrawn", "已撤回"

    pk = models.CompositePrimaryKey("customer_id", "bucket", "recommendation_id")
    customer_id = CustomerIdField("客户编号")
    bucket = BucketField("分表")
    recommendation_id = models.UUIDField("编号", default=uuid.uuid4)
    rule_id = models.BigIntegerField("规则")
    action = models.TextField("动作", choices=Action.choices)
    score = models.SmallIntegerField("评分", help_text="0..100")
    reason = models.TextField("理由")
    numbers = models.JSONField("依据", default=dict)
    items = models.JSONField("商品", default=list, help_text="[{id, name, because}] of a cross-sell")
    run_id = models.BigIntegerField("任务")
    made_at = models.DateTimeField("生成时间", default=timezone.now)
    expires_at = models.DateTimeField("过期时间")
    state = models.TextField("状态", choices=State.choices, default=State.OPEN)
    decided_at = models.DateTimeField("处理时间", null=True)
    decided_by = models.TextField("处理人", default="")
    note = models.TextField("处理说明", default="", help_text="why, in the words of who accepted or dismissed it")

    class Meta:
        db_table = "recommendations"
        verbose_name = "行动建议"
        verbose_name_plural = "行动建议"
        indexes = [
            models.Index(
                fields=["-score", "customer_id"], name="recommendations_open", condition=models.Q(state="open")
            ),
            models.Index(
                fields=["rule_id", "state"], name="recommendations_decided",
                condition=models.Q(state__in=["accepted", "dismissed"]),
            ),
        ]  # fmt: skip
        constraints = [
            models.UniqueConstraint(
                fields=["customer_id", "bucket", "rule_id"], name="recommendation_open_once",
                condition=models.Q(state="open"),
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.customer_id} {self.action}"


# ------------------------------------------------------------------------------------------------ control database
class RecommendationRule(models.Model):
    """When to suggest an action. groups as of a segment; accepted and dismissed feed back into the score."""

    name = models.CharField("名称", max_length=64, unique=True)
    action = models.CharField("动作", max_length=12, choices=Action.choices)
    groups = models.JSONField("条件", default=list)
    reason = models.CharField("理由", max_length=200, help_text="{purchase_count} 这样的占位会换成客户的数字")
    base_score = models.PositiveSmallIntegerField("基础分", default=50)
    expires_days = models.PositiveSmallIntegerField("有效天数", default=14)
    cooldown_days = models.PositiveSmallIntegerField("处理后静默天数", default=30)
    is_active = models.BooleanField("启用", default=True)
    error = models.TextField("问题", default="", blank=True)
    accepted = models.BigIntegerField("采纳次数", default=0)
    dismissed = models.BigIntegerField("忽略次数", default=0)
    changed_at = models.DateTimeField("修改时间", default=timezone.now)

    class Meta:
        verbose_name = "建议规则"
        verbose_name_plural = "建议规则"
        ordering = ["-base_score", "name"]

    def __str__(self) -> str:
        return self.name


class ItemAffinity(models.Model):
    """That who bought an item often bought another: of each item the best few, computed in each run."""

    item_id = models.CharField("商品", max_length=128)
    other_id = models.CharField("搭配商品", max_length=128)
    name = models.CharField("商品名", max_length=200, default="")
    other_name = models.CharField("搭配商品名", max_length=200, default="")
    together = models.IntegerField("共同购买客户数")
    score = models.FloatField("相似度", help_text="cosine: together / sqrt(buyers of one x buyers of the other)")
    run_id = models.BigIntegerField("任务")

    class Meta:
        db_table = "item_affinities"
        verbose_name = "商品搭配"
        verbose_name_plural = "商品搭配"
        ordering = ["item_id", "-score"]
        constraints = [models.UniqueConstraint(fields=["item_id", "other_id"], name="item_affinity_once")]

    def __str__(self) -> str:
        return f"{self.item_id} → {self.other_id}"


class HomeItems(models.Model):
    """What customers of one home bought together, as last counted there: a home that is down keeps it.

    buyers: {item: customers}, names: {item: name}, pairs: [[item, other, customers], …] with item < other.
    """

    home = models.IntegerField("归属库", primary_key=True)
    buyers = models.JSONField("购买客户数", default=dict)
    names = models.JSONField("商品名", default=dict)
    pairs = models.JSONField("共同购买", default=list)
    run_id = models.BigIntegerField("任务")

    class Meta:
        db_table = "home_items"
        verbose_name = "归属库商品"
        verbose_name_plural = "归属库商品"
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.home)
