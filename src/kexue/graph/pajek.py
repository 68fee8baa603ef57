"""Pajek's ``.net`` files, and what Infomap calls so."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kexue._core import InputError
from kexue.graph._reading import bad_line, lines_of, match_lines
from kexue.graph.network import Network

_HEADING = re.compile(r"\*\s*(\w+)(.*)")
_COUNT = re.compile(r"(\s+[0-9]{1,18})?(\s+[0-9]+)?\s*")
_VERTEX = r'^(?<id>[0-9]+)(?:[ \t]+(?:"(?<quoted>[^"]*)"|(?<plain>[^" \t]\S*))(?:[ \t].*)?)?$'
_LINK = r"^(?<source>[0-9]+)[ \t]+(?<target>[0-9]+)(?:[ \t]+(?<weight>\S+)(?:[ \t].*)?)?$"
_LIST = r"^(?<source>[0-9]+)(?<target>(?:[ \t]+[0-9]+)*)$"
_HIGHER_ORDER = ("states", "contexts", "paths", "multilayer", "multiplex", "intra", "inter")
_EDGES, _ARCS = ("edges", "edgeslist"), ("arcs", "arcslist")


def read_pajek(file: Path, raw: bytes, *, directed: bool, weight: bool) -> Network:
    """Read the content of a ``.net`` file; see `kexue.graph.read_graph`.

    Parameters
    ----------
    file : Path
        For the errors.
    raw : bytes
        Its content, decompressed.
    directed, weight : bool

    Raises
    ------
    InputError
        Names the file and the line.
    """
    import polars as pl

    lines = lines_of(file, raw)
    count, vertices, links = None, None, []
    for number, word, argument, rows in _sections(file, lines):
        if word == "vertices":
            if vertices is not None:
                raise InputError(f"{file}, line {number}: a file must hold one *Vertices, got two")
            count = _count(file, number, argument, lines.height)
            vertices = _vertices(file, rows)
        elif word in _ARCS and rows.height and not directed:
            raise InputError(
                f"{file}, line {number}: *{word.capitalize()} are directed links, but an "
                "undirected graph is asked for; pass flow='directed' (or directed=True)"
            )
        elif word != "network":
            read = _link_lists if word.endswith("list") else _links
            table = read(file, rows, weight)
            links.append(table)
            if directed and word in _EDGES:
                turned = table.filter(pl.col("source") != pl.col("target"))  # a loop has one way
                links.append(turned.rename({"source": "target", "target": "source"}))
    if vertices is None:
        vertices = _vertices(file, lines.clear())
    columns = ["number", "source", "target", "weight"]
    whole = pl.concat([table.select(columns) for table in [_links(file, lines.clear()), *links]])
    _check(file, lines, vertices, whole, count)
    return _network(file, vertices, whole, count, directed)


def _sections(file: Path, lines: Any) -> Iterator[tuple[int, str, str, Any]]:
    """Yield (line of the heading, its word in lower case, what follows the word, its rows)."""
    starts = lines["text"].str.starts_with("*").arg_true().to_list()
    for start, end in zip(starts, [*starts[1:], lines.height], strict=True):
        number, text = lines.row(start)
        match = _HEADING.match(text)
        word = "" if match is None else match[1].lower()
        if word.startswith(_HIGHER_ORDER) or word == "bipartite":
            raise bad_line(
                file,
                number,
                text,
                "state, multilayer and bipartite networks of Infomap are not supported; give an "
                "ordinary network of *Vertices and *Edges, *Arcs or *Links",
            )
        if match is None or word not in ("network", "vertices", "links", *_EDGES, *_ARCS):
            raise bad_line(
                file,
                number,
                text,
                "a heading must be *Vertices, *Edges, *Arcs, *Edgeslist, *Arcslist or *Links",
            )
        yield number, word, match[2], lines.slice(start + 1, end - start - 1)


def _vertices(file: Path, rows: Any) -> Any:
    """Return a table (number, id, label); an absent label is null."""
    import polars as pl

    table = match_lines(
        file, rows, _VERTEX, "a vertex must be its id and, if any, its label, blanks in quotes"
    )
    label = pl.coalesce("quoted", "plain").replace("", None)
    return table.select("number", pl.col("id").cast(pl.Int64, strict=False), label=label)


def _links(file: Path, rows: Any, weight: bool = True) -> Any:
    """Return a table (number, source, target, weight) of a link per line."""
    import polars as pl

    table = match_lines(file, rows, _LINK, "a link must be 'source target' or with a weight")
    ends = pl.col("source", "target").cast(pl.Int64, strict=False)
    if not weight:
        return table.with_columns(ends, weight=pl.lit(1.0))
    # what is no number becomes null, and null is refused later, with the bad weights
    value = pl.col("weight").fill_null("1").cast(pl.Float64, strict=False)
    return table.with_columns(ends, weight=value)


def _link_lists(file: Path, rows: Any, weight: bool) -> Any:
    """Return a table as `_links` does of lines that hold a node and all its neighbours."""
    import polars as pl

    table = match_lines(file, rows, _LIST, "a line must be 'source target target ...'")
    table = table.with_columns(pl.col("target").str.extract_all("[0-9]+"), weight=pl.lit(1.0))
    table = table.filter(pl.col("target").list.len() > 0).explode("target")
    return table.with_columns(pl.col("source", "target").cast(pl.Int64, strict=False))


def _count(file: Path, number: int, argument: str, n_lines: int) -> int | None:
    """Return the number of vertices that a heading states; None if it states none."""
    match = _COUNT.fullmatch(argument)  # a second number is that of the first of two modes
    count = int(match[1]) if match is not None and match[1] else None
    # a name is made for every vertex, so a wrong number must not fill the memory
    if match is None or (count is not None and not 0 < count <= 1_000_000 + 10 * n_lines):
        raise InputError(
            f"{file}, line {number}: the number of vertices must be >= 1 and in proportion to "
            f"the {n_lines} lines of the file, got {argument.strip()!r}"
        )
    return count


def _check(file: Path, lines: Any, vertices: Any, links: Any, count: int | None) -> None:
    """Refuse ids out of range, ids that are given twice and bad weights, naming the line."""
    import polars as pl

    low, high = (0, 2**63 - 1) if count is None else (1, count)
    wanted = "an integer" if count is None else f"from 1 to {count}, the number of vertices"
    source, target, vertex = (
        ~pl.col(name).is_between(low, high).fill_null(False) for name in ("source", "target", "id")
    )
    value = pl.col("weight").fill_null(float("nan"))
    checks = [
        (vertices, vertex, f"the id of a vertex must be {wanted}"),
        (vertices, ~pl.col("id").is_first_distinct(), "the ids of vertices must differ"),
        (links, source | target, f"the id of a vertex must be {wanted}"),
        (links, ~((value >= 0.0) & (value < float("inf"))), "weights must be finite and >= 0"),
    ]
    for table, bad, allowed in checks:
        first = table.filter(bad).head(1)
        if first.height:
            number = first["number"][0]
            text = lines.filter(pl.col("number") == number)["text"][0]
            raise bad_line(file, number, text, allowed)


def _network(file: Path, vertices: Any, links: Any, count: int | None, directed: bool) -> Network:
    """Number the vertices from 0 in the order of their ids and name them by their labels."""
    source, target = links["source"].to_numpy(), links["target"].to_numpy()
    listed, labels = vertices["id"].to_numpy(), vertices["label"]
    if count is None:
        ids = np.unique(np.concatenate([listed, source, target]))
        listed, source, target = (np.searchsorted(ids, some) for some in (listed, source, target))
    else:
        ids = np.arange(1, count + 1)
        listed, source, target = listed - 1, source - 1, target - 1
    if not ids.size:
        raise InputError(f"{file}: no vertices and no links found")
    names = [str(i) for i in ids.tolist()]
    for place, label in zip(listed.tolist(), labels.to_list(), strict=True):
        if label is not None:
            names[place] = label
    plain = ids[-1] == ids.size - 1 and labels.is_null().all()
    return Network.from_links(
        source,
        target,
        links["weight"].to_numpy(),
        n_nodes=ids.size,
        directed=directed,
        names=None if plain else names,
        ids=ids,
    )
