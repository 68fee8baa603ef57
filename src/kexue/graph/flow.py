r"""Flow of a random walk: how often each node is visited and each link is used.

- ``"undirected"``: :math:`p_i = s_i / S` with s_i the weight of the links at i (a self-loop
  counted once) and S their sum; a link carries 2 w / S, half each way (a self-loop w / S).
- ``"directed"``: visit rates of a walk that teleports with probability `teleport`, and from
  nodes without out-links always, to the source of a link drawn by weight; then one step along
  the links, and only that step is flow (unrecorded teleportation, Lambiotte & Rosvall 2012).
- ``"recorded"``: the same walk, but it lands at the target of a link drawn by weight, and
  teleportation is flow like any other step.
- ``"rawdir"``: the link weights themselves are the flow, f = w / W, and p is the flow into a
  node.

With ``regularized=True`` the walk moves on the sum of the graph and a complete prior network,
which stands for the links nobody has observed. With v_i the mean weight of the links at i in
units of the mean weight w of all (its least value for a node without links) and k_i their number,

.. math:: \text{prior}_{ij} = \frac{\ln n}{n} w v_i v_j, \qquad
          \alpha_i = \frac{t_i}{k_i v_i w + t_i}, \quad
          t_i = \sum_j \text{prior}_{ij} ;

a directed prior takes v_i of the out-links and v_j of the in-links. A step along the prior is a
recorded teleportation: it leaves i with probability alpha_i and lands at j in proportion to v_j.
"""

import logging
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kexue._core import InputError, check_choice, check_float
from kexue.graph._flow_kernels import degrees, flow_into, strengths, visit_rates
from kexue.graph.network import Network, as_network

_STEPS = (50, 400)  # least and most of the power iteration
_SETTLED = 1e-10  # L1 change per step above which visit rates cannot be called stationary
_LARGE = 1e285  # sums of larger weights might overflow
FLOW_MODELS = ("undirected", "directed", "recorded", "rawdir")


class Flow(NamedTuple):
    """Flow per node, per link of the network, and by teleportation.

    Attributes
    ----------
    node : ndarray of float64, shape (n_nodes,)
        Visit rates; they sum to 1, or are 0 in a graph without links.
    link : ndarray of float64, shape (n_links,)
        Of an undirected link the sum over both directions. With ``leave`` it sums to 1 if
        ``markov_time`` is 1 and no ``node_flow`` was given.
    leave : ndarray of float64, shape (n_nodes,), or None
        Flow that leaves each node by teleportation; None if the model does not record it.
    land : ndarray of float64, shape (n_nodes,), or None
        The part of that flow that lands on each node; sums to 1.
    """

    node: NDArray[np.float64]
    link: NDArray[np.float64]
    leave: NDArray[np.float64] | None = None
    land: NDArray[np.float64] | None = None


class Walk(NamedTuple):
    """Flow without an array of the links' length.

    Attributes
    ----------
    node : ndarray of float64, shape (n_nodes,)
        Visit rates, as in `Flow`.
    scale : ndarray of float64, shape (n_nodes,)
        A link carries ``weight * scale[source]``, of an undirected self-loop half of it.
    leave, land : ndarray of float64, shape (n_nodes,) or (0,)
        As in `Flow`; empty if teleportation is not recorded.
    """

    node: NDArray[np.float64]
    scale: NDArray[np.float64]
    leave: NDArray[np.float64]
    land: NDArray[np.float64]


