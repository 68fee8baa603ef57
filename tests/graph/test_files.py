"""Edge lists of every spelling, and Infomap's formats read back."""

import gzip
import lzma
import warnings

import numpy as np
import pytest
import zstandard

from kexue._core import InputError
from kexue.graph import Infomap, Network, read_graph, write_clu, write_tree

TRIPLES = [(0, 1, 1.0), (1, 2, 2.5), (2, 4, 1.0)]
TEXTS = {
    "tab.tsv": "source\ttarget\tweight\n0\t1\t1\n1\t2\t2.5\n2\t4\t1\n",
    "comma.csv": "a,b,c\n0,1,1\n1,2,2.5\n2,4,1e0\n",
    "space.txt": "# from, to\n\n0 1   1\n  1 2 2.5\t\n\n% more\n2 4 1",
    "windows.edges": "0 1 1\r\n1 2 2.5\r\n2 4 1\r\n",
    "mark.edges": "\ufeff0 1 1\n1 2 2.5\n2 4 1\n",
}


def triples(network):
    arrays = network.source.tolist(), network.target.tolist(), network.weight.tolist()
    return list(zip(*arrays, strict=True))


@pytest.mark.parametrize("name", TEXTS)
def test_edge_lists(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(TEXTS[name].encode())
    network = read_graph(path)
    assert triples(network) == TRIPLES
    assert network.n_nodes == 5
    assert network.names is None
    assert triples(read_graph(path, weight=False)) == [(u, v, 1.0) for u, v, _ in TRIPLES]
    assert read_graph(path, directed=True).directed


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".gz", gzip.compress), (".xz", lzma.compress), (".zst", zstandard.compress)],
)
def test_compressed_edge_lists(tmp_path, suffix, compress):
    path = tmp_path / f"g.tsv{suffix}"
    path.write_bytes(compress(TEXTS["tab.tsv"].encode()))
    assert triples(read_graph(path)) == TRIPLES
    path.write_bytes(b"not compressed")
    with pytest.raises(InputError, match=f"g.tsv{suffix}: not a whole {suffix} file"):
        read_graph(path)


@pytest.mark.parametrize(
    "text",
    [
        "from\tto\n北 京\t上海\n上海\tx\n",
        "北 京\t上海\n上海\tx\n",
        'source,target\n"北 京",上海\n上海,x\n',
    ],
)
def test_names(tmp_path, text):
    path = tmp_path / "names.tsv"
    path.write_text(text, encoding="utf-8")
    network = read_graph(path)
    assert network.names == ["北 京", "上海", "x"]
    assert triples(network) == [(0, 1, 1.0), (1, 2, 1.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "g.tsv: no links found"),
        ("# only\n\n", "g.tsv: no links found"),
        ("0\t1\n# note\n1\n", "g.tsv, line 3: .* got '1'"),
        ("0 1 2\n1 2 x\n", "g.tsv, line 2: .* got '1 2 x'"),
        ("0 1\n1 2\n1 2 3 4\n", "g.tsv, line 3: .* got '1 2 3 4'"),
        ("0\n", "g.tsv, line 1: .* got '0'"),
        ("0 1 1\n\n1 2 -1\n", "g.tsv, line 3: .* weights finite and >= 0, got '1 2 -1'"),
        ("source target weight\n0 1 1\n1 2 nan\n", "g.tsv, line 3: .* got '1 2 nan'"),
        ("0 1\n-1 2\n", "g.tsv, line 2: node ids must be >= 0"),
        ("0 99999999999\n", "g.tsv: node ids must be < .* renumber"),
    ],
)
def test_malformed_files(tmp_path, text, message):
    path = tmp_path / "g.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_graph(path)


def test_not_text(tmp_path):
    path = tmp_path / "g.tsv"
    path.write_bytes(b"\xff\xfe\t\xff\n")
    with pytest.raises(InputError, match=r"g\.tsv: not an edge list in UTF-8"):
        read_graph(path)


def test_clu_and_tree_lines(tmp_path):
    labels, flow = [0, 1, 0], [0.25, 0.125, 0.625]
    write_clu(tmp_path / "x.clu", labels, flow)
    assert (tmp_path / "x.clu").read_text().splitlines() == [
        "# node_id module flow",
        "0 1 0.25",
        "1 2 0.125",
        "2 1 0.625",
    ]
    write_tree(tmp_path / "x.tree", labels, flow, ["a", 'b"\nc', "d"], codelength=1.5)
    assert (tmp_path / "x.tree").read_text().splitlines() == [
        "# codelength 1.5 bits",
        "# path flow name node_id",
        '1:1 0.625 "d" 2',
        '1:2 0.25 "a" 0',
        '2:1 0.125 "b\' c" 1',
    ]


@pytest.mark.parametrize(
    ("labels", "flow", "message"),
    [
        ([0, 1], [1.0], "labels and flow must be 1-D of one length"),
        ([0.5], [1.0], "dtype float64"),
        ([-1], [1.0], "labels must be integers >= 0, got -1"),
    ],
)
def test_bad_partitions(tmp_path, labels, flow, message):
    with pytest.raises(InputError, match=message):
        write_clu(tmp_path / "x.clu", labels, flow)
    with pytest.raises(InputError, match=message):
        write_tree(tmp_path / "x.tree", labels, flow)
    assert not list(tmp_path.iterdir())


def test_tree_needs_a_name_per_node(tmp_path):
    with pytest.raises(InputError, match=r"names must have one entry per node \(1\), got 2"):
        write_tree(tmp_path / "x.tree", [0], [1.0], ["a", "b"])


@pytest.mark.peer
@pytest.mark.parametrize("suffix", [".tree", ".clu"])
@pytest.mark.parametrize("flow", ["undirected", "directed"])
def test_the_peer_reads_what_is_written(tmp_path, random_network, flow, suffix):
    infomap = pytest.importorskip("infomap")
    full = random_network(5, flow == "directed")
    network = Network.from_links(full.source, full.target, full.weight, directed=full.directed)
    model = Infomap(flow=flow, random_state=0).fit(network)
    path = tmp_path / f"partition{suffix}"
    model.write(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 2.16 announces the interface of 3.0
        engine = infomap.Infomap(
            silent=True, two_level=True, no_infomap=True, cluster_data=str(path), flow_model=flow
        )
        engine.add_links([(int(u), int(v), float(w)) for u, v, w in triples(network)])
        engine.run()
        assert engine.codelength == pytest.approx(model.codelength_, abs=1e-9)
        assert engine.num_top_modules == np.unique(model.labels_).size
