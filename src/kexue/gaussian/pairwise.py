"""Distances of all Gaussians to all, without a table of shape (k1, k2, n)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from kexue._core import InputError, check_choice, effective_jobs, thread_map
from kexue.gaussian._arrays import astype, is_torch, namespace, wants_gradient
from kexue.gaussian._covariances import Diagonal
from kexue.gaussian._pairs import check_pair
from kexue.gaussian._pairwise_kernels import bhattacharyya_block, finish_euclidean, finish_kl
from kexue.gaussian.bhattacharyya import bhattacharyya, hellinger
from kexue.gaussian.gaussian import Gaussian
from kexue.gaussian.kl import jeffreys, kl
from kexue.gaussian.wasserstein import wasserstein2

_METRICS: dict[str, Callable[..., Any]] = {
    "kl": kl,
    "bhattacharyya": bhattacharyya,
    "wasserstein2": wasserstein2,
    "hellinger": hellinger,
    "jeffreys": jeffreys,
}
_ROWS = 256  # of a task of a thread
# (out, which of p, which of q) -> None
_Fill = Callable[[np.ndarray, slice, slice], None]
_Means = tuple[np.ndarray, np.ndarray]  # and variances


def pairwise_distances(
    ps: Gaussian | Sequence[Gaussian],
    qs: Gaussian | Sequence[Gaussian] | None = None,
    metric: str = "kl",
    n_jobs: int | None = None,
) -> Any:
    """Return the matrix of distances between Gaussians.

    Parameters
    ----------
    ps, qs : Gaussian with a batch of one dimension, or sequence of Gaussian
        `qs` is `ps` by default.
    metric : {"kl", "bhattacharyya", "wasserstein2", "hellinger", "jeffreys"}
        ``kl`` is KL(p || q) in nats, from rows to columns.
    n_jobs : int, optional
        Threads; the result is the same for any number.

    Returns
    -------
    array of shape (k1, k2)
        Between diagonals the memory beside it is that of `ps` and `qs`: the divergence and
        Wasserstein's distance are matrix products, and what these leave few digits of is
        computed anew. Of other forms row after row. Tensors with gradients, and those on another
        device, go row after row by broadcasting.

    Raises
    ------
    TypeError, InputError
        As `kl`, and for an unknown metric.

    Examples
    --------
    >>> ps = Gaussian.diag([[0.0], [1.0], [3.0]], var=[1.0])
    >>> pairwise_distances(ps, metric="wasserstein2").tolist()
    [[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]]
    """
    check_choice("metric", metric, tuple(_METRICS))
    n_threads = effective_jobs(n_jobs)
    p = _one_batch(ps)
    q = p if qs is None else _one_batch(qs)
    check_pair(p, q)
    symmetric = qs is None and metric != "kl"
    diagonal = isinstance(p.covariance, Diagonal) and isinstance(q.covariance, Diagonal)
    arrays = [p.mean, *p.covariance.parts, q.mean, *q.covariance.parts]
    elsewhere = any(is_torch(array) and array.device.type != "cpu" for array in arrays)
    if not diagonal or elsewhere or wants_gradient(*arrays):
        return _by_rows(p, q, _METRICS[metric], symmetric, n_threads)
    out = _of_diagonals(_in_numpy(p), _in_numpy(q), metric, symmetric, n_threads)
    if is_torch(p.mean):
        return sys.modules["torch"].from_numpy(out).to(p.mean.dtype)
    return astype(out, p.mean.dtype)


def _one_batch(gaussians: Gaussian | Sequence[Gaussian]) -> Gaussian:
    batch = gaussians if isinstance(gaussians, Gaussian) else Gaussian.stack(gaussians)
    if len(batch.batch_shape) != 1:
        raise InputError(
            "ps and qs must be sequences or batches of one dimension, got batch shape "
            f"{batch.batch_shape}"
        )
    if not batch.batch_shape[0]:
        raise InputError("ps and qs must not be empty")
    return batch


def _by_rows(
    p: Gaussian, q: Gaussian, metric: Callable[..., Any], symmetric: bool, n_threads: int
) -> Any:
    xp = namespace(p.mean)
    k = p.batch_shape[0]

    def row(i: int) -> Any:
        if not symmetric:
            return metric(p[i], q)
        return xp.concatenate([xp.zeros_like(p.mean[:i, 0]), metric(p[i], q[i:])])

    with threadpool_limits(1 if n_threads > 1 else None, user_api="blas"):
        out = xp.stack(thread_map(row, range(k), n_threads))
    return out + xp.triu(out, 1).mT if symmetric else out


def _of_diagonals(p: _Means, q: _Means, metric: str, symmetric: bool, n_threads: int) -> np.ndarray:
    fill = _FILLERS[metric](p, q)
    k1, k2 = len(p[0]), len(q[0])
    out = np.empty((k1, k2))

    def task(start: int) -> None:
        rows = slice(start, min(start + _ROWS, k1))
        columns = slice(start if symmetric else 0, None)
        block = out[rows, columns]
        fill(block, rows, columns)
        if metric == "hellinger":
            np.sqrt(-np.expm1(-block), out=block)

    starts = range(0, k1, _ROWS)
    with threadpool_limits(1, user_api="blas"):
        thread_map(task, starts, n_threads)
    if symmetric:
        for start in starts:
            stop = min(start + _ROWS, k1)
            out[stop:, start:stop] = out[start:stop, stop:].T
    return out


def _centred(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points less their common centre: of small numbers fewer digits cancel."""
    centre = (a.mean(0) + b.mean(0)) / 2
    return a - centre, b - centre


