"""The map equation: closed forms, a plain oracle, and the peer's score of given partitions."""

import warnings

import numpy as np
import pytest

from kexue._core import InputError
from kexue.graph import map_equation, random_walk_flow

TRIANGLES = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (3, 5)]
FLOWS = ("undirected", "directed", "rawdir")


def plain_map_equation(network, flow, labels):
    """Section 3's formula, one link at a time, from the flow per link."""

    def plogp(x):
        return x * np.log2(x) if x > 0 else 0.0

    modules = sorted(set(labels))
    enter = dict.fromkeys(modules, 0.0)
    leave = dict.fromkeys(modules, 0.0)
    within = dict.fromkeys(modules, 0.0)
    for u, v, f in zip(network.source, network.target, flow.link, strict=True):
        if labels[u] != labels[v]:
            for a, b in [(u, v)] if network.directed else [(u, v), (v, u)]:
                leave[labels[a]] += f if network.directed else f / 2
                enter[labels[b]] += f if network.directed else f / 2
    for i, p in enumerate(flow.node):
        within[labels[i]] += p
    length = plogp(sum(enter.values())) - sum(plogp(p) for p in flow.node)
    for m in modules:
        length += plogp(leave[m] + within[m]) - plogp(enter[m]) - plogp(leave[m])
    return length


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_formula(random_network, flow, seed):
    network = random_network(seed, flow != "undirected")
    labels = np.random.default_rng(seed).integers(0, 7, network.n_nodes)
    cost = map_equation(network, labels, flow)
    oracle = plain_map_equation(network, random_walk_flow(network, flow), labels.tolist())
    assert cost.total == pytest.approx(oracle, abs=1e-12)
    assert cost.total == pytest.approx(cost.index + cost.modules, abs=1e-14)
    assert cost.modules == pytest.approx(cost.per_module.sum(), abs=1e-14)
    assert cost.per_module.shape == (np.unique(labels).size,)


@pytest.mark.parametrize("flow", FLOWS)
def test_one_module_costs_the_entropy_of_the_flow(random_network, flow):
    network = random_network(3, flow != "undirected")
    p = random_walk_flow(network, flow).node
    entropy = -np.sum(p[p > 0] * np.log2(p[p > 0]))
    cost = map_equation(network, np.zeros(network.n_nodes, int), flow)
    assert cost.total == pytest.approx(entropy, abs=1e-13)
    assert cost.index == 0.0


def test_two_triangles_by_hand():
    # 14 half-links; each module: p = 1/2, exit 1/14
    cost = map_equation(TRIANGLES, list("aaabbb"))
    index = 1 / 7  # one bit, in one step of seven
    within = [3 / 14, 2 / 14, 2 / 14, 1 / 14]
    module = -sum(x * np.log2(x / (8 / 14)) for x in within)
    assert cost.index == pytest.approx(index, abs=1e-14)
    np.testing.assert_allclose(cost.per_module, [module, module], atol=1e-14)
    assert cost.total == pytest.approx(2.32073, abs=5e-6)


def test_names_of_labels_do_not_matter():
    numbers = map_equation(TRIANGLES, [5, 5, 5, -2, -2, 7])
    words = map_equation(TRIANGLES, ["c", "c", "c", "a", "a", "d"])
    assert numbers.total == words.total
    for same in (np.array([5.0, 5, 5, -2, -2, 7]), np.array(list("cccaad"), dtype=object)):
        assert map_equation(TRIANGLES, same).total == words.total


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], r"labels must have one entry per node, shape \(6,\), got shape \(2,\)"),
        ([[0] * 6], r"got shape \(1, 6\)"),
        ([0, 0, 0, 1, 1, np.nan], "labels must be all integers or all strings, got nan"),
        ([0, 0, 0, 1, 1, np.inf], "got inf"),
        ([0, 0, 0, 1, 1, 1.5], "got 1.5"),
        ([0, 0, 0, 1, 1, 1j], "got 0j"),
        (["a", "a", "a", "b", "b", np.nan], "got nan"),
        (["a", "a", "a", 1, 1, 1], "got 1"),
        ([None, 0, 0, 0, 0, 0], "got None"),
    ],
)
def test_bad_labels(labels, message):
    with pytest.raises(InputError, match=message):
        map_equation(TRIANGLES, labels)


def test_bad_flow_is_answered_before_the_graph_is_read():
    with pytest.raises(InputError, match="flow must be one of 'undirected', 'directed', 'rawdir'"):
        map_equation("no/such/file", [0], flow="recorded")


@pytest.mark.peer
@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("seed", range(4))
def test_the_peer_scores_the_same(random_network, flow, seed):
    infomap = pytest.importorskip("infomap")
    network = random_network(seed, flow != "undirected")
    labels = np.random.default_rng(seed).integers(0, 6, network.n_nodes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 2.16 announces the interface of 3.0
        engine = infomap.Infomap(silent=True, two_level=True, no_infomap=True, flow_model=flow)
        links = zip(network.source, network.target, network.weight, strict=True)
        # the isolated last node has no flow; it is left out on the other side
        engine.add_links([(int(u), int(v), float(w)) for u, v, w in links])
        engine.initial_partition = {i: int(m) + 1 for i, m in enumerate(labels[:-1])}
        engine.run()
        length, one_level = engine.codelength, engine.one_level_codelength
    assert map_equation(network, labels, flow).total == pytest.approx(length, abs=1e-10)
    whole = map_equation(network, np.zeros(network.n_nodes, int), flow).total
    assert whole == pytest.approx(one_level, abs=1e-10)
