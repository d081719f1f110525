"""Store the figures of a run, find them again, and thin out old ones. Control database only.

What is not there of a scope is never taken from a wider one, and never added up from smaller ones: who is in two
departments would be counted twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import orjson
from django.db import connection, transaction
from django.utils import timezone

from profiles.days import day_of
from profiles.figures.scopes import EVERYBODY
from profiles.models import DailyFigure, ProfileRun
from scrm import sharding
from scrm.sharding.ids import PER_HOME

KEPT_DAYS = 400

# Of everybody of a home a row of this kind names the scopes that were computed: one of them without a figure of that
# day has nobody there, while any other has no figures yet.
SCOPES = "scopes"
FORGOTTEN = ["classes", "lifecycle", "loss", "segments", "rfm", "value", "cohorts", "actions"]
EMPTY = {"classes": {"classes": {}, "unclassified": 0}}
KEEPERS_LOCK = 0x66696775726573  # "figures"
ROWS_AT_ONCE = 2_000

# {(kind, scope): data as JSON} of one home.
Figures = dict[tuple[str, str], str]

# Moves of several runs of a day stand side by side under their runs' numbers; of the others the newest run's count.
KEEP = """
INSERT INTO daily_figures AS f (kind, day, home, scope, data, run_id, computed_at)
SELECT kind, %(day)s, home, scope, data::jsonb, %(run_id)s, %(now)s
FROM unnest(%(kinds)s::text[], %(homes)s::int[], %(scopes)s::text[], %(data)s::text[]) AS g (kind, home, scope, data)
ORDER BY kind, home, scope
ON CONFLICT (kind, home, scope, day) DO UPDATE
SET data = CASE WHEN f.kind = 'moves' THEN f.data || excluded.data ELSE excluded.data END,
    run_id = GREATEST(f.run_id, excluded.run_id), computed_at = excluded.computed_at
WHERE CASE WHEN f.kind = 'moves' THEN f.data || excluded.data <> f.data
    ELSE f.run_id < excluded.run_id OR (f.run_id = excluded.run_id AND f.data <> excluded.data) END
"""
# What an earlier run of the day kept of scopes in which there is nobody any more.
FORGET = """
DELETE FROM daily_figures AS f
WHERE f.kind = ANY(%(kinds)s) AND f.home = %(home)s AND f.scope = ANY(%(before)s) AND f.day = %(day)s
    AND (f.kind, f.scope) NOT IN (SELECT * FROM unnest(%(found)s::text[], %(scopes)s::text[]))
"""
# Of each kind and home the last one of at most a day: one step into the index for each.
LATEST = """
SELECT kind, home, f.day, f.run_id, f.data
FROM unnest(%(kinds)s::text[]) AS k (kind) CROSS JOIN unnest(%(homes)s::int[]) AS h (home)
CROSS JOIN LATERAL (
    SELECT day, run_id, data FROM daily_figures
    WHERE kind = k.kind AND home = h.home AND scope = '' AND day <= %(until)s ORDER BY day DESC LIMIT 1
) AS f
"""
# Of a scope those of the last day on which it was computed; null where it had nobody.
LATEST_OF_SCOPE = """
SELECT k.kind, h.home, d.day, d.run_id, f.data
FROM unnest(%(homes)s::int[]) AS h (home)
CROSS JOIN LATERAL (
    SELECT day, run_id FROM daily_figures
    WHERE kind = 'scopes' AND home = h.home AND scope = '' AND day <= %(until)s AND data ? %(scope)s
    ORDER BY day DESC LIMIT 1
) AS d
CROSS JOIN unnest(%(kinds)s::text[]) AS k (kind)
LEFT JOIN daily_figures f ON f.kind = k.kind AND f.home = h.home AND f.scope = %(scope)s AND f.day = d.day
"""
# Moves of a month that has been thinned may lie on another day than what else is left of it.
RANGE_OF_SCOPE = """
SELECT day, home, f.data
FROM (
    SELECT day, home, true AS is_computed FROM daily_figures
    WHERE kind = 'scopes' AND home = ANY(%(homes)s) AND scope = '' AND day BETWEEN %(first)s AND %(last)s
        AND data ? %(scope)s
) AS d FULL JOIN (
    SELECT day, home, data FROM daily_figures
    WHERE kind = %(kind)s AND home = ANY(%(homes)s) AND scope = %(scope)s AND day BETWEEN %(first)s AND %(last)s
) AS f USING (day, home)
WHERE is_computed OR %(kind)s = 'moves' ORDER BY day, home
"""
# Only the last figure of cohorts is compared with. In a cohort of one, checks tell who that is. What an older run that
# came later has kept lies within days; the one before may lie further back.
FORGET_CHECKS = """
UPDATE daily_figures SET data = data - 'checks'
WHERE kind = 'cohorts' AND home = %(home)s AND day < %(day)s AND data ? 'checks' AND day >= LEAST(
    %(day)s - 40, (SELECT max(day) FROM daily_figures WHERE kind = 'cohorts' AND home = %(home)s AND scope = ''
        AND day < %(day)s))
"""
COHORTS = """
SELECT f.scope, f.data FROM daily_figures f
WHERE f.kind = 'cohorts' AND f.home = %(home)s AND f.scope = ANY(%(scopes)s) AND f.day = (
    SELECT max(day) FROM daily_figures WHERE kind = 'scopes' AND home = %(home)s AND scope = '' AND day <= %(until)s)
