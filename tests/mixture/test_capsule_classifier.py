"""The classifier: scikit-learn's contract, and rows, tokens and images."""

import gzip

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

from kexue._core import InputError
from kexue.mixture import CapsuleClassifier


@parametrize_with_checks([CapsuleClassifier(epochs=15, random_state=0)])
def test_keeps_the_contract(estimator, check):
    check(estimator)


def tokens(n, seed):
    """Return sets of vectors, padded, whose class is that of the one long vector among them."""
    rng = np.random.default_rng(seed)
    X = 0.3 * rng.normal(size=(n, 12, 4))
    y = rng.integers(3, size=n)
    X[np.arange(n), rng.integers(6, size=n), y] += 3
    sizes = rng.integers(6, 13, size=n)
    X[np.arange(12) >= sizes[:, None]] = np.nan
    return X, np.array(["a", "b", "c"])[y]


def test_reads_sets_of_tokens():
    X, y = tokens(400, 0)
    model = CapsuleClassifier(epochs=15, random_state=0).fit(X, y)
    test, answers = tokens(200, 1)
    assert model.score(test, answers) > 0.95
    # padding is not there
    longer = np.concatenate([test, np.full((200, 5, 4), np.nan)], 1)
    np.testing.assert_allclose(model.lengths(longer), model.lengths(test), atol=1e-6)
    order = np.random.default_rng(0).permutation(12)
    np.testing.assert_allclose(model.lengths(test[:, order]), model.lengths(test), atol=1e-5)
    nothing = 0.3 * np.random.default_rng(2).normal(size=(200, 12, 4))
    assert model.score_samples(nothing).mean() < model.score_samples(test).mean() - 0.1
    with pytest.raises(InputError, match="X must be token vectors with 4 features or channels, as"):
        model.predict(test[:, :, :3])
    again = CapsuleClassifier(epochs=15, random_state=0).fit(X, y)
    np.testing.assert_array_equal(again.lengths(test), model.lengths(test))


def test_reads_images_of_any_size():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).reshape(-1, 1, 8, 8)
    model = CapsuleClassifier(epochs=5, random_state=0).fit(X[:1200], y[:1200])
    assert model.score(X[1200:], y[1200:]) > 0.93
    found = model.lengths(X[1200:])
    assert found.shape == (597, 10)
    assert ((found >= 0) & (found < 1)).all()
    np.testing.assert_array_equal(model.score_samples(X[1200:]), found.max(1))
    np.testing.assert_array_equal(model.decision_function(X[1200:]), found)
    np.testing.assert_allclose(model.predict_proba(X[1200:]).sum(1), 1)
    wide = np.concatenate([X[1200:1300], X[1300:1400]], 3)
    assert model.lengths(wide).shape == (100, 10)


def test_takes_any_encoder():
    X, y = load_iris(return_X_y=True)

    def encoder(shape):
        return torch.nn.Sequential(torch.nn.Linear(*shape, 20), torch.nn.Unflatten(1, (4, 5)))

    model = CapsuleClassifier(encoder, epochs=20, n_iter=2, random_state=0).fit(X - X.mean(0), y)
    assert model.score(X - X.mean(0), y) > 0.85
    assert model.layer_.weight.shape == (5, 3, 16)
    with pytest.raises(InputError, match=r"vectors \(B, N, d\), got an output of shape \(1, 7\)"):
        CapsuleClassifier(lambda shape: torch.nn.Linear(*shape, 7)).fit(X, y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, InputError, "epochs must be an int >= 1"),
        ({"n_iter": 0}, InputError, "n_iter must be an int >= 1, got 0"),
        ({"beta": 0}, InputError, "beta must be > 0, got 0"),
        ({"lam": -1}, InputError, "lam must be a finite number >= 0"),
        ({"encoder": "cnn"}, TypeError, "encoder must be None or callable, got 'cnn'"),
    ],
)
def test_bad_parameters_are_named(options, error, message):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(error, match=message):
        CapsuleClassifier(**options).fit(X, y)


def test_bad_rows_are_named():
    X, y = tokens(5, 0)
    X[3] = np.nan
    with pytest.raises(InputError, match="X has only padding in row 3"):
        CapsuleClassifier().fit(X, y)
    X[3], X[2, 0, 1] = 0, np.inf
    with pytest.raises(InputError, match="X must not hold NaN or infinity, got it in row 2"):
        CapsuleClassifier().fit(X, y)
    with pytest.raises(InputError, match="X must have 2, 3 or 4 axes, got shape"):
        CapsuleClassifier().fit(np.zeros((5, 1, 1, 1, 1)), y)


@pytest.mark.slow
def test_reads_mnist(data):
    def read(part):
        with gzip.open(data(f"mnist/{part}-images-idx3-ubyte.gz")) as file:
            pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
        with gzip.open(data(f"mnist/{part}-labels-idx1-ubyte.gz")) as file:
            labels = np.frombuffer(file.read(), np.uint8, offset=8)
        return pixels.astype(np.float32) / 255, labels

    model = CapsuleClassifier(epochs=4, batch_size=64, lr=3e-3, random_state=0).fit(*read("train"))
    assert model.score(*read("t10k")) >= 0.99
