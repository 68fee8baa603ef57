"""Kernels over the lattice of possible words: dictionaries of spans and shortest paths.

Strings are stretches of uint32 code points. A set of strings is a flat array of symbols with
offsets, found through an open-addressing table of 64-bit hashes; equal hashes are confirmed
symbol by symbol, so answers are exact.
"""

import numpy as np
from numba import njit

EMPTY = np.int32(-1)
_HASH_START = np.uint64(0x9E3779B97F4A7C15)
_HASH_FACTOR = np.uint64(0x100000001B3)


@njit(cache=True, nogil=True, inline="always")
def _extend(state, code):
    """Extend a rolling hash by one symbol."""
    state = (state ^ np.uint64(code)) * _HASH_FACTOR
    return state ^ (state >> np.uint64(29))


@njit(cache=True, nogil=True, inline="always")
def _slot(state, mask):
    """Spread a hash over a table of ``mask + 1`` slots."""
    return np.int64(((state * _HASH_START) >> np.uint64(20)) & np.uint64(mask))


@njit(cache=True, nogil=True)
def encode_spans(codes, starts):
    """Number the distinct spans of a text in order of first appearance.

    Parameters
    ----------
    codes : uint32 array of shape (n,)
    starts : int64 array of shape (m + 1,)
        Span k is ``codes[starts[k]:starts[k + 1]]``.

    Returns
    -------
    ids : int32 array of shape (m,)
    first : int64 array of shape (n_distinct,)
        The first span of every distinct string.
    """
    m = starts.size - 1
    ids = np.empty(m, np.int32)
    first = np.empty(1024, np.int64)
    hashes = np.empty(1024, np.uint64)
    capacity = 4096
    slots = np.full(capacity, EMPTY, np.int32)
    n = 0
    for k in range(m):
        begin = starts[k]
        end = starts[k + 1]
        state = _HASH_START
        for i in range(begin, end):
            state = _extend(state, codes[i])
        slot = _slot(state, capacity - 1)
        while True:
            word = slots[slot]
            if word == EMPTY:
                break
            if hashes[word] == state:
                other = starts[first[word]]
                length = end - begin
                if starts[first[word] + 1] - other == length:
                    same = True
                    for i in range(length):
                        if codes[begin + i] != codes[other + i]:
                            same = False
                            break
                    if same:
                        break
            slot = (slot + 1) & (capacity - 1)
        word = slots[slot]
        if word == EMPTY:
            word = np.int32(n)
            if n == first.size:
                first = np.concatenate((first, np.empty(n, np.int64)))
                hashes = np.concatenate((hashes, np.empty(n, np.uint64)))
            first[n] = k
            hashes[n] = state
            slots[slot] = word
            n += 1
            if 2 * n > capacity:
                capacity *= 4
                slots = index_hashes(hashes[:n], capacity)
        ids[k] = word
    return ids, first[:n].copy()


@njit(cache=True, nogil=True)
def index_hashes(hashes, capacity):
    """Return a table of slots for words with the given hashes."""
    slots = np.full(capacity, EMPTY, np.int32)
    for word in range(hashes.size):
        slot = _slot(hashes[word], capacity - 1)
        while slots[slot] != EMPTY:
            slot = (slot + 1) & (capacity - 1)
        slots[slot] = word
    return slots


@njit(cache=True, nogil=True)
def hash_spans(codes, starts):
    """Return the hash of every span, uint64 of shape (m,)."""
    hashes = np.empty(starts.size - 1, np.uint64)
    for k in range(starts.size - 1):
        state = _HASH_START
        for i in range(starts[k], starts[k + 1]):
            state = _extend(state, codes[i])
        hashes[k] = state
    return hashes


