r"""Flow of a random walk: how often each node is visited and each link is used.

- ``"undirected"``: :math:`p_i = s_i / S` with s_i the weight of the links at i (a self-loop
  counted once) and S their sum; a link carries 2 w / S, half each way (a self-loop w / S).
- ``"directed"``: visit rates of a walk that teleports with probability `teleport`, and from
  nodes without out-links always, to the source of a link drawn by weight; then one step along
  the links, and only that step is flow (unrecorded teleportation, Lambiotte & Rosvall 2012).
- ``"rawdir"``: the link weights themselves are the flow, f = w / W, and p is the flow into a
  node.
"""

import logging
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kexue._core import check_choice, check_float
from kexue.graph._network_kernels import merge_links, symmetric_csr, visit_rates
from kexue.graph.network import Network, as_network

_STEPS = (50, 400)  # least and most of the power iteration
_SETTLED = 1e-10  # L1 change per step above which visit rates cannot be called stationary
FLOW_MODELS = ("undirected", "directed", "rawdir")


class Flow(NamedTuple):
    """Flow per node, ``(n_nodes,)``, and per link of the network, ``(n_links,)``.

    The flow of an undirected link is the sum over both directions. ``node`` and, up to
    teleportation, ``link`` sum to 1; without links both are all zero.
    """

    node: NDArray[np.float64]
    link: NDArray[np.float64]


class Problem(NamedTuple):
    """What the search works on: see `kexue.graph._infomap_kernels`."""

    graph: tuple[Any, ...]
    directed: bool
    node_term: float


def random_walk_flow(graph: Any, flow: str = "undirected", *, teleport: float = 0.15) -> Flow:
    """Return the flow of a random walk on `graph`.

    Parameters
    ----------
    graph : Network or anything that `as_network` accepts
    flow : {"undirected", "directed", "rawdir"}
        See the module's description.
    teleport : float in [0, 1]
        Probability of teleportation; used by ``"directed"`` only. Near 0 the walk may have no
        stationary state within reach; the logger ``kexue`` then warns.

    Returns
    -------
    Flow
        Named tuple (node, link), aligned with ``as_network(graph, ...)``.

    Raises
    ------
    InputError
        For a bad graph or parameter.

    References
    ----------
    Rosvall & Bergstrom, PNAS 105 (2008) 1118; Lambiotte & Rosvall, PRE 85 (2012) 056107.

    Examples
    --------
    >>> random_walk_flow([(0, 1), (1, 2), (2, 3)]).node.round(3).tolist()
    [0.167, 0.333, 0.333, 0.167]
    """
    check_choice("flow", flow, FLOW_MODELS)
    tau = check_float("teleport", teleport, minimum=0, maximum=1)
    return network_flow(as_network(graph, directed=flow != "undirected"), flow, tau)


def network_flow(network: Network, flow: str, teleport: float) -> Flow:
    """Return the flow on `network`; the arguments have been checked."""
    n, source, target = network.n_nodes, network.source, network.target
    if network.n_links == 0:
        return Flow(np.zeros(n), np.zeros(0))
    weight = network.weight / network.weight.max()  # so that no sum overflows
    if flow == "undirected":
        loop = source == target
        strength = _sum_at(source, weight, n) + _sum_at(target, np.where(loop, 0.0, weight), n)
        total = strength.sum()
        return Flow(strength / total, np.where(loop, weight, 2.0 * weight) / total)
    if flow == "rawdir":
        link = weight / weight.sum()
        return Flow(_sum_at(target, link, n), link)
    out = _sum_at(source, weight, n)
    share = weight / out[source]
    rate, dangling, change = visit_rates(
        source, target, share, out / out.sum(), teleport, _STEPS, 1e-15
    )
    if change > _SETTLED:
        logging.getLogger("kexue").warning(
            "the visit rates are not stationary: after %d steps with teleport=%g they still "
            "change by %.1e per step; raise teleport",
            _STEPS[1],
            teleport,
            change,
        )
    link = rate[source] * share / (1.0 - dangling)
    return Flow(_sum_at(target, link, n), link)


def search_problem(network: Network, flow: Flow) -> Problem:
    """Return the symmetrised graph of the search for `network` with `flow`."""
    n, source, target = network.n_nodes, network.source, network.target
    between = np.where(source == target, 0.0, flow.link)
    if network.directed:
        first, second, s = np.minimum(source, target), np.maximum(source, target), between
        first, second, s = merge_links(first, second, s, n)
        out = _sum_at(source, between, n)
        skew = _sum_at(target, between, n) - out
    else:
        first, second, s = source, target, between
        out = 0.5 * (_sum_at(source, between, n) + _sum_at(target, between, n))
        skew = np.zeros(n)
    graph = (*symmetric_csr(first, second, s, n), flow.node, out, skew)
    return Problem(graph, network.directed, -entropy(flow.node))


def _sum_at(ids: NDArray[np.int32], values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    return np.bincount(ids, values, n).astype(np.float64, copy=False)


def entropy(flow: NDArray[np.float64]) -> float:
    """Return ``-sum(p log2 p)`` in bits, ``0 log 0 = 0``."""
    positive = flow[flow > 0.0]
    return -float(np.sum(positive * np.log2(positive))) + 0.0
