"""Soft k-means: centres that rows share themselves out over, from soft to hard."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.cluster import kmeans_plusplus
from sklearn.utils.validation import check_is_fitted, validate_data

from kexue._core import InputError, check_choice, check_float, check_int, check_seed
from kexue.mixture._checks import check_weights
from kexue.mixture._rows import posterior
from kexue.mixture._soft_kmeans_steps import (
    METRICS,
    Rows,
    Shares,
    dense_row,
    moved,
    normalized,
    share_out,
)

_INITS = ("k-means++", "random")
_HEATS = 30  # of annealing
_STEPS_PER_HEAT = 3
_COLDEST = 300.0  # sharpness at which annealing ends, in units of the first split's
_JITTER = 1e-3


class SoftKMeans(TransformerMixin, ClusterMixin, BaseEstimator):
    r"""K-means in which the nearest centre is a softmax: :math:`\beta` is how sharp.

    .. math:: J_\beta = -\frac{1}{\beta} \sum_i w_i \log \sum_j e^{-\beta d(u_i, v_j)},

    which lies between the k-means objective :math:`J` and :math:`J - N \log(K) / \beta`. The
    gradient weighs rows by :math:`c_{ij} = \mathrm{softmax}_j(-\beta d(u_i, v_j))`, over the
    centres, and setting it to zero gives the step, none of which raises :math:`J_\beta`.

    Parameters
    ----------
    n_clusters : int
        K.
    beta : float > 0, inf or "anneal"
        In the unit of 1 / d. For "euclidean", clusters are normal with variance 1 / (2 beta) and
        equally frequent; below half the inverse of the largest variance of X all centres are one.
        inf is Lloyd's k-means. "anneal" follows the centres from one to K while beta rises, and
        ends with Lloyd: less depends on the start.
    metric : {"euclidean", "cosine", "inner"}
        d is :math:`|u - v|^2`, :math:`1 - \cos(u, v)` or :math:`-\langle u, v \rangle` with
        :math:`|v| = 1`.
    init : {"k-means++", "random"} or array of shape (K, d)
    n_init : int
        Starts, of which the one with the least objective is kept.
    max_iter : int
    tol : float
        Converged when the centres move by less, squared and summed, in units of the mean variance
        of the columns for "euclidean".
    random_state : None, int, RandomState or Generator

    Attributes
    ----------
    cluster_centers_ : array of shape (K, d)
        Of the dtype of X, float32 or float64.
    labels_ : int32 array of shape (n,)
    inertia_ : float
        J, the sum of distances to the nearest centres.
    objective_ : float
        J_beta.
    objective_path_ : float64 array of shape (n_iter_ + 1,)
        Before each step, and at the end. After "anneal" that of the steps of Lloyd.
    n_iter_ : int
    beta_ : float
        At the end.
    n_features_in_ : int

    Notes
    -----
    A centre that no row has a share in begins anew at the row farthest from all centres.

    Examples
    --------
    >>> X = np.array([[0.0, 0], [0, 1], [9, 9], [9, 8]])
    >>> model = SoftKMeans(2, random_state=0).fit(X)
    >>> sorted(model.cluster_centers_.round(3).tolist())
    [[0.0, 0.5], [9.0, 8.5]]
    >>> model.predict_proba([[4.5, 4.5]]).round(3).tolist()
    [[0.5, 0.5]]

    References
    ----------
    kexue.fm, archives/5112. Rose, Deterministic annealing for clustering, compression,
    classification, regression, and related optimization problems, Proceedings of the IEEE 86,
    1998.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        beta: float | str = 1.0,
        metric: str = "euclidean",
        init: Any = "k-means++",
        n_init: int = 1,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.beta = beta
        self.metric = metric
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: None = None, sample_weight: ArrayLike | None = None) -> SoftKMeans:
        """Find the centres.

        Parameters
        ----------
        X : array-like or sparse of shape (n, d)
        y : None
            Ignored.
        sample_weight : array-like of shape (n,), optional

        Raises
        ------
        InputError, TypeError
            For a bad parameter, fewer rows than centres, or a row of zeros with "cosine".
        """
        self._check_parameters()
        x = self._validated(X, reset=True)
        if x.shape[0] < self.n_clusters:
            raise InputError(
                f"X must have at least n_clusters={self.n_clusters} rows, "
                f"got n_samples = {x.shape[0]}"
            )
        rows = Rows.of(x, self.metric, weight=check_weights(sample_weight, x.shape[0]))
        rng = np.random.RandomState(check_seed(self.random_state))
        best: tuple[np.ndarray, Shares, list[float]] | None = None
        for _ in range(self.n_init):
            centers = self._start(rows, rng)
            if self.beta == "anneal":
                centers = _annealed(rows, centers, rng)
            run = self._run(rows, centers)
            if best is None or run[1].objective < best[1].objective:
                best = run
        assert best is not None
        centers, found, path = best
        hard = found if found.labels is not None else share_out(rows, centers, np.inf)
        assert hard.labels is not None
        self.cluster_centers_ = centers + rows.shift
        self._shift = rows.shift
        self.beta_ = self._sharpness()
        least = -np.inf if self.metric == "inner" else 0.0  # below which rounding must not get
        self.labels_, self.inertia_ = hard.labels, max(hard.objective, least)
        self.objective_, self.objective_path_ = found.objective, np.array(path)
        self.n_iter_ = len(path) - 1
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the nearest centres, int32 (m,)."""
        check_is_fitted(self)
        labels = share_out(self._rows(X), self._centers(), np.inf).labels
        assert labels is not None
        return labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return c, the shares of rows in the centres, (m, K)."""
        check_is_fitted(self)
        distances = self._rows(X).distances(self._centers())
        logs = np.ascontiguousarray(-distances.T)
        if np.isinf(self.beta_):
            posterior(logs, hard=True)
        else:
            logs *= self.beta_
            posterior(logs)
        return np.ascontiguousarray(logs.T)

    def transform(self, X: Any) -> np.ndarray:
        """Return the distances d of rows to the centres, squared for "euclidean", (m, K)."""
        check_is_fitted(self)
        return self._rows(X).distances(self._centers())

    def score(self, X: Any, y: None = None, sample_weight: ArrayLike | None = None) -> float:
        """Return minus J_beta of rows."""
        check_is_fitted(self)
        return -share_out(self._rows(X, sample_weight), self._centers(), self.beta_).objective

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def _run(self, rows: Rows, centers: np.ndarray) -> tuple[np.ndarray, Shares, list[float]]:
        beta, tol = self._sharpness(), self.tol * _scale(rows)
        found = share_out(rows, centers, beta)
        path = [found.objective]
        for _ in range(self.max_iter):
            new = moved(rows, found, centers)
            before, shift = found, float(((new - centers) ** 2).sum())
            centers = new
            found = share_out(rows, centers, beta)
            path.append(found.objective)
            if shift <= tol or _same(before, found):
                break
        return centers, found, path

    def _start(self, rows: Rows, rng: np.random.RandomState) -> np.ndarray:
        x, k = rows.x, self.n_clusters
        if not isinstance(self.init, str):
            centers = np.asarray(self.init, dtype=x.dtype)
            if centers.shape != (k, x.shape[1]) or not np.isfinite(centers).all():
                raise InputError(
                    f"init must be finite numbers of shape ({k}, {x.shape[1]}), "
                    f"got shape {centers.shape}"
                )
            centers = centers - rows.shift
        elif self.init == "k-means++":
            points = normalized(x) if self.metric == "inner" else x
            centers, _ = kmeans_plusplus(
                points, k, sample_weight=rows.weight, random_state=rng
            )  # fmt: skip
            if sparse.issparse(centers):
                centers = centers.toarray()
        else:
            p = rows.weight.astype(np.float64)
            filled = int((p > 0).sum())
            chosen = rng.choice(len(p), min(k, filled), replace=False, p=p / p.sum())
            chosen = np.concatenate([chosen, chosen[: k - len(chosen)]])
            centers = np.stack([dense_row(x, n) for n in chosen])
        if self.metric != "euclidean":
            centers = normalized(np.ascontiguousarray(centers))
        return np.ascontiguousarray(centers, dtype=x.dtype)

    def _rows(self, X: Any, sample_weight: ArrayLike | None = None) -> Rows:
        x = self._validated(X, reset=False)
        weight = check_weights(sample_weight, x.shape[0])
        return Rows.of(x, self.metric, weight=weight, shift=self._shift.astype(x.dtype))

    def _centers(self) -> np.ndarray:
        return np.asarray(self.cluster_centers_ - self._shift)

    def _sharpness(self) -> float:
        return np.inf if self.beta == "anneal" else float(self.beta)

    def _validated(self, X: Any, *, reset: bool) -> Any:
        return validate_data(
            self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=reset
        )

    def _check_parameters(self) -> None:
        check_int("n_clusters", self.n_clusters, minimum=1)
        if isinstance(self.beta, str):
            if self.beta != "anneal":
                raise InputError(f"beta must be a number > 0, inf or 'anneal', got {self.beta!r}")
        elif self.beta != np.inf and check_float("beta", self.beta) <= 0:
            raise InputError(f"beta must be a number > 0, inf or 'anneal', got {self.beta!r}")
        check_choice("metric", self.metric, METRICS)
        if isinstance(self.init, str):
            check_choice("init", self.init, _INITS)
        check_int("n_init", self.n_init, minimum=1)
        check_int("max_iter", self.max_iter, minimum=1)
        check_float("tol", self.tol, minimum=0)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _same(before: Shares, after: Shares) -> bool:
    """Whether no row has changed its centre, so that nothing will move any more."""
    if before.labels is None or after.labels is None:
        return False
    return bool(np.array_equal(before.labels, after.labels))


