"""How a tokenizer reads text: where tokens may begin, and what kernels need of every character."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np

from kexue.corpus.scripts import character_classes, fold_table
from kexue.words import _lattice_kernels as kernels

Atoms = Literal["auto", "character"]


def token_cuts(codes: np.ndarray, atoms: Atoms) -> np.ndarray:
    """Return where tokens may begin, bool of shape (n,).

    Not before a mark of a script without blanks, such as a Thai vowel sign, nor, unless
    `atoms` is "character", inside a run of letters or digits.
    """
    cuts = np.empty(codes.size, bool)
    kernels.mark_cuts(character_classes()[codes], int(atoms == "auto"), cuts)
    return cuts


def reading_table(symbols: np.ndarray, normalize: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the alphabet of a lexicon and the table through which its kernels read.

    Parameters
    ----------
    symbols : uint32 array of shape (n_symbols,)
        The spellings of all words.
    normalize : {"nfkc", None}

    Returns
    -------
    alphabet : int64 array of shape (n_distinct,)
        Code points, the most frequent first: what is often looked at together then lies together.
    table : uint32 array of shape (0x110001,)
        See `kexue.words._lattice_kernels`.
    """
    counts = np.bincount(symbols)
    alphabet = np.flatnonzero(counts)
    alphabet = alphabet[np.argsort(-counts[alphabet], kind="stable")]
    numbers = np.zeros(character_classes().size, np.uint32)
    numbers[alphabet] = np.arange(1, alphabet.size + 1)
    table = character_classes() | (numbers << kernels.NUMBER_SHIFT)
    if normalize:
        changed = changed_codes()
        table[changed] = character_classes()[changed] | kernels.CHANGED
        table[changed] |= numbers[fold_table()[changed]] << kernels.NUMBER_SHIFT
    return alphabet, table


@cache
def changed_codes() -> np.ndarray:
    """Return the code points that are looked up by another form, int64 of shape (n_changed,)."""
    return np.flatnonzero(fold_table() != np.arange(fold_table().size))


@cache
def changed_numbers() -> np.ndarray:
    """Return for every code point its number in `changed_codes`, or 0, int32, (0x110001,)."""
    numbers = np.zeros(fold_table().size, np.int32)
    numbers[changed_codes()] = np.arange(changed_codes().size)
    return numbers


def objects(strings: list[Any]) -> np.ndarray:
    """Return strings as an array of objects, which keeps NUL characters at their ends."""
    array = np.empty(len(strings), object)
    array[:] = strings
    return array
