"""The page of a partition: one self-contained HTML file that explains the modules of a network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from kexue._core import check_int
from kexue._core.html import embedded_json, markup, render, tag
from kexue.graph.flow import Walk
from kexue.graph.hierarchy import Hierarchy
from kexue.graph.layout import (
    arrange,
    crossing_flow,
    groups_of_nodes,
    leading_nodes,
    node_counts,
)
from kexue.graph.network import Network

SOLID, STYLES = 10, 20  # communities drawn filled, and all with a style of their own; see page.css
_CIRCLES = 60
_NODES_DRAWN = 150  # a graph of this many nodes at most is drawn node by node
_NODE_LINKS = 2_000
_ROWS = 100
_NAMES = 10
_NAMES_IN_ROW = 6
_NAMED_IN_FULL = 600  # modules with most flow that show _NAMES names; the others show half
_NAME_BYTES = 700_000
_NAME_LENGTHS = (80, 60, 45, 34, 26, 20, 15, 11, 8, 5)
_GIANT = 0.9  # of the flow: a module larger than this is looked into at once
_LITTLE = 0.05
_BOX = 1000.0, 640.0
_FILLED = 0.17  # of the box, by circles


@dataclass(frozen=True)
class _Scene:
    """What the parts of the page share: the tree, and the modules that go by "community"."""

    tree: Hierarchy
    network: Network
    walk: Walk
    counts: NDArray[np.int64]  # nodes in each module
    within: int  # the module whose children are the communities: the root, or a giant
    communities: NDArray[np.int64]

    @property
    def top(self) -> int:
        """Number of top modules that the walk visits."""
        return int(np.count_nonzero(self.tree.flow[self.tree.depth == 1]))

    def name(self, node: int) -> str:
        if self.network.names is not None:
            return self.network.names[node]
        return str(node if self.network.ids is None else self.network.ids[node])

    def number(self, module: int) -> str:
        """Return the path of a module as ``.tree`` files write it."""
        path: list[str] = []
        while module > 0:
            path.append(str(self.tree.rank[module] + 1))
            module = int(self.tree.parent[module])
        return ":".join(reversed(path))


def render_page(
    hierarchy: Hierarchy,
    network: Network,
    walk: Walk,
    *,
    title: str,
    codelength: float,
    one_level_codelength: float,
    ledger: Sequence[tuple[int, int, float, float]],
    facts: Sequence[tuple[str, str]],
    max_modules: int = 3000,
) -> str:
    """Return the page as one HTML document that asks no host for anything.

    Parameters
    ----------
    hierarchy : Hierarchy
    network : Network
        Names may be any text: they reach the document as escaped text or as JSON only.
    walk : Walk
        The flow that the hierarchy was made for.
    title : str
    codelength, one_level_codelength : float
        Bits per step with the modules and without.
    ledger : sequence of (level, modules, naming_modules, naming_nodes)
        Rows of `Infomap.ledger`.
    facts : sequence of (name, value)
        Arguments, versions, seed.
    max_modules : int
        Modules that can be opened on the page, those with most flow; bounds its size.

    Returns
    -------
    str
        The same arguments give the same text, byte for byte.
    """
    check_int("max_modules", max_modules, minimum=1)
    scene = _scene(hierarchy, network, walk)
    kept = _kept(hierarchy, max_modules)
    place = np.full(hierarchy.n_modules, -1)
    place[kept] = np.arange(kept.size)
    return render(
        "kexue.graph",
        title=title,
        data=_data(scene, kept, place, ledger),
        headline=markup(
            tag("p", *_headline(scene, codelength, one_level_codelength), class_="headline")
        ),
        remarks=" ".join(_remarks(scene, codelength, one_level_codelength)),
        bars=markup(*_bars(ledger, codelength, one_level_codelength)),
        ledger=markup(*_ledger(ledger, codelength, one_level_codelength)),
        icicle=_icicle_caption(scene, kept.size),
        picture=_picture_caption(scene),
        communities=_table_lede(scene),
        rows=markup(*_rows(scene, place)),
        facts=markup(*(tag("tr", tag("th", k, scope="row"), tag("td", v)) for k, v in facts)),
    )


def _scene(tree: Hierarchy, network: Network, walk: Walk) -> _Scene:
    within = 0
    while True:
        (children,) = np.nonzero((tree.parent == within) & (tree.flow > 0.0))
        if not children.size or tree.flow[children[0]] < _GIANT * tree.flow[0]:
            break
        if tree.is_leaf[children[0]]:
            break
        within = int(children[0])
    return _Scene(tree, network, walk, node_counts(tree), within, children)


def _kept(tree: Hierarchy, most: int) -> NDArray[np.int64]:
    """Return the modules with most flow, the root first; with a module, all around it."""
    # a module never has more flow than the one around it, whose number is smaller
    order = np.argsort(-tree.flow, kind="stable")[: most + 1]
    return np.sort(order[(tree.flow[order] > 0.0) | (order == 0)])


# ---- the data of the figures


def _data(
    scene: _Scene,
    kept: NDArray[np.int64],
    place: NDArray[np.int64],
    ledger: Sequence[tuple[int, int, float, float]],
) -> dict[str, Any]:
    tree = scene.tree
    lead = leading_nodes(tree, scene.walk.node, kept, _NAMES)
    small = np.argsort(np.argsort(-tree.flow[kept], kind="stable")) >= _NAMED_IN_FULL
    lead[small, _NAMES // 2 :] = -1
    picture, drawn = _picture(scene, place)
    nodes = np.unique(np.append(lead[lead >= 0], drawn))
    children = np.bincount(tree.parent[1:], minlength=tree.n_modules)
    style = _styles(scene)
    return {
        "directed": scene.network.directed,
        "within": max(int(place[scene.within]), 0),
        "levels": [[modules, _short(a + b)] for _, modules, a, b in ledger],
        "modules": {
            "parent": place[tree.parent[kept]].tolist()[1:],
            "flow": [_short(x) for x in tree.flow[kept].tolist()],
            "leave": [_short(x) for x in _share_leaving(tree, kept).tolist()],
            "nodes": scene.counts[kept].tolist(),
            "children": children[kept].tolist(),
            "style": style[kept].tolist(),
            "lead": [np.searchsorted(nodes, row[row >= 0]).tolist() for row in lead],
        },
        "names": _short_names([scene.name(i) for i in nodes.tolist()]),
        "visits": [_short(x) for x in scene.walk.node[nodes].tolist()],
        "picture": picture | {"nodes": np.searchsorted(nodes, drawn).tolist()},
    }


def _short(value: float) -> float:
    """Return the value with five digits, which are more than a screen has pixels."""
    return float(f"{value:.5g}")


def _short_names(names: list[str]) -> list[str]:
    """Return the names, the long ones cut, so that all of them take a bounded number of bytes."""
    for longest in _NAME_LENGTHS:
        cut = [n if len(n) <= longest else n[: longest - 1] + "…" for n in names]
        if len(embedded_json(cut).encode("utf-8", "replace")) <= _NAME_BYTES:
            break
    return cut


def _share_leaving(tree: Hierarchy, modules: NDArray[np.int64]) -> NDArray[np.float64]:
    flow = tree.flow[modules]
    return np.where(flow > 0.0, tree.exit[modules], 0.0) / np.where(flow > 0.0, flow, 1.0)


def _styles(scene: _Scene) -> NDArray[np.int64]:
    """Return the style of every module: that of the community around it, -1 outside of them."""
    tree = scene.tree
    style = np.full(tree.n_modules, -1)
    style[scene.communities] = np.minimum(np.arange(scene.communities.size), STYLES)
    for depth in range(2, tree.n_levels):
        (level,) = np.nonzero(tree.depth == depth)
        style[level] = np.maximum(style[level], style[tree.parent[level]])
    return style


def _picture(scene: _Scene, place: NDArray[np.int64]) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Return the map of communities or nodes, and the nodes drawn on it."""
    tree, n = scene.tree, scene.tree.n_nodes
    if n <= _NODES_DRAWN:
        drawn = np.arange(n)
        group, flow, most = drawn, scene.walk.node, _NODE_LINKS
        module = place[tree.leaf]
        if not flow.any():
            return {"at": [], "links": [], "box": _BOX}, drawn[:0]
        module[module < 0] = 0
    else:
        shown = scene.communities[:_CIRCLES]
        shown = shown[place[shown] >= 0]
        if not shown.size:
            return {"at": [], "links": [], "box": _BOX}, shown
        group, flow, most = groups_of_nodes(tree, shown), tree.flow[shown], _CIRCLES**2
        drawn, module = shown[:0], place[shown]
    between = crossing_flow(scene.network, scene.walk, group, flow.size)
    width, height = _BOX
    radius = np.sqrt(flow / flow.sum() * _FILLED * width * height / np.pi)
    # one that fills the picture leaves no place to stand
    radius = np.clip(radius, 4.0, 0.24 * height)
    if n <= _NODES_DRAWN:
        radius = np.clip(0.75 * radius, 5.0, 0.1 * height)
    at = arrange(between, radius, width, height)
    a, b = np.nonzero(between)
    strongest = np.argsort(-between[a, b], kind="stable")[:most]
    links = [[int(a[k]), int(b[k]), _short(between[a[k], b[k]])] for k in strongest.tolist()]
    circles = np.column_stack([at, radius]).round(1)
    return {
        "at": [[*row, int(m)] for row, m in zip(circles.tolist(), module.tolist(), strict=True)],
        "links": links,
        "box": _BOX,
    }, drawn


