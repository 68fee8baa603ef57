"""Kernels that cut a text by the n-grams that cover it."""

import numpy as np
from numba import njit

from kexue.corpus._counting_kernels import find_child


@njit(cache=True, nogil=True)
def join_accepted(ids, children, last, bases, accepted, begins):
    """Clear ``begins[i]`` where an accepted n-gram covers positions ``i - 1`` and ``i``.

    Parameters
    ----------
    ids : unsigned integer array of shape (n,)
        0 marks characters that stand outside all spans.
    children : int64 array of shape (n_ngrams + 1,)
        Where the extensions of each n-gram begin in these arrays.
    last : unsigned integer array of shape (n_ngrams,)
        Last id of each n-gram; orders after one another, sorted within each.
    bases : int64 array of shape (max_order,)
        Where each order begins.
    accepted : bool array of shape (n_ngrams,)
    begins : bool array of shape (n,)
    """
    n = ids.size
    max_order = bases.size
    for i in range(n):
        if ids[i] == 0:
            continue
        node = np.int64(ids[i]) - 1
        joined = 0
        for order in range(2, max_order + 1):
            end = i + order - 1
            if end == n or ids[end] == 0:
                break
            node = find_child(last, ids[end], children[node], children[node + 1])
            if accepted[node]:
                joined = order
        for j in range(i + 1, i + joined):
            begins[j] = False


@njit(cache=True, nogil=True)
def cut_by_states(ids, children, last, log_given, max_order, begins):
    """Set ``begins[i]`` where a word begins on the most probable path of positions in a word.

    State j of a character says that j characters, or more if it is the last state, stand
    before it in its word; its score is its log probability given those j characters. A
    character of state j is followed by one of state j + 1 (at most ``max_order - 1``), or of
    state 0, where a word begins.

    Parameters
    ----------
    ids, children, last
        As for `join_accepted`.
    log_given : float64 array of shape (n_ngrams,)
        Log probability of each n-gram's last character given the others, nats.
    max_order : int
    begins : bool array of shape (n,)
    """
    n = ids.size
    top = max_order - 1
    value = np.empty(max_order)
    node = np.empty(max_order, np.int64)
    came = np.zeros((n, max_order), np.int8)  # the state of the character before
    start = 0
    while start < n:
        if ids[start] == 0:
            start += 1
            continue
        value[:] = -np.inf
        node[0] = np.int64(ids[start]) - 1
        value[0] = log_given[node[0]]
        end = start + 1
        while end < n and ids[end] != 0:
            best = np.argmax(value)
            highest = value[best]
            for j in range(min(top, end - start), 0, -1):
                source = j
                if j < top or value[j - 1] >= value[j]:
                    source = j - 1
                above = node[j - 1]
                node[j] = find_child(last, ids[end], children[above], children[above + 1])
                value[j] = value[source] + log_given[node[j]]
                came[end, j] = source
            node[0] = np.int64(ids[end]) - 1
            value[0] = highest + log_given[node[0]]
            came[end, 0] = best
            end += 1
        state = np.argmax(value)
        for i in range(end - 1, start - 1, -1):
            begins[i] = state == 0
            state = came[i, state]
        start = end
