"""Bodies of requests about recommendations, and the shape of the answers for the schema."""

from rest_framework import serializers

from profiles.models import Action, Recommendation
from profiles.recommendations.deciding import MAX_NOTE
from scrm.api.strict import StrictSerializer, Text


class DecisionBody(StrictSerializer):
    reason = Text(max_length=MAX_NOTE, may_break=True, required=False, help_text="Why, in the decider's own words.")


class RuleName(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField(help_text="Empty for a rule that is there no more.")


class SuggestedItem(serializers.Serializer):
    id = serializers.CharField()
    name = serializers.CharField()
    because = serializers.CharField(help_text="The name of the item that it goes with.")


class RecommendationAnswer(serializers.Serializer):
    id = serializers.UUIDField()
    customer_id = serializers.IntegerField()
    external_userid = serializers.CharField()
    action = serializers.ChoiceField(Action.values)
    state = serializers.ChoiceField(Recommendation.State.values)
    score = serializers.IntegerField(help_text="0 to 100")
    reason = serializers.CharField(help_text="In Chinese, with the customer's numbers as of when it was made.")
    numbers = serializers.DictField(help_text="The numbers that decided, by field.")
    items = SuggestedItem(many=True, help_text="Of a cross_sell, the best first.")
    rule = RuleName()
    made_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)
    decided_by = serializers.CharField(help_text="Empty while nobody has accepted or dismissed it.")
    decision_reason = serializers.CharField()


class CustomerRecommendations(serializers.Serializer):
    customer_id = serializers.IntegerField()
    external_userid = serializers.CharField()
    next = RecommendationAnswer(allow_null=True, help_text="The next best action: the first of the results.")
    results = RecommendationAnswer(many=True, help_text="What is open now, the highest score first.")


class RecommendationPage(serializers.Serializer):
    results = RecommendationAnswer(many=True)
    next = serializers.CharField(allow_null=True)
    unavailable = serializers.ListField(child=serializers.IntegerField())
