"""Kernels over all segmentations of one text: draws at random, and the best few."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def list_edges(symbols, base, check, word):
    """Return all tokens that a text may have.

    Parameters
    ----------
    symbols : uint32 array of shape (n + 1,)
        Its atoms and one of symbol 0, from `read_atoms`.
    base, check, word : the words, from `build_trie`

    Returns
    -------
    first : int64 array of shape (n + 1,)
        Tokens ``first[i]`` to ``first[i + 1]`` begin at atom i, the shortest first.
    ends : int64 array of shape (n_edges,)
        The atom after each.
    words : int32 array of shape (n_edges,)
        The word of each, -1 for an atom that is none.
    """
    n = symbols.size - 1
    first = np.empty(n + 1, np.int64)
    ends = np.empty(2 * n + 1, np.int64)
    words = np.empty(2 * n + 1, np.int32)
    count = 0
    for i in range(n):
        first[i] = count
        node = symbols[i]
        j = i
        while True:
            j += 1
            if j == i + 1 or word[node] >= 0:
                if count == ends.size:
                    ends = np.concatenate((ends, np.empty_like(ends)))
                    words = np.concatenate((words, np.empty_like(words)))
                ends[count] = j
                words[count] = word[node]
                count += 1
            child = base[node] + symbols[j]
            if check[child] != node:
                break
            node = child
    first[n] = count
    return first, ends[:count].copy(), words[:count].copy()


@njit(cache=True, nogil=True)
def draw_paths(first, ends, weights, size, rng):
    """Draw paths with probabilities proportional to 2 to the power of their sum of weights.

    Sums over the paths from each position to the end come first, backwards and as logarithms;
    then each path is drawn from the start.

    Parameters
    ----------
    first, ends : the lattice, from `list_edges`
    weights : float64 array of shape (n_edges,)
    size : int
    rng : numpy.random.Generator

    Returns
    -------
    edges : int32 array
        The edges of all paths, one path after the other.
    offsets : int64 array of shape (size + 1,)
    """
    n = first.size - 1
    rest = np.zeros(n + 1)
    up_to = np.empty(ends.size)  # probability of this edge or one before it
    for i in range(n - 1, -1, -1):
        if first[i] == first[i + 1]:
            continue
        greatest = -np.inf
        for e in range(first[i], first[i + 1]):
            greatest = max(greatest, weights[e] + rest[ends[e]])
        total = 0.0
        for e in range(first[i], first[i + 1]):
            total += 2.0 ** (weights[e] + rest[ends[e]] - greatest)
            up_to[e] = total
        for e in range(first[i], first[i + 1]):
            up_to[e] /= total
        rest[i] = greatest + np.log2(total)
    edges = np.empty(max(n, 1), np.int32)
    offsets = np.zeros(size + 1, np.int64)
    count = 0
    for k in range(size):
        i = 0
        while i < n:
            e = first[i]
            last = first[i + 1] - 1
            if e < last:
                u = rng.random()
                while e < last and u >= up_to[e]:
                    e += 1
            if count == edges.size:
                edges = np.concatenate((edges, np.empty_like(edges)))
            edges[count] = e
            count += 1
            i = ends[e]
        offsets[k + 1] = count
    return edges[:count].copy(), offsets


@njit(cache=True, nogil=True)
def best_paths(first, ends, costs, k):
    """Return the `k` cheapest paths, or all if there are fewer, as `draw_paths` does.

    Ties go to fewer edges, then to the longer first edge, then to the longer second, and so on.
    """
    n = first.size - 1
    # the r-th best way from i to the end: its cost, edges, first edge, and what rank goes on
    cost = np.zeros((n + 1, k), np.int64)
    length = np.zeros((n + 1, k), np.int64)
    edge = np.zeros((n + 1, k), np.int32)
    rank = np.zeros((n + 1, k), np.int32)
    known = np.zeros(n + 1, np.int64)
    known[n] = 1
    most = 0
    for i in range(n):
        most = max(most, first[i + 1] - first[i])
    taken = np.empty(most, np.int64)
    for i in range(n - 1, -1, -1):
        begin = first[i]
        taken[:] = 0
        for r in range(k):
            best = -1
            best_cost = 0
            best_length = 0
            for e in range(begin, first[i + 1]):
                to = ends[e]
                s = taken[e - begin]
                if s == known[to]:
                    continue
                total = costs[e] + cost[to, s]
                # later edges are longer, so they win remaining ties
                if (
                    best < 0
                    or total < best_cost
                    or (total == best_cost and length[to, s] <= best_length)
                ):
                    best = e
                    best_cost = total
                    best_length = length[to, s]
            if best < 0:
                break
            cost[i, r] = best_cost
            length[i, r] = best_length + 1
            edge[i, r] = best
            rank[i, r] = taken[best - begin]
            taken[best - begin] += 1
            known[i] = r + 1
    offsets = np.zeros(known[0] + 1, np.int64)
    for r in range(known[0]):
        offsets[r + 1] = offsets[r] + length[0, r]
    edges = np.empty(offsets[-1], np.int32)
    count = 0
    for r in range(known[0]):
        i = 0
        s = r
        while i < n:
            e = edge[i, s]
            edges[count] = e
            count += 1
            s = rank[i, s]
            i = ends[e]
    return edges, offsets
