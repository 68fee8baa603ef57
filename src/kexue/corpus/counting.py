"""Exact n-gram counts by sorted runs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kexue._core import InputError, check_choice, check_int, effective_jobs, parse_memory
from kexue.corpus import _counting_kernels as kernels
from kexue.corpus._levels import levels_in_memory
from kexue.corpus._runs import Keys, count_run
from kexue.corpus._spilling import Spill, check_workdir, count_on_disk
from kexue.corpus.executors import Executor, check_executor, n_workers
from kexue.corpus.ngrams import NGramCounts, write_description
from kexue.corpus.scripts import OTHER, character_classes
from kexue.corpus.texts import DOCUMENT_END, as_texts

MAX_ORDER = 8
Boundary = Literal["auto"] | Callable[[np.ndarray], np.ndarray]
Progress = Callable[[int, int], None]


def count_ngrams(
    texts: Any,
    order: int = 4,
    *,
    min_count: int = 1,
    boundary: Boundary = "auto",
    entropies: bool = False,
    memory: int | str = "2GB",
    n_jobs: int | None = None,
    executor: Executor = "thread",
    workdir: str | Path | None = None,
    resume: bool = True,
    progress: Progress | None = None,
) -> NGramCounts:
    """Count every n-gram of orders 1 to `order` of characters, exactly.

    Spans between boundaries are counted on their own: no n-gram crosses a boundary. The
    result is the same, byte for byte, for any `executor`, `n_jobs`, `memory`, chunking and
    order of files.

    Parameters
    ----------
    texts : Texts, pathlib.Path, iterable of str or callable returning one
        What `kexue.corpus.as_texts` takes. Read twice, unless it is small.
    order : int in [1, 8]
        The longest n-grams counted.
    min_count : int >= 1
        Rarer n-grams are dropped from the result, after everything was counted.
    boundary : "auto" or callable
        Which characters separate spans, besides the end of every document. ``"auto"``: all
        that are neither letter, mark nor digit. A callable receives the distinct code
        points, a sorted uint32 array, and returns a boolean array, True for boundaries.
    entropies : bool
        Also measure the branching entropies of both sides of all n-grams of orders below
        `order`, before rare ones are dropped: 16 bytes of memory each. With ``min_count=1``
        they can be asked for later as well.
    memory : int or str
        Most bytes that counting may take at once, such as ``"2GB"``, in this process and about
        as much in all others together; entropies come on top. A text that needs more is
        counted in batches, which wait on disk and are merged in order; the table then stays on
        disk too, and is mapped.
    n_jobs : int or None
        Threads or processes: None means 1, -1 all processors.
    executor : {"thread", "process", "dask"} or distributed.Client
        Where batches are sorted, see `kexue.corpus.executors`.
    workdir : path, optional
        Folder for what waits on disk, and for a table that stays there. By default a
        temporary one, which lives as long as the result. With a folder of your own, counting
        that was killed goes on where it was, and a table too large for memory stays there as
        ``ngrams``, in place of one that an earlier call left.
    resume : bool
        Whether to use what an earlier call left in `workdir` of the same text.
    progress : callable, optional
        Called as ``progress(done, total)`` with characters, after every batch.

    Returns
    -------
    NGramCounts

    Raises
    ------
    InputError
        On a bad argument, or a text without any character between boundaries.
    OSError
        If the disk is full; `workdir` then keeps what is complete.

    Examples
    --------
    >>> counts = count_ngrams(["to be or not to be"], order=2)
    >>> counts["to"], counts["b"], counts.total
    (2, 2, 13)
    >>> counts.top(2, k=2)
    [('be', 2), ('to', 2)]
    """
    order = check_int("order", order, minimum=1, maximum=MAX_ORDER)
    options: dict[str, Any] = {
        "min_count": min_count,
        "boundary": boundary,
        "entropies": entropies,
        "memory": memory,
        "n_jobs": n_jobs,
        "executor": executor,
        "workdir": workdir,
        "resume": resume,
        "progress": progress,
    }
    _check(**options)  # an iterator would be read before
    read = as_texts(texts)
    return count_code_points(lambda: (chunk.codes for chunk in read.chunks()), order, **options)


def count_code_points(
    chunks: Sequence[np.ndarray] | Callable[[], Iterable[np.ndarray]],
    order: int,
    *,
    min_count: int = 1,
    boundary: Boundary = "auto",
    entropies: bool = False,
    memory: int | str = "2GB",
    n_jobs: int | None = None,
    executor: Executor = "thread",
    workdir: str | Path | None = None,
    resume: bool = True,
    progress: Progress | None = None,
) -> NGramCounts:
    """Count n-grams as `count_ngrams` does, of texts that are code points already.

    Parameters
    ----------
    chunks : sequence of uint32 arrays, or callable returning an iterable of them
        Code points, with `DOCUMENT_END` after every document.
    order : int in [1, 15]
    """
    order = check_int("order", order, minimum=1, maximum=15)
    _check(min_count, boundary, entropies, memory, n_jobs, executor, workdir, resume, progress)
    budget, jobs, min_count = parse_memory(memory), effective_jobs(n_jobs), int(min_count)
    chunks, occurrences, size = _survey(chunks, budget)
    alphabet = choose_alphabet(occurrences, boundary)
    keys = Keys(alphabet.size + 1, order)
    total = int(occurrences[alphabet].sum())
    batch = _batch_size(keys, budget, n_workers(executor, jobs))
    if executor == "thread" and size <= batch:
        ids = np.concatenate([encode_ids(codes, alphabet) for codes in chunks()])
        runs = count_run(ids, ids.size, keys, jobs)
        del ids
        if progress is not None:
            progress(size, size)
        held = sum(run.nbytes for run in runs) + 4 * size
        levels = levels_in_memory(runs, keys, jobs, budget - held)
        if levels is not None:
            return _finished(NGramCounts(alphabet, levels, total), entropies, min_count)
        del runs
    folder = Path(tempfile.mkdtemp(prefix="kexue-ngrams-") if workdir is None else workdir)

    def describe(folder: Path) -> None:
        np.save(folder / "alphabet.npy", alphabet)
        write_description(folder, order, total, min_count=1)

    try:
        table = count_on_disk(
            _batches(chunks(), alphabet, batch, order),
            Spill(folder, keys, budget, jobs, executor, resume),
            describe,
            lambda done: progress(done, size) if progress is not None else None,
        )
        counts = NGramCounts.load(table)
    except BaseException:
        if workdir is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if workdir is None:
        counts.owns(folder)
    return _finished(counts, entropies, min_count)


def _check(
    min_count: int,
    boundary: Boundary,
    entropies: bool,
    memory: int | str,
    n_jobs: int | None,
    executor: Executor,
    workdir: str | Path | None,
    resume: bool,
    progress: Progress | None,
) -> None:
    """Refuse what is wrong before the text is read."""
    check_int("min_count", min_count, minimum=1)
    if not callable(boundary):
        check_choice("boundary", boundary, ("auto",))
    check_executor(executor)
    parse_memory(memory)
    effective_jobs(n_jobs)
    if workdir is not None:
        check_workdir(Path(workdir))
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable or None, got {progress!r}")


def choose_alphabet(occurrences: np.ndarray, boundary: Boundary = "auto") -> np.ndarray:
    """Return the code points that are counted, sorted, uint32 of shape (n_characters,).

    Parameters
    ----------
    occurrences : int64 array of shape (DOCUMENT_END + 1,)
        How often each code point occurs.
    boundary : "auto" or callable
        As in `count_ngrams`.

    Raises
    ------
    InputError
        If nothing is left, or `boundary` returns something else than it should.
    """
    distinct = np.flatnonzero(occurrences[:DOCUMENT_END]).astype(np.uint32)
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
    return alphabet


def encode_ids(codes: np.ndarray, alphabet: np.ndarray) -> np.ndarray:
    """Return the ids of code points: 1 + index into `alphabet`, 0 for all others.

    Returns
    -------
    uint16 array of the shape of `codes`, or uint32 if the alphabet needs it
    """
    table = np.zeros(DOCUMENT_END + 1, Keys(alphabet.size + 1, 1).id_type)
    table[alphabet] = np.arange(1, alphabet.size + 1)
    ids = np.empty(codes.size, table.dtype)
    kernels.map_ids(codes, table, ids)
    return ids


def _survey(
    chunks: Sequence[np.ndarray] | Callable[[], Iterable[np.ndarray]], budget: int
) -> tuple[Callable[[], Iterable[np.ndarray]], np.ndarray, int]:
    """Count single code points; return how to read the chunks again, the counts, the length."""
    read = chunks if callable(chunks) else lambda: chunks
    occurrences = np.zeros(DOCUMENT_END + 1, np.int64)
    kept: list[np.ndarray] | None = []
    size = 0
    for codes in read():
        kernels.add_occurrences(codes, occurrences)
        size += codes.size
        if kept is not None and 4 * size <= budget // 8:
            kept.append(codes)
        else:
            kept = None
    if kept is None:
        return read, occurrences, size
    return lambda: kept, occurrences, size


def _batch_size(keys: Keys, budget: int, workers: int) -> int:
    """Return how many positions are sorted at once."""
    item = np.dtype(keys.id_type).itemsize
    each = 2 * item + 16 * keys.n_words + 16  # ids, words, counts, and their distinct ones
    return max(1, int(0.4 * budget / workers) // each)


def _batches(
    chunks: Iterable[np.ndarray], alphabet: np.ndarray, batch: int, order: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield stretches of `batch` ids, with the ids that follow them, and how many they are."""
    held: list[np.ndarray] = []
    size = 0
    for codes in chunks:
        # the last of a chunk is the end of a document, so none needs to know what follows
        ids = encode_ids(codes, alphabet)
        begin = 0
        while size + ids.size - begin >= batch:
            end = begin + batch - size
            yield np.concatenate([*held, ids[begin : end + order - 1]]), batch
            held, size, begin = [], 0, end
        if begin < ids.size:
            held.append(ids[begin:])
            size += ids.size - begin
    if size:
        yield np.concatenate(held), size


def _finished(counts: NGramCounts, entropies: bool, min_count: int) -> NGramCounts:
    if int(counts.levels[1].counts.sum()) != counts.total:
        raise InputError("the texts changed while they were counted: they are read twice")
    if entropies:
        counts.measure_entropies()
    return counts.pruned(min_count) if min_count > 1 else counts
