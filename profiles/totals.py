"""Read a block of customers with what their class hangs on, as columns.

| fact                          | read from                                               | when                  |
|-------------------------------|---------------------------------------------------------|-----------------------|
| figures over all days         | running_totals                                          | last_day before as_of |
|                               | daily_totals, days before as_of                         | otherwise             |
| figures of a window of W days | daily_totals, days in [as_of - W, as_of)                | a rule asks for it    |
| figures of a channel          | behaviours, moments before as_of's midnight             | a rule asks for it    |
| tag:<id>                      | customer_tags, and tag_ids of follows that are not lost | a rule asks for it    |
| follow_count, added_day       | follows that are not lost                               | a rule asks for it    |
| what a lifecycle hangs on     | running_totals, else when the customer was created;     | asked for             |
|                               | daily_totals of those who may have come back            |                       |

purchase_count is purchases less those that are wholly refunded, total_amount what was paid less what was given back,
each on its own day: with a purchase of 100 on Monday that is refunded on Wednesday, a run as of Wednesday counts 1 and
100.00, one as of Thursday 0 and 0.00. Of a channel's figures a refund takes if it names that channel itself. Who did
nothing has zeros. Tags and follows are those of now, whatever as_of is.

Dirty marks are read first. Whatever is recorded while the other statements run has changed its customer's mark, so that
the mark stays and the customer is judged again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from profiles import columns
from profiles.days import day_zone, midnight
from profiles.rules import Fact, LifecycleSettings, Needs, lifecycle, read_key
from scrm import sharding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

BLOCK_SIZE = 20_000
# Before any behaviour that is accepted, and within what the database and Python can say in any zone.
EARLIEST = date(1900, 1, 1)

# Figures as they are stored on a customer, in cents and columns' times.
FIGURES = ("purchase_count", "interaction_count", "total_amount", "last_purchase_at", "last_interaction_at")
STORED = """
SELECT c.customer_id, c.purchase_count, c.interaction_count, (c.total_amount * 100)::bigint,
    COALESCE(c.last_purchase_at, '-infinity'), COALESCE(c.last_interaction_at, '-infinity'),
    (c.created_at AT TIME ZONE %(zone)s)::date
FROM customers_@ c WHERE {c} ORDER BY 1
"""
STORED_LAYOUT = {
    "customer_id": "bigint", "purchase_count": "int", "interaction_count": "int", "total_amount": "bigint",
    "last_purchase_at": "time", "last_interaction_at": "time", "created_day": "int",
}  # fmt: skip

MARKS = "SELECT d.customer_id, d.mark, COALESCE(d.last_day, '-infinity') FROM dirty_customers_@ d WHERE {d}"
REVIEWS = "SELECT v.customer_id, v.review_on FROM profile_reviews_@ v WHERE {v}"
# flags: 1 if figures differ from the stored ones, 2 if totals go beyond as_of, and 4 times the place of the lifecycle.
# They are compared here because each column that is sent costs a twentieth of the reading; {more} are those that only
# some need.
BASE = """
SELECT c.customer_id,
    CASE WHEN c.profile IS NULL THEN 0 ELSE COALESCE(array_position(%(names)s::text[], c.profile), -1) END,
    CASE WHEN c.purchase_count = COALESCE(r.purchase_count - r.refund_count, 0)
        AND c.interaction_count = COALESCE(r.interaction_count, 0)
        AND c.total_amount = COALESCE(r.purchase_amount - r.refund_amount, 0)
        AND COALESCE(c.last_purchase_at, '-infinity') = COALESCE(r.last_purchase_at, '-infinity')
        AND COALESCE(c.last_interaction_at, '-infinity') = COALESCE(r.last_interaction_at, '-infinity')
        THEN 0 ELSE 1 END + CASE WHEN r.last_day >= %(as_of)s THEN 2 ELSE 0 END
        + 4 * CASE WHEN c.lifecycle IS NULL THEN 0
            ELSE COALESCE(array_position(%(lifecycles)s::text[], c.lifecycle), 7) END,
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
# All of kind int. begun: the first behaviour's day, else that of the creation.
MORE = {
    "refund_count": "COALESCE(r.refund_count, 0)",
    "purchase_days": "COALESCE(r.purchase_days, 0)",
    "first_day": "COALESCE(r.first_day, '-infinity')",
    "begun": "COALESCE(r.first_day, (c.created_at AT TIME ZONE %(zone)s)::date)",
}
LIFECYCLE_CODES = list(lifecycle.CODES)

