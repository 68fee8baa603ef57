"""Kernels of the parser: the cheapest nesting of templates over every span of a sentence.

A template is a path in a tree of items: an edge for a word, an edge for a slot. Costs are
integers, so that ties are exact.
"""

import numpy as np
from numba import njit

from kexue.corpus._counting_kernels import find_child

NEVER = np.int64(2**62)
LEAF = np.int32(-1)


@njit(cache=True, nogil=True, inline="always")
def _step(node, word, edges, edge_words, targets):
    """Return the node that `word` leads to, or -1."""
    end = edges[node + 1]
    place = find_child(edge_words, word, edges[node], end)
    if place < end and edge_words[place] == word:
        return targets[place]
    return np.int32(-1)


@njit(cache=True, nogil=True)
def restrict(words, n_words, edges, edge_words, targets, slot_target):
    """Return the part of a tree of items whose words are all in a sentence.

    Returns
    -------
    nodes : int32 array of shape (n_nodes,)
        Their numbers in the whole tree, the root first.
    edges, edge_words, targets, slot_target : the part, as in `cheapest_spans`
    """
    inside = np.zeros(n_words, np.bool_)
    for word in words:
        if word >= 0:
            inside[word] = True
    nodes = np.empty(slot_target.size, np.int32)
    nodes[0] = 0
    part_edges = np.zeros(slot_target.size + 1, np.int64)
    part_words = np.empty(edge_words.size, np.int32)
    part_targets = np.empty(edge_words.size, np.int32)
    part_slot = np.full(slot_target.size, -1, np.int32)
    found = 1
    kept = 0
    i = 0
    while i < found:
        for edge in range(edges[nodes[i]], edges[nodes[i] + 1]):
            if inside[edge_words[edge]]:
                part_words[kept] = edge_words[edge]
                part_targets[kept] = found
                nodes[found] = targets[edge]
                kept += 1
                found += 1
        if slot_target[nodes[i]] >= 0:
            part_slot[i] = found
            nodes[found] = slot_target[nodes[i]]
            found += 1
        i += 1
        part_edges[i] = kept
    return (
        nodes[:found].copy(),
        part_edges[: found + 1].copy(),
        part_words[:kept].copy(),
        part_targets[:kept].copy(),
        part_slot[:found].copy(),
    )


@njit(cache=True, nogil=True, inline="always")
def _cheapest_row(block, rest, begin, length, joint):
    """Return what a row of two or more blocks costs, and the length of its first block.

    Of equal costs the longest first block is taken.
    """
    row = NEVER
    first = 0
    for size in range(length - 1, 0, -1):
        if block[size] < NEVER:
            total = block[size] + joint + rest[begin + size, length - size]
            if total < row:
                row = total
                first = size
    return row, first


