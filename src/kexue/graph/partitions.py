"""Partitions in files: Infomap's ``.clu``, ``.tree`` and ``.json``."""

import json
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kexue._core import InputError, atomic_path, check_choice, write_text
from kexue.graph._reading import bad_line, kind_of, lines_of, match_lines, read_bytes
from kexue.graph.flow import entropy
from kexue.graph.hierarchy import Hierarchy

_NUMBER = "[0-9]{1,18}"
_TREE = (
    rf'^(?<module>{_NUMBER}(?::{_NUMBER})*):{_NUMBER}[ \t]+\S+[ \t]+"[^"]*"[ \t]+(?<id>{_NUMBER})$'
)
_CLU = rf"^(?<id>{_NUMBER})[ \t]+(?<module>{_NUMBER})(?:[ \t]+\S+)?$"
_BARE_CLU = rf"^(?<module>{_NUMBER})$"

Paths = Sequence[tuple[int, ...]]  # of the modules of the nodes, from the top


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
    modules = _labels(labels)
    rates, ids = _checked(len(modules), flow, node_ids)
    lines = ["# node_id module flow"]
    lines += [
        f"{i} {m + 1} {p:.12g}"
        for i, m, p in zip(ids.tolist(), modules.tolist(), rates.tolist(), strict=True)
    ]
    write_text(path, "\n".join(lines) + "\n")


def write_tree(
    path: str | os.PathLike[str],
    modules: ArrayLike | Paths,
    flow: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    codelength: float | None = None,
    node_ids: ArrayLike | None = None,
) -> None:
    """Write `format_tree` to a file, whole or not at all; parameters as there."""
    write_text(path, format_tree(modules, flow, names, codelength=codelength, node_ids=node_ids))


def format_tree(
    modules: ArrayLike | Paths,
    flow: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    codelength: float | None = None,
    node_ids: ArrayLike | None = None,
) -> str:
    """Return ``1:2:3 flow "name" node_id`` lines, sorted by path.

    The last number of a path is the rank of the node in its module, by decreasing flow.

    Parameters
    ----------
    modules : array-like of int, shape (n_nodes,), or sequence of n_nodes tuples of int
        Labels: the module of each node, from 0. Or paths: the place of the node's module at
        every level from the top, from 0, so that a label m is the path ``(m,)``. If all paths
        are empty, all nodes are in one module.
    flow : array-like of float, shape (n_nodes,)
    names : sequence of str, optional
        Node names, the ids by default. The format knows no escapes: a double quote becomes a
        single one and whatever `str.splitlines` takes for a line break a space.
    codelength : float, optional
        Bits, for the first comment line.
    node_ids : array-like of int, shape (n_nodes,), optional
        0, 1, ... by default, whatever the names are; `Network.node_ids` are those of the file
        that was read.

    Raises
    ------
    InputError
        For lengths that differ, numbers that are no integers >= 0 and a node directly in a
        module that also holds modules.

    Examples
    --------
    >>> print(format_tree([(0, 0), (0, 1), (1,)], [0.2, 0.3, 0.5], ["a", "b", "c"]), end="")
    # path flow name node_id
    1:1:1 0.2 "a" 0
    1:2:1 0.3 "b" 1
    2:1 0.5 "c" 2
    """
    places = _places(modules)
    if not places.shape[1]:
        places = np.zeros((len(places), 1), np.int64)
    rates, ids = _checked(len(places), flow, node_ids)
    texts = _names(names, ids)
    order, rank = _in_modules(places, rates)
    lines = [] if codelength is None else [f"# codelength {codelength:.12g} bits"]
    lines.append("# path flow name node_id")
    module = ""
    for i, k in zip(order.tolist(), rank.tolist(), strict=True):
        if k == 0:
            module = ":".join(str(place + 1) for place in places[i].tolist() if place >= 0)
        name = " ".join(texts[i].splitlines()).replace('"', "'")
        lines.append(f'{module}:{k + 1} {rates[i]:.12g} "{name}" {ids[i]}')
    return "\n".join(lines) + "\n"


