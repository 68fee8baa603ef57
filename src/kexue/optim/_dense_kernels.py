"""Passes over whole tensors on a processor that torch would make of several."""

from __future__ import annotations

import torch
from numba import njit
from torch import Tensor


@njit(cache=True, nogil=True)
def pull_kernel(fast, slow, alpha):  # type: ignore[no-untyped-def]
    """Move `slow` by `alpha` of the way to `fast`, and `fast` onto it."""
    for i in range(fast.size):
        value = slow[i] + alpha * (fast[i] - slow[i])
        slow[i] = value
        fast[i] = value


# sums in any order, so that they run side by side; NaN and infinity keep their meaning
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def products_kernel(a, b):  # type: ignore[no-untyped-def]
    """Return the sums of a b, a a and b b, in float64."""
    ab, aa, bb = 0.0, 0.0, 0.0
    for i in range(a.size):
        x, y = float(a[i]), float(b[i])
        ab += x * y
        aa += x * x
        bb += y * y
    return ab, aa, bb


def is_native(*tensors: Tensor) -> bool:
    """Whether these kernels can take tensors of the same shape."""
    dtype = tensors[0].dtype
    return dtype in (torch.float32, torch.float64) and all(
        t.dtype == dtype and t.device.type == "cpu" and t.is_contiguous() for t in tensors
    )
