r"""The rotation that takes one factor of a covariance nearest to another.

Of the singular value decomposition :math:`L_1^T L_2 = U \Sigma V^T` come the cross term of the
Wasserstein distance, the nuclear norm :math:`\mathrm{tr} \Sigma = \mathrm{tr} (S_1^{1/2} S_2
S_1^{1/2})^{1/2}`, and the rotation :math:`O = V U^T`: the distance is
:math:`|L_1 - L_2 O|_F`, the optimal map takes :math:`L_1` to :math:`L_2 O`. Factors may be
rectangular, so that singular covariances are no special case.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from kexue.gaussian._arrays import namespace, wants_gradient
from kexue.gaussian._derivatives import check_once
from kexue.gaussian._linalg import padded, squared_norm

Near = Callable[[], tuple[Any, Any]]

_ONCE = (
    "wasserstein2, geodesic and transport_map can be differentiated once, and twice only between "
    "diagonals"
)
_CLOSE = 0.01  # of the sum of traces; farther apart, their difference keeps 14 digits


def gap(first: Any, second: Any, near: Near | None = None) -> Any:
    """Return the least ``|L1 - L2 O|**2`` over rotations O.

    Parameters
    ----------
    first, second : array of shape (..., n, r1) and (..., n, r2)
    near : callable, optional
        Returns where covariances are so near that it knows better, and what it knows. Asked
        where they are close, but not for gradients.

    Returns
    -------
    array of shape (...)
        A sum of squares where the covariances are close; else, cheaper, the traces less twice
        the nuclear norm. Tensors get the gradient 2 (L1 - L2 O), which needs no derivative of a
        decomposition.
    """
    if wants_gradient(first, second):
        return _gap_with_gradient().apply(first, second)
    xp = namespace(first)
    total = squared_norm(first, 2) + squared_norm(second, 2)
    value = total - 2 * xp.linalg.svdvals(first.mT @ second).sum(-1)
    close = value < _CLOSE * total
    if not bool(close.any()):
        return value
    if near is not None:
        known, better = near()
        value = xp.where(close & known, better, value)
        close = close & ~known
        if not bool(close.any()):
            return value
    return xp.where(close, squared_norm(residuals(first, second)[0], 2), value)


def residuals(first: Any, second: Any) -> tuple[Any, Any]:
    """Return ``L1 - L2 O`` and ``L2 - L1 O.T``; 0 to the last bit for equals.

    Both have max(r1, r2) columns.
    """
    xp = namespace(first)
    r = max(first.shape[-1], second.shape[-1])
    first, second = padded(first, r), padded(second, r)
    turn = rotation(first, second)
    apart, turned = first - second, first - second @ turn
    # rounding in O must not make equal factors differ
    as_they_are = (squared_norm(apart, 2) <= squared_norm(turned, 2))[..., None, None]
    back = xp.where(as_they_are, -apart, second - first @ turn.mT)
    return xp.where(as_they_are, apart, turned), back


def rotation(first: Any, second: Any) -> Any:
    """Return O for factors with the same number r of columns, of shape (..., r, r).

    Tensors get the gradient of the polar factor, which singular values that are equal leave
    finite; where two of them are 0, and O could be another, that part of it is taken for 0.
    """
    product = first.mT @ second
    if wants_gradient(product):
        return _polar_with_gradient().apply(product).mT
    u, _, vt = namespace(first).linalg.svd(product)
    return (u @ vt).mT


@cache
def _polar_with_gradient() -> Any:
    """Return the torch function of U V.T, made when torch is there."""
    import torch

    class Polar(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, product: Any) -> Any:
            u, s, vt = torch.linalg.svd(product)
            ctx.save_for_backward(u, s, vt)
            return u @ vt

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            check_once(_ONCE)
            u, s, vt = ctx.saved_tensors
            turned = u.mT @ gradient @ vt.mT
            sums = s[..., None] + s[..., None, :]
            known = sums > s.shape[-1] * torch.finfo(s.dtype).eps * s[..., :1, None]
            share = torch.where(known, 1 / torch.where(known, sums, 1.0), 0.0)
            return u @ (share * (turned - turned.mT)) @ vt

    return Polar


@cache
def _gap_with_gradient() -> Any:
    """Return the torch function of `gap`, made when torch is there."""
    import torch

    class Gap(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, first: Any, second: Any) -> Any:
            steps = residuals(first, second)
            ctx.save_for_backward(*steps)
            ctx.shapes = first.shape, second.shape
            return squared_norm(steps[0], 2)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            check_once(_ONCE)
            scale = 2 * gradient[..., None, None]
            return tuple(
                (scale * step)[..., : shape[-1]].sum_to_size(shape)
                for step, shape in zip(ctx.saved_tensors, ctx.shapes, strict=True)
            )

    return Gap
