r"""The Kullback-Leibler divergence of two normal distributions, and Jeffreys' sum of both ways.

.. math:: KL(p \| q) = \frac{1}{2} \left[ \mathrm{tr}(S_2^{-1} S_1) - n
              - \log\det(S_2^{-1} S_1) + d^T S_2^{-1} d \right], \quad d = m_1 - m_2.

With :math:`1 + t_i` the eigenvalues of :math:`S_2^{-1} S_1` the first three terms are
:math:`\sum_i t_i - \log(1 + t_i)`, and :math:`t_i` are the eigenvalues of
:math:`L_2^{-1} (S_1 - S_2) L_2^{-T}`: the difference is taken before anything is rounded, and no
term is negative.
"""

from __future__ import annotations

from typing import Any

from kexue.gaussian._arrays import eye, namespace, solve_triangular
from kexue.gaussian._derivatives import spectral_sum
from kexue.gaussian._linalg import diagonal, excess, relative_change, solved, squared_norm
from kexue.gaussian._low_rank import divergence
from kexue.gaussian._pairs import DensePair, DiagonalPair, LowRankPair, aligned, as_pair, evaluate
from kexue.gaussian._ranges import on_common_range
from kexue.gaussian.gaussian import Gaussian


def kl(p: Gaussian, q: Gaussian, *, pairwise: bool = False) -> Any:
    """Return KL(p || q) in nats.

    Parameters
    ----------
    p, q : Gaussian
        Their batches broadcast.
    pairwise : bool
        All p against all q: batches (..., k1) and (..., k2) give (..., k1, k2).

    Returns
    -------
    array or tensor of the batch's shape
        Never negative, 0 for equals. Infinite if q is singular, unless p has the same range and
        the step between the means lies in it; then the divergence within that range.

    Raises
    ------
    TypeError
        If one is no `Gaussian`, or one is of NumPy and the other of torch.
    InputError
        For different dimensions or types of number, or batches that do not broadcast.

    References
    ----------
    Kullback and Leibler, On information and sufficiency, Annals of Mathematical Statistics 22,
    1951; kexue.fm article 8512.

    Examples
    --------
    >>> p, q = Gaussian.diag([0.0], var=[1.0]), Gaussian.diag([1.0], var=[4.0])
    >>> round(float(kl(p, q)), 6)  # (1/4 - 1 + log 4 + 1/4) / 2
    0.443147
    >>> near = Gaussian.diag([0.0], var=[1 + 2**-30])
    >>> round(float(kl(near, p)) * 2**62, 6)  # t^2 / 4
    1.0
    """
    pair = as_pair(*aligned(p, q, pairwise))
    return evaluate(pair, diagonal=_diagonal, dense=_dense, low_rank=_low_rank)


def jeffreys(p: Gaussian, q: Gaussian, *, pairwise: bool = False) -> Any:
    """Return ``KL(p || q) + KL(q || p)`` in nats, the sum and not its half.

    Parameters, shapes and errors are those of `kl`.

    References
    ----------
    Jeffreys, An invariant form for the prior probability in estimation problems, Proceedings of
    the Royal Society A 186, 1946.

    Examples
    --------
    >>> p, q = Gaussian.diag([0.0], var=[1.0]), Gaussian.diag([1.0], var=[4.0])
    >>> float(jeffreys(p, q)), float(kl(p, q) + kl(q, p))
    (1.75, 1.75)
    """
    there = kl(p, q, pairwise=pairwise)
    back = kl(q, p, pairwise=pairwise)
    return there + (back.swapaxes(-1, -2) if pairwise else back)


def _diagonal(pair: DiagonalPair) -> Any:
    xp = namespace(pair.step)
    positive = (pair.first > 0) & (pair.second > 0)
    first, second = xp.where(positive, pair.first, 1.0), xp.where(positive, pair.second, 1.0)
    terms = excess((first - second) / second, xp.log(first) - xp.log(second))
    terms = terms + pair.step**2 / second
    fixed = (pair.first == 0) & (pair.second == 0) & (pair.step == 0)
    return xp.where(positive, terms, xp.where(fixed, xp.zeros_like(terms), xp.inf)).sum(-1) / 2


def _dense(pair: DensePair) -> Any:
    return on_common_range(pair, _regular)


def _regular(pair: DensePair) -> Any:
    xp = namespace(pair.step)
    first, second = pair.first.factor, pair.second.factor
    ratio = solve_triangular(second, first)
    near, change = relative_change(pair.difference, ratio, second)
    value: Any = 0.0
    if change is not None:
        value = spectral_sum(change, lambda t: excess(t, xp.log1p(t)), _slope)
    if not bool(near.all()):
        value = xp.where(near, value, _far(ratio))
    return (value + squared_norm(solved(second, pair.step))) / 2


def _slope(change: Any) -> Any:
    """Return the derivative of ``t - log(1 + t)``, of matrices."""
    return namespace(change).linalg.solve(eye(change.shape[-1], change) + change, change)


def _far(ratio: Any) -> Any:
    """Return the terms without the mean from Cholesky factors alone, each of them >= 0."""
    xp = namespace(ratio)
    a = abs(diagonal(ratio))
    terms = excess((a - 1) * (a + 1), 2 * xp.log(a)).sum(-1)
    return squared_norm(xp.tril(ratio, -1), 2) + terms


def _low_rank(pair: LowRankPair) -> Any:
    far = pair.second.mahalanobis(pair.step[..., None, :])[..., 0]
    return (divergence(pair, lambda u: 1 - u, lambda: _by_determinants(pair)) + far) / 2


def _by_determinants(pair: LowRankPair) -> Any:
    first, second = pair.first, pair.second
    diagonals = (first.diag / second.diag * (1 - second.leverages())).sum(-1)
    columns = second.mahalanobis(first.loading.mT).sum(-1)
    return diagonals + columns - first.n - first.logdet() + second.logdet()
