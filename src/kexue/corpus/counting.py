"""Exact n-gram counts by sorted runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kexue._core import (
    InputError,
    check_choice,
    check_int,
    effective_jobs,
    format_memory,
    parse_memory,
    thread_map,
)
from kexue.corpus import _counting_kernels as kernels
from kexue.corpus.scripts import OTHER, character_classes
from kexue.corpus.texts import DOCUMENT_END, as_texts, decode_codes, encode_text

if TYPE_CHECKING:
    import polars as pl

MAX_ORDER = 5
MAX_ALPHABET = 2**16 - 1
Side = Literal["left", "right"]
Boundary = Literal["auto"] | Callable[[np.ndarray], np.ndarray]


def count_ngrams(
    texts: Any,
    order: int = 4,
    *,
    min_count: int = 1,
    boundary: Boundary = "auto",
    entropies: bool = False,
    memory: int | str = "2GB",
    n_jobs: int | None = None,
) -> NGramCounts:
    """Count every n-gram of orders 1 to `order` of characters, exactly.

    Spans between boundaries are counted on their own: no n-gram crosses a boundary. The
    result is the same for any `n_jobs`, chunking and order of files.

    Parameters
    ----------
    texts : Texts, pathlib.Path, iterable of str or callable returning one
        What `kexue.corpus.as_texts` takes.
    order : int in [1, 5]
        The longest n-grams counted.
    min_count : int >= 1
        Rarer n-grams are dropped from the result, after everything was counted.
    boundary : "auto" or callable
        Which characters separate spans, besides the end of every document. ``"auto"``: all
        that are neither letter, mark nor digit. A callable receives the distinct code
        points, a sorted uint32 array, and returns a boolean array, True for boundaries.
    entropies : bool
        Also measure the branching entropies of both sides of all n-grams of orders below
        `order`; costs a second sort.
    memory : int or str
        Most bytes that positions and tables may take at once, such as ``"2GB"``; the
        positions are sorted in as many parts as that needs.
    n_jobs : int or None
        Threads: None means 1, -1 all processors. The result does not depend on it.

    Returns
    -------
    NGramCounts

    Raises
    ------
    InputError
        On a bad argument, a text without any character between boundaries, more than
        65,535 distinct characters, or tables that do not fit into `memory`.

    Examples
    --------
    >>> counts = count_ngrams(["to be or not to be"], order=2)
    >>> counts["to"], counts["b"], counts.total
    (2, 2, 13)
    >>> counts.top(2, k=2)
    [('be', 2), ('to', 2)]
    """
    return count_code_points(
        [chunk.codes for chunk in as_texts(texts).chunks()],
        order,
        min_count=min_count,
        boundary=boundary,
        entropies=entropies,
        memory=memory,
        n_jobs=n_jobs,
    )


def count_code_points(
    chunks: Sequence[np.ndarray],
    order: int,
    *,
    min_count: int = 1,
    boundary: Boundary = "auto",
    entropies: bool = False,
    memory: int | str = "2GB",
    n_jobs: int | None = None,
) -> NGramCounts:
    """Count n-grams as `count_ngrams` does, of texts that are code points already.

    Parameters
    ----------
    chunks : sequence of uint32 arrays
        Code points, with `DOCUMENT_END` after every document.
    """
    check_int("order", order, minimum=1, maximum=MAX_ORDER)
    check_int("min_count", min_count, minimum=1)
    if not callable(boundary):
        check_choice("boundary", boundary, ("auto",))
    budget = parse_memory(memory)
    jobs = effective_jobs(n_jobs)
    ids, alphabet = assign_ids(chunks, boundary)
    tables = _count_ids(ids, alphabet.size + 1, order, budget, jobs)
    counts = NGramCounts(alphabet, tables)
    if entropies:
        backward = _count_ids(ids[::-1].copy(), alphabet.size + 1, order, budget, jobs)
        _measure_entropies(tables, backward)
    return counts.pruned(min_count) if min_count > 1 else counts


@dataclass
class Table:
    """The distinct n-grams of one order, sorted by code points.

    Attributes
    ----------
    starts : int64 array of shape (n_ids + 1,)
        Entries whose first id is ``i`` lie in ``starts[i]:starts[i + 1]``.
    rest : uint64 array of shape (n_entries,)
        The ids after the first, 16 bits each from the top.
    counts : int64 array of shape (n_entries,)
    entropies : dict of side to float64 array of shape (n_entries,), in nats
    """

    starts: np.ndarray
    rest: np.ndarray
    counts: np.ndarray
    entropies: dict[str, np.ndarray] = field(default_factory=dict)

    def first_ids(self) -> np.ndarray:
        """Return the first id of every entry, int64 of shape (n_entries,)."""
        return np.repeat(np.arange(self.starts.size - 1), np.diff(self.starts))

    def ids(self, order: int) -> np.ndarray:
        """Return the ids of every entry, uint16 of shape (n_entries, order)."""
        ids = np.empty((self.rest.size, order), np.uint16)
        ids[:, 0] = self.first_ids()
        for o in range(1, order):
            ids[:, o] = (self.rest >> np.uint64(64 - 16 * o)) & np.uint64(0xFFFF)
        return ids

    def packed(self) -> np.ndarray:
        """Return every entry of an order up to 4 as one sortable uint64."""
        first = self.first_ids().astype(np.uint64) << np.uint64(48)
        return first | (self.rest >> np.uint64(16))


class NGramCounts:
    """Counts of the n-grams of a text, orders 1 to `order`; made by `count_ngrams`.

    Attributes
    ----------
    order : int
        The longest n-grams.
    alphabet : uint32 array of shape (n_characters,)
        Code points in increasing order; the id of ``alphabet[i]`` is ``i + 1``.
    total : int
        Number of characters counted.
    tables : list of Table
        ``tables[o]`` holds order ``o``; ``tables[0]`` is None.
    """

    def __init__(self, alphabet: np.ndarray, tables: list[Any], total: int | None = None) -> None:
        self.alphabet = alphabet
        self.tables = tables
        self.order = len(tables) - 1
        self.total = int(tables[1].counts.sum()) if total is None else total

    def n_distinct(self, order: int) -> int:
        """Return the number of distinct n-grams of `order`."""
        return int(self._table(order).counts.size)

    def count(self, ngram: str) -> int:
        """Return how often `ngram` occurs; 0 if it does not, or is longer than `order`."""
        index = self._find(ngram)
        return 0 if index < 0 else int(self.tables[len(ngram)].counts[index])

    def counts(self, ngrams: Iterable[str]) -> np.ndarray:
        """Return the counts of several n-grams, int64 of shape (n,)."""
        return np.array([self.count(ngram) for ngram in ngrams], np.int64)

    def top(self, order: int, k: int = 10) -> list[tuple[str, int]]:
        """Return the `k` most frequent n-grams of `order`; ties in order of code points."""
        counts = self._table(order).counts
        best = np.argsort(-counts, kind="stable")[:k]
        return [(self.ngram(order, int(i)), int(counts[i])) for i in best]

    def entropy(self, side: Side, order: int) -> np.ndarray:
        """Return the branching entropies of all n-grams of `order`, in nats.

        Aligned with the rows of `to_polars`. Occurrences at the end of a span continue into
        symbols of their own.

        Raises
        ------
        InputError
            If the text was counted without ``entropies=True``, or `order` is the last one.
        """
        check_choice("side", side, ("left", "right"))
        table = self._table(order)
        if side not in table.entropies:
            raise InputError(
                f"the {side} entropies of order {order} were not counted; call count_ngrams "
                f"with entropies=True and order >= {order + 1}"
            )
        return table.entropies[side]

    def to_polars(self, order: int) -> pl.DataFrame:
        """Return the n-grams of `order` as a table of ``ngram`` and ``count``."""
        import polars as pl

        table = self._table(order)
        codes = self.alphabet[table.ids(order).astype(np.int64) - 1]
        text = decode_codes(codes.ravel())
        ngrams = [text[i : i + order] for i in range(0, len(text), order)]
        return pl.DataFrame({"ngram": ngrams, "count": table.counts})

    def ngram(self, order: int, index: int) -> str:
        """Return the n-gram in row `index` of the table of `order`."""
        table = self._table(order)
        first = int(np.searchsorted(table.starts, index, "right")) - 1
        word = int(table.rest[index])
        ids = [first, *((word >> (64 - 16 * o)) & 0xFFFF for o in range(1, order))]
        return decode_codes(self.alphabet[np.array(ids) - 1])

    def pruned(self, min_count: int) -> NGramCounts:
        """Return the counts without the n-grams seen fewer than `min_count` times."""
        tables: list[Any] = [None]
        for table in self.tables[1:]:
            kept = table.counts >= min_count
            before = np.concatenate(([0], np.cumsum(kept)))
            entropies = {side: values[kept] for side, values in table.entropies.items()}
            tables.append(
                Table(before[table.starts], table.rest[kept], table.counts[kept], entropies)
            )
        return NGramCounts(self.alphabet, tables, self.total)

    def __len__(self) -> int:
        """Return the number of distinct n-grams of all orders."""
        return sum(table.counts.size for table in self.tables[1:])

    def __contains__(self, ngram: str) -> bool:
        return self.count(ngram) > 0

    def __getitem__(self, ngram: str) -> int:
        count = self.count(ngram)
        if not count:
            raise KeyError(ngram)
        return count

    def __iter__(self) -> Iterator[str]:
        for order in range(1, self.order + 1):
            yield from self.to_polars(order)["ngram"]

    def __repr__(self) -> str:
        return f"NGramCounts(order={self.order}, total={self.total:,}, distinct={len(self):,})"

    def _table(self, order: int) -> Table:
        table: Table = self.tables[check_int("order", order, minimum=1, maximum=self.order)]
        return table

    def _find(self, ngram: str) -> int:
        if not isinstance(ngram, str):
            raise TypeError(f"an n-gram must be a str, got {ngram!r}")
        if not 1 <= len(ngram) <= self.order:
            return -1
        codes = encode_text(ngram)
        ids = np.searchsorted(self.alphabet, codes)
        inside = np.minimum(ids, self.alphabet.size - 1)
        if np.any(self.alphabet[inside] != codes):
            return -1
        word = 0
        for o in range(1, len(ngram)):
            word |= (int(ids[o]) + 1) << (64 - 16 * o)
        table = self.tables[len(ngram)]
        return int(kernels.find(table.starts, table.rest, int(ids[0]) + 1, np.uint64(word)))


def assign_ids(
    chunks: Sequence[np.ndarray], boundary: Boundary = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """Number the characters of a text by code point.

    Parameters
    ----------
    chunks : sequence of uint32 arrays
        Code points, with `DOCUMENT_END` after every document.
    boundary : "auto" or callable
        As in `count_ngrams`.

    Returns
    -------
    ids : uint16 array of shape (n,)
        0 at boundaries, else 1 + index into `alphabet`.
    alphabet : uint32 array of shape (n_characters,)
    """
    seen = np.zeros(DOCUMENT_END + 1, bool)
    for codes in chunks:
        kernels.mark_seen(codes, seen)
    seen[DOCUMENT_END] = False
    distinct = np.flatnonzero(seen).astype(np.uint32)
    if callable(boundary):
        cut = np.asarray(boundary(distinct))
        if cut.shape != distinct.shape or cut.dtype != bool:
            raise InputError(
                "boundary must return a boolean array of the shape of its argument, "
                f"{distinct.shape}, got {cut.dtype} of shape {cut.shape}"
            )
    else:
        cut = character_classes()[distinct] == OTHER
    alphabet = distinct[~cut]
    if not alphabet.size:
        raise InputError(
            "there is nothing to count: the texts hold no character between boundaries"
        )
    if alphabet.size > MAX_ALPHABET:
        raise InputError(
            f"the texts have {alphabet.size:,} distinct characters, at most {MAX_ALPHABET:,} "
            "are allowed; give a boundary that leaves out the scripts of no interest"
        )
    table = np.zeros(DOCUMENT_END + 1, np.uint16)
    table[alphabet] = np.arange(1, alphabet.size + 1)
    ids = np.empty(sum(codes.size for codes in chunks), np.uint16)
    begin = 0
    for codes in chunks:
        kernels.map_ids(codes, table, ids[begin : begin + codes.size])
        begin += codes.size
    return ids, alphabet


def _count_ids(ids: np.ndarray, n_ids: int, order: int, budget: int, jobs: int) -> list[Any]:
    """Return the tables of orders 1 to `order` of an id sequence."""
    occurrences = kernels.id_counts(ids, n_ids)
    bounds = _split_buckets(occurrences, budget, jobs)

    def count_range(bound: tuple[int, int]) -> tuple[np.ndarray, ...]:
        low, high = bound
        starts = np.concatenate(([0], np.cumsum(occurrences[low:high])))
        cursor = np.zeros(n_ids, np.int64)
        cursor[low:high] = starts[:-1]
        rest = np.empty(starts[-1], np.uint64)
        kernels.scatter(ids, order, low, high, cursor, rest)
        if order > 1:
            for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
                if end - begin > 1:
                    rest[begin:end].sort()
        sizes = kernels.count_entries(rest, starts, order)
        bases = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        entries = np.empty(sizes.sum(), np.uint64)
        counts = np.empty(sizes.sum(), np.int64)
        bucket_sizes = np.zeros((order + 1, high - low), np.int64)
        kernels.fill_entries(rest, starts, order, bases, entries, counts, bucket_sizes)
        return bases, entries, counts, bucket_sizes

    parts: list[tuple[np.ndarray, ...]] = []
    held = 0
    # as many ranges at once as there are threads, so that only their positions are in memory
    for i in range(0, len(bounds), jobs):
        parts += thread_map(count_range, bounds[i : i + jobs], jobs)
        held = sum(part[1].nbytes + part[2].nbytes for part in parts)
        if held > budget:
            raise InputError(
                f"memory={format_memory(budget)} does not hold the table of distinct n-grams "
                f"({format_memory(held)} so far); raise memory, or lower order"
            )
    tables: list[Any] = [None]
    for o in range(1, order + 1):
        slices = [slice(part[0][o], part[0][o] + part[3][o].sum()) for part in parts]
        starts = np.concatenate(([0], np.cumsum(np.concatenate([part[3][o] for part in parts]))))
        tables.append(
            Table(
                starts,
                np.concatenate([p[1][s] for p, s in zip(parts, slices, strict=True)]),
                np.concatenate([p[2][s] for p, s in zip(parts, slices, strict=True)]),
            )
        )
    return tables


def _split_buckets(occurrences: np.ndarray, budget: int, jobs: int) -> list[tuple[int, int]]:
    """Split the ids into contiguous ranges of about equal numbers of positions.

    A quarter of the budget goes to the 8-byte positions that are being sorted at one time.
    """
    cumulated = np.cumsum(occurrences)
    total = int(cumulated[-1])
    parts = max(jobs if total > 10**5 else 1, -(-8 * jobs * total // max(budget // 4, 1)))
    parts = min(parts, occurrences.size)
    cuts = np.searchsorted(cumulated, np.arange(1, parts) * (total / parts)) + 1
    edges = np.unique(np.concatenate(([0], cuts, [occurrences.size])))
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges)]


def _measure_entropies(forward: list[Any], backward: list[Any]) -> None:
    """Fill in both branching entropies of every order but the last.

    The left neighbours of ``abc`` follow ``cba`` in the reversed text; the two tables hold
    the same n-grams, so sorting the reversed ones by their forward reading aligns them.
    """
    for order in range(1, len(forward) - 1):
        table, mirror = forward[order], backward[order]
        for side, own, child in (
            ("right", table, forward[order + 1]),
            ("left", mirror, backward[order + 1]),
        ):
            table.entropies[side] = kernels.branching_entropy(
                own.starts, own.rest, own.counts, child.starts, child.rest, child.counts, order
            )
        ids = mirror.ids(order).astype(np.uint64)
        reading = np.zeros(ids.shape[0], np.uint64)
        for o in range(order):
            reading |= ids[:, order - 1 - o] << np.uint64(48 - 16 * o)
        table.entropies["left"] = table.entropies["left"][np.argsort(reading)]
