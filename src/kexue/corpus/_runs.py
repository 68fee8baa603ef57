"""Runs: the positions of a batch of text, sorted and run-length encoded, in memory or on disk.

A run is what n-gram counting works with between text and table. Runs of different batches are
merged in order, a block at a time, so that neither the text nor the table needs to fit into
memory. On disk a run is a folder of ``.npy`` files, complete as soon as it has its name.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kexue._core import thread_map
from kexue.corpus import _counting_kernels as kernels

SMALL = 10**5  # positions: below, threads cost more than they save


class Keys(NamedTuple):
    """How positions are written.

    Attributes
    ----------
    n_ids : int
        Ids from 0, the boundary.
    order : int
        Symbols of a position that matter.
    """

    n_ids: int
    order: int

    @property
    def bits(self) -> int:
        """Bits of an id."""
        return max(1, (self.n_ids - 1).bit_length())

    @property
    def n_words(self) -> int:
        """Words of 64 bits for the symbols after the first; at least one."""
        return max(1, -(-(self.order - 1) // (64 // self.bits)))

    @property
    def id_type(self) -> type[np.unsignedinteger]:
        """Smallest type of an id array."""
        return np.uint16 if self.n_ids <= 2**16 else np.uint32

    def keep(self) -> np.ndarray:
        """Return the bits of the ``order - 1`` symbols after the first, uint64 (n_words,)."""
        per_word = 64 // self.bits
        symbols = np.clip(self.order - 1 - per_word * np.arange(self.n_words), 0, per_word)
        used = [(1 << (self.bits * int(k))) - 1 << 64 - self.bits * int(k) for k in symbols]
        return np.array(used, np.uint64)


class Run(NamedTuple):
    """Distinct positions in order, with their counts.

    Attributes
    ----------
    first : unsigned integer array of shape (n,)
        Ids of the positions' own symbols.
    words : uint64 array of shape (n_words, n)
        The symbols that follow, see `_counting_kernels`.
    counts : integer array of shape (n,)
    """

    first: np.ndarray
    words: np.ndarray
    counts: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.first.nbytes + self.words.nbytes + self.counts.nbytes


def count_run(ids: np.ndarray, n: int, keys: Keys, n_jobs: int = 1) -> list[Run]:
    """Sort the positions of a batch.

    Parameters
    ----------
    ids : unsigned integer array
        0 at boundaries.
    n : int
        How many positions are counted; the ``order - 1`` after them are their context.
    keys : Keys
    n_jobs : int
        Threads, each for a range of first symbols.

    Returns
    -------
    list of Run
        One per range, in order; together one run.
    """
    occurrences = np.zeros(keys.n_ids, np.int64)
    kernels.add_occurrences(ids[:n], occurrences)
    occurrences[0] = 0
    total = int(occurrences.sum())
    parts = n_jobs if total > SMALL else 1
    cumulated = np.cumsum(occurrences)
    cuts = np.searchsorted(cumulated, np.arange(1, parts) * (total / parts)) + 1
    edges = np.unique(np.concatenate(([0], cuts, [keys.n_ids]))).tolist()
    ranges = list(itertools.pairwise(edges))
    return thread_map(
        lambda bounds: _count_range(ids, n, keys, occurrences, *bounds), ranges, n_jobs
    )


def _count_range(
    ids: np.ndarray, n: int, keys: Keys, occurrences: np.ndarray, low: int, high: int
) -> Run:
    starts = np.concatenate(([0], np.cumsum(occurrences[low:high])))
    words = np.empty((keys.n_words, starts[-1]), np.uint64)
    kernels.scatter(ids, n, keys.bits, keys.keep(), low, high, starts[:-1].copy(), words)
    if keys.order > 1:
        for begin, end in itertools.pairwise(starts.tolist()):
            if end - begin > 1:
                bucket = words[:, begin:end]
                if keys.n_words == 1:
                    bucket[0].sort()
                else:
                    bucket[:] = bucket[:, np.lexsort(bucket[::-1])]
    counts = np.empty(words.shape[1], np.int64)
    m = kernels.run_length_encode(words, starts, counts)
    first = np.repeat(np.arange(low, high, dtype=keys.id_type), np.diff(starts))
    # copies, because a view would keep the positions in memory
    return Run(first, words[:, :m].copy(), counts[:m].copy())


class RunFile:
    """A run on disk, read a stretch at a time.

    Parameters
    ----------
    path : Path
        A folder that `write_run` made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        names = sorted(path.glob("word-*.npy"))
        # opened once for shape and type; reading goes by offsets, since mapped pages count as
        # memory in use
        self._columns = [_Column(path / name) for name in ("first.npy", "counts.npy")]
        self._columns += [_Column(name) for name in names]
        self.size = self._columns[0].size

    def read(self, begin: int, end: int) -> Run:
        """Return the positions `begin` to `end`."""
        first, counts, *words = (column.read(begin, end) for column in self._columns)
        return Run(first, np.stack(words), counts.astype(np.int64))


