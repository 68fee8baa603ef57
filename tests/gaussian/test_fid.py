"""FID: the textbook formula, few samples, and what it refuses."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from kexue._core import InputError
from kexue.gaussian import fid


def textbook(X, Y):
    s1, s2 = np.cov(X.T), np.cov(Y.T)
    step = X.mean(0) - Y.mean(0)
    return step @ step + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)


@pytest.mark.parametrize(("n1", "n2"), [(100, 120), (8, 9), (100, 9), (9, 10)])
def test_is_the_textbook_formula(library, n1, n2):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(n1, 10)), rng.normal(size=(n2, 10)) * 1.3 + 0.2
    # sqrtm loses half of the digits where the product is singular
    expected = pytest.approx(textbook(X, Y), rel=1e-10 if min(n1, n2) > 10 else 1e-5)
    assert float(fid(library(X), library(Y))) == expected


def test_few_samples_agree_with_60_digits(exact, library):
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(12, 50)), rng.normal(size=(15, 50))
    step = X.mean(0) - Y.mean(0)
    factors = [(Z - Z.mean(0)).T / np.sqrt(len(Z) - 1) for Z in (X, Y)]
    truth = exact.wasserstein2_squared_of_factors(*factors) + float(step @ step)
    assert exact.relative_error(fid(library(X), library(Y)), truth) < 1e-14


def test_of_equals_is_0(library):
    X = library(np.random.default_rng(2).normal(size=(40, 6)))
    for part in (X, X[:5]):
        assert float(fid(part, part)) == 0
    assert float(fid(X, X + 3)) == pytest.approx(54)


def test_few_samples_of_one_distribution_are_not_0_apart():
    rng = np.random.default_rng(3)
    values = [fid(*rng.normal(size=(2, n, 20))) for n in (50, 500, 5000)]
    assert values[0] > 5 * values[1] > 25 * values[2] > 0


def test_single_precision_stays(library):
    rng = np.random.default_rng(4)
    X, Y = rng.normal(size=(2, 60, 8))
    value = fid(library(X.astype(np.float32)), library(Y.astype(np.float32)))
    assert "float32" in str(value.dtype)
    assert float(value) == pytest.approx(fid(X, Y), rel=1e-4)


def test_bad_input_is_named():
    good = np.eye(3)
    with pytest.raises(InputError, match="same number of features, got 3 and 2"):
        fid(good, np.eye(2))
    with pytest.raises(InputError, match=r"X must be of shape \(N, n\).*got shape \(1, 3\)"):
        fid(good[:1], good)
    with pytest.raises(InputError, match=r"Y must be of shape \(N, n\).*got shape \(3,\)"):
        fid(good, good[0])
    with pytest.raises(InputError, match="Y must be finite, got NaN or infinity"):
        fid(good, good * np.nan)
