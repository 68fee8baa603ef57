"""Kernels of sorted-run counting: positions are scattered by their first symbol, then sorted.

A position is written as the id of its symbol and, in `n_words` words of 64 bits, the ids of the
symbols that follow it, the first in the highest bits, zero from the first boundary on. Its own
id is the bucket it lies in, so every bucket is a small sort, and the prefixes of the sorted
words are the n-grams of all lower orders. An id takes as many bits as the alphabet needs: one
word holds four Chinese characters or nine Latin letters.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def add_occurrences(codes, counts):
    """Add one to ``counts[code]`` for every code of `codes`."""
    for code in codes:
        counts[code] += 1


@njit(cache=True, nogil=True)
def map_ids(codes, table, out):
    """Write ``table[code]`` of every code to `out`."""
    for i in range(codes.size):
        out[i] = table[codes[i]]


@njit(cache=True, nogil=True)
def scatter(ids, n, bits, keep, low, high, cursor, words):
    """Write the words of every position whose id lies in ``[low, high)`` to its bucket.

    Parameters
    ----------
    ids : unsigned integer array
        0 is a boundary.
    n : int
        Positions that are written; what follows them is read as their context.
    bits : int
        Bits of an id; a word holds ``64 // bits`` of them.
    keep : uint64 array of shape (n_words,)
        The bits of the following ``order - 1`` symbols; all others are cleared.
    cursor : int64 array of shape (high - low,)
        First free slot of each bucket in `words`; moved on.
    words : uint64 array of shape (n_words, n_positions)
    """
    n_words = keep.size
    per_word = 64 // bits
    top = np.uint64(64 - bits)
    lowest = np.uint64(64 - bits * per_word)
    step = np.uint64(bits)
    mask = (np.uint64(1) << step) - np.uint64(1)
    key = np.zeros(n_words, np.uint64)
    word = np.uint64(0)
    following = np.uint64(0)
    for i in range(ids.size - 1, -1, -1):
        if n_words == 1:
            word = (following << top) | (word >> step) if following != 0 else np.uint64(0)
        elif following == 0:
            key[:] = 0
        else:
            for k in range(n_words - 1, 0, -1):
                carried = (key[k - 1] >> lowest) & mask
                key[k] = (carried << top) | (key[k] >> step)
            key[0] = (following << top) | (key[0] >> step)
        symbol = ids[i]
        following = np.uint64(symbol)
        if i < n and symbol != 0 and low <= symbol < high:
            place = cursor[symbol - low]
            cursor[symbol - low] = place + 1
            if n_words == 1:
                words[0, place] = word & keep[0]
            else:
                for k in range(n_words):
                    words[k, place] = key[k] & keep[k]


@njit(cache=True, nogil=True)
def run_length_encode(words, starts, counts):
    """Keep the distinct positions of sorted buckets, in place, with their counts.

    Parameters
    ----------
    words : uint64 array of shape (n_words, n)
        Sorted within each bucket; the distinct ones are moved to the front.
    starts : int64 array of shape (n_buckets + 1,)
        Where buckets begin; overwritten by where they begin afterwards.
    counts : int64 array of shape (n,)
        Receives the counts.

    Returns
    -------
    int
        Number of distinct positions.
    """
    n_words = words.shape[0]
    m = 0
    begin = starts[0]
    for bucket in range(starts.size - 1):
        end = starts[bucket + 1]
        starts[bucket] = m
        for i in range(begin, end):
            same = i > begin
            for k in range(n_words):
                same = same and words[k, i] == words[k, m - 1]
            if same:
                counts[m - 1] += 1
            else:
                for k in range(n_words):
                    words[k, m] = words[k, i]
                counts[m] = 1
                m += 1
        begin = end
    starts[starts.size - 1] = m
    return m


@njit(cache=True, nogil=True)
def mark_entries(first, words, bits, order, opened, marks):
    """Find the n-grams that begin in a block of sorted distinct positions.

    Parameters
    ----------
    first : unsigned integer array of shape (n,)
        Ids of the positions' own symbols.
    words : uint64 array of shape (n_words, n)
    opened : int
        How many symbols the first position shares with the one before the block.
    marks : uint8 array of shape (n,)
        Receives how many symbols each position shares with the one before, times 16, plus the
        n-gram order that it reaches before its span ends.

    Returns
    -------
    int64 array of shape (order + 1,)
        How many n-grams of each order there are.
    """
    n_words = words.shape[0]
    per_word = 64 // bits
    mask = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    step = np.uint64(bits)
    top = np.uint64(64 - bits)
    sizes = np.zeros(order + 1, np.int64)
    for i in range(first.size):
        length = 1
        for k in range(n_words):
            shift = top
            for _ in range(min(per_word, order - 1 - k * per_word)):
                if (words[k, i] >> shift) & mask == 0:
                    break
                length += 1
                shift -= step
            if length < 1 + (k + 1) * per_word:
                break
        shared = 0
        if i == 0:
            shared = opened
        elif first[i] == first[i - 1]:
            shared = _shared(words, i, words, i - 1, bits, order)
        for o in range(shared + 1, length + 1):
            sizes[o] += 1
        marks[i] = 16 * shared + length
    return sizes


@njit(cache=True, nogil=True)
def fill_levels(
    first, words, weights, marks, bits, order, bases, written, last, counts, children, carried
):
    """Write the n-grams that begin in a block of sorted distinct positions, as levels of a trie.

    Parameters
    ----------
    first, words, bits, order, marks
        As for `mark_entries`.
    weights : integer array of shape (n,)
        How often each position occurs.
    bases : int64 array of shape (order + 2,)
        Where the new entries of each order begin in the flat arrays.
    written : int64 array of shape (order + 2,)
        Entries of each order before the block.
    last, counts, children : arrays of all orders after one another
        Receive each n-gram's last id, its count, and where its extensions begin among all
        n-grams of the next order. In `children` each order has one place more, for the end of
        the last.
    carried : int64 array of shape (order + 1,)
        Receives what the block adds to the counts of the n-grams that were open before it.
    """
    per_word = 64 // bits
    mask = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    shifts = np.zeros(order + 1, np.uint64)
    column = np.zeros(order + 1, np.int64)
    for o in range(2, order + 1):
        shifts[o] = 64 - bits * ((o - 2) % per_word + 1)
        column[o] = (o - 2) // per_word
    fill = bases - 1
    beyond = written - bases + 1
    for i in range(first.size):
        shared = marks[i] // 16
        length = marks[i] % 16
        weight = weights[i]
        for o in range(1, min(shared, length) + 1):
            if fill[o] < bases[o]:
                carried[o] += weight
            else:
                counts[fill[o]] += weight
        for o in range(shared + 1, length + 1):
            fill[o] += 1
            if o == 1:
                last[fill[o]] = first[i]
            else:
                last[fill[o]] = (words[column[o], i] >> shifts[o]) & mask
            counts[fill[o]] = weight
            children[fill[o] + o - 1] = fill[o + 1] + beyond[o + 1]


@njit(cache=True, nogil=True)
def shared_symbols(words, i, other_words, j, bits, order):
    """Return how many symbols positions of two blocks share, their first being the same."""
    return _shared(words, i, other_words, j, bits, order)


@njit(cache=True, nogil=True)
def merge_positions(first, words, weights, begins, ends, out_first, out_words, out_weights):
    """Merge sorted segments of distinct positions, adding the weights of equal ones.

    Parameters
    ----------
    first, words, weights
        Positions of all segments; segment s is ``begins[s]:ends[s]``.
    out_first, out_words, out_weights
        As long as all segments together.

    Returns
    -------
    int
        Number of distinct positions written.
    """
    n_words = words.shape[0]
    heads = begins.copy()
    heap = np.empty(begins.size, np.int64)  # segments, the one with the smallest head first
    size = 0
    for s in range(begins.size):
        if begins[s] < ends[s]:
            heap[size] = s
            size += 1
    for root in range(size // 2 - 1, -1, -1):
        _sift_down(heap, root, size, heads, first, words)
    m = 0
    while size > 0:
        s = heap[0]
        i = heads[s]
        same = m > 0 and out_first[m - 1] == first[i]
        for k in range(n_words):
            same = same and out_words[k, m - 1] == words[k, i]
        if same:
            out_weights[m - 1] += weights[i]
        else:
            out_first[m] = first[i]
            for k in range(n_words):
                out_words[k, m] = words[k, i]
            out_weights[m] = weights[i]
            m += 1
        heads[s] = i + 1
        if heads[s] == ends[s]:
            size -= 1
            heap[0] = heap[size]
        _sift_down(heap, 0, size, heads, first, words)
    return m


@njit(cache=True, nogil=True)
def _sift_down(heap, root, size, heads, first, words):
    while 2 * root + 1 < size:
        child = 2 * root + 1
        if child + 1 < size and _less(first, words, heads[heap[child + 1]], heads[heap[child]]):
            child += 1
        if not _less(first, words, heads[heap[child]], heads[heap[root]]):
            break
        heap[root], heap[child] = heap[child], heap[root]
        root = child


@njit(cache=True, nogil=True, inline="always")
def _less(first, words, i, j):
    less = False
    if first[i] != first[j]:
        less = first[i] < first[j]
    else:
        for k in range(words.shape[0]):
            if words[k, i] != words[k, j]:
                less = words[k, i] < words[k, j]
                break
    return less


@njit(cache=True, nogil=True)
def count_not_above(first, words, begin, end, other_first, other_words, at):
    """Return how many positions of a sorted segment are not above position `at` of another."""
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        above = False
        if first[middle] != other_first[at]:
            above = first[middle] > other_first[at]
        else:
            for k in range(words.shape[0]):
                if words[k, middle] != other_words[k, at]:
                    above = words[k, middle] > other_words[k, at]
                    break
        if above:
            high = middle
        else:
            low = middle + 1
    return low - begin


@njit(cache=True, nogil=True)
def descend(nodes, symbols, children, last, out):
    """Write the child of each node with the given last symbol, or -1; nodes may be -1."""
    for i in range(nodes.size):
        out[i] = -1
        if nodes[i] < 0:
            continue
        low = children[nodes[i]]
        end = children[nodes[i] + 1]
        high = end
        while low < high:
            middle = (low + high) // 2
            if last[middle] < symbols[i]:
                low = middle + 1
            else:
                high = middle
        if low < end and last[low] == symbols[i]:
            out[i] = low


@njit(cache=True, nogil=True)
def right_entropies(counts, children, child_counts, out):
    """Write the entropy of what follows each n-gram, nats."""
    for i in range(counts.size):
        total = 0.0
        for j in range(children[i], children[i + 1]):
            if child_counts[j] > 1:
                total += child_counts[j] * np.log(child_counts[j])
        out[i] = np.log(counts[i]) - total / counts[i] if counts[i] > 1 else 0.0


@njit(cache=True, nogil=True)
def left_entropies(counts, links, longer_counts, out):
    """Write the entropy of what precedes each n-gram, nats; `links` leads to it from `longer`."""
    out[:] = 0.0
    for j in range(links.size):
        if longer_counts[j] > 1:
            out[links[j]] += longer_counts[j] * np.log(longer_counts[j])
    for i in range(counts.size):
        out[i] = np.log(counts[i]) - out[i] / counts[i] if counts[i] > 1 else 0.0


@njit(cache=True, nogil=True)
def suffix_links(children, last, links, suffix_children, suffix_last, out):
    """Write, for every n-gram, the n-gram without its first symbol.

    Parameters
    ----------
    children : int64 array of shape (n + 1,)
        Of the n-grams of one order less.
    last : array of shape (n_entries,)
    links : int64 array of shape (n,)
        Suffixes of the n-grams of one order less.
    suffix_children, suffix_last
        The same two arrays one order below.
    out : int64 array of shape (n_entries,)
    """
    for parent in range(links.size):
        low = suffix_children[links[parent]]
        for i in range(children[parent], children[parent + 1]):
            # both lists are sorted, and the suffix has every extension of the whole
            high = suffix_children[links[parent] + 1]
            while low < high:
                middle = (low + high) // 2
                if suffix_last[middle] < last[i]:
                    low = middle + 1
                else:
                    high = middle
            out[i] = low


@njit(cache=True, nogil=True, inline="always")
def _shared(words, i, other_words, j, bits, order):
    """Return how many symbols two positions share from the left, their first being the same."""
    per_word = 64 // bits
    step = np.uint64(bits)
    shared = 1
    for k in range(words.shape[0]):
        difference = words[k, i] ^ other_words[k, j]
        if difference == 0:
            shared += per_word
        else:
            shift = np.uint64(64) - step
            while difference >> shift == 0:
                shared += 1
                shift -= step
            break
    return min(shared, order)
