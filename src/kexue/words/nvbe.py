"""Normalised variation of branching entropy: where words begin and end, from counts alone."""

from __future__ import annotations

import itertools

import numpy as np

from kexue.corpus.counting import count_code_points, encode_ids
from kexue.corpus.ngrams import NGramCounts
from kexue.corpus.scripts import EXTENDING, JOINING, OTHER, character_classes
from kexue.words import _nvbe_kernels as kernels


def autonomies(counts: NGramCounts, max_length: int) -> list[np.ndarray]:
    r"""Return how much each n-gram behaves like a word, in nats, for every order.

    A word is predictable inside and free at its edges, so the branching entropy rises at
    both of its ends. With :math:`\delta_R(w) = h_R(w) - h_R(w_{:-1})` and
    :math:`\delta_L(w) = h_L(w) - h_L(w_{1:})`, each less its mean over all distinct n-grams
    of the order, the autonomy is :math:`\delta_R + \delta_L`.

    Parameters
    ----------
    counts : NGramCounts
        Of an order above `max_length`.
    max_length : int

    Returns
    -------
    list of `max_length` float64 arrays of shape (n_distinct,)
        Of orders 1, 2, ...

    References
    ----------
    Magistry and Sagot, Unsupervized word segmentation: the case for Mandarin Chinese,
    ACL 2012.
    """
    # the entropies of the empty n-gram are constants, which the means take away
    found = [_centred(counts.entropy("right", 1)) + _centred(counts.entropy("left", 1))]
    for order, suffixes in itertools.islice(counts.suffix_links(), max_length - 1):
        prefixes = counts.parents(order)
        right = counts.entropy("right", order) - counts.entropy("right", order - 1)[prefixes]
        left = counts.entropy("left", order) - counts.entropy("left", order - 1)[suffixes]
        found.append(_centred(right) + _centred(left))
    return found


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean() if values.size else values


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
    scores = np.concatenate(
        [order * values for order, values in enumerate(autonomies(counts, max_length), 1)]
    )
    children = np.full(last.size + 1, last.size, np.int64)
    for level, base, below in zip(levels[:-1], bases[:-1], bases[1:], strict=True):
        children[base : base + level.counts.size] = below + level.children[:-1]
    return last, children, scores, bases
