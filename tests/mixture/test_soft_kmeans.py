"""Soft k-means: one step is one of EM, its limit is Lloyd's, and J_beta never rises."""

import numpy as np
import pytest
import torch
from scipy import sparse, stats
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from kexue._core import InputError
from kexue.mixture import Mixture, SoftKMeans
from kexue.mixture._soft_kmeans_steps import METRICS, Rows, share_out

# a start that is drawn from rows cannot be the same for a row of weight 2 and for two rows;
# annealing forgets it
DRAWN = {
    "check_sample_weight_equivalence_on_dense_data": "k-means++ draws by position",
    "check_sample_weight_equivalence_on_sparse_data": "k-means++ draws by position",
}
# scikit-learn asks whatever has predict_proba and takes sparse rows for the tags of a classifier
SPARSE = {
    "check_estimator_sparse_array": "takes a clusterer with predict_proba for a classifier",
    "check_estimator_sparse_matrix": "takes a clusterer with predict_proba for a classifier",
}


@parametrize_with_checks(
    [
        SoftKMeans(n_clusters=3, random_state=0),
        SoftKMeans(n_clusters=3, beta=np.inf, random_state=0),
        SoftKMeans(n_clusters=3, beta="anneal", max_iter=30, random_state=0),
    ],
    expected_failed_checks=lambda model: SPARSE if model.beta == "anneal" else SPARSE | DRAWN,
)
def test_keeps_the_contract(estimator, check):
    check(estimator)


