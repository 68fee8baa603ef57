"""What was tried to make the two-level search faster and not kept; prints the figures of the page.

``python -m benchmarks.graph.choosing``: merging nodes with one link before the search, and the
order of nodes in memory, each with CPU seconds and bits of the two passes of ``quality="fast"``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks.graph.lfr import lfr_graph
from kexue.graph import Network, as_network, read_graph
from kexue.graph._infomap_kernels import GAIN, aggregate, renumber, search
from kexue.graph._problem import Problem, search_problem
from kexue.graph.flow import entropy, network_flow

SEEDS = 5
GRAPHS = ("facebook-pages", "github-users", "word-associations-directed", "pgp")


def main() -> None:
    """Print both comparisons."""
    root = Path(__file__).resolve().parents[2]
    data = Path(os.environ.get("KEXUE_DATA", root.parent / "shared" / "data"))
    print("nodes with one link merged with their neighbour before the search")
    for name in GRAPHS:
        path = data / "graphs" / f"{name}.edges.tsv.gz"
        if path.exists():
            network = read_graph(path, directed=name.endswith("directed"), weight=False)
            problem, bits = problem_of(network)
            one_search(problem, bits, 0)  # compiles
            without_leaves(problem.graph)
            begin = time.process_time()
            merged = problem._replace(graph=without_leaves(problem.graph))
            cost = time.process_time() - begin
            for what, each in (("as they are", problem), ("merged", merged)):
                found = [one_search(each, bits, seed) for seed in range(1, SEEDS + 1)]
                seconds, lengths = zip(*found, strict=True)
                print(f"  {name}, {what}: {fmean(seconds):.4f} s, {fmean(lengths):.5f} bits")
            print(f"  {name}, merging: {cost:.4f} s")
    print("order of nodes in memory, LFR graph of 10 M links, mu 0.4")
    links, communities = lfr_graph(1_000_000, 0.4, seed=1)
    degree = np.bincount(links.ravel())
    for what, order in (
        ("shuffled", np.arange(degree.size)),
        ("by degree", np.argsort(-degree, kind="stable")),
        ("planted communities together", np.argsort(communities, kind="stable")),
    ):
        place = np.empty_like(order)
        place[order] = np.arange(order.size)
        problem, bits = problem_of(as_network(place[links], directed=False))
        print(f"  {what}: {one_search(problem, bits, 1)[0]:.2f} s")


def problem_of(network: Network) -> tuple[Problem, float]:
    """Return what is searched, and the bits per step without modules."""
    flow = "directed" if network.directed else "undirected"
    walk = network_flow(network, flow, 0.15)
    return search_problem(network, walk), entropy(walk.node)


def one_search(problem: Problem, bits: float, seed: int) -> tuple[float, float]:
    """Return (CPU seconds, bits per step)."""
    graph, directed, node_term, total = problem
    nowhere, stop = np.empty(0, np.uint32), np.zeros(1, np.uint8)
    state = np.array([seed], np.uint64)
    effort = (1, 2, 1e-5 * bits * total)
    begin = time.process_time()
    length = search(graph, directed, 0.0, node_term, GAIN * total, nowhere, state, effort, stop)[1]
    return time.process_time() - begin, length / total


def without_leaves(graph: tuple) -> tuple:
    """Return the graph with every node of one link made part of its neighbour."""
    indptr, indices = graph[0], graph[1]
    degree = np.diff(indptr)
    leaves = np.flatnonzero(degree == 1)
    neighbours = indices[indptr[leaves]]
    kept = degree[neighbours] > 1  # of a lone pair, neither is
    groups = np.arange(degree.size).astype(np.uint32)
    groups[leaves[kept]] = neighbours[kept]
    return aggregate(graph, groups, renumber(groups))


if __name__ == "__main__":
    main()
