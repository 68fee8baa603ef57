"""Mixtures against closed forms, brute force, published values and their own invariances."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from kexue._core import InputError
from kexue.mixture import (
    BernoulliMixture,
    GaussianMixture,
    Mixture,
    MultinomialMixture,
    free_energy,
    select_components,
)
from kexue.mixture import _gaussian_sums as gaussian_sums
from kexue.mixture._gaussian import Gaussian
from kexue.mixture._rows import Rows, sweep

GAUSSIANS = ["full", "tied", "diag", "spherical", "tied_spherical"]
MIXED = {"gaussian_full": [0, 2], "bernoulli": [1, 5], "categorical": [3], "gaussian_diag": [4]}
FAMILIES = [f"gaussian_{kind}" for kind in GAUSSIANS]
FAMILIES += ["bernoulli", "multinomial", "categorical", "mixed"]
HOLED = [family for family in FAMILIES if family != "multinomial"]


def order_matters(estimator):
    if estimator.n_components == 1:
        return {}
    return {"check_sample_weight_equivalence_on_dense_data": "shuffled rows give another start"}


@parametrize_with_checks(
    [
        Mixture(),
        Mixture(2, "gaussian_diag", random_state=0, max_iter=20),
        GaussianMixture(covariance_type="tied"),
    ],
    expected_failed_checks=order_matters,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_takes_it_for_one_of_its_own(estimator, check):
    check(estimator)


def table(family, n=300, seed=0, holes=0.0):
    """Rows of three groups that overlap, in columns that the family has densities for."""
    rng = np.random.default_rng(seed)
    z = rng.integers(3, size=n)
    if family == "bernoulli":
        X = (rng.random((n, 8)) < rng.uniform(0.05, 0.95, (3, 8))[z]).astype(float)
    elif family == "multinomial":
        X = rng.multinomial(12, rng.dirichlet(np.ones(6), 3)[z]).astype(float)
    elif family == "categorical":
        X = (rng.random((n, 5, 1)) > rng.dirichlet(np.ones(4), (3, 5))[z].cumsum(-1)).sum(-1)
        X = X.astype(float)
    else:
        X = rng.normal(size=(n, 4)) @ rng.normal(size=(4, 4)) + 3 * rng.normal(size=(3, 4))[z] + 10
        if family == "mixed":
            binary = rng.random((n, 2)) < np.array([[0.1, 0.8], [0.5, 0.5], [0.9, 0.3]])[z]
            codes = np.minimum(rng.poisson(1 + z), 4)
            X = np.column_stack([X[:, 0], binary[:, 0], X[:, 1], codes, X[:, 2], binary[:, 1]])
    if holes:
        X[rng.random(X.shape) < holes] = np.nan
    return X


def mixture(family, k=3, **parameters):
    parameters = {"random_state": 0, "reg_covar": 0.0, "max_iter": 2000, **parameters}
    return Mixture(k, MIXED if family == "mixed" else family, **parameters)


def shares(n, k=3, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(k), n)


def flat(model):
    """All that was learned of the components, as one vector."""

    def numbers(value):
        if value is None:
            return []
        if isinstance(value, list):
            return [x for part in value for x in numbers(part)]
        return np.ravel(value).tolist()

    names = ("weights_", "means_", "covariances_", "probs_")
    return np.array([x for name in names for x in numbers(getattr(model, name, None))])


# --- published values


@pytest.mark.parametrize(
    ("kind", "k", "log_likelihood", "bic"),
    [("full", 2, -1130.26396, 2322.192), ("tied", 3, -1126.31593, 2314.296)],
)
def test_old_faithful(data, kind, k, log_likelihood, bic):
    X = np.loadtxt(data("old-faithful/faithful.csv"), delimiter=",", skiprows=1)
    model = GaussianMixture(k, covariance_type=kind, reg_covar=0, tol=1e-10, random_state=0).fit(X)
    assert model.log_likelihood_ == pytest.approx(log_likelihood, abs=1e-4)
    assert model.bic(X) == pytest.approx(bic, abs=1e-3)
    if kind == "full":
        first = int(model.weights_.argmin())
        assert model.weights_[first] == pytest.approx(0.35587, abs=1e-4)
        expected = [[2.03639, 54.47852], [4.28966, 79.96811]]
        assert model.means_[[first, 1 - first]] == pytest.approx(np.array(expected), abs=1e-4)
    assert model.score_samples(X).sum() == pytest.approx(model.log_likelihood_, abs=1e-8)


def test_the_model_that_mclust_selects(data):
    """R's mclust takes three components with one covariance."""
    X = np.loadtxt(data("old-faithful/faithful.csv"), delimiter=",", skiprows=1)
    base = Mixture(reg_covar=0, tol=1e-9, n_init=3, random_state=0)
    families = ("gaussian_full", "gaussian_tied", "gaussian_diag")
    found = select_components(X, range(1, 5), families=families, model=base)
    assert (found.n_components, found.family) == (3, "gaussian_tied")
    assert len(found.table) == 12
    assert min(row["bic"] for row in found.table) == found.model.bic(X)
    assert base.n_components == 1


