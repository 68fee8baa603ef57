"""Dictionaries of spans: strings as stretches of code points, numbered and found by hashes.

Strings are stretches of uint32 code points. A set of strings is a flat array of symbols with
offsets, found through an open-addressing table of 64-bit hashes; equal hashes are confirmed
symbol by symbol, so answers are exact.
"""

import numpy as np
from numba import njit

EMPTY = np.int32(-1)
HASH_START = np.uint64(0x9E3779B97F4A7C15)
_HASH_FACTOR = np.uint64(0x100000001B3)


@njit(cache=True, nogil=True, inline="always")
def extend(state, code):
    """Extend a rolling hash by one symbol."""
    state = (state ^ np.uint64(code)) * _HASH_FACTOR
    return state ^ (state >> np.uint64(29))


@njit(cache=True, nogil=True, inline="always")
def slot_of(state, mask):
    """Spread a hash over a table of ``mask + 1`` slots."""
    return np.int64(((state * HASH_START) >> np.uint64(20)) & np.uint64(mask))


@njit(cache=True, nogil=True)
def encode_spans(codes, starts):
    """Number the distinct spans of a text in order of first appearance.

    Parameters
    ----------
    codes : uint32 array of shape (n,)
    starts : int64 array of shape (m + 1,)
        Span k is ``codes[starts[k]:starts[k + 1]]``.

    Returns
    -------
    ids : int32 array of shape (m,)
    first : int64 array of shape (n_distinct,)
        The first span of every distinct string.
    """
    m = starts.size - 1
    ids = np.empty(m, np.int32)
    first = np.empty(1024, np.int64)
    hashes = np.empty(1024, np.uint64)
    capacity = 4096
    slots = np.full(capacity, EMPTY, np.int32)
    n = 0
    for k in range(m):
        begin = starts[k]
        end = starts[k + 1]
        state = HASH_START
        for i in range(begin, end):
            state = extend(state, codes[i])
        slot = slot_of(state, capacity - 1)
        while True:
            word = slots[slot]
            if word == EMPTY:
                break
            if hashes[word] == state:
                other = starts[first[word]]
                length = end - begin
                if starts[first[word] + 1] - other == length:
                    same = True
                    for i in range(length):
                        if codes[begin + i] != codes[other + i]:
                            same = False
                            break
                    if same:
                        break
            slot = (slot + 1) & (capacity - 1)
        word = slots[slot]
        if word == EMPTY:
            word = np.int32(n)
            if n == first.size:
                first = np.concatenate((first, np.empty(n, np.int64)))
                hashes = np.concatenate((hashes, np.empty(n, np.uint64)))
            first[n] = k
            hashes[n] = state
            slots[slot] = word
            n += 1
            if 2 * n > capacity:
                capacity *= 4
                slots = index_hashes(hashes[:n], capacity)
        ids[k] = word
    return ids, first[:n].copy()


@njit(cache=True, nogil=True)
def index_hashes(hashes, capacity):
    """Return a table of slots for words with the given hashes."""
    slots = np.full(capacity, EMPTY, np.int32)
    for word in range(hashes.size):
        slot = slot_of(hashes[word], capacity - 1)
        while slots[slot] != EMPTY:
            slot = (slot + 1) & (capacity - 1)
        slots[slot] = word
    return slots


@njit(cache=True, nogil=True)
def hash_spans(codes, starts):
    """Return the hash of every span, uint64 of shape (m,)."""
    hashes = np.empty(starts.size - 1, np.uint64)
    for k in range(starts.size - 1):
        state = HASH_START
        for i in range(starts[k], starts[k + 1]):
            state = extend(state, codes[i])
        hashes[k] = state
    return hashes


@njit(cache=True, nogil=True)
def gather_spans(codes, starts, which):
    """Return the spans numbered `which` after one another, with their offsets."""
    offsets = np.zeros(which.size + 1, np.int64)
    for k in range(which.size):
        offsets[k + 1] = offsets[k] + starts[which[k] + 1] - starts[which[k]]
    symbols = np.empty(offsets[-1], np.uint32)
    for k in range(which.size):
        begin = starts[which[k]]
        for i in range(offsets[k + 1] - offsets[k]):
            symbols[offsets[k] + i] = codes[begin + i]
    return symbols, offsets
