"""Next best actions in phase 3 of a run: see profiles.acting for the loop.

| stored of customer and rule     | the rule holds                             | it does not hold |
|---------------------------------|--------------------------------------------|------------------|
| nothing, or over                | a new one, unless cooling down             |                  |
| open                            | score, items refreshed where they differ   | withdrawn        |
| open, expires_at has passed     | expired; a new one with the next run       | expired          |
| open, rule off or deleted       | withdrawn                                  | withdrawn        |
| open, rule broken               | stays until it expires                     |                  |

Cooling down: accepted or dismissed less than cooldown_days ago. A suggestion's id comes from customer, rule and day: a
repeat, or whoever goes on after a crash, makes the same one, and one withdrawn today opens again. Reason and numbers
are those of when it was made or last refreshed. What is over goes after KEPT_DAYS.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import orjson
import psycopg
import structlog
from django.db import DatabaseError
from django.utils import timezone

from profiles import columns
from profiles.days import day_of
from profiles.models import Action, ItemAffinity, ProfileRun
from profiles.recommendations import matching, rules, scoring
from profiles.recommendations.matching import Matches, Table
from profiles.recommendations.rules import Compiled, Plan
from profiles.rules import CentFacts, Needs, holds
from profiles.totals import Block
from scrm import sharding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

logger = structlog.get_logger(__name__)

NAMESPACE = UUID("5c0f6f0e-3a67-4d0b-9d52-6f5d2f9a1f4e")
KEPT_DAYS = 400
PURCHASE_DAY = "last_purchase_day"
OPEN, DECIDED, OLD = 0, 1, 2

STORED = """
SELECT r.customer_id, r.rule_id,
    CASE WHEN r.state = 'open' THEN 0 WHEN r.decided_at < %(old)s THEN 2 ELSE 1 END,
    r.score::int, r.expires_at, COALESCE(r.decided_at, '-infinity'),
    COALESCE((r.numbers->>'last_purchase_day')::date, '-infinity')
FROM recommendations_@ r
WHERE r.customer_id BETWEEN %(first)s AND %(last)s
  AND (r.state = 'open' OR (r.state IN ('accepted', 'dismissed') AND r.decided_at > %(since)s)
       OR r.decided_at < %(old)s)
"""
STORED_LAYOUT = {
    "customer_id": "bigint", "rule_id": "bigint", "state": "int", "score": "int", "expires_at": "time",
    "decided_at": "time", "purchase_day": "int",
}  # fmt: skip
STORED_ITEMS = """
SELECT r.customer_id, r.rule_id, r.items FROM recommendations_@ r
WHERE r.customer_id BETWEEN %(first)s AND %(last)s AND r.state = 'open' AND r.action = 'cross_sell'
"""
BOUGHT = """
SELECT i.customer_id, k.number
FROM customer_items_@ i
JOIN unnest(%(items)s::text[]) WITH ORDINALITY AS k (item_id, number) ON k.item_id = i.item_id
WHERE i.customer_id BETWEEN %(first)s AND %(last)s AND i.purchases > 0
"""
BOUGHT_LAYOUT = {"customer_id": "bigint", "number": "bigint"}

END = """
UPDATE recommendations_@ AS r SET state = g.state, decided_at = %(now)s
FROM unnest(%(ids)s::bigint[], %(rules)s::bigint[], %(states)s::text[]) AS g (customer_id, rule_id, state)
WHERE r.customer_id = g.customer_id AND r.rule_id = g.rule_id AND r.state = 'open'
"""
GIVEN = """jsonb_to_recordset(%(rows)s::jsonb) AS g (customer_id bigint, recommendation_id uuid, rule_id bigint,
    action text, score smallint, reason text, numbers jsonb, items jsonb, expires_at timestamptz)"""
REFRESH = f"""
UPDATE recommendations_@ AS r SET score = g.score, reason = g.reason, numbers = g.numbers, items = g.items,
    run_id = %(run_id)s
FROM {GIVEN}
WHERE r.customer_id = g.customer_id AND r.rule_id = g.rule_id AND r.state = 'open'
"""  # noqa: S608 - made of constants
# Nobody who has been erased meanwhile comes back; the row is held, so that an erasure waits.
MAKE = f"""
INSERT INTO recommendations_@ AS r (customer_id, bucket, recommendation_id, rule_id, action, score, reason, numbers,
    items, run_id, made_at, expires_at, state, decided_at, decided_by, note)
SELECT g.customer_id, c.bucket, g.recommendation_id, g.rule_id, g.action, g.score, g.reason, g.numbers, g.items,
    %(run_id)s, %(now)s, g.expires_at, 'open', NULL, '', ''