# --- densities and sums by brute force


@pytest.mark.parametrize("kind", GAUSSIANS)
@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_normal_densities(kind, holes):
    X = table("gaussian", holes=holes)
    model = mixture(f"gaussian_{kind}").fit(X)
    k, d = model.means_.shape
    covariances = {
        "full": lambda c: c,
        "tied": lambda c: np.repeat(c[None], k, 0),
        "diag": lambda c: np.array([np.diag(one) for one in c]),
        "spherical": lambda c: np.array([one * np.eye(d) for one in c]),
        "tied_spherical": lambda c: np.repeat(c * np.eye(d)[None], k, 0),
    }[kind](model.covariances_)
    logs = np.zeros((len(X), k))
    for n, x in enumerate(X):
        o = ~np.isnan(x)
        for j in range(k):
            density = 0.0
            if o.any():
                density = multivariate_normal(model.means_[j][o], covariances[j][np.ix_(o, o)])
                density = density.logpdf(x[o])
            logs[n, j] = np.log(model.weights_[j]) + density
    evidence = logsumexp(logs, axis=1)
    assert model.score_samples(X) == pytest.approx(evidence, rel=1e-10, abs=1e-9)
    assert model.predict_proba(X) == pytest.approx(np.exp(logs - evidence[:, None]), abs=1e-9)
    assert (model.predict(X) == logs.argmax(1)).all()
    factors = np.array(model.precisions_cholesky_)
    if kind == "full":
        products = factors @ factors.transpose(0, 2, 1)
        assert products == pytest.approx(np.linalg.inv(covariances), rel=1e-9)


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_discrete_densities(holes):
    X = table("bernoulli", holes=holes)
    model = mixture("bernoulli").fit(X)
    terms = np.where(X[:, None] == 1, np.log(model.probs_), np.log1p(-model.probs_))
    logs = np.where(np.isnan(X)[:, None], 0, terms).sum(2) + np.log(model.weights_)
    assert model.score_samples(X) == pytest.approx(logsumexp(logs, axis=1))
    X = table("categorical", holes=holes)
    model = mixture("categorical").fit(X)
    logs = np.tile(np.log(model.weights_), (len(X), 1))
    for j, probs in enumerate(model.probs_):
        assert probs.sum(1) == pytest.approx(np.ones(3))
        known = ~np.isnan(X[:, j])
        logs[known] += np.log(probs[:, X[known, j].astype(int)]).T
    assert model.score_samples(X) == pytest.approx(logsumexp(logs, axis=1))


def test_multinomial_densities():
    from scipy.stats import multinomial

    X = table("multinomial")
    model = mixture("multinomial").fit(X)
    logs = np.array([multinomial(12, p).logpmf(X) for p in model.probs_]).T + np.log(model.weights_)
    found = model.score_samples(X, coefficient=True)
    assert found == pytest.approx(logsumexp(logs, axis=1))
    assert MultinomialMixture(3, random_state=0).fit(sparse.csr_array(X)).score_samples(
        sparse.csr_array(X), coefficient=True
    ) == pytest.approx(found, abs=1e-3)
    assert model.predict(X).tolist() == logs.argmax(1).tolist()


@pytest.mark.parametrize("kind", GAUSSIANS)
def test_one_step_by_definition(kind):
    X, r = table("gaussian"), shares(300)
    weight = np.random.default_rng(1).uniform(0.5, 2, 300)
    model = mixture(f"gaussian_{kind}", init=r, max_iter=1)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, sample_weight=weight)
    w = r * weight[:, None]
    n = w.sum(0)
    means = w.T @ X / n[:, None]
    away = X[:, None] - means
    scatter = np.einsum("nk,nki,nkj->kij", w, away, away)
    diagonals = np.diagonal(scatter, axis1=1, axis2=2)
    expected = {
        "full": scatter / n[:, None, None],
        "tied": scatter.sum(0) / n.sum(),
        "diag": diagonals / n[:, None],
        "spherical": diagonals.mean(1) / n,
        "tied_spherical": diagonals.mean(1).sum() / n.sum(),
    }[kind]
    assert model.weights_ == pytest.approx(n / n.sum())
    assert model.means_ == pytest.approx(means)
    assert model.covariances_ == pytest.approx(expected)


