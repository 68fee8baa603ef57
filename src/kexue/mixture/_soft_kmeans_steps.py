"""One step of soft k-means: rows shared out over centres, and centres moved to their shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from kexue._core import InputError
from kexue.mixture._rows import posterior
from kexue.mixture._soft_kmeans_kernels import gather_nearest
from kexue.mixture._threads import one_thread_each

METRICS = ("euclidean", "cosine", "inner")
_BLOCK = 1 << 19  # bytes of scores that stay in the cache
_EMPTY = 1e-12


@dataclass
class Rows:
    """Rows in the geometry of a metric.

    Attributes
    ----------
    x : array or CSR of shape (n, d)
        For "euclidean" less `shift`, for "cosine" at length 1.
    weight : array of shape (n,)
    metric : str
    shift : array of shape (d,)
    squares : array of shape (n,)
        Squared lengths; zeros unless "euclidean".
    """

    x: Any
    weight: np.ndarray
    metric: str
    shift: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(
        cls, given: Any, metric: str, *, weight: np.ndarray | None = None,
        shift: np.ndarray | None = None,
    ) -> Rows:  # fmt: skip
        """Return the rows of an array; without `shift`, their mean is taken."""
        n, d = given.shape
        x = given
        if weight is None:
            weight = np.ones(n)
        weight = weight.astype(x.dtype)
        if metric == "euclidean":
            if sparse.issparse(x):
                shift = np.zeros(d, x.dtype)
                squares = np.asarray(x.multiply(x).sum(1)).ravel()
            else:
                # far from 0 the squares would swallow the differences
                if shift is None:
                    shift = x.mean(0)
                x = np.ascontiguousarray(x - shift)
                squares = np.einsum("nd,nd->n", x, x)
            return cls(x, weight, metric, shift, squares)
        if metric == "cosine":
            x = normalized(x, zeros=False)
        elif not sparse.issparse(x):
            x = np.ascontiguousarray(x)
        return cls(x, weight, metric, np.zeros(d, x.dtype), np.zeros(n, x.dtype))

    def blocks(self, k: int) -> list[slice]:
        """Return cuts of the rows, the same for any machine."""
        size = max(_BLOCK // (self.x.dtype.itemsize * k), 64)
        return [slice(a, min(a + size, len(self.weight))) for a in range(0, len(self.weight), size)]

    def constants(self) -> Any:
        """Return what d adds to minus the score of a row."""
        return self.squares if self.metric == "euclidean" else float(self.metric == "cosine")

    def offsets(self, centers: np.ndarray) -> np.ndarray:
        """Return what a score takes off the inner product with each centre."""
        if self.metric != "euclidean":
            return np.zeros(len(centers), centers.dtype)
        return np.einsum("kd,kd->k", centers, centers)

    def distances(self, centers: np.ndarray) -> np.ndarray:
        """Return d of shape (n, K)."""
        factor = 2 if self.metric == "euclidean" else 1
        scores = np.asarray(factor * (self.x @ centers.T)) - self.offsets(centers)
        constants = self.constants()
        if self.metric != "euclidean":
            return np.asarray(constants - scores)
        return np.asarray(np.maximum(constants[:, None] - scores, 0))


@dataclass
class Shares:
    """What an E-step finds.

    Attributes
    ----------
    sums : float64 array of shape (K, d)
    counts : float64 array of shape (K,)
    objective : float
        J_beta.
    labels : int32 array of shape (n,) or None
        Nearest centres, where beta is infinite.
    """

    sums: np.ndarray
    counts: np.ndarray
    objective: float
    labels: np.ndarray | None


def share_out(rows: Rows, centers: np.ndarray, beta: float) -> Shares:
    """Return the sums of rows, each shared out over the centres by softmax(-beta d)."""
    k, d = centers.shape
    hard = np.isinf(beta)
    sums, counts, total = np.zeros((k, d)), np.zeros(k), 0.0
    labels = np.empty(len(rows.weight), np.int32) if hard else None
    factor = 2 if rows.metric == "euclidean" else 1
    scale = factor if hard else factor * beta
    towards = (scale * centers).astype(rows.x.dtype)
    offsets = (rows.offsets(centers) * (1 if hard else beta)).astype(rows.x.dtype)
    with one_thread_each():
        for block in rows.blocks(k):
            x, weight = rows.x[block], rows.weight[block]
            r = np.ascontiguousarray((x @ towards.T).T) if sparse.issparse(x) else towards @ x.T
            if labels is not None and not sparse.issparse(x):
                total += gather_nearest(r, offsets, x, weight, labels[block], sums, counts)
                continue
            r -= offsets[:, None]
            if labels is not None:
                labels[block] = r.argmax(0)
            total += float(weight @ posterior(r, hard=bool(hard)))
            r *= weight
            counts += r.sum(1)
            sums += (x.T @ r.T).T if sparse.issparse(x) else r @ x
    objective = _total(rows) - total / (1 if hard else beta)
    return Shares(sums, counts, objective, labels)


def _total(rows: Rows) -> float:
    constants = rows.constants()
    if rows.metric == "euclidean":
        return float(rows.weight @ constants)
    return float(constants * rows.weight.sum())


def moved(rows: Rows, found: Shares, centers: np.ndarray) -> np.ndarray:
    """Return the centres that the shares ask for; one without any begins anew, far from all."""
    new = centers.astype(np.float64)
    empty = found.counts <= _EMPTY * rows.weight.mean()
    if rows.metric == "euclidean":
        new[~empty] = found.sums[~empty] / found.counts[~empty, None]
    else:
        lengths = np.linalg.norm(found.sums, axis=1)
        good = ~empty & (lengths > _EMPTY)
        new[good] = found.sums[good] / lengths[good, None]
    if empty.any():
        nearest = np.where(rows.weight > 0, nearest_distance(rows, centers), -np.inf)
        far = np.argsort(-nearest, kind="stable")[: empty.sum()]
        for j, n in zip(np.flatnonzero(empty), far, strict=True):
            new[j] = dense_row(rows.x, n)
        if rows.metric == "inner":
            new[empty] = normalized(new[empty])
    return new.astype(centers.dtype)


def nearest_distance(rows: Rows, centers: np.ndarray) -> np.ndarray:
    """Return the distance of each row to its nearest centre."""
    found = np.empty(len(rows.weight))
    for block in rows.blocks(len(centers)):
        part = Rows(rows.x[block], rows.weight[block], rows.metric, rows.shift, rows.squares[block])
        found[block] = part.distances(centers).min(1)
    return found


def dense_row(x: Any, n: int) -> np.ndarray:
    """Return a row as an array."""
    row = x[[n]]
    return np.asarray(row.todense() if sparse.issparse(row) else row).ravel()


def normalized(x: Any, *, zeros: bool = True) -> Any:
    """Return rows at length 1; one of zeros stays, or is refused."""
    if sparse.issparse(x):
        lengths = np.sqrt(np.asarray(x.multiply(x).sum(1)).ravel())
    else:
        lengths = np.sqrt(np.einsum("nd,nd->n", x, x))
    if not lengths.all():
        if not zeros:
            raise InputError(
                "X must have no row of zeros, which has no direction, got one at row "
                f"{int((lengths == 0).argmax())}"
            )
        lengths = np.where(lengths > 0, lengths, 1)
    if sparse.issparse(x):
        return sparse.csr_array(sparse.diags_array(1 / lengths).astype(x.dtype) @ x)
    return np.ascontiguousarray(x / lengths[:, None], dtype=x.dtype)
