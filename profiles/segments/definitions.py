"""What segments are saved, what of that can be judged now, and why something cannot be saved.

    saved as      [[condition, …], …]: whoever meets all conditions of any group
    refused       with the place and the reason in 中文: groups[0][2].value
    version       grows with each change of the conditions or of being in use; who is in it is then computed anew
    in a plan     dynamic, in use and evaluable, those that others use before them
    broken        named in `error` and in the run's summary; keeps its members, and stops nobody else

Writers of definitions, and of recommendation rules, hold one lock of the control database, so that no two make a circle
or a name twice, and nobody names a segment that somebody else is deleting.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from profiles.models import DeletedSegment, RecommendationRule, Segment
from profiles.rules import Filter, Needs, RuleError
from profiles.segments.order import find_circle, in_order
from scrm.held import Held

MAX_SEGMENTS = 200
# Of all segments in use together: each window is one more sum over daily totals, each tag or value one more column.
MAX_WINDOWS = 40
MAX_VALUES = 1000
MAX_NAME = 64
MAX_DESCRIPTION = 200
DEFINITIONS_LOCK = 0x7365676D656E7473  # "segments"

Kind = Segment.Kind

# {segment: name}, for choices: of a new one other processes learn some seconds late.
segment_names = Held(lambda: dict(Segment.objects.order_by("name").values_list("pk", "name")), seconds=5)

# {segment: its name and when it was deleted}, of those whose history is kept still.
deleted_segments = Held(lambda: {one.pk: one for one in DeletedSegment.objects.all()}, seconds=5)


class SegmentInUseError(Exception):
    """Others use this segment in their conditions. users: their names."""

    def __init__(self, users: Sequence[str]) -> None:
        super().__init__(f"这些人群的条件用到了它：{'、'.join(users)}")
        self.users = list(users)


class SegmentKindError(Exception):
    """A dynamic segment was given members, or a static one conditions."""


@dataclass(frozen=True)
class Definition:
    """A dynamic segment that can be judged."""

    segment_id: int
    name: str
    version: int
    filter: Filter


@dataclass(frozen=True)
class Plan:
    """What is to be judged of each customer.

    judged: in their order. kept: segments whose stored members are what those mean by them (static, not in use, or
    broken). broken: {segment: (name, reason)}.
    """

    judged: tuple[Definition, ...] = ()
    kept: frozenset[int] = frozenset()
    broken: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    known: frozenset[int] = frozenset()

    @property
    def needs(self) -> Needs:
        """The columns of facts to be read, memberships not among them."""
        found = Needs()
        for definition in self.judged:
            found |= definition.filter.needs
        return Needs(frozenset(key for key in found.columns if not key.startswith("segment:")))

    @property
    def stored(self) -> frozenset[int]:
        """The segments whose members are read."""
        return self.kept | {definition.segment_id for definition in self.judged}


def used_segments(filter_: Filter) -> set[int]:
    """Return the segments that conditions name; 0, which is none, for a number that is not spelled as ids are."""
    return {int(one) if one == str(int(one)) else 0 for one in filter_.segments}


def read_plan() -> Plan:
    """Return what is to be judged now. Database: one query on the control database."""
    return plan_of(list(Segment.objects.order_by("pk")))


def plan_of(segments: Sequence[Segment]) -> Plan:
    """Return what of these segments, which are all there are, can be judged and what cannot."""
    known = {one.pk for one in segments}
    names = {one.pk: one.name for one in segments}
    filters: dict[int, Filter] = {}
    broken: dict[int, tuple[str, str]] = {}
    active = [one for one in segments if one.kind == Kind.DYNAMIC and one.is_active]
    for one in active:
        try:
            filters[one.pk] = filter_ = Filter.from_json(one.groups)
            if gone := sorted(used_segments(filter_) - known):
                raise RuleError(f"没有编号为 {gone[0]} 的人群，可能已被删除")
        except RuleError as error:
            filters.pop(one.pk, None)
            broken[one.pk] = (one.name, str(error))
    order, circling = in_order({pk: used_segments(filter_) for pk, filter_ in filters.items()})
    for pk in circling:
        broken[pk] = (names[pk], "条件绕成了一圈，要先判断自己")
    versions = {one.pk: one.version for one in active}
    judged = tuple(Definition(pk, names[pk], versions[pk], filters[pk]) for pk in order)
    kept = frozenset().union(*(used_segments(one.filter) for one in judged)) - set(order) if judged else frozenset()
    return Plan(judged, kept, broken, frozenset(known))


# ------------------------------------------------------------------------------------------------------------- saving
@contextmanager
def definitions_held() -> Iterator[None]:
    """Be the only one who saves definitions of segments, or rules that name them, in one transaction on control."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [DEFINITIONS_LOCK])
        yield
    segment_names.forget()
    deleted_segments.forget()


def create_segment(
    *,
    name: str,
    kind: str = Kind.DYNAMIC,
    groups: object = None,
    description: str = "",
    is_active: bool = True,
    by: str,
) -> Segment:
    """Save a new segment. Nobody is in it yet: see refreshing.recompute.

    Database: control, some six queries. Raises RuleError with place and reason.
    """
    with definitions_held():
        others = list(Segment.objects.order_by("pk"))
        if len(others) >= MAX_SEGMENTS:
            raise RuleError(f"最多 {MAX_SEGMENTS} 个人群，请先删除不用的")
        segment = Segment(kind=_checked_kind(kind), created_by=by[:150], is_active=is_active)
        segment.name = _checked_name(name, others)
        segment.description = _checked_description(description)
        segment.groups = _checked_groups(segment, [] if groups is None else groups, others)
        segment.changed_at = segment.created_at
        segment.save()
    return segment


