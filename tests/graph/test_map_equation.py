"""The map equation: closed forms, a plain oracle, and the peer's score of given partitions."""

import dataclasses
import warnings

import numpy as np
import pytest

from kexue._core import InputError
from kexue.graph import map_equation, random_walk_flow
from kexue.graph.flow import FLOW_MODELS

TRIANGLES = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (3, 5)]
MODELS = [(flow, False) for flow in FLOW_MODELS] + [(flow, True) for flow in FLOW_MODELS[:3]]


def plogp(x):
    return x * np.log2(x) if x > 0 else 0.0


def plain_moves(network, flow):
    """The recorded flow between every two nodes, (n, n), one link at a time."""
    n = network.n_nodes
    moves = np.zeros((n, n))
    for u, v, f in zip(network.source, network.target, flow.link, strict=True):
        if network.directed:
            moves[u, v] += f
        else:
            moves[u, v] += f / 2
            moves[v, u] += f / 2
    if flow.leave is not None:
        for u in range(n):
            for v in range(n):
                moves[u, v] += flow.leave[u] * flow.land[v]
    return moves


def plain_map_equation(moves, node_flow, paths):
    """Section 3 of the method card, module by module: code length of each path's codebook."""
    n = len(node_flow)
    modules = {path[:k] for path in paths for k in range(len(path) + 1)}

    def inside(module):
        return np.array([path[: len(module)] == module for path in paths])

    def enter(module):
        return moves[np.ix_(~inside(module), inside(module))].sum()

    length = {}
    for module in modules:
        leave = moves[np.ix_(inside(module), ~inside(module))].sum()
        children = [m for m in modules if m[:-1] == module and m]
        named = [enter(m) for m in children] or [
            node_flow[i] for i in range(n) if inside(module)[i]
        ]
        length[module] = plogp(leave + sum(named)) - plogp(leave) - sum(map(plogp, named))
    return length


def random_paths(seed, n):
    """Two to four levels of modules, unequal, without modules of one child."""
    rng = np.random.default_rng(seed)
    forms = [
        (0,),
        (1, 0),
        (1, 1),
        (2, 0, 0),
        (2, 0, 1),
        (2, 1),
        (2, 2, 0),
        (2, 2, 1, 0),
        (2, 2, 1, 1),
    ]
    picks = np.concatenate([np.arange(len(forms)), rng.integers(0, len(forms), n - len(forms))])
    return [forms[i] for i in rng.permutation(picks)]


@pytest.mark.parametrize("markov_time", [1.0, 0.7, 2.0])
@pytest.mark.parametrize(("flow", "regularized"), MODELS)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_formula(random_network, flow, regularized, markov_time, seed):
    network = random_network(seed, flow != "undirected")
    options = {"regularized": regularized, "markov_time": markov_time}
    walk = random_walk_flow(network, flow, **options)
    moves = plain_moves(network, walk)
    labels = np.random.default_rng(seed).integers(0, 7, network.n_nodes).tolist()
    for paths in ([(label,) for label in labels], random_paths(seed, network.n_nodes)):
        cost = map_equation(network, paths, flow, **options)
        oracle = plain_map_equation(moves, walk.node, paths)
        assert cost.total == pytest.approx(sum(oracle.values()), abs=1e-12)
        assert cost.index == pytest.approx(oracle.pop(()), abs=1e-12)
        assert cost.total == pytest.approx(cost.index + cost.modules, abs=1e-14)
        assert cost.modules == pytest.approx(cost.per_module.sum(), abs=1e-14)
        np.testing.assert_allclose(sorted(cost.per_module), sorted(oracle.values()), atol=1e-12)
    assert map_equation(network, labels, flow, **options).total == pytest.approx(
        sum(plain_map_equation(moves, walk.node, [(label,) for label in labels]).values()),
        abs=1e-12,
    )


