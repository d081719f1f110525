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

Dirty marks are read first. Whatever is recorded while the other statements run has changed its customer's mark, so that
the mark stays and the customer is judged again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from profiles import columns
from profiles.days import day_zone
from profiles.rules import Needs
from scrm import sharding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

BLOCK_SIZE = 20_000

# Figures as they are stored on a customer, in cents and columns' times.
FIGURES = ("purchase_count", "interaction_count", "total_amount", "last_purchase_at", "last_interaction_at")
STORED = """
SELECT c.customer_id, c.purchase_count, c.interaction_count, (c.total_amount * 100)::bigint,
    COALESCE(c.last_purchase_at, '-infinity'), COALESCE(c.last_interaction_at, '-infinity')
FROM customers_@ c WHERE {c} ORDER BY 1
"""
STORED_LAYOUT = {
    "customer_id": "bigint", "purchase_count": "int", "interaction_count": "int", "total_amount": "bigint",
    "last_purchase_at": "time", "last_interaction_at": "time",
}  # fmt: skip

MARKS = "SELECT d.customer_id, d.mark, COALESCE(d.last_day, '-infinity') FROM dirty_customers_@ d WHERE {d}"
REVIEWS = "SELECT v.customer_id, v.review_on FROM profile_reviews_@ v WHERE {v}"
# flags: 1 if figures differ from the stored ones, 2 if totals go beyond as_of. They are compared here because each
# column that is sent costs a twentieth of the reading; {more} are those that only some rules need.
BASE = """
SELECT c.customer_id,
    CASE WHEN c.profile IS NULL THEN 0 ELSE COALESCE(array_position(%(names)s::text[], c.profile), -1) END,
    CASE WHEN c.purchase_count = COALESCE(r.purchase_count - r.refund_count, 0)
        AND c.interaction_count = COALESCE(r.interaction_count, 0)
        AND c.total_amount = COALESCE(r.purchase_amount - r.refund_amount, 0)
        AND COALESCE(c.last_purchase_at, '-infinity') = COALESCE(r.last_purchase_at, '-infinity')
        AND COALESCE(c.last_interaction_at, '-infinity') = COALESCE(r.last_interaction_at, '-infinity')
        THEN 0 ELSE 1 END + CASE WHEN r.last_day >= %(as_of)s THEN 2 ELSE 0 END,
    COALESCE(r.purchase_count - r.refund_count, 0), COALESCE(r.interaction_count, 0),
    COALESCE(((r.purchase_amount - r.refund_amount) * 100)::bigint, 0),
    COALESCE(r.last_purchase_at, '-infinity'), COALESCE(r.last_interaction_at, '-infinity'){more}
FROM customers_@ c LEFT JOIN running_totals_@ r ON r.customer_id = c.customer_id AND {r}
WHERE {c}
ORDER BY c.customer_id
"""
BASE_LAYOUT = {
    "customer_id": "bigint", "profile": "int", "flags": "int", "purchase_count": "int", "interaction_count": "int",
    "total_amount": "bigint", "last_purchase_at": "time", "last_interaction_at": "time",
}  # fmt: skip
# Both of kind int.
MORE = {"refund_count": "COALESCE(r.refund_count, 0)", "first_day": "COALESCE(r.first_day, '-infinity')"}

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

    column: those of BASE_LAYOUT, the figures being as of the run's day; mark (0 for none), mark_day and review_on; and
    `differs`, whether the figures are not those stored. profile: a place in names from 1, 0 for none.
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
    """Reads the customers of one bucket block by block, with the facts that are needed. names: classes to expect.

    Database: outside transactions, one query for a block's end and one COPY for its customers, then one COPY each for
    windows, tags, follows and customers whose totals go beyond as_of, where there are such.
    Memory: some 10 MB a block, whatever the bucket's size. Raises HomeUnavailableError.
    """

    def __init__(
        self, home: int, bucket: int, as_of: date, needs: Needs, *, only_due: bool, names: Sequence[str] = ()
    ) -> None:
        self.home, self.bucket, self.as_of, self.only_due = home, bucket, as_of, only_due
        self.needed = needs.columns
        self.more = sorted(self.needed & MORE.keys())
        self.windows = sorted(needs.windows)
        self.tags = sorted(needs.tags)
        self.names = list(dict.fromkeys(names))
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
        # Before the customers: what is recorded from here on has changed the mark.
        marks = self._read(
            MARKS.format(d=picked.where("d")), picked, {"customer_id": "bigint", "mark": "bigint", "day": "int"}
        )
        reviews = self._read(REVIEWS.format(v=picked.where("v")), picked, {"customer_id": "bigint", "day": "int"})
        more = "".join(f", {MORE[name]}" for name in self.more)
        select = BASE.format(c=picked.where("c"), r=picked.where("r"), more=more)
        layout = BASE_LAYOUT | dict.fromkeys(self.more, "int")
        for _ in range(2):
            found = self._read(select, picked, layout, names=self.names)
            unknown = found["customer_id"][found["profile"] < 0]
            if not len(unknown):
                break
            # A class that no rule gives any more, of which no count was kept: rare, so asked for only then.
            self._learn_names(
                "SELECT DISTINCT profile FROM customers_@ WHERE customer_id = ANY(%s::bigint[])",
                [columns.array(unknown)],
            )
        block = Block(picked.last, picked.is_last, self.names, found)
        found["mark"] = _spread(block, marks["customer_id"], marks["mark"], 0)
        found["mark_day"] = _spread(block, marks["customer_id"], marks["day"], columns.NO_DAY)
        found["review_on"] = _spread(block, reviews["customer_id"], reviews["day"], columns.NO_DAY)
        return block

    def _learn_names(self, asked: str, params: list[Any]) -> None:
        with sharding.cursor(self.home) as cursor:
            cursor.execute(self._on_leaves(asked), params)
            self.names = list(
                dict.fromkeys([*self.names, *(name for (name,) in cursor.fetchall() if name is not None)])
            )

    def _read(self, select: str, picked: Picked, layout: Mapping[str, str], **params: Any) -> "dict[str, Column]":
        keys = picked.params | {"as_of": self.as_of} | params
        return columns.read(self.home, self._on_leaves(select), keys, layout)

    def _correct_totals(self, picked: Picked, block: Block) -> None:
        """Take the totals of those whose running ones go beyond as_of from their days before it."""
        import numpy as np

        column = block.column
        column["differs"] = column["flags"] == 1
        ahead = np.flatnonzero(column["flags"] & 2)
        if not len(ahead):
            return
        if len(ahead) < len(block) / 2:
            picked = replace(picked, ids=column["customer_id"][ahead])
        figures = (*FIGURES, *self.more)
        sums = self._sum_days(picked, {figure: ("", figure) for figure in figures}, None)
        for figure in figures:  # who is not in the sums has no day before as_of
            column[figure][ahead] = _spread(block, sums["customer_id"], sums[figure], _nothing(figure))[ahead]
        stored = self._read(STORED.format(c=picked.where("c")), picked, STORED_LAYOUT)
        for figure in FIGURES:
            there = _spread(block, stored["customer_id"], stored[figure], _nothing(figure))
            column["differs"][ahead] |= column[figure][ahead] != there[ahead]

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
        return self._read(select, picked, layout, since=since)

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
            found = self._read(FOLLOWS.format(f=picked.where("f")), picked, {"customer_id": "bigint", "n": "bigint"})
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
        found = self._read(select, picked, {"customer_id": "bigint", "tag": "int"}, tags=self.tags)
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