"""
MERGE_MOVES = """
UPDATE daily_figures AS f SET data = m.data
FROM (
    SELECT home, scope, max(day) AS day, jsonb_object_agg(key, value) AS data
    FROM daily_figures, jsonb_each(data) WHERE kind = 'moves' AND day < %(before)s
    GROUP BY home, scope, date_trunc('month', day)
) AS m
WHERE f.kind = 'moves' AND f.home = m.home AND f.scope = m.scope AND f.day = m.day
"""
THIN = """
DELETE FROM daily_figures AS f USING (
    SELECT kind, home, scope, max(day) AS day FROM daily_figures WHERE day < %(before)s
    GROUP BY kind, home, scope, date_trunc('month', day)
) AS kept
WHERE f.kind = kept.kind AND f.home = kept.home AND f.scope = kept.scope AND f.day < kept.day
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


def keep(run: ProfileRun, found: Mapping[int, Figures]) -> None:
    """Store the figures of a run by home, all or nothing. What is there already stays as it is.

    Of scopes a day has those of its newest run alone, but for moves.
    """
    if not found:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        # Of two that keep figures of a day at once the second sees what the first has kept.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [KEEPERS_LOCK])
        for home, figures in found.items():
            _keep_home(cursor, run, home, figures)


def _keep_home(cursor: Any, run: ProfileRun, home: int, figures: Figures) -> None:
    before = DailyFigure.objects.filter(kind=SCOPES, home=home, scope=EVERYBODY, day=run.as_of).first()
    if before is not None and before.run_id > run.pk:
        figures = {key: data for key, data in figures.items() if key[1] == EVERYBODY or key[0] == "moves"}
    elif before is not None and before.data:
        named = {
            "found": [kind for kind, _ in figures], "scopes": [scope for _, scope in figures], "before": before.data,
            "kinds": FORGOTTEN,
        }  # fmt: skip
        cursor.execute(FORGET, {**named, "home": home, "day": run.as_of})
    cursor.execute(FORGET_CHECKS, {"home": home, "day": run.as_of})
    keys = list(figures)
    for first in range(0, len(keys), ROWS_AT_ONCE):
        some = keys[first : first + ROWS_AT_ONCE]
        values = {
            "kinds": [kind for kind, _ in some], "scopes": [scope for _, scope in some], "homes": [home] * len(some),
            "data": [figures[key] for key in some],
        }  # fmt: skip
        cursor.execute(KEEP, {**values, "day": run.as_of, "run_id": run.pk, "now": timezone.now()})


def find_latest(
    kinds: Sequence[str], homes: Sequence[int] | None = None, until: date | None = None, *, scope: str = EVERYBODY
) -> dict[str, Latest]:
    """Return the last figures of each kind, as of `until` at the latest, of one scope. Database: one query."""
    wanted = list(sharding.shard_map().homes) if homes is None else list(homes)
    found = {kind: Latest(wanted) for kind in kinds}
    values: dict[str, Any] = {"kinds": list(kinds), "homes": wanted, "until": until or date.max, "scope": scope}
    with connection.cursor() as cursor:
        cursor.execute(LATEST_OF_SCOPE if scope else LATEST, values)
        for kind, home, day, run_id, data in cursor.fetchall():
            found[kind].data[home] = _data(kind, data)
            if kind == "moves":
                # The last run may have moved nobody of a scope.
                found[kind].data[home].setdefault(str(run_id), [])
            found[kind].days[home] = day
    return found


def _data(kind: str, data: Any) -> Any:
    """Return what a row holds; of a scope that has none what there is of nobody."""
    if data is None:
        return dict(EMPTY.get(kind, {}))
    return orjson.loads(data) if isinstance(data, str) else data


def find_range(
    kind: str, first: date, last: date, homes: Sequence[int], *, scope: str = EVERYBODY
) -> list[tuple[date, int, Any]]:
    """Return (day, home, data) of the days from first to last, by day. Database: one query."""
    if scope:
        values: dict[str, Any] = {"kind": kind, "first": first, "last": last, "homes": list(homes), "scope": scope}
        with connection.cursor() as cursor:
            cursor.execute(RANGE_OF_SCOPE, values)
            return [(day, home, _data(kind, data)) for day, home, data in cursor.fetchall()]
    rows = DailyFigure.objects.filter(kind=kind, scope=scope, day__gte=first, day__lte=last, home__in=list(homes))
    return list(rows.order_by("day", "home").values_list("day", "home", "data"))


def find_trend(
    kind: str, first: date, last: date, homes: Sequence[int], *, scope: str = EVERYBODY
) -> list[tuple[date, int, Any]]:
    """Return the same with the last figure of each home before first. Database: two queries."""
    if first == date.min:
        return find_range(kind, first, last, homes, scope=scope)
    before = find_latest([kind], homes, first - timedelta(days=1), scope=scope)[kind]
    earlier = [(before.days[home], home, data) for home, data in before.data.items()]
    return [*sorted(earlier, key=lambda row: row[:2]), *find_range(kind, first, last, homes, scope=scope)]


def find_cohorts(home: int, scopes: Sequence[str], until: date) -> dict[str, Any]:
    """Return {scope: its figure of cohorts} of the last day that has any of a home. Database: one query."""
    if not scopes:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(COHORTS, {"home": home, "scopes": list(scopes), "until": until})
        return {scope: _data("cohorts", data) for scope, data in cursor.fetchall()}


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
