r"""The optimal way from one normal distribution to another: the map, and where it is at time t.

.. math:: x \mapsto m_2 + T (x - m_1), \quad
          T = S_1^{-1/2} (S_1^{1/2} S_2 S_1^{1/2})^{1/2} S_1^{-1/2}.

In factors, T takes :math:`L_1` to :math:`L_2 O`, with the rotation O of the Wasserstein distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kexue._core import InputError, check_float
from kexue.gaussian._arrays import (
    as_real,
    astype,
    namespace,
    solve_triangular,
    wants_gradient,
)
from kexue.gaussian._covariances import Diagonal
from kexue.gaussian._linalg import padded, root, squared_norm, symmetric
from kexue.gaussian._pairs import aligned
from kexue.gaussian._procrustes import rotation
from kexue.gaussian.gaussian import Gaussian


@dataclass(frozen=True, eq=False)
class TransportMap:
    """The map ``x -> m2 + T (x - m1)``; call it with points of shape (..., N, n).

    Attributes
    ----------
    source, target : array of shape (..., n)
        m1 and m2.
    linear : array of shape (..., n, n), or (..., n) if T is diagonal
    """

    source: Any
    target: Any
    linear: Any
    diagonal: bool

    @property
    def matrix(self) -> Any:
        """T, of shape (..., n, n), symmetric and without negative eigenvalues."""
        return Diagonal(self.linear).dense if self.diagonal else self.linear

    def __call__(self, X: Any) -> Any:
        """Return the points of shape (..., N, n), or one of shape (n,), where they go.

        They take the type of number that the map has.
        """
        points = as_real("X", X)
        namespace(points, self.linear)
        points = astype(points, self.linear.dtype)
        n = self.source.shape[-1]
        if points.ndim < 1 or points.shape[-1] != n:
            raise InputError(f"X must be of shape (..., N, {n}), got {tuple(points.shape)}")
        rows = points[None] if points.ndim == 1 else points
        moved = rows - self.source[..., None, :]
        moved = moved * self.linear[..., None, :] if self.diagonal else moved @ self.linear
        moved = moved + self.target[..., None, :]
        return moved[..., 0, :] if points.ndim == 1 else moved


def transport_map(p: Gaussian, q: Gaussian) -> TransportMap:
    """Return the optimal transport map from p to q.

    Parameters
    ----------
    p, q : Gaussian
        Their batches broadcast. Diagonal ones have a diagonal T; all others a matrix.

    Returns
    -------
    TransportMap
        ``matrix @ p.cov @ matrix`` is ``q.cov``.

    Raises
    ------
    TypeError, InputError
        As `kl`; and if p is singular and q does not lie within its range, where no map goes.

    References
    ----------
    Olkin and Pukelsheim 1982; Peyré and Cuturi, Computational optimal transport, 2019, remark
    2.31.

    Examples
    --------
    >>> p, q = Gaussian.diag([0.0], var=[1.0]), Gaussian.diag([1.0], var=[4.0])
    >>> transport_map(p, q)([[0.0], [1.0]]).tolist()
    [[1.0], [3.0]]
    """
    p, q = aligned(p, q, False)
    first, second = p.covariance, q.covariance
    if isinstance(first, Diagonal) and isinstance(second, Diagonal):
        xp = namespace(first.var)
        _check_within(((first.var == 0) & (second.var > 0)).any())
        ratio = second.var / xp.where(first.var > 0, first.var, 1.0)
        return TransportMap(p.mean, q.mean, root(ratio), True)
    a, b = first.full(), second.full()
    if a.regular:

        def divided(columns: Any) -> Any:
            return solve_triangular(a.factor, columns, transposed=True)

    else:
        inverse = namespace(a.factor).linalg.pinv(a.factor)
        onto = a.factor @ inverse
        outside = squared_norm(b.factor - onto @ b.factor, 2)
        _check_within((outside > a.dense.shape[-1] * a.tolerance * squared_norm(b.factor, 2)).any())

        def divided(columns: Any) -> Any:
            return inverse.mT @ columns

    # T = inv(L1).T U s U.T inv(L1)
    if wants_gradient(a.factor, b.factor):
        # U s U.T is L1.T L2 O, and O has a derivative where U has none
        r = max(a.factor.shape[-1], b.factor.shape[-1])
        second = padded(b.factor, r)
        product = a.factor.mT @ second @ rotation(padded(a.factor, r), second)
        linear = divided(divided(product[..., : a.factor.shape[-1]]).mT)
    else:
        u, s, _ = namespace(a.factor).linalg.svd(a.factor.mT @ b.factor, full_matrices=False)
        half = divided(u * root(s)[..., None, :])
        linear = half @ half.mT
    return TransportMap(p.mean, q.mean, symmetric(linear), False)


def geodesic(p: Gaussian, q: Gaussian, t: float) -> Gaussian:
    """Return the Gaussian at time t on the shortest way from p to q in Wasserstein's distance.

    Parameters
    ----------
    p, q : Gaussian
        Their batches broadcast; both may be singular. Two diagonals give a diagonal, all else a
        Gaussian by its factor.
    t : float in [0, 1]

    Returns
    -------
    Gaussian
        Of ``(1 - t) X + t T(X)``; it is ``t * wasserstein2(p, q)`` away from p.

    Raises
    ------
    TypeError, InputError
        As `kl`, and for t outside of [0, 1].

    References
    ----------
    Takatsu, Wasserstein geometry of Gaussian measures, Osaka Journal of Mathematics 48, 2011.

    Examples
    --------
    >>> p, q = Gaussian.diag([0.0], var=[1.0]), Gaussian.diag([1.0], var=[4.0])
    >>> geodesic(p, q, 0.5).cov.tolist()
    [[2.25]]
    """
    p, q = aligned(p, q, False)
    t = check_float("t", t, minimum=0, maximum=1)
    mean = (1 - t) * p.mean + t * q.mean
    first, second = p.covariance, q.covariance
    if isinstance(first, Diagonal) and isinstance(second, Diagonal):
        return Gaussian.diag(mean, ((1 - t) * root(first.var) + t * root(second.var)) ** 2)
    a, b = first.factor, second.factor
    r = max(a.shape[-1], b.shape[-1])
    a, b = padded(a, r), padded(b, r)
    return Gaussian.from_factor(mean, (1 - t) * a + t * (b @ rotation(a, b)))


def _check_within(outside: Any) -> None:
    if bool(outside):
        raise InputError(
            "q must lie within the range of p, which is singular: no map spreads p further; "
            "the map from q to p may exist"
        )