# --- the objective


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize(
    "parameters", [{}, {"prior": "map"}, {"reg_covar": 0.3}, {"hard": True}, {"init": "random"}]
)
def test_the_objective_never_falls(family, accelerate, parameters):
    rng = np.random.default_rng(3)
    n = 240
    X = table(family, n, holes=0.1 if family in HOLED else 0)
    labels = np.where(rng.random(n) < 0.1, rng.integers(3, size=n), -1)
    model = mixture(family, accelerate=accelerate, tol=1e-8, **parameters)
    model.fit(X, sample_weight=rng.uniform(0, 2, n), labels=labels)
    path = model.log_likelihood_path_
    assert model.converged_
    assert len(path) > 2
    assert not model.restarts_
    assert np.diff(path).min() > -1e-9 * np.abs(path).max()
    assert path[-1] > path[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_path_is_that_of_the_likelihood(family):
    X = table(family, holes=0.1 if family in HOLED else 0)
    weight = np.random.default_rng(0).uniform(0, 2, 300)
    model = mixture(family, tol=1e-4).fit(X, sample_weight=weight)
    assert model.log_likelihood_ == pytest.approx(model.log_likelihood_path_[-1], rel=1e-10)
    assert weight @ model.score_samples(X) == pytest.approx(model.log_likelihood_, rel=1e-10)
    # and of the free energy at the posterior, its least
    r = model.predict_proba(X)
    joint = np.log(np.maximum(r, 1e-300)) + model.score_samples(X)[:, None]
    f = free_energy(r, joint, weight)
    assert -f * weight.sum() == pytest.approx(model.log_likelihood_, rel=1e-9)
    assert free_energy(shares(300), joint, weight) > f


@pytest.mark.parametrize("kind", GAUSSIANS)
def test_the_map_estimate_is_a_maximum(kind):
    """The gradient of likelihood and prior vanishes, by differences, in all directions."""
    X = table("gaussian", n=120)
    model = mixture(f"gaussian_{kind}", k=2, prior="map", tol=1e-13).fit(X)
    family = model._family
    rows = Rows(X, n_components=2)

    def objective(vector):
        params = family.unpack(vector, model._theta.params)
        found = sweep(rows, family, np.log(model.weights_), params)
        return found.log_likelihood + family.log_prior(params)

    best = family.pack(model._theta.params)
    for i in range(len(best)):
        step = np.zeros(len(best))
        step[i] = 1e-4
        slope = (objective(best + step) - objective(best - step)) / 2e-4
        assert abs(slope) < 2e-3, i


def test_the_regularized_objective_is_that_of_blurred_values():
    """E log N(x + noise) under noise of variance reg_covar."""
    X = table("gaussian", n=40)
    model = mixture("gaussian_full", k=1, reg_covar=0.5, tol=1e-12).fit(X)
    assert model.covariances_[0] == pytest.approx(np.cov(X.T, bias=True) + 0.5 * np.eye(4))
    expected = model.score_samples(X).sum()
    expected -= 40 * 0.25 * np.trace(np.linalg.inv(model.covariances_[0]))
    assert model.log_likelihood_path_[-1] == pytest.approx(expected)
    assert model.log_likelihood_ == pytest.approx(model.score_samples(X).sum())


# --- invariances


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_integer_weights_are_repeated_rows(family, init):
    X = table(family, n=120, holes=0.1 if family in HOLED else 0)
    times = np.random.default_rng(0).integers(0, 4, 120)
    parameters = {"init": init, "max_iter": 15, "tol": 0.0, "accelerate": False}
    with pytest.warns(ConvergenceWarning):
        weighted = mixture(family, **parameters).fit(X, sample_weight=times)
    with pytest.warns(ConvergenceWarning):
        repeated = mixture(family, **parameters).fit(np.repeat(X, times, axis=0))
    assert weighted.log_likelihood_ == pytest.approx(repeated.log_likelihood_, rel=1e-10)
    found, expected = flat(weighted), flat(repeated)
    assert np.abs(found - expected).max() < 1e-10 * np.abs(expected).max()
    # a common factor scales the likelihood and nothing else
    with pytest.warns(ConvergenceWarning):
        tripled = mixture(family, **parameters).fit(X, sample_weight=3 * times)
    assert tripled.log_likelihood_ == pytest.approx(3 * weighted.log_likelihood_, rel=1e-10)
    assert np.abs(flat(tripled) - found).max() < 1e-10 * np.abs(found).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_any_number_of_threads_gives_the_same_bits(family):
    X = table(family, n=5000, holes=0.1 if family in HOLED else 0)
    one, four = (mixture(family, n_jobs=n, tol=1e-3).fit(X) for n in (1, 4))
    assert flat(one).tobytes() == flat(four).tobytes()
    assert one.log_likelihood_path_.tobytes() == four.log_likelihood_path_.tobytes()


@pytest.mark.parametrize("family", ["bernoulli", "multinomial"])
def test_sparse_rows_are_the_dense_ones(family):
    X = table(family)
    weight = np.random.default_rng(0).uniform(0, 2, 300)
    dense = mixture(family, init=shares(300)).fit(X, sample_weight=weight)
    for form in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
        thin = mixture(family, init=shares(300)).fit(form(X), sample_weight=weight)
        assert flat(thin) == pytest.approx(flat(dense), abs=1e-9)
        assert thin.predict_proba(form(X)) == pytest.approx(dense.predict_proba(X), abs=1e-9)
    started = [mixture(family).fit(form).log_likelihood_ for form in (X, sparse.csr_array(X))]
    assert started[0] == pytest.approx(started[1], rel=1e-9)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_binary_columns_of_any_type(dtype):
    X = table("bernoulli")
    expected = BernoulliMixture(3, random_state=0).fit(X)
    found = BernoulliMixture(3, random_state=0).fit(X.astype(dtype))
    assert found.probs_ == pytest.approx(expected.probs_, abs=1e-9)


@pytest.mark.parametrize("kind", GAUSSIANS)
def test_far_from_zero_and_far_apart(kind):
    """Where squares multiplied out would lose all digits: distance 1e7 deviations, at 1e9."""
    near = table("gaussian")
    far = near + 1e9
    r = shares(300)
    expected = mixture(f"gaussian_{kind}", init=r).fit(near)
    found = mixture(f"gaussian_{kind}", init=r).fit(far)
    assert found.log_likelihood_ == pytest.approx(expected.log_likelihood_, abs=1e-4)
    two = np.concatenate([near, near * 2 + 1e7])
    labels = np.repeat([0, 1], 300)
    apart = mixture(f"gaussian_{kind}", k=2, init=np.eye(2)[labels]).fit(two)
    if kind in ("full", "diag"):
        scale = np.diag(np.cov(near.T, bias=True))
        variances = apart.covariances_ if kind == "diag" else np.diagonal(
            apart.covariances_, axis1=1, axis2=2
        )  # fmt: skip
        assert variances == pytest.approx(np.array([scale, 4 * scale]), rel=1e-6)
    assert (apart.predict(two) == labels).all()


@pytest.mark.parametrize("kind", GAUSSIANS)
def test_the_careful_form_is_the_fast_one(kind, monkeypatch):
    for rows in (table("gaussian"), table("gaussian", holes=0.2)):
        fast = mixture(f"gaussian_{kind}").fit(rows)
        with monkeypatch.context() as patch:
            patch.setattr(gaussian_sums, "_FAR", 0.0)
            careful = mixture(f"gaussian_{kind}").fit(rows)
        assert flat(careful) == pytest.approx(flat(fast), rel=1e-6, abs=1e-6)
        assert careful.log_likelihood_ == pytest.approx(fast.log_likelihood_, rel=1e-10)


def test_many_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 60)) + 4 * rng.integers(2, size=(400, 1))
    model = mixture("gaussian_full", k=2, reg_covar=1e-3).fit(X)
    joint = np.stack(
        [multivariate_normal(m, c).logpdf(X) for m, c in
         zip(model.means_, model.covariances_, strict=True)], axis=1,
    )  # fmt: skip
    expected = logsumexp(joint + np.log(model.weights_), axis=1)
    assert model.score_samples(X) == pytest.approx(expected, rel=1e-9)


