"""Reading texts: files, folders, patterns and collections in, code points of documents out."""

import codecs
import hashlib
import io
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from kexue._core import InputError, check_choice, check_int, check_texts_argument
from kexue.corpus._decoding import (
    COMPRESSIONS,
    DOCUMENT_END,
    HEAD_BYTES,
    JSON_SUFFIXES,
    TABLE_SUFFIXES,
    PathLike,
    TextDecoder,
    check_encoding,
    check_head,
    decode_codes,
    decode_documents,
    encode_documents,
    encode_text,
    expand_paths,
    file_document,
    json_records,
    line_documents,
    ragged_line,
    read_blocks,
    replace_surrogates,
    view_text,
)

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "DOCUMENT_END",
    "TextChunk",
    "Texts",
    "as_texts",
    "decode_codes",
    "encode_text",
    "read_texts",
]

Documents = Literal["auto", "lines", "files", "records"]

CHUNK_BYTES = 8 << 20
# Small enough that a block stays in the processor's cache from bytes to code points
_BLOCK_BYTES = 1 << 18
# Records that the columns of a file without a schema are taken from
_N_SCHEMA_RECORDS = 1000


@dataclass(frozen=True, eq=False)
class TextChunk:
    """Some whole documents.

    Attributes
    ----------
    codes : uint32 array of shape (n,)
        Code points, with `DOCUMENT_END` after every document.
    source : str
        Where they come from, for messages: a file's name, ``"<stdin>"`` or ``"<memory>"``.
    """

    codes: np.ndarray
    source: str


class _Source(Protocol):
    name: str
    replaced: int

    def pieces(self, chunk_bytes: int) -> Iterator[np.ndarray]:
        """Yield code points of whole documents."""


class Texts:
    """Documents that can be read again and again, without being held in memory.

    Made by `read_texts` and `as_texts`. Every pass reads the files anew. Documents of length
    zero do not exist: they are dropped wherever they come from.

    Attributes
    ----------
    sources : tuple of str
        Names of what is read, in order.
    """

    def __init__(self, sources: Sequence[_Source], chunk_bytes: int = CHUNK_BYTES) -> None:
        self._sources = tuple(sources)
        self._chunk_bytes = chunk_bytes
        self._surrogates = 0
        self.sources = tuple(source.name for source in self._sources)

    @property
    def replaced(self) -> int:
        """Undecodable sequences and lone surrogates replaced by U+FFFD in the last pass."""
        return self._surrogates + sum(source.replaced for source in self._sources)

    def __iter__(self) -> Iterator[str]:
        """Yield the documents."""
        for chunk in self.chunks():
            yield from decode_documents(chunk.codes)

    def chunks(self) -> Iterator[TextChunk]:
        """Yield all documents as code points, at least ``chunk_bytes / 4`` in all but the last.

        No chunk splits a document: a longer document makes a larger chunk. Small files share
        a chunk. Lone surrogates, which JSON can hold, become U+FFFD.

        Raises
        ------
        InputError
            If there is no document at all, or a file cannot be read as what it claims to be.
        UnicodeDecodeError
            On undecodable bytes, naming the file and the offset of the byte in it.
        """
        total = size = surrogates = 0
        pieces: list[np.ndarray] = []
        first = last = ""
        for source in self._sources:
            for codes in source.pieces(self._chunk_bytes):
                if not codes.size:
                    continue
                surrogates += replace_surrogates(codes)
                first, last = first if pieces else source.name, source.name
                pieces.append(codes)
                size += codes.size
                if size >= _least_codes(self._chunk_bytes):
                    yield _join(pieces, first, last)
                    total, size, pieces = total + size, 0, []
        if pieces:
            yield _join(pieces, first, last)
        elif not total:
            raise InputError(f"no text in {self._named()}: all documents are empty")
        if surrogates != self._surrogates:
            self._surrogates = surrogates
            logging.getLogger("kexue").warning(
                "%s: replaced %d lone surrogates by U+FFFD", self._named(), surrogates
            )

    def codes(self) -> np.ndarray:
        """Return the code points of all documents, each closed by `DOCUMENT_END`, uint32."""
        return np.concatenate([chunk.codes for chunk in self.chunks()])

    def fingerprint(self) -> str:
        """Return the SHA-256 of the documents in order, as 64 hexadecimal digits.

        The same documents have the same fingerprint, whatever the chunks, the compression,
        the encoding or the names of the files that hold them.
        """
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(np.ascontiguousarray(chunk.codes, "<u4").data)
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"Texts({self._named()})"

    def _named(self) -> str:
        return ", ".join(self.sources[:3]) + (", ..." if len(self.sources) > 3 else "")


