"""Bodies of requests about behaviours and runs, and the shape of the answers for the schema."""

from rest_framework import serializers

from profiles.models import Behaviour, ProfileRun
from profiles.rules.reaching import Act
from profiles.worth_serializers import FactAnswer, RfmAnswer, ValueAnswer, ValueModelAnswer
from scrm.api.strict import Day, StrictSerializer, Text, Truth, WholeNumber
from scrm.sharding.ids import MAX_HOME

MAX_BEHAVIOURS = 1000


class IdentityBody(serializers.Serializer):
    """A name that others have for a customer. Only a digest of it is kept."""

    kind = Text(max_length=32, help_text="unionid, openid, mobile, member_no, or one of IDENTITY_KINDS.")
    value = Text(max_length=256)


class BehaviourBody(serializers.Serializer):
    """One behaviour. Each is judged by itself: see `rejected` in the answer."""

    event_id = Text(max_length=128, help_text="Unique per customer within your source (the key's name).")
    external_userid = Text(max_length=64, required=False, help_text="This, or identity.")
    identity = IdentityBody(required=False, allow_null=True, help_text="Instead of external_userid.")
    kind = serializers.ChoiceField(Behaviour.Kind.values)
    channel = Text(max_length=32, help_text="wecom, mini_program, official_account, store, ecommerce, douyin …")
    amount = serializers.DecimalField(
        max_digits=13, decimal_places=2, required=False, help_text="Yuan; of a purchase it is wanted."
    )
    occurred_at = serializers.DateTimeField(help_text="With its offset; from 1990 to tomorrow.")
    refers_to = Text(max_length=128, required=False, allow_null=True, help_text="Of a refund: the purchase's event_id.")
    detail = serializers.DictField(required=False, allow_null=True, help_text="At most 4 096 bytes of JSON.")
    home = WholeNumber(required=False, allow_null=True, help_text="Where to create the customer, with create_missing.")


class BehavioursBody(serializers.Serializer):
    behaviors = serializers.ListField(child=BehaviourBody(), min_length=1, max_length=MAX_BEHAVIOURS)
    create_missing = serializers.BooleanField(default=False)


class RejectionAnswer(serializers.Serializer):
    index = serializers.IntegerField(help_text="The item's place in the request, from 0.")
    code = serializers.CharField()
    message = serializers.CharField()


class RecordedAnswer(serializers.Serializer):
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField(help_text="Known already, with the same contents.")
    waiting = serializers.IntegerField(help_text="Kept until somebody claims their identity, 90 days at the longest.")
    rejected = RejectionAnswer(many=True)


class RunBody(StrictSerializer):
    kind = serializers.ChoiceField(
        [ProfileRun.Kind.MANUAL.value, ProfileRun.Kind.BACKTEST.value],
        default=ProfileRun.Kind.MANUAL.value,
        help_text="A backtest reports and writes nothing.",
    )
    as_of = Day(required=False, help_text="Behaviours before this day's midnight count; today if left out.")
    full = Truth(default=False, help_text="Judge everybody, not only those for whom something may have changed.")
    homes = serializers.ListField(
        child=WholeNumber(min_value=1, max_value=MAX_HOME), required=False, allow_empty=False, max_length=1000
    )


class RunProgressAnswer(serializers.Serializer):
    share = serializers.FloatField(allow_null=True, help_text="0 to 1; null in a summary while the run is going on")
    judged = serializers.IntegerField(required=False)
    changed = serializers.IntegerField(required=False)
    unavailable = serializers.ListField(child=serializers.IntegerField())


class RunAnswer(serializers.Serializer):
    id = serializers.IntegerField()
    kind = serializers.ChoiceField(ProfileRun.Kind.values)
    as_of = serializers.DateField()
    rule_version = serializers.IntegerField()
    full = serializers.BooleanField()
    homes = serializers.ListField(child=serializers.IntegerField())
    state = serializers.ChoiceField(ProfileRun.State.values)
    requested_by = serializers.CharField()
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    progress = RunProgressAnswer()
    phase = serializers.IntegerField(help_text="1 classify, 2 score and act, 4 figures and end.")
    rfm = serializers.DictField(
        allow_null=True, help_text="Thresholds of R, F and M, of the company or by home; null before the fit."
    )
    value_model = ValueModelAnswer(allow_null=True)
    summary = serializers.DictField(help_text="What came of it, once it is over; empty for a restricted key.")


class RunPage(serializers.Serializer):
    results = RunAnswer(many=True)
    next = serializers.CharField(allow_null=True)


