"""Derivatives of tensors: sums over eigenvalues to any order, and what has one derivative only."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from kexue.gaussian._arrays import namespace, wants_gradient


def spectral_sum(matrix: Any, terms: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Any:
    """Return the sum of f(t) over the eigenvalues t of symmetric matrices.

    Eigenvectors have no derivative where eigenvalues are equal; the sum has, f'(M).

    Parameters
    ----------
    matrix : array of shape (..., n, n)
        M.
    terms : callable
        f, of eigenvalues of shape (..., n).
    slope : callable
        f' of matrices, by operations that torch can differentiate again.

    Returns
    -------
    array of shape (...)
    """
    if wants_gradient(matrix):
        return _spectral_sum_with_gradient().apply(matrix, terms, slope)
    return terms(namespace(matrix).linalg.eigvalsh(matrix)).sum(-1)


def once(array: Any, what: str) -> Any:
    """Return the array, as a tensor such that a second derivative through it is refused.

    Parameters
    ----------
    array : array
    what : str
        As of `check_once`.
    """
    return _once().apply(array, what) if wants_gradient(array) else array


def check_once(what: str) -> None:
    """Raise `RuntimeError` if torch asks for a derivative that could be differentiated again.

    To be called in the backward pass. Whether the incoming gradient has one does not tell: that
    of a second derivative mostly is a constant.

    Parameters
    ----------
    what : str
        What can be differentiated once, and what can twice.
    """
    import torch

    if torch.is_grad_enabled():
        raise RuntimeError(f"create_graph=True asks for a second derivative: {what}")


@cache
def _spectral_sum_with_gradient() -> Any:
    """Return the torch function of `spectral_sum`, made when torch is there."""
    import torch

    class SpectralSum(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, matrix: Any, terms: Any, slope: Any) -> Any:
            ctx.save_for_backward(matrix)
            ctx.slope = slope
            return terms(torch.linalg.eigvalsh(matrix)).sum(-1)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            (matrix,) = ctx.saved_tensors
            return gradient[..., None, None] * ctx.slope(matrix), None, None

    return SpectralSum


@cache
def _once() -> Any:
    """Return the torch function of `once`, made when torch is there."""
    import torch

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, array: Any, what: str) -> Any:
            ctx.what = what
            return array.view_as(array)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            check_once(ctx.what)
            return gradient, None

    return Once
