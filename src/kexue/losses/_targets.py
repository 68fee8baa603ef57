"""What a loss over classes accepts as its target."""

from __future__ import annotations

import torch
from torch import Tensor

from kexue._core import InputError

_OFF = 1e-2  # sums of probabilities in half precision


def check_targets(logits: Tensor, target: Tensor, ignore_index: int) -> bool:
    """Check shapes and, where it costs no wait for a device, values; return whether soft.

    Parameters
    ----------
    logits : tensor of shape (..., K)
    target : tensor of shape (...) of class numbers, or of shape (..., K) of probabilities
    ignore_index : int
        A number that is allowed besides those of the classes.

    Raises
    ------
    TypeError, InputError
    """
    K = logits.shape[-1]
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating-point numbers, got {logits.dtype}")
    soft = target.is_floating_point()
    if not soft and (target.dtype == torch.bool or target.is_complex()):
        raise TypeError(f"target must be class numbers or probabilities, got {target.dtype}")
    expected = logits.shape if soft else logits.shape[:-1]
    if target.shape != expected:
        kind = "of probabilities" if soft else "of class numbers"
        raise InputError(
            f"target {kind} must be of shape {tuple(expected)} for logits of shape "
            f"{tuple(logits.shape)}, got {tuple(target.shape)}"
        )
    if target.device.type != "cpu" or torch.compiler.is_compiling() or not target.numel():
        return soft
    if soft:
        sums = target.sum(-1)
        if not bool(((sums - 1).abs() < _OFF).all()) or bool((target < 0).any()):
            raise InputError("target of probabilities must be >= 0 with rows that sum to 1")
        return True
    low, high = (int(end) for end in target.aminmax())
    if low < 0 or high >= K:
        bad = target[((target < 0) | (target >= K)) & (target != ignore_index)]
        if bad.numel():
            raise InputError(
                f"target must hold class numbers in [0, {K}) or ignore_index {ignore_index}, "
                f"got {int(bad[0])}"
            )
    return False
