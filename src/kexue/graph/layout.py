"""What the page of a partition draws, and where: modules, their leading nodes, a flat map."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kexue.graph._tree_kernels import add_upwards
from kexue.graph.flow import Walk
from kexue.graph.hierarchy import Hierarchy
from kexue.graph.network import Network

_STEPS = 400  # of the layout; it has settled to a pixel long before
_COHESION = 0.03  # pull between things that share no link, in units of the mean pull
_EVENNESS = 0.5  # 0: distances as they come; 1: every stripe of the map equally full


def node_counts(tree: Hierarchy) -> NDArray[np.int64]:
    """Return the number of nodes inside each module, shape (n_modules,)."""
    counts = np.bincount(tree.leaf, minlength=tree.n_modules)
    add_upwards(tree.parent, counts)
    return counts


def leading_nodes(
    tree: Hierarchy, node_flow: NDArray[np.float64], modules: NDArray[np.int64], most: int
) -> NDArray[np.int64]:
    """Return the `most` most visited nodes of each of the modules, -1 where there are fewer."""
    slot = np.full(tree.n_modules, -1)
    slot[modules] = np.arange(modules.size)
    found = np.full((modules.size, most), -1)
    _lead(np.argsort(-node_flow, kind="stable"), tree.leaf, tree.parent, slot, found)
    return found


def crossing_flow(
    network: Network, walk: Walk, group: NDArray[np.int64], n_groups: int
) -> NDArray[np.float64]:
    """Return the link flow between groups of nodes, shape (n_groups, n_groups), 0 within them.

    Of an undirected graph both directions are summed in the entries with row < column. Group -1
    takes no part. Memory is that of the result.
    """
    between = np.zeros((n_groups, n_groups))
    _cross(network.source, network.target, network.weight, walk.scale, group, between)
    np.fill_diagonal(between, 0.0)
    return between if network.directed else np.triu(between + between.T)


def groups_of_nodes(tree: Hierarchy, modules: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which of the modules, none inside another, is around each node; -1 if none is."""
    around = np.full(tree.n_modules, -1)
    around[modules] = np.arange(modules.size)
    for depth in range(1, tree.n_levels):
        (level,) = np.nonzero(tree.depth == depth)
        above = around[tree.parent[level]]
        around[level] = np.where(above >= 0, above, around[level])
    return around[tree.leaf]


def arrange(
    between: NDArray[np.float64], radius: NDArray[np.float64], width: float, height: float
) -> NDArray[np.float64]:
    r"""Return where circles stand in a box, shape (n, 2); those with much flow between are near.

    With the flow relative to chance, :math:`s_{ij} = f_{ij} S / (f_i f_j)`, minimises
    :math:`\sum s_{ij} d_{ij}^2 - 2 \sum d_{ij}` by majorisation, then pushes circles apart.

    Parameters
    ----------
    between : ndarray of float64, shape (n, n)
        Flow; direction does not matter.
    radius : ndarray of float64, shape (n,)
    width, height : float

    References
    ----------
    van Eck & Waltman, Scientometrics 84 (2010) 523 (the objective); Gansner, Koren & North,
    Graph Drawing 2004 (majorisation).
    """
    n = radius.size
    box = np.array([width, height])
    if n == 1:
        return 0.5 * box[None, :]
    flow = between + between.T
    strength = flow.sum(axis=1)
    # what exchanges next to nothing must not be pulled without bound
    strength = np.maximum(strength, 1e-12 * strength.max() or 1.0)
    pull = flow * (flow.sum() / np.outer(strength, strength))
    pull += _COHESION * (pull.sum() / (n * (n - 1)) or 1.0)
    np.fill_diagonal(pull, 0.0)
    at = _majorise(pull, _spectral(pull))
    # islands drift far out: distances from the middle grow more slowly beyond the median
    at -= np.median(at, axis=0)
    away = np.hypot(*at.T)[:, None] / (np.median(np.hypot(*at.T)) or 1.0)
    at = at * np.log1p(away) / np.where(away > 0.0, away, 1.0)
    at -= at.mean(axis=0)
    # the long axis lies across; signs are chosen so that they cannot flip
    at = at @ np.linalg.svd(at, full_matrices=False)[2].T
    at *= np.where(np.take_along_axis(at, np.abs(at).argmax(axis=0)[None], 0) < 0.0, -1.0, 1.0)
    rank = np.argsort(np.argsort(at, axis=0, kind="stable"), axis=0) / (n - 1)
    spread = np.ptp(at, axis=0)
    at = (at - at.min(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    at = (1.0 - _EVENNESS) * at + _EVENNESS * rank
    low, high = radius[:, None], box - radius[:, None]
    return _apart(low + at * (high - low), radius, box)


def _spectral(pull: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a start: the two slowest ways in which the things could swing."""
    laplacian = np.diag(pull.sum(axis=1)) - pull
    vectors = np.linalg.eigh(laplacian)[1][:, 1:3]
    start = np.zeros((len(pull), 2))
    start[:, : vectors.shape[1]] = vectors
    # nothing may begin at the same place as something else
    turn = np.arange(len(pull)) * 2.399963
    return start + 1e-3 * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def _majorise(pull: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    laplacian = np.diag(pull.sum(axis=1)) - pull
    inverse = np.linalg.pinv(laplacian, hermitian=True)
    for _ in range(_STEPS):
        gap = at[:, None, :] - at[None, :, :]
        distance = np.sqrt((gap**2).sum(axis=2))
        np.fill_diagonal(distance, 1.0)
        moved = inverse @ (gap / np.maximum(distance, 1e-9)[:, :, None]).sum(axis=1)
        change = np.abs(moved - at).max()
        at = moved
        if change < 1e-4 * np.abs(at).max():
            break
    return at


def _apart(
    at: NDArray[np.float64], radius: NDArray[np.float64], box: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Push circles that overlap apart, the smaller ones further, within the box."""
    need = radius[:, None] + radius[None, :] + 0.006 * box.max()
    area = radius**2
    give = area[None, :] / (area[:, None] + area[None, :])
    low, high = radius[:, None], box - radius[:, None]
    for _ in range(_STEPS):
        gap = at[:, None, :] - at[None, :, :]
        distance = np.sqrt((gap**2).sum(axis=2))
        np.fill_diagonal(distance, np.inf)
        lack = np.maximum(need - distance, 0.0)
        if lack.max() < 0.02 * radius.min():
            break
        unit = gap / np.maximum(distance, 1e-9)[:, :, None]
        at = np.clip(at + 0.6 * (unit * (lack * give)[:, :, None]).sum(axis=1), low, high)
    return at


@njit(cache=True, nogil=True)
def _lead(order, leaf, parent, slot, found):  # type: ignore[no-untyped-def]
    """Fill the rows of `found` with nodes in the given order."""
    filled = np.zeros(found.shape[0], np.int64)
    for node in order:
        module = leaf[node]
        while module >= 0:
            row = slot[module]
            if row >= 0 and filled[row] < found.shape[1]:
                found[row, filled[row]] = node
                filled[row] += 1
            module = parent[module]


@njit(cache=True, nogil=True)
def _cross(source, target, weight, scale, group, between):  # type: ignore[no-untyped-def]
    """Add the flow of every link to the cell of the groups at its ends."""
    for e in range(source.size):
        a, b = group[source[e]], group[target[e]]
        if a >= 0 and b >= 0:
            between[a, b] += weight[e] * scale[source[e]]
