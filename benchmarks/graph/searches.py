"""The graphs that Infomap is measured on, and one search of ours and of its C++ package on them."""

from __future__ import annotations

import gc
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.graph.lfr import lfr_graph
from kexue.graph import Infomap, read_graph


class Graph(NamedTuple):
    """Links as both sides get them, in random order."""

    name: str
    flow: str
    links: np.ndarray
    bar: float | None
    communities: np.ndarray | None = None


class Search(NamedTuple):
    """What one search took and found."""

    seconds: float
    codelength: float
    labels: np.ndarray


def graphs(
    data: Path,
    only: str,
    bars: dict[str, float],
    lfr: dict[tuple[int, float], float] | None = None,
) -> Iterator[Graph]:
    """Yield the graphs of `bars` found in ``data/graphs`` and the generated ones of `lfr`.

    Parameters
    ----------
    only : str
        Part of the names wanted.
    bars : dict
        Least ratio by the name of a file.
    lfr : dict
        Least ratio by (nodes, mixing).
    """
    for name, bar in bars.items():
        path = data / "graphs" / f"{name}.edges.tsv.gz"
        if only not in name or not path.exists():
            continue
        directed = name.endswith("directed")
        network = read_graph(path, directed=directed, weight=False)
        links = np.random.default_rng(0).permutation(np.c_[network.source, network.target])
        flow = "directed" if directed else "undirected"
        yield Graph(name, flow, np.ascontiguousarray(links, dtype=np.int64), bar)
    for (n, mu), bar in (lfr or {}).items():
        name = f"LFR {n * 10 // 1_000_000} M links, mu {mu:g}"
        if only in name:
            links, communities = lfr_graph(n, mu, seed=1)
            yield Graph(name, "undirected", links.astype(np.int64), bar, communities)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return (CPU seconds, what `run` returned)."""
    gc.collect()
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def search_ours(graph: Graph, seed: int, **options: Any) -> tuple[Search, Infomap]:
    """Search once, from the array of links to the fitted estimator."""
    model = Infomap(flow=graph.flow, n_jobs=1, random_state=seed, **options)
    seconds, _ = timed(lambda: model.fit(graph.links))
    return Search(seconds, model.codelength_, model.labels_), model


def search_peer(graph: Graph, seed: int, levels: Any, score: Infomap | None = None) -> Search:
    """Search once with the C++ package, its links already added; let it price a result of ours.

    Raises
    ------
    RuntimeError
        If its length for the partition of `score` differs from ours by 1e-9 bits.
    """
    import infomap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 2.16 announces the interface of 3.0
        engine = infomap.Infomap(
            silent=True,
            num_threads=1,
            flow_model=graph.flow,
            seed=seed,
            num_trials=1,
            two_level=levels == 2,
        )
        engine.add_links(graph.links)
        seconds, result = timed(engine.run)
        length = result.codelength
        modules = result.modules()
        labels = np.empty(len(modules), np.int64)
        labels[np.fromiter(modules, np.int64)] = np.fromiter(modules.values(), np.int64)
        if score is not None:
            check_codelength(engine, score, f"{graph.name}, seed {seed}")
    return Search(seconds, length, labels)


def check_codelength(engine: Any, model: Infomap, name: str) -> None:
    """Let the peer price our result."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ours.tree"
        model.write(path)
        scored = engine.run(no_infomap=True, cluster_data=str(path)).codelength
    if not abs(scored - model.codelength_) < 1e-9:
        raise RuntimeError(
            f"{name}: our result has {model.codelength_!r} bits, infomap says {scored!r}"
        )
