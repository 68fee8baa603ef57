"""Flow of random walks: closed forms, a dense oracle, and the peer's visit rates."""

import warnings

import numpy as np
import pytest

from kexue._core import InputError
from kexue.graph import Network, random_walk_flow


def test_undirected_flow_by_hand():
    # weights 1 and 3 and a self-loop of weight 2 counted once: strengths 1, 4, 5
    network = Network.from_links([0, 1, 2], [1, 2, 2], [1.0, 3.0, 2.0], directed=False)
    flow = random_walk_flow(network)
    np.testing.assert_allclose(flow.node, [0.1, 0.4, 0.5], atol=1e-15)
    np.testing.assert_allclose(flow.link, [0.2, 0.6, 0.2], atol=1e-15)


def test_rawdir_flow_is_the_weights():
    flow = random_walk_flow([(0, 1, 1.0), (1, 2, 2.0), (2, 0, 1.0), (0, 0, 4.0)], "rawdir")
    np.testing.assert_allclose(flow.node, [0.625, 0.125, 0.25], atol=1e-15)
    assert flow.link.sum() == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("teleport", [0.05, 0.15, 1.0])
def test_directed_flow_is_the_stationary_walk(random_network, teleport):
    network = random_network(1, True)
    n = network.n_nodes
    weights = np.zeros((n, n))
    weights[network.source, network.target] = network.weight
    out = weights.sum(1)
    start = out / out.sum()
    step = np.where(out[:, None] > 0, weights / np.where(out > 0, out, 1.0)[:, None], start)
    matrix = (1 - teleport) * step + teleport * start
    rate = start.copy()
    for _ in range(5000):
        rate = rate @ matrix
    link = (rate * (out > 0))[:, None] * np.where(out[:, None] > 0, step, 0)
    link /= link.sum()
    flow = random_walk_flow(network, "directed", teleport=teleport)
    np.testing.assert_allclose(flow.node, link.sum(0), atol=1e-12)
    np.testing.assert_allclose(flow.link, link[network.source, network.target], atol=1e-12)


def test_a_walk_that_does_not_settle_is_reported(caplog):
    cycle = [(0, 1, 1.0), (1, 2, 2.0), (2, 0, 3.0)]  # without teleportation it turns for ever
    random_walk_flow(cycle, "directed", teleport=0)
    assert "not stationary: after 400 steps with teleport=0 they still change by" in caplog.text
    caplog.clear()
    random_walk_flow(cycle, "directed")
    random_walk_flow([(0, 1), (1, 2), (2, 0), (1, 0)], "directed", teleport=0)
    assert not caplog.records


@pytest.mark.parametrize("flow", ["undirected", "directed", "rawdir"])
def test_no_links_no_flow(flow):
    network = Network.from_links([], [], n_nodes=3, directed=flow != "undirected")
    assert random_walk_flow(network, flow).node.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flow": "recorded"}, "flow must be one of 'undirected', 'directed', 'rawdir'"),
        ({"teleport": 1.5}, r"teleport must be a finite number in \[0, 1\], got 1.5"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(InputError, match=message):
        random_walk_flow([(0, 1)], **arguments)


@pytest.mark.peer
@pytest.mark.parametrize("flow", ["undirected", "directed", "rawdir"])
def test_the_peer_has_the_same_flow(random_network, flow):
    infomap = pytest.importorskip("infomap")
    network = random_network(2, flow != "undirected")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 2.16 announces the interface of 3.0
        engine = infomap.Infomap(silent=True, two_level=True, num_trials=1, flow_model=flow)
        links = zip(network.source, network.target, network.weight, strict=True)
        engine.add_links([(int(u), int(v), float(w)) for u, v, w in links])
        engine.run()
        theirs = {node.node_id: node.flow for node in engine.nodes}
    ours = random_walk_flow(network, flow).node
    assert ours[-1] == 0.0
    np.testing.assert_allclose(ours[:-1], [theirs[i] for i in range(ours.size - 1)], atol=1e-10)
