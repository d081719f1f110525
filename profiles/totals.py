"""Read a block of customers with what their class hangs on, as columns.

| fact                          | read from                                               | when                  |
|-------------------------------|---------------------------------------------------------|-----------------------|
| figures over all days         | running_totals                                          | last_day before as_of |
|                               | daily_totals, days before as_of                         | otherwise             |
| figures of a window of W days | daily_totals, days in [as_of - W, as_of)                | a rule asks for it    |
| tag:<id>                      | customer_tags, and tag_ids of follows that are not lost | a rule asks for it    |
| follow_count                  | follows that are not lost                               | a rule asks for it    |

purchase_count is purchases less those that are wholly refunded, total_amount what was paid less what was given back,
each on its own day: with a purchase of 100 on Monday that is refunded on Wednesday, a run as of Wednesday counts 1 and
100.00, one as of Thursday 0 and 0.00. Who did nothing has zeros. Tags and follows are those of now, whatever as_of is.

Dirty marks are read first, in the statement that reads the customers. Whatever is recorded while the other statements
run has changed its customer's mark, so that the mark stays and the customer is judged again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from profiles import columns
from profiles.days import day_zone
from profiles.rules import RuleSet, needed_columns, needed_tags, needed_windows
from scrm import sharding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

BLOCK_SIZE = 20_000

# Figures as they are stored on a customer, in cents and columns' times.
FIGURES = ("purchase_count", "interaction_count", "total_amount", "last_purchase_at", "last_interaction_at")

BASE = """
SELECT c.customer_id,
    CASE WHEN c.profile IS NULL THEN 0 ELSE COALESCE(array_position(%(names)s::text[], c.profile), -1) END,
    c.purchase_count, c.interaction_count, (c.total_amount * 100)::bigint,
    COALESCE(c.last_purchase_at, '-infinity'), COALESCE(c.last_interaction_at, '-infinity'),
    COALESCE(v.review_on, '-infinity'), COALESCE(d.mark, 0), COALESCE(d.last_day, '-infinity'),
    COALESCE(r.purchase_count - r.refund_count, 0), COALESCE(r.interaction_count, 0),
    COALESCE(((r.purchase_amount - r.refund_amount) * 100)::bigint, 0),
    COALESCE(r.last_purchase_at, '-infinity'), COALESCE(r.last_interaction_at, '-infinity'),
    COALESCE(r.refund_count, 0), COALESCE(r.first_day, '-infinity'), COALESCE(r.last_day, '-infinity')
