"""Infomap: known optima, invariances, degenerate graphs, and the peer's lengths."""

import warnings

import numpy as np
import pytest
from numba import njit
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from kexue._core import InputError
from kexue.graph import Infomap, Network, map_equation, read_graph
from kexue.graph import _infomap_kernels as kernels
from kexue.graph._infomap_kernels import plogp
from kexue.graph.flow import network_flow, search_problem

TRIANGLES = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (3, 5)]
FLOWS = ("undirected", "directed", "rawdir")


def nine_triangles():
    links = [(3 * i + a, 3 * i + b) for i in range(9) for a, b in ((0, 1), (1, 2), (0, 2))]
    links += [(1, 3), (4, 6), (7, 0), (10, 12), (13, 15), (16, 9), (19, 21), (22, 24), (25, 18)]
    return [*links, (2, 14), (11, 23), (20, 5)]


def ring_of_cliques(n_cliques, size):
    pairs = np.array([(i, j) for i in range(size) for j in range(i + 1, size)])
    inside = np.concatenate([pairs + c * size for c in range(n_cliques)])
    bridges = [(c * size, ((c + 1) % n_cliques) * size + 1) for c in range(n_cliques)]
    return np.concatenate([inside, bridges])


@njit(error_model="numpy")
def random_moves(graph, directed, labels, n_moves, seed):
    """Return the length after random moves, kept up incrementally and computed afresh."""
    p, out, skew = graph[3], graph[4], graph[5]
    n = p.size
    rows = np.empty((n, 4))
    skews = np.empty(n)
    sizes = np.empty(n, np.uint32)
    q = kernels.fill_modules(graph, labels, directed, rows, skews, sizes)
    length = kernels.length_of(rows, skews, sizes, 0.0, 0.0)
    touched = np.empty(n + 1, np.uint32)
    one = np.empty(1, np.uint32)
    scratch = np.zeros((6, n + 1))
    state = np.array([seed], np.uint64)
    for _ in range(n_moves):
        i = kernels._below(n, state)
        a, b = labels[i], labels[kernels._below(n, state)]
        if a == b or sizes[a] == 1:
            continue
        found = kernels._gather(graph, labels, i, rows, touched)
        link_a = rows[a, kernels.LINK]
        link_b = rows[b, kernels.LINK]
        for t in range(found):
            rows[touched[t], kernels.LINK] = 0.0
        rows[b, kernels.LINK] = link_b
        one[0] = b
        base = link_a
        kernels._score(1, one, base, out[i], p[i], skew[i], directed, q, rows, skews, scratch)
        rows[a, kernels.EXIT] = max(rows[a, kernels.EXIT] + link_a - out[i], 0.0)
        rows[a, kernels.FLOW] -= p[i]
        skews[a] -= skew[i]
        term = kernels._term(
            rows[a, kernels.EXIT], rows[a, kernels.EXIT] + skews[a], rows[a, kernels.FLOW], directed
        )
        length += scratch[0, 0] + term - rows[a, kernels.TERM]
        rows[a, kernels.TERM] = term
        rows[b, kernels.EXIT] = max(scratch[2, 0], 0.0)
        rows[b, kernels.FLOW] += p[i]
        rows[b, kernels.TERM] = scratch[1, 0]
        skews[b] += skew[i]
        q += scratch[5, 0]
        sizes[a] -= 1
        sizes[b] += 1
        labels[i] = b
    kernels.fill_modules(graph, labels, directed, rows, skews, sizes)
    return length, kernels.length_of(rows, skews, sizes, 0.0, 0.0)


@pytest.mark.parametrize("quality", ["fast", "best"])
def test_two_triangles(quality):
    model = Infomap(quality=quality, random_state=0).fit(TRIANGLES)
    assert model.labels_.tolist() in ([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0])
    assert model.codelength_ == pytest.approx(2.32073, abs=5e-6)
    assert model.index_codelength_ == pytest.approx(1 / 7, abs=1e-14)
    assert model.n_modules_ == 2


def test_nine_triangles():
    model = Infomap(n_init=20, random_state=0).fit(nine_triangles())
    assert model.codelength_ <= 3.564422 + 1e-6