def _scale(rows: Rows) -> float:
    """Return what movements of centres are measured by."""
    if rows.metric != "euclidean":
        return 1.0
    if sparse.issparse(rows.x):
        mean = np.asarray(rows.x.mean(0)).ravel()
        return float(max(rows.squares.mean() - mean @ mean, 0) / rows.x.shape[1])
    return float(rows.x.var(0).mean())


def _annealed(rows: Rows, centers: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Return centres after beta has risen from where all are one."""
    mean = np.asarray(rows.weight @ rows.x).ravel() / rows.weight.sum()
    spread = np.asarray(rows.distances(mean[None])).ravel() if rows.metric == "euclidean" else None
    if spread is None:
        square = rows.x.multiply(rows.x).sum(1) if sparse.issparse(rows.x) else (rows.x**2).sum(1)
        variance = float(np.average(np.asarray(square).ravel(), weights=rows.weight))
    else:
        variance = float(np.average(spread, weights=rows.weight))
    if not variance > 0:
        return centers
    size = np.sqrt(variance) if rows.metric == "euclidean" else 1.0
    first = 0.5 / variance  # the sum of the variances, at least the largest of them
    for beta in first * np.geomspace(1, _COLDEST, _HEATS):
        jitter = _JITTER * size * rng.standard_normal(centers.shape) / np.sqrt(centers.shape[1])
        centers = (centers + jitter).astype(centers.dtype)
        for _ in range(_STEPS_PER_HEAT):
            centers = moved(rows, share_out(rows, centers, float(beta)), centers)
    return centers
