"""Models of value: gradients, what is left of the model by simulation, edges, and data that have no model."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import hyp2f1

from profiles.value import bgnbd, gamma_gamma, holdout, warnings
from profiles.value.maxima import NoModelError

CDNOW = bgnbd.Model(r=0.2426, alpha=4.4136, a=0.7929, b=2.4259)
SPEND = gamma_gamma.Model(p=6.25, q=3.74, gamma=15.44)
positive = st.floats(0.05, 20)


def simulated(model: bgnbd.Model, customers: int, seed: int = 1, weeks: float = 60) -> tuple[np.ndarray, ...]:
    """Return (x, t_x, T, purchases in the 20 weeks after T, whether still active at T) of customers of a model."""
    random = np.random.default_rng(seed)
    rate = random.gamma(model.r, 1 / model.alpha, customers)
    lost_with = random.beta(model.a, model.b, customers)
    age = random.uniform(10, weeks, customers)
    x, t_x, later = np.zeros(customers), np.zeros(customers), np.zeros(customers)
    now, lives = np.zeros(customers), np.ones(customers, bool)
    active = np.ones(customers, bool)
    while lives.any():
        now[lives] += random.exponential(1 / rate[lives])
        before = lives & (now <= age)
        after = lives & (now > age) & (now <= age + 20)
        x[before] += 1
        t_x[before] = now[before]
        later[after] += 1
        dies = lives & (random.random(customers) < lost_with)
        active &= ~(dies & before)
        lives &= (now <= age + 20) & ~dies
    return x, t_x, age, later, active


@given(st.tuples(positive, positive, positive, positive))
@settings(max_examples=40, deadline=None)
def test_the_gradient_is_the_likelihoods(parameters: tuple[float, ...]) -> None:
    rows = bgnbd.Rows(
        *(np.array(one) for one in ([0, 0, 1, 3, 40], [0, 0, 5.5, 20, 38], [0, 9, 30, 20, 39], [5, 2, 1, 3, 1]))
    )
    _compare(lambda given: bgnbd.likelihood(given, rows), np.array(parameters))


@given(st.tuples(positive, positive, positive))
@settings(max_examples=40, deadline=None)
def test_the_gradient_of_spend_is_the_likelihoods(parameters: tuple[float, ...]) -> None:
    rows = gamma_gamma.Rows(*(np.array(one) for one in ([1, 2, 40], [0.01, 35, 20], [3, 2, 1])))
    _compare(lambda given: gamma_gamma.likelihood(given, rows), np.array(parameters))


def _compare(likelihood, parameters: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    _, gradient = likelihood(parameters)
    for place, slope in enumerate(gradient):
        step = np.zeros(len(parameters))
        step[place] = 1e-5 * parameters[place]
        there = (likelihood(parameters + step)[0] - likelihood(parameters - step)[0]) / (2 * step[place])
        assert slope == pytest.approx(there, rel=1e-4, abs=1e-3)


def test_rows_that_stand_for_many_are_as_many_rows() -> None:
    x, t_x, age, *_ = (one.round() for one in simulated(CDNOW, 500))
    each = bgnbd.Rows(x, t_x, age, np.ones(500))
    unique, n = np.unique(np.stack([x, t_x, age]), axis=1, return_counts=True)
    parameters = np.array([0.3, 5.0, 0.8, 2.0])
    value, gradient = bgnbd.likelihood(parameters, each)
    again, same = bgnbd.likelihood(parameters, bgnbd.Rows(*unique, n))
    assert again == pytest.approx(value)
    assert same == pytest.approx(gradient)


def test_a_fit_finds_what_the_customers_were_made_of() -> None:
    x, t_x, age, *_ = simulated(CDNOW, 60_000)
    found, _ = bgnbd.fit(bgnbd.Rows(x, t_x, age, np.ones(len(x))))
    assert (found.r, found.alpha) == pytest.approx((CDNOW.r, CDNOW.alpha), rel=0.05)
    assert found.a / (found.a + found.b) == pytest.approx(CDNOW.a / (CDNOW.a + CDNOW.b), rel=0.1)
    random = np.random.default_rng(3)
    means = SPEND.p / random.gamma(SPEND.q, 1 / SPEND.gamma, 30_000)
    times = random.integers(1, 12, 30_000)
    spent = random.gamma(SPEND.p * times, 1 / SPEND.p) / times * means
    spend, _ = gamma_gamma.fit(gamma_gamma.Rows(times, spent, np.ones(30_000)))
    assert (spend.p, spend.q, spend.gamma) == pytest.approx((SPEND.p, SPEND.q, SPEND.gamma), rel=0.05)


def test_expectations_are_what_comes() -> None:
    x, t_x, age, later, active = simulated(CDNOW, 200_000, seed=2)
    expected, alive = CDNOW.expected(20.0, x, t_x, age), CDNOW.alive(x, t_x, age)
    for low, high in ((0, 0), (1, 1), (2, 4), (5, 20)):
        these = (x >= low) & (x <= high)
        assert expected[these].mean() == pytest.approx(later[these].mean(), rel=0.05)
        assert alive[these].mean() == pytest.approx(active[these].mean(), rel=0.03)
    rows = bgnbd.Rows(x, t_x, age, np.ones(len(x)))
    for row in holdout.compare(CDNOW, rows, later, 20.0):
        assert row["expected"] == pytest.approx(row["actual"], rel=0.1)
    for row in holdout.calibrate(CDNOW, rows):
        assert row["expected"] == pytest.approx(row["actual"], rel=0.03)


@given(
    positive, positive, positive, positive, st.integers(0, 12), st.floats(0, 50), st.floats(0, 50), st.floats(0.1, 60)
)
@settings(max_examples=200, deadline=None)
def test_the_transformed_expectation_is_the_papers(
    r: float, alpha: float, a: float, b: float, x: int, t_x: float, silent: float, t: float
) -> None:
    model = bgnbd.Model(r, alpha, a, b)
    age = t_x + silent
    found = float(model.expected(t, [x], [t_x], [age])[0])
    assert np.isfinite(found)
    assert found >= 0
    assert 0 <= float(model.alive([x], [t_x], [age])[0]) <= 1
    if abs(a - 1) < 0.05 or a + b + x < 1.2:
        return  # where the formula of the paper loses its digits
    shrunk = (alpha + age) / (alpha + age + t)
    numerator = (
        (a + b + x - 1) / (a - 1) * (1 - shrunk ** (r + x) * hyp2f1(r + x, b + x, a + b + x - 1, t / (alpha + age + t)))
    )
    odds = a / (b + x - 1) * ((alpha + age) / (alpha + t_x)) ** (r + x) if x else 0
    assert found == pytest.approx(numerator / (1 + odds), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("a", [1e-3, 0.99, 1.0, 3, 500, 1e5])
@pytest.mark.parametrize("b", [1e-3, 2.5, 500, 1e5])
def test_whatever_was_fitted_expectations_are_numbers(a: float, b: float) -> None:
    """The search allows parameters of up to 160 000: where drop-out is alike for all, a and b run far together."""
    x, age = (one.ravel() for one in np.meshgrid([0.0, 1, 2, 30, 365, 3000], [0.0, 1 / 7, 1, 52, 520]))
    t_x = np.where(x > 0, age, 0.0)
    for r, alpha in itertools.product([1e-3, 0.5, 50, 1e4], [1e-3, 1, 1e5]):
        model = bgnbd.Model(r, alpha, a, b)
        found = model.expected(90 / 7, x, t_x, age)
        never_lost = (r + x) * (90 / 7) / (alpha + age)
        assert np.isfinite(found).all()
        assert (found >= 0).all()
        assert (found <= never_lost * (1 + 1e-6) + 1e-8).all()


def test_drop_out_that_is_alike_for_all_has_the_expectation_of_one_probability() -> None:
    model = bgnbd.Model(0.5, 1.0, 5_000.0, 10_000.0)  # p is 1/3, give or take 0.004
    x, age = np.array([0.0, 2.0]), np.array([3.0, 3.0])
    p, z = 1 / 3, (90 / 7) / 4
    active = (1 - (1 + p * z) ** -(0.5 + x)) / p
    assert model.expected(90 / 7, [0.0], [0.0], [3.0])[0] == pytest.approx(active[0], rel=1e-3)
    odds = 5_000 / 10_001 * (4 / 3) ** 2.5
    assert model.expected(90 / 7, x, [0.0, 2.0], age)[1] == pytest.approx(active[1] / (1 + odds), rel=1e-3)


@given(
    st.floats(0.01, 19), st.floats(0.1, 100), st.floats(0.01, 19), st.floats(0.01, 19),
    st.integers(0, 400), st.floats(5, 600),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_formula_and_sum_are_the_same(r: float, alpha: float, a: float, b: float, x: int, age: float) -> None:
    model = bgnbd.Model(r, alpha, a, b)
    by = np.array([float(x)]), np.array([age])
    assert model._expected_by_formula(10.0, *by) == pytest.approx(model._expected_by_sum(10.0, *by), rel=1e-4)


@pytest.mark.parametrize("a", [1.0, 1 - 1e-9, 1 + 1e-9])
def test_the_limits_are_no_holes(a: float) -> None:
    there = float(bgnbd.Model(1.0, 4.0, a, 2.0).expected(10.0, [3], [20.0], [30.0])[0])
    near = float(bgnbd.Model(1.0, 4.0, a + 1e-3, 2.0).expected(10.0, [3], [20.0], [30.0])[0])
    assert there == pytest.approx(near, rel=1e-2)
    sum_is_one = float(bgnbd.Model(1.0, 4.0, 0.4, 0.6).expected(10.0, [0], [0.0], [30.0])[0])
    beside = float(bgnbd.Model(1.0, 4.0, 0.4, 0.601).expected(10.0, [0], [0.0], [30.0])[0])
    assert sum_is_one == pytest.approx(beside, rel=1e-2)


def test_who_buys_very_often_overflows_nothing() -> None:
    x, t_x, age = np.array([5000.0, 5000.0]), np.array([500.0, 100.0]), np.array([500.0, 500.0])
    assert CDNOW.alive(x, t_x, age).tolist() == [pytest.approx(1, abs=0.01), 0.0]
    assert np.isfinite(CDNOW.expected(13.0, x, t_x, age)).all()


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (([], [], [], []), "too_small"),
        (([0], [0], [10], [10_000]), "too_small"),  # nobody came back
        (([0, 1], [0, 3], [10, 10], [40, 19]), "too_small"),
        (([0, 1], [0, 5], [0, 5], [100, 100]), "degenerate"),  # all bought today: no time has passed since
        (([3], [10], [10], [1000]), "degenerate"),  # all the same
    ],
)
def test_data_without_a_model(rows: tuple[list[float], ...], code: str) -> None:
    with pytest.raises(NoModelError) as caught:
        bgnbd.fit(bgnbd.Rows(*(np.array(one) for one in rows)))
    assert caught.value.code == code


def test_nobody_is_lost_in_a_base_of_poisson_buyers() -> None:
    random = np.random.default_rng(5)
    x = random.poisson(6, 5000)
    age = np.full(5000, 40.0)
    t_x = np.where(x > 0, 40 * random.beta(np.maximum(x, 1), 1), 0)
    found, _ = bgnbd.fit(bgnbd.Rows(x, t_x, age, np.ones(5000)))
    alive, expected = found.alive(x, t_x, age), found.expected(10.0, x, t_x, age)
    assert alive.mean() > 0.99
    assert alive.min() > 0.7  # of one in five thousand who was silent for long by chance
    assert (expected / alive)[x > 0] == pytest.approx(np.full((x > 0).sum(), 1.5), rel=0.05)


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (([], [], []), "too_small"),
        (([2], [10.0], [19]), "too_small"),
        (([2, 3], [10.0, 10.0], [500, 500]), "degenerate"),
    ],
)
def test_spend_without_a_model(rows: tuple[list[float], ...], code: str) -> None:
    with pytest.raises(NoModelError) as caught:
        gamma_gamma.fit(gamma_gamma.Rows(*(np.array(one) for one in rows)))
    assert caught.value.code == code


@given(st.integers(0, 50), st.integers(1, 2000), st.integers(0, 2000), st.booleans(), st.integers(0, 100) | st.none())
def test_warnings(x: int, active: int, silent: int, is_gone: bool, alive: int | None) -> None:
    (code,) = warnings.warn(
        np.array([x]), np.array([active]), np.array([silent]), is_gone=np.array([is_gone]),
        alive_percent=None if alive is None else np.array([alive]),
    ).tolist()  # fmt: skip
    if x == 0 or is_gone:
        expected = ""
    elif alive is not None:
        expected = "high" if alive < 20 else "medium" if alive < 50 else ""
    else:
        expected = "high" if silent > 4 * active / x else "medium" if silent > 2 * active / x else ""
    assert warnings.CODES[code] == expected