def write_json(
    path: str | os.PathLike[str],
    hierarchy: Hierarchy,
    flow: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    node_ids: ArrayLike | None = None,
    directed: bool | None = None,
    flow_model: str | None = None,
) -> None:
    """Write a hierarchy and what it costs in the layout of Infomap's ``.json`` files.

    Paths are numbered from 1, and the path of the root is ``[0]``. A node's ``modules`` are the
    numbers of its modules at every level, counted along the level over the whole graph; where
    a branch ends early, its last module counts on the levels below too. ``numModules`` are the
    modules at every level, that of the nodes last. What Infomap writes besides and is not
    known here (its arguments and times, ``mec`` and ``numEdges``) is left out. Numbers have all
    their digits.

    Parameters
    ----------
    path : path-like
        Written whole or not at all, in UTF-8.
    hierarchy : Hierarchy
    flow : array-like of float, shape (n_nodes,)
    names : sequence of str, optional
        Node names, the ids by default.
    node_ids : array-like of int, shape (n_nodes,), optional
        0, 1, ... by default; `Network.node_ids` are those of the file that was read.
    directed : bool, optional
    flow_model : str, optional
        Both are written as they are, if given.
    """
    rates, ids = _checked(hierarchy.n_nodes, flow, node_ids)
    texts = _names(names, ids)
    total, one_level = float(hierarchy.codelength.sum()), entropy(rates)
    head: dict[str, Any] = {
        "codelength": total,
        "numLevels": hierarchy.n_levels,
        "numTopModules": int((hierarchy.depth == 1).sum()),
        "numModules": [*np.bincount(hierarchy.depth)[1:].tolist(), 0],
        "relativeCodelengthSavings": 1.0 - total / one_level if one_level > 0.0 else 0.0,
    }
    if directed is not None:
        head["directed"] = bool(directed)
    if flow_model is not None:
        head["flowModel"] = flow_model
    head["higherOrder"] = False
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(json.dumps(head, allow_nan=False, separators=(",", ":"))[:-1])
        for key, rows in (
            ("nodes", _json_nodes(hierarchy, rates, texts, ids)),
            ("modules", _json_modules(hierarchy)),
        ):
            file.write(f',"{key}":[\n{next(rows)}')
            file.writelines(f",\n{row}" for row in rows)
            file.write("\n]")
        file.write("}\n")


def read_partition(path: str | os.PathLike[str], node_ids: ArrayLike) -> list[tuple[int, ...]]:
    """Read the module path of each node from a ``.tree`` or ``.clu`` file, ours or Infomap's.

    A ``.clu`` file has lines ``node_id module``, with the flow or without, or a module per
    line, then for the nodes in the order of `node_ids`. In a ``.tree`` file (or ``.ftree``, the
    links of which are skipped) the last number of a path is the place of the node in its module
    and no part of the result. Lines that begin with ``#`` or ``%`` are skipped. Files may end in
    ``.gz``, ``.xz`` or ``.zst`` besides.

    Parameters
    ----------
    path : path-like
    node_ids : array-like of int, shape (n_nodes,)
        What the file calls the nodes: `Network.node_ids`.

    Returns
    -------
    list of tuple of int, length n_nodes
        The place of the node's module at every level from the top, from 0 in the order in
        which modules appear in the file; 1-tuples for two levels.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InputError
        Names the file and the line that is malformed, or has an unknown or repeated id, or a
        node directly in a module that also holds modules; or the first id that is missing.
    """
    file = Path(path)
    kind = kind_of(file)
    check_choice(f"the suffix of {file}", kind, (".tree", ".ftree", ".clu"))
    wanted = np.asarray(node_ids)
    if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "iu"):
        raise InputError(
            f"node_ids must be 1-D integers, got shape {wanted.shape}, dtype {wanted.dtype}"
        )
    lines = lines_of(file, read_bytes(file))
    table = _clu_table(file, lines, wanted) if kind == ".clu" else _tree_table(file, lines)
    rows = _rows_of(file, lines, table, wanted)
    codes, modules = _module_paths(table["module"])
    inner = {module[:depth] for module in set(modules) for depth in range(1, len(module))}
    mixed = np.isin(codes, [code for code, module in enumerate(modules) if module in inner])
    if mixed.any():
        row = int(np.argmax(mixed))
        raise _bad_row(lines, file, table, row, "a module must hold nodes or modules, not both")
    return [modules[code] for code in codes[rows].tolist()]


