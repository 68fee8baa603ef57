"""What two Gaussians are to a distance: the simplest form that both covariances take.

Two diagonals stay diagonals. Two of the form ``s I + F F.T`` are taken to the few dimensions that
their factors and the step between their means span; in all others they differ by two numbers. A
diagonal beside diagonals + low rank is one of those. All else is full matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kexue._core import InputError
from kexue.gaussian._arrays import dtype_name, eye, namespace, plain
from kexue.gaussian._covariances import Covariance, Diagonal, Full, LowRank
from kexue.gaussian._linalg import coordinates, padded, symmetric
from kexue.gaussian.gaussian import Gaussian


@dataclass(frozen=True, eq=False)
class DiagonalPair:
    """Step m1 - m2 and variances, (..., n)."""

    step: Any
    first: Any
    second: Any


@dataclass(frozen=True, eq=False)
class DensePair:
    """Step m1 - m2, (..., n), matrices, and their difference S1 - S2, (..., n, n)."""

    step: Any
    difference: Any
    first: Full
    second: Full


@dataclass(frozen=True, eq=False)
class LowRankPair:
    """Step m1 - m2, and positive diagonals (..., n) + factors of one shape (..., n, r)."""

    step: Any
    first: LowRank
    second: LowRank

    def dense(self) -> DensePair:
        return _dense_pair(self.step, self.first, self.second)


@dataclass(frozen=True, eq=False)
class SubspacePair:
    """A pair inside a space that holds step and factors, and `n_outside` equal ones outside."""

    inside: DensePair
    outside: DiagonalPair
    n_outside: int


Pair = DiagonalPair | DensePair | LowRankPair | SubspacePair


def aligned(p: Gaussian, q: Gaussian, pairwise: bool) -> tuple[Gaussian, Gaussian]:
    """Return p and q with batches that broadcast.

    Raises
    ------
    TypeError
        If one of them is no `Gaussian`, or one is of NumPy and the other of torch.
    InputError
        For different dimensions or types, and for batches that do not go together.
    """
    check_pair(p, q)
    if pairwise:
        return _all_against_all(p, q)
    try:
        np.broadcast_shapes(p.batch_shape, q.batch_shape)
    except ValueError as error:
        raise InputError(
            f"batches of p and q must broadcast, got {p.batch_shape} and {q.batch_shape}; "
            "pairwise=True takes all pairs"
        ) from error
    return p, q


def as_pair(p: Gaussian, q: Gaussian) -> Pair:
    """Return the pair, aligned as it is, in its simplest form."""
    step, first, second = p.mean - q.mean, p.covariance, q.covariance
    if isinstance(first, Diagonal) and isinstance(second, Diagonal):
        return DiagonalPair(step, first.var, second.var)
    if isinstance(first, Full) or isinstance(second, Full):
        return _dense_pair(step, first, second)
    first, second = _of_one_rank(_low_rank(first), _low_rank(second))
    spanned = 2 * first.loading.shape[-1] + 1
    if spanned >= p.dim:
        return _dense_pair(step, first, second)
    if first.isotropic and second.isotropic:
        return _subspace_pair(step, first, second, spanned)
    if not (first.positive and second.positive):
        return _dense_pair(step, first, second)
    return LowRankPair(step, _unfolded(first), _unfolded(second))


def evaluate(
    pair: Pair,
    *,
    diagonal: Callable[[DiagonalPair], Any],
    dense: Callable[[DensePair], Any],
    low_rank: Callable[[LowRankPair], Any],
) -> Any:
    """Return a distance that adds up over independent coordinates."""
    if isinstance(pair, DiagonalPair):
        value = diagonal(pair)
    elif isinstance(pair, LowRankPair):
        value = low_rank(pair)
    elif isinstance(pair, DensePair):
        value = dense(pair)
    else:
        value = dense(pair.inside) + pair.n_outside * diagonal(pair.outside)
    return plain(value)


def check_pair(p: object, q: object) -> None:
    """Raise the errors of `aligned` that do not depend on batches."""
    for name, gaussian in (("p", p), ("q", q)):
        if not isinstance(gaussian, Gaussian):
            raise TypeError(f"{name} must be a Gaussian, got {type(gaussian).__name__}")
    assert isinstance(p, Gaussian)
    assert isinstance(q, Gaussian)
    namespace(p.mean, q.mean)
    if p.dim != q.dim:
        raise InputError(f"p and q must have the same dimension, got {p.dim} and {q.dim}")
    if p.mean.dtype != q.mean.dtype:
        raise InputError(
            "p and q must be of one type of number, got "
            f"{dtype_name(p.mean)} and {dtype_name(q.mean)}"
        )


def _all_against_all(p: Gaussian, q: Gaussian) -> tuple[Gaussian, Gaussian]:
    if not p.batch_shape or not q.batch_shape:
        raise InputError(
            "pairwise=True needs batches, got p and q with batch shapes "
            f"{p.batch_shape} and {q.batch_shape}"
        )
    whole = slice(None)

    def rows(array: Any, core: int) -> Any:
        return array[(..., None, *[whole] * core)]

    def columns(array: Any, core: int) -> Any:
        return array[(..., None, *[whole] * (core + 1))] if array.ndim > core else array

    return p.map(rows), q.map(columns)


def _low_rank(covariance: Diagonal | LowRank) -> LowRank:
    if isinstance(covariance, LowRank):
        return covariance
    return LowRank(covariance.var, namespace(covariance.var).zeros_like(covariance.var)[..., None])


def _of_one_rank(first: LowRank, second: LowRank) -> tuple[LowRank, LowRank]:
    r = max(first.loading.shape[-1], second.loading.shape[-1])
    return (
        LowRank(first.diag, padded(first.loading, r)),
        LowRank(second.diag, padded(second.loading, r)),
    )


def _unfolded(covariance: LowRank) -> LowRank:
    """Return an isotropic diagonal as one of n entries."""
    diag = covariance.diag
    if covariance.isotropic:
        shape = (*diag.shape[:-1], covariance.n)
        diag = namespace(diag).broadcast_to(diag, shape)
    return LowRank(diag, covariance.loading)


def _dense_pair(step: Any, first: Covariance, second: Covariance) -> DensePair:
    if isinstance(first, LowRank) and isinstance(second, LowRank):
        difference = _low_rank_difference(first, second)
    else:
        difference = first.dense - second.dense
    return DensePair(step, difference, first.full(), second.full())


def _low_rank_difference(first: LowRank, second: LowRank) -> Any:
    """Return S1 - S2 from the differences of their parts, each as exact as it was given."""
    a, b = first.loading, second.loading
    product = symmetric((a - b) @ (a + b).mT)
    return (first.diag - second.diag)[..., None] * eye(first.n, product) + product


def _subspace_pair(step: Any, first: LowRank, second: LowRank, spanned: int) -> SubspacePair:
    xp = namespace(step)
    n, r = first.n, first.loading.shape[-1]
    columns = [second.loading, first.loading - second.loading, step[..., None]]
    batch = np.broadcast_shapes(*(column.shape[:-2] for column in columns))
    inside = coordinates(
        xp.concatenate([xp.broadcast_to(c, (*batch, *c.shape[-2:])) for c in columns], -1)
    )
    b, change = inside[..., :r], inside[..., r : 2 * r]
    ends = LowRank(first.diag, b + change), LowRank(second.diag, b)
    # as in _low_rank_difference, the change being at hand
    product = symmetric(change @ (2 * b + change).mT)
    gap = first.diag - second.diag
    difference = gap[..., None] * eye(spanned, product) + product
    return SubspacePair(
        DensePair(inside[..., 2 * r], difference, ends[0].full(), ends[1].full()),
        DiagonalPair(xp.zeros_like(gap), first.diag, second.diag),
        n - spanned,
    )
