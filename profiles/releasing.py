"""Put rules in force, and take them back: each audited in the transaction that does it.

    draft ──publish──> published, in force at once or on its valid_from
      ^──withdraw──────┘ while nobody has been judged by it: before its valid_from
    published, older ──roll_back──> a copy of it, published

Whoever comes second finds it done: of two who publish a draft at once one publishes it, of two who roll back to the
same version one makes a copy.
"""

from datetime import date, datetime

from django.db import transaction
from django.utils import timezone

from customers import audit
from profiles import publishing
from profiles.days import day_of
from profiles.models import ProfileRun, RuleVersion
from profiles.publishing import DRAFT, PUBLISHED


class ReleasedError(Exception):
    """It cannot be taken back any more, or there is nothing to go back to; says why in 中文."""


def is_pending(version: RuleVersion) -> bool:
    """Tell whether a version is published and comes into force on a later day."""
    today = day_of(timezone.now())
    return version.state == PUBLISHED and version.valid_from is not None and version.valid_from > today


def list_pending() -> list[RuleVersion]:
    """Return what comes into force later, the next first. Database: one query on control."""
    today = day_of(timezone.now())
    return list(RuleVersion.objects.filter(state=PUBLISHED, valid_from__gt=today).order_by("valid_from", "pk"))


def copy(version: RuleVersion, *, note: str) -> RuleVersion:
    """Return a draft with a version's rules and settings. Raises RuleError. Database: control, one transaction."""
    rule_set = publishing.checked_rule_set_of(version)
    return publishing.save_draft(rule_set.rules, rule_set.default_profile, note=note, settings=rule_set.settings)


def publish(version: int, *, by: str, valid_from: date | None = None, seen: datetime | None = None) -> RuleVersion:
    """Publish a draft, to be in force from valid_from on, or at once; one that is published comes back as it is.

    seen: the changed_at of what somebody has read and agreed to.
    Raises RuleError when it cannot be evaluated, ReleasedError when it says something else than what was seen,
    RuleVersion.DoesNotExist. Database: control, one transaction.
    """
    with transaction.atomic():
        draft = RuleVersion.objects.select_for_update().get(version=version)
        if draft.state == PUBLISHED:
            return draft
        if seen is not None and draft.changed_at != seen:
            raise ReleasedError("打开这一页以后草稿又改过，请看过现在的内容再发布")
        draft.valid_from = valid_from
        draft.save(update_fields=["valid_from"])
        published = publishing.publish(version, by=by)
        audit.record(by, "publish_rules", detail=_detail(published))
    return published


def roll_back(version: int, *, by: str) -> RuleVersion:
    """Publish a copy of an older version, in force at once. Returns the copy, or what is in force if it is the same.

    Raises ReleasedError, and RuleError when it cannot be evaluated any more. Database: control, one transaction.
    """
    with transaction.atomic():
        # Everybody who rolls back waits here for who is before them.
        list(RuleVersion.objects.select_for_update().filter(state=PUBLISHED).order_by("pk").values_list("pk"))
        older = RuleVersion.objects.get(version=version)
        if older.state != PUBLISHED or is_pending(older):
            raise ReleasedError("只能回滚到以前使用过的版本")
        current = publishing.current_version()
        if current.pk == older.pk:
            return current
        said = publishing.says(older)
        if said is not None and publishing.says(current) == said:
            return current
        made = copy(older, note=f"回滚到第 {version} 版")
        published = publishing.publish(made.pk, by=by)
        audit.record(by, "roll_back_rules", detail={**_detail(published), "to": version, "from": current.pk})
    return published


def withdraw(version: int, *, by: str) -> RuleVersion:
    """Make a draft again of a version that is not in force yet.

    Raises ReleasedError. Database: control, one transaction.
    """
    with transaction.atomic():
        found = RuleVersion.objects.select_for_update().filter(version=version).first()
        if found is None or not is_pending(found):
            raise ReleasedError("它已经生效，或者还是草稿；已经生效的请回滚到以前的版本")
        if ProfileRun.objects.filter(rule_version=found).exclude(kind=ProfileRun.Kind.BACKTEST).exists():
            raise ReleasedError("已有画像任务按它判断过客户")
        audit.record(by, "withdraw_rules", detail=_detail(found))
        found.state, found.published_at, found.published_by = DRAFT, None, ""
        found.save(update_fields=["state", "published_at", "published_by"])
    return found


def delete_draft(version: int) -> None:
    """Throw a draft away, with its dry runs. Raises ReleasedError. Database: control, one transaction."""
    with transaction.atomic():
        draft = RuleVersion.objects.select_for_update().filter(version=version, state=DRAFT).first()
        if draft is None:
            raise ReleasedError("它已经发布，或者已经删除")
        if ProfileRun.objects.filter(rule_version=draft, state=ProfileRun.State.RUNNING).exists():
            raise ReleasedError("它正在试算，请等试算结束")
        ProfileRun.objects.filter(rule_version=draft, kind=ProfileRun.Kind.BACKTEST).delete()
        draft.delete()


def _detail(version: RuleVersion) -> dict[str, object]:
    valid_from = version.valid_from.isoformat() if version.valid_from else None
    return {"version": version.pk, "note": version.note, "valid_from": valid_from}