@pytest.mark.parametrize(("flow", "regularized"), MODELS)
def test_one_module_costs_the_entropy_of_the_flow(random_network, flow, regularized):
    network = random_network(3, flow != "undirected")
    p = random_walk_flow(network, flow, regularized=regularized).node
    entropy = -np.sum(p[p > 0] * np.log2(p[p > 0]))
    for one in ([0] * network.n_nodes, [("a", "b")] * network.n_nodes):
        cost = map_equation(network, one, flow, regularized=regularized)
        assert cost.total == pytest.approx(entropy, abs=1e-13)
        assert cost.index == 0.0
        assert cost.per_module.shape == (1,)


@pytest.mark.parametrize("flow", ["directed", "rawdir"])
def test_given_visit_rates(random_network, flow):
    network = random_network(6, True)
    rates = np.random.default_rng(0).random(network.n_nodes)
    walk = random_walk_flow(network, flow, node_flow=rates)
    paths = random_paths(6, network.n_nodes)
    oracle = plain_map_equation(plain_moves(network, walk), rates / rates.sum(), paths)
    cost = map_equation(network, paths, flow, node_flow=rates)
    assert cost.total == pytest.approx(sum(oracle.values()), abs=1e-12)


def test_two_triangles_by_hand():
    # 14 half-links; each module: p = 1/2, exit 1/14
    cost = map_equation(TRIANGLES, list("aaabbb"))
    index = 1 / 7  # one bit, in one step of seven
    within = [3 / 14, 2 / 14, 2 / 14, 1 / 14]
    module = -sum(x * np.log2(x / (8 / 14)) for x in within)
    assert cost.index == pytest.approx(index, abs=1e-14)
    np.testing.assert_allclose(cost.per_module, [module, module], atol=1e-14)
    assert cost.total == pytest.approx(2.32073, abs=5e-6)


def test_two_levels_of_triangles_by_hand():
    # the first triangle is split into nodes 0, 1 and node 2, inside one module
    cost = map_equation(TRIANGLES, [("a", 0), ("a", 0), ("a", "x"), ("b",), ("b",), ("b",)])

    def bits(*flows):
        return -sum(x / 14 * np.log2(x / sum(flows)) for x in flows)

    assert cost.index == pytest.approx(bits(1, 1), abs=1e-14)
    # a: exit 1, enters 2 and 3; then b: exit 1, nodes; then node 2: exit 3; then nodes 0, 1
    whole, second = bits(1, 2, 3), bits(1, 3, 2, 2)
    assert cost.per_module[:2] == pytest.approx([whole, second], abs=1e-14)
    assert cost.per_module[2:] == pytest.approx([bits(2, 2, 2), bits(3, 3)], abs=1e-14)


def test_a_module_with_one_module_inside_is_one_with_it():
    plain = map_equation(TRIANGLES, list("aaabbb"))
    nested = map_equation(TRIANGLES, [("x", "a", 0)] * 3 + [("x", "b", 7, "c")] * 3)
    assert nested.total == plain.total
    np.testing.assert_array_equal(nested.per_module, plain.per_module)


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
        ([(0,)] * 5, "paths must have one entry per node, 6, got 5"),
        ([(0,)] * 5 + [1], "tuples of integers and strings, got 1 for node 5"),
        ([(0,)] * 3 + [(0.5,)] * 3, r"tuples of integers and strings, got \(0.5,\) for node 3"),
        ([(0,)] * 3 + [([],)] * 3, r"tuples of integers and strings, got \(\[\],\) for node 3"),
        (
            [(0, 1), (0, 1), (1,), (0,), (1,), (1,)],
            r"the path \(0,\) of node 3 is the beginning of \(0, 1\)",
        ),
        ([(), (0,), (1,), (0,), (1,), (1,)], r"the path \(\) of node 0 is the beginning of"),
    ],
)
def test_bad_labels(labels, message):
    with pytest.raises(InputError, match=message):
        map_equation(TRIANGLES, labels)


