"""REST endpoint of the rules: what is in force, was, and will be. Read-only: rules are written in the admin."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from profiles import publishing, releasing
from profiles.models import RuleVersion
from profiles.reasons import describe
from profiles.rules import RuleError, format_conditions, settings_to_json
from profiles.views import CURSOR, LIMIT, cursor_of, number_of, shown_time
from scrm.api.endpoints import Endpoint, answer
from scrm.api.parsing import read_limit, read_text, refuse_unknown
from scrm.api.schema import problems
from scrm.api.scopes import PROFILES_READ

STATES = ("draft", "in_force", "pending", "retired")


class RuleAnswer(serializers.Serializer):
    position = serializers.IntegerField()
    profile = serializers.CharField()
    text = serializers.CharField(help_text="As conditions are written: purchase_count > 5")
    words = serializers.ListField(child=serializers.CharField(), help_text="The conditions in Chinese.")
    problem = serializers.CharField(allow_null=True, help_text="Why runs pass it by.")


class RuleVersionAnswer(serializers.Serializer):
    version = serializers.IntegerField()
    state = serializers.ChoiceField(STATES)
    note = serializers.CharField()
    valid_from = serializers.DateField(allow_null=True, help_text="null: from its publication on.")
    published_at = serializers.DateTimeField(allow_null=True)
    default_profile = serializers.CharField()
    problem = serializers.CharField(allow_null=True, help_text="Why none of it can be evaluated; then it has no rules.")
    rules = RuleAnswer(many=True)
    settings = serializers.DictField()


class RuleVersionPage(serializers.Serializer):
    current = serializers.IntegerField(allow_null=True, help_text="The version in force today.")
    results = RuleVersionAnswer(many=True)
    next = serializers.CharField(allow_null=True)


class RulesView(Endpoint):
    required_scopes = {"GET": PROFILES_READ}

    @extend_schema(
        operation_id="profiles_rules_list",
        parameters=[CURSOR, LIMIT],
        responses={200: RuleVersionPage, **problems(400)},
    )
    def get(self, request: Request) -> HttpResponse:
        """List the versions of the rules, the newest first, drafts included, and see which is in force."""
        given = request._request.GET
        refuse_unknown(given, ("cursor", "limit"))
        limit, before = read_limit(given), number_of(read_text(given, "cursor", max_length=100))
        versions = RuleVersion.objects.order_by("-version")
        found = list((versions if before is None else versions.filter(pk__lt=before))[: limit + 1])
        current = _current()
        return answer(
            {
                "current": current,
                "results": [shown_version(one, current) for one in found[:limit]],
                "next": cursor_of(found[limit - 1].pk if len(found) > limit else None),
            }
        )


def _current() -> int | None:
    try:
        return publishing.current_version().pk
    except RuleError:
        return None


def shown_version(version: RuleVersion, current: int | None) -> dict[str, Any]:
    """Return a version as JSON values, with why what cannot be evaluated in it is passed by."""
    shown: dict[str, Any] = {
        "version": version.pk,
        "state": _state(version, current),
        "note": version.note,
        "valid_from": version.valid_from.isoformat() if version.valid_from else None,
        "published_at": shown_time(version.published_at),
        "default_profile": version.default_profile,
        "problem": None,
        "rules": [],
        "settings": version.settings,
    }
    try:
        rule_set = publishing.rule_set_of(version)
    except RuleError as error:
        return shown | {"problem": str(error)}
    rules = [
        {
            "position": position,
            "profile": rule.profile,
            "text": format_conditions(rule.conditions),
            "words": [describe(one) for one in rule.conditions],
            "problem": str(rule.problem) if rule.problem else None,
        }
        for position, rule in enumerate(rule_set.rules, start=1)
    ]
    return shown | {"rules": rules, "settings": settings_to_json(rule_set.settings)}


def _state(version: RuleVersion, current: int | None) -> str:
    if version.state == publishing.DRAFT:
        return "draft"
    if version.pk == current:
        return "in_force"
    return "pending" if releasing.is_pending(version) else "retired"
