"""The three distances: quadrature, identities, 60-digit arithmetic, near and singular pairs."""

import json
import os
import subprocess
import sys

import mpmath as mp
import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.datasets import load_digits

from kexue._core import InputError
from kexue.gaussian import Gaussian, bhattacharyya, hellinger, jeffreys, kl, wasserstein2
from kexue.gaussian._covariances import Full
from kexue.gaussian._linalg import excess
from kexue.gaussian._low_rank import curvature
from kexue.gaussian._pairs import DensePair, as_pair
from kexue.gaussian.bhattacharyya import _middle_factor

DIVERGENCES = (kl, bhattacharyya)
DISTANCES = (kl, bhattacharyya, wasserstein2)
ALL = (*DISTANCES, hellinger, jeffreys)
FORMS = ("full", "diagonal", "factor", "thin factor", "isotropic", "diagonal + low rank")
REGULAR = tuple(form for form in FORMS if form != "thin factor")
TYPES = (np.float64, np.float32)


def squared_w2(p, q):
    return wasserstein2(p, q, squared=True)


# --- what the formulas mean


@pytest.mark.parametrize(
    ("m1", "v1", "m2", "v2"),
    [(0, 1, 1, 4), (2, 0.3, -1, 0.5), (0, 1, 0, 1.02), (0.5, 9, 0, 1), (0, 1, 1e-3, 1)],
)
def test_of_one_dimension_against_quadrature(m1, v1, m2, v2):
    p, q = stats.norm(m1, v1**0.5), stats.norm(m2, v2**0.5)
    gaussians = Gaussian.diag([m1], var=[v1]), Gaussian.diag([m2], var=[v2])

    def integral(function, ends):
        return integrate.quad(function, *ends, epsabs=1e-14, epsrel=1e-13, limit=500)[0]

    line = (min(m1 - 12 * v1**0.5, m2 - 12 * v2**0.5), max(m1 + 12 * v1**0.5, m2 + 12 * v2**0.5))
    divergence = integral(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), line)
    affinity = integral(lambda x: np.sqrt(p.pdf(x) * q.pdf(x)), line)
    # of the quantiles z, which carry one to the other
    normal = stats.norm()
    cost = integral(lambda z: normal.pdf(z) * (m1 + v1**0.5 * z - m2 - v2**0.5 * z) ** 2, (-12, 12))
    assert kl(*gaussians) == pytest.approx(divergence, abs=1e-10)
    assert bhattacharyya(*gaussians) == pytest.approx(-np.log(affinity), abs=1e-10)
    assert hellinger(*gaussians, squared=True) == pytest.approx(1 - affinity, abs=1e-10)
    assert squared_w2(*gaussians) == pytest.approx(cost, abs=1e-10)


def test_diagonals_add_up_over_coordinates():
    rng = np.random.default_rng(0)
    m1, m2 = rng.normal(size=(2, 5))
    v1, v2 = rng.uniform(0.1, 3, (2, 5))
    p, q = Gaussian.diag(m1, v1), Gaussian.diag(m2, v2)
    ones = Gaussian.diag(m1[:, None], v1[:, None]), Gaussian.diag(m2[:, None], v2[:, None])
    for distance in (kl, bhattacharyya, jeffreys, squared_w2):
        assert distance(p, q) == pytest.approx(distance(*ones).sum(), rel=1e-14)


def test_kl_from_the_standard_normal(make, form):
    p = make(form, seed=5)
    standard = Gaussian.diag(p.mean * 0, p.mean * 0 + 1)
    cov, mean = np.asarray(p.cov), np.asarray(p.mean)
    expected = (mean @ mean + np.trace(cov) - float(p.logdet) - 12) / 2
    assert float(kl(p, standard)) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("kind", REGULAR)
