"""Pajek files of every spelling, and those of Infomap."""

import gzip
import io
import lzma
import time

import networkx as nx
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kexue._core import InputError
from kexue.graph import read_graph


def read(tmp_path, text, **options):
    path = tmp_path / "g.net"
    path.write_bytes(text.encode())
    return read_graph(path, **options)


def triples(network):
    arrays = network.source.tolist(), network.target.tolist(), network.weight.tolist()
    return list(zip(*arrays, strict=True))


FULL = """% made by hand
*Vertices 4
1 "a b" 0.1 0.2 0.5 ellipse
 2\tc
3 "" 0.5
# vertex 4 has no line

*Edges
1 2 1.5 c Blue
2 2
3 2 2e0
"""


@pytest.mark.parametrize(
    "text",
    [
        FULL,
        FULL.replace("\n", "\r\n"),
        FULL.replace("\n", "\r"),
        "\ufeff" + FULL,
        FULL.replace("*Vertices", "*VERTICES").replace("*Edges", "*edges 3"),
        FULL.replace("\n", "  \n  "),
        "*Network three links\n" + FULL,
        FULL.replace("*Vertices 4", "*Vertices 4 2"),
        FULL.replace("*Edges", '*Edges :1 "likes"').replace("3 2 2e0", '*Edges :2 "knows"\n3 2 2'),
        FULL + "*Arcs\n",
    ],
)
def test_edges(tmp_path, text):
    network = read(tmp_path, text)
    assert network.names == ["a b", "c", "3", "4"]
    assert not network.directed
    assert network.n_nodes == 4
    assert triples(network) == [(0, 1, 1.5), (1, 1, 1.0), (1, 2, 2.0)]
    assert triples(read(tmp_path, text, weight=False)) == [(0, 1, 1.0), (1, 1, 1.0), (1, 2, 1.0)]


def test_edges_read_as_directed_have_both_directions(tmp_path):
    network = read(tmp_path, FULL + "*Arcs\n1 4 7\n", directed=True)
    assert network.directed
    assert triples(network) == [
        (0, 1, 1.5),
        (0, 3, 7.0),
        (1, 0, 1.5),
        (1, 1, 1.0),
        (1, 2, 2.0),
        (2, 1, 2.0),
    ]


def test_links_are_what_is_asked_for(tmp_path):
    text = "*Vertices 3\n*Links\n2 1\n1 3 2\n"
    assert triples(read(tmp_path, text)) == [(0, 1, 1.0), (0, 2, 2.0)]
    assert triples(read(tmp_path, text, directed=True)) == [(0, 2, 2.0), (1, 0, 1.0)]


@pytest.mark.parametrize("directed", [False, True])
def test_lists_are_links(tmp_path, directed):
    lists = "*Vertices 5\n*Edgeslist\n1 2 3\n4\n3  3\t4\n"
    links = "*Vertices 5\n*Edges\n1 2\n1 3\n3 3\n3 4\n"
    assert triples(read(tmp_path, lists, directed=directed)) == triples(
        read(tmp_path, links, directed=directed)
    )
    arcs = "*Vertices 3\n*ArcsList\n3 1 2\n*Arcs\n1 3 4\n"
    if directed:
        assert triples(read(tmp_path, arcs, directed=True)) == [
            (0, 2, 4.0),
            (2, 0, 1.0),
            (2, 1, 1.0),
        ]
    else:
        with pytest.raises(InputError, match=r"g\.net, line 2: \*Arcslist are directed links"):
            read(tmp_path, arcs)


def test_isolated_vertices_and_no_links(tmp_path):
    network = read(tmp_path, "*Vertices 3\n")
    assert (network.n_nodes, network.n_links, network.names) == (3, 0, ["1", "2", "3"])
    assert network.node_ids.tolist() == [1, 2, 3]


