r"""Divergences of covariances diagonal + low rank, in O(n r^2) and to nearly all digits.

Along the segment :math:`S(u) = S_2 + u \Delta`, :math:`\Delta = S_1 - S_2`, the function
:math:`f(u) = -\log\det S(u)` is convex, and

.. math:: f''(u) = \mathrm{tr}\, (S(u)^{-1} \Delta)^2 \ge 0.

Taylor's formula and the error of the trapezoidal rule make of it both divergences,

.. math:: 2 KL = \int_0^1 (1 - u) f''(u) du, \qquad 4 D_B = \int_0^1 \min(u, 1 - u) f''(u) du

(without their means), so that of near covariances nothing is subtracted. Of others the
determinants are, by Woodbury's identity and the determinant lemma.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kexue.gaussian._arrays import eye, namespace
from kexue.gaussian._linalg import diagonal, squared_norm, trace_of_product
from kexue.gaussian._pairs import LowRankPair

_NEAR = 0.25  # of f''(1/2), below which the quadrature is exact to rounding
_NODES = 8  # of Gauss and Legendre, in each half of [0, 1]


def divergence(pair: LowRankPair, weight: Callable[[float], float], far: Callable[[], Any]) -> Any:
    """Return the integral of ``weight(u) f''(u)``, or what `far` returns if that is not exact."""
    near = curvature(pair, 0.5) < _NEAR
    if not bool(near.any()):
        return far()
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    total: Any = 0.0
    for start in (0.0, 0.5):
        for node, share in zip((nodes + 1) / 4, weights / 4, strict=True):
            u = start + float(node)
            total = total + float(share) * weight(u) * curvature(pair, u)
    return total if bool(near.all()) else namespace(total).where(near, total, far())


def curvature(pair: LowRankPair, u: float) -> Any:
    """Return f''(u), for 0 < u < 1, of the batch's shape.

    With the diagonal of S(u) scaled to I, all is in products of the columns
    ``J = [(1 - u) F2 + u F1, c (F1 - F2)]``, where ``c**2 = u (1 - u)``: of S(u) they are
    ``J J.T``, of the difference ``J C J.T``, beside diagonals.
    """
    first, second = pair.first, pair.second
    xp = namespace(pair.step)
    scale = (1 - u) * second.diag + u * first.diag
    change = (first.diag - second.diag) / scale
    c = (u * (1 - u)) ** 0.5
    apart = first.loading - second.loading
    j = xp.concatenate([second.loading + u * apart, c * apart], -1) / scale[..., None] ** 0.5
    x, x1, x2 = (j.mT @ (j * power[..., None]) for power in (change**0, change, change**2))
    one = eye(j.shape[-1], j)
    inverse = xp.linalg.inv(one + x)
    ix, ix1, ix2 = (xp.linalg.solve(one + x, product) for product in (x, x1, x2))
    r = j.shape[-1] // 2
    mixed = xp.zeros_like(one)
    mixed[:r, r:] = mixed[r:, :r] = one[:r, :r] / c
    mixed[r:, r:] = one[:r, :r] * (1 - 2 * u) / c**2  # C
    diagonals = squared_norm(change) - 2 * diagonal(ix2).sum(-1) + trace_of_product(ix1, ix1)
    return (
        diagonals
        + 2 * trace_of_product(mixed @ ix1, inverse)
        + trace_of_product(mixed @ ix, mixed @ ix)
    )