def test_one_covariance(make, kind):
    p, step = make(kind, seed=6), make("diagonal", seed=7).mean
    q = Gaussian(p.mean + step, p.covariance)
    away, cov = np.asarray(step), np.asarray(p.cov)
    half = away @ np.linalg.solve(cov, away) / 2
    assert float(kl(p, q)) == pytest.approx(half, rel=1e-8 if kind == "factor" else 1e-11)
    assert float(bhattacharyya(p, q)) == pytest.approx(float(kl(p, q)) / 4, rel=1e-11)
    assert float(wasserstein2(p, q)) == pytest.approx(np.linalg.norm(away), rel=1e-14)


def test_order_of_the_distances(make):
    for seed in range(50):
        p, q = (make("full", seed=2 * seed + k, n=3) for k in (0, 1))
        square = float(hellinger(p, q, squared=True))
        assert 0 < float(bhattacharyya(p, q)) <= float(kl(p, q)) / 2
        assert square == pytest.approx(float(hellinger(p, q)) ** 2)
        assert square == pytest.approx(1 - np.exp(-float(bhattacharyya(p, q))))
        assert float(jeffreys(p, q)) == pytest.approx(float(kl(p, q)) + float(kl(q, p)))
        # H^2 <= 1 - exp(-KL / 2)
        assert square <= 1 - np.exp(-float(kl(p, q)) / 2)


# --- forms


@pytest.mark.parametrize("second", FORMS)
def test_every_form_gives_what_its_matrix_gives(make, dense, form, second):
    p, q = make(form, seed=8), make(second, seed=9)
    for distance in ALL:
        expected = float(distance(dense(p), dense(q)))
        # the matrix of a square factor has the square of its condition, 3e3
        assert float(distance(p, q)) == pytest.approx(expected, rel=1e-8, abs=1e-300), distance
        if "factor" not in form + second:
            assert float(distance(p, q)) == pytest.approx(expected, rel=1e-12), distance


@pytest.mark.parametrize("n", [12, 200])
@pytest.mark.parametrize("ranks", [(6, 6), (2, 5)])
def test_isotropic_and_low_rank_is_its_matrix(dense, n, ranks):
    rng = np.random.default_rng(0)
    p, q = (
        Gaussian.lowrank(rng.normal(size=n), diag, rng.normal(size=(n, r)))
        for diag, r in zip((0.7, 1.3), ranks, strict=True)
    )
    for distance in ALL:
        assert distance(p, q) == pytest.approx(distance(dense(p), dense(q)), rel=1e-12)


def test_diagonal_and_low_rank_is_its_matrix_near_and_far(dense, exact):
    rng = np.random.default_rng(1)
    mean, diag, factor = rng.normal(size=40), rng.uniform(0.5, 2, 40), rng.normal(size=(40, 3))
    p = Gaussian.lowrank(mean, diag, factor)
    for change in (1.0, 0.3, 0.1, 1e-3, 1e-6):
        noise = 1 + change * rng.uniform(-1, 1, 40)
        loading = factor * (1 + change * rng.normal(size=(40, 3)))
        q = Gaussian.lowrank(mean + change * rng.normal(size=40), diag * noise, loading)
        for distance, name in ((kl, "kl"), (bhattacharyya, "bhattacharyya")):
            # of the parts themselves, in which the matrices would already be rounded
            value = distance(p, q)
            rel = 1e-12 + 1e-15 / change
            assert value == pytest.approx(distance(dense(p), dense(q)), rel=rel), (change, name)


@pytest.mark.parametrize("concentrated", [True, False])
def test_the_quadrature_is_exact_as_far_as_it_is_used(exact, concentrated):
    """Up to a change of one variance by two thirds, or of all by a fifth."""
    rng = np.random.default_rng(6)
    mean, factor = np.zeros(8), rng.integers(-8, 9, (8, 2)) / 8
    first = rng.integers(4, 9, 8) / 4.0
    # few binary digits, so that the matrices are not rounded
    apart = np.eye(8)[3] * first * 0.6875 if concentrated else 0.1875 * first
    p, q = (Gaussian.lowrank(mean, diag, factor) for diag in (first, first + apart))
    assert 0.1 < float(curvature(as_pair(p, q), 0.5)) < 0.25
    covs = [np.diag(diag) + factor @ factor.T for diag in (first, first + apart)]
    for distance, name in ((kl, "kl"), (bhattacharyya, "bhattacharyya")):
        truth = getattr(exact, name)(mean, covs[0], mean, covs[1])
        assert exact.relative_error(distance(p, q), truth) < 1e-14, name