def test_bad_flow_is_answered_before_the_graph_is_read():
    with pytest.raises(InputError, match="flow must be one of 'undirected', 'directed', 'rec"):
        map_equation("no/such/file", [0], flow="raw")
    with pytest.raises(InputError, match="markov_time must be a finite number > 0, got -1"):
        map_equation("no/such/file", [0], markov_time=-1)


def peer_lengths(network, paths, file, flow, *, node_flow=None, **options):
    """Code length of the tree `paths`, and of one module, by the peer."""
    infomap = pytest.importorskip("infomap")
    if max(map(len, paths)) == 1 and file.suffix == ".clu":
        file.write_text("".join(f"{i} {path[0] + 1}\n" for i, path in enumerate(paths)))
    else:
        lines = []
        for i, path in enumerate(paths):
            place = ":".join(str(k + 1) for k in (*path, paths[:i].count(path)))
            lines.append(f'{place} 0 "{i}" {i}\n')
        file.write_text("".join(lines))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 2.16 announces the interface of 3.0
        engine = infomap.Infomap(
            silent=True,
            no_infomap=True,
            flow_model="directed" if flow == "recorded" else flow,
            recorded_teleportation=flow == "recorded",
            cluster_data=str(file),
            **options,
        )
        for node in range(network.n_nodes):
            engine.add_node(node, *([] if node_flow is None else [None, float(node_flow[node])]))
        links = zip(network.source, network.target, network.weight, strict=True)
        engine.add_links([(int(u), int(v), float(w)) for u, v, w in links])
        engine.run()
        return engine.codelength, engine.one_level_codelength


@pytest.mark.peer
@pytest.mark.parametrize("markov_time", [1.0, 0.7, 2.0])
@pytest.mark.parametrize(("flow", "regularized"), MODELS)
@pytest.mark.parametrize("seed", range(2))
def test_the_peer_scores_the_same(random_network, tmp_path, flow, regularized, markov_time, seed):
    network = random_network(seed, flow != "undirected")
    labels = np.random.default_rng(seed).permutation(np.arange(network.n_nodes) % 6)
    options = {"regularized": regularized, "markov_time": markov_time}
    for suffix, paths in [
        (".clu", [(int(label),) for label in labels]),
        (".tree", random_paths(seed, network.n_nodes)),
    ]:
        length, one_level = peer_lengths(
            network, paths, tmp_path / f"given{suffix}", flow, **options
        )
        ours = map_equation(network, paths, flow, **options).total
        assert ours == pytest.approx(length, abs=1e-10)
        whole = map_equation(network, [0] * network.n_nodes, flow, **options).total
        assert whole == pytest.approx(one_level, abs=1e-10)


@pytest.mark.peer
def test_the_peer_scores_given_flow_the_same(random_network, tmp_path):
    # its "precomputed" takes the weights for the flow as they are
    network = random_network(7, True)
    rates = np.random.default_rng(7).random(network.n_nodes)
    rates /= rates.sum()
    paths = random_paths(7, network.n_nodes)
    for flow in ("directed", "rawdir"):
        link = random_walk_flow(network, flow, node_flow=rates).link
        flows = dataclasses.replace(network, weight=link)
        length, _ = peer_lengths(flows, paths, tmp_path / "a.tree", "precomputed", node_flow=rates)
        ours = map_equation(network, paths, flow, node_flow=rates).total
        assert ours == pytest.approx(length, abs=1e-10)


def test_the_parts_of_labels_come_in_the_order_of_the_labels():
    # "b" has less flow and comes last in the hierarchy, but not here
    links = [*TRIANGLES, (3, 6), (4, 6), (5, 6)]
    labels = list("bbbzzzz")
    cost = map_equation(links, labels)
    turned = map_equation(links, [{"b": "y", "z": "c"}[label] for label in labels])
    np.testing.assert_array_equal(cost.per_module, turned.per_module[::-1])
    assert cost.per_module[0] < cost.per_module[1]
    paths = map_equation(links, [(label,) for label in labels])
    np.testing.assert_array_equal(paths.per_module, cost.per_module[::-1])
