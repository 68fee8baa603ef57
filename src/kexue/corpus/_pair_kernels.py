"""Kernels of pair counting: keys of tokens that stand near each other, and run lengths."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def pair_keys(token_ids, distance, out):
    """Write ``left << 32 | right`` of all tokens `distance` apart with no boundary between."""
    n = 0
    last_boundary = -1
    for i in range(token_ids.size):
        if token_ids[i] < 0:
            last_boundary = i
        elif i - distance > last_boundary:
            left = np.uint64(token_ids[i - distance])
            out[n] = (left << np.uint64(32)) | np.uint64(token_ids[i])
            n += 1
    return n


@njit(cache=True, nogil=True)
def run_lengths(keys):
    """Return the distinct values of sorted `keys` and their counts."""
    n = 0
    for i in range(keys.size):
        if i == 0 or keys[i] != keys[i - 1]:
            n += 1
    values = np.empty(n, keys.dtype)
    counts = np.zeros(n, np.int64)
    n = -1
    for i in range(keys.size):
        if i == 0 or keys[i] != keys[i - 1]:
            n += 1
            values[n] = keys[i]
        counts[n] += 1
    return values, counts