def test_vertices_without_a_number(tmp_path):
    network = read(tmp_path, '*Vertices\n30 "x y"\n5 z 0.5\n7\n*Edges\n30 7\n9 7\n')
    assert network.names == ["z", "7", "9", "x y"]
    assert triples(network) == [(1, 2, 1.0), (1, 3, 1.0)]
    assert read(tmp_path, "*Edges\n3 7\n").names == ["3", "7"]
    assert read(tmp_path, "*Edges\n0 2\n2 1\n").names is None


def test_a_list_of_links_may_be_called_net(tmp_path):
    assert triples(read(tmp_path, "# Infomap takes these too\n0 1\n1 2 \n")) == [
        (0, 1, 1.0),
        (1, 2, 1.0),
    ]


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".gz", gzip.compress), (".xz", lzma.compress), (".zst", zstandard.compress)],
)
def test_compressed(tmp_path, suffix, compress):
    path = tmp_path / f"g.net{suffix}"
    path.write_bytes(compress(FULL.encode()))
    assert read_graph(path).names == ["a b", "c", "3", "4"]


labels = st.text(st.characters(codec="utf-8", exclude_characters='"\r\n'), min_size=1, max_size=8)


@given(st.lists(labels, min_size=1, max_size=6), st.data())
def test_any_label_in_quotes(tmp_path_factory, names, data):
    n = len(names)
    ends = st.integers(1, n)
    links = data.draw(st.lists(st.tuples(ends, ends, st.floats(0.001, 1e3)), max_size=8))
    lines = [f"*Vertices {n}", *(f'{i} "{name}"' for i, name in enumerate(names, 1)), "*Arcs"]
    lines += [f"{u} {v} {w!r}" for u, v, w in links]
    network = read(tmp_path_factory.mktemp("net"), "\n".join(lines), directed=True)
    assert network.names == names
    expected = np.zeros((n, n))
    for u, v, w in links:
        expected[u - 1, v - 1] += w
    given = np.zeros((n, n))
    given[network.source, network.target] = network.weight
    np.testing.assert_allclose(given, expected, rtol=1e-12)


