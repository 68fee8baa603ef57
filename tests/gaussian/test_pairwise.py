"""All pairs: one by one, near ones, singular ones, threads, memory."""

import tracemalloc

import mpmath as mp
import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from kexue._core import InputError
from kexue.gaussian import (
    Gaussian,
    bhattacharyya,
    hellinger,
    jeffreys,
    kl,
    pairwise_distances,
    wasserstein2,
)

METRICS = {
    "kl": kl,
    "bhattacharyya": bhattacharyya,
    "wasserstein2": wasserstein2,
    "hellinger": hellinger,
    "jeffreys": jeffreys,
}
METRIC = pytest.mark.parametrize("metric", METRICS)


@METRIC
@pytest.mark.parametrize("sizes", [(300, 7), (300, None)])
def test_diagonals_as_one_by_one(make, metric, sizes):
    """More rows than a thread takes at once, more columns than a block has."""
    ps = make("diagonal", seed=1, n=5, batch=(sizes[0],))
    qs = None if sizes[1] is None else make("diagonal", seed=2, n=5, batch=(sizes[1],))
    found = pairwise_distances(ps, qs, metric)
    expected = METRICS[metric](ps, ps if qs is None else qs, pairwise=True)
    assert type(found) is type(ps.mean)
    # W2 of a Gaussian from itself is a root
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-300)


@METRIC
def test_near_diagonals_keep_their_digits(metric):
    rng = np.random.default_rng(3)
    mean, var = 1e3 * rng.normal(size=6), rng.uniform(0.1, 10, 6)
    noise = rng.normal(size=(2, 40, 6)) * np.geomspace(1e-8, 1, 40)[:, None]
    ps = Gaussian.diag(mean + noise[0], var * np.exp(noise[1]))
    found = pairwise_distances(ps, metric=metric)
    np.testing.assert_allclose(found, METRICS[metric](ps, ps, pairwise=True), rtol=1e-7)
    assert (np.diag(found) == 0).all()
    assert (found >= 0).all()


@METRIC
def test_clusters_far_from_their_centre(metric):
    """Products of 1e10, of which distances of about 1 are left."""
    rng = np.random.default_rng(4)
    mean = rng.normal(size=(40, 6)) + np.where(np.arange(40) < 20, 1e5, -1e5)[:, None]
    ps = Gaussian.diag(mean, rng.uniform(0.5, 2, (40, 6)))
    found = pairwise_distances(ps, metric=metric)
    np.testing.assert_allclose(found, METRICS[metric](ps, ps, pairwise=True), rtol=1e-12)


@pytest.mark.parametrize("change", [0.12, -0.12, 0.13, 1e-3])
def test_one_variance_of_many(change):
    """A divergence of which the products leave little, with one change just within the series."""
    var = np.ones((2, 400))
    var[0, 7] += change
    found = pairwise_distances(Gaussian.diag(np.zeros(400), var))[0, 1]
    with mp.workdps(60):
        expected = (mp.mpf(var[0, 7]) - 1 - mp.log(mp.mpf(var[0, 7]))) / 2
        error = abs(found / expected - 1)
    # beyond the series a rounding of 1e-16 is left of numbers of 0.1
    assert error < (1e-14 if abs(change) > 0.125 else 1e-15)


@METRIC
def test_other_forms_as_one_by_one(make, form, metric):
    ps, qs = make(form, seed=4, n=6, batch=(4,)), make(form, seed=5, n=6, batch=(3,))
    for second in (None, qs):
        found = pairwise_distances(ps, second, metric)
        expected = METRICS[metric](ps, ps if second is None else second, pairwise=True)
        # distances of one Gaussian from itself are rounding
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


@METRIC
def test_singular_diagonals(metric):
    mean = np.array([[0.0, 0], [0, 0], [0, 1], [2, 0]])
    var = np.array([[1.0, 0], [1, 1], [1, 0], [2, 0]])
    ps = Gaussian.diag(mean, var)
    found = pairwise_distances(ps, metric=metric)
    np.testing.assert_allclose(found, METRICS[metric](ps, ps, pairwise=True), rtol=1e-12)
    assert np.isinf(found).any() == (metric in ("kl", "bhattacharyya", "jeffreys"))


@METRIC
def test_ratios_that_overflow_a_product(metric):
    var = np.geomspace(1e-60, 1e60, 9)[:, None] * np.ones(30)
    ps = Gaussian.diag(np.zeros((9, 30)), var)
    found = pairwise_distances(ps, metric=metric)
    np.testing.assert_allclose(found, METRICS[metric](ps, ps, pairwise=True), rtol=1e-9)


