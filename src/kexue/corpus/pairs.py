"""Counts of tokens that occur near each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any, Literal

import numpy as np
from scipy import sparse

from kexue._core import InputError, check_choice, check_int, effective_jobs, parse_memory
from kexue.corpus._pair_kernels import pair_keys
from kexue.corpus._runs import Run, merge, sorted_run
from kexue.corpus.executors import Executor, apply_batches, check_executor, n_workers

# Parts of a distance that wait to be merged
_PARTS = 8


def count_pairs(
    token_ids: Any,
    window: int = 5,
    *,
    symmetric: bool = True,
    weight: Literal["flat", "harmonic"] = "flat",
    n_tokens: int | None = None,
    memory: int | str = "2GB",
    n_jobs: int | None = None,
    executor: Executor = "thread",
) -> sparse.csr_array:
    """Count how often tokens occur within `window` positions of each other.

    The result is the same, byte for byte, for any `executor`, `n_jobs` and `memory`.

    Parameters
    ----------
    token_ids : integer array of shape (n,)
        Ids from 0; a negative id is a boundary that no pair crosses.
    window : int >= 1
        Largest distance, in positions.
    symmetric : bool
        If False, direction is kept: entry (i, j) counts the pairs in which j follows i.
        If True the matrix is that plus its transpose.
    weight : {"flat", "harmonic"}
        A pair at distance d counts 1, or 1 / d.
    n_tokens : int or None
        Size of the vocabulary; None means the largest id + 1.
    memory : int or str
        Most bytes that the pairs of the stretches of text worked on may take, such as
        ``"2GB"``; the matrix comes on top, and while it is made about 60 bytes for each distinct
        pair of a distance.
    n_jobs : int or None
        Threads or processes: None means 1, -1 all processors.
    executor : {"thread", "process", "dask"} or distributed.Client
        Where stretches are counted, see `kexue.corpus.executors`.

    Returns
    -------
    scipy.sparse.csr_array of shape (n_tokens, n_tokens), float64, sorted indices

    Raises
    ------
    InputError
        On a bad argument, or an id that is not below `n_tokens`.

    Examples
    --------
    >>> count_pairs([0, 1, 0, 1], window=1, symmetric=False).toarray()
    array([[0., 2.],
           [1., 0.]])
    """
    window = check_int("window", window, minimum=1)
    check_choice("weight", weight, ("flat", "harmonic"))
    check_executor(executor)
    budget, jobs = parse_memory(memory), effective_jobs(n_jobs)
    ids = np.asarray(token_ids)
    if ids.ndim != 1 or not (np.issubdtype(ids.dtype, np.integer) or not ids.size):
        raise InputError(
            f"token_ids must be a 1-D integer array, got {ids.dtype} of shape {ids.shape}"
        )
    largest = int(ids.max()) if ids.size else -1
    size = largest + 1 if n_tokens is None else check_int("n_tokens", n_tokens, minimum=1)
    if largest >= min(size, 2**31):
        bound = f"n_tokens={size}" if largest >= size else "2**31"
        raise InputError(f"token_ids must be below {bound}, got {largest}")
    ids = np.ascontiguousarray(ids, np.int64)
    window = min(window, max(ids.size - 1, 0))
    counted: list[list[Run]] = [[] for _ in range(window)]
    stretches = _stretches(ids, window, budget, n_workers(executor, jobs, side_by_side=True))
    results = apply_batches(
        partial(_count_stretch, window=window), stretches, executor, jobs, side_by_side=True
    )
    with closing(results):
        for runs in results:
            for parts, run in zip(counted, runs, strict=True):
                parts.append(run)
                if len(parts) == _PARTS:
                    parts[:] = [merge(parts)]
    total = sparse.csr_array((size, size), dtype=np.float64)
    # counts of one distance are whole numbers; weighted, they are added in one order
    for distance, parts in enumerate(counted, 1):
        (pairs,), counts = merge(parts)
        parts.clear()
        weights = counts / distance if weight == "harmonic" else counts.astype(np.float64)
        rows = (pairs >> np.uint64(32)).astype(np.int64)
        columns = (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
        total = total + sparse.csr_array((weights, (rows, columns)), shape=(size, size))
    if symmetric:
        total = total + total.T
    total = sparse.csr_array(total)
    total.sort_indices()
    return total


def _stretches(
    ids: np.ndarray, window: int, budget: int, workers: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield stretches of ids, each after the ids of the window before it, and where it begins."""
    each = 24 + 16 * window  # keys, sorted, counted; what is left of them at all distances
    most = max(1, int(0.4 * budget / (3 * workers)) // each)
    length = min(most, max(1, -(-ids.size // workers)))
    for begin in range(0, ids.size, length):
        before = max(0, begin - window)
        yield ids[before : begin + length], begin - before


def _count_stretch(stretch: tuple[np.ndarray, int], window: int) -> list[Run]:
    """Return, for every distance, the distinct pairs that end in a stretch, and their counts."""
    ids, begin = stretch
    runs = []
    keys = np.empty((1, ids.size), np.uint64)
    for distance in range(1, window + 1):
        n = pair_keys(ids, begin, distance, keys[0])
        runs.append(sorted_run(keys[:, :n].copy()))
    return runs
