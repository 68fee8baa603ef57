"""From files to code points: paths, compression, encodings, lines, errors naming the place."""

import codecs
import csv
import errno
import glob
import gzip
import json
import lzma
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import zstandard

from kexue._core import InputError

DOCUMENT_END = 0x110000
"""One past the last Unicode code point: closes every document."""

PathLike = str | os.PathLike[str]

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".xz": "xz"}
HEAD_BYTES = 1 << 16

# What a folder is searched for, before the suffix of a compression
_KNOWN = (".txt", ".text", ".md", *JSON_SUFFIXES, *TABLE_SUFFIXES)

# What files begin with that are often taken for text
_MAGIC = {
    b"\x1f\x8b": "gzip, but its name does not end in .gz",
    b"\x28\xb5\x2f\xfd": "zstd, but its name does not end in .zst",
    b"\xfd7zXZ\x00": "xz, but its name does not end in .xz",
    b"PAR1": "Parquet, but its name does not end in .parquet",
    b"BZh91AY&SY": "bzip2; decompress it first",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"%PDF-": "a PDF document; extract its text first",
}
# Not gzip, of which the standard library's reader sees every end
_DECOMPRESSORS: dict[str | None, Callable[[], Any]] = {
    "zstd": lambda: zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj(),
    "xz": lzma.LZMADecompressor,
}
# A byte can hold ten thousand, and what is fed comes out at once
_FEED_BYTES = 1 << 10
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError)
# Encodings of one name at a time, which cannot be read in blocks
_NAMES_ONLY = ("idna", "punycode")
_LINE_FEED, _CARRIAGE_RETURN, _BYTE_ORDER_MARK = 0x0A, 0x0D, 0xFEFF


def encode_text(text: str) -> np.ndarray:
    """Return the code points of `text`, uint32 of shape (n,); lone surrogates survive.

    Examples
    --------
    >>> encode_text("a字").tolist()
    [97, 23383]
    """
    return view_text(text).copy()


def view_text(text: str) -> np.ndarray:
    """Return what `encode_text` does as a read-only array, which saves a copy."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def decode_codes(codes: np.ndarray) -> str:
    """Return the text of code points, the inverse of `encode_text`.

    Raises
    ------
    InputError
        If a code is no code point; so is `DOCUMENT_END`.
    """
    data = np.asarray(codes).astype("<u4").tobytes()
    try:
        return data.decode("utf-32-le", "surrogatepass")
    except UnicodeDecodeError as error:
        raise InputError(
            f"codes must be code points below {DOCUMENT_END:#x} (split at DOCUMENT_END first), "
            f"got {int(codes[error.start // 4])} at index {error.start // 4}"
        ) from None


def replace_surrogates(codes: np.ndarray) -> int:
    """Replace lone surrogates, which have no UTF-8, by U+FFFD in place; return how many."""
    lone = (codes >= 0xD800) & (codes < 0xE000)
    count = int(np.count_nonzero(lone))
    if count:
        codes[lone] = 0xFFFD
    return count


def encode_documents(documents: Iterable[str]) -> np.ndarray:
    """Return the code points of `documents`, each closed by `DOCUMENT_END`; drop empty ones."""
    kept = [document for document in documents if document]
    ends = np.cumsum(np.fromiter(map(len, kept), np.int64, len(kept)))
    return np.insert(view_text("".join(kept)), ends, DOCUMENT_END)


def decode_documents(codes: np.ndarray) -> Iterator[str]:
    """Yield the documents of code points in which `DOCUMENT_END` closes each."""
    ends = np.flatnonzero(codes == DOCUMENT_END)
    text = decode_codes(np.where(codes == DOCUMENT_END, 0, codes))
    start = 0
    for end in ends.tolist():
        yield text[start:end]
        start = end + 1


def close_lines(codes: np.ndarray) -> np.ndarray:
    r"""Turn whole lines into documents: line ends become `DOCUMENT_END`, empty lines go.

    ``\n``, ``\r\n`` and a lone ``\r`` end a line: the empty line that ``\r\n`` seems to
    hold goes with the others, so that it does not matter where blocks cut it.
    """
    ends = codes == _LINE_FEED
    ends |= codes == _CARRIAGE_RETURN
    codes[ends] = DOCUMENT_END
    idle = ends.copy()
    idle[1:] &= ends[:-1]
    return codes[~idle] if idle.any() else codes


def line_documents(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield whole lines of blocks of code points as documents, some for every block."""
    pending: list[np.ndarray] = []
    for codes in blocks:
        cut = _after_last_line(codes)
        if cut:
            yield close_lines(np.concatenate([*pending, codes[:cut]]))
            pending = []
        if cut < codes.size:
            pending.append(codes[cut:].copy())  # a view would keep the whole block
    if pending:
        end = np.array([_LINE_FEED], np.uint32)
        yield close_lines(np.concatenate([*pending, end]))