def read_texts(
    paths: PathLike | Iterable[PathLike],
    *,
    documents: Documents = "auto",
    column: str | None = None,
    encoding: str = "utf-8",
    errors: Literal["strict", "replace"] = "strict",
    chunk_bytes: int = CHUNK_BYTES,
) -> Texts:
    r"""Return the documents of files, to be read as often as needed.

    The suffix says what a file is: ``.jsonl``, ``.ndjson``, ``.json`` (JSON Lines), ``.csv``,
    ``.tsv``, ``.parquet``, anything else is plain text; each may be compressed (``.gz``,
    ``.zst``, ``.xz``). Plain text and JSON Lines are streamed; of other tables the text
    column is in memory while it is read, and the whole table if it is compressed or in
    another encoding than UTF-8. A field of a CSV file may be quoted; in a TSV file a quotation
    mark is a character like others.

    Parameters
    ----------
    paths : str, path or iterable of them
        Files; patterns (a ``str`` with ``*``, ``?`` or ``[``; ``**`` searches folders);
        folders, searched through for files of the known suffixes and ``.txt``, ``.text``,
        ``.md``, hidden ones left out; ``"-"`` for standard input, which, like a pipe, is
        read once and kept. Read in the order given, each pattern and folder in sorted order,
        a file given twice once. An empty file is an error if named, left out if found.
    documents : {"auto", "lines", "files", "records"}
        What a document is. ``"auto"``: a record of a table, a line of plain text (so that a
        file of one line is one document). ``"lines"`` and ``"files"`` are for plain text,
        ``"records"`` for tables. ``\n``, ``\r\n`` and a lone ``\r`` end a line, and no line
        end is part of a document that is a line; in a document that is a file they are
        ``\n``, and those at its end are dropped.
    column : str, optional
        Column of tables that holds the text; by default ``"text"`` if there is one, else the
        only column of strings. Missing and null values are dropped.
    encoding : str
        Encoding of plain text, JSON Lines, CSV and TSV. A byte order mark at the start of a
        file is dropped.
    errors : {"strict", "replace"}
        What happens to undecodable bytes: an error, or U+FFFD in their place; `Texts.replaced`
        then counts them, and a warning is logged.
    chunk_bytes : int >= 1
        About how much of the input is worked on at once: a chunk is closed as soon as it
        holds ``chunk_bytes / 4`` code points, which take `chunk_bytes` of memory.

    Returns
    -------
    Texts

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    InputError
        If a pattern or folder holds no file, or a file is empty, binary, damaged or has no
        such column. Everything that the first bytes tell is raised here, the rest by the
        first pass.

    Examples
    --------
    >>> texts = read_texts(["poems.txt.xz", "news/*.jsonl"])  # doctest: +SKIP
    >>> next(iter(texts))  # doctest: +SKIP
    '牀前明月光'
    """
    check_choice("documents", documents, ("auto", "lines", "files", "records"))
    check_choice("errors", errors, ("strict", "replace"))
    check_int("chunk_bytes", chunk_bytes, minimum=1)
    check_encoding(encoding)
    files = [
        _File(name, path, documents, column, encoding, errors) for name, path in expand_paths(paths)
    ]
    if column is not None and not any(file.is_table for file in files):
        raise InputError(
            f"column={column!r} is for tables (JSON Lines, CSV, TSV, Parquet), got only plain text"
        )
    for file in files:
        file.prepare()
    return Texts(files, chunk_bytes)


def as_texts(texts: Texts | Path | Iterable[str] | Callable[[], Iterable[str]]) -> Texts:
    """Return `texts` as documents that can be read again and again.

    Parameters
    ----------
    texts : Texts, pathlib.Path, iterable of str, or callable returning one
        A `Texts` is returned as it is, a path goes through `read_texts`. A callable is
        called once for every pass. An iterator, which could be read once only, is read
        into a list now.

    Raises
    ------
    TypeError
        If `texts` is one string or bytes, or, at reading, if an item is no string.

    Examples
    --------
    >>> texts = as_texts(["春眠不觉晓", "", "处处闻啼鸟"])
    >>> list(texts)
    ['春眠不觉晓', '处处闻啼鸟']
    """
    if isinstance(texts, Texts):
        return texts
    check_texts_argument(texts)
    if isinstance(texts, Path):
        return read_texts(texts)
    if isinstance(texts, Iterator):
        texts = list(texts)
    if not (callable(texts) or isinstance(texts, Iterable)):
        raise TypeError(
            "texts must be Texts, a pathlib.Path, an iterable of str or a callable returning one, "
            f"got {texts!r}"
        )
    return Texts([_Memory(texts)])


