"""Edge lists of every spelling, and Infomap's formats read back."""

import gzip
import lzma
import warnings

import numpy as np
import polars as pl
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kexue._core import InputError
from kexue.graph import Infomap, Network, format_tree, read_graph, write_clu, write_tree

TRIPLES = [(0, 1, 1.0), (1, 2, 2.5), (2, 3, 1.0)]
TEXTS = {
    "tab.tsv": "source\ttarget\tweight\n0\t1\t1\n1\t2\t2.5\n2\t3\t1\n",
    "comma.csv": "a,b,c\n0,1,1\n1,2,2.5\n2,3,1e0\n",
    "blanks.csv": "a, b ,c\n0 ,1,\t1\n1 , 2 , 2.5\n2,3 ,1\n",
    "quotes.csv": '"a", "b" ,c\n"0", 1,1\n1, "2" ,2.5\n2,3,1\n',
    "blanks.tsv": "0 \t 1\t1\n1\t2 \t2.5\n2\t3\t1\n",
    "space.txt": "# from, to\n\n0 1   1\n  1 2 2.5\t\n\n% more\n2 3 1",
    "windows.edges": "0 1 1\r\n1 2 2.5\r\n2 3 1\r\n",
    "mark.edges": "\ufeff0 1 1\n1 2 2.5\n2 3 1\n",
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
    assert network.n_nodes == 4
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
        'source, target\n"北 京" ,上海\n上海 ,\tx\n',
        "北 京 , 上海\n上海, x\n",
        "北 京 \t上海\n上海\tx\n",
    ],
)
def test_names(tmp_path, text):
    path = tmp_path / "names.tsv"
    path.write_text(text, encoding="utf-8")
    network = read_graph(path)
    assert network.names == ["北 京", "上海", "x"]
    assert triples(network) == [(0, 1, 1.0), (1, 2, 1.0)]


def test_quotes_keep_commas_and_blanks(tmp_path):
    path = tmp_path / "quoted.csv"
    path.write_text('"a, b" , c\nc,"a, b"\nc, " d"\n')
    assert read_graph(path).names == ["a, b", "c", " d"]


names = st.text(
    st.characters(codec="utf-8", exclude_characters='",', exclude_categories=["Cc"])
).map("n{}n".format)
blanks = st.text(" \t", max_size=2)


@given(st.lists(st.tuples(names, names, blanks, blanks), min_size=2, max_size=8))
def test_blanks_around_commas_are_nothing(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("files") / "g.csv"
    texts = []
    for joint in (False, True):
        # `joint`: the same links, blanks around their commas
        lines = [f"{a}{x * joint},{y * joint}{b}" for a, b, x, y in rows]
        path.write_bytes("\n".join(["source,target", *lines]).encode())
        network = read_graph(path)
        texts.append((network.names, triples(network)))
    assert texts[0] == texts[1]
    assert texts[0][0] == list(dict.fromkeys([row[0] for row in rows] + [row[1] for row in rows]))


def test_integers_in_files_are_names(tmp_path):
    path = tmp_path / "from_one.edges"
    path.write_text("2 3\n1 2\n3 1\n3 14\n14 15\n15 9000000000\n14 9000000000\n")
    network = read_graph(path)
    assert network.names == ["1", "2", "3", "14", "15", "9000000000"]
    assert network.node_ids.tolist() == [1, 2, 3, 14, 15, 9_000_000_000]
    model = Infomap(random_state=0).fit(network)
    assert model.n_modules_ == 2
    model.write(tmp_path / "x.clu")
    model.write(tmp_path / "x.tree")
    clu = [line.split() for line in (tmp_path / "x.clu").read_text().splitlines()[1:]]
    assert [row[0] for row in clu] == network.names
    tree = [line.split() for line in (tmp_path / "x.tree").read_text().splitlines()[2:]]
    assert all(name == f'"{node}"' for _, _, name, node in tree)
    assert {row[3] for row in tree} == set(network.names)


@pytest.mark.parametrize(
    "names",
    [
        None,
        ["7", "x"],
        ["1998", "１９９８"],
        ["1", "01"],
        ["5", "5"],
        ["-1", "1"],
        ["9223372036854775808", "1"],
        ["9" * 5000, "1"],
    ],
)
def test_other_names_are_no_ids(names):
    network = Network.from_links([0], [1], directed=False, names=names)
    assert network.node_ids.tolist() == [0, 1]


def test_words_that_are_numbers_are_no_ids():
    lines = format_tree([0, 1], [0.5, 0.5], ["1998", "１９９８"]).splitlines()
    assert lines[1:] == ['1:1 0.5 "1998" 0', '2:1 0.5 "１９９８" 1']


@pytest.mark.parametrize("end", ["\n", "\r\n", "\v", "\f", "\x1c", "\x1e", "\x85", "\u2028"])
def test_a_node_of_the_tree_is_one_line(end):
    text = format_tree([0, 0, 0], [0.5, 0.3, 0.2], [f"a{end}b", end, "c"])
    assert text.splitlines()[1:] == ['1:1 0.5 "a b" 0', '1:2 0.3 "" 1', '1:3 0.2 "c" 2']


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
        ("a\x0bb\tc\u2028d\t1\ne\tf\tx\n", "g.tsv, line 2: .* got 'e.tf.tx'"),
        ("0\t1\n\x0b# note\n1\n", "g.tsv, line 3: .* got '1'"),
        ("a\x0c\tb\x85\t1\r\n\r\ne\tf\t-1\n", "g.tsv, line 3: node ids must be >= 0"),
        ('"a, b",c,1\n"d, e",f,x\n', "g.tsv, line 2: "),
        ("0\t1\n1 2\n", "g.tsv, line 2: .* got '1 2'"),
    ],
)
def test_malformed_files(tmp_path, text, message):
    path = tmp_path / "g.tsv"
    path.write_bytes(text.encode())
    with pytest.raises(InputError, match=message):
        read_graph(path)


