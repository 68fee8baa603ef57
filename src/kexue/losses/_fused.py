"""Cross-entropy of logits plus a bias, in one pass that leaves only its gradient behind."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_CACHE = 1 << 18  # bytes of a block of rows that stays in the cache of a CPU
_SMALL = 1 << 18  # numbers under which the calls cost more than the passes that they save


def cross_entropy_of_sum(
    logits: Tensor,
    bias: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Return ``F.cross_entropy(logits + bias, target, ...)``.

    Parameters
    ----------
    logits : tensor of shape (N, K)
    bias : tensor of shape (K,)
        Rounded to the type of the result, float64 for float64, else float32.
    target : tensor of shape (N,) or (N, K)
    weight, ignore_index, label_smoothing, reduction
        As for ``torch.nn.functional.cross_entropy``.
    """
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    bias = bias.to(dtype)
    weight = None if weight is None else weight.to(dtype)
    plain = (
        bool(label_smoothing)
        or target.is_floating_point()
        or logits.numel() < _SMALL
        or bias.requires_grad
        or not (logits.requires_grad and torch.is_grad_enabled())
        or torch.compiler.is_compiling()  # which fuses it itself
    )
    if plain:
        if target.is_floating_point():
            target = target.to(dtype)
        with torch.autocast(logits.device.type, enabled=False):
            return F.cross_entropy(
                logits + bias,
                target if target.is_floating_point() else target.long(),
                weight,
                ignore_index=ignore_index,
                label_smoothing=label_smoothing,
                reduction=reduction,
            )
    kept = target != ignore_index
    rows = target.long().masked_fill(~kept, 0)
    scale = kept.to(dtype) if weight is None else weight[rows] * kept
    if reduction == "mean":
        scale = scale / scale.sum()
    losses: Tensor = _CrossEntropy.apply(logits, bias, rows[:, None], scale[:, None])
    return losses if reduction == "none" else losses.sum()


class _CrossEntropy(torch.autograd.Function):
    """The weighted cross-entropy of each row, with its gradient found on the way.

    Where ``F.cross_entropy(f + b)`` holds the sum, its logarithmic softmax and later a gradient,
    and takes exponentials twice, one buffer is turned from f + b into the gradient, a block of
    rows at a time on a CPU, while the block is in the cache.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, bias: Tensor, target: Tensor, scale: Tensor) -> Tensor:
        gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
        losses = torch.empty_like(scale)
        with torch.autocast(logits.device.type, enabled=False):
            for rows in _blocks(logits):
                z = gradient[rows] if logits.dtype == bias.dtype else None
                z = torch.add(logits[rows], bias, out=z)
                top = z.amax(-1, keepdim=True)
                own = z.gather(-1, target[rows]).sub_(top)
                total = z.sub_(top).exp_().sum(-1, keepdim=True)
                losses[rows] = scale[rows] * (total.log() - own)
                z.mul_(scale[rows] / total)
                z.scatter_add_(-1, target[rows], -scale[rows])
                if logits.dtype != bias.dtype:
                    gradient[rows] = z
        ctx.save_for_backward(gradient)
        # rows that are ignored may hold anything
        return losses.masked_fill_(scale == 0, 0)[:, 0]

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "this loss keeps its gradient alone and cannot be differentiated twice; where "
                "second derivatives are needed (create_graph=True, torch.func), use "
                "torch.nn.functional.cross_entropy(logits + loss.bias(), target)"
            )
        (gradient,) = ctx.saved_tensors
        if _graph_is_kept():  # for another backward pass: hand out a copy
            return gradient * upstream[:, None], None, None, None
        # on a CPU a look at the numbers is cheaper than a pass over the array
        if upstream.device.type != "cpu" or not bool((upstream == 1).all()):
            gradient.mul_(upstream[:, None])
        return gradient, None, None, None


def _graph_is_kept() -> bool:
    """Whether the backward pass under way was asked to retain the graph; True where unknown."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return ask is None or bool(ask())


def _blocks(logits: Tensor) -> list[slice]:
    """Return slices of rows: all at once on a device, on a CPU such as fit its cache."""
    n, K = logits.shape
    size = n
    if logits.device.type == "cpu":
        size = max(1, _CACHE // (4 * max(K, 1)) * torch.get_num_threads())
    return [slice(i, i + size) for i in range(0, n, max(size, 1))]