def _tree_table(file: Path, lines: Any) -> Any:
    """Return a table (number, module, id); module is the path without the node's own place."""
    headings = lines["text"].str.starts_with("*")
    if headings.any():
        lines = lines.head(int(headings.arg_max()))
    allowed = "a node must be 'path flow \"name\" node_id', the path as 1:2:3 (module:...:rank)"
    return match_lines(file, lines, _TREE, allowed)


def _clu_table(file: Path, lines: Any, wanted: NDArray[Any]) -> Any:
    """Return a table (number, module, id)."""
    import polars as pl

    if lines.height and lines["text"][0].lower().startswith("*vertices"):
        lines = lines.slice(1)
    if lines.height and lines["text"].str.contains(_BARE_CLU).all():
        if lines.height != wanted.size:
            raise InputError(
                f"{file}: a list of modules must have a line for each of the {wanted.size} "
                f"nodes, got {lines.height}"
            )
        table = match_lines(file, lines, _BARE_CLU, "")
        return table.with_columns(pl.Series("id", wanted))
    allowed = "a node must be 'node_id module' or 'node_id module flow'"
    return match_lines(file, lines, _CLU, allowed)


def _rows_of(file: Path, lines: Any, table: Any, wanted: NDArray[Any]) -> NDArray[np.int64]:
    """Return the row of each wanted id, each of which must stand there once and none besides."""
    import polars as pl

    ids = table["id"].cast(pl.Int64).to_numpy()
    order = np.argsort(ids, kind="stable")
    known = np.isin(ids, wanted)
    if not known.all():
        allowed = f"a node_id must be one of the {wanted.size} of the graph"
        raise _bad_row(lines, file, table, int(np.argmin(known)), allowed)
    again = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    if again.size:
        row = int(order[again + 1].min())
        raise _bad_row(lines, file, table, row, "a node_id must occur once")
    missing = ~np.isin(wanted, ids)
    if missing.any():
        first = int(np.argmax(missing))
        raise InputError(f"{file}: a line for every node must be there, none for {wanted[first]}")
    return np.asarray(order[np.searchsorted(ids, wanted, sorter=order)])


def _bad_row(lines: Any, file: Path, table: Any, row: int, allowed: str) -> InputError:
    import polars as pl

    number = table["number"][row]
    return bad_line(file, number, lines.filter(pl.col("number") == number)["text"][0], allowed)


def _module_paths(modules: Any) -> tuple[NDArray[Any], list[tuple[int, ...]]]:
    """Number module paths such as 1:2; return (code of each row, renumbered path of each code)."""
    import polars as pl

    found = modules.unique(maintain_order=True)
    codes = modules.cast(pl.Enum(found)).to_physical().to_numpy()
    # for each module the places of its children by what the file calls them
    children: dict[tuple[int, ...], dict[int, int]] = {}
    paths = []
    for text in found.to_list():
        module: tuple[int, ...] = ()
        for number in map(int, text.split(":")):
            places = children.setdefault(module, {})
            module = (*module, places.setdefault(number, len(places)))
        paths.append(module)
    return codes, paths


def _places(modules: Any) -> NDArray[np.int64]:
    """Return labels or paths as a matrix (n_nodes, depth), short paths filled up with -1."""
    if not (isinstance(modules, list | tuple) and modules and isinstance(modules[0], tuple)):
        return _labels(modules)[:, None]
    for path in modules:
        if not (isinstance(path, tuple) and all(map(_is_place, path))):
            raise InputError(f"a path must be a tuple of integers >= 0, got {path!r}")
    lengths = np.array([len(path) for path in modules])
    places = np.full((lengths.size, lengths.max()), -1, np.int64)
    places[np.arange(lengths.max()) < lengths[:, None]] = list(chain.from_iterable(modules))
    return places


def _is_place(value: Any) -> bool:
    return isinstance(value, int | np.integer) and bool(0 <= value < 2**63)


