"""Make segments and customers, and look at who is in what."""

from typing import Any

from profiles import looking
from profiles.models import Segment, SegmentChange, SegmentMember
from profiles.segments import refreshing
from profiles.segments.definitions import create_segment
from scrm import sharding

HOMES = (100, 101)


def condition(field: str, operator: str, value: object, **more: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value, **more}


def dynamic(name: str, *groups: list[dict[str, Any]], computed: bool = True) -> Segment:
    """Save a dynamic segment, and compute who is in it."""
    segment = create_segment(name=name, groups=list(groups), by="test")
    looking.are_in_use.forget()
    if computed:
        compute()
    return segment


def static(name: str) -> Segment:
    return create_segment(name=name, kind="static", by="test")


def compute() -> int:
    return sum(refreshing.recompute(home) for home in HOMES)


def members(segment: Segment | int) -> set[int]:
    """Return the customer_ids that are stored as members."""
    pk = segment if isinstance(segment, int) else segment.pk
    return {
        one
        for home in HOMES
        for one in SegmentMember.objects.using(sharding.alias(home))
        .filter(segment_id=pk)
        .values_list("customer_id", flat=True)
    }


def changes(segment: Segment) -> list[tuple[int, bool, str]]:
    """Return (customer_id, entered, cause) in the order in which it happened."""
    rows = [
        row
        for home in HOMES
        for row in SegmentChange.objects.using(sharding.alias(home))
        .filter(segment_id=segment.pk)
        .values_list("at", "customer_id", "entered", "cause")
    ]
    return [row[1:] for row in sorted(rows)]