# What a sum over daily totals gives: {figure: (expression, kind)}; {f} is the span's FILTER.
SUMS = {
    "purchase_count": ("COALESCE(sum(t.purchase_count - t.refund_count) {f}, 0)", "bigint"),
    "interaction_count": ("COALESCE(sum(t.interaction_count) {f}, 0)", "bigint"),
    "refund_count": ("COALESCE(sum(t.refund_count) {f}, 0)", "bigint"),
    "purchase_days": ("COALESCE(sum((t.purchase_count > 0)::int) {f}, 0)", "bigint"),
    "total_amount": ("COALESCE(sum(t.purchase_amount - t.refund_amount) {f} * 100, 0)::bigint", "bigint"),
    "refund_amount": ("COALESCE(sum(t.refund_amount) {f} * 100, 0)::bigint", "bigint"),
    "first_day": ("COALESCE(min(t.day) {f}, '-infinity')", "int"),
    "last_purchase_at": ("COALESCE(max(t.last_purchase_at) {f}, '-infinity')", "time"),
    "last_interaction_at": ("COALESCE(max(t.last_interaction_at) {f}, '-infinity')", "time"),
}
# The same over raw behaviours, for one channel; {f} is what is to hold of a row.
OF_CHANNEL = {
    "purchase_count": (
        "count(*) FILTER (WHERE b.kind = 'purchase' AND {f}) - count(*) FILTER (WHERE b.undoes_purchase AND {f})",
        "bigint",
    ),
    "interaction_count": ("count(*) FILTER (WHERE b.kind = 'interaction' AND {f})", "bigint"),
    "refund_count": ("count(*) FILTER (WHERE b.undoes_purchase AND {f})", "bigint"),
    "purchase_days": (
        "count(DISTINCT (b.occurred_at AT TIME ZONE %(zone)s)::date) FILTER (WHERE b.kind = 'purchase' AND {f})",
        "bigint",
    ),
    "total_amount": (
        "COALESCE(sum(CASE b.kind WHEN 'purchase' THEN b.amount WHEN 'refund' THEN -b.amount END) "
        "FILTER (WHERE {f}) * 100, 0)::bigint",
        "bigint",
    ),
    "refund_amount": ("COALESCE(sum(b.amount) FILTER (WHERE b.kind = 'refund' AND {f}) * 100, 0)::bigint", "bigint"),
    "first_day": (
        "COALESCE((min(b.occurred_at) FILTER (WHERE {f}) AT TIME ZONE %(zone)s)::date, '-infinity')", "int"
    ),
    "last_purchase_day": (
        "COALESCE((max(b.occurred_at) FILTER (WHERE b.kind = 'purchase' AND {f}) AT TIME ZONE %(zone)s)::date, "
        "'-infinity')",
        "int",
    ),
    "last_interaction_day": (
        "COALESCE((max(b.occurred_at) FILTER (WHERE b.kind = 'interaction' AND {f}) AT TIME ZONE %(zone)s)::date, "
        "'-infinity')",
        "int",
    ),
}  # fmt: skip
# When those who may have come back were active: the first day of the last `return_days`, and the last one before. Found
# from the end of each one's days in the index, which names the bucket for that; the first only of those who were away
# long enough. (Subqueries, not joins: those are planned as wholes here.)
ACTIVE = """
SELECT asked.customer_id, COALESCE(CASE WHEN asked.before < %(away)s THEN (
        SELECT t.day FROM daily_totals_@ t
        WHERE t.customer_id = asked.customer_id AND t.bucket = %(bucket)s AND t.day >= %(lately)s AND t.day < %(as_of)s
            AND (t.purchase_count > 0 OR t.interaction_count > 0)
        ORDER BY t.day LIMIT 1) END, '-infinity'), asked.before
FROM (
    SELECT g.customer_id, COALESCE((
        SELECT t.day FROM daily_totals_@ t
        WHERE t.customer_id = g.customer_id AND t.bucket = %(bucket)s AND t.day >= %(since)s AND t.day < %(lately)s
            AND (t.purchase_count > 0 OR t.interaction_count > 0)
        ORDER BY t.day DESC LIMIT 1), '-infinity') AS before
    FROM unnest(%(ids)s::bigint[]) AS g (customer_id) OFFSET 0
) AS asked ORDER BY 1
"""
TAGS = """
SELECT t.customer_id, array_position(%(tags)s::text[], t.tag_id) FROM customer_tags_@ t
WHERE {t} AND t.tag_id = ANY(%(tags)s)
UNION ALL
SELECT f.customer_id, array_position(%(tags)s::text[], tag) FROM follows_@ f, unnest(f.tag_ids) AS tag
WHERE {f} AND f.lost_at IS NULL AND tag = ANY(%(tags)s)
"""
FOLLOWS = """
SELECT f.customer_id, count(*), (min(f.created_at) AT TIME ZONE %(zone)s)::date FROM follows_@ f
WHERE {f} AND f.lost_at IS NULL GROUP BY f.customer_id
"""
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
    `differs`, whether the figures are not those stored. profile: a place in names from 1, 0 for none. If lifecycles are
    asked for: lifecycle, the stored one's place in lifecycle.CODES from 1, 0 for none; and begun, last_day, back, day
    numbers of what it hangs on (see profiles.rules.lifecycle).
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
    """Reads the customers of one bucket block by block, with the facts that are needed.

    names: classes to expect. due: whether marks and reviews are read, too. lifecycle: by which settings lifecycles are
    to be told; None for not at all.
    Database: outside transactions, one query for a block's end and one COPY for its customers, then one COPY each for
    windows, channels, tags, follows, customers whose totals go beyond as_of and those who may have come back, where
    there are such.
    Memory: some 10 MB a block, whatever the bucket's size. Raises HomeUnavailableError.
    """

    def __init__(
        self,
        home: int,
        bucket: int,
        as_of: date,
        needs: Needs,
        *,
        only_due: bool,
        due: bool = True,
        names: Sequence[str] = (),
        lifecycle: LifecycleSettings | None = None,
    ) -> None:
        self.home, self.bucket, self.as_of, self.only_due = home, bucket, as_of, only_due
        self.due, self.lifecycle = due, lifecycle
        self.needed = needs.columns
        asked = {"begun"} if lifecycle else set[str]()
        self.more = sorted((self.needed & MORE.keys()) | asked)
        facts = [fact for key in sorted(self.needed) if (fact := read_key(key)) is not None]
        self.of_windows = [fact for fact in facts if fact.window_days is not None and fact.channel is None]
        self.of_channels = [fact for fact in facts if fact.channel is not None]
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
        with columns.joined_whole(self.home):
            block = self._read_base(picked)
            self._correct_totals(picked, block)
            if self.lifecycle is not None:
                self._add_lives(picked, block, self.lifecycle)
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
        if self.due:
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
        if self.due:
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
        known = {"as_of": self.as_of, "zone": day_zone().key, "lifecycles": LIFECYCLE_CODES}
        keys = picked.params | known | params
        return columns.read(self.home, self._on_leaves(select), keys, layout)

    def _correct_totals(self, picked: Picked, block: Block) -> None:
        """Take the totals of those whose running ones go beyond as_of from their days before it."""
        import numpy as np

        column = block.column
        column["lifecycle"] = column["flags"] >> 2
        column["differs"] = (column["flags"] & 3) == 1
        ahead = np.flatnonzero(column["flags"] & 2)
        if not len(ahead):
            return
        if len(ahead) < len(block) / 2:
            picked = replace(picked, ids=column["customer_id"][ahead])
        figures = {name: "first_day" if name == "begun" else name for name in (*FIGURES, *self.more)}
        sums = self._sum_days(picked, {name: ("", figure) for name, figure in figures.items()}, None)
        for name, figure in figures.items():  # who is not in the sums has no day before as_of
            column[name][ahead] = _spread(block, sums["customer_id"], sums[name], _nothing(figure))[ahead]
        stored = self._read(STORED.format(c=picked.where("c")), picked, STORED_LAYOUT)
        if "begun" in column:
            created = _spread(block, stored["customer_id"], stored["created_day"], columns.NO_DAY)
            column["begun"] = np.where(column["begun"] == columns.NO_DAY, created, column["begun"])
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

    def _add_lives(self, picked: Picked, block: Block, settings: LifecycleSettings) -> None:
        """Add begun, last_day and back: what lifecycles hang on."""
        import numpy as np

        column, zone = block.column, day_zone().key
        last_at = np.maximum(column["last_purchase_at"], column["last_interaction_at"])
        column["last_day"] = columns.as_day_numbers(columns.as_local_days(last_at, zone))
        column["back"] = np.full(len(block), columns.NO_DAY, dtype=np.int64)
        lived = lifecycle.Lived(column["begun"], column["last_day"])
        asked = np.flatnonzero(lifecycle.may_have_returned(lived, columns.day_number(self.as_of), settings))
        if not len(asked):
            return
        picked = replace(picked, ids=column["customer_id"][asked])
        days = lifecycle.reading_days(self.as_of, settings)
        layout = {"customer_id": "bigint", "back": "int", "before": "int"}
        found = self._read(ACTIVE, picked, layout, bucket=self.bucket, **days)
        back, before = (
            _spread(block, found["customer_id"], found[name], columns.NO_DAY)[asked] for name in ("back", "before")
        )
        column["back"][asked] = lifecycle.came_back(column["begun"][asked], back, before, settings)

    def _add_facts(self, picked: Picked, block: Block) -> None:
        column, facts = block.column, block.facts
        whole = {"purchase_count", "interaction_count", "refund_count", "total_amount", "purchase_days"}
        for name in self.needed & whole:
            facts[name] = column[name]
        zone = day_zone().key
        for name in self.needed & {"last_purchase_day", "last_interaction_day"}:
            facts[name] = columns.as_local_days(column[name.replace("_day", "_at")], zone)
        if "first_day" in self.needed:
            facts["first_day"] = columns.as_days(column["first_day"])
        if self.of_windows:
            self._add_windows(picked, block)
        if self.of_channels:
            self._add_channels(picked, block)
        if self.tags:
            self._add_tags(picked, block)
        if self.needed & {"follow_count", "added_day"}:
            layout = {"customer_id": "bigint", "follows": "bigint", "added": "int"}
            found = self._read(FOLLOWS.format(f=picked.where("f")), picked, layout)
            facts["follow_count"] = _spread(block, found["customer_id"], found["follows"], 0)
            facts["added_day"] = columns.as_days(_spread(block, found["customer_id"], found["added"], columns.NO_DAY))

    def _add_windows(self, picked: Picked, block: Block) -> None:
        wanted: dict[str, tuple[str, str]] = {}
        for fact in self.of_windows:
            wanted[fact.key] = (f"FILTER (WHERE t.day >= '{self._since(fact).isoformat()}')", fact.column)
        sums = self._sum_days(picked, wanted, min(self._since(fact) for fact in self.of_windows))
        for fact in self.of_windows:
            spread = _spread(block, sums["customer_id"], sums[fact.key], _nothing(fact.column))
            block.facts[fact.key] = columns.as_days(spread) if fact.column == "first_day" else spread

    def _since(self, fact: Fact) -> date:
        """Return the first day that a fact counts."""
        return EARLIEST if fact.window_days is None else _days_before(self.as_of, fact.window_days)

    def _add_channels(self, picked: Picked, block: Block) -> None:
        """Add figures of single channels from the raw behaviours, all in one query."""
        channels = sorted({str(fact.channel) for fact in self.of_channels})
        params: dict[str, Any] = {"channels": channels, "end": midnight(self.as_of)}
        expressions, layout = [], {"customer_id": "bigint"}
        for fact in self.of_channels:
            name = f"since_{fact.window_days}"
            params[name] = midnight(self._since(fact))
            place = channels.index(str(fact.channel)) + 1
            holds = f"b.channel = (%(channels)s::text[])[{place}]"
            if fact.window_days is not None:
                holds += f" AND b.occurred_at >= %({name})s"
            expression, layout[fact.key] = OF_CHANNEL[fact.column]
            expressions.append(expression.format(f=holds))
        params["since"] = midnight(min(self._since(fact) for fact in self.of_channels))
        select = (
            f"SELECT b.customer_id, {', '.join(expressions)} FROM behaviours_@ b WHERE {picked.where('b')} "  # noqa: S608
            "AND b.occurred_at >= %(since)s AND b.occurred_at < %(end)s AND b.channel = ANY(%(channels)s) "
            "GROUP BY b.customer_id ORDER BY 1"
        )
        found = self._read(select, picked, layout, **params)
        for fact in self.of_channels:
            is_day = OF_CHANNEL[fact.column][1] == "int"
            spread = _spread(block, found["customer_id"], found[fact.key], columns.NO_DAY if is_day else 0)
            block.facts[fact.key] = columns.as_days(spread) if is_day else spread

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
    return max(EARLIEST, day - timedelta(days=min(days, (day - date.min).days)))


def _spread(block: Block, ids: "Column", values: "Column", nothing: int) -> "Column":
    """Return a column of the block with the values of some customers; who is not in the block is left out."""
    import numpy as np

    spread = np.full(len(block), nothing, dtype=np.int64)
    place = np.searchsorted(block.column["customer_id"], ids)
    there = place < len(block)
    there[there] = block.column["customer_id"][place[there]] == ids[there]
    spread[place[there]] = values[there]
    return spread
