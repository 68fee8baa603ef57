"""Lookahead: slow weights that follow every k updates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from kexue._core import check_choice, check_float, check_int
from kexue.optim._dense_kernels import is_native, pull_kernel
from kexue.optim._state import SLOW

_MOMENTA = ("momentum_buffer", "exp_avg")


@dataclass(frozen=True)
class Lookahead:
    r"""Average the path: every k updates go back a part of the way.

    Slow weights start as the parameters; after every `k` updates

    .. math:: \phi \leftarrow \phi + \alpha (\theta - \phi), \quad \theta \leftarrow \phi.

    Parameters
    ----------
    k : int >= 1
    alpha : float in [0, 1]
        1 is the base itself.
    momentum : {"keep", "reset", "pullback"}
        What becomes of the base's momentum then: it stays, starts anew, or is averaged as the
        weights are.

    Notes
    -----
    Slow weights are float32 where parameters are narrower; a parameter's begin as its value at
    its first update. ``Derived.slow_weights()`` evaluates with them.

    Examples
    --------
    Steps of 1 down, and half of them back at every third:

    >>> from kexue.optim import derive
    >>> p = torch.nn.Parameter(torch.tensor([3.0]))
    >>> optimizer = derive(torch.optim.SGD([p], lr=1.0), Lookahead(k=3, alpha=0.5))
    >>> path = []
    >>> for _ in range(6):
    ...     p.grad = torch.ones(1)
    ...     optimizer.step()
    ...     path.append(p.item())
    >>> path
    [2.0, 1.0, 1.5, 0.5, -0.5, 0.0]

    References
    ----------
    Zhang, Lucas, Hinton and Ba, Lookahead optimizer: k steps forward, 1 step back, arXiv
    1907.08610. kexue.fm, archives/6869 and archives/7094.
    """

    k: int = 5
    alpha: float = 0.5
    momentum: Literal["keep", "reset", "pullback"] = "keep"

    def __post_init__(self) -> None:
        check_int("k", self.k, minimum=1)
        check_float("alpha", self.alpha, minimum=0, maximum=1)
        check_choice("momentum", self.momentum, ("keep", "reset", "pullback"))


def wide_copy(tensor: Tensor) -> Tensor:
    """Return a copy, of float32 where the tensor is narrower."""
    narrow = tensor.is_floating_point() and tensor.dtype.itemsize < 4
    return tensor.detach().to(torch.float32 if narrow else tensor.dtype, copy=True)


@partial(torch._disable_dynamo, recursive=False)
def pull(fast: list[Tensor], slow: list[Tensor], alpha: float) -> None:
    """Move `slow` towards `fast`, and `fast` onto it, in place without another copy."""
    others = []
    for p, phi in zip(fast, slow, strict=True):
        if is_native(p, phi):
            flat = p.detach().view(-1).numpy()
            pull_kernel(flat, phi.view(-1).numpy(), flat.dtype.type(alpha))
        else:
            others.append((p, phi))
    if others:
        pull_by_torch(others, alpha)


def pull_by_torch(pairs: list[tuple[Tensor, Tensor]], alpha: float) -> None:
    """Do the same with torch, on any device."""
    for p, phi in pairs:
        if p.dtype == phi.dtype:
            p.sub_(phi).mul_(alpha).add_(phi)
            phi.copy_(p)
        else:
            phi.lerp_(p.to(phi.dtype), alpha)
            p.copy_(phi)


def begin(params: Iterable[Tensor], state: Any) -> None:
    """Start slow weights where they are missing."""
    for p in params:
        if SLOW not in state[p]:
            state[p][SLOW] = wide_copy(p)


@partial(torch._disable_dynamo, recursive=False)
def pull_all(params: Iterable[Tensor], state: Any, addon: Lookahead) -> None:
    """Draw slow weights and parameters together, and do with the momentum what is asked."""
    known = [p for p in params if SLOW in state.get(p, ())]
    pull(known, [state[p][SLOW] for p in known], addon.alpha)
    if addon.momentum == "keep":
        return
    for p in known:
        for key in _MOMENTA:
            held = state[p].get(key)
            slow = f"{SLOW}_{key}"
            if held is None:
                continue
            if addon.momentum == "reset":
                held.zero_()
            elif slow in state[p]:
                pull([held], [state[p][slow]], addon.alpha)
            else:
                state[p][slow] = wide_copy(held)
