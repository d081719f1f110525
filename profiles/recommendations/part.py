"""Next best actions of a block of customers: in phase 3 of a run (profiles.acting), and in a look at single ones
(profiles.looking). Both judge alike, so that a run right after a look, or after a run, writes nothing.

| stored of customer and rule     | the rule holds                             | it does not hold |
|---------------------------------|--------------------------------------------|------------------|
| nothing, or over                | a new one, unless cooling down             |                  |
| open                            | score, items refreshed where they differ   | withdrawn        |
| open, expires_at has passed     | expired, and a new one                     | expired          |
| open, rule off or deleted       | withdrawn                                  | withdrawn        |
| open, rule broken               | stays until it expires                     |                  |

Cooling down: accepted or dismissed less than cooldown_days ago, or so lately that it may still be undone. A
suggestion's id comes from customer, rule and day: a
repeat, or whoever goes on after a crash, makes the same one, and one withdrawn today opens again. Reason and numbers
are those of when it was made or last refreshed. What is over goes after KEPT_DAYS.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from operator import itemgetter
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
from profiles.recommendations.wording import Figure
from profiles.rules import CentFacts, Needs, holds
from profiles.totals import Block
from scrm import sharding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

logger = structlog.get_logger(__name__)

NAMESPACE = UUID("5c0f6f0e-3a67-4d0b-9d52-6f5d2f9a1f4e")
KEPT_DAYS = 400
NO_RUN = 0  # run_id of what was made or refreshed between the nights
# Suggestions in one statement: between two of them a transaction must not be silent for seconds.
CHUNK = 1_000
PURCHASE_DAY = "last_purchase_day"
OPEN, DECIDED, OLD = 0, 1, 2

HAS_OPEN = "SELECT EXISTS (SELECT 1 FROM recommendations_@ WHERE state = 'open')"
STORED = """
SELECT r.customer_id, r.rule_id,
    CASE WHEN r.state = 'open' THEN 0 WHEN r.decided_at < %(old)s THEN 2 ELSE 1 END,
    r.score::int, r.expires_at, COALESCE(r.decided_at, '-infinity'),
    COALESCE((r.numbers->>'last_purchase_day')::date, '-infinity')
FROM recommendations_@ r
WHERE {r}
  AND (r.state = 'open' OR (r.state IN ('accepted', 'dismissed') AND r.decided_at > %(since)s)
       OR r.decided_at < %(old)s)
