"""How many are in segments, and who entered and left day by day: from segment_days, kept by whoever writes members."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import orjson
from django.db import connection

from profiles.models import Segment
from profiles.segments.definitions import Plan
from scrm import sharding
from scrm.sharding.ids import BUCKETS

# A probe of the index for each segment and bucket, however many days are kept.
MEMBERS = f"""
SELECT wanted.segment_id, COALESCE(sum(newest.members), 0)::bigint
FROM unnest(%s::bigint[]) AS wanted (segment_id)
CROSS JOIN generate_series(0, {BUCKETS - 1}) AS bucket
LEFT JOIN LATERAL (
    SELECT d.members FROM segment_days d WHERE d.bucket = bucket.bucket AND d.segment_id = wanted.segment_id
    ORDER BY d.day DESC LIMIT 1) AS newest ON true
GROUP BY wanted.segment_id
"""  # noqa: S608 - made of constants
# Each home's number by itself, so that two who store at once lose nothing of each other's.
STORE = """
UPDATE profiles_segment AS s SET counts = s.counts || g.counts, counted_at = now()
FROM jsonb_to_recordset(%s::jsonb) AS g (id bigint, counts jsonb)
WHERE s.id = g.id AND NOT s.counts @> g.counts
"""
DAYS = """
SELECT d.day, sum(d.entered)::bigint, sum(d.departed)::bigint FROM segment_days d
WHERE d.bucket = ANY(%s) AND d.segment_id = %s AND d.day >= %s GROUP BY d.day
"""


@dataclass(frozen=True)
class Day:
    """entered and left on a day, over all homes that could be asked."""

    day: date
    entered: int
    left: int


def read_counts(home: int, segments: Iterable[int]) -> dict[int, int]:
    """Return {segment: members in a home}. Database: one query on the home's."""
    with sharding.cursor(home) as cursor:
        cursor.execute(MEMBERS, [sorted(segments)])
        return dict(cursor.fetchall())


def store_counts(homes: Iterable[int] | None = None) -> int:
    """Note in each segment how many are in it, by home. Returns how many homes answered.

    Database: one query on control, one on each home, one more on control.
    """
    segments = list(Segment.objects.values_list("pk", flat=True))
    if not segments:
        return 0
    answers = sharding.fan_out(lambda home: read_counts(home, segments), homes)
    rows = [
        {"id": segment, "counts": {str(home): found[segment] for home, found in answers.results.items()}}
        for segment in segments
    ]
    with connection.cursor() as cursor:
        cursor.execute(STORE, [orjson.dumps(rows).decode()])
    return len(answers.results)


def note_broken(broken: Mapping[int, tuple[str, str]], plan: Plan) -> None:
    """Say at each segment why it cannot be judged, or that it can again. Database: control, at most a few updates."""
    for segment, (_name, reason) in broken.items():
        Segment.objects.filter(pk=segment).exclude(error=reason).update(error=reason)
    well = [one.segment_id for one in plan.judged if one.segment_id not in broken]
    Segment.objects.filter(pk__in=well).exclude(error="").update(error="")


def broken_segments() -> list[dict[str, object]]:
    """Return [{id, name, reason}] of segments in use that cannot be judged, for a run's summary."""
    found = Segment.objects.filter(is_active=True).exclude(error="").order_by("pk").values_list("pk", "name", "error")
    return [{"id": pk, "name": name, "reason": error} for pk, name, error in found]


def read_days(segment_id: int, since: date) -> tuple[list[Day], list[int]]:
    """Return who entered and left day by day, ascending, and the homes that could not be asked.

    Database: one query on each home.
    """

    def ask(home: int) -> list[tuple[date, int, int]]:
        with sharding.cursor(home) as cursor:
            cursor.execute(DAYS, [list(range(BUCKETS)), segment_id, since])
            rows: list[tuple[date, int, int]] = cursor.fetchall()
            return rows

    answers = sharding.fan_out(ask)
    total: dict[date, list[int]] = {}
    for rows in answers.results.values():
        for day, entered, left in rows:
            found = total.setdefault(day, [0, 0])
            found[0] += entered
            found[1] += left
    return [Day(day, *total[day]) for day in sorted(total) if any(total[day])], answers.unavailable