def test_not_text(tmp_path):
    path = tmp_path / "g.tsv"
    path.write_bytes(b"\xff\xfe\t\xff\n")
    with pytest.raises(InputError, match=r"g\.tsv: not an edge list in UTF-8"):
        read_graph(path)


TABLES = {
    "named": {"Weight": [1.0, 2.5, 1.0], "TO": [1, 2, 3], "x": "a", "From": [0, 1, 2]},
    "positions": {"a": [0, 1, 2], "b": [1, 2, 3], "c": [1.0, 2.5, 1.0]},
    "a third column": {"source": [0, 1, 2], "target": [1, 2, 3], "count": [1.0, 2.5, 1.0]},
    "weight elsewhere": {"a": [0, 1, 2], "b": [1, 2, 3], "t": [7, 7, 7], "weight": [1.0, 2.5, 1.0]},
}


@pytest.mark.parametrize("name", TABLES)
def test_parquet(tmp_path, name):
    path = tmp_path / "g[1].parquet"
    pl.DataFrame(TABLES[name]).write_parquet(path)
    network = read_graph(path)
    assert triples(network) == TRIPLES
    assert network.names is None
    assert triples(read_graph(path, weight=False)) == [(u, v, 1.0) for u, v, _ in TRIPLES]
    assert read_graph(path, directed=True).directed


@pytest.mark.parametrize("kind", [pl.Int8, pl.UInt64, pl.Int64])
def test_parquet_integers_are_names(tmp_path, kind):
    path = tmp_path / "g.PARQUET"
    ends = {"source": [30, 5], "target": [5, 7], "label": ["x", "y"]}
    schema = {"source": kind, "target": pl.Int64, "label": pl.String}
    pl.DataFrame(ends, schema).write_parquet(path)
    network = read_graph(path)
    assert network.names == ["5", "7", "30"]
    assert triples(network) == [(0, 1, 1.0), (0, 2, 1.0)]


@pytest.mark.parametrize("kind", [pl.String, pl.Categorical, pl.Enum(["北 京", "x", "07"])])
def test_parquet_strings(tmp_path, kind):
    path = tmp_path / "g.parquet"
    ends = {"src": ["x", "北 京"], "dst": ["北 京", "07"]}
    pl.DataFrame(ends, dict.fromkeys(ends, kind)).write_parquet(path)
    network = read_graph(path)
    assert network.names == ["x", "北 京", "07"]
    assert triples(network) == [(0, 1, 1.0), (1, 2, 1.0)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"source": [0, None], "target": [1, 2]}, r"row 1: .*, got \(None, 2\)"),
        ({"source": ["a", "b"], "target": ["c", None]}, r"row 1: .* got \('b', None\)"),
        ({"source": [0, 1], "target": [1, -2]}, r"row 1: node ids must be >= 0 .* \(1, -2\)"),
        ({"source": [2**64 - 1], "target": [1]}, "row 0: node ids must be >= 0"),
        ({"a": [0, 1], "b": [1, 2], "w": [1, -1]}, r"row 1: .* >= 0, got \(1, 2, -1\)"),
        ({"a": [0, 1], "b": [1, 2], "w": [None, 1.0]}, r"row 0: .* got \(0, 1, None\)"),
        ({"a": [0], "b": [1], "w": [float("nan")]}, "row 0: .* weights finite"),
        ({"a": [0], "b": [1], "w": [float("inf")]}, "row 0: .* weights finite"),
        ({"a": [0], "b": ["x"]}, "'a' and 'b' must both hold integers or both strings, got Int64"),
        ({"a": [0.0], "b": [1.0]}, "must both hold integers or both strings, got Float64 and"),
        ({"a": [0], "b": [1], "Weight": ["x"]}, "the column 'Weight' must hold numbers, got Str"),
        ({"a": [0]}, r"an edge list needs two node columns, got \['a'\]"),
        ({"a": [], "b": []}, "g.parquet: "),
        ({"a": [1], "b": [2]}, None),
    ],
)
def test_malformed_parquet(tmp_path, columns, message):
    path = tmp_path / "g.parquet"
    pl.DataFrame(columns).write_parquet(path)
    if message is None:
        path.write_bytes(path.read_bytes()[:-20])
        message = "g.parquet: not a whole parquet file"
    with pytest.raises(InputError, match=message):
        read_graph(path)


