"""Accumulation: the gradients of several micro-batches make one update."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kexue._core import InputError, check_int
from kexue.optim._state import MEAN, MEAN_ROWS


@dataclass(frozen=True)
class Accumulate:
    r"""Update once for several micro-batches, with the mean of their gradients.

    .. math:: \bar g = \sum_i w_i g_i / \sum_i w_i

    with the weights given to ``step(weight=)``, 1 by default. Where micro-batches hold unequal
    numbers of tokens, only these numbers as weights give the gradient of the whole batch: a mean
    of means does not.

    Parameters
    ----------
    steps : int >= 1, or function
        Micro-batches to an update; a function gets the number of updates so far.

    Notes
    -----
    Call ``step`` after every backward pass; it takes the gradients over, whether or not they are
    cleared in between. The running mean lies in the state, so that a run stopped within a window
    goes on there. Everything else counts updates: schedules, bias corrections, `Lookahead`.

    Gradients are clipped where they are whole, just before the base's step::

        optimizer.base.register_step_pre_hook(
            lambda *_: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        )

    Under DistributedDataParallel skip the reduction of all but the last micro-batch, by
    ``model.no_sync()`` unless ``optimizer.will_step``: what the others have gathered joins the
    last gradient on its way to the reduction. A weight must then be known before the backward
    pass: ``optimizer.announce(weight)``.

    Examples
    --------
    >>> from kexue.optim import derive
    >>> p = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = derive(torch.optim.SGD([p], lr=1.0), Accumulate(2))
    >>> for gradient, tokens in ((1.0, 3), (5.0, 1)):
    ...     p.grad = torch.tensor([gradient])
    ...     optimizer.step(weight=tokens)
    >>> p.data
    tensor([-2.])

    References
    ----------
    kexue.fm, archives/6794 and archives/7094.
    """

    steps: int | Callable[[int], int]

    def __post_init__(self) -> None:
        if not callable(self.steps):
            check_int("steps", self.steps, minimum=1)

    def window(self, updates: int) -> int:
        """Return the number of micro-batches of the next update."""
        if callable(self.steps):
            return check_int("what steps returns", self.steps(updates), minimum=1)
        return self.steps


def check_weight(weight: Any) -> float:
    """Return the weight of a micro-batch as a float."""
    number = float(weight)
    if not 0 <= number < float("inf"):
        raise InputError(f"weight must be a finite number >= 0, got {weight!r}")
    return number


def begin(params: Iterable[Tensor], state: Any) -> None:
    """Begin a window: what the state still holds is the mean of the last one."""
    for p in params:
        if p in state:
            forget(state[p])


def take_in(params: Iterable[Tensor], state: Any, share: float) -> None:
    """Move the running mean by `share` of the way to the gradients, and take these away.

    A share of 0 leaves a micro-batch without weight out. Parameters without a gradient count as
    having one of 0.
    """
    means, gradients, idle = [], [], []
    for p in params:
        gradient = None if share == 0 else p.grad
        if gradient is None:
            held = state[p].get(MEAN) if p in state else None
            if held is not None:
                idle.append(held)
        else:
            own = state[p]
            held = own.get(MEAN)
            if gradient.is_sparse:
                _take_in_rows(own, gradient, share)
            elif held is None:
                # autograd's own tensor is ours to keep; of a view (a bucket of DDP) it is a part
                kept = gradient.clone() if gradient._is_view() else gradient.detach()
                own[MEAN] = kept if share == 1 else kept.mul_(share)
            elif MEAN_ROWS in own:
                dense = _as_sparse(p, own).to_dense()
                forget(own)
                own[MEAN] = dense.lerp_(gradient, share)
            else:
                means.append(held)
                gradients.append(gradient)
        p.grad = None
    if means:
        torch._foreach_lerp_(means, gradients, share)
    if idle and share > 0:
        torch._foreach_mul_(idle, 1 - share)


def adopt(params: Iterable[Tensor], state: Any) -> None:
    """Take gradients over that already are the mean of the whole window."""
    for p in params:
        forget(state[p])
        if p.grad is not None:
            state[p][MEAN] = p.grad.clone() if p.grad._is_view() else p.grad.detach()
            p.grad = None


def give_back(params: Iterable[Tensor], state: Any) -> None:
    """Make the means the gradients."""
    for p in params:
        own = state.get(p, {})
        p.grad = _as_sparse(p, own) if MEAN_ROWS in own else own.get(MEAN)


def forget(own: dict[str, Any]) -> None:
    """Drop the mean of a parameter."""
    own.pop(MEAN, None)
    own.pop(MEAN_ROWS, None)


def _take_in_rows(own: dict[str, Any], gradient: Tensor, share: float) -> None:
    """Do the same for a sparse gradient: rows and values apart, as plain tensors."""
    held = own.get(MEAN)
    if held is not None and MEAN_ROWS not in own:
        own[MEAN] = held.mul_(1 - share).add_(gradient, alpha=share)
        return
    rows, values = gradient._indices(), gradient._values() * share
    if held is not None:
        rows = torch.cat([own[MEAN_ROWS], rows], 1)
        values = torch.cat([held * (1 - share), values])
    joined = torch.sparse_coo_tensor(rows, values, gradient.shape, check_invariants=False)
    joined = joined.coalesce()
    own[MEAN], own[MEAN_ROWS] = joined.values(), joined.indices()


def _as_sparse(p: Tensor, own: dict[str, Any]) -> Tensor:
    return torch.sparse_coo_tensor(
        own[MEAN_ROWS], own[MEAN], p.shape, is_coalesced=True, check_invariants=False
    )
