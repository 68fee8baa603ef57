"""A lexicon made ready for the kernels: words with their costs, found by walking a trie."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from kexue._core import InputError, thread_map
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
BEYOND = 1 << 44  # units: more than all words that a word may stand for cost together
# Atoms whose lattice stays in the processor's nearest cache
BLOCK = 1 << 10
# Characters worked on at once: what is known of each atom takes four times the text
PART = 1 << 17


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The tokens of some documents.

    Attributes
    ----------
    starts : int64 array of shape (n_tokens + 1,)
        Where tokens begin and, last, where the last one ends.
    labels : int32 array of shape (n_tokens,)
        What was asked of each.
    edges : int64 array of shape (n_documents + 1,)
        The first token of every document and, last, their number.
    """

    starts: np.ndarray
    labels: np.ndarray
    edges: np.ndarray


class Trie(NamedTuple):
    """A double array, see `kexue.words._trie_kernels`, and what ends at its nodes."""

    base: np.ndarray
    check: np.ndarray
    word: np.ndarray


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
        The distinct words, like the parameters, most frequent first.
    total : int
    costs : int64 array of shape (n_words,)
        In units of 2**-24 bit.
    unknown : int
        Cost of a token that is no word.
    alphabet : int64 array
        The code points of which words are made.
    n_atoms : int
        Distinct atoms of words.
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
        added = np.bincount(ids, counts).astype(np.int64)
        # what is often looked at together then lies together
        by_count = np.argsort(-added, kind="stable")
        self.counts = added[by_count]
        self.total = int(self.counts.sum())
        self.symbols, self.offsets = spans.gather_spans(codes, starts, first[by_count])
        self.costs = np.round(-np.log2(self.counts / self.total) / COST_UNIT).astype(np.int64)
        self.unknown = round(np.log2(2 * self.total) / COST_UNIT)
        self.alphabet, self._table = reading_table(self.symbols, normalize)
        self._whole_runs = int(atoms == "auto")
        self._folds = normalize is not None
        atom_symbols, atom_offsets = self._read_words(token_cuts(self.symbols, atoms))
        self._longest = int(np.diff(atom_offsets).max())
        if self._longest > kernels.MOST_ATOMS:
            raise InputError(
                f"words may have at most {kernels.MOST_ATOMS:,} characters, got {self._longest:,}"
            )
        self._words = Trie(*build_trie(atom_symbols, atom_offsets, self.n_atoms))
        ending = self._words.word >= 0
        self._price = np.full(ending.size, BEYOND)
        self._price[: self.n_atoms + 1] = self.unknown
        self._price[ending] = self.costs[self._words.word[ending]]
        self._price <<= kernels.TOKEN_BITS
        self._price += 1

    def _read_words(self, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number the runs of the words; return the atoms of all words, with their offsets."""
        cuts[self.offsets[:-1]] = True
        begins = np.append(np.flatnonzero(cuts), cuts.size)
        numbers = self._table[self.symbols] >> kernels.NUMBER_SHIFT
        atoms = numbers[begins[:-1]]
        long = np.flatnonzero(np.diff(begins) > 1)
        runs, run_offsets = spans.gather_spans(numbers, begins, long)
        ids, first = spans.encode_spans(runs, run_offsets)
        atoms[long] = self.alphabet.size + 1 + ids
        self.n_atoms = self.alphabet.size + first.size
        own_runs, own_offsets = spans.gather_spans(runs, run_offsets, first)
        base, check, run = build_trie(own_runs, own_offsets, self.alphabet.size)
        symbols = np.where(run >= 0, self.alphabet.size + 1 + run, 0).astype(np.uint32)
        self._runs = Trie(base, check, symbols)
        return atoms, np.searchsorted(begins, self.offsets)

    @property
    def nodes(self) -> np.ndarray:
        """The word that ends at every node of the trie, -1 for none."""
        return self._words.word

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
        self,
        codes: np.ndarray,
        bounds: np.ndarray | None = None,
        n_jobs: int = 1,
        *,
        labels: np.ndarray | None = None,
    ) -> Segmentation:
        """Find the tokens of documents, ``codes[bounds[k]:bounds[k + 1]]``, or of one.

        What is said of each token is its word or, given `labels` of the nodes of the trie, that
        of the node at which it ends.
        """
        if bounds is None:
            bounds = np.array([0, codes.size])
        label = self._words.word if labels is None else labels
        n_parts = max(n_jobs, -(-codes.size // PART))
        shares = np.searchsorted(bounds, np.linspace(0, codes.size, n_parts + 1)[1:-1])
        parts = [bounds[a : b + 1] for a, b in itertools.pairwise([0, *shares, bounds.size - 1])]
        found = thread_map(lambda part: self._segment_part(codes, part, label), parts, n_jobs)
        if len(found) == 1:
            return found[0]
        before = np.cumsum([0, *(part.labels.size for part in found)])
        edges = [part.edges[:-1] + n for part, n in zip(found, before, strict=False)]
        return Segmentation(
            np.concatenate([*(part.starts[:-1] for part in found), bounds[-1:]]),
            np.concatenate([part.labels for part in found]),
            np.concatenate([*edges, before[-1:]]),
        )

    def _segment_part(
        self, codes: np.ndarray, bounds: np.ndarray, label: np.ndarray
    ) -> Segmentation:
        if bounds.size == 1:
            return Segmentation(bounds.astype(np.int64), np.empty(0, np.int32), np.zeros(1, int))
        symbols, begins, ends, count = self._read(codes, bounds)
        lengths = np.empty(count, np.int32)
        nodes = np.empty(count, np.uint32)
        kernels.cheapest_paths(
            symbols, count, self._longest, *self._words[:2], self._price, BLOCK, lengths, nodes
        )
        most = count - ends.size
        starts = np.empty(most + 1, np.int64)
        labels = np.empty(most, np.int32)
        edges = np.empty(bounds.size, np.int64)
        kernels.list_tokens(begins, ends, lengths, nodes, label, starts, labels, edges)
        # copies, because a view would keep room for a token for each character
        return Segmentation(starts[: edges[-1] + 1].copy(), labels[: edges[-1]].copy(), edges)

    def _read(
        self, codes: np.ndarray, bounds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Return symbols and begins of the atoms, where documents end among them, their number."""
        most = int(bounds[-1] - bounds[0]) + bounds.size - 1
        symbols = np.empty(most + self._longest, np.uint32)
        begins = np.empty(most, np.int64)
        ends = np.empty(bounds.size - 1, np.int64)
        count = kernels.read_atoms(
            codes, bounds, self._table, self._whole_runs, *self._runs, symbols, begins, ends
        )
        return symbols, begins, ends, count

    def edges(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return where atoms begin and, last, the text ends, and all tokens; see `list_edges`."""
        symbols, begins, _, count = self._read(codes, np.array([0, codes.size]))
        return begins[:count], *sampling.list_edges(symbols[:count], *self._words)

    def strings(self, text: str, codes: np.ndarray, found: Segmentation) -> np.ndarray:
        """Return tokens as objects; one string serves all that read the same, where it is known.

        Labels must be words, and become indices into `surfaces`.
        """
        kernels.mark_surfaces(
            codes, found.starts, self._table, self.counts.size, changed_numbers(), found.labels
        )
        strings = self.surfaces.take(found.labels)
        other = np.flatnonzero(found.labels < 0)
        if other.size:
            edges = zip(found.starts[other].tolist(), found.starts[other + 1].tolist(), strict=True)
            strings[other] = objects([text[begin:end] for begin, end in edges])
        return strings