FROM customers_@ c
LEFT JOIN running_totals_@ r ON r.customer_id = c.customer_id AND {r}
LEFT JOIN dirty_customers_@ d ON d.customer_id = c.customer_id AND {d}
LEFT JOIN profile_reviews_@ v ON v.customer_id = c.customer_id AND {v}
WHERE {c}
ORDER BY c.customer_id
"""
BASE_LAYOUT = {
    "customer_id": "bigint", "profile": "int", "stored purchase_count": "int", "stored interaction_count": "int",
    "stored total_amount": "bigint", "stored last_purchase_at": "time", "stored last_interaction_at": "time",
    "review_on": "int", "mark": "bigint", "mark_day": "int",
    "purchase_count": "int", "interaction_count": "int", "total_amount": "bigint",
    "last_purchase_at": "time", "last_interaction_at": "time",
    "refund_count": "int", "first_day": "int", "last_day": "int",
}  # fmt: skip

# What a sum over daily totals gives: {figure: (expression, kind)}; {f} is the span's FILTER.
SUMS = {
    "purchase_count": ("COALESCE(sum(t.purchase_count - t.refund_count) {f}, 0)", "bigint"),
    "interaction_count": ("COALESCE(sum(t.interaction_count) {f}, 0)", "bigint"),
    "refund_count": ("COALESCE(sum(t.refund_count) {f}, 0)", "bigint"),
    "total_amount": ("COALESCE(sum(t.purchase_amount - t.refund_amount) {f} * 100, 0)::bigint", "bigint"),
    "refund_amount": ("COALESCE(sum(t.refund_amount) {f} * 100, 0)::bigint", "bigint"),
    "first_day": ("COALESCE(min(t.day) {f}, '-infinity')", "int"),
    "last_purchase_at": ("COALESCE(max(t.last_purchase_at) {f}, '-infinity')", "time"),
    "last_interaction_at": ("COALESCE(max(t.last_interaction_at) {f}, '-infinity')", "time"),
}
ALL_DAYS = (*FIGURES, "refund_count", "first_day")
TAGS = """
SELECT t.customer_id, array_position(%(tags)s::text[], t.tag_id) FROM customer_tags_@ t
WHERE {t} AND t.tag_id = ANY(%(tags)s)
UNION ALL
SELECT f.customer_id, array_position(%(tags)s::text[], tag) FROM follows_@ f, unnest(f.tag_ids) AS tag
WHERE {f} AND f.lost_at IS NULL AND tag = ANY(%(tags)s)
"""
FOLLOWS = "SELECT f.customer_id, count(*) FROM follows_@ f WHERE {f} AND f.lost_at IS NULL GROUP BY f.customer_id"
# A block's end by number of customers, whatever gaps there are between their ids.
EVERYBODY = """
SELECT max(customer_id), count(*) FROM (
    SELECT customer_id FROM customers_@ WHERE customer_id > %(after)s
    ORDER BY customer_id LIMIT %(size)s
) AS block
"""
DUE = """
SELECT customer_id FROM dirty_customers_@ WHERE customer_id > %(after)s
UNION
SELECT customer_id FROM profile_reviews_@ WHERE review_on <= %(as_of)s AND customer_id > %(after)s
"""


@dataclass(frozen=True)
class Picked:
    """Some customers of a bucket: all with after < customer_id <= last, or only those of ids (ascending).

    is_last: nobody is beyond them, but for who has come since. To be told when they are picked: who is erased between
    that and the reading makes the block smaller, not the last.
    """

    after: int
    last: int
    is_last: bool
    ids: "Sequence[int] | Column | None" = None

    def where(self, table: str) -> str:
        """Return the condition that picks them in a table of that alias."""
        within = f"{table}.customer_id > %(after)s AND {table}.customer_id <= %(last)s"
        return within if self.ids is None else f"{within} AND {table}.customer_id = ANY(%(ids)s::bigint[])"

    @property
    def params(self) -> dict[str, Any]:
        listed = {} if self.ids is None else {"ids": columns.array(self.ids)}
        return {"after": self.after, "last": self.last, **listed}


@dataclass
class Block:
    """Customers of one bucket, ascending by customer_id, as columns of one length.

    column: those of BASE_LAYOUT, the figures being as of the run's day. profile: a place in names from 1, 0 for none.
    facts: what rules read, by their keys, amounts in cents. last: the position after this block; is_last: see Picked.
    """

    last: int
    is_last: bool
    names: list[str]
    column: "dict[str, Column]"
    facts: "dict[str, Column]" = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.column["customer_id"])


class Reader:
    """Reads the customers of one bucket block by block, with the facts that a rule set needs.

    Database: outside transactions, one query for a block's end and one COPY for its customers, then one COPY each for
    windows, tags, follows and customers whose totals go beyond as_of, where there are such.
    Memory: some 10 MB a block, whatever the bucket's size. Raises HomeUnavailableError.
    """

    def __init__(self, home: int, bucket: int, as_of: date, rule_set: RuleSet, *, only_due: bool) -> None:
        self.home, self.bucket, self.as_of, self.only_due = home, bucket, as_of, only_due
        self.needed = needed_columns(rule_set)
        self.windows = sorted(needed_windows(rule_set))
        self.tags = sorted(needed_tags(rule_set))
        self.names = list(dict.fromkeys(rule_set.profiles))
        self.knows_names = False

    def count(self) -> int:
        """Return how many customers there are to read now."""
        picked = DUE if self.only_due else "SELECT 1 FROM customers_@"
        asked = f"SELECT count(*) FROM ({picked}) AS picked"  # noqa: S608
        with sharding.cursor(self.home) as cursor:
            cursor.execute(self._on_leaves(asked), {"after": 0, "as_of": self.as_of})
            return int(cursor.fetchone()[0])

    def read(self, after: int, size: int = BLOCK_SIZE) -> Block | None:
        """Return the next block of up to `size` customers beyond `after`; None when nobody is left."""
        picked = self.pick(after, size)
        return None if picked is None else self.read_picked(picked)

    def read_picked(self, picked: Picked) -> Block:
        """Return those of the customers picked who are still there."""
        block = self._read_base(picked)
        self._correct_totals(picked, block)
        self._add_facts(picked, block)
        return block

    def _on_leaves(self, sql: str) -> str:
        return columns.on_leaves(sql, self.bucket)

    def pick(self, after: int, size: int) -> Picked | None:
        """Return who the next block is to consist of; None when nobody is left."""
        keys = {"after": after, "as_of": self.as_of, "size": size}
        with sharding.cursor(self.home) as cursor:
            if not self.only_due:
                cursor.execute(self._on_leaves(EVERYBODY), keys)
                last, count = cursor.fetchone()
                return Picked(after, last, count < size) if count else None
            cursor.execute(self._on_leaves(f"{DUE} ORDER BY customer_id LIMIT %(size)s"), keys)
            ids = [customer_id for (customer_id,) in cursor.fetchall()]
            return Picked(after, ids[-1], len(ids) < size, ids) if ids else None

    def _read_base(self, picked: Picked) -> Block:
        if not self.knows_names:
            self._learn_names("SELECT profile FROM profile_counts WHERE bucket = %s", [self.bucket])
            self.knows_names = True
        select = BASE.format(**{table: picked.where(table) for table in "crdv"})
        for _ in range(2):
            found = columns.read(self.home, self._on_leaves(select), picked.params | {"names": self.names}, BASE_LAYOUT)
            unknown = found["customer_id"][found["profile"] < 0]
            if not len(unknown):
                break
            # A class that no rule gives any more, of which no count was kept: rare, so asked for only then.
            self._learn_names(
                "SELECT DISTINCT profile FROM customers_@ WHERE customer_id = ANY(%s::bigint[])",
                [columns.array(unknown)],
            )
        return Block(picked.last, picked.is_last, self.names, found)

    def _learn_names(self, asked: str, params: list[Any]) -> None:
        with sharding.cursor(self.home) as cursor:
            cursor.execute(self._on_leaves(asked), params)
            self.names = list(
                dict.fromkeys([*self.names, *(name for (name,) in cursor.fetchall() if name is not None)])
            )

    def _correct_totals(self, picked: Picked, block: Block) -> None:
        """Take the totals of those whose running ones go beyond as_of from their days before it."""
        import numpy as np

        ahead = np.flatnonzero(block.column["last_day"] >= columns.day_number(self.as_of))
        if not len(ahead):
            return
        ids = block.column["customer_id"]
        if len(ahead) < len(ids) / 2:
            picked = replace(picked, ids=ids[ahead])
        spans = {figure: ("", figure) for figure in ALL_DAYS}
        sums = self._sum_days(picked, spans, None)
        rows = np.searchsorted(sums["customer_id"], ids[ahead])
        found = np.zeros(len(ahead), dtype=bool)
        inside = rows < len(sums["customer_id"])
        found[inside] = sums["customer_id"][rows[inside]] == ids[ahead][inside]
        for figure in ALL_DAYS:
            block.column[figure][ahead] = _nothing(figure)  # whose days all lie ahead
            block.column[figure][ahead[found]] = sums[figure][rows[found]]

    def _sum_days(
        self, picked: Picked, wanted: "dict[str, tuple[str, str]]", since: date | None
    ) -> "dict[str, Column]":
        """Return sums over daily totals before as_of. wanted: {column: (FILTER clause, figure of SUMS)}."""
        expressions = [SUMS[figure][0].format(f=clause) for clause, figure in wanted.values()]
        layout = {"customer_id": "bigint"} | {name: SUMS[figure][1] for name, (_, figure) in wanted.items()}
        select = (
            f"SELECT t.customer_id, {', '.join(expressions)} FROM daily_totals_@ t WHERE {picked.where('t')} "  # noqa: S608
            f"AND t.day < %(as_of)s {'AND t.day >= %(since)s' if since else ''} GROUP BY t.customer_id ORDER BY 1"
        )
        return columns.read(
            self.home, self._on_leaves(select), picked.params | {"as_of": self.as_of, "since": since}, layout
        )

    def _add_facts(self, picked: Picked, block: Block) -> None:
        column, facts = block.column, block.facts
        for name in self.needed & {"purchase_count", "interaction_count", "refund_count", "total_amount"}:
            facts[name] = column[name]
        zone = day_zone().key
        for name in self.needed & {"last_purchase_day", "last_interaction_day"}:
            facts[name] = columns.as_local_days(column[name.replace("_day", "_at")], zone)
        if "first_day" in self.needed:
            facts["first_day"] = columns.as_days(column["first_day"])
        if self.windows:
            self._add_windows(picked, block)
        if self.tags:
            self._add_tags(picked, block)
        if "follow_count" in self.needed:
            select = self._on_leaves(FOLLOWS.format(f=picked.where("f")))
            found = columns.read(self.home, select, picked.params, {"customer_id": "bigint", "n": "bigint"})
            facts["follow_count"] = _spread(block, found["customer_id"], found["n"], 0)

    def _add_windows(self, picked: Picked, block: Block) -> None:
        wanted: dict[str, tuple[str, str]] = {}
        earliest = self.as_of
        for window in self.windows:
            since = _days_before(self.as_of, window)
            earliest = min(earliest, since)
            for figure in SUMS:
                if f"{figure}[{window}d]" in self.needed:
                    wanted[f"{figure}[{window}d]"] = (f"FILTER (WHERE t.day >= '{since.isoformat()}')", figure)
        sums = self._sum_days(picked, wanted, earliest)
        for name, (_, figure) in wanted.items():
            spread = _spread(block, sums["customer_id"], sums[name], _nothing(figure))
            block.facts[name] = columns.as_days(spread) if figure == "first_day" else spread

    def _add_tags(self, picked: Picked, block: Block) -> None:
        import numpy as np

        select = TAGS.format(t=picked.where("t"), f=picked.where("f"))
        found = columns.read(
            self.home,
            self._on_leaves(select),
            picked.params | {"tags": self.tags},
            {"customer_id": "bigint", "tag": "int"},
        )
        for place, tag in enumerate(self.tags, start=1):
            ids = found["customer_id"][found["tag"] == place]
            block.facts[f"tag:{tag}"] = _spread(block, ids, np.ones_like(ids), 0).astype(bool)


def _nothing(figure: str) -> int:
    return {"time": columns.NO_TIME, "int": columns.NO_DAY}.get(SUMS[figure][1], 0)


def _days_before(day: date, days: int) -> date:
    return day - timedelta(days=min(days, (day - date.min).days))


def _spread(block: Block, ids: "Column", values: "Column", nothing: int) -> "Column":
    """Return a column of the block with the values of some customers; who is not in the block is left out."""
    import numpy as np

    spread = np.full(len(block), nothing, dtype=np.int64)
    place = np.searchsorted(block.column["customer_id"], ids)
    there = place < len(block)
    there[there] = block.column["customer_id"][place[there]] == ids[there]
    spread[place[there]] = values[there]
    return spread
