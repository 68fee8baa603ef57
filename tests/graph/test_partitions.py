"""Partitions written and read back, by us and by Infomap."""

import gzip
import json
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue._core import InputError
from kexue.graph import format_tree, read_partition, write_clu, write_json, write_tree
from kexue.graph.hierarchy import Hierarchy

PATHS = [(1,), (0, 0), (0, 1), (0, 0), (0, 1), (1,)]
FLOW = [0.1, 0.3, 0.1, 0.125, 0.25, 0.125]


def dense(paths):
    """Number the modules inside each module without gaps, in the order of their numbers."""
    prefixes = {path[:k] for path in paths for k in range(1, len(path) + 1)}
    places = {}
    for prefix in sorted(prefixes):
        siblings = sorted(other[-1] for other in prefixes if other[:-1] == prefix[:-1])
        places[prefix] = siblings.index(prefix[-1])
    return [tuple(places[path[:k]] for k in range(1, len(path) + 1)) for path in paths]


def put_deeper(paths):
    """Make of any paths a tree: what lies directly in a module with modules gets its own."""
    inner = {path[:k] for path in paths for k in range(len(path))}
    while any(path in inner for path in paths):
        paths = [(*path, 9) if path in inner else path for path in paths]
        inner = {path[:k] for path in paths for k in range(len(path))}
    return paths


trees = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), min_size=1, max_size=12
).map(put_deeper)
any_name = st.text(st.characters(codec="utf-8"), max_size=6)


@given(trees, st.data())
def test_trees_come_back(tmp_path_factory, paths, data):
    n = len(paths)
    names = data.draw(st.lists(any_name, min_size=n, max_size=n))
    flow = data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n))
    ids = data.draw(st.lists(st.integers(0, 2**59), min_size=n, max_size=n, unique=True))
    path = tmp_path_factory.mktemp("tree") / "x.tree"
    write_tree(path, paths, flow, names, codelength=1.0, node_ids=ids)
    assert read_partition(path, ids) == dense(paths)
    order = data.draw(st.permutations(range(n)))
    assert read_partition(path, [ids[i] for i in order]) == [dense(paths)[i] for i in order]
    rows = [line.split() for line in path.read_text(encoding="utf-8").split("\n")[2:-1]]
    nodes = [tuple(map(int, row[0].split(":"))) for row in rows]
    assert nodes == sorted(nodes)
    for (module, row), (next_module, next_row) in pairwise(zip(nodes, rows, strict=True)):
        if module[:-1] == next_module[:-1]:
            assert module[-1] + 1 == next_module[-1]
            assert float(row[1]) >= float(next_row[1])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_labels_come_back(tmp_path_factory, labels):
    folder = tmp_path_factory.mktemp("labels")
    flow = np.full(len(labels), 1 / len(labels))
    write_clu(folder / "x.clu", labels, flow)
    first = list(dict.fromkeys(labels))
    paths = read_partition(folder / "x.clu", np.arange(len(labels)))
    assert paths == [(first.index(label),) for label in labels]
    write_tree(folder / "x.tree", labels, flow)
    paths = read_partition(folder / "x.tree", np.arange(len(labels)))
    assert paths == dense([(label,) for label in labels])


def test_tree_lines_of_paths():
    text = format_tree(PATHS, FLOW, [*"abcdef"], codelength=2.5, node_ids=range(10, 16))
    assert text.splitlines() == [
        "# codelength 2.5 bits",
        "# path flow name node_id",
        '1:1:1 0.3 "b" 11',
        '1:1:2 0.125 "d" 13',
        '1:2:1 0.25 "e" 14',
        '1:2:2 0.1 "c" 12',
        '2:1 0.125 "f" 15',
        '2:2 0.1 "a" 10',
    ]
    arrays = [tuple(np.array(path)) for path in PATHS]
    assert format_tree(arrays, FLOW) == format_tree(PATHS, FLOW)
    # ten modules are in the order of their numbers
    first = [line.split(":")[0] for line in format_tree(range(12), [0] * 12).splitlines()[1:]]
    assert first == [str(k) for k in range(1, 13)]


