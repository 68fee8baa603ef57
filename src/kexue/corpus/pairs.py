"""Counts of tokens that occur near each other."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse

from kexue._core import InputError, check_choice, check_int
from kexue.corpus import _pair_kernels as kernels


def count_pairs(
    token_ids: Any,
    window: int = 5,
    *,
    symmetric: bool = True,
    weight: Literal["flat", "harmonic"] = "flat",
    n_tokens: int | None = None,
) -> sparse.csr_array:
    """Count how often tokens occur within `window` positions of each other.

    Parameters
    ----------
    token_ids : integer array of shape (n,)
        Ids from 0; a negative id is a boundary that no pair crosses.
    window : int >= 1
        Largest distance, in positions.
    symmetric : bool
        If False, direction is kept: entry (i, j) counts the pairs in which j follows i.
        If True the matrix is that plus its transpose.
    weight : {"flat", "harmonic"}
        A pair at distance d counts 1, or 1 / d.
    n_tokens : int or None
        Size of the vocabulary; None means the largest id + 1.

    Returns
    -------
    scipy.sparse.csr_array of shape (n_tokens, n_tokens), float64, sorted indices

    Examples
    --------
    >>> count_pairs([0, 1, 0, 1], window=1, symmetric=False).toarray()
    array([[0., 2.],
           [1., 0.]])
    """
    check_int("window", window, minimum=1)
    check_choice("weight", weight, ("flat", "harmonic"))
    ids = np.asarray(token_ids)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise InputError(
            f"token_ids must be a 1-D integer array, got {ids.dtype} of shape {ids.shape}"
        )
    ids = np.ascontiguousarray(ids, np.int64)
    largest = int(ids.max(initial=-1))
    size = largest + 1 if n_tokens is None else check_int("n_tokens", n_tokens, minimum=1)
    if largest >= min(size, 2**31):
        raise InputError(f"token_ids must be below n_tokens={size}, got {largest}")
    total = sparse.csr_array((size, size), dtype=np.float64)
    keys = np.empty(ids.size, np.uint64)
    for distance in range(1, min(window, ids.size - 1) + 1):
        found = np.sort(keys[: kernels.pair_keys(ids, distance, keys)])
        pairs, counts = kernels.run_lengths(found)
        weights = counts / distance if weight == "harmonic" else counts.astype(np.float64)
        rows = (pairs >> np.uint64(32)).astype(np.int64)
        columns = (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
        total = total + sparse.csr_array((weights, (rows, columns)), shape=(size, size))
    if symmetric:
        total = total + total.T
    total = sparse.csr_array(total)
    total.sort_indices()
    return total
