"""Counting beyond memory: runs that wait on disk, and their merger into a table on disk.

A batch of text becomes a run in a folder named after what was counted: its number, its ids and
how they are written. A run that is there was counted, whoever was killed afterwards, and one of
another text has another name.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kexue.corpus._levels import LEVEL_BYTES, write_levels
from kexue.corpus._runs import Keys, Run, RunFile, count_run, merged_blocks, write_run
from kexue.corpus.executors import Executor, apply_batches

FAN_IN = 64  # runs merged at once


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
    """

    folder: Path
    keys: Keys
    budget: int
    n_jobs: int
    executor: Executor
    resume: bool

    @property
    def block(self) -> int:
        """How many positions may be held while runs are merged."""
        position = np.dtype(self.keys.id_type).itemsize + 8 * self.keys.n_words + 8
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
        Called with the number of positions done, after every batch.

    Returns
    -------
    Path
        Folder of the levels, as `Level.load` reads them.
    """
    spill.folder.mkdir(parents=True, exist_ok=True)
    count = partial(
        _count, keys=spill.keys, n_jobs=spill.n_jobs if spill.executor == "thread" else 1
    )
    results = apply_batches(count, _tasks(batches, spill), spill.executor, spill.n_jobs)
    runs = []
    done = 0
    with closing(results):
        for run, n, counted in results:
            if counted is not None:
                write_run(run, counted, spill.keys)
            runs.append(run)
            done += n
            progress(done)
    while len(runs) > FAN_IN:
        groups = [runs[i : i + FAN_IN] for i in range(0, len(runs), FAN_IN)]
        runs = [_merged(group, spill) for group in groups]
    table, beside = spill.folder / "ngrams", spill.folder / "ngrams.part"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    write_levels(beside, merged_blocks([RunFile(run) for run in runs], spill.block), spill.keys)
    describe(beside)
    shutil.rmtree(table, ignore_errors=True)
    beside.rename(table)
    for run in spill.folder.glob("run-*"):
        shutil.rmtree(run, ignore_errors=True)
    return table


def _tasks(batches: Iterable[tuple[np.ndarray, int]], spill: Spill) -> Iterator[_Task]:
    written = b"%d,%d" % spill.keys
    for k, (ids, n) in enumerate(batches):
        digest = hashlib.blake2b(ids.data, digest_size=12, key=written).hexdigest()
        run = spill.folder / f"run-{k:05d}-{digest}"
        yield _Task(run, None if spill.resume and run.exists() else ids, n)


def _count(task: _Task, keys: Keys, n_jobs: int) -> tuple[Path, int, list[Run] | None]:
    runs = None if task.ids is None else count_run(task.ids, task.n, keys, n_jobs)
    return task.run, task.n, runs


def _merged(runs: Sequence[Path], spill: Spill) -> Path:
    digest = hashlib.blake2b("".join(run.name for run in runs).encode(), digest_size=12)
    path = spill.folder / f"run-merged-{digest.hexdigest()}"
    if not path.exists():
        write_run(path, merged_blocks([RunFile(run) for run in runs], spill.block), spill.keys)
    for run in runs:
        shutil.rmtree(run)
    return path
