"""`Network`, the one form that every graph takes here, and `as_network`, which accepts the others.

The link list is canonical: sorted by (source, target), parallel links summed, links of weight 0
left out and, if undirected, ``source <= target``. Node ids are ``0 .. n_nodes - 1``.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kexue._core import InputError, check_int
from kexue.graph._network_kernels import merge_links, order_ends

_INTEGER = re.compile("0|[1-9][0-9]{0,18}")
_MOST_NODES = 2**31 - 2
_RENUMBER = "renumber the nodes: names, ids = np.unique(links, return_inverse=True)"


@dataclass(frozen=True, eq=False)
class Network:
    """A weighted graph as a canonical link list; build it with `from_links` or `as_network`.

    Attributes
    ----------
    n_nodes : int
    directed : bool
        If false, each link stands once, with ``source <= target``.
    source, target : ndarray of int32, shape (n_links,)
    weight : ndarray of float64, shape (n_links,)
        Positive; parallel links are summed.
    names : list of str or None
        Node names, by id.
    ids : ndarray of int64, shape (n_nodes,), or None
        What a file calls the nodes, where it has names for them besides.
    """

    n_nodes: int
    directed: bool
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    weight: NDArray[np.float64]
    names: list[str] | None = None
    ids: NDArray[np.int64] | None = None

    @classmethod
    def from_links(
        cls,
        source: ArrayLike,
        target: ArrayLike,
        weight: ArrayLike | None = None,
        *,
        n_nodes: int | None = None,
        directed: bool,
        names: Sequence[str] | None = None,
        ids: ArrayLike | None = None,
    ) -> "Network":
        """Build a network from parallel arrays of link ends.

        Parameters
        ----------
        source, target : array-like of int, shape (n_links,)
            Node ids from 0; one that does not occur is an isolated node. Undirected links may
            be given either way round.
        weight : array-like of float, shape (n_links,), optional
            Finite and >= 0; 1 by default. Parallel links are summed.
        n_nodes : int, optional
            One more than the largest id by default, which must be in proportion to the number
            of links; give it to keep isolated nodes at the end.
        directed : bool
        names : sequence of str, optional
            One name per node.
        ids : array-like of int, shape (n_nodes,), optional
            What files of partitions call the nodes, see `node_ids`.

        Raises
        ------
        InputError
            For ids that are no integers >= 0 or far beyond the number of links, for bad
            weights (the first one is named), for lengths that differ and for a graph without
            nodes.

        Examples
        --------
        >>> Network.from_links([0, 1, 1], [1, 0, 2], directed=False)
        Network(n_nodes=3, n_links=2, undirected)
        """
        ends = _node_ids(source, "source"), _node_ids(target, "target")
        n_links = ends[0].size
        values = None if weight is None else _real(weight)
        shapes = [array.shape for array in (*ends, values) if array is not None]
        if any(shape != (n_links,) for shape in shapes):
            raise InputError(
                "source, target and weight must be 1-D of one length, got shapes "
                + ", ".join(map(str, shapes))
            )
        if values is not None:
            _check_weights(values, *ends)
        largest = max(int(ends[0].max()), int(ends[1].max())) if n_links else -1
        n = largest + 1 if n_nodes is None else check_int("n_nodes", n_nodes, minimum=0)
        if n == 0:
            raise InputError("a graph needs at least one node, got no links and no n_nodes")
        if largest >= n:
            raise InputError(f"node ids must be < n_nodes = {n}, got {largest}")
        if n > _MOST_NODES:
            raise InputError(f"a graph may have {_MOST_NODES} nodes at most, got n_nodes = {n}")
        if n_nodes is None and n > 10 * n_links + 10_000:
            raise InputError(
                f"{n_links} links with node ids up to {largest} make a graph of {n} nodes, nearly "
                f"all of them isolated; {_RENUMBER}, or give n_nodes to Network.from_links"
            )
        if names is not None and len(names) != n:
            raise InputError(f"names must have one entry per node ({n}), got {len(names)}")
        outer = None if ids is None else np.array(ids, np.int64)
        if outer is not None and outer.shape != (n,):
            raise InputError(f"ids must have one entry per node ({n}), got shape {outer.shape}")
        # copies, in which merge_links may work
        first, second = ends[0].astype(np.int32), ends[1].astype(np.int32)
        values = np.ones(n_links) if values is None else values.astype(np.float64)
        del ends
        if not directed:
            order_ends(first, second)
        first, second, values = _merged(first, second, values, n)
        named = None if names is None else list(names)
        return cls(n, bool(directed), first, second, values, named, outer)

    @property
    def n_links(self) -> int:
        """Number of links; an undirected one counts once."""
        return int(self.source.size)

    @property
    def node_ids(self) -> NDArray[np.int64]:
        """What files call the nodes: `ids`, else different integers as names, else 0, 1, ..."""
        if self.ids is not None:
            return self.ids
        if self.names is not None and all(map(_INTEGER.fullmatch, self.names)):
            ids = [int(name) for name in self.names]
            if max(ids) < 2**63 and len(set(ids)) == len(ids):
                return np.array(ids, np.int64)
        return np.arange(self.n_nodes)

    def __repr__(self) -> str:
        kind = "directed" if self.directed else "undirected"
        return f"Network(n_nodes={self.n_nodes}, n_links={self.n_links}, {kind})"

    def as_directed(self) -> "Network":
        """Return the network itself if directed, else one with each link in both directions."""
        if self.directed:
            return self
        other = self.source != self.target  # a self-loop has one direction
        source, target, weight = _merged(
            np.concatenate([self.source, self.target[other]]),
            np.concatenate([self.target, self.source[other]]),
            np.concatenate([self.weight, self.weight[other]]),
            self.n_nodes,
        )
        return Network(self.n_nodes, True, source, target, weight, self.names, self.ids)


def as_network(graph: Any, *, directed: bool) -> Network:
    """Return `graph` as a `Network`.

    Parameters
    ----------
    graph : object
        - a square matrix, SciPy sparse or a NumPy array: ``A[i, j]`` is the weight of the link
          from i to j. Undirected: a symmetric matrix states each link twice and is read as one
          link; a triangular matrix states it once. Any other matrix is refused, because it
          could mean either; the diagonal always is the weight of the self-loop;
        - links: a list of tuples (or lists) ``(source, target)`` or ``(source, target, weight)``,
          or a NumPy array of shape (E, 2) or (E, 3) with a weight column, or (2, E). A square
          array is a matrix; shape (2, 3) could be either way round and is refused. Nodes are
          the integers from 0 to the largest; those that do not occur are isolated nodes. In a
          list of tuples they may be strings, and become names;
        - a `Network`, a networkx graph or an igraph graph (edge attribute ``weight``). An
          undirected one read as directed gets each link in both directions; a directed one
          read as undirected is refused;
        - the path of a graph file, see `read_graph`.
    directed : bool
        How links are read.

    Raises
    ------
    InputError
        Says what is wrong, and for a bad weight its row, column and value.
    TypeError
        If it is none of these.
    """
    if isinstance(graph, Network):
        return _with_direction(graph, directed)
    if isinstance(graph, str | os.PathLike):
        from kexue.graph.files import read_graph

        return read_graph(Path(graph), directed=directed)
    if hasattr(graph, "get_edgelist") and hasattr(graph, "vcount"):
        return _with_direction(_from_igraph(graph), directed)
    if hasattr(graph, "adjacency") and hasattr(graph, "is_directed"):
        return _with_direction(_from_networkx(graph), directed)
    if hasattr(graph, "tocoo"):
        return _from_matrix(graph.tocoo(), graph.shape, directed)
    if not isinstance(graph, np.ndarray | list | tuple):
        raise TypeError(
            "a graph must be a square matrix (scipy sparse or NumPy), a list of links, an array "
            "of links of shape (E, 2), (E, 3) or (2, E), a Network, a networkx or igraph graph "
            f"or a path, got {type(graph).__name__}"
        )
    if not isinstance(graph, np.ndarray) and any(_has_names(row) for row in graph[:1]):
        return _from_named_rows(graph, directed)
    try:
        array = np.asarray(graph)
    except ValueError as error:
        raise InputError(
            "a list of links must hold (source, target) or (source, target, weight), the same "
            "for all links, got rows of different lengths"
        ) from error
    if isinstance(graph, np.ma.MaskedArray):
        raise InputError("a masked array does not say what its masked entries are; fill it first")
    if isinstance(graph, np.ndarray):
        return _from_array(array, directed)
    if len(graph) == 2 and all(isinstance(ends, np.ndarray) for ends in graph):
        if array.shape[1:] in ((2,), (3,)):
            raise InputError(
                f"two arrays of {array.shape[1]} may be two links or the ends of "
                f"{array.shape[1]}; use Network.from_links(source, target, directed=...)"
            )
        return _from_array(array, directed)
    if _looks_like_a_matrix(graph, array):
        raise InputError(
            "a list of three lists of three numbers may be three weighted links or a matrix; give "
            "the links as tuples, or the matrix as a NumPy array"
        )
    return _from_rows(array, directed)


def _has_names(row: Any) -> bool:
    return isinstance(row, list | tuple) and len(row) in (2, 3) and isinstance(row[0], str)


def _from_named_rows(rows: Sequence[Any], directed: bool) -> Network:
    """Read links between names, numbered as they first appear."""
    number: dict[str, int] = {}
    size = len(rows[0])
    for place, row in enumerate(rows):
        if not _has_names(row) or len(row) != size or not isinstance(row[1], str):
            raise InputError(
                "a list of links between names must hold (source, target) or (source, target, "
                f"weight), the same for all links, got {row!r} at place {place}"
            )
        for name in row[:2]:
            number.setdefault(name, len(number))
    return Network.from_links(
        [number[row[0]] for row in rows],
        [number[row[1]] for row in rows],
        [row[2] for row in rows] if size == 3 else None,
        directed=directed,
        names=list(number),
    )


def _looks_like_a_matrix(graph: Sequence[Any], array: NDArray[Any]) -> bool:
    return (
        array.shape == (3, 3)
        and not any(isinstance(row, tuple) for row in graph)
        and np.array_equal(array, array.T)
    )


def _from_rows(rows: NDArray[Any], directed: bool) -> Network:
    """Read links that came as a list of tuples, however many they are."""
    if rows.ndim != 2 or rows.shape[1] not in (2, 3) or rows.dtype.kind not in "iuf":
        raise InputError(
            "a list of links must hold (source, target) or (source, target, weight), all "
            f"numbers, got shape {rows.shape}, dtype {rows.dtype}; a matrix must be a NumPy array"
        )
    weight = rows[:, 2] if rows.shape[1] == 3 else None
    return Network.from_links(rows[:, 0], rows[:, 1], weight, directed=directed)


def _from_array(array: NDArray[Any], directed: bool) -> Network:
    """Read a dense matrix or an array of links."""
    if array.dtype == bool:
        array = array.astype(np.int8)
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise InputError(
            "a graph array must be numeric and 2-D, a square matrix or links of shape (E, 2), "
            f"(E, 3) or (2, E), got shape {array.shape}, dtype {array.dtype}"
        )
    rows, columns = array.shape
    if rows == columns:
        if rows == 0:
            raise InputError("a graph needs at least one node, got a matrix of shape (0, 0)")
        from scipy.sparse import coo_array

        return _from_matrix(coo_array(array), array.shape, directed)
    if columns == 2 or (columns == 3 and rows != 2):
        return _from_rows(array, directed)
    if rows == 2 and columns != 3:
        return Network.from_links(array[0], array[1], directed=directed)
    if rows == 2:
        raise InputError(
            "an array of shape (2, 3) may be two weighted links or three links; "
            "use Network.from_links(source, target, weight, directed=...)"
        )
    raise InputError(
        "a graph matrix must be square and links must have shape (E, 2), (E, 3) or (2, E), "
        f"got shape {array.shape}"
    )


def _from_matrix(matrix: Any, shape: tuple[int, ...], directed: bool) -> Network:
    """Read a scipy matrix in coordinate form."""
    if len(shape) != 2 or shape[0] != shape[1]:
        raise InputError(f"a graph matrix must be square, got shape {tuple(shape)}")
    row, column = matrix.row, matrix.col
    weight = _real(matrix.data)
    _check_weights(weight, row, column)
    full = Network.from_links(row, column, weight, n_nodes=shape[0], directed=True)
    if directed:
        return full
    upper = full.source <= full.target
    lower = full.source >= full.target
    if not (upper.all() or lower.all()):
        turned = merge_links(
            full.target.copy(), full.source.copy(), full.weight.copy(), full.n_nodes
        )
        same = np.array_equal(turned[0], full.source) and np.array_equal(turned[1], full.target)
        # mirrored entries that were computed apart may differ in the last digits
        if not same or not np.allclose(turned[2], full.weight, rtol=1e-9, atol=0.0):
            raise InputError(
                "an undirected graph needs a symmetric matrix (each link stated twice) or a "
                "triangular one (stated once), got neither; pass flow='directed' (or "
                "directed=True), or A + A.T to sum both directions"
            )
    keep = lower if lower.all() else upper
    return Network.from_links(
        full.source[keep],
        full.target[keep],
        full.weight[keep],
        n_nodes=full.n_nodes,
        directed=False,
    )


def _from_networkx(graph: Any) -> Network:
    names = list(graph)
    ids = {node: i for i, node in enumerate(names)}
    links = list(graph.edges(data="weight", default=1.0))
    return Network.from_links(
        np.fromiter((ids[link[0]] for link in links), np.int64, len(links)),
        np.fromiter((ids[link[1]] for link in links), np.int64, len(links)),
        np.fromiter((link[2] for link in links), np.float64, len(links)),
        n_nodes=len(names),
        directed=graph.is_directed(),
        names=[str(name) for name in names],
    )


def _from_igraph(graph: Any) -> Network:
    links = np.asarray(graph.get_edgelist(), dtype=np.int64).reshape(-1, 2)
    weight = graph.es["weight"] if "weight" in graph.es.attributes() else None
    names = graph.vs["name"] if "name" in graph.vs.attributes() else None
    return Network.from_links(
        links[:, 0],
        links[:, 1],
        weight,
        n_nodes=graph.vcount(),
        directed=graph.is_directed(),
        names=None if names is None else [str(name) for name in names],
    )


def _with_direction(network: Network, directed: bool) -> Network:
    """Read an undirected network as directed if asked; refuse the reverse."""
    if network.directed and not directed:
        raise InputError(
            "the graph is directed, but an undirected one is asked for; pass flow='directed' "
            "(or directed=True), or convert it first"
        )
    return network.as_directed() if directed else network


def _node_ids(values: ArrayLike, name: str) -> NDArray[np.integer[Any]]:
    """Return 1-D integer ids >= 0, or name the first value that is none."""
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(array.shape, np.int64)
    if array.dtype.kind not in "iu":
        if array.dtype.kind != "f":
            raise InputError(f"{name} must hold node ids (integers >= 0), got {array.dtype}")
        # link arrays with a weight column hold ids as floats
        bad = np.flatnonzero(~((array == np.floor(array)) & (np.abs(array) < 2**53)))
        if bad.size:
            raise InputError(
                f"{name} must hold node ids (integers >= 0), got {array[bad[0]]!r} in link {bad[0]}"
            )
        array = array.astype(np.int64)
    if array.min() < 0:
        first = int(np.argmax(array < 0))
        raise InputError(
            f"{name} must hold node ids (integers >= 0), got {array[first]} in link {first}"
        )
    if array.max() > _MOST_NODES:
        raise InputError(f"node ids must be <= {_MOST_NODES}, got {array.max()}; {_RENUMBER}")
    return array


def _real(weight: ArrayLike) -> NDArray[np.float64]:
    """Return the weights as float64; an imaginary part is not dropped but refused."""
    array = np.asarray(weight)
    if array.dtype.kind not in "biufO":
        raise InputError(f"link weights must be real numbers, got dtype {array.dtype}")
    return np.ascontiguousarray(array, dtype=np.float64)


def _merged(
    source: NDArray[np.int32], target: NDArray[np.int32], weight: NDArray[np.float64], n: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Return `merge_links`, or refuse parallel links whose sum is too large for a float."""
    source, target, weight = merge_links(source, target, weight, n)
    if weight.size and weight.max() == np.inf:
        link = int(np.argmax(weight))
        raise InputError(
            f"the weights of the parallel links from {source[link]} to {target[link]} have no "
            "finite sum; divide all weights by a constant"
        )
    return source, target, weight


def _check_weights(weight: NDArray[np.float64], row: Any, column: Any) -> None:
    """Refuse negative, NaN and infinite weights, naming the first."""
    # one pass over the data; NaN fails both comparisons
    if weight.size and not (weight.min() >= 0.0 and weight.max() < np.inf):
        first = int(np.argmax(~((weight >= 0.0) & (weight < np.inf))))
        raise InputError(
            f"link weights must be finite and >= 0, got {float(weight[first])!r} "
            f"at row {row[first]}, column {column[first]}"
        )
