"""Kernels that stream over the links once, or once per step, to find the flow of a walk."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def strengths(source, target, weight, unit, n, directed):  # type: ignore[no-untyped-def]
    """Return the summed ``weight * unit`` of the links at their sources and at their targets.

    A self-loop of an undirected graph has one end: it is counted at its source only.
    """
    out, into = np.zeros(n), np.zeros(n)
    for e in range(source.size):
        out[source[e]] += weight[e] * unit
        if directed or source[e] != target[e]:
            into[target[e]] += weight[e] * unit
    return out, into


@njit(cache=True, nogil=True)
def degrees(source, target, n, directed):  # type: ignore[no-untyped-def]
    """Return the number of links at their sources and at their targets, as `strengths` does."""
    out, into = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for e in range(source.size):
        out[source[e]] += 1
        if directed or source[e] != target[e]:
            into[target[e]] += 1
    return out, into


@njit(cache=True, nogil=True)
def flow_into(source, target, weight, scale, n):  # type: ignore[no-untyped-def]
    """Return the flow ``weight * scale[source]`` summed at the targets."""
    into = np.zeros(n)
    for e in range(source.size):
        into[target[e]] += weight[e] * scale[source[e]]
    return into


@njit(cache=True, nogil=True)
def visit_rates(source, target, weight, step, jump, land, limits, tolerance, stop):  # type: ignore[no-untyped-def]
    """Power-iterate the visit rates of a teleporting walk; return (rates, last L1 change).

    From node i the walker takes a link with probability ``weight * step[i]`` and teleports with
    probability ``jump[i]``, to j with probability ``land[j]``. `limits` = (least, most) steps;
    it stops when the L1 change falls below `tolerance`, or once ``stop[0]`` is set.

    Links sorted by source are pushed as they come: on 10^6 links that takes half the time of
    pulling from lists of in-links, and needs none.
    """
    n = land.size
    rate, pushed, new = land.copy(), np.empty(n), np.empty(n)
    change = np.inf
    for count in range(limits[1]):
        jumping = 0.0
        for i in range(n):
            jumping += jump[i] * rate[i]
            pushed[i] = step[i] * rate[i]
        for i in range(n):
            new[i] = jumping * land[i]
        for e in range(source.size):
            new[target[e]] += weight[e] * pushed[source[e]]
        total = 0.0
        for i in range(n):
            total += new[i]
        change = 0.0
        for i in range(n):
            new[i] /= total
            change += abs(new[i] - rate[i])
        rate, new = new, rate
        if (change < tolerance and count + 1 >= limits[0]) or stop[0] != 0:
            break
    return rate, change
