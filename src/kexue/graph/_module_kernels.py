"""The state of modules as the search keeps it, and what moving a node would cost.

Every kernel sees the graph as a tuple (indptr, indices, s, p, out, skew, leave, land): a symmetric
CSR of ``s_ij = f_ij + f_ji`` (self-loops left out) and node arrays ``p`` (flow), ``out`` (exit
flow) and ``skew`` (enter minus exit flow, all zero when the flow is symmetric). Moving node i from
module a to b changes exit *and* enter of a by ``s_ia - out_i`` and ``s_ia - enter_i``, so the
direction of the links lives in `skew` alone. The unit of flow is free: the code length in bits
comes out times the total flow.

Recorded teleportation sends the flow ``leave_i * land_j`` from every node i to every node j. It is
a link flow like any other, of rank two in s, so sums over modules stand for it: the link between
node i and module b gains ``leave_i * sum(land_b) + land_i * sum(leave_b)``. Where teleportation is
not recorded both arrays are empty.

The state of a module is one row of `rows`, half a cache line: link flow from the node at hand
(scratch, zero between visits), exit flow, node flow, and the module's cached term of the code
length in bits. Node ids are unsigned, which spares numba the test for negative indices.
"""

import math

import numpy as np
from numba import njit

LINK, EXIT, FLOW, TERM = 0, 1, 2, 3

_SMALL = 1e-3  # relative change up to which the series of `_series_change` is exact to 1e-15
_INV_LN2 = 1.0 / math.log(2.0)
_SQRT_HALF = np.int64(0x3FE6A09E667F3BCD)  # the bits of sqrt(1/2)


@njit(inline="always", error_model="numpy")
def plogp(x):
    """Return ``x * log2(x)``, 0 for ``x <= 0``, to about 2 ulp and without a call or a branch.

    ``x = 2**e * m`` with m in [sqrt(1/2), sqrt(2)); ln(m) is the odd series in
    ``(m - 1) / (m + 1)``. Loops over candidates vectorise with it, unlike with math.log2.
    """
    x = max(x, 1e-300)  # stands for 0: the product is then 0 to any accuracy
    bits = np.float64(x).view(np.int64)
    exponent = (bits - _SQRT_HALF) >> 52
    m = np.int64(bits - (exponent << 52)).view(np.float64)
    z = (m - 1.0) / (m + 1.0)
    y = z * z
    y2 = y * y
    y4 = y2 * y2
    series = (
        (1.0 + y * (1.0 / 3.0))
        + y2 * (1.0 / 5.0 + y * (1.0 / 7.0))
        + y4 * ((1.0 / 9.0 + y * (1.0 / 11.0)) + y2 * (1.0 / 13.0 + y * (1.0 / 15.0)))
        + (y4 * y4) * (1.0 / 17.0 + y * (1.0 / 19.0))
    )
    return x * (exponent + 2.0 * _INV_LN2 * z * series)


@njit(inline="always")
def _series_change(x, inv_q, slope):
    """Return ``plogp(q + x) - plogp(q)`` for ``|x / q| <= _SMALL``; slope = log2(q) + 1/ln(2)."""
    r = x * inv_q
    curve = 0.5 - r * (1.0 / 6.0 - r * (1.0 / 12.0 - r * 0.05))
    return x * (slope + _INV_LN2 * r * curve)


@njit(inline="always")
def module_term(exit_flow, enter_flow, flow, directed):
    """Return a module's part of the code length: plogp(exit + p) - plogp(exit) - plogp(enter)."""
    if directed:
        return plogp(exit_flow + flow) - plogp(exit_flow) - plogp(enter_flow)
    return plogp(exit_flow + flow) - 2.0 * plogp(exit_flow)


@njit(cache=True, nogil=True)
def empty_modules(n, recorded):
    """Return the arrays that hold the state of n modules: (rows, skews, sizes, teleport)."""
    rows = np.empty((n, 4))
    return rows, np.empty(n), np.empty(n, np.uint32), np.empty((n if recorded else 0, 2))


