"""Graphs from files: edge lists as text and as parquet; Pajek's files are in `pajek`."""

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from kexue._core import InputError
from kexue.graph._reading import MARK, decompressed, kind_of, read_bytes
from kexue.graph.network import Network
from kexue.graph.pajek import read_pajek

# A field of a line with commas, with the comma before it, the blanks around both and its quotes.
_FIELD = re.compile(
    rb'(?m)(^|,)[ \t]*("(?:[^"\n]|"")*"(?=[ \t]*(?:,|$))|[^, \t\n](?:[^,\n]*[^, \t\n])?|)[ \t]*'
)
_SOURCES = ("source", "from", "src", "node1", "node_1")
_TARGETS = ("target", "to", "dst", "node2", "node_2")
_HEADS = {*_SOURCES, *_TARGETS}
_ALLOWED = "node ids must be >= 0 and weights finite and >= 0"
_LEADING_ZERO = re.compile(rb"(?m)(?:^|[\t,])0[0-9]")
# The first line with content begins with an asterisk.
_HEADING = re.compile(rb"(?:\s|[#%][^\r\n]*+)*+\*")


def read_graph(
    path: str | os.PathLike[str] | BinaryIO,
    *,
    directed: bool = False,
    weight: bool = True,
    header: bool | None = None,
) -> Network:
    """Read a graph from an edge list, a parquet table or a Pajek file.

    **Edge lists** (any suffix that is not named below) have two node columns and an optional
    weight column. Columns are separated by tabs if the first line has one, else by commas if it
    has one, else by blanks; blanks around tabs and commas are no part of a field. With commas,
    a field may stand in double quotes. Lines that begin with ``#`` or ``%`` and blank lines are
    skipped. A first line is taken for a header if its first two fields are no integers while
    those of the next line are, if its third is no number while that of the next line is, or if
    they are words such as ``source`` and ``target``.

    **Parquet tables** (``.parquet``) have columns with such words for names, in any case, else
    the nodes are in the first two columns. The weight is the column ``weight``, else the third
    column if the first two hold the nodes and it is numeric. Other columns are ignored.

    What these two call their nodes are names, integers too: the nodes are those that occur. If
    all are integers they are numbered in increasing order, otherwise as they first appear; where a
    number begins with a zero (007), all are names.

    **Pajek files** (``.net``) have sections that begin with a heading, in any case. After
    ``*Vertices n`` there are the vertices 1 .. n, with links or without; what may follow is a
    line per vertex with its id and its label, in double quotes if there are blanks in it.
    Labels become names, ids where there are none; node i is vertex i + 1. As in Infomap's own
    files, ``*Vertices`` may state no number: then the vertices are those that are listed or
    have links, numbered in the order of their ids, which may begin with 0. Each line after
    ``*Edges`` or ``*Arcs`` is a link, with its weight or without, and each line after
    ``*Edgeslist`` or ``*Arcslist`` is a node and all its neighbours. Edges are undirected: if
    `directed`, each is a link in both directions. Arcs are directed, and refused unless
    `directed`. Infomap's ``*Links`` are what `directed` says. All sections are one graph.
    Weights and coordinates of vertices and whatever follows the weight of a link are ignored;
    matrices and Infomap's state, multilayer and bipartite networks are refused. A ``.net`` file
    without headings is an edge list.

    Text files may end in ``.gz``, ``.xz`` or ``.zst`` besides, and are decompressed.

    Parameters
    ----------
    path : path-like or binary file
        An open file is read to its end as an edge list, or as a Pajek file if it begins with a
        heading.
    directed : bool
    weight : bool
        Whether to read the weights, if any; otherwise they are ignored.
    header : bool, optional
        Whether the first line of an edge list is a header; guessed by default.

    Returns
    -------
    Network
        With ``names``, unless the file's nodes are exactly the integers 0 .. n_nodes - 1.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InputError
        Names the file and, for a malformed line or row, its number; rows count from 0.
    """
    if not isinstance(path, str | os.PathLike):
        file, kind = Path(str(getattr(path, "name", "<stream>"))), ".net"
        raw = decompressed(file, path.read())
    else:
        file = Path(path)
        kind = kind_of(file)
        if kind == ".parquet":
            return _read_parquet(file, directed, weight)
        raw = read_bytes(file)
    if kind == ".net" and _HEADING.match(raw.removeprefix(MARK)):
        return read_pajek(file, raw, directed=directed, weight=weight)
    return _read_edge_list(file, raw, directed, weight, header)


