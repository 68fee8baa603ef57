"""Non-negative regression against active sets, other solvers and the conditions of an optimum."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize, nnls
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from kexue._core import InputError
from kexue.optim import NonNegativeRegressor

LOSSES = ["squared", "poisson"]


@parametrize_with_checks([NonNegativeRegressor(), NonNegativeRegressor("poisson")])
@pytest.mark.filterwarnings("ignore:.*rows of X are 0")
@pytest.mark.filterwarnings("ignore:stopped after")
def test_scikit_learn_takes_it_for_one_of_its_own(estimator, check):
    check(estimator)


def problem(n=200, d=30, seed=0, loss="squared", spread=0.0, shared=0.0):
    """Rows with columns of very different sizes, and alike by a shared part."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, d)) if loss == "poisson" else rng.normal(size=(n, d))
    X = (X + shared * X[:, :1]) * np.logspace(0, spread, d)
    theta = np.maximum(rng.normal(size=d), 0) / np.logspace(0, spread, d)
    if loss == "poisson":
        return X, rng.poisson(X @ theta).astype(float)
    return X, X @ theta + rng.normal(size=n)


def gradient(model, X, y):
    mean = X @ model.coef_
    if model.loss == "squared":
        return X.T @ (mean - y) / len(y)
    return X.T @ (1 - np.where(y > 0, y, 0) / np.where(y > 0, mean, 1)) / len(y)


# --- the optimum


@pytest.mark.parametrize("polish", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_least_squares_are_those_of_the_active_set(seed, polish):
    X, y = problem(seed=seed)
    model = NonNegativeRegressor(tol=1e-10, polish=polish).fit(X, y)
    np.testing.assert_allclose(model.coef_, nnls(X, y)[0], atol=1e-8)
    assert model.kkt_ <= 1e-10
    assert model.n_iter_ <= 5000


@pytest.mark.parametrize(
    ("shape", "spread", "shared"),
    [
        ((40, 8), 0, 0),
        ((500, 100), 6, 0),
        ((500, 100), 0, 10),
        ((400, 300), 3, 3),
        ((50, 50), 0, 0),
    ],
)
def test_hard_least_squares(shape, spread, shared):
    """Columns whose sizes differ a million times, or that are nearly the same."""
    X, y = problem(*shape, spread=spread, shared=shared)
    model = NonNegativeRegressor().fit(X, y)
    expected = nnls(X, y, maxiter=10_000)[0]
    sizes = np.sqrt((X**2).mean(0)) / np.sqrt((y**2).mean())
    assert np.abs((model.coef_ - expected) * sizes).max() <= 1e-8
    assert model.kkt_ <= 1e-8
    assert model.n_iter_ <= 5000
    assert (model.coef_ >= 0).all()


@pytest.mark.parametrize("polish", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_poisson_is_what_a_general_solver_finds(seed, polish):
    X, y = problem(seed=seed, loss="poisson")
    model = NonNegativeRegressor("poisson", polish=polish).fit(X, y)

    def loss(theta):
        mean = X @ theta
        return (mean - y * np.log(mean)).mean(), X.T @ (1 - y / mean) / len(y)

    found = minimize(
        loss, np.ones(30), jac=True, bounds=[(1e-12, None)] * 30, options={"gtol": 1e-10,
        "ftol": 1e-15, "maxiter": 5000, "maxfun": 20_000},
    )  # fmt: skip
    assert loss(np.maximum(model.coef_, 1e-300))[0] <= found.fun + 1e-9
    np.testing.assert_allclose(model.coef_, found.x, atol=1e-4)
    assert model.kkt_ <= 1e-8


@pytest.mark.parametrize("shape", [(200, 30), (30, 60)])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_conditions_of_an_optimum(loss, shape):
    """With more columns than rows too, where the solution is one of many."""
    X, y = problem(*shape, loss=loss)
    model = NonNegativeRegressor(loss).fit(X, y)
    g = gradient(model, X, y)
    size = np.sqrt((X**2).mean(0)) if loss == "squared" else X.mean(0)
    unit = np.sqrt((y**2).mean()) if loss == "squared" else y.mean()
    scaled = g / size / (unit if loss == "squared" else 1)
    violation = np.abs(np.minimum(model.coef_ * size / unit, scaled)).max()
    assert violation == pytest.approx(model.kkt_, rel=1e-3, abs=1e-13)
    assert violation <= 1e-8
    assert (model.coef_ >= 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_units_do_not_matter(loss):
    X, y = problem(loss=loss)
    model = NonNegativeRegressor(loss).fit(X, y)
    units = np.logspace(-5, 5, X.shape[1])
    other = NonNegativeRegressor(loss).fit(X * units, y * 1e6)
    np.testing.assert_allclose(other.coef_ * units / 1e6, model.coef_, atol=1e-8)
    assert other.n_iter_ == pytest.approx(model.n_iter_, abs=10)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_sparse_rows(form, loss):
    X, y = problem(loss=loss)
    X[np.random.default_rng(1).random(X.shape) < 0.7] = 0
    X[:, 0] = 1
    dense = NonNegativeRegressor(loss).fit(X, y)
    model = NonNegativeRegressor(loss).fit(form(X), y)
    np.testing.assert_allclose(model.coef_, dense.coef_, atol=1e-8)
    np.testing.assert_allclose(model.predict(form(X)), dense.predict(X), atol=1e-6)


def test_scikit_learn_s_least_squares():
    X, y = problem()
    theirs = LinearRegression(positive=True, fit_intercept=False).fit(X, y)
    ours = NonNegativeRegressor().fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-8)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y))


