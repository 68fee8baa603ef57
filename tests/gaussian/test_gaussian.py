"""The class: forms, what they know of themselves, samples and densities, fits, bad input."""

import numpy as np
import pytest
from scipy import stats
from sklearn.covariance import OAS, LedoitWolf
from sklearn.datasets import load_digits

from kexue._core import InputError
from kexue.gaussian import Gaussian

NON_SINGULAR = ("full", "diagonal", "factor", "isotropic", "diagonal + low rank")


def test_each_form_is_what_its_matrix_is(make, dense, form):
    gaussian = make(form, seed=1)
    cov, factor = np.asarray(gaussian.cov), np.asarray(gaussian.factor)
    np.testing.assert_allclose(factor @ factor.T, cov, atol=1e-13)
    assert gaussian.rank == np.linalg.matrix_rank(cov) == (3 if form == "thin factor" else 12)
    expected = -np.inf if form == "thin factor" else np.linalg.slogdet(cov)[1]
    assert float(gaussian.logdet) == pytest.approx(expected, rel=1e-11)
    assert float(dense(gaussian).logdet) == pytest.approx(expected, rel=1e-11)
    entropy = 6 * np.log(2 * np.pi * np.e) + expected / 2
    assert float(gaussian.entropy()) == pytest.approx(entropy, rel=1e-11)


@pytest.mark.parametrize("kind", NON_SINGULAR)
def test_log_density_is_that_of_scipy(make, kind):
    gaussian = make(kind, seed=2)
    points = np.random.default_rng(0).normal(size=(50, 12))
    reference = stats.multivariate_normal(np.asarray(gaussian.mean), np.asarray(gaussian.cov))
    density = gaussian.score_samples(as_like(points, gaussian))
    np.testing.assert_allclose(density, reference.logpdf(points), rtol=1e-9)


def as_like(array, gaussian):
    if isinstance(gaussian.mean, np.ndarray):
        return array
    import torch

    return torch.from_numpy(array)


def test_samples_have_mean_and_covariance(make, form):
    gaussian = make(form, seed=3, n=4)
    samples = gaussian.sample(200_000, random_state=0)
    assert tuple(samples.shape) == (200_000, 4)
    assert type(samples) is type(gaussian.mean)
    samples, cov = np.asarray(samples), np.asarray(gaussian.cov)
    # five standard errors
    error = 5 * np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / 200_000)
    assert (abs(np.cov(samples.T) - cov) <= error + 1e-15).all()
    spread = 5 * np.sqrt(np.diag(cov) / 200_000)
    assert (abs(samples.mean(0) - np.asarray(gaussian.mean)) <= spread).all()
    again = gaussian.sample(200_000, random_state=0)
    assert (np.asarray(again) == samples).all()
    assert (np.asarray(gaussian.sample(200_000, random_state=1)) != samples).any()


def test_batches_are_taken_apart_and_put_together(make, form):
    batch = make(form, seed=4, batch=(3, 2))
    assert batch.batch_shape == (3, 2)
    assert batch[1].batch_shape == (2,)
    one = batch[2, 1]
    np.testing.assert_array_equal(one.mean, batch.mean[2, 1])
    np.testing.assert_allclose(one.cov, batch.cov[2, 1])
    assert tuple(batch.logdet.shape) == tuple(batch.rank.shape) == (3, 2)
    assert tuple(batch.sample(7, random_state=0).shape) == (7, 3, 2, 12)
    stacked = Gaussian.stack([batch[0, 0], batch[1, 1]])
    assert type(stacked.covariance) is type(batch.covariance)
    np.testing.assert_allclose(stacked[1].cov, batch[1, 1].cov)
    if form != "thin factor":
        points = as_like(np.zeros((5, 12)), batch)
        densities = batch.score_samples(points)
        assert tuple(densities.shape) == (3, 2, 5)
        np.testing.assert_allclose(densities[2, 1], one.score_samples(points))


