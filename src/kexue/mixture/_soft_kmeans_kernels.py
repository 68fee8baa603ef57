"""Compiled loop of k-means: the nearest centre of each row, and what the centres are sums of."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def gather_nearest(
    scores: np.ndarray,
    offsets: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    labels: np.ndarray,
    sums: np.ndarray,
    counts: np.ndarray,
) -> float:
    """Add each row to its centre, write which that is, and return the sum of the best scores.

    Parameters
    ----------
    scores : float array of shape (K, m)
        Less `offsets`, the larger, the nearer.
    offsets : float array of shape (K,)
    x : float array of shape (m, d)
    weight : float array of shape (m,)
    labels : int32 array of shape (m,)
    sums : float64 array of shape (K, d)
    counts : float64 array of shape (K,)
    """
    k, m = scores.shape
    d = x.shape[1]
    tops = scores[0] - offsets[0]
    labels[:] = 0
    # without branches, several rows at a time: for most rows a guess would be wrong
    for j in range(1, k):
        offset = offsets[j]
        for n in range(m):
            score = scores[j, n] - offset
            nearer = score > tops[n]
            tops[n] = score if nearer else tops[n]
            labels[n] = j if nearer else labels[n]
    total = 0.0
    for n in range(m):
        best = labels[n]
        w = weight[n]
        total += w * tops[n]
        counts[best] += w
        for i in range(d):
            sums[best, i] += w * x[n, i]
    return total
