"""Bodies of requests about segments, and the shape of the answers for the schema."""

from rest_framework import serializers

from profiles.models import Segment
from profiles.segments.definitions import MAX_DESCRIPTION, MAX_NAME
from profiles.segments.members import MAX_AT_ONCE
from scrm.api.strict import StrictSerializer, Text, Truth


class Groups(serializers.JSONField):
    """[[{field, operator, value, window_days?, channel?}, …], …]: profiles.rules.Filter checks it and says where."""


class SegmentBody(StrictSerializer):
    name = Text(max_length=MAX_NAME, allow_blank=False)
    kind = serializers.ChoiceField(Segment.Kind.values, default=Segment.Kind.DYNAMIC.value)
    groups = Groups(required=False, help_text="Whoever meets all conditions of any group. Of dynamic segments only.")
    description = Text(max_length=MAX_DESCRIPTION, default="")
    is_active = Truth(default=True, help_text="A segment not in use keeps its members, and nobody enters or leaves.")


class SegmentPatch(StrictSerializer):
    kept_by_system = ("kind", "version", "counts", "error")

    name = Text(max_length=MAX_NAME, allow_blank=False, required=False)
    groups = Groups(required=False)
    description = Text(max_length=MAX_DESCRIPTION, required=False)
    is_active = Truth(required=False)


class MembersBody(StrictSerializer):
    add = serializers.ListField(child=Text(max_length=64, allow_blank=False), required=False, max_length=MAX_AT_ONCE)
    remove = serializers.ListField(child=Text(max_length=64, allow_blank=False), required=False, max_length=MAX_AT_ONCE)


class PreviewBody(StrictSerializer):
    groups = Groups()


class SegmentAnswer(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    description = serializers.CharField()
    kind = serializers.ChoiceField(Segment.Kind.values)
    groups = serializers.JSONField()
    words = serializers.ListField(child=serializers.CharField(), help_text="Each group in Chinese.")
    version = serializers.IntegerField(help_text="Grows with each change of the conditions.")
    is_active = serializers.BooleanField()
    state = serializers.ChoiceField(["ready", "computing", "paused", "broken"])
    progress = serializers.DictField(
        child=serializers.FloatField(), help_text="{home: share} of members by these conditions."
    )
    error = serializers.CharField(help_text="Why it cannot be judged; its members stay as they were.")
    count = serializers.IntegerField(allow_null=True, help_text="null in lists for a restricted key.")
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="{home: members}; empty if restricted.")
    counted_at = serializers.DateTimeField(allow_null=True)
    unavailable = serializers.ListField(child=serializers.IntegerField())
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    changed_at = serializers.DateTimeField()


class SegmentPage(serializers.Serializer):
    results = SegmentAnswer(many=True)


class ChangedMembersAnswer(serializers.Serializer):
    added = serializers.IntegerField()
    removed = serializers.IntegerField()
    unknown = serializers.ListField(child=serializers.CharField(), help_text="Nobody that this key may see.")
    unavailable = serializers.ListField(child=serializers.IntegerField(), help_text="Homes: ask again for theirs.")


class PreviewAnswer(serializers.Serializer):
    count = serializers.IntegerField(help_text="Exact, or at least so many.")
    is_exact = serializers.BooleanField()
    estimate = serializers.IntegerField()
    looked_at = serializers.IntegerField()
    customers = serializers.IntegerField()
    unavailable = serializers.ListField(child=serializers.IntegerField())
    words = serializers.ListField(child=serializers.CharField())


class SegmentDayAnswer(serializers.Serializer):
    day = serializers.DateField()
    entered = serializers.IntegerField()
    left = serializers.IntegerField()


class SegmentHistoryAnswer(serializers.Serializer):
    results = SegmentDayAnswer(many=True)
    unavailable = serializers.ListField(child=serializers.IntegerField())