@njit(cache=True, nogil=True)
def gather_spans(codes, starts, which):
    """Return the spans numbered `which` after one another, with their offsets."""
    offsets = np.zeros(which.size + 1, np.int64)
    for k in range(which.size):
        offsets[k + 1] = offsets[k] + starts[which[k] + 1] - starts[which[k]]
    symbols = np.empty(offsets[-1], np.uint32)
    for k in range(which.size):
        begin = starts[which[k]]
        for i in range(offsets[k + 1] - offsets[k]):
            symbols[offsets[k] + i] = codes[begin + i]
    return symbols, offsets


@njit(cache=True, nogil=True)
def mark_cuts(classes, letter, digit, joining, extending, whole_runs, cuts):
    """Set ``cuts[i]`` where a token may begin.

    Not before a mark that extends a joining character and, with `whole_runs`, not inside a run
    of letters or of digits.
    """
    for i in range(classes.size):
        here = classes[i]
        before = classes[i - 1] if i > 0 else np.uint8(255)
        inside = whole_runs and here == before and here in (letter, digit)
        extends = here == extending and before in (joining, extending)
        cuts[i] = not (inside or extends)


@njit(cache=True, nogil=True)
def find_compounds(offsets, cuts):
    """Return which words consist of several atoms, bool of shape (n_words,)."""
    compound = np.zeros(offsets.size - 1, np.bool_)
    for word in range(compound.size):
        for i in range(offsets[word] + 1, offsets[word + 1]):
            compound[word] |= cuts[i]
    return compound


@njit(cache=True, nogil=True)
def longest_by_first(symbols, offsets, compound, capacity):
    """Return, by the low bits of its first symbol, the longest compound that may begin there.

    A word that is one atom, however long, is found without trying all lengths.
    """
    longest = np.zeros(capacity, np.int32)
    for word in range(compound.size):
        if compound[word]:
            slot = symbols[offsets[word]] & np.uint32(capacity - 1)
            longest[slot] = max(longest[slot], offsets[word + 1] - offsets[word])
    return longest


@njit(cache=True, nogil=True, inline="always")
def _find(codes, begin, length, state, slots, hashes, symbols, offsets):
    """Return the word equal to ``codes[begin:begin + length]`` of hash `state`, or -1."""
    mask = slots.size - 1
    slot = _slot(state, mask)
    while True:
        word = slots[slot]
        if word == EMPTY:
            return EMPTY
        if hashes[word] == state and offsets[word + 1] - offsets[word] == length:
            same = True
            for i in range(length):
                if symbols[offsets[word] + i] != codes[begin + i]:
                    same = False
                    break
            if same:
                return word
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def cheapest_path(
    codes,
    cuts,
    document_end,
    slots,
    hashes,
    symbols,
    offsets,
    compound,
    longest,
    costs,
    unknown,
    words,
):
    """Segment a text into the words of least total cost.

    Costs are integers, so that ties are exact: they go to fewer words, then to the longer
    first word. An atom, the stretch between two neighbouring cuts, is a token of its own if no
    word matches; a word that is one atom matches one atom, a compound several.

    Parameters
    ----------
    codes : uint32 array of shape (n,)
        Symbols as the lexicon spells them; documents end with `document_end`.
    cuts : bool array of shape (n,)
        Where tokens may begin.
    slots, hashes, symbols, offsets, compound, longest : the lexicon
    costs : int64 array of shape (n_words,)
    unknown : int
        Cost of a token that is no word.
    words : int32 array of shape (n,)
        Receives the word of every token at its first position, -1 for unknown tokens and
        -2 at all other positions.
    """
    begin = 0
    n = codes.size
    while begin < n:
        end = begin
        while end < n and codes[end] != document_end:
            end += 1
        end = min(end + 1, n)
        _document_path(
            codes[begin:end],
            cuts[begin:end],
            slots,
            hashes,
            symbols,
            offsets,
            compound,
            longest,
            costs,
            unknown,
            words[begin:end],
        )
        begin = end


