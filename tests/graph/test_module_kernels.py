"""The state of modules: kept up move by move, and computed afresh."""

from dataclasses import replace

import numpy as np
import pytest
from numba import njit

from kexue.graph import _module_kernels as kernels
from kexue.graph import map_equation
from kexue.graph._infomap_kernels import _below
from kexue.graph._module_kernels import plogp
from kexue.graph._problem import search_problem
from kexue.graph.flow import network_flow


@njit(error_model="numpy")
def random_moves(graph, directed, labels, n_moves, seed):
    """Return the length after random moves, kept up incrementally and computed afresh."""
    n = graph[3].size
    modules = kernels.empty_modules(n, graph[6].size > 0)
    rows, skews, sizes, teleport = modules
    q = kernels.fill_modules(graph, labels, directed, 1.0, modules)
    length = kernels.length_of(modules, 0.0, 0.0)
    touched = np.empty(n + 1, np.uint32)
    one = np.empty(1, np.uint32)
    scratch = np.zeros((6, n + 1))
    state = np.array([seed], np.uint64)
    for _ in range(n_moves):
        i = _below(n, state)
        a, b = labels[i], labels[_below(n, state)]
        if a == b or sizes[a] == 1:
            continue
        node = kernels.node_of(graph, i)
        out_i, p_i, skew_i, leave_i, land_i = node
        found = kernels.gather_links(graph, labels, i, rows, touched)
        link_a = rows[a, kernels.LINK]
        link_b = rows[b, kernels.LINK]
        for t in range(found):
            rows[touched[t], kernels.LINK] = 0.0
        rows[b, kernels.LINK] = link_b
        if teleport.size > 0:
            link_a += leave_i * (teleport[a, 1] - land_i) + land_i * (teleport[a, 0] - leave_i)
        one[0] = b
        kernels.score_moves(1, one, link_a, node, directed, q, modules, scratch)
        rows[a, kernels.EXIT] = max(rows[a, kernels.EXIT] + link_a - out_i, 0.0)
        rows[a, kernels.FLOW] -= p_i
        skews[a] -= skew_i
        term = kernels.module_term(
            rows[a, kernels.EXIT], rows[a, kernels.EXIT] + skews[a], rows[a, kernels.FLOW], directed
        )
        length += scratch[0, 0] + term - rows[a, kernels.TERM]
        rows[a, kernels.TERM] = term
        rows[b, kernels.EXIT] = max(scratch[2, 0], 0.0)
        rows[b, kernels.FLOW] += p_i
        rows[b, kernels.TERM] = scratch[1, 0]
        skews[b] += skew_i
        if teleport.size > 0:
            teleport[a, 0] -= leave_i
            teleport[a, 1] -= land_i
            teleport[b, 0] += leave_i
            teleport[b, 1] += land_i
        q += scratch[5, 0]
        sizes[a] -= 1
        sizes[b] += 1
        labels[i] = b
    kernels.fill_modules(graph, labels, directed, 1.0, modules)
    return length, kernels.length_of(modules, 0.0, 0.0)


@pytest.mark.parametrize("flow", ["undirected", "directed", "recorded"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_million_moves_do_not_drift(random_network, flow, weighted):
    network = random_network(0, flow != "undirected", n=400, n_links=3000)
    if not weighted:
        network = replace(network, weight=np.ones(network.n_links))
    problem = search_problem(network, network_flow(network, flow, 0.15))
    labels = np.random.default_rng(0).integers(0, 30, network.n_nodes).astype(np.uint32)
    kept, afresh = random_moves(problem.graph, problem.directed, labels, 1_000_000, np.uint64(1))
    assert kept / problem.total == pytest.approx(afresh / problem.total, abs=1e-9)
    cost = map_equation(network, labels, flow)
    found = (afresh - problem.node_term) / problem.total
    # flows are rounded to float32, but for the 1 of undirected links without weights
    exact = flow == "undirected" and not weighted
    assert found == pytest.approx(cost.total, abs=1e-12 if exact else 2e-7)


def test_plogp_is_accurate():
    x = np.concatenate([np.logspace(-300, 3, 5000), 1 + np.linspace(-1e-3, 1e-3, 101)])
    ours = np.array([plogp(v) for v in x])
    # near 1, where the logarithm vanishes, the error is absolute
    np.testing.assert_allclose(ours, x * np.log2(x), rtol=2e-15, atol=1e-18)
    assert abs(plogp(0.0)) < 1e-290
    assert abs(plogp(-1e-20)) < 1e-290
