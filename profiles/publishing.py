"""Versions of the rules: written as a draft, published once, never changed after that.

    draft       may be written over as often as wanted; no run looks at it
    published   never changes, as history refers to it; each run pins one when it starts

In force is the published one that came into force last: on its `valid_from`, or on the day it was published if that is
later or nothing is said. So of two that are published for the 1st and the 15th the first is in force for two weeks.

A draft that cannot be evaluated is refused when it is saved and when it is published (RuleError with the place of the
mistake). Should a published rule be one that this program cannot evaluate after all - it was written behind our back,
or by another release - a run passes it by, names it, and goes on with the others.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest, TruncDate
from django.utils import timezone

from profiles.days import day_of, day_zone
from profiles.models import Rule, RuleVersion
from profiles.rules import (
    Condition,
    RuleError,
    RuleSet,
    Settings,
    conditions_to_json,
    from_json,
    read_leniently,
    settings_to_json,
)
from profiles.rules import Rule as ParsedRule
from profiles.vocabulary import channel_names

logger = structlog.get_logger(__name__)

DRAFT, PUBLISHED = RuleVersion.State.DRAFT, RuleVersion.State.PUBLISHED


class PublishedError(Exception):
    """A published version was to be changed: make a new draft."""


def current_version(on: date | None = None) -> RuleVersion:
    """Return the version in force on a day (today if none is given). Database: one query on the control database.

    Raises RuleError if there is none.
    """
    day = on or day_of(timezone.now())
    # GREATEST passes by what is null.
    since = Greatest(F("valid_from"), TruncDate("published_at", tzinfo=day_zone()))
    versions = RuleVersion.objects.filter(state=PUBLISHED).annotate(since=since)
    version = versions.filter(since__lte=day).order_by("-since", "-published_at", "-version").first()
    if version is None:  # of a day before the first was published, as where a clock is behind by a midnight
        version = versions.filter(valid_from=None).order_by("since", "published_at", "version").first()
    if version is None:
        raise RuleError("没有已生效的规则，请先发布一个版本")
    return version


def current() -> RuleSet:
    """Return the rules in force. Database: two queries on the control database. Raises RuleError."""
    return rule_set_of(current_version())


def rule_set_of(version: RuleVersion) -> RuleSet:
    """Return what a run judges by: the rules of a version, published or not, with those that are broken kept in place.

    Rows are read in their order; a position in RuleSet, and so in the history, counts them from 1. RuleSet.broken names
    those that nobody meets. Raises RuleError only where there is nothing to judge by.
    Database: one query on the control database.
    """
    return read_leniently(version.version, version.default_profile, _rows(version), version.settings)


def checked_rule_set_of(version: RuleVersion) -> RuleSet:
    """Return the rules of a version. Raises RuleError with the place of the first mistake. Database: as above."""
    found = from_json(
        {
            "version": version.version, "default_profile": version.default_profile, "rules": _rows(version),
            "settings": version.settings,
        }
    )  # fmt: skip
    _check(found)
    return found


def _rows(version: RuleVersion) -> list[dict[str, object]]:
    return [dict(row) for row in version.rules.order_by("position").values("profile", "conditions")]


def check_channels(conditions: Iterable[Condition], *path: str | int) -> None:
    """Refuse channels that no behaviour can have come by. Raises RuleError; `path` and an index stand in front."""
    known = channel_names()
    for index, condition in enumerate(conditions):
        if condition.channel is not None and condition.channel not in known:
            names = "、".join(f"{code}（{name}）" for code, name in known.items())
            reason = f"没有 {condition.channel} 这个渠道，可用的有 {names}"
            raise RuleError(reason, *path, index, "channel")


def _check(rule_set: RuleSet) -> None:
    for index, rule in enumerate(rule_set.rules):
        if rule.problem is not None:
            raise rule.problem
        check_channels(rule.conditions, "rules", index, "conditions")


def save_draft(
    rules: Sequence[ParsedRule],
    default_profile: str,
    *,
    note: str = "",
    version: int | None = None,
    settings: Settings | None = None,
    valid_from: date | None = None,
) -> RuleVersion:
    """Store rules as a draft: a new one, or over the draft `version`. valid_from: not before that day.

    Raises RuleError when they are no rule set, PublishedError when that version is not a draft (any more).
    Database: control, one transaction.
    """
    checked = RuleSet(version or 0, tuple(rules), default_profile, settings or Settings())
    _check(checked)
    values: dict[str, Any] = {
        "default_profile": checked.default_profile, "note": note, "settings": settings_to_json(checked.settings),
        "valid_from": valid_from,
    }  # fmt: skip
    with transaction.atomic():
        if version is None:
            draft = RuleVersion.objects.create(**values)
        else:
            found = RuleVersion.objects.select_for_update().filter(version=version, state=DRAFT).first()
            if found is None:
                raise PublishedError(f"Version {version} is not a draft: save these rules as a new one.")
            draft = found
            if says(draft) != (checked.rules, checked.default_profile, checked.settings):
                values["changed_at"] = timezone.now()
            for name, value in values.items():
                setattr(draft, name, value)
            draft.save(update_fields=list(values))
            draft.rules.all().delete()
        Rule.objects.bulk_create(
            Rule(version=draft, position=position, profile=rule.profile, conditions=conditions_to_json(rule.conditions))
            for position, rule in enumerate(checked.rules, start=1)
        )
    return draft


def says(version: RuleVersion) -> object:
    """Return what a version would do, to be compared; None where it cannot be read."""
    try:
        found = checked_rule_set_of(version)
    except RuleError:
        return None
    return found.rules, found.default_profile, found.settings


def publish(version: int, *, by: str) -> RuleVersion:
    """Put a draft in force, at once or from its valid_from on. Pages call releasing.publish, which leaves an audit row.

    Of two who publish the same draft at once both succeed, and one is recorded.
    Nobody is classified by it yet: the next run judges everybody, also if it is of a day that has been run already.
    Raises RuleError when the draft cannot be evaluated; RuleVersion.DoesNotExist.
    Database: control, one transaction.
    """
    with transaction.atomic():
        draft = RuleVersion.objects.select_for_update().get(version=version)
        if draft.state == PUBLISHED:
            return draft
        checked_rule_set_of(draft)
        draft.state, draft.published_at, draft.published_by = PUBLISHED, timezone.now(), by[:150]
        draft.save(update_fields=["state", "published_at", "published_by"])
    logger.info("rules_published", version=version)
    return draft
