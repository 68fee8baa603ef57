"""A growing table of counted words, filled from tables that stay in the cache."""

from collections.abc import Iterable, Iterator
from threading import Lock
from typing import NamedTuple

import numpy as np

from kexue.corpus import _word_kernels as kernels
from kexue.corpus._decoding import encode_text, replace_surrogates
from kexue.corpus._documents import PackedCounts
from kexue.corpus._span_kernels import EMPTY, hash_spans, index_hashes
from kexue.corpus._word_kernels import BEGIN, COUNT, END, HASH

# Words in a local table: 0.7 MB with its slots, for a second-level cache of 1 MB. Between 2**13
# and 2**16 the whole count takes the same time to within 10 %: what small tables gain by their
# place in the cache they lose by more merging
LOCAL_WORDS = 1 << 14


# Where spans begin and end, and their hashes
Spans = tuple[np.ndarray, np.ndarray, np.ndarray]


class Words(NamedTuple):
    """Counted words, in no particular order.

    Attributes
    ----------
    codes : uint32 array
        Spellings, one after the other.
    entries : int64 array of shape (n, 4)
        As in `_word_kernels`.
    """

    codes: np.ndarray
    entries: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Counts, int64 of shape (n,)."""
        return self.entries[:, COUNT]

    @property
    def offsets(self) -> np.ndarray:
        """Where spellings begin, and where the last one ends, int64 of shape (n + 1,)."""
        return np.append(self.entries[:, BEGIN], self.codes.size)


class Tally:
    """A growing table of words, in parts that several threads can add to."""

    def __init__(self) -> None:
        self._shards = [_Shard() for _ in range(kernels.N_SHARDS)]

    def count(self, codes: np.ndarray, spans: Iterable[Spans]) -> None:
        """Count spans of a text, given some at a time, through a table that stays in the cache."""
        slots = np.full(2 * LOCAL_WORDS, EMPTY, np.int32)
        entries = np.empty((LOCAL_WORDS, 4), np.int64)
        n = 0
        for begins, ends, hashes in spans:
            k = 0
            while True:
                k, n = kernels.count_spans(codes, begins, ends, hashes, k, slots, entries, n)
                if k == begins.size:
                    break
                self.add(Words(codes, entries[:n]))
                slots[:] = EMPTY
                n = 0
        self.add(Words(codes, entries[:n]))

    def add(self, words: Words) -> None:
        """Add distinct words that were counted elsewhere."""
        order, bounds = kernels.order_by_shard(words.entries)
        for shard, low, high in zip(self._shards, bounds[:-1], bounds[1:], strict=True):
            if low < high:
                shard.add(words, order[low:high])

    def add_packed(self, packed: PackedCounts) -> None:
        """Add what a dictionary of strings held."""
        codes = encode_text(packed.text)
        replace_surrogates(codes)
        lengths, counts = (np.frombuffer(data, np.int64) for data in packed[1:])
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        entries = np.empty((lengths.size, 4), np.int64)
        entries[:, BEGIN] = offsets[:-1]
        entries[:, END] = offsets[1:]
        entries[:, HASH] = hash_spans(codes, offsets).view(np.int64)
        entries[:, COUNT] = counts
        self.add(Words(codes, entries))

    def words(self) -> Words:
        """Return all words."""
        parts = [shard.words() for shard in self._shards]
        codes = np.concatenate([part.codes for part in parts])
        entries = np.concatenate([part.entries for part in parts])
        first = row = 0
        for part in parts:
            rows = entries[row : row + part.entries.shape[0]]
            rows[:, BEGIN] += first
            rows[:, END] += first
            first += part.codes.size
            row += rows.shape[0]
        return Words(codes, entries)

    def drain(self) -> Iterator[Words]:
        """Yield all words in parts, each of which is forgotten as soon as the next is asked for."""
        while self._shards:
            yield self._shards.pop().words()

    def __len__(self) -> int:
        """Return the number of distinct words."""
        return sum(shard.size for shard in self._shards)

    @property
    def nbytes(self) -> int:
        """What the tables take."""
        return sum(array.nbytes for shard in self._shards for array in shard.table)


class _Shard:
    """One part of a `Tally`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._size = np.zeros(1, np.int64)
        # slots, entries, symbols, as in `_word_kernels.add_entries`
        self.table = (
            np.full(512, EMPTY, np.int32),
            np.empty((256, 4), np.int64),
            np.empty(2048, np.uint32),
        )

    def add(self, words: Words, which: np.ndarray) -> None:
        with self._lock:
            while True:
                which = which[kernels.add_entries(*words, which, *self.table, self._size) :]
                if not which.size:
                    return
                begin, end = words.entries[which[0], : END + 1].tolist()
                self._make_room(end - begin)

    def _make_room(self, length: int) -> None:
        """Grow what has no room for one more word of this length."""
        slots, entries, symbols = self.table
        n = int(self._size[0])
        used = entries[n - 1, END] if n else 0
        if used + length > symbols.size:
            symbols = _grown(symbols, 2 * symbols.size + length)
        if n == entries.shape[0]:
            entries = _grown(entries, 2 * n)
            slots = index_hashes(np.ascontiguousarray(entries[:n, HASH]).view(np.uint64), 4 * n)
        self.table = slots, entries, symbols

    @property
    def size(self) -> int:
        return int(self._size[0])

    def words(self) -> Words:
        n = self.size
        _, entries, symbols = self.table
        return Words(symbols[: entries[n - 1, END] if n else 0], entries[:n])


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    grown = np.empty((size, *array.shape[1:]), array.dtype)
    grown[: array.shape[0]] = array
    return grown