# --- holes


@pytest.mark.parametrize("kind", ["full", "tied"])
def test_the_path_for_holes_without_a_hole(kind):
    X = table("gaussian")
    weight = np.random.default_rng(0).uniform(0, 2, 300)
    family = Gaussian(kind, 0.1, False)
    rows = Rows(X, weight, n_components=3)
    family.settle(rows)
    params = mixture(f"gaussian_{kind}").fit(X)._theta.params
    dense = sweep(rows, family, np.log(np.ones(3) / 3), params)
    rows = Rows(X, weight, n_components=3)
    rows.runs, rows.patterns = [(0, 300, np.ones(4, bool))], True
    holed = sweep(rows, family, np.log(np.ones(3) / 3), params)
    assert holed.log_likelihood == pytest.approx(dense.log_likelihood, rel=1e-10)
    for name, value in dense.statistics.items():
        assert holed.statistics[name] == pytest.approx(value, rel=1e-10, abs=1e-9)


@pytest.mark.parametrize("family", HOLED)
def test_a_hole_in_a_row_without_weight_changes_nothing(family):
    """The form for holes against the dense one, over a whole run."""
    X = table(family)
    weight = np.ones(301)
    weight[-1] = 0
    last = X[-1:].copy()
    last[0, 0] = np.nan
    parameters = {"tol": 0, "max_iter": 10, "accelerate": False}
    with pytest.warns(ConvergenceWarning):
        dense = mixture(family, init=shares(300), **parameters).fit(X)
    with pytest.warns(ConvergenceWarning):
        holed = mixture(family, init=np.append(shares(300), [[1, 0, 0]], 0), **parameters).fit(
            np.append(X, last, 0), sample_weight=weight
        )
    assert holed.log_likelihood_ == pytest.approx(dense.log_likelihood_, rel=1e-10)
    assert np.abs(flat(holed) - flat(dense)).max() < 1e-10 * np.abs(flat(dense)).max()


