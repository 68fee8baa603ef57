"""The three forms of a covariance: full, diagonal, and diagonal + low rank.

A rectangular factor F is the last of them with a diagonal of 0. Each form knows its factor, rank
and determinant; distances look at the forms of a pair (`kexue.gaussian._pairs`). All arrays may
have leading batch dimensions, which need only broadcast with each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kexue._core import InputError
from kexue.gaussian._arrays import (
    detached,
    epsilon,
    eye,
    namespace,
    solve_triangular,
    try_cholesky,
    wants_gradient,
)
from kexue.gaussian._linalg import diagonal, lower_triangular, root, squared_norm

_PLAIN = 1e-3  # of the largest variance: a least pivot that leaves no doubt of the rank,
_TINY = 1e-9  # if no larger part of the largest eigenvalue than this counts as 0
# of an array and the number of its last dimensions that are no batch
Change = Callable[[Any, int], Any]


@dataclass(frozen=True, eq=False)
class Full:
    """Matrices S and their factors.

    Attributes
    ----------
    dense : array of shape (..., n, n)
    factor : array of shape (..., n, r)
        L with S = L L.T; lower triangular if `regular`.
    rank : array of int, shape (...)
    tolerance : float
        What part of a squared length is rounding where the rank is less than n.
    regular : bool
        Whether every rank is n.
    """

    dense: Any
    factor: Any
    rank: Any
    tolerance: float
    regular: bool

    @classmethod
    def of_matrix(cls, dense: Any, rcond: float | None = None) -> Full:
        """Factorise symmetric matrices: by Cholesky, or by eigenvalues where some are nearly 0.

        Raises
        ------
        InputError
            If an eigenvalue is below ``-rcond`` times the largest, or if a gradient is wanted
            where the rank is less than n.
        """
        xp = namespace(dense)
        n = dense.shape[-1]
        rcond = n * epsilon(dense) if rcond is None else rcond
        factor = try_cholesky(dense)
        if factor is not None and _surely_regular(detached(factor), n * rcond):
            return cls(dense, factor, _filled(factor[..., 0, 0], n), rcond, True)
        values, vectors = xp.linalg.eigh(detached(dense))
        floor = rcond * xp.amax(abs(values), -1)
        if bool((values[..., 0] < -floor).any()):
            raise InputError(
                "cov must have no negative eigenvalue, got one of "
                f"{float(values.min()):.3g} beside {float(values.max()):.3g}"
            )
        kept = values > floor[..., None]
        if bool(kept.all()):
            if factor is None:
                # so near to singular that rounding decides whether Cholesky succeeds
                factor = lower_triangular(vectors * xp.sqrt(values)[..., None, :])
            return cls(dense, factor, kept.sum(-1), rcond, True)
        if wants_gradient(dense):
            raise InputError(
                f"cov must be of full rank where gradients are wanted, got rank "
                f"{int(kept.sum(-1).min())} of {n}; give Gaussian.from_factor a factor"
            )
        factor = vectors * root(xp.where(kept, values, 0.0))[..., None, :]
        return cls(dense, factor, kept.sum(-1), rcond, False)

    @classmethod
    def of_factor(cls, factor: Any) -> Full:
        """Take S = F F.T from F, of shape (..., n, r)."""
        n, r = factor.shape[-2:]
        dense = factor @ factor.mT
        noise = max(n, r) * epsilon(factor)
        if r >= n:
            triangular = lower_triangular(factor)
            if _surely_regular(detached(triangular), n * noise**2):
                return cls(dense, triangular, _filled(triangular[..., 0, 0], n), noise**2, True)
        rank = factor_rank(factor)
        if bool((rank == n).all()):
            return cls(dense, triangular, rank, noise**2, True)
        return cls(dense, factor, rank, noise**2, False)

    @property
    def n(self) -> int:
        return int(self.dense.shape[-1])

    @property
    def parts(self) -> tuple[Any, ...]:
        return (self.dense,)

    def map(self, change: Change) -> Full:
        rank = change(self.rank, 0)
        dense, factor = change(self.dense, 2), change(self.factor, 2)
        regular = bool((rank == self.n).all())
        if regular and not self.regular:
            factor = lower_triangular(factor)
        return Full(dense, factor, rank, self.tolerance, regular)

    def full(self) -> Full:
        return self

    def logdet(self) -> Any:
        if self.regular:
            return 2 * namespace(self.factor).log(abs(diagonal(self.factor))).sum(-1)
        xp = namespace(self.factor)
        values = xp.linalg.svdvals(self.factor)[..., : self.n]
        regular = self.rank == self.n
        values = xp.where(regular[..., None], values, 1.0)
        return xp.where(regular, 2 * xp.log(values).sum(-1), -xp.inf)

    def mahalanobis(self, points: Any) -> Any:
        """Return ``x.T inv(S) x`` of points of shape (..., N, n)."""
        return squared_norm(solve_triangular(self.factor, points.mT).mT)

    def colour(self, draw: Callable[[int], Any]) -> Any:
        """Return samples of N(0, S), of shape (..., N, n); ``draw(k)`` gives normal (..., N, k)."""
        return draw(self.factor.shape[-1]) @ self.factor.mT


@dataclass(frozen=True, eq=False)
class Diagonal:
    """Variances, of shape (..., n)."""

    var: Any

    @property
    def n(self) -> int:
        return int(self.var.shape[-1])

    @property
    def parts(self) -> tuple[Any, ...]:
        return (self.var,)

    def map(self, change: Change) -> Diagonal:
        return Diagonal(change(self.var, 1))

    @property
    def dense(self) -> Any:
        return self.var[..., None] * eye(self.n, self.var)

    @property
    def factor(self) -> Any:
        return root(self.var)[..., None] * eye(self.n, self.var)

    @property
    def rank(self) -> Any:
        return (self.var > 0).sum(-1)

    @property
    def regular(self) -> bool:
        return bool((self.var > 0).all())

    def full(self) -> Full:
        return Full.of_factor(self.factor)

    def logdet(self) -> Any:
        xp = namespace(self.var)
        positive = self.var > 0
        return xp.where(positive, xp.log(xp.where(positive, self.var, 1.0)), -xp.inf).sum(-1)

    def mahalanobis(self, points: Any) -> Any:
        return (points * points / self.var[..., None, :]).sum(-1)

    def colour(self, draw: Callable[[int], Any]) -> Any:
        return draw(self.n) * root(self.var)[..., None, :]


@dataclass(frozen=True, eq=False)
class LowRank:
    """``diag(D) + F F.T``.

    Attributes
    ----------
    diag : array of shape (..., n), or (..., 1) if isotropic
    loading : array of shape (..., n, r)
        F.
    """

    diag: Any
    loading: Any

    @property
    def n(self) -> int:
        return int(self.loading.shape[-2])

    @property
    def parts(self) -> tuple[Any, ...]:
        return (self.diag, self.loading)

    @property
    def isotropic(self) -> bool:
        return bool(self.diag.shape[-1] == 1)

    @cached_property
    def bare(self) -> bool:
        """Whether there is nothing but the factor."""
        return self.isotropic and not bool((self.diag != 0).any())

    @cached_property
    def positive(self) -> bool:
        """Whether the diagonal alone is of full rank."""
        return bool((self.diag > 0).all())

    def map(self, change: Change) -> LowRank:
        return LowRank(change(self.diag, 1), change(self.loading, 2))

    @property
    def dense(self) -> Any:
        product = self.loading @ self.loading.mT
        return product if self.bare else product + self.diag[..., None] * eye(self.n, product)

    @property
    def factor(self) -> Any:
        return self.loading if self.bare else self.full().factor

    @property
    def rank(self) -> Any:
        if self.bare:
            return factor_rank(self.loading)
        if not self.positive:
            return self.full().rank
        return _filled(detached(self.diag[..., 0] + self.loading[..., 0, 0]), self.n)

    @property
    def regular(self) -> bool:
        return self.positive or bool((self.rank == self.n).all())

    def full(self) -> Full:
        return Full.of_factor(self.loading) if self.bare else Full.of_matrix(self.dense)

    def logdet(self) -> Any:
        if not self.positive:
            return self.full().logdet()
        xp = namespace(self.diag)
        repeats = self.n if self.isotropic else 1
        inner = 2 * xp.log(diagonal(self._inner)).sum(-1)
        return repeats * xp.log(self.diag).sum(-1) + inner

    def mahalanobis(self, points: Any) -> Any:
        """Return ``x.T inv(S) x`` of points of shape (..., N, n), as a sum of squares.

        That is the least ``|D**-0.5 (x - F w)|**2 + |w|**2``, which is Woodbury's identity
        without its difference.
        """
        if not self.positive:
            return self.full().mahalanobis(points)
        spread = (points / self.diag[..., None, :] ** 0.5).mT
        weights = solve_triangular(self._inner, self._scaled.mT @ spread)
        weights = solve_triangular(self._inner, weights, transposed=True)
        rest = spread - self._scaled @ weights
        return squared_norm(rest.mT) + squared_norm(weights.mT)

    def leverages(self) -> Any:
        """Return the diagonal of ``D**-0.5 F inv(I + F.T inv(D) F) F.T D**-0.5``, (..., n)."""
        return squared_norm(solve_triangular(self._inner, self._scaled.mT).mT)

    def colour(self, draw: Callable[[int], Any]) -> Any:
        points = draw(self.loading.shape[-1]) @ self.loading.mT
        return points if self.bare else points + draw(self.n) * root(self.diag)[..., None, :]

    @cached_property
    def _scaled(self) -> Any:
        return self.loading / self.diag[..., None] ** 0.5

    @cached_property
    def _inner(self) -> Any:
        """The Cholesky factor of ``I + F.T inv(D) F``, whose eigenvalues are at least 1."""
        h = self._scaled
        return namespace(h).linalg.cholesky(eye(h.shape[-1], h) + h.mT @ h)


Covariance = Full | Diagonal | LowRank


def factor_rank(factor: Any) -> Any:
    """Return the ranks of factors of shape (..., n, r), by their singular values."""
    xp = namespace(factor)
    values = xp.linalg.svdvals(detached(factor))
    noise = max(factor.shape[-2:]) * epsilon(factor)
    return (values > noise * values[..., :1]).sum(-1)


def _surely_regular(factor: Any, rcond: float) -> bool:
    """Whether triangular L alone show that no eigenvalue of L L.T is up to `rcond` of the largest.

    The least is at least 1 / tr(inv(S)), the largest at most tr(S). Small pivots do not tell: a
    singular matrix may have none, and rounding is large beside pivots where others are small.
    """
    xp = namespace(factor)
    least, lengths = xp.amin(diagonal(factor) ** 2, -1), squared_norm(factor)
    if rcond < _TINY and bool((least > _PLAIN * xp.amax(lengths, -1)).all()):
        return True
    if not bool((least > 0).all()):
        return False
    inverse = solve_triangular(factor, eye(factor.shape[-1], factor))
    known = squared_norm(inverse, 2) * squared_norm(factor, 2) * rcond < 1
    return bool(known.all())


def _filled(like: Any, number: int) -> Any:
    return namespace(like).full_like(like, number, dtype=namespace(like).int64)
