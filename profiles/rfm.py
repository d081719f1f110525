"""RFM: how recently, how often and for how much somebody has bought, each scored 1 to 5 against all buyers.

The score of a value is the fifth of the buyers that its place falls into, the place being the middle of those that have
the same value: (buyers with a smaller value + half of those with this value) / all buyers. So equal values have equal
scores, whatever their order; when all are equal, all have 3; and one buyer alone has 3.

    values   1   1   1   2   9        buyers 5
    place   .3  .3  .3  .7  .9        (0 + 3/2) / 5, (3 + 1/2) / 5, (4 + 1/2) / 5
    score    2   2   2   4   5        1 + floor(5 x place)

Thresholds say the same in four numbers: threshold i is the smallest value with a score above i, None where nobody has
one, and the score is 1 + how many thresholds a value has reached. Of recency, fewer days are better: its thresholds go
down, and a value has reached them that is not larger.

    >>> thresholds({1: 3, 2: 1, 9: 1})
    [1, 2, 2, 9]
    >>> thresholds({7: 4})
    [7, 7, None, None]
    >>> thresholds({10: 1, 20: 1, 30: 1, 40: 1, 50: 1}, fewer_is_better=True)
    [40, 30, 20, 10]

A segment is told by which of the three scores are high, 4 or 5:

    R     F     M     segment            what it means
    high  high  high  重要价值客户       bought lately, often, for much
    high  low   high  重要发展客户       lately and for much, but seldom
    low   high  high  重要保持客户       often and for much, but not lately
    low   low   high  重要挽留客户       for much, once
    high  high  low   一般价值客户       lately and often, for little
    high  low   low   一般发展客户       lately, little yet
    low   high  low   一般保持客户       often, for little, not lately
    low   low   low   一般挽留客户       seldom, for little, long ago

    >>> segment(5, 2, 4), segment(3, 3, 3)
    ('重要发展客户', '一般挽留客户')

No framework here, and numpy only in functions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

FIFTHS = 5
HIGH = 4
# By (R is high, F is high, M is high).
SEGMENTS = {
    (True, True, True): "重要价值客户",
    (True, False, True): "重要发展客户",
    (False, True, True): "重要保持客户",
    (False, False, True): "重要挽留客户",
    (True, True, False): "一般价值客户",
    (True, False, False): "一般发展客户",
    (False, True, False): "一般保持客户",
    (False, False, False): "一般挽留客户",
}
SEGMENT_NAMES = tuple(SEGMENTS.values())
# By bits: R is high 4, F is high 2, M is high 1.
BY_BITS = tuple(SEGMENTS[bool(bits & 4), bool(bits & 2), bool(bits & 1)] for bits in range(8))


@dataclass(frozen=True)
class Thresholds:
    """What the scores of one company or home hang on. monetary is in cents."""

    recency: Sequence[int | None]
    frequency: Sequence[int | None]
    monetary: Sequence[int | None]
    customers: int

    def to_json(self) -> dict[str, Any]:
        """Return them as a run keeps them, amounts as decimal texts.

        >>> Thresholds((30, 20, 10, None), (1, 1, 2, 5), (900, 1000, 2550, None), 7).to_json()["monetary"]
        ['9.00', '10.00', '25.50', None]
        """
        return {
            "recency": list(self.recency),
            "frequency": list(self.frequency),
            "monetary": [None if cents is None else _yuan(cents) for cents in self.monetary],
            "customers": self.customers,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Thresholds":
        """Return what to_json has made into JSON."""
        cents = tuple(None if yuan is None else _cents(yuan) for yuan in found["monetary"])
        return cls(tuple(found["recency"]), tuple(found["frequency"]), cents, found["customers"])


def _yuan(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}"


def _cents(yuan: str) -> int:
    whole, _, rest = yuan.lstrip("-").partition(".")
    return (-1 if yuan.startswith("-") else 1) * (int(whole) * 100 + int(rest))


def thresholds(counts: "Mapping[int, int] | tuple[Column, Column]", *, fewer_is_better: bool = False) -> list[Any]:
    """Return the four thresholds of values. counts: {value: buyers}, or values (ascending, each once) and their buyers.

    Nobody has bought: four times None.
    """
    import numpy as np

    if isinstance(counts, Mapping):
        ascending = sorted(counts)
        counts = (np.array(ascending, dtype=np.int64), np.array([counts[value] for value in ascending], dtype=np.int64))
    values, buyers = (one[::-1] for one in counts) if fewer_is_better else counts
    twice_place = 2 * (np.cumsum(buyers) - buyers) + buyers  # of all buyers, in whole numbers: ties are exact
    found = np.searchsorted(
        twice_place * FIFTHS, [2 * int(buyers.sum()) * fifth for fifth in range(1, FIFTHS)], side="left"
    )
    return [int(values[place]) if place < len(values) else None for place in found.tolist()]


def scores(values: "Column", reached: Sequence[int | None], *, fewer_is_better: bool = False) -> "Column":
    """Return the scores of values by thresholds.

    >>> import numpy as np
    >>> scores(np.array([1, 2, 5, 9]), [1, 2, 2, 9]).tolist()
    [2, 4, 4, 5]
    >>> scores(np.array([5, 10, 55]), [40, 30, 20, 10], fewer_is_better=True).tolist()
    [5, 5, 1]
    """
    import numpy as np

    found = np.ones(len(values), dtype=np.int64)
    for threshold in reached:
        if threshold is not None:
            found += values <= threshold if fewer_is_better else values >= threshold
    return found


def segment(recency: int, frequency: int, monetary: int) -> str:
    """Return the segment of three scores."""
    return SEGMENTS[recency >= HIGH, frequency >= HIGH, monetary >= HIGH]


def segments(recency: "Column", frequency: "Column", monetary: "Column") -> "Column":
    """Return the places in BY_BITS of the segments of many."""
    return (recency >= HIGH) * 4 + (frequency >= HIGH) * 2 + (monetary >= HIGH) * 1
