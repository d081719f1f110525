"""What customers do, kept raw and folded: the department databases; and the zone that days are cut in: control."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.utils import timezone

from scrm.sharding import model_config
from scrm.sharding.fields import BucketField, CustomerIdField


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
    # What the value of a customer hangs on: days with a purchase, whatever was refunded later.
    purchase_days = models.IntegerField(default=0, db_default=0)
    first_purchase_day = models.DateField(null=True)
    first_purchase_amount = models.DecimalField(
        max_digits=16, decimal_places=2, default=0, db_default=0, help_text="paid on the first purchase's day"
    )

    class Meta:
        db_table = "running_totals"

    def __str__(self) -> str:
        return str(self.customer_id)


@model_config(shard_group="departments")
class CustomerItem(models.Model):
    """That a customer bought an item: folded from `detail.items` of purchases, for what goes together with what."""

    pk = models.CompositePrimaryKey("customer_id", "bucket", "item_id")
    customer_id = CustomerIdField()
    bucket = BucketField()
    item_id = models.TextField()
    name = models.TextField(default="")
    purchases = models.IntegerField(default=0)
    last_day = models.DateField()

    class Meta:
        db_table = "customer_items"

    def __str__(self) -> str:
        return f"{self.customer_id} {self.item_id}"


# ------------------------------------------------------------------------------------------------ control database
class DayZone(models.Model):
    """The time zone that days are cut in, as it was at the first migration. One row."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    name = models.CharField(max_length=64)

    class Meta:
        db_table = "day_zone"

    def __str__(self) -> str:
        return self.name


class WaitingBehaviour(models.Model):
    """A behaviour of somebody whom no identity names yet. Folded in when one does, deleted after 90 days.

    contents: the item as it was accepted, without its identity, of which only the digest is kept.
    folded_to: the customer whom the identity named when it was claimed, empty until then. Stays, whomever it names
    later: the behaviour may have been recorded already.
    """

    source = models.TextField("来源")
    event_id = models.TextField("事件ID")
    identity_kind = models.CharField("身份类型", max_length=32)
    identity_digest = models.BinaryField("身份摘要", max_length=32)
    content_hash = models.BinaryField("内容摘要", max_length=16)
    contents = models.JSONField("内容")
    received_at = models.DateTimeField("接收时间", default=timezone.now)
    expires_at = models.DateTimeField("过期时间")
    refused = models.CharField(
        "未计入的原因", max_length=64, default="", help_text="a code of contents.REASONS: known now, and not accepted"
    )
    folded_to = models.TextField("计入的客户", default="", db_default="")

    class Meta:
        db_table = "waiting_behaviours"
        verbose_name = "待认领行为"
        verbose_name_plural = "待认领行为"
        constraints = [
            models.UniqueConstraint(
                fields=["identity_kind", "identity_digest", "source", "event_id"], name="waiting_behaviour_once"
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], name="waiting_behaviours_expiry"),
            models.Index(fields=["id"], name="waiting_behaviours_to_fold", condition=~Q(folded_to="") & Q(refused="")),
            models.Index(fields=["folded_to"], name="waiting_behaviours_folded_to", condition=~Q(folded_to="")),
        ]

    def __str__(self) -> str:
        return f"{self.source}:{self.event_id}"
