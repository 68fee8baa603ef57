"""Kernels of the two-level search: local moving, refinement and aggregation on one CSR.

Graphs and modules are described in `kexue.graph._module_kernels`.

Method: Rosvall & Bergstrom, PNAS 105 (2008) 1118 (map equation); Traag, Waltman & van Eck,
Sci. Rep. 9 (2019) 5233 (queue and refinement).
"""

import numpy as np
from numba import njit

from kexue.graph._module_kernels import (
    EXIT,
    FLOW,
    LINK,
    TERM,
    empty_modules,
    fill_modules,
    gather_links,
    length_of,
    module_term,
    node_of,
    score_moves,
)

GAIN = 1e-10  # bits; a move must save more, so that rounding cannot make nodes oscillate


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
        found = gather_links(graph, labels, i, rows, touched)
        if found == 0:
            continue
        a = labels[i]
        node = node_of(graph, i)
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
            term_a = module_term(exit_a, exit_a + skew_a, flow_a, directed)
            if sizes[a] == 2:
                term_a *= lone
            touched[k] = free[n_free - 1]
            k += 1
        base = loss + out_i + skew_i
        score_moves(k, touched, base, node, directed, q, modules, scratch)
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
        out_i, p_i, skew_i, leave_i, land_i = node_of(graph, i)
        rows[i, EXIT] = out_i
        rows[i, FLOW] = p_i
        rows[i, TERM] = module_term(out_i, out_i + skew_i, p_i, directed)
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
        node = node_of(graph, i)
        score_moves(k, touched, 0.0, node, directed, q, modules, scratch)
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


@njit(inline="always")
def search_pass(graph, directed, q0, node_term, gain, labels, refined, by_degree, state, stop):
    """Improve `labels` in place by local moving on ever coarser graphs; return the code length.

    With `refined`, the coarser graph is built on the sub-modules of `refine`, so that parts of
    a module can still leave it together; without, on the modules themselves.
    """
    n0 = labels.size
    recorded = graph[6].size > 0
    member = np.arange(n0).astype(np.uint32)
    current = labels  # until the first aggregation
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
    best_labels = begin
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
    if best == np.inf:  # no length was finite
        best_labels = np.arange(graph[3].size).astype(np.uint32)
    renumber(best_labels)
    return best_labels, best