def test_near_isotropic_and_low_rank_keep_their_digits(exact):
    """Of numbers that need no rounding in the matrices that the exact values are of."""
    rng = np.random.default_rng(5)
    factor = rng.integers(-8, 9, (14, 2)) / 8
    step, mean = 2.0**-20, np.zeros(14)
    p, q = (Gaussian.lowrank(mean, 0.5 + s, factor + s) for s in (0.0, step))
    covs = [(0.5 + s) * np.eye(14) + (factor + s) @ (factor + s).T for s in (0.0, step)]
    for distance, name in (
        (kl, "kl"),
        (bhattacharyya, "bhattacharyya"),
        (squared_w2, "wasserstein2_squared"),
    ):
        truth = getattr(exact, name)(mean, covs[0], mean, covs[1])
        assert exact.relative_error(distance(p, q), truth) < 1e-13, name
        by_diagonal = [
            Gaussian.lowrank(mean, np.full(14, 0.5 + s), factor + s) for s in (0.0, step)
        ]
        assert exact.relative_error(distance(*by_diagonal), truth) < 1e-13, name


def run_alone(code):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_million_dimensions():
    """CPU time on one thread, and memory of a process of its own, the Gaussians included."""
    result = run_alone("""
import json, time
import numpy as np
from kexue.gaussian import Gaussian, bhattacharyya, kl, wasserstein2

rng = np.random.default_rng(0)
n = 10**6
small = [Gaussian.lowrank(np.zeros(4000), 0.5, rng.normal(size=(4000, 8))) for _ in range(2)]
kl(*small)
p, q = (Gaussian.lowrank(rng.normal(size=n), s, rng.normal(size=(n, 8))) for s in (0.5, 0.6))
seconds = {}
for distance in (kl, bhattacharyya, wasserstein2):
    start = time.process_time()
    distance(p, q)
    seconds[distance.__name__] = time.process_time() - start
with open("/proc/self/status") as file:  # ru_maxrss begins with what the parent had
    peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024
print(json.dumps({"seconds": seconds, "peak": peak}))
""")
    assert max(result["seconds"].values()) < 2
    assert result["peak"] < 1e9


# --- digits


@pytest.mark.parametrize(
    ("condition", "change", "limits"),
    [
        (1e2, None, (1e-14, 1e-14, 1e-14)),
        (1e2, 1e-6, (1e-13, 1e-13, 1e-14)),
        (1e8, None, (1e-8, 1e-10, 1e-14)),
        (1e8, 1e-3, (1e-9, 1e-9, 1e-13)),
        (1e8, 1e-6, (1e-8, 1e-8, 1e-13)),
    ],
)
def test_digits_against_60(library, exact, truth, condition, change, limits):
    first, second = exact.pair(condition, change)
    mean = np.zeros(20)
    p, q = (Gaussian.full(library(mean), library(cov)) for cov in (first, second))
    for distance, name, limit in zip(
        (kl, bhattacharyya, squared_w2),
        ("kl", "bhattacharyya", "wasserstein2_squared"),
        limits,
        strict=True,
    ):
        expected = truth(name, condition, change)
        assert exact.relative_error(distance(p, q), expected) < limit, name


