"""Layer-wise rates: each tensor moves in proportion to its own length (LAMB, LARS)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kexue._core import InputError, check_float
from kexue.optim._names import Rule, check_rule


@dataclass(frozen=True)
class LayerAdaptation:
    r"""Give each tensor's move a length in proportion to the tensor's.

    .. math:: \theta \leftarrow \theta - \gamma r d, \quad
        r = \eta \frac{\phi(|\theta|)}{|d|}, \quad d = u + \lambda\theta

    where both norms are positive, else r = 1: tensors that start at zero move as the base has it.
    With Adam inside and `WeightDecay` this is LAMB; with SGD and ``eta=0.001``, LARS.

    Parameters
    ----------
    exclude : None, str or callable
        Parameters that move as the base has it: a regular expression found in their names, or a
        function ``(name, p) -> bool``.
    clip : (float, float), optional
        Bounds to which the norm of a tensor is clipped, the paper's :math:`\phi`.
    eta : float > 0
        Trust coefficient.

    Notes
    -----
    Keeps a copy of the adapted parameters as a buffer. Norms are of whole tensors, in float32 or
    wider.

    Examples
    --------
    >>> from kexue.optim import derive
    >>> p = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = derive(torch.optim.SGD([p], lr=0.1), LayerAdaptation(exclude=None))
    >>> p.grad = torch.tensor([10.0, 0.0])
    >>> optimizer.step()  # moves by lr |p|
    >>> p.data
    tensor([2.5000, 4.0000])

    References
    ----------
    You, Gitman and Ginsburg, Large batch training of convolutional networks, arXiv 1708.03888.
    You et al., Large batch optimization for deep learning, arXiv 1904.00962. kexue.fm,
    archives/7094.
    """

    exclude: Rule = r"bias|norm"
    clip: tuple[float, float] | None = None
    eta: float = 1.0

    def __post_init__(self) -> None:
        check_rule(self.exclude)
        if not check_float("eta", self.eta, minimum=0) > 0:
            raise InputError(f"eta must be > 0, got {self.eta!r}")
        if self.clip is None:
            return
        if not isinstance(self.clip, tuple | list) or len(self.clip) != 2:
            raise TypeError(f"clip must be None or two numbers, got {self.clip!r}")
        low, high = (check_float("clip", bound, minimum=0) for bound in self.clip)
        if not low < high:
            raise InputError(f"clip must be (low, high) with low < high, got {self.clip!r}")


def adapt(
    params: list[Tensor],
    before: list[Tensor],
    lr: float | Tensor,
    clip: tuple[float, float] | None,
    eta: float,
) -> tuple[Tensor, ...]:
    """Rescale the moves ``params - before``, made at the rate `lr`; return their trust ratios."""
    length = _norms(before)
    torch._foreach_sub_(params, before)
    move = _norms(params)
    usable = (length > 0) & (move > 0)
    if clip is not None:
        length = length.clamp(*clip)
    ratio = torch.where(usable, eta * lr * length / move, 1.0)
    ratios = ratio.unbind()
    torch._foreach_mul_(params, list(ratios))
    torch._foreach_add_(params, before)
    return ratios


def _norms(tensors: list[Tensor]) -> Tensor:
    """Return the norm of each tensor, as one vector of float32 or wider."""
    wide = [torch.float32 if t.dtype.itemsize < 4 else None for t in tensors]
    norms = [
        torch.linalg.vector_norm(t, dtype=dtype) for t, dtype in zip(tensors, wide, strict=True)
    ]
    return torch.stack(norms)