def test_a_monotone_pattern_has_a_closed_form():
    """The first column always seen: its moments, and the regression of the second on it."""
    rng = np.random.default_rng(0)
    X = rng.multivariate_normal([1, -2], [[2, 1.2], [1.2, 1]], 400)
    X[rng.random(400) < 0.4, 1] = np.nan
    seen = X[~np.isnan(X[:, 1])]
    mean, variance = X[:, 0].mean(), X[:, 0].var()
    slope = np.cov(seen.T, bias=True)[0, 1] / seen[:, 0].var()
    intercept = seen[:, 1].mean() - slope * seen[:, 0].mean()
    left = ((seen[:, 1] - intercept - slope * seen[:, 0]) ** 2).mean()
    model = mixture("gaussian_full", k=1, tol=1e-15).fit(X)
    expected = [[variance, slope * variance], [slope * variance, left + slope**2 * variance]]
    assert model.means_[0] == pytest.approx([mean, intercept + slope * mean], abs=1e-8)
    assert model.covariances_[0] == pytest.approx(np.array(expected), abs=1e-8)


@pytest.mark.parametrize("family", HOLED)
def test_rows_without_any_value_say_nothing(family):
    X = table(family, holes=0.1)
    empty = np.full((25, X.shape[1]), np.nan)
    expected = mixture(family, tol=1e-12).fit(X)
    model = mixture(family, tol=1e-12).fit(np.concatenate([X, empty]))
    assert model.log_likelihood_ == pytest.approx(expected.log_likelihood_, rel=1e-9)
    assert model.predict_proba(empty[:2]) == pytest.approx(np.tile(model.weights_, (2, 1)))
    assert model.score_samples(empty[:2]) == pytest.approx(np.zeros(2), abs=1e-12)


def covariance_errors(seed):
    """Squared errors, in units of the columns, of three ways to estimate from a fifth missing."""
    X = load_iris().data
    true = np.cov(X.T, bias=True)
    scale = np.sqrt(np.outer(np.diag(true), np.diag(true)))
    X = X.copy()
    X[np.random.default_rng(seed).random(X.shape) < 0.2] = np.nan
    X = X[~np.isnan(X).all(1)]
    model = Mixture(reg_covar=0, tol=1e-8).fit(X)
    here = ~np.isnan(X)
    pairwise = np.empty((4, 4))
    for i in range(4):
        for j in range(4):
            both = here[:, i] & here[:, j]
            pairwise[i, j] = np.cov(X[both, i], X[both, j], bias=True)[0, 1]
    filled = np.cov(np.where(here, X, np.nanmean(X, 0)).T, bias=True)
    return [(((c - true) / scale) ** 2).sum() for c in (model.covariances_[0], pairwise, filled)]


def test_missing_values_cost_less_than_by_deletion_or_filling():
    em, pairwise, filled = np.mean([covariance_errors(seed) for seed in range(50)], axis=0)
    assert em < 0.6 * pairwise
    assert em < 0.2 * filled


@pytest.mark.parametrize("family", HOLED)
def test_impute(family):
    X = table(family, holes=0.2)
    model = mixture(family).fit(X)
    filled, drawn = model.impute(X), model.impute(X, sample=True)
    for out in (filled, drawn):
        assert not np.isnan(out).any()
        assert (out[~np.isnan(X)] == X[~np.isnan(X)]).all()
    assert (filled != drawn).any()
    assert (drawn == model.impute(X, sample=True)).all()
    if family in ("bernoulli", "categorical"):
        assert set(np.unique(filled)) <= set(np.unique(X[~np.isnan(X)]))


def test_impute_by_definition():
    X = table("gaussian_full", holes=0.3)
    model = mixture("gaussian_full").fit(X)
    filled, r = model.impute(X), model.predict_proba(X)
    for x, out, share in zip(X[:40], filled, r, strict=False):
        h, o = np.isnan(x), ~np.isnan(x)
        expected = 0
        for mean, c, weight in zip(model.means_, model.covariances_, share, strict=True):
            slope = c[np.ix_(h, o)] @ np.linalg.inv(c[np.ix_(o, o)])
            expected = expected + weight * (mean[h] + slope @ (x[o] - mean[o]))
        assert out[h] == pytest.approx(expected)
    # what is drawn spreads about what is expected as the model says
    many = np.tile(X[np.isnan(X).sum(1) == 2][:1], (20_000, 1))
    drawn = model.impute(many, sample=True)
    h = np.isnan(many[0])
    assert drawn[:, h].mean(0) == pytest.approx(model.impute(many[:1])[0, h], abs=0.1)


# --- what else it can


def test_hard_em_is_k_means():
    X = load_iris().data
    start = KMeans(3, n_init=1, max_iter=1, random_state=3).fit(X)
    ours = mixture(
        "gaussian_tied_spherical", init=np.eye(3)[start.labels_], hard=True, fixed_weights=True,
        tol=1e-15,
    ).fit(X)  # fmt: skip
    theirs = KMeans(3, init=start.cluster_centers_, n_init=1, tol=0).fit(X)
    assert (ours.predict(X) == theirs.labels_).all()
    assert ours.means_ == pytest.approx(theirs.cluster_centers_)
    assert ours.weights_ == pytest.approx(np.ones(3) / 3)


