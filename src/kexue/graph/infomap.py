"""Infomap: the partition of a graph that describes a random walk in the fewest bits.

The walker's steps are written with one code per module and an index code for changing modules;
a partition is good when the walker stays long inside modules. There is no number of clusters to
choose and no resolution parameter.
"""

import os
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import check_is_fitted

from kexue._core import (
    InputError,
    check_choice,
    check_float,
    check_int,
    check_seed,
    effective_jobs,
    thread_map,
)
from kexue.graph._infomap_kernels import search
from kexue.graph.files import write_clu, write_tree
from kexue.graph.flow import FLOW_MODELS, Flow, Problem, entropy, network_flow, search_problem
from kexue.graph.map_equation import partition_cost
from kexue.graph.network import Network, as_network

_MANY_PASSES = 100
_GAIN = 1e-5  # in parts of the one-level length: a pass that saves less is the last
# Where a search costs milliseconds, chance decides more than effort: below these many links it
# runs to convergence in any case, and from as many starts as go into the second number.
_CONVERGED_BELOW = 50_000
_LINKS_OF_ALL_STARTS = 20_000
_MOST_STARTS = 10


class Infomap(ClusterMixin, BaseEstimator):
    """Community detection by the map equation, two levels.

    Parameters
    ----------
    levels : 2
        Number of levels of the description; this version finds two-level partitions.
    flow : {"undirected", "directed", "rawdir"}
        How the walk moves, see `random_walk_flow`.
    teleport : float in [0, 1]
        Probability of teleportation, used by ``flow="directed"``.
    n_init : int
        Number of independent searches; the shortest description wins.
    quality : {"fast", "best"}
        ``"fast"`` makes two passes over the graph, ``"best"`` repeats them until one saves less
        than 1e-5 of the one-level length. Below 50,000 links both do the latter.
    n_jobs : int, optional
        Threads, one per search: None means 1, -1 all processors. The result does not depend
        on it.
    random_state : None, int, numpy RandomState or Generator

    Attributes
    ----------
    labels_ : ndarray of int64, shape (n_nodes,)
        Module of each node, numbered from 0 by decreasing flow; entry i belongs to node
        ``network_.names[i]`` if there are names. A node without links to others has a module of
        its own.
    codelength_ : float
        Bits per step.
    index_codelength_ : float
        The part spent on changing modules, bits per step.
    one_level_codelength_ : float
        Bits per step without modules, the entropy of the node flow.
    codelengths_ : ndarray of float64, shape (n_init,)
        Bits per step of every search.
    flow_ : ndarray of float64, shape (n_nodes,)
        Visit rate of each node; all zero if the graph has no links.
    n_modules_ : int
        All modules. Those without flow, among them every isolated node, come last: the walk
        visits ``np.count_nonzero(np.bincount(labels_, flow_))`` of them.
    network_ : Network
        The graph as it was read.

    References
    ----------
    Rosvall & Bergstrom, PNAS 105 (2008) 1118; Traag, Waltman & van Eck, Sci. Rep. 9 (2019) 5233;
    kexue.fm article 7006.

    Examples
    --------
    >>> triangles = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (3, 5)]
    >>> model = Infomap(random_state=0).fit(triangles)
    >>> model.n_modules_, round(model.codelength_, 5)
    (2, 2.32073)
    """

    def __init__(
        self,
        *,
        levels: int = 2,
        flow: str = "undirected",
        teleport: float = 0.15,
        n_init: int = 1,
        quality: str = "fast",
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.levels = levels
        self.flow = flow
        self.teleport = teleport
        self.n_init = n_init
        self.quality = quality
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "Infomap":
        """Find the modules of the graph `X`.

        Parameters
        ----------
        X : graph
            A square matrix, a list or array of links, a `Network`, a networkx or igraph graph
            or a path: whatever `as_network` accepts.
        y : ignored

        Returns
        -------
        Infomap
            The estimator itself.

        Raises
        ------
        InputError
            For a bad graph or parameter, before any work.
        FileNotFoundError
            If `X` is the path of no file.
        """
        if not isinstance(self.levels, Integral) or self.levels != 2:
            raise InputError(
                f"levels must be 2 (hierarchies are not available yet), got {self.levels!r}"
            )
        check_choice("flow", self.flow, FLOW_MODELS)
        check_choice("quality", self.quality, ("fast", "best"))
        teleport = check_float("teleport", self.teleport, minimum=0, maximum=1)
        n_init = check_int("n_init", self.n_init, minimum=1)
        n_jobs = effective_jobs(self.n_jobs)
        seeds = np.random.SeedSequence(check_seed(self.random_state)).generate_state(
            n_init, np.uint64
        )
        network = as_network(X, directed=self.flow != "undirected")

        flow = network_flow(network, self.flow, teleport)
        problem = search_problem(network, flow)
        one_level = entropy(flow.node)
        starts = min(_MOST_STARTS, max(1, _LINKS_OF_ALL_STARTS // max(1, network.n_links)))
        small = network.n_links < _CONVERGED_BELOW
        max_passes = 2 if self.quality == "fast" and not small else _MANY_PASSES

        def trial(seed: int) -> tuple[NDArray[np.uint32], float]:
            return search(
                problem.graph,
                problem.directed,
                0.0,
                problem.node_term,
                np.uint64(seed),
                starts,
                max_passes,
                _GAIN * one_level,
            )

        trials = thread_map(trial, [int(seed) for seed in seeds], min(n_jobs, n_init))
        self._keep_best(network, flow, problem, trials)
        return self

    def _keep_best(
        self,
        network: Network,
        flow: Flow,
        problem: Problem,
        trials: list[tuple[NDArray[np.uint32], float]],
    ) -> None:
        """Set the learned attributes from the shortest of the trials or of one module."""
        one_level = entropy(flow.node)
        lengths = np.array([length for _, length in trials])
        self.codelengths_ = np.minimum(lengths, one_level)
        labels = trials[int(np.argmin(lengths))][0].astype(np.int64)
        if lengths.min() >= one_level:
            connected = np.diff(problem.graph[0]) > 0
            labels[connected] = labels[connected].min(initial=network.n_nodes)
        self.network_ = network
        self.flow_ = flow.node
        self.labels_ = _by_flow(labels, flow.node)
        self.n_modules_ = int(self.labels_.max()) + 1
        cost = partition_cost(network, flow, self.labels_)
        self.codelength_ = cost.total
        self.index_codelength_ = cost.index
        self.one_level_codelength_ = one_level

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the partition to a ``.clu`` or ``.tree`` file in Infomap's own format.

        Nodes have the ids `Network.node_ids` of `network_`.

        Raises
        ------
        InputError
            For another suffix.
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        suffix, ids = Path(path).suffix, self.network_.node_ids
        check_choice("the suffix of path", suffix, (".clu", ".tree"))
        if suffix == ".clu":
            write_clu(path, self.labels_, self.flow_, node_ids=ids)
        else:
            write_tree(
                path,
                self.labels_,
                self.flow_,
                self.network_.names,
                codelength=self.codelength_,
                node_ids=ids,
            )


def _by_flow(labels: NDArray[np.int64], flow: NDArray[np.float64]) -> NDArray[np.int64]:
    """Renumber modules by decreasing flow, ties by their first node."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    order = np.lexsort((first, -np.bincount(codes, flow)))
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    return np.asarray(rank[codes])
