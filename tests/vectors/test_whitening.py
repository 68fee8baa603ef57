"""Whitening against the algebra it claims, however the rows come in."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf_shrinkage, oas
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from kexue._core import InputError
from kexue.vectors import Whitening
from kexue.vectors._moments import Moments
from kexue.vectors._spectrum import held_out_gains
from kexue.vectors._whitening_kernels import shift_and_scale

METHODS = ["pca", "zca", "cholesky"]
OFFSET = 1e4  # a variance about zero would lose ten of float64's sixteen digits to it


@parametrize_with_checks([Whitening(), Whitening(1, normalize=False), Whitening("auto")])
@pytest.mark.filterwarnings("ignore:.* rows are few for")
def test_scikit_learn_takes_it_for_one_of_its_own(estimator, check):
    check(estimator)


def rows(n=600, d=12, seed=0, offset=0.0):
    """Correlated rows in a cone, with variances over three orders of magnitude."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return rng.normal(size=(n, d)) * np.logspace(0, -1.5, d) @ turned + rng.normal(size=d) + offset


def covariance(Y):
    return np.cov(Y, rowvar=False, bias=True)


def cosines(Y):
    unit = Y / np.linalg.norm(Y, axis=1, keepdims=True)
    return unit @ unit.T


# --- what whitening is


@pytest.mark.parametrize("method", METHODS)
def test_covariance_is_the_identity(method):
    X = rows()
    model = Whitening(method=method, normalize=False).fit(X)
    Y = model.transform(X)
    assert np.abs(covariance(Y) - np.eye(12)).max() < 1e-10
    assert np.abs(Y.mean(0)).max() < 1e-10
    assert np.abs(X @ model.kernel_ + model.bias_ - Y).max() < 1e-10
    assert np.abs(model.inverse_transform(Y) - X).max() < 1e-10


def test_the_three_roots_have_the_same_cosines():
    X = rows()
    pca, *others = (cosines(Whitening(method=m).fit_transform(X)) for m in METHODS)
    for other in others:
        assert np.abs(pca - other).max() < 1e-10


def test_each_root_has_its_form():
    X = rows()
    pca, zca, cholesky = (Whitening(method=method).fit(X).kernel_ for method in METHODS)
    gram = pca.T @ pca
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-8
    assert np.abs(zca - zca.T).max() < 1e-10
    assert np.abs(np.triu(cholesky, 1)).max() == 0


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("method", METHODS)
def test_exponents_by_definition(beta, gamma, method):
    X = rows()
    away = X - beta * X.mean(0)
    values, axes = np.linalg.eigh(away.T @ away / len(X))
    power = axes * values**-gamma @ axes.T
    model = Whitening(beta=beta, gamma=gamma, method=method, normalize=False).fit(X)
    assert np.abs(model.kernel_ @ model.kernel_.T - power).max() < 1e-8 * np.abs(power).max()
    assert model.eigenvalues_ == pytest.approx(values[::-1], rel=1e-9)
    assert model.transform(X) == pytest.approx(away @ model.kernel_, abs=1e-9)


def test_no_exponents_no_change():
    X = rows()
    assert np.abs(cosines(Whitening(beta=0, gamma=0).fit_transform(X)) - cosines(X)).max() < 1e-12


def test_the_mean_hides_no_direction():
    X = rows(offset=OFFSET)
    model = Whitening(beta=0, gamma=0).fit(X)
    assert model.rank_ == 12
    assert np.abs(cosines(model.transform(X)) - cosines(X)).max() < 1e-12