@pytest.mark.parametrize("kind", ["full", "diagonal", "diagonal + low rank"])
def test_far_apart_torch_has_the_same_kl(make_tensors, kind):
    import torch.distributions as distributions

    p, q = make_tensors(kind, seed=19), make_tensors(kind, seed=20)
    forms = {
        "full": lambda g: distributions.MultivariateNormal(g.mean, g.cov),
        "diagonal": lambda g: distributions.Independent(
            distributions.Normal(g.mean, g.covariance.var.sqrt()), 1
        ),
        "diagonal + low rank": lambda g: distributions.LowRankMultivariateNormal(
            g.mean, g.covariance.loading, g.covariance.diag
        ),
    }
    theirs = distributions.kl_divergence(*map(forms[kind], (p, q)))
    assert float(kl(p, q)) == pytest.approx(float(theirs), rel=1e-11)


@pytest.mark.peer
def test_far_apart_pot_has_the_same_distance(make):
    ot = pytest.importorskip("ot")
    p, q = make("full", seed=21), make("full", seed=22)
    theirs = ot.gaussian.bures_wasserstein_distance(p.mean, q.mean, p.cov, q.cov)
    assert float(wasserstein2(p, q)) == pytest.approx(float(theirs), rel=1e-11)


@pytest.mark.peer
def test_pot_has_no_distance_of_singular_ones():
    """What the page says of it."""
    ot = pytest.importorskip("ot")
    factors = [np.random.default_rng(3).normal(size=(200, r)) for r in (60, 50)]
    zero = np.zeros(200)
    with np.errstate(invalid="ignore"):
        theirs = ot.gaussian.bures_wasserstein_distance(zero, zero, *(f @ f.T for f in factors))
    assert not abs(theirs - wasserstein2(*(Gaussian.from_factor(zero, f) for f in factors))) < 1e-6


@pytest.mark.parametrize("dtype", TYPES)
def test_the_excess_over_a_logarithm_has_all_digits(library, dtype):
    """On both sides of where the series ends."""
    sizes = np.concatenate([np.geomspace(1e-15, 0.124, 60), [0.1249, 0.1251, 0.2]])
    t = np.concatenate([sizes, -sizes]).astype(dtype)
    found = np.asarray(excess(library(t), library(np.log1p(t))), np.float64)
    with mp.workdps(60):
        expected = [mp.mpf(float(x)) - mp.log(1 + mp.mpf(float(x))) for x in t]
        errors = [abs(mp.mpf(float(a)) / b - 1) for a, b in zip(found, expected, strict=True)]
    eps = np.finfo(dtype).eps
    assert max(errors) < 32 * eps
    assert max(e for e, x in zip(errors, t, strict=True) if abs(x) < 0.125) < 4 * eps


def test_the_two_ways_agree_where_they_meet(exact):
    """Sizes of the change around the one at which the form without eigenvalues takes over."""
    mean = np.linspace(-0.1, 0.1, 20)
    sides = set()
    for change in (0.2, 0.25, 0.3, 0.35):
        first, second = exact.pair(1e4, change)
        relative = np.linalg.solve(second, first - second)
        sides.add(bool(np.trace(relative @ relative) < 1))
        p, q = Gaussian.full(mean, first), Gaussian.full(-mean, second)
        for distance, truth in ((kl, exact.kl), (bhattacharyya, exact.bhattacharyya)):
            error = exact.relative_error(distance(p, q), truth(mean, first, -mean, second))
            assert error < 1e-11
    assert sides == {True, False}


def test_the_middle_of_two_where_rounding_spoils_their_sum(library):
    """Matrices that lost what their factors still hold."""
    rng = np.random.default_rng(7)
    factors = np.tril(rng.normal(size=(2, 4, 4)))
    lost = library(np.zeros((4, 4)))
    first, second = (Full(lost, library(f), np.int64(4), 1e-15, True) for f in factors)
    middle = np.asarray(_middle_factor(DensePair(library(np.zeros(4)), lost, first, second)))
    np.testing.assert_array_equal(middle, np.tril(middle))
    expected = sum(f @ f.T for f in factors) / 2
    np.testing.assert_allclose(middle @ middle.T, expected, atol=1e-14)


