"""Cuts by the solidity of n-grams, and by the mutual information of neighbouring characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kexue.corpus import _span_kernels as spans
from kexue.corpus.counting import count_code_points, encode_ids
from kexue.corpus.executors import Executor
from kexue.corpus.ngrams import NGramCounts
from kexue.words import _cut_kernels as kernels
from kexue.words._tries import Links, flat_trie

# Words: symbols, offsets and counts, as `UnigramTokenizer.from_spans` takes them
Spans = tuple[np.ndarray, np.ndarray, np.ndarray]
# Least solidity of an n-gram of 1, 2, 3, ... characters, nats: what chance leaves grows with
# length, by about 2 a character.
SOLID = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0)


def solidity(counts: NGramCounts, max_order: int, links: Links) -> list[np.ndarray]:
    r"""Return how firmly each n-gram holds together, in nats, for every order.

    :math:`\min_j \log \frac{N N_w}{N_{w_{:j}} N_{w_{j:}}}` over the places where it could be
    cut in two; infinite for single characters.

    Parameters
    ----------
    counts : NGramCounts
    max_order : int
    links : dict of int to int64 array
        ``dict(counts.suffix_links())``.

    Returns
    -------
    list of `max_order` float64 arrays of shape (n_distinct,)

    References
    ----------
    kexue.fm, archives/4256.
    """
    logs = [np.log(level.counts) for level in counts.levels[1 : max_order + 1]]
    found = [np.full(logs[0].size, np.inf)]
    for order in range(2, max_order + 1):
        least = np.full(logs[order - 1].size, np.inf)
        # the parts before and after each cut, the cut moving from the end to the beginning
        heads = [np.arange(least.size)]
        for o in range(order, 1, -1):
            heads.append(counts.parents(o)[heads[-1]])
        tails = np.arange(least.size)
        for cut in range(1, order):
            tails = links[order - cut + 1][tails]
            parts = logs[cut - 1][heads[order - cut]] + logs[order - cut - 1][tails]
            np.minimum(least, np.log(counts.total) + logs[order - 1] - parts, out=least)
        found.append(least)
    return found


class Accepted(NamedTuple):
    """The n-grams of a text that are frequent and solid enough.

    Attributes
    ----------
    counts : NGramCounts
    accepted : tuple of bool arrays of shape (n_distinct,)
        By order, from 1 on.
    """

    counts: NGramCounts
    accepted: tuple[np.ndarray, ...]

    def segment(self, codes: np.ndarray, cuts: np.ndarray) -> np.ndarray:
        """Cut a text wherever no accepted n-gram covers both sides.

        All matches count, not only the longest: two that overlap make one piece.

        Parameters
        ----------
        codes : uint32 array of shape (n,)
            The text that was counted.
        cuts : bool array of shape (n,)
            Where tokens may begin.

        Returns
        -------
        bool array of shape (n,)
            True where a token begins.
        """
        last, children, bases = flat_trie(self.counts, self.counts.order)
        ids = encode_ids(codes, self.counts.alphabet)
        begins = cuts.copy()
        kernels.join_accepted(ids, children, last, bases, np.concatenate(self.accepted), begins)
        return begins

    def checked(self, words: Spans) -> Spans:
        """Return the pieces that are words by themselves.

        Pieces of one or two characters are. In a longer one every window as long as the longest
        n-gram must be accepted, or the piece itself if it is shorter.

        Parameters
        ----------
        words : tuple of (symbols, offsets, counts)
            As `UnigramTokenizer.from_spans` takes them.
        """
        symbols, offsets, counts = words
        lengths = np.diff(offsets)
        passed = np.ones(lengths.size, bool)
        longest = self.counts.order
        for order in range(3, longest + 1):
            (pieces,) = np.nonzero(lengths >= order if order == longest else lengths == order)
            windows = lengths[pieces] - order + 1
            owner = np.repeat(pieces, windows)
            inside = np.arange(owner.size) - np.repeat(np.cumsum(windows) - windows, windows)
            ngrams = symbols[(offsets[owner] + inside)[:, None] + np.arange(order)]
            rows = self.counts.find(ngrams)
            # what was not counted does not join: a run that is a word as it stands
            known = rows >= 0
            passed[owner[known][~self.accepted[order - 1][rows[known]]]] = False
        # a letter with marks may be longer than an n-gram, and no text is without words
        kept = np.flatnonzero(passed if np.any(passed) else ~passed)
        return *spans.gather_spans(symbols, offsets, kept), counts[kept]


def accept(
    codes: np.ndarray,
    joining: np.ndarray,
    max_length: int,
    min_count: int,
    min_solidity: Sequence[float] = SOLID,
    *,
    memory: int | str = "2GB",
    n_jobs: int | None = None,
    executor: Executor = "thread",
) -> Accepted:
    """Find the n-grams that hold together.

    Parameters
    ----------
    codes, joining
        As for `kexue.words.nvbe.lattice`.
    max_length : int
        Longest n-gram.
    min_count : int
    min_solidity : sequence of float
        By length from 1 on, nats.
    memory, n_jobs, executor
        As for `kexue.corpus.count_ngrams`.
    """
    counts = count_code_points(
        [codes],
        max_length,
        boundary=lambda distinct: ~joining[distinct],
        memory=memory,
        n_jobs=n_jobs,
        executor=executor,
    )
    solid = solidity(counts, max_length, dict(counts.suffix_links()))
    levels = zip(counts.levels[1:], solid, min_solidity[:max_length], strict=True)
    return Accepted(
        counts,
        tuple((level.counts >= min_count) & (firm >= least) for level, firm, least in levels),
    )
