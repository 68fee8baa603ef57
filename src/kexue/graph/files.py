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

_HEADS = {"source", "target", "from", "to", "src", "dst", "node1", "node2", "node_1", "node_2"}


def read_graph(
    path: str | os.PathLike[str], *, directed: bool = False, weight: bool = True
) -> Network:
    """Read an edge list: two node columns and an optional weight column.

    Columns are separated by tabs, commas or spaces; lines that begin with ``#`` or ``%`` and
    blank lines are skipped. A first line is a header if its first two fields are no integers
    while those of the next line are, or if they are words such as ``source`` and ``target``.
    Files ending in ``.gz``, ``.xz`` or ``.zst`` are decompressed. If every node is an integer
    these are the node ids, from 0; otherwise nodes are names, numbered as they first appear.

    Parameters
    ----------
    path : path-like
    directed : bool
    weight : bool
        Whether the third column, if any, is the weight; otherwise it is ignored.

    Returns
    -------
    Network
        With ``names`` if the nodes are names.

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
    head = data.split(b"\n", 1)[0]
    separator = "," if b"," in head and b"\t" not in head else "\t"
    if separator == "\t" and (b"\t" not in head or b" \t" in head or b"\t " in head):
        data = re.sub(rb"[ \t]+", b"\t", data)
    first, second = (
        line.decode("utf-8", "replace").split(separator)
        for line in [*data.split(b"\n", 2), b""][:2]
    )
    if len(first) not in (2, 3):
        raise _first_bad_line(file, raw, separator, 2)
    header = _is_header(first, second)
    for integers in (True, False):
        table = _parse(data, separator, header, len(first), integers, weight)
        if table is not None:
            return _network_of(file, raw, table, header, directed)
    raise _first_bad_line(file, raw, separator, len(first))


def write_clu(path: str | os.PathLike[str], labels: ArrayLike, flow: ArrayLike) -> None:
    """Write ``node_id module flow`` lines; node ids from 0, modules from 1.

    Parameters
    ----------
    path : path-like
        Written whole or not at all.
    labels : array-like of int, shape (n_nodes,)
        Module of each node, from 0.
    flow : array-like of float, shape (n_nodes,)
    """
    modules, rates = _checked_partition(labels, flow)
    lines = ["# node_id module flow"]
    lines += [
        f"{i} {m + 1} {p:.12g}"
        for i, (m, p) in enumerate(zip(modules.tolist(), rates.tolist(), strict=True))
    ]
    write_text(path, "\n".join(lines) + "\n")


def write_tree(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    flow: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    codelength: float | None = None,
) -> None:
    """Write `format_tree` to a file, whole or not at all; parameters as there."""
    write_text(path, format_tree(labels, flow, names, codelength=codelength))


def format_tree(
    labels: ArrayLike,
    flow: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    codelength: float | None = None,
) -> str:
    """Return ``module:rank flow "name" node_id`` lines, nodes by decreasing flow.

    Parameters
    ----------
    labels : array-like of int, shape (n_nodes,)
        Module of each node, from 0.
    flow : array-like of float, shape (n_nodes,)
    names : sequence of str, optional
        Node names, the ids by default. The format knows no escapes: a double quote becomes a
        single one and a line break a space.
    codelength : float, optional
        Bits, for the first comment line.
    """
    modules, rates = _checked_partition(labels, flow)
    if names is not None and len(names) != modules.size:
        raise InputError(f"names must have one entry per node ({modules.size}), got {len(names)}")
    lines = [] if codelength is None else [f"# codelength {codelength:.12g} bits"]
    lines.append("# path flow name node_id")
    order = np.lexsort((np.arange(modules.size), -rates, modules))
    module, rank = -1, 0
    for i in order.tolist():
        rank = rank + 1 if modules[i] == module else 1
        module = int(modules[i])
        name = str(i) if names is None else re.sub(r"[\r\n]+", " ", names[i]).replace('"', "'")
        lines.append(f'{module + 1}:{rank} {rates[i]:.12g} "{name}" {i}')
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
    data = raw.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"#" in data or b"%" in data:
        data = re.sub(rb"(?m)^[ \t]*[#%][^\n]*\n?", b"", data)
    if re.search(rb"\n[ \t]|[ \t]\n|\n\n", data):
        data = re.sub(rb"[ \t]*\n\s*", b"\n", data)
    return data.strip()


def _parse(
    data: bytes, separator: str, header: bool, columns: int, integers: bool, weight: bool
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
            separator=separator,
            has_header=False,
            skip_rows=int(header),
            schema=schema,
            quote_char='"' if separator == "," else None,
        )
    except pl.exceptions.PolarsError:
        return None
    if columns == 3 and not weight:
        table = table.drop("weight")
    return None if any(table.null_count().row(0)) else table


def _network_of(file: Path, raw: bytes, table: Any, header: bool, directed: bool) -> Network:
    """Turn a parsed table into a network, naming the line of a bad weight or node id."""
    import polars as pl

    names = None
    if table.schema["source"] == pl.String:
        ends = pl.concat([table["source"], table["target"]])
        names = ends.unique(maintain_order=True)
        ids = ends.cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
        source, target = ids[: table.height], ids[table.height :]
    else:
        source, target = table["source"].to_numpy(), table["target"].to_numpy()
    weight = table["weight"].to_numpy() if "weight" in table.columns else np.ones(table.height)
    bad = ~((weight >= 0.0) & (weight < np.inf)) | (source < 0) | (target < 0)
    if bad.any():
        row = int(np.argmax(bad)) + header
        number, text = next(itertools.islice(_data_lines(raw), row, None))
        raise InputError(
            f"{file}, line {number}: node ids must be >= 0 and weights finite and >= 0, "
            f"got {text[:80]!r}"
        )
    try:
        return Network.from_links(
            source,
            target,
            weight,
            directed=directed,
            names=None if names is None else names.to_list(),
        )
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"-?\d+", text.strip()) is not None


def _is_header(first: list[str], second: list[str]) -> bool:
    names = [field.strip().strip('"').lower() for field in first[:2]]
    if all(name in _HEADS for name in names):
        return True
    return (
        not any(_is_integer(name) for name in names)
        and len(second) >= 2
        and all(_is_integer(field) for field in second[:2])
    )


def _data_lines(raw: bytes) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of every line with content."""
    for number, line in enumerate(raw.decode("utf-8-sig", "replace").splitlines(), 1):
        text = line.strip()
        if text and text[0] not in "#%":
            yield number, text


