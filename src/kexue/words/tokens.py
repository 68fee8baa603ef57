"""A segmented text as arrays, and the table of what its words are worth."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from kexue.corpus import _span_kernels as spans
from kexue.corpus import count_pairs
from kexue.corpus.texts import DOCUMENT_END, decode_codes

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of a text, their types numbered in order of first appearance.

    The end of a document is a token, spelled as the empty string.

    Attributes
    ----------
    codes : uint32 array of shape (n_characters,)
        Code points, `DOCUMENT_END` after every document.
    starts : int64 array of shape (n_tokens + 1,)
        Token k is ``codes[starts[k]:starts[k + 1]]``.
    ids : int32 array of shape (n_tokens,)
        The type of every token.
    first : int64 array of shape (n_types,)
        The first token of every type.
    """

    codes: np.ndarray
    starts: np.ndarray
    ids: np.ndarray
    first: np.ndarray

    @classmethod
    def from_starts(cls, codes: np.ndarray, starts: np.ndarray) -> Tokens:
        """Number the types of a segmented text."""
        return cls(codes, starts, *spans.encode_spans(codes, starts))

    @cached_property
    def counts(self) -> np.ndarray:
        """Occurrences of every type, int64 of shape (n_types,)."""
        return np.bincount(self.ids, minlength=self.first.size)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Characters of every type, int64 of shape (n_types,)."""
        return self.starts[self.first + 1] - self.starts[self.first]

    @cached_property
    def spellings(self) -> list[str]:
        """Spelling of every type; the end of a document is ''."""
        symbols, offsets = spans.gather_spans(self.codes, self.starts, self.first)
        # one character in place of the end of a document keeps the offsets
        text = decode_codes(np.where(symbols == DOCUMENT_END, 0, symbols))
        ends = offsets.tolist()
        words = [text[a:b] for a, b in itertools.pairwise(ends)]
        if self.end_id is not None:
            words[self.end_id] = ""
        return words

    @cached_property
    def end_id(self) -> int | None:
        """Type of the end of a document."""
        found = np.flatnonzero(self.codes[self.starts[self.first]] == DOCUMENT_END)
        return int(found[0]) if found.size else None

    @cached_property
    def blank(self) -> np.ndarray:
        """Which types begin with white space, bool of shape (n_types,)."""
        opening = self.codes[self.starts[self.first]]
        distinct, inverse = np.unique(opening, return_inverse=True)
        is_space = np.array([code != DOCUMENT_END and chr(code).isspace() for code in distinct])
        return is_space[inverse]


def character_bits(codes: np.ndarray) -> np.ndarray:
    """Return what each character costs in the characters' own code, bits, shape of `codes`."""
    counts = np.bincount(codes, minlength=DOCUMENT_END + 1)
    with np.errstate(divide="ignore"):
        return (np.log2(codes.size) - np.log2(counts))[codes]


def spelling_bits(tokens: Tokens) -> np.ndarray:
    """Return what the letters of each type cost in the characters' code, bits, (n_types,)."""
    begin = tokens.starts[tokens.first]
    offsets = np.concatenate(([0], np.cumsum(tokens.lengths)))
    # positions of all letters of all types, one type after the other
    positions = np.arange(offsets[-1]) + np.repeat(begin - offsets[:-1], tokens.lengths)
    return np.add.reduceat(character_bits(tokens.codes)[positions], offsets[:-1])


def length_bits(lengths: np.ndarray) -> np.ndarray:
    """Return the bits of Elias's gamma code of each length: ``2 floor(log2 l) + 1``."""
    return 2 * np.floor(np.log2(lengths)) + 1


def bits_saved(tokens: Tokens) -> np.ndarray:
    """Return each type's share in the fall from the characters' to the words' code, bits."""
    words = np.log2(tokens.ids.size) - np.log2(tokens.counts)
    return np.asarray(tokens.counts * (spelling_bits(tokens) - words))


def word_table(tokens: Tokens) -> pl.DataFrame:
    """Return every type of a segmented text with its worth, most bits saved first.

    Columns: ``word``; ``count``; ``pmi``, bits by which the word is likelier than its
    characters drawn one by one; ``left_entropy`` and ``right_entropy`` of the neighbouring
    tokens, white space skipped, in bits; ``bits_saved``, the word's share in the fall from the
    characters' to the words' code, ``count * pmi``; ``bits_net``, that less the price of the
    word's entry in the lexicon, its letters and its length. Single characters need no entry.
    The end of a document is the empty word.
    """
    import polars as pl

    counts = tokens.counts
    spelled = spelling_bits(tokens)
    pmi = spelled - (np.log2(tokens.ids.size) - np.log2(counts))
    price = np.where(tokens.lengths > 1, spelled + length_bits(tokens.lengths), 0.0)
    left, right = _neighbour_entropies(tokens)
    return pl.DataFrame(
        {
            "word": tokens.spellings,
            "count": counts,
            "pmi": pmi,
            "left_entropy": left,
            "right_entropy": right,
            "bits_saved": counts * pmi,
            "bits_net": counts * pmi - price,
        }
    ).sort(["bits_saved", "word"], descending=[True, False])


def _neighbour_entropies(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Return the entropy of the token before and after each type, bits, (n_types,) each."""
    walk = tokens.ids[~tokens.blank[tokens.ids]]
    if tokens.end_id is not None:
        # before the first document too, so that their order does not matter
        walk = np.append(tokens.end_id, walk)
    if walk.size < 2:
        zeros = np.zeros(tokens.first.size)
        return zeros, zeros
    pairs = count_pairs(walk, 1, symmetric=False, n_tokens=tokens.first.size)

    def entropy(matrix: sparse.csr_array) -> np.ndarray:
        total = np.asarray(matrix.sum(axis=1)).ravel()
        weighted = matrix.copy()
        weighted.data = weighted.data * np.log2(weighted.data)
        total_safe = np.maximum(total, 1.0)
        return np.log2(total_safe) - np.asarray(weighted.sum(axis=1)).ravel() / total_safe

    return entropy(pairs.T.tocsr()), entropy(pairs)
