"""What a run finds out about a block of customers, and which of it is to be written. Plain columns, no database."""

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import orjson

from profiles import columns
from profiles.rules import CentFacts, RuleSet, evaluate, is_amount, lifecycle, review_on
from profiles.totals import Block

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Column = NDArray[Any]

# What history keeps in columns of its own; other facts go into its `numbers`.
IN_HISTORY = {"purchase_count", "interaction_count", "total_amount"}
# How many customers of each move a run that only reports names, for each of its claims.
SAMPLE = 5


@dataclass
class Judged:
    """A block and its classes, row by row.

    after: place of the new class in block.names, from 1. position: of the rule that decided, 0 for the default.
    lifecycle: place of the new one in lifecycle.CODES, from 1. review_on: the first day on which time alone may change
    either, as a number, NO_DAY for never. The flags say what differs from what is stored: moves the class, turns the
    lifecycle.
    """

    block: Block
    after: "Column"
    position: "Column"
    lifecycle: "Column"
    review_on: "Column"
    moves: "Column"
    turns: "Column"
    is_written: "Column"
    is_reviewed: "Column"
    is_cleared: "Column"

    @property
    def is_touched(self) -> "Column":
        """Whether anything is to be written of a customer."""
        return self.is_written | self.is_reviewed | self.is_cleared

    def classes(self, span: slice) -> Counter[str]:
        """Return {class: customers} of some neighbouring rows."""
        import numpy as np

        counts = np.bincount(self.after[span], minlength=len(self.block.names) + 1)[1:]
        return Counter({name: int(n) for name, n in zip(self.block.names, counts, strict=True) if n})

    def moved(self) -> Counter[tuple[str | None, str]]:
        """Return {(class before, class now): customers} of those whose class differs."""
        import numpy as np

        names = [None, *self.block.names]
        pairs = np.stack([self.block.column["profile"][self.moves], self.after[self.moves]])
        places, counts = np.unique(pairs, axis=1, return_counts=True)
        return Counter({(names[b], str(names[a])): int(n) for (b, a), n in zip(places.T, counts, strict=True)})

    def samples(self) -> dict[tuple[str | None, str], list[int]]:
        """Return {(class before, class now): customer_ids} of the first few of those whose class differs."""
        import numpy as np

        names = [None, *self.block.names]
        rows = np.flatnonzero(self.moves)
        before, after = self.block.column["profile"][rows], self.after[rows]
        found = {}
        for b, a in {(int(b), int(a)) for b, a in np.unique(np.stack([before, after]), axis=1).T}:
            those = rows[(before == b) & (after == a)][:SAMPLE]
            found[names[b], str(names[a])] = [int(one) for one in self.block.column["customer_id"][those]]
        return found


def judge(block: Block, rule_set: RuleSet, as_of: date) -> Judged:
    """Tell the lifecycle of every customer of a block, put them in a class, and compare with what is stored of them."""
    import numpy as np

    column = block.column
    codes, turns_on = lifecycle.lifecycles(
        lifecycle.Lived(column["begun"], column["last_day"]),
        column["back"],
        columns.day_number(as_of),
        rule_set.settings.lifecycle,
    )
    facts = CentFacts(block.facts)
    facts["lifecycle"] = np.array(lifecycle.CODES, dtype=object)[codes]
    facts["lifecycle_turns"] = columns.as_days(np.where(turns_on == lifecycle.NEVER, columns.NO_DAY, turns_on))
    block.facts["lifecycle"] = facts["lifecycle"]
    position = evaluate(rule_set, facts, as_of).position.astype(np.int64)
    places = np.array([block.names.index(name) + 1 for name in rule_set.profiles], dtype=np.int64)
    after = places[position]
    class_turns = columns.as_day_numbers(review_on(rule_set, facts, as_of))
    review = np.minimum(np.where(class_turns == columns.NO_DAY, lifecycle.NEVER, class_turns), turns_on)
    review[review == lifecycle.NEVER] = columns.NO_DAY
    moves = after != column["profile"]
    turns = codes + 1 != column["lifecycle"]
    # Not those with an input at or after as_of: they are judged every night until that day has passed.
    is_cleared = (column["mark"] > 0) & (column["mark_day"] < columns.day_number(as_of))
    return Judged(
        block,
        after=after,
        position=position,
        lifecycle=codes + 1,
        review_on=review,
        moves=moves,
        turns=turns,
        is_written=moves | turns | column["differs"],
        is_reviewed=review != column["review_on"],
        is_cleared=is_cleared,
    )


def other_numbers(block: Block, rows: "np.ndarray[Any, Any]", keys: list[str]) -> list[str | None]:
    """Return the facts that decided and that history has no column for, as JSON, one of each row.

    Days are ISO dates, amounts decimal strings, as profiles.rules.explain takes them back.
    """
    if not keys:
        return [None] * len(rows)
    texts = [_as_json_values(key, block.facts[key][rows]) for key in keys]
    return [orjson.dumps(dict(zip(keys, values, strict=True))).decode() for values in zip(*texts, strict=True)]


def _as_json_values(key: str, values: "Column") -> list[Any]:
    if is_amount(key):
        return [f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}" for cents in values.tolist()]
    if values.dtype.kind == "M":
        return [None if day is None else day.isoformat() for day in values.tolist()]
    return list(values.tolist())
