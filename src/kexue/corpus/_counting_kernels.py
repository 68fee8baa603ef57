"""Kernels of sorted-run counting: positions are scattered by their first symbol, then sorted.

A position is stored as ``rest``: the ids of the following four symbols, 16 bits each, most
significant first, zero from the first boundary on. Its own id is the bucket it lies in, so one
64-bit word carries five symbols, every bucket is a small sort, and the prefixes of the sorted
words are the n-grams of all lower orders.
"""

import numpy as np
from numba import njit

ID_BITS = 16


@njit(cache=True, nogil=True)
def mark_seen(codes, seen):
    """Set ``seen[code]`` for every code of `codes`."""
    for code in codes:
        seen[code] = True


@njit(cache=True, nogil=True)
def map_ids(codes, table, out):
    """Write ``table[code]`` of every code to `out`."""
    for i in range(codes.size):
        out[i] = table[codes[i]]


@njit(cache=True, nogil=True)
def id_counts(ids, n_ids):
    """Return how often each id occurs; id 0 is the boundary and keeps count 0."""
    counts = np.zeros(n_ids, np.int64)
    for i in ids:
        counts[i] += 1
    counts[0] = 0
    return counts


@njit(cache=True, nogil=True)
def scatter(ids, order, low, high, cursor, rest):
    """Write the ``rest`` of every position whose id lies in ``[low, high)`` to its bucket.

    `cursor` holds the first free slot of each bucket, counted from the start of `rest`.
    Only the ``order - 1`` ids that matter are kept.
    """
    keep = np.uint64(0)
    for o in range(order - 1):
        keep |= np.uint64(0xFFFF) << np.uint64(48 - ID_BITS * o)
    word = np.uint64(0)
    following = np.uint64(0)
    for i in range(ids.size - 1, -1, -1):
        if following == 0:
            word = np.uint64(0)
        else:
            word = (following << np.uint64(48)) | (word >> np.uint64(ID_BITS))
        symbol = ids[i]
        following = np.uint64(symbol)
        if symbol != 0 and low <= symbol < high:
            rest[cursor[symbol]] = word & keep
            cursor[symbol] += 1


@njit(cache=True, nogil=True)
def count_entries(rest, starts, order):
    """Return the number of distinct n-grams of orders ``1..order`` in sorted buckets."""
    sizes = np.zeros(order + 1, np.int64)
    for bucket in range(starts.size - 1):
        for i in range(starts[bucket], starts[bucket + 1]):
            shared = 0
            if i > starts[bucket]:
                if rest[i] == rest[i - 1]:
                    continue
                shared = _shared_symbols(rest[i], rest[i - 1])
            for o in range(shared + 1, _length(rest[i], order) + 1):
                sizes[o] += 1
    return sizes


@njit(cache=True, nogil=True)
def fill_entries(rest, starts, order, bases, entries, counts, bucket_sizes):
    """Write the distinct n-grams of every order, with their counts, in sorted order.

    Parameters
    ----------
    bases : int64 array of shape (order + 1,)
        Where the entries of each order begin in the two flat arrays.
    entries, counts : uint64 and int64 arrays, all orders after one another
    bucket_sizes : int64 array of shape (order + 1, n_buckets)
        Receives the number of entries of each order in each bucket.
    """
    fill = bases - 1
    for bucket in range(starts.size - 1):
        for i in range(starts[bucket], starts[bucket + 1]):
            shared = 0
            length = _length(rest[i], order)
            if i > starts[bucket]:
                shared = _shared_symbols(rest[i], rest[i - 1])
            for o in range(1, min(shared, length) + 1):
                counts[fill[o]] += 1
            for o in range(shared + 1, length + 1):
                fill[o] += 1
                entries[fill[o]] = _prefix(rest[i], o)
                counts[fill[o]] = 1
                bucket_sizes[o, bucket] += 1


@njit(cache=True, nogil=True)
def branching_entropy(starts, rest, counts, child_starts, child_rest, child_counts, order):
    """Return the entropy, in nats, of the symbol that follows each n-gram of `order`.

    An occurrence at the end of a span is a continuation of its own, seen once, so it adds
    ``1 log 1 = 0`` to the sum and the identity ``h = log N - sum(N_x log N_x) / N`` holds
    without listing it.
    """
    entropy = np.empty(rest.size, np.float64)
    for bucket in range(starts.size - 1):
        j = child_starts[bucket]
        end = child_starts[bucket + 1]
        for i in range(starts[bucket], starts[bucket + 1]):
            total = 0.0
            while j < end and _prefix(child_rest[j], order) == rest[i]:
                total += child_counts[j] * np.log(child_counts[j])
                j += 1
            entropy[i] = np.log(counts[i]) - total / counts[i]
    return entropy


@njit(cache=True, nogil=True)
def find(starts, rest, first, key):
    """Return the index of the n-gram (`first`, `key`), or -1."""
    low = starts[first]
    end = starts[first + 1]
    high = end
    while low < high:
        middle = (low + high) // 2
        if rest[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < end and rest[low] == key else -1


@njit(cache=True, nogil=True)
def pair_keys(token_ids, distance, out):
    """Write ``left << 32 | right`` of all tokens `distance` apart with no boundary between."""
    n = 0
    last_boundary = -1
    for i in range(token_ids.size):
        if token_ids[i] < 0:
            last_boundary = i
        elif i - distance > last_boundary:
            left = np.uint64(token_ids[i - distance])
            out[n] = (left << np.uint64(32)) | np.uint64(token_ids[i])
            n += 1
    return n


@njit(cache=True, nogil=True)
def run_lengths(keys):
    """Return the distinct values of sorted `keys` and their counts."""
    n = 0
    for i in range(keys.size):
        if i == 0 or keys[i] != keys[i - 1]:
            n += 1
    values = np.empty(n, keys.dtype)
    counts = np.zeros(n, np.int64)
    n = -1
    for i in range(keys.size):
        if i == 0 or keys[i] != keys[i - 1]:
            n += 1
            values[n] = keys[i]
        counts[n] += 1
    return values, counts


@njit(cache=True, nogil=True, inline="always")
def _length(word, order):
    """Return the n-gram order that a position reaches before its span ends."""
    length = 1
    while length < order and (word >> np.uint64(64 - ID_BITS * length)) & np.uint64(0xFFFF):
        length += 1
    return length


@njit(cache=True, nogil=True, inline="always")
def _prefix(word, order):
    """Keep the ``order - 1`` ids that follow the first one."""
    if order == 1:
        return np.uint64(0)
    drop = np.uint64(64 - ID_BITS * (order - 1))
    return (word >> drop) << drop


@njit(cache=True, nogil=True, inline="always")
def _shared_symbols(a, b):
    """Return how many symbols two positions of one bucket share from the left, at least 1."""
    difference = a ^ b
    shared = 5
    while difference:
        difference >>= np.uint64(ID_BITS)
        shared -= 1
    return shared
