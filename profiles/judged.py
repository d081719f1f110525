"""What a run finds out about a block of customers, and which of it is to be written. Plain columns, no database."""

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import orjson

from profiles import columns
from profiles.rules import RuleSet, evaluate, review_on
from profiles.totals import Block

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Column = NDArray[Any]

# What history keeps in columns of its own; other facts go into its `numbers`.
IN_HISTORY = {"purchase_count", "interaction_count", "total_amount"}


@dataclass
class Judged:
    """A block and its classes, row by row.

    after: place of the new class in block.names, from 1. position: of the rule that decided, 0 for the default.
    review_on: day number, NO_DAY for never. The flags say what differs from what is stored.
    """

    block: Block
    after: "Column"
    position: "Column"
    review_on: "Column"
    moves: "Column"
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


def judge(block: Block, rule_set: RuleSet, as_of: date) -> Judged:
    """Put every customer of a block in a class, and compare with what is stored of them."""
    import numpy as np
    import pandas as pd

    facts = pd.DataFrame(
        {key: values / 100.0 if is_amount(key) else values for key, values in block.facts.items()},
        index=pd.RangeIndex(len(block)),
    )
    position = evaluate(rule_set, facts, as_of).position.astype(np.int64)
    places = np.array([block.names.index(name) + 1 for name in rule_set.profiles], dtype=np.int64)
    after = places[position]
    review = review_on(rule_set, facts, as_of)
    since = (review - np.datetime64(columns.EPOCH, "D")).astype(np.int64)
    review_number = np.where(np.isnat(review), columns.NO_DAY, since)
    column = block.column
    moves = after != column["profile"]
    is_written = moves | column["differs"]
    # Not those with an input at or after as_of: they are judged every night until that day has passed.
    is_cleared = (column["mark"] > 0) & (column["mark_day"] < columns.day_number(as_of))
    is_reviewed = review_number != column["review_on"]
    return Judged(block, after, position, review_number, moves, is_written, is_reviewed, is_cleared)


def is_amount(key: str) -> bool:
    """Tell whether a fact is in cents."""
    return key.startswith(("total_amount", "refund_amount"))


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
