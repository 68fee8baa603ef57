"""Moving words between communities to where they best predict their neighbours.

Communities come from words that are alike; what the ledger pays for is which follow which. Each
word in turn goes to the class that leaves neighbouring classes the most mutual information
(Kneser and Ney, Improved clustering techniques for class-based statistical language modelling,
Eurospeech 1993).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kexue.atlas.ledger import END, Classes, class_information, class_pairs
from kexue.atlas.succession import closed_walk
from kexue.words.tokens import Tokens

# The table of pairs of classes is dense: so many classes are 8 MB of counts
MOST_CLASSES = 1024
LEAST_GAIN = 0.01  # bits per token that a further round must bring
MOST_ROUNDS = 5
N_TABLED = 1 << 18


def exchange(tokens: Tokens, classes: Classes) -> Classes:
    """Return classes of the same words that predict each other better, or else those given.

    Starts from the communities; beyond 1,021 the least used begin as one class. Rounds go over
    the words by falling use until one saves less than 0.01 bits per token.

    Parameters
    ----------
    tokens : Tokens
    classes : Classes
        Of the types of `tokens`; the words outside of the network and the end of a document
        stay where they are.
    """
    movable = np.flatnonzero(classes.of_type > END)
    movable = movable[np.argsort(-tokens.counts[movable], kind="stable")]
    of_type = _starting_classes(classes, tokens.counts)
    n_classes = int(of_type.max(initial=1)) + 1
    if n_classes < END + 3:
        return classes
    follow = closed_walk(tokens)
    precede = follow.T.tocsr()
    between = class_pairs(tokens, Classes(of_type, n_classes, classes.n_placed))
    after = between.toarray().astype(np.int32)
    before = np.ascontiguousarray(after.T)
    size = after.sum(axis=1, dtype=np.int64)
    table = np.arange(N_TABLED) * np.log2(np.maximum(np.arange(N_TABLED), 1))
    arrays = [(m.indptr, m.indices, m.data.astype(np.int32)) for m in (follow, precede)]
    for _ in range(MOST_ROUNDS):
        gain = _round(
            of_type, movable, tokens.counts, *arrays[0], *arrays[1], after, before, size, table
        )
        if gain < LEAST_GAIN * tokens.ids.size:
            break
    numbers = np.unique(of_type[movable], return_inverse=True)[1].ravel()
    moved = Classes.from_communities(tokens, movable, numbers)
    # putting many communities together may cost more than all moves bring
    return max(classes, moved, key=lambda each: class_information(tokens, each))


def _starting_classes(classes: Classes, uses: np.ndarray) -> np.ndarray:
    """Return the class of each type, the smallest ones put together if there are too many."""
    if classes.n_classes <= MOST_CLASSES:
        return classes.of_type.copy()
    use = np.bincount(classes.of_type, uses, classes.n_classes)
    use[: END + 1] = np.inf
    kept = np.sort(np.argsort(-use, kind="stable")[: MOST_CLASSES - 1])
    number = np.full(classes.n_classes, kept.size, np.int64)
    number[kept] = np.arange(kept.size)
    return number[classes.of_type]


@njit(cache=True, nogil=True)
def _plogp(n, table):  # type: ignore[no-untyped-def]
    return table[n] if n < table.size else n * np.log2(n)


@njit(cache=True, nogil=True)
def _add_gains(saved, row, n, most, table):  # type: ignore[no-untyped-def]
    """Add what `n` more pairs in each cell of a row bring; no cell is larger than `most`."""
    if most + n < table.size:  # no branch within the loop
        for b in range(row.size):
            saved[b] += table[row[b] + n] - table[row[b]]
    else:
        for b in range(row.size):
            saved[b] += _plogp(row[b] + n, table) - _plogp(row[b], table)


@njit(cache=True, nogil=True)
def _gather(word, of_type, begin, types, counts, found, classes):  # type: ignore[no-untyped-def]
    """Add up the neighbours of a word by class; return how many classes, and its own count.

    The classes are listed in `classes`, their counts stand in `found`.
    """
    n, own = 0, 0
    for k in range(begin[word], begin[word + 1]):
        if types[k] == word:
            own = counts[k]
            continue
        c = of_type[types[k]]
        if found[c] == 0:
            classes[n] = c
            n += 1
        found[c] += counts[k]
    return n, own


@njit(cache=True, nogil=True)
def _put(  # type: ignore[no-untyped-def]
    sign, at, uses, own, followers, n_followers, f, leaders, n_leaders, g, after, before, size
):
    """Add a word to a class, or take it out, in the table of pairs and in its transpose."""
    for k in range(n_followers):
        c = followers[k]
        after[at, c] += sign * f[c]
        before[c, at] += sign * f[c]
    for k in range(n_leaders):
        c = leaders[k]
        after[c, at] += sign * g[c]
        before[at, c] += sign * g[c]
    after[at, at] += sign * own
    before[at, at] += sign * own
    size[at] += sign * uses


@njit(cache=True, nogil=True)
def _round(  # type: ignore[no-untyped-def]
    of_type, movable, uses, next_begin, next_type, next_count, last_begin, last_type, last_count,
    after, before, size, table,
):  # fmt: skip
    """Move each word once to the class where it saves most; return the bits that were saved."""
    n_classes = size.size
    f, g = np.zeros(n_classes, np.int32), np.zeros(n_classes, np.int32)
    followers, leaders = np.empty(n_classes, np.int32), np.empty(n_classes, np.int32)
    saved = np.empty(n_classes)
    total = 0.0
    for word in movable:
        home = of_type[word]
        n_f, own = _gather(word, of_type, next_begin, next_type, next_count, f, followers)
        n_g, _ = _gather(word, of_type, last_begin, last_type, last_count, g, leaders)
        _put(-1, home, uses[word], own, followers, n_f, f, leaders, n_g, g, after, before, size)
        for b in range(n_classes):
            saved[b] = 2.0 * (_plogp(size[b], table) - _plogp(size[b] + uses[word], table))
        # rows of the transpose, so that the classes tried lie side by side
        for k in range(n_f):
            _add_gains(saved, before[followers[k]], f[followers[k]], size[followers[k]], table)
        for k in range(n_g):
            _add_gains(saved, after[leaders[k]], g[leaders[k]], size[leaders[k]], table)
        for b in range(n_classes):
            # in a class of its neighbours the three counts fall on one pair
            pair = after[b, b]
            apart = _plogp(pair + f[b], table) + _plogp(pair + g[b], table) - _plogp(pair, table)
            saved[b] += _plogp(pair + f[b] + g[b] + own, table) - apart
        best = home
        for b in range(END + 1, n_classes):
            if saved[b] > saved[best] + 1e-9:
                best = b
        total += saved[best] - saved[home]
        of_type[word] = best
        _put(1, best, uses[word], own, followers, n_f, f, leaders, n_g, g, after, before, size)
        for k in range(n_f):
            f[followers[k]] = 0
        for k in range(n_g):
            g[leaders[k]] = 0
    return total
