"""Hierarchical Infomap against the C++ package: CPU time and code length of a search.

Both sides run on one thread, in turns in one process. Our mean length over the seeds stands
against the best of five trials of the peer, our time against that of one of its trials.

``python -m benchmarks.graph.bench_multilevel [part of a graph's name]`` with ``KEXUE_SEEDS=2`` is
a quick look; it is not recorded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.graph.bench_infomap import SEEDS, against_infomap
from benchmarks.graph.searches import graphs
from benchmarks.measuring import Row

TRIALS_OF_PEER = min(SEEDS, 5)
# least ratio; 0 where a search takes milliseconds and only lengths are compared
BARS = {
    "power-grid": 0.0,
    "hep-th": 0.0,
    "pgp": 0.0,
    "astro-ph": 3.0,
    "facebook-pages": 3.0,
    "facebook-news-sites": 3.0,
    "github-users": 3.0,
    "word-associations-directed": 3.0,
}
LFR_BARS = {(100_000, 0.4): 3.0}


def measure(data: Path, only: str = "") -> Iterator[Row]:
    """Yield one row per graph whose name contains `only`."""
    for graph in graphs(data, only, BARS, LFR_BARS):
        yield against_infomap(graph, levels="auto", trials=TRIALS_OF_PEER, best=True)


if __name__ == "__main__":
    from benchmarks.__main__ import describe

    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("KEXUE_DATA", root.parent / "shared" / "data"))
    for row in measure(folder, *sys.argv[1:2]):
        print(f"{describe(row)}\n    {row.note}", flush=True)
