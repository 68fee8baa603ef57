"""Normalised variation of branching entropy: where words begin and end, from counts alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kexue.corpus.counting import count_code_points, encode_ids
from kexue.corpus.executors import Executor
from kexue.corpus.ngrams import NGramCounts
from kexue.corpus.scripts import EXTENDING, JOINING, OTHER, character_classes
from kexue.words import _nvbe_kernels as kernels
from kexue.words._tries import Links, flat_trie
from kexue.words.solidity import SOLID, solidity

SOLIDITY_WEIGHT = 1.5
PRIOR_COUNT = 2.0
BLOCK = 1 << 18  # positions whose scores are looked up at once


def autonomies(counts: NGramCounts, max_length: int, links: Links) -> list[np.ndarray]:
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
    links : dict of int to int64 array
        ``dict(counts.suffix_links())``.

    Returns
    -------
    list of `max_length` float64 arrays of shape (n_distinct,)
        Of orders 1, 2, ...

    References
    ----------
    Magistry and Sagot, Unsupervized word segmentation: the case for Mandarin Chinese,
    ACL 2012.
    """
    counts.measure_entropies(links)
    # the entropies of the empty n-gram are constants, which the means take away
    found = [_centred(counts.entropy("right", 1)) + _centred(counts.entropy("left", 1))]
    for order in range(2, max_length + 1):
        prefixes, suffixes = counts.parents(order), links[order]
        right = counts.entropy("right", order) - counts.entropy("right", order - 1)[prefixes]
        left = counts.entropy("left", order) - counts.entropy("left", order - 1)[suffixes]
        found.append(_centred(right) + _centred(left))
    return found


def word_scores(counts: NGramCounts, max_length: int, links: Links) -> list[np.ndarray]:
    r"""Return what each n-gram is worth as a word, nats, for every order.

    With :math:`s(w)` its solidity (`kexue.words.solidity`), infinite for single characters, which
    have no such term, and :math:`N_w` its count:

    .. math:: \bigl(l_w\, a(w) + 1.5\, (s(w) - 2 (l_w - 1))\bigr) \frac{N_w}{N_w + 2}

    Autonomy looks at the edges of a word, solidity at its inside; the last factor holds back
    what was measured on few occurrences, where entropies come out too low. Weights and factor
    are kexue's own, chosen in docs/words/experiments.md.
    """
    solid = solidity(counts, max_length, links)
    scores = []
    for order, values in enumerate(autonomies(counts, max_length, links), 1):
        score = order * values
        if order > 1:
            score += SOLIDITY_WEIGHT * (solid[order - 1] - SOLID[order - 1])
        number = counts.levels[order].counts
        scores.append(score * (number / (number + PRIOR_COUNT)))
    return scores


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean() if values.size else values


class Lattice(NamedTuple):
    """A text with the scores of all its possible words.

    Attributes
    ----------
    ids : unsigned integer array of shape (n,)
        Character ids, 0 for what does not join.
    cuts : bool array of shape (n,)
        Where tokens may begin.
    last, children, scores, bases
        The n-grams as a trie, see `_nvbe_kernels.best_scored_path`.
    """

    ids: np.ndarray
    cuts: np.ndarray
    last: np.ndarray
    children: np.ndarray
    scores: np.ndarray
    bases: np.ndarray

    def segment(self, price: float) -> np.ndarray:
        r"""Return where tokens begin, bool of shape (n,).

        Maximises the sum of `word_scores` plus :math:`\lambda` for each word.

        Parameters
        ----------
        price : float
            :math:`\lambda`, nats; added for each word, so negative values make longer words.
        """
        begins = np.empty(self.ids.size, bool)
        kernels.best_scored_path(*self, price, BLOCK, begins)
        return begins


def lattice(
    codes: np.ndarray,
    cuts: np.ndarray,
    joining: np.ndarray,
    *,
    max_length: int,
    memory: int | str = "2GB",
    n_jobs: int | None = None,
    executor: Executor = "thread",
) -> Lattice:
    """Measure how much every n-gram of a text behaves like a word.

    Parameters
    ----------
    codes : uint32 array of shape (n,)
        Code points, `DOCUMENT_END` after every document.
    cuts : bool array of shape (n,)
        Where tokens may begin.
    joining : bool array of shape (n_code_points,)
        Which code points join into words.
    max_length : int
        Longest word, characters.
    memory, n_jobs, executor
        As for `kexue.corpus.count_ngrams`.
    """
    counts = count_code_points(
        [codes],
        max_length + 1,
        boundary=lambda distinct: ~joining[distinct],
        memory=memory,
        n_jobs=n_jobs,
        executor=executor,
    )
    links = dict(counts.suffix_links())
    scores = np.concatenate(word_scores(counts, max_length, links))
    last, children, bases = flat_trie(counts, max_length)
    return Lattice(encode_ids(codes, counts.alphabet), cuts, last, children, scores, bases)


def joining_characters(atoms: str) -> np.ndarray:
    """Return which code points may join into words, bool of shape (n_code_points,)."""
    classes = character_classes()
    if atoms == "character":
        return classes != OTHER
    return (classes == JOINING) | (classes == EXTENDING)
