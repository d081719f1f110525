"""The shape of the answers of profiles.figure_views, for the schema."""

from rest_framework import serializers

from profiles.serializers import RunAnswer


class _OfDepartments(serializers.Serializer):
    departments = serializers.ListField(
        child=serializers.IntegerField(),
        allow_null=True,
        help_text="Whose customers are counted, with those of all departments below; null: everybody.",
    )


class FiguresHomeCounts(serializers.Serializer):
    home = serializers.IntegerField()
    day = serializers.DateField(allow_null=True, help_text="What this home's figures are as of.")
    unclassified = serializers.IntegerField()
    classes = serializers.DictField(child=serializers.IntegerField())


class FiguresSummaryAnswer(_OfDepartments):
    day = serializers.DateField(
        allow_null=True,
        help_text="What the counts are as of; null before the first run of everybody, or of departments.",
    )
    total = serializers.IntegerField()
    unclassified = serializers.IntegerField(
        help_text="Created since the last run, mostly; of departments as of the run."
    )
    classes = serializers.DictField(child=serializers.IntegerField())
    lifecycle = serializers.DictField(child=serializers.IntegerField())
    loss_warnings = serializers.DictField(child=serializers.IntegerField())
    rfm_segments = serializers.DictField(child=serializers.IntegerField())
    homes = FiguresHomeCounts(many=True)
    unavailable = serializers.ListField(
        child=serializers.IntegerField(), help_text="Homes that were down: they count with their last figures."
    )
    last_run = RunAnswer(allow_null=True)


class _Latest(_OfDepartments):
    day = serializers.DateField(allow_null=True, help_text="What the figures are as of; null if there are none.")
    stale = serializers.ListField(
        child=serializers.IntegerField(), help_text="Homes that were down: they count with their last figures."
    )


class TrendPoint(serializers.Serializer):
    day = serializers.DateField()
    values = serializers.DictField(child=serializers.IntegerField())
    stale = serializers.ListField(child=serializers.IntegerField())


class TrendsAnswer(_OfDepartments):
    kind = serializers.CharField()
    to = serializers.DateField()
    names = serializers.DictField(child=serializers.CharField(), help_text="Of segments: {id: name}.")
    results = TrendPoint(many=True)

    def get_fields(self) -> dict[str, serializers.Field]:
        return {**super().get_fields(), "from": serializers.DateField()}


class Flow(serializers.Serializer):
    to = serializers.CharField()
    customers = serializers.IntegerField()

    def get_fields(self) -> dict[str, serializers.Field]:
        return {**super().get_fields(), "from": serializers.CharField(allow_null=True)}


class FlowsAnswer(_OfDepartments):
    to = serializers.DateField()
    days = serializers.ListField(child=serializers.DateField(), help_text="The days that have figures.")
    results = Flow(many=True)

    def get_fields(self) -> dict[str, serializers.Field]:
        return {**super().get_fields(), "from": serializers.DateField()}


class RfmCell(serializers.Serializer):
    recency = serializers.IntegerField()
    frequency = serializers.IntegerField()
    customers = serializers.IntegerField()
    mean_monetary = serializers.FloatField(allow_null=True)
    amount = serializers.CharField(help_text="What they have spent, yuan.")


class RfmSegmentAnswer(serializers.Serializer):
    name = serializers.CharField()
    customers = serializers.IntegerField()
    amount = serializers.CharField()


class RfmGridAnswer(_Latest):
    grid = RfmCell(many=True)
    segments = RfmSegmentAnswer(many=True)


class ValueBin(serializers.Serializer):
    to = serializers.IntegerField(allow_null=True)
    customers = serializers.IntegerField()
    amount = serializers.CharField()

    def get_fields(self) -> dict[str, serializers.Field]:
        return {**super().get_fields(), "from": serializers.IntegerField()}


class ValueSpreadAnswer(_Latest):
    customers = serializers.IntegerField()
    expected_amount = serializers.CharField(help_text="In the next 90 days, yuan.")
    expected_purchases = serializers.CharField()
    mean_alive_percent = serializers.FloatField(allow_null=True)
    best_fifth_share = serializers.FloatField(
        allow_null=True, help_text="The part of it that the best fifth of buyers is expected to spend, 0 to 1."
    )
    bins = ValueBin(many=True)


class CohortAnswer(serializers.Serializer):
    month = serializers.CharField(help_text="Of the first purchase, 2026-11.")
    customers = serializers.IntegerField()
    active = serializers.ListField(child=serializers.IntegerField(), help_text="Who bought n months later, from 0.")
    retention = serializers.ListField(child=serializers.FloatField())


class CohortsAnswer(_Latest):
    results = CohortAnswer(many=True)