@njit(cache=True, nogil=True, error_model="numpy")
def fill_modules(graph, labels, directed, lone, modules):
    """Compute the state of all modules of `labels` afresh and return the total enter flow.

    `lone` is the part of its code that a module of one node is charged, see `move_nodes`.
    """
    indptr, indices, s, p, out, skew, leave, land = graph
    rows, skews, sizes, teleport = modules
    recorded = leave.size > 0
    rows[:] = 0.0
    skews[:] = 0.0
    sizes[:] = 0
    teleport[:] = 0.0
    for i in range(p.size):
        a = labels[i]
        inside = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            if labels[indices[e]] == a:
                inside += s[e]
        rows[a, EXIT] += out[i] - 0.5 * inside
        rows[a, FLOW] += p[i]
        skews[a] += skew[i]
        sizes[a] += 1
        if recorded:
            rows[a, EXIT] -= leave[i] * teleport[a, 1] + land[i] * teleport[a, 0]
            teleport[a, 0] += leave[i]
            teleport[a, 1] += land[i]
    total = 0.0
    for m in range(rows.shape[0]):
        if sizes[m] > 0:
            # rounding may leave a closed module a tiny negative exit
            rows[m, EXIT] = max(rows[m, EXIT], 0.0)
            enter = max(rows[m, EXIT] + skews[m], 0.0)
            rows[m, TERM] = module_term(rows[m, EXIT], enter, rows[m, FLOW], directed)
            if sizes[m] == 1:
                rows[m, TERM] *= lone
            total += enter
    return total


@njit(inline="always")
def gather_links(graph, labels, i, rows, touched):
    """Sum the link flow of node i to each neighbour module; return how many there are."""
    indptr, indices, s = graph[0], graph[1], graph[2]
    k = 0
    for e in range(indptr[i], indptr[i + 1]):
        m = labels[indices[e]]
        if rows[m, LINK] == 0.0:
            touched[k] = m
            k += 1
        rows[m, LINK] += s[e]
    return k


@njit(inline="always", error_model="numpy")
def score_moves(k, touched, base, node, directed, q, modules, scratch):
    """Write to ``scratch[0]`` what joining each of k modules costs, in bits, and to [1] its term.

    `node` is (out, p, skew, leave, land) of the node. ``base - link`` is the change of the total
    enter flow q. The loops are separate so that the arithmetic vectorises; only the first reads
    memory at random.
    """
    out_i, p_i, skew_i, leave_i, land_i = node
    rows, skews, _, teleport = modules
    recorded = teleport.shape[0] > 0
    cost, term, exits = scratch[0], scratch[1], scratch[2]
    within, enters, change = scratch[3], scratch[4], scratch[5]
    for t in range(k):
        b = touched[t]
        link = rows[b, LINK]
        rows[b, LINK] = 0.0
        if recorded:
            link += leave_i * teleport[b, 1] + land_i * teleport[b, 0]
        exits[t] = rows[b, EXIT] + out_i - link
        within[t] = exits[t] + rows[b, FLOW] + p_i
        cost[t] = rows[b, TERM]
        change[t] = base - link
        if directed:
            enters[t] = exits[t] + skews[b] + skew_i
    if directed:
        for t in range(k):
            term[t] = plogp(within[t]) - plogp(exits[t]) - plogp(enters[t])
    else:
        for t in range(k):
            term[t] = plogp(within[t]) - 2.0 * plogp(exits[t])
    inv_q = 1.0 / q
    plogp_q = plogp(q)
    slope = plogp_q * inv_q + _INV_LN2
    # a link is no larger than what the node sends and receives
    if (abs(base) + 2.0 * out_i + abs(skew_i)) * inv_q <= _SMALL:
        for t in range(k):
            cost[t] = term[t] - cost[t] + _series_change(change[t], inv_q, slope)
    else:
        for t in range(k):
            cost[t] = term[t] - cost[t] + (plogp(q + change[t]) - plogp_q)


@njit(inline="always")
def node_of(graph, i):
    """Return (out, p, skew, leave, land) of node i."""
    if graph[6].size > 0:
        return graph[4][i], graph[3][i], graph[5][i], graph[6][i], graph[7][i]
    return graph[4][i], graph[3][i], graph[5][i], 0.0, 0.0


@njit(cache=True, nogil=True)
def length_of(modules, q0, node_term):
    """Return the code length of filled modules; node_term = sum of plogp(p_i)."""
    rows, skews, sizes, _ = modules
    terms = -node_term - plogp(q0)
    total = q0
    for m in range(rows.shape[0]):
        if sizes[m] > 0:
            total += max(rows[m, EXIT] + skews[m], 0.0)
            terms += rows[m, TERM]
    return terms + plogp(total)