def test_empty_paths_are_one_module():
    assert format_tree([(), ()], [0.4, 0.6]) == format_tree([0, 0], [0.4, 0.6])


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([(0,), (0, 1)], r"nodes or modules, not both, got paths \(0,\) and \(0, 1\)"),
        ([(0, 1), (0, 2, 3), (0, 2)], r"not both, got paths \(0, 2\) and \(0, 2, 3\)"),
        ([(0,), ()], r"not both, got paths \(\) and \(0,\)"),
        ([(0,), (0.5,)], r"a path must be a tuple of integers >= 0, got \(0.5,\)"),
        ([(0,), (-1,)], r"a path must be a tuple of integers >= 0, got \(-1,\)"),
        ([(0,), 1], "a path must be a tuple of integers >= 0, got 1"),
        ([[0], [1]], r"labels must be 1-D integers >= 0 .* got shape \(2, 1\)"),
    ],
)
def test_bad_paths(tmp_path, modules, message):
    with pytest.raises(InputError, match=message):
        write_tree(tmp_path / "x.tree", modules, np.ones(len(modules)))
    assert not list(tmp_path.iterdir())


def test_flow_must_be_finite(tmp_path):
    with pytest.raises(InputError, match="flow must be 2 finite numbers, one per node"):
        write_tree(tmp_path / "x.tree", [0, 1], [0.5, np.nan])


