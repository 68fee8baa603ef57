"""Tokenized documents as numbers: a vocabulary, and token ids that lie on disk."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from kexue._core import InputError, check_texts_argument
from kexue.corpus import Texts, read_texts

_HELD = 1 << 20  # token ids, until they are written
_LARGEST = 2**31 - 1


@dataclass(frozen=True, eq=False)
class TokenLists:
    """Documents as token ids.

    Attributes
    ----------
    ids : int32 array of shape (n_tokens,)
        Mapped from a file without a name, which goes with the array.
    offsets : int64 array of shape (n_documents + 1,)
        Document k is ``ids[offsets[k]:offsets[k + 1]]``.
    """

    ids: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return self.offsets.size - 1

    def counts(self, n: int) -> np.ndarray:
        """Return how often each of the ids below `n` occurs, int64, without a copy of them."""
        counts = np.zeros(n, np.int64)
        for begin in range(0, self.ids.size, _HELD):
            counts += np.bincount(self.ids[begin : begin + _HELD], minlength=n)
        return counts

    def renumbered(self, new: np.ndarray) -> TokenLists:
        """Return the documents with ``new[id]`` in place of every id, without those below 0.

        The ids are overwritten.
        """
        offsets = np.zeros_like(self.offsets)
        kept = 0
        for begin in range(0, self.ids.size, _HELD):
            ids = new[self.ids[begin : begin + _HELD]]
            inside = ids >= 0
            first, last = np.searchsorted(self.offsets, [begin, begin + _HELD])
            before = np.concatenate(([0], np.cumsum(inside)))
            offsets[first:last] = kept + before[self.offsets[first:last] - begin]
            size = int(before[-1])
            self.ids[kept : kept + size] = ids[inside]
            kept += size
        offsets[np.searchsorted(self.offsets, self.ids.size) :] = kept
        return TokenLists(self.ids[:kept], offsets)


def read_documents(documents: Any) -> Iterable[Sequence[str]]:
    """Return documents as lists of tokens; the lines of a file are split at blanks."""
    if isinstance(documents, Path):
        documents = read_texts(documents)
    if isinstance(documents, Texts):
        return (text.split() for text in documents)
    check_texts_argument(documents, name="documents")
    if not isinstance(documents, Iterable):
        raise TypeError(
            "documents must be an iterable of lists of str, a pathlib.Path or Texts, "
            f"got {documents!r}"
        )
    return documents


def number_tokens(documents: Any, numbers: dict[str, int], *, grow: bool = True) -> TokenLists:
    """Number the tokens of documents.

    Parameters
    ----------
    documents : iterable of sequences of str, pathlib.Path or Texts
    numbers : dict of str to int
        The numbers of words that are known; with `grow` it receives the others.
    grow : bool
        False leaves other words out.

    Raises
    ------
    TypeError
        If a document is a string, or a token is none, or is of another type than the words.
    """
    offsets = array("q", [0])
    known = len(numbers)
    # after `fit_ids` words are ids
    kind = str if grow or isinstance(next(iter(numbers)), str) else Integral
    total = 0

    def rows_of(document: Sequence[Any]) -> Iterator[int]:
        for token in document:
            row = numbers.get(token)
            if row is not None:
                yield row
            elif not isinstance(token, kind):
                raise TypeError(f"{token!r} can be no word")

    def parts() -> Iterator[array[int]]:
        nonlocal total
        held = array("i")
        for document in read_documents(documents):
            check_texts_argument(document, name="each document")
            begin = len(held)
            try:
                if grow:
                    held.extend(numbers.setdefault(token, len(numbers)) for token in document)
                else:
                    held.extend(rows_of(document))
            except TypeError as error:  # a token that is no word at all, such as a list
                name = "str" if kind is str else "int, as the words are"
                raise TypeError(f"tokens must be {name}, got another in {document!r}") from error
            total += len(held) - begin
            offsets.append(total)
            if len(held) >= _HELD:
                yield held
                held = array("i")
        yield held

    with tempfile.TemporaryFile(prefix="kexue-tokens-") as file:
        for part in parts():
            part.tofile(file)
        file.flush()
        ids = np.memmap(file, np.int32, "r+", shape=total) if total else np.empty(0, np.int32)
    for token in list(numbers)[known:]:
        if not isinstance(token, str):
            raise TypeError(f"tokens must be str, got {token!r}")
    return TokenLists(ids, np.array(offsets, np.int64))


def split_ids(token_ids: Any) -> TokenLists:
    """Return documents given as one array of ids, a negative id after each.

    Raises
    ------
    InputError
        If `token_ids` is not one row of integers, or an id does not fit into 31 bits.
    """
    ids = np.asarray(token_ids)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise InputError(
            f"token_ids must be a 1-d integer array, got {ids.dtype} of shape {ids.shape}"
        )
    if ids.size and int(ids.max()) > _LARGEST:
        raise InputError(f"token_ids must be less than 2**31, got {int(ids.max())}")
    ends = np.flatnonzero(ids < 0)
    if not ends.size or ends[-1] != ids.size - 1:
        ends = np.append(ends, ids.size)
    offsets = np.concatenate(([0], ends - np.arange(ends.size)))
    return TokenLists(ids[ids >= 0].astype(np.int32), offsets)


def choose_words(lists: TokenLists, n: int, min_count: int) -> tuple[TokenLists, np.ndarray]:
    """Return documents in numbers of the words that are frequent enough, and which these are.

    Parameters
    ----------
    lists : TokenLists
        Its ids are overwritten.
    n : int
        All ids are less than this.
    min_count : int

    Returns
    -------
    lists : TokenLists
    chosen : int64 array
        The ids that are left, most frequent first, and of equals the least first.

    Raises
    ------
    InputError
        If there is no token, or less than three words are left.
    """
    counts = lists.counts(n)
    if not lists.ids.size:
        raise InputError("there is no token in the documents")
    order = np.argsort(-counts, kind="stable")
    chosen = order[counts[order] >= min_count]
    if chosen.size < 3:
        raise InputError(
            f"{chosen.size} words occur min_count={min_count} times, and 3 are needed; "
            f"{np.count_nonzero(counts) - chosen.size} were dropped: lower min_count or give "
            "more text"
        )
    new = np.full(n, -1, np.int32)
    new[chosen] = np.arange(chosen.size)
    return lists.renumbered(new), chosen
