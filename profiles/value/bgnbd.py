"""BG/NBD: how often customers buy, and whether they still do.

P. S. Fader, B. G. S. Hardie, K. L. Lee: "Counting Your Customers" the Easy Way, Marketing Science 24 (2005), 275-284.

Somebody who is active buys at a rate of their own (Gamma distributed: r, alpha) and is lost after a purchase with a
probability of their own (Beta distributed: a, b). Of each customer it wants

    x     purchases after the first (several in a day are one)
    t_x   time from the first to the last of them, 0 without any
    T     time from the first until now

    >>> model = Model(r=0.2426, alpha=4.4136, a=0.7929, b=2.4259)
    >>> one = [2.0], [30.43], [38.86]          # the first customer of CDNOW
    >>> round(float(model.alive(*one)[0]), 3), round(float(model.expected(39.0, *one)[0]), 3)
    (0.727, 1.226)

Who has bought once is active, says the model: it loses people only after a repeat purchase.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from profiles.value.maxima import DEGENERATE, TOO_SMALL, NoModelError, maximise_in_steps

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Column = NDArray[Any]

MIN_CUSTOMERS, MIN_REPEATERS = 50, 20
# Where the 2F1 of an expectation has its digits: r, a and b up to PLAIN, z up to PLAIN_Z. Beyond it overflows.
PLAIN, PLAIN_Z = 20, 0.9
# Terms of the sum that is taken instead; it is twenty times as slow. Of so many customers together: 1 MB a column.
STEPS, CUSTOMERS_AT_ONCE = 96, 1_000
# (r, alpha as a multiple of the mean time between purchases, a, b)
STARTS = ((0.5, 0.5, 1.0, 2.0), (1.0, 1.0, 0.5, 5.0), (0.2, 0.2, 0.8, 0.8), (2.0, 2.0, 0.2, 2.0))


@dataclass(frozen=True)
class Model:
    r: float
    alpha: float
    a: float
    b: float

    def alive(self, x: "ArrayLike", t_x: "ArrayLike", T: "ArrayLike") -> "Column":  # noqa: N803 - the paper's names
        """Return the probability that customers are still active."""
        import numpy as np

        x, t_x, T = (np.asarray(one, dtype=float) for one in (x, t_x, T))  # noqa: N806
        return np.asarray(1.0 / (1.0 + self._lost_odds(x, t_x, T)))

    def expected(self, t: float, x: "ArrayLike", t_x: "ArrayLike", T: "ArrayLike") -> "Column":  # noqa: N803
        """Return how many purchases customers are expected to make in the next t: the paper's (10)."""
        import numpy as np

        x, t_x, T = np.broadcast_arrays(*(np.asarray(one, dtype=float) for one in (x, t_x, T)))  # noqa: N806
        plain = t / (self.alpha + T + t) <= PLAIN_Z if max(self.r, self.a, self.b) <= PLAIN else np.zeros(len(x), bool)
        still = np.empty(len(x))
        still[plain] = self._expected_by_formula(t, x[plain], T[plain])
        rest = np.flatnonzero(~plain)
        for start in range(0, len(rest), CUSTOMERS_AT_ONCE):
            some = rest[start : start + CUSTOMERS_AT_ONCE]
            still[some] = self._expected_by_sum(t, x[some], T[some])
        return np.asarray(np.maximum(still, 0) / (1 + self._lost_odds(x, t_x, T)))

    def _expected_by_formula(self, t: float, x: "Column", T: "Column") -> "Column":  # noqa: N803
        """Return what is expected of customers who are still active, with Euler's transformation of the paper's 2F1.

        The paper's own, of r + x and b + x, overflows for those who buy often.
        """
        import numpy as np
        from scipy.special import hyp2f1

        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        # Both are removable: the limit is what stands beside it.
        if abs(a - 1) < 1e-6:
            a = 1 + 1e-6
        if abs(a + b - 1) < 1e-6:
            b += 1e-6
        z = t / (alpha + T + t)
        c = a + b + x - 1
        return np.asarray(c / (a - 1) * (1 - (1 - z) ** (a - 1) * hyp2f1(a + b - 1 - r, a - 1, c, z)))

    def _expected_by_sum(self, t: float, x: "Column", T: "Column") -> "Column":  # noqa: N803
        """Return the same where the formula fails: it is the mean of g(p) over p, which is Beta(a, b + x) distributed.

        g(p) = (1 - (1 + p t / (alpha + T))^-(r + x)) / p is what is expected of an active customer who is lost after a
        purchase with probability p. The mean of the straight line from g(0) to g(1) is known; that of what g differs
        from it, which is nothing at both ends, is a sum over equal steps of log(p / (1 - p)).
        """
        import numpy as np
        from scipy.special import betaln, digamma, polygamma

        shape, ratio = (self.r + x)[:, None], (t / (self.alpha + T))[:, None]
        each_x, place = np.unique(x, return_inverse=True)
        a, b = self.a, (self.b + each_x)[:, None]
        # Where Beta(a + 1, b + x + 1) is: what differs from the line is of the order of p (1 - p).
        middle = digamma(a + 1) - digamma(b + 1)
        spread = 8 * np.sqrt(polygamma(1, a + 1) + polygamma(1, b + 1))
        lowest, highest = middle - spread - 35 / (a + 1), middle + spread + 35 / (b + 1)
        step = (highest - lowest) / (STEPS - 1)
        at = lowest + step * np.arange(STEPS)
        log_p, log_rest = -np.logaddexp(0, -at), -np.logaddexp(0, at)
        weights = (step * np.exp(a * log_p + b * log_rest - betaln(a, b)))[place]
        p, rest = np.exp(log_p)[place], np.exp(log_rest)[place]
        never_lost, lost_next = shape * ratio, -np.expm1(-shape * np.log1p(ratio))  # g(0), g(1)
        differs = -np.expm1(-shape * np.log1p(p * ratio)) / p - rest * never_lost - p * lost_next
        b = b[place]
        line = (never_lost * b + lost_next * a) / (a + b)
        return np.asarray(np.clip(line[:, 0] + (weights * differs).sum(axis=1), 0, never_lost[:, 0]))

    def probabilities(self, T: "ArrayLike", up_to: int) -> "Column":  # noqa: N803
        """Return the probabilities of 0, 1, … up_to repeat purchases in a time T, as columns of a table."""
        import numpy as np
        from scipy.special import betaln, gammaln, xlogy

        T = np.asarray(T, dtype=float)[:, None]  # noqa: N806
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        x = np.arange(up_to + 1, dtype=float)[None, :]
        # The negative binomial part: x purchases by T of somebody who is never lost.
        never_lost = np.exp(
            gammaln(r + x) - gammaln(r) - gammaln(x + 1) + r * np.log(alpha / (alpha + T)) + xlogy(x, T / (alpha + T))
        )
        more = 1 - np.cumsum(never_lost, axis=1) + never_lost  # that there would be x or more of them
        stayed = np.exp(betaln(a, b + x) - betaln(a, b))
        left = np.where(x > 0, np.exp(betaln(a + 1, np.maximum(b + x - 1, 1e-300)) - betaln(a, b)), 0.0)
        return np.asarray(stayed * never_lost + left * more)

    def _lost_odds(self, x: "Column", t_x: "Column", T: "Column") -> "Column":  # noqa: N803
        """Return the odds of having been lost at the last purchase; 0 for those who have bought once."""
        import numpy as np

        repeats = np.maximum(x, 1)
        with np.errstate(over="ignore"):
            silence = np.exp((self.r + repeats) * (np.log(self.alpha + T) - np.log(self.alpha + t_x)))
        return np.asarray(np.where(x > 0, self.a / (self.b + repeats - 1) * silence, 0.0))


