"""Hierarchical Infomap against the C++ package: CPU time and code length of a search.

Both sides run on one thread, in turns in one process. Our mean length over the seeds stands
against the best of five trials of the peer, our time against that of one of its trials.

``python -m benchmarks.graph.bench_multilevel [part of a graph's name]`` with ``KEXUE_SEEDS=2`` is
a quick look; it is not recorded.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median

import numpy as np

from benchmarks.graph.bench_infomap import (
    SCORED_BACK,
    SEEDS,
    Graph,
    Search,
    check_codelength,
    graphs,
    search_peer,
)
from benchmarks.measuring import Row, first_call_seconds
from kexue.graph import Infomap

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
    import infomap

    triangle = np.array([(0, 1), (1, 2), (0, 2)])
    first = first_call_seconds(lambda: Infomap(levels="auto", random_state=0).fit(triangle))
    first += first_call_seconds(
        lambda: Infomap(levels="auto", flow="directed", random_state=0).fit(triangle)
    )
    for graph in graphs(data, only, BARS, LFR_BARS):
        ours, peer = [], []
        for seed in range(1, SEEDS + 1):
            ours.append(search_ours(graph, seed))
            if seed <= TRIALS_OF_PEER:
                peer.append(search_peer(graph, seed, two_level=False))
        yield Row(
            name=f"multilevel, {graph.name}",
            unit="CPU s",
            ours=median(search.seconds for search in ours),
            peer=median(search.seconds for search in peer),
            peer_name=f"infomap {infomap.__version__}",
            bar=graph.bar,
            quality=f"bits, mean of {SEEDS} against best of {TRIALS_OF_PEER}",
            quality_ours=fmean(search.codelength for search in ours),
            quality_peer=min(search.codelength for search in peer),
            readme=bool(graph.bar),
            note=(
                "infomap: num_threads=1, silent, time of one trial (num_trials=1) without adding "
                f"the links, ours includes it. Our first call took {first:.1f} s. infomap scored "
                f"our trees of the first {SCORED_BACK} seeds alike, to 1e-9 bits. Below 100,000 "
                "links the bar is on length alone."
            ),
        )


def search_ours(graph: Graph, seed: int) -> Search:
    gc.collect()
    start = time.process_time()
    model = Infomap(levels="auto", flow=graph.flow, n_jobs=1, random_state=seed).fit(graph.links)
    seconds = time.process_time() - start
    if seed <= SCORED_BACK:
        check_codelength(graph, model)
    return Search(seconds, model.codelength_, model.labels_)


if __name__ == "__main__":
    from benchmarks.__main__ import describe

    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("KEXUE_DATA", root.parent / "shared" / "data"))
    for row in measure(folder, *sys.argv[1:2]):
        print(f"{describe(row)}\n    {row.note}", flush=True)
