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
from typing import Literal, NamedTuple

import numpy as np

from kexue._core import thread_map
from kexue.corpus import _counting_kernels as kernels

SMALL = 10**5  # positions: below, threads cost more than they save
DIGIT = 11  # bits at most: the 2048 counters stay in the first-level cache
PIECE = 1 << 15  # positions sorted at once: with room to sort them they stay in the cache
SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


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
    def per_word(self) -> int:
        """Symbols in a word of 64 bits."""
        return 64 // self.bits

    @property
    def n_words(self) -> int:
        """Words of 64 bits of a position."""
        return -(-self.order // self.per_word)

    @property
    def id_type(self) -> type[np.unsignedinteger]:
        """Smallest type of an id array."""
        return np.uint16 if self.n_ids <= 2**16 else np.uint32

    def shifts(self) -> list[tuple[int, int]]:
        """Return where the symbols of a position are: number of the word, bits below."""
        places = [divmod(symbol, self.per_word) for symbol in range(self.order)]
        return [(word, 64 - self.bits * (place + 1)) for word, place in places]

    def keep(self) -> np.ndarray:
        """Return the bits of the `order` symbols, uint64 of shape (n_words,)."""
        keep = np.zeros(self.n_words, np.uint64)
        for word, shift in self.shifts():
            keep[word] |= np.uint64((1 << self.bits) - 1 << shift)
        return keep


class Run(NamedTuple):
    """Distinct positions in order, with their counts.

    Attributes
    ----------
    words : uint64 array of shape (n_words, n)
        Their symbols, see `_counting_kernels`.
    counts : int64 array of shape (n,)
    """

    words: np.ndarray
    counts: np.ndarray

    @property
    def size(self) -> int:
        """Number of positions."""
        return int(self.counts.size)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.words.nbytes + self.counts.nbytes

    def part(self, begin: int, end: int | None = None) -> Run:
        """Return the positions `begin` to `end`, not copied."""
        return Run(self.words[:, begin:end], self.counts[begin:end])

    def count_not_above(self, position: Sequence[int]) -> int:
        """Return how many positions are not above one, given by its words."""
        low, high = 0, self.size
        for column, word in zip(self.words, position, strict=True):
            # up to `low` they are below, from `high` on above
            here = column[low:high]
            value = np.uint64(word)
            low, high = (low + int(np.searchsorted(here, value, side)) for side in SIDES)
        return high


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
        Threads.

    Returns
    -------
    list of Run
        In order, each of first symbols of its own; together one run.
    """
    # each thread has a stretch of the text, and of every piece the places for it
    edges = np.linspace(0, n, (n_jobs if n > SMALL else 1) + 1).astype(np.int64).tolist()
    stretches = list(itertools.pairwise(edges))
    occurrences = np.zeros((len(stretches), keys.n_ids), np.int64)
    tasks = range(len(stretches))
    thread_map(
        lambda t: kernels.add_occurrences(ids[slice(*stretches[t])], occurrences[t]), tasks, n_jobs
    )
    occurrences[:, 0] = 0
    cuts = _piece_edges(occurrences.sum(axis=0))
    sizes = np.add.reduceat(occurrences, cuts[:-1], axis=1)
    ends = np.cumsum(sizes.T.ravel()).reshape(sizes.T.shape).T
    pieces = np.repeat(np.arange(cuts.size - 1), np.diff(cuts))
    words = np.empty((keys.n_words, int(ends[-1, -1])), np.uint64)

    def scatter(t: int) -> None:
        begin, end = stretches[t]
        stop = min(end + keys.order - 1, ids.size)
        cursor = ends[t] - sizes[t]
        kernels.scatter(ids, begin, end, stop, keys.bits, keys.keep(), pieces, cursor, words)

    thread_map(scatter, tasks, n_jobs)
    places = [0, *ends[-1].tolist()]
    return thread_map(lambda piece: _sorted(words, *piece), itertools.pairwise(places), n_jobs)


def _piece_edges(occurrences: np.ndarray) -> np.ndarray:
    """Return the first ids of the pieces that are sorted each by itself, and the end."""
    cumulated = np.cumsum(occurrences)
    cuts = np.searchsorted(cumulated, np.arange(PIECE, int(cumulated[-1]), PIECE)) + 1
    return np.unique(np.concatenate(([0], cuts, [occurrences.size])))


def _sorted(words: np.ndarray, begin: int, end: int) -> Run:
    # contiguous, as kernels are compiled for; of one word it is a view
    return sorted_run(np.ascontiguousarray(words[:, begin:end]))


def sorted_run(words: np.ndarray) -> Run:
    """Return positions as a run; a contiguous array (n_words, n), which is changed."""
    _sort(words)
    counts = np.zeros(words.shape[1], np.int64)
    m = kernels.keep_distinct(words, counts)
    return Run(np.ascontiguousarray(words[:, :m]), counts[:m].copy())


def _sort(words: np.ndarray) -> None:
    """Sort positions in place, digit by digit from the last one on."""
    if words.shape[1] < 2:
        return
    source, target = words, np.empty_like(words)
    for word in reversed(range(words.shape[0])):
        # bits below and above those that differ need not be looked at
        differing = int(np.bitwise_or.reduce(words[word] ^ words[word, 0]))
        if not differing:
            continue
        low = (differing & -differing).bit_length() - 1
        n_bits = differing.bit_length() - low
        width = -(-n_bits // -(-n_bits // DIGIT))
        for begin in range(low, differing.bit_length(), width):
            kernels.distribute(source, target, word, begin, width)
            source, target = target, source
    if source is not words:
        words[:] = source


class RunFile:
    """A run on disk, read a stretch at a time.

    Parameters
    ----------
    path : Path
        A folder that `write_run` made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # opened once for shape and type; reading goes by offsets, since mapped pages count as
        # memory in use
        names = [path / "counts.npy", *sorted(path.glob("word-*.npy"))]
        self._columns = [_Column(name) for name in names]
        self.size = self._columns[0].size

    def read(self, begin: int, end: int) -> Run:
        """Return the positions `begin` to `end`."""
        counts, *words = (column.read(begin, end) for column in self._columns)
        return Run(np.stack(words), counts)


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
    names = ["counts", *(f"word-{k:02d}" for k in range(keys.n_words))]
    types = [np.int64, *[np.uint64] * keys.n_words]
    columns = [ColumnWriter(beside / f"{n}.npy", t) for n, t in zip(names, types, strict=True)]
    try:
        for block in blocks:
            for column, values in zip(columns, (block.counts, *block.words), strict=True):
                column.append(values)
    finally:
        for column in columns:
            column.close()
    publish(beside, path)


def publish(beside: Path, path: Path) -> None:
    """Give a folder its name when all that is in it is on the disk, and the name too.

    A folder that has the name already loses it at the last moment, and has it again if that fails.
    """
    for file in [*beside.iterdir(), beside]:
        _sync(file)
    replaced = beside.with_name(beside.name + ".replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if path.exists():
        path.rename(replaced)
    try:
        beside.rename(path)
    except BaseException:
        if replaced.exists():
            replaced.rename(path)
        raise
    _sync(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # there folders cannot be opened
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def merged_blocks(files: Sequence[RunFile], block: int, n_jobs: int = 1) -> Iterator[Run]:
    """Merge runs on disk in order.

    Parameters
    ----------
    files : sequence of RunFile
    block : int
        Positions held in memory of all runs together, about.
    n_jobs : int
        Threads.

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
        limit = min((part.words[:, -1].tolist() for part in going_on), default=None)
        taken = []
        for s, part in parts:
            n = part.size if limit is None else part.count_not_above(limit)
            taken.append(part.part(0, n))
            held[s] = part.part(n) if n < part.size else None
        yield from thread_map(merge, _ranges(taken, n_jobs), n_jobs)


def _ranges(runs: Sequence[Run], n: int) -> list[list[Run]]:
    """Cut runs into about `n` parts, each above the one before and about as long."""
    longest = max(runs, key=lambda run: run.size)
    if longest.size < SMALL // 10:
        return [list(runs)]
    places = [longest.size * k // n for k in range(1, n)]
    limits = [longest.words[:, place].tolist() for place in places]
    cuts = [[0, *map(run.count_not_above, limits), run.size] for run in runs]
    return [
        [run.part(cut[k], cut[k + 1]) for run, cut in zip(runs, cuts, strict=True)]
        for k in range(n)
    ]


def merge(runs: Sequence[Run]) -> Run:
    """Merge runs in memory."""
    if len(runs) == 1:
        return Run(np.ascontiguousarray(runs[0].words), runs[0].counts)
    ends = np.cumsum([run.size for run in runs])
    begins = np.concatenate(([0], ends[:-1]))
    words = np.concatenate([run.words for run in runs], axis=1)
    counts = np.concatenate([run.counts for run in runs])
    out = Run(np.empty_like(words), np.empty_like(counts))
    n = kernels.merge_positions(words, counts, begins, ends, *out)
    # a kernel is compiled for contiguous arrays alone
    return Run(np.ascontiguousarray(out.words[:, :n]), out.counts[:n])
