"""The three distances by their textbook formulas in 60 digits, and pairs to try them on."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np

DIGITS = 60


def kl(m1: np.ndarray, s1: np.ndarray, m2: np.ndarray, s2: np.ndarray) -> Any:
    """Return KL(N(m1, S1) || N(m2, S2)) in nats."""
    with mp.workdps(DIGITS):
        a, b, d = _matrix(s1), _matrix(s2), _matrix(m1) - _matrix(m2)
        inverse = b**-1
        product = inverse * a
        trace = mp.fsum(product[i, i] for i in range(a.rows))
        return (trace - a.rows - mp.log(mp.det(product)) + (d.T * inverse * d)[0]) / 2


def bhattacharyya(m1: np.ndarray, s1: np.ndarray, m2: np.ndarray, s2: np.ndarray) -> Any:
    """Return the Bhattacharyya distance in nats."""
    with mp.workdps(DIGITS):
        a, b, d = _matrix(s1), _matrix(s2), _matrix(m1) - _matrix(m2)
        middle = (a + b) / 2
        ratio = mp.det(middle) / mp.sqrt(mp.det(a) * mp.det(b))
        return (d.T * middle**-1 * d)[0] / 8 + mp.log(ratio) / 2


def wasserstein2_squared(m1: np.ndarray, s1: np.ndarray, m2: np.ndarray, s2: np.ndarray) -> Any:
    """Return the squared 2-Wasserstein distance."""
    with mp.workdps(DIGITS):
        a, b, d = _matrix(s1), _matrix(s2), _matrix(m1) - _matrix(m2)
        factor = mp.cholesky(a)
        cross = _sum_of_roots(factor.T * b * factor)
        traces = mp.fsum(a[i, i] + b[i, i] for i in range(a.rows))
        return (d.T * d)[0] + traces - 2 * cross


def wasserstein2_squared_of_factors(l1: np.ndarray, l2: np.ndarray) -> Any:
    """Return the squared distance of N(0, L1 L1.T) and N(0, L2 L2.T), which may be singular."""
    with mp.workdps(DIGITS):
        product = _matrix(l1).T * _matrix(l2)
        traces = mp.fsum(mp.mpf(float(x)) ** 2 for x in np.concatenate([l1.ravel(), l2.ravel()]))
        gram = product.T * product if product.cols <= product.rows else product * product.T
        return traces - 2 * _sum_of_roots(gram)


def wasserstein2_squared_in_80_bits(l1: np.ndarray, l2: np.ndarray) -> Any:
    """Return what `wasserstein2_squared_of_factors` does, of hundreds of dimensions, to 17 digits.

    An error of the rotation counts only by its square, once that is orthogonal to all digits.
    """
    a, b = l1.astype(np.longdouble), l2.astype(np.longdouble)
    cross = a.T @ b
    u, _, vt = np.linalg.svd(cross.astype(np.float64))
    turn = (u @ vt).astype(np.longdouble)
    turn += turn @ (np.eye(len(turn)) - turn.T @ turn) / 2
    return (a**2).sum() + (b**2).sum() - 2 * (turn * cross).sum()


def square(factor: np.ndarray) -> np.ndarray:
    """Return L L.T, summed in 80 bits and rounded once."""
    wide = factor.astype(np.longdouble)
    return (wide @ wide.T).astype(np.float64)


def relative_error(value: Any, exact: Any) -> float:
    """Return ``|value - exact| / |exact|``; infinite for NaN."""
    value = float(value)
    if value != value:
        return float("inf")
    wide = value if isinstance(exact, np.floating) else mp.mpf(value)
    return float(abs(wide - exact) / abs(exact))


def pair(condition: float, change: float | None, n: int = 20, seed: int = 0) -> tuple[Any, Any]:
    """Return two covariances, the second a change of the first of this relative size, or None.

    Eigenvalues fall geometrically from 1 to ``1 / condition``.
    """
    rng = np.random.default_rng(seed)
    first = _covariance(condition, n, rng)
    if change is None:
        return first, _covariance(condition, n, rng)
    factor, noise = np.linalg.cholesky(first), rng.normal(size=(n, n)) / n**0.5
    second = first + change * factor @ (noise + noise.T) @ factor.T / 2
    return first, (second + second.T) / 2


def _covariance(condition: float, n: int, rng: np.random.Generator) -> np.ndarray:
    basis = np.linalg.qr(rng.normal(size=(n, n)))[0]
    cov = (basis * np.geomspace(1, 1 / condition, n)) @ basis.T
    return (cov + cov.T) / 2


def _matrix(array: np.ndarray) -> Any:
    return mp.matrix(np.asarray(array, np.float64).tolist())


def _sum_of_roots(symmetric: Any) -> Any:
    values = mp.eigsy((symmetric + symmetric.T) / 2, eigvals_only=True)
    return mp.fsum(mp.sqrt(abs(value)) for value in values)