def test_an_index_takes_parts_of_the_batch_alone(make, form):
    batch = make(form, seed=4, batch=(3, 2))
    np.testing.assert_array_equal(batch[..., 1].mean, batch.mean[:, 1])
    np.testing.assert_allclose(batch[..., 1].cov, batch.cov[:, 1])
    assert batch[1:].batch_shape == (2, 2)
    assert batch[None].batch_shape == (1, 3, 2)
    assert [one.batch_shape for one in batch[0]] == [(), ()]
    with pytest.raises(IndexError):
        batch[0, 0, 0]


def test_an_empty_batch(library):
    empty = library(np.zeros((0, 2))), library(np.zeros((0, 2, 2)))
    assert Gaussian.diag(empty[0], empty[0]).batch_shape == (0,)
    assert Gaussian.full(*empty).entropy().shape == (0,)
    assert Gaussian.lowrank(empty[0], 1.0, empty[1]).batch_shape == (0,)


def test_forms_that_differ_stack_to_matrices():
    p, q = Gaussian.diag([0.0, 1.0], [1.0, 2.0]), Gaussian.full([0.0, 0.0], [[2.0, 1], [1, 2.0]])
    assert repr(Gaussian.stack([p, q])) == "Gaussian(batch=(2,), dim=2, full)"


def test_means_and_covariances_broadcast():
    shared = Gaussian.full(np.zeros((5, 2)), np.eye(2))
    assert shared.batch_shape == (5,)
    assert shared[3].cov.tolist() == [[1, 0], [0, 1]]
    assert Gaussian.diag(np.zeros(2), np.ones((4, 1, 2))).batch_shape == (4, 1)


def test_type_of_number_is_kept_and_the_wider_one_wins():
    assert Gaussian.diag(np.zeros(2, np.float32), np.ones(2, np.float32)).mean.dtype == np.float32
    assert Gaussian.diag(np.zeros(2, np.float32), np.ones(2)).mean.dtype == np.float64
    assert Gaussian.diag([0, 0], [1, 1]).mean.dtype == np.float64
    lowrank = Gaussian.lowrank(np.zeros(2, np.float32), 0.5, np.ones((2, 1), np.float32))
    assert lowrank.cov.dtype == np.float32
    assert Gaussian.lowrank([0, 0], 1, [[1], [0]]).cov.tolist() == [[2, 0], [0, 1]]


def test_points_take_the_type_of_the_gaussian(make):
    for kind in NON_SINGULAR:
        single = make(kind, seed=2, dtype=np.float32)
        points = np.random.default_rng(0).normal(size=(5, 12))
        found = single.score_samples(as_like(points, single))
        assert found.dtype == single.mean.dtype
        expected = make(kind, seed=2).score_samples(as_like(points, single))
        np.testing.assert_allclose(found, expected, rtol=1e-2)
        whole = single.score_samples(as_like(np.zeros((5, 12), np.int64), single))
        assert whole.dtype == single.mean.dtype


# --- fit


def test_the_mean_of_many_samples_in_single_precision(library):
    """A running sum of float32 had lost 2.6 of this mean, and made a variance of 8."""
    X = (np.random.default_rng(0).normal(size=(400_000, 3)) + 1000).astype(np.float32)
    gaussian = Gaussian.fit(library(X))
    assert "float32" in str(gaussian.mean.dtype)
    np.testing.assert_allclose(gaussian.mean, X.mean(0, dtype=float), atol=1e-4)
    np.testing.assert_allclose(gaussian.cov, np.cov(X.T, dtype=float), atol=1e-3)


@pytest.mark.parametrize("n_samples", [8, 9, 200])
def test_fit_divides_by_one_less_than_the_samples(library, n_samples):
    X = np.random.default_rng(0).normal(size=(n_samples, 8))
    gaussian = Gaussian.fit(library(X))
    np.testing.assert_allclose(gaussian.mean, X.mean(0))
    np.testing.assert_allclose(gaussian.cov, np.cov(X.T), atol=1e-14)
    assert gaussian.rank == min(8, n_samples - 1)