def _least_codes(chunk_bytes: int) -> int:
    """Return how many code points, of 4 bytes, fill a chunk."""
    return max(1, chunk_bytes // 4)


def _join(pieces: list[np.ndarray], first: str, last: str) -> TextChunk:
    codes = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    return TextChunk(codes, first if first == last else f"{first} to {last}")


def _encode_batches(documents: Iterable[str], chunk_bytes: int) -> Iterator[np.ndarray]:
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document) + 1
        if size >= _least_codes(min(chunk_bytes, _BLOCK_BYTES)):
            yield encode_documents(batch)
            batch, size = [], 0
    yield encode_documents(batch)


@dataclass
class _Memory:
    """Documents of a collection or a callable."""

    texts: Iterable[str] | Callable[[], Iterable[str]]
    name: str = "<memory>"
    replaced: int = 0

    def pieces(self, chunk_bytes: int) -> Iterator[np.ndarray]:
        return _encode_batches(self._checked(), chunk_bytes)

    def _checked(self) -> Iterator[str]:
        for index, document in enumerate(self.texts() if callable(self.texts) else self.texts):
            if not isinstance(document, str):
                raise TypeError(f"texts[{index}] must be str, got {type(document).__name__}")
            yield document


@dataclass
class _File:
    """Documents of one file, or of standard input if `path` is None."""

    name: str
    path: Path | None
    documents: str
    column: str | None
    encoding: str
    errors: str
    replaced: int = field(default=0, init=False)
    _kept: bytes | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        suffixes = [suffix.lower() for suffix in self.path.suffixes] if self.path else []
        self.compressed = bool(suffixes) and suffixes[-1] in COMPRESSIONS
        self.format = "".join(suffixes[:-1][-1:] if self.compressed else suffixes[-1:])
        self.is_table = self.format in JSON_SUFFIXES + TABLE_SUFFIXES

    def prepare(self) -> None:
        """Raise what can be known without reading the file."""
        if self.is_table and self.documents in ("lines", "files"):
            raise InputError(
                f"documents={self.documents!r} is for plain text and {self.name} is a table; "
                "use 'auto' or 'records'"
            )
        if not self.is_table and self.documents == "records":
            raise InputError(
                f"documents='records' is for tables and {self.name} is plain text; "
                "use 'lines' or 'files'"
            )
        if self.path is None:
            self._kept = sys.stdin.buffer.read()
        elif not self.path.is_file():  # a pipe
            self._kept = self.path.read_bytes()
        head = b""
        for block in self._blocks(HEAD_BYTES):
            head += block
            if len(head) >= HEAD_BYTES:
                break
        if self.format != ".parquet" or not head:
            check_head(head[:HEAD_BYTES], self.name, self.encoding)
        if self.format in JSON_SUFFIXES:
            self._choose_json_column()
        elif self.is_table:
            self._choose_table_column()

    def pieces(self, chunk_bytes: int) -> Iterator[np.ndarray]:
        if self.format in JSON_SUFFIXES:
            yield from _encode_batches(self._json_documents(chunk_bytes), chunk_bytes)
        elif self.is_table:
            yield from _encode_batches(self._table_documents(), chunk_bytes)
        else:
            blocks = map(view_text, self._decoded(chunk_bytes))
            if self.documents == "files":
                yield file_document(blocks)
            else:
                yield from line_documents(blocks)

    def _blocks(self, size: int) -> Iterator[bytes]:
        kept = self._kept
        if kept is not None:
            return (kept[start : start + size] for start in range(0, len(kept), size))
        assert self.path is not None
        return read_blocks(self.path, self.name, size)

    def _decoded(self, chunk_bytes: int) -> Iterator[str]:
        decoder = TextDecoder(self.name, self.encoding, self.errors)
        yield from decoder.decode(self._blocks(min(chunk_bytes, _BLOCK_BYTES)))
        if decoder.replaced != self.replaced:
            self.replaced = decoder.replaced
            logging.getLogger("kexue").warning(
                "%s: replaced %d undecodable sequences by U+FFFD", self.name, self.replaced
            )

    def _choose_json_column(self) -> None:
        strings: dict[str, bool] = {}
        records = json_records(self._decoded(HEAD_BYTES), self.name)
        for count, (_, record) in enumerate(records, 1):
            for key, value in record.items():
                strings[key] = strings.get(key, False) or isinstance(value, str)
            if count == _N_SCHEMA_RECORDS:
                break
        self.column = self._choose_column(strings)

    def _json_documents(self, chunk_bytes: int) -> Iterator[str]:
        assert self.column is not None
        for number, record in json_records(self._decoded(chunk_bytes), self.name):
            value = record.get(self.column)
            if isinstance(value, str):
                yield value
            elif value is not None:
                raise InputError(
                    f"{self.name}, line {number}: column {self.column!r} must hold a string, "
                    f"got {type(value).__name__}"
                )

    def _scan(self, n_schema_records: int = 0) -> "pl.LazyFrame":
        """Open a table; columns of CSV and TSV are strings unless their records are looked at."""
        import polars as pl

        assert self.path is not None
        source: Path | io.BytesIO = self.path
        if self.format == ".parquet":
            if self.compressed:
                source = io.BytesIO(b"".join(self._blocks(CHUNK_BYTES)))
            return pl.scan_parquet(source)
        utf8 = codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")
        if self.compressed or not utf8 or self.errors == "replace":
            text = "".join(self._decoded(CHUNK_BYTES))
            source = io.BytesIO(text.encode("utf-8", "surrogatepass"))
        return pl.scan_csv(
            source,
            separator=self._separator,
            quote_char=None if self.format == ".tsv" else '"',
            infer_schema_length=n_schema_records,
        )

    @property
    def _separator(self) -> str:
        return "\t" if self.format == ".tsv" else ","

    def _choose_table_column(self) -> None:
        import polars as pl

        with self._table_errors():
            schema = self._scan(_N_SCHEMA_RECORDS).collect_schema()
        self.column = self._choose_column({key: kind == pl.String for key, kind in schema.items()})

    def _table_documents(self) -> Iterator[str]:
        import polars as pl

        assert self.column is not None
        # Given one column only, the CSV reader would cut a text at a separator that is not
        # quoted; given all, it counts the fields and complains
        whole = pl.QueryOptFlags(projection_pushdown=self.format == ".parquet")
        with self._table_errors():
            table = self._scan().select(pl.col(self.column).drop_nulls())
            frame = table.collect(engine="streaming", optimizations=whole)
        for part in frame.iter_slices(_N_SCHEMA_RECORDS):
            yield from part.to_series().to_list()

    @contextmanager
    def _table_errors(self) -> Iterator[None]:
        """Say what polars complains of with the name of the file and, where known, the place."""
        import polars as pl

        try:
            yield
        except pl.exceptions.PolarsError as error:
            line, hint = 0, ""
            if self.format != ".parquet":
                # Undecodable bytes are reported from here
                line = ragged_line(self._decoded(CHUNK_BYTES), self._separator)
                if self.format == ".csv":
                    hint = "; quote texts that hold separators, line ends or quotation marks"
            raise InputError(
                f"{self.name}{f', line {line}' if line else ''}: no valid {self.format[1:]} file "
                f"({str(error).splitlines()[0]}){hint}"
            ) from error

    def _choose_column(self, strings: dict[str, bool]) -> str:
        """Return the text column, given which columns hold strings."""
        listed = ", ".join(repr(name) for name in strings) or "none"
        column = self.column
        if column is None:
            candidates = [name for name, is_string in strings.items() if is_string]
            if "text" not in strings and len(candidates) != 1:
                raise InputError(
                    f"{self.name} has no column 'text' and {len(candidates)} columns of strings; "
                    f"name one by column=, its columns are {listed}"
                )
            column = "text" if "text" in strings else candidates[0]
        elif column not in strings:
            raise InputError(f"{self.name} has no column {column!r}, its columns are {listed}")
        if not strings[column]:
            raise InputError(
                f"column {column!r} of {self.name} does not hold strings; name another by "
                f"column=, its columns are {listed}"
            )
        return column