@pytest.mark.parametrize("directed", [False, True])
def test_what_networkx_writes(tmp_path, directed):
    kind = nx.DiGraph if directed else nx.Graph
    graph = nx.gnm_random_graph(20, 40, seed=3, directed=directed, create_using=kind)
    for u, v in graph.edges:
        graph.edges[u, v]["weight"] = u + 2.0 * v + 1.0
    graph = nx.relabel_nodes(graph, {i: f"node {i}" for i in graph})
    file = io.BytesIO()
    nx.write_pajek(graph, file)
    network = read(tmp_path, file.getvalue().decode(), directed=directed)
    assert network.names == list(graph)
    given = {(network.names[u], network.names[v]): w for u, v, w in triples(network)}
    wanted = {(u, v): w for u, v, w in graph.edges(data="weight")}
    if not directed:
        given = {frozenset(link): w for link, w in given.items()}
        wanted = {frozenset(link): w for link, w in wanted.items()}
    assert given == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("*Vertices 2\n1 a\n3 b\n", "line 3: the id of a vertex must be from 1 to 2, .* got '3 b'"),
        ("*Vertices 2\n*Edges\n% no\n0 1\n", "line 4: the id .* must be from 1 to 2, .* '0 1'"),
        ("*Vertices 2\n*Edgeslist\n1 2 3\n", "line 3: the id .* must be from 1 to 2, .* '1 2 3'"),
        ("*Vertices\n*Edges\n1 99999999999999999999\n", "line 3: the id .* must be an integer"),
        ("*Vertices 2\n1 a\n2 b\n1 c\n", "line 4: the ids of vertices must differ, got '1 c'"),
        ("*Vertices 2\n1 a\n*Edges\n1 2 -3\n", "line 4: weights must be finite and >= 0, got"),
        ("*Vertices 2\n*Edges\n1 2 x\n", "line 3: weights must be finite and >= 0, got '1 2 x'"),
        ("*Vertices 2\n*Edges\n1 2 nan\n", "line 3: weights must be finite and >= 0"),
        ("*Vertices 2\n*Edges\n1 2 inf\n", "line 3: weights must be finite and >= 0"),
        ("*Vertices 2\n*Edges\n1 2\n\n2\n", "line 5: a link must be 'source target' .* got '2'"),
        ("*Vertices 2\n*Edges\n1 -2\n", "line 3: a link must be 'source target' .* got '1 -2'"),
        ("*Vertices 2\n*Edgeslist\n1 -2\n", "line 3: a line must be 'source target target ...'"),
        ('*Vertices 2\n1 "a\n', "line 2: a vertex must be its id and, .* got '1 \"a'"),
        ('*Vertices 2\n1 "a"b\n', "line 2: a vertex must be its id"),
        ("*Vertices 2\na 1\n", "line 2: a vertex must be its id"),
        ("*Vertices 0\n", "line 1: the number of vertices must be >= 1 .* got '0'"),
        ("*Vertices -3\n", "line 1: the number of vertices must be >= 1 .* got '-3'"),
        ("*Vertices\n", "g.net: no vertices and no links found"),
        ("*Vertices 99999999999\n", "line 1: .* in proportion to the 1 lines of the file"),
        ("*Vertices 1\n*Vertices 1\n", "line 2: a file must hold one \\*Vertices, got two"),
        ("*Vertices 2\n*Matrix\n0 1\n", "line 2: a heading must be .* got '\\*Matrix'"),
        ("*Vertices 2\n*\n", "line 2: a heading must be .* got '\\*'"),
        ("*Vertices 2\n*Arcs\n1 2\n", "line 2: \\*Arcs are directed links, but an undirected"),
        ("*Vertices 2\n*States\n1 1\n", "line 2: state, multilayer and bipartite networks of"),
        ("*Vertices 2\n*Multilayer\n1 1 2 1\n", "line 2: .* not supported; .* '\\*Multilayer'"),
        ("*Bipartite 3\n1 2\n", "line 1: .* not supported; .* got '\\*Bipartite 3'"),
        ("*Intra\n1 1 2\n*Inter\n1 1 2\n", "line 1: .* not supported"),
    ],
)
def test_malformed_files(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def test_not_utf_8(tmp_path):
    path = tmp_path / "g.net"
    path.write_bytes(b'*Vertices 1\r\n1 "\xe8"\r\n')
    with pytest.raises(InputError, match=r"g\.net, line 2: not UTF-8"):
        read_graph(path)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:.*3.0")
@pytest.mark.parametrize("directed", [False, True])
def test_what_the_peer_writes(tmp_path, random_network, directed):
    infomap = pytest.importorskip("infomap")
    network = random_network(7, directed)
    path = tmp_path / "peer.net"
    engine = infomap.Infomap(silent=True, flow_model="directed" if directed else "undirected")
    engine.add_links(triples(network))
    engine.add_node(network.n_nodes - 1, "the last one")
    engine.run()
    engine.write_pajek(str(path))
    read = read_graph(path, directed=directed)
    assert read.n_nodes == network.n_nodes
    assert read.names == [*map(str, range(network.n_nodes - 1)), "the last one"]
    assert [row[:2] for row in triples(read)] == [row[:2] for row in triples(network)]
    np.testing.assert_allclose(read.weight, network.weight, rtol=1e-5)  # six digits are written


@pytest.mark.slow
def test_a_million_links_take_at_most_twice_the_time_of_an_edge_list(tmp_path):
    ends = np.random.default_rng(0).integers(1, 100_001, (1_000_000, 2)).tolist()
    links = "".join(f"{u} {v} 1.5\n" for u, v in ends)
    plain, pajek = tmp_path / "g.txt", tmp_path / "g.net"
    plain.write_text(links)
    pajek.write_text(f"*Vertices 100000\n*Edges\n{links}")
    seconds = {plain: [], pajek: []}
    for _ in range(3):
        for path, times in seconds.items():
            start = time.perf_counter()
            read_graph(path)
            times.append(time.perf_counter() - start)
    assert min(seconds[pajek]) < 2 * min(seconds[plain])