class _Column:
    def __init__(self, path: Path) -> None:
        mapped = np.load(path, mmap_mode="r")
        self.path, self.size, self.dtype, self.offset = (
            path,
            mapped.size,
            mapped.dtype,
            mapped.offset,
        )

    def read(self, begin: int, end: int) -> np.ndarray:
        place = self.offset + begin * self.dtype.itemsize
        return np.fromfile(self.path, self.dtype, min(end, self.size) - begin, offset=place)


class ColumnWriter:
    """A one-dimensional ``.npy`` file written piece by piece."""

    def __init__(self, path: Path, dtype: np.dtype | type) -> None:
        self._dtype = np.dtype(dtype)
        self._file = open(path, "wb")  # noqa: SIM115
        self.size = 0
        self._write_header()

    def append(self, values: np.ndarray) -> None:
        """Append values, converted to the type of the file."""
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self.size += values.size

    def close(self) -> None:
        """Write the final length into the header, which has room for it."""
        self._file.seek(0)
        self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.size,),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


def write_run(path: Path, blocks: Sequence[Run] | Iterator[Run], keys: Keys) -> None:
    """Write a run as a folder, which takes its name when it is complete."""
    beside = path.with_name(path.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    names = ["first", "counts", *(f"word-{k:02d}" for k in range(keys.n_words))]
    types = [keys.id_type, np.int64, *[np.uint64] * keys.n_words]
    columns = [ColumnWriter(beside / f"{n}.npy", t) for n, t in zip(names, types, strict=True)]
    try:
        for block in blocks:
            for column, values in zip(
                columns, (block.first, block.counts, *block.words), strict=True
            ):
                column.append(values)
    finally:
        for column in columns:
            column.close()
    beside.rename(path)


def merged_blocks(files: Sequence[RunFile], block: int) -> Iterator[Run]:
    """Merge runs on disk in order.

    Parameters
    ----------
    files : sequence of RunFile
    block : int
        Positions held in memory of all runs together, about.

    Yields
    ------
    Run
        Distinct positions, each block above the one before.
    """
    share = max(1, block // max(1, len(files)))
    read = [0] * len(files)
    held: list[Run | None] = [None] * len(files)
    while True:
        for s, file in enumerate(files):
            if held[s] is None and read[s] < file.size:
                held[s] = file.read(read[s], read[s] + share)
                read[s] = min(read[s] + share, file.size)
        parts = [(s, part) for s, part in enumerate(held) if part is not None]
        if not parts:
            return
        # what is not above the smallest last position of those that go on can be merged
        going_on = [part for s, part in parts if read[s] < files[s].size]
        limit = _smallest_last(going_on)
        taken = []
        for s, part in parts:
            n = part.first.size
            if limit is not None:
                n = kernels.count_not_above(
                    part.first, part.words, 0, n, limit.first, limit.words, limit.first.size - 1
                )
            taken.append(Run(part.first[:n], part.words[:, :n], part.counts[:n]))
            whole = n == part.first.size
            held[s] = None if whole else Run(part.first[n:], part.words[:, n:], part.counts[n:])
        yield merge(taken)


def _smallest_last(runs: Sequence[Run]) -> Run | None:
    """Return the run whose last position is the smallest."""
    if not runs:
        return None
    return min(runs, key=lambda run: (int(run.first[-1]), *run.words[:, -1].tolist()))


def merge(runs: Sequence[Run]) -> Run:
    """Merge runs in memory."""
    ends = np.cumsum([run.first.size for run in runs])
    begins = np.concatenate(([0], ends[:-1]))
    first = np.concatenate([run.first for run in runs])
    words = np.concatenate([run.words for run in runs], axis=1)
    counts = np.concatenate([run.counts for run in runs]).astype(np.int64)
    out = Run(np.empty_like(first), np.empty_like(words), np.empty_like(counts))
    n = kernels.merge_positions(first, words, counts, begins, ends, *out)
    return Run(out.first[:n], out.words[:, :n], out.counts[:n])
