r"""The map equation: bits per step of a random walk described by given modules.

With enter and exit flow q_m^in, q_m^out and node flow p_m of the modules, plogp(x) = x log2 x,

.. math:: L = plogp(\sum_m q_m^{in}) - \sum_m plogp(q_m^{in}) - \sum_m plogp(q_m^{out})
              + \sum_m plogp(q_m^{out} + p_m) - \sum_i plogp(p_i).

The first two terms are the index code, which names the module entered; the rest are the module
codes, which name nodes and exits. Links inside a module, self-loops among them, cost nothing.
Modules within modules have a code each, see `price_tree`.
"""

import reprlib
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kexue._core import InputError
from kexue.graph.flow import check_flow, network_flow
from kexue.graph.hierarchy import price_tree
from kexue.graph.network import as_network


@dataclass(frozen=True, eq=False)
class MapCost:
    """Code length in bits per step: ``total = index + modules``, ``modules = sum(per_module)``.

    ``index`` is the code of the root, which names the modules of the top level. ``per_module``
    has one entry per module: for labels in sorted order of the labels; for paths in the order of
    `Hierarchy` without its root, level by level, the modules inside one module side by side and
    by decreasing flow, ties by their first node.
    """

    total: float
    index: float
    modules: float
    per_module: NDArray[np.float64]


def map_equation(
    graph: Any,
    labels_or_paths: Any,
    flow: str = "undirected",
    *,
    teleport: float = 0.15,
    markov_time: float = 1.0,
    regularized: bool = False,
    node_flow: ArrayLike | None = None,
) -> MapCost:
    """Return the code length of the given modules on `graph`, in bits per step.

    Parameters
    ----------
    graph : Network or anything that `as_network` accepts
    labels_or_paths : array-like, shape (n_nodes,), or sequence of n_nodes tuples
        Module of each node: integers or strings. Or the path of its module from the top, a
        tuple of integers or strings such as ``(0, 2)``; depths may differ, but a node cannot be
        beside modules: no path may be the beginning of a longer one. A module whose only child
        is a module is one with it and has no code of its own.
    flow : {"undirected", "directed", "recorded", "rawdir"}
        How the walk moves, see `random_walk_flow`.
    teleport, markov_time, regularized, node_flow
        See `random_walk_flow`.

    Returns
    -------
    MapCost
        With total, index, modules and per_module, bits.

    Raises
    ------
    InputError
        For a bad graph or parameter, labels that are neither integers nor strings (NaN is
        neither), a path that is the beginning of another (names the node), or labels whose
        number is not the number of nodes.

    References
    ----------
    Rosvall & Bergstrom, PNAS 105 (2008) 1118; Rosvall & Bergstrom, PLoS ONE 6 (2011) e18209;
    kexue.fm article 7006.

    Examples
    --------
    >>> triangles = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (3, 5)]
    >>> round(map_equation(triangles, [0, 0, 0, 1, 1, 1]).total, 5)
    2.32073
    >>> paths = [("a", 0), ("a", 0), ("a", 1), ("b",), ("b",), ("b",)]
    >>> round(map_equation(triangles, paths).total, 5)
    2.96498
    """
    check_flow(flow, teleport, markov_time, regularized, node_flow)
    network = as_network(graph, directed=flow != "undirected")
    parent, leaf = tree_of_partition(labels_or_paths, network.n_nodes)
    walk = network_flow(
        network,
        flow,
        teleport,
        markov_time=markov_time,
        regularized=regularized,
        node_flow=node_flow,
    )
    tree = price_tree(network, walk, parent, leaf)
    index, per_module = float(tree.codelength[0]), tree.codelength[1:]
    if _paths_of(labels_or_paths) is None:
        by_label = np.empty_like(per_module)
        by_label[leaf - 1] = per_module[tree.leaf - 1]
        per_module = by_label
    modules = float(per_module.sum())
    return MapCost(index + modules, index, modules, per_module)


def tree_of_partition(labels_or_paths: Any, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the (parent, leaf) of `price_tree` that labels or paths of `n` nodes name.

    Raises
    ------
    InputError
        As `map_equation` does for its labels.
    """
    paths = _paths_of(labels_or_paths)
    if paths is not None:
        return _tree_of_paths(paths, n)
    array = _checked_labels(labels_or_paths)
    if array.shape != (n,):
        raise InputError(
            f"labels must have one entry per node, shape ({n},), got shape {array.shape}"
        )
    return flat_tree(np.unique(array, return_inverse=True)[1])


def flat_tree(codes: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the (parent, leaf) of `price_tree` for modules side by side, numbered from 0."""
    parent = np.zeros(int(codes.max()) + 2, np.int64)
    parent[0] = -1
    return parent, codes.astype(np.int64) + 1


def _paths_of(labels_or_paths: Any) -> list[Any] | None:
    """Return the list of paths if it is one."""
    if isinstance(labels_or_paths, list | tuple) or (
        isinstance(labels_or_paths, np.ndarray) and labels_or_paths.dtype == object
    ):
        rows = list(labels_or_paths)
        if any(isinstance(row, tuple) for row in rows):
            return rows
    return None


def _checked_labels(labels: ArrayLike) -> NDArray[Any]:
    """Return the labels as an array if they are all integers (in any type) or all strings."""
    array = np.asarray(labels)
    if array.dtype.kind in "UO":  # of a mixed list NumPy makes an array of strings
        array = np.asarray(labels, dtype=object)
        kind = str if any(isinstance(label, str) for label in array.flat) else Integral
        bad = [label for label in array.flat if not isinstance(label, kind)]
    elif array.dtype.kind == "f":
        bad = array[~(np.isfinite(array) & (array == np.floor(array)))].tolist()
    else:
        bad = [] if array.dtype.kind in "biu" else array.ravel().tolist()
    if bad:
        raise InputError(f"labels must be all integers or all strings, got {reprlib.repr(bad[0])}")
    return array


def _tree_of_paths(paths: list[Any], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (parent, leaf) of the modules named by `paths`, one per node."""
    if len(paths) != n:
        raise InputError(f"paths must have one entry per node, {n}, got {len(paths)}")
    number: dict[tuple[Any, ...], int] = {(): 0}
    parent, leaf = [-1], []
    for node, path in enumerate(paths):
        if not _is_path(path):
            raise InputError(
                f"paths must be tuples of integers and strings, got {path!r} for node {node}"
            )
        if path not in number:
            for end in range(1, len(path) + 1):
                if path[:end] not in number:
                    number[path[:end]] = len(parent)
                    parent.append(number[path[: end - 1]])
        leaf.append(number[path])
    inner = set(parent)
    for path, module in zip(paths, leaf, strict=True):
        if module in inner:
            around = [other for other in paths if other != path and other[: len(path)] == path]
            raise InputError(
                f"a node cannot be beside modules: the path {path!r} of node {leaf.index(module)} "
                f"is the beginning of {around[0]!r}; give the node a module of its own"
            )
    return np.array(parent, np.int64), np.array(leaf, np.int64)


def _is_path(path: Any) -> bool:
    return isinstance(path, tuple) and all(isinstance(part, Integral | str) for part in path)
