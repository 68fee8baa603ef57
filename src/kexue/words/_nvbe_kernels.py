"""Kernels of the branching entropy method: the segmentation of greatest score."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def best_scored_path(ids, cuts, last, children, scores, bases, price, begins):
    """Segment spans of characters into n-grams of greatest total score.

    Parameters
    ----------
    ids : uint16 array of shape (n,)
        Character ids; 0 marks characters that stand outside all spans.
    cuts : bool array of shape (n,)
        Where tokens may begin.
    last : uint16 array of shape (n_ngrams,)
        Last id of each n-gram; orders after one another, sorted within each.
    children : int64 array of shape (n_ngrams + 1,)
        Where the extensions of each n-gram begin in these arrays.
    scores : float64 array of shape (n_ngrams,)
    bases : int64 array of shape (max_length,)
        Where each order begins.
    price : float
        Added to the score for each word.
    begins : bool array of shape (n,)
        Receives the first positions of tokens.
    """
    max_length = bases.size
    n = ids.size
    value = np.zeros(n + 1, np.float64)
    step = np.ones(n, np.int32)
    for i in range(n - 1, -1, -1):
        if ids[i] == 0:
            continue
        value[i] = -np.inf
        if not cuts[i]:
            continue
        node = np.int64(ids[i]) - 1
        size = 1
        while True:
            end = i + size
            closed = end == n or ids[end] == 0
            if closed or cuts[end]:
                # a character with more marks than words may have is a word without a score
                score = scores[node] if size <= max_length else 0.0
                total = score + price + value[end]
                if total > value[i]:
                    value[i] = total
                    step[i] = size
            if closed or (size >= max_length and value[i] > -np.inf):
                break
            size += 1
            if size > max_length:
                continue
            symbol = ids[end]
            low = children[node]
            high = children[node + 1]
            while low < high:
                middle = (low + high) // 2
                if last[middle] < symbol:
                    low = middle + 1
                else:
                    high = middle
            node = low
    i = 0
    while i < n:
        begins[i] = ids[i] != 0 or cuts[i]
        for j in range(i + 1, i + step[i]):
            begins[j] = False
        i += step[i]