# ---- the parts that need no script


def _count(n: int, noun: str, plural: str = "") -> str:
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def _bits(value: float) -> str:
    return "< 0.01" if 0.0 < value < 0.005 else f"{value:.2f}"


def _percent(share: float) -> str:
    digits = 0 if share >= 0.0995 else 1
    if 0.0 < share < 0.0005:
        return "< 0.1\u00a0%"
    return f"{100 * share:.{digits}f}\u00a0%"


def _saved(codelength: float, one_level: float) -> float:
    return 1.0 - codelength / one_level if one_level > 0.0 else 0.0


def _headline(scene: _Scene, codelength: float, one_level: float) -> list[Any]:
    """Return the sentence at the top; what stands between stars is large."""
    network, levels = scene.network, scene.tree.n_levels
    size = f"*{network.n_nodes:,}* {'node' if network.n_nodes == 1 else 'nodes'}"
    if one_level <= 0.0:
        text = f"{size} and *{network.n_links:,}* {_plural('link', network)}: no walk to describe."
    elif scene.top < 2 or codelength >= one_level:
        text = (
            f"{size} and *{network.n_links:,}* {_plural('link', network)} hold together as one: "
            f"no division makes a step of the walk cheaper than *{_bits(one_level)}* bits."
        )
    else:
        text = (
            f"{size} and *{network.n_links:,}* {_plural('link', network)} fall into "
            f"*{scene.top:,}* communities{f' in *{levels}* levels' if levels > 2 else ''}: "
            f"*{_bits(codelength)}* bits per step of the walk, not *{_bits(one_level)}*. "
            f"*{_percent(_saved(codelength, one_level))}* saved."
        )
    return [tag("b", part) if k % 2 else part for k, part in enumerate(text.split("*"))]


