"""Normalised variation of branching entropy: where words begin and end, from counts alone."""

from __future__ import annotations

import itertools

import numpy as np

from kexue.corpus.counting import count_code_points, encode_ids
from kexue.corpus.ngrams import NGramCounts
from kexue.corpus.scripts import EXTENDING, JOINING, OTHER, character_classes
from kexue.words import _nvbe_kernels as kernels


def autonomy(counts: NGramCounts, order: int, suffixes: np.ndarray) -> np.ndarray:
    r"""Return how much each n-gram of `order` behaves like a word, in nats.

    A word is predictable inside and free at its edges, so the branching entropy rises at
    both of its ends. With :math:`\delta_R(w) = h_R(w) - h_R(w_{:-1})` and
    :math:`\delta_L(w) = h_L(w) - h_L(w_{1:})`, each less its mean over all distinct n-grams
    of the order, the autonomy is :math:`\delta_R + \delta_L`.

    Parameters
    ----------
    counts : NGramCounts
        Counted with ``entropies=True`` and an order above `order`.
    order : int
    suffixes : int64 array of shape (n_distinct,)
        Of `NGramCounts.suffix_links`; not used for order 1.

    Returns
    -------
    float64 array of shape (n_distinct,)

    References
    ----------
    Magistry and Sagot, Unsupervized word segmentation: the case for Mandarin Chinese,
    ACL 2012.
    """
    right = counts.entropy("right", order).copy()
    left = counts.entropy("left", order).copy()
    if order > 1:
        # the entropies of the empty n-gram are constants, which the means take away
        right -= counts.entropy("right", order - 1)[counts.parents(order)]
        left -= counts.entropy("left", order - 1)[suffixes]
    if not right.size:
        return right
    return (right - right.mean()) + (left - left.mean())


def segment(
    codes: np.ndarray,
    cuts: np.ndarray,
    joining: np.ndarray,
    *,
    max_length: int,
    price: float,
    memory: int | str = "2GB",
    n_jobs: int | None = None,
) -> np.ndarray:
    r"""Segment the text that is being learned from, for the greatest total autonomy.

    Maximises :math:`\sum_w (l_w a(w) + \lambda)` over all segmentations into n-grams of up
    to `max_length` characters.

    Parameters
    ----------
    codes : uint32 array of shape (n,)
        Code points, `DOCUMENT_END` after every document.
    cuts : bool array of shape (n,)
        Where tokens may begin.
    joining : bool array of shape (n_code_points,)
        Which code points join into words.
    max_length : int
    price : float
        :math:`\lambda`, nats; added for each word, so negative values make longer words.

    Returns
    -------
    bool array of shape (n,)
        True where a token begins.
    """
    counts = count_code_points(
        [codes],
        max_length + 1,
        boundary=lambda distinct: ~joining[distinct],
        entropies=True,
        memory=memory,
        n_jobs=n_jobs,
    )
    ids = encode_ids(codes, counts.alphabet)
    last, children, scores, bases = _score_trie(counts, max_length)
    begins = np.empty(codes.size, bool)
    kernels.best_scored_path(ids, cuts, last, children, scores, bases, price, begins)
    return begins


def joining_characters(atoms: str) -> np.ndarray:
    """Return which code points may join into words, bool of shape (n_code_points,)."""
    classes = character_classes()
    if atoms == "character":
        return classes != OTHER
    return (classes == JOINING) | (classes == EXTENDING)


def _score_trie(
    counts: NGramCounts, max_length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lay the n-grams out as a trie: each knows where its extensions lie, and its score."""
    levels = counts.levels[1 : max_length + 1]
    sizes = [level.counts.size for level in levels]
    bases = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    last = np.concatenate([level.last for level in levels])
    links = {1: np.empty(0, np.int64)} | dict(
        itertools.takewhile(lambda link: link[0] <= max_length, counts.suffix_links())
    )
    scores = np.concatenate(
        [order * autonomy(counts, order, links[order]) for order in range(1, max_length + 1)]
    )
    children = np.full(last.size + 1, last.size, np.int64)
    for level, base, below in zip(levels[:-1], bases[:-1], bases[1:], strict=True):
        children[base : base + level.counts.size] = below + level.children[:-1]
    return last, children, scores, bases
