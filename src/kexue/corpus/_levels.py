"""The levels of the trie of n-grams, filled from runs: all at once, or block by block to disk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from kexue._core import thread_map
from kexue.corpus import _counting_kernels as kernels
from kexue.corpus._runs import ColumnWriter, Keys, Run

LEVEL_BYTES = 18  # of an n-gram in the table


@dataclass
class Level:
    """The distinct n-grams of one order, sorted by code points.

    Attributes
    ----------
    last : uint16 or uint32 array of shape (n,)
        Id of the last symbol; what comes before it is the n-gram's parent.
    counts : int64 array of shape (n,)
    children : int64 array of shape (n + 1,)
        The extensions of n-gram i are rows ``children[i]:children[i + 1]`` of the next order.
    entropies : dict of side to float64 array of shape (n,), in nats
    """

    last: np.ndarray
    counts: np.ndarray
    children: np.ndarray
    entropies: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def root(cls, size: int) -> Level:
        """Return the level of the empty n-gram, above `size` symbols."""
        nothing = np.zeros(1, np.int64)
        return cls(nothing, nothing, np.array([0, size]))

    def columns(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the arrays by the names of their files."""
        yield "last", self.last
        yield "counts", self.counts
        yield "children", self.children
        yield from sorted(self.entropies.items())

    @classmethod
    def load(cls, folder: Path, order: int, mode: Literal["r"] | None) -> Level:
        """Read the arrays of one order, mapped if `mode` is ``"r"``."""
        last, counts, children = (
            np.load(folder / f"{name}-{order}.npy", mmap_mode=mode)
            for name in ("last", "counts", "children")
        )
        if not last.size == counts.size == children.size - 1:
            raise ValueError("columns of different lengths")
        entropies = {
            side: np.load(path, mmap_mode=mode)
            for side in ("left", "right")
            if (path := folder / f"{side}-{order}.npy").exists()
        }
        return cls(last, counts, children, entropies)


def levels_in_memory(
    runs: Sequence[Run], keys: Keys, n_jobs: int = 1, budget: float = math.inf
) -> list[Level] | None:
    """Return the levels of a run, or None if they would take more than `budget` bytes.

    Parameters
    ----------
    runs : sequence of Run
        Its parts in order, each of first symbols of its own.
    """
    order = keys.order
    marks = [np.empty(run.size, np.uint8) for run in runs]
    sizes = np.array(
        thread_map(lambda part: _mark(runs[part], keys, 0, marks[part]), range(len(runs)), n_jobs)
    )
    totals = sizes.sum(axis=0)
    if LEVEL_BYTES * totals.sum() > budget:
        return None
    bases = np.zeros(order + 2, np.int64)
    bases[2:] = np.cumsum(totals[1:])
    last = np.empty(bases[-1], keys.id_type)
    counts = np.zeros(bases[-1], np.int64)
    children = np.empty(bases[-1] + order, np.int64)
    before = np.zeros((len(runs) + 1, order + 2), np.int64)
    before[1:, :-1] = np.cumsum(sizes, axis=0)

    def fill(part: int) -> None:
        kernels.fill_levels(
            *runs[part],
            marks[part],
            keys.bits,
            order,
            bases + before[part],
            before[part],
            last,
            counts,
            children,
            np.zeros(order + 1, np.int64),
        )

    thread_map(fill, range(len(runs)), n_jobs)
    levels = [Level.root(int(totals[1]))]
    for o in range(1, order + 1):
        own = slice(bases[o], bases[o + 1])
        # of the last order there is nothing to extend
        children[bases[o + 1] + o - 1] = totals[o + 1] if o < order else 0
        starts = children[bases[o] + o - 1 : bases[o + 1] + o]
        levels.append(Level(last[own], counts[own], starts))
    return levels


def _mark(run: Run, keys: Keys, opened: int, marks: np.ndarray) -> np.ndarray:
    sizes: np.ndarray = kernels.mark_entries(run.words, keys.bits, keys.order, opened, marks)
    return sizes


def _shared_symbols(before: Run, block: Run, keys: Keys) -> int:
    """Return how many symbols the last position of one block shares with the first of the next."""
    shared = 0
    for word, shift in keys.shifts():
        if (int(before.words[word, -1]) ^ int(block.words[word, 0])) >> shift:
            break
        shared += 1
    return shared


class _LevelFile:
    """A level written block by block; the last n-gram waits, since its count may still grow."""

    def __init__(self, folder: Path, order: int, keys: Keys) -> None:
        types = {"last": keys.id_type, "counts": np.int64, "children": np.int64}
        self._columns = [ColumnWriter(folder / f"{n}-{order}.npy", t) for n, t in types.items()]
        self._waiting: tuple[np.ndarray, ...] = ()
        self.size = 0

    def append(self, carried: int, *columns: np.ndarray) -> None:
        if self._waiting:
            self._waiting[1][0] += carried
        if columns[0].size:
            self.flush()
            self._write(*(values[:-1] for values in columns))
            self._waiting = tuple(values[-1:].copy() for values in columns)
            self.size += columns[0].size

    def flush(self) -> None:
        if self._waiting:
            self._write(*self._waiting)
            self._waiting = ()

    def close(self, end: int) -> None:
        self.flush()
        self._columns[2].append(np.array([end]))
        for column in self._columns:
            column.close()

    def _write(self, *columns: np.ndarray) -> None:
        for column, values in zip(self._columns, columns, strict=True):
            column.append(values)


def write_levels(folder: Path, blocks: Iterable[Run], keys: Keys) -> None:
    """Write the levels of merged runs to files, as `Level.load` reads them.

    Parameters
    ----------
    blocks : iterable of Run
        Positions in order, each block above the one before.
    """
    order = keys.order
    files = [_LevelFile(folder, o, keys) for o in range(1, order + 1)]
    before: Run | None = None
    try:
        for block in blocks:
            if not block.size:
                continue
            opened = 0 if before is None else _shared_symbols(before, block, keys)
            marks = np.empty(block.size, np.uint8)
            sizes = _mark(block, keys, opened, marks)
            bases = np.zeros(order + 2, np.int64)
            bases[2:] = np.cumsum(sizes[1:])
            last = np.empty(bases[-1], keys.id_type)
            counts = np.zeros(bases[-1], np.int64)
            children = np.empty(bases[-1] + order, np.int64)
            carried = np.zeros(order + 1, np.int64)
            written = np.array([0, *(file.size for file in files), 0])
            kernels.fill_levels(
                *block, marks, keys.bits, order, bases, written, last, counts, children, carried
            )
            for o, file in enumerate(files, 1):
                own = slice(bases[o], bases[o + 1])
                starts = children[bases[o] + o - 1 : bases[o + 1] + o - 1]
                file.append(int(carried[o]), last[own], counts[own], starts)
            before = block
    finally:
        ends = [*(file.size for file in files[1:]), 0]
        for file, end in zip(files, ends, strict=True):
            file.close(end)
