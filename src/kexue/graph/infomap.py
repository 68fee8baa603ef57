"""Infomap: the hierarchy of modules that describes a random walk in the fewest bits.

The walker's steps are written with one code per module, whose words name nodes or modules and one
more the way out; a partition is good when the walker stays long inside modules. There is no number
of clusters to choose and no resolution parameter.
"""

import os
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import check_is_fitted

from kexue._core import (
    InputError,
    check_choice,
    check_int,
    check_seed,
    effective_jobs,
    interruptible,
    write_text,
)
from kexue.graph._problem import Problem, search_problem
from kexue.graph._trials import Plan, Progress, Tree, run_trials, search_hierarchy, search_modules
from kexue.graph.flow import Walk, check_flow, entropy, network_flow
from kexue.graph.hierarchy import Hierarchy, price_tree
from kexue.graph.map_equation import flat_tree, tree_of_partition
from kexue.graph.neighbors import knn_graph
from kexue.graph.network import Network, as_network
from kexue.graph.partitions import read_partition, write_clu, write_json, write_tree

_MANY_PASSES = 100
_GAIN = 1e-5  # in parts of the one-level length: a pass that saves less is the last
# Where a search costs milliseconds, chance decides more than effort: below these many links it
# runs to convergence in any case, and from as many starts as go into the second number.
_CONVERGED_BELOW = 50_000
_LINKS_OF_ALL_STARTS = 20_000
_MOST_STARTS = 10
_INNER_GAIN = 1e-7  # the same inside modules, which are a small part of the walk


class LevelCost(NamedTuple):
    """What one level of a hierarchy costs.

    Attributes
    ----------
    level : int
        Depth of the modules whose codes are meant: 0 is the root, the index of the top modules.
    modules : int
        How many there are.
    naming_modules : float
        Bits per step of the codes among them that name modules.
    naming_nodes : float
        Bits per step of the codes among them that name nodes.
    """

    level: int
    modules: int
    naming_modules: float
    naming_nodes: float


