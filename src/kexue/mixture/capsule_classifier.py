"""A classifier whose output lengths say which classes are there, for rows, tokens and images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor, nn

from kexue._core import InputError, check_float, check_int, check_seed
from kexue.mixture.capsule_layer import CapsuleLayer
from kexue.mixture.capsule_routing import check_routing, shared_views
from kexue.mixture.margin_loss import margin_loss
from kexue.training import IndexedData, TrainingConfig
from kexue.training import fit as train

_KINDS = {2: "rows", 3: "token vectors", 4: "images"}
_PARTS = 16  # vectors that a row is turned into
_SMALL = 16  # pixels, for which convolutions must not cut off edges
_BATCH = 256  # samples of a forward pass without gradients


class CapsuleClassifier(ClassifierMixin, BaseEstimator):
    """A small network with a shared `CapsuleLayer` on top, trained by the margin loss.

    Parameters
    ----------
    encoder : None or callable
        ``encoder(shape)`` takes the shape of a sample and returns a module that turns samples
        (B, ...) into vectors (B, N, d). None, by the axes of X: of rows, a hidden layer cut into
        16 vectors; of token vectors, a hidden layer for each; of images, four convolutions
        with batch norm, two of 32 and two of 64 channels.
    out_dim : int
        Length of a capsule's vector.
    n_iter, update, squash, beta :
        As of `capsule_routing`.
    lam : float
        Weight of the absent classes in the loss.
    epochs, batch_size : int
    lr : float
        Of Adam at its highest; it rises over the first tenth of the updates and falls to 0.
    random_state : None, int, RandomState or Generator

    Attributes
    ----------
    classes_ : array of shape (K,)
    module_ : torch.nn.Module
        From samples to lengths, (B, K).
    layer_ : CapsuleLayer
    n_features_in_ : int
        Columns, numbers of a token, or channels.

    Notes
    -----
    Nothing depends on the number of tokens or the size of images, so that a model may be asked
    about others than it was trained on. Tokens that are all NaN are padding, left out by the mask.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = CapsuleClassifier(epochs=30, random_state=0).fit(X - X.mean(0), y)
    >>> bool(model.score(X - X.mean(0), y) > 0.9)
    True

    References
    ----------
    kexue.fm, archives/5112. Sabour, Frosst and Hinton, Dynamic routing between capsules,
    arXiv 1710.09829.
    """

    def __init__(
        self,
        encoder: Callable[[tuple[int, ...]], nn.Module] | None = None,
        *,
        out_dim: int = 16,
        n_iter: int = 3,
        update: str = "replace",
        squash: str | None = "su",
        beta: float = 1.0,
        lam: float = 0.5,
        epochs: int = 20,
        batch_size: int = 32,
        lr: float = 2e-3,
        random_state: Any = None,
    ) -> None:
        self.encoder = encoder
        self.out_dim = out_dim
        self.n_iter = n_iter
        self.update = update
        self.squash = squash
        self.beta = beta
        self.lam = lam
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> CapsuleClassifier:
        """Train.

        Parameters
        ----------
        X : array-like
            Rows (n, d), token vectors (n, N, d) or images (n, channels, height, width). Float64 is
            computed in float32.
        y : array-like of shape (n,)
            Labels of any kind.

        Raises
        ------
        InputError, TypeError
            For a bad parameter; for values that are not finite, the first row being named.
        """
        check_int("out_dim", self.out_dim, minimum=1)
        check_routing(self.n_iter, self.update, self.squash, self.beta)
        check_float("lam", self.lam, minimum=0)
        check_float("lr", self.lr, minimum=0)
        if self.encoder is not None and not callable(self.encoder):
            raise TypeError(f"encoder must be None or callable, got {self.encoder!r}")
        seed = check_seed(self.random_state)
        self._config(seed, 1)  # refuses settings before any work
        rows, targets = validate_data(
            self, X, y, dtype=np.float32, allow_nd=True, ensure_all_finite=False
        )
        check_classification_targets(targets)
        samples = self._tensor(rows)
        self.n_features_in_, self._n_axes = rows.shape[_axis(rows)], rows.ndim
        self.classes_, labels = np.unique(targets, return_inverse=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self._network(samples)
        data = (samples, torch.from_numpy(labels.reshape(-1)))

        def loss(network: nn.Module, batch: Any) -> Tensor:
            x, target = batch
            return margin_loss(network(x), target, lam=self.lam)

        optimizer = torch.optim.Adam(module.parameters(), lr=self.lr)
        train(
            module, IndexedData.of(data), loss, self._config(seed, len(rows)), optimizer=optimizer
        )
        self.module_ = module.eval()
        self.layer_ = module.capsules
        return self

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return lengths of the capsules, (M, K); for two classes the log of their ratio, (M,)."""
        found = self.lengths(X)
        return np.log(found[:, 1] / found[:, 0]) if found.shape[1] == 2 else found

    def lengths(self, X: ArrayLike) -> np.ndarray:
        """Return lengths of the capsules, (M, K), each in [0, 1): how surely its class is there."""
        check_is_fitted(self)
        samples = self._tensor(self._rows(X))
        device = self.layer_.weight.device
        with torch.no_grad():
            parts = [self.module_(part.to(device)).cpu() for part in samples.split(_BATCH)]
        return torch.cat(parts).double().numpy()

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return shares of the classes in all lengths, (M, K)."""
        found = self.lengths(X)
        return np.asarray(found / found.sum(1, keepdims=True))

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the classes of the longest capsules, (M,)."""
        check_is_fitted(self)
        return np.asarray(self.classes_[self.lengths(X).argmax(1)])

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Return the length of the longest capsule, (M,), small where no class is there."""
        return np.asarray(self.lengths(X).max(1))

    def _rows(self, X: ArrayLike) -> np.ndarray:
        """Return samples like those of the training, but for the number of tokens or the size."""
        options = {"dtype": np.float32, "allow_nd": True, "ensure_all_finite": False}
        if self._n_axes == 2:
            return np.asarray(validate_data(self, X, reset=False, **options))
        rows = check_array(X, **options)
        if rows.ndim != self._n_axes or rows.shape[_axis(rows)] != self.n_features_in_:
            raise InputError(
                f"X must be {_KINDS[self._n_axes]} with {self.n_features_in_} features or "
                f"channels, as in fit, got shape {rows.shape}"
            )
        return np.asarray(rows)

    def _config(self, seed: int, n: int) -> TrainingConfig:
        config = TrainingConfig(
            epochs=self.epochs, batch_size=self.batch_size, lr=self.lr, seed=seed
        )  # fmt: skip
        steps = config.steps(n)
        top = max(steps // 10, 1)
        return replace(config, schedule={top: 1.0, max(steps, top + 1): 0.01})

    def _network(self, samples: Tensor) -> _Network:
        shape = tuple(samples.shape[1:])
        body = _body(shape) if self.encoder is None else self.encoder(shape)
        body.eval()
        with torch.no_grad():
            found = body(torch.nan_to_num(samples[:1]))
        body.train()
        if found.dim() != 3:
            raise InputError(
                "encoder must return a module from samples to vectors (B, N, d), "
                f"got an output of shape {tuple(found.shape)}"
            )
        layer = CapsuleLayer(
            None, found.shape[2], len(self.classes_), self.out_dim, shared=True,
            n_iter=self.n_iter, update=self.update, squash=self.squash, beta=self.beta,
        )  # fmt: skip
        network = _Network(body, layer)
        network.scale(samples[:_BATCH])
        return network

    def _tensor(self, rows: np.ndarray) -> Tensor:
        """Return checked samples."""
        if rows.ndim not in _KINDS:
            raise InputError(f"X must have 2, 3 or 4 axes, got shape {rows.shape}")
        bad = ~np.isfinite(rows)
        if rows.ndim == 3:  # padding
            padded = np.isnan(rows).all(2)
            if padded.all(1).any():
                raise InputError(f"X has only padding in row {int(padded.all(1).argmax())}")
            bad &= ~padded[:, :, None]
        bad = bad.reshape(len(rows), -1).any(1)
        if bad.any():
            raise InputError(f"X must not hold NaN or infinity, got it in row {int(bad.argmax())}")
        return torch.tensor(rows)


def _axis(rows: np.ndarray) -> int:
    """Return the axis of features: columns, numbers of a token, or channels."""
    return 2 if rows.ndim == 3 else 1


class _Network(nn.Module):
    """Vectors, capsules of them, and their lengths."""

    def __init__(self, body: nn.Module, capsules: CapsuleLayer) -> None:
        super().__init__()
        self.body, self.capsules = body, capsules

    def forward(self, x: Tensor) -> Tensor:
        """Return lengths, (B, K)."""
        v = self.capsules(*self.vectors(x))
        return (v.square().sum(2) + 1e-12).sqrt()

    @torch.no_grad()
    def scale(self, x: Tensor) -> None:
        """Scale the weights so that sums over all vectors are of length 1 on average.

        Many vectors, none of them negative, would add up to long ones, for which squash has no
        gradient left: a capsule that is always long would stay so.
        """
        u, mask = self.vectors(x)
        steps = shared_views(u if mask is None else u * mask[:, :, None], self.capsules.weight)
        k = self.capsules.out_capsules
        sums = steps.pool(u.new_full((len(u), k, u.shape[1]), 1 / k))
        self.capsules.weight.div_(sums.norm(dim=2).mean().clamp_min(1e-6))

    def vectors(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return vectors (B, N, d), and which of them count."""
        mask = None
        if x.dim() == 3:
            mask = ~x.isnan().all(2)
            x = x.masked_fill(~mask[:, :, None], 0)
        found = self.body(x)
        if mask is not None and found.shape[:2] != mask.shape:
            mask = None  # the encoder has made other vectors of them
        return found, mask


class _Maps(nn.Module):
    """Feature maps as vectors: one to a place."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, H W, C)."""
        return x.flatten(2).transpose(1, 2)


def _body(shape: tuple[int, ...]) -> nn.Module:
    """Return the encoder of samples of this shape."""
    if len(shape) == 1:
        return nn.Sequential(
            nn.Linear(shape[0], 8 * _PARTS), nn.ReLU(), nn.Unflatten(1, (_PARTS, 8))
        )
    if len(shape) == 2:
        return nn.Sequential(nn.Linear(shape[1], 64), nn.ReLU())
    padding = 1 if min(shape[1:]) < _SMALL else 0
    channels, layers = (shape[0], 32, 32, 64, 64), list[nn.Module]()
    for i, (before, after) in enumerate(pairwise(channels)):
        layers += [nn.Conv2d(before, after, 3, padding=padding, bias=False)]
        layers += [nn.BatchNorm2d(after), nn.ReLU()]
        if i == 1:
            layers.append(nn.AvgPool2d(2))
    return nn.Sequential(*layers, _Maps())