def _plural(noun: str, network: Network) -> str:
    return noun if network.n_links == 1 else noun + "s"


def _remarks(scene: _Scene, codelength: float, one_level: float) -> Iterator[str]:
    """Say in plain sentences what the numbers do not say by themselves."""
    saved = _saved(codelength, one_level)
    if scene.top > 1 and one_level > 0.0 and saved < _LITTLE:
        yield (
            "<strong>So little is saved that this network has little community structure: "
            "the groups below are faint, and another run may draw them elsewhere.</strong>"
        )
    if scene.within:
        share = _percent(float(scene.tree.flow[scene.within] / scene.tree.flow[0]))
        share = share if share != "100\u00a0%" else "nearly all"
        yield (
            f"One of the communities, {scene.number(scene.within)}, holds {share} of the walk; the "
            f"others are islands. What follows therefore looks inside it, at its "
            f"{_count(scene.communities.size, 'part')}."
        )
    never = int(np.count_nonzero(scene.walk.node == 0.0))
    if never:
        empty = int(np.count_nonzero(scene.tree.depth == 1)) - scene.top
        note = "; modules of such nodes alone are not counted as communities" if empty else ""
        yield f"{_count(never, 'node')} {'is' if never == 1 else 'are'} never visited{note}."


def _bars(
    ledger: Sequence[tuple[int, int, float, float]], codelength: float, one_level: float
) -> Iterator[ET.Element]:
    """Return two bars, the description without communities and with them, level by level."""
    scale = max(codelength, one_level) or 1.0
    without = tag("div", tag("i", class_="plain", style=f"width:{one_level / scale:.3%}"))
    parts = [
        tag("i", class_="names" if nodes > modules else "index", style=f"width:{x / scale:.3%}")
        for _, _, modules, nodes in ledger
        if (x := modules + nodes) / scale > 0.0005
    ]
    for name, bar, value in (
        ("without communities", without, one_level),
        ("with communities", tag("div", *parts), codelength),
    ):
        bar.set("class", "bar")
        yield tag("dt", name, " ", tag("b", f"{_bits(value)} bits"))
        yield tag("dd", bar)