class Rows:
    """Customers to fit, n of each (x, t_x, T); what depends on x alone is kept once for each x."""

    def __init__(self, x: "Column", t_x: "Column", T: "Column", n: "Column") -> None:  # noqa: N803
        import numpy as np

        self.x, self.t_x, self.T, self.n = (np.asarray(one, dtype=float) for one in (x, t_x, T, n))
        self.each_x, self.place = np.unique(self.x, return_inverse=True)
        self.n_of_x = np.bincount(self.place, weights=self.n, minlength=len(self.each_x))

    def every(self, step: int) -> "Rows":
        """Return every step-th row."""
        return Rows(self.x[::step], self.t_x[::step], self.T[::step], self.n[::step])


def likelihood(parameters: "Column", rows: Rows) -> "tuple[float, Column]":
    """Return the log-likelihood of (r, alpha, a, b), and its gradient."""
    import numpy as np
    from scipy.special import digamma, gammaln

    r, alpha, a, b = (float(one) for one in parameters)
    x, n_of_x, n = rows.each_x, rows.n_of_x, rows.n
    repeats = np.maximum(x, 1)
    base = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    base += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    odds = np.where(x > 0, np.log(a) - np.log(b + repeats - 1), -np.inf)
    # Of each row: the two ways to have been silent since t_x.
    log_t, log_tx = np.log(alpha + rows.T), np.log(alpha + rows.t_x)
    shape = r + rows.x
    stays, leaves = -shape * log_t, odds[rows.place] - shape * log_tx
    both = np.logaddexp(stays, leaves)
    left = np.exp(leaves - both)
    stayed = 1 - left
    left_of_x = np.bincount(rows.place, weights=n * left, minlength=len(x))
    gradient = (
        n_of_x @ (digamma(r + x) - digamma(r) + np.log(alpha)) - n @ (stayed * log_t + left * log_tx),
        n.sum() * r / alpha - n @ (shape * (stayed / (alpha + rows.T) + left / (alpha + rows.t_x))),
        n_of_x @ (digamma(a + b) - digamma(a + b + x)) + left_of_x.sum() / a,
        n_of_x @ (digamma(a + b) + digamma(b + x) - digamma(b) - digamma(a + b + x))
        - left_of_x @ (1 / (b + repeats - 1)),
    )
    return float(n_of_x @ base + n @ both), np.array([float(one) for one in gradient])


def fit(rows: Rows) -> tuple[Model, float]:
    """Return the model of customers and its log-likelihood.

    Raises NoModelError: too few, or nothing to tell them apart.
    """
    if rows.n.sum() < MIN_CUSTOMERS or rows.n[rows.x > 0].sum() < MIN_REPEATERS:
        raise NoModelError(TOO_SMALL)
    if not (rows.t_x < rows.T).any():
        raise NoModelError(DEGENERATE)
    between = float(rows.n @ rows.T) / float(rows.n @ rows.x)
    starts = [(r, alpha * between, a, b) for r, alpha, a, b in STARTS]
    found = maximise_in_steps(likelihood, rows, starts, size=len(rows.n), weight=lambda some: float(some.n.sum()))
    return Model(*found.parameters), found.log_likelihood
