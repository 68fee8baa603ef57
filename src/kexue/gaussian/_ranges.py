"""Singular covariances: a divergence is finite only between Gaussians on one and the same plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kexue.gaussian._arrays import detached, namespace
from kexue.gaussian._covariances import Full
from kexue.gaussian._linalg import lower_triangular, squared_norm, symmetric
from kexue.gaussian._pairs import DensePair


def on_common_range(pair: DensePair, divergence: Callable[[DensePair], Any]) -> Any:
    """Return a divergence of covariances of full rank, taken within their ranges.

    It is infinite unless the ranges of both agree and hold the step between the means.
    """
    if pair.first.regular and pair.second.regular:
        return divergence(pair)
    xp = namespace(pair.step)
    n = pair.step.shape[-1]
    batch = np.broadcast_shapes(pair.step.shape[:-1], pair.difference.shape[:-2])

    def spread(array: Any, core: int) -> Any:
        return xp.broadcast_to(array, (*batch, *array.shape[array.ndim - core :]))

    step, difference = spread(pair.step, 1), spread(pair.difference, 2)
    first, second = pair.first.map(spread), pair.second.map(spread)
    values = []
    for index in np.ndindex(batch):

        def taken(array: Any, core: int, index: tuple[int, ...] = index) -> Any:
            return array[index]

        one = DensePair(
            step[index],
            difference[index],
            first.map(taken),
            second.map(taken),
        )
        inside = _restricted(one, n)
        nothing = (one.step * 0).sum()
        if inside is None:
            values.append(nothing + xp.inf)
        else:
            # of two points in one place there is no matrix to divide by
            values.append(divergence(inside) if inside.first.n else nothing)
    return xp.stack(values).reshape(batch)


def _restricted(pair: DensePair, n: int) -> DensePair | None:
    """Return the pair in coordinates of the range of both, None if these differ."""
    first, second = pair.first, pair.second
    rank = int(second.rank)
    if int(first.rank) != rank:
        return None
    xp = namespace(pair.step)
    basis = xp.linalg.svd(detached(second.factor), full_matrices=False)[0][:, :rank]
    tolerance = n * max(first.tolerance, second.tolerance)
    for columns, axes in ((first.factor, 2), (pair.step[:, None], 2)):
        columns = detached(columns)
        outside = squared_norm(columns - basis @ (basis.mT @ columns), axes)
        if bool(outside > tolerance * squared_norm(columns, axes)):
            return None
    return DensePair(
        basis.mT @ pair.step,
        symmetric(basis.mT @ pair.difference @ basis),
        _seen_in(basis, first),
        _seen_in(basis, second),
    )


def _seen_in(basis: Any, covariance: Full) -> Full:
    factor = basis.mT @ covariance.factor
    dense = symmetric(basis.mT @ covariance.dense @ basis)
    return Full(dense, lower_triangular(factor), covariance.rank, covariance.tolerance, True)
