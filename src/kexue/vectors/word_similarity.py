"""How well cosines of word vectors agree with people's judgements of similarity."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from kexue._core import InputError

JudgedPairs = Iterable[tuple[Any, Any, float]]


class WordSimilarity(NamedTuple):
    """How cosines of words agree with people's judgements.

    Attributes
    ----------
    spearman : float
        Rank correlation over the pairs of known words; NaN of less than two, and where all are
        alike.
    known : int
        Pairs of which both words are in the vocabulary.
    asked : int
        All pairs.
    """

    spearman: float
    known: int
    asked: int


def agreement(
    vectors: np.ndarray, vocabulary: Mapping[Any, int], pairs: JudgedPairs
) -> WordSimilarity:
    """Compare cosines with judgements.

    Parameters
    ----------
    vectors : array of shape (n_words, dim)
        Rows of norm 1.
    vocabulary : mapping of word to row
    pairs : iterable of (word, word, similarity)

    Raises
    ------
    InputError
        For what is no such triple, and for a similarity that is not finite; names the pair's
        number, from 0.
    TypeError
        If `pairs` is a string.
    """
    if isinstance(pairs, str | bytes):
        raise TypeError(f"pairs must hold (word, word, similarity), got one {_kind(pairs)}")
    asked = list(pairs)
    for number, pair in enumerate(asked):
        if not isinstance(pair, list | tuple) or len(pair) != 3:
            raise InputError(
                f"pairs must hold (word, word, similarity), got {pair!r} for pair {number}"
            )
        for word in pair[:2]:
            if not isinstance(word, Hashable):
                raise InputError(f"a word cannot be a {_kind(word)}, got one in pair {number}")
        try:
            finite = np.isfinite(float(pair[2]))
        except (TypeError, ValueError):
            finite = False
        if not finite:
            raise InputError(
                f"a similarity must be a finite number, got {pair[2]!r} for pair {number}"
            )
    known = [pair for pair in asked if pair[0] in vocabulary and pair[1] in vocabulary]
    judged = np.array([float(pair[2]) for pair in known])
    first, second = (vectors[[vocabulary[pair[k]] for pair in known]] for k in (0, 1))
    cosines = np.einsum("ij,ij->i", first, second)
    if len(known) < 2 or not np.ptp(judged) or not np.ptp(cosines):
        return WordSimilarity(float("nan"), len(known), len(asked))
    rank = float(spearmanr(cosines, judged).statistic)
    return WordSimilarity(rank, len(known), len(asked))


def _kind(value: Any) -> str:
    return type(value).__name__
