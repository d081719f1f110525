"""Who is likely to be lost: customers who come back, and have been silent for too long.

Of somebody with at least one repeat purchase, who is not dormant or lost already (then it is no warning any more):

    warning   with a value model            without one, by their own rhythm
    high      alive_percent below 20        silent for more than 4 times their mean gap between purchases
    medium    alive_percent below 50        silent for more than 2 times
    none      otherwise

    gap = (last - first) / repeat purchases, silent = today - last, all in whole days

    >>> import numpy as np
    >>> x, active, silent = np.array([0, 3, 3, 3]), np.array([0, 30, 30, 30]), np.array([99, 20, 21, 41])
    >>> [CODES[one] for one in warn(x, active, silent, is_gone=np.zeros(4, bool))]
    ['', '', 'medium', 'high']
    >>> [CODES[one] for one in warn(x, active, silent, is_gone=silent == 41, alive_percent=np.array([9, 49, 50, 5]))]
    ['', 'medium', '', '']
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

CODES = ("", "medium", "high")
NAMES = {"": "无", "medium": "中", "high": "高"}
HIGH_BELOW_PERCENT, MEDIUM_BELOW_PERCENT = 20, 50
HIGH_ABOVE_GAPS, MEDIUM_ABOVE_GAPS = 4, 2


def warn(
    x: "Column",
    active_days: "Column",
    silent_days: "Column",
    *,
    is_gone: "Column",
    alive_percent: "Column | None" = None,
) -> "Column":
    """Return the places in CODES of the warnings. active_days: from the first purchase to the last."""
    if alive_percent is None:
        # silent > k * active / x, in whole numbers.
        gaps = silent_days * x
        high, medium = gaps > HIGH_ABOVE_GAPS * active_days, gaps > MEDIUM_ABOVE_GAPS * active_days
    else:
        high, medium = alive_percent < HIGH_BELOW_PERCENT, alive_percent < MEDIUM_BELOW_PERCENT
    concerned = (x > 0) & ~is_gone
    return (high & concerned).astype(int) + (medium & concerned)
