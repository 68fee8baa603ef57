"""All pairs of diagonal Gaussians: what matrix products leave to do, and what they cannot do."""

import numpy as np
from numba import njit

_NEAR = 1e-4  # of its terms, below which a sum of products has lost too many digits
_COLUMNS = 128  # of q at a time, whose tables stay in the cache
_FACTORS = 4  # multiplied between two looks at how large the product is
_LARGE = 1e30  # which so many more do not make overflow


@njit(cache=True, nogil=True, error_model="numpy")
def finish_kl(
    out: np.ndarray,
    m1: np.ndarray,
    v1: np.ndarray,
    m2: np.ndarray,
    v2: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
) -> None:
    """Make divergences in nats of products, anew for pairs whose terms nearly cancel.

    Parameters
    ----------
    out : float64 array of shape (k1, k2)
        In: sums of ``(v1 + m1**2 - 2 m1 m2) / v2``; NaN asks for a computation anew.
    m1, v1 : float64 array of shape (k1, n)
    m2, v2 : float64 array of shape (k2, n)
    rows : float64 array of shape (2, k1)
        ``-n - sum(log(v1))``, ``n + sum(abs(log(v1)))``.
    columns : float64 array of shape (3, k2)
        ``sum(log(v2))``, ``sum(abs(log(v2)))``, ``sum(m2**2 / v2)``.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            squares = out[i, j] + columns[2, j]
            value = squares + rows[0, i] + columns[0, j]
            terms = 4 * squares + 6 * columns[2, j] + rows[1, i] + columns[1, j]
            if not value > _NEAR * terms:
                value = _kl(m1[i], v1[i], m2[j], v2[j])
            out[i, j] = value / 2


@njit(cache=True, nogil=True, error_model="numpy")
def _kl(m1: np.ndarray, v1: np.ndarray, m2: np.ndarray, v2: np.ndarray) -> float:
    total = 0.0
    for c in range(m1.size):
        a, b, d = v1[c], v2[c], m1[c] - m2[c]
        if a > 0 and b > 0:
            t = (a - b) / b
            total += d * d / b
            if abs(t) < 0.125:
                x = t / (2 + t)
                tail = 0.0
                for k in range(7, 0, -1):
                    tail = x * x * (1 / (2 * k + 1) + tail)
                total += x * (t - 2 * tail)
            else:
                total += t - np.log(a) + np.log(b)
        elif a != b or d != 0:
            return np.inf
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def finish_euclidean(
    out: np.ndarray, a: np.ndarray, b: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> None:
    """Make distances of products ``a @ b.T``, anew for points near each other.

    Parameters
    ----------
    out : float64 array of shape (k1, k2)
    a, b : float64 array of shape (k1, n) and (k2, n)
    rows, columns : float64 array of shape (k1,) and (k2,)
        Squared lengths.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            terms = rows[i] + columns[j]
            value = terms - 2 * out[i, j]
            if not value > _NEAR * terms:
                value = 0.0
                for c in range(a.shape[1]):
                    value += (a[i, c] - b[j, c]) ** 2
            out[i, j] = np.sqrt(value)


@njit(cache=True, nogil=True, error_model="numpy")
def bhattacharyya_block(
    out: np.ndarray, m1: np.ndarray, v1: np.ndarray, m2: np.ndarray, v2: np.ndarray
) -> None:
    """Write Bhattacharyya distances in nats.

    A sum of log(1 + z) is one logarithm of the product, kept less 1, in which nothing cancels.
    Pairs are the inner loop, so that it is vector arithmetic.

    Parameters
    ----------
    out : float64 array of shape (k1, k2)
    m1, v1 : float64 array of shape (k1, n)
    m2, v2 : float64 array of shape (n, k2)
        Transposed.
    """
    n, k2 = m2.shape
    means, product, logs = np.empty(_COLUMNS), np.empty(_COLUMNS), np.empty(_COLUMNS)
    m, v, w = np.empty((n, _COLUMNS)), np.empty((n, _COLUMNS)), np.empty((n, _COLUMNS))
    for first in range(0, k2, _COLUMNS):
        width = min(_COLUMNS, k2 - first)
        # loops, because numba compiles slices slowly
        for c in range(n):
            for j in range(width):
                m[c, j] = m2[c, first + j]
                v[c, j] = v2[c, first + j]
                w[c, j] = 0.25 / v[c, j]
        for i in range(out.shape[0]):
            for j in range(width):
                means[j] = product[j] = logs[j] = 0.0
            for c in range(n):
                a, x, inverse = v1[i, c], m1[i, c], 1 / v1[i, c]
                for j in range(width):
                    b, d = v[c, j], x - m[c, j]
                    means[j] += d * d / (a + b)
                    z = (a - b) * (a - b) * (inverse * w[c, j])
                    product[j] += z * (1 + product[j])
                if c % _FACTORS == _FACTORS - 1:
                    largest = 0.0
                    for j in range(width):
                        largest = max(largest, product[j])
                    if largest > _LARGE:
                        for j in range(width):
                            logs[j] += np.log1p(product[j])
                            product[j] = 0.0
            for j in range(width):
                value = (means[j] + logs[j] + np.log1p(product[j])) / 4
                if not np.isfinite(value):
                    value = _bhattacharyya(m1[i], v1[i], m[:, j], v[:, j])
                out[i, first + j] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _bhattacharyya(m1: np.ndarray, v1: np.ndarray, m2: np.ndarray, v2: np.ndarray) -> float:
    total = 0.0
    for c in range(m1.size):
        a, b, d = v1[c], v2[c], m1[c] - m2[c]
        if a > 0 and b > 0:
            total += d * d / (a + b) + np.log1p((a - b) / a * ((a - b) / b) / 4)
        elif a != b or d != 0:
            return np.inf
    return total / 4
