"""NumPy or torch: which of the two an array belongs to, and the few calls that they spell apart.

Everything else is written once, with ``xp`` standing for either module: ``xp.linalg``, ``xp.where``
and the rest mean the same in both.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from scipy import linalg

from kexue._core import InputError

_KEPT = ("float32", "float64")


def is_torch(array: Any) -> bool:
    """Whether `array` is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def namespace(*arrays: Any) -> Any:
    """Return the module, numpy or torch, that all of `arrays` belong to.

    Raises
    ------
    TypeError
        If some are tensors and some are not.
    """
    kinds = {is_torch(array) for array in arrays}
    if len(kinds) == 2:
        raise TypeError(
            "arrays must be all of NumPy or all of torch, got both; convert one side with "
            "torch.from_numpy or .numpy()"
        )
    return sys.modules["torch"] if kinds == {True} else np


def as_real(name: str, value: Any) -> Any:
    """Return `value` as an array or tensor of float32 or float64; integers become float64.

    Raises
    ------
    InputError
        For another type of number, and for NaN or infinity.
    """
    if is_torch(value):
        torch = sys.modules["torch"]
        if not value.is_floating_point() and not value.is_complex():
            value = value.to(torch.float64)
    else:
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise InputError(f"{name} must be an array of real numbers: {error}") from error
        if value.dtype.kind in "biu":
            value = value.astype(np.float64)
    if dtype_name(value) not in _KEPT:
        raise InputError(f"{name} must be of float32 or float64, got {dtype_name(value)}")
    if not bool(namespace(value).isfinite(value).all()):
        raise InputError(f"{name} must be finite, got NaN or infinity")
    return value


def dtype_name(array: Any) -> str:
    """Return the name of the type of the numbers, "float64" or another."""
    return str(array.dtype).removeprefix("torch.")


def of_one_type(*arrays: Any) -> tuple[Any, ...]:
    """Return the arrays in float64 if one of them is, else in float32."""
    xp = namespace(*arrays)
    wide = any(array.dtype == xp.float64 for array in arrays)
    return tuple(astype(array, xp.float64 if wide else xp.float32) for array in arrays)


def astype(array: Any, dtype: Any) -> Any:
    """Return the array with numbers of this type."""
    return array.to(dtype) if is_torch(array) else array.astype(dtype, copy=False)


def scalar_like(number: float, like: Any) -> Any:
    """Return an array of shape (1,) of the type and on the device of `like`."""
    if is_torch(like):
        return sys.modules["torch"].full((1,), number, dtype=like.dtype, device=like.device)
    return np.full(1, number, like.dtype)


def eye(n: int, like: Any) -> Any:
    """Return the identity matrix of shape (n, n), of the type and on the device of `like`."""
    if is_torch(like):
        return sys.modules["torch"].eye(n, dtype=like.dtype, device=like.device)
    return np.eye(n, dtype=like.dtype)


def epsilon(array: Any) -> float:
    """Return the distance from 1 to the next number of the array's type."""
    return float(namespace(array).finfo(array.dtype).eps)


def detached(array: Any) -> Any:
    """Return the array outside of any graph of gradients."""
    return array.detach() if is_torch(array) else array


def wants_gradient(*arrays: Any) -> bool:
    """Whether any of `arrays` is part of a graph of gradients."""
    return any(is_torch(array) and array.requires_grad for array in arrays)


def plain(array: Any) -> Any:
    """Return an array without dimensions as a NumPy scalar; others, and tensors, as they are."""
    return array if is_torch(array) else array[()]


def solve_triangular(factor: Any, right: Any, *, transposed: bool = False) -> Any:
    """Return ``inv(L) @ right``, or ``inv(L.T) @ right``.

    Parameters
    ----------
    factor : array of shape (..., n, n)
        L, lower triangular.
    right : array of shape (..., n, k)
    transposed : bool
    """
    if is_torch(factor):
        matrix = factor.mT if transposed else factor
        return sys.modules["torch"].linalg.solve_triangular(matrix, right, upper=transposed)
    # the wrapper of scipy.linalg takes longer than LAPACK does where matrices are small
    (trtrs,) = linalg.get_lapack_funcs(("trtrs",), (factor, right))
    trans = 0 if transposed else 1
    if factor.ndim == 2 and right.ndim == 2:
        return trtrs(factor.T, right, lower=0, trans=trans)[0]
    batch = np.broadcast_shapes(factor.shape[:-2], right.shape[:-2])
    factor = np.broadcast_to(factor, batch + factor.shape[-2:])
    right = np.broadcast_to(right, batch + right.shape[-2:])
    out = np.empty(right.shape, np.result_type(factor, right))
    for index in np.ndindex(batch):
        # transposed, a row-major factor is what LAPACK reads without a copy
        out[index] = trtrs(factor[index].T, right[index], lower=0, trans=trans)[0]
    return out


def try_cholesky(matrix: Any) -> Any:
    """Return the lower Cholesky factors of matrices of shape (..., n, n), None if one has none."""
    if is_torch(matrix):
        factor, info = sys.modules["torch"].linalg.cholesky_ex(matrix)
        return None if bool((info != 0).any()) else factor
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
