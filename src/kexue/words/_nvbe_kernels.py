"""Kernels of the branching entropy method: the segmentation of greatest score."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def best_scored_path(ids, cuts, last, children, scores, bases, price, block, begins):
    """Segment spans of characters into n-grams of greatest total score.

    The n-grams of a text are spread over more memory than is near. In each block of positions
    the scores of what begins there are looked up in the order of the first two characters, since
    n-grams that begin alike lie together; then the best tokens are chosen from the end to the
    beginning.

    Parameters
    ----------
    ids : unsigned integer array of shape (n,)
        Character ids; 0 marks characters that stand outside all spans.
    cuts : bool array of shape (n,)
        Where tokens may begin.
    last : unsigned integer array of shape (n_ngrams,)
        Last id of each n-gram; orders after one another, sorted within each.
    children : int64 array of shape (n_ngrams + 1,)
        Where the extensions of each n-gram begin in these arrays.
    scores : float64 array of shape (n_ngrams,)
    bases : int64 array of shape (max_length,)
        Where each order begins.
    price : float
        Added to the score for each word.
    block : int
        So many positions are worked on at once.
    begins : bool array of shape (n,)
        Receives the first positions of tokens.
    """
    n = ids.size
    max_length = bases.size
    n_symbols = bases[1] if max_length > 1 else last.size
    value = np.zeros(n + 1, np.float64)
    step = np.ones(n, np.int32)
    found = np.empty((min(block, n), max_length), np.float64)
    by_second = np.empty(min(block, n), np.int64)
    order = np.empty(min(block, n), np.int64)
    heads = np.empty(n_symbols + 2, np.int64)
    row_of = np.empty(n_symbols + 1, np.int64)
    for stop in range(n, 0, -block):
        start = max(stop - block, 0)
        _sort_positions(ids, start, stop, heads, by_second, order)
        for symbol in range(1, n_symbols + 1):
            if heads[symbol] < heads[symbol + 1]:
                own = order[heads[symbol] : heads[symbol + 1]]
                _score_positions(ids, own, last, children, scores, row_of, start, found)
        _choose(ids, cuts, found, price, start, stop, value, step)
    i = 0
    while i < n:
        begins[i] = ids[i] != 0 or cuts[i]
        for j in range(i + 1, i + step[i]):
            begins[j] = False
        i += step[i]


@njit(cache=True, nogil=True, inline="always")
def _sort_positions(ids, start, stop, heads, by_second, order):
    """Write the positions of a block in order of their first two symbols.

    Those whose first symbol is s become ``order[heads[s]:heads[s + 1]]``.
    """
    for shift in (1, 0):
        heads[:] = 0
        for i in range(start + shift, stop + shift):
            heads[(ids[i] if i < ids.size else 0) + 1] += 1
        for symbol in range(heads.size - 1):
            heads[symbol + 1] += heads[symbol]
        for k in range(stop - start):
            i = start + k if shift else by_second[k]
            symbol = ids[i + shift] if i + shift < ids.size else 0
            if shift:
                by_second[heads[symbol]] = i
            else:
                order[heads[symbol]] = i
            heads[symbol] += 1
    # each now points to the end of its own
    for symbol in range(heads.size - 1, 0, -1):
        heads[symbol] = heads[symbol - 1]
    heads[0] = 0


@njit(cache=True, nogil=True, inline="always")
def _score_positions(ids, positions, last, children, scores, row_of, start, found):
    """Write the scores of the n-grams at positions of one symbol, the shortest first."""
    first = np.int64(ids[positions[0]]) - 1
    max_length = found.shape[1]
    if max_length > 1:
        for row in range(children[first], children[first + 1]):
            row_of[last[row]] = row
    for i in positions:
        found[i - start, 0] = scores[first]
        node = first
        for k in range(1, max_length):
            if i + k == ids.size or ids[i + k] == 0:
                break
            symbol = ids[i + k]
            if k == 1:
                node = row_of[symbol]
            else:
                # the one with this symbol is there, so a single one need not be looked at
                low = children[node]
                high = children[node + 1]
                while high - low > 1:
                    middle = (low + high) // 2
                    if last[middle] <= symbol:
                        low = middle
                    else:
                        high = middle
                node = low
            found[i - start, k] = scores[node]


@njit(cache=True, nogil=True, inline="always")
def _choose(ids, cuts, found, price, start, stop, value, step):
    """Write how many characters the best token has that begins at each position of a block."""
    n = ids.size
    max_length = found.shape[1]
    for i in range(stop - 1, start - 1, -1):
        if ids[i] == 0:
            continue
        best = -np.inf
        if cuts[i]:
            end = i
            while True:
                end += 1
                closed = end == n or ids[end] == 0
                size = end - i
                if closed or cuts[end]:
                    # a character with more marks than words may have is a word without a score
                    score = found[i - start, size - 1] if size <= max_length else 0.0
                    total = score + price + value[end]
                    if total > best:
                        best = total
                        step[i] = size
                if closed or (size >= max_length and best > -np.inf):
                    break
        value[i] = best
