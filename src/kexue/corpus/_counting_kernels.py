"""Kernels of sorted-run counting: positions are numbers, sorted by their digits.

A position is written, in `n_words` words of 64 bits, as the ids of its own symbol and of those
that follow it, the first in the highest bits, zero from the first boundary on. The prefixes of
the sorted words are the n-grams of all lower orders. An id takes as many bits as the alphabet
needs: one word holds four Chinese characters or ten Latin letters.
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
def scatter(ids, begin, end, stop, bits, keep, pieces, cursor, words):
    """Write the words of positions to the pieces of their first symbols.

    Parameters
    ----------
    ids : unsigned integer array
        0 is a boundary.
    begin, end, stop : int
        Positions ``begin:end`` are written; what follows them up to `stop` is their context.
    bits : int
        Bits of an id; a word holds ``64 // bits`` of them.
    keep : uint64 array of shape (n_words,)
        The bits of the first `order` symbols; all others are cleared.
    pieces : int64 array of shape (n_ids,)
        Piece of each symbol.
    cursor : int64 array of shape (n_pieces,)
        First free place of each piece in `words`; moved on.
    words : uint64 array of shape (n_words, n_positions)
    """
    n_words = keep.size
    top = np.uint64(64 - bits)
    lowest = np.uint64(64 - bits * (64 // bits))
    step = np.uint64(bits)
    mask = (np.uint64(1) << step) - np.uint64(1)
    first = np.uint64(0)  # a variable, because nearly always there is no other word
    key = np.zeros(n_words, np.uint64)
    for i in range(stop - 1, begin - 1, -1):
        symbol = ids[i]
        if symbol == 0:
            first = np.uint64(0)
            for k in range(1, n_words):
                key[k] = 0
            continue
        for k in range(n_words - 1, 0, -1):
            before = key[k - 1] if k > 1 else first
            key[k] = (((before >> lowest) & mask) << top) | (key[k] >> step)
        first = (np.uint64(symbol) << top) | (first >> step)
        if i < end:
            place = cursor[pieces[symbol]]
            cursor[pieces[symbol]] = place + 1
            words[0, place] = first & keep[0]
            for k in range(1, n_words):
                words[k, place] = key[k] & keep[k]


@njit(cache=True, nogil=True)
def distribute(source, target, word, low, width):
    """Write positions to `target` by a digit, those of one digit in the order that they have.

    Parameters
    ----------
    source, target : uint64 arrays of shape (n_words, n)
    word, low, width : int
        The digit: bits ``low:low + width`` of a word, from the lowest.
    """
    n_words = source.shape[0]
    keys, written = source[word], target[word]
    shift = np.uint64(low)
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    places = np.zeros(1 << width, np.int64)
    for key in keys:
        places[(key >> shift) & mask] += 1
    place = 0
    for digit in range(places.size):
        number = places[digit]
        places[digit] = place
        place += number
    for i in range(keys.size):
        digit = (keys[i] >> shift) & mask
        place = places[digit]
        places[digit] = place + 1
        written[place] = keys[i]
        for k in range(1, n_words):
            other = (word + k) % n_words
            target[other, place] = source[other, i]


@njit(cache=True, nogil=True)
def keep_distinct(words, counts):
    """Move the distinct ones of sorted positions to the front, and write their counts.

    Parameters
    ----------
    words : uint64 array of shape (n_words, n)
    counts : int64 array of shape (n,)
        Zeros; receives the counts.

    Returns
    -------
    int
        Number of distinct positions.
    """
    first = words[0]
    before = np.uint64(0)
    m = np.int64(0)
    # whether a position is new cannot be foreseen, so that both ways are written as one
    for i in range(counts.size):
        word = first[i]
        new = (i == 0) | (word != before)
        before = word
        for k in range(1, words.shape[0]):
            new |= words[k, i] != words[k, max(i - 1, 0)]
        m += new
        first[m - 1] = word
        for k in range(1, words.shape[0]):
            words[k, m - 1] = words[k, i]
        counts[m - 1] += 1
    return m


@njit(cache=True, nogil=True)
def mark_entries(words, bits, order, opened, marks):
    """Find the n-grams that begin in a block of sorted distinct positions.

    Parameters
    ----------
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
    per_word = 64 // bits
    marks[:] = 0
    for k in range(words.shape[0]):
        symbols = words[k]
        before = np.uint64(0)
        for i in range(marks.size):
            word = symbols[i]
            difference = word ^ before
            before = word
            mark = np.int64(marks[i])
            same = mark // 16 == k * per_word  # in the words before this one
            # sums of comparisons: branches would be foreseen half of the time
            for s in range(min(per_word, order - k * per_word)):
                # from a boundary on all symbols are zero
                mark += word << np.uint64(s * bits) != 0
                mark += 16 * (same & (difference >> np.uint64(64 - (s + 1) * bits) == 0))
            marks[i] = mark
    if marks.size:
        marks[0] = 16 * opened + marks[0] % 16
    seen = np.zeros(256, np.int64)
    for mark in marks:
        seen[mark] += 1
    sizes = np.zeros(order + 1, np.int64)
    for mark in range(seen.size):
        for o in range(mark // 16 + 1, min(mark % 16, order) + 1):
            sizes[o] += seen[mark]
    return sizes


@njit(cache=True, nogil=True)
def fill_levels(
    words, weights, marks, bits, order, bases, written, last, counts, children, carried
):
    """Write the n-grams that begin in a block of sorted distinct positions, as levels of a trie.

    Parameters
    ----------
    words, bits, order, marks
        As for `mark_entries`.
    weights : integer array of shape (n,)
        How often each position occurs.
    bases : int64 array of shape (order + 2,)
        Where the new entries of each order begin in the flat arrays.
    written : int64 array of shape (order + 2,)
        Entries of each order before the block.
    last, counts, children : arrays of all orders after one another
        Receive each n-gram's last id, its count, added to what is there, and where its
        extensions begin among all n-grams of the next order. In `children` each order has one
        place more, for the end of the last.
    carried : int64 array of shape (order + 1,)
        Receives what the block adds to the counts of the n-grams that were open before it.
    """
    per_word = 64 // bits
    mask = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    # order by order: where the next entry goes stays in a register
    for o in range(1, order + 1):
        symbols = words[(o - 1) // per_word]
        shift = np.uint64(64 - bits * ((o - 1) % per_word + 1))
        own_last, own_counts = last[bases[o] :], counts[bases[o] :]
        own_children = children[bases[o] + o - 1 :]
        longer = written[o + 1]
        own_children[0] = longer
        at = np.int64(-1)
        for i in range(marks.size):
            shared = np.int64(marks[i] // 16)
            length = np.int64(marks[i] % 16)
            longer += (shared <= o) & (o < length)
            if o <= length:
                at += o > shared
                # what is there already is written again, which is cheaper than to ask
                if at < 0:
                    carried[o] += weights[i]
                else:
                    own_last[at] = (symbols[i] >> shift) & mask
                    own_counts[at] += weights[i]
                own_children[at + 1] = longer


@njit(cache=True, nogil=True)
def merge_positions(words, weights, begins, ends, out_words, out_weights):
    """Merge sorted segments of distinct positions, adding the weights of equal ones.

    Parameters
    ----------
    words, weights
        Positions of all segments; segment s is ``begins[s]:ends[s]``.
    out_words, out_weights
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
    unordered = size // 2
    m = 0
    while size > 0:
        root = 0
        if unordered > 0:
            unordered -= 1
            root = unordered
        else:
            s = heap[0]
            i = heads[s]
            same = m > 0
            for k in range(n_words):
                same = same and out_words[k, m - 1] == words[k, i]
            if same:
                out_weights[m - 1] += weights[i]
            else:
                for k in range(n_words):
                    out_words[k, m] = words[k, i]
                out_weights[m] = weights[i]
                m += 1
            heads[s] = i + 1
            if heads[s] == ends[s]:
                size -= 1
                heap[0] = heap[size]
        s = heap[root]
        while 2 * root + 1 < size:
            child = 2 * root + 1
            if child + 1 < size:
                child += _less(words, heads[heap[child + 1]], heads[heap[child]])
            if not _less(words, heads[heap[child]], heads[s]):
                break
            heap[root] = heap[child]
            root = child
        heap[root] = s
    return m


@njit(cache=True, nogil=True)
def _less(words, i, j):
    for k in range(words.shape[0]):
        if words[k, i] != words[k, j]:
            return words[k, i] < words[k, j]
    return False


@njit(cache=True, nogil=True, inline="always")
def find_child(last, symbol, low, high):
    """Return where `symbol` is, or would be, among ``last[low:high]``, the children of a node."""
    while low < high:
        middle = (low + high) // 2
        if last[middle] < symbol:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def descend(nodes, symbols, children, last, out):
    """Write the child of each node with the given last symbol, or -1; nodes may be -1."""
    for i in range(nodes.size):
        out[i] = -1
        if nodes[i] >= 0:
            end = children[nodes[i] + 1]
            place = find_child(last, symbols[i], children[nodes[i]], end)
            if place < end and last[place] == symbols[i]:
                out[i] = place


@njit(cache=True, nogil=True)
def right_entropies(begin, end, counts, children, child_counts, out):
    """Write the entropy of what follows the n-grams ``begin:end``, nats."""
    for i in range(begin, end):
        total = 0.0
        for j in range(children[i], children[i + 1]):
            if child_counts[j] > 1:
                total += child_counts[j] * np.log(child_counts[j])
        out[i] = np.log(counts[i]) - total / counts[i] if counts[i] > 1 else 0.0


@njit(cache=True, nogil=True)
def left_entropies(begin, end, counts, links, longer_counts, out):
    """Write the entropy of what precedes the n-grams ``begin:end``, nats.

    `links` leads to them from those of one symbol more. All are gone through, so that sums are
    added in one order, however the n-grams are divided among threads.
    """
    out[begin:end] = 0.0
    for j in range(links.size):
        if longer_counts[j] > 1 and begin <= links[j] < end:
            out[links[j]] += longer_counts[j] * np.log(longer_counts[j])
    for i in range(begin, end):
        out[i] = np.log(counts[i]) - out[i] / counts[i] if counts[i] > 1 else 0.0


@njit(cache=True, nogil=True)
def suffix_links(begin, end, children, last, links, suffix_children, suffix_last, out):
    """Write, for every n-gram, the n-gram without its first symbol.

    Parameters
    ----------
    begin, end : int
        Of the extensions of these n-grams alone.
    children : int64 array of shape (n + 1,)
        Of the n-grams of one order less.
    last : array of shape (n_entries,)
    links : int64 array of shape (n,)
        Suffixes of the n-grams of one order less.
    suffix_children, suffix_last
        The same two arrays one order below.
    out : int64 array of shape (n_entries,)
    """
    for parent in range(begin, end):
        low = suffix_children[links[parent]]
        high = suffix_children[links[parent] + 1]
        for i in range(children[parent], children[parent + 1]):
            # both lists are sorted, and the suffix has every extension of the whole
            low = find_child(suffix_last, last[i], low, high)
            out[i] = low
