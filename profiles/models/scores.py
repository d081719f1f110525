"""What the second phase of a run says of a customer: RFM and value. Department databases."""

from django.db import models

from scrm.sharding import model_config
from scrm.sharding.fields import BucketField, CustomerIdField


@model_config(shard_group="departments")
class CustomerScore(models.Model):
    """RFM scores and value of somebody who has bought, as of the last run that changed them.

    Figures are rounded, so that a night writes only those to whom something happened.
    """

    customer_id = CustomerIdField(primary_key=True)
    bucket = BucketField()
    run_id = models.BigIntegerField("任务", help_text="the run whose thresholds and parameters gave these")
    recency_score = models.SmallIntegerField("R", null=True, help_text="1..5, 5 is best")
    frequency_score = models.SmallIntegerField("F", null=True)
    monetary_score = models.SmallIntegerField("M", null=True)
    rfm_segment = models.TextField("RFM 分群", default="")
    alive_percent = models.SmallIntegerField("活跃概率", null=True, help_text="0..100")
    expected_purchases = models.DecimalField("预计 90 天购买", max_digits=8, decimal_places=2, null=True)
    expected_amount = models.DecimalField("预计 90 天消费", max_digits=14, decimal_places=2, null=True)
    loss_warning = models.TextField("流失预警", default="", help_text="empty, medium or high")

    class Meta:
        db_table = "customer_scores"
        verbose_name = "客户价值"
        verbose_name_plural = "客户价值"

    def __str__(self) -> str:
        return f"{self.customer_id} {self.rfm_segment}"
