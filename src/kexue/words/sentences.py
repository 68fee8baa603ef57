"""Sentences: tokenized documents between punctuation marks, and their words as numbers."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kexue._core import InputError
from kexue.corpus.scripts import DIGIT, EXTENDING, JOINING, LETTER, OTHER, character_classes


@dataclass(frozen=True, eq=False)
class Sentences:
    """Sentences as numbers.

    Attributes
    ----------
    spellings : list of str
        Of every word, in order of first appearance.
    ids : int32 array of shape (n_tokens,)
    bounds : int64 array of shape (n_sentences + 1,)
        Sentence k is ``ids[bounds[k]:bounds[k + 1]]``.
    """

    spellings: list[str]
    ids: np.ndarray
    bounds: np.ndarray

    @classmethod
    def read(cls, sentences: Iterable[Sequence[str]]) -> Sentences:
        """Number the words of tokenized sentences."""
        check_words("sentences", sentences)
        numbers: dict[str, int] = {}
        ids = array("i")
        bounds = [0]
        for index, sentence in enumerate(sentences):
            check_words(f"sentences[{index}]", sentence)
            for word in sentence:
                if not isinstance(word, str):
                    raise TypeError(f"sentences[{index}] must hold str, got {type(word).__name__}")
                ids.append(numbers.setdefault(word, len(numbers)))
            bounds.append(len(ids))
        if not ids:
            raise InputError(
                f"sentences hold no words ({len(bounds) - 1} sentences, all empty); "
                "give lists of words"
            )
        return cls(list(numbers), np.array(ids, np.int32), np.array(bounds, np.int64))

    @cached_property
    def counts(self) -> np.ndarray:
        """Occurrences of every word, int64 of shape (n_words,)."""
        return np.bincount(self.ids)

    @property
    def n_symbols(self) -> int:
        """Words and ends of sentences."""
        return self.ids.size + self.bounds.size - 1

    @property
    def n_characters(self) -> int:
        """Characters, the end of a sentence being one."""
        lengths = np.fromiter(map(len, self.spellings), np.int64, len(self.spellings))
        return int(lengths @ self.counts) + self.bounds.size - 1


def split_sentences(documents: Iterable[Sequence[str]]) -> list[list[str]]:
    """Return the sentences of tokenized documents: stretches between punctuation marks.

    A token without a letter, mark or digit ends a sentence and belongs to none, unless it
    stands between letters or digits of a script with blanks, as in don't or 3.14. Blanks are
    left out, and end a sentence only next to a script that is written without them.

    Examples
    --------
    >>> split_sentences([["I", " ", "came", ",", " ", "I", " ", "saw", "."], ["来", " ", "见"]])
    [['I', 'came'], ['I', 'saw'], ['来'], ['见']]
    """
    check_words("documents", documents)
    sentences = []
    for index, document in enumerate(documents):
        check_words(f"documents[{index}]", document)
        sentence: list[str] = []
        tokens = [token for token in document if token]
        for before, token, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
            ends = _ends_sentence(before, token, after)
            if ends and sentence:
                sentences.append(sentence)
                sentence = []
            if not (ends or token.isspace()):
                sentence.append(token)
        if sentence:
            sentences.append(sentence)
    return sentences


def _ends_sentence(before: str, token: str, after: str) -> bool:
    """Return whether a token between two others, '' for none, stands between two sentences."""
    classes = character_classes()
    if any(classes[ord(c)] != OTHER for c in token):
        return False
    sides = {int(classes[ord(side)]) for side in (before[-1:], after[:1]) if side}
    if not token.isspace():
        return not (before and after and sides <= {LETTER, DIGIT})
    return "\n" in token or not sides.isdisjoint((JOINING, EXTENDING))


def check_words(name: str, value: object) -> None:
    """Refuse text that is not tokenized; iterating it would yield characters."""
    if isinstance(value, str | bytes):
        lists = "lists of words" if name in ("sentences", "documents") else "a list of words"
        raise TypeError(
            f"{name} must be {lists}, got one {type(value).__name__}; tokenize it first"
        )
