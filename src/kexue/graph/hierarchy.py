"""`Hierarchy`: a tree of modules over the nodes of a graph, as flat arrays, and what it costs."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kexue._core import InputError
from kexue.graph._tree_kernels import (
    add_upwards,
    border_flow,
    depths,
    merge_only_children,
    survey,
)
from kexue.graph.flow import Walk
from kexue.graph.network import Network


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Modules within modules; module 0 is the root, which holds the whole graph.

    Modules are numbered level by level, the children of one module side by side and by
    decreasing flow, so ``parent`` never decreases and ``parent[m] < m``.

    Attributes
    ----------
    parent : ndarray of int64, shape (n_modules,)
        Module around each module; -1 for the root.
    flow : ndarray of float64, shape (n_modules,)
        Visit rate of the nodes inside.
    enter, exit : ndarray of float64, shape (n_modules,)
        Rates at which the walk crosses the border inwards and outwards; 0 for the root.
    codelength : ndarray of float64, shape (n_modules,)
        Bits per step written with the module's own code; their sum is the code length.
    leaf : ndarray of int64, shape (n_nodes,)
        The innermost module around each node.
    """

    parent: NDArray[np.int64]
    flow: NDArray[np.float64]
    enter: NDArray[np.float64]
    exit: NDArray[np.float64]
    codelength: NDArray[np.float64]
    leaf: NDArray[np.int64]

    @property
    def n_modules(self) -> int:
        """Number of modules, the root among them."""
        return int(self.parent.size)

    @property
    def n_nodes(self) -> int:
        """Number of nodes of the graph."""
        return int(self.leaf.size)

    @cached_property
    def depth(self) -> NDArray[np.int64]:
        """Depth of each module, shape (n_modules,): 0 for the root."""
        return np.asarray(depths(self.parent))

    @property
    def total(self) -> float:
        """Code length in bits per step."""
        return float(self.codelength.sum())

    @cached_property
    def is_leaf(self) -> NDArray[np.bool_]:
        """Whether each module holds nodes, shape (n_modules,); otherwise it holds modules."""
        leaf = np.ones(self.n_modules, np.bool_)
        leaf[self.parent[1:]] = False
        return leaf

    @cached_property
    def leaf_labels(self) -> NDArray[np.int64]:
        """Innermost module of each node, numbered from 0 among modules that hold nodes."""
        return (np.cumsum(self.is_leaf) - 1)[self.leaf]

    @property
    def n_levels(self) -> int:
        """Levels of the deepest description, nodes included: 2 for modules without sub-modules."""
        return int(self.depth.max()) + 1

    @cached_property
    def rank(self) -> NDArray[np.int64]:
        """Place of each module among its siblings from 0, shape (n_modules,)."""
        rank = np.zeros(self.n_modules, np.int64)
        inner = np.arange(1, self.n_modules)
        first = np.searchsorted(self.parent[1:], self.parent[1:])
        rank[1:] = inner - 1 - first
        return rank

    @cached_property
    def paths(self) -> list[tuple[int, ...]]:
        """Path of each module from the top: its rank at every level below the root, from 0."""
        paths: list[tuple[int, ...]] = [()]
        for parent, rank in zip(self.parent[1:].tolist(), self.rank[1:].tolist(), strict=True):
            paths.append((*paths[parent], rank))
        return paths

    def at_level(self, level: int) -> NDArray[np.int64]:
        """Return the module around each node at depth `level`, or its innermost if less deep."""
        up = np.where(self.depth > level, self.parent, np.arange(self.n_modules))
        module = self.leaf
        for _ in range(self.n_levels):
            module = up[module]
        return module