"""
STORED_LAYOUT = {
    "customer_id": "bigint", "rule_id": "bigint", "state": "int", "score": "int", "expires_at": "time",
    "decided_at": "time", "purchase_day": "int",
}  # fmt: skip
STORED_ITEMS = """
SELECT r.customer_id, jsonb_path_query_array(r.items, '$[*].id') FROM recommendations_@ r
WHERE {r} AND r.state = 'open' AND r.rule_id = %(rule)s
"""
BOUGHT = """
SELECT i.customer_id, k.number
FROM customer_items_@ i
JOIN unnest(%(items)s::text[]) WITH ORDINALITY AS k (item_id, number) ON k.item_id = i.item_id
WHERE {i} AND i.purchases > 0
"""
BOUGHT_BY = "SELECT DISTINCT i.item_id FROM customer_items_@ i WHERE {i} AND i.purchases > 0"
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
    """Makes, refreshes and ends the suggestions of one bucket.

    Without rules in use it is not active, unless something is open still that they suggested while they were.
    The plan is read anew for each block, after the bucket's lock: see segments.part.SegmentPart.
    run: None for a look at single customers, whose blocks lie scattered over the bucket.
    """

    def __init__(self, run: ProfileRun | None, home: int, bucket: int) -> None:
        self.run_id, self.home, self.bucket = run.pk if run else NO_RUN, home, bucket
        self.is_scattered = run is None
        self.table: Table | None = None
        self.reload()

    def reload(self) -> None:
        """Read what is to be judged now. Database: control, one query, one more where rules ask for segments."""
        self.plan = rules.read_plan()
        self.broken: dict[int, tuple[str, str]] = dict(self.plan.broken)

    @cached_property
    def has_open(self) -> bool:
        """Whether any suggestion of the bucket is open. Database: the home's, a probe of an index."""
        with sharding.cursor(self.home) as cursor:
            cursor.execute(self._on_leaves(HAS_OPEN))
            return bool(cursor.fetchone()[0])

    @property
    def is_active(self) -> bool:
        return bool(self.plan.rules) or self.has_open

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

        Database: in the open transaction on the home, two statements and one for each CHUNK made or refreshed.
        Memory: a chunk's rows, however many rules hold.
        """
        import numpy as np

        chosen = np.zeros(len(judged.block), dtype=bool)
        chosen[rows] = True
        written = self._end(cursor, judged, [one for one in judged.ended if chosen[one[0]]])
        for sql, place in ((REFRESH, "refreshed"), (MAKE, "made")):
            for given in self._chunks(judged, chosen, place):
                written += self._execute(cursor, sql, judged, given)
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
        until = _micros(judged.now - rule.rest)
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
        is_open[open_rows[expired]] = False
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

    def _of(self, block: Block, sql: str) -> tuple[str, dict[str, Any]]:
        """Return a statement about a block's customers, and its parameters. sql: with {r}, {i} for the condition."""
        ids, params = block.column["customer_id"], dict[str, Any]()
        if self.is_scattered:
            where, params["ids"] = "{0}.customer_id = ANY(%(ids)s::bigint[])", columns.array(ids)
        else:
            where = "{0}.customer_id BETWEEN %(first)s AND %(last)s"
            params["first"], params["last"] = int(ids[0]), int(ids[-1])
        return self._on_leaves(sql.format(r=where.format("r"), i=where.format("i"))), params

    def _stored(self, block: Block, now: datetime) -> Stored:
        select, params = self._of(block, STORED)
        params |= {
            "since": now - max((one.rest for one in self.plan.rules), default=timedelta()),
            "old": now - timedelta(days=KEPT_DAYS),
        }
        found = columns.read(self.home, select, params, STORED_LAYOUT)
        row, there = _places(block, found.pop("customer_id"))
        return Stored(row[there], **{name: values[there] for name, values in found.items()})

    def _matches(self, block: Block, wanted: "Column") -> Matches:
        """Return what goes with what those of the block have bought for whom the rule holds."""
        table = self._table(block)
        select, params = self._of(block, BOUGHT)
        found = columns.read(self.home, select, params | {"items": table.items}, BOUGHT_LAYOUT)
        row, there = _places(block, found["customer_id"])
        row, items = row[there], found["number"][there] - 1
        for_them = wanted[row]
        return matching.match(table, row[for_them], items[for_them])

    def _table(self, block: Block) -> Table:
        """Return what goes with what: of single customers, with what they have bought. Ties are settled alike."""
        if self.table is None:
            pairs = ItemAffinity.objects.values_list("item_id", "name", "other_id", "other_name", "score")
            if self.is_scattered:
                with sharding.cursor(self.home) as cursor:
                    cursor.execute(*self._of(block, BOUGHT_BY))
                    pairs = pairs.filter(item_id__in=[item for (item,) in cursor.fetchall()])
            self.table = matching.make_table(list(pairs))
        return self.table

    def _items_differ(self, block: Block, rule: Compiled, open_rows: "Column", matches: Matches) -> "Column":
        """Tell of whom other items are stored than those that match now, in whatever order."""
        import numpy as np

        table = self._table(block)
        known = {item: number for number, item in enumerate(table.items)}
        with sharding.cursor(self.home) as cursor:
            select, params = self._of(block, STORED_ITEMS)
            cursor.execute(select, params | {"rule": rule.rule_id})
            rows = cursor.fetchall()
        size = len(table) + 1
        pairs = [
            (customer_id, known.get(item, size - 1)) for customer_id, items in rows for item in orjson.loads(items)
        ]
        there = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        place, is_there = _places(block, there[:, 0])
        stored = np.unique(place[is_there] * size + there[is_there, 1])
        wanted = matches.rows * size + matches.items
        differs = np.zeros(len(block), dtype=bool)
        differs[np.setxor1d(stored, wanted) // size] = True
        return differs[open_rows]

    # ---- writing -----------------------------------------------------------------------------------------------------
    def _chunks(self, judged: Judged, chosen: "Column", place: str) -> "Iterator[list[dict[str, Any]]]":
        """Yield the rows of what is made or refreshed, by customer, up to CHUNK at a time."""
        import numpy as np

        found = [rows[chosen[rows]] for rows in (getattr(one, place) for one in judged.suggested)]
        if not found:
            return
        row = np.concatenate(found)
        number = np.repeat(np.arange(len(found)), [len(rows) for rows in found])
        order = np.lexsort((number, row))
        writers = [Writer(self.table, one, judged) for one in judged.suggested]
        for start in range(0, len(order), CHUNK):
            part = order[start : start + CHUNK]
            rows, numbers = row[part], number[part]
            given = [
                one for which in np.unique(numbers).tolist() for one in writers[which].rows(rows[numbers == which])
            ]
            given.sort(key=itemgetter("customer_id"))
            yield given

    def _execute(self, cursor: Any, sql: str, judged: Judged, rows: Sequence[dict[str, Any]]) -> int:
        if not rows:
            return 0
        params = {"rows": orjson.dumps(rows).decode(), "run_id": self.run_id, "now": judged.now}
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


class Writer:
    """Writes rows of one rule's suggestions. What is the same for many (a number, an item) is written once."""

    def __init__(self, table: Table | None, suggested: Suggested, judged: Judged) -> None:
        self.table, self.suggested, self.judged = table, suggested, judged
        self.known: dict[str, dict[Any, tuple[Any, str]]] = {one.name: {} for one in suggested.rule.figures}
        self.items: dict[tuple[int, int], dict[str, str]] = {}

    def rows(self, rows: "Column") -> Iterator[dict[str, Any]]:
        rule, judged = self.suggested.rule, self.judged
        ids = judged.block.column["customer_id"][rows].tolist()
        figures = [self._figure(one, rows) for one in rule.figures]
        names = [one.name for one in rule.figures]
        last = judged.block.facts[PURCHASE_DAY][rows].tolist() if rule.action == Action.WIN_BACK else None
        same = {
            "rule_id": rule.rule_id,
            "action": str(rule.action),
            "expires_at": (judged.now + timedelta(days=rule.expires_days)).isoformat(),
        }
        make_id = id_maker(rule.rule_id, judged.as_of)
        scores, items = self.suggested.scores[rows].tolist(), self._items(rows)
        for place, customer_id in enumerate(ids):
            numbers = {name: values[place][0] for name, values in zip(names, figures, strict=True)}
            if last is not None:
                numbers[PURCHASE_DAY] = last[place].isoformat() if isinstance(last[place], date) else None
            texts = {name: values[place][1] for name, values in zip(names, figures, strict=True)}
            those = items[place] if items else []
            yield {
                **same,
                "customer_id": customer_id,
                "recommendation_id": make_id(customer_id),
                "score": scores[place],
                "reason": rule.wording.put(
                    texts, items="、".join([one["name"] for one in those]), because=those[0]["because"] if those else ""
                ),
                "numbers": numbers,
                "items": those,
            }

    def _figure(self, figure: Figure, rows: "Column") -> list[tuple[Any, str]]:
        known, as_of = self.known[figure.name], self.judged.as_of
        values = self.judged.block.facts[figure.key][rows].tolist()
        for value in set(values) - known.keys():
            number = figure.read(value, as_of)
            known[value] = (number, figure.show(number))
        return [known[value] for value in values]

    def _items(self, rows: "Column") -> list[list[dict[str, str]]]:
        if self.suggested.matches is None or self.table is None:
            return []
        found = self.suggested.matches
        starts, stops = found.spans(rows)
        items, because = found.items.tolist(), found.because.tolist()
        return [
            [self._item(items[place], because[place]) for place in range(start, stop)]
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
        ]

    def _item(self, item: int, why: int) -> dict[str, str]:
        table, found = self.table, self.items.get((item, why))
        if found is None:
            assert table is not None
            found = {"id": table.items[item], "name": table.names[item], "because": table.names[why]}
            self.items[item, why] = found
        return found


def id_maker(rule_id: int, day: date) -> Callable[[int], str]:
    """Return what makes recommendation_id() of customers, as hexadecimal digits: uuid5, without an object for each.

    >>> UUID(id_maker(7, date(2026, 11, 26))(1000000000003)) == recommendation_id(1000000000003, 7, date(2026, 11, 26))
    True
    """
    begun, end = hashlib.sha1(NAMESPACE.bytes, usedforsecurity=False), f"/{rule_id}/{day.isoformat()}"

    def make(customer_id: int) -> str:
        digest = begun.copy()
        digest.update(f"{customer_id}{end}".encode())
        found = digest.hexdigest()
        return f"{found[:12]}5{found[13:16]}{'89ab'[int(found[16], 16) & 3]}{found[17:32]}"

    return make


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
