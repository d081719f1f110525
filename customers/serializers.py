"""Bodies of requests about customers, and the shape of the answers for the schema.

PUT, PATCH   {"name": "王小明", "mobile": "13812345678", "attributes": {"level": 3}, "tags": ["et1"], "home": 100}
not taken    customer_id, version, profile … (read only), a misspelt field, "type": "1"
"""

from collections.abc import Iterable
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from customers.attributes import InvalidAttributesError, check_attributes
from customers.identity import is_external_userid
from customers.models import Follow
from customers.records import WECOM_FIELDS, CustomerData, FollowData
from customers.tags import tag_library
from scrm.api.strict import Moment, StrictSerializer, Text, WholeNumber
from scrm.sharding.ids import MAX_HOME

MAX_FOLLOWS = 200
MAX_TAGS = 200
MAX_MOBILES = 10
READ_ONLY = (
    "customer_id", "created_at", "updated_at", "version", "own_tags", "profile", "profile_updated_at", "lifecycle",
    "purchase_count", "interaction_count", "total_amount", "last_purchase_at", "last_interaction_at",
)  # fmt: skip
# A masked number (138****5678) is none: who writes back what was read must not lose the real one.
MOBILE = r"^[0-9+()\- ]*$"


def mobile_field(**kwargs: Any) -> serializers.RegexField:
    field: serializers.RegexField = _Mobile(MOBILE, max_length=32, trim_whitespace=False, **kwargs)
    return field


class _Mobile(serializers.RegexField):
    default_error_messages = {"invalid": "A number is made of digits, + - ( ) and spaces; masked ones are refused."}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class TagIds(serializers.ListField):
    """Ids of tags that the library knows."""

    child = Text(max_length=64, allow_blank=False)

    def run_child_validation(self, data: Any) -> list[str]:
        if len(data) > MAX_TAGS:
            raise serializers.ValidationError(f"At most {MAX_TAGS} tags.", code="max_length")
        found: list[str] = super().run_child_validation(data)
        unknown = unknown_tags(found)
        if unknown:
            raise serializers.ValidationError(f"There is no tag {', '.join(unknown[:5])}.", code="unknown_tag")
        return list(dict.fromkeys(found))


def unknown_tags(tag_ids: Iterable[str]) -> list[str]:
    """Return those that the library lacks. One that is held and lacks some is read once more: they may be new."""
    wanted = list(dict.fromkeys(tag_ids))
    if all(tag in tag_library() for tag in wanted):
        return []
    tag_library.forget()
    library = tag_library()
    return [tag for tag in wanted if tag not in library]


@extend_schema_field({"type": "object", "additionalProperties": True, "maxProperties": 100})
class Attributes(serializers.Field):
    """The company's own fields: see customers.attributes."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        try:
            return check_attributes(data)
        except InvalidAttributesError as error:
            raise serializers.ValidationError(str(error), code="invalid_attributes") from error

    def to_representation(self, value: Any) -> Any:
        return value


class FollowBody(StrictSerializer):
    """A staff member's relation to the customer, whole."""

    userid = Text(max_length=64, allow_blank=False)
    remark = Text(max_length=256, default="")
    description = Text(max_length=2048, may_break=True, default="")
    mobiles = serializers.ListField(child=mobile_field(), max_length=MAX_MOBILES, default=list)
    add_way = WholeNumber(min_value=0, max_value=10_000, default=0)
    state = Text(max_length=128, default="")
    created_at = Moment(required=False, allow_null=True, default=None)
    lost_at = Moment(required=False, allow_null=True, default=None)
    tags = TagIds(default=list)

    def validate_userid(self, value: str) -> str:
        if not is_external_userid(value):  # the same kind of text
            raise serializers.ValidationError("A userid has no space at either end.", code="invalid_userid")
        return value


