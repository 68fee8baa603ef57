"""The figure of docs/graph/infomap.md: searches of three packages, and the levels of a graph.

``python -m benchmarks.graph.figure [out.png]`` needs the extra ``plot`` and half a minute. Times
are of the run, on one thread, compiled; ours begin with the array of links, those of the others
with their own graph object.
"""

from __future__ import annotations

import csv
import gzip
import random
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.drawing import (
    BLUE,
    GREEN,
    ORANGE,
    PAPER,
    RED,
    ROOT,
    SOFT,
    data_folder,
    heading,
    styled,
)
from benchmarks.graph.searches import Graph, graphs, search_ours, search_peer, timed
from kexue.graph import Infomap

NAME = "facebook-pages"
SEEDS = range(1, 11)
LEVELS = 3
HUES = (
    *(BLUE, ORANGE, GREEN, RED, "#67b3de"),
    *("#7a3b8f", "#9c9a1e", "#d383ab", "#2f3f6f", "#8a5a33", "#8f8a80"),
)
STYLES = (  # marker, colour, filled
    ("o", HUES[0], True),
    ("o", HUES[0], False),
    ("s", HUES[3], True),
    ("^", HUES[6], True),
)
BARE = 0.0035  # flow below which a block has no border
PAGES = 3  # named per block
LINE_POINTS = 9.2


class Block(NamedTuple):
    """A module in the right panel."""

    level: int
    top: float
    flow: float
    hue: int
    pages: list[str]


def main(path: Path) -> None:
    data = data_folder()
    graph = next(iter(graphs(data, NAME, {NAME: 0.0})))
    names = page_names(data / "graphs" / f"{NAME}.nodes.tsv.gz")
    with styled() as plt:
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(9.6, 5.4), width_ratios=(1, 1.6), facecolor=PAPER
        )
        draw_trials(left, trials(graph))
        draw_levels(right, Infomap(random_state=1).fit(graph.links), names)
        figure.subplots_adjust(0.078, 0.1, 0.99, 0.875, wspace=0.1)
        figure.savefig(path, dpi=200)


