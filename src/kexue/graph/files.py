"""Graphs in and partitions out: edge lists, and Infomap's ``.clu`` and ``.tree``."""

import gzip
import io
import itertools
import lzma
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import ArrayLike, NDArray

from kexue._core import InputError, write_text
from kexue.graph.network import Network

# A field of a line with commas, with the comma before it, the blanks around both and its quotes.
_FIELD = re.compile(
    rb'(?m)(^|,)[ \t]*("(?:[^"\n]|"")*"(?=[ \t]*(?:,|$))|[^, \t\n](?:[^,\n]*[^, \t\n])?|)[ \t]*'
)
_MARK = b"\xef\xbb\xbf"  # of UTF-8, at the begin of some files
_HEADS = {"source", "target", "from", "to", "src", "dst", "node1", "node2", "node_1", "node_2"}


def read_graph(
    path: str | os.PathLike[str],
    *,
    directed: bool = False,
    weight: bool = True,
    header: bool | None = None,
) -> Network:
    """Read an edge list: two node columns and an optional weight column.

    Columns are separated by tabs if the first line has one, else by commas if it has one, else
    by blanks; blanks around tabs and commas are no part of a field. With commas, a field may
    stand in double quotes. Lines that begin with ``#`` or ``%`` and blank lines are skipped. A
    first line is taken for a header if its first two fields are no integers while those of the
    next line are, or if they are words such as ``source`` and ``target``. Files ending in
    ``.gz``, ``.xz`` or ``.zst`` are decompressed.

    What the file calls its nodes are names, integers too: the nodes are those that occur. If
    all are integers they are numbered in increasing order, otherwise as they first appear.

    Parameters
    ----------
    path : path-like
    directed : bool
    weight : bool
        Whether the third column, if any, is the weight; otherwise it is ignored.
    header : bool, optional
        Whether the first line is a header; guessed by default.

    Returns
    -------
    Network
        With ``names``, unless the file's nodes are exactly the integers 0 .. n_nodes - 1.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InputError
        Names the file and, for a malformed line, its number.
    """
    file = Path(path)
    raw = _read_bytes(file)
    data = _plain_lines(raw)
    if not data:
        raise InputError(f"{file}: no links found")
    separator = _separator(data.split(b"\n", 1)[0])
    data = _tidy(data, separator)
    first, second = (_fields(line, separator) for line in [*data.split(b"\n", 2), b""][:2])
    if len(first) not in (2, 3):
        raise _first_bad_line(file, raw, separator, 2)
    if header is None:
        header = _is_header(first, second)
    for integers in (True, False):
        table = _parse(data, separator, header, len(first), integers, weight)
        if table is not None:
            return _network_of(file, raw, table, header, directed)
    raise _first_bad_line(file, raw, separator, len(first))


def write_clu(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    flow: ArrayLike,
    *,
    node_ids: ArrayLike | None = None,
) -> None:
    """Write ``node_id module flow`` lines; modules from 1.

    Parameters
    ----------
    path : path-like
        Written whole or not at all.
    labels : array-like of int, shape (n_nodes,)
        Module of each node, from 0.
    flow : array-like of float, shape (n_nodes,)
    node_ids : array-like of int, shape (n_nodes,), optional
        0, 1, ... by default; `Network.node_ids` are those of the file that was read.
    """
    modules, rates, ids = _checked_partition(labels, flow, node_ids)
    lines = ["# node_id module flow"]
    lines += [
        f"{i} {m + 1} {p:.12g}"
        for i, m, p in zip(ids.tolist(), modules.tolist(), rates.tolist(), strict=True)
    ]
    write_text(path, "\n".join(lines) + "\n")


def write_tree(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    flow: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    codelength: float | None = None,
    node_ids: ArrayLike | None = None,
) -> None:
    """Write `format_tree` to a file, whole or not at all; parameters as there."""
    write_text(path, format_tree(labels, flow, names, codelength=codelength, node_ids=node_ids))


