"""Exact word counts: in tables that fit into the cache, merged into one."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kexue._core import (
    InputError,
    atomic_path,
    check_int,
    effective_jobs,
    format_memory,
    parse_memory,
    require,
)
from kexue.corpus._decoding import decode_documents
from kexue.corpus._span_kernels import gather_spans, hash_spans
from kexue.corpus._tally import Tally, Words
from kexue.corpus._word_kernels import find_words
from kexue.corpus.parallel import in_flight, parallel_apply, wait_for_any
from kexue.corpus.scripts import character_classes
from kexue.corpus.texts import DOCUMENT_END, TextChunk, as_texts, decode_codes

if TYPE_CHECKING:
    import polars as pl

Tokenize = Callable[[str], Iterable[str]]
Executor = Literal["auto", "thread", "process", "dask"] | Any
FORMAT = "kexue-words-1"


def count_words(
    texts: Any,
    tokenize: Tokenize | Any | None = None,
    *,
    min_count: int = 1,
    memory: int | str = "2GB",
    n_jobs: int | None = None,
    executor: Executor = "auto",
    progress: Callable[[int], Any] | None = None,
) -> WordCounts:
    """Count every word of a text, exactly.

    Words are counted in small tables that stay in the processor's cache, and these merged into
    one large table. The result is the same for any executor, number of workers, chunking and
    order of files.

    Parameters
    ----------
    texts : Texts, pathlib.Path, iterable of str or callable returning one
        What `kexue.corpus.as_texts` takes; read once, a part at a time.
    tokenize : None, callable or tokenizer
        None: a word is a run of letters, marks and digits; a letter of a script written
        without blanks, such as a Han character, is a word by itself, with its marks. A
        callable receives a document and returns its words, an iterable of str. An object
        with a method ``token_starts(codes)``, such as `kexue.words.UnigramTokenizer`, is fast:
        it works on code points. Whatever callable and tokenizer return is counted, blanks and
        punctuation too.
    min_count : int >= 1
        Rarer words are dropped from the result, after everything was counted.
    memory : int or str
        Most bytes that the tables of distinct words may take, such as ``"2GB"``. The words of
        the result are made of them and take as much again for a moment.
    n_jobs : int or None
        Workers: None means 1, -1 all processors. A `distributed.Client` brings its own.
    executor : {"auto", "thread", "process", "dask"} or distributed.Client
        ``"thread"`` suits None and tokenizers, whose kernels run side by side;
        ``"process"`` suits callables, which must be picklable, see `parallel_apply`;
        ``"auto"`` chooses between these two. ``"dask"`` is the current `distributed.Client`,
        or else a cluster of `n_jobs` processes on this machine for the time of the call.
    progress : callable, optional
        Called in this thread with the number of characters counted so far, ends of documents
        included.

    Returns
    -------
    WordCounts

    Raises
    ------
    InputError
        On a bad argument, a text without any word, or a table that does not fit into `memory`.
    TypeError
        If a callable does not return strings, or cannot be sent to another process.

    References
    ----------
    kexue.fm, archives/7031.

    Examples
    --------
    >>> counts = count_words(["to be or not to be", "红楼梦"])
    >>> counts["to"], counts["红"], counts.total
    (2, 1, 9)
    >>> counts.top(3)
    [('be', 2), ('to', 2), ('not', 1)]
    >>> count_words(["to be, or not"], str.split).words
    ['be,', 'not', 'or', 'to']
    """
    check_int("min_count", min_count, minimum=1)
    budget = parse_memory(memory)
    jobs = effective_jobs(n_jobs)
    fast = tokenize is None or callable(getattr(tokenize, "token_starts", None))
    if not (fast or callable(tokenize)):
        raise TypeError(
            "tokenize must be None, a callable that returns the words of a str, or an object "
            f"with a method token_starts(codes), got {tokenize!r}"
        )
    # a Client, without importing its package
    if not hasattr(executor, "scatter") and executor not in ("auto", "thread", "process", "dask"):
        raise InputError(
            "executor must be 'auto', 'thread', 'process', 'dask' or a distributed.Client, "
            f"got {executor!r}"
        )
    if executor == "auto":
        executor = "thread" if fast else "process"
    # read once, so that an iterator need not be held
    once = texts
    chunks = as_texts((lambda: once) if isinstance(texts, Iterator) else texts).chunks()
    tally = Tally()
    n_codes = 0
    for done in _counted(executor, jobs, tally, tokenize, chunks):
        n_codes += done
        if tally.nbytes > budget:
            raise InputError(
                f"memory={format_memory(budget)} does not hold the table of distinct words "
                f"({format_memory(tally.nbytes)} so far); raise memory"
            )
        if progress is not None:
            progress(n_codes)
    words = tally.words()
    if not words.counts.size:
        raise InputError("there is nothing to count: the texts hold no word")
    return _as_word_counts(words, min_count)


def _counted(
    executor: Executor, jobs: int, tally: Tally, tokenize: Any, chunks: Iterator[TextChunk]
) -> Iterator[int]:
    """Count chunks into `tally`; yield the number of code points of each when it is in."""
    if executor == "thread":
        yield from _counted_here(jobs, tally, tokenize, chunks)
        return
    function = partial(_count_chunk, tokenize)
    if executor == "process":
        results = parallel_apply(function, chunks, jobs, batch_size=1)
    else:
        results = _applied_on_dask(executor, jobs, tokenize, chunks)
    with closing(results) as parts:  # type: ignore[type-var]
        for size, words in parts:
            tally.add(words)
            yield size


def _counted_here(
    jobs: int, tally: Tally, tokenize: Any, chunks: Iterator[TextChunk]
) -> Iterator[int]:
    def count(chunk: TextChunk) -> int:
        _add_chunk(tally, tokenize, chunk)
        return chunk.codes.size

    def submit(chunk: TextChunk) -> Future[int]:
        return pool.submit(count, chunk)

    if jobs == 1:
        yield from map(count, chunks)
        return
    pool = ThreadPoolExecutor(jobs)
    try:
        for future in in_flight(submit, wait_for_any, chunks, 2 * jobs):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _applied_on_dask(
    executor: Any, jobs: int, tokenize: Any, chunks: Iterator[TextChunk]
) -> Iterator[Any]:
    """Yield ``_count_chunk(tokenize, chunk)`` of every chunk, computed on a cluster."""
    distributed = require("distributed", extra="cluster", purpose="executor='dask'")
    own: list[Any] = []
    client = executor
    if executor == "dask":
        try:
            client = distributed.get_client()
        except ValueError:
            cluster = distributed.LocalCluster(jobs, threads_per_worker=1, dashboard_address=None)
            client = distributed.Client(cluster)
            own = [client, cluster]
    pending: set[Any] = set()

    def submit(chunk: TextChunk) -> Any:
        # not pure: equal chunks are counted as often as they occur
        future = client.submit(_count_chunk, shared, chunk, pure=False)
        pending.add(future)
        return future

    def wait_any(futures: list[Any]) -> None:
        distributed.wait(futures, return_when="FIRST_COMPLETED")

    try:
        # once to every worker, not with every chunk
        shared = tokenize
        if tokenize is not None:
            shared = client.scatter(tokenize, broadcast=True, hash=False)
        limit = 2 * max(1, sum(client.nthreads().values()))
        for future in in_flight(submit, wait_any, chunks, limit):
            yield future.result()
            pending.discard(future)
    finally:
        for future in pending:
            future.cancel()
        for part in own:
            part.close()


def _count_chunk(tokenize: Any, chunk: TextChunk) -> tuple[int, Words]:
    """Return the number of code points and the words of a chunk; runs in other processes."""
    tally = Tally()
    _add_chunk(tally, tokenize, chunk)
    return chunk.codes.size, tally.words()


def _add_chunk(tally: Tally, tokenize: Any, chunk: TextChunk) -> None:
    try:
        if tokenize is not None and not hasattr(tokenize, "token_starts"):
            tally.add_counter(_count_documents(tokenize, chunk.codes))
            return
        codes = chunk.codes
        if tokenize is None:
            begins, ends = np.empty((2, codes.size), np.int64)
            hashes = np.empty(codes.size, np.uint64)
            m = find_words(codes, character_classes(), begins, ends, hashes)
            tally.count(codes, begins[:m], ends[:m], hashes[:m])
        else:
            starts = np.ascontiguousarray(tokenize.token_starts(codes), np.int64)
            hashes = hash_spans(codes, starts)
            kept = codes[starts[:-1]] != DOCUMENT_END
            tally.count(codes, starts[:-1][kept], starts[1:][kept], hashes[kept])
    except Exception as error:
        error.add_note(f"raised while the words of {chunk.source} were counted")
        raise


def _count_documents(tokenize: Tokenize, codes: np.ndarray) -> Counter[str]:
    def words_of(document: str) -> Iterable[str]:
        words = tokenize(document)
        if isinstance(words, str):
            raise TypeError(f"tokenize must return an iterable of str, got the str {words[:40]!r}")
        return words

    # one call for all documents, so that the loop over words is not Python's
    counter = Counter(chain.from_iterable(map(words_of, decode_documents(codes))))
    for word in counter:
        if not isinstance(word, str):
            raise TypeError(f"tokenize must return an iterable of str, got {word!r} in it")
    return counter


def _as_word_counts(words: Words, min_count: int) -> WordCounts:
    """Sort the words of a tally."""
    import polars as pl

    total = int(words.counts.sum())
    codes, offsets, counts = words.codes, words.offsets, words.counts
    if min_count > 1:
        kept = np.flatnonzero(counts >= min_count)
        counts = counts[kept]
        codes, offsets = gather_spans(codes, offsets, kept)
    column = pl.Series("word", _strings(codes, offsets), dtype=pl.String)
    table = _sorted(pl.DataFrame({"word": column, "count": np.ascontiguousarray(counts)}))
    return WordCounts(table, total, min_count)


def _strings(codes: np.ndarray, offsets: np.ndarray) -> pl.Series:
    """Return words as a column, without making a Python string of each."""
    import polars as pl

    if offsets.size == 1:
        return pl.Series([], dtype=pl.String)
    seen = np.zeros(DOCUMENT_END, bool)
    seen[codes] = True
    separator = int(np.argmin(seen))  # a character that is in no word
    text = decode_codes(np.insert(codes, offsets[1:-1], separator))
    return pl.Series([text]).str.split(chr(separator)).explode()


def _sorted(table: pl.DataFrame) -> pl.DataFrame:
    # strings are compared as UTF-8, whose order is that of code points
    return table.sort(["count", "word"], descending=[True, False])


class WordCounts(Mapping[str, int]):
    """Counts of words, most frequent first, ties by code points; made by `count_words`.

    A mapping of words to counts. A word that is not in it has no count, as in any mapping:
    ``counts.get(word, 0)`` answers for all.

    Attributes
    ----------
    total : int
        Number of words counted, those dropped for `min_count` included.
    min_count : int
        Rarer words were dropped.
    """

    def __init__(self, table: pl.DataFrame, total: int, min_count: int = 1) -> None:
        self._table = table
        self.total = total
        self.min_count = min_count

    @cached_property
    def words(self) -> list[str]:
        """The words."""
        words: list[str] = self._table["word"].to_list()
        return words

    @property
    def counts(self) -> np.ndarray:
        """Their counts, int64 of shape (n_words,)."""
        return self._table["count"].to_numpy()

    @cached_property
    def _by_word(self) -> dict[str, int]:
        return dict(zip(self.words, self.counts.tolist(), strict=True))

    def top(self, k: int = 10) -> list[tuple[str, int]]:
        """Return the `k` most frequent words and their counts."""
        rows: list[Any] = self._table.head(check_int("k", k, minimum=0)).rows()
        return rows

    def to_polars(self) -> pl.DataFrame:
        """Return a table of ``word`` and ``count``."""
        return self._table.clone()

    def pruned(self, min_count: int) -> WordCounts:
        """Return the counts without the words seen fewer than `min_count` times."""
        least = max(check_int("min_count", min_count, minimum=1), self.min_count)
        return WordCounts(self._table.filter(self._table["count"] >= least), self.total, least)

    def merge(self, other: WordCounts) -> WordCounts:
        """Return the counts of both texts together, exactly.

        Raises
        ------
        InputError
            If rare words were dropped from either: what is rare in both parts can be frequent
            in the whole.

        Examples
        --------
        >>> count_words(["a b"]).merge(count_words(["b c"])).top()
        [('b', 2), ('a', 1), ('c', 1)]
        """
        import polars as pl

        if not isinstance(other, WordCounts):
            raise TypeError(f"other must be WordCounts, got {type(other).__name__}")
        if (least := max(self.min_count, other.min_count)) > 1:
            raise InputError(
                "only whole counts can be merged exactly, and words rarer than "
                f"min_count={least} were dropped; count with min_count=1, merge, then use pruned"
            )
        both = pl.concat([self._table, other._table]).group_by("word").agg(pl.col("count").sum())
        return WordCounts(_sorted(both), self.total + other.total)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the counts as Parquet, columns ``word`` and ``count``, atomically."""
        about = {"format": FORMAT, "total": self.total, "min_count": self.min_count}
        with atomic_path(path) as temporary:
            self._table.write_parquet(
                temporary, compression="zstd", metadata={"kexue": json.dumps(about)}
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> WordCounts:
        """Read counts that `save` wrote.

        Raises
        ------
        InputError
            If the file holds no such counts.
        """
        import polars as pl

        try:
            about = json.loads(pl.read_parquet_metadata(os.fspath(path))["kexue"])
            if about["format"] != FORMAT:
                raise KeyError("format")
            table = pl.read_parquet(os.fspath(path), columns=["word", "count"], glob=False)
            return cls(table, about["total"], about["min_count"])
        except (pl.exceptions.PolarsError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{os.fspath(path)} holds no counts written by WordCounts.save (format {FORMAT!r})"
            ) from error

    def __getitem__(self, word: str) -> int:
        return self._by_word[word]

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    def __len__(self) -> int:
        """Return the number of distinct words."""
        return self._table.height

    def __repr__(self) -> str:
        return f"WordCounts(total={self.total:,}, distinct={len(self):,})"
