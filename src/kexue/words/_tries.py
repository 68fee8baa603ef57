"""The n-grams of a text as one trie in flat arrays, which segmenting kernels walk along a text."""

from __future__ import annotations

import numpy as np

from kexue.corpus.ngrams import NGramCounts

Links = dict[int, np.ndarray]  # of each order from 2 on, see `NGramCounts.suffix_links`


def flat_trie(counts: NGramCounts, max_order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay the n-grams out one order after the other.

    Returns
    -------
    last : unsigned integer array of shape (n_ngrams,)
        Last id of each n-gram; orders after one another, sorted within each.
    children : int64 array of shape (n_ngrams + 1,)
        Where the extensions of each n-gram begin in these arrays.
    bases : int64 array of shape (max_order,)
        Where each order begins.
    """
    levels = counts.levels[1 : max_order + 1]
    sizes = [level.counts.size for level in levels]
    bases = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    last = np.concatenate([level.last for level in levels])
    children = np.full(last.size + 1, last.size, np.int64)
    for level, base, below in zip(levels[:-1], bases[:-1], bases[1:], strict=True):
        children[base : base + level.counts.size] = below + level.children[:-1]
    return last, children, bases