def test_the_ways_of_wasserstein_agree_where_they_meet(exact):
    """From the iteration through rotations to traces, at changes around those of the switches."""
    mean = np.zeros(20)
    for change in (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.4):
        first, second = exact.pair(1e4, change)
        truth = exact.wasserstein2_squared(mean, first, mean, second)
        value = squared_w2(Gaussian.full(mean, first), Gaussian.full(mean, second))
        assert exact.relative_error(value, truth) < 1e-12


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", FORMS)
def test_ten_thousand_near_pairs_are_never_negative(make, kind, dtype):
    change = 1e-6 if dtype == np.float64 else 1e-3
    p = make(kind, seed=10, n=4, batch=(10_000,), dtype=dtype)
    q = make(kind, seed=10, n=4, batch=(10_000,), dtype=dtype, change=change)
    for distance in ALL if kind == "diagonal" else DISTANCES:
        if kind == "thin factor" and distance is not wasserstein2:
            continue  # of two planes: infinite, one pair at a time
        values = np.asarray(distance(p, q))
        assert values.dtype == dtype
        assert values.shape == (10_000,)
        assert (values >= 0).all(), distance
        assert np.median(values) > 0


@pytest.mark.parametrize("dtype", TYPES)
def test_equals_are_0_apart(make, form, dtype):
    p, q = make(form, seed=11, dtype=dtype), make(form, seed=11, dtype=dtype)
    for distance in ALL:
        assert float(distance(p, q)) == 0, distance


@pytest.mark.parametrize("kind", REGULAR)
def test_single_precision_keeps_its_digits(make, kind):
    for change, limit in ((None, 2e-4), (1e-2, 1e-2)):
        seeds = (12, 13) if change is None else (12, 12)
        p, q = (
            make(kind, seed=seed, dtype=np.float32, change=c or 0.0)
            for seed, c in zip(seeds, (0.0, change), strict=True)
        )
        wide = [
            g.map(lambda array, core: array if "int" in str(array.dtype) else as_double(array))
            for g in (p, q)
        ]
        for distance in DISTANCES:
            value, truth = distance(p, q), float(distance(*wide))
            assert "float32" in str(value.dtype)
            # a square factor has a condition of 5e3 here
            tolerance = limit * (100 if kind == "factor" else 1)
            assert float(value) == pytest.approx(truth, rel=tolerance), (distance, change)


def as_double(array):
    return array.astype(np.float64) if isinstance(array, np.ndarray) else array.double()


# --- singular


def test_two_lines_across(library):
    zero = library(np.zeros(2))
    cross = [library(np.diag(d)) for d in ((1.0, 0.0), (0.0, 1.0))]
    pairs = [
        [Gaussian.full(zero, cov) for cov in cross],
        [Gaussian.diag(zero, library(np.array(d))) for d in ((1.0, 0.0), (0.0, 1.0))],
        [Gaussian.from_factor(zero, library(np.array(d))) for d in ([[1.0], [0]], [[0], [1.0]])],
    ]
    for p, q in pairs:
        assert float(wasserstein2(p, q)) == pytest.approx(2**0.5, rel=1e-15)
        assert float(kl(p, q)) == float(bhattacharyya(p, q)) == float(jeffreys(p, q)) == np.inf
        assert float(hellinger(p, q)) == 1


