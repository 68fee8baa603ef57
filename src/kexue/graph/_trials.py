"""One search for modules, and many on threads of their own."""

import warnings
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

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


class Plan(NamedTuple):
    """How much a trial is to do.

    Attributes
    ----------
    trees : int
        How many hierarchies are searched from the beginning; the best two-level partition is
        often not what the best hierarchy consists of.
    rounds : int
        How often at most levels are raised anew on the innermost modules of the hierarchy found,
        as long as that shortens it.
    outer, inner : Effort
        What is spent on the whole graph and on the inside of a module.
    """

    trees: int
    rounds: int
    outer: Effort
    inner: Effort


def search_modules(
    problem: Problem, begin: NDArray[np.uint32], seed: int, plan: Plan, stop: NDArray[np.uint8]
) -> Tree:
    """Return (parent, leaf) of modules side by side; begins with the labels `begin` if any."""
    graph, directed, node_term, total = problem
    state = np.array([seed], np.uint64)
    return flat_tree(
        search(graph, directed, 0.0, node_term, GAIN * total, begin, state, plan.outer, stop)[0]
    )


def search_hierarchy(
    problem: Problem,
    begin: NDArray[np.uint32],
    seed: int,
    plan: Plan,
    price: Callable[[Tree], Hierarchy],
    stop: NDArray[np.uint8],
) -> Hierarchy:
    """Return the shortest of the hierarchies that the plan asks for, as `price` tells it."""
    graph, directed, node_term, total = problem
    gain = GAIN * total
    state = np.array([seed], np.uint64)
    best: Hierarchy | None = None
    for _ in range(plan.trees):
        labels, _ = search(graph, directed, 0.0, node_term, gain, begin, state, plan.outer, stop)
        found: Hierarchy | None = None
        for _ in range(plan.rounds + 1):
            if stop[0]:
                raise InterruptedError  # nobody will ask for the result
            tree = price(
                search_tree(graph, labels, directed, gain, state, plan.outer, plan.inner, stop)
            )
            if found is not None and tree.total >= found.total - GAIN:
                break
            found, labels = tree, tree.leaf_labels.astype(np.uint32)
        assert found is not None
        if best is None or found.total < best.total:
            best = found
        begin = begin[:0]  # the first has tried what was given
    assert best is not None
    return best


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