def format_tree(
    labels: ArrayLike,
    flow: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    codelength: float | None = None,
    node_ids: ArrayLike | None = None,
) -> str:
    """Return ``module:rank flow "name" node_id`` lines, nodes by decreasing flow.

    Parameters
    ----------
    labels : array-like of int, shape (n_nodes,)
        Module of each node, from 0.
    flow : array-like of float, shape (n_nodes,)
    names : sequence of str, optional
        Node names, the ids by default. The format knows no escapes: a double quote becomes a
        single one and whatever `str.splitlines` takes for a line break a space.
    codelength : float, optional
        Bits, for the first comment line.
    node_ids : array-like of int, shape (n_nodes,), optional
        0, 1, ... by default, whatever the names are; `Network.node_ids` are those of the file
        that was read.
    """
    modules, rates, ids = _checked_partition(labels, flow, node_ids)
    if names is not None and len(names) != modules.size:
        raise InputError(f"names must have one entry per node ({modules.size}), got {len(names)}")
    lines = [] if codelength is None else [f"# codelength {codelength:.12g} bits"]
    lines.append("# path flow name node_id")
    order = np.lexsort((np.arange(modules.size), -rates, modules))
    module, rank = -1, 0
    for i in order.tolist():
        rank = rank + 1 if modules[i] == module else 1
        module = int(modules[i])
        name = str(ids[i]) if names is None else " ".join(names[i].splitlines())
        name = name.replace('"', "'")
        lines.append(f'{module + 1}:{rank} {rates[i]:.12g} "{name}" {ids[i]}')
    return "\n".join(lines) + "\n"


def _read_bytes(file: Path) -> bytes:
    data = file.read_bytes()
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


def _plain_lines(raw: bytes) -> bytes:
    """Return the lines with content, without comments and with one kind of line end."""
    data = raw.removeprefix(_MARK)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"#" in data or b"%" in data:
        data = re.sub(rb"(?m)^[ \t\v\f]*[#%][^\n]*\n?", b"", data)
    if re.search(rb"\n[ \t]|[ \t]\n|\n\n", data):
        data = re.sub(rb"[ \t]*\n\s*", b"\n", data)
    return data.strip()


def _separator(head: bytes) -> bytes | None:
    """Return what separates the columns of a file with this first line; None stands for blanks."""
    return b"\t" if b"\t" in head else b"," if b"," in head else None


def _tidy(data: bytes, separator: bytes | None) -> bytes:
    """Remove the blanks around separators; where blanks separate, put one tab."""
    if separator is None:
        return re.sub(rb"[ \t]+", b"\t", data)
    if separator == b"\t":
        return re.sub(rb" *\t *", b"\t", data) if b" \t" in data or b"\t " in data else data
    return _FIELD.sub(rb"\1\2", data) if re.search(rb"[ \t],|,[ \t]", data) else data


def _fields(line: bytes, separator: bytes | None) -> list[str]:
    """Split a line as the file is split, quotes taken off."""
    if separator == b",":
        fields = [match[2].strip(b'"') for match in _FIELD.finditer(line)]
    else:
        fields = line.split(separator)
    return [field.decode("utf-8", "replace") for field in fields]


def _parse(
    data: bytes, separator: bytes | None, header: bool, columns: int, integers: bool, weight: bool
) -> Any:
    """Return a table (source, target[, weight]), or None if a field is absent or unfit."""
    import polars as pl

    node = pl.Int64 if integers else pl.String
    schema: dict[str, Any] = {"source": node, "target": node}
    if columns == 3:
        schema["weight"] = pl.Float64 if weight else pl.String
    try:
        table = pl.read_csv(
            data,
            separator="," if separator == b"," else "\t",
            has_header=False,
            skip_rows=int(header),
            schema=schema,
            quote_char='"' if separator == b"," else None,
        )
    except pl.exceptions.PolarsError:
        return None
    if columns == 3 and not weight:
        table = table.drop("weight")
    return None if any(table.null_count().row(0)) else table