def test_parquet_without_rows_or_file(tmp_path):
    path = tmp_path / "g.parquet"
    with pytest.raises(FileNotFoundError, match=r"g\.parquet"):
        read_graph(path)
    pl.DataFrame(schema={"source": pl.Int64, "target": pl.Int64}).write_parquet(path)
    with pytest.raises(InputError, match=r"g\.parquet: no links found"):
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


def test_ids_in_the_files(tmp_path):
    write_clu(tmp_path / "x.clu", [0, 1], [0.5, 0.5], node_ids=[7, 3])
    assert (tmp_path / "x.clu").read_text().splitlines()[1:] == ["7 1 0.5", "3 2 0.5"]
    assert format_tree([0], [1.0], node_ids=[7]).splitlines()[1:] == ['1:1 1 "7" 7']
    with pytest.raises(InputError, match=r"node_ids must be 1 integers, one per node, got shape"):
        format_tree([0], [1.0], node_ids=[1, 2])


def test_tree_needs_a_name_per_node(tmp_path):
    with pytest.raises(InputError, match=r"names must have one entry per node \(1\), got 2"):
        write_tree(tmp_path / "x.tree", [0], [1.0], ["a", "b"])


@pytest.mark.peer
@pytest.mark.parametrize("suffix", [".tree", ".clu"])
@pytest.mark.parametrize("flow", ["undirected", "directed"])
def test_the_peer_reads_what_is_written(tmp_path, random_network, flow, suffix):
    infomap = pytest.importorskip("infomap")
    links = tmp_path / "links.txt"
    spaced = [
        (3 * u + 2, 3 * v + 2, w) for u, v, w in triples(random_network(5, flow == "directed"))
    ]
    links.write_text("".join(f"{u} {v} {w!r}\n" for u, v, w in spaced))
    model = Infomap(flow=flow, random_state=0).fit(links)
    path = tmp_path / f"partition{suffix}"
    model.write(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 2.16 announces the interface of 3.0
        engine = infomap.Infomap(
            silent=True, two_level=True, no_infomap=True, cluster_data=str(path), flow_model=flow
        )
        engine.add_links(spaced)
        engine.run()
        assert engine.codelength == pytest.approx(model.codelength_, abs=1e-9)
        assert engine.num_top_modules == np.unique(model.labels_).size


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, zstandard.compress])
def test_compressed_files_are_named_so(tmp_path, compress):
    path = tmp_path / "links.txt"
    path.write_bytes(compress(b"0 1\n1 2\n"))
    with pytest.raises(
        InputError, match=r"links.txt: compressed \(.*\), but its name does not say"
    ):
        read_graph(path)
    with path.open("rb") as file, pytest.raises(InputError, match=r"links.txt: compressed"):
        read_graph(file)


def test_numbers_with_leading_zeros_are_names(tmp_path):
    path = tmp_path / "stocks.txt"
    path.write_text("000001 1\n1 600000\n")
    assert read_graph(path).names == ["000001", "1", "600000"]
    path.write_text("0\t1\t0.5\n10\t20\t0.25\n")
    assert read_graph(path).names == ["0", "1", "10", "20"]
    assert read_graph(path).weight.tolist() == [0.5, 0.25]


def test_a_header_over_weights_is_one(tmp_path):
    path = tmp_path / "follows.csv"
    path.write_text("follower,followed,n\nAnn,Bob,2\nBob,Cid,1.5\n")
    network = read_graph(path)
    assert network.names == ["Ann", "Bob", "Cid"]
    assert network.weight.tolist() == [2.0, 1.5]


@pytest.mark.parametrize("weight", ["nan", "1_0", "x"])
def test_a_bad_first_weight_is_no_header(tmp_path, weight):
    path = tmp_path / "links.csv"
    path.write_text(f"0,1,1\n1,2,{weight}\n")
    with pytest.raises(InputError, match=r"links.csv, line 2: "):
        read_graph(path)
    path.write_text("a,b,nan\nb,c,1\n")
    with pytest.raises(InputError, match=r"links.csv, line 1: "):
        read_graph(path)
