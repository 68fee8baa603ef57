"""Exact word counts: in tables that fit into the cache, merged into one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kexue._core import (
    InputError,
    atomic_path,
    check_int,
    effective_jobs,
    format_memory,
    parse_memory,
)
from kexue._core.worker import dumps
from kexue.corpus._documents import Documents, Tokenize, count_documents
from kexue.corpus._span_kernels import gather_spans, hash_spans
from kexue.corpus._tally import Spans, Tally, Words
from kexue.corpus._word_kernels import find_words
from kexue.corpus.executors import Executor, apply_batches, check_executor
from kexue.corpus.scripts import character_classes
from kexue.corpus.texts import DOCUMENT_END, TextChunk, as_texts, decode_codes

if TYPE_CHECKING:
    import polars as pl

FORMAT = "kexue-words-1"
_LINE_FEED = 0x0A
# Of the memory; the rest is for chunks of text, and for sorting the words at the end
TABLE_SHARE = 0.7
# Words found before they are counted: their places stay in the cache meanwhile
SPANS = 1 << 14


def count_words(
    texts: Any,
    tokenize: Tokenize | Any | None = None,
    *,
    min_count: int = 1,
    memory: int | str = "2GB",
    n_jobs: int | None = None,
    executor: Executor | Literal["auto"] = "auto",
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
        Most bytes that counting may take in this process, such as ``"2GB"``; less than 100 MB
        hold the table of distinct words, but not what is read meanwhile.
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
    fast = _is_fast(tokenize)
    if not (fast or callable(tokenize)):
        raise TypeError(
            "tokenize must be None, a callable that returns the words of a str, or an object "
            f"with a method token_starts(codes), got {tokenize!r}"
        )
    check_executor(executor, "auto")
    if executor == "auto":
        executor = "thread" if fast else "process"
    if executor == "process" and jobs > 1:
        _check_picklable(tokenize)
    # read once, so that an iterator need not be held
    once = texts
    chunks = as_texts((lambda: once) if isinstance(texts, Iterator) else texts).chunks()
    tally = Tally()
    n_codes = 0
    for done in _counted(executor, jobs, tally, tokenize, chunks):
        n_codes += done
        if tally.nbytes > TABLE_SHARE * budget:
            raise InputError(
                f"memory={format_memory(budget)} does not hold the table of distinct words and "
                f"what is read and sorted ({format_memory(tally.nbytes / TABLE_SHARE)} so far); "
                "raise memory"
            )
        if progress is not None:
            progress(n_codes)
    if not len(tally):
        raise InputError("there is nothing to count: the texts hold no word")
    return _as_word_counts(tally, min_count)


def _counted(
    executor: Executor, jobs: int, tally: Tally, tokenize: Any, chunks: Iterator[TextChunk]
) -> Iterator[int]:
    """Count chunks into `tally`; yield the number of code points of each when it is in."""
    add: Callable[[Any], None]
    batches: Iterator[Any] = chunks
    if executor == "thread" and _is_fast(tokenize):
        # straight into the table, which several threads can add to
        count: Any = partial(_count_into, tally, tokenize)
    elif _is_fast(tokenize):
        count, add = partial(_count_chunk, tokenize), tally.add
    else:
        count, add = partial(count_documents, tokenize), tally.add_packed
        batches = map(_as_documents, chunks)
    results = apply_batches(count, batches, executor, jobs, ordered=False, side_by_side=True)
    with closing(results):
        for size, words in results:
            if words is not None:
                add(words)
            yield size


def _check_picklable(tokenize: Any) -> None:
    try:
        dumps(tokenize)
    except Exception as error:
        raise TypeError(
            f"tokenize must be picklable to go to other processes, got {tokenize!r} ({error}); "
            "define it at the top level of a module, or use n_jobs=1"
        ) from error


def _is_fast(tokenize: Any) -> bool:
    """Whether words are found by kernels."""
    return tokenize is None or callable(getattr(tokenize, "token_starts", None))


def _as_documents(chunk: TextChunk) -> Documents:
    separator = _LINE_FEED
    if (chunk.codes == separator).any():  # documents are not lines
        seen = np.zeros(DOCUMENT_END, bool)
        seen[chunk.codes[chunk.codes != DOCUMENT_END]] = True
        separator = _unseen(seen)
    codes = np.where(chunk.codes == DOCUMENT_END, np.uint32(separator), chunk.codes)
    # straight from the array: `decode_codes` would copy it twice
    text = str(codes.astype("<u4", copy=False).data, "utf-32-le")
    return Documents(text, chr(separator), chunk.source)


def _count_chunk(tokenize: Any, chunk: TextChunk) -> tuple[int, Words]:
    """Return the number of code points and the words of a chunk; runs in other processes."""
    tally = Tally()
    size, _ = _count_into(tally, tokenize, chunk)
    return size, tally.words()


def _count_into(tally: Tally, tokenize: Any, chunk: TextChunk) -> tuple[int, None]:
    try:
        spans = _words if tokenize is None else partial(_tokens, tokenize)
        tally.count(chunk.codes, spans(chunk.codes))
    except Exception as error:
        error.add_note(f"raised while the words of {chunk.source} were counted")
        raise
    return chunk.codes.size, None


def _words(codes: np.ndarray) -> Iterator[Spans]:
    begins, ends = np.empty((2, SPANS), np.int64)
    hashes = np.empty(SPANS, np.uint64)
    stop = 0
    while stop < codes.size:
        m, stop = find_words(codes, stop, character_classes(), begins, ends, hashes)
        yield begins[:m], ends[:m], hashes[:m]


def _tokens(tokenize: Any, codes: np.ndarray) -> Iterator[Spans]:
    starts = np.ascontiguousarray(tokenize.token_starts(codes), np.int64)
    hashes = hash_spans(codes, starts)
    kept = codes[starts[:-1]] != DOCUMENT_END
    yield starts[:-1][kept], starts[1:][kept], hashes[kept]


def _as_word_counts(tally: Tally, min_count: int) -> WordCounts:
    """Sort the words of a tally, which is empty afterwards."""
    import polars as pl

    total = 0
    parts = []
    for words in tally.drain():
        total += int(words.counts.sum())
        codes, offsets, counts = words.codes, words.offsets, words.counts
        if min_count > 1:
            kept = np.flatnonzero(counts >= min_count)
            counts = counts[kept]
            codes, offsets = gather_spans(codes, offsets, kept)
        column = pl.Series("word", _strings(codes, offsets), dtype=pl.String)
        parts.append(pl.DataFrame({"word": column, "count": np.ascontiguousarray(counts)}))
    return WordCounts(_sorted(pl.concat(parts)), total, min_count)


def _strings(codes: np.ndarray, offsets: np.ndarray) -> pl.Series:
    """Return words as a column, without making a Python string of each."""
    import polars as pl

    if offsets.size == 1:
        return pl.Series([], dtype=pl.String)
    seen = np.zeros(DOCUMENT_END, bool)
    seen[codes] = True
    separator = _unseen(seen)
    text = decode_codes(np.insert(codes, offsets[1:-1], separator))
    return pl.Series([text]).str.split(chr(separator)).explode()


def _unseen(seen: np.ndarray) -> int:
    """Return a character that is not among those seen; a surrogate is none."""
    seen[0xD800:0xE000] = True
    return int(np.argmin(seen))


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
