"""The table of n-gram counts: a trie whose levels are sorted arrays, in memory or on disk."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import weakref
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kexue._core import InputError, check_choice, check_int, thread_map
from kexue.corpus import _counting_kernels as kernels
from kexue.corpus._levels import Level, levels_in_memory
from kexue.corpus._runs import Keys, Run, merge, publish
from kexue.corpus.texts import decode_codes, encode_text

if TYPE_CHECKING:
    import polars as pl

Side = Literal["left", "right"]
FORMAT, DESCRIPTION = "kexue-ngrams-1", "ngrams.json"


class NGramCounts(Mapping[str, int]):
    """Counts of the n-grams of a text, orders 1 to `order`; made by `count_ngrams`.

    A mapping of n-grams to counts: those of order 1 come first, each order by code points.

    Attributes
    ----------
    order : int
        The longest n-grams.
    alphabet : uint32 array of shape (n_characters,)
        Code points in increasing order; the id of ``alphabet[i]`` is ``i + 1``.
    total : int
        Number of characters counted.
    min_count : int
        N-grams that occurred less often were dropped.
    levels : list of Level
        ``levels[o]`` holds the n-grams of order ``o`` in order of code points; ``levels[0]``
        is the empty n-gram.
    """

    def __init__(
        self,
        alphabet: np.ndarray,
        levels: list[Level],
        total: int,
        min_count: int = 1,
    ) -> None:
        self.alphabet = alphabet
        self.levels = levels
        self.order = len(levels) - 1
        self.total = total
        self.min_count = min_count

    def owns(self, folder: Path) -> None:
        """Remove a folder when nobody has this table any more: its arrays are mapped from it."""
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def n_distinct(self, order: int) -> int:
        """Return the number of distinct n-grams of `order`."""
        return int(self._level(order).counts.size)

    def count(self, ngram: str) -> int:
        """Return how often `ngram` occurs; 0 if it does not, or is longer than `order`."""
        return int(self.counts([ngram])[0])

    def counts(self, ngrams: Iterable[str]) -> np.ndarray:
        """Return the counts of several n-grams, int64 of shape (n,)."""
        if isinstance(ngrams, str):
            raise TypeError(f"ngrams must be an iterable of str, got one str {ngrams!r}; use count")
        asked = list(ngrams)
        for ngram in asked:
            if not isinstance(ngram, str):
                raise TypeError(f"an n-gram must be a str, got {ngram!r}")
        lengths = np.array([len(ngram) for ngram in asked], np.int64)
        counts = np.zeros(len(asked), np.int64)
        for order in range(1, self.order + 1):
            (which,) = np.nonzero(lengths == order)
            if which.size:
                codes = encode_text("".join(asked[i] for i in which)).reshape(-1, order)
                found = self.find(codes)
                inside = found >= 0
                counts[which[inside]] = self.levels[order].counts[found[inside]]
        return counts

    def find(self, codes: np.ndarray) -> np.ndarray:
        """Return the row of each n-gram in the level of its order, -1 where there is none.

        Parameters
        ----------
        codes : uint32 array of shape (n, order)

        Returns
        -------
        int64 array of shape (n,)
        """
        ids = np.searchsorted(self.alphabet, codes)
        known = self.alphabet[np.minimum(ids, self.alphabet.size - 1)] == codes
        nodes = np.where(known.all(axis=1), 0, -1)
        for o in range(codes.shape[1]):
            level, longer = self.levels[o], self.levels[o + 1]
            above, nodes = nodes, np.empty_like(nodes)
            kernels.descend(above, ids[:, o] + 1, level.children, longer.last, nodes)
        return nodes

    def top(self, order: int, k: int = 10) -> list[tuple[str, int]]:
        """Return the `k` most frequent n-grams of `order`; ties in order of code points."""
        counts = self._level(order).counts
        best = np.argsort(-counts, kind="stable")[: check_int("k", k, minimum=0)]
        return [(self.ngram(order, int(i)), int(counts[i])) for i in best]

    def entropy(self, side: Side, order: int) -> np.ndarray:
        r"""Return the branching entropies of all n-grams of `order`, in nats.

        Aligned with the rows of `to_polars`. With N the count of an n-gram and N_x those of its
        extensions on that side, :math:`h = \log N - \frac{1}{N} \sum_x N_x \log N_x`; an
        occurrence at the end of a span continues into a symbol of its own and adds 1 log 1 = 0.

        Raises
        ------
        InputError
            If `order` is the last one, or extensions were dropped by `min_count` before they
            were measured.
        """
        check_choice("side", side, ("left", "right"))
        level = self._level(order)
        if side not in level.entropies:
            if self.min_count > 1 or order == self.order:
                raise InputError(
                    f"the {side} entropies of order {order} were not counted; call count_ngrams "
                    f"with order >= {order + 1}"
                    + (" and entropies=True" if self.min_count > 1 else "")
                )
            self.measure_entropies()
        return level.entropies[side]

    def measure_entropies(
        self, links: Mapping[int, np.ndarray] | None = None, n_jobs: int = 1
    ) -> None:
        """Measure the entropies of all orders but the last, both sides.

        Parameters
        ----------
        links : mapping of int to int64 array, optional
            What `suffix_links` yields, where it is at hand.
        n_jobs : int
            Threads.
        """
        for order in range(1, self.order):
            level, longer = self.levels[order], self.levels[order + 1]
            right: np.ndarray = np.empty(level.counts.size)
            arrays = level.counts, level.children, longer.counts, right
            _in_stretches(kernels.right_entropies, right.size, n_jobs, *arrays)
            level.entropies["right"] = right
        for order, suffixes in self.suffix_links(n_jobs) if links is None else links.items():
            level, longer = self.levels[order - 1], self.levels[order]
            left: np.ndarray = np.empty(level.counts.size)
            arrays = level.counts, suffixes, longer.counts, left
            _in_stretches(kernels.left_entropies, left.size, n_jobs, *arrays)
            level.entropies["left"] = left

    def suffix_links(self, n_jobs: int = 1) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each order from 2 on with the rows, one order below, of its n-grams' suffixes.

        The suffix of ``abc`` is ``bc``; int64 arrays of shape (n_distinct(order),).
        """
        # of one symbol: the empty n-gram
        links: np.ndarray = np.zeros(self.n_distinct(1), np.int64)
        for order in range(2, self.order + 1):
            above, level = self.levels[order - 1], self.levels[order]
            below = self.levels[order - 2]
            found = np.empty(level.counts.size, np.int64)
            arrays = above.children, level.last, links, below.children, above.last, found
            _in_stretches(kernels.suffix_links, links.size, n_jobs, *arrays)
            yield order, found
            links = found

    def parents(self, order: int) -> np.ndarray:
        """Return the rows, one order below, of the n-grams without their last symbol, int64."""
        children = self.levels[order - 1].children
        return np.repeat(np.arange(children.size - 1), np.diff(children))

    def ids(self, order: int) -> np.ndarray:
        """Return the ids of all n-grams of `order`, unsigned, of shape (n_distinct, order)."""
        level = self._level(order)
        ids = np.empty((level.last.size, order), level.last.dtype)
        rows = np.arange(level.last.size)
        for o in range(order, 0, -1):
            ids[:, o - 1] = self.levels[o].last[rows]
            if o > 1:
                rows = np.searchsorted(self.levels[o - 1].children, rows, "right") - 1
        return ids

    def to_polars(self, order: int) -> pl.DataFrame:
        """Return the n-grams of `order` as a table of ``ngram`` and ``count``.

        Other libraries take it as an Arrow table without a copy: ``pyarrow.table(frame)``.
        """
        import polars as pl

        level = self._level(order)
        codes = self.alphabet[self.ids(order).astype(np.int64) - 1]
        text = decode_codes(codes.ravel())
        ngrams = [text[i : i + order] for i in range(0, len(text), order)]
        return pl.DataFrame({"ngram": ngrams, "count": np.asarray(level.counts)})

    def ngram(self, order: int, index: int) -> str:
        """Return the n-gram in row `index` of the level of `order`."""
        ids = []
        for o in range(order, 0, -1):
            ids.append(int(self.levels[o].last[index]))
            index = int(np.searchsorted(self.levels[o - 1].children, index, "right")) - 1
        return decode_codes(self.alphabet[np.array(ids[::-1]) - 1])

    def pruned(self, min_count: int) -> NGramCounts:
        """Return the counts without the n-grams seen fewer than `min_count` times."""
        min_count = check_int("min_count", min_count, minimum=1)
        levels: list[Level] = []
        below = np.empty(0, np.int64)  # rows kept of the order above
        for level in reversed(self.levels[1:]):
            (kept,) = np.nonzero(level.counts >= min_count)
            # an extension is at most as frequent, so none is left without what it extends
            children = np.searchsorted(below, level.children[np.append(kept, level.last.size)])
            entropies = {side: values[kept] for side, values in level.entropies.items()}
            levels.append(Level(level.last[kept], level.counts[kept], children, entropies))
            below = kept
        levels.append(Level.root(below.size))
        return NGramCounts(self.alphabet, levels[::-1], self.total, max(min_count, self.min_count))

    def merge(self, other: NGramCounts) -> NGramCounts:
        """Return the counts of both texts together, as if they had been counted as one.

        Raises
        ------
        InputError
            If the orders differ, or rare n-grams were dropped from either.
        """
        if not isinstance(other, NGramCounts):
            raise TypeError(f"other must be NGramCounts, got {type(other).__name__}")
        if other.order != self.order:
            raise InputError(
                f"counts of order {self.order} and {other.order} cannot be merged; count both "
                "with the same order"
            )
        if max(self.min_count, other.min_count) > 1:
            raise InputError(
                "counts without their rare n-grams cannot be merged, because what is rare in one "
                "text may not be in both; count with min_count=1 and call pruned() afterwards"
            )
        alphabet = np.union1d(self.alphabet, other.alphabet)
        keys = Keys(alphabet.size + 1, self.order)
        run = merge([counts._positions(alphabet, keys) for counts in (self, other)])
        levels = levels_in_memory([run], keys)
        assert levels is not None
        return NGramCounts(alphabet, levels, self.total + other.total)

    def _positions(self, alphabet: np.ndarray, keys: Keys) -> Run:
        """Return the positions that were counted, their ids those of a larger alphabet."""
        renamed = np.concatenate(([0], np.searchsorted(alphabet, self.alphabet) + 1))
        runs = []
        for order in range(1, self.order + 1):
            level = self.levels[order]
            # what is not continued ended there
            ended = np.asarray(level.counts).copy()
            if order < self.order:
                longer = np.concatenate(([0], np.cumsum(self.levels[order + 1].counts)))
                ended -= np.diff(longer[level.children])
            (rows,) = np.nonzero(ended)
            ids = renamed[self.ids(order)[rows]].astype(np.uint64)
            words = np.zeros((keys.n_words, rows.size), np.uint64)
            for symbols, (word, shift) in zip(ids.T, keys.shifts(), strict=False):
                words[word] |= symbols << np.uint64(shift)
            runs.append(Run(words, ended[rows]))
        # each order is sorted, but an end comes before what goes on
        return merge(runs)

    def save(self, path: str | Path) -> None:
        """Write the table as a folder of ``.npy`` files, atomically.

        Raises
        ------
        InputError
            If there is something at `path` that is not such a folder.
        """
        target = Path(path).resolve()  # of a link, what it leads to
        if target.exists() and not (target / DESCRIPTION).is_file():
            raise InputError(f"{target} exists and is not a table of n-grams; choose another path")
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{os.getpid()}.new")
        beside.mkdir()
        try:
            np.save(beside / "alphabet.npy", self.alphabet)
            for order, level in enumerate(self.levels[1:], 1):
                for name, values in level.columns():
                    np.save(beside / f"{name}-{order}.npy", values)
            about = {"order": self.order, "total": self.total, "min_count": self.min_count}
            write_description(beside, about)
            publish(beside, target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    @classmethod
    def load(cls, path: str | Path, *, mmap: bool = True) -> NGramCounts:
        """Read a table that `save` wrote.

        Parameters
        ----------
        path : path
        mmap : bool
            Leave the arrays on disk and read what is asked for.

        Raises
        ------
        InputError
            If the folder holds no such table.
        """
        folder = Path(path)
        mode: Literal["r"] | None = "r" if mmap else None
        try:
            about = read_description(folder)
            if about["format"] != FORMAT:
                raise KeyError("format")
            alphabet = np.load(folder / "alphabet.npy")
            levels = [Level.load(folder, order, mode) for order in range(1, about["order"] + 1)]
            levels.insert(0, Level.root(levels[0].last.size))
            ends = [int(level.children[-1]) for level in levels]
            if ends != [*(level.last.size for level in levels[1:]), 0]:
                raise ValueError("levels of different tables")
            return cls(alphabet, levels, int(about["total"]), int(about["min_count"]))
        except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
            raise InputError(
                f"{folder} is not a table of n-grams written by NGramCounts.save "
                f"(format {FORMAT!r})"
            ) from error

    def __len__(self) -> int:
        """Return the number of distinct n-grams of all orders."""
        return sum(level.counts.size for level in self.levels[1:])

    def __contains__(self, ngram: object) -> bool:
        return isinstance(ngram, str) and self.count(ngram) > 0

    def __getitem__(self, ngram: str) -> int:
        count = self.count(ngram)
        if not count:
            raise KeyError(ngram)
        return count

    def __iter__(self) -> Iterator[str]:
        for order in range(1, self.order + 1):
            yield from self.to_polars(order)["ngram"]

    def items(self) -> ItemsView[str, int]:
        """Return a view of n-grams with their counts."""
        return _Items(self)

    def values(self) -> ValuesView[int]:
        """Return a view of the counts."""
        return _Values(self)

    def __repr__(self) -> str:
        return f"NGramCounts(order={self.order}, total={self.total:,}, distinct={len(self):,})"

    def _level(self, order: int) -> Level:
        return self.levels[check_int("order", order, minimum=1, maximum=self.order)]


class _Items(ItemsView[str, int]):
    """As that of any mapping, without a look-up of each n-gram."""

    _mapping: NGramCounts

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return zip(self._mapping, self._mapping.values(), strict=True)


class _Values(ValuesView[int]):
    _mapping: NGramCounts

    def __iter__(self) -> Iterator[int]:
        for level in self._mapping.levels[1:]:
            yield from level.counts.tolist()


def _in_stretches(kernel: Callable[..., None], n: int, n_jobs: int, *arrays: np.ndarray) -> None:
    """Call ``kernel(begin, end, *arrays)`` for `n` rows, a stretch of them on each thread."""
    edges = [n * k // n_jobs for k in range(n_jobs + 1)]
    thread_map(lambda rows: kernel(*rows, *arrays), itertools.pairwise(edges), n_jobs)


def write_description(folder: Path, about: dict[str, Any]) -> None:
    """Write what `NGramCounts.load` reads first: order, total, min_count."""
    text = json.dumps({"format": FORMAT} | about) + "\n"
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def read_description(folder: Path) -> dict[str, Any]:
    """Return what `write_description` wrote."""
    about: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    return about
