"""The prior of unlabelled rows: found, never less likely, refused where it cannot be."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from kexue._core import InputError
from kexue.losses import estimate_prior, logit_adjustment


def mixture(q, n=20_000, seed=0):
    """Posteriors under a uniform prior of points whose classes are drawn by q."""
    rng = np.random.default_rng(seed)
    centres = np.arange(len(q)) * 1.5
    x = centres[rng.choice(len(q), n, p=q)] + rng.normal(size=n)
    likelihood = np.exp(-((x[:, None] - centres) ** 2) / 2)
    return likelihood / likelihood.sum(1, keepdims=True)


def test_two_classes_by_brute_force():
    p = mixture([0.15, 0.85], 2000)
    pi = np.array([0.6, 0.4])
    ratio = p / pi
    best = minimize_scalar(
        lambda t: -np.log(ratio @ [t, 1 - t]).mean(), (0.01, 0.99), (0, 1), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    found = estimate_prior(p, pi, tol=1e-12)
    assert found[0] == pytest.approx(best.x, abs=1e-6)
    expected = -best.fun - np.log(ratio @ pi).mean()
    assert found.log_likelihood[-1] == pytest.approx(expected, abs=1e-10)


def labels(q, n=20_000, seed=0):
    """The classes that `mixture` draws first."""
    return np.random.default_rng(seed).choice(len(q), n, p=q)


@pytest.mark.parametrize("seed", range(5))
def test_random_priors_of_a_calibrated_model(seed):
    q = np.random.default_rng(seed).dirichlet(np.ones(4))
    found = estimate_prior(mixture(q, seed=seed), [25, 25, 25, 25])
    assert np.abs(found - q).sum() < 0.1
    assert (np.diff(found.log_likelihood) > -1e-12).all()
    assert found.log_likelihood[0] == 0
    assert found.converged
    assert found.n_iter == len(found.log_likelihood) - 1
    assert found.shape == (4,)
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_random_priors_of_digits(seed):
    """Real images: the test half drawn anew by a random prior.

    With C = 0.3 the model says less than it knows, and the distance is 0.13 in places.
    """
    X, y = load_digits(return_X_y=True)
    X, rest, y, truth = train_test_split(X / 16, y, test_size=0.5, random_state=0, stratify=y)
    model = LogisticRegression(C=3, max_iter=500).fit(X, y)
    rng = np.random.default_rng(seed)
    q = rng.dirichlet(np.ones(10))
    rows = rng.choice(len(rest), 2000, p=q[truth] / np.bincount(truth)[truth])
    drawn = np.bincount(truth[rows], minlength=10) / 2000
    found = estimate_prior(model.predict_proba(rest[rows]), np.bincount(y))
    assert np.abs(found - drawn).sum() < 0.1
    assert (np.diff(found.log_likelihood) > -1e-12).all()


def test_fewer_errors_under_the_prior_that_was_found():
    q = [0.02, 0.9, 0.05, 0.03]
    p, truth = mixture(q), labels(q)
    moved = logit_adjustment(np.log(p), np.ones(4), target_prior=estimate_prior(p, np.ones(4)))
    assert (moved.argmax(1) != truth).mean() < 0.6 * (p.argmax(1) != truth).mean()


def test_the_training_prior_stays_where_it_fits():
    p = mixture([0.25] * 4, 1000)
    mean = p.mean(0)  # under which the first step leaves q alone
    found = estimate_prior(p, mean)
    assert np.abs(found - mean).max() < 1e-7


def test_torch_and_half_precision():
    p = mixture([0.3, 0.7], 500)
    expected = estimate_prior(p, [1, 1])
    found = estimate_prior(torch.from_numpy(p).float(), torch.tensor([1, 1]))
    assert np.asarray(found) == pytest.approx(np.asarray(expected), abs=1e-5)


def test_slow_convergence_is_told():
    with pytest.warns(ConvergenceWarning, match="still moved by .* after 2 steps"):
        assert not estimate_prior(mixture([0.9, 0.1], 100), [1, 1], max_iter=2).converged


@pytest.mark.parametrize(
    ("proba", "prior", "error", "message"),
    [
        ([[0.5, 0.5]], [1, 1, 1], InputError, r"proba must be of shape \(N, 3\), got \(1, 2\)"),
        (np.zeros((0, 2)), [1, 1], InputError, r"proba must be of shape \(N, 2\), got \(0, 2\)"),
        ([[1, 0], [3.0, -1.0]], [1, 1], InputError, "got 2 in row 1; give probabilities"),
        ([[1.5, -0.5]], [1, 1], InputError, "proba must be >= 0 with rows that sum to 1"),
        ([[np.nan, 0.5]], [1, 1], InputError, "proba must be >= 0 with rows that sum to 1"),
        ([["a", "b"]], [1, 1], TypeError, "proba must be real numbers, got <U1"),
        ([[0.5, 0.5]], [1, 0], InputError, "train_prior must be > 0 for every class"),
    ],
)
def test_bad_input(proba, prior, error, message):
    with pytest.raises(error, match=message):
        estimate_prior(proba, prior)
