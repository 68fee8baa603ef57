"""Kernels that put links in order: sorted and merged link lists, symmetric CSR, in-link lists."""

import numpy as np
from numba import njit

_LEAST = 1e-37  # about the least normal number of float32


@njit(cache=True, nogil=True)
def _sort_into(key, links, result, n):  # type: ignore[no-untyped-def]
    """Fill `result` with `links`, both (source, target, weight), stably sorted by `key`."""
    cursor = np.zeros(n + 1, np.int64)
    for k in key:
        cursor[k + 1] += 1
    for i in range(n):
        cursor[i + 1] += cursor[i]
    source, target, weight = links
    new_source, new_target, new_weight = result
    for e in range(key.size):
        to = cursor[key[e]]
        cursor[key[e]] = to + 1
        new_source[to] = source[e]
        new_target[to] = target[e]
        new_weight[to] = weight[e]


@njit(cache=True, nogil=True)
def order_ends(source, target):  # type: ignore[no-untyped-def]
    """Swap the ends of links in place so that no source is larger than its target."""
    for e in range(source.size):
        if source[e] > target[e]:
            source[e], target[e] = target[e], source[e]


@njit(cache=True, nogil=True)
def merge_links(source, target, weight, n):  # type: ignore[no-untyped-def]
    """Return the links sorted by (source, target), parallel ones summed, zero ones left out.

    Works in the given arrays, and one more set of them if they are not sorted.
    """
    ordered = True
    for e in range(1, source.size):
        if source[e] < source[e - 1] or (source[e] == source[e - 1] and target[e] <= target[e - 1]):
            ordered = False
            break
    if not ordered:
        links = source, target, weight
        other = np.empty_like(source), np.empty_like(target), np.empty_like(weight)
        _sort_into(target, links, other, n)
        _sort_into(other[0], other, links, n)
    fill = 0
    for e in range(source.size):
        if weight[e] == 0.0:
            continue
        if fill and source[fill - 1] == source[e] and target[fill - 1] == target[e]:
            weight[fill - 1] += weight[e]
        else:
            source[fill] = source[e]
            target[fill] = target[e]
            weight[fill] = weight[e]
            fill += 1
    if fill == source.size:
        return source, target, weight
    return source[:fill].copy(), target[:fill].copy(), weight[:fill].copy()


@njit(cache=True, nogil=True)
def symmetric_csr(source, target, weight, scale, total, n):  # type: ignore[no-untyped-def]
    """List the flow between every pair of linked nodes at both ends, self-loops at neither.

    A link carries ``weight * scale[source] * total``; the flows of a pair of opposite links are
    summed. Returns (indptr, indices, data in float32, their sum by row, the flow into each node
    less the flow out of it). What is 0 in float32 is left out.
    """
    indptr = np.zeros(n + 1, np.int64)
    skew = np.zeros(n)
    for e in range(source.size):
        u, v = source[e], target[e]
        flow = weight[e] * scale[u] * total
        if u != v and flow > _LEAST:
            indptr[u + 1] += 1
            indptr[v + 1] += 1
            skew[u] -= flow
            skew[v] += flow
    for i in range(n):
        indptr[i + 1] += indptr[i]
    cursor = indptr[:-1].copy()
    indices = np.empty(indptr[n], np.uint32)
    data = np.empty(indptr[n], np.float32)
    for e in range(source.size):
        u, v = source[e], target[e]
        flow = weight[e] * scale[u] * total
        if u != v and flow > _LEAST:
            indices[cursor[u]] = v
            data[cursor[u]] = flow
            cursor[u] += 1
            indices[cursor[v]] = u
            data[cursor[v]] = flow
            cursor[v] += 1
    strength = np.zeros(n)
    place = np.full(n, -1, np.int64)  # of each neighbour in the row at hand
    fill = 0
    for i in range(n):
        first = fill
        for e in range(indptr[i], cursor[i]):
            j = indices[e]
            if place[j] >= first:
                data[place[j]] += data[e]
            else:
                place[j] = fill
                indices[fill] = j
                data[fill] = data[e]
                fill += 1
        indptr[i] = first
        for e in range(first, fill):
            strength[i] += data[e]
    indptr[n] = fill
    return indptr, indices[:fill], data[:fill], strength, skew
