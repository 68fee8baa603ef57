"""Kernels that find words and count them: in a small table, and from there in a large one.

An entry of a table is a row of four int64: where the spelling of the word begins and ends in an
array of code points, its hash, its count. What a look-up needs lies side by side, nearly always
in one cache line.
"""

import numpy as np
from numba import njit

from kexue.corpus._span_kernels import EMPTY, HASH_START, extend, slot_of
from kexue.corpus.scripts import EXTENDING, JOINING, OTHER

N_SHARDS = 16
_SHARD_SHIFT = np.uint64(60)
BEGIN, END, HASH, COUNT = 0, 1, 2, 3


@njit(cache=True, nogil=True)
def find_words(codes, start, classes, begins, ends, hashes):
    """Find runs of letters and digits, and the letters of scripts without blanks one by one.

    Parameters
    ----------
    codes : uint32 array of shape (n,)
    start : int
        Where to begin: no word may lie across this place.
    classes : uint8 array
        `kexue.corpus.scripts.character_classes`.
    begins, ends : int64 arrays of shape (room,)
        Filled: word k is ``codes[begins[k]:ends[k]]``.
    hashes : uint64 array of shape (room,)
        Filled, as by `kexue.corpus._span_kernels.hash_spans`.

    Returns
    -------
    n : int
        Number of words.
    stop : int
        Where the first word begins that there is no room for, or where `codes` end.
    """
    m = 0
    before = OTHER
    state = HASH_START
    for i in range(start, codes.size):
        code = codes[i]
        here = classes[code]
        if here != OTHER:
            if here == EXTENDING:
                inside = before in (JOINING, EXTENDING)
            else:
                inside = here != JOINING and before not in (OTHER, JOINING, EXTENDING)
            if not inside:
                if m == begins.size:
                    return m, i
                begins[m] = i
                m += 1
                state = HASH_START
            state = extend(state, code)
            # written at every letter: cheaper than to foresee the end of a word
            ends[m - 1] = i + 1
            hashes[m - 1] = state
        before = here
    return m, codes.size


@njit(cache=True, nogil=True)
def _equal(codes, begin, length, others, other):
    same = True
    for i in range(length):
        if codes[begin + i] != others[other + i]:
            same = False
            break
    return same


@njit(cache=True, nogil=True)
def count_spans(codes, begins, ends, hashes, k, slots, entries, n):
    """Count spans from number `k` on in a small table, until it is full.

    Parameters
    ----------
    codes : uint32 array of shape (n,)
    begins, ends : int64 arrays of shape (m,)
    hashes : uint64 array of shape (m,)
    k : int
    slots : int32 array, its length a power of two, at least twice `room`
    entries : int64 array of shape (room, 4)
        Filled; the spelling is that of the first span.
    n : int
        Number of distinct strings that are there already, of the same `codes`.

    Returns
    -------
    k : int
        The first span not counted.
    n : int
        Number of distinct strings.
    """
    mask = slots.size - 1
    while k < begins.size:
        begin = begins[k]
        state = np.int64(hashes[k])
        slot = slot_of(hashes[k], mask)
        while True:
            word = slots[slot]
            if word == EMPTY:
                if n == entries.shape[0]:
                    return k, n
                slots[slot] = n
                entries[n, BEGIN] = begin
                entries[n, END] = ends[k]
                entries[n, HASH] = state
                entries[n, COUNT] = 1
                n += 1
                break
            other = entries[word, BEGIN]
            length = ends[k] - begin
            if (
                entries[word, HASH] == state
                and entries[word, END] - other == length
                and _equal(codes, begin, length, codes, other)
            ):
                entries[word, COUNT] += 1
                break
            slot = (slot + 1) & mask
        k += 1
    return k, n


@njit(cache=True, nogil=True)
def order_by_shard(entries):
    """Return the numbers of entries, those of one shard after those of another.

    Returns
    -------
    order : int64 array of shape (n,)
    bounds : int64 array of shape (N_SHARDS + 1,)
        Shard s has ``order[bounds[s]:bounds[s + 1]]``.
    """
    n = entries.shape[0]
    shards = np.empty(n, np.int64)
    bounds = np.zeros(N_SHARDS + 1, np.int64)
    for k in range(n):
        shards[k] = np.int64((np.uint64(entries[k, HASH]) * HASH_START) >> _SHARD_SHIFT)
        bounds[shards[k] + 1] += 1
    for s in range(N_SHARDS):
        bounds[s + 1] += bounds[s]
    cursor = bounds.copy()
    order = np.empty(n, np.int64)
    for k in range(n):
        order[cursor[shards[k]]] = k
        cursor[shards[k]] += 1
    return order, bounds


@njit(cache=True, nogil=True)
def add_entries(codes, new, which, slots, entries, symbols, size):
    """Add entries of another table to a growing one, as long as there is room.

    Parameters
    ----------
    codes : uint32 array
        Spellings of `new`.
    new : int64 array of shape (m, 4)
        Distinct words.
    which : int64 array
        Those to add.
    slots : int32 array, its length a power of two, at least twice `room`
    entries : int64 array of shape (room, 4)
    symbols : uint32 array
        Spellings of `entries`, one after the other.
    size : int64 array of shape (1,)
        Number of entries.

    Returns
    -------
    int
        How many of `which` were added: all, or those before the first that needs more room.
    """
    mask = slots.size - 1
    for done in range(which.size):
        k = which[done]
        begin = new[k, BEGIN]
        length = new[k, END] - begin
        slot = slot_of(np.uint64(new[k, HASH]), mask)
        while True:
            word = slots[slot]
            if word == EMPTY:
                n = size[0]
                used = entries[n - 1, END] if n > 0 else 0
                if n == entries.shape[0] or used + length > symbols.size:
                    return done
                for i in range(length):
                    symbols[used + i] = codes[begin + i]
                entries[n, BEGIN] = used
                entries[n, END] = used + length
                entries[n, HASH] = new[k, HASH]
                entries[n, COUNT] = new[k, COUNT]
                slots[slot] = n
                size[0] = n + 1
                break
            other = entries[word, BEGIN]
            if (
                entries[word, HASH] == new[k, HASH]
                and entries[word, END] - other == length
                and _equal(codes, begin, length, symbols, other)
            ):
                entries[word, COUNT] += new[k, COUNT]
                break
            slot = (slot + 1) & mask
    return which.size