def test_labels_are_obeyed():
    iris = load_iris()
    labels = np.full(150, -1)
    labels[::10] = iris.target[::10]
    model = Mixture(3, random_state=0, tol=1e-8).fit(iris.data, labels=labels)
    assert (model.predict(iris.data) == iris.target).mean() > 0.95
    # all known: one normal density to a class
    model = mixture("gaussian_full").fit(iris.data, labels=iris.target)
    for k in range(3):
        part = iris.data[iris.target == k]
        assert model.means_[k] == pytest.approx(part.mean(0))
        assert model.covariances_[k] == pytest.approx(np.cov(part.T, bias=True))
    assert model.counts_ == pytest.approx(np.full(3, 50))


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_have_the_moments_of_the_model(family):
    X = table(family, n=2000)
    model = mixture(family).fit(X)
    drawn, labels = model.sample(40_000)
    assert np.bincount(labels) / 40_000 == pytest.approx(model.weights_, abs=0.01)
    scale = X.std(0)
    assert (drawn.mean(0) - X.mean(0)) / scale == pytest.approx(np.zeros(X.shape[1]), abs=0.03)
    if family in ("gaussian_full", "gaussian_tied"):
        found, expected = (np.cov(Y.T) / np.outer(scale, scale) for Y in (drawn, X))
        assert np.abs(found - expected).max() < 0.05
    assert (model.sample(5)[0] == drawn[:5]).all() or len(model.sample(5)[0]) == 5


def test_criteria():
    X = table("gaussian")
    for kind, free in (("full", 3 * 4 + 3 * 10), ("tied", 12 + 10), ("diag", 24),
                       ("spherical", 15), ("tied_spherical", 13)):  # fmt: skip
        model = mixture(f"gaussian_{kind}").fit(X)
        p = free + 2
        assert model.bic(X) == pytest.approx(-2 * model.log_likelihood_ + p * np.log(300))
        assert model.aic(X) == pytest.approx(-2 * model.log_likelihood_ + 2 * p)
        r = model.predict_proba(X)
        assert model.icl(X) == pytest.approx(model.bic(X) - 2 * (r * np.log(r + 1e-300)).sum())
    fixed = mixture("gaussian_diag", fixed_weights=[1, 2, 1]).fit(X)
    assert fixed.aic(X) == pytest.approx(-2 * fixed.log_likelihood_ + 48)
    assert fixed.weights_ == pytest.approx([0.25, 0.5, 0.25])
    assert mixture("bernoulli").fit(Y := table("bernoulli")).aic(Y) == pytest.approx(
        2 * (2 + 24) - 2 * mixture("bernoulli").fit(Y).log_likelihood_
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stream(family):
    X = table(family, n=6000, holes=0.1 if family in HOLED else 0)
    whole = mixture(family, tol=1e-5).fit(X)
    stream = mixture(family)
    for batch in np.split(X, 20):
        stream.partial_fit(batch)
    # a pass over a stream ends where EM on all rows ends, but for noise and another start
    assert stream.score(X) > whole.score(X) - 0.1
    assert stream.n_iter_ == 20
    once = mixture(family, batch_size=300, tol=1e-5).fit(X)
    assert once.score(X) > whole.score(X) - 0.03


def test_annealing():
    X = table("gaussian")
    models = [mixture("gaussian_full", init=init).fit(X) for init in ("anneal", "k-means++")]
    assert models[0].log_likelihood_ > models[1].log_likelihood_ - 20


def test_a_component_that_dies_begins_anew():
    X = table("gaussian")
    X[:5] = 30.0  # on which a component can collapse
    r = np.zeros((300, 2))
    r[:5, 0], r[5:, 1] = 1, 1
    labels = np.full(300, -1)
    with pytest.warns(ConvergenceWarning, match=r"component 0 has died and begins anew at row \d+"):
        fitted = mixture("gaussian_full", k=2, init=r).fit(X, labels=labels)
    assert np.isfinite(fitted.log_likelihood_)
    empty = np.zeros((300, 3))
    empty[:150, 0], empty[150:, 1] = 1, 1
    with pytest.warns(ConvergenceWarning, match=r"component 2 has died and begins anew at row \d+"):
        model = mixture("bernoulli", init=empty, hard=True).fit(table("bernoulli"))
    assert (model.counts_ > 0).all()
    assert model.restarts_


def test_what_cannot_but_collapse():
    X = np.column_stack([np.arange(20.0), np.arange(20.0)])
    with pytest.raises(InputError, match=r"of 2 components, 0, 1 collapsed .* prior='map'"):
        mixture("gaussian_full", k=2).fit(X)
    assert np.isfinite(Mixture(2, prior="map", random_state=0).fit(X).log_likelihood_)
    assert Mixture(2, random_state=0).fit(X).smallest_variances_.max() < 1e-3


def test_a_run_in_which_a_component_collapsed_is_not_the_best():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(200, 2)), np.full((6, 2), 0.3)])
    model = Mixture(2, n_init=10, random_state=0, init="random", reg_covar=1e-9).fit(X)
    assert model.smallest_variances_.min() > 1e-5


