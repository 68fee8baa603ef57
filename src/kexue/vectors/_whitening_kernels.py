"""The end of whitening a block of rows, while it is in the cache."""

import numpy as np
from numba import njit


# Sums in any order, so that they run side by side; NaN and infinity keep their meaning.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def shift_and_scale(rows, bias, unit):  # type: ignore[no-untyped-def]
    """Add `bias` to every row and, if `unit` is 1, give rows the length 1, in place.

    Returns whether all numbers are finite. A row of zeros stays one.
    """
    n, k = rows.shape
    finite = True
    for i in range(n):
        square = rows.dtype.type(0.0)
        for j in range(k):
            rows[i, j] += bias[j]
            square += rows[i, j] * rows[i, j]
        length = np.sqrt(np.float64(square))
        if not 1e-15 < length < 1e15:  # squares may have left the range of float32
            largest = 0.0
            for j in range(k):
                finite &= np.isfinite(rows[i, j])
                largest = max(largest, abs(np.float64(rows[i, j])))
            length = 0.0
            if largest > 0.0:
                for j in range(k):
                    length += (rows[i, j] / largest) ** 2
                length = largest * np.sqrt(length)
        if unit == 1 and length > 0.0:
            scale = 1.0 / length
            if 1e-30 < length < 1e30:
                for j in range(k):
                    rows[i, j] *= rows.dtype.type(scale)
            else:
                for j in range(k):
                    rows[i, j] = np.float64(rows[i, j]) / length
    return finite
