"""Numbers for tokens: words, characters, and bytes for all that is neither."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from kexue._core import InputError


class Vocabulary:
    """Turns tokens into ids and ids into text.

    Parameters
    ----------
    words : list of str
        Ids from 0 on.
    characters : iterable of str
        Those that words are made of; the ones that are no words have the ids after the words.

    Attributes
    ----------
    entries : list of str
        What has an id; byte b has the id ``len(entries) + b``.
    """

    def __init__(self, words: list[str], characters: set[str]) -> None:
        alone = sorted(characters.difference(words))
        self.entries = words + alone
        self._characters = {character: len(words) + k for k, character in enumerate(alone)}

    def spell(self, token: str) -> list[int]:
        """Return the ids of a token that is no word."""
        if token in self._characters:
            return [self._characters[token]]
        return [len(self.entries) + b for b in token.encode("utf-8", "surrogatepass")]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of `ids`; see `UnigramTokenizer.decode`."""
        numbers = np.asarray(ids)
        n = len(self.entries)
        integer = numbers.size == 0 or np.issubdtype(numbers.dtype, np.integer)
        if numbers.ndim != 1 or not integer:
            raise InputError(
                f"ids must be a sequence of int, got {numbers.dtype} of shape {numbers.shape}"
            )
        outside = (numbers < 0) | (numbers >= n + 256)
        if outside.any():
            index = int(np.argmax(outside))
            raise InputError(
                f"ids must be in [0, {n + 255}], got {numbers[index]} at index {index}"
            )
        pieces: list[str] = []
        for is_byte, group in itertools.groupby(numbers.tolist(), lambda number: number >= n):
            if is_byte:
                pieces.append(_text_of_bytes(bytes(number - n for number in group)))
            else:
                pieces += map(self.entries.__getitem__, group)
        return "".join(pieces)


def _text_of_bytes(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")