def file_document(blocks: Iterable[np.ndarray]) -> np.ndarray:
    r"""Return blocks of code points as one document, its line ends ``\n``, none at its end."""
    room_for_the_end = np.array([_LINE_FEED], np.uint32)
    codes = np.concatenate([*blocks, room_for_the_end])
    returns = codes == _CARRIAGE_RETURN
    if returns.any():
        codes[returns] = _LINE_FEED
        second = np.zeros(codes.size, bool)
        second[1:] = returns[:-1] & (codes[1:] == _LINE_FEED) & ~returns[1:]
        codes = codes[~second]
    content = codes != _LINE_FEED
    if not content.any():
        return codes[:0]
    end = codes.size - int(content[::-1].argmax())
    codes = codes[: end + 1]
    codes[end] = DOCUMENT_END
    return codes


def _after_last_line(codes: np.ndarray) -> int:
    """Return where the last whole line ends, searching back from the end of the block."""
    step = 4096
    for stop in range(codes.size, 0, -step):
        part = codes[max(0, stop - step) : stop]
        found = np.flatnonzero((part == _LINE_FEED) | (part == _CARRIAGE_RETURN))
        if found.size:
            return max(0, stop - step) + int(found[-1]) + 1
    return 0


def expand_paths(paths: PathLike | Iterable[PathLike]) -> list[tuple[str, Path | None]]:
    """Return name and path of every file, each once, in order; no path for standard input."""
    if isinstance(paths, bytes) or not isinstance(paths, str | os.PathLike | Iterable):
        raise TypeError(f"paths must be a path or several of them, got {paths!r}")
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise InputError("paths must name at least one file, got none")
    files: dict[Path | None, str] = {}
    for item in given:
        if not isinstance(item, str | os.PathLike):
            raise TypeError(f"paths must be str or path-like, got {item!r}")
        if not os.fspath(item):
            raise InputError("a path must not be empty; '.' is the current folder")
        if item == "-":
            files[None] = "<stdin>"
            continue
        for path in _matches(item):
            files.setdefault(path.resolve(), str(path))
    return [(name, path) for path, name in files.items()]


def _matches(item: PathLike) -> list[Path]:
    path = Path(item)
    if path.is_dir():
        found = [file for file in sorted(path.rglob("*")) if _is_known(file.relative_to(path))]
        kind = "folder"
    elif path.exists():
        return [path]
    elif isinstance(item, str) and glob.has_magic(item):
        found = [Path(match) for match in sorted(glob.glob(item, recursive=True))]
        kind = "pattern"
    else:
        raise FileNotFoundError(errno.ENOENT, "no such file or folder", str(item))
    kept = [file for file in found if file.is_file() and file.stat().st_size]
    if not kept:
        known = f" with a name in {', '.join(_KNOWN)}" if kind == "folder" else ""
        raise InputError(f"the {kind} {str(item)!r} holds no file{known} that is not empty")
    return kept


def _is_known(path: Path) -> bool:
    if any(part.startswith(".") for part in path.parts):
        return False
    name = path.name.lower()
    for suffix in COMPRESSIONS:
        name = name.removesuffix(suffix)
    return name.endswith(_KNOWN)


def read_blocks(path: Path, name: str, size: int) -> Iterator[bytes]:
    """Yield the decompressed content of a file in blocks of about `size` bytes.

    Raises
    ------
    InputError
        If a compressed file is damaged or ends too early.
    """
    compression = COMPRESSIONS.get(path.suffix.lower())
    opener: Any = gzip.open if compression == "gzip" else open
    try:
        with opener(path, "rb") as file:
            if compression in _DECOMPRESSORS:
                yield from _read_streams(file, size, _DECOMPRESSORS[compression])
            while block := file.read(size):
                yield block
    except _DAMAGE as error:
        raise InputError(
            f"{name} is no whole {compression} file, it is damaged or cut short ({error}); "
            "fetch or compress it again"
        ) from error


