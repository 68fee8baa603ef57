"""Trees of modules: their canonical order, their flows, and what is merged, dropped or refused."""

import numpy as np
import pytest

from kexue._core import InputError
from kexue.graph import Network
from kexue.graph.flow import FLOW_MODELS, network_flow
from kexue.graph.hierarchy import price_tree

TRIANGLES = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (3, 5)]


def triangles():
    source, target = np.transpose(TRIANGLES)
    network = Network.from_links(source, target, directed=False)
    return network, network_flow(network, "undirected", 0.15)


def priced(parent, leaf):
    return price_tree(*triangles(), np.array(parent), np.array(leaf))


def test_order_levels_then_flow_then_first_node():
    # modules: 2 holds 3 and 1 holds nothing; 5 and 4 are in 3
    tree = priced([-1, 0, 0, 2, 3, 3, 2, 0], [7, 7, 6, 5, 4, 4])
    # left: root, {2..5}, {0, 1}, {3, 4, 5}, {2}, {4, 5}, {3}
    assert tree.parent.tolist() == [-1, 0, 0, 1, 1, 3, 3]
    assert tree.leaf.tolist() == [2, 2, 4, 6, 5, 5]
    np.testing.assert_allclose(14 * tree.flow, [14, 10, 4, 7, 3, 4, 3], atol=1e-14)
    np.testing.assert_allclose(14 * tree.exit, [0, 2, 2, 1, 3, 2, 3], atol=1e-14)
    np.testing.assert_allclose(tree.enter, tree.exit, atol=1e-16)
    assert tree.paths == [(), (0,), (1,), (0, 0), (0, 1), (0, 0, 0), (0, 0, 1)]
    assert tree.rank.tolist() == [0, 0, 1, 0, 1, 0, 1]
    assert tree.depth.tolist() == [0, 1, 1, 2, 2, 3, 3]
    assert tree.n_levels == 4
    assert tree.at_level(1).tolist() == [2, 2, 1, 1, 1, 1]
    assert tree.at_level(2).tolist() == [2, 2, 4, 3, 3, 3]
    assert tree.at_level(0).tolist() == [0] * 6


def test_ties_go_by_the_first_node():
    tree = priced([-1, 0, 0], [2, 2, 2, 1, 1, 1])
    assert tree.leaf.tolist() == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("parent", "leaf"),
    [
        ([-1], [0] * 6),
        ([-1, 0], [1] * 6),
        ([-1, 0, 1, 2, 3], [4] * 6),
        ([-1, 0, 1, 1, 0], [3] * 6),
    ],
)
def test_one_module_stays_below_the_root(parent, leaf):
    tree = priced(parent, leaf)
    assert tree.parent.tolist() == [-1, 0]
    assert tree.leaf.tolist() == [1] * 6
    p = triangles()[1].node
    np.testing.assert_allclose(tree.codelength, [0, -np.sum(p * np.log2(p))], atol=1e-14)
    assert tree.n_levels == 2


@pytest.mark.parametrize(
    ("parent", "leaf"),
    [
        ([-1, 0, 1, 2, 1], [3, 3, 3, 4, 4, 4]),  # root - 1 - (2 - 3, 4)
        ([-1, 0, 0, 1, 3, 2], [4, 4, 4, 5, 5, 5]),
        ([-1, 0, 0, 0, 2], [4, 4, 4, 3, 3, 3]),
    ],
)
def test_only_children_are_merged_and_empty_modules_dropped(parent, leaf):
    tree, plain = priced(parent, leaf), priced([-1, 0, 0], [1, 1, 1, 2, 2, 2])
    for name in ("parent", "leaf", "flow", "enter", "exit", "codelength"):
        np.testing.assert_array_equal(getattr(tree, name), getattr(plain, name))


def test_nodes_beside_modules_are_refused():
    with pytest.raises(InputError, match="hold no modules, got node 3 in module 1"):
        priced([-1, 0, 1, 0], [3, 2, 2, 1, 2, 2])
    with pytest.raises(InputError, match="hold no modules, got node 0 in module 0"):
        priced([-1, 0], [0, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("regularized", [False, True])
@pytest.mark.parametrize("model", FLOW_MODELS[:3])
def test_numbering_of_the_input_does_not_matter(random_network, model, regularized):
    network = random_network(0, model != "undirected")
    walk = network_flow(network, model, 0.15, regularized=regularized)
    rng = np.random.default_rng(0)
    parent = np.array([-1, 0, 0, 1, 1, 2, 2, 2, 5, 5])
    leaf = rng.choice([3, 4, 6, 7, 8, 9], network.n_nodes)
    # the same tree with its modules numbered in another order
    number = np.array([0, 5, 1, 9, 6, 2, 4, 3, 8, 7])
    other = np.empty_like(parent)
    other[number] = np.where(parent < 0, -1, number[parent])
    first = price_tree(network, walk, parent, leaf)
    second = price_tree(network, walk, other, number[leaf])
    for name in ("parent", "leaf", "flow", "enter", "exit", "codelength"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    if model != "directed":  # recorded flow is conserved, and so are its sums over modules
        np.testing.assert_allclose(first.enter, first.exit, atol=1e-14)
    assert first.exit[0] == first.enter[0] == 0.0


def test_pricing_again_changes_nothing(random_network):
    network = random_network(1, True)
    walk = network_flow(network, "recorded", 0.15)
    leaf = np.random.default_rng(1).integers(1, 6, network.n_nodes)
    tree = price_tree(network, walk, np.array([-1, 0, 0, 0, 0, 0]), leaf)
    again = price_tree(network, walk, tree.parent, tree.leaf)
    for name in ("parent", "leaf", "flow", "enter", "exit", "codelength"):
        np.testing.assert_array_equal(getattr(tree, name), getattr(again, name))


def test_a_graph_without_flow_costs_nothing():
    network = Network.from_links([], [], n_nodes=3, directed=False)
    walk = network_flow(network, "undirected", 0.15)
    tree = price_tree(network, walk, np.array([-1, 0, 0, 0]), np.array([3, 1, 2]))
    assert tree.codelength.tolist() == [0.0] * 4
    assert tree.leaf.tolist() == [1, 2, 3]
