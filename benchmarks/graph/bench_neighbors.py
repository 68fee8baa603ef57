"""Graphs of nearest neighbours: exact ones against the approximate ones of pynndescent.

Both on one thread, from an array of vectors to all neighbours, pynndescent's index included.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.measuring import Row, cpu_seconds
from kexue.graph import knn_graph

DIMENSIONS, NEIGHBOURS = 100, 50


def measure(data: Path) -> Iterator[Row]:
    """Yield a row per number of vectors; the data sets are not needed."""
    from pynndescent import NNDescent

    def approximate(vectors: np.ndarray) -> np.ndarray:
        index = NNDescent(
            vectors, metric="cosine", n_neighbors=NEIGHBOURS + 1, n_jobs=1, random_state=0
        )
        return index.neighbor_graph[0]

    approximate(groups_of_vectors(2_000))  # compiles
    note = (
        f"float32 vectors of {DIMENSIONS} dimensions around n / 40 centres; pynndescent: "
        "metric='cosine', n_jobs=1, index built anew; recall is that of the exact neighbours"
    )
    for n in (10_000, 30_000):
        vectors = groups_of_vectors(n)
        peer, found = cpu_seconds(lambda v=vectors: approximate(v), 3)
        truth = knn_graph(vectors, NEIGHBOURS, 0.0)
        for exact in (True, False):
            ours, graph = cpu_seconds(
                lambda v=vectors, e=exact: knn_graph(v, NEIGHBOURS, 0.0, exact=e), 3
            )
            yield Row(
                f"{NEIGHBOURS} nearest of {n:,} vectors, {'exact' if exact else 'by cells'}",
                "CPU s",
                ours,
                peer,
                f"pynndescent {version('pynndescent')}",
                quality="recall",
                quality_ours=graph.multiply(truth != 0).nnz / truth.nnz,
                quality_peer=recall(truth, found),
                better="higher",
                note=note,
            )


def groups_of_vectors(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n // 40, DIMENSIONS))
    vectors = centres[rng.integers(0, len(centres), n)] + 0.8 * rng.normal(size=(n, DIMENSIONS))
    return vectors.astype(np.float32)


def recall(graph: object, found: np.ndarray) -> float:
    """Return the part of the true neighbours that were found."""
    rows = np.split(graph.indices, graph.indptr[1:-1])  # type: ignore[attr-defined]
    hits = [np.isin(true, row).mean() for true, row in zip(rows, found, strict=True)]
    return float(np.mean(hits))
