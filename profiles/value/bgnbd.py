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
# Whose columns stay in a core's cache while a likelihood is summed up. From 10 000 on OpenBLAS calls threads, which
# wait for each other longer than they work, and whose sums differ by their number.
ROWS_AT_ONCE = 8_192
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
    """Customers to fit, n of each (x, t_x, T). Of each column: its different values, and where each row's is in them.

    x and times in whole days have few different values, so that what hangs on one of them is computed once for each.
    """

    def __init__(self, x: "Column", t_x: "Column", T: "Column", n: "Column") -> None:  # noqa: N803
        import numpy as np

        self.n = np.asarray(n, dtype=float)
        self.each_x, self.place_x = _places(x)
        self.each_t_x, self.place_t_x = _places(t_x)
        self.each_T, self.place_T = _places(T)
        self.n_of_x = np.bincount(self.place_x, weights=self.n, minlength=len(self.each_x))

    @property
    def x(self) -> "Column":
        return self.each_x[self.place_x]

    @property
    def t_x(self) -> "Column":
        return self.each_t_x[self.place_t_x]

    @property
    def T(self) -> "Column":  # noqa: N802
        return self.each_T[self.place_T]

    def every(self, step: int) -> "Rows":
        """Return every step-th row."""
        return Rows(self.x[::step], self.t_x[::step], self.T[::step], self.n[::step])


def _places(values: "Column") -> "tuple[Column, Column]":
    """Return the different values, and the place of each value in them."""
    import numpy as np

    each, place = np.unique(np.asarray(values, dtype=float), return_inverse=True)
    return each, place.astype(np.int32)


def likelihood(parameters: "Column", rows: Rows) -> "tuple[float, Column]":
    """Return the log-likelihood of (r, alpha, a, b), and its gradient. Memory: that of ROWS_AT_ONCE."""
    import numpy as np
    from scipy.special import digamma, gammaln

    r, alpha, a, b = (float(one) for one in parameters)
    x, n_of_x = rows.each_x, rows.n_of_x
    repeats = np.maximum(x, 1)
    base = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    base += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    odds_of_x = np.where(x > 0, np.log(a) - np.log(b + repeats - 1), -np.inf)
    shape_of_x = r + x
    log_of_T, part_of_T = np.log(alpha + rows.each_T), 1 / (alpha + rows.each_T)  # noqa: N806
    log_of_t_x, part_of_t_x = np.log(alpha + rows.each_t_x), 1 / (alpha + rows.each_t_x)
    value, by_r, by_alpha, left_of_x = 0.0, 0.0, 0.0, np.zeros(len(x))
    for start in range(0, len(rows.n), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        n, place_x, place_T, place_t_x = rows.n[some], rows.place_x[some], rows.place_T[some], rows.place_t_x[some]  # noqa: N806
        shape, log_T = shape_of_x[place_x], log_of_T[place_T]  # noqa: N806
        more = log_T - log_of_t_x[place_t_x]
        # The odds of having left at t_x against having been silent since. Beyond 1 by their inverse: nothing overflows.
        log_odds = odds_of_x[place_x] + shape * more
        small = np.exp(-np.abs(log_odds))
        left = np.where(log_odds > 0, 1, small) / (1 + small)
        value += n @ (np.maximum(log_odds, 0) + np.log(1 + small) - shape * log_T)
        by_r += n @ (log_T - left * more)
        by_alpha += n @ (shape * (part_of_T[place_T] * (1 - left) + part_of_t_x[place_t_x] * left))
        left_of_x += np.bincount(place_x, weights=n * left, minlength=len(x))
    gradient = (
        n_of_x @ (digamma(r + x) - digamma(r) + np.log(alpha)) - by_r,
        n_of_x.sum() * r / alpha - by_alpha,
        n_of_x @ (digamma(a + b) - digamma(a + b + x)) + left_of_x.sum() / a,
        n_of_x @ (digamma(a + b) + digamma(b + x) - digamma(b) - digamma(a + b + x))
        - left_of_x @ (1 / (b + repeats - 1)),
    )
    return float(n_of_x @ base + value), np.array([float(one) for one in gradient])


def fit(rows: Rows) -> tuple[Model, float]:
    """Return the model of customers and its log-likelihood.

    Raises NoModelError: too few, or nothing to tell them apart.
    """
    if rows.n.sum() < MIN_CUSTOMERS or rows.n_of_x[rows.each_x > 0].sum() < MIN_REPEATERS:
        raise NoModelError(TOO_SMALL)
    if not (rows.t_x < rows.T).any():
        raise NoModelError(DEGENERATE)
    between = float((rows.n * rows.T).sum() / (rows.n_of_x @ rows.each_x))
    starts = [(r, alpha * between, a, b) for r, alpha, a, b in STARTS]
    found = maximise_in_steps(likelihood, rows, starts, size=len(rows.n), weight=lambda some: float(some.n.sum()))
    return Model(*found.parameters), found.log_likelihood
