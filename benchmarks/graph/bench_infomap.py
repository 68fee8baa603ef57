"""Two-level Infomap against its C++ package, igraph and NetworKit: CPU time and mean code length.

Both sides run one trial per seed on one thread, in turns in one process, so that other work on
the machine meets both alike. Ours is timed from an in-memory array of links to the fitted
estimator; of a peer's, the search alone counts, its links already added. The C++ package scores
each of our results, and the run stops where it does not agree.

``python -m benchmarks.graph.bench_infomap [part of a graph's name]`` with ``KEXUE_SEEDS=2`` is a
quick look; it is not recorded.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from benchmarks.graph.searches import Graph, Search, graphs, search_ours, search_peer, timed
from benchmarks.measuring import Row, first_call_seconds
from kexue.graph import Infomap, map_equation

SEEDS = int(os.environ.get("KEXUE_SEEDS", "10"))
# least ratio; 0 where a search takes milliseconds and only lengths are compared
BARS = {
    "dolphins": 0.0,
    "football": 0.0,
    "polbooks": 0.0,
    "polblogs-directed": 0.0,
    "email-eu-core-directed": 0.0,
    "power-grid": 0.0,
    "hep-th": 0.0,
    "pgp": 0.0,
    "astro-ph": 3.0,
    "facebook-pages": 4.0,
    "facebook-news-sites": 4.0,
    "github-users": 4.0,
    "word-associations-directed": 3.0,
}
# (nodes, mixing): least ratio
LFR_BARS = {
    (100_000, 0.4): 4.0,
    (100_000, 0.55): 3.0,
    (1_000_000, 0.4): 4.0,
    (1_000_000, 0.55): 3.0,
}


def measure(data: Path, only: str = "") -> Iterator[Row]:
    """Yield one row per graph whose name contains `only`, and one against each other package."""
    for graph in graphs(data, only, BARS, LFR_BARS):
        yield against_infomap(graph, levels=2, trials=SEEDS, best=False)
    if only in "facebook-pages igraph":
        yield from against_igraph(data)
    if only in "facebook-news-sites networkit":
        yield from against_networkit(data)


def against_infomap(graph: Graph, levels: Any, trials: int, best: bool) -> Row:
    """Return the row of our mean against the mean or the best of the peer's first `trials`."""
    import infomap

    triangle = np.array([(0, 1), (1, 2), (0, 2)])
    compiled = Infomap(levels=levels, flow=graph.flow, random_state=0)
    first = first_call_seconds(lambda: compiled.fit(triangle))
    ours, peer = [], []
    for seed in range(1, SEEDS + 1):
        found, model = search_ours(graph, seed, levels=levels)
        ours.append(found)
        peer.append(search_peer(graph, seed, levels, score=model))
    quality = f"mean of {SEEDS} against best of {trials}" if best else f"mean of {SEEDS} seeds"
    length = (min if best else fmean)(search.codelength for search in peer[:trials])
    return Row(
        name=f"{'two-level' if levels == 2 else 'multilevel'}, {graph.name}",
        unit="CPU s",
        ours=median(search.seconds for search in ours),
        peer=median(search.seconds for search in peer),
        peer_name=f"infomap {infomap.__version__}",
        bar=graph.bar,
        quality=f"bits, {quality}",
        quality_ours=fmean(search.codelength for search in ours),
        quality_peer=length,
        readme=bool(graph.bar),
        note=" ".join(
            [
                "infomap: num_trials=1, num_threads=1, silent, two_level for two levels; its time",
                "excludes adding the links, ours includes it. It scored every result of ours",
                "alike, to 1e-9 bits.",
                *([f"Our first call took {first:.1f} s."] if first > 1 else []),
                *remarks(graph, ours, peer),
            ]
        ),
    )


def remarks(graph: Graph, ours: list[Search], peer: list[Search]) -> Iterator[str]:
    """Yield what the note says of this graph alone."""
    if graph.bar == 0.0:
        yield (
            "Below 100,000 links the bar is on lengths alone; below 20,000 one of our searches "
            "has several starts, up to ten, and its time is that of all."
        )
    if graph.communities is not None:
        agreement = [
            fmean(mutual_information(graph.communities, search.labels) for search in side)
            for side in (ours, peer)
        ]
        yield (
            f"{graph.name}: {len(graph.links):,} links; normalised mutual information with the "
            f"planted communities {agreement[0]:.6f}, infomap {agreement[1]:.6f}."
        )


def mutual_information(communities: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(communities, labels))


def against_igraph(data: Path) -> Iterator[Row]:
    """Yield the row against igraph's Infomap."""
    import igraph

    for graph in graphs(data, "", {"facebook-pages": 0.0}):
        other = igraph.Graph(edges=graph.links)

        def search(seed: int, other: Any = other) -> tuple[float, np.ndarray]:
            random.seed(seed)  # igraph draws from Python's generator
            seconds, found = timed(lambda: other.community_infomap(trials=1))
            return seconds, np.array(found.membership)

        yield against(graph, f"igraph {igraph.__version__}", "community_infomap(trials=1)", search)


def against_networkit(data: Path) -> Iterator[Row]:
    """Yield the row against NetworKit's search for the same objective."""
    import networkit

    networkit.setNumberOfThreads(1)
    for graph in graphs(data, "", {"facebook-news-sites": 0.0}):
        other = networkit.Graph(int(graph.links.max()) + 1)
        for u, v in graph.links.tolist():
            other.addEdge(u, v)

        def search(seed: int, other: Any = other) -> tuple[float, np.ndarray]:
            networkit.setSeed(seed, False)
            found = networkit.community.LouvainMapEquation(other)
            seconds, _ = timed(found.run)
            return seconds, np.array(found.getPartition().getVector())

        yield against(
            graph,
            f"networkit {version('networkit')}",
            "LouvainMapEquation with its defaults, one thread",
            search,
        )


def against(
    graph: Graph, peer_name: str, call: str, search: Callable[[int], tuple[float, np.ndarray]]
) -> Row:
    """Return the row against a search that returns (CPU seconds, labels) of a seed."""
    ours, peer, scores = [], [], []
    for seed in range(1, SEEDS + 1):
        ours.append(search_ours(graph, seed, levels=2)[0])
        seconds, labels = search(seed)
        peer.append(seconds)
        scores.append(map_equation(graph.links, labels).total)
    package = peer_name.split(maxsplit=1)[0]
    return Row(
        name=f"two-level, {graph.name}, {package}",
        unit="CPU s",
        ours=median(search.seconds for search in ours),
        peer=median(peer),
        peer_name=peer_name,
        quality=f"bits, mean of {SEEDS} seeds",
        quality_ours=fmean(search.codelength for search in ours),
        quality_peer=fmean(scores),
        note=(
            f"{package}: {call}; its time excludes building the graph, ours includes it; both "
            "partitions scored by kexue's map_equation, without teleportation"
        ),
    )


if __name__ == "__main__":
    from benchmarks.__main__ import describe

    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("KEXUE_DATA", root.parent / "shared" / "data"))
    for row in measure(folder, *sys.argv[1:2]):
        print(f"{describe(row)}\n    {row.note}", flush=True)