def random_walk_flow(
    graph: Any,
    flow: str = "undirected",
    *,
    teleport: float = 0.15,
    markov_time: float = 1.0,
    regularized: bool = False,
    node_flow: ArrayLike | None = None,
) -> Flow:
    r"""Return the flow of a random walk on `graph`.

    Parameters
    ----------
    graph : Network or anything that `as_network` accepts
    flow : {"undirected", "directed", "recorded", "rawdir"}
        See the module's description.
    teleport : float in [0, 1]
        Probability of teleportation, used by ``"directed"`` and ``"recorded"``. Near 0 the walk
        may have no stationary state within reach; the logger ``kexue`` then warns.
    markov_time : float > 0
        Steps per code word: the flow of all links is multiplied by it, visit rates and recorded
        teleportation are not. More than 1 gives larger modules.
    regularized : bool
        Whether to add the prior network of the module's description, so that chance groups of
        a sparsely observed graph do not count as modules. ``"directed"`` and ``"recorded"`` then
        are the same and `teleport` is not used; ``"rawdir"`` is refused.
    node_flow : array-like of float, shape (n_nodes,), optional
        Visit rates, if they are known; normalised to sum 1. Nothing teleports then.
        ``"directed"``: a link from i carries p_i times its share of the out-links of i.
        ``"rawdir"``: the weights are the flow, f = w / W. Refused for other models, whose link
        flow depends on the visit rates that the model finds.

    Returns
    -------
    Flow
        Named tuple (node, link, leave, land), aligned with ``as_network(graph, ...)``.

    Raises
    ------
    InputError
        For a bad graph or parameter.

    References
    ----------
    Rosvall & Bergstrom, PNAS 105 (2008) 1118; Lambiotte & Rosvall, PRE 85 (2012) 056107;
    Schaub, Lambiotte & Barahona, PRE 86 (2012) 026112 (Markov time); Smiljanic, Edler &
    Rosvall, PRE 102 (2020) 012302, and Smiljanic, Blöcker, Edler & Rosvall, J. Complex Netw. 9
    (2021) cnab044 (prior network).

    Examples
    --------
    >>> random_walk_flow([(0, 1), (1, 2), (2, 3)]).node.round(3).tolist()
    [0.167, 0.333, 0.333, 0.167]
    """
    check_flow(flow, teleport, markov_time, regularized, node_flow)
    network = as_network(graph, directed=flow != "undirected")
    walk = network_flow(
        network,
        flow,
        teleport,
        markov_time=markov_time,
        regularized=regularized,
        node_flow=node_flow,
    )
    link = network.weight * walk.scale[network.source]
    if not network.directed:
        link[network.source == network.target] *= 0.5
    if walk.leave.size == 0:
        return Flow(walk.node, link)
    return Flow(walk.node, link, walk.leave, walk.land)


def check_flow(
    flow: str,
    teleport: float,
    markov_time: float,
    regularized: bool,
    node_flow: ArrayLike | None,
) -> None:
    """Refuse parameters of `random_walk_flow` that are wrong whatever the graph is."""
    check_choice("flow", flow, FLOW_MODELS)
    check_float("teleport", teleport, minimum=0, maximum=1)
    if check_float("markov_time", markov_time) <= 0.0:
        raise InputError(f"markov_time must be a finite number > 0, got {markov_time!r}")
    if not isinstance(regularized, bool | np.bool_):
        raise InputError(f"regularized must be True or False, got {regularized!r}")
    if regularized and flow == "rawdir":
        raise InputError(
            "regularized=True needs flow='undirected', 'directed' or 'recorded', got 'rawdir', "
            "where the weights are the flow and leave no room for a prior"
        )
    if node_flow is not None and (regularized or flow not in ("directed", "rawdir")):
        given = f"flow={flow!r}" + (", regularized=True" if regularized else "")
        raise InputError(
            "node_flow needs flow='directed' or 'rawdir' and regularized=False, because other "
            f"models find the visit rates themselves; got {given}"
        )


def network_flow(
    network: Network,
    model: str,
    teleport: float,
    *,
    markov_time: float = 1.0,
    regularized: bool = False,
    node_flow: ArrayLike | None = None,
    stop: bytearray | None = None,
) -> Walk:
    """Return the flow on `network`; the arguments have passed `check_flow`.

    Memory is a few arrays of length n_nodes; links are only streamed over. Once ``stop[0]`` is
    set by another thread it returns soon, whatever it has.

    Raises
    ------
    InputError
        For a `node_flow` that does not fit the network, and for weights so small that their
        reciprocals overflow.
    """
    n, nothing = network.n_nodes, np.zeros(0)
    given = None if node_flow is None else _checked_rates(node_flow, n)
    if network.n_links == 0:
        if regularized:  # the prior alone
            return Walk(np.full(n, 1 / n), np.zeros(n), np.full(n, 1 / n), np.full(n, 1 / n))
        return Walk(np.zeros(n) if given is None else given, np.zeros(n), nothing, nothing)
    unit = 1e-20 if network.weight.max() > _LARGE else 1.0
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is answered below
        if model == "undirected":
            walk = _undirected(network, unit, regularized)
        elif model == "rawdir":
            walk = _raw(network, unit, given)
        elif given is not None:
            walk = _given(network, unit, given)
        else:
            walk = _teleporting(network, unit, model, teleport, regularized, stop)
        scale = walk.scale * markov_time
    if not np.isfinite(scale).all():
        raise InputError(
            f"link weights from {network.weight.min():.3g} to {network.weight.max():.3g} are so "
            "small at some node that their reciprocal is infinite; multiply all by a constant"
        )
    return walk._replace(scale=scale)


