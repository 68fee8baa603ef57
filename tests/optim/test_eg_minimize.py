"""Exponentiated gradient on NumPy arrays: its steps, its optima, its place in SciPy."""

import numpy as np
import pytest
from scipy.optimize import minimize, nnls

from kexue._core import InputError
from kexue.optim import eg_minimize

START = np.array([0.2, 0.5, 0.3])


def linear(slopes):
    return lambda x: (float(slopes @ x), slopes)


def least_squares(n=60, d=12, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    y = X @ np.maximum(rng.normal(size=d), 0) + rng.normal(size=n)
    return X, y, lambda x: (0.5 * np.sum((X @ x - y) ** 2) / n, X.T @ (X @ x - y) / n)


# --- the step

SLOPES = np.array([0.3, -0.2, 0.9])


def test_a_step_on_positive_numbers_multiplies():
    found = eg_minimize(linear(SLOPES), START, True, lr=0.5, max_iter=3)
    np.testing.assert_allclose(found.x, START * np.exp(-1.5 * SLOPES), rtol=1e-14)


def test_steps_on_the_simplex_are_the_softmax_of_the_sum():
    found = eg_minimize(linear(SLOPES), START, True, geometry="simplex", lr=0.5, max_iter=7)
    expected = START * np.exp(-3.5 * SLOPES)
    np.testing.assert_allclose(found.x, expected / expected.sum(), rtol=1e-12)


def test_signed_steps_are_a_hyperbolic_sine():
    found = eg_minimize(
        linear(SLOPES), np.zeros(3), True, geometry="signed", beta=0.2, lr=0.5, max_iter=7
    )
    np.testing.assert_allclose(found.x, 0.4 * np.sinh(-3.5 * SLOPES), rtol=1e-12)


def test_a_step_minimises_the_linear_loss_plus_the_divergence():
    """The second derivation: theta minimises lr <g, theta> + KL(theta, start)."""
    rng = np.random.default_rng(0)
    for geometry in ("positive", "simplex"):
        step = eg_minimize(linear(SLOPES), START, True, geometry=geometry, lr=0.8, max_iter=1).x

        def objective(x):
            return 0.8 * SLOPES @ x + np.sum(x * np.log(x / START) - x + START)

        for _ in range(100):
            other = step * np.exp(0.01 * rng.normal(size=3))
            if geometry == "simplex":
                other /= other.sum()
            assert objective(other) > objective(step)


def test_no_coordinate_changes_by_more_than_the_bound():
    slopes = np.array([1e30, -1e30, 0.0])
    found = eg_minimize(linear(slopes), START, True, lr=1.0, max_log_step=0.5, max_iter=1)
    np.testing.assert_allclose(np.log(found.x / START), [-0.5, 0.5, 0], atol=1e-14)
    # a constant is no gradient on the simplex
    found = eg_minimize(linear(SLOPES + 1e6), START, True, geometry="simplex", lr=0.5, max_iter=1)
    expected = START * np.exp(-0.5 * SLOPES)
    np.testing.assert_allclose(found.x, expected / expected.sum(), rtol=1e-8)


# --- optima


@pytest.mark.parametrize("seed", range(5))
def test_least_squares(seed):
    X, y, problem = least_squares(seed=seed)
    found = eg_minimize(problem, np.ones(12), True, tol=1e-10, max_iter=5000)
    assert found.success
    assert found.status == 0
    assert found.kkt <= 1e-10
    np.testing.assert_allclose(found.x, nnls(X, y)[0], atol=1e-8)
    value, gradient = problem(found.x)
    assert found.fun == value
    assert found.kkt == np.abs(np.minimum(found.x, gradient)).max()


def test_the_simplex_projection():
    rng = np.random.default_rng(0)
    for _ in range(5):
        target = rng.normal(size=20)
        found = eg_minimize(
            lambda x: 0.5 * np.sum((x - target) ** 2),  # noqa: B023
            np.full(20, 0.05),
            lambda x: x - target,  # noqa: B023
            geometry="simplex",
        )
        ordered = np.sort(target)[::-1]
        levels = (np.cumsum(ordered) - 1) / np.arange(1, 21)
        level = levels[np.flatnonzero(ordered > levels)[-1]]
        assert found.success
        np.testing.assert_allclose(found.x, np.maximum(target - level, 0), atol=1e-7)


def test_signed_least_squares():
    X, y, problem = least_squares()
    found = eg_minimize(problem, np.zeros(12), True, geometry="signed", tol=1e-10)
    assert found.success
    np.testing.assert_allclose(found.x, np.linalg.lstsq(X, y)[0], atol=1e-8)
    assert found.kkt == np.abs(found.jac).max()


def test_a_function_that_is_not_convex():
    """Rosenbrock's valley, its bottom within and outside the orthant."""
    for shift, expected in ((0.0, [1.0, 1.0]), (2.0, None)):

        def rosenbrock(x):
            a, b = x[0] - shift, x[1]  # noqa: B023
            return 100 * (b - a**2) ** 2 + (1 - a) ** 2, np.array(
                [-400 * a * (b - a**2) - 2 * (1 - a), 200 * (b - a**2)]
            )

        found = eg_minimize(rosenbrock, [0.3, 2.0], True)
        assert found.success, found
        if expected is not None:
            np.testing.assert_allclose(found.x, expected, atol=1e-6)


def test_a_value_that_is_not_finite_on_the_way_shortens_the_step():
    def barrier(x):
        inside = x < 0.3
        value = np.sum(-x - 0.01 * np.log(0.3 - x)) if inside.all() else np.nan
        return value, -1 + 0.01 / np.where(inside, 0.3 - x, np.nan)

    found = eg_minimize(barrier, np.full(3, 0.01), True)
    assert found.success
    np.testing.assert_allclose(found.x, 0.29, atol=1e-6)


# --- SciPy


def test_as_a_method_of_scipy():
    _, _, problem = least_squares()
    direct = eg_minimize(problem, np.ones(12), True, tol=1e-9)
    found = minimize(problem, np.ones(12), jac=True, method=eg_minimize, tol=1e-9)
    assert found.success
    np.testing.assert_array_equal(found.x, direct.x)
    few = minimize(
        problem, np.ones(12), jac=True, method=eg_minimize, options={"maxiter": 3, "lr": 0.01}
    )
    assert (few.nit, few.status, few.success) == (3, 1, False)
    shifted = minimize(
        lambda x, a: np.sum((x - a) ** 2), [1.0], args=(3.0,), jac=lambda x, a: 2 * (x - a),
        method=eg_minimize,
    )  # fmt: skip
    assert shifted.x == pytest.approx([3.0])


@pytest.mark.parametrize("through_scipy", [False, True])
def test_callbacks(through_scipy):
    _, _, problem = least_squares()
    seen = []

    def callback(x):
        seen.append(x)
        if len(seen) == 4:
            raise StopIteration

    if through_scipy:
        found = minimize(problem, np.ones(12), jac=True, method=eg_minimize, callback=callback)
    else:
        found = eg_minimize(problem, np.ones(12), True, callback=callback)
    assert (found.nit, found.status, len(seen)) == (4, 99, 4)
    np.testing.assert_array_equal(seen[-1], found.x)


# --- bad inputs


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"x0": [1.0, 0.0]}, InputError, "x0 must be positive, for what is 0 stays 0, got 0.0 at"),
        ({"x0": [[1.0]]}, InputError, r"x0 must be an array of shape \(d,\), got shape \(1, 1\)"),
        ({"x0": [1.0, np.nan]}, InputError, "x0 must be finite, got nan"),
        ({"geometry": "simplex"}, InputError, "x0 must sum to 1 on the simplex, got the sum 2"),
        ({"geometry": "cone"}, InputError, "geometry must be one of 'positive', 'simplex', 's"),
        ({"lr": -1}, InputError, "lr must be a finite number >= 0, got -1"),
        ({"lr": "auto"}, TypeError, "lr must be a finite number"),
        ({"beta": 0}, InputError, "beta must be > 0, got 0"),
        ({"max_log_step": 0}, InputError, "max_log_step must be > 0, got 0"),
        ({"tol": -1}, InputError, "tol must be a finite number >= 0, got -1"),
        ({"max_iter": 1.5}, TypeError, "max_iter must be an int >= 0, got 1.5"),
        ({"jac": None}, TypeError, "jac must be a function that returns the gradient, or True"),
        ({"fun": 3}, TypeError, "fun must be a function, got 3"),
        ({"jac": lambda x: np.ones(3)}, InputError, r"the shape of x0, \(2,\), got \(3,\)"),
        ({"fun": lambda x: np.nan}, InputError, "fun and jac must be finite at x0, got the value"),
        ({"bounds": [(0, 1)]}, InputError, "eg_minimize takes no bounds: the geometry is the con"),
        ({"step": 1}, TypeError, "got an unexpected keyword argument 'step'"),
    ],
)
def test_bad_input_is_answered_by_its_message(settings, error, message):
    given = {"fun": lambda x: x.sum(), "x0": np.ones(2), "jac": np.ones_like, **settings}
    with pytest.raises(error, match=message):
        eg_minimize(**given)
