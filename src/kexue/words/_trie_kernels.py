"""Kernel that makes a trie of a lexicon: a double array, in which a step costs one comparison.

Symbols are numbers from 1 on. The nodes of depth 1 are the symbols themselves; the child of node
p by symbol s is ``base[p] + s`` if ``check`` there is p. Leaves, node 0 and the last place of all
have base 0: what lies there are nodes of depth 1, whose check is no node. So a walk that was sent
to node 0 or to the last place stays childless.
"""

import numpy as np
from numba import njit

from kexue.corpus._span_kernels import EMPTY, HASH_START, extend, slot_of

_FREE = np.uint32(0xFFFFFFFF)
# So many places refused, and later searches begin further on
_PATIENCE = 32


@njit(cache=True, nogil=True)
def build_trie(symbols, offsets, n_symbols):
    """Return the double array of a lexicon.

    Parameters
    ----------
    symbols : uint32 array of shape (n,)
        Spellings after one another, numbers in [1, n_symbols].
    offsets : int64 array of shape (n_words + 1,)
        Word k is ``symbols[offsets[k]:offsets[k + 1]]``; words differ.
    n_symbols : int

    Returns
    -------
    base, check : uint32 arrays of shape (n_places,)
        ``n_symbols + 1`` places beyond the last node are there, so that a step stays inside; to
        the last of them none leads.
    word : int32 array of shape (n_places,)
        The word that ends at the node, -1 if none does.
    """
    labels, parents, ends, n = _make_nodes(symbols, offsets, n_symbols)
    first, children = _group_children(parents, n)
    base = np.zeros(4 * n + 4 * n_symbols + 64, np.uint32)
    check = np.full(base.size, _FREE, np.uint32)
    check[: n_symbols + 1] = 0
    place = np.arange(n)
    low = front = n_symbols + 1
    top = n_symbols
    for node in range(1, n):
        begin = first[node]
        end = first[node + 1]
        if begin == end:
            continue
        while check[low] != _FREE:
            low += 1
        # where the first child goes; a single one fills the holes that others left
        seat = low if end - begin == 1 else max(low, front)
        refused = 0
        while True:
            while seat + n_symbols >= check.size:
                base = np.concatenate((base, np.zeros_like(base)))
                check = np.concatenate((check, np.full_like(check, _FREE)))
            start = seat - labels[children[begin]]
            fits = True
            for k in range(begin, end):
                if check[start + labels[children[k]]] != _FREE:
                    fits = False
                    break
            if fits:
                break
            seat += 1
            refused += 1
        if refused > _PATIENCE:
            front = seat
        here = place[node]
        base[here] = start
        for k in range(begin, end):
            child = children[k]
            place[child] = start + labels[child]
            check[place[child]] = here
            top = max(top, place[child])
    check[: n_symbols + 1] = _FREE
    size = top + n_symbols + 2
    while size > check.size:
        base = np.concatenate((base, np.zeros_like(base)))
        check = np.concatenate((check, np.full_like(check, _FREE)))
    word = np.full(size, EMPTY, np.int32)
    for k in range(ends.size):
        word[place[ends[k]]] = k
    return base[:size].copy(), check[:size].copy(), word


@njit(cache=True, nogil=True, inline="always")
def _make_nodes(symbols, offsets, n_symbols):
    """Return label and parent of every node, the last node of every word, and how many nodes.

    Nodes are numbered in order of appearance, so that parents come before their children.
    """
    most = n_symbols + 1 + symbols.size
    labels = np.empty(most, np.int64)
    parents = np.zeros(most, np.int64)
    for symbol in range(n_symbols + 1):
        labels[symbol] = symbol
    ends = np.empty(offsets.size - 1, np.int64)
    capacity = 16
    while capacity < 2 * symbols.size:
        capacity *= 2
    slots = np.full(capacity, EMPTY, np.int32)
    n = n_symbols + 1
    for k in range(ends.size):
        node = np.int64(symbols[offsets[k]])
        for i in range(offsets[k] + 1, offsets[k + 1]):
            symbol = np.int64(symbols[i])
            slot = slot_of(extend(extend(HASH_START, node), symbol), capacity - 1)
            while slots[slot] != EMPTY and (
                parents[slots[slot]] != node or labels[slots[slot]] != symbol
            ):
                slot = (slot + 1) & (capacity - 1)
            if slots[slot] == EMPTY:
                slots[slot] = n
                labels[n] = symbol
                parents[n] = node
                n += 1
            node = np.int64(slots[slot])
        ends[k] = node
    return labels, parents, ends, n


@njit(cache=True, nogil=True, inline="always")
def _group_children(parents, n):
    """Return the children of all nodes one after the other, and where each node's begin."""
    first = np.zeros(n + 2, np.int64)
    for node in range(n):
        if parents[node] > 0:
            first[parents[node] + 2] += 1
    for node in range(n):
        first[node + 2] += first[node + 1]
    children = np.empty(n, np.int64)
    for node in range(n):
        if parents[node] > 0:
            children[first[parents[node] + 1]] = node
            first[parents[node] + 1] += 1
    return first, children
