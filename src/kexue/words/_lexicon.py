"""A lexicon made ready for the kernels: words with their costs, found by walking a trie."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kexue._core import thread_map
from kexue.corpus import _span_kernels as spans
from kexue.corpus.scripts import fold_table
from kexue.corpus.texts import decode_codes
from kexue.words import _lattice_kernels as kernels
from kexue.words import _sampling_kernels as sampling
from kexue.words._reading import (
    Atoms,
    changed_codes,
    changed_numbers,
    objects,
    reading_table,
    token_cuts,
)
from kexue.words._trie_kernels import build_trie

# Costs are whole multiples of 2**-24 bit: sums and ties are exact and the same everywhere,
# and 2**38 bits of text fit into an int64.
COST_UNIT = 2.0**-24
# Characters whose lattice stays in the processor's nearest cache
BLOCK = 1 << 10


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The tokens of some documents.

    Attributes
    ----------
    starts : int64 array of shape (n_tokens + 1,)
        Where tokens begin and, last, where the last one ends.
    words : int32 array of shape (n_tokens,)
        The word of each, -1 if it is none.
    surfaces : int32 array of shape (n_tokens,)
        How each reads, an index into `Lexicon.surfaces`, -1 if it is not there.
    """

    starts: np.ndarray
    words: np.ndarray
    surfaces: np.ndarray


class Lexicon:
    """Words and what they cost.

    Parameters
    ----------
    codes : uint32 array of shape (n,)
        Spellings after one another, as they are to be looked up.
    starts : int64 array of shape (m + 1,)
        Word k is ``codes[starts[k]:starts[k + 1]]``; the counts of equal words are added up.
    counts : int64 array of shape (m,)
    atoms, normalize
        See `UnigramTokenizer`.

    Attributes
    ----------
    symbols, offsets, counts : arrays
        The distinct words, like the parameters.
    total : int
    costs : int64 array of shape (n_words,)
        In units of 2**-24 bit.
    unknown : int
        Cost of a token that is no word.
    alphabet : int64 array
        The code points of which words are made.
    """

    def __init__(
        self,
        codes: np.ndarray,
        starts: np.ndarray,
        counts: np.ndarray,
        atoms: Atoms,
        normalize: str | None,
    ) -> None:
        ids, first = spans.encode_spans(codes, starts)
        self.counts = np.bincount(ids, counts).astype(np.int64)
        self.total = int(self.counts.sum())
        self.symbols, self.offsets = spans.gather_spans(codes, starts, first)
        self.costs = np.round(-np.log2(self.counts / self.total) / COST_UNIT).astype(np.int64)
        self.unknown = round(np.log2(2 * self.total) / COST_UNIT)
        self.alphabet, self._table = reading_table(self.symbols, self.offsets, normalize)
        self._base, self._check, self._word = build_trie(
            self._table[self.symbols] >> kernels.NUMBER_SHIFT, self.offsets, self.alphabet.size
        )
        compound = kernels.find_compounds(self.offsets, token_cuts(self.symbols, atoms))
        ending = self._word >= 0
        self._price = np.full(self._word.size, -1, np.int32)
        self._price[ending] = (2 * self.costs + compound)[self._word[ending]]
        self._whole_runs = int(atoms == "auto")
        self._folds = normalize is not None

    @cached_property
    def spellings(self) -> list[str]:
        """Spelling of every word."""
        text = decode_codes(self.symbols)
        return [text[a:b] for a, b in itertools.pairwise(self.offsets.tolist())]

    @cached_property
    def surfaces(self) -> np.ndarray:
        """What tokens often read like: the words, characters of another form, and last None."""
        return objects([*self.spellings, *map(chr, changed_codes().tolist()), None])

    @cached_property
    def order(self) -> np.ndarray:
        """The words, most frequent first; ties by code points."""
        counts = self.counts.tolist()
        return np.array(sorted(range(len(counts)), key=lambda k: (-counts[k], self.spellings[k])))

    def ordered(self) -> list[str]:
        """Return the spellings in that order."""
        return [self.spellings[k] for k in self.order.tolist()]

    def log2(self, words: np.ndarray) -> np.ndarray:
        """Return the logarithm to base 2 of the probability of every token."""
        return np.log2(np.where(words >= 0, self.counts[words], 0.5)) - np.log2(self.total)

    def cost(self, words: np.ndarray) -> np.ndarray:
        """Return the cost of every token."""
        return np.where(words >= 0, self.costs[words], self.unknown)

    def spell(self, codes: np.ndarray) -> str:
        """Return a text whose characters have the form that the words have, where they do."""
        if self._folds:
            codes = np.where(
                self._table[codes] >> kernels.NUMBER_SHIFT != 0, fold_table()[codes], codes
            )
        return decode_codes(codes)

    def segment(
        self, codes: np.ndarray, bounds: np.ndarray | None = None, n_jobs: int = 1
    ) -> Segmentation:
        """Find the tokens of documents, ``codes[bounds[k]:bounds[k + 1]]``, or of one."""
        if bounds is None:
            bounds = np.array([0, codes.size])
        shares = np.searchsorted(bounds, np.linspace(0, codes.size, n_jobs + 1)[1:-1])
        parts = [bounds[a : b + 1] for a, b in itertools.pairwise([0, *shares, bounds.size - 1])]
        found = thread_map(lambda part: self._segment_part(codes, part), parts, n_jobs)
        if n_jobs == 1:
            return found[0]
        return Segmentation(
            np.concatenate([*(part.starts[:-1] for part in found), bounds[-1:]]),
            np.concatenate([part.words for part in found]),
            np.concatenate([part.surfaces for part in found]),
        )

    def _segment_part(self, codes: np.ndarray, bounds: np.ndarray) -> Segmentation:
        most = int(bounds[-1] - bounds[0])
        starts = np.empty(most + 1, np.int64)
        words = np.empty(most, np.int32)
        surfaces = np.empty(most, np.int32)
        count = kernels.cheapest_paths(
            codes,
            bounds,
            self._table,
            self._whole_runs,
            self._base,
            self._check,
            self._price,
            self._word,
            self.unknown,
            self.counts.size,
            changed_numbers(),
            BLOCK,
            starts,
            words,
            surfaces,
        )
        return Segmentation(
            starts[: count + 1].copy(), words[:count].copy(), surfaces[:count].copy()
        )

    def edges(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return all tokens that a text may have; see `list_edges`."""
        return sampling.list_edges(
            codes, self._table, self._whole_runs, self._base, self._check, self._price, self._word
        )

    def strings(self, text: str, found: Segmentation) -> np.ndarray:
        """Return tokens as objects; one string serves all that read the same, where it is known."""
        strings = self.surfaces.take(found.surfaces)
        other = np.flatnonzero(found.surfaces < 0)
        if other.size:
            edges = zip(found.starts[other].tolist(), found.starts[other + 1].tolist(), strict=True)
            strings[other] = objects([text[begin:end] for begin, end in edges])
        return strings