def _network_of(file: Path, raw: bytes, table: Any, header: bool, directed: bool) -> Network:
    """Turn a parsed table into a network, naming the line of a bad weight or node id."""
    import polars as pl

    weight = table["weight"].to_numpy() if "weight" in table.columns else np.ones(table.height)
    bad = ~((weight >= 0.0) & (weight < np.inf))
    if table.schema["source"] == pl.Int64:
        bad |= (table["source"] < 0).to_numpy() | (table["target"] < 0).to_numpy()
    if bad.any():
        row = int(np.argmax(bad)) + header
        number, line = next(itertools.islice(_data_lines(raw), row, None))
        raise InputError(
            f"{file}, line {number}: node ids must be >= 0 and weights finite and >= 0, "
            f"got {_shown(line)}"
        )
    numbers, names = _numbered(pl.concat([table["source"], table["target"]]))
    source, target = numbers[: table.height], numbers[table.height :]
    return Network.from_links(source, target, weight, directed=directed, names=names)


def _numbered(nodes: Any) -> tuple[NDArray[np.integer[Any]], list[str] | None]:
    """Number the nodes from 0; return (number of each entry, names), None if they are the same."""
    import polars as pl

    if nodes.dtype == pl.String:
        found = nodes.unique(maintain_order=True)
        return nodes.cast(pl.Enum(found)).to_physical().to_numpy(), found.to_list()
    ids = nodes.to_numpy()
    present = np.unique(ids)
    if present[-1] < present.size:
        return ids, None
    return np.searchsorted(present, ids), [str(i) for i in present.tolist()]


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"-?\d+", text.strip()) is not None


def _is_header(first: list[str], second: list[str]) -> bool:
    names = [field.strip('"').lower() for field in first[:2]]
    if all(name in _HEADS for name in names):
        return True
    return (
        not any(_is_integer(name) for name in names)
        and len(second) >= 2
        and all(_is_integer(field) for field in second[:2])
    )


def _data_lines(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (line number, content) of every line with content; lines end as in `_plain_lines`."""
    for number, line in enumerate(re.split(rb"\r\n|\r|\n", raw.removeprefix(_MARK)), 1):
        content = line.strip()
        if content and content[0] not in b"#%":
            yield number, content


def _shown(line: bytes) -> str:
    return repr(line.decode("utf-8", "replace")[:80])


def _first_bad_line(file: Path, raw: bytes, separator: bytes | None, columns: int) -> InputError:
    """Return the error for the first line that is not like the others."""
    for row, (number, line) in enumerate(_data_lines(raw)):
        fields = _fields(line, separator)
        bad = len(fields) != columns or not all(field.strip() for field in fields)
        if row and columns == 3 and not bad:
            try:
                float(fields[2])
            except ValueError:
                bad = True
        if bad:
            return InputError(
                f"{file}, line {number}: a line of an edge list must be 'source target' or "
                f"'source target weight', the same for all lines, got {_shown(line)}"
            )
    return InputError(f"{file}: not an edge list in UTF-8")


def _checked_partition(
    labels: ArrayLike, flow: ArrayLike, node_ids: ArrayLike | None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    modules, rates = np.asarray(labels), np.asarray(flow, dtype=np.float64)
    if modules.ndim != 1 or modules.dtype.kind not in "iu" or rates.shape != modules.shape:
        raise InputError(
            "labels and flow must be 1-D of one length, labels integers >= 0, got shapes "
            f"{modules.shape} and {rates.shape}, dtype {modules.dtype}"
        )
    if modules.size and modules.min() < 0:
        raise InputError(f"labels must be integers >= 0, got {modules.min()}")
    ids = np.arange(modules.size) if node_ids is None else np.asarray(node_ids)
    if ids.shape != modules.shape or ids.dtype.kind not in "iu":
        raise InputError(
            f"node_ids must be {modules.size} integers, one per node, got shape {ids.shape}, "
            f"dtype {ids.dtype}"
        )
    return modules.astype(np.int64), rates, ids.astype(np.int64)
