"""Linear algebra that keeps digits where two covariances nearly agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from kexue.gaussian._arrays import detached, is_torch, namespace, solve_triangular
from kexue.gaussian._derivatives import once

_NEAR = 0.125  # |t| below which t - log(1 + t) is summed as a series
_TERMS = 7  # which then leave out less than 1e-17 of it
_QR_ROWS = 1000  # of a block that stays in the cache
_ONCE = (
    "distances between s I + F F.T, factors among them, can be differentiated once; kl, "
    "bhattacharyya and hellinger of Gaussian.full(p.mean, p.cov) can twice"
)


def excess(t: Any, log_ratio: Any) -> Any:
    """Return ``t - log(1 + t)``, which is never negative, to nearly all digits.

    With ``x = t / (2 + t)`` the logarithm is 2 artanh(x), and ``t - 2 x = t x``, so that near 0
    nothing cancels.

    Parameters
    ----------
    t : array
        Greater than -1.
    log_ratio : array of the same shape
        log(1 + t), as exact as the caller can; not used where t is near 0.
    """
    xp = namespace(t)
    near = abs(t) < _NEAR
    small = xp.where(near, t, 0.0)
    x = small / (2 + small)
    tail = xp.zeros_like(x)
    for k in range(_TERMS, 0, -1):
        tail = x * x * (1 / (2 * k + 1) + tail)
    return xp.where(near, x * (small - 2 * tail), t - log_ratio)


def root(x: Any) -> Any:
    """Return the square root of what is not negative; its gradient at 0 is 0 here."""
    xp = namespace(x)
    positive = x > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, x, 1.0)), 0.0)


def symmetric(matrix: Any) -> Any:
    """Return the symmetric part of matrices of shape (..., n, n)."""
    return (matrix + matrix.mT) / 2


def squared_norm(array: Any, axes: int = 1) -> Any:
    """Return the sum of squares over the last `axes` dimensions."""
    return (array * array).sum(tuple(range(-axes, 0)))


def trace_of_product(a: Any, b: Any) -> Any:
    """Return tr(A B) of matrices of shape (..., m, n) and (..., n, m)."""
    return (a * b.mT).sum((-2, -1))


def diagonal(matrix: Any) -> Any:
    """Return the diagonals of matrices of shape (..., m, n)."""
    return namespace(matrix).linalg.diagonal(matrix)


def whitened(matrix: Any, factor: Any) -> Any:
    """Return ``inv(L) S inv(L).T`` for a symmetric S and a lower triangular L."""
    half = solve_triangular(factor, matrix)
    return symmetric(solve_triangular(factor, half.mT))


def relative_change(difference: Any, ratio: Any, factor: Any) -> tuple[Any, Any]:
    """Return where ``M = inv(L2) (S1 - S2) inv(L2).T`` is less than 1 in norm, and M there.

    Parameters
    ----------
    difference : array of shape (..., n, n)
        S1 - S2.
    ratio : array of shape (..., n, n)
        ``A = inv(L2) L1``. M is ``A A.T - I``, whose diagonal alone often shows that it is large.
    factor : array of shape (..., n, n)
        L2.

    Returns
    -------
    near : array of bool, shape (...)
    change : array of shape (..., n, n), or None if nothing is near
        0 where not near.
    """
    diagonals = squared_norm(squared_norm(ratio) - 1)
    if bool((diagonals >= 1).all()):
        return diagonals < 1, None
    change = whitened(difference, factor)
    near = squared_norm(change, 2) < 1
    return near, namespace(ratio).where(near[..., None, None], change, 0.0)


def solved(factor: Any, vector: Any) -> Any:
    """Return ``inv(L) x`` for vectors of shape (..., n)."""
    return solve_triangular(factor, vector[..., None])[..., 0]


def lower_triangular(factor: Any) -> Any:
    """Return a lower triangular L, of shape (..., n, n), with ``L L.T = F F.T``.

    Parameters
    ----------
    factor : array of shape (..., n, r)
        F, with r >= n.
    """
    n, r = factor.shape[-2:]
    if n == r and bool((factor == namespace(factor).tril(factor)).all()):
        return factor
    return namespace(factor).linalg.qr(factor.mT)[1].mT


def coordinates(columns: Any) -> Any:
    """Return columns in an orthonormal basis of a space that holds them all.

    That is R of a QR decomposition, in which every column keeps its own relative accuracy.

    Parameters
    ----------
    columns : array of shape (..., n, k)
        With n >= k.

    Returns
    -------
    array of shape (..., k, k)
        For a tensor, differentiable once, with the basis held fixed. A function of Gaussians that
        no reflection changes has the same first derivative either way: steps out of the space to
        the one side and to the other change it alike, so not at first order.
    """
    if is_torch(columns):
        basis = namespace(columns).linalg.qr(detached(columns))[0]
        return basis.mT @ once(columns, _ONCE)
    qr: Any = np.linalg.qr
    n, k = columns.shape[-2:]
    whole = n // _QR_ROWS * _QR_ROWS
    if columns.ndim > 2 or whole < 2 * _QR_ROWS or k >= _QR_ROWS:
        return qr(columns, mode="r")
    tops = qr(columns[:whole].reshape(-1, _QR_ROWS, k), mode="r")
    return qr(np.concatenate([tops.reshape(-1, k), columns[whole:]]), mode="r")


def padded(factor: Any, r: int) -> Any:
    """Return factors of shape (..., n, s) with columns of zeros up to `r`."""
    if factor.shape[-1] == r:
        return factor
    xp = namespace(factor)
    zeros = xp.zeros_like(factor[..., :1])
    zeros = xp.broadcast_to(zeros, (*factor.shape[:-1], r - factor.shape[-1]))
    return xp.concatenate([factor, zeros], -1)