SPELLINGS = {
    "ours.tree": '# path flow name node_id\n1:1 0.5 "a" 3\n1:2 0.2 "" 5\n2:1 0.3 "c" 4\n',
    "deep.tree": '7:1 1 "a  b" 3\r\n\r\n7:3 0 "# x" 5\r\n5:1 1e-3 "1:2 3 4" 4',
    "links.ftree": '1:1 1 "a" 3\n1:2 0 "*b" 5\n2:1 1 "c" 4\n*Links undirected\n#*x\n1 2 0.5\n',
    "flow.clu": "# node_id module flow\n3 8 0.5\n5 8 0.2\n4 2 0.3\n",
    "short.clu": "# node_id module\n5 8\n4\t2\n3 8",
    "bare.clu": "1\n2\n1\n",
    "pajek.clu": "*Vertices 3\r\n1\r\n2\r\n1\r\n",
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(SPELLINGS[name].encode())
    assert read_partition(path, [3, 4, 5]) == [(0,), (1,), (0,)]
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_partition(packed, np.array([3, 4, 5], np.int32)) == [(0,), (1,), (0,)]


def test_numbers_are_those_of_appearance(tmp_path):
    path = tmp_path / "x.tree"
    path.write_text('4:2:1 0 "" 0\n1:1 0 "" 1\n4:1:1 0 "" 2\n4:2:2 0 "" 3\n01:2 0 "" 4\n')
    assert read_partition(path, range(5)) == [(0, 0), (1,), (0, 1), (0, 0), (1,)]


GOOD = '# x\n1:1 1 "a" 0\n'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.tree", GOOD + '2:1 0 "b" 7\n', "x.tree, line 3: a node_id must be one of the 2 of"),
        ("x.tree", GOOD, "x.tree: a line for every node must be there, none for 1"),
        ("x.tree", "", "x.tree: a line for every node must be there, none for 0"),
        ("x.tree", GOOD + '2:1 0 "b" 0\n', "line 3: a node_id must occur once, got '2:1 0"),
        ("x.tree", GOOD + '2:x 0 "b" 1\n', "line 3: a node must be 'path flow .* got '2:x 0"),
        ("x.tree", GOOD + '2::1 0 "b" 1\n', "line 3: a node must be 'path flow"),
        ("x.tree", GOOD + '2 0 "b" 1\n', "line 3: a node must be 'path flow"),
        ("x.tree", GOOD + "2:1 0 b 1\n", "line 3: a node must be 'path flow"),
        ("x.tree", GOOD + '2:1 0 "b" 1 1\n', "line 3: a node must be 'path flow"),
        ("x.tree", GOOD + '2:1 0 "b" -1\n', "line 3: a node must be 'path flow"),
        ("x.tree", GOOD + '1:2:1 0 "b" 1\n', "line 2: a module must hold nodes or modules, not"),
        ("x.tree", '1:2:1 0 "b" 1\n\n1:1 0 "" 0', "line 3: a module must hold nodes or modules"),
        ("x.clu", "0 1\n1 x\n", "x.clu, line 2: a node must be 'node_id module' or .* got '1 x'"),
        ("x.clu", "0 1 1\n1 1 0.5 1\n", "line 2: a node must be 'node_id module'"),
        ("x.clu", "0 1\n1\n", "line 2: a node must be 'node_id module'"),
        ("x.clu", "0 1\n0 2\n", "line 2: a node_id must occur once"),
        ("x.clu", "0 1\n5 2\n", "line 2: a node_id must be one of the 2"),
        ("x.clu", "0 1\n", "x.clu: a line for every node must be there, none for 1"),
        ("x.clu", "1\n", "a list of modules must have a line for each of the 2 nodes, got 1"),
        ("x.txt", "1\n", "the suffix of .*x.txt must be one of .*tree.*clu"),
    ],
)
def test_malformed_files(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_partition(path, [0, 1])


def test_node_ids_must_be_integers(tmp_path):
    (tmp_path / "x.clu").write_text("1\n")
    with pytest.raises(InputError, match="node_ids must be 1-D integers, got shape"):
        read_partition(tmp_path / "x.clu", [0.5])
    with pytest.raises(FileNotFoundError):
        read_partition(tmp_path / "y.clu", [0])


def small_hierarchy():
    """Modules 1 (with 3 and 4) and 2; the numbers need not be those of a graph."""
    return Hierarchy(
        parent=np.array([-1, 0, 0, 1, 1]),
        flow=np.array([1.0, 0.775, 0.225, 0.425, 0.35]),
        enter=np.array([0.0, 0.125, 0.125, 0.25, 0.0625]),
        exit=np.array([0.0, 0.125, 0.125, 0.25, 0.5]),
        codelength=np.array([0.25, 0.5, 0.25, 0.5, 0.125]),
        leaf=np.array([2, 3, 4, 3, 4, 2]),
    )


def test_json_of_a_hierarchy(tmp_path):
    path = tmp_path / "x.json"
    names = ['quo"te', "b\n", "北京", "\u2028", "e", "f\\"]
    ids = list(range(10, 16))
    write_json(path, small_hierarchy(), FLOW, names, node_ids=ids, directed=True, flow_model="raw")
    text = path.read_bytes().decode("utf-8")
    assert "北京" in text
    document = json.loads(text, parse_constant=pytest.fail)
    entropy = -sum(p * np.log2(p) for p in FLOW)
    saved = document.pop("relativeCodelengthSavings")
    assert saved == pytest.approx(1 - 1.625 / entropy, rel=1e-12)
    nodes, modules = document.pop("nodes"), document.pop("modules")
    assert document == {
        "codelength": 1.625,
        "numLevels": 3,
        "numTopModules": 2,
        "numModules": [2, 2, 0],
        "directed": True,
        "flowModel": "raw",
        "higherOrder": False,
    }
    assert [(node["path"], node["modules"], node["id"]) for node in nodes] == [
        ([1, 1, 1], [1, 1], 11),
        ([1, 1, 2], [1, 1], 13),
        ([1, 2, 1], [1, 2], 14),
        ([1, 2, 2], [1, 2], 12),
        ([2, 1], [2, 3], 15),
        ([2, 2], [2, 3], 10),
    ]
    assert all(node["name"] == names[node["id"] - 10] for node in nodes)
    assert all(node["flow"] == FLOW[node["id"] - 10] for node in nodes)
    keys = ("path", "enterFlow", "exitFlow", "numChildren", "codelength")
    assert [tuple(module[key] for key in keys) for module in modules] == [
        ([0], 0.0, 0.0, 2, 0.25),
        ([1], 0.125, 0.125, 2, 0.5),
        ([1, 1], 0.25, 0.25, 2, 0.5),
        ([1, 2], 0.0625, 0.5, 2, 0.125),
        ([2], 0.125, 0.125, 2, 0.25),
    ]


def test_json_of_the_root_alone(tmp_path):
    one = np.array([1.0])
    root = Hierarchy(np.array([-1]), one, 0 * one, 0 * one, one, np.array([0, 0]))
    write_json(tmp_path / "x.json", root, [0.5, 0.5])
    document = json.loads((tmp_path / "x.json").read_text())
    assert [node["path"] for node in document["nodes"]] == [[1], [2]]
    assert document["numModules"] == [0]
    assert document["relativeCodelengthSavings"] == 0.0
    assert "directed" not in document


def test_json_needs_a_name_and_a_flow_per_node(tmp_path):
    with pytest.raises(InputError, match=r"names must have one entry per node \(6\), got 1"):
        write_json(tmp_path / "x.json", small_hierarchy(), FLOW, ["a"])
    with pytest.raises(InputError, match="flow must be 6 finite numbers"):
        write_json(tmp_path / "x.json", small_hierarchy(), [1.0])
    assert not list(tmp_path.iterdir())


NINE = [(3 * t + a, 3 * t + b) for t in range(9) for a, b in ((0, 1), (1, 2), (0, 2))]
NINE += [(1, 3), (4, 6), (7, 0), (10, 12), (13, 15), (16, 9), (19, 21), (22, 24), (25, 18)]
NINE += [(2, 14), (11, 23), (20, 5)]


@pytest.fixture
def peer():
    """A run of the peer on nine triangles with ids 7, 9, ...: call it with its options."""
    infomap = pytest.importorskip("infomap")

    def run(**options):
        engine = infomap.Infomap(silent=True, num_trials=3, **options)
        engine.add_links([(2 * u + 7, 2 * v + 7) for u, v in NINE])
        engine.set_name(7, "a name with 1:2 blanks")
        engine.run()
        return engine

    return run


def tree_of(engine):
    nodes = sorted((node.node_id, node.path[:-1], node.flow) for node in engine.nodes)
    return [list(column) for column in zip(*nodes, strict=True)]


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:.*3.0")
@pytest.mark.parametrize("flow", ["undirected", "directed"])
def test_what_the_peer_writes(tmp_path, peer, flow):
    engine = peer(flow_model=flow)
    ids, paths, _ = tree_of(engine)
    engine.write_tree(str(tmp_path / "x.tree"))
    engine.write_flow_tree(str(tmp_path / "x.ftree"))
    engine.write_clu(str(tmp_path / "x.clu"))
    assert read_partition(tmp_path / "x.tree", ids) == dense(paths)
    assert max(map(len, paths)) == 2
    assert read_partition(tmp_path / "x.ftree", ids) == dense(paths)
    labels = [label for (label,) in read_partition(tmp_path / "x.clu", ids)]
    assert len(set(zip(labels, (path[0] for path in paths), strict=True))) == len(set(labels))


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:.*3.0")
@pytest.mark.parametrize("flow", ["undirected", "directed"])
def test_the_peer_scores_our_tree_as_its_own(tmp_path, peer, flow):
    engine = peer(flow_model=flow)
    ids, paths, rates = tree_of(engine)
    path = tmp_path / "x.tree"
    write_tree(path, dense(paths), rates, [f"{i} ü:\t'" for i in ids], node_ids=ids)
    again = peer(flow_model=flow, no_infomap=True, cluster_data=str(path))
    assert again.codelength == pytest.approx(engine.codelength, abs=1e-9)
    assert again.num_levels == engine.num_levels
    assert read_partition(path, ids) == dense(paths)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:.*3.0")
def test_json_is_that_of_the_peer(tmp_path, peer):
    engine = peer()
    engine.write_json(str(tmp_path / "peer.json"))
    theirs = json.loads((tmp_path / "peer.json").read_text())
    assert theirs["numLevels"] == 3
    rows = sorted(theirs["modules"], key=lambda row: (len(row["path"]), row["path"]))
    rows = [row for row in rows if row["path"] == [0]] + [r for r in rows if r["path"] != [0]]
    index = {tuple(row["path"]): i for i, row in enumerate(rows)}
    nodes = sorted(theirs["nodes"], key=lambda node: node["id"])
    columns = ("enterFlow", "exitFlow", "codelength")
    enter, leave, bits = (np.array([row[key] for row in rows]) for key in columns)
    hierarchy = Hierarchy(
        parent=np.array([-1, *(index.get(tuple(row["path"][:-1]), 0) for row in rows[1:])]),
        flow=np.ones(len(rows)),
        enter=enter,
        exit=leave,
        codelength=bits,
        leaf=np.array([index[tuple(node["path"][:-1])] for node in nodes]),
    )
    write_json(
        tmp_path / "x.json",
        hierarchy,
        [node["flow"] for node in nodes],
        [node["name"] for node in nodes],
        node_ids=[node["id"] for node in nodes],
        directed=False,
        flow_model="undirected",
    )
    ours = json.loads((tmp_path / "x.json").read_text())
    for key in ("numLevels", "numTopModules", "numModules", "directed", "flowModel"):
        assert ours[key] == theirs[key]
    for key in ("codelength", "relativeCodelengthSavings"):
        assert ours[key] == pytest.approx(theirs[key], abs=1e-4)  # of parts with six digits
    for key in ("nodes", "modules"):
        assert len(ours[key]) == len(theirs[key])
        for row, their_row in zip(ours[key], theirs[key], strict=True):
            assert row == {name: their_row[name] for name in row}


@pytest.mark.slow
def test_a_hundred_thousand_nodes_take_about_a_second(tmp_path):
    rng = np.random.default_rng(0)
    n, path = 100_000, tmp_path / "x.tree"
    paths = [tuple(row) for row in rng.integers(0, 20, (n, 3)).tolist()]
    flow = rng.random(n)
    names = [f"the name of {i}" for i in range(n)]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        write_tree(path, paths, flow, names)
        read = read_partition(path, np.arange(n))
        seconds.append(time.perf_counter() - start)
    assert read == paths
    assert min(seconds) < 3