def test_warnings_and_callbacks():
    X = table("gaussian")
    with pytest.warns(ConvergenceWarning, match=r"not converged after max_iter=3 sweeps; raise"):
        mixture("gaussian_full", max_iter=3, tol=0).fit(X)
    seen = []
    model = mixture("gaussian_full", callback=lambda m: seen.append(m.n_iter_) or len(seen) > 2)
    model.fit(X)
    assert len(seen) == 3
    assert not model.converged_


# --- real data


def test_digits_as_published():
    X = load_digits().data > 7
    model = BernoulliMixture(10, n_init=3, random_state=0, max_iter=100, tol=1e-4).fit(X)
    assert model.log_likelihood_ > -34_800


@pytest.mark.peer
def test_stepmix_agrees():
    stepmix = pytest.importorskip("stepmix", reason="extra `bench`")
    X = table("bernoulli")
    theirs = stepmix.StepMix(3, measurement="binary", random_state=0, n_init=5, abs_tol=1e-12,
                             rel_tol=0, max_iter=3000, progress_bar=0).fit(X)  # fmt: skip
    ours = mixture("bernoulli", init=theirs.predict_proba(X), tol=1e-12).fit(X)
    assert ours.score(X) == pytest.approx(theirs.score(X), abs=1e-5)


@pytest.mark.parametrize("kind", GAUSSIANS[:4])
def test_scikit_learn_agrees(kind):
    from sklearn.mixture import GaussianMixture as Theirs

    X = table("gaussian")
    theirs = Theirs(3, covariance_type=kind, tol=1e-13, reg_covar=0, max_iter=5000,
                    random_state=0).fit(X)  # fmt: skip
    ours = mixture(f"gaussian_{kind}", init=theirs.predict_proba(X), tol=1e-14).fit(X)
    assert ours.means_ == pytest.approx(theirs.means_, abs=1e-5)
    assert ours.covariances_ == pytest.approx(theirs.covariances_, abs=1e-4)
    assert ours.score(X) == pytest.approx(theirs.score(X), abs=1e-9)
    assert ours.bic(X) == pytest.approx(theirs.bic(X), abs=1e-6)


# --- bad input

NORMAL, BINARY = np.arange(12.0).reshape(6, 2), np.eye(4)


