"""Logit adjustment after training: the Bayes rule for every class the same, exactly."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from kexue._core import InputError
from kexue.losses import logit_adjustment

COUNTS = [6000, 900, 60, 7]


def posterior(n=100_000, seed=0):
    """True log posteriors of points from four normal distributions, and log likelihoods."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, 3)) * 1.5
    prior = np.array(COUNTS) / sum(COUNTS)
    X = rng.normal(size=(n, 3)) + centres[rng.choice(4, n, p=prior)]
    likelihood = -((X[:, None] - centres) ** 2).sum(-1) / 2
    joint = likelihood + np.log(prior)
    return joint - np.logaddexp.reduce(joint, axis=1, keepdims=True), likelihood


def test_true_posteriors_give_the_balanced_rule_of_bayes():
    scores, likelihood = posterior()
    assert (scores.argmax(1) != likelihood.argmax(1)).mean() > 0.1
    assert (logit_adjustment(scores, COUNTS).argmax(1) == likelihood.argmax(1)).all()


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_logits_on_another_scale_want_that_strength(scale):
    scores, likelihood = posterior(10_000)
    agree = {
        tau: (
            logit_adjustment(scale * scores, COUNTS, tau).argmax(1) == likelihood.argmax(1)
        ).mean()
        for tau in (scale / 2, scale, scale * 2)
    }
    assert agree[scale] == 1
    assert max(agree[scale / 2], agree[scale * 2]) < 0.99


def test_any_target_prior():
    scores, likelihood = posterior(10_000)
    q = np.array([0.1, 0.2, 0.3, 0.4])
    found = softmax(logit_adjustment(scores, COUNTS, target_prior=q), axis=1)
    assert found == pytest.approx(softmax(likelihood + np.log(q), axis=1), abs=1e-12)


def test_the_training_prior_as_target_changes_nothing():
    scores, _ = posterior(1000)
    prior = np.array(COUNTS) / sum(COUNTS)
    for target in (COUNTS, prior):
        assert (logit_adjustment(scores, COUNTS, 1.7, target) == scores).all()


def test_counts_or_frequencies():
    scores, _ = posterior(1000)
    prior = np.array(COUNTS) / sum(COUNTS)
    expected = logit_adjustment(scores, COUNTS)
    for same in (prior, prior * 0.37, [7 * count for count in COUNTS]):
        assert logit_adjustment(scores, same) == pytest.approx(expected, abs=1e-13)


def test_no_strength_no_change():
    scores, _ = posterior(100)
    assert (logit_adjustment(scores, COUNTS, 0) == scores).all()
    assert (logit_adjustment(scores, COUNTS, 0, [1, 1, 0, 1]) == scores).all()


def test_a_class_that_is_not_in_use_is_never_chosen():
    scores, _ = posterior(1000)
    assert set(logit_adjustment(scores, COUNTS, target_prior=[1, 0, 1, 1]).argmax(1)) == {0, 2, 3}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_torch_as_numpy(dtype):
    scores, _ = posterior(100)
    kind = getattr(torch, dtype)
    tensor = torch.from_numpy(scores).to(kind).reshape(4, 25, 4)
    found = logit_adjustment(tensor, torch.tensor(COUNTS), 0.5, [1, 2, 3, 4])
    assert found.dtype == kind
    expected = logit_adjustment(tensor.double().numpy(), COUNTS, 0.5, [1, 2, 3, 4])
    digits = torch.finfo(kind).eps * np.abs(expected).max()
    assert found.double().numpy() == pytest.approx(expected, abs=2 * digits)


def test_gradients_and_integers_pass():
    f = torch.zeros(2, 4, requires_grad=True)
    logit_adjustment(f, COUNTS)[:, 0].sum().backward()
    assert f.grad.tolist() == [[1, 0, 0, 0]] * 2
    assert logit_adjustment([[1, 2, 3, 4]], COUNTS).dtype == np.float64
    assert logit_adjustment(torch.tensor([1, 2, 3, 4]), COUNTS).dtype == torch.float64


