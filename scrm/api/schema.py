"""What the OpenAPI schema says of every endpoint: keys, problems, strict bodies."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from rest_framework import serializers

from scrm.api.problems import CONTENT_TYPE


class FieldProblem(serializers.Serializer):
    field = serializers.CharField(help_text="A path such as follows[0].userid; empty for the whole.")
    code = serializers.CharField()
    message = serializers.CharField()


class Problem(serializers.Serializer):
    """RFC 9457. Go by `code`; `detail` and messages are for people."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField(required=False)
    errors = FieldProblem(many=True, required=False, help_text="Of `invalid`.")  # type: ignore[assignment]
    fields = serializers.ListField(  # type: ignore[assignment]
        child=serializers.CharField(), required=False, help_text="Of `owned_by_wecom` and the like."
    )
    home = serializers.IntegerField(required=False, help_text="Of `department_unavailable`.")
    department = serializers.CharField(required=False, help_text="Of `department_unavailable`.")


class KeyScheme(OpenApiAuthenticationExtension):
    target_class = "scrm.api.authentication.ApiKeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A key of `manage.py create_api_key`."}


class StrictBody(OpenApiSerializerExtension):
    """Fields that are not named are refused."""

    target_class = "scrm.api.strict.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: str) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return schema | {"additionalProperties": False}


def problems(*statuses: int) -> dict[tuple[int, str], type[Problem]]:
    """Return the responses of these statuses, each a problem, and of those that any endpoint may answer."""
    return {(status, CONTENT_TYPE): Problem for status in sorted({401, 403, 503, *statuses})}
