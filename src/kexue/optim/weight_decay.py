"""Decoupled weight decay for any optimizer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kexue._core import check_float
from kexue.optim._names import Rule, check_rule


@dataclass(frozen=True)
class WeightDecay:
    r"""Shrink parameters by a share of themselves at each update.

    .. math:: \theta \leftarrow \theta - \gamma (u + \lambda\theta)

    with the base's move :math:`\gamma u` and the value before the step on the right: decoupled,
    so that what an adaptive base divides its gradients by does not weaken the decay.

    Parameters
    ----------
    rate : float >= 0
        :math:`\lambda`; takes the place of the ``weight_decay`` of an AdamW inside.
    exclude : None, str or callable
        Parameters that are not decayed: a regular expression found in their names, or a function
        ``(name, p) -> bool``.

    Examples
    --------
    >>> from kexue.optim import derive
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> optimizer = derive(torch.optim.SGD([p], lr=0.5), WeightDecay(0.1, exclude=None))
    >>> p.grad = torch.tensor([1.0, 0.0])
    >>> optimizer.step()
    >>> p.data
    tensor([0.4500, 0.9500])

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, arXiv 1711.05101. kexue.fm,
    archives/7094.
    """

    rate: float = 0.01
    exclude: Rule = r"bias|norm"

    def __post_init__(self) -> None:
        check_float("rate", self.rate, minimum=0)
        check_rule(self.exclude)


def shrink(params: list[Tensor], lr: float | Tensor, rate: float) -> None:
    """Multiply by ``1 - lr * rate``, before a step that does not read the parameters."""
    torch._foreach_mul_(params, 1 - lr * rate)


def decay_from(params: list[Tensor], before: list[Tensor], lr: float | Tensor, rate: float) -> None:
    """Subtract ``lr * rate`` times the value before the step."""
    if isinstance(lr, Tensor):
        torch._foreach_sub_(params, torch._foreach_mul(before, lr * rate))
    else:
        torch._foreach_add_(params, before, alpha=-lr * rate)
