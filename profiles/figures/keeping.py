"""Store the figures of a run, find them again, and thin out old ones. Control database only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import orjson
from django.db import connection, transaction
from django.utils import timezone

from profiles.days import day_of
from profiles.models import DailyFigure, ProfileRun
from scrm import sharding
from scrm.sharding.ids import PER_HOME

KEPT_DAYS = 400

# Moves of several runs of a day stand side by side under their runs' numbers; of the others the newest run's count.
KEEP = """
INSERT INTO daily_figures AS f (kind, day, home, scope, data, run_id, computed_at)
SELECT kind, %(day)s, home, '', data::jsonb, %(run_id)s, %(now)s
FROM unnest(%(kinds)s::text[], %(homes)s::int[], %(data)s::text[]) AS g (kind, home, data)
ORDER BY kind, home
ON CONFLICT (kind, home, scope, day) DO UPDATE
SET data = CASE WHEN f.kind = 'moves' THEN f.data || excluded.data ELSE excluded.data END,
    run_id = GREATEST(f.run_id, excluded.run_id), computed_at = excluded.computed_at
WHERE CASE WHEN f.kind = 'moves' THEN f.data || excluded.data <> f.data
    ELSE f.run_id < excluded.run_id OR (f.run_id = excluded.run_id AND f.data <> excluded.data) END
"""
# Of each kind and home the last one of at most a day: one step into the index for each.
LATEST = """
SELECT kind, home, f.day, f.data
FROM unnest(%(kinds)s::text[]) AS k (kind) CROSS JOIN unnest(%(homes)s::int[]) AS h (home)
CROSS JOIN LATERAL (
    SELECT day, data FROM daily_figures
    WHERE kind = k.kind AND home = h.home AND day <= %(until)s ORDER BY day DESC LIMIT 1
) AS f
"""
MERGE_MOVES = """
UPDATE daily_figures AS f SET data = m.data
FROM (
    SELECT home, max(day) AS day, jsonb_object_agg(key, value) AS data
    FROM daily_figures, jsonb_each(data) WHERE kind = 'moves' AND day < %(before)s
    GROUP BY home, date_trunc('month', day)
) AS m
WHERE f.kind = 'moves' AND f.home = m.home AND f.day = m.day
"""
THIN = """
DELETE FROM daily_figures AS f USING (
    SELECT kind, home, max(day) AS day FROM daily_figures WHERE day < %(before)s
    GROUP BY kind, home, date_trunc('month', day)
) AS kept
WHERE f.kind = kept.kind AND f.home = kept.home AND f.day < kept.day
    AND date_trunc('month', f.day) = date_trunc('month', kept.day)
"""
# An id grows with each creation; who was moved in from elsewhere is counted there until the next run.
NEWER = """
SELECT home, count(d.customer_id)
FROM unnest(%(homes)s::int[], %(after)s::bigint[], %(until)s::bigint[]) AS h (home, after, until)
LEFT JOIN directory d ON d.customer_id > h.after AND d.customer_id <= h.until AND d.state = 'live'
    AND NOT EXISTS (SELECT 1 FROM customer_aliases a WHERE a.customer_id = d.customer_id)
GROUP BY home
"""


@dataclass
class Latest:
    """The last figures of a kind. data and days: by home; homes: those that were asked for."""

    homes: Sequence[int]
    data: dict[int, Any] = field(default_factory=dict)
    days: dict[int, date] = field(default_factory=dict)

    @property
    def day(self) -> date | None:
        """The newest day that any home has."""
        return max(self.days.values(), default=None)

    @property
    def stale(self) -> list[int]:
        """The homes whose figures are of an earlier day, or that have none, while others have."""
        return [home for home in self.homes if self.days and self.days.get(home) != self.day]


def keep(run: ProfileRun, found: Mapping[int, Mapping[str, Any]]) -> None:
    """Store {home: {kind: data}} of a run, all or nothing. What is there already stays as it is."""
    rows = [(kind, home, data) for home, kinds in found.items() for kind, data in kinds.items()]
    if not rows:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            KEEP,
            {
                "day": run.as_of,
                "run_id": run.pk,
                "now": timezone.now(),
                "kinds": [kind for kind, _, _ in rows],
                "homes": [home for _, home, _ in rows],
                "data": [orjson.dumps(data).decode() for _, _, data in rows],
            },
        )


def find_latest(
    kinds: Sequence[str], homes: Sequence[int] | None = None, until: date | None = None
) -> dict[str, Latest]:
    """Return the last figures of each kind, as of `until` at the latest. Database: one query."""
    wanted = list(sharding.shard_map().homes) if homes is None else list(homes)
    found = {kind: Latest(wanted) for kind in kinds}
    with connection.cursor() as cursor:
        cursor.execute(LATEST, {"kinds": list(kinds), "homes": wanted, "until": until or date.max})
        for kind, home, day, data in cursor.fetchall():
            found[kind].data[home] = orjson.loads(data) if isinstance(data, str) else data
            found[kind].days[home] = day
    return found


def find_range(kind: str, first: date, last: date, homes: Sequence[int]) -> list[tuple[date, int, Any]]:
    """Return (day, home, data) of the days from first to last, by day. Database: one query."""
    rows = DailyFigure.objects.filter(kind=kind, day__gte=first, day__lte=last, home__in=list(homes))
    return list(rows.order_by("day", "home").values_list("day", "home", "data"))


def find_trend(kind: str, first: date, last: date, homes: Sequence[int]) -> list[tuple[date, int, Any]]:
    """Return the same with the last figure of each home before first. Database: two queries."""
    if first == date.min:
        return find_range(kind, first, last, homes)
    before = find_latest([kind], homes, first - timedelta(days=1))[kind]
    earlier = [(before.days[home], home, data) for home, data in before.data.items()]
    return [*sorted(earlier, key=lambda row: row[:2]), *find_range(kind, first, last, homes)]


def count_newer(last_ids: Mapping[int, int]) -> dict[int, int]:
    """Return how many customers of each home were created since the one with a given id was the newest (0: ever).

    Database: one query on the directory's index of ids; it reads those that are counted.
    """
    homes = sorted(last_ids)
    with connection.cursor() as cursor:
        cursor.execute(
            NEWER,
            {
                "homes": homes,
                "after": [max(last_ids[home], home * PER_HOME) for home in homes],
                "until": [home * PER_HOME + PER_HOME - 1 for home in homes],
            },
        )
        return dict(cursor.fetchall())


def thin(*, today: date | None = None) -> int:
    """Keep only the last figures of each month, of months that ended KEPT_DAYS ago. Returns how many rows are gone.

    Moves are added up: the row that stays has those of all runs of its month.
    """
    limit = (today or day_of(timezone.now())) - timedelta(days=KEPT_DAYS)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(MERGE_MOVES, {"before": limit.replace(day=1)})
        cursor.execute(THIN, {"before": limit.replace(day=1)})
        return int(cursor.rowcount)
