"""Words of documents counted by a Python function, here or in another process.

It imports nothing heavy, so that a process started for it is at work at once.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain
from typing import NamedTuple

Tokenize = Callable[[str], Iterable[str]]


class Documents(NamedTuple):
    """Documents as one string, which travels faster than many.

    Attributes
    ----------
    text : str
    separator : str
        The character after every document, which is in none of them.
    source : str
        Where they come from, for messages.
    """

    text: str
    separator: str
    source: str


class PackedCounts(NamedTuple):
    """Counts of words, packed: a dictionary takes ten times as long to travel.

    Attributes
    ----------
    text : str
        The words, one after the other.
    lengths, counts : bytes
        Of int64.
    """

    text: str
    lengths: bytes
    counts: bytes


def count_documents(tokenize: Tokenize, documents: Documents) -> tuple[int, PackedCounts]:
    """Return the number of characters, ends of documents included, and the counts of all words."""

    def words_of(document: str) -> Iterable[str]:
        words = tokenize(document)
        if isinstance(words, str):
            raise TypeError(f"tokenize must return an iterable of str, got the str {words[:40]!r}")
        if not isinstance(words, Iterable):
            raise TypeError(f"tokenize must return an iterable of str, got {words!r}")
        return words

    try:
        texts = documents.text.split(documents.separator)
        texts.pop()  # what follows the last separator
        # one call for all documents, so that the loop over words is not Python's
        counter = Counter(chain.from_iterable(map(words_of, texts)))
        try:
            text = "".join(counter)
        except TypeError:
            word = next(word for word in counter if not isinstance(word, str))
            raise TypeError(
                f"tokenize must return an iterable of str, got {word!r} in it"
            ) from None
    except Exception as error:
        error.add_note(f"raised while the words of {documents.source} were counted")
        raise
    lengths = array("q", map(len, counter)).tobytes()
    counts = array("q", counter.values()).tobytes()
    return len(documents.text), PackedCounts(text, lengths, counts)
