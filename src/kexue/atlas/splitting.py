"""What a corpus must hold, and keeping a tenth of it back to see what codes are worth elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kexue._core import InputError
from kexue.corpus.texts import DOCUMENT_END

MIN_DOCUMENTS = 20
BLOCK = 2000


@dataclass(frozen=True, eq=False)
class Split:
    """A corpus in two parts.

    Attributes
    ----------
    train, held_out : uint32 arrays
        Code points, `DOCUMENT_END` after every document; `held_out` may be empty.
    train_documents, held_out_documents : int64 arrays
        Which document of the corpus each document of a part was, or was a piece of.
    unit : str
        What was drawn: ``"documents"`` or ``"blocks"``.
    drawn : int64 array
        Numbers of the units held back, in increasing order.
    n_units : int
    """

    train: np.ndarray
    held_out: np.ndarray
    train_documents: np.ndarray
    held_out_documents: np.ndarray
    unit: str
    drawn: np.ndarray
    n_units: int


def split_corpus(codes: np.ndarray, seed: int) -> Split:
    """Draw a tenth of the documents at random.

    With fewer than 20 documents the tenth is drawn from blocks of 2,000 characters, each
    closed like a document; what lies between two drawn blocks stays together. A text of fewer
    than ten blocks is too short: nothing is held back.
    """
    ends = np.flatnonzero(codes == DOCUMENT_END) + 1
    unit = "documents"
    if ends.size < MIN_DOCUMENTS:
        unit = "blocks"
        edges = np.arange(BLOCK, codes.size, BLOCK)
        # a block must not consist of the end of a document alone
        ends = np.union1d(ends, edges[codes[edges] != DOCUMENT_END])
    begins = np.concatenate(([0], ends[:-1]))
    n = ends.size
    drawn = np.sort(np.random.default_rng(seed).permutation(n)[: n // 10])
    back = np.zeros(codes.size + 1, np.int8)
    np.add.at(back, begins[drawn], 1)
    np.add.at(back, ends[drawn], -1)
    is_held = np.cumsum(back[:-1]) > 0
    train, train_documents = _closed(codes, ~is_held)
    held_out, held_out_documents = _closed(codes, is_held)
    drawn = drawn.astype(np.int64)
    return Split(train, held_out, train_documents, held_out_documents, unit, drawn, n)


def check_repeats(codes: np.ndarray) -> None:
    """Raise `InputError` unless some two neighbouring characters occur twice."""
    blank = np.zeros(DOCUMENT_END + 1, bool)
    blank[[DOCUMENT_END, *(c for c in range(0x3001) if chr(c).isspace())]] = True
    for size in (10**5, codes.size):  # almost every text repeats itself within its first pages
        left, right = codes[:size][:-1], codes[:size][1:]
        inside = ~blank[left] & ~blank[right]
        pairs = np.sort(left[inside].astype(np.uint64) << np.uint64(32) | right[inside])
        if np.any(pairs[1:] == pairs[:-1]):
            return
    raise InputError(
        f"nothing repeats: no two neighbouring characters occur twice in the {codes.size:,} "
        "characters given, blanks apart, so there is no structure to learn; give more text"
    )


def _closed(codes: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the chosen stretches, each closed by `DOCUMENT_END`, and the document of each."""
    is_end = codes == DOCUMENT_END
    last = chosen & (is_end | ~np.append(chosen[1:], False))
    stops = np.flatnonzero(last)
    open_ends = stops[~is_end[stops]]
    position = np.cumsum(chosen)[open_ends]
    documents = np.cumsum(is_end)[stops] - is_end[stops]
    return np.insert(codes[chosen], position, np.uint32(DOCUMENT_END)), documents