def _labels(labels: ArrayLike) -> NDArray[np.int64]:
    modules = np.asarray(labels)
    if modules.ndim != 1 or modules.dtype.kind not in "iu":
        raise InputError(
            "labels must be 1-D integers >= 0 (or paths a list of tuples), got shape "
            f"{modules.shape}, dtype {modules.dtype}"
        )
    if modules.size and modules.min() < 0:
        raise InputError(f"labels must be integers >= 0, got {modules.min()}")
    return modules.astype(np.int64)


def _checked(
    n_nodes: int, flow: ArrayLike, node_ids: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the flow and the ids of the nodes."""
    rates = np.asarray(flow, dtype=np.float64)
    if rates.shape != (n_nodes,) or not np.isfinite(rates).all():
        raise InputError(
            f"flow must be {n_nodes} finite numbers, one per node (labels and flow must be 1-D of "
            f"one length), got shape {rates.shape}"
        )
    ids = np.arange(n_nodes) if node_ids is None else np.asarray(node_ids)
    if ids.shape != (n_nodes,) or ids.dtype.kind not in "iu":
        raise InputError(
            f"node_ids must be {n_nodes} integers, one per node, got shape {ids.shape}, "
            f"dtype {ids.dtype}"
        )
    return rates, ids.astype(np.int64)


def _names(names: Sequence[str] | None, ids: NDArray[np.int64]) -> Sequence[str]:
    if names is None:
        return [str(i) for i in ids.tolist()]
    if len(names) != ids.size:
        raise InputError(f"names must have one entry per node ({ids.size}), got {len(names)}")
    return names


def _in_modules(
    places: NDArray[np.int64], rates: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort nodes by path and, in a module, by decreasing flow; return (order, rank in module)."""
    nodes = np.arange(len(places))
    order = np.lexsort((nodes, -rates, *places.T[::-1]))
    above, below = places[order[:-1]], places[order[1:]]
    change = (above != below).any(axis=1)
    # a path is followed by those that begin with it
    mixed = change & ((above == below) | (above < 0)).all(axis=1)
    if mixed.any():
        first = int(np.argmax(mixed))
        raise InputError(
            "a module must hold nodes or modules, not both, got paths "
            f"{_shown(above[first])} and {_shown(below[first])}"
        )
    start = np.zeros(len(places), np.int64)
    start[1:] = np.where(change, nodes[1:], 0)
    return order, nodes - np.maximum.accumulate(start)


def _shown(places: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(places[places >= 0].tolist())


def _json_nodes(
    hierarchy: Hierarchy, rates: NDArray[np.float64], names: Sequence[str], ids: NDArray[np.int64]
) -> Iterator[str]:
    paths = hierarchy.paths
    order, rank = _in_modules(_places([paths[module] for module in hierarchy.leaf]), rates)
    numbers = np.ones((order.size, hierarchy.n_levels - 1), np.int64)
    for level in range(1, hierarchy.n_levels):
        module = hierarchy.at_level(level)[order]
        numbers[1:, level - 1] += np.cumsum(module[1:] != module[:-1])
    columns = order.tolist(), rank.tolist(), hierarchy.leaf[order].tolist(), numbers.tolist()
    for i, k, leaf, modules in zip(*columns, strict=True):
        path = [*(place + 1 for place in paths[leaf]), k + 1]
        name = json.dumps(names[i], ensure_ascii=False)
        yield (
            f'{{"path":{path},"modules":{modules},"name":{name},'
            f'"flow":{float(rates[i])!r},"id":{ids[i]}}}'
        )


def _json_modules(hierarchy: Hierarchy) -> Iterator[str]:
    paths, size = hierarchy.paths, hierarchy.n_modules
    children = np.bincount(hierarchy.parent[1:], minlength=size)
    children += np.bincount(hierarchy.leaf, minlength=size)
    for module in sorted(range(size), key=paths.__getitem__):
        row = {
            "path": [place + 1 for place in paths[module]] or [0],
            "enterFlow": float(hierarchy.enter[module]),
            "exitFlow": float(hierarchy.exit[module]),
            "numChildren": int(children[module]),
            "codelength": float(hierarchy.codelength[module]),
        }
        yield json.dumps(row, allow_nan=False, separators=(",", ":"))
