"""Kernels on trees of modules, given as the parent of each module with ``parent[m] < m``."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def survey(parent, leaf, node_flow):  # type: ignore[no-untyped-def]
    """Return what a module holds: (flow, first node or n_nodes, n non-empty children, holds nodes).

    Nodes are added in their order at every level, so the sums do not depend on the numbering.
    """
    m, n = parent.size, leaf.size
    flow = np.zeros(m)
    first = np.full(m, n)
    children = np.zeros(m, np.int64)
    holds = np.zeros(m, np.bool_)
    for i in range(n):
        module = leaf[i]
        holds[module] = True
        while module >= 0:
            flow[module] += node_flow[i]
            first[module] = min(first[module], i)
            module = parent[module]
    for module in range(1, m):
        children[parent[module]] += first[module] < n
    return flow, first, children, holds


@njit(cache=True, nogil=True)
def merge_only_children(parent, first, children, n):  # type: ignore[no-untyped-def]
    """Return (home, depth): the module each one becomes part of, and its depth, -1 if empty.

    An only child is merged with its parent, except a last module below the root.
    """
    m = parent.size
    last = children == 0
    merged = np.zeros(m, np.bool_)
    for module in range(m - 1, 0, -1):
        above = parent[module]
        if first[module] < n and children[above] == 1:
            merged[module] = above > 0 or not last[module]
            last[above] = last[module] and above > 0
    home = np.arange(m)
    depth = np.full(m, -1)
    depth[0] = 0
    for module in range(1, m):
        above = home[parent[module]]
        if merged[module]:
            home[module] = above
        elif first[module] < n:
            depth[module] = depth[above] + 1
    return home, depth


@njit(cache=True, nogil=True)
def border_flow(source, target, weight, scale, leaf, parent):  # type: ignore[no-untyped-def]
    """Return the link flow that leaves each module and the link flow that enters it.

    Both ends of a link climb until they meet; the larger number climbs, because it cannot be
    around the smaller one.
    """
    leave, enter = np.zeros(parent.size), np.zeros(parent.size)
    for e in range(source.size):
        a, b = leaf[source[e]], leaf[target[e]]
        if a == b:
            continue
        flow = weight[e] * scale[source[e]]
        while a != b:
            if a > b:
                leave[a] += flow
                a = parent[a]
            else:
                enter[b] += flow
                b = parent[b]
    return leave, enter


@njit(cache=True, nogil=True)
def add_upwards(parent, values):  # type: ignore[no-untyped-def]
    """Add to the value of each module, in place, those of all modules inside it."""
    for module in range(parent.size - 1, 0, -1):
        values[parent[module]] += values[module]


@njit(cache=True, nogil=True)
def depths(parent):  # type: ignore[no-untyped-def]
    """Return the depth of each module, 0 for the root."""
    depth = np.zeros(parent.size, np.int64)
    for module in range(1, parent.size):
        depth[module] = depth[parent[module]] + 1
    return depth
