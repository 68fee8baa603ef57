"""Rows of vectors from wherever they lie, a chunk at a time: arrays, memory maps, streams."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array

from kexue._core import InputError


def row_chunks(X: Any, batch_size: int, estimator: Any = None) -> Iterator[np.ndarray]:
    """Yield the rows of `X` as arrays of at most `batch_size` rows, not checked to be finite.

    Parameters
    ----------
    X : array-like of shape (N, d), memory map, tensor, or iterable of such chunks
        Arrays of any type of real number, which the chunks keep; bfloat16 becomes float32.
        Slices of an array are not copied.
    batch_size : int
    estimator : object
        Named in messages.

    Raises
    ------
    ValueError, TypeError
        As scikit-learn does, for another shape, for sparse, complex or non-numeric data; and
        where a chunk has not as many columns as the first.
    """
    if is_sliceable(X):
        yield from _slices(X, batch_size, estimator)
        return
    if not is_stream(X):
        yield from _slices(_checked(X, estimator), batch_size, estimator)
        return
    width = None
    for chunk in X:
        if sparse.issparse(chunk) or getattr(chunk, "ndim", 2) != 2:
            chunk = _checked(chunk, estimator)
        for rows in row_chunks(chunk, batch_size, estimator):
            width = rows.shape[1] if width is None else width
            if rows.shape[1] != width:
                raise InputError(
                    f"all chunks of X must have as many columns as the first, {width}, "
                    f"got one with {rows.shape[1]}"
                )
            yield rows
    if width is None:
        raise InputError(
            "X must hold at least one chunk of rows; an iterator can be read only once"
        )


def is_stream(X: Any) -> bool:
    """Whether `X` is an iterable of chunks and not itself a table of numbers."""
    if isinstance(X, list | tuple):
        return bool(X) and getattr(X[0], "ndim", 0) == 2
    table = hasattr(X, "shape") or hasattr(X, "__array__") or isinstance(X, str | bytes)
    return isinstance(X, Iterable) and not table


def is_sliceable(X: Any) -> bool:
    """Whether rows of `X` can be had without touching the others: arrays, tensors, data sets."""
    if isinstance(X, np.ndarray) or is_tensor(X):
        return True
    # of a table of columns, and of a sparse matrix, scikit-learn makes what can be made
    column_wise = hasattr(X, "columns") or hasattr(X, "__dataframe__") or sparse.issparse(X)
    wrapped = hasattr(X, "__array_function__") or not hasattr(X, "__getitem__")
    return hasattr(X, "shape") and not column_wise and not wrapped


def is_tensor(X: Any) -> bool:
    """Whether `X` is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(X, torch.Tensor)


def _slices(X: Any, batch_size: int, estimator: Any) -> Iterator[np.ndarray]:
    n = X.shape[0] if len(X.shape) == 2 else 0
    # what has no rows, or another shape, is refused by the check
    for start in range(0, max(n, 1), batch_size):
        rows = X[start : start + batch_size] if n else X
        yield _checked(_as_numpy(rows) if is_tensor(rows) else rows, estimator)


def _as_numpy(tensor: Any) -> np.ndarray:
    torch = sys.modules["torch"]
    tensor = tensor.detach()
    return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu())


def _checked(X: Any, estimator: Any) -> np.ndarray:
    return np.asarray(
        check_array(
            X, dtype="numeric", ensure_all_finite=False, estimator=estimator, input_name="X"
        )
    )