class ConditionAnswer(serializers.Serializer):
    text = serializers.CharField(help_text="As rules are written: purchase_count > 5")
    words = serializers.CharField(help_text="In Chinese.")
    actual = serializers.JSONField(allow_null=True, help_text="The number that it met.")
    holds = serializers.BooleanField()


class TriedRule(serializers.Serializer):
    position = serializers.IntegerField()
    profile = serializers.CharField()
    holds = serializers.BooleanField()
    conditions = ConditionAnswer(many=True)


class DecidingRule(serializers.Serializer):
    version = serializers.IntegerField()
    position = serializers.IntegerField(help_text="0: no rule held, the default class.")
    profile = serializers.CharField()
    text = serializers.CharField(help_text="Its conditions; empty for the default.")
    tried = TriedRule(many=True, help_text="The rules in order, up to the one that held.")


class LiveFigures(serializers.Serializer):
    purchase_count = serializers.IntegerField()
    interaction_count = serializers.IntegerField()
    total_amount = serializers.CharField()
    refund_count = serializers.IntegerField()
    refund_amount = serializers.CharField()
    last_purchase_at = serializers.DateTimeField(allow_null=True)
    last_interaction_at = serializers.DateTimeField(allow_null=True)


class StepAnswer(serializers.Serializer):
    act = serializers.ChoiceField(
        [one.value for one in Act], help_text="wait: days in which nothing of the kind happens."
    )
    amount = serializers.CharField(help_text="How many, how many days, or yuan.")


class MissingAnswer(serializers.Serializer):
    text = serializers.CharField(help_text="The condition that does not hold.")
    words = serializers.CharField(help_text="What would make it hold, in Chinese.")
    actual = serializers.JSONField(allow_null=True, help_text="The number that it meets now, today included.")
    steps = StepAnswer(many=True, help_text="One after the other; none: nothing will.")


class NextClass(serializers.Serializer):
    position = serializers.IntegerField()
    profile = serializers.CharField()
    is_possible = serializers.BooleanField()
    missing = MissingAnswer(many=True)


class ChangeAnswer(serializers.Serializer):
    run_id = serializers.IntegerField()
    as_of = serializers.DateField()
    at = serializers.DateTimeField()
    from_profile = serializers.CharField(allow_null=True)
    to_profile = serializers.CharField()
    rule_version = serializers.IntegerField()
    rule_position = serializers.IntegerField()
    numbers = serializers.DictField()


class HistoryAnswer(serializers.Serializer):
    results = ChangeAnswer(many=True)
    next = serializers.CharField(allow_null=True)


class SegmentOfCustomer(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    since = serializers.DateTimeField()


class StayInSegment(SegmentOfCustomer):
    name = serializers.CharField(help_text="Of a deleted segment the one that it had.")
    is_deleted = serializers.BooleanField()
    until = serializers.DateTimeField(allow_null=True, help_text="null while the customer is in it.")
    entered_by = serializers.CharField(help_text="run:<id>, live, definition, or who put them in.")
    left_by = serializers.CharField(help_text="The same, or deleted; empty while the customer is in it.")


class ProfileAnswer(serializers.Serializer):
    customer_id = serializers.IntegerField()
    external_userid = serializers.CharField()
    profile = serializers.CharField(allow_null=True, help_text="null: not classified yet")
    since = serializers.DateTimeField(allow_null=True)
    as_of = serializers.DateField(allow_null=True, help_text="The day of the run that put them there.")
    is_dirty = serializers.BooleanField(help_text="Something has changed since; the next run looks at them.")
    rule = DecidingRule(allow_null=True)
    numbers = serializers.DictField(allow_null=True, help_text="The numbers that decided then.")
    live = LiveFigures(help_text="The figures of now, refunds taken off.")
    lifecycle = serializers.CharField(allow_null=True, help_text="new, active, dormant, lost or returned")
    rfm = RfmAnswer(allow_null=True, help_text="null: no purchases.")
    value = ValueAnswer(allow_null=True)
    loss_warning = serializers.ChoiceField(["medium", "high"], allow_null=True)
    facts = FactAnswer(many=True, help_text="Changes of the facts, the newest first, at most 50.")
    next = NextClass(many=True, help_text="The classes of the rules in front, the nearest first, and what each lacks.")
    segments = SegmentOfCustomer(many=True, help_text="Those that the customer is in now.")
    segment_history = StayInSegment(many=True, help_text="When they were in which, the latest 50 times.")
    history = HistoryAnswer()
