"""What goes with what customers have bought, for a whole block of them at once. Pure but for numpy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

BEST = 3


@dataclass(frozen=True)
class Table:
    """Affinities as columns, by item: those of item i are at starts[i]:starts[i + 1]. items: their ids, by number."""

    items: list[str]
    names: list[str]
    starts: "Column"
    others: "Column"
    similarities: "Column"

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class Matches:
    """Suggested items, by row, the best first. because: the item that each goes with."""

    rows: "Column"
    items: "Column"
    because: "Column"
    similarities: "Column"

    def spans(self, rows: "Column") -> "tuple[Column, Column]":
        """Return where the items of each of these rows begin and end."""
        import numpy as np

        return np.searchsorted(self.rows, rows), np.searchsorted(self.rows, rows + 1)

    def best(self, rows: int) -> "Column":
        """Return each row's best similarity, 0 where there is none."""
        import numpy as np

        found = np.zeros(rows)
        np.maximum.at(found, self.rows, self.similarities)
        return found


def make_table(pairs: Sequence[tuple[str, str, str, str, float]]) -> Table:
    """Make the table of (item, its name, other, its name, similarity), in any order."""
    import numpy as np

    known = {item: name for item, name, other, other_name, _ in pairs} | {
        other: other_name for _, _, other, other_name, _ in pairs
    }
    items = sorted(known)
    number = {item: place for place, item in enumerate(items)}
    rows = sorted((number[item], number[other], similarity) for item, _, other, _, similarity in pairs)
    firsts = np.array([row[0] for row in rows], dtype=np.int64)
    return Table(
        items,
        [known[item] or item for item in items],
        np.searchsorted(firsts, np.arange(len(items) + 1)),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float64),
    )


def match(table: Table, rows: "Column", items: "Column", *, best: int = BEST) -> Matches:
    """Return for every row the items that go best with what it has and that it does not have.

    rows, items: what customers have bought, one pair each, items by number. Where several of a customer's items lead to
    one other, the most similar counts. Ties go by the item's number, so that the answer is always the same.

    >>> import numpy as np
    >>> pairs = [("cup", "杯", "tea", "茶", 0.5), ("tea", "茶", "cup", "杯", 0.5), ("tea", "茶", "pot", "壶", 0.7)]
    >>> table = make_table(pairs)
    >>> found = match(table, np.array([0, 1, 1]), np.array([2, 0, 2]))
    >>> [(row, table.names[item]) for row, item in zip(found.rows.tolist(), found.items.tolist())]
    [(0, '壶'), (0, '杯'), (1, '壶')]
    """
    import numpy as np

    counts = table.starts[items + 1] - table.starts[items]
    place = np.repeat(table.starts[items], counts) + _count_up(counts)
    row, because = np.repeat(rows, counts), np.repeat(items, counts)
    other, similarity = table.others[place], table.similarities[place]
    size = max(len(table), 1)
    new = ~np.isin(row * size + other, rows * size + items)
    row, because, other, similarity = row[new], because[new], other[new], similarity[new]
    # The most similar of each (row, other), then the best others of each row.
    order = np.lexsort((because, -similarity, other, row))
    row, because, other, similarity = row[order], because[order], other[order], similarity[order]
    first = _begins(row * size + other)
    row, because, other, similarity = row[first], because[first], other[first], similarity[first]
    order = np.lexsort((other, -similarity, row))
    row, because, other, similarity = row[order], because[order], other[order], similarity[order]
    starts = np.flatnonzero(_begins(row))
    rank = np.arange(len(row)) - np.repeat(starts, np.diff(np.append(starts, len(row))))
    kept = rank < best
    return Matches(row[kept], other[kept], because[kept], similarity[kept])


def _count_up(counts: "Column") -> "Column":
    """Return 0 … n - 1 for each n, one after the other."""
    import numpy as np

    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - counts, counts)


def _begins(values: "Column") -> "Column":
    """Tell where a value differs from the one before."""
    import numpy as np

    begins = np.ones(len(values), dtype=bool)
    begins[1:] = values[1:] != values[:-1]
    return begins
