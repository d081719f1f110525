"""REST endpoint of identities: parse, call, answer. docs/api.md is the guide."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from customers.claiming import take_identities
from customers.viewing import viewer_of
from scrm.api.endpoints import Endpoint, answer, holder_of
from scrm.api.problems import InvalidError
from scrm.api.schema import problems
from scrm.api.scopes import CUSTOMERS_WRITE
from scrm.api.strict import Text

MAX_IDENTITIES = 1000


class ClaimBody(serializers.Serializer):
    """That a customer is known by a name elsewhere. Each is judged by itself: see `rejected` in the answer."""

    external_userid = Text(max_length=64)
    kind = Text(max_length=32, help_text="unionid, openid, mobile, member_no, or one of IDENTITY_KINDS.")
    value = Text(
        max_length=256, allow_null=True, help_text="In clear; only a digest is kept. null, with replace: none any more."
    )


class IdentitiesBody(serializers.Serializer):
    identities = serializers.ListField(child=ClaimBody(), min_length=1, max_length=MAX_IDENTITIES)
    replace = serializers.BooleanField(
        default=False,
        help_text="Of the customers and kinds named here, this key gives up the values that are not.",
    )


class RefusedIdentity(serializers.Serializer):
    index = serializers.IntegerField(help_text="The item's place in the request, from 0.")
    code = serializers.CharField()
    message = serializers.CharField()


class ClaimedAnswer(serializers.Serializer):
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField(help_text="Known already.")
    rejected = RefusedIdentity(many=True)


class IdentitiesView(Endpoint):
    required_scopes = {"POST": CUSTOMERS_WRITE}
    max_body_bytes = 1024 * 1024

    @extend_schema(
        operation_id="identities_claim",
        request=IdentitiesBody,
        responses={200: ClaimedAnswer, **problems(400, 413, 415)},
    )
    def post(self, request: Request) -> HttpResponse:
        """Say by which unionid, openid, mobile or number up to 1 000 customers are known elsewhere. Repeat as you like.

        Behaviours may then name their customer by it, and those that have been waiting for it are folded in.
        """
        holder = holder_of(request)
        items, replace = read_claims(self.read(request))
        viewer = viewer_of(holder)
        done = take_identities(items, owner=viewer.name, scope=viewer.scope, replace=replace)
        return answer(
            {
                "accepted": done.accepted,
                "duplicates": done.duplicates,
                "rejected": [{"index": one.index, "code": one.code, "message": one.message} for one in done.rejected],
            }
        )


def read_claims(body: dict[str, Any]) -> tuple[list[object], bool]:
    """Return the items of a body, whatever they are, and replace. Raises InvalidError."""
    unknown = sorted(set(body) - {"identities", "replace"})
    if unknown:
        raise InvalidError.of(unknown[0][:80], "unknown", "There are identities and replace, and no other field.")
    items, replace = body.get("identities"), body.get("replace", False)
    if not isinstance(items, list):
        raise InvalidError.of("identities", "not_a_list", "identities is a list of 1 to 1000 objects.")
    if not 1 <= len(items) <= MAX_IDENTITIES:
        code = "too_many" if items else "empty"
        raise InvalidError.of("identities", code, f"identities holds 1 to {MAX_IDENTITIES} items, not {len(items)}.")
    if not isinstance(replace, bool):
        raise InvalidError.of("replace", "not_truth", "replace is true or false.")
    return items, replace