def _checked_rates(node_flow: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return the given visit rates, normalised to sum 1."""
    array = np.asarray(node_flow)
    if array.shape != (n,) or array.dtype.kind not in "biuf":
        raise InputError(
            f"node_flow must be one real number per node, shape ({n},), got shape "
            f"{array.shape}, dtype {array.dtype}"
        )
    rates = array.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(rates) & (rates >= 0.0)))
    if bad.size:
        raise InputError(
            f"node_flow must be finite and >= 0, got {array[bad[0]]} for node {bad[0]}"
        )
    if not rates.any():
        raise InputError("node_flow must be positive for some node, got only zeros")
    rates /= rates.max()
    return np.asarray(rates / rates.sum())


def _undirected(network: Network, unit: float, regularized: bool) -> Walk:
    """Return the walk that is at a node in proportion to its strength."""
    n, nothing = network.n_nodes, np.zeros(0)
    out, into = strengths(network.source, network.target, network.weight, unit, n, False)
    strength = out + into
    if not regularized:
        total = strength.sum()
        return Walk(strength / total, np.full(n, 2.0 / total) * unit, nothing, nothing)
    count_out, count_into = degrees(network.source, network.target, n, False)
    count = count_out + count_into
    prior, land = _prior(strength, strength, count, count)
    total = strength.sum() + prior.sum()
    return Walk((strength + prior) / total, np.full(n, 2.0 / total) * unit, prior / total, land)


def _raw(network: Network, unit: float, rates: NDArray[np.float64] | None) -> Walk:
    """Return the walk whose link flow is given, and perhaps its visit rates."""
    n, nothing = network.n_nodes, np.zeros(0)
    into = strengths(network.source, network.target, network.weight, unit, n, True)[1]
    total = into.sum()
    rates = into / total if rates is None else rates
    return Walk(rates, np.full(n, 1.0 / total) * unit, nothing, nothing)


def _given(network: Network, unit: float, rates: NDArray[np.float64]) -> Walk:
    """Return the walk whose visit rates are given and whose links share them by weight."""
    links = (network.source, network.target, network.weight)
    out = strengths(*links, unit, network.n_nodes, True)[0]
    return Walk(rates, _per_strength(rates, out) * unit, np.zeros(0), np.zeros(0))


def _teleporting(
    network: Network,
    unit: float,
    model: str,
    teleport: float,
    regularized: bool,
    stop: bytearray | None,
) -> Walk:
    """Return the stationary walk on directed links, with teleportation or the prior network."""
    n, links = network.n_nodes, (network.source, network.target, network.weight)
    out, into = strengths(*links, unit, n, True)
    if regularized:
        counts = degrees(network.source, network.target, n, True)
        prior, land = _prior(out, into, *counts)
        jump = prior / (out + prior)
    else:
        jump = np.where(out > 0.0, teleport, 1.0)
        land = (into if model == "recorded" else out) / out.sum()
    step = _per_strength(1.0 - jump, out) * unit
    flag = np.frombuffer(bytearray(1) if stop is None else stop, np.uint8)
    rate, change = visit_rates(*links, step, jump, land, _STEPS, 1e-15, flag)
    if change > _SETTLED and not flag[0]:
        logging.getLogger("kexue").warning(
            "the visit rates are not stationary: after %d steps%s they still change by %.1e per "
            "step%s",
            _STEPS[1],
            "" if regularized else f" with teleport={teleport:g}",
            change,
            "" if regularized else "; raise teleport",
        )
    if model == "recorded" or regularized:
        return Walk(rate, rate * step, rate * jump, land)
    scale = _per_strength(rate, out) * (unit / rate[out > 0.0].sum())
    return Walk(flow_into(*links, scale, n), scale, np.zeros(0), np.zeros(0))


def _prior(
    out: NDArray[np.float64],
    into: NDArray[np.float64],
    count_out: NDArray[np.int64],
    count_into: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weight of the prior's links from each node, and the part of them to each node.

    The arguments are the weight and the number of the graph's links from and to each node.
    """
    n = out.size
    landing = _mean_weight(into, count_into) / (out.sum() / count_out.sum())
    total = landing.sum()
    return np.log(n) / n * total * _mean_weight(out, count_out), landing / total


def _mean_weight(strength: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean weight of the links at each node; without links, the least of all."""
    mean = strength / np.maximum(count, 1)
    mean[count == 0] = mean[count > 0].min()
    return np.asarray(mean)


def _per_strength(
    values: NDArray[np.float64], strength: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return ``values / strength``, 0 where there is no strength."""
    linked = strength > 0.0
    return np.where(linked, values, 0.0) / np.where(linked, strength, 1.0)


def entropy(flow: NDArray[np.float64]) -> float:
    """Return ``-sum(p log2 p)`` in bits, ``0 log 0 = 0``."""
    positive = flow[flow > 0.0]
    return -float(np.sum(positive * np.log2(positive))) + 0.0