@pytest.mark.parametrize("flow", FLOWS)
def test_a_ring_of_cliques_falls_into_its_cliques(flow):
    links = ring_of_cliques(30, 8)
    if flow != "undirected":
        links = np.concatenate([links, links[:, ::-1]])
    labels = Infomap(flow=flow, random_state=0).fit_predict(links)
    expected = np.repeat(np.arange(30), 8)
    assert len(set(zip(labels.tolist(), expected.tolist(), strict=True))) == 30


def test_football(data):
    # the best that the peer finds is 5.4648; the twelve conferences of the league are shorter
    path = data("graphs/football.edges.tsv.gz")
    assert Infomap(n_init=20, random_state=1).fit(path).codelength_ <= 5.4648 + 1e-4


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("seed", range(3))
def test_the_reported_length_is_the_map_equation(random_network, flow, seed):
    network = random_network(seed, flow != "undirected")
    model = Infomap(flow=flow, n_init=3, random_state=seed).fit(network)
    cost = map_equation(network, model.labels_, flow)
    assert model.codelength_ == pytest.approx(cost.total, abs=1e-12)
    assert model.index_codelength_ == pytest.approx(cost.index, abs=1e-12)
    assert model.codelength_ == pytest.approx(model.codelengths_.min(), abs=1e-12)
    assert model.codelength_ <= model.one_level_codelength_ + 1e-12
    assert model.codelengths_.shape == (3,)
    flows = np.bincount(model.labels_, model.flow_)
    assert (np.diff(flows) <= 1e-15).all()
    assert flows.size == model.n_modules_


@pytest.mark.parametrize("flow", ["undirected", "directed"])
def test_a_million_moves_do_not_drift(random_network, flow):
    network = random_network(0, flow == "directed", n=400, n_links=3000)
    problem = search_problem(network, network_flow(network, flow, 0.15))
    labels = np.random.default_rng(0).integers(0, 30, network.n_nodes).astype(np.uint32)
    kept, afresh = random_moves(problem.graph, problem.directed, labels, 1_000_000, np.uint64(1))
    assert kept == pytest.approx(afresh, abs=1e-9)
    cost = map_equation(network, labels, flow)
    assert afresh - problem.node_term == pytest.approx(cost.total, abs=1e-12)


def test_plogp_is_accurate():
    x = np.concatenate([np.logspace(-300, 3, 5000), 1 + np.linspace(-1e-3, 1e-3, 101)])
    ours = np.array([plogp(v) for v in x])
    # near 1, where the logarithm vanishes, the error is absolute
    np.testing.assert_allclose(ours, x * np.log2(x), rtol=2e-15, atol=1e-18)
    assert abs(plogp(0.0)) < 1e-290
    assert abs(plogp(-1e-20)) < 1e-290


@pytest.mark.parametrize("n_init", [1, 4])
def test_one_seed_one_result_for_any_number_of_jobs(n_init):
    rng = np.random.default_rng(0)
    links = rng.integers(0, 500, (3000, 2))
    runs = [
        Infomap(n_init=n_init, n_jobs=jobs, random_state=7).fit(links) for jobs in (1, 2, 2, None)
    ]
    for other in runs[1:]:
        np.testing.assert_array_equal(runs[0].labels_, other.labels_)
        np.testing.assert_array_equal(runs[0].codelengths_, other.codelengths_)


def test_more_trials_begin_with_the_same_ones():
    links = np.random.default_rng(1).integers(0, 300, (1500, 2))
    few = Infomap(n_init=2, random_state=3).fit(links).codelengths_
    many = Infomap(n_init=5, random_state=3).fit(links).codelengths_
    np.testing.assert_array_equal(few, many[:2])


def test_best_is_not_worse_than_fast():
    links = np.random.default_rng(2).integers(0, 12_000, (60_000, 2))
    lengths = {
        quality: np.mean(Infomap(quality=quality, n_init=4, random_state=0).fit(links).codelengths_)
        for quality in ("fast", "best")
    }
    assert lengths["best"] < lengths["fast"]


def test_renumbering_nodes_keeps_the_length():
    links = ring_of_cliques(20, 6)
    other = np.random.default_rng(0).permutation(120)[links]
    assert Infomap(random_state=0).fit(other).codelength_ == pytest.approx(
        Infomap(random_state=0).fit(links).codelength_, abs=1e-12
    )


