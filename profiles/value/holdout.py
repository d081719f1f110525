"""How well the purchase model foretells: what it says against what came, by how often somebody had bought before.

calibration   customers by their repeat purchases up to the day of the fit: how many there are, how many the model has
holdout       fitted up to an earlier day: purchases per customer in the days since, by repeat purchases until then

The rows are those of 0, 1, … 6 repeat purchases, and of 7 or more.
"""

from typing import TYPE_CHECKING, Any

from profiles.value.bgnbd import Model, Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

MOST = 7
NAMES = (*map(str, range(MOST)), f"{MOST}+")


def calibrate(model: Model, rows: Rows) -> list[dict[str, Any]]:
    """Return [{x, actual, expected}]: customers who have made x repeat purchases."""
    import numpy as np

    times, place = np.unique(rows.T, return_inverse=True)
    n_of_time = np.bincount(place, weights=rows.n)
    expected = n_of_time @ model.probabilities(times, MOST - 1)
    expected = np.append(expected, n_of_time.sum() - expected.sum())
    actual = _by_x(rows.x, rows.n)
    return [
        {"x": name, "actual": int(here), "expected": round(float(there), 1)}
        for name, here, there in zip(NAMES, actual.tolist(), expected.tolist(), strict=True)
    ]


def compare(model: Model, rows: Rows, came: "Column", t: float) -> list[dict[str, Any]]:
    """Return [{x, customers, actual, expected}]: purchases per customer in the time t after the fit.

    came: how many each row's customers have made in it, each. Rows without customers are left out.
    """
    expected = _by_x(rows.x, rows.n * model.expected(t, rows.x, rows.t_x, rows.T))
    customers, actual = _by_x(rows.x, rows.n), _by_x(rows.x, rows.n * came)
    return [
        {
            "x": name,
            "customers": int(n),
            "actual": round(float(actual[place] / n), 4),
            "expected": round(float(expected[place] / n), 4),
        }
        for place, (name, n) in enumerate(zip(NAMES, customers.tolist(), strict=True))
        if n
    ]


def _by_x(x: "Column", weights: "Column") -> "Column":
    import numpy as np

    return np.bincount(np.minimum(x, MOST).astype(np.int64), weights=weights, minlength=MOST + 1)