def _first_bad_line(file: Path, raw: bytes, separator: str, columns: int) -> InputError:
    """Return the error for the first line that is not like the others."""
    for row, (number, text) in enumerate(_data_lines(raw)):
        fields = text.split(separator) if separator in text else text.split()
        bad = len(fields) != columns or not all(field.strip() for field in fields)
        if row and columns == 3 and not bad:
            try:
                float(fields[2])
            except ValueError:
                bad = True
        if bad:
            return InputError(
                f"{file}, line {number}: a line of an edge list must be 'source target' or "
                f"'source target weight', the same for all lines, got {text[:80]!r}"
            )
    return InputError(f"{file}: not an edge list in UTF-8")


def _checked_partition(
    labels: ArrayLike, flow: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    modules, rates = np.asarray(labels), np.asarray(flow, dtype=np.float64)
    if modules.ndim != 1 or modules.dtype.kind not in "iu" or rates.shape != modules.shape:
        raise InputError(
            "labels and flow must be 1-D of one length, labels integers >= 0, got shapes "
            f"{modules.shape} and {rates.shape}, dtype {modules.dtype}"
        )
    if modules.size and modules.min() < 0:
        raise InputError(f"labels must be integers >= 0, got {modules.min()}")
    return modules.astype(np.int64), rates
