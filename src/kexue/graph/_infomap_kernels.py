"""Kernels of the two-level search: local moving, refinement and aggregation on one CSR.

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

Method: Rosvall & Bergstrom, PNAS 105 (2008) 1118 (map equation); Traag, Waltman & van Eck,
Sci. Rep. 9 (2019) 5233 (queue and refinement).
"""

import math

import numpy as np
from numba import njit

LINK, EXIT, FLOW, TERM = 0, 1, 2, 3

GAIN = 1e-10  # bits; a move must save more, so that rounding cannot make nodes oscillate
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
def _term(exit_flow, enter_flow, flow, directed):
    """Return a module's part of the code length: plogp(exit + p) - plogp(exit) - plogp(enter)."""
    if directed:
        return plogp(exit_flow + flow) - plogp(exit_flow) - plogp(enter_flow)
    return plogp(exit_flow + flow) - 2.0 * plogp(exit_flow)


@njit(inline="always")
def _next_random(state):
    """Advance the splitmix64 `state` (uint64 array of length 1) and return 64 random bits."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(inline="always")
def _below(n, state):
    """Return a random integer in ``[0, n)``, n < 2**32."""
    high = _next_random(state) >> np.uint64(32)
    return np.int64((high * np.uint64(n)) >> np.uint64(32))


@njit(cache=True, nogil=True)
def largest_degree(indptr):
    """Return the largest number of neighbours of any node."""
    largest = 0
    for i in range(indptr.size - 1):
        largest = max(largest, indptr[i + 1] - indptr[i])
    return largest


@njit(cache=True, nogil=True)
def random_order(indptr, by_degree, state):
    """Return all nodes in random order; with `by_degree`, sorted by degree, ties random."""
    n = indptr.size - 1
    order = np.arange(n).astype(np.uint32)
    for i in range(n - 1, 0, -1):
        j = _below(i + 1, state)
        order[i], order[j] = order[j], order[i]
    if not by_degree:
        return order
    largest = largest_degree(indptr)
    first = np.zeros(largest + 2, np.int64)
    for i in range(n):
        first[indptr[i + 1] - indptr[i] + 1] += 1
    for degree in range(largest + 1):
        first[degree + 1] += first[degree]
    result = np.empty_like(order)
    for i in order:
        degree = indptr[i + 1] - indptr[i]
        result[first[degree]] = i
        first[degree] += 1
    return result


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
            rows[m, TERM] = _term(rows[m, EXIT], enter, rows[m, FLOW], directed)
            if sizes[m] == 1:
                rows[m, TERM] *= lone
            total += enter
    return total


@njit(inline="always")
def _gather(graph, labels, i, rows, touched):
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
def _score(k, touched, base, node, directed, q, modules, scratch):
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
def _node(graph, i):
    """Return (out, p, skew, leave, land) of node i."""
    if graph[6].size > 0:
        return graph[4][i], graph[3][i], graph[5][i], graph[6][i], graph[7][i]
    return graph[4][i], graph[3][i], graph[5][i], 0.0, 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def move_nodes(graph, directed, q0, gain, lone, labels, queue, modules, total, stop):
    """Move nodes to the module that saves most until no node of the queue wants to move.

    `queue` lists all nodes in the order of the first visit; a move puts the neighbours outside
    the new module back into the queue. `labels` and `modules` change in place. `q0` is the exit
    flow of an enclosing module (0 at the top), `total` the enter flow of all modules. `lone`
    is the part of its code that a module of one node is charged: 1.0, or 0.0 where it stands for
    that node (not a flag, because numba compiles a function again for each value of a literal
    flag). Returns (moves, total); ends early once ``stop[0]`` is set.
    """
    indptr, indices = graph[0], graph[1]
    rows, skews, sizes, teleport = modules
    recorded = teleport.shape[0] > 0
    n = graph[3].size
    ring = queue.copy()
    waiting = np.ones(n, np.uint8)
    head, count = 0, n
    most = largest_degree(indptr) + 1  # modules to choose from: those of neighbours, an empty one
    touched = np.empty(most, np.uint32)
    scratch = np.empty((6, most))
    free = np.empty(n, np.uint32)  # stack of empty modules
    n_free = 0
    for m in range(n):
        if sizes[m] == 0:
            free[n_free] = m
            n_free += 1
    moves = 0
    q = q0 + total
    while count > 0 and stop[0] == 0:
        i = ring[head]
        head = head + 1 if head + 1 < n else 0
        count -= 1
        waiting[i] = 0
        found = _gather(graph, labels, i, rows, touched)
        if found == 0:
            continue
        a = labels[i]
        node = _node(graph, i)
        out_i, p_i, skew_i, leave_i, land_i = node
        link_a = rows[a, LINK]
        rows[a, LINK] = 0.0
        if recorded:
            link_a += leave_i * (teleport[a, 1] - land_i) + land_i * (teleport[a, 0] - leave_i)
        k = 0
        for t in range(found):
            if touched[t] != a:
                touched[k] = touched[t]
                k += 1
        alone = sizes[a] == 1
        exit_a, flow_a, skew_a, term_a = 0.0, 0.0, 0.0, 0.0
        if alone:
            loss = -rows[a, EXIT] - skews[a]
        else:
            loss = link_a - out_i - skew_i
            exit_a = max(rows[a, EXIT] + link_a - out_i, 0.0)
            flow_a = rows[a, FLOW] - p_i
            skew_a = skews[a] - skew_i
            term_a = _term(exit_a, exit_a + skew_a, flow_a, directed)
            if sizes[a] == 2:
                term_a *= lone
            touched[k] = free[n_free - 1]
            k += 1
        base = loss + out_i + skew_i
        _score(k, touched, base, node, directed, q, modules, scratch)
        if not alone:
            scratch[0, k - 1] -= (1.0 - lone) * scratch[1, k - 1]
            scratch[1, k - 1] *= lone
        best = -1
        least = rows[a, TERM] - term_a - gain
        for t in range(k):
            if scratch[0, t] < least:
                least = scratch[0, t]
                best = t
        if best < 0:
            continue
        b = touched[best]
        rows[a, EXIT], rows[a, FLOW], rows[a, TERM], skews[a] = exit_a, flow_a, term_a, skew_a
        rows[b, EXIT] = max(scratch[2, best], 0.0)
        rows[b, FLOW] += p_i
        rows[b, TERM] = scratch[1, best]
        skews[b] += skew_i
        if recorded:
            if alone:
                teleport[a, 0], teleport[a, 1] = 0.0, 0.0
            else:
                teleport[a, 0] -= leave_i
                teleport[a, 1] -= land_i
            teleport[b, 0] += leave_i
            teleport[b, 1] += land_i
        q = max(q + scratch[5, best], 0.0)
        n_free -= sizes[b] == 0
        if alone:
            free[n_free] = a
            n_free += 1
        sizes[a] -= 1
        sizes[b] += 1
        labels[i] = b
        moves += 1
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            if waiting[j] == 0 and labels[j] != b:
                waiting[j] = 1
                tail = head + count
                ring[tail if tail < n else tail - n] = j
                count += 1
    return moves, q - q0


@njit(cache=True, nogil=True, error_model="numpy")
def refine(graph, directed, q0, gain, labels, order):
    """Split every module of `labels` into sub-modules by one greedy pass of merging.

    Starting from singletons, each node that is still alone joins the sub-module of its own
    module that shortens the code most (Leiden refinement). Returns the sub-module of each node.
    """
    indptr, indices, s = graph[0], graph[1], graph[2]
    n = graph[3].size
    recorded = graph[6].size > 0
    sub = np.arange(n).astype(np.uint32)
    modules = empty_modules(n, recorded)
    rows, skews, sizes, teleport = modules
    rows[:, LINK] = 0.0
    sizes[:] = 1
    q = q0
    for i in range(n):
        out_i, p_i, skew_i, leave_i, land_i = _node(graph, i)
        rows[i, EXIT] = out_i
        rows[i, FLOW] = p_i
        rows[i, TERM] = _term(out_i, out_i + skew_i, p_i, directed)
        skews[i] = skew_i
        if recorded:
            teleport[i, 0] = leave_i
            teleport[i, 1] = land_i
        q += out_i + skew_i
    most = largest_degree(indptr)
    touched = np.empty(most, np.uint32)
    scratch = np.empty((6, most))
    for i in order:
        if sizes[i] != 1 or sub[i] != i:
            continue
        home = labels[i]
        k = 0
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            if labels[j] == home:
                m = sub[j]
                if rows[m, LINK] == 0.0:
                    touched[k] = m
                    k += 1
                rows[m, LINK] += s[e]
        if k == 0:
            continue
        node = _node(graph, i)
        _score(k, touched, 0.0, node, directed, q, modules, scratch)
        best = -1
        least = rows[i, TERM] - gain
        for t in range(k):
            if scratch[0, t] < least:
                least = scratch[0, t]
                best = t
        if best < 0:
            continue
        b = touched[best]
        rows[b, EXIT] = max(scratch[2, best], 0.0)
        rows[b, FLOW] += node[1]
        rows[b, TERM] = scratch[1, best]
        skews[b] += node[2]
        if recorded:
            teleport[b, 0] += node[3]
            teleport[b, 1] += node[4]
        q = max(q + scratch[5, best], 0.0)
        sizes[b] += 1
        sizes[i] = 0
        sub[i] = b
    return sub


@njit(cache=True, nogil=True)
def renumber(labels):
    """Renumber `labels` in place to 0, 1, ... by first occurrence; return how many there are."""
    new = np.full(np.int64(labels.max()) + 1, -1, np.int32)
    count = 0
    for i in range(labels.size):
        m = labels[i]
        if new[m] < 0:
            new[m] = count
            count += 1
        labels[i] = new[m]
    return count


@njit(cache=True, nogil=True)
def grouped(groups, n_groups):
    """Return (start, members): the members of group g are ``members[start[g]:start[g + 1]]``."""
    start = np.zeros(n_groups + 1, np.int64)
    for g in groups:
        start[g + 1] += 1
    for g in range(n_groups):
        start[g + 1] += start[g]
    members = np.empty(groups.size, np.uint32)
    cursor = start[:-1].copy()
    for i in range(groups.size):
        members[cursor[groups[i]]] = i
        cursor[groups[i]] += 1
    return start, members


@njit(cache=True, nogil=True)
def aggregate(graph, groups, n_groups):
    """Return the graph whose nodes are the groups, as a tuple like `graph`."""
    indptr, indices, s, p, out, skew, leave, land = graph
    start, members = grouped(groups, n_groups)
    new_indptr = np.zeros(n_groups + 1, np.int64)
    new_indices = np.empty(indices.size, np.uint32)
    new_s = np.empty(indices.size, np.float32)
    new_p = np.zeros(n_groups)
    new_out = np.zeros(n_groups)
    new_skew = np.zeros(n_groups)
    new_leave = np.zeros(n_groups if leave.size else 0)
    new_land = np.zeros(new_leave.size)
    link = np.zeros(n_groups)
    fill = 0
    for g in range(n_groups):
        first = fill
        pairs = 0.0  # teleportation between members
        for k in range(start[g], start[g + 1]):
            i = members[k]
            new_p[g] += p[i]
            new_out[g] += out[i]
            new_skew[g] += skew[i]
            if leave.size:
                pairs += leave[i] * new_land[g] + land[i] * new_leave[g]
                new_leave[g] += leave[i]
                new_land[g] += land[i]
            for e in range(indptr[i], indptr[i + 1]):
                h = groups[indices[e]]
                if link[h] == 0.0 and h != g:
                    new_indices[fill] = h
                    fill += 1
                link[h] += s[e]
        # both directions of every internal pair are listed; exit loses each pair once
        new_out[g] = max(new_out[g] - 0.5 * link[g] - pairs, 0.0)
        link[g] = 0.0
        for e in range(first, fill):
            new_s[e] = link[new_indices[e]]
            link[new_indices[e]] = 0.0
        new_indptr[g + 1] = fill
    # pages never written to cost no memory, so the arrays need no second, shorter copy
    links = new_indptr, new_indices[:fill], new_s[:fill]
    return (*links, new_p, new_out, new_skew, new_leave, new_land)


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


@njit(inline="always")
def search_pass(graph, directed, q0, node_term, gain, labels, refined, by_degree, state, stop):
    """Improve `labels` in place by local moving on ever coarser graphs; return the code length.

    With `refined`, the coarser graph is built on the sub-modules of `refine`, so that parts of
    a module can still leave it together; without, on the modules themselves.
    """
    n0 = labels.size
    recorded = graph[6].size > 0
    member = np.arange(n0).astype(np.uint32)
    current = labels.copy()
    while True:
        n = graph[3].size
        modules = empty_modules(n, recorded)
        total = fill_modules(graph, current, directed, 1.0, modules)
        order = random_order(graph[0], by_degree, state)
        moves, total = move_nodes(
            graph, directed, q0, gain, 1.0, current, order, modules, total, stop
        )
        groups = current.copy()
        if refined and stop[0] == 0:
            order = random_order(graph[0], by_degree, state)
            groups = refine(graph, directed, q0, gain, current, order)
        n_groups = renumber(groups)
        if n_groups == n or (moves == 0 and n < n0) or stop[0] != 0:
            break
        coarse = np.empty(n_groups, np.uint32)
        for i in range(n):
            coarse[groups[i]] = current[i]
        renumber(coarse)
        for i in range(n0):
            member[i] = groups[member[i]]
        graph = aggregate(graph, groups, n_groups)
        current = coarse
    for i in range(n0):
        labels[i] = current[member[i]]
    # new arrays, so that those of the loop are free while the next graph is built
    last = empty_modules(graph[3].size, recorded)
    fill_modules(graph, current, directed, 1.0, last)
    return length_of(last, q0, node_term)


@njit(inline="always")
def _join_neighbours(graph, labels, state):
    """Give every node, in random order, the label of a random neighbour."""
    indptr, indices = graph[0], graph[1]
    for i in random_order(indptr, False, state):
        degree = indptr[i + 1] - indptr[i]
        if degree > 0:
            labels[i] = labels[indices[indptr[i] + _below(degree, state)]]


@njit(cache=True, nogil=True)
def search(graph, directed, q0, node_term, gain, begin, state, effort, stop):
    """Return (labels, code length) of the best two-level partition found.

    `effort` is (starts, most passes of a start, tolerance): a start ends when a pass saves less
    than the tolerance. `begin` holds the labels to begin with, all below n, or nothing: then
    every start begins with single nodes, and its first pass aggregates modules, which is fast;
    the following ones refine and repair what it merged too early. Small nodes first makes better
    modules than a random order (a hub visited early collects neighbours that belong elsewhere);
    from the third pass on random order finds what the fixed one cannot. Every other start begins
    with nodes thrown together at random with neighbours, because some optima have no downhill
    path from single nodes.
    """
    starts, max_passes, tolerance = effort
    best_labels = np.arange(graph[3].size).astype(np.uint32)
    best = np.inf
    for start in range(starts):
        labels = np.arange(graph[3].size).astype(np.uint32)
        given = begin.size > 0 and start == 0
        if given:
            labels[:] = begin
        elif start % 2 == 1:
            _join_neighbours(graph, labels, state)
        length = np.inf
        for step in range(max_passes):
            by_degree = start % 2 == 0 and step < 2
            refined = given or step > 0
            trial = labels.copy()
            found = search_pass(
                graph, directed, q0, node_term, gain, trial, refined, by_degree, state, stop
            )
            saved = length - found
            if saved > 0.0:
                labels, length = trial, found
            if saved < tolerance or stop[0] != 0:
                break
        if length < best:
            best_labels, best = labels, length
        if stop[0] != 0:
            break
    renumber(best_labels)
    return best_labels, best