# --- edges


@pytest.mark.parametrize("loss", LOSSES)
def test_columns_and_targets_of_zeros(loss):
    X, y = problem(loss=loss)
    X[:, 3] = 0
    model = NonNegativeRegressor(loss).fit(X, y)
    rest = np.delete(X, 3, axis=1)
    assert model.coef_[3] == 0
    expected = NonNegativeRegressor(loss).fit(rest, y).coef_
    np.testing.assert_allclose(np.delete(model.coef_, 3), expected, atol=1e-8)
    empty = NonNegativeRegressor(loss).fit(X, np.zeros(len(y)))
    assert not empty.coef_.any()
    assert not NonNegativeRegressor(loss).fit(X * 0, y * 0).coef_.any()


def test_where_all_columns_point_away():
    X, _ = problem()
    model = NonNegativeRegressor().fit(np.abs(X), -np.abs(X).sum(1))
    assert (model.coef_ == 0).all()
    assert model.kkt_ == 0


def test_counts_that_no_column_explains_are_left_out():
    X, y = problem(loss="poisson")
    X[:2], y[0], y[1] = 0, 3, 0
    with pytest.warns(UserWarning, match="1 rows of X are 0 where y is not: .* left out"):
        model = NonNegativeRegressor("poisson").fit(X, y)
    # its mean is 0 whatever the coefficients; only the number of rows counts
    y[0] = 0
    np.testing.assert_allclose(model.coef_, NonNegativeRegressor("poisson").fit(X, y).coef_)


def test_the_same_column_twice():
    X, y = problem()
    model = NonNegativeRegressor().fit(np.hstack([X, X]), y)
    once = NonNegativeRegressor().fit(X, y)
    np.testing.assert_allclose(model.coef_.reshape(2, -1).sum(0), once.coef_, atol=1e-6)
    assert model.kkt_ <= 1e-8


def test_too_few_steps_are_told():
    X, y = problem()
    with pytest.warns(ConvergenceWarning, match="stopped after 3 steps with kkt_ .* raise max_it"):
        model = NonNegativeRegressor(max_iter=3).fit(X, y)
    assert model.n_iter_ == 3
    assert model.kkt_ > 1e-8
    with pytest.warns(ConvergenceWarning, match="kkt_"):  # what rounding does not allow, ends
        NonNegativeRegressor(tol=0.0, max_iter=300).fit(X, y)


# --- bad inputs

BAD = np.ones((9, 2))
BAD[4, 1] = -2


@pytest.mark.parametrize(
    ("settings", "X", "y", "error", "message"),
    [
        ({"loss": "huber"}, None, None, InputError, "loss must be one of 'squared', 'poisson', g"),
        ({"tol": -1}, None, None, InputError, "tol must be a finite number >= 0, got -1"),
        ({"max_iter": 0}, None, None, InputError, "max_iter must be an int >= 1, got 0"),
        ({"polish": 1}, None, None, TypeError, "polish must be a bool, got 1"),
        ({"loss": "poisson"}, BAD, None, InputError, "X must not be negative with loss='poisson'"),
        ({"loss": "poisson"}, None, BAD[:, 1], InputError, "y must not be .* got -2 at row 4"),
        ({}, BAD[:, 0], None, ValueError, "Expected 2D array, got 1D array instead"),
        ({}, None, np.full(9, np.nan), ValueError, "Input y contains NaN"),
        ({}, None, np.ones(8), ValueError, "inconsistent numbers of samples"),
    ],
)
def test_bad_input_is_answered_by_its_message(settings, X, y, error, message):
    X = np.ones((9, 2)) if X is None else X
    y = np.ones(9) if y is None else y
    with pytest.raises(error, match=message):
        NonNegativeRegressor(**settings).fit(X, y)


def test_predict_needs_fit():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        NonNegativeRegressor().predict(np.ones((2, 2)))
