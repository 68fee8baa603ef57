"""Reading texts: files, folders, patterns and collections in, code points of documents out."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from kexue._core import InputError, check_choice, check_int, check_texts_argument
from kexue.corpus._decoding import (
    DOCUMENT_END,
    PathLike,
    check_encoding,
    decode_codes,
    decode_documents,
    encode_text,
    expand_paths,
    replace_surrogates,
)
from kexue.corpus._sources import CHUNK_BYTES, FileSource, MemorySource, Source, least_codes

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


class Texts:
    """Documents that can be read again and again, without being held in memory.

    Made by `read_texts` and `as_texts`. Every pass reads the files anew. Documents of length
    zero do not exist: they are dropped wherever they come from.

    Attributes
    ----------
    sources : tuple of str
        Names of what is read, in order.
    """

    def __init__(self, sources: Sequence[Source], chunk_bytes: int = CHUNK_BYTES) -> None:
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
                if size >= least_codes(self._chunk_bytes):
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

    A compressed file that is cut or changed is refused, if it has checksums, as gzip and xz
    always do and zstd on request. In any other file a changed byte may be another letter.

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
        FileSource(name, path, documents, column, encoding, errors)
        for name, path in expand_paths(paths)
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
    return Texts([MemorySource(texts)])


def _join(pieces: list[np.ndarray], first: str, last: str) -> TextChunk:
    codes = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    return TextChunk(codes, first if first == last else f"{first} to {last}")
