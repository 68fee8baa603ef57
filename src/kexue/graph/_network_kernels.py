"""Kernels that put links in order: sorted and merged link lists, symmetric CSR, in-link lists."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _sort_by(key, first, second, weight, n):  # type: ignore[no-untyped-def]
    """Return the three arrays stably sorted by `key` (one of them), by counting."""
    cursor = np.zeros(n + 1, np.int64)
    for k in key:
        cursor[k + 1] += 1
    for i in range(n):
        cursor[i + 1] += cursor[i]
    new_first, new_second = np.empty_like(first), np.empty_like(second)
    new_weight = np.empty_like(weight)
    for e in range(key.size):
        to = cursor[key[e]]
        cursor[key[e]] = to + 1
        new_first[to] = first[e]
        new_second[to] = second[e]
        new_weight[to] = weight[e]
    return new_first, new_second, new_weight


@njit(cache=True, nogil=True)
def merge_links(source, target, weight, n):  # type: ignore[no-untyped-def]
    """Return the links sorted by (source, target), parallel ones summed, zero ones left out."""
    ordered = True
    for e in range(1, source.size):
        if source[e] < source[e - 1] or (source[e] == source[e - 1] and target[e] <= target[e - 1]):
            ordered = False
            break
    if not ordered:
        source, target, weight = _sort_by(target, source, target, weight, n)
        source, target, weight = _sort_by(source, source, target, weight, n)
    new_source, new_target = np.empty_like(source), np.empty_like(target)
    new_weight = np.empty_like(weight)
    fill = 0
    for e in range(source.size):
        if weight[e] == 0.0:
            continue
        if fill and new_source[fill - 1] == source[e] and new_target[fill - 1] == target[e]:
            new_weight[fill - 1] += weight[e]
        else:
            new_source[fill] = source[e]
            new_target[fill] = target[e]
            new_weight[fill] = weight[e]
            fill += 1
    return new_source[:fill].copy(), new_target[:fill].copy(), new_weight[:fill].copy()


@njit(cache=True, nogil=True)
def symmetric_csr(source, target, s, n):  # type: ignore[no-untyped-def]
    """Return (indptr, indices, data) that list every link at both ends, self-loops at neither.

    `source`, `target` (each pair once) come sorted, so the rows come out sorted too.
    """
    indptr = np.zeros(n + 1, np.int64)
    for e in range(source.size):
        if source[e] != target[e] and s[e] > 0.0:
            indptr[source[e] + 1] += 1
            indptr[target[e] + 1] += 1
    for i in range(n):
        indptr[i + 1] += indptr[i]
    cursor = indptr[:-1].copy()
    indices = np.empty(indptr[n], np.uint32)
    data = np.empty(indptr[n])
    for e in range(source.size):
        u, v = source[e], target[e]
        if u != v and s[e] > 0.0:
            indices[cursor[u]] = v
            data[cursor[u]] = s[e]
            cursor[u] += 1
            indices[cursor[v]] = u
            data[cursor[v]] = s[e]
            cursor[v] += 1
    return indptr, indices, data


@njit(cache=True, nogil=True)
def visit_rates(source, target, share, start, teleport, limits, tolerance):  # type: ignore[no-untyped-def]
    """Power-iterate the visit rates of the teleporting walk.

    Returns (rates, the part on dangling nodes, L1 change in the last step).

    ``share[e]`` is the chance of leaving `source` by link e, `start` the distribution after a
    teleportation; a walker on a node without out-links teleports. `limits` = (least, most)
    steps; stops when the L1 change falls below `tolerance`.
    """
    n = start.size
    dangling = np.ones(n, np.bool_)
    for e in range(source.size):
        dangling[source[e]] = False
    _, by_source, by_share = _sort_by(target, target, source, share, n)
    indptr = np.zeros(n + 1, np.int64)
    for t in target:
        indptr[t + 1] += 1
    for i in range(n):
        indptr[i + 1] += indptr[i]
    rate = start.copy()
    new = np.empty(n)
    change = np.inf
    for step in range(limits[1]):
        lost = 0.0
        for i in range(n):
            if dangling[i]:
                lost += rate[i]
        jump = teleport + (1.0 - teleport) * lost
        total = 0.0
        for i in range(n):
            arriving = 0.0
            for e in range(indptr[i], indptr[i + 1]):
                arriving += by_share[e] * rate[by_source[e]]
            new[i] = jump * start[i] + (1.0 - teleport) * arriving
            total += new[i]
        change = 0.0
        for i in range(n):
            new[i] /= total
            change += abs(new[i] - rate[i])
        rate, new = new, rate
        if change < tolerance and step + 1 >= limits[0]:
            break
    lost = 0.0
    for i in range(n):
        if dangling[i]:
            lost += rate[i]
    return rate, lost, change
