"""The price of a word from the text alone: between two codes, one too thrifty, one too free."""

from __future__ import annotations

import numpy as np

from kexue.words.nvbe import Lattice
from kexue.words.tokens import Tokens, spelling_bits

PRICES = np.arange(0.0, -8.5, -1.0)  # nats
LENGTH_BITS = 3.0  # to say how long a word of the lexicon is


def description_lengths(codes: np.ndarray, starts: np.ndarray) -> tuple[float, float]:
    r"""Return what a segmented text takes together with its lexicon, in bits per character.

    The first code writes every word in the lexicon, letter by letter in the characters' own code
    and 3 bits for its length, and the text in words. The second writes words used once where
    they occur instead, after a symbol that announces this.

    Parameters
    ----------
    codes : uint32 array of shape (n,)
        Code points.
    starts : int64 array of shape (n_tokens + 1,)
        Where tokens begin, and the length.

    Returns
    -------
    float, float
    """
    tokens = Tokens.from_starts(codes, starts)
    counts = tokens.counts
    entries = spelling_bits(tokens) + LENGTH_BITS
    text = counts * (np.log2(starts.size - 1) - np.log2(counts))
    once = counts == 1
    n_once = int(once.sum())
    all_listed = text.sum() + entries.sum()
    # the symbol that announces a word used once is as frequent as these words together
    announced = n_once * (np.log2(starts.size - 1) - np.log2(max(n_once, 1)))
    escaped = text[~once].sum() + announced + entries.sum()
    return float(all_listed / codes.size), float(escaped / codes.size)


def balanced_price(lattice: Lattice, codes: np.ndarray) -> float:
    """Return the price of a word, in nats, midway between those that the two codes ask for.

    The first code of `description_lengths` pays in full for every word used once and stops
    too early; the second hardly pays and stops too late. The best price lies between them.
    `PRICES` are tried, from 0 to -8.

    Parameters
    ----------
    lattice : Lattice
    codes : uint32 array of shape (n,)
        The text that the lattice was made of.
    """
    lengths = []
    for price in PRICES:
        starts = np.append(np.flatnonzero(lattice.segment(float(price))), codes.size)
        lengths.append(description_lengths(codes, starts))
    return float(PRICES[np.argmin(lengths, axis=0)].mean())
