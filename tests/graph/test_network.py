"""Every form that a graph comes in gives the same network; every bad one its message."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from kexue._core import InputError
from kexue.graph import Network, as_network

PATH = np.array([[0, 1, 0], [1, 0, 2], [0, 2, 3.0]])  # a path with a self-loop of weight 3
LINKS = [(0, 1, 1.0), (1, 2, 2.0), (2, 2, 3.0)]


def links(network):
    return list(
        zip(network.source.tolist(), network.target.tolist(), network.weight.tolist(), strict=True)
    )


@pytest.mark.parametrize(
    "graph",
    [
        PATH,
        LINKS,
        [list(link) for link in LINKS],
        tuple(LINKS),
        np.triu(PATH),
        np.tril(PATH),
        sparse.csr_array(PATH),
        sparse.coo_matrix(PATH),
        sparse.csc_array(np.triu(PATH)),
        [(1, 0, 1.0), (2, 1, 2.0), (2, 2, 3.0), (2, 2, 0.0)],
        Network.from_links([0, 1, 2], [1, 2, 2], [1, 2, 3], directed=False),
    ],
)
def test_all_forms_of_one_undirected_graph(graph):
    network = as_network(graph, directed=False)
    assert links(network) == LINKS
    assert network.n_nodes == 3
    assert not network.directed


def test_arrays_of_links():
    expected = [(0, 1, 2.0), (1, 2, 1.0), (2, 3, 1.0)]  # parallel links are summed
    rows = np.array([[1, 2], [0, 1], [1, 0], [3, 2]])
    assert links(as_network(rows, directed=False)) == expected
    assert links(as_network(rows.T, directed=False)) == expected
    assert links(as_network(rows.astype(np.uint16), directed=False)) == expected
    weighted = np.c_[rows, [1.0, 0.5, 1.5, 1.0]]
    assert links(as_network(weighted, directed=False)) == expected
    assert links(as_network(rows, directed=True))[:2] == [(0, 1, 1.0), (1, 0, 1.0)]


@pytest.mark.parametrize("n_links", [1, 2, 3, 4])
def test_lists_are_links_however_many(n_links):
    pairs = [(i, i + 1) for i in range(n_links)]
    expected = [(i, i + 1, 1.0) for i in range(n_links)]
    assert links(as_network(pairs, directed=True)) == expected
    assert links(as_network([list(pair) for pair in pairs], directed=True)) == expected
    weighted = [(u, v, 2.0) for u, v in pairs]
    assert links(as_network(weighted, directed=True)) == [(u, v, 2.0) for u, v in pairs]
    ends = np.array(pairs).T
    if n_links not in (2, 3):  # of arrays, these shapes are a matrix and ambiguous
        assert links(as_network([ends[0], ends[1]], directed=True)) == expected


def test_isolated_nodes_in_proportion():
    assert as_network([(0, 10_009)], directed=False).n_nodes == 10_010
    sparse_ids = np.array([[0, 2_000_000_000], [5, 0], [0, 5]])
    with pytest.raises(InputError, match=r"3 links with node ids up to 2000000000 .* np\.unique"):
        as_network(sparse_ids, directed=False)
    ids = np.unique(sparse_ids, return_inverse=True)[1]
    assert links(as_network(ids, directed=False)) == [(0, 1, 2.0), (0, 2, 1.0)]
    given = Network.from_links([0], [1], n_nodes=50_000, directed=False)
    assert given.n_nodes == 50_000


def test_an_undirected_graph_read_as_directed_goes_both_ways():
    expected = [(0, 1, 1.0), (1, 0, 1.0), (1, 2, 2.0), (2, 1, 2.0), (2, 2, 3.0)]
    undirected = as_network(PATH, directed=False)
    assert links(undirected.as_directed()) == expected
    assert links(as_network(PATH, directed=True)) == expected


def test_networkx_graphs():
    graph = nx.Graph()
    graph.add_edge("a", "b")
    graph.add_edge("b", "c", weight=2.0)
    graph.add_edge("c", "c", weight=3.0)
    network = as_network(graph, directed=False)
    assert links(network) == LINKS
    assert network.names == ["a", "b", "c"]
    assert links(as_network(nx.MultiDiGraph([(0, 1), (0, 1)]), directed=True)) == [(0, 1, 2.0)]


@pytest.mark.peer
def test_igraph_graphs():
    igraph = pytest.importorskip("igraph")
    graph = igraph.Graph([(0, 1), (1, 2), (2, 2)])
    graph.es["weight"] = [1, 2, 3]
    graph.vs["name"] = ["a", "b", "c"]
    network = as_network(graph, directed=False)
    assert links(network) == LINKS
    assert network.names == ["a", "b", "c"]
    assert as_network(igraph.Graph(n=2), directed=True).n_links == 0


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.floats(0, 9)), max_size=40),
    st.booleans(),
)
def test_the_link_list_is_canonical(triples, directed):
    source, target, weight = zip(*triples, strict=True) if triples else ((), (), ())
    network = Network.from_links(source, target, weight, n_nodes=9, directed=directed)
    dense = np.zeros((9, 9))
    for u, v, w in triples:
        dense[(u, v) if directed or u < v else (v, u)] += w
    rows, columns = np.nonzero(dense)
    assert network.source.tolist() == rows.tolist()
    assert network.target.tolist() == columns.tolist()
    np.testing.assert_allclose(network.weight, dense[rows, columns], rtol=1e-12)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (np.array([[0, 1], [-1, 0]]), r"finite and >= 0, got -1.0 at row 1, column 0"),
        (np.array([[0, np.nan], [0, 0]]), r"finite and >= 0, got nan at row 0, column 1"),
        (sparse.coo_array(([np.inf], ([2], [0])), shape=(3, 3)), "got inf at row 2, column 0"),
        ([(0, 1, 1.0), (1, 2, -2.0), (2, 3, 1.0), (2, 4, 1.0)], "got -2.0 at row 1, column 2"),
        (np.ones((3, 4)), r"must be square and links must have shape .* got shape \(3, 4\)"),
        (sparse.csr_array(np.ones((3, 4))), r"must be square, got shape \(3, 4\)"),
        (np.zeros((0, 0)), r"needs at least one node, got a matrix of shape \(0, 0\)"),
        (np.zeros((0, 2), int), "needs at least one node"),
        (
            np.diag([1, 2], 1) + np.diag([2, 1], -1),
            "needs a symmetric matrix .* or a triangular one",
        ),
        (
            np.array([[0, 1, 2], [1, 2, 0]]),
            r"shape \(2, 3\) may be two weighted links or three links",
        ),
        ([(0.5, 1), (1, 2), (2, 3)], "source must hold node ids .* got .*0.5.* in link 0"),
        ([(0, 1), (1, -2), (2, 3)], "target must hold node ids .* got -2 in link 1"),
        ([(0, 2**40), (1, 2), (2, 3)], "renumber the nodes"),
        (np.array([["a", "b"]]), "must be numeric and 2-D"),
        ([["a", 1]], r"a list of links between names must hold .* got \['a', 1\] at place 0"),
        ([[0, 1, 0, 0]] * 4, r"a list of links .* got shape \(4, 4\).* must be a NumPy array"),
        ([(0, 1), (1, 2, 3.0)], "a list of links .* got rows of different lengths"),
        ([], r"a list of links .* got shape \(0,\)"),
        (np.array([[0, 1j], [1j, 0]]), "must be numeric and 2-D"),
        (sparse.csr_array(np.array([[0, 1j], [1j, 0]])), "must be real numbers, got dtype complex"),
        (nx.DiGraph([(0, 1)]), "the graph is directed, but an undirected one is asked for"),
    ],
)
def test_bad_graphs(graph, message):
    with pytest.raises(InputError, match=message):
        as_network(graph, directed=False)


def test_other_objects_and_missing_files(tmp_path):
    with pytest.raises(TypeError, match=r"a graph must be a square matrix .* got int"):
        as_network(3, directed=False)
    with pytest.raises(FileNotFoundError):
        as_network(tmp_path / "absent.tsv", directed=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0, 1), (1,)), "must be 1-D of one length"),
        (((0, 1), (1, 5), None), "node ids must be < n_nodes = 4, got 5"),
        ((("a",), ("b",)), "source must hold node ids"),
        (((0,), (1,), (1j,)), "link weights must be real numbers, got dtype complex128"),
    ],
)
def test_bad_link_arrays(arguments, message):
    with pytest.raises(InputError, match=message):
        Network.from_links(*arguments, n_nodes=4, directed=False)


def test_names_count():
    with pytest.raises(InputError, match=r"names must have one entry per node \(2\), got 1"):
        Network.from_links([0], [1], directed=False, names=["a"])


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ([np.array([0, 1]), np.array([1, 2])], "two arrays of 2 may be two links or the ends of 2"),
        ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], "may be three weighted links or a matrix"),
        (np.ma.masked_array(np.eye(3), np.eye(3) > 0), "a masked array does not say"),
        (
            [(0, 1, 1e308), (1, 0, 1e308), (1, 2, 1.0)],
            "parallel links from 0 to 1 have no finite sum; divide all weights",
        ),
    ],
)
def test_what_could_be_misread_is_refused(graph, message):
    with pytest.raises(InputError, match=message):
        as_network(graph, directed=False)


def test_links_between_names():
    network = as_network([("b", "a"), ("a", "c"), ("b", "a")], directed=True)
    assert network.names == ["b", "a", "c"]
    assert links(network) == [(0, 1, 2.0), (1, 2, 1.0)]
    weighted = as_network([["x", "y", 2], ["y", "z", 0.5]], directed=False)
    assert links(weighted) == [(0, 1, 2.0), (1, 2, 0.5)]
    with pytest.raises(InputError, match=r"links between names .* got \('a', 3\) at place 1"):
        as_network([("a", "b"), ("a", 3)], directed=False)
