"""Kernel of pair counting: keys of tokens that stand near each other."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def pair_keys(token_ids, begin, distance, out):
    """Write ``left << 32 | right`` of all tokens `distance` apart with no boundary between.

    Of those alone whose right token is at `begin` or after.
    """
    n = 0
    last_boundary = -1
    for i in range(token_ids.size):
        if token_ids[i] < 0:
            last_boundary = i
        elif i >= begin and i - distance > last_boundary:
            left = np.uint64(token_ids[i - distance])
            out[n] = (left << np.uint64(32)) | np.uint64(token_ids[i])
            n += 1
    return n