def _read_edge_list(
    file: Path, raw: bytes, directed: bool, weight: bool, header: bool | None
) -> Network:
    data = _plain_lines(raw)
    if not data:
        raise InputError(f"{file}: no links found")
    separator = _separator(data.split(b"\n", 1)[0])
    data = _tidy(data, separator)
    first, second = (_fields(line, separator) for line in [*data.split(b"\n", 2), b""][:2])
    if len(first) not in (2, 3):
        raise _first_bad_line(file, raw, separator, 2)
    skipped = _is_header(first, second) if header is None else header

    def refuse(row: int) -> InputError:
        number, line = next(itertools.islice(_data_lines(raw), row + skipped, None))
        return InputError(f"{file}, line {number}: {_ALLOWED}, got {_shown(line)}")

    # names such as 007 are not numbers
    for integers in (False,) if _LEADING_ZERO.search(data) else (True, False):
        table = _parse(data, separator, skipped, len(first), integers, weight)
        if table is not None:
            return _network_of(table, directed, refuse)
    raise _first_bad_line(file, raw, separator, len(first))


def _read_parquet(file: Path, directed: bool, weight: bool) -> Network:
    import polars as pl

    try:
        lazy = pl.scan_parquet(file, glob=False)
        schema = lazy.collect_schema()
        ends, value = _columns(file, schema)
        columns = ends if value is None or not weight else [*ends, value]
        given = lazy.select(columns).collect()
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{file}: not a whole parquet file ({error})") from error
    if not given.height:
        raise InputError(f"{file}: no links found")

    def refuse(row: int) -> InputError:
        return InputError(f"{file}, row {row}: {_ALLOWED}, got {given.row(row)}")

    node = pl.Int64 if schema[ends[0]].is_integer() else pl.String
    table = given.select(
        pl.col(ends[0]).cast(node, strict=False).alias("source"),
        pl.col(ends[1]).cast(node, strict=False).alias("target"),
        *(pl.col(name).cast(pl.Float64).alias("weight") for name in columns[2:]),
    )
    return _network_of(table, directed, refuse)


def _columns(file: Path, schema: Any) -> tuple[list[str], str | None]:
    """Return the names of the two node columns of a parquet table and of its weight column."""
    import polars as pl

    words = {name.lower(): name for name in reversed(schema)}
    found = [[words[word] for word in some if word in words] for some in (_SOURCES, _TARGETS)]
    ends = [found[0][0], found[1][0]] if all(found) else list(schema)[:2]
    if len(ends) < 2:
        raise InputError(f"{file}: an edge list needs two node columns, got {list(schema)}")
    texts = (pl.String, pl.Categorical, pl.Enum)
    kinds = [schema[name] for name in ends]
    whole, text = all(k.is_integer() for k in kinds), all(isinstance(k, texts) for k in kinds)
    if not (whole or text):
        raise InputError(
            f"{file}: the node columns {ends[0]!r} and {ends[1]!r} must both hold integers or "
            f"both strings, got {kinds[0]} and {kinds[1]}"
        )
    value = words.get("weight")
    if value is not None and not schema[value].is_numeric():
        raise InputError(f"{file}: the column {value!r} must hold numbers, got {schema[value]}")
    third = list(schema)[2:3]
    if value is None and set(ends) == set(list(schema)[:2]) and third:
        value = third[0] if schema[third[0]].is_numeric() else None
    return ends, value


def _plain_lines(raw: bytes) -> bytes:
    """Return the lines with content, without comments and with one kind of line end."""
    data = raw.removeprefix(MARK)
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


def _network_of(table: Any, directed: bool, refuse: Callable[[int], InputError]) -> Network:
    """Turn a table (source, target[, weight]) into a network; `refuse` names a bad row."""
    import polars as pl

    weight = table["weight"].to_numpy() if "weight" in table.columns else np.ones(table.height)
    ends = table["source"], table["target"]
    bad = ~((weight >= 0.0) & (weight < np.inf))  # an absent weight is NaN here
    for end in ends:
        integer = end.dtype == pl.Int64
        bad |= (end.is_null() | (end < 0).fill_null(True) if integer else end.is_null()).to_numpy()
    if bad.any():
        raise refuse(int(np.argmax(bad)))
    numbers, names = _numbered(pl.concat(ends))
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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python takes for a digit separator


def _is_header(first: list[str], second: list[str]) -> bool:
    names = [field.strip('"').lower() for field in first[:2]]
    if all(name in _HEADS for name in names):
        return True
    if len(first) == len(second) == 3 and not _is_number(first[2]) and _is_number(second[2]):
        return True
    return (
        not any(_is_integer(name) for name in names)
        and len(second) >= 2
        and all(_is_integer(field) for field in second[:2])
    )


def _data_lines(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (line number, content) of every line with content; lines end as in `_plain_lines`."""
    for number, line in enumerate(re.split(rb"\r\n|\r|\n", raw.removeprefix(MARK)), 1):
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
        bad |= row > 0 and columns == 3 and not _is_number(fields[-1])
        if bad:
            return InputError(
                f"{file}, line {number}: a line of an edge list must be 'source target' or "
                f"'source target weight', the same for all lines, got {_shown(line)}; other "
                "columns must be removed"
            )
    return InputError(f"{file}: not an edge list in UTF-8, or a weight in its first line is none")