@pytest.mark.parametrize(
    ("parameters", "X", "arguments", "error", "message"),
    [
        ({"n_components": 7}, NORMAL, {}, InputError, "X must have at least 7 rows for 7 compone"),
        ({}, [[1.0, np.inf]], {}, InputError, "X must be finite or NaN, got inf at row 0, colu"),
        ({}, [[1.0, np.nan]] * 3, {}, InputError, "got only NaN in column 1; leave it out"),
        ({"family": "bernoulli"}, [[0, 1], [1, 2]], {}, InputError,
         "X must be 0, 1 or NaN for bernoulli, got 2 at row 1, column 1"),
        ({"family": "multinomial"}, [[0, -1.0]], {}, InputError, "hold counts >= 0 for multinomi"),
        ({"family": "multinomial"}, [[0, np.nan]], {}, InputError, "have no NaN for multinomial"),
        ({"family": "multinomial"}, sparse.csr_array([[0, 0, 1], [0, -3, 0]]), {}, InputError,
         "got -3 at row 1, column 1"),
        ({"family": "categorical"}, [[0, 1.5]], {}, InputError, r"codes 0, 1, \.\.\. or NaN"),
        ({}, sparse.csr_array(NORMAL), {}, TypeError, "Sparse data was passed"),
        ({}, NORMAL, {"sample_weight": [1, 1]}, InputError, r"must have shape \(6,\), got \(2,\)"),
        ({}, NORMAL, {"sample_weight": [1, -1, 1, 1, 1, 1]}, InputError,
         r"sample_weight must be finite and >= 0, got -1.0 at row 1"),
        ({}, NORMAL, {"sample_weight": np.zeros(6)}, InputError, "must not be all zero"),
        ({}, NORMAL, {"labels": np.full(6, 1)}, InputError, r"in \[0, 0\], got 1 at row 0"),
        ({}, NORMAL, {"labels": np.zeros(6)}, InputError, "labels must be ints of shape"),
        ({"n_components": 0}, NORMAL, {}, InputError, "n_components must be an int >= 1, got 0"),
        ({"family": "gauss"}, NORMAL, {}, InputError, "family must be one of 'gaussian_full'"),
        ({"family": {"bernoulli": [0, 0]}}, NORMAL, {}, InputError, "must hold each column once"),
        ({"family": {}}, NORMAL, {}, InputError, "must name at least one block of columns"),
        ({"family": {"gaussian_diag": [0]}}, NORMAL, {}, InputError, "describes 1 columns, X has"),
        ({"family": {"gaussian_diag": [0], "bernoulli": [1]}}, NORMAL, {}, InputError,
         "got 3.0 at row 1, column 1"),
        ({"init": "kmeans"}, NORMAL, {}, InputError,
         r"init must be one of 'k-means\+\+', 'random'"),
        ({"init": 3}, NORMAL, {}, TypeError, "or responsibilities of shape"),
        ({"init": np.ones((6, 2))}, NORMAL, {}, InputError, r"init must have shape \(6, 1\)"),
        ({"init": np.full((6, 1), 2.0)}, NORMAL, {}, InputError, "that sum to 1 in each row"),
        ({"n_init": 0}, NORMAL, {}, InputError, "n_init must be an int >= 1, got 0"),
        ({"max_iter": 0}, NORMAL, {}, InputError, "max_iter must be an int >= 1, got 0"),
        ({"tol": -1}, NORMAL, {}, InputError, "tol must be a finite number >= 0, got -1"),
        ({"reg_covar": -1}, NORMAL, {}, InputError, "reg_covar must be a finite number >= 0"),
        ({"prior": "bayes"}, NORMAL, {}, InputError, "prior must be one of 'map', got 'bayes'"),
        ({"accelerate": 1}, NORMAL, {}, TypeError, "accelerate must be a bool, got 1"),
        ({"batch_size": 0}, NORMAL, {}, InputError, "batch_size must be an int >= 1, got 0"),
        ({"callback": 1}, NORMAL, {}, TypeError, "callback must be None or callable, got 1"),
        ({"fixed_weights": [1, 1]}, NORMAL, {}, InputError, "fixed_weights must be a bool or 1 nu"),
        ({"random_state": -1}, NORMAL, {}, InputError, "random_state must be None"),
    ],
)  # fmt: skip
def test_bad_input_is_answered_by_its_message(parameters, X, arguments, error, message):
    with pytest.raises(error, match=message):
        Mixture(**parameters).fit(X, **arguments)


def test_what_cannot_be_asked_of_a_model():
    X = table("categorical")
    model = Mixture(2, "categorical", random_state=0).fit(X)
    more = X.copy()
    more[3, 2] = 9
    with pytest.raises(InputError, match=r"codes that were fitted .* got 9.0 at row 3, column 2"):
        model.predict(more)
    with pytest.raises(InputError, match="coefficient needs family='multinomial', got 'categ"):
        model.score_samples(X, coefficient=True)
    with pytest.raises(TypeError, match="impute needs a dense X"):
        BernoulliMixture().fit(BINARY).impute(sparse.csr_array(BINARY))
    with pytest.raises(InputError, match="first batch must have at least 3 rows"):
        Mixture(3).partial_fit(NORMAL[:2])
    model = Mixture(2, random_state=0, warm_start=True).fit(table("gaussian"))
    with pytest.raises(InputError, match="warm_start needs n_components=2 as it was fitted, got 3"):
        model.set_params(n_components=3).fit(table("gaussian"))
    with pytest.raises(InputError, match="criterion must be one of 'bic', 'aic', 'icl'"):
        select_components(NORMAL, criterion="mdl")
    with pytest.raises(InputError, match="n_components must hold at least one number"):
        select_components(NORMAL, [])
    with pytest.raises(InputError, match="families must hold at least one family"):
        select_components(NORMAL, families=[])


# --- memory


def peak(function):
    tracemalloc.start()
    function()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("family", ["gaussian_full", "gaussian_tied", "gaussian_diag"])
def test_no_table_of_the_size_of_the_rows(family):
    X = np.random.default_rng(0).normal(size=(150_000, 6))
    model = Mixture(8, family, init="random", max_iter=3, random_state=0)
    model.fit(X[:3000])
    # most for the 20,000 rows that a start is chosen from; all responsibilities would take 9.6 MB
    assert peak(lambda: model.fit(X)) < 7e6
    assert peak(lambda: model.predict(X)) < 150_000 * 8 + 2e6


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("family", ["bernoulli", "multinomial"])
def test_sparse_rows_are_never_densified(family):
    """A dense table would take 3.2 GB."""
    columns = np.random.default_rng(0).integers(20_000, size=80_000)
    X = sparse.csr_array((np.ones(80_000), columns, np.arange(0, 80_001, 4)), (20_000, 20_000))
    X.sum_duplicates()
    X.data[:] = 1.0
    model = Mixture(4, family, max_iter=3, random_state=0)
    assert peak(lambda: model.fit(X).predict_proba(X)) < 60e6
