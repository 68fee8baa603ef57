"""Counting beyond memory: runs that wait on disk, and their merger into a table on disk.

A batch of text becomes a run in a folder named after what was counted: its number, its ids, how
many of them, and how they are written. A run that is there was counted, whoever was killed
afterwards, and one of another text has another name. Runs lie in a folder of their own, which one
process at a time may use.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from kexue._core import InputError
from kexue.corpus._levels import LEVEL_BYTES, write_levels
from kexue.corpus._runs import Keys, Run, RunFile, count_run, merged_blocks, publish, write_run
from kexue.corpus.executors import Executor, apply_batches
from kexue.corpus.ngrams import DESCRIPTION
from kexue.corpus.parallel import read_ahead

FAN_IN = 64  # runs merged at once
TABLE = "ngrams"
RUNS = ".ngram-runs"


class Spill(NamedTuple):
    """How and where to count what does not fit into memory.

    Attributes
    ----------
    folder : Path
    keys : Keys
    budget : int
        Bytes.
    n_jobs : int
    executor : str or distributed.Client
    resume : bool
        Whether runs that are there already are used.
    size, total : int
        Positions of the text, and how many of them are counted.
    """

    folder: Path
    keys: Keys
    budget: int
    n_jobs: int
    executor: Executor
    resume: bool
    size: int
    total: int

    @property
    def block(self) -> int:
        """How many positions may be held while runs are merged."""
        position = 8 * self.keys.n_words + 8
        # read, what is left of the block before, joined, merged; and what becomes of them
        each = 4 * position + self.keys.order * LEVEL_BYTES
        return max(1000, int(0.4 * self.budget) // each)


class _Task(NamedTuple):
    run: Path
    ids: np.ndarray | None  # None: the run is there
    n: int


def count_on_disk(
    batches: Iterable[tuple[np.ndarray, int]],
    spill: Spill,
    describe: Callable[[Path], None],
    progress: Callable[[int], None],
) -> Path:
    """Count batch by batch, and merge.

    Parameters
    ----------
    batches : iterable of (ids, n)
        As for `count_run`.
    spill : Spill
    describe : callable
        Called with the folder of the table before it takes its name.
    progress : callable
        Called with the number of positions counted and merged, up to twice the size.

    Returns
    -------
    Path
        Folder of the levels, as `Level.load` reads them.
    """
    table = spill.folder / TABLE
    with _runs_folder(spill) as folder:
        count = partial(
            _count, keys=spill.keys, n_jobs=spill.n_jobs if spill.executor == "thread" else 1
        )
        tasks = _tasks(batches, folder, spill.keys)
        runs = []
        done = 0
        with closing(apply_batches(count, tasks, spill.executor, spill.n_jobs)) as results:
            for run, n, counted in results:
                if counted is not None:
                    write_run(run, counted, spill.keys)
                runs.append(run)
                done += n
                progress(done)
        # a killed count needs what was merged as long as the table is not there
        merging = _Merging(spill, len(runs), progress)
        while len(runs) > FAN_IN:
            groups = [runs[i : i + FAN_IN] for i in range(0, len(runs), FAN_IN)]
            runs = [merging.merged(group, folder) for group in groups]
        beside = folder / TABLE
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        write_levels(beside, merging.blocks(runs), spill.keys)
        describe(beside)
        publish(beside, table)
        progress(2 * spill.size)
    return table


def check_workdir(folder: Path) -> None:
    """Refuse a folder whose table would be overwritten and is none of ours.

    Raises
    ------
    InputError
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"workdir must be a folder, got {folder}")
    table = folder / TABLE
    if table.exists() and not (table / DESCRIPTION).is_file():
        raise InputError(f"{table} exists and is not a table of n-grams; choose another workdir")


def remove_runs(folder: Path) -> None:
    """Remove what a count that was killed at its very end has left in its workdir."""
    for name in (RUNS, f"{RUNS}.removed"):
        shutil.rmtree(folder / name, ignore_errors=True)


@contextmanager
def _runs_folder(spill: Spill) -> Iterator[Path]:
    """Yield the folder of the runs, for this process alone; remove it if all goes well."""
    folder = spill.folder / RUNS
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "wb") as lock, _locked(lock, spill.folder):
        if not spill.resume:
            for run in folder.glob("run-*"):
                shutil.rmtree(run)
        yield folder
        # half of a folder is not to be taken for the whole
        removed = folder.with_name(f"{RUNS}.removed")
        shutil.rmtree(removed, ignore_errors=True)
        folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


@contextmanager
def _locked(lock: IO[bytes], folder: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, where the system has such."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # another process may have ended, and removed the file, since it was opened
        held = os.path.samestat(os.fstat(lock.fileno()), os.stat(lock.name))
    except (BlockingIOError, FileNotFoundError) as error:
        raise InputError(f"workdir {folder} is in use by another process") from error
    if not held:
        raise InputError(f"workdir {folder} is in use by another process")
    yield


def _tasks(batches: Iterable[tuple[np.ndarray, int]], folder: Path, keys: Keys) -> Iterator[_Task]:
    for k, (ids, n) in enumerate(batches):
        written = b"2,%d,%d,%d" % (n, *keys)  # the first number is that of the format
        digest = hashlib.blake2b(ids.data, digest_size=12, key=written).hexdigest()
        run = folder / f"run-{k:05d}-{digest}"
        yield _Task(run, None if run.exists() else ids, n)


def _count(task: _Task, keys: Keys, n_jobs: int) -> tuple[Path, int, list[Run] | None]:
    runs = None if task.ids is None else count_run(task.ids, task.n, keys, n_jobs)
    return task.run, task.n, runs


class _Merging:
    """Merges runs and tells how far it is: every position is in as many rounds as are needed."""

    def __init__(self, spill: Spill, n_runs: int, progress: Callable[[int], None]) -> None:
        rounds = 1
        while n_runs > FAN_IN**rounds:
            rounds += 1
        self._spill, self._progress = spill, progress
        self._done, self._all = 0, rounds * spill.total

    def blocks(self, runs: Sequence[Path]) -> Iterator[Run]:
        """Yield the blocks of runs on disk, merged."""
        spill = self._spill
        merged = merged_blocks([RunFile(run) for run in runs], spill.block, spill.n_jobs)
        with closing(read_ahead(merged, spill.n_jobs)) as blocks:
            for block in blocks:
                yield block
                self._done += int(block.counts.sum())
                # all of it is done when the table has its name
                done = spill.size + spill.size * self._done // self._all
                self._progress(min(done, 2 * spill.size - 1))

    def merged(self, runs: Sequence[Path], folder: Path) -> Path:
        """Return the run that others are merged into."""
        digest = hashlib.blake2b("".join(run.name for run in runs).encode(), digest_size=12)
        path = folder / f"run-merged-{digest.hexdigest()}"
        if not path.exists():
            write_run(path, self.blocks(runs), self._spill.keys)
        return path
