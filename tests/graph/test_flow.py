"""Flow of random walks: closed forms, identities, a dense oracle, and the peer's visit rates."""

import warnings

import numpy as np
import pytest

from kexue._core import InputError
from kexue.graph import Network, random_walk_flow
from kexue.graph.flow import FLOW_MODELS

MODELS = [(flow, False) for flow in FLOW_MODELS] + [(flow, True) for flow in FLOW_MODELS[:3]]


def test_undirected_flow_by_hand():
    # weights 1 and 3 and a self-loop of weight 2 counted once: strengths 1, 4, 5
    network = Network.from_links([0, 1, 2], [1, 2, 2], [1.0, 3.0, 2.0], directed=False)
    flow = random_walk_flow(network)
    np.testing.assert_allclose(flow.node, [0.1, 0.4, 0.5], atol=1e-15)
    np.testing.assert_allclose(flow.link, [0.2, 0.6, 0.2], atol=1e-15)
    assert flow.leave is None
    assert flow.land is None


def test_rawdir_flow_is_the_weights():
    flow = random_walk_flow([(0, 1, 1.0), (1, 2, 2.0), (2, 0, 1.0), (0, 0, 4.0)], "rawdir")
    np.testing.assert_allclose(flow.node, [0.625, 0.125, 0.25], atol=1e-15)
    assert flow.link.sum() == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("teleport", [0.05, 0.15, 1.0])
@pytest.mark.parametrize("model", ["directed", "recorded"])
def test_directed_flow_is_the_stationary_walk(random_network, model, teleport):
    network = random_network(1, True)
    n = network.n_nodes
    weights = np.zeros((n, n))
    weights[network.source, network.target] = network.weight
    out = weights.sum(1)
    land = (out if model == "directed" else weights.sum(0)) / out.sum()
    step = np.where(out[:, None] > 0, weights / np.where(out > 0, out, 1.0)[:, None], land)
    rate = land.copy()
    for _ in range(5000):
        rate = rate @ ((1 - teleport) * step + teleport * land)
    link = (rate * (out > 0))[:, None] * step
    if model == "directed":
        link /= link.sum()
        node = link.sum(0)
    else:
        link *= 1 - teleport
        node = rate
    flow = random_walk_flow(network, model, teleport=teleport)
    np.testing.assert_allclose(flow.node, node, atol=1e-12)
    np.testing.assert_allclose(flow.link, link[network.source, network.target], atol=1e-12)
    if model == "recorded":
        np.testing.assert_allclose(flow.leave, node * np.where(out > 0, teleport, 1), atol=1e-12)
        np.testing.assert_allclose(flow.land, land, atol=1e-15)


@pytest.mark.parametrize(("model", "regularized"), [("recorded", False), *MODELS[4:]])
@pytest.mark.parametrize("seed", range(3))
def test_recorded_flow_is_conserved(random_network, model, regularized, seed):
    network = random_network(seed, model != "undirected")
    flow = random_walk_flow(network, model, regularized=regularized)
    moves = np.outer(flow.leave, flow.land)
    ends = network.source, network.target
    if network.directed:
        moves[ends] += flow.link
    else:
        loop = network.source == network.target
        np.add.at(moves, ends, np.where(loop, flow.link, flow.link / 2))
        np.add.at(moves, ends[::-1], np.where(loop, 0.0, flow.link / 2))
        np.testing.assert_allclose(moves, moves.T, atol=1e-16)
    np.testing.assert_allclose(moves.sum(1), flow.node, atol=1e-13)
    np.testing.assert_allclose(moves.sum(0), flow.node, atol=1e-13)
    assert flow.land.sum() == pytest.approx(1.0, abs=1e-14)
    assert (flow.node[-1] > 0) == regularized  # only the prior reaches the isolated node


def test_the_prior_network_by_hand():
    # a path of three nodes and one node apart, all weights 5: every pair gets 5 log(4) / 4
    links = Network.from_links([0, 1], [1, 2], [5.0, 5.0], n_nodes=4, directed=False)
    prior = 5 * np.log(4) / 4
    total = 20 + 16 * prior
    flow = random_walk_flow(links, regularized=True)
    node = np.array([5 + 4 * prior, 10 + 4 * prior, 5 + 4 * prior, 4 * prior]) / total
    np.testing.assert_allclose(flow.node, node, atol=1e-15)
    np.testing.assert_allclose(flow.link, [10 / total] * 2, atol=1e-15)
    np.testing.assert_allclose(flow.leave, [4 * prior / total] * 4, atol=1e-15)
    np.testing.assert_allclose(flow.land, [0.25] * 4, atol=1e-15)


def test_the_prior_alone_is_uniform():
    nothing = Network.from_links([], [], n_nodes=4, directed=True)
    flow = random_walk_flow(nothing, "directed", regularized=True)
    for values in (flow.node, flow.leave, flow.land):
        assert values.tolist() == [0.25] * 4


@pytest.mark.parametrize(("model", "regularized"), MODELS)
def test_markov_time_multiplies_the_flow_of_links(random_network, model, regularized):
    network = random_network(4, model != "undirected")
    one, two = (
        random_walk_flow(network, model, regularized=regularized, markov_time=t) for t in (1, 2)
    )
    np.testing.assert_array_equal(two.link, 2.0 * one.link)
    np.testing.assert_array_equal(two.node, one.node)
    if one.leave is not None:
        np.testing.assert_array_equal(two.leave, one.leave)