def test_points(library, capfd):
    """Covariances of 0; LAPACK would complain of empty matrices on its own."""
    zero, cov = library(np.zeros(2)), library(np.zeros((2, 2)))
    here = Gaussian.full(zero, cov)
    there = Gaussian.full(library(np.array([3.0, 4.0])), cov)
    for distance in ALL:
        assert float(distance(here, here)) == 0
    assert float(wasserstein2(here, there)) == 5
    assert float(kl(here, there)) == float(bhattacharyya(here, there)) == np.inf
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("as_factors", [True, False])
def test_within_one_plane(library, as_factors):
    rng = np.random.default_rng(2)
    plane = np.linalg.qr(rng.normal(size=(40, 3)))[0]
    inner = rng.normal(size=(2, 3, 3))
    step = rng.normal(size=3)
    inside = [Gaussian.full(m, a @ a.T) for m, a in zip((step, 0 * step), inner, strict=True)]
    means, factors = [plane @ step, np.zeros(40)], plane @ inner
    if as_factors:
        p, q = map(Gaussian.from_factor, map(library, means), map(library, factors))
    else:
        p, q = map(Gaussian.full, map(library, means), map(library, factors @ factors.mT))
    for distance in ALL:
        assert float(distance(p, q)) == pytest.approx(float(distance(*inside)), rel=1e-9)
    off = means[0] + np.eye(40)[0]
    aside = Gaussian(library(off), p.covariance)
    assert float(kl(aside, q)) == float(bhattacharyya(aside, q)) == np.inf
    line = Gaussian.from_factor(library(means[0]), library(factors[0][:, :1]))
    assert float(kl(line, q)) == float(kl(q, line)) == float(bhattacharyya(line, q)) == np.inf


def test_a_batch_with_singular_ones(library):
    zero, one, half = np.zeros(2), np.diag([1.0, 0.0]), np.diag([1.0, 0.5])
    p = Gaussian.full(library(zero), library(np.array([one, half, one, half])))
    q = Gaussian.full(library(zero), library(np.array([one, one, half, 2 * half])))
    expected = [0, np.inf, np.inf, float(kl(p[3], q[3]))]
    np.testing.assert_allclose(kl(p, q), expected)
    np.testing.assert_allclose(bhattacharyya(p, q)[:3], expected[:3])
    variances = [library(np.array([np.diag(c) for c in g.cov])) for g in (p, q)]
    diagonal = [Gaussian.diag(library(zero), var) for var in variances]
    np.testing.assert_allclose(kl(*diagonal), expected)
    np.testing.assert_allclose(wasserstein2(*diagonal), wasserstein2(p, q), atol=1e-15)


@pytest.fixture(scope="module")
def thin_factors(exact):
    rng = np.random.default_rng(3)
    factors = rng.normal(size=(200, 60)), rng.normal(size=(200, 50))
    return factors, exact.wasserstein2_squared_of_factors(*factors)


def test_rank_60_and_rank_50_in_200_dimensions(library, exact, thin_factors):
    factors, truth = thin_factors
    zero = library(np.zeros(200))
    thin = [Gaussian.from_factor(zero, library(factor)) for factor in factors]
    full = [Gaussian.full(zero, library(factor @ factor.T)) for factor in factors]
    assert [int(p.rank) for p in full] == [60, 50]
    for p, q in (thin, full, (thin[0], full[1])):
        assert exact.relative_error(squared_w2(p, q), truth) < 1e-14
        assert float(kl(p, q)) == np.inf


def test_digits_classes(library):
    X, y = load_digits(return_X_y=True)
    zero, one = (Gaussian.fit(library(X[y == k])) for k in (0, 1))
    assert float(kl(zero, one)) == float(bhattacharyya(zero, one)) == np.inf
    assert 20 < float(wasserstein2(zero, one)) < 60
    shrunk = [Gaussian.fit(library(X[y == k]), shrinkage="oas") for k in (0, 1)]
    assert 0 < float(bhattacharyya(*shrunk)) < float(kl(*shrunk)) / 2 < np.inf


# --- theorems


@pytest.mark.parametrize("distance", [wasserstein2, hellinger])
def test_triangle_inequality(make, distance):
    for kind in ("full", "diagonal", "thin factor"):
        if kind == "thin factor" and distance is hellinger:
            continue
        p, q, r = (make(kind, seed=seed, n=3, batch=(1000,)) for seed in (14, 15, 16))
        direct, detour = distance(p, r), distance(p, q) + distance(q, r)
        assert (np.asarray(direct) <= np.asarray(detour) * (1 + 1e-12)).all()
        assert (np.asarray(direct) < np.asarray(detour)).all()
        np.testing.assert_allclose(distance(r, p), direct, rtol=1e-10)


