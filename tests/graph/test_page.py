"""The page tells what the partition says, asks nobody for anything, and survives hostile names."""

import base64
import dataclasses
import hashlib
import json
import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest

from kexue._core import InputError
from kexue.graph import Infomap, Network
from kexue.graph.flow import entropy, network_flow
from kexue.graph.hierarchy import price_tree
from kexue.graph.layout import (
    arrange,
    crossing_flow,
    groups_of_nodes,
    leading_nodes,
    node_counts,
)
from kexue.graph.page import render_page

HOSTILE = [
    "</script><img src=x onerror=window.hurt=1>",
    "<!--<script>",
    "<a href='https://example.org'>",
    "&lt;b&gt; ${data} $data",
    "]]>\u2028\x00\"'",
    "مرحبا",
    "שלום",
    "👍🏽",
    "\ud800",
]


def given(network, parent, leaf, model="undirected"):
    """Return the arguments of `render_page` for a tree."""
    walk = network_flow(network, model, 0.15)
    tree = price_tree(network, walk, np.asarray(parent), np.asarray(leaf))
    inner, nodes = (
        np.bincount(tree.depth, tree.codelength * kind, tree.n_levels).tolist()
        for kind in (~tree.is_leaf, tree.is_leaf)
    )
    counts = np.bincount(tree.depth).tolist()
    return {
        "hierarchy": tree,
        "network": network,
        "walk": walk,
        "title": "A network",
        "codelength": float(tree.codelength.sum()),
        "one_level_codelength": entropy(walk.node),
        "ledger": list(zip(range(tree.n_levels), counts, inner, nodes, strict=True)),
        "facts": [("seed", "0")],
    }


def cliques(n_cliques, size=5, names=None, directed=False):
    """A ring of cliques, each joined to the next by one link."""
    links = [
        (size * c + i, size * c + j)
        for c in range(n_cliques)
        for i in range(size)
        for j in range(size)
        if (i != j if directed else i < j)
    ]
    links += [(size * c, size * ((c + 1) % n_cliques) + 1) for c in range(n_cliques)]
    source, target = np.array(links).T
    return Network.from_links(source, target, directed=directed, names=names)


