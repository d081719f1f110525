"""What the fit keeps of everybody: the same counts and the same model, in whatever order they are read."""

from itertools import pairwise

import numpy as np
import pytest

from profiles import fitting, rfm
from profiles.fitting import LEVEL_BITS, MAX_ROWS, SampledTally, Tally
from profiles.value import bgnbd, gamma_gamma


def blocks(values: np.ndarray, size: int, seed: int) -> list[np.ndarray]:
    shuffled = np.random.default_rng(seed).permutation(values)
    return [shuffled[start : start + size] for start in range(0, len(shuffled), size)]


@pytest.mark.parametrize("seed", range(5))
def test_numbers_are_counted_in_any_order_and_by_any_homes(seed: int) -> None:
    chance = np.random.default_rng(seed)
    # Cents, also below zero: what was given back may be more than what was paid in the days that are counted.
    values = np.concatenate([chance.integers(-50, 50, 2_000), chance.integers(-(10**12), 10**12, 500), [-1] * 30])
    whole = Tally()
    whole.add(values)
    homes = Tally(), Tally()
    for number, block in enumerate(blocks(values, 97, seed)):
        homes[number % 2].add(block)
    homes[0].merge(homes[1])
    homes[0].merge(Tally())
    each, counts = np.unique(values, return_counts=True)
    for one in (whole, homes[0]):
        assert one.values.tolist() == each.tolist()
        assert one.counts.tolist() == counts.tolist()
    assert rfm.thresholds((whole.values, whole.counts)) == rfm.thresholds(
        dict(zip(each.tolist(), counts.tolist(), strict=True))
    )


def test_of_too_many_rows_the_same_ones_stay_in_any_order() -> None:
    ids = np.arange(700_000) * 10 + 1_000_000_000_003
    rows = (ids * 2_654_435_761) % (1 << 40)  # nearly all of them different
    packed = (rows << LEVEL_BITS) | fitting._levels(ids)
    found = []
    for seed in (1, 2):
        homes = SampledTally(), SampledTally()
        for number, block in enumerate(blocks(packed, 60_000, seed)):
            homes[number % 2].add(block)
        homes[seed % 2].merge(homes[1 - seed % 2])
        found.append(homes[seed % 2])
    one, other = found
    assert (one.of, one.lowest) == (other.of, other.lowest) == (700_000, 2)  # a quarter of them is few enough
    assert (one.values == other.values).all()
    assert (one.counts == other.counts).all()
    assert one.values.tolist() == sorted(packed[fitting._levels(ids) >= 2].tolist())
    (columns,), n = one.rows(40)
    assert MAX_ROWS > len(columns) == len(np.unique(rows[fitting._levels(ids) >= 2]))
    assert int(n.sum()) == len(one.values)


def test_rows_that_differ_in_their_level_only_are_one() -> None:
    tally = SampledTally()
    tally.add(np.array([(7 << LEVEL_BITS) | 0, (7 << LEVEL_BITS) | 3, (9 << LEVEL_BITS) | 1, (7 << LEVEL_BITS) | 3]))
    (columns,), n = tally.rows(10)
    assert (columns.tolist(), n.tolist()) == ([7, 9], [3, 1])


@pytest.mark.parametrize("size", [bgnbd.ROWS_AT_ONCE - 1, bgnbd.ROWS_AT_ONCE, 2 * bgnbd.ROWS_AT_ONCE + 1])
def test_a_likelihood_is_the_sum_of_its_parts(size: int) -> None:
    chance = np.random.default_rng(size)
    age, n = chance.integers(1, 320, size), chance.integers(1, 9, size)
    x = np.minimum(chance.geometric(0.3, size) - 1, age)
    t_x = np.where(x > 0, np.minimum(age, x + chance.integers(0, 200, size)), 0)
    x[0], t_x[0], age[0] = 0, 0, 5  # somebody with one purchase only
    mean = chance.gamma(2, 100, size) + 0.01
    for likelihood, make, columns, parameters in (
        (bgnbd.likelihood, bgnbd.Rows, (x, t_x / 7, age / 7, n), (0.24, 4.4, 0.79, 2.4)),
        (bgnbd.likelihood, bgnbd.Rows, (x, t_x / 7, age / 7, n), (0.7, 9.1, 0.04, 0.29)),
        (gamma_gamma.likelihood, gamma_gamma.Rows, (x + 1, mean, n), (6.25, 3.74, 15.44)),
        (gamma_gamma.likelihood, gamma_gamma.Rows, (x + 1, mean, n), (2.1, 350.0, 43_000.0)),
    ):
        value, gradient = likelihood(np.array(parameters), make(*columns))  # type: ignore[operator]
        edges = [0, 1, 500, size // 2, size]
        parts = [
            likelihood(np.array(parameters), make(*(one[start:stop] for one in columns)))  # type: ignore[operator]
            for start, stop in pairwise(edges)
        ]
        assert value == pytest.approx(sum(one for one, _ in parts), rel=1e-11)
        assert gradient == pytest.approx(sum(one for _, one in parts), rel=1e-9)
