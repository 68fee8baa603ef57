"""Kernels over the lattice of possible words: where tokens may begin, and shortest paths."""

import numpy as np
from numba import njit

from kexue.corpus._span_kernels import EMPTY, HASH_START, extend, slot_of


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
    slot = slot_of(state, mask)
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
        state = HASH_START
        for size in range(1, limit + 1):
            state = extend(state, codes[i + size - 1])
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
