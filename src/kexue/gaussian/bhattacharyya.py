r"""The Bhattacharyya distance of two normal distributions, and Hellinger's.

.. math:: D_B = \frac{1}{8} d^T S^{-1} d
              + \frac{1}{2} \log \frac{\det S}{\sqrt{\det S_1 \det S_2}},
          \quad S = \frac{S_1 + S_2}{2}, \quad d = m_1 - m_2.

With :math:`1 + t_i` the eigenvalues of :math:`S_2^{-1} S_1` the second term is
:math:`\frac{1}{4} \sum_i \log(1 + t_i^2 / (4 (1 + t_i)))`, of which nothing is negative and nothing
cancels. The Bhattacharyya coefficient :math:`\int \sqrt{p q}` is :math:`e^{-D_B}`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kexue.gaussian._arrays import eye, namespace, plain, solve_triangular, try_cholesky
from kexue.gaussian._covariances import LowRank
from kexue.gaussian._derivatives import spectral_sum
from kexue.gaussian._linalg import (
    diagonal,
    lower_triangular,
    relative_change,
    root,
    solved,
    squared_norm,
)
from kexue.gaussian._low_rank import divergence
from kexue.gaussian._pairs import DensePair, DiagonalPair, LowRankPair, aligned, as_pair, evaluate
from kexue.gaussian._ranges import on_common_range
from kexue.gaussian.gaussian import Gaussian


def bhattacharyya(p: Gaussian, q: Gaussian, *, pairwise: bool = False) -> Any:
    """Return the Bhattacharyya distance in nats; it is at most ``kl(p, q) / 2``.

    Parameters, shapes and errors are those of `kl`. Infinite if one is singular, unless both have
    the same range and the step between the means lies in it; then the distance within that range.

    References
    ----------
    Bhattacharyya, On a measure of divergence between two statistical populations, Bulletin of the
    Calcutta Mathematical Society 35, 1943; kexue.fm article 8512.

    Examples
    --------
    >>> p, q = Gaussian.diag([0.0], var=[1.0]), Gaussian.diag([1.0], var=[4.0])
    >>> round(float(bhattacharyya(p, q)), 6)  # 1/20 + log(5/4) / 2
    0.161572
    """
    pair = as_pair(*aligned(p, q, pairwise))
    return evaluate(pair, diagonal=_diagonal, dense=_dense, low_rank=_low_rank)


def hellinger(p: Gaussian, q: Gaussian, *, squared: bool = False, pairwise: bool = False) -> Any:
    """Return the Hellinger distance H, in [0, 1], where ``H**2 = 1 - exp(-D_B)``.

    Parameters
    ----------
    p, q : Gaussian
    squared : bool
        Return H^2. It is smooth; H has no gradient where p = q, and 0 is given.
    pairwise : bool
        As in `kl`, as are shapes and errors.

    Returns
    -------
    array or tensor of the batch's shape

    Examples
    --------
    >>> p, q = Gaussian.diag([0.0], var=[1.0]), Gaussian.diag([1.0], var=[4.0])
    >>> round(float(hellinger(p, q)), 6)
    0.386257
    """
    distance = bhattacharyya(p, q, pairwise=pairwise)
    square = -namespace(distance).expm1(-distance)
    return square if squared else plain(root(square))


def _diagonal(pair: DiagonalPair) -> Any:
    xp = namespace(pair.step)
    positive = (pair.first > 0) & (pair.second > 0)
    first, second = xp.where(positive, pair.first, 1.0), xp.where(positive, pair.second, 1.0)
    change = first - second
    terms = xp.log1p(change / first * (change / second) / 4) + pair.step**2 / (first + second)
    fixed = (pair.first == 0) & (pair.second == 0) & (pair.step == 0)
    return xp.where(positive, terms, xp.where(fixed, xp.zeros_like(terms), xp.inf)).sum(-1) / 4


def _dense(pair: DensePair) -> Any:
    return on_common_range(pair, _regular)


def _regular(pair: DensePair) -> Any:
    xp = namespace(pair.step)
    first, second = pair.first.factor, pair.second.factor
    middle = _middle_factor(pair)
    near, change = relative_change(pair.difference, solve_triangular(second, first), second)
    value: Any = 0.0
    if change is not None:
        value = spectral_sum(change, lambda t: xp.log1p(t * t / (4 * (1 + t))), _slope) / 4
    if not bool(near.all()):
        logs = [xp.log(abs(diagonal(factor))).sum(-1) for factor in (middle, first, second)]
        value = xp.where(near, value, logs[0] - (logs[1] + logs[2]) / 2)
    return value + squared_norm(solved(middle, pair.step)) / 8


def _slope(change: Any) -> Any:
    """Return the derivative of ``log(1 + t^2 / (4 (1 + t)))``, of matrices."""
    xp, one = namespace(change), eye(change.shape[-1], change)
    return xp.linalg.solve(2 * one + change, xp.linalg.solve(one + change, change))


def _middle_factor(pair: DensePair) -> Any:
    """Return a triangular factor of (S1 + S2) / 2."""
    factor = try_cholesky(pair.second.dense + pair.difference / 2)
    if factor is not None:
        return factor
    # rounding may spoil the sum, not the factors
    xp = namespace(pair.step)
    factors = pair.first.factor, pair.second.factor
    batch = np.broadcast_shapes(*(factor.shape[:-2] for factor in factors))
    both = [xp.broadcast_to(factor, (*batch, *factor.shape[-2:])) for factor in factors]
    return lower_triangular(xp.concatenate(both, -1) / 2**0.5)


def _low_rank(pair: LowRankPair) -> Any:
    first, second = pair.first, pair.second
    xp = namespace(pair.step)
    apart = (first.loading - second.loading) / 2
    # of (F1 F1.T + F2 F2.T) / 2 in columns that are small where the factors are near
    columns = [(first.loading + second.loading) / 2, apart]
    middle = LowRank((first.diag + second.diag) / 2, xp.concatenate(columns, -1))

    def far() -> Any:
        return 2 * middle.logdet() - first.logdet() - second.logdet()

    value = divergence(pair, lambda u: min(u, 1 - u), far)
    return value / 4 + middle.mahalanobis(pair.step[..., None, :])[..., 0] / 8