def test_the_rounding_of_a_large_mean_is_no_direction():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 6)) + 1e6 * rng.normal(size=6)
    model = Whitening(beta=0).fit(X)
    # the mean, and two about it
    assert model.rank_ == 3
    assert model.kernel_.shape == (6, 3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_row_alone_is_that_row_of_the_batch(dtype):
    X = rows(1300).astype(dtype)
    model = Whitening(7).fit(X)
    Y = model.transform(X)
    assert Y.dtype == (np.float64 if dtype == np.float64 else np.float32)
    tolerance = 1e-10 if dtype == np.float64 else 2e-6
    for i in (0, 511, 512, 1299):
        assert np.abs(model.transform(X[i : i + 1]) - Y[i]).max() < tolerance
    assert np.abs(np.linalg.norm(Y.astype(float), axis=1) - 1).max() < 2e-7


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", [1e-36, 1e-22, 1e-20, 1.0, 1e20, 1e36])
def test_lengths_out_of_range_of_their_squares(scale, dtype):
    Y = rows(50)
    scaled = (Y * scale).astype(dtype)
    assert shift_and_scale(scaled, np.zeros(12, dtype), 1)
    unit = Y / np.linalg.norm(Y, axis=1, keepdims=True)
    assert np.abs(scaled - unit).max() < (1e-6 if dtype == np.float32 else 1e-14)
    scaled[7, 3] = np.nan
    assert not shift_and_scale(scaled, np.zeros(12, dtype), 0)


def test_a_row_at_the_mean_stays_zero():
    X = rows()
    model = Whitening().fit(X)
    assert not model.transform(model.mean_[None]).any()


@pytest.mark.parametrize("n_components", [None, 3, 0.9])
def test_scikit_learn_agrees(n_components):
    X = rows()
    ours = Whitening(n_components, normalize=False).fit(X)
    theirs = PCA(n_components, whiten=True, svd_solver="full").fit(X)
    scale = np.sqrt(len(X) / (len(X) - 1))  # they divide by N - 1
    expected = theirs.transform(X) * scale
    found = ours.transform(X)
    assert np.abs(np.abs(found) - np.abs(expected)).max() < 1e-9
    assert ours.explained_variance_ratio_ == pytest.approx(theirs.explained_variance_ratio_)
    assert ours.mean_ == pytest.approx(theirs.mean_)


def test_signs_are_fixed():
    kernel = Whitening().fit(rows()).kernel_
    assert (kernel[np.abs(kernel).argmax(0), np.arange(12)] > 0).all()
    assert kernel.tobytes() == Whitening().fit(rows()).kernel_.tobytes()


def test_auto_finds_the_components_that_are_there():
    rng = np.random.default_rng(0)
    for k in (1, 4, 9):
        X = rng.normal(size=(4000, k)) @ rng.normal(size=(k, 12)) * 2 + rng.normal(size=(4000, 12))
        model = Whitening("auto").fit(X)
        assert model.kernel_.shape == (12, k)
        parts = Whitening("auto")
        for part in np.split(X, [1, 8, 1001]):
            parts.partial_fit(part)
        assert parts.kernel_ == pytest.approx(model.kernel_, abs=1e-9)
        for mine, other in zip(parts._halves, model._halves, strict=True):
            assert mine.mean == pytest.approx(other.mean, abs=1e-12)
        # who keeps both halves can hand their sum on
        assert_same_map(Whitening(k).merge(parts), Whitening(k).fit(X))
    # variances that all differ are all worth their own
    assert Whitening("auto").fit(rows(4000)).kernel_.shape == (12, 12)


def test_auto_by_definition():
    """The densities of one half under probabilistic PCA of the other, for every k."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6)) * [3, 2, 1.2, 1, 1, 0.9]
    X[::2] += rng.normal(size=6)  # halves with different means
    even, odd = X[::2], X[1::2]
    total = np.zeros(6)
    for here, there in ((even, odd), (odd, even)):
        values, axes = np.linalg.eigh(covariance(here))
        values, axes = values[::-1], axes[:, ::-1]
        for k in range(1, 7):
            model = np.append(values[:k], np.full(6 - k, values[k:].mean() if k < 6 else 1))
            density = multivariate_normal(here.mean(0), axes * model @ axes.T)
            total[k - 1] += density.logpdf(there).mean()
    halves = [Moments.empty(6), Moments.empty(6)]
    halves[0].add(even)
    halves[1].add(odd)
    found = held_out_gains(halves, 1e-7)
    assert found - found[0] == pytest.approx(2 * (total - total[0]), rel=1e-9)


# --- chunks, workers


@pytest.mark.parametrize("shrinkage", [None, "oas", "ledoit_wolf"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunks_in_any_order(size, shrinkage):
    X = rows(2003, offset=OFFSET).astype(np.float32)
    whole = Whitening(shrinkage=shrinkage, normalize=False).fit(X)
    mixed = np.random.default_rng(1).permutation(X)
    parts = Whitening(shrinkage=shrinkage, normalize=False)
    for start in range(0, len(X), size):
        parts.partial_fit(mixed[start : start + size])
    assert parts.n_samples_seen_ == 2003
    assert_same_map(parts, whole)


@pytest.mark.parametrize("shrinkage", [None, "ledoit_wolf"])
def test_workers_merge(shrinkage):
    X = rows(2003, offset=OFFSET).astype(np.float32)
    whole = Whitening(shrinkage=shrinkage).fit(X)
    workers = [
        Whitening(shrinkage=shrinkage).partial_fit(part)
        for part in np.split(X[np.argsort(X[:, 0])], [1, 30, 700, 1500])
    ]
    total = Whitening(shrinkage=shrinkage)
    for worker in workers:
        total.merge(worker)
    assert_same_map(total, whole)
    assert workers[0].n_samples_seen_ == 1  # what is merged is left as it was
    assert_same_map(workers[1].merge(total), Whitening(shrinkage=shrinkage).fit(
        np.concatenate([X, X[np.argsort(X[:, 0])][1:30]])
    ))  # fmt: skip


def assert_same_map(found, expected):
    size = np.abs(expected.kernel_).max()
    assert np.abs(found.kernel_ - expected.kernel_).max() < 1e-10 * size
    assert found.eigenvalues_ == pytest.approx(expected.eigenvalues_, rel=1e-10)
    assert found.mean_ == pytest.approx(expected.mean_, rel=1e-10)
    assert found.shrinkage_ == pytest.approx(expected.shrinkage_, rel=1e-9)


def test_float32_rows_far_from_zero_are_whitened_to_their_own_precision():
    X = rows(3000, offset=OFFSET).astype(np.float32)
    model = Whitening(normalize=False).fit(X)
    exact = model.transform(X.astype(np.float64))
    assert np.abs(covariance(exact) - np.eye(12)).max() < 1e-10
    # the mean is subtracted before the product, whatever is lost is that of the product
    assert np.abs(model.transform(X) - exact).max() < 1e-4


def test_float32_sums():
    X = rows(30_000, offset=100.0).astype(np.float32)
    fast, exact = (Whitening(normalize=False, precision=p).fit(X) for p in ("float32", "float64"))
    assert fast.eigenvalues_ == pytest.approx(exact.eigenvalues_, rel=1e-3)
    assert np.abs(covariance(fast.transform(X.astype(float))) - np.eye(12)).max() < 1e-3


def test_another_model_on_the_same_rows():
    X = rows()
    seen = Whitening().fit(X)
    for parameters in ({"n_components": 5}, {"beta": 0.0, "gamma": 0.5}, {"shrinkage": "oas"}):
        again = Whitening(**parameters).merge(seen)
        assert again.transform(X) == pytest.approx(Whitening(**parameters).fit(X).transform(X))


def test_what_a_stream_is(tmp_path):
    X = rows(1000).astype(np.float32)
    expected = Whitening(5).fit(X)
    path = tmp_path / "x.npy"
    np.save(path, X)
    torch = pytest.importorskip("torch", reason="extra `torch`")
    forms = {
        "memory map": np.load(path, mmap_mode="r"),
        "list of chunks": [X[:10], X[10:11], X[11:]],
        "generator": (X[i : i + 300] for i in range(0, 1000, 300)),
        "lists": X.tolist(),
        "tensor": torch.from_numpy(X).requires_grad_(),
        "tensors": list(torch.from_numpy(X).split(7)),
        "Fortran": np.asfortranarray(X),
        "every other": np.repeat(X, 2, axis=0)[::2],
    }
    for name, form in forms.items():
        model = Whitening(5, batch_size=64).fit(form)
        assert np.abs(model.kernel_ - expected.kernel_).max() < 1e-9, name
        if name != "generator":
            Y = model.transform(form)
            assert np.abs(Y - expected.transform(X)).max() < 1e-5, name
            assert isinstance(Y, np.ndarray)
    half = torch.from_numpy(X).to(torch.bfloat16)
    assert Whitening(5).fit(half).transform(half).dtype == np.float32


def test_out_is_written_to(tmp_path):
    X = rows(1000).astype(np.float32)
    model = Whitening(5).fit(X)
    out = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", np.float32, (1000, 5))
    assert model.transform(X, out=out) is out
    assert np.array_equal(out, model.transform(X))
    wide = np.empty((1000, 5))
    model.transform([X[:3], X[3:]], out=wide)
    assert np.abs(wide - out).max() < 1e-6


def test_no_second_copy_of_the_rows():
    X = np.random.default_rng(0).normal(size=(60_000, 64)).astype(np.float32)
    chunk = 4096 * 64 * 8
    Whitening().fit(X[:1000])
    for precision in ("float64", "float32"):
        tracemalloc.start()
        model = Whitening(precision=precision).fit(X)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * 64**2 * 8 + 2 * chunk
    out = np.empty((60_000, 64), np.float32)
    tracemalloc.start()
    model.transform(X, out=out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < chunk


# --- rank, few rows


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("n", [30_000, 40])
@pytest.mark.filterwarnings("ignore:40 rows are few")
def test_a_hyperplane_is_not_blown_up(n, precision):
    """What LayerNorm does: all rows on a hyperplane, to the rounding of float32."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 48))
    X -= X.mean(1, keepdims=True)
    X = (X / X.std(1, keepdims=True) * rng.uniform(0.5, 1.5, 48) + rng.normal(size=48)).astype("f4")
    model = Whitening(precision=precision, normalize=False).fit(X)
    Y = model.transform(X)
    rank = min(47, n - 1)
    assert model.rank_ == rank
    assert model.kernel_.shape == (48, rank)
    assert np.isfinite(Y).all()
    assert np.abs(covariance(Y) - np.eye(rank)).max() < 1e-3
    more = Whitening(rank + 1, precision=precision).merge(model)
    with pytest.raises(InputError, match=f"at most {rank}, the rank of the covariance of 48 feat"):
        more.transform(X)


@pytest.mark.parametrize(("n", "d"), [(30, 40), (200, 20), (5000, 6)])
def test_shrinkage_is_that_of_scikit_learn(n, d):
    X = rows(n, d)
    for name, expected in (("oas", oas(X)[1]), ("ledoit_wolf", ledoit_wolf_shrinkage(X))):
        model = Whitening(shrinkage=name).fit(X)
        assert model.shrinkage_ == pytest.approx(expected, rel=1e-9)
        assert model.kernel_.shape == (d, d)


def test_shrinkage_by_definition():
    X = rows()
    values = np.linalg.eigvalsh(covariance(X))[::-1]
    model = Whitening(shrinkage=0.3, normalize=False).fit(X)
    found = covariance(model.transform(X))
    assert found == pytest.approx(np.diag(values / (0.7 * values + 0.3 * values.mean())), abs=1e-10)
    # all shrunk, nothing is left but to subtract the mean
    even = Whitening(shrinkage=1.0).fit_transform(X)
    assert cosines(even) == pytest.approx(cosines(X - X.mean(0)), abs=1e-10)


def test_moments_of_powers_up_to_four():
    X = rows(200, 5, offset=3)
    state = Moments.empty(5, fourth=True)
    for part in np.split(X, [1, 2, 50]):
        state.add(part)
    away = X - X.mean(0)
    squares = (away**2).sum(1)
    assert state.cubic == pytest.approx(squares @ away)
    assert state.quartic == pytest.approx(squares @ squares)
    assert state.covariance() == pytest.approx(covariance(X))


# --- bad input

NAN = rows(9, 2)
NAN[7, 1] = np.nan


@pytest.mark.parametrize(
    ("parameters", "X", "error", "message"),
    [
        ({}, [[1.0, 2.0]], InputError, "X must have at least 2 rows .* got n_samples=1"),
        ({}, NAN, InputError, "X must be finite, got NaN at row 7, column 1"),
        ({"batch_size": 3}, NAN, InputError, "X must be finite, got NaN at row 7, column 1"),
        ({}, [[0.0], [-np.inf]], InputError, "X must be finite, got -inf at row 1, column 0"),
        ({}, [[1e200], [-1e200]], InputError, "X holds numbers too large to be squared in float64"),
        ({}, np.ones((9, 2)), InputError, "X must hold rows that differ, got 9 rows all the same"),
        ({}, sparse.csr_array(rows(9, 2)), TypeError, "Sparse data was passed"),
        ({}, iter([]), InputError, "X must hold at least one chunk of rows"),
        ({}, [rows(9, 2), rows(9, 3)], InputError, "as many columns as the first, 2, got one with"),
        ({}, rows(9, 2)[0], ValueError, "Expected 2D array, got 1D array instead"),
        ({"n_components": 3}, rows(9, 2), InputError, "n_components must be at most 2, the rank"),
        ({"n_components": 0}, rows(9, 2), InputError, "n_components must be an int >= 1, got 0"),
        ({"n_components": 1.0}, rows(9, 2), InputError, r"a share in \(0, 1\) or 'auto', got 1.0"),
        ({"n_components": "all"}, rows(9, 2), InputError, "or 'auto', got 'all'"),
        ({"n_components": 1, "method": "zca"}, rows(9, 2), InputError, "keeps all columns"),
        ({"method": "cholesky"}, rows(9, 20), InputError, "needs a covariance of full rank, got r"),
        ({"method": "svd"}, rows(9, 2), InputError, "method must be one of 'pca', 'zca', 'chole"),
        ({"beta": 2}, rows(9, 2), InputError, r"beta must be a finite number in \[0, 1\], got 2"),
        ({"gamma": "1"}, rows(9, 2), TypeError, "gamma must be a finite number"),
        ({"shrinkage": "lw"}, rows(9, 2), InputError, "'oas' or 'ledoit_wolf', got 'lw'"),
        ({"shrinkage": 1.5}, rows(9, 2), InputError, r"shrinkage must be a finite number in \[0,"),
        ({"rcond": 1}, rows(9, 2), InputError, r"rcond must be a number in \[0, 1\), got 1"),
        ({"normalize": 1}, rows(9, 2), TypeError, "normalize must be a bool, got 1"),
        ({"precision": "half"}, rows(9, 2), InputError, "precision must be one of 'float64', 'f"),
        ({"batch_size": 0}, rows(9, 2), InputError, "batch_size must be an int >= 1, got 0"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bad_input_is_answered_by_its_message(parameters, X, error, message):
    with pytest.raises(error, match=message):
        Whitening(**parameters).fit(X)


def test_bad_rows_are_not_taken_in():
    model = Whitening(batch_size=3).partial_fit(rows())
    before = model.kernel_.tobytes()
    bad = rows(30)
    bad[20, 3] = np.inf
    for given, message in ((bad, "got inf at row 20, column 3"), (rows(9, 3), "X has 3 features")):
        for method in (model.partial_fit, model.transform):
            with pytest.raises(ValueError, match=message):
                method(given)
    assert model.n_samples_seen_ == 600
    assert model.kernel_.tobytes() == before


def test_what_cannot_be_asked_of_a_model(tmp_path):
    model = Whitening(3).fit(rows())
    with pytest.raises(NotFittedError, match="not fitted yet"):
        Whitening().transform(rows())
    with pytest.raises(NotFittedError, match="has seen no rows yet"):
        _ = Whitening().kernel_
    with pytest.raises(TypeError, match="other must be a Whitening, got int"):
        model.merge(1)
    with pytest.raises(InputError, match="other must have 12 features like this one, got 3"):
        model.merge(Whitening().fit(rows(d=3)))
    with pytest.raises(InputError, match="'auto' needs it set in both before any row is seen"):
        Whitening("auto").merge(model)
    with pytest.raises(InputError, match="'ledoit_wolf' needs it set in both before any row"):
        Whitening(shrinkage="ledoit_wolf").merge(model)
    with pytest.raises(InputError, match=r"out must be .* of shape \(N, 3\), got shape \(600, 4\)"):
        model.transform(rows(), out=np.empty((600, 4)))
    with pytest.raises(InputError, match="out must have as many rows as X, 600, got 599"):
        model.transform(rows(), out=np.empty((599, 3)))
    with pytest.raises(InputError, match=r"Y must be a numeric array of shape \(N, 3\), got shape"):
        model.inverse_transform(rows())
    (tmp_path / "w.safetensors").write_bytes(b"not this")
    with pytest.raises(InputError, match=r"w.safetensors is not a file of Whitening.save"):
        Whitening.load(tmp_path / "w.safetensors")
    with pytest.warns(UserWarning, match="59 rows are few for 12 features: .* at least 60 rows"):
        Whitening().fit(rows(59))