@njit(cache=True, nogil=True)
def cheapest_spans(
    words,
    max_span,
    joint,
    edges,
    edge_words,
    targets,
    slot_target,
    node_cost,
    best,
    first,
    next_first,
    node,
):
    """Find the cheapest way to write every span.

    A span is a row of blocks, each a lone word or a template whose slots are spans again.
    A joint between two blocks costs `joint`, a lone word nothing, and a template its own cost.
    Templates and rows of several blocks cost one more for each of their words: that settles
    ties, if all other costs are multiples of a number that the sum of these never reaches.

    Parameters
    ----------
    words : int32 array of shape (n,)
        -1 for words that are in no template.
    max_span : int
        No span is longer.
    joint : int
    edges, edge_words, targets, slot_target, node_cost : the tree of items
        Node k has the word edges ``edges[k]:edges[k + 1]``, sorted by word, and leads through
        a slot to ``slot_target[k]``, -1 for nowhere. Its template costs ``node_cost[k]``,
        `NEVER` if none ends there.
    best : int64 array of shape (n + 1, max_span + 1)
        Receives the cost of the span of each length at each place.
    first, next_first : int32 arrays of the same shape
        Receive the length of its first block, and of the first block if the span is the rest of
        a row.
    node : int32 array of the same shape
        Receives the node of the cheapest template over the span, -1 if it is one word.
    """
    n = words.size
    size = slot_target.size
    # A node behind a word is reached at one place, by one way; one behind a slot, once it is
    # open, at every later place.
    here = np.empty(size, np.int32)
    here_cost = np.empty(size, np.int64)
    ahead = np.empty(size, np.int32)
    ahead_cost = np.empty(size, np.int64)
    opened = np.empty(size, np.int32)
    is_open = np.zeros(size, np.bool_)
    open_cost = np.empty((size, max_span + 1), np.int64)
    block = np.empty(max_span + 1, np.int64)
    rest = np.zeros((n + 1, max_span + 1), np.int64)
    for i in range(n - 1, -1, -1):
        m = min(max_span, n - i)
        here[0] = 0
        here_cost[0] = 0
        n_here = 1
        n_open = 0
        for k in range(m + 1):
            for j in range(n_open):
                here[n_here] = opened[j]
                here_cost[n_here] = open_cost[opened[j], k]
                n_here += 1
            if k > 0:
                block[k] = 0 if k == 1 else NEVER
                node[i, k] = LEAF
                for j in range(n_here):
                    if node_cost[here[j]] < NEVER:
                        total = here_cost[j] + node_cost[here[j]] + k
                        if total < block[k]:
                            block[k] = total
                            node[i, k] = here[j]
                row, first[i, k] = _cheapest_row(block, rest, i, k, joint)
                next_first[i, k] = first[i, k] if row < block[k] else k
                rest[i, k] = min(row, block[k])
                if block[k] <= row + k:
                    first[i, k] = k
                best[i, k] = min(row + k, block[k])
                if slot_target[0] >= 0:
                    here[n_here] = slot_target[0]
                    here_cost[n_here] = best[i, k]
                    n_here += 1
            if k == m:
                break
            n_ahead = 0
            for j in range(n_here):
                state = here[j]
                if words[i + k] >= 0:
                    target = _step(state, words[i + k], edges, edge_words, targets)
                    if target >= 0:
                        ahead[n_ahead] = target
                        ahead_cost[n_ahead] = here_cost[j]
                        n_ahead += 1
                target = slot_target[state]
                if target >= 0 and state > 0:
                    if not is_open[target]:
                        is_open[target] = True
                        opened[n_open] = target
                        n_open += 1
                        open_cost[target, k + 1 : m + 1] = NEVER
                    for length in range(1, m - k + 1):
                        total = here_cost[j] + best[i + k, length]
                        if total < open_cost[target, k + length]:
                            open_cost[target, k + length] = total
            here, ahead = ahead, here
            here_cost, ahead_cost = ahead_cost, here_cost
            n_here = n_ahead
        for j in range(n_open):
            is_open[opened[j]] = False


@njit(cache=True, nogil=True)
def place_items(items, words, begin, length, best, ends):
    """Find where the items of a template end that is laid over a span, at the least cost.

    Parameters
    ----------
    items : int32 array of shape (n_items,)
        Words, -1 for slots.
    words : int32 array of shape (n,)
    begin, length : int
        The span.
    best : int64 array, as filled by `cheapest_spans`
    ends : int32 array of shape (n_items,)
        Receives the end of each item, counted from `begin`.
    """
    cost = np.full((items.size + 1, length + 1), NEVER)
    sizes = np.zeros((items.size + 1, length + 1), np.int32)
    cost[0, 0] = 0
    for t in range(items.size):
        for k in range(length):
            if cost[t, k] == NEVER:
                continue
            if items[t] >= 0:
                if words[begin + k] == items[t] and cost[t, k] < cost[t + 1, k + 1]:
                    cost[t + 1, k + 1] = cost[t, k]
                    sizes[t + 1, k + 1] = 1
            else:
                for size in range(1, length - k + 1):
                    # a leading slot cannot be the span itself
                    if size == length:
                        break
                    total = cost[t, k] + best[begin + k, size]
                    if total < cost[t + 1, k + size]:
                        cost[t + 1, k + size] = total
                        sizes[t + 1, k + size] = size
    end = length
    for t in range(items.size, 0, -1):
        ends[t - 1] = end
        end -= sizes[t, end]