def price_tree(
    network: Network, walk: Walk, parent: NDArray[np.int64], leaf: NDArray[np.int64]
) -> Hierarchy:
    r"""Return the tree in canonical order with the flows and the code length of every module.

    With plogp(x) = x log2 x, exit flow q, node flow p_i and enter flow e_c of the children, the
    codebook of a module costs

    .. math:: plogp(q + \sum_i p_i) - plogp(q) - \sum_i plogp(p_i)
              \quad\text{or}\quad plogp(q + \sum_c e_c) - plogp(q) - \sum_c plogp(e_c)

    bits per step, the first if it holds nodes and the second if it holds modules.

    Parameters
    ----------
    network : Network
    walk : Walk
        Its flow, from `network_flow`.
    parent : ndarray of int, shape (n_modules,)
        Module around each module: ``parent[0] == -1`` (the root), else ``parent[m] < m``.
        Modules without nodes are left out; an only child is merged with its parent, for it
        would cost bits and tell nothing.
    leaf : ndarray of int, shape (n_nodes,)
        The innermost module around each node, one that holds no modules: a node beside modules
        has a module of its own. All nodes in the root are taken for one module below it.

    Returns
    -------
    Hierarchy

    Raises
    ------
    InputError
        If a module holds both nodes and modules.

    References
    ----------
    Rosvall & Bergstrom, PLoS ONE 6 (2011) e18209.
    """
    if not leaf.any():
        parent, leaf = np.array([-1, 0]), np.ones(network.n_nodes, np.int64)
    parent, leaf, flow = _in_order(
        parent.astype(np.int64, copy=False), leaf.astype(np.int64, copy=False), walk.node
    )
    enter, leave = _borders(network, walk, parent, leaf)
    # what a codebook names besides the exit: nodes in a last module, else modules
    named = np.bincount(parent[1:], enter[1:], parent.size)
    terms = np.bincount(parent[1:], plogp(enter[1:]), parent.size)
    last = np.ones(parent.size, bool)
    last[parent[1:]] = False
    named[last] = flow[last]
    terms += np.bincount(leaf, plogp(walk.node), parent.size)
    codelength = plogp(leave + named) - plogp(leave) - terms
    return Hierarchy(parent, flow, enter, leave, codelength, leaf)


def _borders(
    network: Network, walk: Walk, parent: NDArray[np.int64], leaf: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the flow into and out of each module."""
    leave, enter = border_flow(
        network.source, network.target, network.weight, walk.scale, leaf, parent
    )
    if not network.directed:
        leave = enter = 0.5 * (leave + enter)
    if walk.leave.size:
        # not 1 - land but what lands elsewhere, which is exactly 0 for a module of all nodes
        away, land = (np.bincount(leaf, rate, parent.size) for rate in (walk.leave, walk.land))
        add_upwards(parent, away)
        add_upwards(parent, land)
        leave = leave + away * (land[0] - land)
        enter = enter + (away[0] - away) * land
    return enter, leave


def plogp(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``x log2 x`` elementwise, 0 for x = 0."""
    return np.asarray(x * np.log2(np.where(x > 0.0, x, 1.0)))


def _in_order(
    parent: NDArray[np.int64], leaf: NDArray[np.int64], node_flow: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return (parent, leaf, flow) of the modules that stay, in the order of `Hierarchy`."""
    n = leaf.size
    flow, first, children, holds = survey(parent, leaf, node_flow)
    mixed = holds & (children > 0)
    if mixed.any():
        module = int(np.argmax(mixed))
        node = int(np.argmax(leaf == module))
        raise InputError(
            f"nodes must be in modules that hold no modules, got node {node} in module {module}"
        )
    home, depth = merge_only_children(parent, first, children, n)
    by_depth = np.argsort(depth, kind="stable")
    bounds = np.searchsorted(depth[by_depth], np.arange(depth.max() + 2))
    order = [by_depth[bounds[0] : bounds[1]]]
    number = np.zeros(parent.size, np.int64)
    count = 1
    for begin, end in pairwise(bounds[1:].tolist()):
        level = by_depth[begin:end]
        around = number[home[parent[level]]]
        level = level[np.lexsort((first[level], -flow[level], around))]
        number[level] = np.arange(count, count + level.size)
        count += level.size
        order.append(level)
    kept = np.concatenate(order)
    new_parent = number[home[parent[kept]]]
    new_parent[0] = -1
    return new_parent, number[home[leaf]], flow[kept]
