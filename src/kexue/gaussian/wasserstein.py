r"""The 2-Wasserstein distance of two normal distributions.

.. math:: W_2^2 = |d|^2 + \mathrm{tr} S_1 + \mathrm{tr} S_2
              - 2 \mathrm{tr} (S_1^{1/2} S_2 S_1^{1/2})^{1/2}
              = |d|^2 + \min_O |L_1 - L_2 O|_F^2

over rotations O of any factors, :math:`S_i = L_i L_i^T`. The right-hand side is a sum of squares,
needs no matrix root, and holds for singular covariances.
"""

from __future__ import annotations

from typing import Any

from kexue.gaussian._arrays import epsilon, namespace, plain
from kexue.gaussian._covariances import Covariance, Full, LowRank
from kexue.gaussian._linalg import root, squared_norm
from kexue.gaussian._pairs import DensePair, DiagonalPair, aligned, as_pair, evaluate
from kexue.gaussian._procrustes import gap
from kexue.gaussian.gaussian import Gaussian

_SMALL = 0.1  # relative change, which every step of the iteration multiplies an error by
_STEPS = 16


def wasserstein2(p: Gaussian, q: Gaussian, *, squared: bool = False, pairwise: bool = False) -> Any:
    """Return the 2-Wasserstein distance, or its square.

    Parameters
    ----------
    p, q : Gaussian
        Diagonal ones take O(n), factors and isotropic + low rank O(n r^2). Diagonal + low rank
        has no such shortcut and takes matrices of shape (n, n).
    squared : bool
        Return W2^2. It is smooth, with gradient 0 where p = q; the distance has none there, and
        0 is given.
    pairwise : bool
        As in `kl`, as are shapes and errors.

    Returns
    -------
    array or tensor of the batch's shape
        Finite for singular covariances too. Tensors can be differentiated once; a second
        derivative, by ``create_graph=True``, is a `RuntimeError` unless both are diagonal.

    References
    ----------
    Dowson and Landau, The Fréchet distance between multivariate normal distributions, Journal of
    Multivariate Analysis 12, 1982; Olkin and Pukelsheim, The distance between two random vectors
    with given dispersion matrices, Linear Algebra and its Applications 48, 1982; kexue.fm article
    8512.

    Examples
    --------
    >>> p = Gaussian.full([0.0, 0.0], [[1.0, 0.0], [0.0, 0.0]])
    >>> q = Gaussian.full([0.0, 0.0], [[0.0, 0.0], [0.0, 1.0]])
    >>> round(float(wasserstein2(p, q)), 6)
    1.414214
    """
    p, q = aligned(p, q, pairwise)
    first, second = p.covariance, q.covariance
    n_factors = _as_factor(first) + _as_factor(second)
    if n_factors == 2 or (n_factors == 1 and Full in (type(first), type(second))):
        # without the matrices that other distances would need
        square = squared_norm(p.mean - q.mean) + gap(first.factor, second.factor)
    else:
        square = evaluate(
            as_pair(p, q),
            diagonal=_diagonal,
            dense=_dense,
            low_rank=lambda pair: _dense(pair.dense()),
        )
    return plain(square if squared else root(square))


def _as_factor(covariance: Covariance) -> bool:
    return isinstance(covariance, LowRank) and covariance.bare


def _diagonal(pair: DiagonalPair) -> Any:
    xp = namespace(pair.step)
    total = root(pair.first) + root(pair.second)
    apart = (pair.first - pair.second) / xp.where(total > 0, total, 1.0)
    return (pair.step**2 + apart**2).sum(-1)


def _dense(pair: DensePair) -> Any:
    first, second = pair.first, pair.second
    regular = first.regular and second.regular
    near = (lambda: _of_near_matrices(pair.difference, second.dense)) if regular else None
    return squared_norm(pair.step) + gap(first.factor, second.factor, near)


def _of_near_matrices(difference: Any, second: Any) -> tuple[Any, Any]:
    """Return where ``inv(S2) (S1 - S2)`` is small, and the squared distance there.

    The optimal map ``I + H`` takes S2 to S1: ``H S2 + S2 H + H S2 H`` is their difference, which
    in the basis of S2 is solved for H by its linear part, again and again. The distance is
    ``tr(H S2 H)``, with all the digits of the difference.
    """
    xp = namespace(difference)
    values, vectors = xp.linalg.eigh(second)
    # rounding may leave less than nothing of the smallest
    values = xp.maximum(values, epsilon(values) * values[..., -1:])
    roots = xp.sqrt(values)
    change = vectors.mT @ difference @ vectors
    relative = change / (roots[..., None] * roots[..., None, :])
    small = squared_norm(relative, 2) < _SMALL**2
    change = xp.where(small[..., None, None], change, 0.0)
    sums = values[..., None] + values[..., None, :]
    h = change / sums
    for _ in range(_STEPS):
        before, h = h, (change - (h * values[..., None, :]) @ h) / sums
        if bool((squared_norm(h - before, 2) <= epsilon(h) ** 2 * squared_norm(h, 2)).all()):
            break
    return small, squared_norm(h * roots[..., None, :], 2)