@METRIC
def test_any_number_of_threads_gives_the_same(make, metric):
    ps = make("diagonal", seed=6, n=4, batch=(600,))
    one, two = (np.asarray(pairwise_distances(ps, metric=metric, n_jobs=n)) for n in (1, 2))
    np.testing.assert_array_equal(one, two)
    full = make("full", seed=7, n=3, batch=(5,))
    one, two = (np.asarray(pairwise_distances(full, metric=metric, n_jobs=n)) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_single_precision_stays(make):
    ps = make("diagonal", seed=8, n=4, batch=(5,), dtype=np.float32)
    assert "float32" in str(pairwise_distances(ps).dtype)


def test_memory_is_that_of_the_result():
    ps = Gaussian.diag(np.random.default_rng(0).normal(size=(1000, 100)), np.ones((1000, 100)))
    for metric in METRICS:
        pairwise_distances(ps, metric=metric)  # compiles
        tracemalloc.start()
        pairwise_distances(ps, metric=metric)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # the result, and tables of shape (1000, 200)
        assert peak < 8e6 + 8 * 1.6e6 + 2e6, metric


def test_gradients_go_through():
    torch = pytest.importorskip("torch")
    mean = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    ps = Gaussian.diag(mean, torch.ones(3, dtype=torch.float64))
    for metric, distance in METRICS.items():
        (gradient,) = torch.autograd.grad(pairwise_distances(ps, metric=metric).sum(), [mean])
        (expected,) = torch.autograd.grad(distance(ps, ps, pairwise=True).sum(), [mean])
        torch.testing.assert_close(gradient, expected)


def test_a_sequence_of_gaussians():
    X, y = load_digits(return_X_y=True)
    classes = [Gaussian.fit(X[y == k], shrinkage="oas") for k in range(10)]
    found = pairwise_distances(classes, metric="bhattacharyya")
    assert found.shape == (10, 10)
    assert found[2, 7] == pytest.approx(bhattacharyya(classes[2], classes[7]), rel=1e-12)
    assert (found[~np.eye(10, dtype=bool)] > 1).all()


@pytest.mark.slow
def test_newsgroups_on_one_subject_are_near(data):
    """What the page says of them."""
    table = pl.read_parquet(data("newsgroups/20news_bydate.parquet"))
    bodies = [text.partition("\n\n")[2] for text in table["text"]]
    weights = TfidfVectorizer(min_df=5, max_df=0.5, sublinear_tf=True, stop_words="english")
    svd = TruncatedSVD(30, random_state=0)
    X, groups = svd.fit_transform(weights.fit_transform(bodies)), table["group"].to_numpy()
    names = sorted(set(groups))
    found = pairwise_distances(
        [Gaussian.fit(X[groups == name], shrinkage="oas") for name in names],
        metric="bhattacharyya",
    )
    np.fill_diagonal(found, np.nan)
    computers = np.array([name.startswith("comp.") for name in names])
    assert computers[np.nanargmin(found[computers], axis=1)].all()
    assert np.nanmean(found[computers][:, computers]) == pytest.approx(2.0, abs=0.1)
    assert found[computers][:, ~computers].mean() == pytest.approx(5.9, abs=0.2)
    others = ("alt.atheism", "soc.religion.christian", "talk.religion.misc")
    religions = np.array([name in others for name in names])
    assert np.nanmax(found[religions][:, religions]) == pytest.approx(3.1, abs=0.1)
    assert found[religions][:, ~religions].min() == pytest.approx(3.3, abs=0.1)


def test_a_generator_of_gaussians():
    ones = [Gaussian.diag([float(k)], [1.0]) for k in range(3)]
    found = pairwise_distances((one for one in ones), metric="wasserstein2")
    np.testing.assert_array_equal(found, abs(np.subtract.outer(range(3), range(3))))


def test_bad_input_is_named():
    ps = Gaussian.diag(np.zeros((2, 1)), np.ones((2, 1)))
    with pytest.raises(InputError, match="metric must be one of 'kl', 'bhattacharyya', 'wasse"):
        pairwise_distances(ps, metric="cosine")
    with pytest.raises(InputError, match=r"batches of one dimension, got batch shape \(\)"):
        pairwise_distances(ps[0])
    with pytest.raises(InputError, match="p and q must have the same dimension, got 1 and 2"):
        pairwise_distances(ps, Gaussian.diag(np.zeros((2, 2)), np.ones((2, 2))))
    for form in (ps, Gaussian.full(np.zeros((2, 1)), np.eye(1))):
        with pytest.raises(InputError, match="ps and qs must not be empty"):
            pairwise_distances(form[:0])
    with pytest.raises(InputError, match="n_jobs must be an int >= 1"):
        pairwise_distances(ps, n_jobs=0)
