"""Gamma-Gamma: how much a customer spends at a time.

P. S. Fader, B. G. S. Hardie: The Gamma-Gamma Model of Monetary Value (2013), brucehardie.com/notes/025.

What somebody spends varies around a mean of their own (shape p); these means are distributed over customers (q, gamma).
The fewer purchases there are to judge by, the more the expected mean leans to that of everybody.

    >>> model = Model(p=6.25, q=3.74, gamma=15.44)
    >>> round(float(model.mean), 2)
    35.22
    >>> [round(float(one), 2) for one in model.expected([0, 1, 2, 7], [0, 100, 100, 100])]
    [35.22, 80.26, 88.35, 96.18]
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from profiles.value.maxima import DEGENERATE, TOO_SMALL, NoModelError, maximise_in_steps

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Column = NDArray[Any]

MIN_SPENDERS = 20
# Whose columns stay in a core's cache while a likelihood is summed up. From 10 000 on OpenBLAS calls threads, which
# wait for each other longer than they work, and whose sums differ by their number.
ROWS_AT_ONCE = 8_192
# (p, q, gamma as a multiple of the mean spend)
STARTS = ((1.0, 2.0, 1.0), (5.0, 4.0, 0.5), (20.0, 3.0, 0.1), (0.5, 10.0, 10.0))


@dataclass(frozen=True)
class Model:
    p: float
    q: float
    gamma: float

    @property
    def mean(self) -> float:
        """What everybody spends at a time."""
        return self.p * self.gamma / (self.q - 1)

    def expected(self, x: "ArrayLike", m: "ArrayLike") -> "Column":
        """Return what customers are expected to spend at a time, who have spent m on average x times."""
        import numpy as np

        x, m = np.asarray(x, dtype=float), np.asarray(m, dtype=float)
        return np.asarray(self.p * (self.gamma + m * x) / (self.p * x + self.q - 1))


class Rows:
    """Customers to fit, n of each (x, m): spent m on average, x times; both above 0. What hangs on x once for each."""

    def __init__(self, x: "Column", m: "Column", n: "Column") -> None:
        import numpy as np

        self.x, self.m, self.n = (np.asarray(one, dtype=float) for one in (x, m, n))
        self.spent = self.x * self.m
        self.each_x, place = np.unique(self.x, return_inverse=True)
        self.n_of_x = np.bincount(place, weights=self.n, minlength=len(self.each_x))
        # What no parameter changes.
        self.log_spent_of_x = float((self.n * self.x * np.log(self.spent)).sum())
        self.log_mean = float((self.n * np.log(self.m)).sum())

    def every(self, step: int) -> "Rows":
        """Return every step-th row."""
        return Rows(self.x[::step], self.m[::step], self.n[::step])


def likelihood(parameters: "Column", rows: Rows) -> "tuple[float, Column]":
    """Return the log-likelihood of (p, q, gamma), and its gradient. Memory: that of ROWS_AT_ONCE."""
    import numpy as np
    from scipy.special import digamma, gammaln

    p, q, gamma = (float(one) for one in parameters)
    x, n_of_x = rows.each_x, rows.n_of_x
    shape, times = p * x, float(n_of_x @ x)
    # Over all rows: of log(1 + spent / gamma), by customers and by purchases; of what becomes of it by gamma, the same.
    log_of_n, log_of_x, share_of_n, part_of_x = 0.0, 0.0, 0.0, 0.0
    for start in range(0, len(rows.n), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        n, spent = rows.n[some], rows.spent[some]
        n_x, log, part = n * rows.x[some], np.log1p(spent / gamma), 1 / (gamma + spent)
        log_of_n, log_of_x = log_of_n + n @ log, log_of_x + n_x @ log
        share_of_n, part_of_x = share_of_n + n @ (spent * part), part_of_x + n_x @ part
    by_p = rows.log_spent_of_x - times * np.log(gamma) - log_of_x
    value = n_of_x @ (gammaln(shape + q) - gammaln(shape) - gammaln(q)) - rows.log_mean + p * by_p - q * log_of_n
    gradient = (
        n_of_x @ (x * (digamma(shape + q) - digamma(shape))) + by_p,
        n_of_x @ (digamma(shape + q) - digamma(q)) - log_of_n,
        q / gamma * share_of_n - p * part_of_x,
    )
    return float(value), np.array([float(one) for one in gradient])


def fit(rows: Rows) -> tuple[Model, float]:
    """Return the model of customers and its log-likelihood.

    Raises NoModelError: too few, nothing to tell them apart, or no finite mean.
    """
    if rows.n.sum() < MIN_SPENDERS:
        raise NoModelError(TOO_SMALL)
    if rows.m.max() - rows.m.min() < 1e-9 * rows.m.max():
        raise NoModelError(DEGENERATE)
    mean = float((rows.n * rows.m).sum() / rows.n.sum())
    starts = [(p, q, gamma * mean) for p, q, gamma in STARTS]
    found = maximise_in_steps(likelihood, rows, starts, size=len(rows.n), weight=lambda some: float(some.n.sum()))
    model = Model(*found.parameters)
    if model.q <= 1:
        raise NoModelError(DEGENERATE)
    return model, found.log_likelihood