FROM {GIVEN}
JOIN customers_@ c ON c.customer_id = g.customer_id
ORDER BY g.customer_id
FOR KEY SHARE OF c
ON CONFLICT (customer_id, bucket, recommendation_id) DO UPDATE SET score = excluded.score, reason = excluded.reason,
    numbers = excluded.numbers, items = excluded.items, run_id = excluded.run_id, made_at = excluded.made_at,
    expires_at = excluded.expires_at, state = 'open', decided_at = NULL
WHERE r.state = 'withdrawn'
"""  # noqa: S608
FORGET = """
DELETE FROM recommendations_@ WHERE customer_id = ANY(%(ids)s::bigint[]) AND state <> 'open' AND decided_at < %(old)s
"""


@dataclass
class Suggested:
    """What one rule says of a block: row numbers of who is to have something made or refreshed, and their scores."""

    rule: Compiled
    made: "Column"
    refreshed: "Column"
    scores: "Column"
    matches: Matches | None = None


@dataclass
class Judged:
    """What differs from what is stored. ended: (row, rule, new state); forgotten: rows with something too old."""

    block: Block
    as_of: date
    now: datetime
    touched: "Column"
    suggested: list[Suggested] = field(default_factory=list)
    ended: list[tuple[int, int, str]] = field(default_factory=list)
    forgotten: "Column | None" = None


@dataclass
class Stored:
    """What is stored of a block, by row; rows in no order."""

    row: "Column"
    rule_id: "Column"
    state: "Column"
    score: "Column"
    expires_at: "Column"
    decided_at: "Column"
    purchase_day: "Column"


class RecommendationPart:
    """Makes, refreshes and ends the suggestions of one bucket. Without rules in use it is not active."""

    def __init__(self, run: ProfileRun, home: int, bucket: int) -> None:
        self.run, self.home, self.bucket = run, home, bucket
        self.plan = rules.read_plan()
        self.broken: dict[int, tuple[str, str]] = dict(self.plan.broken)
        self.table: Table | None = None

    @property
    def is_active(self) -> bool:
        return bool(self.plan.rules)

    @property
    def needs(self) -> Needs:
        return self.plan.needs

    def judge(self, block: Block) -> Judged:
        """Find out what differs. Database: one or two COPYs and, for cross-sells, one query on the home's."""
        import numpy as np

        now = timezone.now()
        judged = Judged(block, day_of(now) + timedelta(days=1), now, np.zeros(len(block), dtype=bool))
        if not len(block):
            return judged
        stored = self._stored(block, now)
        facts = CentFacts(block.facts)
        facts["customer_id"] = block.column["customer_id"]
        for rule in self.plan.rules:
            try:
                self._judge_rule(rule, facts, stored, judged)
            except (DatabaseError, psycopg.Error, sharding.ShardingError):
                raise  # the transaction is over
            except Exception as error:
                # A fault of ours, of one rule: the others must not pay for it.
                logger.exception("recommendation_rule_not_judged", rule=rule.rule_id)
                self.broken[rule.rule_id] = (rule.name, f"计算出错：{type(error).__name__}: {error}"[:500])
                rules.name_broken(Plan(broken={rule.rule_id: self.broken[rule.rule_id]}))
        self._end_others(stored, judged)
        return judged

    def write(self, cursor: Any, judged: Judged, rows: "Column") -> int:
        """Write what differs of some rows. Returns how many suggestions were written, made or ended.

        Database: up to four statements, in the open transaction on the home.
        """
        import numpy as np

        chosen = np.zeros(len(judged.block), dtype=bool)
        chosen[rows] = True
        written = self._end(cursor, judged, [one for one in judged.ended if chosen[one[0]]])
        refreshed = [one for s in judged.suggested for one in self._values(judged, s, s.refreshed[chosen[s.refreshed]])]
        written += self._execute(cursor, REFRESH, judged, refreshed)
        made = [one for s in judged.suggested for one in self._values(judged, s, s.made[chosen[s.made]])]
        written += self._execute(cursor, MAKE, judged, sorted(made, key=lambda one: int(one["customer_id"])))
        if judged.forgotten is not None and (old := judged.forgotten[chosen[judged.forgotten]]).size:
            ids = columns.array(judged.block.column["customer_id"][old])
            cursor.execute(self._on_leaves(FORGET), {"ids": ids, "old": judged.now - timedelta(days=KEPT_DAYS)})
            written += cursor.rowcount
        return written

    # ---- judging -----------------------------------------------------------------------------------------------------
    def _judge_rule(self, rule: Compiled, facts: CentFacts, stored: Stored, judged: Judged) -> None:
        import numpy as np

        rows = len(judged.block)
        wanted = holds(rule.filter, facts, judged.as_of)
        matches = None
        if rule.action == Action.CROSS_SELL:
            matches = self._matches(judged.block, wanted)
            similarity = matches.best(rows)
            wanted = wanted & (similarity > 0)
        monetary = np.nan_to_num(np.asarray(facts["monetary_score"], dtype=np.float64)).astype(np.int64)
        scores = scoring.scores(rule.base_score, rule.rate, monetary, None if matches is None else similarity)

        ours = stored.rule_id == rule.rule_id
        is_open, is_cooling = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
        until = _micros(judged.now - timedelta(days=rule.cooldown_days))
        is_cooling[stored.row[ours & (stored.state == DECIDED) & (stored.decided_at > until)]] = True
        theirs = np.flatnonzero(ours & (stored.state == OPEN))
        open_rows = stored.row[theirs]
        is_open[open_rows] = True
        expired = stored.expires_at[theirs] <= _micros(judged.now)
        holding = wanted[open_rows]
        differs = stored.score[theirs] != scores[open_rows]
        if rule.action == Action.WIN_BACK:
            differs |= stored.purchase_day[theirs] != _days(facts[PURCHASE_DAY])[open_rows]
        if matches is not None and len(open_rows):
            differs |= self._items_differ(judged.block, rule, open_rows, matches)

        self._note_ended(judged, rule.rule_id, open_rows[expired], "expired")
        self._note_ended(judged, rule.rule_id, open_rows[~expired & ~holding], "withdrawn")
        made = np.flatnonzero(wanted & ~is_open & ~is_cooling)
        refreshed = np.sort(open_rows[~expired & holding & differs])
        if len(made) or len(refreshed):
            judged.touched[made] = judged.touched[refreshed] = True
            judged.suggested.append(Suggested(rule, made, refreshed, scores, matches))

    def _end_others(self, stored: Stored, judged: Judged) -> None:
        """End what rules suggested that are not in use any more, or are broken and due; forget what is too old."""
        import numpy as np

        is_judged = np.isin(stored.rule_id, [one.rule_id for one in self.plan.rules if one.rule_id not in self.broken])
        is_broken = np.isin(stored.rule_id, list(self.broken))
        expired = stored.expires_at <= _micros(judged.now)
        is_open = (stored.state == OPEN) & ~is_judged
        for state, flags in (("expired", is_open & expired), ("withdrawn", is_open & ~expired & ~is_broken)):
            for place in np.flatnonzero(flags).tolist():
                self._note_ended(judged, int(stored.rule_id[place]), stored.row[place : place + 1], state)
        old = np.unique(stored.row[stored.state == OLD])
        if len(old):
            judged.forgotten = old
            judged.touched[old] = True

    def _note_ended(self, judged: Judged, rule_id: int, rows: "Column", state: str) -> None:
        judged.touched[rows] = True
        judged.ended += [(row, rule_id, state) for row in rows.tolist()]

    # ---- reading -----------------------------------------------------------------------------------------------------
    def _on_leaves(self, sql: str) -> str:
        return columns.on_leaves(sql, self.bucket)

    def _span(self, block: Block) -> dict[str, Any]:
        ids = block.column["customer_id"]
        return {"first": int(ids[0]), "last": int(ids[-1])}

    def _stored(self, block: Block, now: datetime) -> Stored:
        longest = max(one.cooldown_days for one in self.plan.rules)
        params = self._span(block) | {
            "since": now - timedelta(days=longest),
            "old": now - timedelta(days=KEPT_DAYS),
        }
        found = columns.read(self.home, self._on_leaves(STORED), params, STORED_LAYOUT)
        row, there = _places(block, found.pop("customer_id"))
        return Stored(row[there], **{name: values[there] for name, values in found.items()})

    def _matches(self, block: Block, wanted: "Column") -> Matches:
        """Return what goes with what those of the block have bought for whom the rule holds."""
        table = self._table()
        params = self._span(block) | {"items": table.items}
        found = columns.read(self.home, self._on_leaves(BOUGHT), params, BOUGHT_LAYOUT)
        row, there = _places(block, found["customer_id"])
        row, items = row[there], found["number"][there] - 1
        for_them = wanted[row]
        return matching.match(table, row[for_them], items[for_them])

    def _table(self) -> Table:
        if self.table is None:
            pairs = ItemAffinity.objects.values_list("item_id", "name", "other_id", "other_name", "score")
            self.table = matching.make_table(list(pairs))
        return self.table

    def _items_differ(self, block: Block, rule: Compiled, open_rows: "Column", matches: Matches) -> "Column":
        import numpy as np

        with sharding.cursor(self.home) as cursor:
            cursor.execute(self._on_leaves(STORED_ITEMS), self._span(block))
            stored = {
                customer_id: {one["id"] for one in orjson.loads(items)}
                for customer_id, rule_id, items in cursor.fetchall()
                if rule_id == rule.rule_id
            }
        table, ids = self._table(), block.column["customer_id"]
        return np.array(
            [
                stored.get(int(ids[row])) != {table.items[item] for item in matches.items[matches.of(row)].tolist()}
                for row in open_rows.tolist()
            ],
            dtype=bool,
        )

    # ---- writing -----------------------------------------------------------------------------------------------------
    def _values(self, judged: Judged, suggested: Suggested, rows: "Column") -> Iterable[dict[str, Any]]:
        rule, facts, ids = suggested.rule, judged.block.facts, judged.block.column["customer_id"]
        for row in rows.tolist():
            numbers: dict[str, Any] = {one.name: one.read(facts, row, judged.as_of) for one in rule.figures}
            if rule.action == Action.WIN_BACK:
                numbers[PURCHASE_DAY] = _iso(facts[PURCHASE_DAY][row])
            items = self._items(suggested.matches, row)
            reason = rule.wording.write(
                numbers, items=[one["name"] for one in items], because=items[0]["because"] if items else ""
            )
            yield {
                "customer_id": int(ids[row]),
                "recommendation_id": str(recommendation_id(int(ids[row]), rule.rule_id, judged.as_of)),
                "rule_id": rule.rule_id,
                "action": str(rule.action),
                "score": int(suggested.scores[row]),
                "reason": reason,
                "numbers": numbers,
                "items": items,
                "expires_at": (judged.now + timedelta(days=rule.expires_days)).isoformat(),
            }

    def _items(self, matches: Matches | None, row: int) -> list[dict[str, str]]:
        if matches is None:
            return []
        table, those = self._table(), matches.of(row)
        return [
            {"id": table.items[item], "name": table.names[item], "because": table.names[why]}
            for item, why in zip(matches.items[those].tolist(), matches.because[those].tolist(), strict=True)
        ]

    def _execute(self, cursor: Any, sql: str, judged: Judged, rows: Sequence[dict[str, Any]]) -> int:
        if not rows:
            return 0
        params = {"rows": orjson.dumps(rows).decode(), "run_id": self.run.pk, "now": judged.now}
        cursor.execute(self._on_leaves(sql), params)
        return int(cursor.rowcount)

    def _end(self, cursor: Any, judged: Judged, ended: Sequence[tuple[int, int, str]]) -> int:
        if not ended:
            return 0
        ids = judged.block.column["customer_id"]
        cursor.execute(
            self._on_leaves(END),
            {
                "ids": columns.array([int(ids[row]) for row, _, _ in ended]),
                "rules": columns.array([rule_id for _, rule_id, _ in ended]),
                "states": [state for _, _, state in ended],
                "now": judged.now,
            },
        )
        return int(cursor.rowcount)


def recommendation_id(customer_id: int, rule_id: int, day: date) -> UUID:
    """Return the id of what a rule suggests for a customer on a day: the same, whoever makes it."""
    return uuid5(NAMESPACE, f"{customer_id}/{rule_id}/{day.isoformat()}")


def _places(block: Block, ids: "Column") -> "tuple[Column, Column]":
    """Return the row of each customer_id, and whether it is in the block at all."""
    import numpy as np

    own = block.column["customer_id"]
    row = np.searchsorted(own, ids)
    there = row < len(own)
    there[there] = own[row[there]] == ids[there]
    return row, there


def _micros(moment: datetime) -> int:
    """Return a moment as columns keep it: microseconds since 2000-01-01 UTC."""
    return (moment - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _days(column: "Column") -> "Column":
    """Return days as columns keep them: since 2000-01-01, NO_DAY for none."""
    import numpy as np

    days = np.asarray(column, dtype="datetime64[D]")
    numbers = (days - np.datetime64(columns.EPOCH, "D")).astype(np.int64)
    return np.where(np.isnat(days), columns.NO_DAY, numbers)


def _iso(value: Any) -> str | None:
    day = value.item() if hasattr(value, "item") else value
    return day.isoformat() if isinstance(day, date) else None