def change_segment(segment_id: int, changes: Mapping[str, Any]) -> Segment:
    """Save changes of a segment: name, description, groups, is_active; what is not given stays.

    The same again changes nothing, not even the version. Database: control, some six queries.
    Raises RuleError, SegmentKindError, Segment.DoesNotExist.
    """
    with definitions_held():
        others = list(Segment.objects.exclude(pk=segment_id).order_by("pk"))
        segment = Segment.objects.select_for_update().get(pk=segment_id)
        before = (segment.groups, segment.is_active)
        shown_before = (segment.name, segment.description)
        if "name" in changes:
            segment.name = _checked_name(changes["name"], others)
        if "description" in changes:
            segment.description = _checked_description(changes["description"])
        if "is_active" in changes:
            segment.is_active = bool(changes["is_active"])
        if "groups" in changes or (segment.is_active and not before[1]):
            segment.groups = _checked_groups(segment, changes.get("groups", segment.groups), others)
        if (segment.groups, segment.is_active) != before:
            segment.version += 1
            segment.error = ""
        elif (segment.name, segment.description) == shown_before:
            return segment
        segment.changed_at = timezone.now()
        # What is computed meanwhile (counts, progress) is written by others and stays as they leave it.
        segment.save(update_fields=["name", "description", "groups", "is_active", "version", "error", "changed_at"])
    return segment


def delete_segment(segment_id: int, *, by: str = "") -> None:
    """Delete a segment; its name is kept for the history of who was in it, and the keeper takes its members away.

    Raises SegmentInUseError, Segment.DoesNotExist.
    """
    with definitions_held():
        segment = Segment.objects.get(pk=segment_id)
        users = users_of(segment_id, Segment.objects.exclude(pk=segment_id))
        asking = users_of(segment_id, RecommendationRule.objects.all())
        if users or asking:
            raise SegmentInUseError([one.name for one in users] + [f"建议规则「{one.name}」" for one in asking])
        DeletedSegment.objects.create(segment_id=segment.pk, name=segment.name, deleted_by=by[:150])
        segment.delete()


def users_of(segment_id: int, others: Collection[Segment] | Any) -> list[Segment]:
    """Return those of other segments whose conditions name one."""
    return [one for one in others if segment_id in _references(one.groups)]


def _references(groups: Any) -> set[int]:
    """Return the segments named in stored conditions, readable as a filter or not."""
    found: set[int] = set()
    for group in groups if isinstance(groups, list) else []:
        for one in group if isinstance(group, list) else []:
            value = one.get("value") if isinstance(one, dict) and one.get("field") == "segment" else None
            if isinstance(value, str) and value.isascii() and value.isdigit():
                found.add(int(value))
    return found


def _checked_kind(kind: str) -> str:
    if kind not in Kind.values:
        raise RuleError("要是 dynamic 或 static", "kind")
    return kind


def _checked_name(name: str, others: Collection[Segment]) -> str:
    text = name.strip()
    if not text or not text.isprintable():
        raise RuleError("要有名称，且不含控制字符", "name")
    if len(text) > MAX_NAME:
        raise RuleError(f"名称最多 {MAX_NAME} 个字", "name")
    if any(one.name == text for one in others):
        raise RuleError(f"已经有叫“{text}”的人群", "name")
    return text


def _checked_description(text: str) -> str:
    if len(text) > MAX_DESCRIPTION or "\x00" in text:
        raise RuleError(f"说明最多 {MAX_DESCRIPTION} 个字", "description")
    return text.strip()


def _checked_groups(segment: Segment, groups: object, others: Sequence[Segment]) -> list[Any]:
    """Return conditions as they are stored. Raises RuleError under `groups`, SegmentKindError."""
    if segment.kind == Kind.STATIC:
        if groups:
            raise SegmentKindError("静态人群没有条件，成员由人工添加")
        return []
    filter_ = Filter.from_json(groups)
    check_references(segment.pk, segment.name, filter_, others)
    if segment.is_active:
        _check_sum(filter_, others)
    stored: list[Any] = filter_.to_json()
    return stored


def check_references(segment_id: int | None, name: str, filter_: Filter, others: Sequence[Segment]) -> None:
    """Raise RuleError where a condition names a segment that is not there, or that needs this one to be judged."""
    names = {one.pk: one.name for one in others}
    references: dict[int, Collection[int]] = {one.pk: _references(one.groups) for one in others}
    if segment_id is not None:
        names[segment_id] = name
        references[segment_id] = used_segments(filter_)
    for group, conditions in enumerate(filter_.groups):
        for place, condition in enumerate(conditions):
            if condition.field != "segment":
                continue
            path = ("groups", group, place, "value")
            wanted = int(condition.value)
            if wanted not in names or str(wanted) != condition.value:
                raise RuleError(f"没有编号为 {condition.value} 的人群，可能已被删除", *path)
            if segment_id is None:
                continue
            alone = {**references, segment_id: [wanted]}
            if circle := find_circle(alone, segment_id):
                raise RuleError(f"人群循环引用：{' → '.join(names[one] for one in circle)}", *path)


def _check_sum(filter_: Filter, others: Sequence[Segment]) -> None:
    needs = filter_.needs
    for definition in plan_of(others).judged:
        needs |= definition.filter.needs
    if len(needs.windows) > MAX_WINDOWS:
        raise RuleError(f"全部人群用到的时间窗口最多 {MAX_WINDOWS} 种，请改用已有的天数", "groups")
    if sum(":" in key for key in needs.columns) > MAX_VALUES:
        raise RuleError(f"全部人群用到的标签、员工、部门等最多 {MAX_VALUES} 个", "groups")
