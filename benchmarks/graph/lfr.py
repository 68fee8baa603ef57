"""Graphs with planted communities after Lancichinetti, Fortunato and Radicchi."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy.optimize import brentq

_TRIES = 100  # to rewire one pair of stubs


def lfr_graph(
    n_nodes: int,
    mu: float,
    seed: int,
    *,
    mean_degree: float = 20.0,
    degree_exponent: float = 2.5,
    size_exponent: float = 1.5,
    sizes: tuple[int, int] = (50, 1000),
    max_degree: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the links and the communities of a simple undirected LFR-like graph.

    Degrees k follow a power law between a least degree, chosen for the mean, and `max_degree`;
    community sizes follow one between the two `sizes`. Each node spends a share ``1 - mu`` of
    its links inside its community: ``(1 - mu) k`` rounded up or down at random, in a community
    drawn at random from those with more than that many members. Stubs are matched at random,
    first inside each community, then between communities.

    Self-loops, duplicates and outer links that would stay inside a community are rewired by
    exchanging ends with a random link of the same kind, which keeps all degrees; a pair that
    still does not fit after a hundred tries is left out. The odd stub of a community goes
    outside. Where no community with free places has members enough for the inner links of a
    node, the surplus goes outside too.

    The paper's algorithm differs: it finds places by letting nodes that fit displace others,
    matches all stubs at once and then rewires until inner and outer links are near the stated
    shares; here both kinds are matched apart, so that a node's share is exact up to rounding.
    Degrees are drawn by strata, so that their mean hardly depends on the seed.

    Parameters
    ----------
    n_nodes : int
    mu : float in [0, 1)
        Mean share of a node's links that leave its community.
    seed : int
    mean_degree : float
    degree_exponent, size_exponent : float
        Greater than 1.
    sizes : (int, int)
        Least and greatest size of a community.
    max_degree : int, optional
        Ten times the mean by default.

    Returns
    -------
    links : ndarray of int32, shape (n_links, 2)
        In random order, each link once and either way round.
    communities : ndarray of int32, shape (n_nodes,)
        Node ids say nothing about them.

    Raises
    ------
    ValueError
        If no such graph exists.

    References
    ----------
    Lancichinetti, Fortunato & Radicchi, Phys. Rev. E 78 (2008) 046110.
    """
    rng = np.random.default_rng(seed)
    most = 10 * mean_degree if max_degree is None else max_degree
    if not 0.0 <= mu < 1.0:
        raise ValueError(f"mu must be in [0, 1), got {mu}")
    if round((1.0 - mu) * most) >= sizes[1]:
        raise ValueError(f"max_degree {most} has no community of more than {sizes[1]} nodes")
    degrees = _degrees(n_nodes, mean_degree, degree_exponent, most, rng)
    size = _sizes(n_nodes, size_exponent, sizes, rng)
    inner = np.floor((1.0 - mu) * degrees + rng.random(n_nodes)).astype(np.int32)
    by_inner = np.argsort(-inner, kind="stable").astype(np.int32)
    communities = _places(by_inner, inner, np.sort(size)[::-1], rng)
    members = np.argsort(communities, kind="stable").astype(np.int32)
    bounds = np.searchsorted(communities[members], np.arange(size.size + 1))
    links = _link(degrees, inner, communities, members, bounds, rng)
    return links, communities


def _power_law(u: np.ndarray, exponent: float, least: float, most: float) -> np.ndarray:
    """Return the `u`-quantiles of the density x**-exponent on [least, most]."""
    a = 1.0 - exponent
    return (least**a + u * (most**a - least**a)) ** (1.0 / a)


def _degrees(
    n: int, mean: float, exponent: float, most: float, rng: np.random.Generator
) -> np.ndarray:
    quantiles = (np.arange(100_000) + 0.5) / 100_000

    def surplus(least: float) -> float:
        return float(_power_law(quantiles, exponent, least, most).mean()) - mean

    if not surplus(1.0) < 0.0 < most - mean:
        raise ValueError(f"no power law with exponent {exponent} up to {most} has mean {mean}")
    least = brentq(surplus, 1.0, most)
    strata = (rng.permutation(n) + rng.random(n)) / n
    # rounded up or down at random, which keeps the mean
    return np.floor(_power_law(strata, exponent, least, most) + rng.random(n)).astype(np.int32)


