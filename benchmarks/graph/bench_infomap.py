"""Two-level Infomap against the C++ package: CPU time and mean code length of one search.

Both sides run one trial per seed on one thread, in turns in one process, so that other work on
the machine meets both alike. Ours is timed from an in-memory array of links to the fitted
estimator; of the peer's, ``run`` alone counts, its links already added.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median

import numpy as np

from benchmarks.measuring import Row, first_call_seconds
from kexue.graph import Infomap, Network, read_graph

SEEDS = 10
BARS = {
    "facebook-pages": 4.0,
    "github-users": 4.0,
    "facebook-news-sites": 4.0,
    "astro-ph": 3.0,
    "word-associations-directed": 3.0,
}


def measure(data: Path) -> Iterator[Row]:
    """Yield one row per graph found in ``data/graphs``."""
    import infomap

    triangle = np.array([(0, 1), (1, 2), (0, 2)])
    first = first_call_seconds(lambda: Infomap(random_state=0).fit(triangle))
    first += first_call_seconds(lambda: Infomap(flow="directed", random_state=0).fit(triangle))
    for name, bar in BARS.items():
        path = data / "graphs" / f"{name}.edges.tsv.gz"
        if not path.exists():
            continue
        directed = name.endswith("directed")
        ours, peer = compare(read_graph(path, directed=directed, weight=False))
        yield Row(
            name=f"two-level, {name}",
            unit="CPU s",
            ours=median(seconds for seconds, _ in ours),
            peer=median(seconds for seconds, _ in peer),
            peer_name=f"infomap {infomap.__version__}",
            bar=bar,
            quality=f"bits, mean of {SEEDS} seeds",
            quality_ours=fmean(length for _, length in ours),
            quality_peer=fmean(length for _, length in peer),
            note=(
                "infomap: two_level, num_trials=1, num_threads=1, silent; its time excludes "
                f"adding the links, ours includes it; our first call took {first:.1f} s"
            ),
        )


def compare(network: Network) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return (CPU seconds, code length) of every seed, ours and the peer's."""
    flow = "directed" if network.directed else "undirected"
    links = np.random.default_rng(0).permutation(np.c_[network.source, network.target])
    links = np.ascontiguousarray(links, dtype=np.int64)
    ours, peer = [], []
    for seed in range(1, SEEDS + 1):
        ours.append(run_ours(links, flow, seed))
        peer.append(run_peer(links, flow, seed))
    return ours, peer


def run_ours(links: np.ndarray, flow: str, seed: int) -> tuple[float, float]:
    gc.collect()
    start = time.process_time()
    model = Infomap(flow=flow, n_jobs=1, random_state=seed).fit(links)
    return time.process_time() - start, model.codelength_


def run_peer(links: np.ndarray, flow: str, seed: int) -> tuple[float, float]:
    import infomap

    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 2.16 announces the interface of 3.0
        engine = infomap.Infomap(
            silent=True, two_level=True, num_trials=1, num_threads=1, seed=seed, flow_model=flow
        )
        engine.add_links(links)
        start = time.process_time()
        engine.run()
        return time.process_time() - start, engine.codelength


if __name__ == "__main__":
    from benchmarks.__main__ import describe

    root = Path(__file__).resolve().parents[2]
    for row in measure(root.parent / "shared" / "data"):
        print(describe(row), flush=True)
