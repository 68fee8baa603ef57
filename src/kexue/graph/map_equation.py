r"""The map equation: bits per step of a random walk described by a given two-level partition.

With enter and exit flow q_m^in, q_m^out and node flow p_m of the modules, plogp(x) = x log2 x,

.. math:: L = plogp(\sum_m q_m^{in}) - \sum_m plogp(q_m^{in}) - \sum_m plogp(q_m^{out})
              + \sum_m plogp(q_m^{out} + p_m) - \sum_i plogp(p_i).

The first two terms are the index code, which names the module entered; the rest are the module
codes, which name nodes and exits. Links inside a module, self-loops among them, cost nothing.
"""

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kexue._core import InputError, check_choice, check_float
from kexue.graph.flow import FLOW_MODELS, Flow, network_flow
from kexue.graph.network import Network, as_network


@dataclass(frozen=True, eq=False)
class MapCost:
    """Code length in bits per step: ``total = index + modules``, ``modules = sum(per_module)``.

    ``per_module`` has one entry per distinct label, in sorted order of the labels.
    """

    total: float
    index: float
    modules: float
    per_module: NDArray[np.float64]


def map_equation(
    graph: Any, labels: ArrayLike, flow: str = "undirected", *, teleport: float = 0.15
) -> MapCost:
    """Return the two-level code length of `labels` on `graph`, in bits per step.

    Parameters
    ----------
    graph : Network or anything that `as_network` accepts
    labels : array-like, shape (n_nodes,)
        Module of each node: integers or strings.
    flow : {"undirected", "directed", "rawdir"}
        How the walk moves, see `random_walk_flow`.
    teleport : float in [0, 1]
        Used by ``flow="directed"`` only.

    Returns
    -------
    MapCost
        With total, index, modules and per_module, bits.

    Raises
    ------
    InputError
        For a bad graph, labels that are neither integers nor strings (NaN is neither), or
        labels whose number is not the number of nodes.

    References
    ----------
    Rosvall & Bergstrom, PNAS 105 (2008) 1118; kexue.fm article 7006.

    Examples
    --------
    >>> triangles = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (3, 5)]
    >>> round(map_equation(triangles, [0, 0, 0, 1, 1, 1]).total, 5)
    2.32073
    """
    check_choice("flow", flow, FLOW_MODELS)
    tau = check_float("teleport", teleport, minimum=0, maximum=1)
    network = as_network(graph, directed=flow != "undirected")
    array = _checked_labels(labels)
    if array.shape != (network.n_nodes,):
        raise InputError(
            f"labels must have one entry per node, shape ({network.n_nodes},), "
            f"got shape {array.shape}"
        )
    codes = np.unique(array, return_inverse=True)[1]
    return partition_cost(network, network_flow(network, flow, tau), codes)


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
        raise InputError(f"labels must be all integers or all strings, got {bad[0]!r}")
    return array


def partition_cost(network: Network, flow: Flow, codes: NDArray[np.integer[Any]]) -> MapCost:
    """Return the cost of modules ``codes`` (n_nodes,), numbered 0, 1, ... without gaps."""
    n_modules = int(codes.max()) + 1
    start, end = codes[network.source], codes[network.target]
    crossing = np.where(start == end, 0.0, flow.link)
    leave: Any = np.bincount(start, crossing, n_modules)
    enter: Any = np.bincount(end, crossing, n_modules)
    if not network.directed:
        leave = enter = 0.5 * (leave + enter)
    within: Any = np.bincount(codes, flow.node, n_modules)
    node_terms = np.bincount(codes, _plogp(flow.node), n_modules)
    per_module = _plogp(leave + within) - _plogp(leave) - node_terms
    index = float(_plogp(enter.sum()) - _plogp(enter).sum())
    modules = float(per_module.sum())
    return MapCost(index + modules, index, modules, per_module)


def _plogp(x: Any) -> Any:
    """Return ``x log2 x`` elementwise, 0 for x = 0."""
    return x * np.log2(np.where(x > 0.0, x, 1.0))
