"""The classifier that explains itself, as scikit-learn knows classifiers."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

from kexue._core import InputError
from kexue.diagnose import PathKernelClassifier


@parametrize_with_checks([PathKernelClassifier(epochs=15, random_state=0)])
def test_keeps_the_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("optimizer", "lr"), [("adamw", 0.01), ("sgd", 0.2)])
def test_predictions_are_sums(optimizer, lr):
    X, y = load_iris(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = PathKernelClassifier(optimizer=optimizer, lr=lr, random_state=0).fit(X, names)
    assert model.score(X, names) > 0.9
    found = model.explain(X[::30])
    np.testing.assert_allclose(found.total, model.decision_function(X[::30]), atol=1e-12)
    whole = found.initial + found.contributions.sum(-1) + found.decay
    np.testing.assert_allclose(whole, found.total, atol=1e-6)
    again = PathKernelClassifier(optimizer=optimizer, lr=lr, random_state=0).fit(X, names)
    assert torch.equal(model.path_.theta(7), again.path_.theta(7))


def test_takes_any_module():
    X, y = load_iris(return_X_y=True)

    def linear(n_features, n_classes):
        return torch.nn.Linear(n_features, n_classes)

    model = PathKernelClassifier(linear, epochs=3, random_state=1).fit(X, y == 0)
    found = model.explain(X[:3], top_k=5)
    assert found.rows.shape == (3, 2, 5)
    # float32 rounds by more than the tolerance asks for, which no halving can mend
    assert 0 < np.abs(found.residual).max() < 1e-4
    assert found.evaluations < 3 * 1000
    assert model.decision_function(X).shape == (150,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"module": torch.nn.Linear(4, 3)}, "module must be a callable .* got a Linear"),
        ({"optimizer": "lion"}, "optimizer must be one of 'adamw', 'sgd'"),
        ({"epochs": 0}, "epochs must be an int >= 1"),
        ({"lr": -1}, "lr must be"),
    ],
)
def test_bad_parameters_are_named(options, message):
    X, y = load_iris(return_X_y=True)
    with pytest.raises((InputError, TypeError), match=message):
        PathKernelClassifier(**options).fit(X, y)
