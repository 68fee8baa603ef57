"""One search for modules, and many on threads of their own."""

import warnings
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from kexue.graph._hierarchy_kernels import search_tree
from kexue.graph._infomap_kernels import GAIN, search
from kexue.graph._problem import Problem
from kexue.graph.hierarchy import Hierarchy
from kexue.graph.map_equation import flat_tree

Tree = tuple[NDArray[np.int64], NDArray[np.int64]]  # parent of each module, module of each node
Effort = tuple[int, int, float]  # see `search`
Progress = Callable[[int, int, float], None]


def search_once(
    problem: Problem,
    begin: NDArray[np.int64] | None,
    seed: int,
    hierarchical: bool,
    efforts: tuple[Effort, Effort],
    stop: NDArray[np.uint8],
) -> Tree:
    """Return (parent, leaf) of `price_tree`, of modules side by side unless `hierarchical`.

    Begins with the labels `begin`; `efforts` are spent on the whole graph and inside modules.
    """
    graph, directed, node_term, total = problem
    gain = GAIN * total
    labels = np.empty(0, np.uint32) if begin is None else begin.astype(np.uint32)
    state = np.array([seed], np.uint64)
    labels, _ = search(graph, directed, 0.0, node_term, gain, labels, state, efforts[0], stop)
    if not hierarchical or stop[0]:
        return flat_tree(labels)
    parent, leaf = search_tree(graph, labels, directed, gain, state, *efforts, stop)
    return parent, leaf


def run_trials(
    trial: Callable[[int, NDArray[np.uint8]], Hierarchy],
    seeds: list[int],
    n_jobs: int,
    progress: Progress | None,
) -> tuple[Hierarchy, NDArray[np.float64]]:
    """Return the best trial, of equals the first, and the code lengths of all, by seed.

    If interrupted, of those that had finished. Searches run on threads even if there is one only,
    so that this one can hear the interrupt.
    """
    stop = np.zeros(1, np.uint8)
    lengths: dict[int, float] = {}
    best: tuple[float, int, Hierarchy] | None = None
    waiting: dict[Future[Hierarchy], int] = {}
    begun = 0
    with ThreadPoolExecutor(n_jobs) as pool:
        try:
            while len(lengths) < len(seeds):
                while begun < min(len(seeds), len(lengths) + n_jobs):
                    waiting[pool.submit(trial, seeds[begun], stop)] = begun
                    begun += 1
                # not longer, because the signal may have woken another thread than this one
                done, _ = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
                for future in done:
                    k, tree = waiting.pop(future), future.result()
                    lengths[k] = tree.total
                    if best is None or (tree.total, k) < best[:2]:
                        best = tree.total, k, tree
                    if progress is not None:
                        progress(len(lengths), len(seeds), best[0])
        except BaseException as error:
            stop[0] = 1
            if best is None or not isinstance(error, KeyboardInterrupt):
                raise
            warnings.warn(
                f"interrupted: kept the best of {len(lengths)} finished searches of {len(seeds)}",
                ConvergenceWarning,
                stacklevel=3,
            )
    assert best is not None  # there is at least one seed
    return best[2], np.array([lengths[k] for k in sorted(lengths)])