def problem(seed, metric="euclidean", n=60, d=3, k=4, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + rng.normal(size=(k, d))[rng.integers(k, size=n)]
    start = X[rng.choice(n, k, replace=False)]
    if metric != "euclidean":
        start = start / np.linalg.norm(start, axis=1, keepdims=True)
    return X.astype(dtype), start.astype(dtype)


def shares(X, centers, beta, metric):
    """Return c and J_beta, by the formulas."""
    if metric == "cosine":
        X = X / np.linalg.norm(X, axis=1, keepdims=True)
    if metric == "euclidean":
        d = ((X[:, None] - centers) ** 2).sum(2)
    else:
        d = float(metric == "cosine") - X @ centers.T
    logs = -beta * d
    evidence = np.logaddexp.reduce(logs, axis=1)
    return np.exp(logs - evidence[:, None]), -evidence.sum() / beta, d


def test_a_step_is_one_of_em():
    X, start = problem(0)
    beta = 0.7
    model = SoftKMeans(4, beta=beta, init=start, max_iter=1, tol=0).fit(X)
    density = [stats.multivariate_normal(v, np.eye(3) / (2 * beta)).pdf(X) for v in start]
    r = np.stack(density, 1) / np.sum(density, 0)[:, None]
    np.testing.assert_allclose(model.cluster_centers_, r.T @ X / r.sum(0)[:, None], atol=1e-10)
    # the M-step of the EM engine of this room, from the same shares
    with pytest.warns(ConvergenceWarning):
        mixture = Mixture(
            4, "gaussian_spherical", init=r, fixed_weights=True, max_iter=1, reg_covar=0
        ).fit(X)
    np.testing.assert_allclose(model.cluster_centers_, mixture.means_, atol=1e-10)


@pytest.mark.parametrize("beta", [1e6, np.inf])
def test_sharp_is_lloyd(beta):
    X, _ = load_iris(return_X_y=True)
    start = X[[0, 60, 120]]
    peer = KMeans(3, init=start, n_init=1, tol=0, max_iter=300).fit(X)
    model = SoftKMeans(3, beta=beta, init=start, tol=0).fit(X)
    np.testing.assert_array_equal(model.labels_, peer.labels_)
    np.testing.assert_allclose(model.inertia_, peer.inertia_, rtol=1e-10)
    np.testing.assert_allclose(model.objective_, peer.inertia_, rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_the_objective_never_rises(metric):
    for seed in range(100):
        X, start = problem(seed, metric)
        beta = 0.1 * 10 ** (seed % 4)
        model = SoftKMeans(4, beta=beta, metric=metric, init=start, max_iter=60, tol=0).fit(X)
        path = model.objective_path_
        assert (np.diff(path) <= 1e-12 * np.abs(path[:-1]) + 1e-12).all()
        c, objective, d = shares(X, model.cluster_centers_, beta, metric)
        np.testing.assert_allclose(objective, model.objective_, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(c, model.predict_proba(X), atol=1e-10)
        np.testing.assert_allclose(d, model.transform(X), atol=1e-10)
        np.testing.assert_allclose(d.min(1).sum(), model.inertia_, rtol=1e-9)
        gap = model.inertia_ - model.objective_
        assert -1e-9 <= gap <= len(X) * np.log(4) / beta + 1e-9
        assert model.score(X) == pytest.approx(-model.objective_)


def test_the_gradient_weighs_by_shares():
    X, start = problem(3)
    beta = 1.3
    v = torch.tensor(start, requires_grad=True)
    d = (torch.tensor(X)[:, None] - v).square().sum(2)
    (-(-beta * d).logsumexp(1) / beta).sum().backward()
    found = share_out(Rows.of(X, "euclidean", shift=np.zeros(3)), start, beta)
    np.testing.assert_allclose(
        v.grad.numpy(), 2 * (found.counts[:, None] * start - found.sums), atol=1e-8
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("beta", [2.0, np.inf])
def test_blocks_weights_and_sparse_rows_change_nothing(metric, beta, monkeypatch):
    X, start = problem(5, metric, n=500)
    X[np.abs(X) < 0.5] = 0
    X[:, 0] += 0.01  # no row of zeros
    weight = np.random.default_rng(0).integers(0, 4, size=500)
    options = {"beta": beta, "metric": metric, "init": start, "max_iter": 30, "tol": 0}
    whole = SoftKMeans(4, **options).fit(np.repeat(X, weight, axis=0))
    monkeypatch.setattr("kexue.mixture._soft_kmeans_steps._BLOCK", 64 * 4 * 8)
    for rows in (X, sparse.csr_array(X), sparse.csc_matrix(X)):
        model = SoftKMeans(4, **options).fit(rows, sample_weight=weight)
        np.testing.assert_allclose(model.cluster_centers_, whole.cluster_centers_, atol=1e-9)
        np.testing.assert_allclose(model.objective_, whole.objective_, rtol=1e-9)
        np.testing.assert_allclose(model.inertia_, whole.inertia_, rtol=1e-9)
        np.testing.assert_array_equal(model.predict(rows), model.labels_)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("beta", [2.0, np.inf, "anneal"])
def test_float32_stays(metric, beta):
    X, _ = problem(5, metric, dtype=np.float32)
    model = SoftKMeans(4, beta=beta, metric=metric, random_state=0).fit(X)
    double = SoftKMeans(4, beta=beta, metric=metric, random_state=0).fit(X.astype(float))
    for found in (model.cluster_centers_, model.transform(X), model.predict_proba(X)):
        assert found.dtype == np.float32
    if beta == 2.0:
        np.testing.assert_allclose(model.cluster_centers_, double.cluster_centers_, atol=1e-2)
    np.testing.assert_allclose(model.inertia_, double.inertia_, rtol=0.1)


def test_far_from_the_origin():
    X, start = problem(7)
    near = SoftKMeans(4, beta=2, init=start, tol=0, max_iter=50).fit(X)
    far = SoftKMeans(4, beta=2, init=start + 1e6, tol=0, max_iter=50).fit(X + 1e6)
    np.testing.assert_allclose(far.cluster_centers_ - 1e6, near.cluster_centers_, atol=1e-6)


def test_centres_split_at_half_the_inverse_variance():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) * [2.0, 0.5]
    critical = 0.5 / np.linalg.eigvalsh(np.cov(X.T, bias=True))[-1]
    gaps = []
    for factor in (0.9, 1.2):
        model = SoftKMeans(2, beta=factor * critical, tol=0, max_iter=2000, random_state=0).fit(X)
        gaps.append(np.linalg.norm(np.subtract(*model.cluster_centers_)))
    assert gaps[0] < 1e-3 < 0.5 < gaps[1]


def test_annealing_depends_less_on_the_start():
    X, y = load_digits(return_X_y=True)
    found = {}
    for beta in (np.inf, "anneal"):
        runs = [
            SoftKMeans(10, beta=beta, init="random", random_state=seed).fit(X) for seed in range(5)
        ]
        found[beta] = [run.inertia_ for run in runs]
        assert all(run.beta_ == np.inf for run in runs)
    assert np.mean(found["anneal"]) < np.mean(found[np.inf])
    assert np.ptp(found["anneal"]) < np.ptp(found[np.inf])
    assert adjusted_rand_score(y, runs[0].labels_) > 0.6


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("beta", [50.0, np.inf])
def test_an_empty_centre_begins_anew(metric, beta):
    X = np.repeat([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], 5, axis=0)
    start = np.array([[1.0, 0.05], [0.3, 1.0], [0.0, -1.0]])
    model = SoftKMeans(3, beta=beta, metric=metric, init=start).fit(X)
    assert len(set(model.labels_)) == 3
    assert np.isfinite(model.cluster_centers_).all()


def test_the_best_start_is_kept_and_seeds_repeat():
    X, _ = problem(11, n=200)
    one = [SoftKMeans(8, beta=np.inf, random_state=0, n_init=n).fit(X) for n in (1, 10, 10)]
    assert one[1].objective_ <= one[0].objective_
    np.testing.assert_array_equal(one[1].cluster_centers_, one[2].cluster_centers_)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_clusters": 0}, "n_clusters must be an int >= 1, got 0"),
        ({"beta": 0}, "beta must be a number > 0, inf or 'anneal', got 0"),
        ({"beta": -1.0}, "beta must be a number > 0, inf or 'anneal', got -1.0"),
        ({"beta": np.nan}, "beta must be a finite number"),
        ({"beta": "hard"}, "beta must be a number > 0, inf or 'anneal', got 'hard'"),
        ({"metric": "l1"}, "metric must be one of 'euclidean', 'cosine', 'inner', got 'l1'"),
        ({"init": "pca"}, r"init must be one of 'k-means\+\+', 'random'"),
        ({"init": np.zeros((2, 3))}, r"init must be finite numbers of shape \(8, 4\), got shape"),
        ({"n_init": 0}, "n_init must be an int >= 1"),
        ({"max_iter": 0}, "max_iter must be an int >= 1"),
        ({"tol": -1}, "tol must be a finite number >= 0"),
    ],
)
def test_bad_parameters_are_named(options, message):
    X, _ = load_iris(return_X_y=True)
    with pytest.raises(InputError, match=message):
        SoftKMeans(**options).fit(X)


def test_a_row_of_zeros_has_an_inner_product():
    X, _ = problem(0)
    X[7] = 0
    for beta in (0.5, np.inf, "anneal"):
        model = SoftKMeans(3, beta=beta, metric="inner", random_state=0).fit(X)
        np.testing.assert_allclose(np.linalg.norm(model.cluster_centers_, axis=1), 1)
        np.testing.assert_array_equal(model.transform(X)[7], 0)


def test_bad_rows_are_named():
    X, _ = problem(0)
    X[7] = 0
    with pytest.raises(
        InputError, match="no row of zeros, which has no direction, got one at row 7"
    ):
        SoftKMeans(2, metric="cosine").fit(X)
    with pytest.raises(InputError, match="at least n_clusters=8 rows, got n_samples = 3"):
        SoftKMeans().fit(X[:3])
    with pytest.raises(InputError, match=r"sample_weight must have shape \(60,\), got \(3,\)"):
        SoftKMeans(2).fit(X, sample_weight=[1, 2, 3])
