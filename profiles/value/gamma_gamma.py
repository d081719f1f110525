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
    """Customers to fit, n of each (x, m): spent m on average, x times; both above 0."""

    def __init__(self, x: "Column", m: "Column", n: "Column") -> None:
        import numpy as np

        self.x, self.m, self.n = (np.asarray(one, dtype=float) for one in (x, m, n))

    def every(self, step: int) -> "Rows":
        """Return every step-th row."""
        return Rows(self.x[::step], self.m[::step], self.n[::step])


def likelihood(parameters: "Column", rows: Rows) -> "tuple[float, Column]":
    """Return the log-likelihood of (p, q, gamma), and its gradient."""
    import numpy as np
    from scipy.special import digamma, gammaln

    p, q, gamma = (float(one) for one in parameters)
    x, m, n = rows.x, rows.m, rows.n
    shape, spent = p * x, m * x
    log_all = np.log(gamma + spent)
    value = gammaln(shape + q) - gammaln(shape) - gammaln(q) + q * np.log(gamma)
    value += (shape - 1) * np.log(m) + shape * np.log(x) - (shape + q) * log_all
    both = digamma(shape + q)
    gradient = (
        x * (both - digamma(shape) + np.log(m) + np.log(x) - log_all),
        both - digamma(q) + np.log(gamma) - log_all,
        q / gamma - (shape + q) / (gamma + spent),
    )
    return float(n @ value), np.array([float(n @ one) for one in gradient])


def fit(rows: Rows) -> tuple[Model, float]:
    """Return the model of customers and its log-likelihood.

    Raises NoModelError: too few, nothing to tell them apart, or no finite mean.
    """
    if rows.n.sum() < MIN_SPENDERS:
        raise NoModelError(TOO_SMALL)
    if rows.m.max() - rows.m.min() < 1e-9 * rows.m.max():
        raise NoModelError(DEGENERATE)
    mean = float(rows.n @ rows.m) / float(rows.n.sum())
    starts = [(p, q, gamma * mean) for p, q, gamma in STARTS]
    found = maximise_in_steps(likelihood, rows, starts, size=len(rows.n), weight=lambda some: float(some.n.sum()))
    model = Model(*found.parameters)
    if model.q <= 1:
        raise NoModelError(DEGENERATE)
    return model, found.log_likelihood
