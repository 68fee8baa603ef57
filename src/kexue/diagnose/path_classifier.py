"""A classifier that says which training examples made it decide."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from kexue._core import check_choice, check_float, check_int, check_seed
from kexue.diagnose.path_kernel import Explanation, PathKernel
from kexue.diagnose.path_recorder import PathRecorder
from kexue.training import IndexedData, TrainingConfig
from kexue.training import fit as train

_OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


class PathKernelClassifier(ClassifierMixin, BaseEstimator):
    """A network whose every prediction is a sum over the examples that it was trained on.

    Parameters
    ----------
    module : None or callable
        ``module(n_features, n_classes)`` returns the network, whose outputs are logits; None, one
        hidden layer of 64 units with tanh, in float64.
    epochs, batch_size : int
    lr : float
    optimizer : {"adamw", "sgd"}
    nodes, tol :
        As of `PathKernel`.
    random_state : None, int, RandomState or Generator

    Attributes
    ----------
    classes_ : array of shape (K,)
    module_ : torch.nn.Module
    path_ : TrainingPath
    n_features_in_ : int

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = PathKernelClassifier(epochs=5, random_state=0).fit(X - X.mean(0), y)
    >>> found = model.explain((X - X.mean(0))[:2])
    >>> found.contributions.shape
    (2, 3, 150)
    >>> bool(np.abs(found.residual).max() < 1e-6)
    True

    References
    ----------
    As of `PathKernel`.
    """

    def __init__(
        self,
        module: Callable[[int, int], torch.nn.Module] | None = None,
        *,
        epochs: int = 20,
        batch_size: int = 32,
        lr: float = 0.01,
        optimizer: str = "adamw",
        nodes: int = 4,
        tol: float = 1e-6,
        random_state: Any = None,
    ) -> None:
        self.module = module
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.nodes = nodes
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> PathKernelClassifier:
        """Train, and record the path.

        Parameters
        ----------
        X : array-like of shape (N, d)
        y : array-like of shape (N,)
            Labels of any kind.
        """
        if isinstance(self.module, torch.nn.Module):
            raise TypeError(
                "module must be a callable that makes a network of n_features and n_classes, got a "
                f"{type(self.module).__name__}"
            )
        check_int("epochs", self.epochs, minimum=1)
        check_int("nodes", self.nodes, minimum=1)
        check_float("tol", self.tol, minimum=0)
        make = _OPTIMIZERS[check_choice("optimizer", self.optimizer, _OPTIMIZERS)]
        seed = check_seed(self.random_state)
        rows, targets = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(targets)
        self.classes_, labels = np.unique(targets, return_inverse=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = (self.module or _network)(rows.shape[1], len(self.classes_))
        dtype = next(module.parameters()).dtype
        self._inputs = torch.tensor(rows, dtype=dtype)
        self._targets = torch.from_numpy(labels.reshape(-1))
        config = TrainingConfig(
            epochs=self.epochs, batch_size=self.batch_size, lr=self.lr, seed=seed
        )
        optimizer = make(module.parameters(), lr=self.lr)
        recorder = PathRecorder(module, optimizer)

        def loss(network: torch.nn.Module, numbers: torch.Tensor) -> torch.Tensor:
            device, numbers = numbers.device, numbers.cpu()
            x, target = self._inputs[numbers], self._targets[numbers]
            recorder.batch(numbers, x, target)
            return torch.nn.functional.cross_entropy(network(x.to(device)), target.to(device))

        with recorder:
            data = IndexedData(len(rows), torch.from_numpy)
            train(module, data, loss, config, optimizer=optimizer)
        self.module_ = module.cpu().eval()
        self.path_ = recorder.path
        return self

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return logits, (M, K); for two classes their difference, (M,)."""
        found = self._logits(X).numpy().astype(np.float64)
        return found[:, 1] - found[:, 0] if len(self.classes_) == 2 else found

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return probabilities of the classes, (M, K)."""
        return self._logits(X).double().softmax(1).numpy()

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the likeliest classes, (M,)."""
        best = self._logits(X).argmax(1).numpy()
        return np.asarray(self.classes_[best])

    def explain(self, X: ArrayLike, top_k: int | None = None) -> Explanation:
        """Return what each training example has added to the logits of each row.

        Parameters
        ----------
        X : array-like of shape (M, d)
        top_k : int, optional
            Keep the examples with the largest amounts only.
        """
        inputs = self._checked(X)
        kernel = PathKernel(
            copy.deepcopy(self.module_),
            torch.nn.functional.cross_entropy,
            self.path_,
            (self._inputs, self._targets),
            nodes=self.nodes,
            tol=self.tol,
        )
        return kernel.explain(inputs, top_k=top_k)

    def _logits(self, X: ArrayLike) -> torch.Tensor:
        inputs = self._checked(X)
        with torch.no_grad():
            found: torch.Tensor = self.module_(inputs)
        return found

    def _checked(self, X: ArrayLike) -> torch.Tensor:
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        return torch.tensor(rows, dtype=self._inputs.dtype)


def _network(n_features: int, n_classes: int) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Linear(n_features, 64), torch.nn.Tanh(), torch.nn.Linear(64, n_classes)
    ).double()