class Infomap(ClusterMixin, BaseEstimator):
    """Community detection by the map equation, in as many levels as shorten the description.

    Parameters
    ----------
    levels : "auto" or 2
        ``"auto"`` looks for modules within modules wherever they save bits, 2 for modules of
        nodes only.
    flow : {"undirected", "directed", "recorded", "rawdir"}
        How the walk moves, see `random_walk_flow`.
    teleport : float in [0, 1]
        Probability of teleportation, used by ``"directed"`` and ``"recorded"``.
    n_init : int
        Number of independent searches; the shortest description wins. On graphs below 20,000
        links each has several starts.
    quality : {"fast", "best"}
        ``"fast"`` makes two passes over the graph. ``"best"`` repeats them until one saves less
        than 1e-5 of the one-level length, searches the inside of each module four times, and
        raises levels anew on the innermost modules as long as that shortens the description.
        Below 50,000 links ``"fast"`` does nearly the same.
    markov_time : float > 0
        Steps per code word, see `random_walk_flow`: more give larger modules.
    regularized : bool
        Whether links that nobody has observed are allowed for, see `random_walk_flow`.
    metric : {"cosine"}, optional
        If given, `fit` takes vectors and not a graph, and looks for the modules of their
        `knn_graph`; for ``flow="undirected"`` two vectors are linked if either is among the
        neighbours of the other.
    n_neighbors : int
    min_similarity : float in [0, 1]
        Used with `metric` only, see `knn_graph`.
    n_jobs : int, optional
        Threads, one per search: None means 1, -1 all processors. The result does not depend
        on it.
    random_state : None, int, numpy RandomState or Generator

    Attributes
    ----------
    labels_ : ndarray of int64, shape (n_nodes,)
        Top module of each node, numbered from 0 by decreasing flow; entry i belongs to node
        ``network_.names[i]`` if there are names. A node without links has a module of its own.
    leaf_labels_ : ndarray of int64, shape (n_nodes,)
        Innermost module of each node, numbered from 0 in the order of `hierarchy_`; with two
        levels the same as `labels_`.
    hierarchy_ : Hierarchy
        The tree of modules with their flows and what their codes cost.
    paths_ : list of tuple of int, length n_nodes
        The modules around each node from the top: the place of each among its siblings.
    codelength_ : float
        Bits per step.
    index_codelength_ : float
        The part spent on changing top modules, bits per step.
    one_level_codelength_ : float
        Bits per step without modules, the entropy of the node flow.
    codelengths_ : ndarray of float64, shape (n_init,)
        Bits per step of every search; fewer if `fit` was interrupted.
    flow_ : ndarray of float64, shape (n_nodes,)
        Visit rate of each node; all zero if the graph has no links.
    n_modules_ : int
        Number of top modules. Those without flow, among them every isolated node, come last: the
        walk visits ``np.count_nonzero(np.bincount(labels_, flow_))`` of them.
    n_levels_ : int
        Levels of the deepest branch, nodes included: 2 if no module has sub-modules.
    network_ : Network
        The graph as it was read.

    References
    ----------
    Rosvall & Bergstrom, PNAS 105 (2008) 1118 and PLoS ONE 6 (2011) e18209; Traag, Waltman &
    van Eck, Sci. Rep. 9 (2019) 5233; kexue.fm article 7006.

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
        levels: str | int = "auto",
        flow: str = "undirected",
        teleport: float = 0.15,
        n_init: int = 1,
        quality: str = "fast",
        markov_time: float = 1.0,
        regularized: bool = False,
        metric: str | None = None,
        n_neighbors: int = 50,
        min_similarity: float = 0.6,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.levels = levels
        self.flow = flow
        self.teleport = teleport
        self.n_init = n_init
        self.quality = quality
        self.markov_time = markov_time
        self.regularized = regularized
        self.metric = metric
        self.n_neighbors = n_neighbors
        self.min_similarity = min_similarity
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        initial: Any = None,
        node_flow: ArrayLike | None = None,
        progress: Progress | None = None,
    ) -> "Infomap":
        """Find the modules of the graph `X`.

        Parameters
        ----------
        X : graph
            A square matrix, a list or array of links, a `Network`, a networkx or igraph graph
            or a path: whatever `as_network` accepts. With `metric`, an array of vectors, shape
            (n_nodes, n_features).
        y : ignored
        initial : labels, paths or path-like, optional
            A partition to begin with: a module per node, a tuple of modules per node from the
            top, or a ``.tree`` or ``.clu`` file with the ids of `Network.node_ids`. Searches
            begin at its innermost modules; the result is never longer than the partition itself
            (for two levels, than its innermost modules side by side).
        node_flow : array-like of float, shape (n_nodes,), optional
            Visit rates, if they are known, see `random_walk_flow`.
        progress : callable, optional
            Called after each search with how many are done, how many there are, and the
            shortest description so far in bits per step.

        Returns
        -------
        Infomap
            The estimator itself. On a keyboard interrupt the searches stop within a second;
            if one had finished, the best so far is kept, with a ``ConvergenceWarning``.

        Raises
        ------
        InputError
            For a bad graph or parameter, before any search.
        FileNotFoundError
            If `X` or `initial` is the path of no file.
        """
        if self.levels != "auto" and not (isinstance(self.levels, Integral) and self.levels == 2):
            raise InputError(f"levels must be 'auto' or 2, got {self.levels!r}")
        check_flow(self.flow, self.teleport, self.markov_time, self.regularized, node_flow)
        check_choice("quality", self.quality, ("fast", "best"))
        n_init = check_int("n_init", self.n_init, minimum=1)
        n_jobs = effective_jobs(self.n_jobs)
        seeds = np.random.SeedSequence(check_seed(self.random_state)).generate_state(
            n_init, np.uint64
        )
        start = interruptible(lambda stop: self._prepare(X, initial, node_flow, n_jobs, stop))
        network, walk, problem, given, one_module = start
        one_level = entropy(walk.node)
        plan = self._plan(network.n_links, one_level * problem.total)
        begin = np.empty(0, np.uint32)
        if given is not None:
            begin = given.leaf_labels.astype(np.uint32)

        def price(tree: Tree) -> Hierarchy:
            return price_tree(network, walk, *tree)

        def trial(seed: int, stop: NDArray[np.uint8]) -> Hierarchy:
            if self.levels == 2:
                found = price(search_modules(problem, begin, seed, plan, stop))
            else:
                found = search_hierarchy(problem, begin, seed, plan, price, stop)
            if found.total >= one_module:
                found = price(_one_module(problem))
            return found if given is None or found.total < given.total else given

        best, lengths = run_trials(trial, seeds.tolist(), min(n_jobs, n_init), progress)
        self.network_ = network
        self._walk = walk
        self.flow_ = walk.node
        self.hierarchy_ = best
        self.labels_ = best.at_level(1) - 1
        self.leaf_labels_ = best.leaf_labels
        self.n_modules_ = int(self.labels_.max()) + 1
        self.n_levels_ = best.n_levels
        self.codelength_ = best.total
        self.index_codelength_ = float(best.codelength[0])
        self.one_level_codelength_ = one_level
        self.codelengths_ = lengths
        return self

    @property
    def paths_(self) -> list[tuple[int, ...]]:
        """Path of modules around each node, see the class."""
        check_is_fitted(self)
        paths = self.hierarchy_.paths
        return [paths[module] for module in self.hierarchy_.leaf.tolist()]

    def level(self, k: int) -> NDArray[np.int64]:
        """Return the modules at depth `k`, shape (n_nodes,), numbered from 0.

        ``level(1)`` is `labels_`. In branches that end earlier the innermost module counts.

        Raises
        ------
        InputError
            Unless ``1 <= k < n_levels_``.
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        depth = check_int("k", k, minimum=1, maximum=self.n_levels_ - 1)
        return np.asarray(np.unique(self.hierarchy_.at_level(depth), return_inverse=True)[1])

    def ledger(self) -> list[LevelCost]:
        """Return what each level costs, from the root inwards; all bits sum to `codelength_`.

        Examples
        --------
        >>> triangles = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (3, 5)]
        >>> for row in Infomap(random_state=0).fit(triangles).ledger():
        ...     print(row.level, row.modules, round(row.naming_modules + row.naming_nodes, 5))
        0 1 0.14286
        1 2 2.17787
        """
        check_is_fitted(self)
        tree = self.hierarchy_
        inner, nodes = (
            np.bincount(tree.depth, tree.codelength * chosen, tree.n_levels).tolist()
            for chosen in (~tree.is_leaf, tree.is_leaf)
        )
        counts = np.bincount(tree.depth, minlength=tree.n_levels).tolist()
        rows = zip(range(tree.n_levels), counts, inner, nodes, strict=True)
        return [LevelCost(*row) for row in rows]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the modules to a ``.tree``, ``.clu`` or ``.json`` file, or the page of `to_html`.

        The first three are Infomap's own formats; nodes have the ids `Network.node_ids` of
        `network_`. A ``.clu`` file holds the top modules only.

        Raises
        ------
        InputError
            For another suffix.
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        suffix, network = Path(path).suffix, self.network_
        check_choice("the suffix of path", suffix, (".clu", ".html", ".json", ".tree"))
        ids = network.node_ids
        if suffix == ".html":
            self.to_html(path)
        elif suffix == ".clu":
            write_clu(path, self.labels_, self.flow_, node_ids=ids)
        elif suffix == ".tree":
            write_tree(
                path,
                self.paths_,
                self.flow_,
                network.names,
                codelength=self.codelength_,
                node_ids=ids,
            )
        else:
            write_json(
                path,
                self.hierarchy_,
                self.flow_,
                network.names,
                node_ids=ids,
                directed=network.directed,
                flow_model=self.flow,
            )

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        title: str = "A network",
        max_modules: int = 3000,
    ) -> str:
        """Return a self-contained page about the modules, and write it to `path` if given.

        Parameters
        ----------
        path : path-like, optional
            Written whole or not at all.
        title : str
            Name of the network.
        max_modules : int
            So many modules can be opened on the page, those with most flow; it bounds its size.

        Raises
        ------
        InputError
            If `max_modules` is below 1.
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        import kexue
        from kexue.graph.page import render_page

        unused = () if self.metric else ("metric", "n_neighbors", "min_similarity")
        facts = [(k, str(v)) for k, v in self.get_params().items() if k not in unused]
        facts += [("searches finished", str(self.codelengths_.size)), ("kexue", kexue.__version__)]
        page = render_page(
            self.hierarchy_,
            self.network_,
            self._walk,
            title=title,
            codelength=self.codelength_,
            one_level_codelength=self.one_level_codelength_,
            ledger=self.ledger(),
            facts=facts,
            max_modules=max_modules,
        )
        if path is not None:
            write_text(path, page)
        return page

    def _prepare(
        self,
        X: Any,
        initial: Any,
        node_flow: ArrayLike | None,
        n_jobs: int,
        stop: bytearray,
    ) -> tuple[Network, Walk, Problem, Hierarchy | None, float]:
        """Return graph, walk, what to search and to begin with, and the bits of one module."""
        directed = self.flow != "undirected"
        if self.metric is not None:
            X = knn_graph(X, self.n_neighbors, self.min_similarity, self.metric, n_jobs=n_jobs)
            X = X if directed else X.maximum(X.T)
        network = as_network(X, directed=directed)
        walk = network_flow(
            network,
            self.flow,
            self.teleport,
            markov_time=self.markov_time,
            regularized=self.regularized,
            node_flow=node_flow,
            stop=stop,
        )
        problem = search_problem(network, walk)
        one_module = price_tree(network, walk, *_one_module(problem)).total
        if initial is None:
            return network, walk, problem, None, one_module
        if isinstance(initial, str | os.PathLike):
            initial = read_partition(initial, network.node_ids)
        given = price_tree(network, walk, *tree_of_partition(initial, network.n_nodes))
        if self.levels == 2 and given.n_levels > 2:
            given = price_tree(network, walk, *flat_tree(given.leaf_labels))
        return network, walk, problem, given, one_module

    def _plan(self, n_links: int, bits: float) -> Plan:
        starts = min(_MOST_STARTS, max(1, _LINKS_OF_ALL_STARTS // max(1, n_links)))
        fast = self.quality == "fast"
        least = _GAIN * bits
        if fast and n_links >= _CONVERGED_BELOW:
            return Plan(1, 0, (1, 2, least), (1, 2, least))
        trees = 1
        if self.levels == "auto" and starts > 1:
            trees, starts = (starts // 2 if fast else starts), 2
        inner = (2 if fast else 4), _MANY_PASSES, _INNER_GAIN * bits
        return Plan(trees, 2 if fast else 4, (starts, _MANY_PASSES, least), inner)


def _one_module(problem: Problem) -> Tree:
    """Return the tree of one module, beside which only nodes without links have their own."""
    graph = problem.graph
    linked = np.diff(graph[0]) > 0
    if graph[6].size:  # teleportation is recorded, and links every node
        linked[:] = True
    labels = np.cumsum(~linked)
    labels[linked] = 0
    return flat_tree(labels if linked.any() else labels - 1)
