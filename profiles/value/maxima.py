"""Find the parameters of a model, all of which are positive, with the largest likelihood.

The search goes over their logarithms with the likelihood's own gradient, from several starts: the surface of these
models has a ridge, and a bad start may end on a plain. Parameters that run to the edge of the range say that the data
do not have what the model looks for (nobody ever drops out, all spend the same): then there is no model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

# exp(-9) = 0.0001, exp(12) = 160 000.
# Where many starts are tried on.
FEW_ROWS = 20_000
LOWEST, HIGHEST = -9.0, 12.0
EDGE = 0.05
TOO_SMALL, DEGENERATE, NO_END = "too_small", "degenerate", "no_convergence"
REASONS = {
    TOO_SMALL: "复购客户太少，还不能估计",
    DEGENERATE: "这些数据没有模型要找的差异（例如没有人流失，或大家消费都一样）",
    NO_END: "参数没有收敛",
}


class NoModelError(Exception):
    """These data have no model. code: one of REASONS."""

    def __init__(self, code: str) -> None:
        super().__init__(REASONS[code])
        self.code = code


@dataclass(frozen=True)
class Found:
    """parameters, in the likelihood's order."""

    parameters: tuple[float, ...]
    log_likelihood: float


def maximise(
    likelihood: "Callable[[Column], tuple[float, Column]]", starts: Sequence[Sequence[float]], *, weight: float
) -> Found:
    """Return the parameters with the largest likelihood.

    likelihood: of parameters, with its gradient by them. weight: how many it is the likelihood of.
    Raises NoModelError.
    """
    import numpy as np
    from scipy.optimize import minimize

    def turned(logarithms: "Column") -> "tuple[float, Column]":
        parameters = np.exp(logarithms)
        value, gradient = likelihood(parameters)
        if not np.isfinite(value) or not np.isfinite(gradient).all():
            return 1e300, np.zeros_like(logarithms)
        return -value / weight, -gradient * parameters / weight

    found = [
        minimize(
            turned, np.log(start), jac=True, method="L-BFGS-B", bounds=[(LOWEST, HIGHEST)] * len(start),
            options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
        )
        for start in starts
    ]  # fmt: skip
    best = min(found, key=lambda one: float(one.fun))
    if not np.isfinite(best.fun) or best.fun >= 1e299:
        raise NoModelError(NO_END)
    if (best.x < LOWEST + EDGE).any() or (best.x > HIGHEST - EDGE).any():
        raise NoModelError(DEGENERATE)
    # At a maximum the slope is nothing; a search that only ran out of steps is not there.
    if np.abs(best.jac).max() > 1e-4:
        raise NoModelError(NO_END)
    return Found(tuple(float(one) for one in np.exp(best.x)), -float(best.fun) * weight)


class Data(Protocol):
    """Rows of a model, of which some can be taken."""

    def every(self, step: int) -> Self: ...


Rows = TypeVar("Rows", bound=Data)


def maximise_in_steps(
    likelihood: "Callable[[Column, Rows], tuple[float, Column]]",
    rows: Rows,
    starts: Sequence[Sequence[float]],
    *,
    size: int,
    weight: Callable[[Rows], float],
) -> Found:
    """Return the parameters with the largest likelihood of rows: all starts on few of them, the best one on all."""
    step = -(-size // FEW_ROWS)
    if step > 1:
        some = rows.every(step)
        try:
            found = maximise(lambda parameters: likelihood(parameters, some), starts, weight=weight(some))
            starts = [found.parameters]
        except NoModelError:
            pass  # all of them may have one
    return maximise(lambda parameters: likelihood(parameters, rows), starts, weight=weight(rows))