def test_given_visit_rates():
    links = [(0, 1, 1.0), (0, 2, 3.0), (1, 0, 7.0)]  # node 2 has no out-links
    flow = random_walk_flow(links, "directed", node_flow=[4, 3, 1])
    np.testing.assert_allclose(flow.node, [0.5, 0.375, 0.125], atol=1e-16)
    np.testing.assert_allclose(flow.link, [0.125, 0.375, 0.375], atol=1e-16)
    flow = random_walk_flow(links, "rawdir", node_flow=[4, 3, 1])
    np.testing.assert_allclose(flow.node, [0.5, 0.375, 0.125], atol=1e-16)
    np.testing.assert_allclose(flow.link, [1 / 11, 3 / 11, 7 / 11], atol=1e-16)
    empty = Network.from_links([], [], n_nodes=2, directed=True)
    assert random_walk_flow(empty, "directed", node_flow=[1, 3]).node.tolist() == [0.25, 0.75]


@pytest.mark.parametrize(("model", "regularized"), MODELS)
@pytest.mark.parametrize("unit", [1e306, 1e-200])
def test_the_unit_of_weights_does_not_matter(random_network, model, regularized, unit):
    network = random_network(5, model != "undirected")
    scaled = Network.from_links(
        network.source,
        network.target,
        network.weight * unit,
        n_nodes=network.n_nodes,
        directed=network.directed,
    )
    flow = random_walk_flow(network, model, regularized=regularized)
    same = random_walk_flow(scaled, model, regularized=regularized)
    # weight / weight is rounded differently; the sum of 160 weights of 1e306 is infinite, and
    # 1 / 1e308 a subnormal number
    np.testing.assert_allclose(same.node, flow.node, atol=1e-13)
    np.testing.assert_allclose(same.link, flow.link, atol=1e-13)


def test_weights_of_no_reciprocal_are_refused():
    with pytest.raises(InputError, match="from 1e-310 to 1e-310 are so small"):
        random_walk_flow(np.array([[0.0, 1e-310], [1e-310, 0.0]]))


def test_a_walk_that_does_not_settle_is_reported(caplog):
    cycle = [(0, 1, 1.0), (1, 2, 2.0), (2, 0, 3.0)]  # without teleportation it turns for ever
    random_walk_flow(cycle, "directed", teleport=0)
    assert "not stationary: after 400 steps with teleport=0 they still change by" in caplog.text
    caplog.clear()
    random_walk_flow(cycle, "directed")
    random_walk_flow([(0, 1), (1, 2), (2, 0), (1, 0)], "directed", teleport=0)
    assert not caplog.records


@pytest.mark.parametrize("flow", FLOW_MODELS)
def test_no_links_no_flow(flow):
    network = Network.from_links([], [], n_nodes=3, directed=flow != "undirected")
    assert random_walk_flow(network, flow).node.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flow": "raw"}, "one of 'undirected', 'directed', 'recorded', 'rawdir', got 'raw'"),
        ({"teleport": 1.5}, r"teleport must be a finite number in \[0, 1\], got 1.5"),
        ({"markov_time": 0}, "markov_time must be a finite number > 0, got 0"),
        ({"markov_time": np.nan}, "markov_time must be a finite number, got nan"),
        ({"regularized": 1}, "regularized must be True or False, got 1"),
        (
            {"regularized": True, "flow": "rawdir"},
            "regularized=True needs flow='undirected', 'directed' or 'recorded', got 'rawdir'",
        ),
        ({"node_flow": [1, 1]}, "node_flow needs flow='directed' or 'rawdir'.*'undirected'"),
        ({"node_flow": [1, 1], "flow": "recorded"}, "got flow='recorded'"),
        (
            {"node_flow": [1, 1], "flow": "directed", "regularized": True},
            "got flow='directed', regularized=True",
        ),
        ({"node_flow": [1], "flow": "directed"}, r"shape \(2,\), got shape \(1,\)"),
        ({"node_flow": ["a", "b"], "flow": "directed"}, "got shape .2,., dtype <U1"),
        ({"node_flow": [1, -2], "flow": "directed"}, "finite and >= 0, got -2 for node 1"),
        ({"node_flow": [np.inf, 2], "flow": "rawdir"}, "finite and >= 0, got inf for node 0"),
        ({"node_flow": [0, 0], "flow": "rawdir"}, "positive for some node, got only zeros"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(InputError, match=message):
        random_walk_flow([(0, 1)], **arguments)


@pytest.mark.peer
@pytest.mark.parametrize(("flow", "regularized"), MODELS)
def test_the_peer_has_the_same_flow(random_network, flow, regularized):
    infomap = pytest.importorskip("infomap")
    network = random_network(2, flow != "undirected")
    recorded = flow == "recorded"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 2.16 announces the interface of 3.0
        engine = infomap.Infomap(
            silent=True,
            two_level=True,
            num_trials=1,
            flow_model="directed" if recorded else flow,
            recorded_teleportation=recorded,
            regularized=regularized,
        )
        for node in range(network.n_nodes):
            engine.add_node(node)
        links = zip(network.source, network.target, network.weight, strict=True)
        engine.add_links([(int(u), int(v), float(w)) for u, v, w in links])
        engine.run()
        theirs = {node.node_id: node.flow for node in engine.nodes}
    ours = random_walk_flow(network, flow, regularized=regularized).node
    np.testing.assert_allclose(ours, [theirs[i] for i in range(ours.size)], atol=1e-10)