@pytest.mark.parametrize("n_out", [1, 3, 6])
def test_kl_never_grows_under_a_linear_map(library, n_out):
    rng = np.random.default_rng(4)
    lifts = rng.normal(size=(100, n_out, 6))
    means, factors = rng.normal(size=(2, 100, 6)), rng.normal(size=(2, 100, 6, 8))
    before = list(map(Gaussian.from_factor, map(library, means), map(library, factors)))
    means, factors = (lifts @ means[..., None])[..., 0], lifts @ factors
    after = list(map(Gaussian.from_factor, map(library, means), map(library, factors)))
    for distance in (*DIVERGENCES, hellinger):
        ratio = np.asarray(distance(*after)) / np.asarray(distance(*before))
        assert (ratio <= 1 + 1e-9).all()
        if n_out == 6:  # which loses nothing
            assert (ratio > 1 - 1e-6).all()
        else:
            assert (ratio < 0.99).any()


# --- batches


def test_batches_broadcast_and_pairs(make, form):
    p, q = make(form, seed=17, batch=(3, 1)), make(form, seed=18, batch=(4,))
    few = make(form, seed=17, batch=(3,))
    for distance in ALL:
        values, pairs = distance(p, q), distance(few, q, pairwise=True)
        assert tuple(values.shape) == tuple(pairs.shape) == (3, 4)
        for i, j in ((0, 0), (2, 1)):
            alone = float(distance(p[i, 0], q[j]))
            assert float(values[i, j]) == pytest.approx(alone, rel=1e-9)
            alone = float(distance(few[i], q[j]))
            assert float(pairs[i, j]) == pytest.approx(alone, rel=1e-9)


def test_pairs_of_batches_that_share_a_covariance():
    p = Gaussian.full(np.arange(6.0).reshape(3, 2), np.eye(2))
    assert kl(p, p, pairwise=True).tolist() == [[0, 4, 16], [4, 0, 4], [16, 4, 0]]


# --- bad input

ONE, TWO = Gaussian.diag([0.0], [1.0]), Gaussian.diag([0.0, 0.0], [1.0, 1.0])


@pytest.mark.parametrize("distance", ALL)
def test_bad_pairs_are_named(distance):
    with pytest.raises(TypeError, match="p must be a Gaussian, got float"):
        distance(1.0, ONE)
    with pytest.raises(TypeError, match="q must be a Gaussian, got ndarray"):
        distance(ONE, np.zeros(3))
    with pytest.raises(InputError, match="p and q must have the same dimension, got 1 and 2"):
        distance(ONE, TWO)
    single = Gaussian.diag(np.zeros(1, np.float32), np.ones(1, np.float32))
    with pytest.raises(InputError, match="of one type of number, got float64 and float32"):
        distance(ONE, single)
    three, four = (Gaussian.diag(np.zeros((k, 1)), [1.0]) for k in (3, 4))
    with pytest.raises(InputError, match=r"must broadcast, got \(3,\) and \(4,\); pairwise=True"):
        distance(three, four)
    with pytest.raises(InputError, match=r"pairwise=True needs batches.*\(3,\) and \(\)"):
        distance(three, ONE, pairwise=True)


def test_arrays_and_tensors_do_not_mix():
    torch = pytest.importorskip("torch")
    tensor = Gaussian.diag(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    with pytest.raises(TypeError, match="all of NumPy or all of torch"):
        kl(ONE, tensor)


def test_numpy_does_without_torch():
    result = run_alone("""
import json, sys
import numpy as np
from kexue.gaussian import Gaussian, kl, wasserstein2

samples = np.random.default_rng(0).normal(size=(9, 2))
p, q = Gaussian.full(np.zeros(2), np.eye(2)), Gaussian.fit(samples)
kl(p, q), wasserstein2(p, q)
print(json.dumps("torch" in sys.modules))
""")
    assert result is False
