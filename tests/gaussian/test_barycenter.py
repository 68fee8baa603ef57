"""The barycenter: closed forms, the fixed-point equation, singular ones."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from kexue._core import InputError
from kexue.gaussian import Gaussian, barycenter, geodesic, wasserstein2

FORMS = ("full", "diagonal", "factor", "isotropic", "diagonal + low rank")


@pytest.mark.parametrize("kind", ["diagonal", "full", "factor"])
def test_of_two_in_one_dimension(library, kind):
    zero, ones = library(np.zeros(1)), [library(np.array([v])) for v in (1.0, 4.0)]
    build = {
        "diagonal": Gaussian.diag,
        "full": lambda m, v: Gaussian.full(m, v[:, None]),
        "factor": lambda m, v: Gaussian.from_factor(m, v[:, None] ** 0.5),
    }[kind]
    middle = barycenter([build(zero, var) for var in ones], weights=[0.25, 0.75])
    assert np.asarray(middle.cov).item() == pytest.approx(3.0625, abs=1e-12)


@pytest.mark.parametrize("kind", FORMS)
def test_the_fixed_point_equation(make, kind):
    gaussians = [make(kind, seed=seed, n=5) for seed in range(4)]
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    middle = barycenter(gaussians, weights)
    cov = np.asarray(middle.cov)
    root = sqrtm(cov).real
    mean = sum(
        w * sqrtm(root @ np.asarray(g.cov) @ root).real
        for w, g in zip(weights, gaussians, strict=True)
    )
    np.testing.assert_allclose(mean, cov, atol=1e-8 * abs(cov).max())
    expected = sum(w * np.asarray(g.mean) for w, g in zip(weights, gaussians, strict=True))
    np.testing.assert_allclose(middle.mean, expected, atol=1e-15)


def test_nothing_near_it_is_better(make):
    gaussians = [make("full", seed=seed, n=4) for seed in range(3)]
    middle = barycenter(gaussians)

    def cost(gaussian):
        return sum(float(wasserstein2(gaussian, g, squared=True)) for g in gaussians)

    least, rng = cost(middle), np.random.default_rng(0)
    factor = np.asarray(middle.factor)
    for _ in range(20):
        moved = like(factor * (1 + 1e-2 * rng.normal(size=(4, 4))), middle.mean)
        assert cost(Gaussian.from_factor(middle.mean, moved)) > least


def like(array, other):
    if isinstance(other, np.ndarray):
        return array
    import torch

    return torch.from_numpy(array)


def test_of_two_it_is_on_the_geodesic(make):
    p, q = make("full", seed=1), make("full", seed=2)
    middle = barycenter([p, q], weights=[1, 3])
    assert float(wasserstein2(middle, geodesic(p, q, 0.75))) < 1e-6
    np.testing.assert_allclose(middle.cov, geodesic(p, q, 0.75).cov, atol=1e-10)


@pytest.mark.parametrize(
    ("dtype", "size"), [(np.float32, 1e-12), (np.float32, 1e12), (np.float64, 1e-90)]
)
def test_sizes_whose_squares_leave_the_range(make, dtype, size):
    """Where it would stop at the first step, 0.6 % or 2 % away."""
    p, q = make("factor", seed=1, n=4), make("factor", seed=2, n=4)
    expected = barycenter([p, q]).cov
    scaled = [
        Gaussian.from_factor(
            like((np.asarray(g.mean) * 0).astype(dtype), g.mean),
            like((np.asarray(g.factor) * size).astype(dtype), g.mean),
        )
        for g in (p, q)
    ]
    found = barycenter(scaled)
    factor = np.asarray(found.factor, np.float64) / size
    assert found.mean.dtype == scaled[0].mean.dtype
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    np.testing.assert_allclose(factor @ factor.T, expected, atol=tolerance)


@pytest.mark.peer
def test_pot_comes_near(make):
    ot = pytest.importorskip("ot")
    gaussians = [make("full", seed=seed, n=4) for seed in range(3)]
    means, covs = (
        np.array([np.asarray(part) for part in parts])
        for parts in ((g.mean for g in gaussians), (g.cov for g in gaussians))
    )
    mean, cov = ot.gaussian.bures_wasserstein_barycenter(means, covs, num_iter=1000, eps=1e-12)
    middle = barycenter(gaussians)
    np.testing.assert_allclose(middle.mean, mean, atol=1e-14)
    np.testing.assert_allclose(middle.cov, cov, rtol=1e-6)


def test_singular_ones(library):
    zero = library(np.zeros(2))
    line, other = (Gaussian.full(zero, library(np.diag(d))) for d in ((1.0, 0.0), (0.0, 1.0)))
    middle = barycenter([line, other])
    # the roots of both, halved
    np.testing.assert_allclose(middle.cov, np.eye(2) / 4, atol=1e-12)
    one = barycenter([line])
    np.testing.assert_allclose(one.cov, line.cov, atol=1e-14)
    point = Gaussian.full(zero, library(np.zeros((2, 2))))
    np.testing.assert_array_equal(barycenter([point, point]).cov, 0)


def test_a_batch_is_a_sequence(make, form):
    batch = make(form, seed=9, n=4, batch=(3,))
    np.testing.assert_allclose(
        barycenter(batch).cov, barycenter([batch[k] for k in range(3)]).cov, atol=1e-8
    )


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [[1.0, 1.0]]])
def test_bad_weights_are_named(weights):
    p = Gaussian.diag([0.0], [1.0])
    with pytest.raises(InputError, match="weights must be 2 numbers >= 0, not all of them 0, got"):
        barycenter([p, p], weights)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="gaussians must not be empty"):
        barycenter([])
    with pytest.raises(InputError, match="gaussians must not be empty"):
        barycenter(Gaussian.full(np.zeros((3, 2)), np.eye(2))[:0])
    with pytest.raises(InputError, match=r"one batch of one dimension, got batch shape \(\)"):
        barycenter(Gaussian.diag([0.0], [1.0]))
    with pytest.raises(TypeError, match="gaussians must be of type Gaussian, got float"):
        barycenter([1.0])
    with pytest.raises(InputError, match="weights must be finite"):
        barycenter([Gaussian.diag([0.0], [1.0])], [np.nan])
