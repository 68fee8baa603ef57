"""The graph as the search sees it: one symmetric CSR in float32, whatever the walk."""

from typing import Any, NamedTuple

import numpy as np

from kexue.graph._network_kernels import symmetric_csr
from kexue.graph.flow import Walk, entropy
from kexue.graph.network import Network


class Problem(NamedTuple):
    """What the search works on, see `kexue.graph._module_kernels`; lengths are times `total`."""

    graph: tuple[Any, ...]
    directed: bool
    node_term: float
    total: float


def search_problem(network: Network, walk: Walk) -> Problem:
    """Return the symmetrised graph of the search for `network` with the flows of `walk`.

    Link flows are rounded to float32, and the exit flows of nodes made to agree with the rounded
    ones, so that the search is exact on a graph that differs by 6e-8. The unit of flow is chosen
    so that small integer weights of undirected graphs are not rounded at all.
    """
    n = network.n_nodes
    if network.n_links == 0:
        total = 1.0
    elif network.directed:
        total = 2.0 ** np.ceil(np.log2(network.n_links))  # link flows of the order of 1
    else:
        unit = 2.0 ** -np.floor(np.log2(network.weight.max()))
        total = 2.0 * unit / walk.scale[0]
    indptr, indices, s, strength, skew = symmetric_csr(
        network.source, network.target, network.weight, walk.scale, total, n
    )
    if not network.directed:
        skew = np.zeros(n)  # of pages that nobody writes to, and so without memory
    leave = walk.leave * total
    out = np.maximum(0.5 * (strength - skew), 0.0)
    if leave.size:
        out += leave * (1.0 - walk.land)
        skew += leave.sum() * walk.land - leave
    p = walk.node * total
    if leave.size == 0 and np.allclose(p, out, rtol=1e-6, atol=0.0):
        p = out  # undirected without self-loops: one array serves as both
    graph = (indptr, indices, s, p, out, skew, leave, walk.land)
    directed = network.directed or leave.size > 0
    # plogp(x total) / total = plogp(x) + x log2(total)
    node_term = total * (np.log2(total) * walk.node.sum() - entropy(walk.node))
    return Problem(graph, directed, float(node_term), float(total))
