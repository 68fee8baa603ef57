"""Squash: vectors shortened to a length in [0, 1), their direction kept."""

from __future__ import annotations

import torch
from torch import Tensor

from kexue._core import check_choice, check_float

KINDS = ("su", "hinton", "tanh", "exp", None)


def squash(s: Tensor, dim: int = -1, kind: str | None = "hinton", eps: float = 1e-7) -> Tensor:
    r"""Shorten vectors to :math:`\phi(n) s / n`, n being their length.

    Parameters
    ----------
    s : tensor
        Float16 and bfloat16 are computed in float32.
    dim : int
        Along which a vector lies.
    kind : {"hinton", "su", "tanh", "exp", None}
        :math:`\phi(n)` is :math:`n^2 / (1 + n^2)`, :math:`n^2 / (1/2 + n^2)`, :math:`\tanh n` or
        :math:`1 - e^{-n}`; None returns `s`.
    eps : float > 0
        Added to :math:`n^2`, so that the gradient at 0 is finite.

    Returns
    -------
    tensor of the shape and dtype of `s`

    Raises
    ------
    InputError
        For another kind, or ``eps <= 0``.

    Examples
    --------
    >>> s = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    >>> squash(s).norm(dim=1).numpy().round(3)
    array([0.962, 0.   ], dtype=float32)

    References
    ----------
    Sabour, Frosst and Hinton, Dynamic routing between capsules, arXiv 1710.09829. "su":
    kexue.fm, archives/5112. "exp": Mazzia, Salvetti and Chiaberge, Efficient-CapsNet,
    Scientific Reports 11, 2021.
    """
    check_choice("kind", kind, KINDS)
    check_float("eps", eps, minimum=1e-38)
    if kind is None:
        return s
    x = widened(s)
    square = x.square().sum(dim, keepdim=True) + eps
    n = square.sqrt()
    if kind == "hinton":
        factor = n / (1 + square)
    elif kind == "su":
        factor = n / (0.5 + square)
    elif kind == "tanh":
        factor = n.tanh() / n
    else:
        factor = -torch.expm1(-n) / n
    return (x * factor).to(s.dtype)


def unit(s: Tensor, eps: float = 1e-7) -> Tensor:
    """Return vectors along the last axis at length 1; 0 stays 0."""
    x = widened(s)
    return (x * (x.square().sum(-1, keepdim=True) + eps).rsqrt()).to(s.dtype)


def widened(s: Tensor) -> Tensor:
    """Return half precision as float32, whose squares neither overflow nor vanish."""
    return s.float() if s.dtype in (torch.float16, torch.bfloat16) else s