def test_float32_stays():
    assert logit_adjustment(np.zeros((2, 4), np.float32), COUNTS).dtype == np.float32


class Standard:
    """As much of an array of the standard as the function may use: NumPy's, under another name."""

    float64 = np.float64
    isnan, any, asarray = np.isnan, np.any, np.asarray

    def __init__(self, values):
        self.values, self.dtype, self.device = values, values.dtype, "cpu"
        self.shape = values.shape

    def __array_namespace__(self):
        return Standard

    def __add__(self, other):
        return Standard(self.values + other)

    def __array__(self, dtype=None, copy=None):
        return self.values


def test_any_library_of_the_standard():
    found = logit_adjustment(Standard(np.zeros((2, 4))), COUNTS)
    assert isinstance(found, Standard)
    assert (found.values == logit_adjustment(np.zeros((2, 4)), COUNTS)).all()


def test_compiled():
    compiled = torch.compile(lambda f: logit_adjustment(f, COUNTS), backend="eager")
    f = torch.randn(3, 4)
    assert torch.equal(compiled(f), logit_adjustment(f, COUNTS))


def test_one_class_and_many():
    assert logit_adjustment([[3.0]], [5]).argmax(1) == [0]
    prior = np.arange(1, 100_001)
    f = np.zeros((2, 100_000), np.float32)
    assert (logit_adjustment(f, prior).argmax(1) == 0).all()  # the rarest


@pytest.mark.parametrize(
    ("logits", "prior", "more", "message"),
    [
        ([[0.0, 1.0]], [3, 0], {}, r"prior must be > 0 for every class, got 0 for class 1; leave"),
        ([[0.0] * 9], [1] + [0] * 8, {}, r"classes 1, 2, 3, 4, 5 and 3 more; .* smoothing=1"),
        ([[0.0, 1.0]], [1, 2, 3], {}, r"of shape \(\.\.\., 3\), one column .* got shape \(1, 2\)"),
        (np.zeros(()), [1, 2], {}, r"logits must be of shape \(\.\.\., 2\)"),
        ([[0.0, 1.0]], [1, 2], {"tau": -1}, r"tau must be a finite number >= 0, got -1"),
        ([[0.0, 1.0]], [1, 2], {"tau": np.nan}, r"tau must be a finite number >= 0, got nan"),
        ([[0.0, np.nan]], [1, 2], {}, "logits must not be NaN"),
        (torch.tensor([[0.0, torch.nan]]), [1, 2], {}, "logits must not be NaN"),
        ([[0.0, 1.0]], [1, -2], {}, r"prior must be finite and >= 0, got -2.0 for class 1"),
        ([[0.0, 1.0]], [1, np.inf], {}, r"prior must be finite and >= 0, got inf for class 1"),
        ([[0.0, 1.0]], [[1, 2]], {}, r"prior must be of shape \(K,\), .* got shape \(1, 2\)"),
        ([[0.0, 1.0]], [1, 2], {"target_prior": [1, 2, 3]}, "as many classes as prior, 2, got 3"),
        ([[0.0, 1.0]], [1, 2], {"target_prior": [0, 0]}, "target_prior must have a finite sum > 0"),
    ],
)
def test_bad_input(logits, prior, more, message):
    with pytest.raises(InputError, match=message):
        logit_adjustment(logits, prior, **more)


def test_labels_are_no_prior():
    with pytest.raises(
        TypeError, match=r"prior must hold one count .* got <U3; labels are counted"
    ):
        logit_adjustment([[0.0, 1.0]], ["cat", "dog"])
    with pytest.raises(TypeError, match="logits must be real numbers, got <U1"):
        logit_adjustment([["a", "b"]], [1, 2])
    with pytest.raises(TypeError, match="tau must be a finite number >= 0, got 'cv'"):
        logit_adjustment([[0.0, 1.0]], [1, 2], "cv")