def page_names(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [row["name"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def trials(graph: Graph) -> list[list[tuple[float, float]]]:
    """Return (CPU seconds, bits) of each two-level trial, in the order of `STYLES`."""
    import igraph

    other = igraph.Graph(edges=graph.links)
    for quality in ("fast", "best"):  # compiles
        search_ours(graph, 0, levels=2, quality=quality)
    searches: list[list[tuple[float, float]]] = [[], [], [], []]
    for seed in SEEDS:
        fast, best = (
            search_ours(graph, seed, levels=2, quality=quality)[0] for quality in ("fast", "best")
        )
        for rows, search in zip(searches, (fast, best, search_peer(graph, seed, 2)), strict=False):
            rows.append((search.seconds, search.codelength))
        random.seed(seed)  # igraph draws from Python's generator
        seconds, found = timed(lambda: other.community_infomap(trials=1))
        searches[3].append((seconds, found.codelength))
    for label, rows in zip(labels(), searches, strict=True):
        seconds, bits = np.transpose(rows)
        print(f"{label}: median {np.median(seconds):.3f} CPU s, mean {bits.mean():.5f} bits")
    return searches


def labels() -> tuple[str, ...]:
    """Return what the entries of `STYLES` are called."""
    peers = (f"{name} {metadata.version(name)}" for name in ("infomap", "igraph"))
    return ("kexue, fast", "kexue, best", *peers)


def draw_trials(axes: Any, searches: list[list[tuple[float, float]]]) -> None:
    from matplotlib.ticker import NullFormatter

    for label, (marker, hue, filled), rows in zip(labels(), STYLES, searches, strict=True):
        axes.plot(
            *zip(*rows, strict=True),
            marker,
            ms=5.5,
            mec=PAPER if filled else hue,
            mfc=hue if filled else "none",
            mew=0.5 if filled else 1.2,
            label=label,
        )
    axes.set_facecolor(PAPER)
    axes.set_xscale("log")
    spread = [seconds for rows in searches for seconds, _ in rows]
    axes.set_xlim(min(spread) / 1.5, max(spread) * 1.5)
    ticks = [t for t in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if min(spread) / 1.5 < t]
    ticks = [t for t in ticks if t < 1.5 * max(spread)]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("CPU time of a search (s, one thread)")
    axes.set_ylabel("code length (bits per step)")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.08), handletextpad=0.1)
    heading(axes, "Two levels: length and time of a search", f"{len(SEEDS)} seeds each", size=9)


def draw_levels(axes: Any, model: Infomap, names: list[str]) -> None:
    """Draw modules as blocks, a column per level, and what the codes of the level cost."""
    from matplotlib.patches import Rectangle

    axes.set_xlim(0, LEVELS)
    axes.set_ylim(1, 0)
    axes.axis("off")
    for block in blocks(model, names):
        share = (0.6, 0.4, 0.26)[block.level - 1]
        colour = mixed(HUES[block.hue], share)
        x = block.level - 1
        width = 0.6 if block.flow >= BARE else 0.0
        axes.add_patch(Rectangle((x, block.top), 0.985, block.flow, fc=colour, ec=PAPER, lw=width))
        write_inside(axes, block, x)
    rows = model.ledger()
    for level in range(1, LEVELS + 1):
        bits = rows[level].naming_modules + rows[level].naming_nodes
        count = f"level {level}: {rows[level].modules:,} modules"
        axes.text(level - 1, 1.012, count, va="top", color=SOFT)
        axes.text(level - 1, 1.05, f"{bits:.2f} bits per step", va="top", fontweight="bold")
    heading(
        axes,
        f"All levels: {model.codelength_:.2f} bits per step",
        f"{model.one_level_codelength_:.2f} without modules; {rows[0].naming_modules:.2f} name the "
        "module of level 1; height: share of the walk",
        size=9,
    )
    for row in rows:
        print(row)


def blocks(model: Infomap, names: list[str]) -> list[Block]:
    """Return the modules of the upper levels, each with the pages that the walk visits most."""
    tree = model.hierarchy_
    pages: list[list[str]] = [[] for _ in range(tree.n_modules)]
    for node in np.argsort(-model.flow_, kind="stable").tolist():
        module = int(tree.leaf[node])
        while module > 0:
            if len(pages[module]) < PAGES:
                pages[module].append(names[node])
            module = int(tree.parent[module])
    top, used = np.zeros(tree.n_modules), np.zeros(tree.n_modules)
    hue = np.arange(tree.n_modules) - 1
    found = []
    for module in range(1, tree.n_modules):
        parent, level = int(tree.parent[module]), int(tree.depth[module])
        flow = float(tree.flow[module])
        if level > LEVELS:
            break
        top[module] = top[parent] + used[parent]
        used[parent] += flow
        if level > 1:
            hue[module] = hue[parent]
        colour = min(int(hue[module]), len(HUES) - 1)
        found.append(Block(level, float(top[module]), flow, colour, pages[module]))
    return found


def write_inside(axes: Any, block: Block, x: float) -> None:
    """Write as many pages as the block has room for, a line each."""
    extent = axes.get_window_extent()
    line = LINE_POINTS / 72 * axes.get_figure().dpi
    count = min(len(block.pages), int((block.flow * extent.height + 1.0) / line))
    room = extent.width / LEVELS * 0.95
    for k, page in enumerate(block.pages[:count]):
        y = block.top + block.flow / 2 + (k - (count - 1) / 2) * line / extent.height
        text = axes.text(x + 0.02, y, page, va="center_baseline", fontsize=7.5)
        while (width := text.get_window_extent().width) > room:
            page = page[: min(len(page) - 1, int(len(page) * room / width) + 1)].rstrip()
            text.set_text(f"{page}…")


def mixed(colour: str, share: float) -> tuple[float, ...]:
    """Return the colour with paper added."""
    from matplotlib.colors import to_rgb

    pairs = zip(to_rgb(colour), to_rgb(PAPER), strict=True)
    return tuple(share * a + (1 - share) * b for a, b in pairs)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "graph" / "infomap.png")
