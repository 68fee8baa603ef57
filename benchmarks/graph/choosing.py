"""What was tried to make the two-level search faster and not kept; prints the figures of the page.

``python -m benchmarks.graph.choosing``: merging nodes with one link, or chains of nodes with two,
before the search, and the order of nodes in memory, each with CPU seconds and bits of the two
passes of ``quality="fast"``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import fmean, median

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from benchmarks.graph.lfr import lfr_graph
from kexue.graph import Network, as_network, read_graph
from kexue.graph._infomap_kernels import GAIN, aggregate, renumber, search
from kexue.graph._problem import Problem, search_problem
from kexue.graph.flow import entropy, network_flow

SEEDS = 10
GRAPHS = ("facebook-pages", "github-users", "word-associations-directed", "pgp", "power-grid")


def main() -> None:
    """Print both comparisons."""
    root = Path(__file__).resolve().parents[2]
    data = Path(os.environ.get("KEXUE_DATA", root.parent / "shared" / "data"))
    print("nodes merged before the search")
    for name in GRAPHS:
        path = data / "graphs" / f"{name}.edges.tsv.gz"
        if path.exists():
            compare_merging(
                name, read_graph(path, directed=name.endswith("directed"), weight=False)
            )
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


def compare_merging(name: str, network: Network) -> None:
    """Print what a search takes and finds on a graph as it is, without leaves, without chains."""
    problem, bits = problem_of(network)
    one_search(problem, bits, 0)  # compiles
    problems, remarks = {"as it is": problem}, {"as it is": ""}
    for groups_of in (leaves, chains):
        groups_of(problem.graph)  # compiles
        begin = time.process_time()
        groups = groups_of(problem.graph)
        merged = aggregate(problem.graph, groups, renumber(groups))
        cost = time.process_time() - begin
        fewer = len(problem.graph[0]) - len(merged[0])
        problems[groups_of.__name__] = problem._replace(graph=merged)
        remarks[groups_of.__name__] = f"; {fewer} nodes fewer, merging {cost:.4f} s"
    found: dict[str, list[tuple[float, float]]] = {what: [] for what in problems}
    for seed in range(1, SEEDS + 1):
        for what, each in problems.items():
            found[what].append(one_search(each, bits, seed))
    for what, remark in remarks.items():
        seconds, lengths = zip(*found[what], strict=True)
        print(f"  {name}, {what}: {median(seconds):.4f} s, {fmean(lengths):.5f} bits{remark}")


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


def leaves(graph: tuple) -> np.ndarray:
    """Return groups that join every node of one link with its neighbour."""
    indptr, indices = graph[0], graph[1]
    degree = np.diff(indptr)
    found = np.flatnonzero(degree == 1)
    neighbours = indices[indptr[found]]
    kept = degree[neighbours] > 1  # of a lone pair, neither is
    groups = np.arange(degree.size).astype(np.uint32)
    groups[found[kept]] = neighbours[kept]
    return groups


def chains(graph: tuple) -> np.ndarray:
    """Return groups that join neighbours which both have two links."""
    indptr, indices = graph[0], graph[1]
    two = np.flatnonzero(np.diff(indptr) == 2)
    place = np.full(indptr.size - 1, -1)
    place[two] = np.arange(two.size)
    ends = place[indices[indptr[two][:, None] + np.arange(2)]]
    begins, sides = np.nonzero(ends >= 0)
    links = coo_array((np.ones(begins.size), (begins, ends[begins, sides])), (two.size, two.size))
    part = connected_components(links, directed=False)[1]
    groups = np.arange(indptr.size - 1).astype(np.uint32)
    first = np.unique(part, return_index=True)[1]
    groups[two] = two[first[part]]
    return groups


if __name__ == "__main__":
    main()