def ring_of_cliques(n_cliques=12, per_group=4, **changes):
    """Cliques in groups, so three levels."""
    groups = n_cliques // per_group
    parent = [-1, *[0] * groups, *[1 + c // per_group for c in range(n_cliques)]]
    leaf = np.repeat(np.arange(n_cliques), 5) + 1 + groups
    model = "directed" if changes.get("directed") else "undirected"
    return given(cliques(n_cliques, **changes), parent, leaf, model)


def random_tree(n, branching, directed=False, seed=0):
    rng = np.random.default_rng(seed)
    parent, level = [-1], [0]
    for width in branching:
        nodes = len(level) * width
        first = len(parent)
        parent += np.repeat(level, width).tolist()
        level = list(range(first, first + nodes))
    leaf = np.array(level)[np.sort(rng.integers(0, len(level), n))]
    source = rng.integers(0, n, 3 * n)
    target = (source + rng.integers(1, 50, 3 * n)) % n
    network = Network.from_links(source, target, n_nodes=n, directed=directed)
    return given(network, parent, leaf, "directed" if directed else "undirected")


class Reader(HTMLParser):
    """Collects what a browser would act on: elements, attributes, the text of scripts."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.scripts, self.parts = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        last = self.elements[-1][0] if self.elements else ""
        if last == "script":
            self.scripts[-1] += data
        elif last != "style":
            self.parts.append(data)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.elements.append((f"/{tag}", {}))

    @property
    def data(self):
        return json.loads(self.scripts[0])

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.parts))


@pytest.fixture(scope="module")
def html():
    return render_page(**ring_of_cliques())


def test_sections_stand_in_order(html):
    reader = Reader(html)
    ids = [a["id"] for tag, a in reader.elements if tag in ("header", "section")]
    assert ids == ["top", "nested", "picture", "communities", "ledger", "method"]
    assert ("html", {"lang": "en"}) in reader.elements
    assert len({a["id"] for _, a in reader.elements if "id" in a}) == sum(
        "id" in a for _, a in reader.elements
    )


def test_headline_is_the_arithmetic_of_the_partition(html):
    arguments = ring_of_cliques()
    length, plain = arguments["codelength"], arguments["one_level_codelength"]
    assert plain == pytest.approx(-sum(p * np.log2(p) for p in arguments["walk"].node))
    assert (
        f"60 nodes and 132 links fall into 3 communities in 3 levels: {length:.2f} bits per step "
        f"of the walk, not {plain:.2f}. {100 * (1 - length / plain):.0f} % saved."
    ) in Reader(html).text
    assert "little community structure" not in html


def test_the_ledger_needs_no_script(html):
    arguments = ring_of_cliques()
    rows = re.findall(r'<tr><th scope="row">level (\d)<small>(.*?)</small></th>(.*?)</tr>', html)
    assert [row[1] for row in rows] == ["the whole network", "3 modules", "12 modules"]
    together = [float(re.findall(r"<td>([\d.]+)</td>", row[2])[-1]) for row in rows]
    # two decimals are printed
    expected = [modules + nodes for _, _, modules, nodes in arguments["ledger"]]
    assert together == pytest.approx(expected, abs=0.005)
    assert f"<td>{arguments['codelength']:.2f}</td>" in html


def test_the_table_needs_no_script(html):
    tree = ring_of_cliques()["hierarchy"]
    rows = re.findall(r'<tr data-module="(\d+)">(.*?)</tr>', html)
    assert [row[0] for row in rows] == ["1", "2", "3"]
    for (_, row), module in zip(rows, (1, 2, 3), strict=True):
        values = [float(v) for v in re.findall(r'data-value="([^"]+)"', row)]
        share = tree.exit[module] / tree.flow[module]
        # six digits are printed
        assert values == pytest.approx([module - 1, 20, tree.flow[module], share], rel=1e-5)


def test_a_walk_that_finds_nothing_is_told_so():
    rng = np.random.default_rng(0)
    network = Network.from_links(*rng.integers(0, 200, (2, 4000)), n_nodes=200, directed=False)
    arguments = given(network, [-1, 0, 0], 1 + np.arange(200) % 2)
    arguments["one_level_codelength"] = 1.01 * arguments["codelength"]
    text = Reader(render_page(**arguments)).text
    assert "1.0 % saved" in text
    assert "this network has little community structure" in text
    # longer than without communities: no saving is claimed
    arguments["one_level_codelength"] = 0.9 * arguments["codelength"]
    assert "no division makes a step of the walk cheaper" in Reader(render_page(**arguments)).text


def test_one_module_and_no_links():
    one = given(cliques(3), [-1, 0], np.ones(15, int))
    text = Reader(render_page(**one)).text
    assert "15 nodes and 33 links hold together as one" in text
    nothing = given(Network.from_links([], [], n_nodes=3, directed=False), [-1, 0, 0], [1, 2, 2])
    text = Reader(render_page(**nothing)).text
    assert "3 nodes and 0 links: no walk to describe" in text
    assert (
        "3 nodes are never visited; modules of such nodes alone are not counted as communities."
        in text
    )
    assert "There are none, for there is no walk." in text
    lonely = given(Network.from_links([], [], n_nodes=1, directed=False), [-1, 0], [1])
    assert "1 node and 0 links" in Reader(render_page(**lonely)).text


def test_teleportation_that_is_flow_but_not_drawn_is_named():
    network = cliques(4, directed=True)
    for model, named in (("directed", False), ("recorded", True)):
        page = render_page(**given(network, [-1, 0, 0], 1 + np.arange(20) // 10, model))
        assert ("Teleportation is flow too, but not drawn." in page) is named


def test_a_giant_is_looked_into():
    """One community of nearly all flow says nothing; its parts are what there is to see."""
    network = cliques(40)
    source = np.append(network.source, 200)
    target = np.append(network.target, 201)
    both = Network.from_links(source, target, directed=False)
    leaf = np.append(3 + np.repeat(np.arange(40), 5), [2, 2])
    page = render_page(**given(both, [-1, 0, 0, *[1] * 40], leaf))
    reader = Reader(page)
    assert "fall into 2 communities" in reader.text
    assert "One of the communities, 1, holds" in reader.text
    assert "looks inside it, at its 40 parts" in reader.text
    assert reader.data["within"] == 1
    assert reader.data["modules"]["style"][:5] == [-1, -1, -1, 0, 1]
    assert ">1:40</span>" in page


@pytest.mark.parametrize("directed", [False, True])
def test_data_round_trip(directed):
    arguments = ring_of_cliques(directed=directed)
    tree = arguments["hierarchy"]
    data = Reader(render_page(**arguments)).data
    modules = data["modules"]
    assert data["directed"] is directed
    assert modules["parent"] == tree.parent[1:].tolist()
    # five digits are kept
    assert modules["flow"] == pytest.approx(tree.flow.tolist(), rel=1e-4)
    assert modules["nodes"] == [60, 20, 20, 20, *[5] * 12]
    assert modules["children"] == [12 // 4, 4, 4, 4, *[0] * 12]
    lead = [[data["names"][k] for k in row] for row in modules["lead"]]
    for row, module in zip(lead[4:], range(4, 16), strict=True):
        assert sorted(map(int, row)) == np.flatnonzero(tree.leaf == module).tolist()
    flows = {name: arguments["walk"].node[int(name)] for row in lead for name in row}
    for row in lead:
        assert [flows[name] for name in row] == sorted((flows[n] for n in row), reverse=True)
    # sixty nodes are drawn one by one
    assert len(data["picture"]["at"]) == 60
    total = sum(flow for _, _, flow in data["picture"]["links"])
    assert total == pytest.approx(1.0, rel=1e-4)


def test_only_so_many_modules_and_always_those_around_them():
    arguments = random_tree(20_000, (8, 8, 8))
    data = Reader(render_page(**arguments, max_modules=100)).data
    parent = data["modules"]["parent"]
    assert len(parent) == 100
    assert all(0 <= p <= m for m, p in enumerate(parent))
    assert data["modules"]["children"][0] == 8
    text = Reader(render_page(**arguments, max_modules=100)).text
    assert "Of 584 modules the 100 with most flow can be opened here." in text
    with pytest.raises(InputError, match=r"max_modules must be an int >= 1, got 0"):
        render_page(**arguments, max_modules=0)


def test_hostile_names_stay_text():
    arguments = ring_of_cliques(names=[HOSTILE[i % len(HOSTILE)] for i in range(60)])
    arguments |= {"title": HOSTILE[0], "facts": [(HOSTILE[0], HOSTILE[1])]}
    page = render_page(**arguments)
    page.encode("utf-8")
    reader = Reader(page)
    assert sum(tag == "script" for tag, _ in reader.elements) == 2
    assert not [tag for tag, _ in reader.elements if tag == "img"]
    assert not [a for _, a in reader.elements if any(name.startswith("on") for name in a)]
    assert "<" not in reader.scripts[0]
    names = set(reader.data["names"])
    assert set(HOSTILE[:-1]) <= names
    assert "?" in names  # what has no bytes
    assert HOSTILE[0] in reader.text


def test_same_arguments_same_bytes(html):
    assert render_page(**ring_of_cliques()) == html


def test_no_resource_comes_from_elsewhere(html):
    reader = Reader(html)
    for _, attributes in reader.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:,"))
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import", html)
    policy = next(a["content"] for tag, a in reader.elements if "http-equiv" in a)
    digest = base64.b64encode(hashlib.sha256(reader.scripts[1].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{digest}'")


@pytest.mark.parametrize("letter", ["", "题", "<", "\x01", "👍"])
def test_page_of_a_large_graph_is_small_and_quick(letter):
    arguments = random_tree(200_000, (20, 20, 20))
    if letter:
        names = [f"{letter * 70}{i}" for i in range(200_000)]
        arguments["network"] = dataclasses.replace(arguments["network"], names=names)
    render_page(**arguments | {"max_modules": 1})  # compiles
    start = time.perf_counter()
    page = render_page(**arguments)
    # half a second when quiet; the bar is wide because other work may share the machine
    assert time.perf_counter() - start < 10
    assert len(page.encode("utf-8")) < 1_500_000


# ---- what is drawn, and where


@pytest.mark.parametrize("directed", [False, True])
def test_crossing_flow_is_what_leaves_and_enters(directed):
    arguments = random_tree(500, (6, 3), directed=directed)
    tree, network, walk = (arguments[key] for key in ("hierarchy", "network", "walk"))
    (top,) = np.nonzero(tree.depth == 1)
    between = crossing_flow(network, walk, groups_of_nodes(tree, top), top.size)
    assert not np.diag(between).any()
    if directed:
        assert between.sum(axis=1) == pytest.approx(tree.exit[top])
        assert between.sum(axis=0) == pytest.approx(tree.enter[top])
    else:
        assert not np.tril(between).any()
        # a link that crosses is used both ways
        assert (between + between.T).sum(axis=1) == pytest.approx(2 * tree.exit[top])
    # what is in no group is left out
    some = crossing_flow(network, walk, groups_of_nodes(tree, top[:4]), 4)
    assert some == pytest.approx(between[:4, :4])


def test_groups_counts_and_leaders_of_modules():
    arguments = random_tree(400, (4, 3, 3), seed=1)
    tree, flow = arguments["hierarchy"], arguments["walk"].node
    for depth in range(1, tree.n_levels):
        (level,) = np.nonzero(tree.depth == depth)
        assert np.array_equal(level[groups_of_nodes(tree, level)], tree.at_level(depth))
        assert np.array_equal(
            node_counts(tree)[level],
            np.bincount(tree.at_level(depth), minlength=level[-1] + 1)[level],
        )
        for row, module in zip(leading_nodes(tree, flow, level, 7), level, strict=True):
            members = np.flatnonzero(tree.at_level(depth) == module)
            best = members[np.argsort(-flow[members], kind="stable")][:7]
            assert row[row >= 0].tolist() == best.tolist()


@pytest.mark.parametrize("n", [1, 2, 3, 60, 150])
def test_circles_stand_apart_within_the_box(n):
    rng = np.random.default_rng(n)
    between = np.triu(rng.exponential(1.0, (n, n)) * (rng.random((n, n)) < 0.2), 1)
    radius = np.sqrt(rng.pareto(1.5, n) + 0.1)
    radius *= np.sqrt(0.15 * 1000 * 640 / np.pi / (radius**2).sum())
    radius = np.clip(radius, 3.0, 150.0)
    at = arrange(between, radius, 1000.0, 640.0)
    assert np.isfinite(at).all()
    assert (at >= radius[:, None] - 1e-9).all()
    assert (at <= np.array([1000.0, 640.0]) - radius[:, None] + 1e-9).all()
    gap = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1)) - radius[:, None] - radius
    np.fill_diagonal(gap, 1.0)
    # circles may touch, and overlap by a hair where they are pressed
    assert gap.min() > -1.0


def test_what_exchanges_flow_stands_near():
    """Two cliques joined by one link come out as two clouds."""
    between = np.zeros((20, 20))
    between[:10, :10] = between[10:, 10:] = 1.0
    between[0, 10] = 1.0
    at = arrange(np.triu(between, 1), np.full(20, 8.0), 1000.0, 640.0)
    first, second = at[:10], at[10:]
    apart = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
    spread = max(np.linalg.norm(c - c.mean(axis=0), axis=1).mean() for c in (first, second))
    assert apart > 2 * spread


def test_things_without_any_link_are_placed_too():
    at = arrange(np.zeros((5, 5)), np.full(5, 10.0), 100.0, 60.0)
    assert np.isfinite(at).all()
    assert len(np.unique(at.round(1), axis=0)) == 5


def test_flows_that_differ_by_hundreds_of_decades():
    links = [(0, 1, 1.0), (2, 3, 1e-158), (3, 4, 1e-158), (1, 5, 1.0)]
    assert "</html>" in Infomap(random_state=0).fit(links).to_html()
