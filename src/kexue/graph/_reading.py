"""Files as bytes and as lines with content, and errors that name the line."""

import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import Any

import zstandard

from kexue._core import InputError

MARK = b"\xef\xbb\xbf"  # of UTF-8, at the begin of some files
_COMPRESSED = (".gz", ".xz", ".zst")
_BEGINS = (b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")


def kind_of(file: Path) -> str:
    """Return the suffix in lower case, that of a compressed file without the compression."""
    if file.suffix in _COMPRESSED:
        file = file.with_suffix("")
    return file.suffix.lower()


def read_bytes(file: Path) -> bytes:
    """Return the content of a file, decompressed if its name ends in .gz, .xz or .zst."""
    return decompressed(file, file.read_bytes())


def decompressed(file: Path, data: bytes) -> bytes:
    """Return the data, decompressed if the file's name ends in .gz, .xz or .zst.

    Raises
    ------
    InputError
        If it is damaged, or compressed and not named so.
    """
    for suffix, begin in zip(_COMPRESSED, _BEGINS, strict=True):
        if data.startswith(begin) and file.suffix != suffix:
            raise InputError(
                f"{file}: compressed ({suffix}), but its name does not say so; rename it, or "
                "decompress it first"
            )
    try:
        if file.suffix == ".gz":
            return gzip.decompress(data)
        if file.suffix == ".xz":
            return lzma.decompress(data)
        if file.suffix == ".zst":
            with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as reader:
                return reader.read()
    except (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
        raise InputError(f"{file}: not a whole {file.suffix} file ({error})") from error
    return data


def lines_of(file: Path, raw: bytes) -> Any:
    r"""Return a table (number, text) of the lines with content, blanks around them taken off.

    Lines end with ``\n``, ``\r\n`` or ``\r`` and are numbered from 1; those that begin with
    ``#`` or ``%`` are left out.

    Raises
    ------
    InputError
        Names the line that is not UTF-8.
    """
    import polars as pl

    data = raw.removeprefix(MARK).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{file}, line {number}: not UTF-8 ({error.reason})") from error
    table = pl.DataFrame({"text": text.split("\n")}).with_row_index("number", 1)
    table = table.with_columns(pl.col("text").str.strip_chars(" \t\v\f"))
    return table.filter(pl.col("text").str.contains("^[^#%]"))


def match_lines(file: Path, lines: Any, pattern: str, allowed: str) -> Any:
    """Return the table (number, one string column per group of `pattern`) of matching lines.

    Parameters
    ----------
    file : Path
    lines : table
        Of `lines_of`, or a part of it.
    pattern : str
        Regular expression of polars with named groups, for a whole line.
    allowed : str
        What a line must be, for the error.

    Raises
    ------
    InputError
        Names the first line that does not match.
    """
    import polars as pl

    fits = lines["text"].str.contains(pattern)
    if not fits.all():
        row = int(fits.arg_min())
        raise bad_line(file, lines["number"][row], lines["text"][row], allowed)
    groups = lines["text"].str.extract_groups(pattern).struct.unnest()
    return pl.concat([lines.select("number"), groups], how="horizontal")


def bad_line(file: Path, number: int, text: str, allowed: str) -> InputError:
    """Return the error that names a line, says what is allowed and shows what was given."""
    return InputError(f"{file}, line {number}: {allowed}, got {text[:80]!r}")
