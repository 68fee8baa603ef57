"""The figures of isotropy against their definitions over all pairs."""

import itertools
import sys

import numpy as np
import pytest

from kexue._core import InputError
from kexue.vectors import Whitening, isotropy


def by_definition(X):
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    cosine = np.mean([a @ b for a, b in itertools.combinations(unit, 2)])
    _, axes = np.linalg.eigh(X.T @ X)
    sums = np.exp(X @ np.hstack([axes, -axes])).sum(0)
    values = np.linalg.eigvalsh(np.cov(X, rowvar=False))
    p = values / values.sum()
    rank = np.exp(-(p * np.log(p)).sum())
    return cosine, sums.min() / sums.max(), values[-1] / values[0], rank, p[-1]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [7, 300])
def test_by_definition(n, dtype):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(n, 5)) * [1, 0.8, 0.3, 0.3, 0.1] + [1, 0, 0.5, 0, 0]).astype(dtype)
    report = isotropy(X)
    found = (
        report.mean_cosine, report.partition_ratio, report.condition, report.effective_rank,
        report.top_share,
    )  # fmt: skip
    assert found == pytest.approx(by_definition(X.astype(float)), rel=1e-9)


def test_chunks_do_not_matter(monkeypatch):
    X = np.random.default_rng(1).normal(size=(1000, 4)) + 2
    whole = isotropy(X)
    # the room has a function of that name
    monkeypatch.setattr(sys.modules["kexue.vectors.isotropy"], "_BATCH", 64)
    parts = isotropy(X)
    for name, value in vars(whole).items():
        assert getattr(parts, name) == pytest.approx(value, rel=1e-10)


def test_whitened_vectors_are_isotropic():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(3000, 6)) * np.logspace(0, -2, 6) + rng.normal(size=6)
    before, after = isotropy(X), isotropy(Whitening(normalize=False).fit_transform(X))
    assert before.mean_cosine > 0.5
    assert abs(after.mean_cosine) < 1e-3
    assert after.condition == pytest.approx(1, abs=1e-8)
    assert after.effective_rank == pytest.approx(6)
    assert after.top_share == pytest.approx(1 / 6)
    assert before.partition_ratio < 0.2 < 0.8 < after.partition_ratio <= 1


def test_lengths_do_not_overflow():
    X = np.random.default_rng(3).normal(size=(100, 3)) * 1e4
    assert isotropy(X).partition_ratio == 0.0
    assert isotropy(X[:, :1] + np.zeros(3)).condition == np.inf


def test_rounding_is_no_direction():
    rng = np.random.default_rng(4)
    for _ in range(9):
        X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 5))
        report = isotropy(X)
        values = np.linalg.eigvalsh(np.cov(X, rowvar=False))[2:]
        p = values / values.sum()
        assert report.condition == np.inf
        assert report.effective_rank == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-12)


def test_rows_of_zeros_have_no_cosine():
    X = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert isotropy(X).mean_cosine == pytest.approx(np.sqrt(0.5))
    assert np.isnan(isotropy(X[1:]).mean_cosine)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([[1.0, 2.0]], InputError, "X must have at least 2 rows, got 1"),
        ([[1.0, 2.0]] * 3, InputError, "X must hold rows that differ, got 3 rows all the same"),
        ([[1.0, 2.0], [0.0, np.nan]], InputError, "X must be finite, got NaN at row 1, column 1"),
        ([1.0, 2.0], ValueError, "Expected 2D array"),
        ([np.ones((2, 2))], InputError, "isotropy reads it three times; join the chunks"),
    ],
)
def test_bad_input_is_answered_by_its_message(X, error, message):
    with pytest.raises(error, match=message):
        isotropy(X)