@njit(cache=True, nogil=True)
def _document_path(
    codes, cuts, slots, hashes, symbols, offsets, compound, longest, costs, unknown, words
):
    n = codes.size
    cost = np.zeros(n + 1, np.int64)
    tokens = np.zeros(n + 1, np.int32)
    step = np.zeros(n + 1, np.int32)
    short_mask = np.uint32(longest.size - 1)
    for i in range(n - 1, -1, -1):
        words[i] = -2
        if not cuts[i]:
            continue
        length = 1
        while i + length < n and not cuts[i + length]:
            length += 1
        best_word = EMPTY
        best_length = length
        best_cost = unknown + cost[i + length]
        best_tokens = 1 + tokens[i + length]
        limit = max(length, min(longest[codes[i] & short_mask], n - i))
        state = _HASH_START
        for size in range(1, limit + 1):
            state = _extend(state, codes[i + size - 1])
            if i + size < n and not cuts[i + size]:
                continue
            word = _find(codes, i, size, state, slots, hashes, symbols, offsets)
            # a run of digits is not two digits that fold to the same
            if word == EMPTY or not (size == length or compound[word]):
                continue
            total = costs[word] + cost[i + size]
            count = 1 + tokens[i + size]
            # later candidates are longer, so they win remaining ties
            if total < best_cost or (total == best_cost and count <= best_tokens):
                best_cost = total
                best_tokens = count
                best_word = word
                best_length = size
        cost[i] = best_cost
        tokens[i] = best_tokens
        step[i] = best_length
        words[i] = best_word
    i = 0
    while i < n:
        for j in range(i + 1, i + step[i]):
            words[j] = -2
        i += step[i]


@njit(cache=True, nogil=True)
def token_starts(words):
    """Return the first positions of the tokens and, last, the length of the text."""
    n = 0
    for word in words:
        if word != -2:
            n += 1
    starts = np.empty(n + 1, np.int64)
    n = 0
    for i in range(words.size):
        if words[i] != -2:
            starts[n] = i
            n += 1
    starts[n] = words.size
    return starts


@njit(cache=True, nogil=True)
def best_scored_path(ids, cuts, last, children, scores, bases, price, begins):
    """Segment spans of characters into n-grams of greatest total score.

    Parameters
    ----------
    ids : uint16 array of shape (n,)
        Character ids; 0 marks characters that stand outside all spans.
    cuts : bool array of shape (n,)
        Where tokens may begin.
    last : uint16 array of shape (n_ngrams,)
        Last id of each n-gram; orders after one another, sorted within each.
    children : int64 array of shape (n_ngrams + 1,)
        Where the extensions of each n-gram begin in these arrays.
    scores : float64 array of shape (n_ngrams,)
    bases : int64 array of shape (max_length,)
        Where each order begins.
    price : float
        Added to the score for each word.
    begins : bool array of shape (n,)
        Receives the first positions of tokens.
    """
    max_length = bases.size
    n = ids.size
    value = np.zeros(n + 1, np.float64)
    step = np.ones(n, np.int32)
    for i in range(n - 1, -1, -1):
        if ids[i] == 0:
            continue
        value[i] = -np.inf
        if not cuts[i]:
            continue
        node = np.int64(ids[i]) - 1
        size = 1
        while True:
            end = i + size
            closed = end == n or ids[end] == 0
            if closed or cuts[end]:
                # a character with more marks than words may have is a word without a score
                score = scores[node] if size <= max_length else 0.0
                total = score + price + value[end]
                if total > value[i]:
                    value[i] = total
                    step[i] = size
            if closed or (size >= max_length and value[i] > -np.inf):
                break
            size += 1
            if size > max_length:
                continue
            symbol = ids[end]
            low = children[node]
            high = children[node + 1]
            while low < high:
                middle = (low + high) // 2
                if last[middle] < symbol:
                    low = middle + 1
                else:
                    high = middle
            node = low
    i = 0
    while i < n:
        begins[i] = ids[i] != 0 or cuts[i]
        for j in range(i + 1, i + step[i]):
            begins[j] = False
        i += step[i]