class CustomerBody(StrictSerializer):
    """What may be written of a customer. name to position and follows are WeCom's once it has synced the customer."""

    kept_by_system = READ_ONLY
    external_userid = Text(required=False, max_length=64, help_text="If given, the one in the path.")
    name = Text(required=False, max_length=128)
    avatar = Text(required=False, max_length=1024)
    type = serializers.ChoiceField([1, 2], required=False, help_text="1 WeChat user, 2 WeCom user")
    gender = serializers.ChoiceField([0, 1, 2], required=False, help_text="0 unknown, 1 male, 2 female")
    unionid = Text(required=False, max_length=64, allow_null=True)
    corp_name = Text(required=False, max_length=128)
    position = Text(required=False, max_length=128)
    mobile = mobile_field(required=False, allow_blank=True)
    attributes = Attributes(required=False)
    tags = TagIds(required=False, help_text="Our own tags, by id; those on follows are WeCom's.")
    follows = serializers.ListField(child=FollowBody(), required=False, max_length=MAX_FOLLOWS)
    home = WholeNumber(required=False, min_value=1, max_value=MAX_HOME, help_text="Where to create them.")

    def validate_external_userid(self, value: str) -> str:
        if value != self.context["external_userid"]:
            raise serializers.ValidationError("It differs from the one in the path.", code="differs")
        return value

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            # A choice takes "1" and true for 1.
            wrong = [name for name in ("type", "gender") if name in data and type(data[name]) is not int]
            if wrong:
                raise serializers.ValidationError(
                    {name: serializers.ErrorDetail("A whole number is wanted.", "not_whole") for name in wrong}
                )
        return super().to_internal_value(data)

    def validate_follows(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        userids = [follow["userid"] for follow in value]
        if len(set(userids)) < len(userids):
            raise serializers.ValidationError("A userid may be named once.", code="repeated")
        return value


def read_customer(body: Any, external_userid: str, *, replace: bool, if_version: int | None = None) -> CustomerData:
    """Return what a body says of a customer. replace: fields of ours that it leaves out are emptied.

    Raises ValidationError, which is answered with 400 and the fields that are wrong.
    """
    serializer = CustomerBody(data=body, context={"external_userid": external_userid})
    serializer.is_valid(raise_exception=True)
    given = serializer.validated_data
    fields = {name: given[name] for name in (*WECOM_FIELDS, "mobile", "attributes") if name in given}
    tags = given.get("tags")
    if replace:
        fields = {"mobile": "", "attributes": {}, **fields}
        fields["attributes"] = {name: value for name, value in fields["attributes"].items() if value is not None}
        tags = tags or []
    follows = given.get("follows")
    return CustomerData(
        external_userid,
        fields=fields,
        home=given.get("home"),
        follows=None if follows is None else tuple(_follow(one) for one in follows),
        tag_ids=None if tags is None else tuple(tags),
        merge_attributes=not replace,
        if_version=if_version,
    )


def _follow(given: dict[str, Any]) -> FollowData:
    plain = {name: value for name, value in given.items() if name not in ("mobiles", "tags")}
    return FollowData(**plain, mobiles=tuple(given["mobiles"]), tag_ids=tuple(given["tags"]))


# ---- answers, for the schema -----------------------------------------------------------------------------------------


class TagAnswer(serializers.Serializer):
    id = serializers.CharField()
    name = serializers.CharField()
    group = serializers.CharField()


class PersonalTagAnswer(serializers.Serializer):
    group = serializers.CharField()
    name = serializers.CharField()


class FollowAnswer(serializers.Serializer):
    userid = serializers.CharField()
    remark = serializers.CharField()
    description = serializers.CharField()
    mobiles = serializers.ListField(child=serializers.CharField(), help_text="Masked unless the key has pii:read.")
    add_way = serializers.IntegerField()
    state = serializers.CharField()
    created_at = serializers.DateTimeField()
    lost_at = serializers.DateTimeField(allow_null=True)
    lost_by = serializers.ChoiceField(
        ["", *Follow.LostBy.values], help_text="How it ended: empty while it has not, or where that is not known."
    )
    tags = TagAnswer(many=True)
    personal_tags = PersonalTagAnswer(many=True, help_text="Of this member of staff alone; they have no id.")


class CustomerAnswer(serializers.Serializer):
    customer_id = serializers.IntegerField()
    external_userid = serializers.CharField()
    home = serializers.IntegerField()
    name = serializers.CharField()
    avatar = serializers.CharField()
    type = serializers.IntegerField()
    gender = serializers.IntegerField()
    unionid = serializers.CharField(allow_null=True)
    corp_name = serializers.CharField()
    position = serializers.CharField()
    mobile = serializers.CharField(help_text="Masked unless the key has pii:read.")
    attributes = Attributes()
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    profile = serializers.CharField(allow_null=True)
    profile_updated_at = serializers.DateTimeField(allow_null=True)
    lifecycle = serializers.CharField(allow_null=True)
    purchase_count = serializers.IntegerField()
    interaction_count = serializers.IntegerField()
    total_amount = serializers.CharField(help_text="Yuan, a decimal in a string.")
    last_purchase_at = serializers.DateTimeField(allow_null=True)
    last_interaction_at = serializers.DateTimeField(allow_null=True)
    follows = FollowAnswer(many=True)
    own_tags = serializers.ListField(child=serializers.CharField(), help_text="Ids of our own among the tags.")
    tags = TagAnswer(many=True)


class CustomerPage(serializers.Serializer):
    results = CustomerAnswer(many=True)
    next = serializers.CharField(allow_null=True, help_text="The cursor of the next page; null at the end.")
    unavailable = serializers.ListField(
        child=serializers.IntegerField(), help_text="Homes that could not be asked; `next` comes back to them."
    )


class ErasurePlace(serializers.Serializer):
    rows = serializers.DictField(child=serializers.IntegerField())
    at = serializers.DateTimeField()


class ErasureAnswer(serializers.Serializer):
    id = serializers.UUIDField()
    state = serializers.ChoiceField(["running", "done"])
    requested_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    places = serializers.DictField(child=ErasurePlace(), help_text="Every place that has been cleared.")
    waiting_for = serializers.ListField(child=serializers.CharField(), help_text="Places that cannot be reached now.")