def _kl_filler(p: _Means, q: _Means) -> _Fill:
    (m1, v1), (m2, v2) = p, q
    singular = not (v1.all() and v2.all())
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        a, b = _centred(m1, m2)
        left = np.concatenate([v1 + a**2, a], 1)
        right = np.concatenate([1 / v2, -2 * b / v2], 1)
        logs1, logs2 = np.log(v1), np.log(v2)
        n = m1.shape[1]
        rows = np.array([-n - logs1.sum(1), n + abs(logs1).sum(1)])
        columns = np.array([logs2.sum(1), abs(logs2).sum(1), (b**2 / v2).sum(1)])

    def fill(out: np.ndarray, i: slice, j: slice) -> None:
        if singular:
            out[...] = np.nan
        else:
            np.matmul(left[i], right[j].T, out=out)
        of_j = np.ascontiguousarray(columns[:, j])
        finish_kl(out, m1[i], v1[i], m2[j], v2[j], rows[:, i], of_j)

    return fill


def _jeffreys_filler(p: _Means, q: _Means) -> _Fill:
    there, back = _kl_filler(p, q), _kl_filler(q, p)

    def fill(out: np.ndarray, i: slice, j: slice) -> None:
        ways = np.empty(out.shape), np.empty(out.shape[::-1])
        there(ways[0], i, j)
        back(ways[1], j, i)
        np.add(ways[0], ways[1].T, out=out)

    return fill


def _euclidean_filler(p: _Means, q: _Means) -> _Fill:
    a, b = (np.concatenate([m, np.sqrt(v)], 1) for m, v in (p, q))
    left, right = _centred(a, b)
    rows, columns = (left**2).sum(1), (right**2).sum(1)

    def fill(out: np.ndarray, i: slice, j: slice) -> None:
        np.matmul(left[i], right[j].T, out=out)
        finish_euclidean(out, a[i], b[j], rows[i], columns[j])

    return fill


def _bhattacharyya_filler(p: _Means, q: _Means) -> _Fill:
    (m1, v1), (m2, v2) = p, (np.ascontiguousarray(q[0].T), np.ascontiguousarray(q[1].T))

    def fill(out: np.ndarray, i: slice, j: slice) -> None:
        bhattacharyya_block(out, m1[i], v1[i], m2[:, j], v2[:, j])

    return fill


_FILLERS = {
    "kl": _kl_filler,
    "jeffreys": _jeffreys_filler,
    "wasserstein2": _euclidean_filler,
    "bhattacharyya": _bhattacharyya_filler,
    "hellinger": _bhattacharyya_filler,
}


def _in_numpy(batch: Gaussian) -> _Means:
    """Return means and variances as float64 arrays of shape (k, n)."""
    shape = (batch.batch_shape[0], batch.dim)
    mean, var = (
        np.ascontiguousarray(np.broadcast_to(np.asarray(array), shape), np.float64)
        for array in (batch.mean, *batch.covariance.parts)
    )
    return mean, var