@pytest.mark.parametrize("n_samples", [6, 60])
@pytest.mark.parametrize(("name", "estimator"), [("oas", OAS), ("ledoit_wolf", LedoitWolf)])
def test_shrinkage_is_that_of_scikit_learn(library, name, estimator, n_samples):
    X = np.random.default_rng(1).normal(size=(n_samples, 8)) * np.arange(1, 9)
    part = estimator().fit(X).shrinkage_
    cov = np.cov(X.T)
    expected = (1 - part) * cov + part * np.trace(cov) / 8 * np.eye(8)
    gaussian = Gaussian.fit(library(X), shrinkage=name)
    np.testing.assert_allclose(gaussian.cov, expected)
    np.testing.assert_allclose(Gaussian.fit(X, shrinkage=part).cov, expected)
    assert gaussian.rank == 8


def test_digits_have_constant_pixels():
    X, y = load_digits(return_X_y=True)
    gaussian = Gaussian.fit(X[y == 3])
    assert gaussian.rank == np.linalg.matrix_rank(np.cov(X[y == 3].T), hermitian=True) < 64
    assert gaussian.logdet == -np.inf


# --- bad input

NAN = [0.0, np.nan]
BAD = {
    "mean and cov do not match": (
        lambda: Gaussian.full(np.zeros(3), np.eye(2)),
        r"mean must be of shape \(..., n\) and cov of shape \(..., n, n\), got \(3,\) and \(2, 2\)",
    ),
    "cov is not square": (
        lambda: Gaussian.full(np.zeros(2), np.ones((2, 3))),
        r"cov of shape \(..., n, n\), got \(2,\) and \(2, 3\)",
    ),
    "no dimension": (lambda: Gaussian.diag(0.0, 1.0), r"got \(\) and \(\)"),
    "batches": (
        lambda: Gaussian.diag(np.zeros((3, 2)), np.ones((4, 2))),
        r"var of shape \(..., n\), got \(3, 2\) and \(4, 2\)",
    ),
    "factor": (
        lambda: Gaussian.from_factor(np.zeros(2), np.ones((3, 2))),
        r"factor of shape \(..., n, r\), got \(2,\) and \(3, 2\)",
    ),
    "diag": (
        lambda: Gaussian.lowrank(np.zeros(4), np.ones(3), np.ones((4, 2))),
        r"diag of shape \(..., n\), got \(4,\) and \(3,\)",
    ),
    "asymmetric": (
        lambda: Gaussian.full(np.zeros(2), [[1.0, 0.5], [0.4, 1.0]]),
        "cov must be symmetric, got entries that differ by 0.1 from",
    ),
    "asymmetric beside a larger one": (
        lambda: Gaussian.full(np.zeros(2), [1e9 * np.eye(2), [[1.0, 0.5], [0.4, 1.0]]]),
        "entries that differ by 0.1 from their mirror images, beside a largest of 1$",
    ),
    "negative eigenvalue": (
        lambda: Gaussian.full(np.zeros(2), [[1.0, 2.0], [2.0, 1.0]]),
        "cov must have no negative eigenvalue, got one of -1 beside 3",
    ),
    "negative variance": (
        lambda: Gaussian.diag(np.zeros(2), [1.0, -0.5]),
        "var must hold variances >= 0, got -0.5",
    ),
    "negative diag": (
        lambda: Gaussian.lowrank(np.zeros(2), [1.0, -0.5], np.ones((2, 1))),
        "diag must hold variances >= 0, got -0.5",
    ),
    "negative number": (
        lambda: Gaussian.lowrank(np.zeros(2), -0.5, np.ones((2, 1))),
        "diag must be a finite number >= 0, got -0.5",
    ),
    "NaN in mean": (lambda: Gaussian.diag(NAN, np.ones(2)), "mean must be finite, got NaN"),
    "NaN in var": (lambda: Gaussian.diag(np.zeros(2), NAN), "var must be finite, got NaN"),
    "NaN in cov": (lambda: Gaussian.full(np.zeros(2), [NAN, NAN]), "cov must be finite, got NaN"),
    "infinite factor": (
        lambda: Gaussian.from_factor(np.zeros(1), [[np.inf]]),
        "factor must be finite, got NaN or infinity",
    ),
    "complex": (lambda: Gaussian.diag([1j], [1.0]), "mean must be of float32 or float64, got comp"),
    "text": (lambda: Gaussian.diag(["a"], [1.0]), "mean must be of float32 or float64, got <U1"),
    "ragged": (lambda: Gaussian.diag([[1.0], [1.0, 2.0]], [1.0]), "mean must be an array of real"),
    "rcond": (lambda: Gaussian.full([0.0], [[1.0]], rcond=-1), "rcond must be a finite number in"),
    "one sample": (
        lambda: Gaussian.fit(np.zeros((1, 3))),
        r"X must be of shape \(N, n\) with N >= 2 samples, got shape \(1, 3\)",
    ),
    "shrinkage": (
        lambda: Gaussian.fit(np.eye(3), shrinkage="lasso"),
        r"shrinkage must be None, a number in \[0, 1\], 'oas' or 'ledoit_wolf', got 'lasso'",
    ),
    "too much shrinkage": (
        lambda: Gaussian.fit(np.eye(3), shrinkage=1.5),
        r"shrinkage must be a finite number in \[0, 1\], got 1.5",
    ),
    "density of a singular one": (
        lambda: Gaussian.diag([0.0, 0.0], [1.0, 0.0]).score_samples(np.zeros((1, 2))),
        "a density needs a covariance of full rank, got rank 1 of 2",
    ),
    "points": (
        lambda: Gaussian.diag([0.0, 0.0], [1.0, 1.0]).score_samples(np.zeros((4, 3))),
        r"X must be of shape \(..., N, 2\), got shape \(4, 3\)",
    ),
    "empty stack": (lambda: Gaussian.stack([]), "gaussians must not be empty"),
    "stack of two dimensions": (
        lambda: Gaussian.stack([Gaussian.diag([0.0], [1.0]), Gaussian.diag([0.0] * 2, [1.0] * 2)]),
        r"gaussians must have the same dimension and no batch, got dimensions \[1, 2\]",
    ),
    "part of one": (lambda: Gaussian.diag([0.0], [1.0])[0], "one Gaussian has no batch"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    call, message = BAD[name]
    with pytest.raises(InputError, match=message):
        call()


def test_libraries_do_not_mix():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"arrays must be all of NumPy or all of torch, got both"):
        Gaussian.diag(np.zeros(2), torch.ones(2))
    with pytest.raises(InputError, match="mean must be of float32 or float64, got bfloat16"):
        Gaussian.diag(torch.zeros(2, dtype=torch.bfloat16), torch.ones(2))


def test_a_singular_matrix_has_no_gradient():
    torch = pytest.importorskip("torch")
    cov = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    with pytest.raises(InputError, match="cov must be of full rank where gradients are wanted"):
        Gaussian.full(torch.zeros(2, dtype=torch.float64), cov)


@pytest.mark.parametrize("n", [2, 3, 6])
def test_rounding_does_not_raise_the_rank(library, n):
    """Of products of which rounding makes some that Cholesky takes for regular."""
    rng, passed = np.random.default_rng(0), 0
    zero = library(np.zeros(n))
    for _ in range(50):
        factor = rng.normal(size=(n, n - 1))
        cov = factor @ factor.T
        rank = (np.linalg.eigvalsh(cov) > n * 2**-52 * np.linalg.eigvalsh(cov)[-1]).sum()
        assert Gaussian.full(zero, library(cov)).rank == rank
        assert rank == n - 1
        square = np.hstack([factor, factor[:, :1]])
        assert Gaussian.from_factor(zero, library(square)).rank == n - 1
        try:
            passed += bool(np.linalg.cholesky(cov).any())
        except np.linalg.LinAlgError:
            continue
    assert passed > 5


def test_small_negative_eigenvalues_are_rounding():
    cov = np.diag([1.0, -1e-17])
    assert Gaussian.full(np.zeros(2), cov).rank == 1
    assert Gaussian.full(np.zeros(2), np.diag([1.0, -1e-4]), rcond=1e-3).rank == 1
    for rcond, rank in ((0.3, 2), (0.5, 1)):
        assert Gaussian.full(np.zeros(2), np.diag([1.0, 0.4]), rcond=rcond).rank == rank
    with pytest.raises(InputError, match="no negative eigenvalue"):
        Gaussian.full(np.zeros(2), np.diag([1.0, -1e-4]))