def _ledger(
    ledger: Sequence[tuple[int, int, float, float]], codelength: float, one_level: float
) -> Iterator[ET.Element]:
    for level, modules, naming_modules, naming_nodes in ledger:
        what = "the whole network" if level == 0 else _count(modules, "module")
        figures = (naming_modules, naming_nodes, naming_modules + naming_nodes)
        yield tag(
            "tr",
            tag("th", f"level {level}", tag("small", what), scope="row"),
            *(tag("td", _bits(x) if x > 0.0 else "–") for x in figures),
        )
    for name, note, value in (
        ("all levels", "what a step costs", codelength),
        ("one level", "the same walk without communities", one_level),
    ):
        head = tag("th", name, tag("small", note), scope="row")
        yield tag("tr", head, tag("td"), tag("td"), tag("td", _bits(value)), class_="sum")


def _icicle_caption(scene: _Scene, kept: int) -> str:
    total = int(np.count_nonzero(scene.tree.flow[1:]))
    if kept - 1 >= total:
        return ""
    return f"Of {total:,} modules the {kept - 1:,} with most flow can be opened here."


def _picture_caption(scene: _Scene) -> str:
    n, many = scene.tree.n_nodes, scene.communities.size
    if n <= _NODES_DRAWN:
        what = "Every node of the network, in the colour of its community; area is flow."
    else:
        some = f"the {_CIRCLES} of {many:,} communities with most flow"
        what = f"Circles are {'all communities' if many <= _CIRCLES else some}; area is flow."
    lines = (
        "Arrows are as wide as the flow along them."
        if scene.network.directed
        else "Lines are as wide as the flow between their ends, both ways together."
    )
    jumps = "" if not scene.walk.leave.size else " Teleportation is flow too, but not drawn."
    return f"{what} {lines}{jumps}"


def _table_lede(scene: _Scene) -> str:
    many = scene.communities.size
    inside = f" inside {scene.number(scene.within)}" if scene.within else ""
    if many > _ROWS:
        return f"The {_ROWS} of {many:,} communities{inside} with most flow."
    if many == 0:
        return "There are none, for there is no walk."
    return f"All {many:,} communities{inside}." if many > 1 else f"One community{inside}."


def _rows(scene: _Scene, place: NDArray[np.int64]) -> Iterator[ET.Element]:
    tree = scene.tree
    shown = scene.communities[:_ROWS]
    leave = _share_leaving(tree, shown)
    lead = leading_nodes(tree, scene.walk.node, shown, _NAMES_IN_ROW)
    for rank, (module, away) in enumerate(zip(shown.tolist(), leave.tolist(), strict=True)):
        names: list[Any] = []
        for node in lead[rank][lead[rank] >= 0].tolist():
            names += [" "] if names else []  # the style sheet puts a dot there
            names.append(tag("bdi", _short_names([scene.name(node)])[0], lang=""))
        share, size = float(tree.flow[module]), int(scene.counts[module])
        chip = tag("span", scene.number(module), class_=f"number s{min(rank, STYLES)}")
        yield tag(
            "tr",
            tag("th", chip, scope="row", data_value=rank),
            tag("td", f"{size:,}", data_value=size, class_="n"),
            tag("td", _percent(share), data_value=f"{share:.6g}", class_="n"),
            tag("td", _percent(away), data_value=f"{away:.6g}", class_="n"),
            tag("td", *names, class_="names", translate="no"),
            data_module=place[module],
        )
