"""Kernels over the lattice of possible words: where tokens may begin, and cheapest paths.

A text is read through a table of all code points, whose entries hold what is needed of each: from
bit 5 on its number in the alphabet of the lexicon, by the form in which words are looked up, 0 if
no word has it; bit 4, `ALONE`, whether it is in no word with another; bit 3, `CHANGED`, whether
that form is another than the code point itself; below, its class (`kexue.corpus.scripts`).
"""

import numpy as np
from numba import njit

from kexue.corpus._span_kernels import EMPTY
from kexue.corpus.scripts import DIGIT, EXTENDING, JOINING, LETTER

CLASS, CHANGED, ALONE = np.uint32(7), np.uint32(8), np.uint32(16)
NUMBER_SHIFT = np.uint32(5)
NO_CLASS = np.uint32(7)  # before the first character
_CUT = np.uint32(1)
# Unsigned positions spare the compiled code the question whether an index counts from the end
_ONE = np.uint64(1)


@njit(cache=True, nogil=True, inline="always")
def _may_begin(here, before, whole_runs):
    """Return whether a token may begin at a character of class `here` after one of `before`."""
    inside = whole_runs and here == before and here in (LETTER, DIGIT)
    extends = here == EXTENDING and before in (JOINING, EXTENDING)
    return not (inside or extends)


@njit(cache=True, nogil=True)
def mark_cuts(classes, whole_runs, cuts):
    """Set ``cuts[i]`` where a token may begin.

    Not before a mark that extends a joining character and, with `whole_runs`, not inside a run
    of letters or of digits.
    """
    for i in range(classes.size):
        cuts[i] = i == 0 or _may_begin(classes[i], classes[i - 1], whole_runs)


@njit(cache=True, nogil=True)
def find_compounds(offsets, cuts):
    """Return which words consist of several atoms, bool of shape (n_words,)."""
    compound = np.zeros(offsets.size - 1, np.bool_)
    for word in range(compound.size):
        for i in range(offsets[word] + 1, offsets[word + 1]):
            compound[word] |= cuts[i]
    return compound


@njit(cache=True, nogil=True, inline="always")
def read_symbols(codes, begin, end, before, block, table, whole_runs, symbols):
    """Write number and cut of the characters from `begin` on, and a cut after the last one.

    ``symbols[i]`` is the number of character i, one bit up, and below whether a token may begin
    there. Reading stops at `end`, or earlier, after at least `block` characters, where no token
    goes on.

    Returns
    -------
    n : how many characters were read
    before : the class of the last one; of the one before `begin` as an argument
    changed : whether any is looked up by another form
    """
    seen = np.uint32(0)
    alone = False
    n = np.uint64(0)
    while begin + n < end:
        entry = table[codes[begin + n]]
        here = entry & CLASS
        cut = np.uint32(_may_begin(here, before, whole_runs))
        if n >= block and cut and (alone or entry & ALONE):
            break
        alone = (entry & ALONE) != 0
        seen |= entry
        symbols[n] = ((entry >> NUMBER_SHIFT) << _CUT) | cut
        before = here
        n += _ONE
    symbols[n] = _CUT
    return n, before, (seen & CHANGED) != 0


@njit(cache=True, nogil=True)
def cheapest_paths(
    codes,
    bounds,
    table,
    whole_runs,
    base,
    check,
    price,
    word,
    unknown,
    n_words,
    changed,
    block,
    starts,
    words,
    surfaces,
):
    """Segment documents into the words of least total cost.

    Costs are integers, so that ties are exact: they go to fewer words, then to the longer
    first word. An atom, the stretch between two neighbouring cuts, is a token of its own if no
    word matches; a word that is one atom matches one atom, a compound several.

    Parameters
    ----------
    codes : uint32 array of shape (n,)
    bounds : int64 array of shape (n_documents + 1,)
        Document k is ``codes[bounds[k]:bounds[k + 1]]``.
    table : uint32 array of shape (0x110001,)
    whole_runs : int
        1 if runs of letters and of digits are atoms, else 0.
    base, check, word : the lexicon, from `build_trie`
    price : int32 array of shape (n_places,)
        Of the word that ends at a node: twice its cost, and 1 more if it is a compound; -1 if
        none ends there.
    unknown : int
        Cost of a token that is no word.
    n_words : int
    changed : int32 array of shape (0x110001,)
        Number of a changed character; its surface, if it stands alone, is `n_words` more.
    block : int
        So many characters of a document are worked on at once, and more up to a place over which
        no word goes: the best of each stretch is the best of all.
    starts : int64 array, room for a token for each character and one more
        Receives where tokens begin and, last, where the last one ends.
    words : int32 array, room for a token for each character
        Receives the word of each token, -1 if it is none.
    surfaces : int32 array, room for a token for each character
        Receives how each token reads: as that word, or the surface of a changed character, or -1
        if it is something else.

    Returns
    -------
    int
        How many tokens.
    """
    longest = 0
    for document in range(bounds.size - 1):
        longest = max(longest, bounds[document + 1] - bounds[document])
    symbols = np.empty(longest + 1, np.uint32)
    cost = np.empty(longest + 1, np.int64)
    tokens = np.empty(longest + 1, np.int32)
    step = np.empty(longest + 1, np.uint32)
    nodes = np.empty(longest + 1, np.uint32)
    count = np.uint64(0)
    for document in range(bounds.size - 1):
        begin = np.uint64(bounds[document])
        document_end = np.uint64(bounds[document + 1])
        before = NO_CLASS
        while begin < document_end:
            n, before, any_changed = read_symbols(
                codes, begin, document_end, before, block, table, whole_runs, symbols
            )
            cost[n] = 0
            tokens[n] = 0
            following = n  # the cut after i
            i = n
            while i > 0:
                i -= _ONE
                symbol = symbols[i]
                if not symbol & _CUT:
                    continue
                best = unknown + cost[following]
                best_end = following
                best_node = np.uint32(0)
                node = symbol >> _CUT
                j = i + _ONE
                while node != 0:
                    symbol = symbols[j]
                    p = price[node]
                    # a run of digits is not two digits that fold to the same
                    if p >= 0 and symbol & _CUT and (j == following or p & 1):
                        total = (p >> 1) + cost[j]
                        # later candidates are longer, so they win remaining ties
                        if total < best or (total == best and tokens[j] <= tokens[best_end]):
                            best = total
                            best_end = j
                            best_node = node
                    child = base[node] + (symbol >> _CUT)
                    if check[child] != node:
                        break
                    node = child
                    j += _ONE
                cost[i] = best
                tokens[i] = tokens[best_end] + 1
                step[i] = best_end
                nodes[i] = best_node
                following = i
            i = np.uint64(0)
            while i < n:
                end = np.uint64(step[i])
                found = word[nodes[i]]
                starts[count] = begin + i
                words[count] = found
                surface = found
                if any_changed:
                    for j in range(begin + i, begin + end):
                        if table[codes[j]] & CHANGED:
                            alone = end - i == 1
                            surface = np.int32(n_words + changed[codes[j]]) if alone else EMPTY
                surfaces[count] = surface
                count += _ONE
                i = end
            begin += n
    starts[count] = bounds[-1]
    return np.int64(count)
