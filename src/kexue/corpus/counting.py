"""Exact n-gram counts by sorted runs."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kexue._core import (
    InputError,
    check_choice,
    check_int,
    effective_jobs,
    parse_memory,
    thread_map,
)
from kexue.corpus import _counting_kernels as kernels
from kexue.corpus._levels import levels_in_memory
from kexue.corpus._runs import Keys, count_run
from kexue.corpus._spilling import TABLE, Spill, check_workdir, count_on_disk, remove_runs
from kexue.corpus.executors import Executor, check_executor, n_workers
from kexue.corpus.ngrams import FORMAT, NGramCounts, read_description, write_description
from kexue.corpus.parallel import read_ahead
from kexue.corpus.scripts import OTHER, character_classes
from kexue.corpus.texts import DOCUMENT_END, as_texts

MAX_ORDER = 8
CHANGED = "the texts changed while they were counted: they are read twice"
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
        Most bytes that counting may take at once, such as ``"2GB"``, in this process and those
        that it starts together; entropies come on top, and so does what a process takes before
        it counts. Less than 100 MB bound what is sorted, but not what is read meanwhile. A text
        that needs more is counted in batches, which wait on disk and are merged in order; the
        table then stays on disk too, and is mapped.
    n_jobs : int or None
        Threads or processes: None means 1, -1 all processors.
    executor : {"thread", "process", "dask"} or distributed.Client
        Where batches are sorted, see `kexue.corpus.executors`.
    workdir : path, optional
        Folder for what waits on disk, and for a table that stays there. By default a
        temporary one, which lives as long as the result. With a folder of your own, counting
        that was killed goes on where it was, and a table too large for memory stays there as
        ``ngrams``, in place of one that an earlier call left of another text.
    resume : bool
        Whether to use what an earlier call left in `workdir` of the same text.
    progress : callable, optional
        Called as ``progress(done, total)`` after every batch of text or block of the table.
        Each character of the text, ends of documents included, is in `total` twice: it is
        counted, and it is merged.

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
    chunks, occurrences, size, text = _survey(chunks, budget, jobs, named=workdir is not None)
    alphabet = choose_alphabet(occurrences, boundary)
    keys = Keys(alphabet.size + 1, order)
    total = int(occurrences[alphabet].sum())
    about = {"order": order, "total": total, "min_count": 1, "text": text}
    if workdir is not None and resume:
        counts = _finished_before(Path(workdir), about, alphabet)
        if counts is not None:
            remove_runs(Path(workdir))
            if progress is not None:
                progress(2 * size, 2 * size)
            return _finished(counts, entropies, min_count, jobs)
    batch = _batch_size(keys, budget, jobs, executor)
    if executor == "thread" and size <= batch:
        ids = _encode_all(chunks(), alphabet, size, jobs)
        runs = count_run(ids, size, keys, jobs)
        del ids
        held = sum(run.counts.nbytes for run in runs) + 8 * keys.n_words * total + 4 * size
        levels = levels_in_memory(runs, keys, jobs, budget - held)
        if levels is not None:
            if progress is not None:
                progress(2 * size, 2 * size)
            return _finished(NGramCounts(alphabet, levels, total), entropies, min_count, jobs)
        del runs
    folder = Path(tempfile.mkdtemp(prefix="kexue-ngrams-") if workdir is None else workdir)

    def describe(folder: Path) -> None:
        np.save(folder / "alphabet.npy", alphabet)
        write_description(folder, about)

    try:
        table = count_on_disk(
            _batches(chunks(), alphabet, batch, order),
            Spill(folder, keys, budget, jobs, executor, resume, size, total),
            describe,
            lambda done: progress(done, 2 * size) if progress is not None else None,
        )
        counts = NGramCounts.load(table)
    except BaseException:
        if workdir is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if workdir is None:
        counts.owns(folder)
    return _finished(counts, entropies, min_count, jobs)


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
    return _encoder(alphabet)(codes)


def _encoder(alphabet: np.ndarray) -> Callable[..., np.ndarray]:
    """Return `encode_ids` for several texts of one alphabet, into an array if one is given."""
    table = np.zeros(DOCUMENT_END + 1, Keys(alphabet.size + 1, 1).id_type)
    table[alphabet] = np.arange(1, alphabet.size + 1)

    def encode(codes: np.ndarray, ids: np.ndarray | None = None) -> np.ndarray:
        ids = np.empty(codes.size, table.dtype) if ids is None else ids
        kernels.map_ids(codes, table, ids)
        return ids

    return encode


def _survey(
    chunks: Sequence[np.ndarray] | Callable[[], Iterable[np.ndarray]],
    budget: int,
    n_jobs: int,
    named: bool,
) -> tuple[Callable[[], Iterable[np.ndarray]], np.ndarray, int, str]:
    """Count single code points.

    Returns how to read the chunks again, the counts, the length of the text, and, if it is to
    be `named`, a fingerprint of it.
    """
    read = chunks if callable(chunks) else lambda: chunks
    occurrences = np.zeros(DOCUMENT_END + 1, np.int64)
    kept: list[np.ndarray] | None = []
    size = 0
    digest = hashlib.blake2b(digest_size=16)
    for codes in read_ahead(read(), n_jobs):
        kernels.add_occurrences(codes, occurrences)
        if named:
            digest.update(np.ascontiguousarray(codes, "<u4").data)
        size += codes.size
        if kept is not None and 4 * size <= budget // 8:
            kept.append(codes)
        else:
            kept = None
    again = read if kept is None else lambda: kept
    return again, occurrences, size, digest.hexdigest() if named else ""


def _finished_before(
    workdir: Path, about: dict[str, Any], alphabet: np.ndarray
) -> NGramCounts | None:
    """Return the table that an earlier call left of the same text, if there is one."""
    try:
        counts = NGramCounts.load(workdir / TABLE)
    except InputError:
        return None
    same = read_description(workdir / TABLE) == about | {"format": FORMAT}
    return counts if same and np.array_equal(counts.alphabet, alphabet) else None


def _batch_size(keys: Keys, budget: int, n_jobs: int, executor: Executor) -> int:
    """Return how many positions are sorted at once."""
    item = np.dtype(keys.id_type).itemsize
    run = 8 * keys.n_words + 8
    # ids read, joined and sorted; what they become; the run before, which is written meanwhile
    each = 4 * item + 2 * run
    if executor != "thread":
        # two batches of each worker are on their way, packed and unpacked
        each += 2 * (2 * item + run)
    return max(1, int(0.4 * budget / n_workers(executor, n_jobs)) // each)


def _encode_all(
    chunks: Iterable[np.ndarray], alphabet: np.ndarray, size: int, n_jobs: int
) -> np.ndarray:
    """Return the ids of a whole text."""
    encode = _encoder(alphabet)
    ids = np.empty(size, Keys(alphabet.size + 1, 1).id_type)
    end = 0
    for codes in read_ahead(chunks, n_jobs):
        begin, end = end, end + codes.size
        if end > size:
            break
        edges = [codes.size * k // n_jobs for k in range(n_jobs + 1)]
        parts = [slice(*pair) for pair in itertools.pairwise(edges)]
        own = ids[begin:end]
        thread_map(partial(_encode_part, encode, codes, own), parts, n_jobs)
    if end != size:
        raise InputError(CHANGED)
    return ids


def _encode_part(
    encode: Callable[..., np.ndarray], codes: np.ndarray, ids: np.ndarray, part: slice
) -> None:
    encode(codes[part], ids[part])


def _batches(
    chunks: Iterable[np.ndarray], alphabet: np.ndarray, batch: int, order: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield stretches of `batch` ids, with the ids that follow them, and how many they are."""
    held: list[np.ndarray] = []
    size = 0
    for ids in map(_encoder(alphabet), chunks):
        # the last of a chunk is the end of a document, so none needs to know what follows
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


def _finished(counts: NGramCounts, entropies: bool, min_count: int, n_jobs: int) -> NGramCounts:
    if int(counts.levels[1].counts.sum()) != counts.total:
        raise InputError(CHANGED)
    if entropies:
        counts.measure_entropies(n_jobs=n_jobs)
    return counts.pruned(min_count) if min_count > 1 else counts
