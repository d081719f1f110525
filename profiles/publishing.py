"""Versions of the rules: written as a draft, published once, never changed after that.

    draft       may be written over as often as wanted; no run looks at it
    published   the newest one is in force: each run pins it when it starts; it never changes, as history refers to it

A draft that cannot be evaluated is refused when it is saved (RuleError with the place of the mistake).
"""

from collections.abc import Sequence

import structlog
from django.db import transaction
from django.utils import timezone

from profiles.models import Rule, RuleVersion
from profiles.rules import Rule as ParsedRule
from profiles.rules import RuleError, RuleSet, conditions_to_json, from_json

logger = structlog.get_logger(__name__)

DRAFT, PUBLISHED = RuleVersion.State.DRAFT, RuleVersion.State.PUBLISHED


class PublishedError(Exception):
    """A published version was to be changed: make a new draft."""


def current_version() -> RuleVersion:
    """Return the version in force. Database: one query on the control database."""
    version = RuleVersion.objects.filter(state=PUBLISHED).order_by("-published_at", "-version").first()
    if version is None:
        raise RuleError("没有已发布的规则，请先发布一个版本")
    return version


def current() -> RuleSet:
    """Return the rules in force. Database: two queries on the control database. Raises RuleError."""
    return rule_set_of(current_version())


def rule_set_of(version: RuleVersion) -> RuleSet:
    """Return the rules of a version, published or not. Database: one query on the control database. Raises RuleError.

    Rows are read in their order; a position in RuleSet, and so in the history, counts them from 1.
    """
    rules = list(version.rules.order_by("position").values("profile", "conditions"))
    return from_json({"version": version.version, "default_profile": version.default_profile, "rules": rules})


def save_draft(
    rules: Sequence[ParsedRule], default_profile: str, *, note: str = "", version: int | None = None
) -> RuleVersion:
    """Store rules as a draft: a new one, or over the draft `version`.

    Raises RuleError when they are no rule set, PublishedError when that version is not a draft (any more).
    Database: control, one transaction.
    """
    checked = RuleSet(version or 0, tuple(rules), default_profile)
    with transaction.atomic():
        if version is None:
            draft = RuleVersion.objects.create(default_profile=checked.default_profile, note=note)
        else:
            found = RuleVersion.objects.select_for_update().filter(version=version, state=DRAFT).first()
            if found is None:
                raise PublishedError(f"Version {version} is not a draft: save these rules as a new one.")
            draft = found
            draft.default_profile, draft.note = checked.default_profile, note
            draft.save(update_fields=["default_profile", "note"])
            draft.rules.all().delete()
        Rule.objects.bulk_create(
            Rule(version=draft, position=position, profile=rule.profile, conditions=conditions_to_json(rule.conditions))
            for position, rule in enumerate(checked.rules, start=1)
        )
    return draft


def publish(version: int, *, by: str) -> RuleVersion:
    """Put a draft in force. Of two who publish the same draft at once both succeed, and one is recorded.

    Nobody is classified by it yet: the next run judges everybody, also if it is of a day that has been run already.
    Raises RuleError when the draft cannot be evaluated; RuleVersion.DoesNotExist.
    Database: control, one transaction.
    """
    with transaction.atomic():
        draft = RuleVersion.objects.select_for_update().get(version=version)
        if draft.state == PUBLISHED:
            return draft
        rule_set_of(draft)
        draft.state, draft.published_at, draft.published_by = PUBLISHED, timezone.now(), by[:150]
        draft.save(update_fields=["state", "published_at", "published_by"])
    logger.info("rules_published", version=version)
    return draft