def _read_streams(file: BinaryIO, size: int, new: Callable[[], Any]) -> Iterator[bytes]:
    """Yield the content of streams, one after another, each read by a decompressor of its own."""
    # `lzma.open` ends at what is no stream, zstandard's reader at a cut; these know their end
    stream, began = new(), False
    held = bytearray()
    while data := file.read(_FEED_BYTES):
        while data := data if began else data.lstrip(b"\0"):  # xz pads streams with zeros
            held += stream.decompress(data)
            data, began = b"", True
            if stream.eof:
                data, stream, began = stream.unused_data, new(), False
        for begin in range(0, len(held) - size + 1, size):
            yield bytes(held[begin : begin + size])
        del held[: len(held) // size * size]
    if began:
        raise EOFError("the last stream has no end")
    if held:
        yield bytes(held)


def check_head(head: bytes, name: str, encoding: str) -> None:
    """Refuse what is no text by its first bytes.

    Raises
    ------
    InputError
        If the file is empty, has the first bytes of a known format, or holds a NUL byte.
    """
    if not head:
        raise InputError(f"{name} is empty; give a file with text in it")
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            raise InputError(f"{name} is no text: it looks like {kind}")
    wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    offset = -1 if wide else head.find(b"\0")
    if offset >= 0:
        hint = "give a text file"
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            hint = 'it begins like UTF-16: give encoding="utf-16"'
        raise InputError(f"{name} looks like a binary file (NUL byte at offset {offset}); {hint}")


def check_encoding(encoding: str) -> None:
    """Refuse what is no name of a text encoding."""
    try:
        codec = codecs.lookup(encoding)
        text = codec._is_text_encoding and codec.name not in _NAMES_ONLY
    except (LookupError, TypeError):
        text = False
    if not text:
        raise InputError(
            "encoding must be the name of a text encoding that Python knows, such as 'utf-8', "
            f"'gb18030', 'big5', 'utf-16', got {encoding!r}"
        )


class _Replacements(threading.local):
    count = 0


_replacements = _Replacements()


def _replace_and_count(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    _replacements.count += 1
    return "\ufffd", error.end


codecs.register_error("kexue-replace", _replace_and_count)


class TextDecoder:
    """Decodes blocks of one file; characters may be split over blocks.

    Attributes
    ----------
    replaced : int
        Undecodable sequences replaced by U+FFFD so far, with ``errors="replace"``.
    """

    def __init__(self, name: str, encoding: str, errors: str) -> None:
        handler = "kexue-replace" if errors == "replace" else "strict"
        self.replaced = 0
        self._name = name
        if codecs.lookup(encoding).name == "utf-8-sig":
            encoding = "utf-8"  # that decoder drops a mark cut short; a whole one is dropped below
        self._decoder = codecs.getincrementaldecoder(encoding)(handler)
        self._n_bytes = 0
        self._began = False

    def decode(self, blocks: Iterable[bytes]) -> Iterator[str]:
        """Yield the text of `blocks`, without a byte order mark at its start.

        Raises
        ------
        UnicodeDecodeError
            Naming the file and the offset of the byte in it.
        """
        for block in blocks:
            yield from self._decode(block, final=False)
        yield from self._decode(b"", final=True)

    def _decode(self, block: bytes, *, final: bool) -> Iterator[str]:
        self._n_bytes += len(block)
        before = _replacements.count
        try:
            text = self._decoder.decode(block, final)
        except UnicodeDecodeError as error:
            # `error.object` is what the decoder kept of earlier blocks, then this block
            offset = self._n_bytes - len(error.object) + error.start
            wrong = error.object[error.start : error.end]
            reason = (
                f"{error.reason} in file {self._name} at byte {offset}; "
                'give the encoding or errors="replace"'
            )
            raise UnicodeDecodeError(error.encoding, wrong, 0, len(wrong), reason) from None
        except UnicodeError as error:  # UTF-16 and UTF-32 without the mark that they need
            raise InputError(f"{self._name} is not in the encoding given: {error}") from None
        self.replaced += _replacements.count - before
        if text and not self._began:
            self._began = True
            text = text.removeprefix("\ufeff")
        if text:
            yield text


def json_records(blocks: Iterable[str], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of JSON Lines with their line numbers, from 1; skip blank lines.

    Raises
    ------
    InputError
        Naming file and line, if one holds anything but a JSON object.
    """
    for number, line in enumerate(_lines(blocks), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{name}, line {number}: no valid JSON ({error}); give one JSON object on each line"
            ) from None
        if not isinstance(record, dict):
            raise InputError(
                f"{name}, line {number}: must be a JSON object, got {type(record).__name__}; "
                "give one JSON object on each line"
            )
        yield number, record


def ragged_line(blocks: Iterable[str], separator: str) -> int:
    """Return the last line of the first CSV record with more fields than the header, else 0."""
    quoting: Literal[0, 3] = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    lines = (line + "\n" for line in _lines(blocks))
    records = csv.reader(lines, delimiter=separator, quoting=quoting)
    try:
        n_fields = len(next(records, []))
        for record in records:
            if len(record) > n_fields:
                return records.line_num
    except csv.Error:  # a field too long for this reader
        pass
    return 0


def _lines(blocks: Iterable[str]) -> Iterator[str]:
    parts: list[str] = []
    for block in blocks:
        first, *others = block.split("\n")
        parts.append(first)
        if others:
            yield "".join(parts)
            parts = [others.pop()]
            yield from others
    yield "".join(parts)