def test_parts_and_isolated_nodes():
    network = Network.from_links([0, 1, 2, 4, 5, 6], [1, 2, 0, 5, 6, 4], n_nodes=9, directed=False)
    model = Infomap(random_state=0).fit(network)
    assert model.n_modules_ == 5  # two triangles, nodes 3, 7 and 8
    assert np.count_nonzero(np.bincount(model.labels_, model.flow_)) == 2
    assert model.labels_[[3, 7, 8]].tolist() == [2, 3, 4]
    assert model.flow_[[3, 7, 8]].tolist() == [0, 0, 0]
    # inside an isolated triangle a step costs log2(3) bits, and nobody ever changes module
    assert model.codelength_ == pytest.approx(np.log2(3), abs=1e-14)
    assert model.index_codelength_ == 0.0


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("n", [1, 4])
def test_no_links(flow, n):
    model = Infomap(flow=flow, random_state=0).fit(np.zeros((n, n)))
    assert model.labels_.tolist() == list(range(n))
    assert model.codelength_ == model.one_level_codelength_ == 0.0
    assert not model.flow_.any()


@pytest.mark.parametrize("flow", FLOWS)
def test_a_lone_self_loop(flow):
    model = Infomap(flow=flow, random_state=0).fit(np.array([[2.0]]))
    assert model.labels_.tolist() == [0]
    assert model.flow_.tolist() == [1.0]
    assert model.codelength_ == 0.0


@pytest.mark.parametrize("scale", [1e-200, 1e305])
def test_the_unit_of_the_weights_does_not_matter(scale):
    links = np.c_[np.array(TRIANGLES), np.full(len(TRIANGLES), scale)]
    assert Infomap(random_state=0).fit(links).codelength_ == pytest.approx(2.32073, abs=5e-6)


def test_a_complete_graph_is_one_module():
    model = Infomap(random_state=0).fit(np.ones((8, 8)) - np.eye(8))
    assert model.n_modules_ == 1
    assert model.codelength_ == pytest.approx(3.0, abs=1e-14)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"levels": "auto"}, "levels must be 2 .* got 'auto'"),
        ({"levels": 2.0}, "levels must be 2 .* got 2.0"),
        ({"flow": "up"}, "flow must be one of 'undirected', 'directed', 'rawdir', got 'up'"),
        ({"quality": "good"}, "quality must be one of 'fast', 'best', got 'good'"),
        ({"teleport": -0.1}, r"teleport must be a finite number in \[0, 1\]"),
        ({"n_init": 0}, "n_init must be an int >= 1, got 0"),
        ({"n_jobs": 0}, "n_jobs must be an int >= 1, or negative"),
        ({"random_state": -1}, "random_state must be None"),
    ],
)
def test_bad_parameters_are_answered_at_fit(parameters, message):
    with pytest.raises(InputError, match=message):
        Infomap(**parameters).fit(TRIANGLES)


def test_estimator_habits(tmp_path):
    model = Infomap(n_init=3, random_state=5)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError, match="This Infomap instance is not fitted yet"):
        model.write(tmp_path / "x.tree")
    np.testing.assert_array_equal(model.fit_predict(TRIANGLES), model.labels_)
    with pytest.raises(InputError, match=r"suffix of path must be one of '.clu', '.tree'"):
        model.write(tmp_path / "x.json")


@pytest.mark.peer
@pytest.mark.parametrize("name", ["polblogs-directed", "facebook-pages"])
def test_not_longer_than_the_peer_on_average(data, name):
    infomap = pytest.importorskip("infomap")
    flow = "directed" if name.endswith("directed") else "undirected"
    network = read_graph(data(f"graphs/{name}.edges.tsv.gz"), directed=flow == "directed")
    ours, peers = [], []
    for seed in range(1, 4):
        ours.append(Infomap(flow=flow, random_state=seed).fit(network).codelength_)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 2.16 announces the interface of 3.0
            engine = infomap.Infomap(silent=True, two_level=True, seed=seed, flow_model=flow)
            engine.add_links(np.c_[network.source, network.target].astype(np.int64))
            engine.run()
            peers.append(engine.codelength)
    assert np.mean(ours) <= np.mean(peers) + 1e-9