def _sizes(
    n: int, exponent: float, limits: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    least, most = limits
    if -(-n // most) * least > n:
        raise ValueError(f"{n} nodes cannot be parted into communities of {least} to {most}")
    while True:
        size = _power_law(rng.random(n // least + 1), exponent, least, most + 1).astype(np.int32)
        size = np.minimum(size, most)
        size = size[: np.searchsorted(np.cumsum(size), n) + 1]
        size[-1] -= size.sum() - n
        if size[-1] >= least:
            return size
        # what is too few for a community of its own joins others, one node each
        rest, size = size[-1], size[:-1]
        room = rng.permutation(np.flatnonzero(size < most))[:rest]
        size[room] += 1
        if room.size == rest:
            return size


@njit(cache=True)
def _places(by_inner, inner, size, rng):
    """Give each node a random place in a community that its inner links fit; cut those that do not.

    Nodes come by decreasing `inner`, communities by decreasing `size`, so the choice only grows.
    """
    community = np.empty(inner.size, np.int32)
    places = np.empty(inner.size, np.int32)
    free = opened = 0
    for node in by_inner:
        while opened < size.size and (size[opened] > inner[node] or free == 0):
            for _ in range(size[opened]):
                places[free] = opened
                free += 1
            opened += 1
        chosen = int(rng.random() * free)
        community[node] = places[chosen]
        free -= 1
        places[chosen] = places[free]
        inner[node] = min(inner[node], size[community[node]] - 1)
    return community


@njit(cache=True)
def _link(degrees, inner, community, members, bounds, rng):
    """Match the stubs inside communities, then those between them; return all links."""
    n = degrees.size
    outer = degrees - inner
    start = np.zeros(n + 1, np.int64)
    for i in range(n):
        start[i + 1] = start[i] + degrees[i]
    neighbours = np.empty(start[n], np.int32)
    filled = np.zeros(n, np.int32)
    stubs = np.empty(start[n], np.int32)
    for c in range(bounds.size - 1):
        count = 0
        for node in members[bounds[c] : bounds[c + 1]]:
            for _ in range(inner[node]):
                stubs[count] = node
                count += 1
        if count % 2:  # the odd stub, a random one, goes outside
            chosen = int(rng.random() * count)
            outer[stubs[chosen]] += 1
            count -= 1
            stubs[chosen] = stubs[count]
        _match(stubs[:count], community, False, start, neighbours, filled, rng)
    count = 0
    for node in range(n):
        for _ in range(outer[node]):
            stubs[count] = node
            count += 1
    _match(stubs[:count], community, True, start, neighbours, filled, rng)
    return _shuffled_links(start, neighbours, filled, rng)


@njit(cache=True)
def _match(stubs, community, apart, start, neighbours, filled, rng):
    """Pair the stubs at random and enter the links; `apart` ones join different communities."""
    for i in range(stubs.size - 1, 0, -1):
        j = int(rng.random() * (i + 1))
        stubs[i], stubs[j] = stubs[j], stubs[i]
    good, end = 0, stubs.size // 2  # pairs before `good` are links, those from there are not
    while good < end:
        u, v = stubs[2 * good], stubs[2 * good + 1]
        if _fits(u, v, community, apart, start, neighbours, filled):
            _enter(u, v, start, neighbours, filled)
            good += 1
        else:
            end -= 1
            stubs[2 * good], stubs[2 * good + 1] = stubs[2 * end], stubs[2 * end + 1]
            stubs[2 * end], stubs[2 * end + 1] = u, v
    for pair in range(good, stubs.size // 2):
        u, v = stubs[2 * pair], stubs[2 * pair + 1]
        for _ in range(_TRIES if good else 0):
            other = int(rng.random() * 2 * good)
            x, y = stubs[other], stubs[other ^ 1]
            if _fits(u, x, community, apart, start, neighbours, filled) and _fits(
                v, y, community, apart, start, neighbours, filled
            ):
                _remove(x, y, start, neighbours, filled)
                _remove(y, x, start, neighbours, filled)
                _enter(u, x, start, neighbours, filled)
                _enter(v, y, start, neighbours, filled)
                stubs[other ^ 1] = u
                stubs[2 * good], stubs[2 * good + 1] = v, y
                good += 1
                break


@njit(cache=True)
def _fits(u, v, community, apart, start, neighbours, filled):
    if u == v or (apart and community[u] == community[v]):
        return False
    if filled[u] > filled[v]:
        u, v = v, u
    e, end = start[u], start[u] + filled[u]
    while e < end and neighbours[e] != v:
        e += 1
    return e == end


@njit(cache=True)
def _enter(u, v, start, neighbours, filled):
    neighbours[start[u] + filled[u]] = v
    filled[u] += 1
    neighbours[start[v] + filled[v]] = u
    filled[v] += 1


@njit(cache=True)
def _remove(u, v, start, neighbours, filled):
    e = start[u]
    while neighbours[e] != v:
        e += 1
    filled[u] -= 1
    neighbours[e] = neighbours[start[u] + filled[u]]


@njit(cache=True)
def _shuffled_links(start, neighbours, filled, rng):
    links = np.empty((filled.sum() // 2, 2), np.int32)
    count = 0
    for u in range(filled.size):
        for e in range(start[u], start[u] + filled[u]):
            v = neighbours[e]
            if u < v:
                other = int(rng.random() * (count + 1))
                links[count] = links[other]
                side = int(rng.random() * 2)
                links[other, side] = u
                links[other, 1 - side] = v
                count += 1
    return links
