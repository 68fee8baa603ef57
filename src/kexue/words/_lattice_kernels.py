"""Kernels over the lattice of possible words: where tokens may begin, and cheapest paths.

A text is read as atoms: single characters, and runs of characters that no token divides. An atom
has a symbol, by the form in which words are looked up: that of a character is its number in the
alphabet of the lexicon, that of a run comes after those, and 0 is an atom of no word.

Characters are read through a table of all code points, whose entries hold from bit 4 on that
number; bit 3, `CHANGED`, whether the form is another than the code point itself; below, its class
(`kexue.corpus.scripts`).
"""

import numpy as np
from numba import njit

from kexue.corpus.scripts import DIGIT, EXTENDING, JOINING, LETTER

CLASS, CHANGED = np.uint32(7), np.uint32(8)
NUMBER_SHIFT = np.uint32(4)
NO_CLASS = np.uint32(7)  # before the first character
# Costs and tokens in one number, in this order: a word costs its bits above `TOKEN_BITS` and 1
TOKEN_BITS = 16
MOST_ATOMS = 1 << 13  # of a word, so that sums over a block and a word stay below 2**60
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
def read_atoms(codes, bounds, table, whole_runs, base, check, run, symbols, begins, ends):
    """Divide documents into atoms; after each document stands one more, of symbol 0.

    Parameters
    ----------
    codes : uint32 array of shape (n,)
    bounds : int64 array of shape (n_documents + 1,)
        Document k is ``codes[bounds[k]:bounds[k + 1]]``.
    table : uint32 array of shape (0x110001,)
    whole_runs : int
        1 if runs of letters and of digits are atoms, else 0.
    base, check, run : the runs of the lexicon, from `build_trie`
        ``run[node]`` is the symbol of the run that ends there, or 0.
    symbols : uint32 array, room for an atom for each character and one for each document
        Receives the symbols.
    begins : int64 array, the same room
        Receives where atoms begin; of what stands after a document, where that ends.
    ends : int64 array of shape (n_documents,)
        Receives which atom stands after each document.

    Returns
    -------
    int
        How many atoms.
    """
    count = np.uint64(0)
    for document in range(ends.size):
        before = NO_CLASS
        node = np.uint32(0)
        for position in range(np.uint64(bounds[document]), np.uint64(bounds[document + 1])):
            entry = table[codes[position]]
            here = entry & CLASS
            number = entry >> NUMBER_SHIFT
            if _may_begin(here, before, whole_runs):
                node = number
                symbols[count] = number
                begins[count] = position
                count += _ONE
            else:
                child = base[node] + number
                node = child if check[child] == node else np.uint32(0)
                symbols[count - _ONE] = run[node]
            before = here
        symbols[count] = 0
        begins[count] = bounds[document + 1]
        ends[document] = count
        count += _ONE
    return np.int64(count)


@njit(cache=True, nogil=True)
def cheapest_paths(symbols, count, longest, base, check, price, block, lengths, nodes):
    """Choose the words of least total cost, from each atom on.

    Costs are integers, so that ties are exact: they go to fewer words, then to the longer first
    word. An atom that is no word is a token by itself.

    The last atom must be one of symbol 0, as `read_atoms` leaves it. Blocks are worked on from
    the last to the first. In each, the words that go on over one more atom are found for all
    places at once, as long as there is any: steps that do not wait for each other, and no branch
    to be guessed wrong.

    Parameters
    ----------
    symbols : uint32 array, room for `longest` more than there are atoms
    count : int
        How many atoms; what comes after them is overwritten.
    longest : int in [1, MOST_ATOMS]
        Atoms of the longest word.
    base, check : the words, from `build_trie`; no walk comes to the last place of all
    price : int64 array of shape (n_places,)
        Of the word that ends at a node, its cost times ``2**TOKEN_BITS`` and 1 more; at the nodes
        of depth 1, of an atom that is no word; at all others beyond any sum.
    block : int
        So many atoms are worked on at once.
    lengths : int32 array of shape (count,) or more
        Receives how many atoms the best word has that begins at each.
    nodes : uint32 array of shape (count,) or more
        Receives the node at which it ends.
    """
    nowhere = np.uint32(base.size - 1)
    symbols[count : count + longest] = 0
    reached = np.empty((longest, block), np.uint32)
    # the cost from each atom of the block on, and from those after it that a word may reach
    cost = np.zeros(block + longest + 1, np.int64)
    stop = np.uint64(count)
    while stop > 0:
        size = min(stop, np.uint64(block))
        start = stop - size
        for i in range(size):
            reached[0, i] = symbols[start + i]
        depth = np.uint64(1)
        while depth < longest:
            for i in range(size):
                node = reached[depth - _ONE, i]
                child = base[node] + symbols[start + i + depth]
                reached[depth, i] = child if check[child] == node else nowhere
            # in a loop of its own, or the one before it is compiled with a branch
            found = np.uint32(0)
            for i in range(size):
                found |= reached[depth, i] ^ nowhere
            if not found:
                break
            depth += _ONE
        i = size
        while i > 0:
            i -= _ONE
            best = cost[i + _ONE] + price[reached[0, i]]
            length = np.uint64(1)
            for more in range(_ONE, depth):
                total = cost[i + more + _ONE] + price[reached[more, i]]
                # later candidates are longer, so they win remaining ties
                length = more + _ONE if total <= best else length
                best = min(best, total)
            cost[i] = best
            lengths[start + i] = length
            nodes[start + i] = reached[length - _ONE, i]
        # costs are compared, so what they have in common may go
        common = cost[0]
        following = min(start, np.uint64(block))
        i = np.uint64(longest + 1)
        while i > 0:
            i -= _ONE
            cost[following + i] = cost[i] - common
        stop = start


@njit(cache=True, nogil=True)
def list_tokens(begins, ends, lengths, nodes, label, starts, labels, edges):
    """Follow the cheapest path through every document.

    Parameters
    ----------
    begins, ends : from `read_atoms`
    lengths, nodes : from `cheapest_paths`
    label : int32 array of shape (n_places,)
        What to say of a token that ends at a node.
    starts : int64 array, room for a token for each character and one more
        Receives where tokens begin and, last, where the last one ends.
    labels : int32 array, room for a token for each character
        Receives what is said of each.
    edges : int64 array of shape (n_documents + 1,)
        Receives the first token of every document and, last, their number.
    """
    count = np.uint64(0)
    atom = np.uint64(0)
    edges[0] = 0
    for document in range(ends.size):
        end = np.uint64(ends[document])
        while atom < end:
            starts[count] = begins[atom]
            labels[count] = label[nodes[atom]]
            atom += np.uint64(lengths[atom])
            count += _ONE
        starts[count] = begins[atom]
        edges[document + 1] = count
        atom += _ONE


@njit(cache=True, nogil=True)
def mark_surfaces(codes, starts, table, n_words, changed, labels):
    """Turn the words of tokens into how the tokens read.

    A token in which a character has another form than the one that is looked up does not read as
    its word: if it is one character, number k among the changed ones, its label becomes
    ``n_words + k``, else -1.

    Parameters
    ----------
    codes, table : as for `read_atoms`
    starts, labels : from `list_tokens`
    n_words : int
    changed : int32 array of shape (0x110001,)
        The number of a changed character.
    """
    for token in range(np.uint64(labels.size)):
        begin = np.uint64(starts[token])
        end = np.uint64(starts[token + _ONE])
        other = np.uint32(0)
        for i in range(begin, end):
            other |= table[codes[i]]
        if other & CHANGED:
            alone = end - begin == 1
            labels[token] = n_words + changed[codes[begin]] if alone else -1
