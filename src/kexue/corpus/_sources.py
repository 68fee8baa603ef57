"""Where documents come from: files of every format, standard input, collections in memory."""

import codecs
import io
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kexue._core import InputError
from kexue.corpus._decoding import (
    COMPRESSIONS,
    HEAD_BYTES,
    JSON_SUFFIXES,
    TABLE_SUFFIXES,
    TextDecoder,
    check_head,
    encode_documents,
    file_document,
    json_records,
    line_documents,
    ragged_line,
    read_blocks,
    view_text,
)

if TYPE_CHECKING:
    import polars as pl

CHUNK_BYTES = 8 << 20
# Small enough that a block stays in the processor's cache from bytes to code points
_BLOCK_BYTES = 1 << 18
# Records that the columns of a file without a schema are taken from
_N_SCHEMA_RECORDS = 1000
_QUOTING = "; quote texts that hold separators, line ends or quotation marks"


class Source(Protocol):
    """What `Texts` reads."""

    name: str
    replaced: int

    def pieces(self, chunk_bytes: int) -> Iterator[np.ndarray]:
        """Yield code points of whole documents."""


def least_codes(chunk_bytes: int) -> int:
    """Return how many code points, of 4 bytes, fill a chunk."""
    return max(1, chunk_bytes // 4)


def _encode_batches(documents: Iterable[str], chunk_bytes: int) -> Iterator[np.ndarray]:
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document) + 1
        if size >= least_codes(min(chunk_bytes, _BLOCK_BYTES)):
            yield encode_documents(batch)
            batch, size = [], 0
    yield encode_documents(batch)


@dataclass
class MemorySource:
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
class FileSource:
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
            self._kept = b"".join(read_blocks(self.path, self.name, CHUNK_BYTES))
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
        in_memory = self.compressed or self._kept is not None
        if self.format == ".parquet":
            if in_memory:
                source = io.BytesIO(b"".join(self._blocks(CHUNK_BYTES)))
            return pl.scan_parquet(source)
        utf8 = codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")
        if in_memory or not utf8 or self.errors == "replace":
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
        if self.format != ".parquet":
            self._check_whole()
        for part in frame.iter_slices(_N_SCHEMA_RECORDS):
            yield from part.to_series().to_list()

    def _check_whole(self) -> None:
        """Refuse what polars lets pass: a last text without its end, bytes of no character."""
        marks = sum(text.count('"') for text in self._decoded(CHUNK_BYTES))
        if self.format == ".csv" and marks % 2:
            raise InputError(
                f"{self.name}: no valid csv file (the last quotation mark closes nothing, the file "
                f"may be cut short){_QUOTING}"
            )

    @contextmanager
    def _table_errors(self) -> Iterator[None]:
        """Say what polars complains of with the name of the file and, where known, the place."""
        import polars as pl

        try:
            yield
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            line, hint = 0, ""
            if self.format != ".parquet":
                # Undecodable bytes are reported from here
                line = ragged_line(self._decoded(CHUNK_BYTES), self._separator)
                if self.format == ".csv":
                    hint = _QUOTING
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
