"""The shape of answers about value: the model of a run, what a customer is worth."""

from rest_framework import serializers


class HoldoutRow(serializers.Serializer):
    x = serializers.CharField(help_text="Repeat purchases before: 0 to 6, or 7+.")
    customers = serializers.IntegerField()
    actual = serializers.FloatField(help_text="Purchases per customer since.")
    expected = serializers.FloatField()


class HoldoutAnswer(serializers.Serializer):
    as_of = serializers.DateField(required=False, help_text="The day that this model was fitted as of.")
    days = serializers.IntegerField(required=False, help_text="How many days it was compared with.")
    customers = serializers.IntegerField(required=False)
    actual = serializers.IntegerField(required=False, help_text="Purchases of all of them in these days.")
    expected = serializers.FloatField(required=False)
    rows = HoldoutRow(many=True, required=False)
    problem = serializers.CharField(required=False)
    reason = serializers.CharField(required=False)


class CalibrationRow(serializers.Serializer):
    x = serializers.CharField(help_text="Repeat purchases: 0 to 6, or 7+.")
    actual = serializers.IntegerField(help_text="Customers with so many.")
    expected = serializers.FloatField()


class ValueModelAnswer(serializers.Serializer):
    """BG/NBD in weeks and Gamma-Gamma, or why there is none: then customers keep their values."""

    customers = serializers.IntegerField(help_text="Who has bought before as_of.")
    repeat_customers = serializers.IntegerField(required=False, allow_null=True)
    r = serializers.FloatField(required=False)
    alpha = serializers.FloatField(required=False)
    a = serializers.FloatField(required=False)
    b = serializers.FloatField(required=False)
    log_likelihood = serializers.FloatField(required=False)
    p = serializers.FloatField(required=False)
    q = serializers.FloatField(required=False)
    gamma = serializers.FloatField(required=False)
    spenders = serializers.IntegerField(required=False)
    sampled = serializers.IntegerField(
        required=False, allow_null=True, help_text="How many of the customers were fitted, if not all."
    )
    horizon_days = serializers.IntegerField(required=False)
    problem = serializers.ChoiceField(["too_small", "degenerate", "no_convergence"], required=False)
    reason = serializers.CharField(required=False)
    calibration = CalibrationRow(many=True, required=False)
    holdout = HoldoutAnswer(required=False)


class RfmAnswer(serializers.Serializer):
    recency_score = serializers.IntegerField(help_text="1 to 5, 5 is best.")
    frequency_score = serializers.IntegerField()
    monetary_score = serializers.IntegerField()
    segment = serializers.CharField()


class ValueAnswer(serializers.Serializer):
    alive_percent = serializers.IntegerField(help_text="Probability of being active; 100 after a single purchase.")
    expected_purchases = serializers.CharField(help_text="In the next horizon_days.")
    expected_amount = serializers.CharField(allow_null=True)
    horizon_days = serializers.IntegerField()


class FactAnswer(serializers.Serializer):
    fact = serializers.ChoiceField(["lifecycle", "rfm_segment", "loss_warning"])
    before = serializers.CharField(allow_null=True)
    after = serializers.CharField(allow_null=True)
    run_id = serializers.IntegerField()
    as_of = serializers.DateField()
    at = serializers.DateTimeField()
    numbers = serializers.DictField(allow_null=True)
