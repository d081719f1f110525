"""How much a suggestion is worth making: 0..100. Pure.

    odds  = base / (100 - base)  x  rate / (1 - rate)  x  worth  x  fit
    score = 100 x odds / (1 + odds), rounded

base   the rule's, 1..99
rate   how often its suggestions are accepted, smoothed: (accepted + 5) / (accepted + dismissed + 10), in twentieths
       from 0.05 to 0.95. Nobody has decided: 0.5, and the odds are the base's. In twentieths, so that one more
       decision does not rewrite everybody's score.
worth  by the M of RFM: 1 0.6, 2 0.8, 3 1, 4 1.25, 5 1.6; who has none counts as 3
fit    of a cross-sell: 0.5 + the similarity of its best item, in tenths; 1 of everything else

| base | accepted | dismissed | rate | M | similarity | score |
|------|----------|-----------|------|---|------------|-------|
| 70   | 0        | 0         | 0.50 | 3 |            | 70    |
| 70   | 0        | 0         | 0.50 | 5 |            | 79    |
| 70   | 0        | 10        | 0.25 | 3 |            | 44    |
| 70   | 30       | 0         | 0.90 | 3 |            | 95    |
| 70   | 30       | 0         | 0.90 | 1 |            | 93    |
| 50   | 0        | 0         | 0.50 | 3 | 0.82       | 57    |
| 50   | 0        | 0         | 0.50 | 1 | 0.10       | 26    |

More acceptances, fewer dismissals, a higher base, M or similarity never lower a score.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PRIOR_ACCEPTED = 5
PRIOR_DECIDED = 10
STEPS = 20
WORTH = (1.0, 0.6, 0.8, 1.0, 1.25, 1.6)  # by M; 0 stands for none


def acceptance_rate(accepted: int, dismissed: int) -> float:
    """Return how often a rule's suggestions are accepted, as its scores take it.

    >>> acceptance_rate(0, 0), acceptance_rate(0, 10), acceptance_rate(30, 0), acceptance_rate(10**6, 0)
    (0.5, 0.25, 0.9, 0.95)
    """
    smoothed = (accepted + PRIOR_ACCEPTED) / (accepted + dismissed + PRIOR_DECIDED)
    return min(max(round(smoothed * STEPS), 1), STEPS - 1) / STEPS


def score(base: int, rate: float, *, monetary: int | None = None, similarity: float | None = None) -> int:
    """Return one suggestion's score. similarity: of a cross-sell's best item.

    >>> score(70, 0.5), score(70, 0.5, monetary=5), score(70, 0.25), score(50, 0.5, similarity=0.82)
    (70, 79, 44, 57)
    """
    import numpy as np

    fit = None if similarity is None else np.array([similarity])
    return int(scores(base, rate, np.array([monetary or 0]), fit)[0])


def scores(
    base: int, rate: float, monetary: "NDArray[Any]", similarity: "NDArray[Any] | None" = None
) -> "NDArray[np.int64]":
    """Return the scores of a column of customers. monetary: their M, 0 for none."""
    import numpy as np

    base = min(max(base, 1), 99)
    odds = base / (100 - base) * rate / (1 - rate) * np.array(WORTH)[np.clip(monetary, 0, len(WORTH) - 1)]
    if similarity is not None:
        odds = odds * (0.5 + np.round(np.clip(similarity, 0, 1), 1))
    # A hair more, so that what comes out as 43.499999 by the order of operations rounds as on paper.
    return np.floor(100 * odds / (1 + odds) + 0.5 + 1e-9).astype(np.int64)
