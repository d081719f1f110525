"""Which items are bought by the same customers. Pure.

    similarity = together / sqrt(buyers of one x buyers of the other)          0..1, the cosine

| home | tea | cup | tea and cup |     over both: tea 12, cup 9, together 6
|------|-----|-----|-------------|     similarity = 6 / sqrt(12 x 9) = 0.577
| 100  | 8   | 4   | 3           |
| 101  | 4   | 5   | 3           |

Counted are customers, not purchases: who buys both twice a week is one. Pairs that fewer than MIN_TOGETHER customers
bought say nothing and are left out; of each item the best PER_ITEM others are kept.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import sqrt

MIN_TOGETHER = 3
PER_ITEM = 5
MAX_ITEMS = 3000
Pair = tuple[str, str]


@dataclass(frozen=True)
class HomeCounts:
    """What one home's customers bought. buyers: {item: customers}; pairs: {(item, other): customers}, item < other."""

    buyers: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    pairs: Mapping[Pair, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Affinity:
    """That who bought an item often bought another, too."""

    item_id: str
    other_id: str
    name: str
    other_name: str
    together: int
    score: float


def merge(
    homes: Iterable[HomeCounts],
    *,
    min_together: int = MIN_TOGETHER,
    per_item: int = PER_ITEM,
    max_items: int = MAX_ITEMS,
) -> list[Affinity]:
    """Return the best others of each item over all homes, by item, the most similar first.

    Of more than max_items items the most bought are taken. Whatever the order of the homes, the answer is the same.

    >>> one = HomeCounts({"tea": 8, "cup": 4}, {"tea": "茶", "cup": "杯"}, {("cup", "tea"): 3})
    >>> two = HomeCounts({"tea": 4, "cup": 5}, {}, {("cup", "tea"): 3})
    >>> [(a.item_id, a.other_id, a.other_name, a.together, a.score) for a in merge([one, two])]
    [('cup', 'tea', '茶', 6, 0.5774), ('tea', 'cup', '杯', 6, 0.5774)]
    """
    buyers: Counter[str] = Counter()
    pairs: Counter[Pair] = Counter()
    names: dict[str, str] = {}
    for home in homes:
        buyers.update(home.buyers)
        pairs.update(home.pairs)
        for item, name in home.names.items():
            names[item] = max(names.get(item, ""), name)
    kept = {item for item, _ in sorted(buyers.items(), key=lambda one: (-one[1], one[0]))[:max_items]}
    others: dict[str, list[tuple[float, int, str]]] = {}
    for (one, two), together in pairs.items():
        if together < min_together or one not in kept or two not in kept:
            continue
        similarity = round(min(together / sqrt(buyers[one] * buyers[two]), 1.0), 4)
        others.setdefault(one, []).append((similarity, together, two))
        others.setdefault(two, []).append((similarity, together, one))
    return [
        Affinity(item, other, names.get(item, ""), names.get(other, ""), together, similarity)
        for item in sorted(others)
        for similarity, together, other in sorted(others[item], key=lambda one: (-one[0], -one[1], one[2]))[:per_item]
    ]
