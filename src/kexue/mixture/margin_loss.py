"""The margin loss: the capsule of a class that is there is long, the others are short."""

from __future__ import annotations

import torch
from torch import Tensor

from kexue._core import InputError


def margin_loss(
    lengths: Tensor,
    target: Tensor,
    m_pos: float = 0.9,
    m_neg: float = 0.1,
    lam: float = 0.5,
) -> Tensor:
    r"""Ask capsules of present classes for a length above `m_pos`, others below `m_neg`.

    .. math:: T_k \max(0, m^+ - |v_k|)^2 + \lambda (1 - T_k) \max(0, |v_k| - m^-)^2

    Parameters
    ----------
    lengths : tensor of shape (B, K)
    target : tensor of shape (B,) or (B, K)
        Numbers of classes, or T, 1 for each class that is there: several may be.
    m_pos, m_neg : float
    lam : float
        Weight of the classes that are not there.

    Returns
    -------
    scalar tensor
        Summed over classes, mean over samples.

    Raises
    ------
    InputError
        For shapes or classes that do not fit.

    Examples
    --------
    >>> lengths = torch.tensor([[0.8, 0.2, 0.0]])
    >>> margin_loss(lengths, torch.tensor([0]))
    tensor(0.0150)

    References
    ----------
    Sabour, Frosst and Hinton, Dynamic routing between capsules, arXiv 1710.09829, equation 4.
    """
    if lengths.dim() != 2:
        raise InputError(f"lengths must have shape (B, K), got {tuple(lengths.shape)}")
    if target.shape == lengths.shape:
        present = target.to(lengths.dtype)
    elif target.shape == lengths.shape[:1] and not target.is_floating_point():
        if not torch.compiler.is_compiling() and target.numel():
            low, high = int(target.min()), int(target.max())
            if low < 0 or high >= lengths.shape[1]:
                raise InputError(
                    f"target must be in [0, {lengths.shape[1] - 1}], got {low if low < 0 else high}"
                )
        present = torch.nn.functional.one_hot(target.long(), lengths.shape[1]).to(lengths.dtype)
    else:
        raise InputError(
            f"target must hold ints of shape {tuple(lengths.shape[:1])} or be of shape "
            f"{tuple(lengths.shape)}, got {target.dtype} of shape {tuple(target.shape)}"
        )
    missing = (m_pos - lengths).relu().square()
    surplus = (lengths - m_neg).relu().square()
    return (present * missing + lam * (1 - present) * surplus).sum(1).mean()
